"""The search of settings: the same budget for all, devices of its own, and it goes on."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tinyreptile_lite import search as module
from tinyreptile_lite.cli import main
from tinyreptile_lite.search import (
    RUNGS,
    Candidate,
    best_rates,
    goodness,
    judged,
    points,
    search,
    search_fold,
    strategies_of,
    write,
)
from tinyreptile_lite.settings import PLANS, Setting, clients

NAMES = ["tinyreptile", "reptile", "fedavg"]


@pytest.fixture
def quick(monkeypatch):
    """A search of the sine that takes a second or two."""
    plan = replace(PLANS["sine"], visits=80, devices=4, parts=(0.25, 1.0))
    monkeypatch.setitem(PLANS, "sine", plan)
    monkeypatch.setattr(module, "RUNGS", (4, 2))
    return plan


@pytest.mark.parametrize("family", PLANS)
def test_all_strategies_get_the_same_points(family):
    plan = PLANS[family]
    drawn = {name: points(plan, name) for name in strategies_of(family)}
    assert {len(some) for some in drawn.values()} == {RUNGS[0]}
    for name, some in drawn.items():
        for one, other in zip(some, drawn["tinyreptile"], strict=True):
            assert one._replace(rate=0, visits=0) == other._replace(rate=0, visits=0)
            assert other.visits - clients(name) < one.visits <= other.visits <= plan.visits
            assert plan.rates[0] <= one.rate <= 6 * plan.rates[1]
            assert 0.1 <= one.outer <= 1 and one.end in (0, one.outer)
    starts = [one.outer for one in drawn["tinyreptile"]]
    assert min(starts) < 0.15 and max(starts) > 0.7  # all of the space is tried


@pytest.mark.parametrize("folds", [1, 4, 10])
def test_who_chooses_for_a_half_is_not_tested_in_it(folds):
    for half in range(1 if folds == 1 else 2):
        fold = search_fold(half, folds)
        assert folds == 1 or 2 * ((fold + 1) % folds) // folds == 1 - half


def test_a_search_goes_on_where_it_was(quick, tmp_path, monkeypatch):
    first = search("sine", NAMES, folder=tmp_path)
    kept = sorted(tmp_path.iterdir())
    assert len(kept) >= len(NAMES) * (4 + 2)
    monkeypatch.setattr(Candidate, "run", None)  # nothing is left to do
    assert search("sine", NAMES, folder=tmp_path) == first
    (half,) = first["halves"]
    assert list(half) == NAMES
    for one in half.values():
        rungs = [entry["rung"] for entry in one["tried"]]
        last = one["tried"][-1]
        best = one["tried"][5]  # after the long trials
        assert rungs == [1] * 4 + [2] * 2 + [3] * 2 * (best["visits"] < quick.visits)
        assert all(last[key] == value for key, value in one["setting"].items())
        assert last["score"] == max(
            entry["score"] for entry in one["tried"] if entry["rung"] == rungs[-1]
        )
        assert set(one["rates"]) == {"one pass", "4 passes"}
    assert json.loads(json.dumps(first)) == first


def test_what_is_searched_again_takes_the_place_of_what_was(tmp_path):
    found = {"command": "", "halves": [{"a": 1, "b": 2}]}
    write("sine", found, tmp_path)
    path = write("sine", {"command": "", "halves": [{"b": 3}]}, tmp_path)
    assert json.loads(path.read_text())["halves"] == [{"a": 1, "b": 3}]
    assert [one.name for one in tmp_path.iterdir()] == ["sine.json"]


def test_a_setting_that_diverges_loses_and_stops_nothing(quick):
    setting = Setting(rate=900.0, outer=1.0, end=1.0, visits=40, passes=2, batch=2)
    found = Candidate("sine", "tinyreptile", setting, 0, 1.0, False).run()
    assert judged(found, quick, "tinyreptile", "mse") < -20


def test_scores_are_judged_at_the_best_rates():
    found = {
        "one pass": {"0.1": [0.9, 0.5, 0.7], "0.2": [0.1, 0.6, 0.8]},
        "4 passes": {"0.1": [0.9, 0.8, 0.8], "0.2": [0.1, 0.1, 0.1]},
    }
    assert best_rates(found, "accuracy") == {"one pass": 0.2, "4 passes": 0.1}
    assert best_rates(found, "mse") == {"one pass": 0.1, "4 passes": 0.2}
    plan = PLANS["wrist"]
    assert judged(found, plan, "fedavg", "accuracy") == pytest.approx(0.75)
    assert goodness([9, 1, np.e], "mse") == pytest.approx(-0.5)


def test_slips_are_one_sentence(refuses, capsys, tmp_path):
    with refuses("family with a search 'cosine'", "omniglot"):
        search("cosine", folder=tmp_path)
    with refuses("strategy 'fedprox'", "tinyreptile"):
        search("sine", ["fedprox"], folder=tmp_path)
    with refuses("jobs is 0"):
        search("sine", jobs=0, folder=tmp_path)
    assert main(["tune", "wrist-commands", "--stored"]) == 0
    assert "reptile-batched" in capsys.readouterr().out
    assert main(["tune", "cosine", "--stored"]) == 2
    assert "tinyreptile tune cosine" in capsys.readouterr().err
