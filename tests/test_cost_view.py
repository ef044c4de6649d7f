"""What the notebook on costs uses: the bill, the pictures and the coin cell."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tinyreptile_lite.energy import Energy, EnergyModel
from tinyreptile_lite.exercises import what_it_costs
from tinyreptile_lite.exercises.copies import read_notebook, source
from tinyreptile_lite.expense import cost_row
from tinyreptile_lite.lab import bills
from tinyreptile_lite.lab import cost_view as lab
from tinyreptile_lite.recipes import find_recipe
from tinyreptile_lite.results import measured

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "08_what_it_costs.ipynb"


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def way(name, mean, ci95=0.01, up=5000, chosen=0):
    """A row as the figure ``costs-sine`` has it."""
    return {
        "way": name,
        "score": {"mean": mean, "ci95": ci95, "worst": mean},
        "bytes_up": up,
        "bytes_down": 4000,
        "cycles": 640_000,
        "instructions": 500_000,
        "ram_bytes": 5000,
        "visits": 100,
        "chosen": chosen,
    }


@pytest.fixture
def stored(monkeypatch):
    """Rows of a figure ``costs-sine`` that is made up, in its order."""
    rows = [
        way("tinyreptile", 0.02),
        way("8 bits", 0.02, up=1300),
        way("8 bits, top 10 %", 0.03, up=250, chosen=1),
        way("8 bits, top 5 %, feedback", 0.09, up=150),
        way("partial", 0.2),
        way("tinymetafed", 0.1, up=500),
        way("reptile", 0.001),
        way("fedavg", 0.05),
        {"name": "sine.energy_ratio", "value": 2.0},
    ]
    figures = {"costs-sine": {"rows": rows}, "sine": measured("sine")}
    monkeypatch.setattr(bills, "measured", figures.__getitem__)
    return rows


def test_energy_of_a_visit_is_that_of_the_costs():
    model = EnergyModel(tx_dbm=8)
    whole = lab.tinyreptile_energy("wrist", model=model)
    row = cost_row("wrist", find_recipe("wrist", "tinyreptile"), model)
    assert whole.work == pytest.approx(row["visit_joules"])
    packed = lab.tinyreptile_energy("wrist", 25, 8, model)
    row = cost_row("wrist", find_recipe("wrist", "tinymetafed-top"), model)
    assert packed.radio == pytest.approx(row["radio_joules"])
    assert packed.compute == whole.compute


def test_the_less_is_sent_the_less_energy_it_takes():
    joules = [
        lab.tinyreptile_energy("sine", percent, bits).sent
        for percent, bits in ((100, 32), (100, 16), (100, 8), (50, 8), (5, 8))
    ]
    assert np.all(np.diff(joules) < 0)


def test_rounds_of_a_cell_are_those_of_the_exercise():
    def by_hand(milliampere_hours, volts, visit_joules, idle_milliamperes, seconds):
        model = EnergyModel(volts=volts, idle_ma=idle_milliamperes)
        return lab.cell_rounds(Energy(visit_joules), model, seconds, milliampere_hours)

    for seed in range(20):
        what_it_costs.rounds_of_a_cell.exercise.check(by_hand, rng=np.random.default_rng(seed))


def test_a_cell_or_a_visit_of_nothing_is_refused(refuses):
    with refuses("0 mAh", "above 0"):
        lab.cell_rounds(Energy(1.0), EnergyModel(), 1, 0)
    with refuses("0 J", "above 0"):
        lab.cell_rounds(Energy(), EnergyModel(), 1)
    with refuses("nan mAh"):
        lab.cell_rounds(Energy(1.0), EnergyModel(), 1, float("nan"))


@pytest.mark.parametrize(
    ("family", "mean", "verdict"),
    [
        ("wrist", 0.93, "yes"),
        ("wrist", 0.80, "worse"),
        ("wrist", 0.99, "better"),
        ("sine", 0.99, "worse"),
        ("sine", 0.80, "better"),
    ],
)
def test_as_good_is_within_both_intervals(family, mean, verdict):
    one, other = {"mean": 0.9, "ci95": 0.03}, {"mean": mean, "ci95": 0.04}
    assert bills.compared(one, other, family) == verdict


def test_the_bill_has_six_strategies_and_the_chosen_way(stored):
    rows = {row["name"]: row for row in bills.bill("sine")}
    others = "tinymetafed", "reptile", "fedavg", "fedsgd", "joint"
    assert list(rows) == ["tinyreptile", "8 bits, top 10 %", *others]
    verdicts = [row["as_good"] for row in rows.values()]
    assert verdicts == ["yes", "yes", "worse", "better", "worse", "worse", "worse"]
    row = rows["tinyreptile"]
    assert row["bytes"] == 9000 and row["seconds"] == pytest.approx(0.01 + 0.072)
    radio = (5000 * 4.8 + 4000 * 4.6) * 3 * 8 * 1e-9
    assert row["joules"] == pytest.approx(640_000 * 155e-12 + radio)
    assert row["run_joules"] == pytest.approx(100 * row["joules"])


def test_joint_training_sends_samples_and_fedsgd_one_gradient(stored):
    rows = {row["name"]: row for row in bills.bill("sine")}
    framing = 5000 / (4 * 1153)
    assert rows["joint"]["bytes"] == pytest.approx(framing * 32 * 8, rel=2e-3)
    assert rows["joint"]["instructions"] == 0
    assert rows["fedsgd"]["bytes"] == pytest.approx(2 * 5000, rel=2e-3)
    assert rows["fedsgd"]["visits"] == 5000  # 500 rounds of 10 clients
    assert rows["joint"]["adapts"] == "one pass" != rows["tinyreptile"]["adapts"]


def test_a_family_without_ways_to_send_less_has_a_bill_of_what_was_trained():
    rows = {row["name"]: row for row in bills.bill("keywords")}
    assert list(rows) == ["tinyreptile", "reptile", "fedavg", "fedsgd", "joint"]
    cost = cost_row("keywords", find_recipe("keywords", "tinyreptile"), EnergyModel())
    row = rows["tinyreptile"]
    assert row["bytes"] == cost["bytes_up"] + cost["bytes_down"]
    assert (row["joules"], row["run_joules"]) == pytest.approx(
        (cost["visit_joules"], cost["run_joules"])
    )
    assert rows["joint"]["instructions"] == 0 and row["visits"] == cost["visits"]


def test_the_table_fits_and_marks_who_adapts_in_another_way(stored):
    lines = bills.bill_table("sine").splitlines()
    assert max(map(len, lines)) <= 95
    assert [line.split("  ")[0] for line in lines if " *" in line] == ["fedsgd *", "joint *"]
    assert lines[-1] == "* new devices adapt in one pass, else in 4 passes"


def test_energy_bars_add_up(refuses):
    visits = {"a": Energy(1e-3, 2e-3, 1e-3), "b": Energy(1e-3, 0, 1e-3)}
    ax = lab.plot_energy(visits)
    widths = np.array([bar.get_width() for bar in ax.patches]).reshape(3, 2)
    np.testing.assert_allclose(widths.sum(axis=0), 1)
    np.testing.assert_allclose(widths[:, 0], [0.25, 0.5, 0.25])
    ax = lab.plot_energy(visits, share=False)
    assert sum(bar.get_width() for bar in ax.patches[::2]) == pytest.approx(4)  # mJ
    with refuses("0 visits"):
        lab.plot_energy({})
    with refuses("without energy"):
        lab.plot_energy({"a": Energy()})


def test_the_picture_of_the_ways_has_them_all_and_rings_the_chosen(stored, refuses):
    ax = lab.plot_score_against_bytes(stored[:-1], "mse")
    points = [len(each[0].get_xdata()) for each in ax.containers]
    assert sum(points) == 8 and max(points) == 3
    (ring,) = [line for line in ax.lines if line.get_markersize() == 15]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (250, 0.03)
    with refuses("0 ways"):
        lab.plot_score_against_bytes([], "mse")
    figure = lab.plot_all_families(["sine"])
    (legend,) = figure.legends
    assert "chosen" in [text.get_text() for text in legend.get_texts()]


def test_moving_any_slider_of_the_coin_cell_redraws_it():
    widget = lab.cell_widget()
    for name, value in {
        "family": "sine",
        "percent": 25,
        "bits": 16,
        "dbm": 8,
        "minutes": 60,
        "waiting": 0.003,
    }.items():
        before = widget.image.value
        widget.controls[name].value = value
        assert widget.image.value != before, name
    model = EnergyModel(tx_dbm=8, idle_ma=0.003)
    rounds = lab.cell_rounds(lab.tinyreptile_energy("sine", 25, 16, model), model, 3600)
    assert f"buys {rounds:,} rounds" in widget.caption.value
    assert len(repr(widget)) < 110


def test_the_course_shows_the_widget():
    code = [source(c) for c in read_notebook(NOTEBOOK)["cells"] if c["cell_type"] == "code"]
    assert any("cell_widget()" in text for text in code)
