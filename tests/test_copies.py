"""Students' copies: what is taken out, what stays, and that nobody's work is overwritten."""

import json
import re
from configparser import ConfigParser
from pathlib import Path

import pytest

from tinyreptile_lite.exercises import copies as exercises
from tinyreptile_lite.lab.checks import between

SOLVED = '''def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    y = 2 * x
    return y
    ### END SOLUTION'''

BLANK = '''def double(x):
    """Twice x."""
    # YOUR CODE HERE
    raise NotImplementedError()'''


def cell(source, kind="code", **nbgrader):
    made = {"cell_type": kind, "id": "a", "metadata": {}, "source": source.splitlines(True)}
    if kind == "code":
        made |= {"outputs": [{"output_type": "stream"}], "execution_count": 3}
    if nbgrader:
        made["metadata"]["nbgrader"] = nbgrader
    return made


@pytest.fixture
def notebook():
    cells = [
        cell("# Title", "markdown"),
        cell("x = 1"),
        cell(SOLVED, solution=True, grade=False, locked=False),
        cell("assert double(2) == 4", solution=False, grade=True, locked=True),
    ]
    return {"cells": cells, "metadata": {"widgets": {}}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def folder(tmp_path, notebook):
    solved = tmp_path / "solved"
    solved.mkdir()
    (solved / "one.ipynb").write_text(json.dumps(notebook))
    return solved


def test_a_solution_becomes_a_stub_with_its_indent():
    assert exercises.strip_solution(SOLVED) == BLANK


def test_two_regions_become_two_stubs():
    begin, end = "### BEGIN SOLUTION", "### END SOLUTION"
    text = f"a\n{begin}\nb\n{end}\nc\n  {begin}\n  d\n  {end}"
    stub = "# YOUR CODE HERE\nraise NotImplementedError()"
    indented = "  # YOUR CODE HERE\n  raise NotImplementedError()"
    assert exercises.strip_solution(text) == f"a\n{stub}\nc\n{indented}"


def test_a_solution_cell_without_region_becomes_a_stub_alone():
    assert exercises.strip_solution("x = 5") == "# YOUR CODE HERE\nraise NotImplementedError()"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("### BEGIN SOLUTION\nx = 1", ("no end", "### END SOLUTION")),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION", ("inside another",)),
    ],
)
def test_a_solution_must_end_before_the_next_begins(text, words, refuses):
    with refuses(*words):
        exercises.strip_solution(text)


def test_the_copy_holds_no_solution_and_no_output(notebook):
    before = json.dumps(notebook)
    copy = exercises.student_copy(notebook)
    assert json.dumps(notebook) == before  # the solved one stays as it is
    title, plain, solution, check = copy["cells"]
    assert title == notebook["cells"][0]
    assert exercises.source(plain) == "x = 1"
    assert exercises.source(solution) == BLANK
    assert exercises.source(check) == "assert double(2) == 4"
    assert all(
        c["outputs"] == [] and c["execution_count"] is None for c in (plain, solution, check)
    )
    assert solution["metadata"]["deletable"] is False and "editable" not in solution["metadata"]
    assert check["metadata"]["deletable"] is check["metadata"]["editable"] is False
    assert "widgets" not in copy["metadata"]


def test_a_solution_in_a_cell_that_is_not_marked_is_refused(notebook, refuses):
    del notebook["cells"][2]["metadata"]["nbgrader"]
    with refuses("cell a", "mark it"):
        exercises.student_copy(notebook)


def test_sources_as_one_string_are_read_too(notebook):
    notebook["cells"][2]["source"] = SOLVED
    assert exercises.source(exercises.student_copy(notebook)["cells"][2]) == BLANK


def test_the_command_writes_the_copies_and_never_overwrites_them(folder, tmp_path, capsys):
    students = tmp_path / "build" / "student"
    assert exercises.main([str(folder), str(students)]) == 0
    written = students / "one.ipynb"
    assert capsys.readouterr().out == f"{written}\n"
    written.write_text("a student's work")
    assert exercises.main([str(folder), str(students)]) == 2
    assert "already there" in capsys.readouterr().err
    assert written.read_text() == "a student's work"


def test_slips_are_one_sentence(folder, tmp_path, capsys):
    empty, students = tmp_path / "empty", tmp_path / "students"
    empty.mkdir()
    assert exercises.main([str(empty), str(students)]) == 2
    assert "no notebooks in" in capsys.readouterr().err
    for text in ("no json", "[]", '{"nbformat": 3}'):
        (folder / "two.ipynb").write_text(text)
        assert exercises.main([str(folder), str(students)]) == 2
        error = capsys.readouterr().err
        assert "two.ipynb is not a notebook" in error and error.count("\n") == 1
    assert not students.exists()


def test_a_folder_that_cannot_be_written_to_is_one_sentence(folder, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert exercises.main([str(folder), str(tmp_path / "file" / "students")]) == 2
    assert "cannot write to" in capsys.readouterr().err


def test_between_prints_value_and_bounds(capsys):
    between("error", 0.12345, 0, 1)
    assert capsys.readouterr().out == "error: 0.123, between 0 and 1\n"
    for wrong in (1.5, float("nan")):
        with pytest.raises(AssertionError, match="error is"):
            between("error", wrong, 0, 1)


@pytest.mark.parametrize("value", [0.123, -0.5, 12345.6, 3e-9, 1e21])
def test_the_value_is_left_out_where_outputs_are_compared(value, capsys):
    settings = ConfigParser(interpolation=None)
    settings.read(Path(__file__).parent.parent / "notebooks" / "sanitize.cfg")
    (section,) = settings.sections()
    between("error", value, -1e30, 1e30)
    rule = settings[section]
    text = re.sub(rule["regex"], rule["replace"], capsys.readouterr().out)
    assert text == "error: NUMBER, between -1e+30 and 1e+30\n"
