"""Meet new devices: adapt to their support samples, score on their query samples."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tinyreptile_lite.errors import DeadUnitsWarning, DivergenceError, KitError
from tinyreptile_lite.layers import ReLU
from tinyreptile_lite.learners import Learner
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Samples, Task, stack

Array = np.ndarray
Scorer = Callable[[Network, Array, Samples], Array]
CHUNK = 128  # tasks side by side; more no longer fit the processor's cache


def adapt(
    net: Network,
    phi: Array,
    support: Samples,
    learner: Learner,
    counts: Sequence[int],
    rng: np.random.Generator,
) -> Iterator[Array]:
    """Yield the parameters after each number of support samples, of the shape of ``phi``.

    Parameters
    ----------
    phi : ndarray, shape (P,) or (T, P)
        Where adaptation starts.
    support : Samples
        With a task axis if ``phi`` has one.
    counts : sequence of int
        Numbers of samples, not decreasing; 0 yields ``phi`` itself.
    rng : numpy.random.Generator
        For learners that shuffle.

    Raises
    ------
    KitError
        If there are no counts, they decrease, or one is negative or larger than the support set.
    """
    axis = phi.ndim - 1
    _check_counts(counts, support.y.shape[axis])
    params, seen = phi, 0
    for count in counts:
        # A learner with memory must see all its samples together, from phi on.
        start, base = (seen, params) if learner.memoryless else (0, phi)
        if count > start:
            rows = (slice(None),) * axis + (slice(start, count),)
            params = learner.learn(net, base, Samples(support.x[rows], support.y[rows]), rng).params
        seen = count
        yield params


def _check_counts(counts: Sequence[int], size: int) -> None:
    if len(counts) == 0:
        raise KitError("there are 0 counts of samples to adapt to; give at least one, such as 0")
    if min(counts) < 0:
        raise KitError(f"cannot adapt to {min(counts)} samples; give 0 or more")
    if max(counts) > size:
        raise KitError(
            f"cannot adapt to {max(counts)} samples; the support set has {size}, so give fewer"
        )
    if list(counts) != sorted(counts):
        raise KitError(f"the counts {list(counts)} decrease; give them in growing order")


def evaluate(
    net: Network,
    phi: Array,
    tasks: Sequence[Task],
    learner: Learner,
    counts: Sequence[int],
    rng: np.random.Generator,
    scorer: Scorer | None = None,
) -> Array:
    """Score phi on tasks, before and after adapting to their support samples.

    Parameters
    ----------
    phi : ndarray, shape (P,)
    tasks : sequence of Task
        All with the same number of support and of query samples.
    learner, counts, rng
        As in `adapt`. A learner that shuffles draws anew for each count.
    scorer : callable, optional
        Does what `score` does, which is the default, in another way.

    Returns
    -------
    ndarray of float, shape (T, len(counts))
        Mean squared error on the query set, or accuracy if the network classifies.

    Raises
    ------
    KitError
        If there are no tasks, they differ in size, or their samples do not fit the network.
    DivergenceError
        If a task's parameters are no longer finite after adapting.
    """
    if not tasks:
        raise KitError("there are 0 tasks to evaluate on; give at least one")
    scores = []
    for start in range(0, len(tasks), CHUNK):
        chunk = tasks[start : start + CHUNK]
        support, query = stack(chunk)
        base = np.repeat(phi[None], len(chunk), axis=0)
        row = []
        with np.errstate(over="ignore", invalid="ignore"):  # answered below, with a remedy
            for params in adapt(net, base, support, learner, counts, rng):
                _check_finite(params, chunk, learner)
                row.append((scorer or score)(net, params, query))
        scores.append(np.stack(row, axis=1))
    warn_of_dead_units(net, params[0], query.x[0])  # what is dead in phi stays dead
    return np.concatenate(scores)


def _check_finite(params: Array, tasks: Sequence[Task], learner: Learner) -> None:
    finite = np.isfinite(params).all(axis=1)
    if not finite.all():
        raise DivergenceError(
            f"adapting to {tasks[finite.argmin()].name} diverged: the weights are no longer "
            f"finite; lower the inner rate ({learner.rate})"
        )


def score(net: Network, params: Array, query: Samples) -> Array:
    """Mean squared error, or accuracy if the network classifies; shape () or (T,)."""
    x, y = net.check_samples(params, *query)
    output = net.forward(params, x)
    if net.loss_function.name == "mse":
        return net.loss_function.value(output, y)
    return (output.argmax(axis=-1) == y).mean(axis=-1)


@dataclass(frozen=True)
class DeadUnits:
    """ReLU units of one layer that answered zero to every input."""

    layer: int
    dead: int
    units: int


def dead_units(net: Network, params: Array, x: Array) -> list[DeadUnits]:
    """Count, for each ReLU layer, the units whose output is zero for all inputs.

    A dead unit passes no gradient back, so it can never come to life again. A layer of only dead
    units makes the output constant, with no NaN to warn of it.

    Parameters
    ----------
    params : ndarray, shape (P,)
    x : ndarray, shape (N, *input_shape)
        Inputs of every kind that the network will see.
    """
    x = net.check_inputs(params, x)
    found = []
    for i, (layer, views) in enumerate(zip(net.layers, net.views(params), strict=True)):
        x = layer.forward(views, x)
        if isinstance(layer, ReLU):
            alive = (x > 0).any(axis=tuple(range(x.ndim - 1)))
            found.append(DeadUnits(i, int((~alive).sum()), alive.size))
    return found


def warn_of_dead_units(net: Network, params: Array, x: Array) -> None:
    """Warn with `DeadUnitsWarning` if most units of a ReLU layer are dead; see `dead_units`."""
    for found in dead_units(net, params, x):
        if found.dead > found.units / 2:
            warnings.warn(
                f"{found.dead} of the {found.units} ReLU units of layer {found.layer} are dead: "
                "they answer zero to every input and no longer learn; "
                "use Tanh, or lower the inner rate",
                DeadUnitsWarning,
                stacklevel=3,
            )
