"""Links: how bytes reach a board and come back. All have the same few methods.

A link may lose, repeat or damage bytes; the wire format lives with that. It raises `LinkLost` when
it is gone altogether or not open yet, and `reopen` tries to get it (back). So a board may come
later than its link is made. Bluetooth is in `ble`, faults on purpose are in `faults`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from tinyreptile_lite.errors import KitError, needed
from tinyreptile_lite.wire.local import LocalBoard

USB_FRAME = 1039  # longest frame on USB: a chunk of 256 floats
_BAUD = 115_200  # means nothing on USB


class LinkLost(KitError):
    """The link to a board is gone, for now or for good."""


class Link(Protocol):
    """A two-way stream of bytes."""

    name: str  # what the user calls it, for example "/dev/ttyACM0"
    frame_bytes: int  # longest frame it should carry
    timeout: float  # seconds of silence after which an answer counts as lost

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

    Its longest frame makes it play USB (1,039 bytes) or Bluetooth (199).
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


class SerialLink:
    """A board on a USB or serial port, which `reopen` opens.

    Parameters
    ----------
    port : str
        For example "/dev/ttyACM0" or "COM3".
    patience : float
        Seconds that `reopen` waits for a board that was there and was unplugged or reset.
    """

    frame_bytes = USB_FRAME
    timeout = 0.25

    def __init__(self, port: str, patience: float = 10.0) -> None:
        self.name, self._patience = port, patience
        self._port: Any = None
        self._wait = 0.0  # seconds: a board that was never there is not waited for

    def reopen(self) -> None:
        """Open the port. Raises `LinkLost` if there is none, or it may not be opened."""
        wait = self._wait
        self.close()
        end = time.monotonic() + wait
        while self._port is None:
            try:
                self._port = self._open()
            except LinkLost:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.2)
        self._wait = self._patience

    def _open(self) -> Any:
        serial = needed("serial", "pyserial")
        try:
            return serial.Serial(self.name, _BAUD, timeout=0, write_timeout=5)
        except (OSError, ValueError) as error:
            raise LinkLost(_port_trouble(self.name, error)) from None

    def send(self, data: bytes) -> None:
        """Write to the port."""
        with self._opened() as port:
            port.write(data)

    def receive(self, seconds: float) -> bytes:
        """Return what is there, or wait for the first byte."""
        with self._opened() as port:
            port.timeout = seconds
            first: bytes = port.read(1)
            return first + port.read(port.in_waiting) if first else b""

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        if self._port is None:
            raise LinkLost(f"{self.name} is not open; plug the board in")
        try:
            yield self._port
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
