"""Exercises: make the students' copies of the notebooks, with the solutions taken out.

The solved notebooks are written in nbgrader's source format, and the copies are what nbgrader's
``generate_assignment`` would make of them: ::

    python -m tinyreptile_lite.exercises.copies notebooks build/student
"""

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from tinyreptile_lite.errors import KitError

Notebook = dict[str, Any]
Cell = dict[str, Any]

BEGIN, END = "BEGIN SOLUTION", "END SOLUTION"
REGION = re.compile(rf"^([ \t]*)[^\n]*{BEGIN}.*?{END}[^\n]*", re.DOTALL | re.MULTILINE)
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


def write_student_copies(solved: Path, students: Path) -> list[Path]:
    """Make the student's copy of every notebook of a folder; returns the files written.

    The folder ``students`` is made if it is not there. Raises `KitError` if there are no notebooks,
    or a copy is there already: it may hold a student's work.
    """
    sources = sorted(solved.glob("*.ipynb"))
    if not sources:
        raise KitError(f"there are no notebooks in {solved}; name the folder of the solved ones")
    copies = {students / path.name: student_copy(read_notebook(path)) for path in sources}
    for path in copies:
        if path.exists():
            raise KitError(f"{path} is already there; move it away or name another folder")
    try:
        students.mkdir(parents=True, exist_ok=True)
        for path, copy in copies.items():
            path.write_text(json.dumps(copy, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise KitError(
            f"cannot write to {students}: {error.strerror}; choose a folder you can write to"
        ) from error
    return list(copies)


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
        for path in write_student_copies(options.solved, options.students):
            print(path)
    except KitError as error:
        print(f"exercises: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
