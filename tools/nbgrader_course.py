"""Make a course directory of nbgrader from the solved notebooks, or try nbgrader on them.

    python tools/nbgrader_course.py FOLDER            make a course; what is there already stays
    python tools/nbgrader_course.py --try             hand in solved and blank copies, all notebooks
    python tools/nbgrader_course.py --try 00_start_here 04_on_the_device

Each notebook is an assignment of its own name. The trial takes minutes, as nbgrader runs every cell
of every hand-in; its course is thrown away. nbgrader is no part of the course's installation:
``pip install nbgrader``.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyreptile_lite.errors import KitError, file_errors
from tinyreptile_lite.exercises.copies import Notebook, read_notebook

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
CONFIG = """\
c = get_config()  # noqa
c.CourseDirectory.course_id = "tinyreptile"
c.Execute.timeout = 300  # seconds for one cell; some train for long
c.OverwriteCells.add_missing_cells = True  # a check that was deleted comes back
# Only if nbgrader is installed elsewhere than the kit:
# c.Execute.kernel_name = "tinyreptile"
"""


def make_course(folder: Path, names: Sequence[str] = ()) -> list[str]:
    """Write ``source/NAME/NAME.ipynb`` for the notebooks, and ``nbgrader_config.py``.

    The state of widgets is left out: nbgrader would hand it to the students.

    Parameters
    ----------
    folder : path
        The course directory; it is made if it is not there.
    names : sequence of str
        Notebooks without ``.ipynb``; all if it is empty.

    Returns
    -------
    list of str
        A line for each file: whether it is new, or stays as it is.

    Raises
    ------
    KitError
        If there is no such notebook, or the folder cannot be written to.
    """
    files = {folder / "nbgrader_config.py": CONFIG}
    for name in names or known():
        if name not in known():
            raise KitError(f"there is no notebook {name!r}; name some of {', '.join(known())}")
        notebook = read_notebook(NOTEBOOKS / f"{name}.ipynb")
        notebook["metadata"].pop("widgets", None)
        files[folder / "source" / name / f"{name}.ipynb"] = _text_of(notebook)
    with file_errors("choose a folder you can write to for the course"):
        return [_write_new(path, text) for path, text in files.items()]


def known() -> list[str]:
    """Names of the course's notebooks, in their order."""
    return sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def hand_in(folder: Path, student: str, name: str, notebook: Notebook) -> None:
    """Put a notebook where nbgrader collects it: ``submitted/STUDENT/NAME/NAME.ipynb``."""
    path = folder / "submitted" / student / name / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_text_of(notebook), encoding="utf-8")


def released(folder: Path, name: str) -> Notebook:
    """Return what nbgrader made for the students."""
    return read_notebook(folder / "release" / name / f"{name}.ipynb")


def solve(release: Notebook, name: str) -> Notebook:
    """Fill in the kit's solutions, as a student would who writes the same; returns the notebook."""
    solved = {cell["id"]: cell for cell in read_notebook(NOTEBOOKS / f"{name}.ipynb")["cells"]}
    for cell in release["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("solution"):
            cell["source"] = solved[cell["id"]]["source"]
    return release


class Course:
    """nbgrader at work in a course directory, with the settings of its ``nbgrader_config.py``.

    Parameters
    ----------
    folder : path
        As `make_course` has written it.

    Raises
    ------
    KitError
        If nbgrader is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from nbgrader.apps import NbGraderAPI
        except ImportError:
            raise KitError("nbgrader is not installed; type: pip install nbgrader") from None
        from traitlets.config import PyFileConfigLoader

        # nbgrader calls `alembic` by name, which is beside Python even where nothing is activated.
        os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
        logging.getLogger("traitlets").setLevel(logging.ERROR)
        config = PyFileConfigLoader("nbgrader_config.py", str(folder)).load_config()
        config.CourseDirectory.root = str(folder)
        self.api = NbGraderAPI(config=config)

    def generate(self, name: str) -> None:
        """Make the students' release of an assignment; raises `KitError` if nbgrader cannot."""
        self._done(name, self.api.generate_assignment(name))

    def autograde(self, name: str, student: str) -> dict[str, float]:
        """Run a hand-in and return its points by check; raises `KitError` if nbgrader cannot."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SQLAlchemy's remarks on nbgrader's database
            self._done(name, self.api.autograde(name, student))
        with self.api.gradebook as book:
            grades = book.find_submission_notebook(name, name, student).grades
            return {grade.name: float(grade.score) for grade in grades}

    def highest(self, name: str) -> float:
        """Points of an assignment that is all right."""
        with self.api.gradebook as book:
            return float(book.find_assignment(name).max_score)

    @staticmethod
    def _done(name: str, result: dict[str, Any]) -> None:
        if not result["success"]:
            said = str(result.get("error") or result.get("log")).strip().splitlines()[-1]
            raise KitError(f"nbgrader stops at {name}: {said}")


def try_course(folder: Path, names: Sequence[str] = ()) -> list[str]:
    """Grade a solved and a blank copy of each notebook, and print the points.

    Returns
    -------
    list of str
        Notebooks of which the solved copy misses a point, or the blank one gains any.
    """
    make_course(folder, names)
    course, wrong = Course(folder), []
    print(f"{'notebook':24} {'solved':>8} {'blank':>8}", flush=True)
    for name in names or known():
        course.generate(name)
        hand_in(folder, "blank", name, released(folder, name))
        hand_in(folder, "solved", name, solve(released(folder, name), name))
        points = [sum(course.autograde(name, who).values()) for who in ("solved", "blank")]
        highest = course.highest(name)
        print(f"{name:24} {points[0]:3g} of {highest:g} {points[1]:3g} of {highest:g}", flush=True)
        if points != [highest, 0]:
            wrong.append(name)
    return wrong


def _text_of(notebook: Notebook) -> str:
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _write_new(path: Path, text: str) -> str:
    if path.exists():
        return f"{path} stays as it is"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return f"{path} is new"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; a user's slip is one line on standard error and exit code 2."""
    parser = argparse.ArgumentParser(description="Make a course directory of nbgrader, or try it.")
    parser.add_argument("folder", type=Path, nargs="?", help="the course directory")
    parser.add_argument("--try", dest="tried", nargs="*", metavar="NOTEBOOK", help="none: all")
    options = parser.parse_args(arguments)
    if (options.folder is None) == (options.tried is None):
        parser.error("name a folder for the course, or give --try")
    try:
        if options.folder:
            print(*make_course(options.folder), sep="\n")
            return 0
        with tempfile.TemporaryDirectory() as scratch:
            wrong = try_course(Path(scratch), options.tried)
    except KitError as error:
        print(f"nbgrader course: {error}", file=sys.stderr)
        return 2
    if wrong:
        print(f"Points are not as they should be in {', '.join(wrong)}.", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
