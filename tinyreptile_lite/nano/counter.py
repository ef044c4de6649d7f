"""Count executed instructions exactly, block by block.

The emulator calls a hook before each block of straight code. The hook adds the number of
instructions in the block, which is worked out once per block; an instruction that an IT block
skips counts too. There are two versions with the same results: a few lines of C (`counter.c`),
compiled for this computer on first use, and slower ones in Python, for computers where that
cannot be done.
"""

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.core.build import shared_library
from tinyreptile_lite.core.cache import CannotBuild

_SOURCE = Path(__file__).with_name("counter.c")
FLASH_SIZE = 1 << 20
NEVER = (1 << 64) - 1


@dataclass(frozen=True)
class Block:
    """A block of straight code and how often it ran.

    Attributes
    ----------
    address, size : int
        Where it begins, and its bytes.
    runs : int
        How often it was executed.
    falls : int
        How often the block right behind it came next, so that its branch was not taken.
    """

    address: int
    size: int
    runs: int
    falls: int


def instructions_in(code: bytes) -> int:
    """Count the Thumb instructions in a block: two bytes each, or four from 0xE800 on."""
    at = count = 0
    while at < len(code):
        at += 4 if code[at + 1] >= 0xE8 else 2
        count += 1
    return count


class Counter:
    """The version in Python.

    Parameters
    ----------
    uc : unicorn.Uc
        The emulator that it is attached to.
    flash : ctypes array of FLASH_SIZE bytes
        The memory that it executes from.

    Attributes
    ----------
    instructions : int
        Executed so far, those of the block that is running included.
    limit : int
        The emulator stops at the first block that begins with this many or more.
    """

    def __init__(self, uc: Any, flash: Any) -> None:
        from unicorn.unicorn_const import UC_HOOK_BLOCK

        self.instructions = 0
        self.limit = NEVER
        self._flash = flash
        self._known: dict[int, tuple[int, int]] = {}
        self._runs: dict[int, list[int]] = {}
        self._profiling = False
        self._last = (0, 0)
        uc.hook_add(UC_HOOK_BLOCK, self._hook)

    def _hook(self, uc: Any, address: int, size: int, _: object) -> None:
        if self.instructions >= self.limit:
            uc.emu_stop()
            return
        known = self._known.get(address)
        if known is None or known[0] != size:
            known = (size, instructions_in(bytes(self._flash[address : address + size])))
            self._known[address] = known
        self.instructions += known[1]
        if self._profiling:
            self._note(address, size)

    def _note(self, address: int, size: int) -> None:
        self._runs.setdefault(address, [0, 0])[0] += 1
        if self._last[1] == address:
            self._runs[self._last[0]][1] += 1
        self._last = (address, address + size)

    def profile(self, on: bool) -> None:
        """Start or stop noting how often each block runs; starting forgets the past."""
        if on:
            self._runs.clear()
            self._last = (0, 0)
        self._profiling = on

    def blocks(self) -> list[Block]:
        """Return the noted blocks in the order of their addresses."""
        return [Block(at, self._known[at][0], *self._runs[at]) for at in sorted(self._runs)]


class _State(ctypes.Structure):
    """The same fields as `counter` in counter.c."""

    _fields_ = (
        ("instructions", ctypes.c_uint64),
        ("limit", ctypes.c_uint64),
        ("flash", ctypes.c_void_p),
        ("stop", ctypes.c_void_p),
        ("known", ctypes.c_void_p),
        ("runs", ctypes.c_void_p),
        ("falls", ctypes.c_void_p),
        ("last", ctypes.c_uint32),
        ("last_end", ctypes.c_uint32),
    )


def _field(name: str) -> property:
    """Pass a field of the struct on as an attribute of the counter."""
    return property(
        lambda self: getattr(self._state, name),
        lambda self, value: setattr(self._state, name, value),
    )


class NativeCounter(Counter):
    """The version in C. Same methods and attributes."""

    def __init__(self, uc: Any, flash: Any, hook: Any) -> None:
        self._table = np.zeros(FLASH_SIZE // 2, np.uint32)
        self._counts = np.zeros((2, 0), np.uint32)
        self._state = _State(
            limit=NEVER,
            flash=ctypes.addressof(flash),
            stop=ctypes.cast(hook.stop, ctypes.c_void_p),
            known=self._table.ctypes.data,
        )
        hook.attach(uc, self._state)

    instructions, limit = _field("instructions"), _field("limit")  # type: ignore[assignment]

    def profile(self, on: bool) -> None:
        """Start or stop noting how often each block runs; starting forgets the past."""
        if on:
            self._counts = np.zeros((2, FLASH_SIZE // 2), np.uint32)
            self._state.last = self._state.last_end = 0
        self._state.runs = self._counts[0].ctypes.data if on else None
        self._state.falls = self._counts[1].ctypes.data if on else None

    def blocks(self) -> list[Block]:
        """Return the noted blocks in the order of their addresses."""
        runs, falls = self._counts
        return [
            Block(2 * at, int(self._table[at]) >> 16, int(runs[at]), int(falls[at]))
            for at in map(int, np.flatnonzero(runs))
        ]


def make_counter(uc: Any, flash: Any, native: bool) -> Counter:
    """Attach a counter to an emulator: the one in C if `native` and if it can be built."""
    hook = _native_hook() if native else None
    return NativeCounter(uc, flash, hook) if hook else Counter(uc, flash)


class _Hook:
    """The compiled hook, and the two functions of the emulator's library that it needs."""

    def __init__(self, library: ctypes.CDLL, emulator: ctypes.CDLL) -> None:
        self._function = ctypes.cast(library.count_block, ctypes.c_void_p)
        self._library = library
        self.stop = emulator.uc_emu_stop
        pointer = ctypes.c_void_p
        kinds = (pointer, pointer, ctypes.c_int, pointer, pointer, ctypes.c_uint64, ctypes.c_uint64)
        address = ctypes.cast(emulator.uc_hook_add, pointer).value
        self._add = ctypes.CFUNCTYPE(ctypes.c_int, *kinds)(address or 0)

    def attach(self, uc: Any, state: _State) -> None:
        from unicorn import UcError
        from unicorn.unicorn_const import UC_HOOK_BLOCK

        handle = ctypes.c_size_t()
        where = (ctypes.byref(handle), UC_HOOK_BLOCK, self._function, ctypes.byref(state), 1, 0)
        if error := self._add(uc._uch, *where):
            raise UcError(error)


@cache
def _native_hook() -> _Hook | None:
    """Compile counter.c for this computer, or take it from the cache; None if that fails."""
    try:
        from unicorn.unicorn_py3.unicorn import uclib

        path = shared_library("counter", [_SOURCE], _SOURCE.parent)
        return _Hook(ctypes.CDLL(str(path)), uclib)
    except (CannotBuild, ImportError, OSError, AttributeError):
        return None
