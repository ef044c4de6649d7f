"""What TinyReptile and Reptile cost at equal accuracy, both as the same search has tuned them.

Each is trained with all of its visits, and with half of them. What the less accurate one reaches
with all of them is the aim; each may take the shorter training if it reaches that, which means
that the difference of the means is inside the 95 % interval, or better. In this way neither is
charged for accuracy that the other one lacks. Where the figure of a family has the longer training,
it is taken from there.

New devices adapt in the same way from both starting points: in several passes over samples they
keep, each at its own best inner rate. That is Reptile's own way rather than TinyReptile's.
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
PARTS = 1.0, 0.5
# How many times less a sample takes as the sensor gives it: int16, or a byte a point or a feature.
PACKED = {"wrist-commands": 2, "omniglot": 4, "keywords": 4}


@dataclass(frozen=True)
class Run:
    """All trials of one strategy with a part of its visits."""

    family: str
    name: str
    part: float

    @property
    def recipe(self) -> Recipe:
        """The recipe found by the search, with the one adaptation that is compared."""
        whole = searched(self.family)[self.name]
        return self._shown(whole).with_rounds(max(1, int(whole.rounds * self.part)))

    def _shown(self, recipe: Recipe) -> Recipe:
        passes = plan_of(self.family).passes[0]
        (way,) = (way for way in recipe.adaptations if spoken(way) == f"{passes} passes")
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


def runs(families: Sequence[str] = FAMILIES) -> list[Run]:
    """List what is trained: families, strategies, parts of the visits."""
    return [
        Run(family, name, part)
        for family in families
        for name in RIVALS
        for part in PARTS
        if part < max(PARTS) or family in BY_HAND  # else the family's own figure has it
    ]


def stored(family: str) -> dict[Run, Summary]:
    """Return the scores of all visits that the figure of a family has."""
    if family in BY_HAND:
        return {}
    rows = {(row["strategy"], row["adaptation"]): row for row in measured(family)["rows"]}
    kind = f"{plan_of(family).passes[0]} passes"
    return {
        Run(family, name, max(PARTS)): [*rows[name, kind]["adapted_samples"].values()][-1]
        for name in RIVALS
    }


def rows(
    family: str, scores: dict[Run, Summary], compiler: str | None = None
) -> list[dict[str, Any]]:
    """Sum up a family: a row for each strategy's shortest training, then a row for each ratio.

    Parameters
    ----------
    family : str
    scores : dict
        For each run, the `summary` of its scores after all samples; of other families too.
    compiler : {"gcc", "zig"}, optional
        As in `nano.build`.

    Returns
    -------
    list of dict
        Costs are those of `claim_costs`.
    """
    own = {run: score for run, score in scores.items() if run.family == family}
    better = 1 if find_family(family).metric == "accuracy" else -1
    whole = [run for run in own if run.part == max(PARTS)]
    aim = own[min(whole, key=lambda run: better * own[run]["mean"])]
    found = {name: _shortest(own, name, aim, better) for name in RIVALS}
    folds = find_family(family).folds
    costs = {
        name: claim_costs(family, run.recipe.at(0, folds), compiler) for name, run in found.items()
    }
    lines = [
        {
            "family": family,
            "strategy": name,
            "part": run.part,
            "learner": repr(run.recipe.strategy and run.recipe.strategy.learner),
            "score": own[run],
            "score_of_all_visits": own[Run(family, name, max(PARTS))],
            **costs[name],
        }
        for name, run in found.items()
    ]
    return [*lines, *_ratios(family, costs), _difference(family, *(own[r] for r in found.values()))]


def _shortest(own: dict[Run, Summary], name: str, aim: Summary, better: int) -> Run:
    """Return the shortest training that is as accurate as the aim, within the interval."""
    good = [
        run
        for run, score in own.items()
        if run.name == name and better * (score["mean"] - aim["mean"]) >= -_interval(score, aim)
    ]
    return min(good, key=lambda run: run.part)


def _interval(one: Summary, other: Summary) -> float:
    """Half width of the 95 % interval of a difference, as if the two had nothing in common."""
    return float(np.hypot(one["ci95"], other["ci95"]))


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
    apart = tiny["mean"] - reptile["mean"]
    name = f"{family}.{find_family(family).metric}_difference"
    return {"name": name, "value": apart, "ci95": _interval(tiny, reptile)}
