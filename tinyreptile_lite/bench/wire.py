"""Cost of the wire format: bytes beside the weights, and the share of a serial line that they get.

Everything is counted, on a board that is met for the first time: the hello, the push, the training
request and its answer, the pull. Overhead is (all bytes - bytes of weights) / bytes of weights,
both directions together. The line is simulated: full duplex, 1 Mbit/s, ten bits a byte, a board
that computes in no time; so these are figures of the format and not of a machine.
"""

from functools import partial
from typing import Any

import numpy as np

from tinyreptile_lite.bench.timing import row
from tinyreptile_lite.clients import Order
from tinyreptile_lite.layers import Dense
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Samples
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.wire.ble import BLE_FRAME
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.links import BITS_PER_BYTE, USB_FRAME, TimedLink
from tinyreptile_lite.wire.local import LocalBoard

LINE = 1_000_000  # bits per second
USB_LATENCY = 0.001  # seconds one way: one USB frame
ATT_BYTES = 3  # header of a Bluetooth write or notification, outside the wire format
REPEATS = 20


class _Noise:
    """A device with samples of any shape; what it learns does not matter here."""

    name = "noise"

    def __init__(self, net: Network) -> None:
        self.net = net

    def stream(self, count: int, rng: np.random.Generator) -> Samples:
        x = rng.normal(size=(count, *self.net.input_shape)).astype(np.float32)
        return Samples(x, rng.normal(size=(count, self.net.outputs)).astype(np.float32))

    def task(self, rng: np.random.Generator) -> Any:
        raise NotImplementedError


def rows(repeats: int = REPEATS) -> list[dict[str, Any]]:
    """Measure all names; medians over so many visits with different weights."""
    small = Sine().network()
    large = Network([Dense(99, 160)], "mse", (99,))
    overheads = {
        "overhead_1153": (small, USB_FRAME, 0),
        "overhead_16000": (large, USB_FRAME, 0),
        "overhead_ble": (small, BLE_FRAME, 0),
        "overhead_ble_with_att": (small, BLE_FRAME, ATT_BYTES),
    }
    shares = {
        "line_share_1mbit": (small, 0.0),
        "line_share_1mbit_16000": (large, 0.0),
        "line_share_1mbit_usb_latency": (small, USB_LATENCY),
    }
    measures = {name: partial(overhead, *setting) for name, setting in overheads.items()}
    measures |= {name: partial(line_share, *setting) for name, setting in shares.items()}
    return [
        row(name, np.array([measure(seed) for seed in range(repeats)]), "ratio")
        for name, measure in measures.items()
    ]


def overhead(net: Network, frame: int, per_frame: int, seed: int) -> float:
    """Bytes that are no weights, per byte of weights, in one visit to a board met first."""
    traffic = visit(TimedLink(LocalBoard(net, _Noise(net)), LINE, 0.0, frame), net, seed)
    sent = traffic.sent + traffic.received
    sent += per_frame * (traffic.frames_sent + traffic.frames_received)
    return (sent - 8 * net.size) / (8 * net.size)


def line_share(net: Network, latency: float, seed: int) -> float:
    """Time the bare weights would take, there and back, over the time the visit took."""
    link = TimedLink(LocalBoard(net, _Noise(net)), LINE, latency)
    visit(link, net, seed)
    return 8 * net.size * BITS_PER_BYTE / LINE / link.now


def visit(link: TimedLink, net: Network, seed: int) -> Any:
    """Visit a board once; returns the traffic."""
    client = BoardClient(link, net)
    phi = net.init(np.random.default_rng(seed))
    client.visit(phi, Order(seed, OnlineSGD(0.001), 1, seed))
    return client.session.traffic
