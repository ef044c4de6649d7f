"""Compile C sources for this computer, once: the result stays in the user's cache."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from tinyreptile_lite.cache import CannotBuild, cached, hash_of

CORE = Path(__file__).resolve().parents[2] / "arduino" / "libraries" / "TinyReptile" / "src"
HERE = Path(__file__).parent
# Nothing here changes a result: contraction stays off, and the fast kernels give the plain bits.
FLAGS = (
    "-std=c99", "-O3", "-shared", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
    '-DTR_KERNELS="host_kernels.h"',
)  # fmt: skip
_ENDINGS = {"win32": ".dll", "darwin": ".dylib"}


@cache
def find_compiler() -> tuple[str, ...]:
    """Return the command of a C compiler: `CC` if it is set, the system's, or the ziglang wheel's.

    Raises
    ------
    CannotBuild
        If there is none.
    """
    if named := os.environ.get("CC"):
        return tuple(named.split())
    if os.name == "posix" and (found := shutil.which("cc")):
        return (found,)
    try:
        import ziglang  # noqa: F401
    except ImportError as error:
        raise CannotBuild("no C compiler is installed; pip install ziglang") from error
    return sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline"


@cache
def _wide_registers() -> tuple[str, ...]:
    """Return the flag for AVX2 where this computer's processor has it; only Linux is asked."""
    try:
        features = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return ()
    return ("-mavx2",) if "avx2" in features else ()


def shared_library(name: str, sources: Sequence[Path], include: Path) -> Path:
    """Return a shared library made from C sources, compiled now if it is not in the cache.

    The name begins the file's name; `include` is the folder of the headers.

    Raises
    ------
    CannotBuild
        If there is no compiler, or it fails, or the cache cannot be written.
    """
    compiler = find_compiler()
    position = () if sys.platform == "win32" else ("-fPIC",)
    flags = (*FLAGS, *_wide_registers(), *position)  # in the hash, as computers may share a cache
    headers = [*sorted(include.glob("*.h")), *sorted(HERE.glob("*.h"))]
    contents = (path.read_bytes() for path in (*sources, *headers))
    key = hash_of([*compiler, "", *flags, platform.machine(), *contents])
    file = name + _ENDINGS.get(sys.platform, ".so")
    command = (*compiler, *flags, f"-I{include}", f"-I{HERE}", *map(str, sources))
    make = partial(_compile, command, file)
    return cached("host", f"{name}-{key}", [file], make) / file


def load(name: str, sources: Sequence[Path], include: Path) -> ctypes.CDLL:
    """Load what `shared_library` returns.

    Raises
    ------
    CannotBuild
        As there; or if it cannot be loaded, as from a disk that is mounted noexec.
    """
    path = shared_library(name, sources, include)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        remedy = "set TINYREPTILE_CACHE to a folder whose programs may run"
        raise CannotBuild(f"cannot load {path}: {error}; {remedy}") from error


def run(command: Sequence[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command, in a folder if one is given, and keep all that it says."""
    return subprocess.run(  # noqa: S603
        command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
    )


def _compile(command: Sequence[str], file: str, folder: Path) -> None:
    try:
        done = run([*command, "-o", str(folder / file)])
    except OSError as error:
        raise CannotBuild(f"cannot run {command[0]}: {error.strerror}") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line]
        raise CannotBuild(f"{command[0]} fails: {(said or [done.stderr.strip()])[0]}")
