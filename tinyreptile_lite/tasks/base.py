"""What every task family offers: devices that stream samples, and tasks to test on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.network import Network

Array = np.ndarray


class Samples(NamedTuple):
    """Inputs and targets, sample axis first (after a task axis T, where there is one)."""

    x: Array  # float32, shape (N, *input_shape) or (T, N, *input_shape)
    y: Array  # (N, outputs) of float32, or (N,) of integers for labels


@dataclass(frozen=True)
class Task:
    """What a new device learns from (support) and is tested on (query); the two never overlap."""

    name: str
    support: Samples
    query: Samples


class Device(Protocol):
    """Somebody's device, with data that nobody else sees."""

    @property
    def name(self) -> str:
        """Name of the device, unique in its family."""

    def stream(self, count: int, rng: np.random.Generator) -> Samples:
        """Draw the next ``count`` samples of this device's own stream."""

    def task(self, rng: np.random.Generator) -> Task:
        """Draw a support and a query set, to test how well this device adapts."""


@dataclass(frozen=True)
class PooledDevice:
    """All devices' data in one place, as joint training needs it."""

    devices: Sequence[Device]
    name: str = "pool"

    def __post_init__(self) -> None:
        if not self.devices:
            raise KitError("the pool has 0 devices; give at least one")

    def stream(self, count: int, rng: np.random.Generator) -> Samples:
        """Draw each sample from a device chosen at random."""
        chosen = rng.integers(len(self.devices), size=count)
        parts = [self.devices[i].stream(1, rng) for i in chosen]
        return Samples(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def task(self, rng: np.random.Generator) -> Task:
        """Draw the task of one device chosen at random."""
        return self.devices[int(rng.integers(len(self.devices)))].task(rng)


class Family(Protocol):
    """Many devices whose tasks differ but have something in common."""

    name: str
    metric: str  # how the query set is scored, "mse" or "accuracy"
    folds: int  # ways in which `split` divides the devices; each is a test device in one of them
    counts: tuple[int, ...]  # numbers of support samples after which a new device is tested

    def network(self) -> Network:
        """Build the network that suits the family."""

    def split(
        self, fold: int, rng: np.random.Generator
    ) -> tuple[Sequence[Device], Sequence[Device]]:
        """Divide into devices to train on and devices never seen in training."""


def stack(tasks: Sequence[Task]) -> tuple[Samples, Samples]:
    """Join tasks along a leading task axis: support and query with shapes (T, N, ...).

    Raises `KitError` if a task has other shapes than the first one.
    """
    parts = [(*task.support, *task.query) for task in tasks]
    first, *others = ([part.shape for part in each] for each in parts)
    for task, shapes in zip(tasks[1:], others, strict=True):
        if shapes != first:
            raise KitError(
                f"task {task.name} has samples of shapes {shapes}, but {tasks[0].name} has "
                f"{first}; give tasks of one size"
            )
    x, y, query_x, query_y = map(np.stack, zip(*parts, strict=True))
    return Samples(x, y), Samples(query_x, query_y)
