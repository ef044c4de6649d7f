"""Exercises of 04_on_the_device: the RAM, the widest network, the time of a visit, a sketch."""

from collections.abc import Callable

import numpy as np

from tinyreptile_lite.exercises.base import Wrong, call, exercise, explain, numbers

Function = Callable[..., object]


def _bytes(width: int) -> int:
    return 4 * (width * width + 6 * width + 3)


@exercise(1, "predict the RAM")
def learning_bytes(learning_bytes: Function, rng: np.random.Generator) -> None:
    """Bytes of weights and workspace of the network 1-width-width-1."""
    for width in (*rng.integers(5, 300, 3).tolist(), 1):
        square, workspace = width * width, 2 * width + 2
        weights = square + 4 * width + 1
        slips = {
            "these are floats: a float32 has 4 bytes": weights + workspace,
            "a float32 has 4 bytes, not 8": 8 * (weights + workspace),
            "each layer has a bias for each of its outputs, too": 4
            * (square + 2 * width + workspace),
            "the workspace is missing": 4 * weights,
            "the workspace holds floats as well: 4 bytes each": 4 * weights + workspace,
            "the weights are missing": 4 * workspace,
            "the middle layer has width * width weights": 4 * (6 * width + 1 + workspace),
        }
        look = "three layers: 1 to width, width to width, width to 1"
        mine = call(learning_bytes, width)
        explain(f"learning_bytes({width})", mine, _bytes(width), slips, look, 1e-12)


@exercise(2, "the widest network that fits")
def widest(widest: Function, rng: np.random.Generator) -> None:
    """Largest width whose weights and workspace fit."""
    for width in rng.integers(5, 230, 4).tolist():
        room = _bytes(width) + int(rng.integers(1, _bytes(width + 1) - _bytes(width) - 1))
        for given in (_bytes(width), room):  # it may fit to the last byte
            mine = numbers(f"widest({given})", call(widest, given))
            slips = {
                f"{_bytes(width + 1):,} bytes do not fit: one less": width + 1,
                "one more fits, perhaps to the last byte": width - 1,
                "return the width, not its bytes": _bytes(width),
                "what is left of the room does not matter: return the width": given - _bytes(width),
            }
            look = "try one width after the other with learning_bytes"
            explain(f"widest({given})", mine, width, slips, look, 1e-12)


@exercise(3, "the time of a visit")
def visit_milliseconds(visit_milliseconds: Function, rng: np.random.Generator) -> None:
    """Milliseconds of a visit on a processor of 64 MHz."""
    for _ in range(3):
        steps, instructions = int(rng.integers(10, 40)), int(rng.integers(5, 30)) * 1000
        cycles = round(float(rng.uniform(1.1, 1.9)), 1)
        right = steps * instructions * cycles / 64_000
        slips = {
            "those are seconds: a second has 1,000 milliseconds": right / 1000,
            "that is one step: a visit has many": right / steps,
            "an instruction takes more than one cycle": right / cycles,
            "more cycles take longer: times, not divided": right / cycles**2,
            "those are microseconds": right * 1000,
            "64 MHz are 64 million cycles a second: divide by them": right * 64_000,
        }
        what = f"visit_milliseconds({steps}, {instructions}, {cycles})"
        look = "cycles of the visit, divided by the cycles of a millisecond"
        explain(what, call(visit_milliseconds, steps, instructions, cycles), right, slips, look)


_SKETCH = """static float rate = 0.02f;
const int points = 32;
static float limit = 0.02f;
const int buffer = 32;
void loop() {{ learn({0}, rate, points); }}
"""


@exercise(4, "another rate, fewer points")
def change_sketch(change_sketch: Function, rng: np.random.Generator) -> None:
    """The text of a sketch with another inner rate and another number of points."""
    text = _SKETCH.format(int(rng.integers(100)))
    rate, points = float(rng.choice([0.005, 0.01, 0.03, 0.05])), int(rng.integers(5, 31))
    mine = call(change_sketch, text, rate, points)
    if not isinstance(mine, str):
        raise Wrong(f"change_sketch must return the text, not {mine!r:.60}")
    right = text.replace("rate = 0.02f;", f"rate = {rate}f;")
    right = right.replace("points = 32;", f"points = {points};")
    if mine == right:
        return
    wanted, found = right.splitlines(), mine.splitlines()
    if len(found) != len(wanted):
        raise Wrong(f"the text had {len(wanted)} lines and now has {len(found)}: keep all others")
    line, other = next(pair for pair in zip(wanted, found, strict=True) if pair[0] != pair[1])
    looks = {
        wanted[0]: "a C float ends in f" if f"{rate};" in other else "look for rate = 0.02f;",
        wanted[1]: "look for points = 32;",
    }
    look = looks.get(line, "replace the name with its value, as other lines hold the number, too")
    raise Wrong(f"the line must be {line!r}, not {other!r}: {look}")
