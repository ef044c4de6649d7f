"""Learners: what a device does with its own samples.

Each is a small frozen object with one method, ``learn(net, params, samples, rng)``. It never
changes the parameters it is given. With a leading task axis, (T, P) parameters and (T, N, ...)
samples, T devices learn side by side.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from tinyreptile_lite.errors import KitError, at_least_one
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Samples

Array = np.ndarray


class Learned(NamedTuple):
    """What a client sends back: the result of learning.

    Attributes
    ----------
    params : ndarray of float32, shape (P,) or (T, P)
    loss : ndarray, shape () or (T,), or float
        Mean loss of the samples: with online learning each just before its own step, else all of
        them before the first step.
    """

    params: Array
    loss: Array | float


class Learner(Protocol):
    """What a device does with its samples.

    Attributes
    ----------
    memoryless : bool
        True if learning from samples 1 to 8 and then from 9 to 16 is the same as from 1 to 16.
    """

    memoryless: ClassVar[bool]

    @property
    def weight_buffers(self) -> float:
        """Arrays of the size of the parameters that the device needs besides the parameters."""

    @property
    def rate(self) -> float:
        """Inner learning rate."""

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Return the parameters after learning from the samples."""

    def steps(self, sample_count: int) -> int:
        """Sample passes (forward and backward) that learning from this many samples takes."""

    def kept_samples(self, sample_count: int) -> int:
        """How many samples the device must hold in memory at once."""


def check_rate(rate: float) -> None:
    """Raise `KitError` unless an inner learning rate can be used."""
    if not (np.isfinite(rate) and rate > 0):
        raise KitError(f"the inner rate is {rate}; give a number above 0, for example 0.02")


def _take(samples: Samples, rows: slice | Array, tasks: bool) -> Samples:
    """Choose samples by position, along the second axis if there is a task axis."""
    if tasks:
        return Samples(samples.x[:, rows], samples.y[:, rows])
    return Samples(samples.x[rows], samples.y[rows])


@dataclass(frozen=True)
class OnlineSGD:
    """One sample, one plain step, the sample is forgotten: TinyReptile's learner.

    ``w <- w - rate * gradient(w, one sample)``, for each sample in the order it arrives.

    Parameters
    ----------
    rate : float
        Inner learning rate.
    """

    rate: float
    memoryless: ClassVar[bool] = True
    weight_buffers: ClassVar[int] = 0  # on the device the gradient is added row by row

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Make one step for each sample; ``rng`` is not used. Raises as `Network.loss` does."""
        samples = Samples(*net.check_samples(params, *samples))
        params = params.copy()
        step = np.empty_like(params)
        bound = net.bind(params, step)
        tasks = params.ndim == 2
        outputs = []
        for i in range(samples.y.shape[params.ndim - 1]):
            x, y = _take(samples, slice(i, i + 1), tasks)
            outputs.append(net.backward(bound, x, y, scale=self.rate))
            params -= step
        loss = net.loss_function.value(np.concatenate(outputs, axis=params.ndim - 1), samples.y)
        return Learned(params, loss)

    def steps(self, sample_count: int) -> int:
        """One for each sample."""
        return sample_count

    def kept_samples(self, sample_count: int) -> int:
        """Only the one that just arrived."""
        return 1


@dataclass(frozen=True)
class MinibatchSGD:
    """Keep all samples, pass over them several times in shuffled minibatches: Reptile's learner.

    Parameters
    ----------
    rate : float
        Inner learning rate.
    epochs : int
        Passes over the samples.
    batch : int
        Samples a step; the last batch of an epoch may be smaller.
    """

    rate: float
    epochs: int = 1
    batch: int = 10
    memoryless: ClassVar[bool] = False
    weight_buffers: ClassVar[int] = 1  # the gradient, summed over the batch

    def __post_init__(self) -> None:
        check_rate(self.rate)
        at_least_one(epochs=self.epochs, batch=self.batch)

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Make ``epochs * ceil(N / batch)`` steps; ``rng`` shuffles each epoch."""
        samples = Samples(*net.check_samples(params, *samples))
        loss = net.loss(params, *samples)
        params = params.copy()
        step = np.empty_like(params)
        bound = net.bind(params, step)
        for x, y in self._batches(samples, params.ndim == 2, rng):
            net.backward(bound, x, y, scale=self.rate)
            params -= step
        return Learned(params, loss)

    def _batches(
        self, samples: Samples, tasks: bool, rng: np.random.Generator
    ) -> Iterator[Samples]:
        count = samples.y.shape[int(tasks)]
        for _ in range(self.epochs):
            order = rng.permutation(count)
            for start in range(0, count, self.batch):
                yield _take(samples, order[start : start + self.batch], tasks)

    def steps(self, sample_count: int) -> int:
        """Each sample once in each epoch."""
        return self.epochs * sample_count

    def kept_samples(self, sample_count: int) -> int:
        """All of them, for the next epoch."""
        return sample_count


@dataclass(frozen=True)
class Adam(MinibatchSGD):
    """Minibatches as in `MinibatchSGD`, with Adam steps: Reptile's original inner optimiser.

    Kingma and Ba 2015 (arXiv 1412.6980), with ``beta1 = 0`` as Reptile uses it, so that there is
    no momentum and no first-moment buffer. The state starts at zero at every visit.

    Parameters
    ----------
    rate, epochs, batch
        As in `MinibatchSGD`.
    beta2 : float, default 0.999
        Decay of the average of squared gradients.
    epsilon : float, default 1e-8
    """

    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_buffers: ClassVar[int] = 2  # the gradient and the average of its square

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.beta2 < 1:
            raise KitError(f"beta2 is {self.beta2}; give a number from 0 to below 1")
        if not self.epsilon > 0:
            raise KitError(f"epsilon is {self.epsilon}; give a number above 0, for example 1e-8")

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Make ``epochs * ceil(N / batch)`` Adam steps; ``rng`` shuffles each epoch."""
        samples = Samples(*net.check_samples(params, *samples))
        loss = net.loss(params, *samples)
        params = params.copy()
        gradient, square = np.empty_like(params), np.zeros_like(params)
        bound = net.bind(params, gradient)
        for t, (x, y) in enumerate(self._batches(samples, params.ndim == 2, rng), start=1):
            net.backward(bound, x, y)
            square += (1 - self.beta2) * (gradient * gradient - square)
            unbiased = square / (1 - self.beta2**t)
            params -= self.rate * gradient / (np.sqrt(unbiased) + self.epsilon)
        return Learned(params, loss)
