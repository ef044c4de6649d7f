"""What an online step costs on the virtual board; counted, so the same in every run."""

import json
import sys
from dataclasses import astuple

import numpy as np
import pytest
from compilers import BOARD
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.bench import device, eager, equal, host
from tinyreptile_lite.bench.claim import claim_costs
from tinyreptile_lite.bench.timing import row
from tinyreptile_lite.cli import main
from tinyreptile_lite.core.export import export
from tinyreptile_lite.core.native import NativeOnlineSGD
from tinyreptile_lite.costs import sample_bytes, step_macs
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.image_layers import Conv2D, Flatten
from tinyreptile_lite.layers import Dense, Tanh
from tinyreptile_lite.learners import MinibatchSGD
from tinyreptile_lite.nano import VirtualNano
from tinyreptile_lite.nano.cycles import Block, cost, model, straight
from tinyreptile_lite.network import Network
from tinyreptile_lite.recipes import Recipe, find_recipe
from tinyreptile_lite.strategies import reptile, tiny_reptile
from tinyreptile_lite.tasks.base import Samples
from tinyreptile_lite.tasks.omniglot import Omniglot

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


# bytes of RAM, with the sample but for AIfES's example, which is compared without
CONVOLUTIONAL = {"cnn_28x28": 211_840 // 4, "omniglot": 180_000, "keywords": 180_000}


@pytest.mark.parametrize("compiler", BOARD)
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_a_convolutional_step_reaches_its_goals(name, compiler):
    case = device.convolutional()[name]
    online = device.measure(case, False, compiler)
    assert online.executed.instructions / case.samples <= 5 * step_macs(case.net)
    assert (online.ram if name == "cnn_28x28" else online.all_ram) <= CONVOLUTIONAL[name]
    rows = {row["name"]: row["value"] for row in device.step_rows(name, case, online, compiler)}
    assert rows[f"{name}.instructions_per_mac"] <= 5
    assert rows[f"{name}.all_ram_bytes"] == online.ram + sample_bytes(case.net)
    assert rows[f"{name}.plain_cycles_ratio"] > 2


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_the_board_learns_the_bits_of_this_computers_fast_forms(name):
    case = device.convolutional()[name]
    board = device.run(case, reptile=False)
    x = board.read_variable("sensor_x").reshape(case.samples, *case.net.input_shape)
    samples = Samples(x, board.read_variable("sensor_answers", np.int32))
    start = case.net.init(np.random.default_rng(0))
    learned = NativeOnlineSGD(device.RATE).learn(case.net, start, samples, np.random.default_rng())
    assert board.read_variable("weights").tobytes() == learned.params.tobytes()


def reptile_recipe(samples: int, epochs: int, batch: int) -> Recipe:
    strategy = reptile(0.1, samples, epochs, batch, client_count=2)
    return Recipe("reptile", strategy, 300, strategy.learner)


def test_the_claims_costs_are_those_of_the_device_figures():
    case = device.cases()["sine"]
    found = claim_costs("sine", reptile_recipe(case.samples, *astuple(case.reptile)[1:]))
    reptile, online = (device.measure(case, kind) for kind in (True, False))
    parts = ("weights", "workspace", "gradient", "sample", "stack")
    assert found["ram_bytes"] == sum(found[f"{part}_bytes"] for part in parts) == reptile.all_ram
    assert found["visit_instructions"] == reptile.executed.instructions
    assert (found["visits"], found["fits"]) == (600, 1)
    assert found["cycles"] == 600 * reptile.executed.cycles
    assert found["bytes_up"] == found["bytes_down"] == 600 * 4 * case.net.size
    strategy = tiny_reptile(0.1, case.samples)
    tiny = claim_costs("sine", Recipe("tinyreptile", strategy, 5, strategy.learner))
    assert tiny["gradient_bytes"] == 0
    assert tiny["ram_bytes"] == online.all_ram
    assert tiny["instructions"] == 5 * online.executed.instructions


def test_a_reptile_beyond_the_boards_ram_is_measured_with_its_samples_in_flash():
    case = device.Case(Omniglot().network(), 26, MinibatchSGD(0.1, 1, 26))
    assert device.in_flash(case, reptile=True)
    assert not device.in_flash(case, reptile=False)
    cost = device.measure(case, reptile=True)
    assert cost.samples == 26 * sample_bytes(case.net)
    assert cost.all_ram > 262_144
    once = device.measure(case._replace(samples=2, reptile=MinibatchSGD(0.1, 1, 2)), True)
    assert cost.executed.instructions == pytest.approx(13 * once.executed.instructions, rel=0.03)
    assert abs(cost.flash - once.flash) < 500  # the samples are not counted


def test_the_claim_asks_only_what_a_board_can_learn():
    with pytest.raises(KitError, match="no device learns in training by 'joint'"):
        claim_costs("sine", find_recipe("sine", "joint"))
    with pytest.raises(KitError, match="the C core has no Adam"):
        claim_costs("sine", find_recipe("sine", "reptile-adam"))


def test_pytorch_learns_from_images_what_the_core_learns(rng):
    pytest.importorskip("torch")
    net = Omniglot().network()
    params = net.init(rng)
    samples = Samples(rng.uniform(0, 1, (5, 28, 28, 1)).astype(np.float32), np.arange(5))
    model = host.image_loop(net, params, samples)()
    learned = NativeOnlineSGD(host.RATE).learn(net, params, samples, rng).params
    assert eager.distance(model, eager.image_model(net, learned)) < 1e-5
    assert eager.distance(model, eager.image_model(net, params)) > 1e-3
    with pytest.raises(KitError, match="this comparison knows no Tanh"):
        other = Network([Conv2D(1, 2, 3), Tanh(), Flatten(), Dense(8, 5)], "mse", (4, 4, 1))
        eager.image_model(other, other.init(rng))
    found = {row["name"]: row for row in host.image_rows(repeats=1)}
    assert list(found) == ["omniglot_vs_torch", "omniglot_visits", "omniglot_torch_visits"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host, "SAME", 0)
        with pytest.raises(KitError, match="PyTorch learnt something else"):
            host.image_rows(repeats=1)


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
    monkeypatch.setattr(device, "convolutional", dict)
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
