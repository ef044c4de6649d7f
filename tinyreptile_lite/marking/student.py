"""What runs in a student's process: its walls, the kit's cells, the student's cells, then calls.

It does what the judge asks, one message after the other, until there are no more. Nothing here
keeps the student's code from what is in this process, and nothing that the process says is
believed: it holds no check, no solution and no verdict.

A question is a dict with ``do``: ``cell`` (run source), ``pieces`` (run each source of a list, as
far as it goes), ``find`` (a name) or ``call`` (a function by its name). The answer is a dict with
``error`` (kind, text and line), or with what was asked for.
"""

import importlib.abc
import importlib.machinery
import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from tinyreptile_lite.marking import walls
from tinyreptile_lite.marking.coding import CodingError, Message, pack, receive

_CLOSED = "tinyreptile_lite.exercises"
_MAGIC = re.compile(r"^(\s*)([%!?][^\n]*|[^\n]*\?)$", re.MULTILINE)


def main() -> None:
    """Read the walls' plan from standard input, put them up, and answer questions."""
    walls.die_with_parent()
    questions, answers = _own_channels()
    plan = json.loads(questions.readline())
    _close_checks()
    walls_up = walls.put_up(
        Path(plan["folder"]), plan["read"], plan["libraries"], plan["memory"], plan["cpu"]
    )
    for source in plan["copy"]:
        _copy(source)
    _send(answers, {"walls": walls_up})
    namespace: dict[str, Any] = {"__name__": "__main__", "display": lambda *_, **__: None}
    while question := receive(questions):
        _send(answers, _answer(question, namespace))


def _own_channels() -> tuple[BinaryIO, BinaryIO]:
    """Keep the judge's pipes to ourselves: what the student prints goes nowhere."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)
    return questions, answers


def _copy(source: str) -> None:
    with suppress(OSError):
        shutil.copy(source, Path(source).name)


class _Nothing:
    """Stands for the checks: everything is in it, and does nothing."""

    def __getattr__(self, name: str) -> "_Nothing":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> None:
        return None


class _Closed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds nothing where the checks and their references are."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _CLOSED and not fullname.startswith(_CLOSED + "."):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        module.__getattr__ = _Nothing().__getattr__  # type: ignore[method-assign]


def _close_checks() -> None:
    sys.meta_path.insert(0, _Closed())


def _send(answers: BinaryIO, answer: dict[str, Any]) -> None:
    answers.write(pack(answer)[0])
    answers.flush()


def _answer(question: Message, namespace: dict[str, Any]) -> dict[str, Any]:
    asked = question.part("do")
    try:
        if asked == "cell":
            _run(question.part("source"), question.part("label"), namespace)
        elif asked == "pieces":
            _run_pieces(question.part("sources"), namespace)
        elif asked == "find":
            return _found(namespace, question.part("name"))
        elif asked == "call":
            return _call(namespace[question.part("name")], question)
    except BaseException as error:  # whatever a student's code may raise, SystemExit as well
        return {"error": _told(error)}
    return {"done": True}


def _told(error: BaseException) -> tuple[str, str, int]:
    """Kind, text and line; an error's own methods may fail as well."""
    try:
        line, at = 0, error.__traceback__
        while at:
            file = at.tb_frame.f_code.co_filename
            if file.startswith("<") and not file.startswith("<frozen "):  # a cell, not Python's own
                line = at.tb_lineno
            at = at.tb_next
        return type(error).__name__, str(error)[:500], getattr(error, "lineno", 0) or line
    except BaseException:
        return type(error).__name__, "", 0


def _run(source: str, label: str, namespace: dict[str, Any]) -> None:
    try:
        code = compile(source, f"<{label}>", "exec")
    except SyntaxError:  # lines for IPython are no Python
        code = compile(_MAGIC.sub(r"\1pass", source), f"<{label}>", "exec")
    exec(code, namespace)  # noqa: S102 - this process is here for that


def _run_pieces(sources: Sequence[str], namespace: dict[str, Any]) -> None:
    """Run definitions as far as they go: a student's own cells are no answers."""
    for source in sources:
        try:
            _run(source, "own cell", namespace)
        except Exception:  # noqa: S112 - what is missing is told by what needs it
            continue


def _found(namespace: dict[str, Any], name: str) -> dict[str, Any]:
    if name not in namespace:
        return {"missing": True}
    value = namespace[name]
    try:
        return {"value": value} if pack(value) else {}
    except CodingError as error:
        return {"callable": True} if callable(value) else {"unfit": str(error)}


def _call(function: Any, question: Message) -> dict[str, Any]:
    arguments, named = question.part("arguments"), question.part("named")
    result = function(*arguments, **named)
    try:
        pack(result)
    except CodingError as error:
        return {"unfit": str(error)}
    try:
        pack((arguments, named))
    except CodingError:  # something odd was put into them
        return {"result": result}
    return {"arguments": (arguments, named), "result": result}
