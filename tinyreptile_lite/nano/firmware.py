"""Build an Arduino sketch for the virtual Nano 33 BLE: compilers, cache, sizes by section."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from tinyreptile_lite.core.cache import cached, hash_of
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano import registers
from tinyreptile_lite.nano.elf import Elf
from tinyreptile_lite.nano.sketch import SOURCES, Sketch, headers_in, read_sketch

FLASH_START = 0x0001_0000  # the Arduino boot loader has the 64 KB below
FLASH_BYTES = 983_040  # upload.maximum_size of the Arduino core for this board
RAM_START = 0x2000_0000
RAM_BYTES = 262_144
STACK_BYTES = 32_768  # main thread of the Arduino core

API_FOLDER = Path(__file__).parent / "arduino_api"
_PROCESSOR = ("-mthumb", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=softfp")
_FLAGS = (
    "-g",
    "-Wall",
    "-Wextra",
    "-Wno-missing-field-initializers",
    "-Wno-unused-parameter",
    "-fdata-sections",
    "-ffunction-sections",
    "-fmessage-length=0",
    "-fno-exceptions",
    "-fomit-frame-pointer",
    "-funsigned-char",
    "-DARDUINO=10819",
    "-DARDUINO_ARDUINO_NANO33BLE",
    "-DARDUINO_ARCH_MBED",
    "-DARDUINO_ARCH_MBED_NANO",
    "-DARDUINO_ARCH_NRF52840",
)
_C_FLAGS = ("-std=gnu11",)
_CXX_FLAGS = ("-std=gnu++14", "-fno-rtti", "-fno-threadsafe-statics")
_SMALL_LIBC = "small_libc.c"
_ELF, _OBJECT, _WARNINGS = "firmware.elf", "object.o", "warnings.txt"  # files in the cache
_INSTALL = "install one with: pip install ziglang"


class BuildError(KitError):
    """A sketch that cannot be built. `output` holds all that the compiler said."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


@dataclass(frozen=True)
class Compiler:
    """A cross compiler: its name, its version, and the commands for C, C++ and linking."""

    name: str
    version: str
    c: tuple[str, ...]
    cxx: tuple[str, ...]
    link: tuple[str, ...]
    libraries: tuple[str, ...]
    libc: tuple[str, ...]  # sources in arduino_api/libc
    full_link: tuple[str, ...] = ()  # links a whole C library instead of _SMALL_LIBC

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


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


@dataclass(frozen=True)
class Firmware:
    """A built sketch.

    Attributes
    ----------
    name : str
        The sketch's name.
    path : path
        The `.elf` file, in the cache.
    compiler : str
        Name and version of the compiler.
    warnings : str
        What the compiler said about sources that it accepted.
    """

    name: str
    path: Path
    compiler: str
    warnings: str

    @cached_property
    def elf(self) -> Elf:
        """The linked image."""
        return Elf(self.path)

    @cached_property
    def memory(self) -> Memory:
        """Bytes by section."""
        return _memory(self.elf)


@cache
def find_compiler(name: str | None = None) -> Compiler:
    """Find a compiler for the board.

    Parameters
    ----------
    name : {"gcc", "zig"}, optional
        "gcc" is arm-none-eabi-gcc, the board's own compiler family; "zig" is the clang in the
        `ziglang` wheel. By default `TINYREPTILE_COMPILER`, else GCC if it is there, else zig.

    Raises
    ------
    BuildError
        If it is not installed.
    """
    name = name or os.environ.get("TINYREPTILE_COMPILER") or None
    finders = {"gcc": _find_gcc, "zig": _find_zig}
    if name is not None and name not in finders:
        raise BuildError(f"unknown compiler {name!r}; choose gcc or zig")
    for finder in finders.values() if name is None else [finders[name]]:
        if compiler := finder():
            return compiler
    missing = "arm-none-eabi-gcc is" if name == "gcc" else "no compiler for the board is"
    raise BuildError(f"{missing} installed; {_INSTALL}")


def _find_gcc() -> Compiler | None:
    gcc, gxx = shutil.which("arm-none-eabi-gcc"), shutil.which("arm-none-eabi-g++")
    if not gcc or not gxx:
        return None
    version = _output([gcc, "-dumpfullversion"])
    math = _output([gcc, *_PROCESSOR, "-print-file-name=libm.a"])
    if not version or not Path(math).is_absolute():  # Debian packs newlib separately
        return None
    c = (gcc, *_PROCESSOR)
    cxx = (gxx, *_PROCESSOR)
    libraries = ("-lstdc++", "-lsupc++", "-lm", "-lc", "-lgcc")
    return Compiler("arm-none-eabi-gcc", version, c, cxx, cxx, libraries, ("newlib_stubs.c",))


