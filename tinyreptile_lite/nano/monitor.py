"""`tinyreptile flash`: build a sketch, and load it onto a board; `terminal` then takes over."""

import argparse
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinyreptile_lite import cache
from tinyreptile_lite.errors import KitError, file_errors, unknown_name
from tinyreptile_lite.nano.arduino_cli import check_arduino_cli, save_image, upload, upload_image
from tinyreptile_lite.nano.board_check import BoardReport, check_real, check_virtual
from tinyreptile_lite.nano.compilers import BuildError, find_compiler
from tinyreptile_lite.nano.firmware import build
from tinyreptile_lite.nano.flash import read_kept
from tinyreptile_lite.nano.microphone import read_wav
from tinyreptile_lite.nano.mounting import ARMS, as_worn
from tinyreptile_lite.nano.peripherals import Imu
from tinyreptile_lite.nano.ports import find_nano, is_port
from tinyreptile_lite.nano.recording import USUAL_RATE, doubts, read_recording, recorded_rate
from tinyreptile_lite.nano.revisions import CHIPS, chip_of, compiler_flags
from tinyreptile_lite.nano.sketch import kit_sketches, read_sketch
from tinyreptile_lite.nano.terminal import HELP, run_real, run_virtual, say, show
from tinyreptile_lite.nano.virtual import VirtualNano

FRAMES = "board", *ARMS
_MOST_SECONDS = 1_000_000  # eleven days
_FIRST_TIME = "arduino-cli compiles; the first time it fetches core and libraries, for minutes"


def flash(
    sketch: str | Path | None,
    board: str = "virtual",
    *,
    revision: int | None = None,
    check: bool = False,
    image: str | Path | None = None,
    seconds: float | None = None,
    imu: str | Path | None = None,
    imu_rate: float | None = None,
    imu_frame: str = "board",
    mic: str | Path | None = None,
    keep: str | Path | None = None,
    fast: bool | None = None,
    compiler: str | None = None,
) -> None:
    """Build a sketch, load it onto a board, and connect it with the terminal.

    Lines typed go to the sketch, what the sketch sends is printed; Ctrl-C ends.

    Parameters
    ----------
    sketch : path or None
        The sketch folder; None only checks the board.
    board : str
        "virtual"; the serial port of a real board, such as /dev/ttyACM0 or COM3; or "auto" for the
        only one that is plugged in.
    revision : {1, 2}, optional
        The board's revision, 2 if it is marked Rev2. By default what the check finds, else 1.
    check : bool
        Run BoardCheck first, and say what it finds.
    image : path, optional
        Load this image of the sketch onto a real board, instead of compiling it.
    seconds : float, optional
        End after so many seconds of the board's time. By default go on until Ctrl-C.
    imu, imu_rate, compiler : optional
        As in `VirtualNano`, but the recording is a file, CSV or .npy; the rate is by default the
        one that it names, else 25.
    imu_frame : {"board", "left", "right"}
        The recording's frame: that of the board's own library; or that of the kit's recordings of
        wrists, played by a board that is worn as documented on this arm.
    mic : path, optional
        WAV file that the microphone plays, see `microphone.read_wav`.
    keep : path, optional
        File from which the virtual board's flash memory is read, if it is there, and to which it
        is written whenever the sketch has written to its flash, and at the end.
    fast : bool, optional
        Let virtual time run as fast as it can; by default if nobody is at the keyboard and
        `seconds` is given.

    Raises
    ------
    BuildError, BoardFault, KitError
        Each one line that names the cause and the remedy.
    """
    if sketch is None and (image is not None or not check):
        raise KitError(
            "no sketch to load; name its folder, or add --check to look at the board; the kit's "
            f"are: {kit_sketches()}"
        )
    check_seconds(seconds, "run")
    _check_ignored(sketch, imu, imu_rate, imu_frame, mic, keep)
    if keep is not None and board == "virtual":
        _check_keep(Path(keep))
    with _compilers_words():
        if board == "virtual":
            if image is not None:
                raise KitError(f"{image} is for a real board; name its port with --board")
            if check:
                _tell(check_virtual(revision or 1, compiler))
            if sketch is not None:
                frame, number = imu_frame, revision or 1
                nano = load(sketch, compiler, imu, imu_rate, number, frame=frame, mic=mic)
                if fast is None:
                    fast = seconds is not None and not sys.stdin.isatty()
                with _kept(nano, keep) as after_step:
                    run_virtual(nano, seconds, fast, after_step)
            return
        if mic is not None:
            raise KitError("--mic is for the virtual board; speak to a real one")
        if keep is not None:
            raise KitError("--keep is for the virtual board; a real one keeps its flash by itself")
        port = find_port(board)
        if check:
            revision = _agreed(port, revision, check_real(port))
        if sketch is not None:
            _upload(sketch, image, port, revision)
            run_real(port, seconds)


