"""Experiments: people never seen, honest intervals, the same result in any number of processes."""

from dataclasses import replace

import numpy as np
import pytest

from tinyreptile_lite.core.native import native_score
from tinyreptile_lite.evaluation import evaluate
from tinyreptile_lite.experiment import (
    Comparison,
    Trial,
    build,
    compare,
    costs_row,
    half_width,
    population,
    summary,
)
from tinyreptile_lite.few_shot import OnlinePasses
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.recipes import Recipe, Start, find_recipe
from tinyreptile_lite.strategies import tiny_reptile
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.tasks.sine import Sine

SMALL = Sine(train_devices=20, test_devices=5)


def test_a_population_does_not_depend_on_the_training_seed():
    one, other = population(SMALL, draws=2), population(SMALL, draws=2)
    assert one.train == other.train and one.test == other.test
    assert [task.name for task in one.tasks] == [d.name for d in one.test for _ in range(2)]
    for a, b in zip(one.tasks, other.tasks, strict=True):
        assert np.array_equal(a.support.x, b.support.x)
    assert not np.array_equal(one.tasks[0].support.x, one.tasks[1].support.x)


def test_nobody_is_trained_on_and_tested():
    for name in ("sine", "wrist"):
        family = find_family(name)
        for fold in range(family.folds):
            people = population(family, fold)
            assert not {d.name for d in people.train} & {d.name for d in people.test}
            assert people.source == {"family": name, "fold": fold}


@pytest.mark.parametrize("fold", [-1, 1])
def test_unknown_folds_are_refused(fold, refuses):
    with refuses(f"fold is {fold}", "0 to 0"):
        population(SMALL, fold)


def test_scratch_trains_nothing(rng, refuses):
    with refuses("scratch trains nothing", "another strategy"):
        build(SMALL, find_recipe("sine", "scratch"), population(SMALL), rng)


def test_half_width_is_students():
    # 97.5 % point of Student's t with 2 degrees of freedom: 4.303 (any statistics table).
    assert half_width(np.array([1.0, 2.0, 3.0])) == pytest.approx(4.303 / np.sqrt(3), rel=1e-2)
    assert half_width(np.array([5.0])) == 0
    # With 11 and 20 degrees of freedom: 2.201 and 2.086.
    for freedom, t in ((11, 2.201), (20, 2.086), (999, 1.962)):
        values = np.arange(freedom + 1.0)
        expected = t * values.std(ddof=1) / np.sqrt(freedom + 1)
        assert half_width(values) == pytest.approx(expected, rel=1e-2)


def test_summary_by_hand():
    scores = np.array([[1.0, 2.0, 6.0], [3.0, 2.0, 8.0]])  # two seeds, three devices
    result = summary(scores, "mse")
    assert result["mean"] == pytest.approx(22 / 6)
    assert (result["worst"], summary(scores, "accuracy")["worst"]) == (7, 2)
    seeds, devices = half_width(np.array([3, 13 / 3])), half_width(np.array([2.0, 2.0, 7.0]))
    assert result["ci95"] == pytest.approx(np.hypot(seeds, devices))


def test_the_interval_covers_the_truth_at_least_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        seeds, devices = rng.normal(size=(3, 1)), rng.normal(size=(1, 20))
        result = summary(7 + seeds + devices + 0.3 * rng.normal(size=(3, 20)), "mse")
        covered.append(abs(result["mean"] - 7) <= result["ci95"])
    assert np.mean(covered) >= 0.93


def test_compare_gives_the_same_rows_in_any_number_of_processes():
    options = {"strategies": ["scratch", "fedavg"], "seeds": [3], "rounds": 2}
    rows = compare("sine", **options, jobs=1)
    assert rows == compare("sine", **options, jobs=2)
    assert [row["strategy"] for row in rows] == ["scratch", "fedavg"]
    assert [row["seeds"] for row in rows] == [[3]] * 2
    assert [row["rounds"] for row in rows] == [0, 2]


