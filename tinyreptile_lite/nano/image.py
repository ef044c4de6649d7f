"""A program for the board: its parts in memory, its symbols, and whether it fits the chip."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from tinyreptile_lite.errors import KitError, needed

FLASH_START = 0x0001_0000  # the Arduino boot loader has the 64 KB below
FLASH_BYTES = 983_040  # upload.maximum_size of the Arduino core for this board
RAM_START = 0x2000_0000
RAM_BYTES = 262_144
STACK_BYTES = 32_768  # main thread of the Arduino core

_ALLOCATED = 2  # flag of a section that occupies memory
_SYMBOL_TYPES = ("STT_NOTYPE", "STT_OBJECT", "STT_FUNC")


@dataclass(frozen=True)
class Memory:
    """Bytes by section, and what the chip has.

    `text` and `rodata` lie in flash; `data` (start values in flash, a copy in RAM) in both;
    `bss` and `stack` in RAM. The heap may grow into what is left.
    """

    text: int
    rodata: int
    data: int
    bss: int
    stack: int = STACK_BYTES

    @property
    def flash(self) -> int:
        """Bytes of flash in use."""
        return self.text + self.rodata + self.data

    @property
    def ram(self) -> int:
        """Bytes of RAM in use, the whole stack included."""
        return self.data + self.bss + self.stack

    def __str__(self) -> str:
        return (
            f"flash {self.flash:,} of {FLASH_BYTES:,} bytes (text {self.text:,}, rodata "
            f"{self.rodata:,}, data {self.data:,}); RAM {self.ram:,} of {RAM_BYTES:,} bytes "
            f"(data {self.data:,}, bss {self.bss:,}, stack {self.stack:,})"
        )


class Section(NamedTuple):
    """A named part of the program: its address and size in bytes."""

    address: int
    size: int


class Symbol(NamedTuple):
    """A function or a variable: its address and size in bytes."""

    name: str
    address: int
    size: int
    is_function: bool


class Image:
    """A linked program, read with pyelftools.

    Parameters
    ----------
    path : path
        The `.elf` file.

    Attributes
    ----------
    segments : list of (int, bytes)
        Physical address and bytes of everything that is loaded into flash.
    sections : dict of str to Section
        What occupies memory.
    symbols : dict of str to Symbol
        Functions, variables and the linker script's names.

    Raises
    ------
    KitError
        If it is not a sound program for a 32-bit ARM processor, or pyelftools is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        reader = needed("elftools.elf.elffile", "pyelftools")
        data = BytesIO(Path(path).read_bytes())
        try:
            elf = reader.ELFFile(data)
            if (elf["e_machine"], elf.elfclass, elf.little_endian) != ("EM_ARM", 32, True):
                raise ValueError("another processor")
            self.segments = list(_segments(elf))
            self.sections = {
                section.name: Section(section["sh_addr"], section["sh_size"])
                for section in elf.iter_sections()
                if section["sh_flags"] & _ALLOCATED and section["sh_size"]
            }
            self.symbols = {symbol.name: symbol for symbol in _symbols(elf)}
        except Exception as error:  # what pyelftools raises for a damaged file depends on the place
            raise KitError(
                f"{path} is not a program for a 32-bit ARM processor, or it is damaged; "
                "build it again"
            ) from error

    @property
    def memory(self) -> Memory:
        """Bytes by section."""
        size = {name: section.size for name, section in self.sections.items()}
        rodata = size.get(".rodata", 0) + size.get(".ARM.exidx", 0)
        return Memory(size.get(".text", 0), rodata, size.get(".data", 0), size.get(".bss", 0))

    def function_at(self, address: int) -> str | None:
        """Return the readable name of the function that holds `address`, or None."""
        for symbol in self.symbols.values():
            if symbol.is_function and 0 <= address - symbol.address < max(symbol.size, 2):
                return readable(symbol.name)
        return None

    def find(self, name: str) -> Symbol:
        """Return the symbol called `name` in the source, in C or C++, static or not.

        Raises
        ------
        KitError
            If there is none. The linker drops what the program does not use.
        """
        for symbol in [*filter(None, [self.symbols.get(name)]), *self.symbols.values()]:
            if name in (symbol.name, readable(symbol.name)):
                return symbol
        raise KitError(
            f"the program has no function or variable {name!r} (unused ones are dropped)"
        )

    def biggest(self, sections: tuple[str, ...]) -> Symbol | None:
        """Return the biggest symbol in these sections, or None."""
        parts = [self.sections[name] for name in sections if name in self.sections]
        held = [
            symbol
            for symbol in self.symbols.values()
            if symbol.size and any(0 <= symbol.address - p.address < p.size for p in parts)
        ]
        return max(held, key=lambda symbol: (symbol.size, symbol.name), default=None)


def _segments(elf: Any) -> Iterator[tuple[int, bytes]]:
    for segment in elf.iter_segments("PT_LOAD"):
        data = segment.data()
        if len(data) != segment["p_filesz"]:
            raise ValueError("a segment is cut")
        if data:
            yield segment["p_paddr"], data


def _symbols(elf: Any) -> Iterator[Symbol]:
    for symbol in elf.get_section_by_name(".symtab").iter_symbols():
        kind = symbol["st_info"]["type"]
        is_mark = not symbol.name or symbol.name.startswith("$")
        if kind in _SYMBOL_TYPES and symbol["st_shndx"] != "SHN_UNDEF" and not is_mark:
            is_function = kind == "STT_FUNC"
            address = symbol["st_value"] & ~is_function  # a function's lowest bit means Thumb
            yield Symbol(symbol.name, address, symbol["st_size"], is_function)


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


def too_big(image: Image) -> str | None:
    """Say by how many bytes a program is bigger than the chip, and why; None if it fits."""
    memory = image.memory
    in_flash = (".text", ".rodata", ".data")
    for kind, used, limit, sections in (
        ("flash", memory.flash, FLASH_BYTES, in_flash),
        ("RAM", memory.ram, RAM_BYTES, (".data", ".bss")),
    ):
        if used <= limit:
            continue
        over = used - limit
        text = f"needs {used:,} bytes of {kind}, the board has {limit:,}: {over:,} too many"
        if symbol := image.biggest(sections):
            what, size, left = readable(symbol.name), symbol.size, symbol.size - over
            text += f"; the biggest part is {what} with {size:,} bytes ({size // 4:,} floats)"
            text += (
                f", at most {left:,} bytes ({left // 4:,} floats) would fit"
                if left > 0
                else ", but the rest does not fit without it either"
            )
        return text
    return None
