"""Exercises of 08_what_it_costs: the largest changes, eight bits, what is kept, a coin cell."""

import math
from collections.abc import Callable

import numpy as np

from tinyreptile_lite.exercises.base import (
    Wrong,
    call,
    exercise,
    explain,
    numbers,
    pair,
    short,
    unchanged,
)

Function = Callable[..., object]
Array = np.ndarray

LARGEST = 127  # whole steps of eight bits


def _change(rng: np.random.Generator, size: int) -> Array:
    """Changes of both signs, no two of one size; a quarter of them zero."""
    change = rng.permutation(np.arange(1, size + 1) / size) * rng.choice([-1.0, 1.0], size)
    change[rng.permutation(size)[: size // 4]] = 0
    return change


def _largest(change: Array, count: int) -> Array:
    """Positions of the largest by size, rising."""
    return np.sort(np.argsort(-np.abs(change), kind="stable")[:count])


@exercise(1, "the largest changes")
def top_p(top_p: Function, rng: np.random.Generator) -> None:
    """Positions, rising, and values of the largest changes by size; their number rounded up."""
    small = int(rng.integers(2, 6))  # 10 * small + 1 changes, 10 percent: small + 0.1 of them
    cases = [(10 * small + 1, 10), (4 * int(rng.integers(3, 9)), 25), (40 + small, 50)]
    for size, percent in cases:
        change = _change(rng, size)
        count = math.ceil(size * percent / 100)
        given = change.copy()
        mine = call(top_p, given, percent)
        unchanged("change", change, given)
        _check_top(change, percent, count, mine)


def _check_top(change: Array, percent: float, count: int, mine: object) -> None:
    what = f"top_p of {len(change)} changes, {percent} percent"
    first, second = pair(what, mine)
    at, values = numbers(what, first), numbers(what, second)
    if at.ndim != 1 or at.shape != values.shape:
        raise Wrong(f"{what} must be two arrays, as many positions as values: they are pairs")
    if len(at) != count:
        look = "so many percent of all changes, the zeros too, and rounded up"
        raise Wrong(f"{what} must be {count} changes, not {len(at)}: {look}")
    right = _largest(change, count)
    if not np.array_equal(np.sort(at), right):
        raise Wrong(f"{what}: {_choice_slip(change, count, at, values)}")
    if not np.array_equal(at, right):
        raise Wrong(f"{what}: the positions must rise, as in {short(right)}; sort them")
    slips = {
        "those are the sizes: keep the sign of each change": np.abs(change[right]),
        "the values are in another order than the positions": change[_by_size(change)[:count]],
    }
    explain(f"the values of {what}", values, change[right], slips, "take change[at]")


def _by_size(change: Array) -> Array:
    return np.argsort(-np.abs(change), kind="stable")


def _choice_slip(change: Array, count: int, at: Array, values: Array) -> str:
    chosen = set(at.tolist())
    if chosen == set(np.argsort(-change)[:count].tolist()):
        return "a change of -9 is larger than one of 3: compare the sizes, without the signs"
    if np.abs(values).max() <= np.sort(np.abs(change))[count - 1]:
        return "these are the smallest: take the other end"
    if np.array_equal(np.sort(values), _largest(change, count)):
        return "positions first, then values"
    return f"these are not the largest {count} by size; sort np.abs(change)"


@exercise(2, "eight bits")
def eight_bits(eight_bits: Function, rng: np.random.Generator) -> None:
    """Scale, and whole steps from -127 to 127, rounded by chance."""
    for _ in range(3):
        values = rng.normal(size=40) * 10.0 ** rng.uniform(-4, -1)
        values[int(rng.integers(40))] = -1.5 * np.abs(values).max()  # the largest is negative
        dice = rng.random(40)
        given = values.copy()
        first, second = pair("eight_bits", call(eight_bits, given, dice.copy()))
        unchanged("values", values, given)
        scale, steps = numbers("the scale", first), numbers("the steps", second)
        if scale.ndim and not steps.ndim:
            raise Wrong("eight_bits must return the scale first, then the steps")
        _check_steps(values, dice, scale, steps)


def _check_steps(values: Array, dice: Array, scale: Array, steps: Array) -> None:
    largest = np.abs(values).max()
    right = largest / LARGEST
    slips = {
        "that is the largest size itself: 127 steps must lead to it": largest,
        "the steps go to 127, not to 128": largest / 128,
        "take the largest by size: a negative value can be the largest": values.max() / LARGEST,
        "the steps go to 127 on each side, so 255 is too many": largest / 255,
        "it must be positive: take the size": values.min() / LARGEST,
        "turn it around: values are steps times scale": LARGEST / largest,
    }
    explain("the scale", scale, right, slips, "the largest size, divided by 127", 1e-9)
    exact = values / right
    wrong = {
        "that is rounding to the nearest: what is below half a step is always lost; add the dice, "
        "then round down": np.rint(exact),
        "int and trunc round towards zero, so negative values come out too large; use np.floor": (
            np.trunc(exact + dice)
        ),
        "the dice are missing: add them before you round down": np.floor(exact),
        "divide by the scale first": np.floor(values + dice),
        "dice are parts of a step: divide first, then add them": np.floor((values + dice) / right),
        "add the dice, do not subtract them": np.floor(exact - dice),
        "that is rounding up, and the dice on top: use np.floor": np.ceil(exact + dice),
        "those are the values again: return the whole steps": np.floor(exact + dice) * right,
        "these are no whole numbers yet: round down": exact + dice,
    }
    look = "divide by the scale, add the dice, round down"
    explain("the steps", steps, np.floor(exact + dice), wrong, look, 1e-12)


@exercise(3, "keep what was not sent")
def feedback(feedback: Function, rng: np.random.Generator) -> None:
    """What is sent, as long as the change, with zeros; and what is kept from now on."""
    for _ in range(3):
        size, percent = 4 * int(rng.integers(5, 12)), 25
        change, kept = rng.normal(size=(2, size))
        given = change.copy(), kept.copy()
        mine = pair("feedback", call(feedback, *given, percent, hint="is top_p right?"))
        unchanged("change", change, given[0])
        unchanged("kept", kept, given[1])
        _check_feedback(change, kept, size // 4, *mine)


def _dense(values: Array, chosen_by: Array, count: int) -> Array:
    sent = np.zeros_like(values)
    at = _largest(chosen_by, count)
    sent[at] = values[at]
    return sent


def _check_feedback(change: Array, kept: Array, count: int, sent: object, new: object) -> None:
    total = change + kept
    right = _dense(total, total, count)
    wrong = {
        "what was kept must compete, too: add it before you choose": _dense(change, change, count),
        "choose by the sum, not by the change alone": _dense(total, change, count),
        "you chose by the sum, but sent the change alone: send the sum": (
            _dense(change, total, count)
        ),
        "everything is sent: choose": total,
        "kept is what was NOT sent; add it": _dense(change - kept, change - kept, count),
    }
    found = numbers("what is sent", sent)
    if found.shape == (count,):
        raise Wrong("what is sent must be as long as the change: zeros where nothing is sent")
    explain("what is sent", found, right, wrong, "top_p of change + kept, put into zeros")
    lost = {
        "all is kept, also what was sent: it would arrive twice": total,
        "what was kept before is forgotten: take all that there was, less what is sent": (
            change - right
        ),
        "nothing new is kept: what is not sent now must wait": kept,
        "nothing is kept: then what is not sent is lost": np.zeros_like(kept),
        "the sign is wrong: all that there was, less what is sent": right - total,
        "that is what was sent: keep the others": right,
    }
    explain("what is kept", new, total - right, lost, "change + kept, less what is sent")


@exercise(4, "what a coin cell buys")
def rounds_of_a_cell(rounds_of_a_cell: Function, rng: np.random.Generator) -> None:
    """Whole number of visits, each with the waiting behind it."""
    for _ in range(4):
        capacity, volts = float(rng.integers(40, 300)), round(float(rng.uniform(2.7, 3.3)), 2)
        visit = float(rng.uniform(0.005, 0.05))
        idle, seconds = float(rng.uniform(0.02, 0.2)), float(rng.integers(60, 200))
        cell, waiting = capacity / 1000 * 3600 * volts, idle / 1000 * volts * seconds
        exact = cell / (visit + waiting)
        slips = {
            "an hour has 3,600 seconds: joules are watts times seconds": cell
            / 3600
            / (visit + waiting),
            "waiting costs as well: add the idle current's joules": cell / visit,
            "the visit's own joules are missing": cell / waiting,
            "that is upside down: what there is, divided by what one takes": (
                (visit + waiting) / cell
            ),
            "milliamperes: divide the idle current by 1,000": cell / (visit + 1000 * waiting),
            "the capacity is in milliampere hours: divide it by 1,000": 1000 * exact,
            "joules are volts times amperes times seconds: the volts are missing": (
                cell / volts / (visit + waiting)
            ),
            "the waiting takes volts as well": cell / (visit + waiting / volts),
        }
        whole = {sentence: math.floor(value) for sentence, value in slips.items()}
        parts = {f"{sentence}; and round down": value for sentence, value in slips.items()}
        last = {
            "half a round is none: round down to a whole number": exact,
            "round down: the last round would not be paid": math.floor(exact) + 1,
        }
        given = capacity, volts, visit, idle, seconds
        what = f"rounds_of_a_cell{tuple(round(one, 4) for one in given)}"
        look = "joules of the cell, divided by those of a visit and the waiting after it"
        mine = call(rounds_of_a_cell, *given)
        explain(what, mine, math.floor(exact), whole | parts | last, look, 1e-12)
