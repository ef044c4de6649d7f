"""What is written about marked hand-ins: a table, a page for each student, and a summary."""

import csv
import html
import io
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyreptile_lite.errors import KitError, file_errors
from tinyreptile_lite.marking.run import Marked, Verdict

COLUMNS = ("student", "notebook", "exercise", "points", "of", "sentence", "file")
_REMEDY = "choose a folder you can write to, for --out"
_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; width: 100%; margin: 1em 0; }
th, td { border: 1px solid #999; padding: .3em .6em; text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; white-space: nowrap; }
td { overflow-wrap: anywhere; }"""


@dataclass(frozen=True)
class Way:
    """One way in which an exercise went wrong, with the numbers left out."""

    sentence: str
    count: int


@dataclass(frozen=True)
class Outcome:
    """How an exercise went.

    Attributes
    ----------
    notebook : str
    number : int
    title : str
    right, all : int
        Hand-ins.
    ways : list of Way
        Most frequent first.
    """

    notebook: str
    number: int
    title: str
    right: int
    all: int
    ways: list[Way]


def outcomes(marks: Iterable[Marked]) -> list[Outcome]:
    """Tell for each exercise how many are right, and how the others went wrong."""
    seen: dict[tuple[str, int, str], list[Verdict]] = defaultdict(list)
    for one in marks:
        for verdict in one.verdicts:
            seen[one.notebook, verdict.number, verdict.title].append(verdict)
    found = []
    for (notebook, number, title), verdicts in sorted(seen.items()):
        wrong = [v for v in verdicts if not v.points]
        ways = Counter(_NUMBER.sub("#", v.sentence) for v in wrong).most_common()
        right = len(verdicts) - len(wrong)
        listed = [Way(sentence, count) for sentence, count in ways]
        found.append(Outcome(notebook, number, title, right, len(verdicts), listed))
    return found


def check_out(out: Path) -> None:
    """Refuse before the work a folder that holds something: marks are never written over."""
    with file_errors(_REMEDY):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise KitError(f"{out} is already there; name another --out or move it away")
        out.mkdir(parents=True, exist_ok=True)


def write_all(marks: Sequence[Marked], out: Path, about: str) -> None:
    """Write ``marks.csv``, ``summary.html`` and ``students/*.html``; ``about`` tells of the run."""
    with file_errors(_REMEDY):
        (out / "marks.csv").write_text(_csv(marks), encoding="utf-8-sig", newline="")
        (out / "students").mkdir(exist_ok=True)
        pages: dict[str, list[Marked]] = defaultdict(list)
        for one in marks:
            pages[one.hand_in.student].append(one)
        names = _file_names(pages)
        for student, some in pages.items():
            page = _student_page(student, some)
            (out / "students" / names[student]).write_text(page, encoding="utf-8")
        summary = _summary_page(marks, names, about)
        (out / "summary.html").write_text(summary, encoding="utf-8")


def rows(marks: Iterable[Marked]) -> list[tuple[str, str, str, float, float, str, str]]:
    """Rows of the table: one for each exercise, or for a hand-in that could not be marked."""
    found = []
    for one in marks:
        student, file = one.hand_in.student, one.hand_in.file
        for v in one.verdicts:
            exercise = f"{v.number} {v.title}"
            found.append((student, one.notebook, exercise, v.points, v.of, v.sentence, file))
        if one.reason:
            found.append((student, one.notebook, "", 0.0, 0.0, one.reason, file))
    return found


def _csv(marks: Iterable[Marked]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in rows(marks):
        writer.writerow([f"{x:g}" if isinstance(x, float) else _harmless(str(x)) for x in row])
    return text.getvalue()


def _harmless(text: str) -> str:
    """A spreadsheet must not take a file's name for a formula."""
    shown = "".join("?" if unicodedata.category(c)[0] == "C" else c for c in text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown


def _file_names(students: Iterable[str]) -> dict[str, str]:
    """File name of each student's page: letters, digits and hyphens, each once."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for student in students:
        base = re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFC", student)).strip("-")[:60]
        base, tried = base or "student", 1
        name = base
        while name.casefold() in taken:
            tried += 1
            name = f"{base}-{tried}"
        taken.add(name.casefold())
        names[student] = f"{name}.html"
    return names


def _page(title: str, body: str) -> str:
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}'
        f"</title>\n<style>\n{_STYLE}\n</style></head>\n<body>\n<h1>{_text(title)}</h1>\n{body}"
        "</body></html>\n"
    )


def _text(text: object) -> str:
    shown = "".join("\ufffd" if unicodedata.category(c) in {"Cs", "Cc"} else c for c in str(text))
    return html.escape(shown)


def _table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    numbers = {"points", "right", "times"}
    kinds = ['class="number"' if name in numbers else "" for name in head]
    top = "".join(f"<th {k}>{_text(name)}</th>" for k, name in zip(kinds, head, strict=True))
    text = f"<table>\n<tr>{top}</tr>\n"
    for line in lines:
        cells = [one if isinstance(one, _Html) else _text(one) for one in line]
        text += "<tr>"
        text += "".join(f"<td {k}>{one}</td>" for k, one in zip(kinds, cells, strict=True))
        text += "</tr>\n"
    return text + "</table>\n"


class _Html(str):
    """Text that is HTML already."""


def score(points: float, of: float) -> str:
    """Points of how many."""
    return f"{points:g} of {of:g}"


def _student_page(student: str, some: Sequence[Marked]) -> str:
    body = ""
    for one in some:
        body += f"<h2>{_text(one.notebook or one.hand_in.file)}</h2>\n"
        body += f"<p>{_text(one.hand_in.file)}"
        body += f": {score(one.points, one.of)} points</p>\n" if one.verdicts else "</p>\n"
        if one.reason:
            body += f"<p><strong>This hand-in {_text(one.reason)}.</strong></p>\n"
        if one.notes:
            notes = "".join(f"<li>{_text(note)}</li>" for note in one.notes)
            body += f"<p>What was noticed:</p>\n<ul>{notes}</ul>\n"
        if one.verdicts:
            lines = [
                (f"{v.number} {v.title}", score(v.points, v.of), v.sentence) for v in one.verdicts
            ]
            body += _table(("exercise", "points", "what the check says"), lines)
    return _page(student, body)


def _summary_page(marks: Sequence[Marked], names: dict[str, str], about: str) -> str:
    body = f"<p>{_text(about)}</p>\n"
    for one in outcomes(marks):
        body += f"<h2>{_text(one.notebook)}, exercise {one.number}: {_text(one.title)}</h2>\n"
        body += f"<p>{one.right} of {one.all} right.</p>\n"
        if one.ways:
            lines = [(way.count, way.sentence) for way in one.ways]
            body += _table(("times", "how it went wrong (# stands for a number)"), lines)
    body += "<h2>Hand-ins</h2>\n"
    lines2 = [
        (
            _Html(
                f'<a href="students/{html.escape(names[one.hand_in.student])}">'
                f"{_text(one.hand_in.student)}</a>"
            ),
            one.notebook,
            score(one.points, one.of) if one.verdicts else "",
            "; ".join(filter(None, [one.reason, *one.notes])),
        )
        for one in marks
    ]
    body += _table(("student", "notebook", "points", "what was noticed"), lines2)
    return _page("Marks", body)
