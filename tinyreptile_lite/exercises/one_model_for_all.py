"""Exercises of 01_one_model_for_all: the best single answer, the fairest one, and the server."""

from collections.abc import Callable

import numpy as np

from tinyreptile_lite.exercises.base import (
    call,
    exercise,
    explain,
    numbers,
    pair,
    short,
    unchanged,
)

Function = Callable[..., object]


def _answers(rng: np.random.Generator) -> np.ndarray:
    """Numbers whose mean, median and middle of the range are far apart."""
    return np.array([0.0, 1.0, 2.0, 12.0, 30.0]) * rng.uniform(0.5, 2) + rng.integers(-9, 9)


@exercise(1, "the price of one answer")
def best_answer(best_answer: Function, rng: np.random.Generator) -> None:
    """The single number with the smallest mean squared error, and that error."""
    for answers in (np.array([7.0]), _answers(rng), rng.normal(size=9).round(1)):
        what = f"best_answer({short(answers)})"
        found = pair(what, call(best_answer, answers.copy()))
        number, error = (numbers(what, value) for value in found)
        mean, spread = answers.mean(), answers.var()
        explain(
            f"the answer of {what}",
            number,
            mean,
            {
                "the median has the smallest mean distance, not the smallest squared error": (
                    np.median(answers)
                ),
                "the middle of smallest and largest is not the mean": (
                    (answers.min() + answers.max()) / 2
                ),
                "that is the sum: divide by how many there are": answers.sum(),
            },
            "which number did the search above find?",
        )
        explain(
            f"the error of {what}",
            error,
            spread,
            {
                "that is the standard deviation: without the root": answers.std(),
                "mean, not sum, of the squared differences": spread * len(answers),
                "divide by n, not by n - 1: no population is estimated here": (
                    answers.var(ddof=1) if len(answers) > 1 else -1.0
                ),
                "that is the mean of the squares: subtract the answer first": (answers**2).mean(),
                "the error is not zero: one answer cannot fit all": 0.0 if spread > 0 else -1.0,
            },
            "the mean squared difference to that answer is the variance",
        )


@exercise(2, "the error of the flat line")
def flat_line_error(flat_line_error: Function, rng: np.random.Generator) -> None:
    """Mean squared error of the output 0, for amplitudes uniform in [low, high]."""
    low = float(rng.integers(0, 4))
    for a, b in ((1.0, 1.0), (low, low + float(rng.integers(1, 5)))):
        square = (a * a + a * b + b * b) / 3
        what = f"flat_line_error({a:g}, {b:g})"
        slips = {
            "that is E[A^2]; the sine's square has the mean 1/2": square,
            "the mean of the squares is not the square of the mean": ((a + b) / 2) ** 2 / 2,
            "the mean of a^2 and b^2 leaves out what lies between": (a * a + b * b) / 4,
            "that is E[A]: square the amplitudes first": (a + b) / 2,
        }
        explain(what, call(flat_line_error, a, b), square / 2, slips, "E[A^2] / 2, see above")


@exercise(3, "the fairest answer")
def fairest_answer(fairest_answer: Function, rng: np.random.Generator) -> None:
    """The single number whose *largest* squared error is the smallest."""
    for answers in (_answers(rng), rng.permutation(_answers(rng)), np.array([4.0, 4.0])):
        right = (answers.min() + answers.max()) / 2
        worst = ((answers - right) ** 2).max()
        what = f"fairest_answer({short(answers)})"
        mine = numbers(what, call(fairest_answer, answers.copy()))
        if mine.ndim == 0 and np.isfinite(mine) and not np.isclose(mine, right):
            price = ((answers - mine) ** 2).max()
            better = f"its worst device has error {price:.4g}, and {worst:.4g} is possible"
        else:
            better = "one number"
        slips = {
            f"the mean is best on average, but {better}": answers.mean(),
            f"the median leaves the devices at the ends alone: {better}": np.median(answers),
            f"half of the range is its width: add the smallest; {better}": (
                (answers.max() - answers.min()) / 2
            ),
        }
        look = f"only two devices count, the smallest and the largest answer; {better}"
        explain(what, mine, right, slips, look)


@exercise(4, "the server of batched Reptile")
def batched_reptile(batched_reptile: Function, rng: np.random.Generator) -> None:
    """Phi moves towards the mean of what the devices returned."""
    for clients in (1, 3, int(rng.integers(4, 12))):
        phi, returned = rng.normal(size=5), rng.normal(size=(clients, 5))
        for rate in (0.0, 1.0, round(float(rng.uniform(0.1, 0.9)), 2)):
            before, mean = phi.copy(), returned.mean(axis=0)
            mine = call(batched_reptile, phi, returned.copy(), rate)
            unchanged("phi", before, phi)
            move = rate * (mean - phi)
            what = f"phi after {clients} devices, outer rate {rate:g},"
            slips = {
                "that is FedAvg: use the outer rate": mean,
                "move by the mean of the differences, not by their sum": (
                    phi + rate * (returned - phi).sum(axis=0)
                ),
                "move towards what came back: the sign is wrong": phi - move,
                "the outer rate scales the move, not what came back": phi + rate * mean,
                "that is the move alone: add it to phi": move,
                "only the first device counts here": phi + rate * (returned[0] - phi),
                "one mean for each weight: mean over axis 0": phi + rate * (returned.mean() - phi),
            }
            explain(what, mine, phi + move, slips, "phi + rate * (mean of returned - phi)")
