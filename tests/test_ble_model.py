"""Bluetooth in the model of its limits: what bursts and drops did, and no longer do."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.bench import bluetooth
from tinyreptile_lite.clients import Order
from tinyreptile_lite.core.build import CORE
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.radio import RING_BYTES, YIELD_TURN, Controller, Limits, Packet
from tinyreptile_lite.tasks.sine import Sine, SineDevice
from tinyreptile_lite.wire.ble_model import WATCHDOG, LocalSketch, ModelledLink
from tinyreptile_lite.wire.channel import BoardSilent
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.links import LinkLost, LocalLink
from tinyreptile_lite.wire.local import LocalBoard

NET = Sine().network()
PHI = NET.init(np.random.default_rng(0))
FRAME = bytes(199)


def board() -> LocalBoard:
    return LocalBoard(NET, SineDevice("sine", 1.0, 0.5), bluetooth.CHUNK_FLOATS)


def linked(limits, acknowledged=True, **sketch):
    made = LocalSketch(board(), limits, **sketch)
    link = ModelledLink(made, "TinyReptile-3F2A", acknowledged)
    link.reopen()
    return BoardClient(link, NET), made


def visits(client, count, samples=8):
    """Visit a board again and again; phi is what it learned last."""
    phi = PHI
    for number in range(count):
        phi = client.visit(phi, Order(number, OnlineSGD(0.02), samples, number)).params
    return phi


def test_the_model_has_the_numbers_of_the_sketch():
    sketch = (CORE.parents[2] / "FederatedClient" / "transport.h").read_text(encoding="utf-8")
    assert f"hangSeconds = {WATCHDOG:g} " in sketch
    assert f"chunkFloats = {bluetooth.CHUNK_FLOATS}, " in sketch
    assert f"longestFrame = {len(FRAME)}, " in sketch


def connected(limits: Limits) -> Controller:
    controller = Controller(limits, np.random.default_rng(0))
    controller.advertising = True
    assert controller.connect()
    controller.advance(0.01)
    assert controller.take() == Packet("up")
    return controller


# ---- The ring ------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_bytes", [27, 251])
def test_the_ring_holds_one_frame_and_not_two(piece_bytes):
    """A frame of 199 takes 211 bytes there in one piece, 246 in pieces of 27."""
    controller = connected(Limits(piece_bytes=piece_bytes, packets=20))
    for _ in range(2):
        controller.write(Packet("command", FRAME))
    controller.advance(1.0)
    assert controller.ring_losses > 0
    assert controller.take() == Packet("command", FRAME)
    assert controller.take() is None
    controller.write(Packet("command", FRAME))
    controller.advance(2.0)
    assert controller.take() == Packet("command", FRAME)


@given(st.lists(st.tuples(st.integers(0, 244), st.booleans()), max_size=30), st.integers(1, 8))
def test_what_is_taken_was_sent_in_this_order_and_the_ring_never_overflows(writes, packets):
    controller = connected(Limits(packets=packets))
    sent, taken = [], []
    for number, (size, takes) in enumerate(writes):
        sent.append(Packet("command", bytes([number]) * size))
        controller.write(sent[-1])
        controller.advance(controller.now + 0.01)
        assert controller._used <= RING_BYTES
        while takes and (packet := controller.take()):
            taken.append(packet)
    controller.advance(controller.now + 1)
    taken += iter(controller.take, None)
    rest = iter(sent)
    assert all(packet in rest for packet in taken)  # in the same order
    assert len(taken) == len(sent) - controller.ring_losses


def test_a_burst_to_a_board_that_polls_every_36_ms_damages_its_memory():
    """Pieces behind lost ones are joined to more than there is room for: ArduinoBLE's issue 130."""
    controller = connected(Limits(piece_bytes=27, packets=6))
    for _ in range(40):
        controller.write(Packet("command", FRAME))
    arrived = 0
    while controller.now < 2:
        controller.advance(controller.now + 0.036)
        while controller.take():
            arrived += 1
    assert arrived < 40 and controller.overrun


