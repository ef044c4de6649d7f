"""Serial ports: which one has a Nano 33 BLE, and how to open it."""

import os
import re
import time
from typing import Any

from tinyreptile_lite.errors import KitError, needed

# USB numbers of the board in boards.txt of the Arduino core, for sketches and for the boot loader.
# Both revisions have the same, so the port does not tell which one it is.
_VENDOR, _PRODUCTS = 0x2341, {0x005A, 0x015A, 0x025A, 0x805A}
_BAUD = 115_200  # means nothing over USB, but the port wants a number
_REAPPEAR_S = 10.0  # after an upload the board's port goes away for a moment


def is_port(name: str) -> bool:
    """Whether this names a serial port: ``/dev/...`` or ``COM3``."""
    return name.startswith("/dev/") or re.fullmatch(r"COM\d+", name, re.IGNORECASE) is not None


def find_nano() -> str:
    """Return the port of the only Nano 33 BLE that is plugged in.

    Raises
    ------
    KitError
        If there is none, or more than one; or if pyserial is not installed.
    """
    found = sorted(row.device for row in _ports() if row.vid == _VENDOR and row.pid in _PRODUCTS)
    if not found:
        raise KitError(
            "no Nano 33 BLE is plugged in; plug one in with a cable that carries data, press its "
            "button twice if it stays unseen, or use --board virtual"
        )
    if len(found) > 1:
        raise KitError(
            f"several boards are plugged in; choose one with --board: {', '.join(found)}"
        )
    return found[0]


def check_port(port: str) -> None:
    """Raise `KitError` unless there is such a port."""
    found = {row.device for row in _ports()}
    if port not in found and not os.path.exists(port):  # noqa: PTH110 - false for any odd name
        there = ", ".join(sorted(found)) or "none"
        raise KitError(f"no board at {port}; plug it in, or choose a port that is there: {there}")


def open_port(port: str) -> Any:
    """Open the board's serial port, a `serial.Serial`; waits while the board restarts."""
    serial = needed("serial", "pyserial")
    end = time.monotonic() + _REAPPEAR_S
    while True:
        try:
            return serial.Serial(port, _BAUD, timeout=0.05)
        except serial.SerialException as error:
            if time.monotonic() > end:
                raise KitError(f"cannot open {port}: {error}") from None
            time.sleep(0.2)


def _ports() -> list[Any]:
    return list(needed("serial.tools.list_ports", "pyserial").comports())
