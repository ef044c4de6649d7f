"""A serial monitor in the terminal: the keyboard, the screen, and commands for the board."""

import queue
import re
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from tinyreptile_lite.drawing import as_rows, read_drawing
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.microphone import read_wav
from tinyreptile_lite.nano.mounting import as_worn
from tinyreptile_lite.nano.peripherals import FAULTS
from tinyreptile_lite.nano.ports import open_port
from tinyreptile_lite.nano.poses import into_pose
from tinyreptile_lite.nano.recording import Saver
from tinyreptile_lite.nano.virtual import VirtualNano

_TICK_S, _STEP_MS = 0.02, 100.0
_CONTROL = re.compile(r"[^\t\n\r\x20-\x7e\xa0-\U0010ffff]")  # what a terminal might act on
HELP = (
    f":reset, :press PIN, :release PIN, :leds, :imu {'|'.join(FAULTS)}, :imu offset X Y Z; "
    ":pose 1, :pose 2, :pose 3 let a left arm that wears the board take the poses of FindAxes: "
    "palm down, thumb up, hanging; :mic FILE.wav is said to the microphone; :draw FILE.png 2 "
    "teaches DrawAdapt a picture as character 2, and without a number asks for it; :save FILE "
    "stores what the sketch sends next between its marks; anything else goes to the sketch; "
    "Ctrl-C ends"
)


def run_virtual(
    nano: VirtualNano,
    seconds: float | None,
    fast: bool,
    after_step: Callable[[], None] = lambda: None,
) -> None:
    """Run the virtual board, in step with the wall clock unless `fast`."""
    keyboard, screen = _listen(sys.stdin), _Screen()
    nano.serial.listener = screen.show
    if sys.stdin.isatty():
        say(HELP)
    left_ms = np.inf if seconds is None else 1000 * seconds
    last = time.monotonic()
    try:
        while left_ms > 0 and not nano.stopped:
            while not keyboard.empty():
                _typed(nano, screen, keyboard.get())
            if not fast:
                time.sleep(_TICK_S)
            now = time.monotonic()
            step_ms = min(left_ms, _STEP_MS if fast else min(_STEP_MS, 1000 * (now - last)))
            last = now
            nano.run(step_ms)
            left_ms -= step_ms
            after_step()
    finally:
        screen.close()
        say(
            f"{nano.time_ms / 1000:.2f} virtual seconds, {nano.instructions:,} instructions, "
            f"stack {nano.stack_used:,} of {nano.memory.stack:,} bytes"
        )
        say(nano.microphone.faults)


def _typed(nano: VirtualNano, screen: "_Screen", line: str) -> None:
    """Send a typed line to the sketch, or do what a line with a colon asks of the board."""
    word, _, rest = line.partition(" ")
    if word == ":save":
        screen.save(rest)
    elif word == ":reset":
        nano.reset()
    elif word in (":press", ":release") and rest.strip().isdigit():
        _do(nano.pins.press if word == ":press" else nano.pins.release, int(rest))
    elif word == ":imu":
        fault, *numbers = rest.split() or [""]
        if fault == "offset":
            _do(partial(setattr, nano.imu, "offset"), numbers)
        else:
            _do(partial(setattr, nano.imu, "fault"), rest.strip())
    elif word == ":pose":
        _do(partial(_pose, nano), rest.strip())
    elif word == ":mic":
        _do(partial(_say, nano), rest.strip())
    elif word == ":draw":
        _do(partial(_draw, nano.serial.write_line), rest.strip())
    elif word == ":leds":
        lit = [name for name, on in nano.leds.items() if on]
        say(f"LEDs on: {', '.join(lit) or 'none'}")
    elif word.startswith(":"):
        say(HELP)
    else:
        nano.serial.write_line(line)


