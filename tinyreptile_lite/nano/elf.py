"""Read what the kit needs of a 32-bit ARM ELF file: segments, sections, symbols."""

import bisect
import re
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tinyreptile_lite.errors import KitError

_LOAD, _SYMBOL_TABLE, _NO_BITS, _ALLOCATED = 1, 2, 8, 2
_OBJECT, _FUNCTION = 1, 2


@dataclass(frozen=True)
class Section:
    """A named part of the image: its address and size in bytes, and whether the file holds it."""

    name: str
    address: int
    size: int
    in_file: bool


@dataclass(frozen=True)
class Symbol:
    """A function or a variable: its address and size in bytes."""

    name: str
    address: int
    size: int
    is_function: bool


class Elf:
    """A linked image.

    Parameters
    ----------
    path : path
        The `.elf` file.

    Raises
    ------
    KitError
        If it is not a little-endian 32-bit ARM ELF file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._data = data = self.path.read_bytes()
        if data[:6] != b"\x7fELF\x01\x01" or len(data) < 52 or data[18:20] != b"\x28\x00":
            raise KitError(f"{path} is not a program for a 32-bit ARM processor")

    @cached_property
    def segments(self) -> list[tuple[int, bytes]]:
        """Physical address and bytes of everything that is loaded into flash."""
        (start,) = struct.unpack_from("<I", self._data, 28)
        (count,) = struct.unpack_from("<H", self._data, 44)
        found = []
        for i in range(count):
            kind, offset, _, address, size = struct.unpack_from("<5I", self._data, start + 32 * i)
            if kind == _LOAD and size:
                found.append((address, self._data[offset : offset + size]))
        return found

    @cached_property
    def _headers(self) -> list[tuple[int, ...]]:
        (start,) = struct.unpack_from("<I", self._data, 32)
        (count,) = struct.unpack_from("<H", self._data, 48)
        return [struct.unpack_from("<10I", self._data, start + 40 * i) for i in range(count)]

    @cached_property
    def sections(self) -> dict[str, Section]:
        """Sections that occupy memory, by name."""
        (names_index,) = struct.unpack_from("<H", self._data, 50)
        names = self._headers[names_index][4]
        found = {}
        for name, kind, flags, address, _, size, *_ in self._headers:
            if flags & _ALLOCATED and size:
                section = Section(self._text(names + name), address, size, kind != _NO_BITS)
                found[section.name] = section
        return found

    @cached_property
    def symbols(self) -> dict[str, Symbol]:
        """Functions, variables and the linker script's names."""
        found = {}
        for _, kind, _, _, offset, size, link, *_ in self._headers:
            if kind != _SYMBOL_TABLE:
                continue
            names = self._headers[link][4]
            for at in range(offset, offset + size, 16):
                name, value, length, info, _, where = struct.unpack_from("<IIIBBH", self._data, at)
                text = self._text(names + name)
                if text and not text.startswith("$") and where and info & 15 in (0, 1, 2):
                    is_function = info & 15 == _FUNCTION
                    found[text] = Symbol(text, value & ~is_function, length, is_function)
        return found

    @cached_property
    def _functions(self) -> list[tuple[int, int, str]]:
        rows = ((s.address, s.size, s.name) for s in self.symbols.values() if s.is_function)
        return sorted(rows)

    def function_at(self, address: int) -> str | None:
        """Return the readable name of the function that holds `address`, or None."""
        at = bisect.bisect(self._functions, (address + 1,)) - 1
        if at < 0:
            return None
        start, size, name = self._functions[at]
        return readable(name) if start <= address < start + max(size, 2) else None

    def find(self, name: str) -> Symbol:
        """Return the symbol called `name` in the source, in C or C++, static or not.

        Raises
        ------
        KitError
            If there is none. The linker drops what the program does not use.
        """
        for spelling in (name, f"_ZL{len(name)}{name}"):
            if spelling in self.symbols:
                return self.symbols[spelling]
        for symbol in self.symbols.values():
            if readable(symbol.name) == name:
                return symbol
        raise KitError(
            f"the program has no function or variable {name!r} (unused ones are dropped)"
        )

    def _text(self, at: int) -> str:
        return self._data[at : self._data.index(b"\0", at)].decode("ascii", "replace")


def readable(name: str) -> str:
    """Return a C++ symbol as it is written in the source, without its arguments."""
    match = re.match(r"_ZN?K?L?(?=\d)", name)
    if not match:
        return name
    parts, rest = [], name[match.end() :]
    while number := re.match(r"L?(\d+)", rest):
        begin = number.end()
        end = begin + int(number[1])
        parts.append(rest[begin:end])
        rest = rest[end:]
        if not match[0].startswith("_ZN"):
            break
    return "::".join(parts)
