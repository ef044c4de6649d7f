"""What does it cost that a sensor on a wrist may be mounted anyhow? Trained three ways, worn four.

The settings of the ways that know no mounting were chosen by `Candidate`, on wearers that the run
neither trained on nor tested.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinyreptile_lite.clients import simulate
from tinyreptile_lite.core.native import native
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.evaluation import evaluate
from tinyreptile_lite.experiment import POPULATION_SEED, score_row
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.learners import Learner, MinibatchSGD, OnlineSGD
from tinyreptile_lite.recipes import Recipe, find_recipe
from tinyreptile_lite.strategies import tiny_reptile
from tinyreptile_lite.tasks.base import Task
from tinyreptile_lite.tasks.frames import axis_maps, random_rotation
from tinyreptile_lite.tasks.wrist import PEOPLE, Wrist, WristDevice

Array = np.ndarray
Rows = list[dict[str, Any]]
Mount = Callable[[np.random.Generator], tuple[Array, int]]

DRAWS = 10  # mountings of each test device, each with its own order of the windows
FAMILIES = {"wrist": False, "wrist-commands": True}  # whether labels are permuted
WAYS = "as worn", "any rotation", "own frame"

_MAPS = axis_maps()
WORN: dict[str, Mount] = {
    "as in the recordings": lambda rng: (np.eye(3), 1),
    "in any rotation": lambda rng: (random_rotation(rng), 1),
    "by one of the 24 axis maps": lambda rng: (_MAPS[rng.integers(24)], 1),
    "by one of 48 maps, rotation of either sign": lambda rng: (
        _MAPS[rng.integers(48)],
        1 - 2 * int(rng.integers(2)),
    ),
}


def trained(family: str, way: str) -> Wrist:
    """Build the family whose devices train in one of the `WAYS`."""
    commands, anyhow, own_frame = FAMILIES[family], way == "any rotation", way == "own frame"
    if way == "as worn":
        return Wrist(commands)
    return Wrist(commands, rotation=0, anyhow=anyhow, own_frame=own_frame)


def recipe(family: str, way: str) -> Recipe:
    """Return the recipe of a way to train."""
    if (family, way) == ("wrist", "any rotation"):  # the best of mountings-search; no family has it
        return Recipe("tinyreptile", tiny_reptile(0.03, 21), 4000, OnlineSGD(0.05))
    offered = {"wrist": "own frame", "wrist-commands": "any rotation"}[family]
    return find_recipe(f"{family}-any" if way == offered else family, "tinyreptile")


def others(family: Wrist, people: set[int]) -> list[WristDevice]:
    """All wrists but those of these people."""
    return [device for device in family.devices() if device.person not in people]


def learn(family: Wrist, chosen: Recipe, people: set[int], rng: np.random.Generator) -> Array:
    """Train on all wrists but those of these people; returns phi."""
    if chosen.strategy is None:
        raise KitError(f"{chosen.name} trains nothing; choose another strategy")
    devices = others(family, people)
    strategy = replace(chosen.strategy, learner=native(chosen.strategy.learner, strict=False))
    net = family.network()
    return Federation(net, strategy, simulate(net, devices), chosen.rounds, rng).run()


def tasks(family: Wrist, person: int, mount: Mount, rng: np.random.Generator) -> list[Task]:
    """Tasks of both wrists of a person, `DRAWS` each, each in a mounting of its own."""
    return [_task(device, mount, rng) for device in _of(family, person) for _ in range(DRAWS)]


def _task(device: WristDevice, mount: Mount, rng: np.random.Generator) -> Task:
    return device.worn(*mount(rng)).task(rng)


def _of(family: Wrist, person: int) -> list[WristDevice]:
    return [device for device in family.devices() if device.person == person]


def _scores(family: Wrist, phi: Array, some: list[Task], learner: Learner) -> Array:
    """Accuracy of each device (devices, counts), mean over its draws."""
    rng = np.random.default_rng(0)  # for learners that shuffle
    runs = native(learner, strict=False)
    found = evaluate(family.network(), phi, some, runs, family.counts, rng)
    return found.reshape(-1, DRAWS, len(family.counts)).mean(axis=1)


# The figure


@dataclass(frozen=True)
class Trial:
    """One training run: both wrists of one person left out, then worn in every way."""

    family: str
    way: str
    recipe: Recipe
    seed: int
    fold: int

    def phi(self, rounds: int | None = None) -> Array:
        """Train, or make the first rounds only."""
        rng = np.random.default_rng([self.seed, self.fold])
        chosen = self.recipe.with_rounds(rounds)
        return learn(trained(self.family, self.way), chosen, {self.fold + 1}, rng)

    def run(self) -> Array:
        """Accuracy, shape (len(WORN), devices, counts)."""
        family, phi = trained(self.family, self.way), self.phi()
        results = []
        for i, mount in enumerate(WORN.values()):
            rng = np.random.default_rng([POPULATION_SEED, self.fold, i])  # the same for every way
            some = tasks(family, self.fold + 1, mount, rng)
            results.append(_scores(family, phi, some, self.recipe.adaptation))
        return np.array(results)


def trials(family: str, seeds: tuple[int, ...]) -> list[Trial]:
    """List all training runs of a family."""
    return [
        Trial(family, way, recipe(family, way).at(fold, PEOPLE).alone(), seed, fold)
        for way in WAYS
        for seed in seeds
        for fold in range(PEOPLE)
    ]


def rows(family: str, results: list[Array], seeds: int) -> Rows:
    """One row for each way to train and to wear."""
    counts = Wrist.counts
    scores = np.array(results).reshape(len(WAYS), seeds, -1, len(WORN), 2, len(counts))
    return [
        {"family": family, "trained": way, "worn": worn}
        | score_row(
            "tinyreptile", scores[i, :, :, j].reshape(seeds, -1, len(counts)), counts, "accuracy"
        )
        for i, way in enumerate(WAYS)
        for j, worn in enumerate(WORN)
    ]


# The search for settings


# Inner rate and visits in training; own commands have a search of their own, see `search`.
GRID = {
    ("wrist", "any rotation"): ((0.05, 2000), (0.05, 4000), (0.03, 4000)),
    ("wrist", "own frame"): ((0.05, 2000), (0.05, 4000), (0.03, 4000)),
}
LEARNERS: dict[str, Learner] = {
    **{f"online, {rate}": OnlineSGD(rate) for rate in (0.02, 0.03, 0.05, 0.1)},
    "10 passes over windows that are kept, 0.1": MinibatchSGD(0.1, epochs=10, batch=7),
}
SEARCHED = 1, 4, 7, 9  # folds


@dataclass(frozen=True)
class Candidate:
    """Settings to choose from, scored on a person that a fold neither trains on nor tests."""

    family: str
    way: str
    rate: float
    rounds: int
    fold: int

    def phi(self, rounds: int | None = None) -> Array:
        """Train without the person to test and the next one, or make the first rounds only."""
        strategy = tiny_reptile(self.rate, 21)
        chosen = Recipe("tinyreptile", strategy, rounds or self.rounds, OnlineSGD(self.rate))
        rng = np.random.default_rng(self.fold)
        return learn(trained(self.family, self.way), chosen, self.left_out, rng)

    @property
    def left_out(self) -> set[int]:
        """The person whom this fold tests, and the one to score on."""
        return {self.fold + 1, self.validation}

    @property
    def validation(self) -> int:
        """The person to score on."""
        return (self.fold + 1) % PEOPLE + 1

    def run(self) -> Array:
        """Accuracy in any rotation, shape (learners, counts)."""
        family, phi = trained(self.family, self.way), self.phi()
        rng = np.random.default_rng([POPULATION_SEED, self.fold])
        some = tasks(family, self.validation, WORN["in any rotation"], rng)
        return np.array([_scores(family, phi, some, one).mean(axis=0) for one in LEARNERS.values()])


def candidates() -> list[Candidate]:
    """List all training runs of the search."""
    return [
        Candidate(family, way, rate, rounds, fold)
        for (family, way), settings in GRID.items()
        for rate, rounds in settings
        for fold in SEARCHED
    ]


def search_rows(results: list[Array]) -> Rows:
    """One row for each setting: mean accuracy on validation people after 0, 7, 14, 21 windows."""
    settings = [(*key, *one) for key, some in GRID.items() for one in some]
    scores = np.array(results).reshape(len(settings), -1, len(LEARNERS), len(Wrist.counts))
    return [
        {"family": family, "trained": way, "rate": rate, "visits": visits, "adaptation": learner}
        | {"accuracy": np.round(mean, 4).tolist()}
        for (family, way, rate, visits), row in zip(settings, scores.mean(axis=1), strict=True)
        for learner, mean in zip(LEARNERS, row, strict=True)
    ]
