"""Clients: where a device's learning runs. These run in this process, in NumPy or in C."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from tinyreptile_lite.core.native import native
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.learners import Learner
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Device, Samples, Task

Array = np.ndarray


@dataclass(frozen=True)
class Order:
    """What the server asks of a client in one visit.

    Attributes
    ----------
    round : int
    learner : Learner
    sample_count : int
    seed : int
        Seeds all randomness of the visit. The same order always gives the same answer.
    """

    round: int
    learner: Learner
    sample_count: int
    seed: int


class Update(NamedTuple):
    """What a client sends back: its parameters, shape (P,), and its mean loss while learning."""

    params: Array
    loss: float


class Client(Protocol):
    """Anything that can learn from phi: simulated, in C, or on a board."""

    @property
    def name(self) -> str:
        """Name of the client, unique in its federation."""

    def visit(self, phi: Array, order: Order) -> Update:
        """Learn from phi as ordered; phi itself stays as it is."""


@dataclass(frozen=True)
class SimulatedClient:
    """A device whose learning is simulated in NumPy."""

    net: Network
    device: Device

    @property
    def name(self) -> str:
        """Name of the device."""
        return self.device.name

    def visit(self, phi: Array, order: Order) -> Update:
        """Draw this visit's samples from the device and let the learner learn."""
        rng = np.random.default_rng(order.seed)
        samples = self.device.stream(order.sample_count, rng)
        learned = order.learner.learn(self.net, phi, samples, rng)
        return Update(learned.params, float(learned.loss))


@dataclass(frozen=True)
class NativeClient:
    """A simulated client whose learning runs in the C core."""

    client: Client

    @property
    def name(self) -> str:
        """Name of the device."""
        return self.client.name

    def visit(self, phi: Array, order: Order) -> Update:
        """Learn as ordered, in C; raises `KitError` if the core has no such learner."""
        return self.client.visit(phi, replace(order, learner=native(order.learner)))


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


def simulate(net: Network, devices: Sequence[Device], pooled: bool = False) -> list[Client]:
    """Make a simulated client of each device, or one of them all if they are pooled."""
    return [
        SimulatedClient(net, device) for device in ([PooledDevice(devices)] if pooled else devices)
    ]
