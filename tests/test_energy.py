"""The model of energy, and what visits and runs cost by it."""

import json

import numpy as np
import pytest

from tinyreptile_lite import cli
from tinyreptile_lite.costs import step_macs
from tinyreptile_lite.energy import (
    CYCLES_PER_MAC,
    INSTRUCTIONS_PER_MAC,
    Energy,
    EnergyModel,
    Work,
    visit_energy,
)
from tinyreptile_lite.expense import (
    cost_row,
    costs_of_claim,
    costs_of_rows,
    framing,
    score_work,
    visit_work,
)
from tinyreptile_lite.few_shot import OnlinePasses
from tinyreptile_lite.learners import Adam, MinibatchSGD, OnlineSGD
from tinyreptile_lite.recipes import find_recipe, recipes
from tinyreptile_lite.results import measured
from tinyreptile_lite.tasks import find_family

MODEL = EnergyModel()
SINE = find_family("sine").network()


# ---- The model -----------------------------------------------------------------------------------


def test_a_byte_costs_what_the_specification_says():
    assert EnergyModel(tx_dbm=0).sent_uj == pytest.approx(4.8e-3 * 3 * 8)  # W times us is uJ
    assert EnergyModel(tx_dbm=4).sent_uj == pytest.approx(9.6e-3 * 3 * 8)
    assert EnergyModel(tx_dbm=8).sent_uj == pytest.approx(14.8e-3 * 3 * 8)
    assert EnergyModel().received_uj == pytest.approx(4.6e-3 * 3 * 8)
    assert EnergyModel(mbit=2).received_uj == pytest.approx(5.2e-3 * 3 * 4)
    assert EnergyModel().cycle_pj == pytest.approx(3.3e-3 * 3 / 64e6 * 1e12, rel=0.01)


def test_a_sine_visit_costs_more_radio_than_learning_by_hand():
    energy = visit_energy(MODEL, 561_600, 4 * 1153, 4 * 1153)
    assert energy.radio == pytest.approx(1.04e-3, rel=0.01)
    assert energy.compute == pytest.approx(0.087e-3, rel=0.01)
    assert energy.idle == 0 and energy.total == energy.work == energy.compute + energy.radio


def test_what_the_board_draws_while_it_waits_is_a_line_of_its_own():
    energy = visit_energy(EnergyModel(idle_ma=5), 1000, 10, 10, seconds=2)
    assert energy.idle == pytest.approx(3 * 5e-3 * 2)
    assert energy.total == pytest.approx(energy.work + energy.idle)
    assert energy.work == visit_energy(MODEL, 1000, 10, 10).work


def test_energies_and_work_add_up():
    assert Energy(1, 2, 3, 4) + Energy(1, 1, 1, 1) * 2 == Energy(3, 4, 5, 6)
    both = Work(1, 2, counted=True) + Work(3, 4, counted=False)
    assert both == Work(4, 6, counted=False) and both.kind == "estimated"
    assert Work(0, 0, counted=True).kind == "none"


def test_constants_are_read_as_the_command_line_has_them():
    assert EnergyModel.parse("") == MODEL
    assert EnergyModel.parse("tx_dbm=8, idle_ma=5") == EnergyModel(tx_dbm=8, idle_ma=5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tx_dbm=5", ["tx_dbm is 5", "0, 4, 8"]),
        ("mbit=3", ["mbit is 3", "1, 2"]),
        ("volts=0", ["volts is 0", "3.0"]),
        ("idle_ma=-1", ["idle_ma is -1"]),
        ("cycle_pj=nan", ["cycle_pj is nan"]),
        ("cycle_pj=much", ["'cycle_pj=much'", "cycle_pj=4"]),
        ("watts=3", ["'watts'", "cycle_pj", "idle_ma"]),
    ],
)
def test_a_constant_that_cannot_be_is_one_sentence(text, words, refuses):
    with refuses(*words):
        EnergyModel.parse(text)


# ---- Instructions --------------------------------------------------------------------------------


def stored(figure, **values):
    (row,) = (
        row
        for row in measured(figure)["rows"]
        if all(str(row.get(key, "")).startswith(value) for key, value in values.items())
    )
    return row


def test_online_steps_are_those_that_were_counted_on_the_virtual_board():
    row = stored("device", name="sine.cycles_model", compiler="arm-none-eabi-gcc")
    work = visit_work(SINE, OnlineSGD(0.3), 32)
    assert work.counted and work.cycles == round(32 * row["value"])
    assert visit_work(SINE, OnlinePasses(0.1, 3), 32) == work * 3


def test_minibatches_are_counted_as_in_the_claim_and_else_scaled_and_called_estimated():
    row = stored("claim", family="sine", strategy="reptile")
    assert "epochs=4, batch=2" in row["learner"]
    same = visit_work(SINE, MinibatchSGD(9.0, epochs=4, batch=2), 32)
    assert same == Work(row["visit_instructions"], row["visit_cycles"], counted=True)
    half = visit_work(SINE, MinibatchSGD(9.0, epochs=2, batch=2), 32)
    assert not half.counted and half.cycles == pytest.approx(same.cycles / 2)


