"""A real Nano 33 BLE: compile and upload with arduino-cli.

A sketch with a `sketch.yaml` is built with its profile `rev1` or `rev2`: arduino-cli installs the
versions of core and libraries that it names, beside what else is installed. Any other sketch is
built with the installed core, and the nearest folder of libraries.
"""

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tinyreptile_lite.core.build import run
from tinyreptile_lite.errors import KitError, file_errors
from tinyreptile_lite.nano.compilers import BuildError
from tinyreptile_lite.nano.image import check_binary
from tinyreptile_lite.nano.ports import check_port
from tinyreptile_lite.nano.revisions import compiler_flags
from tinyreptile_lite.nano.sketch import Sketch, read_sketch

BOARD = "arduino:mbed_nano:nano33ble"
PACKAGE = "arduino:mbed_nano"
OLDEST = (1, 3, 0)  # the first whose profiles take a library from a folder
_SITE = "https://arduino.github.io/arduino-cli/latest/installation/"


def upload(sketch: str | Path, port: str, revision: int = 1) -> str:
    """Compile a sketch and load it onto the board at `port`; what arduino-cli says, with the sizes.

    Raises
    ------
    BuildError
        If the sketch does not compile; the message has the sketch's line, and the remedy for a
        missing library.
    KitError
        If there is no such sketch, port or revision, or if arduino-cli or its board package is
        missing or too old.
    """
    job = _Job(sketch, revision)
    check_port(port)
    return job.run("compile", "--upload", *job.compiled, "--port", port)


@file_errors("choose a folder you can write to")
def save_image(sketch: str | Path, folder: str | Path, revision: int = 1) -> Path:
    """Compile a sketch into an image for `upload_image`: ``NAME-rev1.bin`` in a folder.

    Raises as `upload`.
    """
    job = _Job(sketch, revision)
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        job.run("compile", *job.compiled, "--output-dir", scratch)
        made = Path(scratch) / f"{job.source.name}.ino.bin"
        check_binary(made)
        return Path(shutil.copy(made, Path(folder) / f"{job.source.name}-rev{revision}.bin"))


def upload_image(sketch: str | Path, image: str | Path, port: str, revision: int = 1) -> str:
    """Load an image onto the board at `port` without compiling; what arduino-cli says.

    The sketch's profile says which version of the board package loads it.

    Raises
    ------
    KitError
        As `upload`; or if the file is no image of a sketch for this board.
    """
    check_binary(image)
    job = _Job(sketch, revision)
    check_port(port)
    return job.run("upload", *job.where, "--port", port, "--input-file", str(image))


class _Job:
    """One sketch for one revision of the board, and how arduino-cli is called for it."""

    def __init__(self, sketch: str | Path, revision: int) -> None:
        self.source = read_sketch(sketch)
        folder = Path(sketch).resolve()
        self.folder = folder.parent if folder.suffix == ".ino" else folder
        flags = compiler_flags(revision)
        self.command = _find_command()
        self.profile = f"rev{revision}" if _has_profile(self.folder, f"rev{revision}") else None
        if self.profile:
            _check_version(self.command)
            self.where = ["--profile", self.profile]
            self.compiled = list(self.where)
        else:
            _check_package(self.command)
            self.where = ["--fqbn", BOARD]
            self.compiled = [*self.where, *_library_options(self.source)]
        if flags:  # they reach C++, the sketch's language, and not C
            self.compiled += ["--build-property", f"compiler.cpp.extra_flags={' '.join(flags)}"]

    def run(self, verb: str, *options: str) -> str:
        done = run([self.command, verb, *options, str(self.folder)])
        if done.returncode:
            raise BuildError(self._first_line(done.stderr), done.stderr)
        return done.stdout

    def _first_line(self, output: str) -> str:
        """Return the first error of arduino-cli in one line, with a remedy where one is known."""
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        errors = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
        first = (errors or lines or ["arduino-cli gave no reason"])[0]
        if missing := re.search(r"(\w+)\.h: No such file", first):
            if self.profile:
                return f"{first}; add its library to {self.profile} in {self.folder / _PROJECT}"
            return f"{first}; install the library with: arduino-cli lib install {missing[1]}"
        if any("compil" in line.lower() or ": error:" in line for line in errors):
            return f"{self.source.name} does not compile: {first}"
        return f"{self.source.name} cannot be loaded onto the board: {first}"


_PROJECT = "sketch.yaml"


@file_errors("choose a sketch whose files you can read")
def _has_profile(folder: Path, profile: str) -> bool:
    """Whether the sketch project file has this profile, as the kit's own are written."""
    file = folder / _PROJECT
    text = file.read_text("utf-8", "replace") if file.is_file() else ""
    return re.search(rf"^  {profile}:\s*$", text, re.MULTILINE) is not None


def _library_options(source: Sketch) -> list[str]:
    return [f"--libraries={library.folder.parent}" for library in source.libraries[:1]]


def check_arduino_cli() -> None:
    """Raise `KitError` unless arduino-cli is installed."""
    _find_command()


def _find_command() -> str:
    command = shutil.which("arduino-cli")
    if command is None:
        raise KitError(f"arduino-cli is not installed: see {_SITE}, or use --board virtual")
    return command


def _ask(command: str, *question: str) -> Any:
    """Return arduino-cli's answer in JSON."""
    try:
        return json.loads(run([command, *question, "--format", "json"]).stdout or "{}")
    except json.JSONDecodeError:
        raise KitError(
            f"arduino-cli {' '.join(question)} gives no JSON; install a newer one: {_SITE}"
        ) from None


def _check_version(command: str) -> None:
    """Refuse one that is too old; one that was built from a snapshot has no number, and passes."""
    answer = _ask(command, "version")
    version = str(answer.get("VersionString", "")) if isinstance(answer, dict) else ""
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if numbers and (0, 0, 0) < tuple(map(int, numbers.groups())) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise KitError(f"arduino-cli is {version}; install {oldest} or newer: {_SITE}")


def _check_package(command: str) -> None:
    listed = _ask(command, "core", "list")
    rows = listed.get("platforms") or [] if isinstance(listed, dict) else listed
    if not any(PACKAGE in (row.get("id"), row.get("ID")) for row in rows):
        raise KitError(
            f"the board package {PACKAGE} is missing; install it with: "
            f"arduino-cli core install {PACKAGE}"
        )
