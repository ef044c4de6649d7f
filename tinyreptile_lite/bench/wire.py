"""Cost of the wire format: bytes beside the weights, and the share of a serial line that they get.

Everything is counted, on a board that is met for the first time: the hello, the push, the training
request and its answer, the pull. Overhead is (all bytes - bytes of weights) / bytes of weights,
both directions together. The rows "up" are of boards that send changes: bytes from the board, for
each byte of its weights in float32; "down" are those to it, with phi in float16. The line is
simulated: full duplex, 1 Mbit/s, ten bits a byte, a board that computes in no time; so these are
figures of the format and not of a machine. The speed over Bluetooth is modelled, see `bluetooth`.
"""

from collections import deque
from functools import partial
from typing import Any

import numpy as np

from tinyreptile_lite.bench import bluetooth
from tinyreptile_lite.bench.timing import Rows, row
from tinyreptile_lite.clients import Order
from tinyreptile_lite.layers import Dense
from tinyreptile_lite.learners import Learner, OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.partial import PartialSGD
from tinyreptile_lite.tasks.base import Samples
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.wire.ble import BLE_FRAME
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.links import USB_FRAME, LocalLink
from tinyreptile_lite.wire.local import LocalBoard

LINE = 1_000_000  # bits per second
BITS_PER_BYTE = 10  # on a serial line: start bit, 8 bits, stop bit
USB_LATENCY = 0.001  # seconds one way: one USB frame
ATT_BYTES = 3  # header of a Bluetooth write or notification, outside the wire format
REPEATS = 20
FRAMES = {"usb": USB_FRAME, "ble": BLE_FRAME}
SENT: dict[str, Learner] = {  # by a visit: all weights, all changes, the largest
    "float32": OnlineSGD(0.02),
    "float16": PartialSGD(0.02, bits=16),
    "int8": PartialSGD(0.02, bits=8),
    "int8_25_percent": PartialSGD(0.02, bits=8, percent=25),
    "int8_10_percent": PartialSGD(0.02, bits=8, percent=10),
}
_ONE_STEP = OnlineSGD(0.001)
SAMPLES = 32  # of a visit whose changes are packed: what they are like decides on their bytes


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


class TimedLink(LocalLink):
    """A link to a board inside this process over a simulated line with a clock.

    The line is full duplex. A byte takes ten bit times, and whatever is sent arrives `latency`
    seconds after its last bit left. The board itself takes no time: this measures the format.

    Parameters
    ----------
    board : LocalBoard
    bits_per_second : float
    latency : float
        Seconds.
    frame_bytes : int

    Attributes
    ----------
    now : float
        Seconds on the server's clock.
    """

    def __init__(
        self,
        board: LocalBoard,
        bits_per_second: float,
        latency: float = 0.0,
        frame_bytes: int = USB_FRAME,
    ) -> None:
        super().__init__(board, frame_bytes)
        self._byte_time, self._latency = BITS_PER_BYTE / bits_per_second, latency
        self.now = 0.0
        self._line_free = [0.0, 0.0]  # towards the board, towards the server
        self._arrivals: deque[tuple[float, bytes]] = deque()

    def send(self, data: bytes) -> None:
        """Send; the server does not wait, the line does."""
        at_board = self._transmit(0, self.now, len(data))
        for frame in self.board.feed(data).split(b"\0")[:-1]:
            self._arrivals.append((self._transmit(1, at_board, len(frame) + 1), frame + b"\0"))

    def _transmit(self, line: int, ready: float, size: int) -> float:
        """Occupy a line; return when the last byte arrives."""
        self._line_free[line] = max(ready, self._line_free[line]) + size * self._byte_time
        return self._line_free[line] + self._latency

    def receive(self, seconds: float) -> bytes:
        """Return the next frame, or let the time pass."""
        if self._arrivals and self._arrivals[0][0] <= self.now + seconds:
            arrival, frame = self._arrivals.popleft()
            self.now = max(self.now, arrival)
            return frame
        self.now += seconds
        return b""


def rows(repeats: int = REPEATS) -> Rows:
    """Measure all names; medians over so many visits with different weights."""
    small = Sine().network()
    large = Network([Dense(99, 160)], "mse", (99,))
    measures = {
        "overhead_1153": partial(overhead, small, USB_FRAME, 0),
        "overhead_16000": partial(overhead, large, USB_FRAME, 0),
        "overhead_ble": partial(overhead, small, BLE_FRAME, 0),
        "overhead_ble_with_att": partial(overhead, small, BLE_FRAME, ATT_BYTES),
        "line_share_1mbit": partial(line_share, small, 0.0),
        "line_share_1mbit_16000": partial(line_share, large, 0.0),
        "line_share_1mbit_usb_latency": partial(line_share, small, USB_LATENCY),
    }
    for link, frame in FRAMES.items():
        for what, learner in SENT.items():
            measures[f"up_{what}_{link}"] = partial(way_share, small, frame, learner, "received")
        measures[f"down_{link}"] = partial(way_share, small, frame, SENT["int8"], "sent")
    found = [
        row(name, np.array([measure(seed) for seed in range(repeats)]), "ratio")
        for name, measure in measures.items()
    ]
    return found + bluetooth.speed_rows(repeats)


def overhead(net: Network, frame: int, per_frame: int, seed: int) -> float:
    """Bytes that are no weights, per byte of weights, in one visit to a board met first."""
    traffic = visit(TimedLink(LocalBoard(net, _Noise(net)), LINE, 0.0, frame), net, seed)
    sent = traffic.sent + traffic.received
    sent += per_frame * (traffic.frames_sent + traffic.frames_received)
    return (sent - 8 * net.size) / (8 * net.size)


def way_share(net: Network, frame: int, learner: Learner, way: str, seed: int) -> float:
    """Bytes of one way of a visit, "sent" to the board or "received", per byte of float32 weights.

    The network is the sine's, and so are the samples.
    """
    (device,) = Sine().devices(1, np.random.default_rng(seed))
    link = TimedLink(LocalBoard(net, device), LINE, 0.0, frame)
    traffic = visit(link, net, seed, learner, SAMPLES)
    return float(getattr(traffic, way) / (4 * net.size))


def line_share(net: Network, latency: float, seed: int) -> float:
    """Time the bare weights would take, there and back, over the time the visit took."""
    link = TimedLink(LocalBoard(net, _Noise(net)), LINE, latency)
    visit(link, net, seed)
    return 8 * net.size * BITS_PER_BYTE / LINE / link.now


def visit(
    link: TimedLink,
    net: Network,
    seed: int,
    learner: Learner = _ONE_STEP,
    samples: int = 1,
) -> Any:
    """Visit a board once; returns the traffic."""
    client = BoardClient(link, net)
    phi = net.init(np.random.default_rng(seed))
    client.visit(phi, Order(seed, learner, samples, seed))
    return client.session.traffic