def test_what_was_never_counted_is_estimated_from_its_arithmetic(mlp):
    for net, learner in ((mlp, OnlineSGD(0.1)), (SINE, Adam(0.1, 1, 32))):
        work = visit_work(net, learner, 32)
        assert not work.counted
        assert work.instructions == round(32 * step_macs(net) * INSTRUCTIONS_PER_MAC)
    assert not score_work(SINE, 10).counted
    assert score_work(SINE, 10).cycles < visit_work(SINE, OnlineSGD(0.1), 10).cycles


def test_the_factors_of_the_estimate_are_the_middle_of_what_was_counted():
    found = []
    for name in ("sine", "wrist", "omniglot", "keywords"):
        macs = step_macs(find_family(name).network())
        work = visit_work(find_family(name).network(), OnlineSGD(0.1), 1)
        assert work.counted
        found.append((work.instructions / macs, work.cycles / macs))
    means = np.mean(found, axis=0)
    np.testing.assert_allclose(means, (INSTRUCTIONS_PER_MAC, CYCLES_PER_MAC), rtol=0.03)


# ---- Rows ----------------------------------------------------------------------------------------


def test_a_run_costs_its_visits_and_the_server_learns_for_nothing():
    row = cost_row("sine", find_recipe("sine", "tinyreptile").with_rounds(10), MODEL)
    assert row["visits"] == 10 and row["run_joules"] == pytest.approx(10 * row["visit_joules"])
    assert row["bytes_up"] == row["bytes_down"] == round(4 * 1153 * framing())
    fedavg = cost_row("sine", find_recipe("sine", "fedavg").with_rounds(10), MODEL)
    assert fedavg["visits"] == 100 and fedavg["visit_joules"] == row["visit_joules"]
    joint = cost_row("sine", find_recipe("sine", "joint"), MODEL)
    assert joint["instructions"] == joint["bytes_down"] == 0 < joint["bytes_up"]
    assert cost_row("sine", find_recipe("sine", "scratch"), MODEL)["run_joules"] == 0


@pytest.mark.parametrize("family", ["sine", "wrist-commands", "omniglot", "keywords"])
def test_the_costs_of_stored_rows_come_from_their_recipes(family):
    rows = measured(family)["rows"]
    found = {row["strategy"]: row for row in costs_of_rows(rows, family, MODEL)}
    assert set(found) == {row["strategy"] for row in rows} <= set(recipes(family))
    for row in rows:  # those count no frames
        cost = found[row["strategy"]]
        before = find_recipe(family, row["strategy"]).start
        if not before and row["bytes_up"]:
            moved = cost["visits"] * cost["bytes_up"]
            assert moved == pytest.approx(row["bytes_up"] * framing(), rel=1e-3)


def test_the_claim_costs_what_was_counted_for_it():
    rows = {row["strategy"]: row for row in costs_of_claim(measured("claim")["rows"], MODEL)}
    tiny, reptile = rows["sine, tinyreptile"], rows["sine, reptile"]
    assert reptile["compute_joules"] > 5 * tiny["compute_joules"]
    assert reptile["radio_joules"] == tiny["radio_joules"]


# ---- Commands ------------------------------------------------------------------------------------


def output(capsys, *arguments):
    assert cli.main(list(arguments)) == 0
    return capsys.readouterr().out


def test_compare_and_reproduce_print_modelled_joules(capsys, monkeypatch):
    monkeypatch.setattr(cli, "compare", lambda *_, **__: measured("sine")["rows"])
    words = ["compare", "sine", "--strategies", "tinyreptile,scratch", "--rounds", "1"]
    text = output(capsys, *words)
    visit = visit_work(find_family("sine").network(), OnlineSGD(0.019), 32).instructions
    assert "joules are modelled" in text and f"{visit:,} counted" in text
    costs = json.loads(output(capsys, *words, "--json", "--energy", "tx_dbm=8"))["costs"]
    assert costs[0]["visits"] == 1 and costs[1]["visit_joules"] == 0
    louder = costs[0]["visit_joules"]
    stored = json.loads(output(capsys, "reproduce", "sine", "--stored", "--json"))["costs"]
    assert [row["strategy"] for row in stored] == list(recipes("sine"))
    assert louder > stored[0]["visit_joules"] > 0
    assert "joules are modelled" in output(capsys, "reproduce", "claim", "--stored")


def test_the_model_is_shown_with_its_constants(capsys):
    text = output(capsys, "energy", "--energy", "idle_ma=5")
    assert "155 pJ" in text and "0.1152 uJ" in text and "5 mA" in text and "modelled" in text
    assert cli.main(["energy", "--energy", "tx_dbm=5"]) == 2
    assert "choose one of: 0, 4, 8" in capsys.readouterr().err
