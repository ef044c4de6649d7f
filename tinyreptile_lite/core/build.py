"""Compile C sources for this computer, once: the result stays in the user's cache."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from tinyreptile_lite.errors import KitError

CORE = Path(__file__).resolve().parents[2] / "arduino" / "libraries" / "TinyReptile" / "src"
# Nothing here changes a result: contraction stays off.
FLAGS = (
    "-std=c99", "-O3", "-shared", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",
)  # fmt: skip
_ENDINGS = {"win32": ".dll", "darwin": ".dylib"}


class CannotBuild(KitError):
    """No compiler for this computer, or the sources do not compile."""


def cache_folder() -> Path:
    """Return the folder for built programs; `TINYREPTILE_CACHE` moves it."""
    if named := os.environ.get("TINYREPTILE_CACHE"):
        return Path(named)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "tinyreptile_lite"


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

    Parameters
    ----------
    name : str
        Begins the file's name.
    sources : sequence of path
        The C files.
    include : path
        Folder of their headers.

    Returns
    -------
    path
        A file whose name holds a hash of sources, headers, compiler and flags.

    Raises
    ------
    CannotBuild
        If there is no compiler, or it fails, or the cache cannot be written.
    """
    compiler = find_compiler()
    position = () if sys.platform == "win32" else ("-fPIC",)
    flags = (*FLAGS, *_wide_registers(), *position)  # in the hash, as computers may share a cache
    digest = hashlib.sha256(repr((compiler, flags, platform.machine())).encode())
    for path in (*sources, *sorted(include.glob("*.h"))):
        digest.update(path.read_bytes())
    kind = _ENDINGS.get(sys.platform, ".so")
    target = cache_folder() / "host" / f"{name}-{digest.hexdigest()[:16]}{kind}"
    if not target.is_file():
        command = (*compiler, *flags, f"-I{include}", *map(str, sources))
        try:
            _compile(command, target)
        except OSError as error:
            raise CannotBuild(f"cannot write or run {error.filename}: {error.strerror}") from error
    return target


def _compile(command: Sequence[str], target: Path) -> None:
    """Write the library under another name first, so that nobody ever loads half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        new = Path(scratch) / target.name
        done = subprocess.run(  # noqa: S603
            [*command, "-o", str(new)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "error" in line]
            raise CannotBuild(f"{command[0]} fails: {(said or [done.stderr.strip()])[0]}")
        try:
            new.replace(target)
        except OSError:  # on Windows, if another process was faster and has loaded its own
            if not target.is_file():
                raise
