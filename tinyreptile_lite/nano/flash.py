"""The virtual board's flash memory as a sketch writes to it, with the rules of the real one.

Figures from the nRF52840 product specification, chapter NVMC: erasing a page of 4096 bytes takes 85
ms, programming a word 41 microseconds, and a page bears 10,000 erasures. The processor stands still
meanwhile.
"""

import random
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyreptile_lite.errors import KitError, file_errors

PAGE_BYTES, WORD_BYTES = 4096, 4
ERASE_US, PROGRAM_US = 85_000, 41
ENDURANCE = 10_000  # erasures of one page
_BLANK = 0xFF
_MAGIC = b"TRFLASH1"  # begins a file; a CRC-32 of the rest follows, then the pages
_CRC, _PAGE_HEADER = struct.Struct("<I"), struct.Struct("<II")  # address, erasures
_LARGEST_FILE = 2 << 20  # bytes: the chip has half of it


class Flash:
    """Flash in an array of bytes; an address is an index into it.

    Parameters
    ----------
    memory : ctypes array of bytes
        Read where it lies.
    first : int
        The sketch's own program lies below this address, and cannot be written.
    page_bytes : int
        Bytes that are erased together.
    spend : callable, optional
        Called with the microseconds that an operation takes.

    Attributes
    ----------
    erasures : Counter
        How often each page was erased, by the page's address.
    changes : int
        How many operations have changed something.
    powered : bool
        False once the power was lost; nothing is written then.
    """

    def __init__(
        self,
        memory: Any,
        first: int = 0,
        page_bytes: int = PAGE_BYTES,
        spend: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._bytes = np.ctypeslib.as_array(memory)
        self._first = -(-first // page_bytes) * page_bytes
        self._page, self._spend = page_bytes, spend
        self._random = random.Random(0)  # noqa: S311 - what a torn page holds, not a key
        self.erasures: Counter[int] = Counter()
        self.changes = 0
        self.reset()

    def reset(self) -> None:
        """Give power back; what is stored stays."""
        self.powered = True
        self._left: int | None = None

    def lose_power_after(self, operations: int) -> None:
        """Lose power in the middle of the operation after so many; a word or a page is one."""
        self._left = operations

    def erase(self, address: int) -> bool:
        """Set a page to ones; False if that is no page's address, or the power is lost."""
        if not self._may_write(address, self._page, self._page):
            return False
        page = self._bytes[address : address + self._page]
        self.changes += 1
        done, torn = self._begin(1)
        if torn:
            page |= self._noise(self._page)
        if done:
            page[:] = _BLANK
            self.erasures[address] += 1
            self._spend(ERASE_US)
        return done == 1

    def program(self, address: int, data: bytes) -> bool:
        """Clear bits where the data's are clear; False if that cannot be, or the power is lost.

        The address is that of a word; as Mbed does, the last word is filled up with ones.
        """
        filled = np.frombuffer(data + bytes([_BLANK]) * (-len(data) % WORD_BYTES), np.uint8)
        if not self._may_write(address, len(filled), WORD_BYTES):
            return False
        target = self._bytes[address : address + len(filled)]
        self.changes += 1
        done, torn = self._begin(len(filled) // WORD_BYTES)
        end = done * WORD_BYTES
        target[:end] &= filled[:end]
        if torn:
            word = slice(end, end + WORD_BYTES)
            target[word] &= filled[word] | self._noise(WORD_BYTES)
        self._spend(PROGRAM_US * done)
        return end == len(filled)

    def _begin(self, operations: int) -> tuple[int, bool]:
        """How many of these operations are completed, and whether one more is torn."""
        if self._left is None or self._left >= operations:
            self._left = None if self._left is None else self._left - operations
            return operations if self.powered else 0, False
        done, self._left, self.powered = self._left, None, False
        return done, True

    def _may_write(self, address: int, size: int, unit: int) -> bool:
        if address < self._first:
            raise KitError(f"the sketch writes to its own program in flash, at 0x{address:08X}")
        return address % unit == 0 and address + size <= len(self._bytes)

    def _noise(self, size: int) -> NDArray[np.uint8]:
        return np.frombuffer(self._random.randbytes(size), np.uint8)

    # ---- Between two runs ------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write all pages that hold something or were erased, each with its erasures, to a file."""
        body = b""
        for address in range(self._first, len(self._bytes), self._page):
            page = self._bytes[address : address + self._page]
            if self.erasures[address] or (page != _BLANK).any():
                body += _PAGE_HEADER.pack(address, self.erasures[address]) + page.tobytes()
        new = Path(path).with_name(f".{Path(path).name}.new")
        try:
            new.write_bytes(_MAGIC + _CRC.pack(zlib.crc32(body)) + body)
            new.replace(path)
        except OSError as error:  # of the file that was named, not of the one beside it
            raise KitError(
                f"cannot use {path}: {error.strerror}; choose a file you can write to"
            ) from error

    def load(self, path: str | Path) -> None:
        """Take what `save` has written; pages where the program lies now are dropped.

        Raises
        ------
        KitError
            If the file is damaged or was not written by `save`.
        """
        body, size = read_kept(path), _PAGE_HEADER.size + self._page
        for at in range(0, len(body), size):
            address, erasures = _PAGE_HEADER.unpack_from(body, at)
            if self._first <= address <= len(self._bytes) - self._page:
                page = body[at + _PAGE_HEADER.size : at + size]
                self._bytes[address : address + self._page] = np.frombuffer(page, np.uint8)
                self.erasures[address] = erasures


@file_errors("choose a file you can read")
def read_kept(path: str | Path) -> bytes:
    """Return the pages that `Flash.save` has written; `KitError` if it has not, or by damage."""
    path, start = Path(path), len(_MAGIC) + _CRC.size
    usual = path.stat().st_size <= _LARGEST_FILE and path.is_file()  # a pipe would never end
    content = path.read_bytes() if usual else b""
    body = content[start:]
    sound = content[:start] == _MAGIC + _CRC.pack(zlib.crc32(body))
    if not sound or len(body) % (_PAGE_HEADER.size + PAGE_BYTES):
        raise KitError(
            f"{path} holds no flash memory, or is damaged; choose another name; if --keep made "
            "it, delete it"
        )
    return body
