"""The claim: what Reptile costs the devices, as a multiple of what TinyReptile costs them."""

import pytest

from tinyreptile_lite.bench.equal_cost import FAMILIES, RIVALS, Run, rows, runs, stored
from tinyreptile_lite.core.native import NativeMinibatchSGD, NativeOnlinePasses, NativeOnlineSGD

SCORES = {"tinyreptile": {"mean": 0.1, "ci95": 0.03}, "reptile": {"mean": 0.15, "ci95": 0.04}}


@pytest.fixture(scope="module")
def found():
    return rows("sine", {Run("sine", name): score for name, score in SCORES.items()})


def test_each_family_is_trained_or_stored():
    known = {Run(family, name) for family in FAMILIES for name in RIVALS}
    assert {*runs(), *stored()} == known
    kinds = {"tinyreptile": NativeOnlineSGD, "reptile": NativeMinibatchSGD}
    for run in known:
        (first, *_) = run.trials([0], 1)
        assert type(first.recipe.strategy.learner) is kinds[run.name]
        assert [type(way) for way in first.recipe.adaptations] == [NativeOnlinePasses]


def test_ratios_are_those_of_the_costs(found):
    tiny, reptile = (row for row in found if "strategy" in row)
    values = {row["name"]: row["value"] for row in found if "name" in row}
    for ratio, cost in (("ram", "ram_bytes"), ("instructions", "instructions")):
        assert values[f"sine.{ratio}_ratio"] == reptile[cost] / tiny[cost]
    assert values["sine.ram_ratio_with_packed_samples"] == values["sine.ram_ratio"]
    assert values["sine.bytes_ratio"] == reptile["bytes_up"] / tiny["bytes_up"]
    assert found[-1]["name"] == "sine.mse_difference"
    assert (found[-1]["value"], found[-1]["ci95"]) == pytest.approx((-0.05, 0.05))
