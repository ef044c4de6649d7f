"""Of which notebook a hand-in is, and what of it is run, in which order.

What is run: the cells of the kit's own notebook tagged ``needed``, and between them, in the order
of the hand-in, the student's solution cells as they are. Of all other cells of a hand-in only the
definitions are run (functions, classes, imports, and in cells of the student's own also plain
assignments), and only of names that the kit's notebook does not define: so a helper function works
wherever it was written, an answer counts even in the wrong cell, and experiments are left out.
"""

import ast
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.exercises import NOTEBOOKS, exercises_of
from tinyreptile_lite.exercises.base import Exercise
from tinyreptile_lite.marking.handin import Cell, NoHandIn, defined, names_of, parse, read_cells


@dataclass(frozen=True)
class Task:
    """An exercise and where it stands in its notebook.

    Attributes
    ----------
    exercise : Exercise
    cell : int
        Place of its solution cell.
    points : float
    """

    exercise: Exercise
    cell: int
    points: float


@dataclass(frozen=True)
class Course:
    """One of the kit's notebooks: its name, its cells and its exercises."""

    name: str
    cells: list[Cell]
    tasks: list[Task]

    @cached_property
    def answers(self) -> set[str]:
        """Names that the students write."""
        return {name for task in self.tasks for name in task.exercise.names}

    @cached_property
    def own_names(self) -> set[str]:
        """Names that the kit's needed cells define, and students do not."""
        needed = [defined(cell.source) for cell in self.cells if "needed" in cell.tags]
        return set().union(*needed) - self.answers

    @cached_property
    def ids(self) -> dict[str, int]:
        """Place of each cell by its id."""
        return {cell.id: i for i, cell in enumerate(self.cells) if cell.id}

    @cached_property
    def grade_ids(self) -> dict[str, int]:
        """Place of each cell by nbgrader's name."""
        return {cell.grade_id: i for i, cell in enumerate(self.cells) if cell.grade_id}

    @cached_property
    def sources(self) -> dict[str, int]:
        """Place of each code cell by its text, without spaces."""
        code = [(i, cell) for i, cell in enumerate(self.cells) if cell.kind == "code"]
        return {squeezed(cell.source): i for i, cell in code}


def squeezed(source: str) -> str:
    """A cell's text without what tools change in it."""
    return re.sub(r"\s+", "", source)


def read_course(folder: Path, name: str) -> Course:
    """Read one of the kit's notebooks with its exercises.

    Raises
    ------
    KitError
        If it is not there, or lacks the cell of an exercise.
    """
    path = folder / f"{name}.ipynb"
    try:
        cells = read_cells(path)
    except NoHandIn as error:
        raise KitError(f"{path} {error}; name the kit's notebooks with --notebooks") from None
    return Course(name, cells, [_task(cells, name, one) for one in exercises_of(name)])


def _task(cells: Sequence[Cell], name: str, exercise: Exercise) -> Task:
    for i, cell in enumerate(cells):
        if cell.solution and set(exercise.names) & defined(cell.source):
            called = re.compile(rf"\b{exercise.check.__name__}\(")
            checks = [other for other in cells[i + 1 :] if other.points]
            points = [one.points for one in checks if called.search(one.source)]
            return Task(exercise, i, (points or [one.points for one in checks] or [1.0])[0])
    raise KitError(f"notebook {name} has no solution cell for {', '.join(exercise.names)}")


def read_courses(folder: Path, names: Sequence[str] = NOTEBOOKS) -> list[Course]:
    """Read all of the kit's notebooks that have exercises."""
    return [course for name in names if (course := read_course(folder, name)).tasks]


def find_course(cells: Sequence[Cell], courses: Sequence[Course], file: str) -> Course:
    """Find of which notebook a hand-in is, by its cells; its file name decides between equals.

    Raises
    ------
    NoHandIn
        If it has no cell of any of them.
    """
    shared = Counter(name for course in courses for name in {*course.ids, *course.grade_ids})
    ids = {name for cell in cells for name in (cell.id, cell.grade_id) if shared[name] == 1}
    names = {name for cell in cells if cell.kind == "code" for name in defined(cell.source)}
    texts = {squeezed(cell.source) for cell in cells}

    def score(course: Course) -> tuple[int, bool]:
        common = len(ids & {*course.ids, *course.grade_ids}) + len(texts & course.sources.keys())
        return 3 * len(names & course.answers) + common, course.name in file

    best = max(courses, key=score)
    if score(best)[0] == 0:
        raise NoHandIn("has no cell of a notebook of the course")
    return best


