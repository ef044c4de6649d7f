"""Strategies: what the server does with what the devices send back.

There is one rule for all of them, the outer update `interpolate`. They differ in how many devices
a round visits, in what these do there (the learner), and in the outer rate. The functions below
name the usual choices; nothing else tells TinyReptile from FedAvg.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinyreptile_lite.errors import KitError, at_least_one
from tinyreptile_lite.learners import Adam, Learner, MinibatchSGD, OnlineSGD
from tinyreptile_lite.partial import PartialSGD

Array = np.ndarray


@dataclass(frozen=True)
class Schedule:
    """An outer rate that falls in a straight line from ``start``; it would be ``end`` after all."""

    start: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        for rate in (self.start, self.end):
            if not (np.isfinite(rate) and 0 <= rate <= 1):
                raise KitError(f"the outer rate is {rate}; give a number from 0 to 1")

    def rate(self, round_index: int, rounds: int) -> float:
        """Outer rate of the round with this index, counted from 0."""
        return self.start + (self.end - self.start) * round_index / rounds


ANNEALED = Schedule(1.0, 0.0)
CONSTANT = Schedule(1.0, 1.0)


@dataclass(frozen=True)
class Strategy:
    """One way for a server and its devices to learn a common starting point.

    Parameters
    ----------
    name : str
    learner : Learner
        What a device does during a visit.
    sample_count : int
        Samples a device sees in one visit.
    client_count : int
        Devices visited in each round, all starting from the same parameters.
    outer : Schedule
        Outer rate over the rounds.
    pooled : bool
        True if the server holds everybody's samples and learns from them itself.
    fresh_head : bool
        True if the server sets the head of phi (`Network.head`) to zero before each visit: where
        every device means something else by its labels, only the body has something in common.
    """

    name: str
    learner: Learner
    sample_count: int
    client_count: int = 1
    outer: Schedule = ANNEALED
    pooled: bool = False
    fresh_head: bool = False

    def __post_init__(self) -> None:
        at_least_one(sample_count=self.sample_count, client_count=self.client_count)

    def combine(self, phi: Array, params: Sequence[Array], rate: float) -> Array:
        """Move phi towards the mean of the returned parameters.

        All devices of a round see the same number of samples, so the mean is FedAvg's weighted
        mean as well.
        """
        mean = params[0] if len(params) == 1 else np.stack(params).mean(axis=0)
        return interpolate(phi, mean, rate)

    def config(self) -> dict[str, Any]:
        """Describe the strategy in plain JSON types, to recognise it in a checkpoint."""
        kind = type(self.learner).__name__.removeprefix("Native")  # where it runs does not matter
        learner = {"kind": kind} | asdict(self.learner)  # type: ignore[call-overload]
        return asdict(self) | {"learner": learner}


def interpolate(phi: Array, phi_hat: Array, rate: float) -> Array:
    """Outer update ``phi + rate * (phi_hat - phi)`` (Reptile, Nichol et al. 2018, algorithm 1)."""
    return phi + np.float32(rate) * (phi_hat - phi)


def tiny_reptile(rate: float, sample_count: int, outer: Schedule = ANNEALED) -> Strategy:
    """TinyReptile: one device a round learns online (our reading of Ren et al. 2023)."""
    return Strategy("tinyreptile", OnlineSGD(rate), sample_count, outer=outer)


def tiny_meta_fed(
    rate: float,
    sample_count: int,
    head_samples: int,
    head_rate: float,
    percent: float = 25.0,
    bits: int = 8,
    send_head: bool = True,
    feedback: bool = False,
    outer: Schedule = ANNEALED,
) -> Strategy:
    """TinyMetaFed: one device a round rebuilds the head, steps the body, and sends a part.

    See `partial.PartialSGD`, whose reading of the idea this is. With no `head_samples` all layers
    step, and only what is sent differs from TinyReptile; with 32 bits and 100 percent only the
    steps do.
    """
    learner = PartialSGD(rate, head_samples, head_rate, bits, percent, send_head, feedback)
    return Strategy("tinymetafed", learner, sample_count, outer=outer)


def reptile(
    rate: float,
    sample_count: int,
    epochs: int,
    batch: int,
    client_count: int = 1,
    outer: Schedule = ANNEALED,
    adam: bool = False,
) -> Strategy:
    """Reptile: a device keeps its samples and makes several epochs of minibatch SGD or Adam.

    With more than one client it is the batched version (Nichol et al. 2018, algorithm 2).
    """
    name = "reptile" + ("-adam" if adam else "") + ("-batched" if client_count > 1 else "")
    learner = (Adam if adam else MinibatchSGD)(rate, epochs, batch)
    return Strategy(name, learner, sample_count, client_count, outer)


def fed_avg(rate: float, sample_count: int, client_count: int) -> Strategy:
    """FedAvg (McMahan et al. 2017): several devices learn online, the server takes the mean.

    Several local steps and an outer rate of 1: this is batched Reptile.
    """
    return Strategy("fedavg", OnlineSGD(rate), sample_count, client_count, CONSTANT)


def fed_sgd(rate: float, sample_count: int, client_count: int) -> Strategy:
    """FedSGD (McMahan et al. 2017): each device makes one step on all its samples at once.

    The mean of the stepped parameters is one step along the mean gradient.
    """
    return Strategy(
        "fedsgd", MinibatchSGD(rate, 1, sample_count), sample_count, client_count, CONSTANT
    )


def joint(rate: float, sample_count: int, batch: int) -> Strategy:
    """Joint training: the server has collected everybody's samples and runs minibatch SGD."""
    return Strategy("joint", MinibatchSGD(rate, 1, batch), sample_count, 1, CONSTANT, pooled=True)
