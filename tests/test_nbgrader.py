"""The real nbgrader on the course: what it releases, and the points it gives.

`python tools/nbgrader_course.py --try` grades all notebooks; here two quick ones stand for them.
"""

import json
from pathlib import Path

import nbgrader_course as tool
import pytest

from tinyreptile_lite.exercises.copies import is_check, read_notebook, source, student_copy

ROOT = Path(__file__).parent.parent
QUICK, SKETCHES = "00_start_here", "04_on_the_device"  # the second builds sketches of the kit

each = pytest.mark.parametrize("name", tool.known())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("marking")
    lines = tool.make_course(folder)
    assert len(lines) == len(tool.known()) + 1 and all(line.endswith("is new") for line in lines)
    return folder


@pytest.fixture(scope="module")
def course(folder):
    course = tool.Course(folder)
    for name in tool.known():
        course.generate(name)
    return course


@each
def test_the_release_is_the_students_copy(name, course, folder):
    release = tool.released(folder, name)
    copy = student_copy(read_notebook(tool.NOTEBOOKS / f"{name}.ipynb"))
    assert [source(cell) for cell in release["cells"]] == [source(cell) for cell in copy["cells"]]
    assert [cell["id"] for cell in release["cells"]] == [cell["id"] for cell in copy["cells"]]
    text = json.dumps(release)
    assert "SOLUTION" not in text and "widget-state" not in text
    assert all(not cell.get("outputs") for cell in release["cells"])
    checks = [cell for cell in release["cells"] if is_check(cell)]
    assert checks and all(cell["metadata"]["editable"] is False for cell in checks)
    assert text.count("raise NotImplementedError()") == len(checks)
    assert course.highest(name) == sum(cell["metadata"]["nbgrader"]["points"] for cell in checks)


@pytest.mark.parametrize("name", [QUICK, SKETCHES])
def test_a_solved_hand_in_gets_all_points(name, course, folder):
    tool.hand_in(folder, "ann", name, tool.solve(tool.released(folder, name), name))
    points = course.autograde(name, "ann")
    assert len(points) >= 3 and set(points.values()) == {1}


def test_a_blank_hand_in_gets_none_and_is_told_why(course, folder):
    tool.hand_in(folder, "bo", SKETCHES, tool.released(folder, SKETCHES))
    assert set(course.autograde(SKETCHES, "bo").values()) == {0}
    graded = folder / "autograded" / "bo" / SKETCHES / f"{SKETCHES}.ipynb"
    for cell in filter(is_check, read_notebook(graded)["cells"]):
        assert any("is not written yet" in one.get("evalue", "") for one in cell["outputs"])


def test_edited_and_deleted_checks_come_back_also_in_the_kits_own_copy(course, folder):
    name = SKETCHES
    copy = student_copy(read_notebook(tool.NOTEBOOKS / f"{name}.ipynb"))
    cells = {cell["id"]: cell for cell in copy["cells"]}
    cells["ex1-test"]["source"] = ["print('right')"]
    cells["ex1-test"]["metadata"]["nbgrader"]["points"] = 100
    copy["cells"].remove(cells["ex2-test"])
    answer = "def visit_milliseconds(steps, instructions, cycles):\n    return {}"
    cells["ex3"]["source"] = [answer.format("steps * instructions * cycles / 64_000")]
    tool.hand_in(folder, "cy", name, copy)
    points = course.autograde(name, "cy")
    assert points == {"ex1-test": 0, "ex2-test": 0, "ex3-test": 1, "ex4-test": 0}
    graded = read_notebook(folder / "autograded" / "cy" / name / f"{name}.ipynb")
    checks = [source(cell) for cell in graded["cells"] if is_check(cell)]
    assert checks[0] == "check.learning_bytes(learning_bytes)"
    assert checks[1].endswith("\ncheck.widest(widest)") and len(checks) == 4


def test_what_is_in_a_course_already_is_never_written_over(tmp_path):
    tool.make_course(tmp_path, [QUICK])
    mine = tmp_path / "source" / QUICK / f"{QUICK}.ipynb"
    mine.write_text("a teacher's work")
    lines = tool.make_course(tmp_path, [QUICK, SKETCHES])
    assert [line.endswith("stays as it is") for line in lines] == [True, True, False]
    assert mine.read_text() == "a teacher's work"


def test_slips_are_one_sentence(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    assert tool.main([str(tmp_path / "file" / "course")]) == 2
    assert "choose a folder you can write to" in capsys.readouterr().err
    assert tool.main(["--try", "99_none"]) == 2
    error = capsys.readouterr().err
    assert "'99_none'" in error and "00_start_here" in error and error.count("\n") == 1
    monkeypatch.setitem(__import__("sys").modules, "nbgrader.apps", None)
    assert tool.main(["--try", QUICK]) == 2
    assert "pip install nbgrader" in capsys.readouterr().err


def test_what_nbgrader_says_is_handed_on(course, folder, refuses):
    (folder / "source" / "broken").mkdir()
    (folder / "source" / "broken" / "broken.ipynb").write_text("{}")
    with refuses("nbgrader stops at broken"):
        course.generate("broken")


def test_the_guide_shows_the_settings_that_are_written():
    guide = (ROOT / "docs" / "teaching" / "marking.md").read_text()
    for line in tool.CONFIG.splitlines():
        assert line.removeprefix("# ") in guide or line.startswith("# Only"), line