def _find_zig() -> Compiler | None:
    zig = [sys.executable, "-m", "ziglang"]
    version = _output([*zig, "version"])
    home = _output([sys.executable, "-c", "import ziglang; print(ziglang.__path__[0])"])
    if not version or not home:
        return None
    processor = ("-mcpu=cortex_m4+vfp4d16sp", "-mfloat-abi=softfp")
    headers = Path(home) / "lib" / "libc" / "include"
    includes = [f"-isystem{headers / part}" for part in ("arm-linux-musl", "generic-musl")]
    quiet = ("-fno-sanitize=undefined", "-fno-unwind-tables", "-Wno-unused-command-line-argument")
    bare = ("-target", "thumb-freestanding-eabi", *processor, *quiet)
    linux = ("-target", "thumb-linux-musleabi", *processor, *quiet)
    c, cxx = (*zig, "cc", *bare, *includes), (*zig, "c++", *bare, *includes)
    return Compiler(
        "zig (clang)",
        version,
        c,
        cxx,
        (*zig, "cc", *bare, "-g", "-static"),
        (),
        ("heap.c", _SMALL_LIBC),
        (*zig, "cc", *linux, "-g", "-static"),
    )


def _output(command: list[str]) -> str:
    """Return what a command prints, or nothing if it cannot run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def build(
    sketch: str | Path,
    *,
    compiler: str | None = None,
    optimize: str = "-Os",
    flags: Sequence[str] = (),
    libraries: str | Path | None = None,
) -> Firmware:
    """Build a sketch, or take it from the cache if nothing has changed.

    Parameters
    ----------
    sketch : path
        The sketch folder.
    compiler : {"gcc", "zig"}, optional
        See `find_compiler`.
    optimize : str
        Optimisation level; "-Os" is Arduino's.
    flags : sequence of str
        More flags for the compiler.
    libraries : path, optional
        Folder of Arduino libraries; by default the nearest `libraries` above the sketch.

    Returns
    -------
    Firmware

    Raises
    ------
    BuildError
        With the compiler's first message if the sketch does not compile; with the number of bytes
        if it does not fit the chip; with the install line if there is no compiler.
    KitError
        If there is no such sketch.
    """
    source = read_sketch(sketch, libraries)
    job = _Build(source, find_compiler(compiler), (optimize, *_FLAGS, *flags))
    folder = cached("firmware", job.key, [_ELF, _WARNINGS], job.run)
    warnings = (folder / _WARNINGS).read_text(encoding="utf-8")
    return Firmware(source.name, folder / _ELF, str(job.compiler), warnings)


class _Build:
    """One sketch, one compiler, one set of flags."""

    def __init__(self, sketch: Sketch, compiler: Compiler, flags: Sequence[str]) -> None:
        self.sketch = sketch
        self.compiler = compiler
        self.flags = tuple(flags)
        self.includes = [API_FOLDER / "include", *(lib.include for lib in sketch.libraries)]
        api = sorted((API_FOLDER / "src").iterdir())
        self.sources = [p for p in api if p.suffix in SOURCES]
        self.sources += [API_FOLDER / "libc" / name for name in compiler.libc]
        self.sources += [p for library in sketch.libraries for p in library.sources]

    @cached_property
    def header_hash(self) -> str:
        """Hash of all headers that a library source may see."""
        found = [p for folder in self.includes for p in headers_in(folder)]
        return hash_of([registers.c_header().encode(), *(p.read_bytes() for p in found)])

    @cached_property
    def key(self) -> str:
        """Hash of everything that the result depends on."""
        files = [part for name in sorted(self.sketch.files) for part in (name, self._file(name))]
        sources = [p.read_bytes() for p in self.sources]
        script = (API_FOLDER / "linker.ld").read_bytes()
        about = (*self.compiler.c, self.compiler.version, *self.flags, self.header_hash)
        return hash_of([*about, script, *files, *sources])

    def _file(self, name: str) -> bytes:
        return self.sketch.files[name]

    def run(self, folder: Path) -> None:
        """Compile and link into `folder`."""
        for name, content in self.sketch.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        (folder / "board").mkdir()
        (folder / "board" / "board_registers.h").write_text(registers.c_header())
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            own = threads.map(lambda unit: self._compile_unit(folder, unit), self.sketch.units)
            others = threads.map(lambda path: self._compile_shared(folder, path), self.sources)
            objects, said = zip(*own, *others, strict=True)
        warnings = "".join(said)
        paths = dict(
            zip([*self.sketch.units, *(p.name for p in self.sources)], objects, strict=True)
        )
        self._link(folder, objects, [p for p in objects if p != paths.get(_SMALL_LIBC)])
        (folder / _WARNINGS).write_text(warnings, encoding="utf-8")
        _check_fit(self.sketch.name, Elf(folder / _ELF))

    def _compile_unit(self, folder: Path, unit: str) -> tuple[Path, str]:
        target = folder / f"{unit}.o"
        return target, self._compile(folder, unit, target)

    def _compile_shared(self, folder: Path, source: Path) -> tuple[Path, str]:
        """Compile a source of the API or of a library; several sketches share the result."""
        about = (*self._command(source), self.compiler.version, self.header_hash)
        key = hash_of([*about, source.read_bytes()])

        def make(work: Path) -> None:
            said = self._compile(folder, str(source), work / _OBJECT)
            (work / _WARNINGS).write_text(said, encoding="utf-8")

        entry = cached("objects", key, [_OBJECT, _WARNINGS], make)
        return entry / _OBJECT, (entry / _WARNINGS).read_text(encoding="utf-8")

    def _command(self, source: str | Path) -> list[str]:
        is_c = Path(source).suffix == ".c"
        start = (*self.compiler.c, *_C_FLAGS) if is_c else (*self.compiler.cxx, *_CXX_FLAGS)
        own_libc = ["-fno-builtin"] if Path(source).parent.name == "libc" else []
        return [*start, *self.flags, *own_libc, *(f"-I{p}" for p in self.includes), "-c"]

    def _compile(self, folder: Path, source: str, target: Path) -> str:
        command = [*self._command(source), "-I.", "-Iboard", source, "-o", str(target)]
        done = _run(command, folder)
        if done.returncode:
            raise BuildError(_first_error(self.sketch.name, done.stderr), done.stderr)
        return done.stderr

    def _link(self, folder: Path, objects: Iterable[Path], without_libc: Iterable[Path]) -> None:
        script = API_FOLDER / "linker.ld"
        tail = [f"-Wl,-T,{script}", "-Wl,--gc-sections", "-nostartfiles", "-o", _ELF]
        tail += self.compiler.libraries
        done = _run([*self.compiler.link, *map(str, objects), *tail], folder)
        if done.returncode and "undefined symbol" in done.stderr and self.compiler.full_link:
            done = _run([*self.compiler.full_link, *map(str, without_libc), *tail, "-lm"], folder)
        if done.returncode:
            raise BuildError(_link_error(self.sketch.name, done.stderr), done.stderr)


def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
    )


def _first_error(name: str, output: str) -> str:
    """Return the first error of a compiler's output, with file and line."""
    errors = re.findall(r"^.*?:\d+:(?:\d+:)? (?:fatal )?error: .*$", output, re.MULTILINE)
    first = errors[0] if errors else output.strip().splitlines()[-1] if output.strip() else "?"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    remedy = ""
    if re.search(r"error: .*(?:No such file|file not found)", first):
        remedy = "; put its library into a folder libraries beside the sketch's folder, or above"
    return f"{name} does not compile: {first}{more}{remedy}"


