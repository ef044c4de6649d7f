"""Hand-ins: what lies in the folder, and the cells of one file, whatever tool has saved it."""

import ast
import json
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_BYTES = 50 * 1024 * 1024  # of one file, with pictures in its outputs
_MOST_CELLS = 2000
_MOST_SOURCE = 1024 * 1024  # characters of all cells together
_IGNORED = {"timestamp.txt", "Thumbs.db", "desktop.ini", "__MACOSX"}
_SUBMITTED = "submitted"  # nbgrader's folder: submitted/STUDENT/ASSIGNMENT/
_DEFINED = re.compile(r"^(?:def|class)\s+(\w+)|^(\w+)\s*(?::[^=\n]+)?=(?!=)", re.MULTILINE)


class NoHandIn(Exception):
    """A file that cannot be marked, and why."""


@dataclass(frozen=True)
class HandIn:
    """One file of one student.

    Attributes
    ----------
    path : Path
    student : str
    file : str
        The path below the folder that is marked.
    """

    path: Path
    student: str
    file: str


def find_hand_ins(folder: Path, courses: Sequence[str]) -> list[HandIn]:
    """List what was handed in: all notebooks, and what stands in the place of one.

    Parameters
    ----------
    folder : Path
        Files named after students, a folder for each student, or nbgrader's layout.
    courses : sequence of str
        Names of the course's notebooks, which do not name a student.
    """
    found = [HandIn(p, _student(p.relative_to(folder), courses), str(p.relative_to(folder)))
             for p in _files(folder)]  # fmt: skip
    notebooks = [one for one in found if one.path.suffix == ".ipynb"]
    have = {one.student for one in notebooks}
    # Beside a notebook other files are data; alone they stand in its place.
    others = [one for one in found if one.path.suffix != ".ipynb" and one.student not in have]
    return sorted([*notebooks, *others], key=lambda one: (one.student.casefold(), one.file))


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in _IGNORED:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path


def _student(path: Path, courses: Sequence[str]) -> str:
    """Whose file this is: the first folder, or the file's name without the notebook's."""
    parts = list(path.parts)
    if _SUBMITTED in parts[:-2]:
        parts = parts[parts.index(_SUBMITTED) + 1 :]
    if len(parts) > 1:
        return parts[0]
    stem = path.name.partition(".ipynb")[0] if ".ipynb" in path.name else path.stem
    for course in courses:
        rest = re.sub(re.escape(course), " ", stem, flags=re.IGNORECASE)
        rest = re.sub(r"^[\s_.-]+|[\s_.-]+$", "", rest)
        if rest != stem and re.search(r"[^\W\d]", rest):
            return rest
    return stem


@dataclass(frozen=True)
class Cell:
    """A cell as far as it could be read.

    Attributes
    ----------
    source : str
    kind : str
        code, markdown or raw.
    id : str
        Empty if the cell has none.
    grade_id : str
        nbgrader's name for it, or empty.
    tags : tuple of str
    points : float
        What nbgrader's mark says that it is worth.
    solution : bool
        Whether the mark says that the student writes here.
    """

    source: str
    kind: str = "code"
    id: str = ""
    grade_id: str = ""
    tags: tuple[str, ...] = ()
    points: float = 0.0
    solution: bool = False


def read_cells(path: Path) -> list[Cell]:
    """Read the cells of a notebook file without trusting it.

    Raises
    ------
    NoHandIn
        If there are none that can be read; the text says why.
    """
    try:
        notebook = json.loads(_text(path))
    except (ValueError, RecursionError, MemoryError):
        raise NoHandIn("is not a notebook: its content is no JSON") from None
    entries = _entries(notebook)
    cells = [cell for entry in entries[:_MOST_CELLS] if (cell := _cell(entry))]
    if sum(len(cell.source) for cell in cells) > _MOST_SOURCE:
        raise NoHandIn("has more than a million characters in its cells; hand in the notebook only")
    if not any(cell.source.strip() for cell in cells):
        raise NoHandIn("is a notebook without cells")
    return cells


def _text(path: Path) -> str:
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise NoHandIn("is a link to another file; hand in the file itself")
        if not stat.S_ISREG(status.st_mode):
            raise NoHandIn("is no file")
        if path.suffix != ".ipynb":
            archive = path.suffix.lower() in {".zip", ".gz", ".7z", ".rar", ".tar", ".tgz"}
            remedy = "unpack it first" if archive else "hand in the .ipynb file"
            raise NoHandIn(f"is not a notebook; {remedy}")
        if status.st_size == 0:
            raise NoHandIn("is empty")
        if status.st_size > MOST_BYTES:
            raise NoHandIn("has more than 50 MB; clear its outputs and hand it in again")
        raw = path.read_bytes()
    except OSError as error:
        raise NoHandIn(f"cannot be read: {error.strerror}") from None
    wide = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = raw.decode("utf-16" if wide else "utf-8-sig", errors="replace")
    if not text.strip():
        raise NoHandIn("is empty")
    return text


def _entries(notebook: Any) -> list[Any]:
    """Cells of format 4, or of the older format 3 with its worksheets."""
    if isinstance(notebook, dict):
        if isinstance(notebook.get("cells"), list):
            return notebook["cells"]
        sheets = notebook.get("worksheets")
        if isinstance(sheets, list):
            inside = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
            return [cell for cells in inside if isinstance(cells, list) for cell in cells]
    raise NoHandIn("is not a notebook: it has no list of cells")


def _cell(entry: Any) -> Cell | None:
    if not isinstance(entry, dict):
        return None
    lines = entry.get("source", entry.get("input", ""))
    if isinstance(lines, list) and all(isinstance(line, str) for line in lines):
        lines = "".join(lines)
    if not isinstance(lines, str):
        return None
    metadata = _dict(entry.get("metadata"))
    marks = _dict(metadata.get("nbgrader"))
    tags = metadata.get("tags")
    points = marks.get("points")
    return Cell(
        lines.replace("\r\n", "\n"),
        _word(entry.get("cell_type")) or "code",
        _word(entry.get("id")) or _word(metadata.get("id")),  # the second is where Colab keeps it
        _word(marks.get("grade_id")),
        tuple(filter(None, map(_word, tags))) if isinstance(tags, list) else (),
        float(points) if isinstance(points, int | float) and marks.get("grade") else 0.0,
        marks.get("solution") is True,
    )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _word(value: Any) -> str:
    return value[:100] if isinstance(value, str) else ""


def parse(source: str) -> list[ast.stmt]:
    """Statements of a cell; none if it is no Python."""
    try:
        return ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def names_of(statement: ast.stmt) -> set[str]:
    """Names that a statement defines at the top of a cell."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    return {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}


def defined(source: str) -> set[str]:
    """Names that a cell defines, found by their look if it is no Python."""
    statements = parse(source)
    if statements:
        return set().union(*map(names_of, statements))
    return {one or other for one, other in _DEFINED.findall(source)}
