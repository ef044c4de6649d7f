"""Exercises: make the students' copies of the notebooks, with the solutions taken out.

The solved notebooks are written in nbgrader's source format, and the copies are what nbgrader's
``generate_assignment`` would make of them: ::

    python -m tinyreptile_lite.exercises.copies notebooks my_course

A copy that is there already is never written over. A hidden file beside the copies says from which
sources they were made, to tell when a source is newer.
"""

import argparse
import hashlib
import json
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

from tinyreptile_lite.errors import KitError, file_errors

Notebook = dict[str, Any]
Cell = dict[str, Any]

BEGIN, END = "BEGIN SOLUTION", "END SOLUTION"
REGION = re.compile(rf"^([ \t]*)[^\n]*{BEGIN}.*?{END}[^\n]*", re.DOTALL | re.MULTILINE)
MADE_FROM = ".made_from.json"  # beside the copies: a digest of each when it was made
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"


def source(cell: Cell) -> str:
    """Text of a cell; a notebook file may hold it as one string or as a list of lines."""
    text = cell["source"]
    return text if isinstance(text, str) else "".join(text)


def is_solution(cell: Cell) -> bool:
    """Tell whether the student writes in this cell."""
    return bool(cell["metadata"].get("nbgrader", {}).get("solution"))


def is_check(cell: Cell) -> bool:
    """Tell whether this cell checks, and grades, what the student wrote."""
    return bool(cell["metadata"].get("nbgrader", {}).get("grade"))


def strip_solution(text: str) -> str:
    """Put a stub in the place of each region from ``### BEGIN SOLUTION`` to ``### END SOLUTION``.

    A text without such a region becomes the stub alone. Raises `KitError` if a region has no end or
    begins inside another.
    """
    if BEGIN not in text:
        return STUB
    kept = REGION.sub(_stub, text)
    if BEGIN in kept:
        raise KitError(f"a solution has no end; add a line ### {END}")
    return kept


def _stub(region: re.Match[str]) -> str:
    if region[0].count(BEGIN) > 1:
        raise KitError(f"{BEGIN} stands inside another solution; end the first one before")
    return textwrap.indent(STUB, region[1])


def student_copy(notebook: Notebook) -> Notebook:
    """Copy a solved notebook without its solutions and outputs; the checks become read-only.

    Raises `KitError` if a solution stands in a cell that is not marked as one.
    """
    copy = deepcopy(notebook)
    copy["metadata"].pop("widgets", None)  # what the removed outputs showed
    for cell in copy["cells"]:
        if is_solution(cell):
            cell["source"] = strip_solution(source(cell)).splitlines(keepends=True)
            cell["metadata"]["deletable"] = False
        elif BEGIN in source(cell):
            raise KitError(f"cell {cell.get('id')} holds a solution; mark it as a solution cell")
        if is_check(cell):
            cell["metadata"] |= {"deletable": False, "editable": False}
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    return copy


def read_notebook(path: Path) -> Notebook:
    """Read a notebook file; raises `KitError` if it is no notebook of format 4."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if notebook["nbformat"] == 4 and isinstance(notebook["cells"], list):
            return notebook
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise KitError(f"{path} is not a notebook of format 4; name a folder of .ipynb files")


def write_student_copies(solved: Path, students: Path) -> list[str]:
    """Make the student's copy of every notebook of a folder, but of those that are there already.

    Parameters
    ----------
    solved : path
        Folder of the solved notebooks.
    students : path
        Folder for the copies; it is made if it is not there.

    Returns
    -------
    list of str
        A line for each copy that was written, and for each that stays although its source has
        changed since it was made.

    Raises
    ------
    KitError
        If there are no notebooks, one is none, or the folder cannot be written to.
    """
    sources = sorted(solved.glob("*.ipynb"))
    if not sources:
        raise KitError(f"there are no notebooks in {solved}; name the folder of the solved ones")
    copies = {path.name: _text_of(student_copy(read_notebook(path))) for path in sources}
    with file_errors("choose a folder you can write to for the copies"):
        students.mkdir(parents=True, exist_ok=True)
        made_from = _read_made_from(students)
        lines = []
        for name, text in copies.items():
            digest = hashlib.sha256(text.encode()).hexdigest()
            if not os.path.lexists(students / name):
                _write(students / name, text)
                lines.append(f"{students / name} is new")
                made_from[name] = digest
                _write(students / MADE_FROM, json.dumps(made_from, indent=1))
            elif made_from.get(name, digest) != digest:
                lines.append(
                    f"{students / name} stays as it is, but the course has a newer one; "
                    "give yours another name to get it"
                )
    return lines


def _text_of(notebook: Notebook) -> str:
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _read_made_from(students: Path) -> dict[str, str]:
    """Digests of the copies as they were made; none of those that nobody knows."""
    with suppress(OSError, ValueError):
        found = json.loads((students / MADE_FROM).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def _write(path: Path, text: str) -> None:
    """Write a file in one piece, so that no half a copy is taken for a student's work."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; a user's slip is one line on standard error and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m tinyreptile_lite.exercises.copies",
        description="Make the students' copies of the notebooks: solutions and outputs removed.",
    )
    parser.add_argument("solved", type=Path, help="folder of the solved notebooks")
    parser.add_argument("students", type=Path, help="folder for the copies")
    options = parser.parse_args(arguments)
    try:
        for line in write_student_copies(options.solved, options.students):
            print(line)
    except KitError as error:
        print(f"exercises: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
