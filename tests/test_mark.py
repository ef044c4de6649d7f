"""Marking: right and wrong hand-ins, hostile ones, and those that are hardly notebooks."""

import csv
import hashlib
import json
from pathlib import Path

import pytest

from tinyreptile_lite.cli import main
from tinyreptile_lite.exercises.copies import is_solution, read_notebook, source, student_copy

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "00_start_here.ipynb"
RIGHT = "def visit_bytes(weights, visits):\n    return 8 * weights * visits"
SQUARED = "def squared_error(prediction, target):\n    return ((prediction - target) ** 2).mean()"
NO_KEY = f'import os\nos.environ["NONE"]\n{SQUARED}'

HOSTILE = {
    "endless loop": "while True: pass",
    "loop that catches all": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    ),
    "memory bomb": "x = [bytes(10**8) for _ in range(10**4)]",
    "fork bomb": "import os\nwhile True: os.fork()",
    "many threads": (
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,)).start()"
    ),
    "writes outside": "open(OUTSIDE, 'w').write('here')",
    "writes outside by the system": "import os\nos.system(f'echo here > {OUTSIDE}')",
    "kills its parent": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
    "kills its group": "import os\nos.killpg(0, 9)",
    "exits": "import sys\nsys.exit(0)",
    "ends at once": "import os\nos._exit(0)",
    "100 MB of output": "for _ in range(100): print('x' * 10**6)",
    "opens a socket": "import socket\nsocket.create_connection(('127.0.0.1', 9), 1)",
    "imports the checks": "from tinyreptile_lite.exercises import start_here as one_step_of",
    "edits the checks": (
        "import sys, types\nm = types.ModuleType('tinyreptile_lite.exercises.start_here')\n"
        "sys.modules[m.__name__] = m\nm.one_step = m.visit_bytes = lambda *a, **k: None"
    ),
    "patches numpy": "import numpy as np\nnp.allclose = np.array_equal = lambda *a, **k: True",
    "reads the solution": f"text = open({str(NOTEBOOK)!r}).read()\nexec(text[:0])",
    "forges a verdict": (
        "import os\nfor fd in range(1, 20):\n    try:\n"
        '        os.write(fd, b\'{"verdict": "right", "points": 1}\\n\')\n'
        "    except OSError: pass"
    ),
    "equal to everything": (
        "class Same(float):\n    def __eq__(self, other): return True\n"
        "    def __array__(self, *a, **k): return 1\n"
        "def one_step(w, b, x, y, rate): return Same(), Same()"
    ),
    "fills the disk": "f = open('x', 'wb')\nwhile True: f.write(bytes(10**7))",
}


def hand_in(path: Path, **answers: str) -> None:
    """Write a student's copy of 00 with these cells filled in; others stay blank."""
    notebook = student_copy(read_notebook(NOTEBOOK))
    for cell in notebook["cells"]:
        if cell.get("id") in answers:
            cell["source"] = answers[cell["id"]].splitlines(True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook))


def mark(folder: Path, *options: str) -> dict[tuple[str, str], tuple[float, str]]:
    """Mark a folder; points and sentence by student and number of the exercise."""
    hashes = {path: _hash(path) for path in folder.rglob("*") if path.is_file()}
    out = folder.parent / "marks"
    main(["mark", str(folder), "--out", str(out), "--seconds", "2", *options])
    assert hashes == {path: _hash(path) for path in folder.rglob("*") if path.is_file()}
    rows = csv.DictReader((out / "marks.csv").read_text(encoding="utf-8-sig").splitlines())
    return {
        (row["student"], row["exercise"][:1]): (float(row["points"] or 0), row["sentence"])
        for row in rows
    }


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_right_wrong_and_blank_are_told(tmp_path, capsys):
    folder = tmp_path / "hand-ins"
    solved = {c["id"]: source(c) for c in read_notebook(NOTEBOOK)["cells"] if is_solution(c)}
    hand_in(folder / "ann.ipynb", **solved)
    hand_in(folder / "bo.ipynb", ex2=SQUARED.replace("mean", "sum"), ex3=RIGHT)
    hand_in(folder / "cy" / "work.ipynb", ex1="def one_step(:", ex2=NO_KEY, ex3="visit_bytes = 8")
    marks = mark(folder)
    assert [marks["ann", n][0] for n in "123"] == [1, 1, 1]
    assert marks["bo", "1"] == (0, "one_step is not written yet")
    assert marks["bo", "2"][0] == 0 and "the mean, not the sum" in marks["bo", "2"][1]
    assert marks["bo", "3"] == (1, "right")
    assert [marks["cy", n][0] for n in "123"] == [0, 0, 0]
    assert "syntax" in marks["cy", "1"][1].lower()
    assert "line 2 with KeyError" in marks["cy", "2"][1]  # of the cell, not of Python's own file
    told = capsys.readouterr().out
    assert "exercise 2" in told and "the mean, not the sum" in told
    pages = list((tmp_path / "marks" / "students").iterdir())
    assert len(pages) == 3
    assert "<script" not in (tmp_path / "marks" / "summary.html").read_text().lower()


