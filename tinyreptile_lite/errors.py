"""Errors that a user can cause, each one sentence that names the value and the remedy."""

import importlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

_MOST = 2**63 - 1  # a larger one fits no counter


class KitError(ValueError):
    """A wrong input. The command line prints it as one line and exits with code 2."""


class DivergenceError(KitError):
    """The weights or the loss stopped being finite numbers."""


class DeadUnitsWarning(UserWarning):
    """Hidden ReLU units answer zero to every input, so they no longer learn."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> KitError:
    """Build the error for a name that is not on a list.

    Parameters
    ----------
    kind : str
        What the name stands for, for example ``"strategy"``.
    name : object
        What was given.
    known : iterable of str
        The names that exist.

    Returns
    -------
    KitError
        To be raised by the caller.
    """
    return KitError(f"unknown {kind} {name!r}; choose one of: {', '.join(sorted(known))}")


def needed(module: str, package: str) -> Any:
    """Import a module of an optional package; `KitError` says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        text = f"{package} is not installed; install it with: pip install {package}"
        raise KitError(text) from None


@contextmanager
def file_errors(remedy: str) -> Iterator[None]:
    """Turn what the file system refuses into a `KitError` with the file, the reason and a remedy.

    Parameters
    ----------
    remedy : str
        Ends the sentence, for example ``"choose a folder you can write to"``.
    """
    try:
        yield
    except OSError as error:
        file = f"cannot use {error.filename}: " if error.filename else ""
        raise KitError(f"{file}{error.strerror}; {remedy}") from error


def named_numbers(text: str, kind: str, known: Collection[str], example: float) -> dict[str, float]:
    """Read "drop=0.1,flip=0.01", as the command line has it.

    Parameters
    ----------
    text : str
    kind : str
        What the names are, for the sentence that refuses another one.
    known : collection of str
        Names that there are.
    example : float
        A number to show to somebody who wrote none.

    Raises
    ------
    KitError
        If a name is unknown, or what it is to be is no number.
    """
    numbers: dict[str, float] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        name, _, value = part.partition("=")
        if name not in known:
            raise unknown_name(kind, name, known)
        try:
            numbers[name] = float(value)
        except ValueError:
            raise KitError(f"{part!r} is no number; write for example {name}={example}") from None
    return numbers


def at_least_one(owner: str = "", /, **counts: object) -> None:
    """Raise `KitError` unless each count is a whole number of at least 1.

    Parameters
    ----------
    owner : str
        What the counts belong to, to begin the sentence with.
    **counts
        Each by its name.
    """
    _check_whole(1, owner, counts)


def not_negative(**numbers: object) -> None:
    """Raise `KitError` unless each is a whole number of at least 0, as a seed."""
    _check_whole(0, "", numbers)


def _check_whole(least: int, owner: str, numbers: dict[str, object]) -> None:
    for name, number in numbers.items():
        if not isinstance(number, Integral) or int(number) < least:
            raise KitError(f"{owner}{name} is {number}; give a whole number of at least {least}")
        if int(number) > _MOST:
            raise KitError(
                f"{owner}{name} has {len(str(int(number)))} digits; give a smaller number"
            )
