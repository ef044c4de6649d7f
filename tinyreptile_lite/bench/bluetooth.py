"""Bluetooth in the model of its limits (`radio`), as there is no real board: speed, and drops.

Speed is that of a whole visit to a board met for the first time, 1-32-32-1, both directions, in
simulated time. It is compared with bursts, 16 chunks on their way before the first STATUS, on a
link that has the same connection interval and no other limit. The first rows are for computers that
send one packet in each connection event. Those that send four would be faster with bursts, if only
the ring did not overflow. The row "ble_asked" has the interval that the sketch asks for, and bursts
at the longest that Linux chooses by itself.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from tinyreptile_lite.bench.timing import Rows, counted, row
from tinyreptile_lite.clients import Order
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.radio import YIELD_TURN, Limits
from tinyreptile_lite.strategies import Strategy
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.wire.ble_model import LocalSketch, ModelledLink
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.local import LocalBoard

INTERVALS = 0.0075, 0.015, 0.03, 0.05  # seconds, from the shortest to Linux's longest by default
ASKED = 0.015  # at most: what the sketch asks the computer for
DROP = 0.02  # of the packets
CHUNK_FLOATS = 47  # in a frame of 199 bytes
LIMITS = Limits(turn=YIELD_TURN)  # the sketch yields in each loop
_PERFECT = Limits(turn=0.0, ring_bytes=1 << 30)


def limits(of: Limits, interval: float, packets: int) -> Limits:
    """The same limits with another interval, and packets in each connection event."""
    return Limits(interval, packets, turn=of.turn, ring_bytes=of.ring_bytes)


def speed_rows(repeats: int) -> Rows:
    """Kilobytes of weights a second, and as a share of what bursts reach."""
    found = []
    for packets in (1, 4):
        for interval in INTERVALS:
            ours = partial(visit_seconds, limits(LIMITS, interval, packets))
            bursts = partial(visit_seconds, limits(_PERFECT, interval, packets), False)
            name = f"ble_{packets}_packets_{1000 * interval:g}_ms".replace("_1_packets", "")
            found += _speed(name, [(ours(seed=i), bursts(seed=i)) for i in range(repeats)])
    asked = partial(visit_seconds, limits(LIMITS, ASKED, 4))
    default = partial(visit_seconds, limits(_PERFECT, INTERVALS[-1], 4), False)
    return found + _speed("ble_asked", [(asked(seed=i), default(seed=i)) for i in range(repeats)])


def _speed(name: str, seconds: Sequence[tuple[float, float]]) -> Rows:
    ours, bursts = np.array(seconds).T
    size = 8 * Sine().network().size / 1000  # kilobytes there and back
    return [row(name, size / ours, "kB/s"), row(f"{name}_ratio", bursts / ours, "ratio")]


def visit_seconds(limits: Limits, acknowledged: bool = True, seed: int = 0) -> float:
    """Simulated seconds of a visit to a board that is connected."""
    net = Sine().network()
    device = Sine().devices(1, np.random.default_rng(seed))[0]
    sketch = LocalSketch(LocalBoard(net, device, CHUNK_FLOATS), limits)
    link = ModelledLink(sketch, device.name, acknowledged)
    link.reopen()
    begin = link.now
    phi = net.init(np.random.default_rng(seed))
    BoardClient(link, net).visit(phi, Order(seed, OnlineSGD(0.001), 1, seed))
    return link.now - begin


def run(
    net: Network, strategy: Strategy, boards: Sequence[LocalBoard], rounds: int, limits: Limits
) -> tuple[np.ndarray, list[LocalSketch]]:
    """Run a federation over links like these; returns phi and the boards."""
    sketches = [LocalSketch(board, limits, seed) for seed, board in enumerate(boards)]
    links = [ModelledLink(sketch, sketch.board.device.name) for sketch in sketches]
    clients = [BoardClient(link, net) for link in links]
    return Federation(net, strategy, clients, rounds, np.random.default_rng(1)).run(), sketches


def drop_rows(
    net: Network, strategy: Strategy, boards: Sequence[LocalBoard], rounds: int, clean: np.ndarray
) -> Rows:
    """Count what drops of the link do to so many visits, one in each round."""
    limits = Limits(turn=YIELD_TURN, drop=DROP)
    phi, sketches = run(net, strategy, boards, rounds, limits)
    radios = [sketch.controller for sketch in sketches]
    return counted(
        "ble",
        {
            "visits": (rounds, "visits"),
            "drops": (sum(radio.drops for radio in radios), "drops"),
            "resets": (sum(sketch.resets for sketch in sketches), "resets"),
            "longest_hang": (max(sketch.longest_hang for sketch in sketches), "s"),
            "ring_losses": (sum(radio.ring_losses for radio in radios), "packets"),
            "phi_equal": (int(np.array_equal(phi, clean)), "1 or 0"),
        },
    )