def _link_error(name: str, output: str) -> str:
    missing = re.search(r"undefined (?:reference to|symbol:) [`']?([^'\n]+)", output)
    if not missing:
        return f"{name} cannot be linked: {output.strip().splitlines()[-1] if output else '?'}"
    if missing[1].strip("()") in ("setup", "loop"):
        return f"{name} has no function {missing[1].strip('()')}; a sketch needs setup and loop"
    where = re.search(r"\(?([^\s(:/\\]+\.(?:ino|cpp|c)(?::\d+))", output)
    place = f" ({where[1]})" if where else ""
    return f"{name} cannot be linked: {missing[1]} is used but not defined{place}"


def _memory(elf: Elf) -> Memory:
    size = {name: section.size for name, section in elf.sections.items()}
    rodata = size.get(".rodata", 0) + size.get(".ARM.exidx", 0)
    return Memory(size.get(".text", 0), rodata, size.get(".data", 0), size.get(".bss", 0))


def _check_fit(name: str, elf: Elf) -> None:
    """Raise BuildError if the program is bigger than the chip, with the bytes and the culprit."""
    memory = _memory(elf)
    in_flash = (".text", ".rodata", ".data")
    for kind, used, limit, sections in (
        ("flash", memory.flash, FLASH_BYTES, in_flash),
        ("RAM", memory.ram, RAM_BYTES, (".data", ".bss")),
    ):
        if used <= limit:
            continue
        over = used - limit
        message = (
            f"{name} needs {used:,} bytes of {kind}, the board has {limit:,}: {over:,} too many"
        )
        if symbol := _biggest(elf, sections):
            what, size = symbol
            message += f"; the biggest part is {what} with {size:,} bytes ({size // 4:,} floats)"
            left = size - over
            message += (
                f", at most {left:,} bytes ({left // 4:,} floats) would fit"
                if left > 0
                else ", but the rest does not fit without it either"
            )
        raise BuildError(message)


def _biggest(elf: Elf, sections: tuple[str, ...]) -> tuple[str, int] | None:
    from tinyreptile_lite.nano.elf import readable

    parts = [elf.sections[name] for name in sections if name in elf.sections]
    held = [
        (symbol.size, symbol.name)
        for symbol in elf.symbols.values()
        if any(p.address <= symbol.address < p.address + p.size for p in parts)
    ]
    if not held or max(held)[0] == 0:
        return None
    size, name = max(held)
    return readable(name), size
