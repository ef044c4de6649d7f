"""Errors that a user can cause, each one sentence that names the value and the remedy."""

from collections.abc import Iterable


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
