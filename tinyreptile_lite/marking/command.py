"""The command ``tinyreptile mark``: marks a folder of hand-ins and says what went wrong.

Importing this does not start anything.
"""

import argparse
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyreptile_lite.errors import KitError, at_least_one, not_negative
from tinyreptile_lite.options import Options, add_command

_OWN: Options = {
    "folder": (Path, "where the hand-ins are: files, a folder for each student, or nbgrader's"),
    "--out": (Path("marks"), "folder for the marks; it must be new or empty"),
    "--notebooks": (Path, "folder of the solved notebooks; default: the kit's own"),
    "--jobs": (os.cpu_count() or 1, "hand-ins to mark at the same time"),
    "--seconds": (5.0, "for one exercise; a hand-in has three times as many"),
    "--memory": (2048, "MB for each hand-in"),
    "--seed": (int, "of the random cases; default: a new one, which the summary names"),
}
_LEAST_MEMORY, _MOST_WAYS = 512, 4


def add_mark_parser(commands: Any) -> None:
    """Add the command `mark` to the command line."""
    add_command(commands, "mark", mark, "", _OWN)


def mark(options: argparse.Namespace) -> None:
    """Mark hand-ins of the course's notebooks, each behind walls, with the kit's own checks."""
    from tinyreptile_lite.exercises import NOTEBOOKS
    from tinyreptile_lite.marking.handin import find_hand_ins
    from tinyreptile_lite.marking.pages import check_out, write_all
    from tinyreptile_lite.marking.plan import read_courses
    from tinyreptile_lite.marking.run import Marker

    _check(options)
    notebooks = options.notebooks or Path(__file__).resolve().parents[2] / "notebooks"
    names = [one.name for one in read_courses(notebooks, NOTEBOOKS)]
    hand_ins = find_hand_ins(options.folder, names)
    if not hand_ins:
        raise KitError(f"there are no hand-ins in {options.folder}; name the folder that has them")
    check_out(options.out)
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    marker = Marker(notebooks, names, options.seconds, options.memory * 2**20, seed)
    begin = time.monotonic()
    marks = marker.mark_all(hand_ins, options.jobs, sys.stderr.isatty())
    took = time.monotonic() - begin
    about = f"{_counted(len(marks))} marked in {took:.0f} s; random cases from seed {seed}."
    write_all(marks, options.out, f"{about} {_walls(marks)}")
    print(f"{_summary(marks)}\n{about}\n{_walls(marks)}")
    print(f"{options.out} has marks.csv, summary.html and a page for each student")
    _refuse_rest(marks)


def _check(options: argparse.Namespace) -> None:
    at_least_one(jobs=options.jobs)
    if options.seed is not None:
        not_negative(seed=options.seed)
    if not 0 < options.seconds <= 3600:
        raise KitError(f"seconds is {options.seconds}; give a number from 1 to 3600")
    if options.memory < _LEAST_MEMORY:
        raise KitError(f"memory is {options.memory}; NumPy alone needs {_LEAST_MEMORY} MB")
    if not options.folder.is_dir():
        raise KitError(f"{options.folder} is no folder; name the folder of the hand-ins")
    if not os.access(options.folder, os.R_OK | os.X_OK):
        raise KitError(f"{options.folder} cannot be read; choose a folder that you may read")
    inside = options.folder.resolve()
    if inside in (options.out.resolve(), *options.out.resolve().parents):
        raise KitError(f"{options.out} is in the folder of the hand-ins; name another --out")


def _counted(count: int) -> str:
    return f"{count} hand-in{'' if count == 1 else 's'}"


def _walls(marks: Sequence[Any]) -> str:
    """Say what stood around the hand-ins, so that nobody believes in a wall that is not there."""
    wanted = ("limits", "namespaces", "Landlock", "seccomp", "audit hook")
    counts = Counter(wall for one in marks for wall in one.walls if wall in wanted)
    ran = sum(bool(one.walls) for one in marks)
    stand = [name for name in wanted if ran and counts[name] == ran]
    lack = [name for name in wanted if name not in stand]
    text = f"Walls: {', '.join(stand) or 'none'}."
    return text if not (lack and ran) else f"{text} Not here: {', '.join(lack)}."


def _summary(marks: Sequence[Any]) -> str:
    from tinyreptile_lite.marking.pages import outcomes

    lines = []
    for one in outcomes(marks):
        lines.append(
            f"{one.notebook}, exercise {one.number}, {one.title}: {one.right} of {one.all} right"
        )
        lines += [f"    {way.count:3} {way.sentence}" for way in one.ways[:_MOST_WAYS]]
        if len(one.ways) > _MOST_WAYS:
            lines.append(f"        and {len(one.ways) - _MOST_WAYS} other ways")
    twice = Counter((one.hand_in.student, one.notebook) for one in marks if one.notebook)
    for (student, notebook), count in twice.items():
        if count > 1:
            lines.append(f"{student} has handed in {notebook} {count} times: all are marked")
    for one in marks:
        if one.reason:
            lines.append(f"{one.hand_in.file} {one.reason}")
    return "\n".join(lines)


def _refuse_rest(marks: Sequence[Any]) -> None:
    """End with an error if not all could be marked; what was marked is written by now."""
    rest = [one.hand_in.file for one in marks if one.reason]
    if rest:
        shown = ", ".join(rest[:5]) + (", ..." if len(rest) > 5 else "")
        raise KitError(f"{len(rest)} of {_counted(len(marks))} could not be marked: {shown}")
