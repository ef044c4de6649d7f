"""What all checks share: how an exercise is declared, and how a wrong answer is told.

A check takes what the student wrote, functions or values, and a random generator. It gives the
student's functions plain data only (numbers, strings, bytes, arrays, `Samples`, `Network`, and
tuples, lists, sets and dicts of these), so that they can run in another process than the check.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


class Wrong(AssertionError):
    """A wrong answer: what was expected, what came, and where to look, in one sentence."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [f"Not yet: {self}"]


class Blank(Wrong):
    """An exercise that is not written yet."""


@dataclass(frozen=True)
class Exercise:
    """One exercise of a notebook.

    Attributes
    ----------
    number : int
        In its notebook, from 1.
    title : str
    names : tuple of str
        What the student writes, functions or values, in the order in which the check takes them.
    check : callable
        Takes them, and ``rng``; raises `Wrong`.
    """

    number: int
    title: str
    names: tuple[str, ...]
    check: Callable[..., None]


def exercise(number: int, title: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare a check: its parameters are named as what the student writes, the last is ``rng``.

    A notebook calls it without ``rng``: each call draws fresh cases, so a table of answers fails.
    """

    def declare(check: Callable[..., None]) -> Callable[..., None]:
        names = tuple(inspect.signature(check).parameters)[:-1]

        @functools.wraps(check)
        def checked(*given: Any) -> None:
            check(*given, rng=np.random.default_rng())
            print(f"{', '.join(names)}: right")

        checked.exercise = Exercise(number, title, names, check)  # type: ignore[attr-defined]
        return checked

    return declare


def call(function: Callable[..., Any], *given: Any) -> Any:
    """Call what the student wrote.

    Raises
    ------
    Blank
        If it is not written yet.
    Wrong
        If it returns nothing, or stops with an error.
    """
    name = getattr(function, "__name__", "the answer")
    try:
        result = function(*given)
    except NotImplementedError:
        raise Blank(f"{name} is not written yet") from None
    except Wrong:
        raise
    except Exception as error:  # whatever a student's code may raise
        raise Wrong(f"{name} stops with {type(error).__name__}: {error}") from error
    if result is None:
        raise Wrong(f"{name} returns nothing; end it with return")
    return result
