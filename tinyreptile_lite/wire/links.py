"""Links: how bytes reach a board and come back. All have the same few methods.

A link may lose, repeat or damage bytes; the wire format lives with that. It raises `LinkLost` when
it is gone altogether or not open yet, and `reopen` tries to get it (back). So a board may come
later than its link is made. Bluetooth is in `ble`, faults on purpose are in `faults`.
"""

import heapq
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.wire.local import LocalBoard

USB_FRAME = 1039  # longest frame on USB: a chunk of 256 floats
BITS_PER_BYTE = 10  # on a serial line: start bit, 8 bits, stop bit
Result = TypeVar("Result")


class LinkLost(KitError):
    """The link to a board is gone, for now or for good."""


class Link(Protocol):
    """A two-way stream of bytes.

    Attributes
    ----------
    name : str
        What the user calls it, for example "/dev/ttyACM0".
    frame_bytes : int
        Longest frame it should carry.
    timeout : float
        Seconds of silence after which an answer counts as lost.
    """

    name: str
    frame_bytes: int
    timeout: float

    def send(self, data: bytes) -> None:
        """Send whole frames. Raises `LinkLost`."""

    def receive(self, seconds: float) -> bytes:
        """Return what has come, waiting at most so long; b"" if nothing came. Raises `LinkLost`."""

    def reopen(self) -> None:
        """Open the link, or open it again; bytes on their way are lost. Raises `LinkLost`."""

    def close(self) -> None:
        """Give the link up for now; `reopen` gets it back."""


class LocalLink:
    """A link to a board inside this process. It answers at once, so waiting takes no time.

    Parameters
    ----------
    board : LocalBoard
    frame_bytes : int
        Longest frame, to play USB (1,039) or Bluetooth (199).
    """

    def __init__(self, board: LocalBoard, frame_bytes: int = USB_FRAME) -> None:
        self.name, self.frame_bytes, self.timeout = board.device.name, frame_bytes, 0.25
        self.board = board
        self._waiting = b""

    def send(self, data: bytes) -> None:
        """Let the board work on the bytes."""
        self._waiting += self.board.feed(data)

    def receive(self, seconds: float) -> bytes:
        """Return what the board has answered."""
        data, self._waiting = self._waiting, b""
        return data

    def reopen(self) -> None:
        """Forget what was on its way."""
        self._waiting = b""

    def close(self) -> None:
        """Nothing to close."""


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
        self._arrivals: list[tuple[float, int, bytes]] = []
        self._count = 0

    def send(self, data: bytes) -> None:
        """Send; the server does not wait, the line does."""
        at_board = self._transmit(0, self.now, len(data))
        for frame in self.board.feed(data).split(b"\0")[:-1]:
            arrival = self._transmit(1, at_board, len(frame) + 1)
            self._count += 1
            heapq.heappush(self._arrivals, (arrival, self._count, frame + b"\0"))

    def _transmit(self, line: int, ready: float, size: int) -> float:
        """Occupy a line; return when the last byte arrives."""
        self._line_free[line] = max(ready, self._line_free[line]) + size * self._byte_time
        return self._line_free[line] + self._latency

    def receive(self, seconds: float) -> bytes:
        """Return the next frame, or let the time pass."""
        if self._arrivals and self._arrivals[0][0] <= self.now + seconds:
            arrival, _, frame = heapq.heappop(self._arrivals)
            self.now = max(self.now, arrival)
            return frame
        self.now += seconds
        return b""


class SerialLink:
    """A board on a USB or serial port, which `reopen` opens.

    Parameters
    ----------
    port : str
        For example "/dev/ttyACM0" or "COM3".
    baud : int
        Means nothing on USB.
    patience : float
        Seconds that `reopen` waits for a board that was there and was unplugged or reset.
    """

    frame_bytes = USB_FRAME
    timeout = 0.25

    def __init__(self, port: str, baud: int = 115_200, patience: float = 10.0) -> None:
        self.name, self._baud, self._patience = port, baud, patience
        self._port: Any = None
        self._wait = 0.0  # seconds: a board that was never there is not waited for

    def reopen(self) -> None:
        """Open the port.

        Raises
        ------
        KitError
            If pyserial is not installed.
        LinkLost
            If there is no such port, or it may not be opened.
        """
        self._drop()
        end = time.monotonic() + self._wait
        while True:
            try:
                self._port, self._wait = self._open(), self._patience
                return
            except LinkLost:
                if time.monotonic() >= end:
                    self._wait = 0.0
                    raise
                time.sleep(0.2)

    def _open(self) -> Any:
        try:
            import serial
        except ImportError:
            raise KitError("pyserial is not installed; pip install pyserial") from None
        try:
            return serial.Serial(self.name, self._baud, timeout=0, write_timeout=5)
        except (OSError, ValueError) as error:
            raise LinkLost(_port_trouble(self.name, error)) from None

    def send(self, data: bytes) -> None:
        """Write to the port."""
        self._guarded(lambda port: port.write(data))

    def receive(self, seconds: float) -> bytes:
        """Return what is there, or wait for the first byte."""

        def read(port: Any) -> bytes:
            port.timeout = seconds
            first: bytes = port.read(1)
            return first + port.read(port.in_waiting) if first else b""

        return self._guarded(read)

    def _guarded(self, use: Callable[[Any], Result]) -> Result:
        if self._port is None:
            raise LinkLost(f"{self.name} is not open; plug the board in")
        try:
            return use(self._port)
        except OSError as error:  # serial.SerialException is one
            self._drop()
            raise LinkLost(f"{self.name} is gone ({error}); plug the board in again") from None

    def close(self) -> None:
        """Close the port."""
        self._drop()
        self._wait = 0.0

    def _drop(self) -> None:
        if self._port is not None:
            self._port.close()
        self._port = None


def _port_trouble(name: str, error: Exception) -> str:
    text = str(error).lower()
    if "permission" in text or "access is denied" in text:
        return (
            f"{name} may not be opened; close other programs that use it, "
            "and on Linux join the group: sudo usermod -aG dialout $USER"
        )
    if "busy" in text:
        return f"{name} is in use; close the serial monitor or whatever else has it open"
    return (
        f"there is no board on {name}; plug it in, "
        "and list the ports with: python -m serial.tools.list_ports"
    )
