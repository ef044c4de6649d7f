"""A program for the board: its parts in memory, its symbols, and whether it fits the chip."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from tinyreptile_lite.errors import KitError, file_errors, needed

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


class Symbol(NamedTuple):
    """A function or a variable: its address and size in bytes."""

    name: str
    address: int
    size: int
    is_function: bool


class Image:
    """A linked program, an `.elf` file, read with pyelftools.

    Attributes
    ----------
    segments : list of (int, bytes)
        Physical address and bytes of everything that is loaded into flash.
    sections : dict of str to range
        Addresses of what occupies memory.
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
                section.name: range(section["sh_addr"], section["sh_addr"] + section["sh_size"])
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
    def end(self) -> int:
        """Address behind the program in flash."""
        return max((address + len(data) for address, data in self.segments), default=FLASH_START)

    @property
    def memory(self) -> Memory:
        """Bytes by section."""
        names = (".text", ".rodata", ".ARM.exidx", ".data", ".bss")
        text, rodata, exidx, data, bss = (len(self.sections.get(name, ())) for name in names)
        return Memory(text, rodata + exidx, data, bss)

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
        known = {readable(each): symbol for each, symbol in reversed(self.symbols.items())}
        if symbol := self.symbols.get(name, known.get(name)):
            return symbol
        raise KitError(
            f"the program has no function or variable {name!r} (unused ones are dropped)"
        )

    def too_big(self) -> str | None:
        """Say by how many bytes the program is bigger than the chip, and why; None if it fits."""
        memory = self.memory
        if memory.flash > FLASH_BYTES:
            over, parts = memory.flash - FLASH_BYTES, [".text", ".rodata", ".data"]
            text = f"needs {memory.flash:,} bytes of flash, the board has {FLASH_BYTES:,}"
        elif memory.ram > RAM_BYTES:
            over, parts = memory.ram - RAM_BYTES, [".data", ".bss"]
            text = f"needs {memory.ram:,} bytes of RAM, the board has {RAM_BYTES:,}"
        else:
            return None
        text += f": {over:,} too many"
        places = [self.sections.get(name, ()) for name in parts]
        held = [
            (symbol.size, symbol.name)
            for symbol in self.symbols.values()
            if symbol.size and any(symbol.address in place for place in places)
        ]
        if not held:
            return text
        size, name = max(held)
        text += f"; the biggest part is {readable(name)} with {size:,} bytes ({size // 4:,} floats)"
        if size <= over:
            return f"{text}, but the rest does not fit without it either"
        left = size - over
        return f"{text}, at most {left:,} bytes ({left // 4:,} floats) would fit"


@file_errors("name an image that you can read")
def check_binary(path: str | Path) -> None:
    """Raise `KitError` unless this file is a sketch for the real board, as bytes from FLASH_START.

    It begins with the processor's table: where the stack starts, and the first code to run.
    """
    path = Path(path)
    size = path.stat().st_size
    if not path.is_file():  # a pipe would never end
        raise KitError(f"{path} is no file; name an image that --build-only has made")
    if size > FLASH_BYTES:
        raise KitError(f"{path} has {size:,} bytes; the board holds {FLASH_BYTES:,}")
    with path.open("rb") as file:
        start = file.read(8)
    stack, code = struct.unpack("<II", start.ljust(8, b"\0"))
    inside = RAM_START < stack <= RAM_START + RAM_BYTES and stack % 8 == 0
    thumb = code % 2 == 1 and FLASH_START + 8 <= code < FLASH_START + size
    if path.suffix != ".bin" or not (inside and thumb):
        raise KitError(
            f"{path} is no image of a sketch for the Nano 33 BLE; make one with "
            "tinyreptile flash SKETCH --build-only FOLDER"
        )


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
    match = re.match(r"_Z(N?)K?L?(?=\d)", name)
    if not match:
        return name
    parts, rest = [], name[match.end() :]
    while number := re.match(r"L?(\d+)", rest):
        begin = number.end()
        end = begin + int(number[1])
        parts.append(rest[begin:end])
        rest = rest[end:]
    return "::".join(parts if match[1] else parts[:1])
