"""A run that has collapsed to chance is stopped, one that learns is not."""

from types import SimpleNamespace

import numpy as np
import pytest

from tinyreptile_lite.cli import main
from tinyreptile_lite.errors import DivergenceError, KitError
from tinyreptile_lite.layers import Dense, ReLU
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.strategies import tiny_reptile
from tinyreptile_lite.tasks.base import Samples, Task
from tinyreptile_lite.watch import PATIENCE, Watch, probes

NET = Network([Dense(2, 8), ReLU(), Dense(8, 4)], "cross_entropy", (2,))


def quarters(rng):
    """Which quarter of the plane a point lies in."""
    x = rng.normal(size=(80, 2)).astype(np.float32)
    y = 2 * (x[:, 0] > 0) + (x[:, 1] > 0)
    return Task("plane", Samples(x[:40], y[:40]), Samples(x[40:], y[40:]))


def run(phi, round_, rounds=60):
    strategy = tiny_reptile(0.1, 40)
    due = round_ % 3 == 0
    return SimpleNamespace(
        net=NET, phi=phi, strategy=strategy, round=round_, rounds=rounds, due=lambda every: due
    )


@pytest.fixture
def watch(rng):
    return Watch([quarters(rng) for _ in range(5)], OnlineSGD(0.1))


def test_dead_units_are_a_collapse_and_learning_is_none(watch, rng):
    alive, dead = NET.init(rng), np.zeros(NET.size, np.float32)
    dead[16:24] = -1.0  # biases below zero: no unit ever answers
    assert watch.accuracy(run(alive, 0)) > 0.5 > watch.limit() > 0.25
    for round_ in range(3, 12, 3):
        watch(run(alive, round_))
    for round_ in range(12, 12 + 3 * (PATIENCE - 1)):
        watch(run(dead, round_))
    watch(run(alive, 30))  # it came back
    for round_ in (33, 36):
        watch(run(dead, round_))
    with pytest.raises(DivergenceError, match=r"round 39.*lower the outer rate \(1.0\).*\(0.1\)"):
        watch(run(dead, 39))


def test_chance_is_that_of_the_labels_that_a_device_uses(watch):
    watch.tasks = [
        Task("two", task.support, Samples(task.query.x, task.query.y % 2)) for task in watch.tasks
    ]
    assert 0.5 < watch.limit() < 0.65


def test_devices_without_samples_for_a_task_are_no_probes(rng):
    class Poor:
        def task(self, rng):
            raise KitError("too few")

    rich = SimpleNamespace(task=quarters)
    assert len(probes([Poor(), rich, Poor(), rich], rng)) == 2


def test_train_stops_a_run_that_collapses(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tinyreptile_lite.watch.Watch.limit", lambda self: 1.0)
    out = tmp_path / "phi.npz"
    assert main(["train", "wrist", "--rounds", "40", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "round 6: the run has collapsed" in error and "lower the outer rate" in error
    assert out.is_file()