def _check_ignored(
    sketch: str | Path | None,
    imu: str | Path | None,
    rate: float | None,
    frame: str,
    mic: str | Path | None,
    keep: str | Path | None,
) -> None:
    """Refuse options that would do nothing."""
    files = {"--imu": imu, "--mic": mic, "--keep": keep}
    for name in (name for name, file in files.items() if file is not None and sketch is None):
        raise KitError(f"{name} is for a sketch, and --check alone has none; name its folder")
    if frame not in FRAMES:
        raise unknown_name("frame of a recording", frame, FRAMES)
    if imu is None and (frame != "board" or rate is not None):
        if rate is not None:
            Imu(None, rate)
        name = "--imu-frame" if rate is None else "--imu-rate"
        raise KitError(f"{name} is about a recording; name it with --imu")


def check_seconds(seconds: float | None, verb: str) -> None:
    """Raise `KitError` for a time that nobody waits for."""
    if seconds is not None and not 0 < seconds <= _MOST_SECONDS:
        raise KitError(
            f"cannot {verb} for {seconds} seconds; choose more than 0, and at most "
            f"{_MOST_SECONDS:,}, or leave it out"
        )


@contextmanager
def _compilers_words() -> Iterator[None]:
    try:
        yield
    except BuildError as error:
        say(error.output.strip())
        raise


def _check_keep(file: Path) -> None:
    """Refuse before the build what could not be read or written after it."""
    with file_errors("choose a file you can read"):
        there = file.exists()
    if there:
        read_kept(file)
    if not (file.parent.is_dir() and os.access(file.parent, os.W_OK)):
        raise KitError(f"cannot write {file}; choose a folder that is there and you can write to")


@contextmanager
def _kept(nano: VirtualNano, file: str | Path | None) -> Iterator[Callable[[], None]]:
    """Let the board's flash begin as the file says, if there is one, and end in it.

    Gives what is to be called after each step: it saves when the sketch has done writing.
    """
    if file is None:
        yield lambda: None
        return
    if Path(file).exists():
        nano.flash.load(file)
    saved = before = nano.flash.changes

    def after_step() -> None:
        nonlocal saved, before
        if saved != before == nano.flash.changes:  # and no writing is under way
            nano.flash.save(file)
            saved = before
        before = nano.flash.changes

    with _signals_as_control_c():
        try:
            yield after_step
        finally:
            nano.flash.save(file)


