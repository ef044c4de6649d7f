"""The round loop: pick clients, send phi, collect what they learned, move phi. One for all."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.clients import Client, Order, Update
from tinyreptile_lite.errors import DivergenceError, KitError, at_least_one
from tinyreptile_lite.network import Network
from tinyreptile_lite.strategies import Strategy

Array = np.ndarray
Probe = Callable[[Array], float]


@dataclass
class History:
    """What happened, round by round.

    Attributes
    ----------
    loss : list of float
        Mean loss of the round's clients while they learned.
    outer_rate : list of float
    visited : list of list of int
        Positions of the visited clients in the list of clients.
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
    clients : sequence of Client
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
        The common parameters.
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
        clients: Sequence[Client],
        rounds: int,
        rng: np.random.Generator,
        phi: Array | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        at_least_one(rounds=rounds)
        if len(clients) < strategy.client_count:
            raise KitError(
                f"{strategy.name} visits {strategy.client_count} clients a round, "
                f"but there are {len(clients)}; add clients or visit fewer"
            )
        self.net, self.strategy, self.clients, self.rounds = net, strategy, clients, rounds
        self.rng, self.data = rng, data or {}
        self._start = _digest(rng.bit_generator.state)
        self.phi = net.init(rng) if phi is None else _checked(np.array(phi, np.float32), net)
        self.round = 0
        self.history = History()

    def step(self) -> None:
        """Run one round.

        A round that fails or is interrupted leaves everything as it was, so it can be repeated.

        Raises
        ------
        DivergenceError
            If what a client learned is not finite.
        """
        count = self.strategy.client_count
        before = self.rng.bit_generator.state
        try:
            chosen = self.rng.choice(len(self.clients), count, replace=False, shuffle=False)
            seeds = self.rng.integers(2**32, size=count)
            updates = self._visit_all(
                [self.clients[i] for i in chosen],
                [
                    Order(self.round, self.strategy.learner, self.strategy.sample_count, int(seed))
                    for seed in seeds
                ],
            )
        except BaseException:
            self.rng.bit_generator.state = before
            raise
        rate = self.strategy.outer.rate(self.round, self.rounds)
        self.phi = self.strategy.combine(self.phi, [update.params for update in updates], rate)
        self.round += 1
        self.history.loss.append(float(np.mean([update.loss for update in updates])))
        self.history.outer_rate.append(rate)
        self.history.visited.append([int(i) for i in chosen])

    def _visit_all(self, clients: Sequence[Client], orders: Sequence[Order]) -> list[Update]:
        """Visit one after another; where clients are far away, all at once would be quicker."""
        return [self._visit(client, order) for client, order in zip(clients, orders, strict=True)]

    def _visit(self, client: Client, order: Order) -> Update:
        with np.errstate(over="ignore", invalid="ignore"):  # answered below, with a remedy
            update = client.visit(self.phi, order)
        return self._finite(client, update)

    def _finite(self, client: Client, update: Update) -> Update:
        if not (np.isfinite(update.params).all() and np.isfinite(update.loss)):
            raise DivergenceError(
                f"round {self.round + 1} diverged on client {client.name}: the weights are no "
                f"longer finite; lower the inner rate ({self.strategy.learner.rate})"
            )
        return update

    def run(
        self,
        progress: bool = False,
        probe: Probe | None = None,
        probe_every: int = 0,
        checkpoint: Path | None = None,
        checkpoint_every: int = 0,
    ) -> Array:
        """Run all rounds that are left.

        Parameters
        ----------
        progress : bool
            Show a progress bar.
        probe : callable, optional
            Called with phi before the first round, then after every ``probe_every`` rounds and at
            the end; its value goes into the history.
        checkpoint : Path, optional
            File to save to, after every ``checkpoint_every`` rounds and at the end.

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
                if probe and self._due(probe_every):
                    self._probe(probe)
                if checkpoint and self._due(checkpoint_every):
                    self.save(checkpoint)
        return self.phi

    def _due(self, every: int) -> bool:
        return self.round == self.rounds or (every > 0 and self.round % every == 0)

    def _probe(self, probe: Probe) -> None:
        self.history.probe_round.append(self.round)
        self.history.probe_value.append(float(probe(self.phi)))

    # Checkpoints

    def _identity(self) -> dict[str, Any]:
        return {
            "network": self.net.config(),
            "strategy": self.strategy.config(),
            "rounds": self.rounds,
            "data": self.data,
            "clients": {
                "count": len(self.clients),
                "names": _digest([client.name for client in self.clients]),
            },
            "seed": self._start,
        }

    def save(self, path: Path) -> None:
        """Write a checkpoint (.npz) in one piece: after a crash the old or the new one is there."""
        write_npz(path, phi=self.phi, state=np.array(_json(self._state())))

    def _state(self) -> dict[str, Any]:
        """What a checkpoint holds besides phi."""
        return {
            "identity": self._identity(),
            "round": self.round,
            "rng": self.rng.bit_generator.state,
            "history": vars(self.history),
        }

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of this very run.

        Raises
        ------
        KitError
            If the file is missing, damaged, or of another run: another network, strategy, number
            of rounds, list of clients or seed.
        """
        phi, state = read_checkpoint(path)
        for part, value in self._identity().items():
            found = state["identity"].get(part)
            if found != value:
                raise KitError(
                    f"the checkpoint {path} has another {part}: {_short(found)}, "
                    f"not {_short(value)}; start again with another file name"
                )
        phi, history = _checked(phi, self.net), History(**state["history"])
        self.rng.bit_generator.state = state["rng"]
        self.phi, self.round, self.history = phi, state["round"], history


def _checked(phi: Array, net: Network) -> Array:
    """Return phi, or refuse what no network like this can start from."""
    if phi.shape != (net.size,):
        raise KitError(f"phi has shape {phi.shape}; this network needs {(net.size,)}")
    if not np.isfinite(phi).all():
        raise KitError("phi holds NaN or infinite values; start from other parameters")
    return phi


def _digest(value: object) -> str:
    """Short fingerprint of plain values, to compare and to show."""
    return hashlib.sha256(_json(value).encode()).hexdigest()[:12]


def _json(value: object) -> str:
    return json.dumps(value, default=np.ndarray.tolist)  # some generators keep arrays


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 200 else text[:197] + "..."


def write_npz(path: Path, **arrays: Array) -> None:
    """Write arrays to ``path`` so that a crash never leaves half a file.

    Raises
    ------
    KitError
        If the folder is missing or cannot be written to.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")  # a leftover of a crash is simply written over
    try:
        with part.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise KitError(
            f"cannot write {path}: {error.strerror}; choose a folder you can write to"
        ) from error


def read_checkpoint(path: Path) -> tuple[Array, dict[str, Any]]:
    """Read phi and the state that `Federation.save` wrote.

    Returns
    -------
    phi : ndarray of float32, shape (P,)
    state : dict

    Raises
    ------
    KitError
        If the file is missing, truncated or no checkpoint.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            phi, state = file["phi"], json.loads(str(file["state"]))
        complete = state.keys() >= {"identity", "round", "rng", "history"}
    except FileNotFoundError as error:
        raise KitError(f"there is no checkpoint {path}; check the name, or train first") from error
    except Exception as error:  # zipfile and NumPy answer damage with many kinds of error
        raise _damaged(path) from error
    if not complete or phi.dtype != np.float32 or phi.ndim != 1:
        raise _damaged(path)
    return phi, state


def _damaged(path: Path) -> KitError:
    return KitError(
        f"{path} is damaged or no checkpoint; move it away and train again, or name another file"
    )
