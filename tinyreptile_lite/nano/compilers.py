"""Compilers for the board: GCC as the Arduino core has it, or the clang of the ziglang wheel."""

import os
import shutil
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tinyreptile_lite.core.build import run
from tinyreptile_lite.errors import KitError

_PROCESSOR = ("-mthumb", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=softfp")
SMALL_LIBC = "small_libc.c"
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
    full_link: tuple[str, ...] = ()  # links a whole C library instead of SMALL_LIBC

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@cache
def find_compiler(name: str | None = None) -> Compiler:
    """Find a compiler for the board.

    "gcc" is arm-none-eabi-gcc, the board's own compiler family; "zig" is the clang in the `ziglang`
    wheel. By default the one that `TINYREPTILE_COMPILER` names, else GCC if it is there, else zig.

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
    c, cxx = (gcc, *_PROCESSOR), (gxx, *_PROCESSOR)
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
    link, full_link = ((*zig, "cc", *target, "-g", "-static") for target in (bare, linux))
    libc = ("heap.c", SMALL_LIBC)
    return Compiler("zig (clang)", version, c, cxx, link, (), libc, full_link)


def _output(command: list[str]) -> str:
    """Return what a command prints, or nothing if it cannot run."""
    try:
        done = run(command)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
