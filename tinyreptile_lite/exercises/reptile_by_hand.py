"""Exercises of 02_reptile_by_hand: support and query, Adam, the outer rate, a phi that you find."""

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
from tinyreptile_lite.layers import Dense, Tanh
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Samples

Function = Callable[..., object]
Array = np.ndarray


@exercise(1, "learn on support, test on query")
def query_error(query_error: Function, rng: np.random.Generator) -> None:
    """Gradient steps on all support samples, then the loss on the query samples."""
    net = Network([Dense(1, 3), Tanh(), Dense(3, 1)], "mse", (1,))
    rate, steps = round(float(rng.uniform(0.02, 0.1)), 2), int(rng.integers(3, 7))
    phi, support, query = net.init(rng), _wave(rng, 6), _wave(rng, 9)
    before = phi.copy()
    given = support.x.copy(), support.y.copy()
    mine = call(query_error, net, phi, support, query, rate, steps)
    unchanged("phi", before, phi)
    unchanged("the support set", given[0], support.x)

    def after(samples: Samples, count: int) -> Array:
        params = before
        for _ in range(count):
            params = params - np.float32(rate) * net.loss_and_gradient(params, *samples)[1]
        return params

    adapted = after(support, steps)
    slips = {
        "scored on the support set, from which it has learned: use the query": (
            net.loss(adapted, *support)
        ),
        "the device has not learned: return the loss after the steps": net.loss(before, *query),
        "it learned from the query set, which stays unseen": net.loss(after(query, steps), *query),
        "that is one step only": net.loss(after(support, 1), *query),
        "every step must begin where the last one ended, not at phi": (
            net.loss(after(support, 1), *query)
        ),
        "one step too many": net.loss(after(support, steps + 1), *query),
        "one step is missing: range(steps) makes all": net.loss(after(support, steps - 1), *query),
    }
    what = f"the query error after {steps} steps of rate {rate}"
    right = net.loss(adapted, *query)
    explain(what, mine, right, slips, "params = params - rate * gradient, steps times", 1e-4)


def _wave(rng: np.random.Generator, count: int) -> Samples:
    x = rng.uniform(-2, 2, (count, 1)).astype(np.float32)
    return Samples(x, (3 * np.sin(2 * x + 1)).astype(np.float32))


@exercise(3, "an Adam step")
def adam_step(adam_step: Function, rng: np.random.Generator) -> None:
    """One step of Adam without momentum: new params, new average of the squared gradient."""
    for t in (int(rng.integers(2, 9)), 1):
        params, gradient = rng.normal(size=4), rng.normal(size=4) * [10, 1, 0.1, 0.01]
        old = np.zeros(4) if t == 1 else rng.uniform(0.001, 0.01, 4)
        rate, beta2, epsilon = 0.1, 0.999, 1e-8
        given = params.copy(), gradient.copy(), old.copy()
        found = pair("adam_step", call(adam_step, *given[:2], given[2], t, rate))
        unchanged("params", params, given[0])
        unchanged("square", old, given[2])
        square = beta2 * old + (1 - beta2) * gradient**2

        def moved(unbiased: Array, there: Array = params, slope: Array = gradient) -> Array:
            with np.errstate(invalid="ignore"):  # a slip may lead to a negative average
                return there - 0.1 * slope / (np.sqrt(unbiased) + 1e-8)

        unbiased = square / (1 - beta2**t)
        what = f"in step {t}, with gradient {short(gradient)},"
        explain(
            f"{what} the new square",
            found[1],
            square,
            {
                "square the gradient": beta2 * old + (1 - beta2) * gradient,
                "the two parts are beta2 and 1 - beta2": old + gradient**2,
                "the old square is the larger part": (1 - beta2) * old + beta2 * gradient**2,
                "return the average itself, not the unbiased one: it goes on from there": unbiased,
            },
            "square <- beta2 * square + (1 - beta2) * gradient**2",
        )
        explain(
            f"{what} the new params",
            found[0],
            moved(unbiased),
            {
                "divide by 1 - beta2**t first: at the start the average is far too small": (
                    moved(square)
                ),
                "beta2 to the power of t, not times t": moved(square / (1 - beta2 * t)),
                "the new square counts, not the old one": moved(old / (1 - beta2**t)),
                "take the root of the average": params - rate * gradient / (unbiased + epsilon),
                "go down the slope: minus": 2 * params - moved(unbiased),
                "divide the gradient by the root: without it this is plain SGD": (
                    params - rate * gradient
                ),
            },
            "params - rate * gradient / (sqrt(unbiased) + epsilon)",
            1e-5,
        )


@exercise(4, "a falling outer rate")
def outer_rates(outer_rates: Function, rng: np.random.Generator) -> None:
    """Outer rate of each round, in a straight line from `start`; it would be `end` after all."""
    for rounds in (int(rng.integers(5, 12)), 4, 1):
        start, end = (round(float(value), 2) for value in rng.uniform((0.6, 0), (1, 0.4)))
        step = (end - start) / rounds
        right = start + step * np.arange(rounds)
        what = f"outer_rates({rounds}, {start}, {end})"
        mine = numbers(what, call(outer_rates, rounds, start, end))
        if mine.shape == (rounds + 1,):
            raise Wrong(f"{what} must be {rounds} numbers, one for each round, not {rounds + 1}")
        last = np.linspace(start, end, rounds) if rounds > 1 else np.array([end])
        slips = {
            "end comes only after the last round: divide by the rounds, not by one less": last,
            "the first round has the rate start: count from 0": right + step,
            "the rate must fall": np.full(rounds, start),
            "it falls the other way: from start to end": (end - step * np.arange(rounds)),
            "it ends at 0 here, not at end": start - start / rounds * np.arange(rounds),
        }
        explain(what, mine, right, slips, "start + (end - start) * round / rounds, round from 0")


@exercise(2, "find a phi")
def find_phi(find_phi: Function, rng: np.random.Generator) -> None:
    """Two weights from which ONE step fits every device; a run of all of them judges it.

    The model is y = u * v * x. A device of factor a sees the sample x = 1, y = a, and makes one
    step of rate 0.5 on the squared error.
    """
    u, v = (float(numbers("find_phi()", one)) for one in pair("find_phi()", call(find_phi)))
    factors = rng.uniform(-2, 2, 50).round(2)
    gap = u * v - factors
    left = (u - gap * v) * (v - gap * u) - factors  # 2 * rate is 1
    if np.mean(left**2) < 0.001:
        return
    worst = int(np.argmax(np.abs(left)))
    device = f"after its step the device of factor {factors[worst]:g}"
    reached = f"{device} has {left[worst] + factors[worst]:.3g}"
    if abs(u) + abs(v) < 1e-6:
        look = "from (0, 0) nothing moves: the slope for u holds v, and the slope for v holds u"
    elif abs(u * v) > 0.1:
        look = "the best common model is u * v = 0, and phi may be one; there are many"
    else:
        look = (
            "u * v is as good as 0; now choose how far one step goes: the slope is as long as phi"
        )
    raise Wrong(f"({u:g}, {v:g}) is no such phi: {reached}; {look}")