def test_a_drop_is_noticed_on_both_sides_after_the_supervision_time():
    controller = connected(Limits(drop=1.0, supervision=0.42))
    controller.write(Packet("write", FRAME))
    controller.transmit(Packet("notify", FRAME))
    controller.advance(0.1)
    assert controller.drops == 1 and controller.connected and not controller.received
    controller.advance(1.0)
    assert not controller.connected and controller.take() == Packet("lost")
    assert controller.take() is None


# ---- How it was ----------------------------------------------------------------------------------


def test_bursts_lose_frames_that_writes_with_a_response_do_not():
    """The ring overflows where a computer sends several packets in one connection event."""
    for acknowledged in (False, True):
        client, sketch = linked(Limits(packets=4), acknowledged)
        phi = visits(client, 2)
        assert bool(sketch.controller.ring_losses) is not acknowledged
        np.testing.assert_array_equal(phi, visits(BoardClient(LocalLink(board()), NET), 2))


def test_without_a_watchdog_a_drop_hangs_the_board_for_ever():
    client, sketch = linked(Limits(drop=0.02), watchdog=math.inf)
    with pytest.raises(BoardSilent, match="in reach"):
        visits(client, 50)
    began = sketch.controller.now
    with pytest.raises(LinkLost):
        client.session.link.reopen()
    assert sketch.controller.now - began >= 20 and sketch.resets == 0


# ---- How it is -----------------------------------------------------------------------------------

LINKS = {
    "usual": Limits(turn=YIELD_TURN),
    "fast": Limits(0.0075, 4, turn=YIELD_TURN),
    "old computer": Limits(0.05, 4, piece_bytes=27),
    "short writes": Limits(0.03, 2, mtu=23),
}


@pytest.mark.parametrize("name", LINKS)
def test_drops_lose_no_visit_and_hang_for_seconds_only(name):
    """A step is as long as that of the wrists' network, in which the board does not poll.

    In short writes the link drops between the parts of a frame, too.
    """
    limits = Limits(**vars(LINKS[name]) | {"drop": 0.02 if LINKS[name].mtu > 23 else 0.004})
    client, sketch = linked(limits, step=0.036)
    phi = visits(client, 30)
    np.testing.assert_array_equal(phi, visits(BoardClient(LocalLink(board()), NET), 30))
    assert sketch.controller.drops > 10 and sketch.resets > 0
    assert sketch.controller.ring_losses == 0 and not sketch.controller.overrun
    assert sketch.longest_hang <= 10


def test_a_board_at_work_is_not_reset():
    """Neither by steps of half a second nor by sends over the slowest connection."""
    client, sketch = linked(Limits(0.05, 1, piece_bytes=27, mtu=23), step=0.5)
    visits(client, 1, samples=20)
    assert 0 < sketch.longest_hang < WATCHDOG / 2 and sketch.resets == 0
    assert client.session.traffic.silences > 5  # the server asked, and was answered in the end


def test_the_same_seed_gives_the_same_drops():
    runs = [linked(Limits(drop=0.05), seed=seed) for seed in (1, 1, 2)]
    for client, _ in runs:
        visits(client, 3)
    first, second, other = (sketch.controller.now for _, sketch in runs)
    assert first == second != other


# ---- The figures ---------------------------------------------------------------------------------


def test_waiting_for_each_response_costs_at_most_two_fifths_of_the_speed():
    rows = {row["name"]: row["value"] for row in bluetooth.speed_rows(1)}
    for interval in bluetooth.INTERVALS:
        assert rows[f"ble_{1000 * interval:g}_ms_ratio"] >= 0.6
    assert rows["ble_asked_ratio"] >= 0.6
    assert rows["ble_7.5_ms"] > 6 * rows["ble_50_ms"]


def test_the_rows_of_drops_tell_the_truth():
    from tinyreptile_lite.bench import faults
    from tinyreptile_lite.wire.faults import Faults

    clean, _ = faults.run(Faults(), 30)
    found = {row["name"]: row["value"] for row in faults.drop_rows(clean, 30)}
    assert found["ble.phi_equal"] == 1 and found["ble.ring_losses"] == 0
    assert found["ble.drops"] > 30 and 0 < found["ble.longest_hang"] <= 10
    assert faults.drop_rows(clean + 1, 30)[-1]["value"] == 0
