"""The claim at equal accuracy: each may take its shortest training that is as accurate."""

import pytest

from tinyreptile_lite.bench.equal_cost import FAMILIES, PARTS, RIVALS, Run, rows, runs, stored
from tinyreptile_lite.core.native import NativeMinibatchSGD, NativeOnlinePasses, NativeOnlineSGD


@pytest.fixture(scope="module")
def found():
    """Rows where Reptile is better than TinyReptile, and about as good with half of its visits."""
    means = {("tinyreptile", 1): 0.1, ("tinyreptile", 0.5): 0.2}
    means |= {("reptile", 1): 0.05, ("reptile", 0.5): 0.105}
    return rows("sine", {Run("sine", *k): {"mean": v, "ci95": 0.01} for k, v in means.items()})


def test_all_families_and_parts_are_trained():
    known = {Run(family, name, part) for family in FAMILIES for name in RIVALS for part in PARTS}
    assert {run for family in FAMILIES for run in stored(family)} | {*runs()} == known
    kinds = {"tinyreptile": NativeOnlineSGD, "reptile": NativeMinibatchSGD}
    for run in runs():
        (first, *_) = run.trials([0], 1)
        assert type(first.recipe.strategy.learner) is kinds[run.name]
        assert len(first.recipe.adaptations) == 1
        assert type(first.recipe.adaptation) is NativeOnlinePasses
        whole = Run(run.family, run.name, 1).trials([0], 1)[0].recipe
        assert first.recipe.rounds == int(whole.rounds * run.part)


def test_each_stops_where_it_is_as_good_as_the_worse_one(found):
    tiny, reptile = (row for row in found if "strategy" in row)
    assert (tiny["part"], reptile["part"]) == (1, 0.5)
    assert reptile["score_of_all_visits"]["mean"] < reptile["score"]["mean"]


def test_ratios_are_those_of_the_costs(found):
    tiny, reptile = (row for row in found if "strategy" in row)
    values = {row["name"]: row["value"] for row in found if "name" in row}
    for ratio, cost in (("ram", "ram_bytes"), ("instructions", "instructions")):
        assert values[f"sine.{ratio}_ratio"] == reptile[cost] / tiny[cost]
    assert values["sine.ram_ratio_with_packed_samples"] == values["sine.ram_ratio"]
    assert values["sine.bytes_ratio"] == reptile["bytes_up"] / tiny["bytes_up"]
    assert values["sine.mse_difference"] == pytest.approx(-0.005)