def test_a_trial_scores_each_device_over_its_draws():
    recipe = find_recipe("sine", "tinyreptile").with_rounds(1)
    scores = Trial("sine", recipe, seed=1, fold=0, draws=2).run()
    family = find_family("sine")
    people, rng = population(family, draws=2), np.random.default_rng([1, 0])
    phi = build(family, recipe, people, rng).run()
    by_hand = evaluate(family.network(), phi, people.tasks[:6], recipe.adaptation, [0, 32], rng)
    assert scores.shape == (1, 4000, len(family.counts))
    np.testing.assert_allclose(
        scores[0, :3, [0, -1]].T, (by_hand[::2] + by_hand[1::2]) / 2, rtol=1e-4
    )


def test_costs_of_a_whole_run():
    weights = 4 * 1153
    tiny = costs_row(SMALL, find_recipe("sine", "tinyreptile"))
    assert tiny["bytes_up"] == tiny["bytes_down"] == 5000 * weights
    fedavg = costs_row(SMALL, find_recipe("sine", "fedavg"))
    assert fedavg["bytes_up"] == 500 * 10 * weights == tiny["bytes_up"]
    joint, scratch = (costs_row(SMALL, find_recipe("sine", name)) for name in ("joint", "scratch"))
    assert (joint["bytes_up"], joint["bytes_down"]) == (5000 * 32 * 8, 0)
    assert (scratch["bytes_up"], scratch["bytes_down"], scratch["rounds"]) == (0, 0, 0)
    # Neither trains on the device: it only adapts, and that is online learning.
    assert joint["device_ram_bytes"] == scratch["device_ram_bytes"] == tiny["device_ram_bytes"]


def test_every_way_to_adapt_is_a_row():
    ways = OnlineSGD(0.01), OnlinePasses(0.01, 2)
    recipe = replace(find_recipe("sine", "scratch"), adaptation=ways[0], more=ways[1:])
    comparison = Comparison("sine", (recipe, find_recipe("sine", "scratch")), (0, 1))
    results = [np.full((way, 3, 7), value) for way, value in ((2, 0.0), (2, 2.0), (1, 5), (1, 7))]
    results[0][1] = 4.0
    rows = comparison.rows(results)
    assert [row["adaptation"] for row in rows] == ["one pass", "2 passes", "one pass"]
    assert [row["adapted_samples"]["32"]["mean"] for row in rows] == [1, 3, 6]
    assert rows[1]["adaptation_ram_bytes"] > rows[0]["adaptation_ram_bytes"]


def test_the_body_is_trained_before_and_the_head_begins_at_zero(rng):
    start = Start("sine", tiny_reptile(0.02, 4), 3)
    recipe = Recipe("joint", None, 0, OnlineSGD(0.02), start=start)
    phi = Trial("sine", recipe, 0, 0, 1).train(population(SMALL), rng)
    net = SMALL.network()
    assert not phi[net.head].any() and phi[: net.head.start].all()
    further = replace(recipe, strategy=tiny_reptile(0.02, 4), rounds=1)
    same = Trial("sine", further, 0, 0, 1).train(population(SMALL), np.random.default_rng(0), 1)
    assert np.linalg.norm(same[net.head]) > 0


def test_devices_to_choose_with_are_neither_trained_nor_tested_on():
    for name in ("sine", "wrist", "wrist-commands"):
        family = find_family(name)
        for fold in {0, family.folds - 1}:
            people = population(find_family(name, validate=True), fold)
            tested = {d.name for d in population(family, fold).test}
            validated, trained = ({d.name for d in some} for some in (people.test, people.train))
            assert not validated & (tested | trained) and not trained & tested


def test_no_more_devices_are_scored_than_wanted():
    recipe = find_recipe("sine", "scratch")
    assert Trial("sine", recipe, 0, 0, 2, most=5, scorer=native_score).run().shape == (1, 5, 7)
