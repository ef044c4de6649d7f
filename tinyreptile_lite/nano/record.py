"""`tinyreptile record`: what the sketch Recorder sends becomes a file."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.monitor import load
from tinyreptile_lite.nano.ports import is_port, open_port
from tinyreptile_lite.nano.recording import (
    USUAL_RATE,
    Saver,
    belongs_to_recording,
    read_recording,
    recorded_rate,
)

SKETCH = Path(__file__).resolve().parents[2] / "arduino" / "Recorder"
_PATIENCE_S = 10.0  # for a sketch that is just starting
_GOODBYE_S = 1.0  # for the last lines


def record(
    board: str,
    file: str | Path,
    *,
    seconds: float | None = None,
    imu: str | Path | None = None,
    imu_rate: float | None = None,
) -> int:
    """Let the sketch Recorder record, and store it as a CSV file.

    Parameters
    ----------
    board : str
        The serial port of a board on which Recorder runs, or "virtual".
    file : path
        A new file.
    seconds : float, optional
        How long; by default until Ctrl-C, or as long as what the virtual IMU plays.
    imu, imu_rate : optional
        What the virtual IMU plays, as in `flash`.

    Returns
    -------
    int
        The number of samples.

    Raises
    ------
    KitError
        If the file is there, the board is not, nothing was recorded, or the board went away; what
        came until then is in the file.
    """
    if seconds is not None and not seconds > 0:
        raise KitError(f"cannot record for {seconds} seconds; choose more than 0")
    if board != "virtual" and not is_port(board):
        raise KitError(f"unknown board {board!r}; choose virtual, or a port like /dev/ttyACM0")
    saver = Saver(file, belongs_to_recording)
    try:
        if board == "virtual":
            _record_virtual(saver, seconds, imu, imu_rate)
        else:
            _record_real(saver, board, seconds)
    finally:
        saver.close()
        samples = _samples(saver)
    if not samples:
        raise KitError(f"no sample came from {board}, so there is no {file}; is the IMU found?")
    return samples


def _samples(saver: Saver) -> int:
    """Count what is in the file, and say it; a file without samples is taken away again."""
    if not saver.begun:
        return 0
    try:
        count = len(read_recording(saver.path))
    except KitError:
        saver.path.unlink()
        return 0
    rate = recorded_rate(saver.path) or USUAL_RATE
    dropped = f"; {saver.dropped} lines were no samples" if saver.dropped else ""
    print(
        f"{count:,} samples, {count / rate:.1f} s at {rate:g} Hz, are in {saver.path}{dropped}",
        file=sys.stderr,
    )
    return count


def _record_virtual(
    saver: Saver, seconds: float | None, imu: str | Path | None, rate: float | None
) -> None:
    if seconds is None and imu is None:
        raise KitError("the virtual board needs --seconds, or a recording to play: --imu FILE")
    nano = load(SKETCH, None, imu, rate, loop=seconds is not None)
    nano.serial.listener = saver.take
    nano.serial.write_line("r")
    if seconds is None:
        seconds = len(nano.imu.recording) / nano.imu.rate
    nano.run(1000 * seconds)
    nano.serial.write_line("s")
    nano.run(1000 * _GOODBYE_S)


def _record_real(saver: Saver, port: str, seconds: float | None) -> None:
    """Record until the time is over or Ctrl-C is pressed, then say goodbye to the sketch."""
    with open_port(port) as serial:
        try:
            try:
                _begin(saver, serial, port)
                print("recording; Ctrl-C ends", file=sys.stderr)
                end = None if seconds is None else time.monotonic() + seconds
                while not saver.done and (end is None or time.monotonic() < end):
                    saver.take(serial.read(4096))
            except KeyboardInterrupt:
                if not saver.begun:
                    raise
            serial.write(b"s\n")
            end = time.monotonic() + _GOODBYE_S
            while not saver.done and time.monotonic() < end:
                saver.take(serial.read(4096))
        except OSError:  # what pyserial raises too
            raise KitError(f"the board at {port} is gone; plug it in again") from None


def _begin(saver: Saver, serial: Any, port: str) -> None:
    end = time.monotonic() + _PATIENCE_S
    serial.write(b"\ns\nr\n")  # stop what may still be going on
    while not saver.begun:
        if time.monotonic() > end:
            raise KitError(
                f"the board at {port} does not record; load the sketch first: "
                f"tinyreptile flash arduino/Recorder --board {port}"
            )
        saver.take(serial.read(4096))


def add_record_parser(commands: Any) -> None:
    """Add the command `record` to the command line."""
    about = "Store what the sketch Recorder reads from the IMU as a CSV file, for --imu."
    parser = commands.add_parser("record", help=about, description=about)
    parser.add_argument("board", help="virtual, /dev/ttyACM0, COM3, ...")
    parser.add_argument("file", type=Path, help="the new file")
    parser.add_argument("--seconds", type=float, help="how long; else until Ctrl-C")
    parser.add_argument("--imu", type=Path, help="what the virtual IMU plays, CSV or .npy")
    parser.add_argument("--imu-rate", type=float, help="its samples per second, if it does not say")
    parser.set_defaults(run=_record)


def _record(options: argparse.Namespace) -> None:
    names = ("seconds", "imu", "imu_rate")
    record(options.board, options.file, **{name: getattr(options, name) for name in names})
