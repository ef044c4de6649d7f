"""What learning together costs: how P is chosen, and what stands in the stored figures."""

import pytest

from tinyreptile_lite.bench import together
from tinyreptile_lite.bench.packing import pack_cost
from tinyreptile_lite.bench.together import RIVALS, WAYS, WHOLE, Run, chosen, loss, traffic
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.partial import PartialSGD
from tinyreptile_lite.results import measured
from tinyreptile_lite.tasks.sine import Sine


def test_p_falls_until_too_much_is_lost():
    scores = {WHOLE: 0.95, "8 bits": 0.95, "8 bits, top 50 %": 0.947, "8 bits, top 25 %": 0.92}
    assert chosen("wrist", scores) == "8 bits, top 50 %"
    lucky = scores | {"8 bits, top 10 %": 0.95}  # after a loss nothing is believed any more
    assert chosen("wrist", lucky) == "8 bits, top 50 %"
    assert chosen("wrist", {WHOLE: 0.95, "8 bits": 0.90}) == "8 bits"
    assert chosen("sine", {WHOLE: 0.010, "8 bits": 0.0104, "8 bits, top 25 %": 0.02}) == "8 bits"


def test_a_loss_is_in_points_or_a_share_of_the_error():
    assert loss("accuracy", 0.95, 0.94) == pytest.approx(0.01)
    assert loss("mse", 0.010, 0.011) == pytest.approx(0.1)


def test_a_way_changes_what_devices_do_and_nothing_else():
    whole, way = Run("wrist-commands", WHOLE).recipe, Run("wrist-commands", "tinymetafed").recipe
    assert way.rounds == whole.rounds
    assert way.adaptation == whole.adaptation
    assert way.strategy.outer == whole.strategy.outer
    assert way.strategy.learner == PartialSGD(
        whole.strategy.learner.rate, 7, whole.strategy.learner.rate, 8, 25
    )
    assert way.second.strategy.learner.percent == 25


def test_bytes_are_counted_on_a_board():
    whole = traffic("sine", OnlineSGD(0.02), 4)
    packed = traffic("sine", PartialSGD(0.02, bits=8, percent=10), 4)
    assert whole["bytes_up"] / packed["bytes_up"] > 15
    assert packed["bytes_down"] < 0.53 * whole["bytes_down"]


def test_packing_is_counted_on_the_virtual_board():
    few, all_of_them = (
        pack_cost(Sine().network(), PartialSGD(0.02, bits=8, percent=percent))
        for percent in (10, 100)
    )
    assert 0 < few.instructions < all_of_them.instructions
    with pytest.raises(KitError, match="whole weights are not packed"):
        pack_cost(Sine().network(), PartialSGD(0.02))


@pytest.mark.parametrize("family", together.FAMILIES)
def test_the_stored_ratios_are_those_of_the_stored_rows(family):
    rows = measured(f"costs-{family}")["rows"]
    ways = {row["way"]: row for row in rows if "way" in row}
    named = {row["name"].removeprefix(f"{family}."): row for row in rows if "name" in row}
    assert set(ways) == {WHOLE, *together.TRIED[family], *RIVALS}
    (own,) = (row for row in ways.values() if row["chosen"])
    assert WAYS[own["way"]].chooses
    ratio = named["bytes_up_ratio"]
    assert (ratio["of"], ratio["value"]) == (own["way"], ways[WHOLE]["bytes_up"] / own["bytes_up"])
    rival = ways[named["energy_ratio"]["of"]]
    assert named["energy_ratio"]["value"] == rival["joules"] / own["joules"]
    assert rival["joules"] == min(ways[name]["joules"] for name in RIVALS)
