"""The library's headers for motion sensors, compiled for this computer: the sketches' own code.

`Rows` is `tr_rows`, `Finder` is `tr_find`, `fault` asks `tr_sensor`. All raise `CannotBuild` where
there is no C compiler.
"""

import ctypes
from collections.abc import Iterable
from enum import IntEnum
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinyreptile_lite.core.build import CORE, load
from tinyreptile_lite.errors import KitError

RECORDED = "+x+y+z+"  # readings in the frame of the recordings already
DOCUMENTED = "+x-y-z-"  # worn as docs/wear.md shows, on the left arm; both revisions
SLOT_US = 40_000  # a row's time


class Row(IntEnum):
    """What `tr_rows_add` answers."""

    FAILED = -1
    OPEN = 0
    DONE = 1


class Fault(IntEnum):
    """What `tr_sensor_check` answers."""

    OK = 0
    NO_NUMBER = 1
    SILENT = 2
    FROZEN = 3
    NO_GRAVITY = 4
    TOO_STRONG = 5
    JUMPS = 6
    GAP = 7

    @property
    def text(self) -> str:
        """What a sketch says of it."""
        words: bytes = _library().sensor_text(int(self))
        return words.decode()


class Found(IntEnum):
    """What `tr_find_add` answers."""

    MOVING = 0
    HOLDING = 1
    POSE = 2
    DONE = 3
    NOT_STILL = 4
    NO_GRAVITY = 5
    SKEW = 6
    ALIKE = 7
    TURN = 8
    STOPPED = 9


@cache
def _library() -> ctypes.CDLL:
    library = load("motion", [Path(__file__).parent / "motion.c"], CORE)
    library.sensor_text.restype = ctypes.c_char_p
    library.rows_offset.restype = ctypes.POINTER(ctypes.c_float)
    library.rows_size.restype = library.find_size.restype = ctypes.c_size_t
    return library


def _floats(values: ArrayLike) -> ctypes.Array[ctypes.c_float]:
    flat = np.asarray(values, np.float32)
    return (ctypes.c_float * flat.size)(*flat.tolist())


def _clock(now_us: int) -> ctypes.c_uint32:
    return ctypes.c_uint32(now_us % 2**32)


def checked_axes(text: str, other_arm: bool = False) -> str:
    """Return a map of axes as C reads and writes it, for the other arm if asked.

    Raises
    ------
    KitError
        If the text is no map.
    """
    again = ctypes.create_string_buffer(8)
    if not _library().axes_again(text.encode(), other_arm, again):
        raise KitError(f"{text!r} is no map of axes; give three signed axes and a sign: {RECORDED}")
    return again.value.decode()


class Rows:
    """Rows in the making, from the readings of a sensor whose axes a map tells."""

    def __init__(self, axes: str = RECORDED) -> None:
        self._struct = ctypes.create_string_buffer(_library().rows_size())
        _library().rows_init(self._struct, checked_axes(axes).encode())

    def add(self, reading: ArrayLike | None, now_us: int) -> tuple[Row, NDArray[np.float32] | None]:
        """Take a reading, or None if it failed; returns the row as well, if one was written."""
        row = (ctypes.c_float * 6)()
        given = None if reading is None else _floats(reading)
        status = Row(_library().rows_add(self._struct, row, given, _clock(now_us)))
        return status, np.array(row) if status == Row.DONE else None

    def none(self, now_us: int) -> Row:
        """Say that there is no new reading."""
        return Row(_library().rows_none(self._struct, _clock(now_us)))

    @property
    def fault(self) -> Fault:
        """Why the last call failed."""
        return Fault(_library().rows_fault(self._struct))

    @property
    def offset(self) -> NDArray[np.float32]:
        """What is taken off the readings' rotation rate x, y, z, in degrees per second."""
        return np.array(_library().rows_offset(self._struct)[:3], np.float32)


def rows_of(readings: ArrayLike, axes: str) -> NDArray[np.float32]:
    """Return the rows (time, 6), in g and rad/s, of readings at 25 a second: one of each."""
    rows, given = Rows(axes), np.asarray(readings, np.float32)
    closed = [*given, given[-1]]  # a row is complete when the next slot begins
    made = (rows.add(reading, SLOT_US * n) for n, reading in enumerate(closed))
    return np.array([row for _, row in made if row is not None])


def fault(readings: ArrayLike) -> Fault:
    """Return the first fault in readings (time, 6)."""
    given = np.ascontiguousarray(readings, np.float32)
    pointer = given.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    return Fault(_library().sensor_judge(pointer, ctypes.c_size_t(len(given))))


class Finder:
    """The wizard's logic."""

    def __init__(self) -> None:
        self._struct = ctypes.create_string_buffer(_library().find_size())
        _library().find_begin(self._struct)

    def pose(self) -> None:
        """Say that the arm is in the next pose."""
        _library().find_pose(self._struct)

    def add(self, reading: ArrayLike, now_us: int) -> Found:
        """Take a reading."""
        return Found(_library().find_add(self._struct, _floats(reading), _clock(now_us)))

    @property
    def axes(self) -> str:
        """The map, once it is found."""
        text = ctypes.create_string_buffer(8)
        _library().find_axes(self._struct, text)
        return text.value.decode()


def found_axes(readings: ArrayLike, rate: float, asked: Iterable[int]) -> tuple[Found, str]:
    """Return what the wizard says to readings (time, 6), and its map.

    ``asked`` holds the numbers of the readings at which the next pose is taken.
    """
    finder, times = Finder(), set(asked)
    status = Found.MOVING
    for n, reading in enumerate(np.asarray(readings, np.float32)):
        if n in times:
            finder.pose()
        status = finder.add(reading, round(n * 1e6 / rate))
        if status >= Found.DONE:
            break
    return status, finder.axes
