"""The judge of one hand-in: runs the kit's checks here, and the student's functions elsewhere.

It reads one job (JSON) from standard input and writes one line (JSON) for each thing it knows:
first what the hand-in is, then a verdict for each exercise. It ends when its input does, and takes
the student's process with it. The checks and random numbers are in this process alone.
"""

import builtins
import json
import os
import shutil
import signal
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.exercises.base import Blank, Exercise, Wrong
from tinyreptile_lite.marking.coding import Message, copy_back
from tinyreptile_lite.marking.handin import NoHandIn, read_cells
from tinyreptile_lite.marking.plan import Plan, Step, Task, find_course, make_plan, read_courses
from tinyreptile_lite.marking.process import Stopped, StudentProcess

START = 60.0  # seconds in which a process has started, and in which the kit's own cells have run
REPEATS = 3  # of each check, with fresh random cases each time
BUDGETS = 3  # a hand-in may take so many times what one exercise may
_MEMORY = 6 * 1024**3  # of the judge: what it reads is bounded, what NumPy makes of it less so
_LONGEST = 400  # characters of a sentence
_CHECK = 20.0  # seconds that a check may take itself: a student's value could make it endless


def main() -> None:
    """Judge one hand-in."""
    job = json.loads(sys.stdin.buffer.readline())
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a check prints is no verdict
    _limit_memory()

    def say(**line: Any) -> None:
        lines.write(json.dumps(line) + "\n")
        lines.flush()

    judge = Judge(job)
    threading.Thread(target=_end_with_input, args=(judge,), daemon=True).start()
    try:
        judge.run(say)
    except NoHandIn as error:
        say(nothing=clean(str(error)))
    except KitError as error:
        say(failed=str(error))
    finally:
        judge.close()


def _limit_memory() -> None:
    if sys.platform == "linux":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = _MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _end_with_input(judge: "Judge") -> None:
    while os.read(0, 1024):
        pass
    judge.close()
    os._exit(1)


def clean(text: str) -> str:
    """Make a sentence of what may be any text: one line, no control characters, not too long."""
    shown = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text[:5000])
    shown = " ".join(shown.split())
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 4] + " ..."


