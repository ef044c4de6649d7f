"""Count executed instructions exactly, and their modelled cycles, block by block.

The emulator calls a hook before each block of straight code. The hook adds the instructions and the
cycles of the block, which are worked out once per block; an instruction that an IT block skips
counts too. A block that does not lie right behind the one before was jumped to, which costs the
refill of the pipeline. There are two versions with the same results: a few lines of C
(`counter.c`), compiled for this computer on first use, and slower ones in Python, for computers
where that cannot be done.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.cache import CannotBuild
from tinyreptile_lite.core import build
from tinyreptile_lite.errors import needed
from tinyreptile_lite.nano.cycles import REFILL, Block, straight

_SOURCE = Path(__file__).with_name("counter.c")
FLASH_SIZE = 1 << 20
NEVER = (1 << 64) - 1


def instructions_in(code: bytes) -> int:
    """Count the Thumb instructions in a block: two bytes each, or four from 0xE800 on."""
    at = count = 0
    while at < len(code):
        at += 4 if code[at + 1] >= 0xE8 else 2
        count += 1
    return count


@cache
def _measured(code: bytes) -> tuple[int, int, int]:
    """Bytes, instructions and cycles of a block, as in the `block` of counter.c."""
    return len(code), instructions_in(code), sum(cost.middle for cost in straight(code))


class Counter:
    """The version in Python, for an emulator that executes from an array of FLASH_SIZE bytes."""

    def __init__(self, uc: Any, flash: Any) -> None:
        from unicorn.unicorn_const import UC_HOOK_BLOCK

        self.limit = NEVER  # stop at the first block that begins with this many cycles or more
        self._flash = flash
        self._known: dict[int, tuple[int, int, int]] = {}
        self._runs: dict[int, list[int]] = {}
        self._profiling = False
        self._last = 0
        self.reset()
        uc.hook_add(UC_HOOK_BLOCK, self._hook)

    def reset(self) -> None:
        """Count from zero."""
        self.instructions = self.cycles = 0  # executed so far, those of the running block included
        self._last_end = 0

    def _hook(self, uc: Any, address: int, size: int, _: object) -> None:
        if self.cycles >= self.limit:
            uc.emu_stop()
            return
        known = self._known.get(address)
        if known is None or known[0] != size:
            known = self._known[address] = _measured(bytes(self._flash[address : address + size]))
        falls = self._last_end == address
        self.instructions += known[1]
        self.cycles += known[2] + (0 if falls else REFILL.middle)
        self._last_end = address + size
        if not self._profiling:
            return
        self._runs.setdefault(address, [0, 0])[0] += 1
        if falls and self._last:
            self._runs[self._last][1] += 1
        self._last = address

    def profile(self, on: bool) -> None:
        """Start or stop noting how often each block runs; starting forgets the past."""
        if on:
            self._runs.clear()
            self._last = 0
        self._profiling = on

    def blocks(self) -> list[Block]:
        """Return the noted blocks in the order of their addresses."""
        return [Block(at, self._known[at][0], *self._runs[at]) for at in sorted(self._runs)]


class NativeCounter(ctypes.Structure):
    """The version in C: its fields are those of `counter` in counter.c."""

    _fields_ = (
        *((name, ctypes.c_uint64) for name in ("instructions", "cycles", "limit")),
        *((name, ctypes.c_void_p) for name in ("stop", "learn", "known", "runs", "falls")),
        *((name, ctypes.c_uint32) for name in ("last", "last_end", "refill")),
    )

    def __init__(self, uc: Any, flash: Any, hook: ctypes.CDLL, emulator: ctypes.CDLL) -> None:
        from unicorn import UcError
        from unicorn.unicorn_const import UC_HOOK_BLOCK

        names = ["size", "instructions", "cycles"]
        known = np.zeros(FLASH_SIZE // 2, {"names": names, "formats": ["u2", "u2", "u4"]})

        def learn(address: int, size: int) -> None:
            known[address // 2] = _measured(bytes(flash[address : address + size]))

        self._table = known
        self._counts = np.zeros((2, 0), np.uint32)
        self._learn = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32)(learn)
        super().__init__(
            limit=NEVER,
            stop=ctypes.cast(emulator.uc_emu_stop, ctypes.c_void_p),
            learn=ctypes.cast(self._learn, ctypes.c_void_p),
            known=known.ctypes.data,
            refill=REFILL.middle,
        )
        function = ctypes.cast(hook.count_block, ctypes.c_void_p)
        handle, state = ctypes.c_size_t(), ctypes.byref(self)
        where = (uc._uch, ctypes.byref(handle), UC_HOOK_BLOCK, function, state, 1, 0)
        if error := emulator.uc_hook_add(*where):
            raise UcError(error)

    def reset(self) -> None:
        """As in `Counter`."""
        self.instructions = self.cycles = self.last_end = 0

    def profile(self, on: bool) -> None:
        """As in `Counter`."""
        if on:
            self._counts = np.zeros((2, FLASH_SIZE // 2), np.uint32)
            self.last = 0
        self.runs, self.falls = (counts.ctypes.data if on else None for counts in self._counts)

    def blocks(self) -> list[Block]:
        """As in `Counter`."""
        runs, falls = self._counts
        return [
            Block(2 * at, int(self._table[at]["size"]), int(runs[at]), int(falls[at]))
            for at in map(int, np.flatnonzero(runs))
        ]


def make_counter(uc: Any, flash: Any, native: bool) -> Counter | NativeCounter:
    """Attach a counter to an emulator: the one in C if `native` and if it can be built."""
    needed("capstone", "capstone")  # now: the hook cannot raise
    libraries = _libraries() if native else None
    return NativeCounter(uc, flash, *libraries) if libraries else Counter(uc, flash)


@cache
def _libraries() -> tuple[ctypes.CDLL, ctypes.CDLL] | None:
    """The hook, compiled for this computer, and the emulator; None if one cannot be had."""
    try:
        from unicorn.unicorn_py3.unicorn import uclib

        return build.load("counter", [_SOURCE], _SOURCE.parent), uclib
    except (CannotBuild, ImportError, OSError):
        return None
