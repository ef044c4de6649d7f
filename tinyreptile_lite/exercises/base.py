"""What all checks share: how an exercise is declared, and how a wrong answer is told.

A check takes what the student wrote, functions or values, and a random generator. It gives the
student's functions plain data only (numbers, strings, bytes, arrays, `Samples`, `Network`, and
tuples, lists, sets and dicts of these), so that they can run in another process than the check.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray


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


def call(function: Callable[..., Any], *given: Any, hint: str = "") -> Any:
    """Call what the student wrote.

    Parameters
    ----------
    hint : str
        What to say if it stops with an error.

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
        text = f"{name} stops with {type(error).__name__}: {error}"
        raise Wrong(f"{text}; {hint}" if hint else text) from error
    if result is None:
        raise Wrong(f"{name} returns nothing; end it with return")
    return result


def explain(
    what: str,
    mine: Any,
    right: Any,
    slips: Mapping[str, Any],
    look: str,
    tolerance: float = 1e-6,
) -> None:
    """Compare an answer with the right one; else say which slip gives such an answer.

    Parameters
    ----------
    what : str
        What the answer is of, for example ``"best_answer([3, -1])"``.
    mine, right : number or array_like
    slips : mapping of str to number or array_like
        Sentences, and the answer to which each slip leads.
    look : str
        Where to look, for any other answer.
    tolerance : float
        Relative, and absolute for numbers near 0.

    Raises
    ------
    Wrong
    """
    found, wanted = numbers(what, mine), np.asarray(right, float)
    if found.shape != wanted.shape:
        raise Wrong(f"{what} must be {_kind(wanted)}, not {_kind(found)}; {look}")
    if _near(found, wanted, tolerance):
        return
    for sentence, value in slips.items():
        wrong = np.asarray(value, float)
        if wrong.shape == found.shape and _near(found, wrong, tolerance):
            look = sentence
            break
    raise Wrong(f"{what} must be {_unlike(wanted, found)}: {look}")


def _unlike(wanted: Array, found: Array) -> str:
    """Both in words; of long arrays that begin alike, the first place where they differ."""
    right, mine = short(wanted), short(found)
    if right != mine:
        return f"{right}, not {mine}"
    place = int(np.argmax(np.abs(np.ravel(wanted - found))))
    return f"{np.ravel(wanted)[place]:.6g} at place {place}, not {np.ravel(found)[place]:.6g}"


def numbers(what: str, mine: Any) -> Array:
    """Return an answer as an array of float; raises `Wrong` if it holds no numbers."""
    try:
        return np.asarray(mine, float)
    except (TypeError, ValueError):
        raise Wrong(f"{what} must be numbers, not {mine!r:.60}") from None


def pair(what: str, mine: Any) -> tuple[Any, Any]:
    """Return an answer that must be two things; raises `Wrong` if it is not."""
    if not isinstance(mine, (tuple, list, np.ndarray)) or len(mine) != 2:
        raise Wrong(f"{what} must return two things, with a comma between them, not {mine!r:.60}")
    return mine[0], mine[1]


def unchanged(name: str, before: Array, after: Array) -> None:
    """Raise `Wrong` if an array that was handed over has been changed in place."""
    if not np.array_equal(before, after):
        raise Wrong(
            f"{name} itself has changed: += and -= write into the array that was handed over; "
            f"make a new one, as in new = {name} + ..."
        )


def short(values: Any) -> str:
    """Write a number, or the first few of an array."""
    flat = np.ravel(np.asarray(values, float))
    text = ", ".join(f"{value:.4g}" for value in flat[:6])
    if np.ndim(values) == 0:
        return text
    return f"[{text}{', ...' if flat.size > 6 else ''}]"


def _kind(values: Array) -> str:
    return "one number" if values.ndim == 0 else f"an array of shape {values.shape}"


def _near(one: Array, other: Array, tolerance: float) -> bool:
    return bool(np.allclose(one, other, tolerance, tolerance, equal_nan=True))
