"""What an online step costs on the virtual board; counted, so the same in every run."""

import sys

import numpy as np
import pytest
from compilers import BOARD

from tinyreptile_lite.bench import device, equal, host
from tinyreptile_lite.bench.timing import row
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.cycles import REFILL, Block, cost, model

# instructions, modelled cycles, bytes of RAM for weights, workspace, model and stack
GOALS = {
    "mlp_1_32_32_1": (10_000, 15_300, 5_200),
    "mlp_64_32_10": (15_000, 24_600, 10_160),
    "wrist": (1_650_000, 2_400_000, 44_628),
}


@pytest.mark.parametrize("compiler", BOARD)
@pytest.mark.parametrize("name", GOALS)
def test_an_online_step_reaches_its_goals(name, compiler):
    case = device.cases()[name]
    measured = device.measure(case, reptile=False, compiler=compiler)
    instructions, cycles, ram = GOALS[name]
    assert measured.executed.instructions / case.samples <= instructions
    assert measured.executed.cycles / case.samples <= cycles
    assert measured.ram <= ram


@pytest.mark.parametrize("family", equal.SETTINGS)
def test_reptile_is_as_accurate_as_tinyreptile_with_the_stored_settings(family):
    tiny, reptile = (equal.scores(family)[name] for name in ("tinyreptile", "reptile"))
    if family == "sine":
        assert reptile["mean"] <= tiny["mean"]
    else:  # equal within the interval
        assert abs(reptile["mean"] - tiny["mean"]) < tiny["ci95"]


def test_there_is_no_such_comparison_for_other_families():
    with pytest.raises(KitError, match="choose sine or wrist"):
        equal.strategy("wrist-commands")


def test_without_pytorch_the_board_is_measured_all_the_same(monkeypatch):
    case = device.cases()["mlp_64_32_10"]
    monkeypatch.setattr(device, "cases", lambda: {"mlp_64_32_10": case})
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    with pytest.warns(match="no native_vs_torch: this benchmark needs torch; .* pip install"):
        names = [row["name"] for row in device.rows()]
    assert {"mlp_64_32_10.instructions", "wrist.reptile_score"} < set(names)
    with pytest.raises(KitError, match="this benchmark needs torch"):
        host.rows()


def test_a_row_holds_the_median_and_the_quartiles():
    found = row("numpy_vs_torch", np.array([3.0, 1.0, 2.0, 5.0, 4.0]), "ratio")
    assert (found["value"], found["spread"], found["quartiles"]) == (3, 1, [2, 4])


def test_reptile_needs_its_samples_and_its_gradient():
    case = device.cases()["mlp_64_32_10"]
    online, reptile = (device.measure(case, kind) for kind in (False, True))
    assert online.gradient == 0
    assert reptile.gradient == reptile.weights == online.weights == 4 * case.net.size
    assert reptile.samples == case.samples * online.samples == case.samples * 65 * 4
    assert reptile.executed.instructions > 2 * online.executed.instructions
    assert reptile.ram + reptile.samples > 2 * (online.ram + online.samples)


@pytest.mark.parametrize(
    ("mnemonic", "operands", "cycles"),
    [
        ("vmul.f32", "s0, s1, s2", 1),
        ("vfma.f32", "s0, s1, s2", 3),
        ("vdiv.f32", "s0, s1, s2", 14),
        ("vldr", "s0, [r1, #4]", 2),
        ("vldr", "d0, [r1, #4]", 3),
        ("vldmia", "r1!, {s0, s1, s2}", 4),
        ("vpush", "{d8, d9}", 5),
        ("ldr.w", "r0, [r1]", 2),
        ("ldrne", "r0, [r1]", 2),
        ("push.w", "{r4, r5, lr}", 4),
        ("adds", "r0, r0, #1", 1),
        ("vmov", "s0, s1, r0, r1", 2),
        ("vmov.f32", "s0, s1", 1),
        ("bics", "r0, r1", 1),
    ],
)
def test_cycles_follow_the_manuals_table(mnemonic, operands, cycles):
    assert cost(mnemonic, operands) == cycles


def test_a_branch_costs_more_where_it_is_taken():
    code = bytes.fromhex("0138fdd1")  # subs r0, #1; bne to itself
    executed = model([Block(address=0, size=4, runs=10, falls=1)], lambda at, size: code)
    assert executed.instructions == 20
    assert executed.cycles == 20 + 9 * 2
