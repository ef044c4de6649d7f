"""Clients: where a device's learning runs. These run in this process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.learners import Learned, Learner
from tinyreptile_lite.network import Network
from tinyreptile_lite.partial import PartialSGD
from tinyreptile_lite.tasks.base import Device, PooledDevice

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


class Client(Protocol):
    """Anything that can learn from phi: simulated, in C, or on a board."""

    @property
    def name(self) -> str:
        """Name of the client, unique in its federation."""

    def visit(self, phi: Array, order: Order) -> Learned:
        """Learn from phi as ordered; phi itself stays as it is."""


class Visited(NamedTuple):
    """Who did an order, as a position in the list of clients, and what came back."""

    client: int
    learned: Learned


Check = Callable[[str, Learned], None]


@runtime_checkable
class Visitor(Protocol):
    """What carries a round's orders to the clients: in this process, to boards, over Flower."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the clients, in their order."""

    def visit_all(
        self, phi: Array, drawn: Sequence[int], orders: Sequence[Order], check: Check
    ) -> list[Visited]:
        """Have every order done: by the client drawn for it or, if it cannot, by another one.

        Parameters
        ----------
        phi : ndarray, shape (P,)
        drawn : sequence of int
            Position of the client drawn for each order.
        orders : sequence of Order
        check : callable
            To be called with the client's name and its answer; raises `KitError` if the answer
            must not be used.
        """


class InTurn:
    """Visits clients in this process, one after the other.

    Parameters
    ----------
    clients : sequence of Client
    """

    def __init__(self, clients: Sequence[Client]) -> None:
        self.clients = clients
        self.names = [client.name for client in clients]

    def visit_all(
        self, phi: Array, drawn: Sequence[int], orders: Sequence[Order], check: Check
    ) -> list[Visited]:
        """Have every order done by the client drawn for it; raises what `check` raises."""
        visits = []
        for place, order in zip(drawn, orders, strict=True):
            learned = self._visit(place, phi, order)
            check(self.names[place], learned)
            visits.append(Visited(place, learned))
        return visits

    def _visit(self, place: int, phi: Array, order: Order) -> Learned:
        try:
            return self.clients[place].visit(phi, order)
        except ValueError as error:
            if not {"read-only", "WRITEABLE"} & {*str(error).split()}:  # what NumPy says of phi
                raise
            raise KitError(
                f"client {self.names[place]} writes into phi, which all share; "
                "let it learn on a copy: phi.copy()"
            ) from error


def as_it_is(learner: Learner) -> Learner:
    """Return the learner itself: it runs in NumPy."""
    return learner


@dataclass
class Kept:
    """What a device has not sent, between two visits; the same order again finds it as it was.

    It is the device's own and in no checkpoint: as after a reset, a new one has kept nothing.
    """

    order: Order | None = None
    before: Array | None = None
    after: Array | None = None

    def begin(self, order: Order) -> Array | None:
        """Return what was not sent before this order; a new training begins with nothing."""
        if self.order is not None and order.round < self.order.round:
            self.after = None
        if order != self.order:
            self.order, self.before = order, self.after
        return self.before


@dataclass(frozen=True)
class SimulatedClient:
    """A device whose learning runs in this process.

    Parameters
    ----------
    net : Network
    device : Device
    runs : callable
        Makes of the ordered learner the one that does the work: `tinyreptile_lite.core.native`
        for the C core; by default the learner itself, in NumPy.
    """

    net: Network
    device: Device
    runs: Callable[[Learner], Learner] = as_it_is
    kept: Kept = field(default_factory=Kept, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Name of the device."""
        return self.device.name

    def visit(self, phi: Array, order: Order) -> Learned:
        """Draw this visit's samples from the device and let the learner learn."""
        rng = np.random.default_rng(order.seed)
        samples = self.device.stream(order.sample_count, rng)
        learner = self.runs(order.learner)
        if not (isinstance(learner, PartialSGD) and learner.feedback):
            return learner.learn(self.net, phi, samples, rng)
        kept = self.kept.begin(order)
        learned, self.kept.after = learner.learn_and_keep(self.net, phi, samples, rng, kept)
        return learned


def simulate(net: Network, devices: Sequence[Device], pooled: bool = False) -> list[Client]:
    """Make a simulated client of each device, or one of them all if they are pooled."""
    return [
        SimulatedClient(net, device) for device in ([PooledDevice(devices)] if pooled else devices)
    ]
