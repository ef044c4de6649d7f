"""Experiments: train by a recipe, meet devices never seen, and put strategies side by side."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tinyreptile_lite.clients import simulate
from tinyreptile_lite.core.native import native, native_score
from tinyreptile_lite.costs import device_ram, round_bytes
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.evaluation import Scorer, evaluate
from tinyreptile_lite.federation import Federation, without_head
from tinyreptile_lite.learners import Learner
from tinyreptile_lite.lifetime import end_with_parent
from tinyreptile_lite.recipes import Recipe, Start, find_recipe
from tinyreptile_lite.settings import spoken
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.tasks.base import Device, Family, Task

Array = np.ndarray

# The population and its test tasks are the same for every training seed, so that seeds and
# devices are two crossed sources of chance.
POPULATION_SEED = 2023


class Population(NamedTuple):
    """Devices to train on, and the tasks of devices never seen; tasks are grouped by device.

    ``source`` says in plain JSON types which devices these are.
    """

    source: dict[str, Any]
    train: Sequence[Device]
    test: Sequence[Device]
    tasks: list[Task]


def population(family: Family, fold: int = 0, draws: int = 1) -> Population:
    """Split a family and draw ``draws`` tasks from each device held out."""
    if not 0 <= fold < family.folds:
        raise KitError(f"fold is {fold}; {family.name} has folds 0 to {family.folds - 1}")
    rng = np.random.default_rng([POPULATION_SEED, fold])
    train, test = family.split(fold, rng)
    tasks = [device.task(rng) for device in test for _ in range(draws)]
    return Population({"family": family.name, "fold": fold}, train, test, tasks)


def build(
    family: Family,
    recipe: Recipe,
    people: Population,
    rng: np.random.Generator,
    phi: Array | None = None,
) -> Federation:
    """Make the federation that trains by this recipe, which must have a strategy.

    It begins with ``phi``, or at random; see `body` for recipes with a start.
    """
    if recipe.strategy is None:
        raise KitError(f"{recipe.name} trains nothing; choose another strategy")
    net = family.network()
    clients = simulate(net, people.train, recipe.strategy.pooled)
    return Federation(net, recipe.strategy, clients, recipe.rounds, rng, phi, people.source)


def body(
    start: Start,
    fold: int,
    rng: np.random.Generator,
    validate: bool = False,
    progress: bool = False,
) -> Array:
    """Train what comes before a recipe, and return phi with a head of zeros."""
    family = find_family(start.family, validate)
    before = Recipe(start.strategy.name, start.strategy, start.rounds, start.strategy.learner)
    federation = build(family, before, population(family, fold, draws=0), rng)
    return without_head(federation.net, federation.run(progress))


@dataclass(frozen=True)
class Trial:
    """One training run of one recipe: what to train, and with which chance.

    Attributes
    ----------
    family : str
    recipe : Recipe
    seed, fold : int
    draws : int
        Tasks of each test device.
    validate : bool
        Whether to score devices to choose settings with, instead of test devices.
    most : int
        Devices scored at most; 0 means all.
    scorer : callable
        See `evaluate`.
    """

    family: str
    recipe: Recipe
    seed: int
    fold: int
    draws: int
    validate: bool = False
    most: int = 0
    scorer: Scorer | None = field(default=None, repr=False)

    def train(self, people: Population, rng: np.random.Generator, rounds: int = 0) -> Array:
        """Return phi after training, or after so many first rounds of it."""
        family, start = find_family(self.family, self.validate), self.recipe.start
        if start and rounds:
            start = replace(start, rounds=min(rounds, start.rounds))
        phi = body(start, self.fold, rng, self.validate) if start else None
        if self.recipe.strategy is None:
            return family.network().init(rng) if phi is None else phi
        federation = build(family, self.recipe, people, rng, phi)
        for _ in range(min(rounds or federation.rounds, federation.rounds)):
            federation.step()
        return federation.phi

    def run(self) -> Array:
        """Train, then score all test devices, with each adaptation of the recipe.

        Returns
        -------
        ndarray, shape (adaptations, devices, counts)
            Means over a device's draws.
        """
        people, rng = self.people(), np.random.default_rng([self.seed, self.fold])
        return self.scores(self.train(people, rng), people, rng)

    def people(self) -> Population:
        """Devices to train on and to score."""
        people = population(find_family(self.family, self.validate), self.fold, self.draws)
        if not self.most:
            return people
        tasks = people.tasks[: self.most * self.draws]
        return people._replace(test=people.test[: self.most], tasks=tasks)

    def scores(self, phi: Array, people: Population, rng: np.random.Generator) -> Array:
        """Score phi on all test devices, as `run` does."""
        family = find_family(self.family)
        shape = len(people.test), self.draws, len(family.counts)
        return np.stack(
            [
                evaluate(
                    family.network(), phi, people.tasks, learner, family.counts, rng, self.scorer
                )
                .reshape(shape)
                .mean(axis=1)
                for learner in self.recipe.adaptations
            ]
        )


@dataclass(frozen=True)
class Comparison:
    """Recipes side by side: each is trained with each seed, on each fold."""

    family: str
    recipes: tuple[Recipe, ...]
    seeds: tuple[int, ...]
    draws: int = 1
    scorer: Scorer | None = None

    def in_c(self) -> "Comparison":
        """Return the same comparison in the C core, but for learners without a twin there."""
        twins = [recipe.with_learners(partial(native, strict=False)) for recipe in self.recipes]
        return replace(self, recipes=tuple(twins), scorer=native_score)

    def trials(self) -> list[Trial]:
        """List all training runs."""
        folds = find_family(self.family).folds
        return [
            Trial(self.family, recipe.at(fold, folds), seed, fold, self.draws, scorer=self.scorer)
            for recipe in self.recipes
            for seed in self.seeds
            for fold in range(folds)
        ]

    def rows(self, results: Sequence[Array]) -> list[dict[str, Any]]:
        """Sum up what the trials gave: a row for each way to adapt of each recipe."""
        family, rows = find_family(self.family), []
        each = len(results) // len(self.recipes)
        for place, recipe in enumerate(self.recipes):
            own = results[place * each : (place + 1) * each]
            shape = len(recipe.adaptations), len(self.seeds), -1, len(family.counts)
            # Trials are (seeds, folds), each (adaptations, devices, counts).
            scores = np.stack(np.split(np.concatenate(own, axis=1), len(self.seeds), axis=1), 1)
            for learner, some in zip(recipe.adaptations, scores.reshape(shape), strict=True):
                rows.append(
                    score_row(recipe.name, some, family.counts, family.metric)
                    | {"adaptation": spoken(learner), "seeds": list(self.seeds)}
                    | costs_row(family, recipe, learner)
                )
        return rows


def compare(
    family_name: str,
    strategies: Sequence[str],
    seeds: Sequence[int],
    rounds: int | None = None,
    draws: int = 1,
    jobs: int = 1,
    progress: bool = False,
    c_core: bool = False,
) -> list[dict[str, Any]]:
    """Train with each strategy and seed, on each fold, and test on all devices never seen.

    Parameters
    ----------
    strategies : sequence of str
        Names of recipes.
    seeds : sequence of int
        Training seeds; the test devices are the same for all.
    rounds : int, optional
        Instead of the recipes' own numbers of rounds.
    draws : int
        Tasks drawn from each test device; its score is their mean.
    jobs : int
        Processes to use.
    c_core : bool
        Let the learners run in the C core, where it can be built: faster, and equal to rounding.

    Returns
    -------
    list of dict
        One row a strategy: name, scores by number of adapted samples, and costs.
    """
    recipes = [find_recipe(family_name, name).alone().with_rounds(rounds) for name in strategies]
    comparison = Comparison(family_name, tuple(recipes), tuple(seeds), draws)
    if c_core:
        comparison = comparison.in_c()
    return comparison.rows(run_all(Trial.run, comparison.trials(), jobs, progress))


Item = TypeVar("Item")
Result = TypeVar("Result")


def run_all(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    jobs: int = 1,
    progress: bool = False,
    title: str = "training runs",
) -> list[Result]:
    """Do the work on each item, in so many processes, and return the results in order."""
    from tqdm.auto import tqdm  # imported late: in Jupyter it loads the widgets

    with contextlib.ExitStack() as stack:
        run: Callable[..., Iterator[Result]] = map
        if jobs > 1 and len(items) > 1:
            # Each process has a core of its own; more threads inside it would only get in the way.
            os.environ.setdefault("OMP_NUM_THREADS", "1")
            spawn = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(jobs, mp_context=spawn, initializer=end_with_parent)
            run = stack.enter_context(pool).map
        done = run(work, items)
        return list(tqdm(done, title, len(items), disable=not progress))


def costs_row(family: Family, recipe: Recipe, adaptation: Learner | None = None) -> dict[str, int]:
    """Rounds, bytes and device RAM of a whole training run, by formula (see `costs`).

    Beside them is the RAM of a new device that adapts, in the usual way or another one.
    """
    net = family.network()
    strategy = recipe.start.strategy if recipe.start and not recipe.strategy else recipe.strategy
    learner, samples = recipe.adaptation, max(family.counts)
    if strategy is not None and not strategy.pooled:  # else a device learns only when it adapts
        learner, samples = strategy.learner, strategy.sample_count
    up, down = round_bytes(net, strategy) if strategy else (0, 0)
    rounds = recipe.rounds + (recipe.start.rounds if recipe.start else 0)
    adapting = device_ram(net, adaptation or recipe.adaptation, max(family.counts))
    return {
        "rounds": rounds,
        "bytes_up": rounds * up,
        "bytes_down": rounds * down,
        "device_ram_bytes": device_ram(net, learner, samples).total,
        "adaptation_ram_bytes": adapting.total,
    }


def score_row(name: str, scores: Array, counts: Sequence[int], metric: str) -> dict[str, Any]:
    """Sum up scores (seeds, devices, counts) as a row: a `summary` for each number of samples."""
    numbers = {str(count): summary(scores[..., i], metric) for i, count in enumerate(counts)}
    return {"strategy": name, "adapted_samples": numbers}


def summary(scores: Array, metric: str) -> dict[str, float]:
    """Mean, half width of the 95 % confidence interval, and the worst device's mean.

    Seeds and devices are crossed, so both sources of chance add up: the interval is
    ``sqrt(ci_seeds**2 + ci_devices**2)``, each part with Student's t over the means of its own
    kind. This counts some chance twice, so it is rather too wide than too narrow.

    Parameters
    ----------
    scores : ndarray, shape (seeds, devices)
    metric : {"mse", "accuracy"}
        Tells which device is the worst.

    Returns
    -------
    dict
        With keys "mean", "ci95" and "worst".
    """
    seeds, devices = scores.mean(axis=1), scores.mean(axis=0)
    return {
        "mean": float(scores.mean()),
        "ci95": float(np.hypot(half_width(seeds), half_width(devices))),
        "worst": float(devices.max() if metric == "mse" else devices.min()),
    }


# Student's t, 97.5 % point, for 1 to 10 degrees of freedom (any statistics table).
STUDENT_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)


def half_width(values: Array) -> float:
    """Half width of the 95 % confidence interval of a mean; 0 for a single value."""
    freedom = len(values) - 1
    if freedom == 0:
        return 0.0
    t = STUDENT_T[freedom - 1] if freedom <= len(STUDENT_T) else 1.96 + 2.5 / freedom
    return float(t * values.std(ddof=1) / np.sqrt(len(values)))