@dataclass
class Step:
    """One thing to run.

    Attributes
    ----------
    kind : str
        ``kit``, ``answer`` (a whole cell of the student) or ``own`` (definitions of the student).
    label : str
        How a sentence names it.
    sources : list of str
        One, or for ``own`` each definition.
    names : set of str
        What it defines.
    """

    kind: str
    label: str
    sources: list[str]
    names: set[str] = field(default_factory=set)


@dataclass
class Plan:
    """What of a hand-in is run, and what was noticed about it."""

    steps: list[Step]
    notes: list[str]


def make_plan(cells: Sequence[Cell], course: Course) -> Plan:
    """Lay out what to run; see the module for the rule."""
    plan, done = Plan([], []), -1
    solutions = {task.cell for task in course.tasks}
    answered: set[int] = set()
    lost = 0
    for cell in cells:
        place, sure = _place(cell, course, solutions)
        lost += not sure and place is not None
        if place is not None:
            _add_needed(plan, course, done, place)
            done = max(done, place)
        if place in solutions and cell.source.strip():
            answered.add(place)
            name = course.cells[place].grade_id or course.cells[place].id
            if cell.kind != "code":
                plan.notes.append(f"cell {name} is no code cell any more; it was run as code")
            step = Step("answer", f"cell {name}", [cell.source], defined(cell.source))
            plan.steps.append(step)
        elif cell.kind == "code":
            _add_own(plan, course, cell, place)
    _add_needed(plan, course, done, len(course.cells))
    if lost:
        plan.notes.append(
            f"{lost} {'cell has' if lost == 1 else 'cells have'} lost or changed names; "
            "found by what they define"
        )
    missing = [course.cells[i] for i in sorted(solutions - answered)]
    plan.notes += [f"cell {cell.grade_id or cell.id} is not there" for cell in missing]
    return plan


def _place(cell: Cell, course: Course, solutions: set[int]) -> tuple[int | None, bool]:
    """Which of the course's cells this is, and whether its name says so."""
    for name, places in (
        (cell.grade_id, course.grade_ids),
        (cell.id, course.ids),
        (cell.id, course.grade_ids),
    ):
        if name and name in places:
            return places[name], True
    if cell.kind != "code":
        return None, True
    if (place := course.sources.get(squeezed(cell.source))) is not None:
        return place, place not in solutions
    names = defined(cell.source)
    for task in course.tasks:
        if names & set(task.exercise.names):
            return task.cell, False
    return None, True


def _add_needed(plan: Plan, course: Course, after: int, upto: int) -> None:
    for cell in course.cells[after + 1 : upto + 1]:
        if "needed" in cell.tags:
            plan.steps.append(Step("kit", f"the kit's cell {cell.id}", [cell.source]))


def _add_own(plan: Plan, course: Course, cell: Cell, place: int | None) -> None:
    """Add what the student has defined in a cell that is no solution cell."""
    if place is not None and squeezed(cell.source) == squeezed(course.cells[place].source):
        return
    taken: tuple[type[ast.stmt], ...] = (
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.Import,
        ast.ImportFrom,
    )
    known = course.own_names
    if place is None:
        taken = (*taken, ast.Assign, ast.AnnAssign)
    else:
        known = known | defined(course.cells[place].source) - course.answers
    kept = [one for one in parse(cell.source) if isinstance(one, taken)]
    kept = [one for one in kept if not names_of(one) & known]
    if kept:
        names = set().union(*map(names_of, kept))
        plan.steps.append(Step("own", "a cell of your own", list(map(_unparsed, kept)), names))


def _unparsed(statement: ast.stmt) -> str:
    try:
        return ast.unparse(statement)
    except (RecursionError, ValueError):
        return ""
