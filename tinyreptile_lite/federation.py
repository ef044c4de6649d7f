"""The round loop: draw clients, send phi, take what they learned, move phi. One for all.

Who carries phi to the clients is not its business: a `Visitor` does, in this process, to boards or
over Flower, and says who did each order and what came back.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinyreptile_lite.clients import Client, InTurn, Order, Visitor
from tinyreptile_lite.errors import DivergenceError, KitError, at_least_one
from tinyreptile_lite.learners import Learned
from tinyreptile_lite.network import Network
from tinyreptile_lite.strategies import Strategy

Array = np.ndarray
Probe = Callable[[Array], float]
FAR = 100  # times as far as the usual visit goes: no honest one does


@dataclass
class History:
    """What happened, round by round.

    Attributes
    ----------
    loss : list of float
        Mean loss of the round's clients while they learned.
    outer_rate : list of float
    visited : list of list of int
        Positions of the clients that did the round, in the list of clients.
    probe_round, probe_value : list
        Values of the probe, and after how many rounds each was taken.
    """

    loss: list[float] = field(default_factory=list)
    outer_rate: list[float] = field(default_factory=list)
    visited: list[list[int]] = field(default_factory=list)
    probe_round: list[int] = field(default_factory=list)
    probe_value: list[float] = field(default_factory=list)


class Federation:
    """A server, its clients and the state between two rounds.

    Parameters
    ----------
    net : Network
    strategy : Strategy
    clients : sequence of Client, or Visitor
        Clients in this process, or what visits them where they are.
    rounds : int
        Length of the whole run; the outer rate is scheduled over it.
    rng : numpy.random.Generator
        Draws the initial parameters, then picks clients and seeds their visits.
    phi : ndarray, shape (P,), optional
        Initial parameters instead of random ones.
    data : dict, optional
        Where the clients' data come from, in plain JSON types; kept in checkpoints.

    Attributes
    ----------
    phi : ndarray of float32, shape (P,)
        The common parameters; they cannot be written into.
    round : int
        Rounds done.
    history : History

    Raises
    ------
    KitError
        If there are no rounds, or fewer clients than a round visits.
    """

    def __init__(
        self,
        net: Network,
        strategy: Strategy,
        clients: Sequence[Client] | Visitor,
        rounds: int,
        rng: np.random.Generator,
        phi: Array | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        at_least_one(rounds=rounds)
        self.visitor = clients if isinstance(clients, Visitor) else InTurn(clients)
        if len(self.visitor.names) < strategy.client_count:
            raise KitError(
                f"{strategy.name} visits {strategy.client_count} clients a round, "
                f"but there are {len(self.visitor.names)}; add clients or visit fewer"
            )
        self.net, self.strategy, self.rounds = net, strategy, rounds
        self.rng, self.data = rng, data or {}
        self.seed = rng.bit_generator.state  # by which a run is known
        start = net.init(rng) if phi is None else np.array(phi, np.float32)
        self.phi = self._to_send(start)
        self.round = 0
        self.history = History()
        # How far the last visits went; the first one may go as far as the start's own length.
        self._distances = deque([max(1.0, float(np.linalg.norm(self.phi)))], maxlen=100)

    def step(self) -> None:
        """Run one round.

        A round that fails or is interrupted leaves everything as it was, so it can be repeated.

        Raises
        ------
        DivergenceError
            If what a client learned is not finite, or absurdly far from phi.
        KitError
            If a client returns anything but parameters of this network.
        """
        before = self.rng.bit_generator.state
        rate = self.strategy.outer.rate(self.round, self.rounds)
        try:
            drawn, orders = self._draw()
            with np.errstate(over="ignore", invalid="ignore"):  # `check` answers with a remedy
                phi = self.phi.view()  # which nobody can make writeable again
                visits = self.visitor.visit_all(phi, drawn, orders, self.check)
                learned = [visit.learned for visit in visits]
                phi = self.strategy.combine(self.phi, [one.params for one in learned], rate)
            phi = self._to_send(phi)
        except BaseException:
            self.rng.bit_generator.state = before
            raise
        self._distances += [self._distance(one.params) for one in learned]
        self.phi = phi
        self.round += 1
        self.history.loss.append(float(np.mean([float(one.loss) for one in learned])))
        self.history.outer_rate.append(rate)
        self.history.visited.append([visit.client for visit in visits])

    def _to_send(self, phi: Array) -> Array:
        """What the clients of the next round get: phi, checked, for some strategies headless."""
        phi = sound(phi, self.net)
        return sound(without_head(self.net, phi), self.net) if self.strategy.fresh_head else phi

    def _draw(self) -> tuple[list[int], list[Order]]:
        """Draw this round's clients, and write an order for each."""
        count, strategy = self.strategy.client_count, self.strategy
        drawn = self.rng.choice(len(self.visitor.names), count, replace=False, shuffle=False)
        seeds = self.rng.integers(2**32, size=count)
        return drawn.tolist(), [
            Order(self.round, strategy.learner, strategy.sample_count, int(seed)) for seed in seeds
        ]

    def check(self, name: str, learned: Learned) -> None:
        """Refuse an answer that would spoil phi; visitors call it for every one.

        Parameters
        ----------
        name : str
            Of the client.
        learned : Learned

        Raises
        ------
        DivergenceError
            If it is not finite, or more than `FAR` times as far from phi as the usual visit of
            this run and farther than phi is long, or its loss is negative.
        KitError
            If it has another shape or type.
        """
        where = f"round {self.round + 1}, client {name}"
        if not isinstance(learned, Learned) or np.shape(learned.loss) != () or learned.loss is None:
            raise KitError(f"{where}: no result with one loss; return Learned(params, loss)")
        params, loss = learned
        if not isinstance(params, np.ndarray) or params.dtype != np.float32:
            raise KitError(f"{where}: the parameters are no float32 array; return Learned.params")
        if params.shape != self.phi.shape:
            raise KitError(f"{where}: parameters of shape {params.shape}, not {self.phi.shape}")
        if not (np.isfinite(params).all() and np.isfinite(loss)):
            raise DivergenceError(
                f"round {self.round + 1} diverged on client {name}: the weights are no "
                f"longer finite; lower the inner rate ({self.strategy.learner.rate})"
            )
        if loss < 0:
            raise DivergenceError(f"{where}: a loss of {float(loss):g}, below 0; leave it out")
        distance, usual = self._distance(params), float(np.median(self._distances))
        # Where most have nothing left to learn, one that has may still go as far as phi is long.
        if distance > max(FAR * usual, 1.0, float(np.linalg.norm(self.phi))):
            raise DivergenceError(
                f"{where}: the weights went {distance:.3g} from phi, visits usually {usual:.3g}; "
                f"lower the inner rate ({self.strategy.learner.rate}) or leave this client out"
            )

    def _distance(self, params: Array) -> float:
        """How far from phi, in float64, in which no float32 overflows."""
        return float(np.linalg.norm(params.astype(np.float64) - self.phi))

    def run(
        self,
        progress: bool = False,
        probe: Probe | None = None,
        probe_every: int = 0,
        after_round: Callable[["Federation"], None] | None = None,
    ) -> Array:
        """Run all rounds that are left.

        Parameters
        ----------
        progress : bool
            Show a progress bar.
        probe : callable, optional
            Called with phi before the first round, then after every ``probe_every`` rounds and at
            the end; its value goes into the history.
        after_round : callable, optional
            Called with this federation after every round, for example `checkpoint.Keeper`.

        Returns
        -------
        ndarray of float32, shape (P,)
            The final phi.
        """
        from tqdm.auto import tqdm  # imported late: in Jupyter it loads the widgets

        bar = tqdm(
            total=self.rounds, initial=self.round, desc=self.strategy.name, disable=not progress
        )
        with bar:
            if probe and self.round == 0:
                self._probe(probe)
            while self.round < self.rounds:
                self.step()
                bar.update()
                if probe and self.due(probe_every):
                    self._probe(probe)
                if after_round:
                    after_round(self)
        return self.phi

    def due(self, every: int) -> bool:
        """Whether something is due now that is to happen every so many rounds and at the end."""
        return self.round == self.rounds or (every > 0 and self.round % every == 0)

    def go_on(self, phi: Array, done: int, history: History) -> None:
        """Take up the run after so many rounds; see `checkpoint.take_up`, which checks them."""
        self.phi, self.round, self.history = sound(phi, self.net), done, history

    def _probe(self, probe: Probe) -> None:
        self.history.probe_round.append(self.round)
        self.history.probe_value.append(float(probe(self.phi)))


def without_head(net: Network, phi: Array) -> Array:
    """Return a copy of phi whose head is zero: every label is as likely as any other."""
    phi = phi.copy()
    phi[net.head] = 0
    return phi


def sound(phi: Array, net: Network) -> Array:
    """Return phi as what nobody can write into, or refuse what no network can start from."""
    if phi.shape != (net.size,):
        raise KitError(f"phi has shape {phi.shape}; this network needs {(net.size,)}")
    if not np.isfinite(phi).all():
        raise KitError("phi holds NaN or infinite values; start from other parameters")
    phi.flags.writeable = False
    return phi
