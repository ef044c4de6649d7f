"""Settings: what the search of a family holds fixed, and the numbers that it has found.

The numbers stand in the folder ``tuned``, one file a family, written by ``tinyreptile tune``.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.few_shot import (
    ClassMeans,
    HeadOnly,
    Imprinted,
    OnlinePasses,
    PrototypeSGD,
)
from tinyreptile_lite.learners import Learner, MinibatchSGD, OnlineSGD
from tinyreptile_lite.strategies import Schedule, Strategy

TUNED = Path(__file__).parent / "tuned"
CLIENTS = 5  # devices a round of the strategies that visit several
SCRATCH_PASSES = 60
ONLINE, BATCHES = ("tinyreptile", "fedavg"), ("reptile", "reptile-batched")
STRATEGIES = "tinyreptile", "reptile", "reptile-batched", "fedavg", "fedsgd", "joint"


@dataclass(frozen=True)
class Plan:
    """What the search of a family holds fixed, for all strategies alike.

    Attributes
    ----------
    sample_count : int
        Samples in a visit.
    visits : int
        The most visits of devices in training; where something comes before, there as well.
    rates : tuple of float
        Lowest and highest inner rate of an online step. Minibatches have up to twice the highest
        one, FedSGD, which makes one step in a visit, up to six times.
    batches : tuple of int
        Samples of a minibatch.
    passes : tuple of int
        Of a new device that keeps its samples: one kind of adaptation for each.
    labels : bool
        Whether the network classifies, so that there are class means.
    fresh_head : bool
        Whether the head is zero at the beginning of each visit.
    start : str
        The family on which the body is trained before, if any.
    draws : int
        Tasks drawn from each validation device.
    devices : int
        Validation devices at most; 0 means all.
    parts : tuple of float
        Parts of the visits that the short and the long trials of the search make.
    """

    sample_count: int
    visits: int
    rates: tuple[float, float]
    batches: tuple[int, ...]
    passes: tuple[int, ...] = (4, 20)
    labels: bool = True
    fresh_head: bool = False
    start: str = ""
    start_samples: int = 0
    prototypes: bool = False
    draws: int = 10
    devices: int = 0
    parts: tuple[float, float] = (0.125, 0.5)


class Setting(NamedTuple):
    """One point of the search."""

    rate: float  # inner rate
    outer: float  # outer rate at the start
    end: float  # and after the last round
    visits: int
    passes: int  # of learners that keep their samples
    batch: int


PLANS = {
    "sine": Plan(
        32, 5_000, (0.005, 0.05), (2, 4, 8), passes=(4,), labels=False, draws=1, devices=1_000
    ),
    "wrist": Plan(21, 2_000, (0.02, 0.2), (3, 7)),
    "wrist-commands": Plan(21, 8_000, (0.02, 0.2), (3, 7)),
    "omniglot": Plan(
        25,
        20_000,
        (0.01, 0.1),
        (5,),
        passes=(4, 8),
        fresh_head=True,
        prototypes=True,
        draws=1,
        devices=100,
    ),
    "keywords": Plan(
        12,
        6_000,
        (0.01, 0.1),
        (4,),
        fresh_head=True,
        start="keywords-fixed",
        start_samples=10,
        draws=10,
    ),
}
# Families that take over what was found for another one.
SAME = {
    "wrist-commands-any": "wrist-commands",
    "omniglot-small": "omniglot",
    "omniglot-drawers": "omniglot",
    "omniglot-small-drawers": "omniglot",
    "keywords-fixed": "keywords",
    "keywords-new-words": "keywords",
    "keywords-new-words-fixed": "keywords",
}


def plan_of(family: str) -> Plan:
    """Return the plan of a family that has a search, or takes over what another one found."""
    plan = PLANS[SAME.get(family, family)]
    if not plan.start:
        return plan
    if family.endswith("-fixed"):  # what comes before, alone
        return replace(plan, sample_count=plan.start_samples, fresh_head=False, start="")
    return replace(plan, start=f"{family}-fixed")


def strategy(plan: Plan, name: str, setting: Setting) -> Strategy:
    """Make a strategy of a name and numbers.

    Raises
    ------
    KitError
        If no search knows the name.
    """
    learners: dict[str, Learner] = {
        "online": OnlineSGD(setting.rate),
        "keeps": MinibatchSGD(setting.rate, setting.passes, setting.batch),
        "fedsgd": MinibatchSGD(setting.rate, 1, plan.sample_count),
        "joint": MinibatchSGD(setting.rate, 1, setting.batch),
    }
    kinds = dict.fromkeys(ONLINE, "online") | dict.fromkeys(BATCHES, "keeps")
    if name == "prototype":
        learner: Learner = PrototypeSGD(setting.rate)
    elif name in STRATEGIES:
        learner = learners[kinds.get(name, name)]
    else:
        raise KitError(f"no search knows the strategy {name!r}; choose one of {STRATEGIES}")
    return Strategy(
        name,
        learner,
        plan.sample_count,
        clients(name),
        Schedule(setting.outer, setting.end),
        pooled=name == "joint",
        fresh_head=plan.fresh_head and name != "joint",
    )


def clients(name: str) -> int:
    """Devices that a strategy visits in a round."""
    return CLIENTS if name in ("reptile-batched", "fedavg", "fedsgd") else 1


def start_strategy(plan: Plan, name: str, setting: Setting) -> Strategy:
    """Make the strategy that trains the body before, with the same numbers."""
    chosen = strategy(replace(plan, sample_count=plan.start_samples), name, setting)
    return replace(chosen, fresh_head=False)


# What a new device does with its samples


def adaptations(plan: Plan) -> dict[str, Callable[[float], Learner]]:
    """Kinds of adaptation by name; each makes a learner of an inner rate."""
    kinds: dict[str, Callable[[float], Learner]] = {"one pass": OnlineSGD}
    for passes in plan.passes:
        kinds[f"{passes} passes"] = _several(OnlinePasses, passes)
    if plan.labels:
        fewest = plan.passes[0]
        kinds[f"head only, {fewest} passes"] = _several(HeadOnly, fewest)
        kinds["class means"] = _means
        kinds[f"class means, then {fewest} passes"] = _several(Imprinted, fewest)
    return kinds


def _several(kind: Callable[[float, int], Learner], passes: int) -> Callable[[float], Learner]:
    return lambda rate: kind(rate, passes)


def _means(_: float) -> Learner:
    return ClassMeans()


def alone(setting: Setting) -> Learner:
    """What a device does that has nothing to start from: many passes over samples it keeps."""
    return MinibatchSGD(setting.rate, SCRATCH_PASSES, setting.batch)


def spoken(learner: Learner) -> str:
    """Name a way to adapt, as in a table."""
    if isinstance(learner, Imprinted):
        return f"class means, then {learner.passes} passes"
    if isinstance(learner, ClassMeans):
        return "class means"
    if isinstance(learner, PrototypeSGD):
        return "prototypes"
    if isinstance(learner, HeadOnly):
        return f"head only, {learner.passes} passes"
    if isinstance(learner, OnlinePasses):
        return f"{learner.passes} passes"
    if isinstance(learner, MinibatchSGD):
        return f"{learner.epochs} passes in minibatches"
    return "one pass"


# What was found


@cache
def tuned(family: str) -> dict[str, Any]:
    """Read what the search of a family has found.

    Returns
    -------
    dict
        The "command" that found it and "halves": for each half of the folds, what was chosen for
        each strategy.

    Raises
    ------
    KitError
        If there is no such search, or its file is damaged.
    """
    path = TUNED / f"{SAME.get(family, family)}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise KitError(f"cannot read {path}; make it again: tinyreptile tune {family}") from error
