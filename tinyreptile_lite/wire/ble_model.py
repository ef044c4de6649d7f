"""Bluetooth without a radio: a link over the model of its limits, in simulated time.

`LocalSketch` is FederatedClient over Bluetooth as ArduinoBLE lets it run, around the board's own C
sources: it polls between two samples, and a send waits until the radio has room, for ever if the
link drops at the wrong moment. `ModelledLink` is what `BleLink` is on a computer with a radio.
"""

import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

import numpy as np

from tinyreptile_lite.radio import Controller, Limits, Packet
from tinyreptile_lite.wire.ble import BLE_FRAME
from tinyreptile_lite.wire.links import LinkLost
from tinyreptile_lite.wire.local import LocalBoard

WATCHDOG = 5.0  # transport.h: seconds without a loop after which the board resets itself
BOOT = 1.0  # seconds from a reset to advertising; assumed
CONNECT = 1.0  # seconds to find the board, connect and look at its services; assumed
_ATT_SECONDS = 30.0  # Core Specification, vol. 3 part F: no answer for so long ends the connection


class Peer(Protocol):
    """A board with a modelled radio."""

    controller: Controller

    def run(self, until: float, reached: Callable[[], bool]) -> None:
        """Let time pass until a condition holds, at most until then on the controller's clock."""


class LocalSketch:
    """A board inside this process behind the limits of Bluetooth.

    Parameters
    ----------
    board : LocalBoard
    limits : Limits
    seed : int
        Of the moments at which the link drops.
    step : float
        Seconds that one online step takes.
    watchdog : float
        Seconds; `math.inf` for a sketch without one.
    """

    def __init__(
        self,
        board: LocalBoard,
        limits: Limits,
        seed: int = 0,
        step: float = 0.0005,
        watchdog: float = WATCHDOG,
    ) -> None:
        self.board, self.step, self.watchdog = board, step, watchdog
        self.controller = Controller(limits, np.random.default_rng(seed))
        self.resets = 0
        self.longest_hang = 0.0  # seconds without a loop; a reset and the start after it count
        self._off_until = 0.0
        self._start()

    def _start(self) -> None:
        self._started = self._subscribed = False
        self._in_radio = 0  # packets that ArduinoBLE believes the radio to hold
        self._stuck_since: float | None = None  # in a send
        self._busy_until = self._next_poll = 0.0
        self._received = b""
        self._outbox: deque[Packet] = deque()

    def run(self, until: float, reached: Callable[[], bool]) -> None:
        """Let time pass, see `Peer`."""
        self._act()
        while not reached() and self.controller.now < until:
            moment = min(self.controller.next_moment(), self._next_moment(), until)
            self.controller.advance(moment)
            self._act()

    def _next_moment(self) -> float:
        """When the sketch goes on by itself."""
        if not self._started:
            return self._off_until
        if self._stuck_since is not None:
            return self._stuck_since + self.watchdog
        return self._next_poll if self.controller.now < self._busy_until else math.inf

    def _act(self) -> None:
        now = self.controller.now
        if not self._started:
            if now >= self._off_until:
                self._started = self.controller.advertising = True
            return
        if self._stuck_since is not None and now >= self._stuck_since + self.watchdog:
            self._reset()
        elif now >= min(self._next_poll, self._busy_until):
            self._next_poll = now + self.step
            self._poll()
            self._send()
            if self._stuck_since is None and now >= self._busy_until and self._received:
                self._work()

    def _reset(self) -> None:
        """The watchdog bites."""
        assert self._stuck_since is not None
        self._off_until = self.controller.now + BOOT
        self.longest_hang = max(self.longest_hang, self._off_until - self._stuck_since)
        self.resets += 1
        self.board.reset()
        self.controller.reset()
        self._start()

    def _poll(self) -> None:
        """What BLE.poll does with all that is in the ring."""
        while packet := self.controller.take():
            match packet.kind:
                case "completed":
                    self._in_radio = max(0, self._in_radio - packet.count)
                case "lost":  # what the radio held is not taken off: ArduinoBLE's issue 45
                    self._subscribed = False
                    self.controller.advertising = True
                case "subscribe":
                    self._subscribed = True
                case "write" | "command":
                    self._received += packet.data
            if packet.kind in ("write", "subscribe"):
                self._outbox.appendleft(Packet("response"))

    def _send(self) -> None:
        """Hand to the radio what it has room for, and be stuck in the send of the next."""
        while self._outbox:
            first = self._outbox[0]
            if self._stuck_since is None and first.kind == "notify" and not self._subscribed:
                self._outbox.popleft()
                continue
            if self._in_radio >= self.controller.limits.send_packets:
                self._stuck_since = self._stuck_since or self.controller.now
                return
            self.controller.transmit(self._outbox.popleft())
            self._in_radio += 1
            self._loop()
        self._loop()

    def _loop(self) -> None:
        """The send has ended."""
        if self._stuck_since is not None:
            self.longest_hang = max(self.longest_hang, self.controller.now - self._stuck_since)
            self._stuck_since = None

    def _work(self) -> None:
        """Take what has come; answers follow when the work is done."""
        before = self.board.steps
        answers = self.board.feed(self._received)
        self._received = b""
        steps = self.board.steps - before
        self._busy_until = self.controller.now + steps * self.step
        size = self.controller.limits.mtu - 3
        for frame in answers.split(b"\0")[:-1]:
            frame += b"\0"
            pieces = (frame[at : at + size] for at in range(0, len(frame), size))
            self._outbox.extend(Packet("notify", piece) for piece in pieces)


