"""FederatedClient over Bluetooth on the virtual Nano: a real sketch, a radio with its limits."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tinyreptile_lite.clients import Order
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.nano import VirtualNano, build
from tinyreptile_lite.nano.machine import BoardFault
from tinyreptile_lite.nano.radio import Radio
from tinyreptile_lite.radio import Limits
from tinyreptile_lite.serve.fleet import VirtualLink
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.wire.ble_model import ModelledLink
from tinyreptile_lite.wire.channel import BoardSilent
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.links import LinkLost

SKETCH = Path(__file__).parents[1] / "arduino" / "FederatedClient"
BLUETOOTH = ("-DTRANSPORT_BLE=1",)
NET = Sine().network()


@pytest.fixture(scope="module")
def firmware():
    return build(SKETCH, flags=BLUETOOTH)


class VirtualSketch:
    """A virtual board as `ModelledLink` wants it."""

    def __init__(self, nano):
        self.nano, self.controller = nano, nano.radio.controller

    def run(self, until, reached):
        def there(nano):
            nano.radio.advance(nano.time_us)
            return reached()

        try:
            self.nano.run_until(there, max(0, 1000 * (until - self.controller.now)))
        except BoardFault:
            raise
        except KitError:  # not within this time
            there(self.nano)


def linked(firmware, **limits):
    nano = VirtualNano(firmware, radio=Limits(**limits), seed=7)
    return BoardClient(ModelledLink(VirtualSketch(nano), "TinyReptile"), NET), nano


def rounds(client, count):
    phi = NET.init(np.random.default_rng(0))
    for number in range(count):
        phi = client.visit(phi, Order(number, OnlineSGD(0.02), 8, number)).params
    return phi


def test_the_sketch_builds_without_a_warning(firmware):
    assert not firmware.warnings


def test_rounds_with_drops_end_like_those_over_usb(firmware):
    client, nano = linked(firmware, interval=0.0075, packets=4, drop=0.03)
    phi = rounds(client, 2)
    assert nano.radio.controller.drops > 5 and nano.radio.resets > 0
    assert nano.radio.controller.ring_losses == 0
    usb = VirtualNano(build(SKETCH), seed=7)
    np.testing.assert_array_equal(phi, rounds(BoardClient(VirtualLink(usb, "usb"), NET), 2))
    assert "link is gone" in nano.serial.text
    board_id = client.session.board.board_id
    assert nano.radio.name == f"TinyReptile-{board_id[6:].hex().upper()}"


def test_short_writes_and_notifications_carry_whole_frames(firmware):
    """A computer that does not ask for more gets 20 bytes at a time."""
    client, _ = linked(firmware, interval=0.0075, mtu=23, packets=4)
    rounds(client, 1)
    assert client.session.traffic.damaged == client.session.traffic.silences == 0


def test_a_send_hangs_for_ever_where_nothing_watches(tmp_path):
    copy = tmp_path / "FederatedClient"
    shutil.copytree(SKETCH, copy)
    transport = (copy / "transport.h").read_text(encoding="utf-8")
    lines = [line for line in transport.splitlines(True) if "watchdog.attach" not in line]
    (copy / "transport.h").write_text("".join(lines), encoding="utf-8")
    client, nano = linked(build(copy, flags=BLUETOOTH), interval=0.0075, packets=4, drop=0.05)
    with pytest.raises(BoardSilent, match="in reach"):
        rounds(client, 20)
    with pytest.raises(LinkLost):
        client.session.link.reopen()
    assert nano.radio.resets == 0


def test_a_board_that_nobody_visits_is_not_reset(firmware):
    nano = VirtualNano(firmware, seed=7)
    nano.run(7_000)
    assert nano.radio.resets == 0 and nano.radio.controller.advertising


@pytest.mark.parametrize(
    ("kind", "size", "words"),
    [(99, 5, ["kind 99"]), (8, 245, ["245 bytes", "at most 244"]), (8, 5, ["64 packets"])],
)
def test_a_runaway_sketch_is_told_so(kind, size, words, refuses):
    """It neither ends in a traceback nor takes the host's memory."""
    radio = Radio(Limits(), 0)
    radio.advertise(0)
    assert radio.controller.connect()
    with refuses(*words):
        for _ in range(100):
            radio.transmit(kind, bytes(size), 1)
