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


def test_the_command_writes_the_copies_once(folder, tmp_path, capsys):
    students = tmp_path / "kit" / "my_course"
    assert exercises.main([str(folder), str(students)]) == 0
    written = students / "one.ipynb"
    assert capsys.readouterr().out == f"{written} is new\n"
    written.write_text("a student's work")
    assert exercises.main([str(folder), str(students)]) == 0
    assert capsys.readouterr().out == ""
    assert written.read_text() == "a student's work"


def test_a_notebook_that_is_new_in_the_course_is_added(folder, tmp_path):
    students = tmp_path / "students"
    exercises.write_student_copies(folder, students)
    (students / "one.ipynb").write_text("a student's work")
    (folder / "two.ipynb").write_bytes((folder / "one.ipynb").read_bytes())
    (line,) = exercises.write_student_copies(folder, students)
    assert line == f"{students / 'two.ipynb'} is new"
    assert (students / "one.ipynb").read_text() == "a student's work"


def test_a_source_that_has_changed_is_told_and_the_students_copy_stays(folder, tmp_path, notebook):
    students = tmp_path / "students"
    exercises.write_student_copies(folder, students)
    mine = students / "one.ipynb"
    mine.write_text("a student's work")
    notebook["cells"][1]["outputs"] = []  # a new output is no change
    (folder / "one.ipynb").write_text(json.dumps(notebook))
    assert exercises.write_student_copies(folder, students) == []
    notebook["cells"][1]["source"] = "x = 2"
    (folder / "one.ipynb").write_text(json.dumps(notebook))
    for _ in range(2):
        (line,) = exercises.write_student_copies(folder, students)
        assert "one.ipynb stays as it is" in line and "give yours another name" in line
        assert mine.read_text() == "a student's work"
    mine.rename(students / "mine.ipynb")
    (line,) = exercises.write_student_copies(folder, students)
    assert line.endswith("is new") and "x = 2" in mine.read_text()
    assert exercises.write_student_copies(folder, students) == []


@pytest.mark.parametrize("known", [None, "no json", "[]", "{}"])
def test_what_is_there_stays_even_if_nobody_knows_where_it_is_from(folder, tmp_path, known):
    students = tmp_path / "students"
    exercises.write_student_copies(folder, students)
    (students / "one.ipynb").write_text("a student's work")
    record = students / exercises.MADE_FROM
    record.unlink() if known is None else record.write_text(known)
    assert exercises.write_student_copies(folder, students) == []
    assert (students / "one.ipynb").read_text() == "a student's work"


def test_a_link_is_not_written_through(folder, tmp_path):
    students = tmp_path / "students"
    students.mkdir()
    (students / "one.ipynb").symlink_to(tmp_path / "elsewhere.ipynb")
    assert exercises.write_student_copies(folder, students) == []
    assert (students / "one.ipynb").is_symlink() and not (tmp_path / "elsewhere.ipynb").exists()


def test_no_half_a_copy_is_left(folder, tmp_path, monkeypatch):
    students = tmp_path / "students"

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(exercises.Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        exercises.write_student_copies(folder, students)
    monkeypatch.undo()
    assert not list(students.glob("*.ipynb"))
    (line,) = exercises.write_student_copies(folder, students)
    assert line.endswith("one.ipynb is new")


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
    error = capsys.readouterr().err
    assert "choose a folder you can write to" in error and error.count("\n") == 1


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
