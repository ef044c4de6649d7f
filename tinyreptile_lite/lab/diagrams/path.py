"""Inner and outer arrows: the way of phi through a few real rounds, seen in two dimensions."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from tinyreptile_lite.clients import Check, Client, InTurn, Order, SimulatedClient, Visited
from tinyreptile_lite.errors import KitError, at_least_one
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.lab.diagrams.canvas import arrow
from tinyreptile_lite.lab.plots import BLACK, BLUE, VERMILION
from tinyreptile_lite.network import Network

Array = np.ndarray


class Walk(NamedTuple):
    """The way of phi through some rounds.

    Attributes
    ----------
    phi : ndarray, shape (rounds + 1, P)
        Before the first of these rounds, and after each.
    visits : list of list of ndarray, shape (steps + 1, P)
        For each round, for each of its visits: the weights from phi, step by step, to phi_hat.
    """

    phi: Array
    visits: list[list[Array]]


def record(federation: Federation, rounds: int) -> Walk:
    """Run so many rounds more of a federation and note where the weights have been.

    What the federation learns is the same, bit for bit. Of clients that do not learn in NumPy in
    this process only phi and phi_hat are known.

    Raises
    ------
    KitError
        If fewer rounds are left.
    """
    at_least_one(rounds=rounds)
    left = federation.rounds - federation.round
    if rounds > left:
        raise KitError(f"{rounds} rounds to record, but {left} are left; make a longer federation")
    phi, visits, usual = [federation.phi], [], federation.visitor
    recorder = _Recorder(usual)
    federation.visitor = recorder
    try:
        for _ in range(rounds):
            federation.step()
            phi.append(federation.phi)
            visits.append(recorder.visits)
    finally:
        federation.visitor = usual
    return Walk(np.array(phi), visits)


class _Recorder:
    """A visitor that sends another one, and keeps every step of the visits of a round."""

    def __init__(self, visitor: Any) -> None:
        self.names = visitor.names
        self.visits: list[Array] = []
        self._steps: list[list[Array]] = []
        if isinstance(visitor, InTurn):
            visitor = InTurn([self._watched(client) for client in visitor.clients])
        self._visitor = visitor

    def _watched(self, client: Client) -> Client:
        if not isinstance(client, SimulatedClient):
            return client
        net: Any = _WatchedNetwork(client.net, self._steps)
        return replace(client, net=net)

    def visit_all(
        self, phi: Array, drawn: Sequence[int], orders: Sequence[Order], check: Check
    ) -> list[Visited]:
        """Have the other visitor do it, and note the way of each visit."""
        self._steps.clear()
        visits = self._visitor.visit_all(phi, drawn, orders, check)
        ends = [visit.learned.params for visit in visits]
        steps = self._steps if len(self._steps) == len(ends) else [[phi]] * len(ends)
        self.visits = [np.array([*way, end]) for way, end in zip(steps, ends, strict=True)]
        return visits


class _WatchedNetwork:
    """A network that notes the parameters whenever a learner asks it for a gradient."""

    def __init__(self, net: Network, visits: list[list[Array]]) -> None:
        self._net, self._visits = net, visits
        self._params: Array

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)

    def bind(self, params: Array, gradient: Array) -> Any:
        """Begin the notes of a visit."""
        self._params = params
        self._visits.append([])
        return self._net.bind(params, gradient)

    def backward(self, *given: Any, **options: Any) -> Any:
        """Note where the step begins."""
        self._visits[-1].append(self._params.copy())
        return self._net.backward(*given, **options)


def arrows(walk: Walk, ax: Axes | None = None, names: Sequence[str] = ()) -> Axes:
    """Thin: the inner steps of each visit, from phi to phi_hat. Thick: the outer steps of phi.

    Two weights are drawn as they are. More are seen in the two directions in which phi and phi_hat
    of these rounds differ most (principal components); the axes say how much of it they show.

    Raises `KitError` if the walk has no rounds, or not two names for two weights.

    Parameters
    ----------
    walk : Walk
        What `record` returns.
    names : sequence of str, optional
        Of the two weights, if there are just two.
    """
    if len(walk.phi) < 2 or len(walk.visits) != len(walk.phi) - 1:
        raise KitError(
            f"{len(walk.phi)} phi and {len(walk.visits)} rounds of visits; "
            "give phi before the first round and after each, as `record` does"
        )
    if ax is None:
        ax = plt.subplots(figsize=(8, 4.5), layout="constrained")[1]
    plane = _plane(walk, names)
    _draw_visits(ax, [[plane.flat(way) for way in visits] for visits in walk.visits])
    phi = plane.flat(walk.phi)
    for start, end in pairwise(phi):
        arrow(ax, start, end, VERMILION, 2.5)
    ends: dict[str, Any] = {"color": BLACK, "markeredgecolor": "white", "zorder": 5}  # over arrows
    ax.plot(*phi[0], "o", markersize=11, label="phi at the start", **ends)
    ax.plot(*phi[-1], "*", markersize=17, label=f"phi after {len(phi) - 1} rounds", **ends)
    ax.plot([], [], color=VERMILION, linewidth=4, label="thick: outer step, phi moves")
    ax.set(xlabel=plane.labels[0], ylabel=plane.labels[1])
    ax.margins(0.06)
    ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return ax


def _draw_visits(ax: Axes, rounds: list[list[Array]]) -> None:
    ways = [way for visits in rounds for way in visits]
    for i, way in enumerate(ways):
        names = ("thin: inner steps of a visit", "phi_hat, where a visit ends") if not i else ()
        line, end = names or (None, None)
        ax.plot(
            *way.T, "-", marker=".", markersize=2, color=BLUE, linewidth=0.6, alpha=0.7, label=line
        )
        look: dict[str, Any] = {
            "color": BLUE,
            "markerfacecolor": "white",
            "linestyle": "none",
            "zorder": 3,
        }
        ax.plot(*way[-1], marker="s", markersize=6, label=end, **look)


class _Plane(NamedTuple):
    """Two directions in the space of the weights, seen from a middle."""

    middle: Array
    directions: Array  # shape (P, 2)
    labels: list[str]

    def flat(self, points: Array) -> Array:
        """Points (N, P) in these two directions, (N, 2)."""
        return (points - self.middle) @ self.directions


def _plane(walk: Walk, names: Sequence[str]) -> _Plane:
    size = walk.phi.shape[1]
    if size == 2:
        names = names or ("weight 1", "weight 2")
        if len(names) != 2:
            raise KitError(f"{len(names)} names for two weights: {', '.join(names)}; give two")
        return _Plane(np.zeros(2), np.eye(2), list(names))
    ends = [way[-1] for visits in walk.visits for way in visits]
    points = np.concatenate([walk.phi, ends]).astype(np.float64)
    middle = points.mean(axis=0)
    _, lengths, directions = np.linalg.svd(points - middle, full_matrices=False)
    share = lengths**2 / max((lengths**2).sum(), np.finfo(float).tiny)
    labels = [
        f"principal component {i + 1}\n({share[i]:.0%} of the variance of {size:,} weights)"
        for i in range(2)
    ]
    return _Plane(middle, directions[:2].T, labels)
