"""`tinyreptile record`: what the sketch Recorder sends becomes a file."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.monitor import FRAMES, check_seconds, find_port, load
from tinyreptile_lite.nano.ports import check_port, open_port
from tinyreptile_lite.nano.recording import (
    USUAL_RATE,
    Saver,
    belongs_to_recording,
    read_recording,
    recorded_rate,
)
from tinyreptile_lite.nano.sketch import SKETCHBOOK

SKETCH = SKETCHBOOK / "Recorder"
_PATIENCE_S = 10.0  # for a sketch that is just starting
_GOODBYE_S = 1.0  # for the last lines


def record(
    board: str,
    file: str | Path,
    *,
    seconds: float | None = None,
    imu: str | Path | None = None,
    imu_rate: float | None = None,
    imu_frame: str = "board",
    revision: int = 1,
) -> int:
    """Let the sketch Recorder record, and store it as a CSV file.

    Parameters
    ----------
    board : str
        The serial port of a board on which Recorder runs; "auto" for the only one that is plugged
        in; or "virtual".
    file : path
        A new file, CSV.
    seconds : float, optional
        How long; by default until Ctrl-C, or as long as what the virtual IMU plays.
    imu, imu_rate, imu_frame, revision : optional
        What the virtual IMU plays, and which sensor it is, as in `flash`.

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
    check_seconds(seconds, "record")
    if Path(file).suffix.lower() == ".npy":
        raise KitError(f"{file}: samples are stored as CSV; choose a name that ends in .csv")
    if board != "virtual":
        board = find_port(board)
        check_port(board)
        if (imu, imu_rate, imu_frame, revision) != (None, None, "board", 1):
            raise KitError("--imu and --rev are for the virtual board; a real one has its sensor")
    saver = Saver(file, belongs_to_recording)
    try:
        if board == "virtual":
            _record_virtual(saver, seconds, imu, imu_rate, imu_frame, revision)
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
    if not any(line[:1] not in "#a" for line in saver.path.read_text("utf-8").splitlines()):
        saver.path.unlink()
        return 0
    count = len(read_recording(saver.path))
    rate = recorded_rate(saver.path) or USUAL_RATE
    dropped = f"; {saver.dropped} lines were no samples" if saver.dropped else ""
    print(
        f"{count:,} samples, {count / rate:.1f} s at {rate:g} Hz, are in {saver.path}{dropped}",
        file=sys.stderr,
    )
    return count


def _record_virtual(
    saver: Saver,
    seconds: float | None,
    imu: str | Path | None,
    rate: float | None,
    frame: str,
    revision: int,
) -> None:
    if seconds is None and imu is None:
        raise KitError("the virtual board needs --seconds, or a recording to play: --imu FILE")
    nano = load(SKETCH, None, imu, rate, revision, loop=seconds is not None, frame=frame)
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
    parser.add_argument("board", help="virtual, auto, /dev/ttyACM0, COM3, ...")
    parser.add_argument("file", type=Path, help="the new file, CSV")
    parser.add_argument("--seconds", type=float, help="how long; else until Ctrl-C")
    parser.add_argument("--imu", type=Path, help="what the virtual IMU plays, CSV or .npy")
    parser.add_argument("--imu-rate", type=float, help="its samples per second, if it does not say")
    parser.add_argument(
        "--imu-frame", default="board", help=f"as in flash: {', '.join(FRAMES)}; default: board"
    )
    parser.add_argument(
        "--rev2", dest="revision", action="store_const", const=2, default=1,
        help="the virtual board is a revision 2",
    )  # fmt: skip
    parser.set_defaults(run=_record)


def _record(options: argparse.Namespace) -> None:
    names = ("seconds", "imu", "imu_rate", "imu_frame", "revision")
    record(options.board, options.file, **{name: getattr(options, name) for name in names})