class Judge:
    """Marks one hand-in; ``job`` is what `tinyreptile_lite.marking.run` has written."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._path, self._file = Path(job["path"]), job["file"]
        self._notebooks, self._names = Path(job["notebooks"]), job["names"]
        self._folder, self._seed = Path(job["folder"]), job["seed"]
        self._seconds, self._memory = job["seconds"], job["memory"]
        self._process: StudentProcess | None = None
        self._left = BUDGETS * self._seconds  # of the student's code
        self._errors: dict[int, tuple[str, str, int]] = {}  # of steps, by their place
        self._skipped: set[int] = set()
        self._starts = 0
        self._plan = Plan([], [])
        self._walls: list[str] = []
        self._exercise_left = float(self._seconds)

    def run(self, say: Any) -> None:
        """Mark all exercises; ``say`` is called with what to report."""
        cells = read_cells(self._path)
        courses = read_courses(self._notebooks, self._names)
        course = find_course(cells, courses, self._file)
        self._plan = make_plan(cells, course)
        say(notebook=course.name, notes=[clean(note) for note in self._plan.notes])
        for task in course.tasks:
            verdict, sentence = self._judge(task)
            exercise = task.exercise
            say(
                number=exercise.number,
                title=exercise.title,
                of=task.points,
                points=task.points if verdict == "right" else 0,
                sentence=clean(self._explained(task, verdict, sentence)),
            )
        say(walls=self._walls, whole=True)

    def close(self) -> None:
        """End the student's process."""
        if self._process is not None:
            self._process.close()

    # The student's process

    def _alive(self) -> StudentProcess:
        """Give the student's process with all cells run; start it again if it has ended.

        A cell that ended it is left out the next time.
        """
        while self._process is None or self._process.over:
            if self._starts > BUDGETS + 1 or self._left <= 0:
                raise Stopped("has used up the time of this hand-in")
            self._start()
        return self._process

    def _start(self) -> None:
        self._starts += 1
        if self._folder.exists():
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        cpu = int(2 * START + BUDGETS * self._seconds)
        self._process = StudentProcess(self._folder, self._memory, cpu, START)
        self._walls = self._process.walls
        for i, step in enumerate(self._plan.steps):
            if i in self._skipped:
                continue
            self._exercise_left = self._seconds
            try:
                self._run_step(i, step)
            except Stopped as stopped:
                self._skipped.add(i)
                self._errors[i] = ("", str(stopped), 0)
                return

    def _run_step(self, i: int, step: Step) -> None:
        question: dict[str, Any] = {"do": "cell", "source": step.sources[0], "label": step.label}
        if step.kind == "own":
            question = {"do": "pieces", "sources": step.sources}
        if step.kind == "kit":
            answer = self._process_or_stop().ask(question, START)
        else:
            answer = self._ask(question)
        self._errors.pop(i, None)
        if (error := _error(answer.part("error"))) is not None:
            self._errors[i] = error

    def _process_or_stop(self) -> StudentProcess:
        if self._process is None:
            raise Stopped("is closed")
        return self._process

    def _ask(self, question: dict[str, Any]) -> Message:
        """Ask within the time of one exercise and of the whole hand-in."""
        process, begin = self._process_or_stop(), time.monotonic()
        if not process.over and min(self._left, self._exercise_left) <= 0:
            process.close(f"runs for more than {self._seconds:.0f} seconds")
        try:
            return process.ask(question, min(self._left, self._exercise_left))
        finally:
            spent = time.monotonic() - begin
            self._left -= spent
            self._exercise_left -= spent

    # Verdicts

    def _judge(self, task: Task) -> tuple[str, str]:
        """Check one exercise; the process that runs it is not believed."""
        names = " and ".join(task.exercise.names)
        try:
            self._alive()
            with _alarm(_CHECK + self._seconds):
                self._check(task.exercise)
        except _Missing as error:
            return "missing", str(error)
        except Blank as error:
            return "blank", str(error)
        except Stopped as error:
            return "wrong", f"{names} {error}"
        except Exception as error:
            if self._process and self._process.over:  # whatever the check made of it
                return "wrong", f"{names} {self._process.over}"
            if isinstance(error, AssertionError):
                return "wrong", str(error) or f"{names}: the answer is not right"
            return "wrong", f"{names}: the check stops with {type(error).__name__}: {error}"
        return "right", "right"

    def _check(self, exercise: Exercise) -> None:
        process, self._exercise_left = self._alive(), self._seconds
        for repeat in range(REPEATS):
            given = [self._given(name) for name in exercise.names]
            rng = np.random.default_rng([self._seed, exercise.number, repeat])
            exercise.check(*given, rng=rng)
            if process.over:
                raise Stopped(process.over)

    def _given(self, name: str) -> Any:
        """What the check is given: a value, or a function that runs in the other process."""
        answer = self._ask({"do": "find", "name": name})
        if answer.part("callable"):
            return self._proxy(name)
        if (unfit := answer.part("unfit")) is not None:
            raise Wrong(f"{name} is {unfit}")
        if answer.part("missing"):
            raise _Missing(name)
        return answer.part("value")

    def _proxy(self, name: str) -> Any:
        def function(*arguments: Any, **named: Any) -> Any:
            question = {"do": "call", "name": name, "arguments": arguments, "named": named}
            answer = self._ask(question)
            if (error := _error(answer.part("error"))) is not None:
                raise _raised(error)
            if (unfit := answer.part("unfit")) is not None:
                raise Wrong(f"{name} returns {clean(str(unfit))}")
            self._copy_back((arguments, named), answer)
            return answer.part("result")

        function.__name__ = function.__qualname__ = name
        return function

    def _copy_back(self, old: Any, answer: Message) -> None:
        places = {id(array): i for i, array in enumerate(answer.arrays)}

        def same(old_array: np.ndarray, new: np.ndarray) -> None:
            answer.arrays[places[id(new)]] = old_array

        new = answer.part("arguments")
        if isinstance(new, tuple) and len(new) == 2:
            for one, other in zip(old[0], new[0], strict=False):
                copy_back(one, other, same)

    # Sentences

    def _explained(self, task: Task, verdict: str, sentence: str) -> str:
        """Say where to look if an answer is missing because a cell has stopped."""
        if verdict != "missing":
            return sentence
        names = set(task.exercise.names)
        for i, step in enumerate(self._plan.steps):
            if i in self._errors and step.kind == "answer" and step.names & names:
                kind, text, line = self._errors[i]
                if kind == "NotImplementedError":
                    return f"{' and '.join(task.exercise.names)} is not written yet"
                return f"your {step.label} {_stops(kind, text, line)}"
        return sentence


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Stop a check that does not end; not on Windows, where the command ends the judge itself."""
    if sys.platform == "win32":
        yield
        return

    def ring(*_: object) -> None:
        raise Stopped("makes the check run without end")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class _Missing(Wrong):
    """A name that the hand-in does not define."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no {name} in the hand-in; write it in its cell")


def _stops(kind: str, text: str, line: int) -> str:
    if not kind:
        return text
    where = f" in line {line}" if line else ""
    return f"stops{where} with {kind}: {text}"


def _error(told: Any) -> tuple[str, str, int] | None:
    """What the other process says of an error, if it is one."""
    if not (isinstance(told, tuple) and len(told) == 3):
        return None
    kind, text, line = told
    kind = kind[:60] if isinstance(kind, str) and kind.isidentifier() else "Exception"
    return kind, clean(str(text)) if isinstance(text, str) else "", line if type(line) is int else 0


def _raised(told: tuple[str, str, int]) -> Exception:
    """An error as the student's function has raised it; never one of ours, or one that ends us."""
    kind, text, _ = told
    if kind == "KitError":
        return KitError(text)
    known = getattr(builtins, kind, None)
    if isinstance(known, type) and issubclass(known, Exception):
        with suppress(Exception):
            return known(text)
    return type(kind, (Exception,), {})(text)