class ModelledLink:
    """A link to a board with a modelled radio, in simulated time; `reopen` connects.

    Parameters
    ----------
    peer : Peer
    name : str
    acknowledged : bool
        Wait for the response to each write, as `BleLink` does; else send on at once.
    patience : float
        Seconds to look for the board.
    """

    frame_bytes = BLE_FRAME
    timeout = 1.0

    def __init__(
        self, peer: Peer, name: str, acknowledged: bool = True, patience: float = 20.0
    ) -> None:
        self.name, self.acknowledged, self._patience = name, acknowledged, patience
        self._peer, self._controller = peer, peer.controller
        self._notified = b""
        self._responses = 0

    @property
    def now(self) -> float:
        """Seconds on the simulated clock."""
        return self._controller.now

    def send(self, data: bytes) -> None:
        """Write to the board; in pieces, if the connection carries less at once."""
        size = self._controller.limits.mtu - 3
        for at in range(0, len(data), size):
            self._write(Packet("write" if self.acknowledged else "command", data[at : at + size]))

    def _write(self, packet: Packet) -> None:
        self._check()
        self._responses = 0
        self._controller.write(packet)
        if packet.kind != "command":
            self._wait(_ATT_SECONDS, lambda: self._responses > 0)
            if not self._responses:
                self._controller.disconnect()
            self._check()

    def receive(self, seconds: float) -> bytes:
        """Return what the board has sent, or let the time pass."""
        self._wait(seconds, lambda: bool(self._notified))
        data, self._notified = self._notified, b""
        if not data:
            self._check()
        return data

    def _wait(self, seconds: float, reached: Callable[[], bool]) -> None:
        """Wait for something, at most so long, and not without a connection."""

        def ended() -> bool:
            while self._controller.received:
                packet = self._controller.received.popleft()
                self._notified += packet.data
                self._responses += packet.kind == "response"
            return reached() or not self._controller.connected

        self._peer.run(self.now + seconds, ended)

    def _check(self) -> None:
        if not self._controller.connected:
            raise LinkLost(f"{self.name} has left; bring it nearer or reset it")

    def reopen(self) -> None:
        """Look for the board and connect, again and again while the patience lasts."""
        self.close()
        end = self.now + self._patience
        while self.now < end:
            self._peer.run(end, lambda: self._controller.advertising)
            self._peer.run(self.now + CONNECT, lambda: False)
            if self._controller.connect():
                try:
                    self._write(Packet("subscribe", bytes(2)))
                    return
                except LinkLost:
                    continue
        raise LinkLost(f"no board {self.name} is in reach by Bluetooth; bring it nearer")

    def close(self) -> None:
        """Disconnect."""
        self._controller.disconnect()
        self._controller.received.clear()
        self._notified = b""
