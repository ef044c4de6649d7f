"""What TinyReptile and Reptile cost the devices, both as the same search has tuned them.

Where the two are equally accurate, or TinyReptile is better, the costs can be compared; the
difference of the scores stands beside them. New devices adapt in the same way from both starting
points: in several passes over samples they keep, each at its own best inner rate. That is Reptile's
own way rather than TinyReptile's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from tinyreptile_lite.bench.claim import claim_costs
from tinyreptile_lite.core.native import native, native_score
from tinyreptile_lite.experiment import Trial
from tinyreptile_lite.recipes import BY_HAND, Recipe, searched
from tinyreptile_lite.results import measured
from tinyreptile_lite.settings import plan_of, spoken
from tinyreptile_lite.tasks import find_family

Summary = dict[str, float]  # see `experiment.summary`

FAMILIES = "sine", "wrist-commands", "omniglot", "keywords"
RIVALS = "tinyreptile", "reptile"
# How many times less a sample takes as the sensor gives it: int16, or a byte a point or a feature.
PACKED = {"wrist-commands": 2, "omniglot": 4, "keywords": 4}


@dataclass(frozen=True)
class Run:
    """All trials of one strategy."""

    family: str
    name: str

    @property
    def recipe(self) -> Recipe:
        """The recipe found by the search, with the one adaptation that is compared."""
        return self._shown(searched(self.family)[self.name])

    def _shown(self, recipe: Recipe) -> Recipe:
        kind = _kind(self.family)
        (way,) = (way for way in recipe.adaptations if spoken(way) == kind)
        second = recipe.second and self._shown(recipe.second)
        return replace(recipe, adaptation=way, more=(), second=second)

    def trials(self, seeds: Sequence[int], draws: int) -> list[Trial]:
        """List the training runs, seed by seed."""
        folds = find_family(self.family).folds
        recipe = self.recipe.with_learners(partial(native, strict=False))
        return [
            Trial(self.family, recipe.at(fold, folds), seed, fold, draws, scorer=native_score)
            for seed in seeds
            for fold in range(folds)
        ]


def _kind(family: str) -> str:
    return f"{plan_of(family).passes[0]} passes"


def runs() -> list[Run]:
    """List what is to be trained: where recipes come from the search, their figure has it."""
    return [Run(family, name) for family in FAMILIES if family in BY_HAND for name in RIVALS]


def stored() -> dict[Run, Summary]:
    """Return the scores, after all samples, that the figures of the other families have."""
    return {
        Run(family, row["strategy"]): [*row["adapted_samples"].values()][-1]
        for family in FAMILIES
        if family not in BY_HAND
        for row in measured(family)["rows"]
        if row["strategy"] in RIVALS and row["adaptation"] == _kind(family)
    }


def rows(
    family: str, scores: dict[Run, Summary], compiler: str | None = None
) -> list[dict[str, Any]]:
    """Sum up a family: a row for each strategy, one for each ratio, and the scores' difference.

    Parameters
    ----------
    family : str
    scores : dict
        For each run, the `summary` of its scores after all samples.
    compiler : {"gcc", "zig"}, optional
        As in `nano.build`.

    Returns
    -------
    list of dict
        Costs are those of `claim_costs`.
    """
    folds = find_family(family).folds
    found = {name: Run(family, name) for name in RIVALS}
    costs = {
        name: claim_costs(family, run.recipe.at(0, folds), compiler) for name, run in found.items()
    }
    lines = [
        {
            "family": family,
            "strategy": name,
            "learner": repr(run.recipe.strategy and run.recipe.strategy.learner),
            "adaptation": _kind(family),
            "score": scores[run],
            **costs[name],
        }
        for name, run in found.items()
    ]
    both = [scores[run] for run in found.values()]
    return [*lines, *_ratios(family, costs), _difference(family, *both)]


def _ratios(family: str, costs: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """How many times more Reptile costs than TinyReptile."""
    tiny, reptile = (costs[name] for name in RIVALS)
    less = reptile["sample_bytes"] - reptile["sample_bytes"] // PACKED.get(family, 1)
    packed = reptile | {"ram_bytes": reptile["ram_bytes"] - less}
    ratios = {
        "ram_ratio": (reptile, "ram_bytes"),
        "ram_ratio_with_packed_samples": (packed, "ram_bytes"),
        "visit_instructions_ratio": (reptile, "visit_instructions"),
        "instructions_ratio": (reptile, "instructions"),
        "bytes_ratio": (reptile, "bytes_up"),
    }
    return [
        {"name": f"{family}.{name}", "value": cost[key] / tiny[key]}
        for name, (cost, key) in ratios.items()
    ]


def _difference(family: str, tiny: Summary, reptile: Summary) -> dict[str, Any]:
    """Half width of the interval as if the two had nothing in common: rather too wide."""
    name = f"{family}.{find_family(family).metric}_difference"
    interval = float(np.hypot(tiny["ci95"], reptile["ci95"]))
    return {"name": name, "value": tiny["mean"] - reptile["mean"], "ci95": interval}
