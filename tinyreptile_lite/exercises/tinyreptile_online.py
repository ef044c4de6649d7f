"""Exercises of 03_tinyreptile_online: the bytes, the round, the dead, and an outer rate."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tinyreptile_lite import strategies
from tinyreptile_lite.clients import simulate
from tinyreptile_lite.core.native import native
from tinyreptile_lite.evaluation import evaluate
from tinyreptile_lite.exercises.base import (
    Wrong,
    call,
    exercise,
    explain,
    numbers,
    pair,
    unchanged,
)
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.layers import Dense, Tanh
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Samples
from tinyreptile_lite.tasks.wrist import Wrist

Function = Callable[..., object]
Array = np.ndarray


@exercise(1, "count the bytes")
def training_ram(training_ram: Function, rng: np.random.Generator) -> None:
    """Bytes that learning needs: weights, buffers as large, layers' outputs, kept samples."""
    cases = [(10, 0, 0, 0, 0), tuple(int(n) for n in rng.integers(2, 40, 5) * [50, 1, 9, 1, 12])]
    for weights, buffers, floats, kept, size in cases:
        right = 4 * (weights * (1 + buffers) + floats) + kept * size
        what = f"training_ram({weights}, {buffers}, {floats}, {kept}, {size})"
        slips = {
            "these are floats: a float32 has 4 bytes": (
                weights * (1 + buffers) + floats + kept * size
            ),
            "sample_bytes are bytes already: not times 4": (
                4 * (weights * (1 + buffers) + floats + kept * size)
            ),
            "the weights themselves take room, too": 4 * (weights * buffers + floats) + kept * size,
            "each buffer is as large as the weights: times, not plus": (
                4 * (weights + buffers + floats) + kept * size
            ),
            "the layers' floats have 4 bytes each": (
                4 * weights * (1 + buffers) + floats + kept * size
            ),
            "the kept samples are missing": 4 * (weights * (1 + buffers) + floats),
            "each kept sample takes sample_bytes": 4 * (weights * (1 + buffers) + floats) + size,
        }
        look = "4 bytes for each weight, each buffer's weight and each float; then the samples"
        explain(what, call(training_ram, weights, buffers, floats, kept, size), right, slips, look)


def _online(
    net: Network, phi: Array, samples: Samples, rate: float, stay: bool = False, order: int = 1
) -> Array:
    """Learn online; with ``stay`` all gradients are taken at phi, with order -1 from behind."""
    weights = phi
    for i in range(len(samples.x))[::order]:
        one = samples.x[i : i + 1], samples.y[i : i + 1]
        weights = weights - rate * net.loss_and_gradient(phi if stay else weights, *one)[1]
    return weights


@exercise(2, "write the whole round")
def tiny_reptile_round(tiny_reptile_round: Function, rng: np.random.Generator) -> None:
    """Online steps, one sample at a time, then the server's step."""
    net = Network([Dense(1, 4), Tanh(), Dense(4, 1)], "mse", (1,))
    for outer in (1.0, round(float(rng.uniform(0.2, 0.8)), 2)):
        inner, count = round(float(rng.uniform(0.02, 0.06)), 3), int(rng.integers(4, 9))
        x = rng.uniform(-2, 2, (count, 1)).astype(np.float32)
        samples = Samples(x, (2 * np.sin(x) + 1).astype(np.float32))
        phi = net.init(rng)
        before = phi.copy()
        hint = "one sample is x[i : i + 1], which keeps the shape (1, ...); x[i] loses it"
        mine = call(tiny_reptile_round, net, phi, samples, inner, outer, hint=hint)
        unchanged("phi", before, phi)

        phi_hat = _online(net, before, samples, inner)
        batch = before - inner * net.loss_and_gradient(before, *samples)[1]
        slips = {
            "the server has not moved phi: that is phi_hat": phi_hat,
            "every gradient must be taken at the newest weights, not at phi": (
                before + outer * (_online(net, before, samples, inner, stay=True) - before)
            ),
            "one sample, one step: this is one step on all samples": (
                before + outer * (batch - before)
            ),
            "the samples come in their order, the first one first": (
                before + outer * (_online(net, before, samples, inner, order=-1) - before)
            ),
            "towards phi_hat: phi + outer_rate * (phi_hat - phi)": (
                before - outer * (phi_hat - before)
            ),
            "the outer rate is the part of the way to phi_hat, not what is left of phi": (
                phi_hat + outer * (before - phi_hat)
            ),
        }
        what = f"phi after {count} samples, inner rate {inner}, outer rate {outer:g},"
        right = before + outer * (phi_hat - before)
        explain(what, mine, right, slips, "first phi_hat online, then one step of the server", 1e-5)


