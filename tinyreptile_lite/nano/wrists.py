"""`tinyreptile recording`: one of the kit's recordings of wrists as a CSV file, for --imu."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.errors import KitError, file_errors, unknown_name
from tinyreptile_lite.nano.mounting import as_worn
from tinyreptile_lite.nano.recording import TITLE
from tinyreptile_lite.nano.revisions import CHIPS, chip_of
from tinyreptile_lite.tasks.wrist import EXERCISES, RATE, Wrist

_TO_SENSOR = np.array([1, 1, 1] + 3 * [180 / np.pi])


def write_recording(device: str, exercise: str, file: str | Path, revision: int = 1) -> int:
    """Write what a board reads that is worn as drawn while a person does an exercise.

    Parameters
    ----------
    device : str
        Such as "person-1-left".
    exercise : str
        A name or a number from 0.
    file : path
        A new CSV file: acceleration in g, rotation rate in degrees per second.
    revision : {1, 2}
        The board's; each has its sensor and its library.

    Returns
    -------
    int
        The number of samples.

    Raises
    ------
    KitError
        If one of the names is unknown, or the file is there or cannot be written.
    """
    arms = {one.name: one for one in Wrist().devices()}
    if device not in arms:
        raise unknown_name("device", device, arms)
    names = dict(zip(EXERCISES, range(len(EXERCISES)), strict=True))
    number = names.get(exercise, int(exercise) if exercise.isdecimal() else len(names))
    if number >= len(names):
        known = ", ".join(f"{at} {name}" for name, at in names.items())
        raise KitError(f"unknown exercise {exercise!r}; choose one of: {known}")
    arm = arms[device]
    rows = as_worn(arm.recordings[number] * _TO_SENSOR, arm.arm, chip_of(revision))
    lines = [",".join(f"{value:.6g}" for value in row) for row in rows]
    head = [f"# rate: {RATE} Hz", f"# {device}, {EXERCISES[number]}", TITLE]
    if Path(file).exists():
        raise KitError(f"{file} is already there and stays as it is; choose another name")
    with file_errors("choose a file you can write to"):
        Path(file).write_text("\n".join([*head, *lines]) + "\n", "utf-8", newline="\n")
    return len(rows)


def add_recording_parser(commands: Any) -> None:
    """Add the command `recording` to the command line."""
    about = (
        "Write one of the kit's recordings of wrists as a CSV file, as a board worn as drawn "
        "reads it: tinyreptile flash arduino/WristAdapt --imu FILE plays it."
    )
    parser = commands.add_parser("recording", help=about.split(",")[0] + ".", description=about)
    parser.add_argument("device", help="person-1-left to person-10-right")
    exercises = ", ".join(f"{at} {name}" for at, name in enumerate(EXERCISES))
    parser.add_argument("exercise", help=f"number or name: {exercises}")
    parser.add_argument("file", type=Path, help="the new file")
    parser.add_argument(
        "--rev2", dest="revision", action="store_const", const=2, default=1,
        help=f"for a board of revision 2, with the sensor {CHIPS[2]}",
    )  # fmt: skip
    parser.set_defaults(run=_write)


def _write(options: argparse.Namespace) -> None:
    count = write_recording(options.device, options.exercise, options.file, options.revision)
    print(f"wrote {options.file}: {count:,} samples, {count / RATE:.0f} s")