def test_hostile_hand_ins_stop_nothing_and_gain_nothing(tmp_path):
    folder, outside = tmp_path / "hand-ins", tmp_path / "outside.txt"
    for name, code in HOSTILE.items():
        text = f"OUTSIDE = {str(outside)!r}\n{code}"
        hand_in(folder / f"{name.replace(' ', '-')}.ipynb", ex1=text, ex3="")
    hand_in(folder / "honest.ipynb", ex2=SQUARED, ex3=RIGHT)
    marks = mark(folder, "--memory", "1024")
    assert [marks["honest", n][0] for n in "123"] == [0, 1, 1]
    for name in HOSTILE:
        student = name.replace(" ", "-")
        gained = [marks.get((student, n), (0, ""))[0] for n in "123"]
        assert gained == [0, 0, 0], (name, marks)
    assert not outside.exists()


def test_what_is_hardly_a_notebook_is_told_and_the_rest_is_marked(tmp_path, capsys):
    folder = tmp_path / "hand-ins"
    hand_in(folder / "good.ipynb", ex3=RIGHT)
    (folder / "empty.ipynb").write_text("")
    (folder / "picture.ipynb").write_bytes(bytes(range(256)) * 40)
    (folder / "list.ipynb").write_text("[1, 2]")
    (folder / "other.ipynb").write_text('{"nbformat": 4, "cells": []}')
    (folder / "link.ipynb").symlink_to("/etc/passwd")
    marks = mark(folder)
    assert marks["good", "3"] == (1, "right")
    told = capsys.readouterr()
    for name in ("empty", "picture", "list", "other"):
        assert f"{name}.ipynb" in told.out + told.err
    assert "root:" not in told.out + told.err


@pytest.mark.parametrize("how", ["ids", "metadata", "one string", "file name"])
def test_renamed_and_stripped_notebooks_are_marked_as_far_as_possible(tmp_path, how):
    folder = tmp_path / "hand-ins"
    path = folder / ("my homework (2).ipynb" if how == "file name" else "dora.ipynb")
    hand_in(path, ex2=SQUARED, ex3=RIGHT)
    notebook = json.loads(path.read_text())
    for i, cell in enumerate(notebook["cells"]):
        if how == "ids":
            cell["id"] = f"cell-{i}"
        elif how == "metadata":
            cell["metadata"] = {}
            cell.pop("id", None)
        elif how == "one string":
            cell["source"] = "".join(cell["source"])
    path.write_text(json.dumps(notebook))
    points = {number: value for (_, number), (value, _) in mark(folder).items()}
    assert (points["2"], points["3"]) == (1, 1)


def test_slips_of_the_teacher_are_one_sentence(tmp_path, capsys):
    (tmp_path / "none").mkdir()
    hand_in(tmp_path / "some" / "ann.ipynb")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "old.txt").write_text("old")
    for arguments, words in (
        (["mark", str(tmp_path / "nowhere")], "is no folder"),
        (["mark", str(tmp_path / "none")], "there are no hand-ins"),
        (["mark", str(tmp_path / "some"), "--out", str(tmp_path / "full")], "full"),
        (["mark", str(tmp_path / "some"), "--out", str(tmp_path / "some" / "x")], "another --out"),
        (["mark", str(tmp_path / "some"), "--memory", "1"], "memory is 1"),
        (["mark", str(tmp_path / "some"), "--jobs", "0"], "jobs is 0"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
