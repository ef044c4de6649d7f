"""The library's headers for motion sensors, compiled for this computer."""

import ctypes
from functools import cache
from pathlib import Path

import numpy as np

from tinyreptile_lite.core.build import CORE, shared_library

FAILED, OPEN, DONE = -1, 0, 1  # of tr_rows.h
NO_NUMBER, SILENT, FROZEN, NO_GRAVITY, TOO_STRONG, JUMPS = range(1, 7)  # of tr_sensor.h


@cache
def library():
    path = shared_library("rows", [Path(__file__).parent / "c" / "rows.c"], CORE)
    found = ctypes.CDLL(str(path))
    found.rows_size.restype = found.find_size.restype = ctypes.c_size_t
    return found


def floats(values):
    return (ctypes.c_float * len(values))(*map(float, values))


class Rows:
    """`tr_rows` with a map of axes."""

    def __init__(self, axes="+x+y+z+"):
        self.struct = ctypes.create_string_buffer(library().rows_size())
        assert library().rows_init(self.struct, axes.encode())

    def add(self, reading, now):
        """Status, and the row if one was written."""
        row = (ctypes.c_float * 6)()
        given = None if reading is None else floats(reading)
        done = library().rows_add(self.struct, row, given, ctypes.c_uint32(now % 2**32))
        return done, np.array(row) if done == DONE else None

    def none(self, now):
        return library().rows_none(self.struct, ctypes.c_uint32(now % 2**32))

    @property
    def fault(self):
        return library().rows_fault(self.struct)


def turned(readings, axes):
    """Readings in the frame of the recordings, by a map: each is a row of its own, in g and rad/s."""
    rows, slot = Rows(axes), 40_000
    made = [rows.add(reading, slot * n)[1] for n, reading in enumerate([*readings, readings[-1]])]
    return np.array(made[1:])


def other_arm(axes, yes=True):
    """The map of the other arm, or the same again; None if the text is no map."""
    again = ctypes.create_string_buffer(8)
    return again.value.decode() if library().axes_again(axes.encode(), yes, again) else None


def judge(readings):
    """The first fault in readings (time, 6)."""
    readings = np.ascontiguousarray(readings, np.float32)
    pointer = readings.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    return library().sensor_judge(pointer, ctypes.c_size_t(len(readings)))


class Wizard:
    """`tr_find`."""

    MOVING, HOLDING, POSE, DONE = range(4)
    NOT_STILL, NO_GRAVITY, SKEW, ALIKE, TURN, STOPPED = range(4, 10)

    def __init__(self):
        self.struct = ctypes.create_string_buffer(library().find_size())
        library().find_begin(self.struct)

    def pose(self):
        library().find_pose(self.struct)

    def add(self, reading, now):
        return library().find_add(self.struct, floats(reading), ctypes.c_uint32(now % 2**32))

    @property
    def axes(self):
        text = ctypes.create_string_buffer(8)
        library().find_axes(self.struct, text)
        return text.value.decode()
