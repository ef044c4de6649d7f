"""Build an Arduino sketch for the virtual Nano 33 BLE, or take it from the cache."""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tinyreptile_lite.cache import cached, hash_of
from tinyreptile_lite.core.build import run
from tinyreptile_lite.nano import registers
from tinyreptile_lite.nano.compilers import SMALL_LIBC, BuildError, Compiler, find_compiler
from tinyreptile_lite.nano.image import Image, Memory
from tinyreptile_lite.nano.sketch import Sketch, headers_in, read_sketch

API_FOLDER = Path(__file__).parent / "arduino_api"
_SCRIPT = API_FOLDER / "linker.ld"
_FLAGS = (
    "-g", "-Wall", "-Wextra", "-Wno-missing-field-initializers", "-Wno-unused-parameter",
    "-fdata-sections", "-ffunction-sections", "-fmessage-length=0", "-fno-exceptions",
    "-fomit-frame-pointer", "-funsigned-char", "-DARDUINO=10819", "-DARDUINO_ARDUINO_NANO33BLE",
    "-DARDUINO_ARCH_MBED", "-DARDUINO_ARCH_MBED_NANO", "-DARDUINO_ARCH_NRF52840",
)  # fmt: skip
_C_FLAGS = ("-std=gnu11",)
_CXX_FLAGS = ("-std=gnu++14", "-fno-rtti", "-fno-threadsafe-statics")
_ELF, _OBJECT, _WARNINGS = "firmware.elf", "object.o", "warnings.txt"  # files in the cache


@dataclass(frozen=True)
class Firmware:
    """A built sketch."""

    name: str
    path: Path  # the `.elf` file, in the cache
    compiler: str  # name and version
    warnings: str  # what the compiler said about sources that it accepted

    @cached_property
    def elf(self) -> Image:
        """The linked program."""
        return Image(self.path)

    @property
    def memory(self) -> Memory:
        """Bytes by section."""
        return self.elf.memory


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
    sketch, libraries : path
        The folders, as in `read_sketch`.
    compiler : {"gcc", "zig"}, optional
        See `find_compiler`.
    optimize : str
        Optimisation level; "-Os" is Arduino's.
    flags : sequence of str
        More flags for the compiler.

    Raises
    ------
    BuildError
        If the sketch does not compile or does not fit the chip, or if there is no compiler.
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
        self.sketch, self.compiler, self.flags = sketch, compiler, flags
        self.includes = [API_FOLDER / "include", *(lib.include for lib in sketch.libraries)]
        self.sources = sorted((API_FOLDER / "src").glob("*.c*"))
        self.sources += [API_FOLDER / "libc" / name for name in compiler.libc]
        self.sources += [p for library in sketch.libraries for p in library.sources]
        headers = [p for folder in self.includes for p in headers_in(folder)]
        # All that a library source may see.
        self.header_hash = hash_of([registers.c_header(), *(p.read_bytes() for p in headers)])

    @property
    def key(self) -> str:
        """Hash of everything that the result depends on."""
        files = [part for entry in sorted(self.sketch.files.items()) for part in entry]
        sources = [p.read_bytes() for p in self.sources]
        about = (*self.compiler.c, self.compiler.version, *self.flags, self.header_hash)
        return hash_of([*about, _SCRIPT.read_bytes(), *files, *sources])

    def run(self, folder: Path) -> None:
        """Compile and link into `folder`."""
        for name, content in self.sketch.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        (folder / "board").mkdir()
        (folder / "board" / "board_registers.h").write_text(registers.c_header())
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            own = threads.map(
                lambda unit: self._compile(folder, unit, folder / f"{unit}.o"), self.sketch.units
            )
            others = threads.map(lambda path: self._compile_shared(folder, path), self.sources)
            objects, said = zip(*own, *others, strict=True)
        (folder / _WARNINGS).write_text("".join(said), encoding="utf-8")
        self._link(folder, dict(zip([*self.sketch.units, *self.sources], objects, strict=True)))
        if reason := Image(folder / _ELF).too_big():
            raise BuildError(f"{self.sketch.name} {reason}")

    def _compile_shared(self, folder: Path, source: Path) -> tuple[Path, str]:
        """Compile a source of the API or of a library; several sketches share the result."""
        about = (*self._command(source), self.compiler.version, self.header_hash)
        key = hash_of([*about, source.read_bytes()])

        def make(work: Path) -> None:
            _, said = self._compile(folder, str(source), work / _OBJECT)
            (work / _WARNINGS).write_text(said, encoding="utf-8")

        entry = cached("objects", key, [_OBJECT, _WARNINGS], make)
        return entry / _OBJECT, (entry / _WARNINGS).read_text(encoding="utf-8")

    def _command(self, source: str | Path) -> list[str]:
        is_c = Path(source).suffix == ".c"
        start = (*self.compiler.c, *_C_FLAGS) if is_c else (*self.compiler.cxx, *_CXX_FLAGS)
        own_libc = ["-fno-builtin"] if Path(source).parent.name == "libc" else []
        return [*start, *self.flags, *own_libc, *(f"-I{p}" for p in self.includes), "-c"]

    def _compile(self, folder: Path, source: str, target: Path) -> tuple[Path, str]:
        command = [*self._command(source), "-I.", "-Iboard", source, "-o", str(target)]
        done = run(command, folder)
        if done.returncode:
            raise BuildError(_first_error(self.sketch.name, done.stderr), done.stderr)
        return target, done.stderr

    def _link(self, folder: Path, objects: dict[str | Path, Path]) -> None:
        """Link the objects of these sources; a sketch that asks for more than C's basics gets all.

        The ziglang wheel's whole C library makes a program larger, so it is taken only then.
        """
        tail = [f"-Wl,-T,{_SCRIPT}", "-Wl,--gc-sections", "-nostartfiles", "-o", _ELF]
        tail += self.compiler.libraries
        done = run([*self.compiler.link, *map(str, objects.values()), *tail], folder)
        if done.returncode and "undefined symbol" in done.stderr and self.compiler.full_link:
            small = API_FOLDER / "libc" / SMALL_LIBC
            rest = [str(path) for source, path in objects.items() if source != small]
            done = run([*self.compiler.full_link, *rest, *tail, "-lm"], folder)
        if done.returncode:
            raise BuildError(_link_error(self.sketch.name, done.stderr), done.stderr)


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
