"""What an online step costs on the virtual board; counted, so the same in every run."""

import json
import sys

import numpy as np
import pytest
from compilers import BOARD
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.bench import device, equal, host
from tinyreptile_lite.bench.timing import row
from tinyreptile_lite.cli import main
from tinyreptile_lite.core.export import export
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano import VirtualNano
from tinyreptile_lite.nano.cycles import Block, cost, model, straight

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
    executed = measured.executed
    assert executed.instructions / case.samples <= instructions
    assert executed.cycles / case.samples <= cycles
    assert measured.ram <= ram
    assert 0.9 * executed.cycles < executed.low < executed.cycles
    assert 1.2 * executed.cycles < executed.high < 1.6 * executed.cycles


@pytest.mark.parametrize("compiler", BOARD)
@pytest.mark.parametrize("name", GOALS)
def test_a_step_is_as_fast_where_the_compiler_ignores_the_sources_pragma(name, compiler):
    """As with a compiler that knows less: all is built with -Os, as the command line says."""
    case = device.cases()[name]
    executed = device.measure(case, False, compiler, ("-DTR_PLAIN_OPTIONS",)).executed
    instructions, cycles, _ = GOALS[name]
    assert executed.instructions / case.samples <= instructions
    assert executed.cycles / case.samples <= cycles


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


def test_without_pytorch_the_board_is_measured_all_the_same(monkeypatch, capsys):
    case = device.cases()["mlp_64_32_10"]
    monkeypatch.setattr(device, "cases", lambda: {"mlp_64_32_10": case})
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    assert main(["bench", "device", "--json"]) == 0
    said = capsys.readouterr()
    assert "no native_vs_torch: this benchmark needs torch" in said.err
    rows = {row["name"]: row for row in json.loads(said.out)["rows"]}
    assert {"mlp_64_32_10.instructions", "wrist.reptile_score"} < set(rows)
    low, middle, high = (
        rows[f"mlp_64_32_10.cycles_{part}"]["value"] for part in ("low", "model", "high")
    )
    assert low < middle < high
    assert rows["mlp_64_32_10.cycles_model"]["range"] == [low, high]
    assert main(["bench", "device"]) == 0
    assert f"{middle:.4g} per online step, modelled {low:.4g} to {high:.4g}" in " ".join(
        capsys.readouterr().out.split()
    )
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
        ("mla", "r0, r1, r2, r3", 1),
        ("udiv", "r0, r1, r2", 12),
        ("vmov", "s0, s1, r0, r1", 2),
        ("vmov", "lr, s1", 2),
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


@pytest.mark.parametrize(
    ("code", "low", "middle", "high"),
    [
        ("0868 1a68", 3, 4, 4),  # ldr r0, [r1]; ldr r2, [r3]: the second one overlaps
        ("0868 0268", 4, 4, 4),  # ldr r0, [r1]; ldr r2, [r0]: it needs what the first one loads
        ("0860", 1, 2, 2),  # str r0, [r1]
        ("8850", 2, 2, 2),  # str r0, [r1, r2]
        ("20ee010a 30ee011a", 2, 2, 3),  # vmul.f32 s0, s0, s2; vadd.f32 s2, s0, s2
        ("20ee010a 72ee012a", 2, 2, 2),  # vmul.f32 s0, s0, s2; vadd.f32 s5, s4, s2
        ("0431 0868", 3, 3, 4),  # adds r1, #4; ldr r0, [r1]
        ("0048", 2, 2, 5),  # ldr r0, [pc]
        ("08bf 0130", 1, 2, 2),  # it eq; addeq r0, #1
        ("90fbf1f0", 2, 12, 12),  # sdiv r0, r0, r1
        ("00ee100a", 1, 2, 2),  # vmov s0, r0
    ],
)
def test_the_range_follows_the_manuals_notes(code, low, middle, high):
    costs = straight(bytes.fromhex(code))
    assert tuple(map(sum, zip(*costs, strict=True))) == (low, middle, high)


def test_the_loop_that_was_measured_takes_4_to_6_cycles():
    code = bytes.fromhex("00bf 0138 fcd1")  # nop; subs r0, #1; bne
    executed = model([Block(0x10000, 6, runs=1000, falls=0)], lambda at, size: code)
    assert (executed.low, executed.cycles) == (4000, 5000)
    assert executed.high >= 6000


@given(st.binary(min_size=2, max_size=64))
def test_no_code_costs_less_than_its_least_or_more_than_its_most(code):
    for each in straight(code):
        assert 0 <= each.low <= each.middle <= each.high


STEPS = """
#include <TinyReptile.h>
#include "phi.h"

static float weights[PHI_WEIGHTS], workspace[PHI_WORKSPACE];
static tr_model model;

void setup() {
  tr_init(&model, &phi_network, weights, PHI_WEIGHTS, workspace, PHI_WORKSPACE);
  tr_reset(&model, phi);
  const unsigned long start = micros();
  for (int i = 0; i < STEPS; i++) {
    const float x = 0.01f * (i % 100), y = 0.5f;
    tr_learn_value(&model, NULL, &x, &y, 0.01f);
  }
  Serial.println(micros() - start);
}

void loop() {}
"""


@pytest.mark.parametrize("compiler", BOARD)
def test_a_sketch_measures_the_modelled_cycles_of_its_online_steps(compiler, tmp_path):
    net = device.cases()["mlp_1_32_32_1"].net
    sketch = tmp_path / "Steps"
    sketch.mkdir()
    export(net, net.init(np.random.default_rng(0)), sketch)
    found = []
    for steps in (50, 150):
        (sketch / "Steps.ino").write_text(STEPS.replace("STEPS", str(steps)))
        board = VirtualNano(sketch, compiler=compiler, libraries=device.LIBRARIES)
        board.profile()
        board.run_until("\n")
        cycles = model(board.blocks(), board.read_memory).cycles
        found.append((int(board.serial.text), cycles))
    micros, cycles = (after - before for before, after in zip(*found, strict=True))
    assert 64 * micros == pytest.approx(cycles, rel=0.01)
    step = device.measure(device.cases()["mlp_1_32_32_1"], False, compiler)
    assert 64 * micros / 100 == pytest.approx(step.executed.cycles / 32, rel=0.02)
