"""Exercises of 00_start_here: one step by hand, the error of a curve, the bytes of a visit."""

from collections.abc import Callable

import numpy as np

from tinyreptile_lite.exercises.base import call, exercise, explain, pair, short

Function = Callable[..., object]


@exercise(1, "one step by hand")
def one_step(one_step: Function, rng: np.random.Generator) -> None:
    """The line y = w * x + b learns one sample: new w, new b."""
    for _ in range(3):
        w, b, x, y = (round(float(value), 1) for value in rng.uniform(-3, 3, 4))
        x = x or 1.0
        y += 2.0 if abs(w * x + b - y) < 0.1 else 0.0  # there is something to learn
        rate = float(rng.choice([0.1, 0.05, 0.2]))
        error = w * x + b - y
        new_w = w - rate * 2 * error * x
        right = new_w, b - rate * 2 * error
        what = f"one_step(w={w}, b={b}, x={x}, y={y:.1f}, rate={rate})"
        slips = {
            "the slope of error**2 is 2 * error: the 2 is missing": (
                w - rate * error * x,
                b - rate * error,
            ),
            "go down the slope: minus, not plus": (2 * w - new_w, 2 * b - right[1]),
            "the slope for b is 2 * error * 1: no x there": (new_w, b - rate * 2 * error * x),
            "the slope for w is 2 * error * x: the x is missing": (w - rate * 2 * error, right[1]),
            "b learns as well": (new_w, b),
            "both steps start from the same w and b: take the error once, before w moves": (
                new_w,
                b - rate * 2 * (new_w * x + b - y),
            ),
            "the rate is missing": (w - 2 * error * x, b - 2 * error),
        }
        mine = pair(what, call(one_step, w, b, x, y, rate))
        explain(what, mine, right, slips, "write down error = w * x + b - y first")


@exercise(2, "the error of a curve")
def squared_error(squared_error: Function, rng: np.random.Generator) -> None:
    """Mean of the squared differences of two curves."""
    for size in (4, int(rng.integers(5, 50))):
        one, other = rng.integers(-4, 5, (2, size, 1)).astype(float)
        one[0] = other[0] + 3  # they differ, and their means do
        difference = one - other
        what = f"the squared error of {short(one)} and {short(other)}"
        slips = {
            "take the mean, not the sum": np.sum(difference**2),
            "square each difference first, then take the mean": np.mean(difference) ** 2,
            "this is the mean distance: square the differences": np.mean(np.abs(difference)),
            "no square root: this is the root of it": np.sqrt(np.mean(difference**2)),
            "this is half of it: divide by the number of points only": np.mean(difference**2) / 2,
            "differences of both signs cancel: square them": np.mean(difference),
        }
        mine = call(squared_error, one.copy(), other.copy())
        explain(what, mine, np.mean(difference**2), slips, "subtract, square, then the mean")


@exercise(3, "bytes on the link")
def visit_bytes(visit_bytes: Function, rng: np.random.Generator) -> None:
    """Bytes that go over the link in visits, both ways."""
    for weights, visits in ((1, 1), tuple(rng.integers(2, 2000, 2).tolist())):
        right = 8 * weights * visits
        what = f"visit_bytes({weights}, {visits})"
        slips = {
            "a float32 has 4 bytes: you count numbers": 2 * weights * visits,
            "the weights go out and come back: twice": 4 * weights * visits,
            "a float32 has 4 bytes, not 8 (that would be float64)": 16 * weights * visits,
            "each visit costs as much: multiply by the visits": 8 * weights,
            "these are bits: a byte has 8 of them": 8 * right,
        }
        if visits == 1:
            del slips["each visit costs as much: multiply by the visits"]
        mine = call(visit_bytes, weights, visits)
        explain(what, mine, right, slips, "visits, two ways, 4 bytes a weight", 1e-12)
