"""Set up `.venv`; `make` calls this, with the Python that the kit is to run on.

    python tools/set_up.py lab      what the course needs
    python tools/set_up.py test     what the tests need besides
    python tools/set_up.py bench    PyTorch, to compare with

Each part has its own mark in `.venv`. What was cut off in the middle is mended when it is called
again. Nothing but Python is here yet, so only its standard library is used.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
VENV = Path(".venv")
OLDEST, NEWEST = (3, 11), (3, 13)
# Most of what is fetched for the course is the compiler for the board. It has the headers of every
# system; those of systems on which the kit does not run are taken out again.
UNUSED = (
    "ziglang/lib/libc/include/*windows*",
    "ziglang/lib/libc/include/*bsd*",
    "ziglang/lib/libc/mingw",
    "unicorn/lib/*.a",
)


QUIET = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}
}


class Part(NamedTuple):
    """Extras of `pyproject.toml`, and what is said before they are fetched."""

    extras: str
    about: str


PARTS = {
    "lab": Part(
        "lab,data,boards,ble,flower",
        "This fetches about 260 MB, fills 860 MB on the disk and takes 1 to 5 minutes.",
    ),
    "test": Part("simulation,test", "This fetches about 170 MB more and takes 1 to 3 minutes."),
    "bench": Part("bench", "This fetches PyTorch: on some systems gigabytes, for many minutes."),
}


def set_up(name: str, venv: Path = VENV, project: Path = ROOT) -> None:
    """Install one part; raises `CalledProcessError` if pip fails.

    Parameters
    ----------
    name : str
        One of `PARTS`.
    venv : path
        The virtual environment; it is made if it is not there or does not work.
    project : path
        The folder of the kit.
    """
    part, python = PARTS[name], venv / "bin" / "python"
    print(f"Setting up {venv} ({name}). {part.about}", flush=True)
    begun = time.monotonic()
    if not works(venv):
        make(venv)
    packages = site_packages(python)
    unfinished = venv / "unfinished"
    if unfinished.exists():
        mend(packages)
    unfinished.touch()
    pip = (python, "-m", "pip", "install", "--disable-pip-version-check", "--no-compile")
    with named(packages):
        failed = subprocess.run(  # noqa: S603
            [*map(str, pip), "--editable", f"{project}[{part.extras}]"], check=False
        ).returncode
    if failed >= 0:  # pip cleans up when it fails, and cannot when it is killed
        unfinished.unlink()
    if failed:
        raise subprocess.CalledProcessError(failed, "pip")
    slim(packages)
    keep_quiet(venv)
    (venv / f"ready-{name}").touch()
    print(f"Ready after {time.monotonic() - begun:.0f} seconds.", flush=True)


def make(venv: Path) -> None:
    """Make an empty virtual environment, in the place of one that does not work."""
    print("  making a virtual environment", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)  # noqa: S603
    (venv / "place").write_text(f"{venv.resolve()}\n")


def works(venv: Path) -> bool:
    """Whether there is an environment with pip and a Python that fits, and it was made here.

    Its programs hold its path, so it cannot be moved.
    """
    asked = f"import pip, sys; print({OLDEST} <= sys.version_info[:2] <= {NEWEST})"
    with suppress(OSError):
        done = subprocess.run(  # noqa: S603
            [str(venv / "bin" / "python"), "-c", asked],
            capture_output=True,
            text=True,
            check=False,
        )
        place = (venv / "place").read_text().strip()
        return done.stdout.strip() == "True" and place == str(venv.resolve())
    return False


def site_packages(python: Path) -> Path:
    """Folder in which the environment's packages are."""
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.check_output([str(python), "-c", asked], text=True).strip())  # noqa: S603


def keep_quiet(venv: Path) -> None:
    """Let JupyterLab not ask a student about news, and not look for any."""
    file = venv / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(QUIET, indent=1))


def slim(packages: Path) -> None:
    """Take out what the kit never uses."""
    if os.name == "posix":
        for found in (path for pattern in UNUSED for path in packages.glob(pattern)):
            shutil.rmtree(found) if found.is_dir() else found.unlink()


def mend(packages: Path) -> None:
    """Forget the packages of which a part is missing, so that pip installs them again."""
    for info in packages.glob("*.dist-info"):
        if not is_whole(info):
            print(f"  {describe(info)} is not complete; it is installed again", flush=True)
            shutil.rmtree(info)
    for left in packages.glob("~*"):  # pip renames what it is about to replace
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def is_whole(info: Path) -> bool:
    """Whether all files of a package are there, in the size that its list says."""
    try:
        with (info / "RECORD").open(encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines))
    except OSError:
        return False
    sizes = {info.parent / name: size for name, _, size in rows if size and not is_unused(name)}
    return all(file.is_file() and file.stat().st_size == int(sizes[file]) for file in sizes)


def is_unused(name: str) -> bool:
    """Whether `slim` takes out this file or a folder above it."""
    path = Path(name)
    return any(one.match(pattern) for one in (path, *path.parents) for pattern in UNUSED)


@contextmanager
def named(packages: Path) -> Iterator[None]:
    """Print the name of each package as it comes; pip itself is silent for a minute."""
    done = threading.Event()
    before = set(packages.glob("*.dist-info"))

    def look() -> None:
        seen = set(before)
        while not done.wait(0.5):
            for info in sorted({one.parent for one in packages.glob("*.dist-info/RECORD")} - seen):
                seen.add(info)
                print(f"  installed {describe(info)} ({len(seen)} packages)", flush=True)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def describe(info: Path) -> str:
    """Name and version of a package."""
    return info.name.removesuffix(".dist-info").replace("-", " ")


def main(arguments: list[str]) -> int:
    """Run the command line; every slip is one sentence on standard error."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        found, wanted = (".".join(map(str, each)) for each in (sys.version_info[:2], NEWEST))
        print(
            f"set up: Python {found} does not fit; install Python {wanted}, or name one that "
            f"fits: make lab PYTHON=python{wanted}",
            file=sys.stderr,
        )
        return 2
    if len(arguments) != 1 or arguments[0] not in PARTS:
        print(f"set up: name one of the parts: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    again = "call make again: it goes on, and what was fetched is kept"
    try:
        set_up(arguments[0])
    except subprocess.CalledProcessError:
        print(f"set up: not ready, the reason stands above; {again}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nset up: stopped; {again}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
