"""Settings of a run, as both halves of the Flower app read them from its run configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from tinyreptile_lite.errors import KitError, at_least_one, not_negative, unknown_name
from tinyreptile_lite.experiment import Population, population
from tinyreptile_lite.recipes import Recipe, find_recipe
from tinyreptile_lite.strategies import Strategy
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.tasks.base import Device, Family

# What does the work: NumPy, the C core, or the C core behind the boards' wire format.
CLIENTS = ("numpy", "native", "board")
_NEEDS = {str: "text in quotes", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Settings:
    """What to train, and how it is done on Flower. In the run configuration "_" is written "-"."""

    family: str = "sine"
    strategy: str = "tinyreptile"  # one of the family's recipes
    rounds: int = 0  # 0: the recipe's own number
    seed: int = 0  # this and fold as in `tinyreptile train`
    fold: int = 0
    devices: int = 0  # how many training devices take part, from the first on; 0: all
    client: str = "numpy"  # one of CLIENTS, on a node that says nothing else
    attached: bool = False  # visit the boards attached to the nodes, not devices of the family
    nodes: int = 1  # to wait for before the first round
    visit_seconds: float = 60.0  # to wait for a node, before the visit is repeated on another
    wait_seconds: float = 600.0  # to wait for a node that can do a visit, before giving up
    out: str = "phi.npz"  # phi and the run's state, on the machine of the ServerApp
    resume: bool = False  # go on from `out` if it is there

    def __post_init__(self) -> None:
        at_least_one(nodes=self.nodes)
        not_negative(rounds=self.rounds, seed=self.seed, fold=self.fold, devices=self.devices)
        for name in ("visit_seconds", "wait_seconds"):
            if not getattr(self, name) > 0:
                raise KitError(f"{name} is {getattr(self, name)}; give a number above 0")
        check_client(self.client)

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "Settings":
        """Read them from Flower's run configuration; `KitError` says which value will not do."""
        values = {}
        for field in fields(cls):
            name = field.name.replace("_", "-")
            if name in config:
                values[field.name] = _typed(name, config[name], type(field.default))
        return cls(**values)

    def recipe(self) -> tuple[Family, Recipe, Strategy]:
        """Return the task family, the recipe and its strategy."""
        family = find_family(self.family)
        recipe = find_recipe(self.family, self.strategy).with_rounds(self.rounds or None)
        if recipe.strategy is None:
            raise KitError(f"{recipe.name} trains nothing; choose another strategy")
        return family, recipe, recipe.strategy

    def train_devices(self) -> tuple[dict[str, Any], Sequence[Device]]:
        """Return the family's devices that take part, and in plain types which they are."""
        people = _population(self.family, self.fold)
        if self.devices > len(people.train):
            raise KitError(
                f"devices is {self.devices}; {self.family} has {len(people.train)} to train on"
            )
        if not self.devices:
            return people.source, people.train
        return people.source | {"devices": self.devices}, people.train[: self.devices]


@cache  # a process of the simulation engine makes many visits
def _population(family: str, fold: int) -> Population:
    return population(find_family(family), fold, draws=0)


def check_client(kind: object) -> None:
    """Raise `KitError` unless there are clients of this kind."""
    if kind not in CLIENTS:
        raise unknown_name("client", kind, CLIENTS)


def _typed(name: str, value: Any, kind: type) -> Any:
    """Return a value of this type; a whole number will do for a number."""
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise KitError(f"{name} is {value!r}; give {_NEEDS[kind]}")
    return value