def _pose(nano: VirtualNano, number: str) -> None:
    rows = into_pose(int(number) if number.isdecimal() else 0, nano.imu.rate)
    nano.imu.play(as_worn(rows, "left", nano.imu.chip or "LSM9DS1"), int(1000 * nano.time_ms))


def _say(nano: VirtualNano, file: str) -> None:
    if not file:
        raise KitError(":mic needs the name of a WAV file, such as :mic word.wav")
    seconds = nano.say(read_wav(file))
    say(f"{file} is played, up to {seconds:.1f} s from now")


def _draw(send: Callable[[str], None], given: str) -> None:
    """Send a picture to the sketch DrawAdapt, which learns it as a number, or says what it is."""
    named = re.fullmatch(r"(.*\S)\s+([0-9]+)", given)
    file, command = (named[1], f"learn {named[2]}") if named else (given, "what")
    if not file:
        raise KitError(":draw needs the name of a picture, such as :draw letter.png 2")
    for row in ["draw", *as_rows(read_drawing(file)), command]:
        send(row)


def _do(action: Callable[[Any], None], value: Any) -> None:
    """Act; a slip at the keyboard does not end the session."""
    try:
        action(value)
    except KitError as error:
        say(str(error))


def run_real(port: str, seconds: float | None) -> None:
    """Connect the terminal with the board at a port."""
    keyboard, screen = _listen(sys.stdin), _Screen()
    end = None if seconds is None else time.monotonic() + seconds
    with open_port(port) as serial:

        def send(line: str) -> None:
            serial.write(f"{line}\n".encode())

        try:
            while end is None or time.monotonic() < end:
                while not keyboard.empty():
                    line = keyboard.get()
                    word, _, rest = line.partition(" ")
                    if word == ":save":
                        screen.save(rest)
                    elif word == ":draw":
                        _do(partial(_draw, send), rest.strip())
                    else:
                        send(line)
                screen.show(serial.read(4096))
        except OSError:  # what pyserial raises too
            raise KitError(f"the board at {port} is gone; plug it in again") from None
        finally:
            screen.close()


class _Screen:
    """Prints what the sketch sends, but for what is saved in a file."""

    def __init__(self) -> None:
        self._saver: Saver | None = None

    def save(self, file: str) -> None:
        """Store the next block in a file; a slip at the keyboard does not end the session."""
        if self._saver and not self._saver.begun:
            say(f"nothing has come for {self._saver.path}; that is given up")
        self.close()
        try:
            if not file.strip():
                raise KitError(":save needs the name of a new file, such as :save weights.csv")
            folder = Path(file.strip()).parent
            if not folder.is_dir():
                raise KitError(f"there is no folder {folder}; make it, or choose another place")
            self._saver = Saver(file.strip())
        except KitError as error:
            say(str(error))

    def show(self, data: bytes) -> None:
        """Print what does not belong into the file."""
        if self._saver:
            try:
                data = self._saver.take(data)
            except KitError as error:
                say(str(error))
                self._saver.close()
                self._saver = None
            if self._saver and self._saver.done:
                self.close()
        show(data)

    def close(self) -> None:
        """End the file, and say what is in it."""
        if self._saver:
            whole = self._saver.done
            self._saver.close()
            if self._saver.lines:
                rest = "" if whole else "; it is incomplete: its end did not come"
                say(f"{self._saver.lines:,} lines are in {self._saver.path}{rest}")
            self._saver = None


def _listen(source: TextIO) -> queue.SimpleQueue[str]:
    """Put the lines of standard input into a queue, where nobody has to wait for them."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in source:
            lines.put(line.rstrip("\r\n"))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    if not source.isatty():  # what a pipe or a file has is there from the start, in every run
        thread.join(timeout=0.5)
    return lines


def show(data: bytes) -> None:
    """Print what a sketch has sent."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    sys.stdout.write(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", text))
    sys.stdout.flush()


def say(text: str) -> None:
    """Tell the person, on standard error."""
    if text:
        print(text, file=sys.stderr)
