"""A serial monitor in the terminal: the keyboard, the screen, and commands for the board."""

import queue
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TextIO

import numpy as np

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.peripherals import FAULTS
from tinyreptile_lite.nano.ports import open_port
from tinyreptile_lite.nano.recording import Saver
from tinyreptile_lite.nano.virtual import VirtualNano

_TICK_S, _STEP_MS = 0.02, 100.0
HELP = (
    f":reset, :press PIN, :release PIN, :leds, :imu {'|'.join(FAULTS)}, :imu offset X Y Z; :save "
    "FILE stores what the sketch sends next between its marks; anything else goes to the sketch; "
    "Ctrl-C ends"
)


def run_virtual(nano: VirtualNano, seconds: float | None, fast: bool) -> None:
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
    finally:
        screen.close()
        say(
            f"{nano.time_ms / 1000:.2f} virtual seconds, {nano.instructions:,} instructions, "
            f"stack {nano.stack_used:,} of {nano.memory.stack:,} bytes"
        )


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
    elif word == ":leds":
        lit = [name for name, on in nano.leds.items() if on]
        say(f"LEDs on: {', '.join(lit) or 'none'}")
    elif word.startswith(":"):
        say(HELP)
    else:
        nano.serial.write_line(line)


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
        try:
            while end is None or time.monotonic() < end:
                while not keyboard.empty():
                    line = keyboard.get()
                    if line.partition(" ")[0] == ":save":
                        screen.save(line.partition(" ")[2])
                    else:
                        serial.write(f"{line}\n".encode())
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
        self.close()
        try:
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
            if self._saver.done:
                self.close()
        show(data)

    def close(self) -> None:
        """End the file, and say what is in it."""
        if self._saver:
            self._saver.close()
            if self._saver.lines:
                say(f"{self._saver.lines:,} lines are in {self._saver.path}")
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
    sys.stdout.write(data.decode("utf-8", "replace").replace("\r\n", "\n"))
    sys.stdout.flush()


def say(text: str) -> None:
    """Tell the person, on standard error."""
    if text:
        print(text, file=sys.stderr)
