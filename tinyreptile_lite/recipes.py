"""Recipes: the settings of each strategy for each task family.

Most come from a search: ``tinyreptile tune FAMILY`` tries each strategy with the same budget, on
devices that are neither trained nor tested on, and writes what was best into the folder ``tuned``
(`search`). A family that has no search has settings of our own choice, written here. Within a
family no recipe lets the devices show more samples than another one may.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tinyreptile_lite.errors import at_least_one, unknown_name
from tinyreptile_lite.few_shot import ClassMeans
from tinyreptile_lite.learners import Learner, MinibatchSGD, OnlineSGD
from tinyreptile_lite.partial import PartialSGD
from tinyreptile_lite.settings import (
    BATCHES,
    Plan,
    Setting,
    adaptations,
    alone,
    plan_of,
    start_strategy,
    strategy,
    tuned,
)
from tinyreptile_lite.strategies import (
    Strategy,
    fed_avg,
    fed_sgd,
    joint,
    reptile,
    tiny_reptile,
)
from tinyreptile_lite.tasks import FAMILIES


@dataclass(frozen=True)
class Start:
    """What phi is trained on before: by this strategy, on the devices of another family.

    Of its phi only the body is taken over; the head begins at zero.
    """

    family: str
    strategy: Strategy
    rounds: int


@dataclass(frozen=True)
class Recipe:
    """How to train, and how a new device adapts.

    Attributes
    ----------
    strategy : Strategy or None
        None trains nothing: the new device starts from random parameters.
    rounds : int
    adaptation : Learner
        What a new device does with its support samples.
    more : tuple of Learner
        Other things that it could do with them from the same phi, for comparison.
    start : Start, optional
        What comes before; else phi starts at random.
    second : Recipe, optional
        The recipe for the second half of the folds, if it is another one: its settings were chosen
        on the people who are tested in the first half, and the other way round.
    """

    name: str
    strategy: Strategy | None
    rounds: int
    adaptation: Learner
    more: tuple[Learner, ...] = ()
    start: Start | None = None
    second: "Recipe | None" = None

    @property
    def adaptations(self) -> tuple[Learner, ...]:
        """All that a new device could do, the usual first."""
        return self.adaptation, *self.more

    def at(self, fold: int, folds: int) -> "Recipe":
        """Return the recipe for one of so many folds."""
        if self.second is not None and 2 * fold >= folds:
            return self.second
        return replace(self, second=None)

    def with_rounds(self, rounds: int | None) -> "Recipe":
        """Return the same recipe with another number of rounds, if one is given.

        What comes before takes no more rounds than that either.
        """
        if rounds is None:
            return self
        at_least_one(rounds=rounds)
        start = self.start and replace(self.start, rounds=min(rounds, self.start.rounds))
        second = self.second and self.second.with_rounds(rounds)
        rounds = 0 if self.strategy is None else rounds
        return replace(self, rounds=rounds, start=start, second=second)

    def with_learners(self, change: Callable[[Learner], Learner]) -> "Recipe":
        """Return the same recipe with every learner changed, for example to run in the C core."""

        def changed(strategy: Strategy) -> Strategy:
            return replace(strategy, learner=change(strategy.learner))

        return replace(
            self,
            strategy=self.strategy and changed(self.strategy),
            adaptation=change(self.adaptation),
            more=tuple(map(change, self.more)),
            start=self.start and replace(self.start, strategy=changed(self.start.strategy)),
            second=self.second and self.second.with_learners(change),
        )

    def alone(self) -> "Recipe":
        """Return the same recipe with its usual adaptation only."""
        return replace(self, more=(), second=self.second and self.second.alone())


# From a search


def made(plan: Plan, name: str, setting: Setting, ways: Sequence[Learner]) -> Recipe:
    """Make the recipe of a strategy from numbers of a search.

    Parameters
    ----------
    plan : Plan
    name : str
        Of the strategy, or ``"scratch"``.
    setting : Setting
    ways : sequence of Learner
        What a new device may do, the usual first; not for ``"scratch"``, which has its own way.
    """
    if name == "scratch":
        return Recipe(name, None, 0, alone(setting))
    chosen = strategy(plan, name, setting)
    rounds = setting.visits // chosen.client_count
    start = Start(plan.start, start_strategy(plan, name, setting), rounds) if plan.start else None
    if start and chosen.pooled:  # devices' own labels have nothing in common
        return Recipe(name, None, 0, ways[0], tuple(ways[1:]), replace(start, rounds=2 * rounds))
    return Recipe(name, chosen, rounds, ways[0], tuple(ways[1:]), start)


def searched(family: str) -> dict[str, Recipe]:
    """Recipes that the search of a family has found, by name of the strategy.

    Raises
    ------
    KitError
        If there is no such search.
    """
    plan = plan_of(family)
    halves = [
        {
            name: made(plan, name, setting, _ways(plan, name, setting, one["rates"]))
            for name, one in half.items()
            for setting in [Setting(**one["setting"])]
        }
        for half in tuned(family)["halves"]
    ]
    first, *second = halves
    return {
        name: replace(recipe, second=second[0][name] if second else None)
        for name, recipe in first.items()
    }


def _ways(plan: Plan, name: str, setting: Setting, rates: dict[str, float]) -> list[Learner]:
    """What a new device may do, by kind of adaptation and its inner rate.

    A starting point learned for keeping samples is used so first; prototypes are class means.
    """
    kinds = adaptations(plan)
    ways: list[Learner] = [kinds[kind](rate) for kind, rate in rates.items() if kind in kinds]
    if name == "prototype":
        ways.sort(key=lambda way: not isinstance(way, ClassMeans))
    elif name in BATCHES:
        ways.insert(0, strategy(plan, name, setting).learner)
    return ways


# By hand


def _sine() -> list[Recipe]:
    online = OnlineSGD(0.02)
    return [
        _adapts_as_trained(tiny_reptile(0.019, 32), 5000),  # near 0.03 long runs go astray
        _adapts_as_trained(reptile(0.03, 32, epochs=2, batch=2), 5000),
        _adapts_as_trained(reptile(0.03, 32, epochs=2, batch=2, client_count=5), 1000),
        _adapts_as_trained(reptile(0.003, 32, epochs=8, batch=8, adam=True), 5000),
        _adapts_as_trained(fed_avg(0.02, 32, client_count=10), 500),
        Recipe("fedsgd", fed_sgd(0.02, 32, client_count=10), 500, online),
        Recipe("joint", joint(0.02, 32, batch=32), 5000, online),
        Recipe("scratch", None, 0, online),
    ]


def _wrist() -> list[Recipe]:
    online = OnlineSGD(0.03)
    return [
        Recipe("tinyreptile", tiny_reptile(0.05, 21), 2000, online),
        _adapts_as_trained(reptile(0.05, 21, epochs=4, batch=7), 2000),
        _adapts_as_trained(reptile(0.05, 21, epochs=4, batch=7, client_count=5), 400),
        _adapts_as_trained(reptile(0.002, 21, epochs=4, batch=7, adam=True), 2000),
        Recipe("fedavg", fed_avg(0.05, 21, client_count=5), 400, online),
        Recipe("fedsgd", fed_sgd(0.1, 21, client_count=5), 400, online),
        Recipe("joint", joint(0.1, 21, batch=7), 2000, online),
        # Without a start, one pass teaches nothing: this device keeps its windows and repeats them.
        Recipe("scratch", None, 0, MinibatchSGD(0.1, epochs=60, batch=7)),
    ]


def _adapts_as_trained(strategy: Strategy, rounds: int) -> Recipe:
    """A starting point learned for one way of adapting is a poor one for another."""
    return Recipe(strategy.name, strategy, rounds, strategy.learner)


# Less to send

FRUGAL = {  # the top P percent and how much of the samples rebuilds the head, in parts of them
    "tinymetafed": (25, 3),
    "tinymetafed-partial": (None, 3),
    "tinymetafed-top": (25, None),
}


def frugal(recipe: Recipe, name: str) -> Recipe:
    """Return TinyReptile's recipe with less to send: TinyMetaFed, or a part of its ideas.

    Nothing is searched for it: rates, visits and adaptation stay as they are. A third of the
    samples rebuilds the head, or all layers step as before; the top 25 percent of the changes is
    sent in 8 bits, or all weights are as before. See `partial.PartialSGD`.
    """
    percent, part = FRUGAL[name]
    strategy = recipe.strategy
    if strategy is not None:
        head_samples = strategy.sample_count // part if part else 0
        rate = strategy.learner.rate
        learner = PartialSGD(rate, head_samples, rate)
        if percent is not None:
            learner = replace(learner, bits=8, percent=percent)
        strategy = replace(strategy, name=name, learner=learner)
    second = recipe.second and frugal(recipe.second, name)
    return replace(recipe, name=name, strategy=strategy, second=second)


BY_HAND = {
    "sine": _sine,
    "wrist": _wrist,
    "wrist-any": _wrist,
}


def recipes(family: str) -> dict[str, Recipe]:
    """All recipes of a task family, by name of the strategy."""
    if family not in FAMILIES:
        raise unknown_name("task family", family, FAMILIES)
    if family in BY_HAND:
        return {recipe.name: recipe for recipe in BY_HAND[family]()}
    return searched(family)


def find_recipe(family: str, name: str) -> Recipe:
    """One recipe; raises `KitError` that lists the known strategies.

    Beside those of `recipes` there are TinyReptile's with less to send: see `frugal`.
    """
    known = recipes(family)
    if name in FRUGAL:
        return frugal(known["tinyreptile"], name)
    if name not in known:
        raise unknown_name("strategy", name, [*known, *FRUGAL])
    return known[name]
