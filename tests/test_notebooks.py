"""The course: its shape, its exercises, and that the checks tell a right answer from a wrong one.

That every notebook still gives its stored outputs is tested by ``pytest --nbval notebooks``.
"""

import json
import re
import statistics
from pathlib import Path

import pytest

from tinyreptile_lite.exercises.copies import (
    is_check,
    is_solution,
    read_notebook,
    source,
    student_copy,
)

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
COURSE = [
    "00_start_here",
    "01_one_model_for_all",
    "02_reptile_by_hand",
    "03_tinyreptile_online",
    "04_on_the_device",
    "05_learning_together",
    "05b_bad_links",
    "06_few_shot_characters",
    "07_your_own_keyword",
    "08_what_it_costs",
]
FETCHED = [
    "06_few_shot_characters",
    "07_your_own_keyword",
]  # need data that does not ship with the kit
NBGRADER_KEYS = {"grade", "grade_id", "locked", "schema_version", "solution", "task"}

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in read_notebook(path)["cells"] if cell["cell_type"] == "code"]


def prose(path):
    return [source(c) for c in read_notebook(path)["cells"] if c["cell_type"] == "markdown"]


def test_the_course_is_complete():
    assert [path.stem for path in NOTEBOOKS] == COURSE


def test_the_course_shows_every_widget():
    code = "".join(source(cell) for path in NOTEBOOKS for cell in code_cells(path))
    for name in ("adaptation_widget", "outer_rate_widget", "difference_widget"):
        assert f"widgets.{name}(" in code


@each
def test_size(path):
    cells = code_cells(path)
    lines = [sum(map(bool, map(str.strip, source(cell).split("\n")))) for cell in cells]
    words = sum(len(text.split()) for text in prose(path))
    assert 12 <= len(cells) <= 25
    assert statistics.median(lines) <= 7
    assert 700 <= words <= 1350


@each
def test_shape(path):
    text = "\n".join(prose(path))
    for part in ("**Question.**", "**Time.**", "**You need to know.**", "## Limits", "## Summary"):
        assert part in text
    assert text.index("**Predict.**") < text.index("**Compare with your prediction.**")
    assert 2 <= len(re.findall(r"^### Exercise \d", text, re.MULTILINE)) <= 4
    setup = source(code_cells(path)[0])
    assert "SEED = " in setup


@each
def test_outputs_are_stored_and_tell_nothing_of_the_machine(path):
    notebook = read_notebook(path)
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    pictures = [
        output
        for cell in cells
        for output in cell["outputs"]
        if "image/png" in output.get("data", {})
    ]
    shown = [
        one for one in pictures if "application/vnd.jupyter.widget-view+json" not in one["data"]
    ]
    assert pictures
    texts = [output.get("metadata", {}).get("image/png", {}).get("alt", "") for output in shown]
    assert all(len(text) > 40 for text in texts), "end with plots.show(what is to be seen)"
    assert all("plt.show(" not in source(cell) for cell in cells)
    assert all("execution" not in cell["metadata"] for cell in cells)  # no timing
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    outputs = [output for cell in cells for output in cell["outputs"]]
    for output in outputs:
        output.get("data", {}).pop("image/png", None)
    text = json.dumps(outputs)
    assert "Traceback" not in text
    assert not re.search(r"0x[0-9a-f]{6,}|/home/|/root/|/tmp/", text)


@each
def test_no_printed_line_breaks_in_the_page(path):
    """About 117 letters go into a line on a student's laptop, beside the list of files."""
    for cell in code_cells(path):
        for output in cell["outputs"]:
            lines = "".join(output.get("text", [])).splitlines()
            assert all(len(line) <= 110 for line in lines), cell["id"]


@each
def test_cell_ids_are_names(path):
    ids = [cell["id"] for cell in read_notebook(path)["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", each) for each in ids)


@each
def test_exercises_are_in_nbgrader_format(path):
    cells = code_cells(path)
    places = [i for i, cell in enumerate(cells) if "nbgrader" in cell["metadata"]]
    marked = [cells[i] for i in places]
    grade_ids = [cell["metadata"]["nbgrader"]["grade_id"] for cell in marked]
    assert len(set(grade_ids)) == len(grade_ids)
    for cell in marked:
        entry = cell["metadata"]["nbgrader"]
        assert entry["schema_version"] == 3 and entry["task"] is False
        if is_solution(cell):
            assert set(entry) == NBGRADER_KEYS
            assert (entry["grade"], entry["locked"]) == (False, False)
            assert "### BEGIN SOLUTION" in source(cell) and '"""' in source(cell)
        else:
            assert set(entry) == NBGRADER_KEYS | {"points"}
            assert (entry["grade"], entry["locked"]) == (True, True)
            assert entry["points"] > 0
            assert re.fullmatch(r"check\.(\w+)\(\1\)", source(cell))
    # Each exercise is one solution cell and, right below it, its check.
    assert [is_check(cell) for cell in marked] == [False, True] * (len(marked) // 2)
    assert all(i + 1 == j for i, j in zip(places[::2], places[1::2], strict=True))
    assert 2 <= len(marked) // 2 <= 4


@each
def test_the_students_copy_gives_nothing_away(path):
    notebook = read_notebook(path)
    copy = student_copy(notebook)
    assert "SOLUTION" not in json.dumps(copy)
    assert all(not cell.get("outputs") for cell in copy["cells"])
    hidden = [cell["metadata"].get("nbgrader", {}).get("solution") for cell in copy["cells"]]
    assert sum(map(bool, hidden)) == sum(map(is_solution, notebook["cells"]))
