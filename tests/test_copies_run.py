"""The students' copies run where `make lab` makes them, and nothing is filled in.

Each graded cell then says that its exercise is not written yet, and each cell that needs no answer
runs. That the solved notebooks run elsewhere, one folder deeper, is tested by `make test`.
"""

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tinyreptile_lite.exercises.copies import is_check, is_solution, write_student_copies
from tinyreptile_lite.tasks import DATA_SETS

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
FETCHED = {"06_few_shot_characters": "omniglot-small", "07_your_own_keyword": "keywords"}

each = pytest.mark.parametrize("name", [path.stem for path in NOTEBOOKS])


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kit") / "my_course"
    write_student_copies(FOLDER, folder)
    return folder


def run(copy, folder):
    """Run all cells in a real kernel, also those after an error; returns the code cells."""
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(copy, timeout=600, allow_errors=True, resources=place).execute()
    return [cell for cell in copy.cells if cell.cell_type == "code"]


def error_of(cell):
    """What an error of the cell says, or None."""
    errors = [output for output in cell.outputs if output.output_type == "error"]
    return f"{errors[0].ename}: {errors[0].evalue}" if errors else None


def without_an_answer(cells):
    """The cells that use nothing which a student writes, or which is made with it."""
    answers, free = set(), []
    for cell in cells:
        used, made = names_in(cell.source)
        if is_solution(cell) or is_check(cell) or used & answers:
            answers |= made
        else:
            answers -= made
            free.append(cell)
    return free


def names_in(text):
    """Names that a cell uses, and those that it makes or changes."""
    used, made = set(), set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else made).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.alias):
            made.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            made |= {one.id for one in ast.walk(node.value) if isinstance(one, ast.Name)}
    return used, made


@each
def test_a_blank_copy_runs_where_it_is_made(name, course, request):
    instead = name in FETCHED and None in map(
        DATA_SETS[FETCHED[name]].find, DATA_SETS[FETCHED[name]].archives
    )
    if instead:  # small sets stand in for what is fetched; no number is as it should be
        request.getfixturevalue("data")
    cells = run(nbformat.read(course / f"{name}.ipynb", 4), course)
    for cell in filter(is_check, cells):
        said = error_of(cell)
        assert said and ("not written yet" in said or "NotImplementedError" in said), cell.id
    free = without_an_answer(cells)
    assert len(free) > len(cells) // 4
    for cell in free:
        said = error_of(cell)
        assert said is None or (instead and "AssertionError" in said), f"{cell.id}: {said}"


def test_cells_without_an_answer_are_told_from_those_that_need_one():
    def cell(text, **marks):
        metadata = {"nbgrader": marks} if marks else {}
        return nbformat.v4.new_code_cell(text, metadata=metadata)

    cells = [
        cell("import numpy as np\nx = {}"),
        cell("def double(a):\n    return 2 * a", solution=True),
        cell("check.double(double)", grade=True),
        cell("x[1] = double(1)"),
        cell("print(x)"),
        cell("x = 3"),
        cell("print(x)"),
    ]
    assert without_an_answer(cells) == [cells[0], *cells[5:]]


@each
def test_no_cell_names_a_folder_by_where_the_notebook_is(name):
    """Sketches are found with `sketch_folder`, data by the kit."""
    for cell in nbformat.read(FOLDER / f"{name}.ipynb", 4).cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert not node.value.startswith(("../", "arduino/", "data/")), cell.id