@exercise(3, "count the dead")
def count_dead(count_dead: Function, rng: np.random.Generator) -> None:
    """Units (columns) that are 0 for all samples (rows)."""
    for _ in range(3):
        samples, units = int(rng.integers(5, 9)), int(rng.integers(10, 15))
        hidden = np.maximum(rng.normal(size=(samples, units)), 0)
        dead = rng.permutation(units)[: int(rng.integers(2, 5))]
        hidden[:, dead] = 0
        hidden[0, :] = 0  # a sample for which nobody answers is no dead unit
        zero = hidden == 0
        slips = {
            "all samples (rows, axis 0) must be 0, not all units of one sample": (
                zero.all(axis=1).sum()
            ),
            "a unit that is 0 for SOME samples is alive": zero.any(axis=0).sum(),
            "that counts zeros, not units": zero.sum(),
            "those are the living ones": (~zero.all(axis=0)).sum(),
        }
        what = f"count_dead of {units} units and {samples} samples"
        mine = call(count_dead, hidden.copy())
        explain(what, mine, zero.all(axis=0).sum(), slips, "a column, all zero, is a dead unit")


VISITS, RATE = 400, 0.1
GROUPS = 3  # of people, one after the other
GAIN = 0.01  # of accuracy that a chosen outer rate must bring


@exercise(4, "choose an outer rate")
def own_outer_rate(own_outer_rate: Function, rng: np.random.Generator) -> None:
    """Outer rate at the start and at the end, for wearers with commands of their own.

    Judged by real runs of 400 visits against 1 down to 0, on people held out at random.
    """
    start, end = (
        float(numbers("own_outer_rate()", one))
        for one in pair("own_outer_rate()", call(own_outer_rate))
    )
    for rate in (start, end):
        if not 0 <= rate <= 1:  # NaN as well
            raise Wrong(f"an outer rate is a part of the way: from 0 to 1, not {rate:g}")
    if start == end == 0:
        raise Wrong("with outer rate 0 phi never moves")
    seeds = rng.integers(2**32, size=GROUPS).tolist()
    mine, usual = (
        np.mean([_own_commands(*rates, seed) for seed in seeds])
        for rates in ((start, end), (1.0, 0.0))
    )
    if mine >= usual + GAIN:
        return
    result = f"{start:g} to {end:g} gets an accuracy of {mine:.2f}, 1 to 0 gets {usual:.2f}"
    look = (
        "phi still jumps to the commands of whoever came last: smaller steps"
        if start + end > 0.6
        else "in 400 visits such small steps do not get far: larger ones, at the start at least"
    )
    raise Wrong(f"{result}; find one that is {GAIN:g} better: {look}")


def _own_commands(start: float, end: float, seed: int) -> float:
    """Train on six people at random; return the accuracy of the four others, both arms."""
    rng = np.random.default_rng(seed)
    family = Wrist(permute_labels=True)
    devices = family.devices()
    new = rng.permutation(sorted({device.person for device in devices}))[:4]
    tasks = [device.task(rng) for device in devices if device.person in new for _ in range(3)]
    net, learner = family.network(), native(OnlineSGD(RATE), strict=False)
    outer = strategies.Schedule(start, end)
    strategy = replace(strategies.tiny_reptile(RATE, 21, outer), learner=learner)
    clients = simulate(net, [device for device in devices if device.person not in new])
    phi = Federation(net, strategy, clients, VISITS, rng).run()
    return float(evaluate(net, phi, tasks, learner, [21], rng).mean())
