"""Recipes: the settings of each strategy for each task family.

All numbers are our own choices. Within a family every recipe lets the devices show the same
number of samples, except where its name says otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tinyreptile_lite.errors import at_least_one, unknown_name
from tinyreptile_lite.learners import Learner, MinibatchSGD, OnlineSGD
from tinyreptile_lite.strategies import (
    Strategy,
    fed_avg,
    fed_sgd,
    joint,
    reptile,
    tiny_reptile,
)


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
    """

    name: str
    strategy: Strategy | None
    rounds: int
    adaptation: Learner

    def with_rounds(self, rounds: int | None) -> "Recipe":
        """Return the same recipe with another number of rounds, if one is given."""
        if rounds is None:
            return self
        at_least_one(rounds=rounds)
        return self if self.strategy is None else replace(self, rounds=rounds)

    def with_learners(self, change: Callable[[Learner], Learner]) -> "Recipe":
        """Return the same recipe with every learner changed, for example to run in the C core."""
        strategy = self.strategy and replace(self.strategy, learner=change(self.strategy.learner))
        return replace(self, strategy=strategy, adaptation=change(self.adaptation))


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


def _wrist(online_rate: float = 0.05, adaptation_rate: float = 0.03) -> list[Recipe]:
    online = OnlineSGD(adaptation_rate)
    return [
        Recipe("tinyreptile", tiny_reptile(online_rate, 21), 2000, online),
        _adapts_as_trained(reptile(0.05, 21, epochs=4, batch=7), 2000),
        _adapts_as_trained(reptile(0.05, 21, epochs=4, batch=7, client_count=5), 400),
        _adapts_as_trained(reptile(0.002, 21, epochs=4, batch=7, adam=True), 2000),
        Recipe("fedavg", fed_avg(online_rate, 21, client_count=5), 400, online),
        Recipe("fedsgd", fed_sgd(0.1, 21, client_count=5), 400, online),
        Recipe("joint", joint(0.1, 21, batch=7), 2000, online),
        # Without a start, one pass teaches nothing: this device keeps its windows and repeats them.
        Recipe("scratch", None, 0, MinibatchSGD(0.1, epochs=60, batch=7)),
    ]


def _wrist_commands() -> list[Recipe]:
    # A new wearer's commands say nothing beforehand, so a device has more to learn in its visit.
    return _wrist(online_rate=0.1, adaptation_rate=0.1)


def _wrist_commands_any() -> list[Recipe]:
    return _wrist(online_rate=0.05, adaptation_rate=0.1)  # see the figure mountings-search


def _adapts_as_trained(strategy: Strategy, rounds: int) -> Recipe:
    """A starting point learned for one way of adapting is a poor one for another."""
    return Recipe(strategy.name, strategy, rounds, strategy.learner)


_RECIPES = {
    "sine": _sine,
    "wrist": _wrist,
    "wrist-commands": _wrist_commands,
    "wrist-any": _wrist,
    "wrist-commands-any": _wrist_commands_any,
}


def recipes(family: str) -> dict[str, Recipe]:
    """All recipes of a task family, by name of the strategy."""
    if family not in _RECIPES:
        raise unknown_name("task family", family, _RECIPES)
    return {recipe.name: recipe for recipe in _RECIPES[family]()}


def find_recipe(family: str, name: str) -> Recipe:
    """One recipe; raises `KitError` that lists the known strategies."""
    known = recipes(family)
    if name not in known:
        raise unknown_name("strategy", name, known)
    return known[name]