@contextmanager
def _signals_as_control_c() -> Iterator[None]:
    """Let a closed terminal or a polite kill end the session as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGHUP", "SIGTERM") if hasattr(signal, name)]
    old = {name: signal.signal(getattr(signal, name), _interrupt) for name in names}
    try:
        yield
    finally:
        for name, handler in old.items():
            signal.signal(getattr(signal, name), handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def find_port(board: str) -> str:
    """Return the port that the name is, or that is found for "auto", which is said."""
    if board == "auto":
        board = find_nano()
        say(f"found a Nano 33 BLE at {board}")
    elif not is_port(board):
        raise KitError(
            f"unknown board {board!r}; choose virtual, auto, or a port like /dev/ttyACM0 or COM3"
        )
    return board


def _tell(report: BoardReport) -> None:
    show(report.text.encode())
    say(report.summary())


def _agreed(port: str, asked: int | None, report: BoardReport) -> int | None:
    """Return the revision that the check has found, if it is the one that was asked for."""
    _tell(report)
    if asked and report.revision and asked != report.revision:
        raise KitError(
            f"the board at {port} is revision {report.revision}, not {asked}; "
            f"leave out --rev{asked}"
        )
    return report.revision or asked


def _upload(sketch: str | Path, image: str | Path | None, port: str, revision: int | None) -> None:
    if image is not None:
        named = re.search(r"-rev(\d)\.bin$", str(image))
        if named and revision and int(named[1]) != revision:
            raise KitError(f"{image} is for revision {named[1]}; load the one for rev{revision}")
        said = upload_image(sketch, image, port, revision or 1)
    else:
        if revision is None and any(b"REV2" in text for text in read_sketch(sketch).files.values()):
            say("built for revision 1; if the board is marked Rev2, add --rev2 or --check")
        check_arduino_cli()
        say(_FIRST_TIME)
        said = upload(sketch, port, revision or 1)
    say(said.strip())


def load(
    sketch: str | Path,
    compiler: str | None = None,
    imu: str | Path | None = None,
    rate: float | None = None,
    revision: int = 1,
    loop: bool = True,
    frame: str = "board",
    mic: str | Path | None = None,
) -> VirtualNano:
    """Build a sketch for a virtual board, and say so; the parameters are those of `flash`."""
    recording = None if imu is None else read_recording(imu)
    sound = None if mic is None else read_wav(mic)
    if rate is None:
        rate = None if imu is None else recorded_rate(imu)
    if rate is None:
        rate = USUAL_RATE
    if frame not in FRAMES:
        raise unknown_name("frame of a recording", frame, FRAMES)
    find_compiler(compiler)
    Imu(recording, rate)  # a slip is told before the work
    say("" if recording is None else doubts(recording))
    if read_sketch(sketch).name == "FederatedClient":
        say("FederatedClient speaks the wire format, not text; run: tinyreptile serve virtual:2")
    if recording is not None and frame in ARMS:
        recording = as_worn(recording, frame, chip_of(revision))
    if not cache.holds("firmware"):
        say("building for the first time; this takes a minute, later builds a few seconds")
    firmware = build(sketch, compiler=compiler, flags=compiler_flags(revision))
    say(firmware.warnings.strip())
    say(f"{firmware.name}, built with {firmware.compiler}: {firmware.memory}")
    chip = chip_of(revision)
    playing: dict[str, Any] = {"imu": recording, "imu_rate": rate, "imu_loop": loop}
    return VirtualNano(firmware, imu_chip=chip, sound=sound, **playing)


def add_flash_parser(commands: Any) -> None:
    """Add the command `flash` to the command line."""
    about = "Load a sketch onto a board, virtual or real, and open a serial monitor."
    parser = commands.add_parser("flash", help=about, description=f"{about} {HELP}.")
    parser.add_argument("sketch", type=Path, nargs="?", help="the sketch folder")
    parser.add_argument(
        "--board",
        default="virtual",
        nargs="?",
        const="auto",
        help="virtual, /dev/ttyACM0, COM3, ...; auto, or no name, for the only one plugged in",
    )
    parser.add_argument("--check", action="store_true", help="run BoardCheck on the board first")
    revision = parser.add_mutually_exclusive_group()
    for number in CHIPS:
        revision.add_argument(
            f"--rev{number}", dest="revision", action="store_const", const=number, default=None,
            help=f"the board is a revision {number}, with the sensor {CHIPS[number]}",
        )  # fmt: skip
    parser.add_argument("--image", type=Path, help="load this image onto a real board")
    parser.add_argument(
        "--build-only", type=Path, metavar="FOLDER", help="make such an image, and load nothing"
    )
    parser.add_argument("--seconds", type=float, help="end by itself after so much board time")
    parser.add_argument("--imu", type=Path, help="recording for the virtual IMU, CSV or .npy")
    parser.add_argument("--imu-rate", type=float, help="its samples per second, if it does not say")
    parser.add_argument(
        "--imu-frame",
        default="board",
        help="whose axes the recording has: board, those of the board's own library, so what a "
        "board has recorded needs nothing more; left or right: those of the kit's recordings of "
        "wrists, and the board is worn as documented on this arm",
    )
    parser.add_argument(
        "--mic", type=Path, help="recording for the virtual microphone: WAV, 16 kHz, mono, 16 bit"
    )
    parser.add_argument("--keep", type=Path, help="file that keeps the virtual board's flash")
    parser.add_argument("--fast", action="store_true", default=None, help="do not wait for time")
    parser.add_argument("--compiler", help="gcc or zig, for the virtual board")
    parser.set_defaults(run=_flash)


def _flash(options: argparse.Namespace) -> None:
    if options.build_only is not None:
        if options.sketch is None:
            raise _eaten("--build-only", options.build_only, "FOLDER") or KitError(
                "no sketch to build; name its folder"
            )
        check_arduino_cli()
        say(_FIRST_TIME)
        with _compilers_words():
            made = save_image(options.sketch, options.build_only, options.revision or 1)
        print(f"wrote {made}; load it with --image")
        return
    if options.sketch is None and (eaten := _eaten("--board", options.board, "BOARD")):
        raise eaten
    names = ("revision", "check", "image", "seconds", "imu", "imu_rate", "imu_frame", "mic", "keep")
    given = {name: getattr(options, name) for name in (*names, "fast", "compiler")}
    flash(options.sketch, options.board, **given)


def _eaten(option: str, value: Path | str, name: str) -> KitError | None:
    """Return the error for an option that took the sketch's folder for its own value."""
    folder = Path(value)
    if not (folder / f"{folder.name}.ino").is_file():
        return None
    return KitError(
        f"{option} took {value} for its own {name}; name the sketch first: "
        f"tinyreptile flash {value} {option}{' FOLDER' if name == 'FOLDER' else ''}"
    )
