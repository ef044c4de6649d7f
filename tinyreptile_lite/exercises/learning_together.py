"""Exercises of 05_learning_together: seconds on the line, bytes of a visit, who stands in."""

from collections.abc import Callable

import numpy as np

from tinyreptile_lite.exercises.base import call, exercise, explain

Function = Callable[..., object]


@exercise(1, "seconds on the line")
def line_seconds(line_seconds: Function, rng: np.random.Generator) -> None:
    """Seconds that bytes take on a serial line, ten bits a byte."""
    for speed in (115_200, 1_000_000):
        count = int(rng.integers(1000, 20_000))
        right = 10 * count / speed
        slips = {
            "a byte has 8 bits, but its start and its stop bit take time, too: 10": right * 0.8,
            "bits_per_second counts bits, not bytes": right / 10,
            "divide by the speed: a faster line takes less time": 10 * count * speed,
            "that is the inverse: seconds, not visits a second": 1 / right,
            "those are milliseconds": 1000 * right,
        }
        what = f"line_seconds({count}, {speed})"
        explain(
            what, call(line_seconds, count, speed), right, slips, "bits, divided by bits a second"
        )


_CONTROL = 22 + 23 + 24 + 18  # frames of PUSH, TRAIN, STATE and PULL


def _frames(payloads: list[int]) -> int:
    return sum(n + 2 + n // 254 for n in payloads)


@exercise(2, "the bytes of a visit")
def most_bytes(most_bytes: Function, rng: np.random.Generator) -> None:
    """Most bytes of a visit, both ways, with weights in chunks."""
    for _ in range(3):
        floats = int(rng.integers(30, 257))
        weights = floats * int(rng.integers(2, 9)) + int(rng.integers(1, floats))
        sizes = [min(floats, weights - first) for first in range(0, weights, floats)]
        one_way = _frames([9 + 4 * size for size in sizes])
        slips = {
            "the weights go out and come back: twice": _CONTROL + one_way,
            "PUSH, TRAIN, STATE and PULL are missing": 2 * one_way,
            "PUSH, TRAIN, STATE and PULL go once each": 2 * (_CONTROL + one_way),
            "the last chunk is shorter": _CONTROL + 2 * _frames([9 + 4 * floats] * len(sizes)),
            "the last, shorter chunk is missing": (
                _CONTROL + 2 * _frames([9 + 4 * floats] * (len(sizes) - 1))
            ),
            "a weight has 4 bytes": _CONTROL + 2 * _frames([9 + size for size in sizes]),
            "each payload has 9 bytes more than its weights": (
                _CONTROL + 2 * _frames([4 * size for size in sizes])
            ),
            "a frame has n + 2 + n // 254 bytes, not n": (
                _CONTROL + 2 * sum(9 + 4 * size for size in sizes)
            ),
            "these are the bare weights: what goes around them?": 8 * weights,
        }
        what, look = f"most_bytes({weights}, {floats})", "one chunk after the other, then twice"
        mine = call(most_bytes, weights, floats)
        explain(what, mine, _CONTROL + 2 * one_way, slips, look, 1e-12)


@exercise(3, "who stands in?")
def stand_in(stand_in: Function, rng: np.random.Generator) -> None:
    """Place of the board that does the round of a board that may be away."""
    count = int(rng.integers(6, 12))
    near = int(rng.integers(1, count - 3))
    cases = [
        (near, set()),
        (near, {near - 1}),
        (near, {near, near + 1}),
        (count - 1, {count - 1, 0, 2}),
        (near, set(range(count)) - {near - 1}),
    ]
    for drawn, away in cases:
        right = next(
            place for place in (np.arange(count) + drawn) % count if int(place) not in away
        )
        before = next(
            place for place in (drawn - np.arange(count)) % count if int(place) not in away
        )
        slips = {
            "that board is away": drawn if drawn in away else -1,
            "the next one may be away, too: go on": ((drawn + 1) % count if drawn in away else -1),
            "nobody is away there: the drawn board does it itself": (
                (drawn + 1) % count if drawn not in away else -1
            ),
            "after the last board comes the first: place 0": count,
            "the next one, not the one before": before,
        }
        what = f"stand_in({drawn}, {away or 'set()'}, {count})"
        look = "go on by one, modulo count, while that board is away"
        explain(what, call(stand_in, drawn, set(away), count), right, slips, look, 1e-12)
