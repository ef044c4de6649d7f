"""A real Nano 33 BLE: compile and upload with arduino-cli, talk to it with pyserial."""

import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

from tinyreptile_lite.core.build import run
from tinyreptile_lite.errors import KitError, needed
from tinyreptile_lite.nano.compilers import BuildError
from tinyreptile_lite.nano.sketch import read_sketch

BOARD = "arduino:mbed_nano:nano33ble"
PACKAGE = "arduino:mbed_nano"
_BAUD = 115_200  # means nothing over USB, but the port wants a number
_REAPPEAR_S = 10.0  # after an upload the board's port goes away for a moment


def is_port(name: str) -> bool:
    """Whether this names a serial port: ``/dev/...`` or ``COM3``."""
    return name.startswith("/dev/") or re.fullmatch(r"COM\d+", name, re.IGNORECASE) is not None


def upload(sketch: str | Path, port: str) -> str:
    """Compile a sketch and load it onto the board at `port`; what arduino-cli says, with the sizes.

    Raises
    ------
    BuildError
        If the sketch does not compile; the message has the sketch's line, and the command that
        installs a missing library.
    KitError
        If there is no such sketch or port, or if arduino-cli or its board package is missing.
    """
    source = read_sketch(sketch)
    command = shutil.which("arduino-cli")
    if command is None:
        raise KitError(
            "arduino-cli is not installed: see https://arduino.github.io/arduino-cli/latest/"
            "installation/, or use --board virtual"
        )
    _check_package(command)
    _check_port(port)
    libraries = [f"--libraries={library.folder.parent}" for library in source.libraries[:1]]
    folder = Path(sketch).resolve()
    folder = folder.parent if folder.suffix == ".ino" else folder
    where = ["--fqbn", BOARD, "--port", port]
    done = run([command, "compile", "--upload", *where, *libraries, str(folder)])
    if done.returncode:
        raise BuildError(_first_line(source.name, port, done.stderr), done.stderr)
    return done.stdout


def _check_package(command: str) -> None:
    done = run([command, "core", "list", "--format", "json"])
    try:
        listed: Any = json.loads(done.stdout or "[]")
    except json.JSONDecodeError:
        raise KitError("arduino-cli does not list its board packages as JSON; update it") from None
    rows = listed.get("platforms") or [] if isinstance(listed, dict) else listed
    if not any(PACKAGE in (row.get("id"), row.get("ID")) for row in rows):
        raise KitError(
            f"the board package {PACKAGE} is missing; install it with: "
            f"arduino-cli core install {PACKAGE}"
        )


def _check_port(port: str) -> None:
    found = {row.device for row in needed("serial.tools.list_ports", "pyserial").comports()}
    if port not in found and not os.path.exists(port):  # noqa: PTH110 - false for any odd name
        there = ", ".join(sorted(found)) or "none"
        raise KitError(f"no board at {port}; plug it in, or choose a port that is there: {there}")


def _first_line(name: str, port: str, output: str) -> str:
    """Return the first error of arduino-cli in one line, with a remedy where one is known."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
    first = (errors or lines or ["arduino-cli gave no reason"])[0]
    if missing := re.search(r"(\w+)\.h: No such file", first):
        return f"{first}; install the library with: arduino-cli lib install {missing[1]}"
    if any("compil" in line.lower() or ": error:" in line for line in errors):
        return f"{name} does not compile: {first}"
    return f"{name} cannot be loaded onto the board at {port}: {first}"


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
