"""New devices: adapting, scoring, and noticing units that died."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.clients import simulate
from tinyreptile_lite.errors import DeadUnitsWarning, DivergenceError
from tinyreptile_lite.evaluation import (
    CHUNK,
    DeadUnits,
    adapt,
    dead_units,
    evaluate,
    score,
)
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, ReLU, Tanh
from tinyreptile_lite.learners import Adam, MinibatchSGD, OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.strategies import CONSTANT, tiny_reptile
from tinyreptile_lite.tasks.base import Samples, Task
from tinyreptile_lite.tasks.sine import Sine

LEARNERS = [OnlineSGD(0.02), MinibatchSGD(0.02, 2, 4), Adam(0.002, 2, 4)]
ANY_LEARNER = pytest.mark.parametrize("learner", LEARNERS, ids=lambda one: type(one).__name__)


def sine_tasks(count, seed=0):
    rng = np.random.default_rng(seed)
    return [device.task(rng) for device in Sine().devices(count, rng)]


def label_tasks(net, count, rng):
    """Random windows, each labelled by its task's own random network: there is much to learn."""
    tasks = []
    for i in range(count):
        x = rng.normal(size=(30, *net.input_shape)).astype(np.float32)
        y = net.predict(10 * net.init(rng), x).argmax(axis=1)
        tasks.append(Task(f"task-{i}", Samples(x[:10], y[:10]), Samples(x[10:], y[10:])))
    return tasks


# Adapting


@ANY_LEARNER
def test_each_count_is_learning_from_that_many_samples(mlp, learner, rng):
    phi, support = mlp.init(rng), sine_tasks(1)[0].support
    after = list(adapt(mlp, phi, support, learner, [0, 1, 8, 8], np.random.default_rng(3)))
    assert np.array_equal(after[0], phi)
    # The same chance in the same order: a learner with memory begins anew for each count.
    again = np.random.default_rng(3)
    for params, count in zip(after[1:3], (1, 8), strict=True):
        first = Samples(support.x[:count], support.y[:count])
        np.testing.assert_array_equal(params, learner.learn(mlp, phi, first, again).params)


@given(st.lists(st.integers(0, 32), min_size=1, max_size=6).map(sorted))
def test_online_adaptation_does_not_depend_on_the_other_counts(mlp, counts):
    rng = np.random.default_rng(0)
    phi, support = mlp.init(rng), sine_tasks(1)[0].support
    after = list(adapt(mlp, phi, support, OnlineSGD(0.02), counts, rng))
    for params, count in zip(after, counts, strict=True):
        (alone,) = adapt(mlp, phi, support, OnlineSGD(0.02), [count], rng)
        assert np.array_equal(params, alone)


def test_adapting_leaves_phi_alone(mlp, rng):
    phi = mlp.init(rng)
    kept = phi.copy()
    list(adapt(mlp, phi, sine_tasks(1)[0].support, OnlineSGD(0.1), [0, 4, 32], rng))
    assert np.array_equal(phi, kept)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([0, 33], ("33", "has 32", "fewer")),
        ([-1, 4], ("-1", "0 or more")),
        ([8, 4], ("[8, 4]", "growing order")),
        ([], ("0 counts", "at least one")),
    ],
)
def test_impossible_counts_are_refused(mlp, rng, counts, words, refuses):
    with refuses(*words):
        list(adapt(mlp, mlp.init(rng), sine_tasks(1)[0].support, OnlineSGD(0.1), counts, rng))
    with refuses(*words):
        evaluate(mlp, mlp.init(rng), sine_tasks(2), OnlineSGD(0.1), counts, rng)


# Evaluating


@ANY_LEARNER
def test_together_equals_one_by_one(mlp, learner, rng):
    phi, tasks, counts = mlp.init(rng), sine_tasks(5), [0, 1, 8, 32]
    together = evaluate(mlp, phi, tasks, learner, counts, np.random.default_rng(3))
    assert together.shape == (5, 4)
    for row, task in zip(together, tasks, strict=True):
        alone = evaluate(mlp, phi, [task], learner, counts, np.random.default_rng(3))
        np.testing.assert_allclose(alone, [row], rtol=1e-3)
        by_hand = [
            np.mean((mlp.predict(params, task.query.x) - task.query.y) ** 2)
            for params in adapt(mlp, phi, task.support, learner, counts, np.random.default_rng(3))
        ]
        np.testing.assert_allclose(by_hand, row, rtol=1e-3)


@ANY_LEARNER
def test_together_equals_one_by_one_for_labels(convnet, learner, rng):
    phi, tasks = convnet.init(rng), label_tasks(convnet, 4, rng)
    together = evaluate(convnet, phi, tasks, learner, [0, 5, 10], np.random.default_rng(3))
    for row, task in zip(together, tasks, strict=True):
        alone = evaluate(convnet, phi, [task], learner, [0, 5, 10], np.random.default_rng(3))
        np.testing.assert_allclose(alone, [row], atol=0.051)  # one window of 20 on the edge


def test_more_tasks_than_one_chunk_keep_their_order(mlp, rng):
    phi, tasks = mlp.init(rng), sine_tasks(CHUNK + 3)
    scores = evaluate(mlp, phi, tasks, OnlineSGD(0.02), [0, 4], rng)
    assert scores.shape == (CHUNK + 3, 2)
    for i in (0, CHUNK - 1, CHUNK, CHUNK + 2):
        alone = evaluate(mlp, phi, [tasks[i]], OnlineSGD(0.02), [0, 4], rng)
        np.testing.assert_allclose(alone, scores[i : i + 1], rtol=1e-4)


def test_score_is_mse_or_accuracy(mlp, convnet, rng):
    query = sine_tasks(1)[0].query
    params = mlp.init(rng)
    assert score(mlp, params, query) == mlp.loss(params, *query)
    params, x = convnet.init(rng), rng.normal(size=(8, 12, 2)).astype(np.float32)
    labels = convnet.predict(params, x).argmax(axis=1)
    assert score(convnet, params, Samples(x, labels)) == 1
    labels[:2] = (labels[:2] + 1) % 3
    assert score(convnet, params, Samples(x, labels)) == 0.75


def test_no_tasks_are_refused(mlp, rng, refuses):
    with refuses("0 tasks", "at least one"):
        evaluate(mlp, mlp.init(rng), [], OnlineSGD(0.1), [0], rng)


def test_tasks_of_different_sizes_are_refused(mlp, rng, refuses):
    devices = Sine().devices(2, rng)
    tasks = [devices[0].task(rng), devices[1].task(rng)]
    tasks[1] = Task("short", Samples(*(part[:5] for part in tasks[1].support)), tasks[1].query)
    with refuses("short", "(5, 1)", "(32, 1)", "one size"):
        evaluate(mlp, mlp.init(rng), tasks, OnlineSGD(0.1), [0], rng)


def test_an_empty_support_set_is_refused_when_it_is_needed(mlp, rng, refuses):
    task = sine_tasks(1)[0]
    empty = Task("empty", Samples(*(part[:0] for part in task.support)), task.query)
    assert evaluate(mlp, mlp.init(rng), [empty], OnlineSGD(0.1), [0], rng).shape == (1, 1)
    with refuses("1 samples", "has 0"):
        evaluate(mlp, mlp.init(rng), [empty], OnlineSGD(0.1), [0, 1], rng)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [[0], [1], [2], [0]], [0.0, 1.0, 2.0, 0.0]])
def test_wrong_query_labels_are_refused_not_counted_as_errors(convnet, rng, labels, refuses):
    with refuses("label"):
        score(convnet, convnet.init(rng), Samples(np.zeros((4, 12, 2)), np.array(labels)))


def test_adapting_that_diverges_is_refused_not_scored(mlp, convnet, rng, refuses):
    """Without the check, not-a-number outputs would all count as the first class."""
    for net, tasks in ((mlp, sine_tasks(3)), (convnet, label_tasks(convnet, 3, rng))):
        name = tasks[0].name
        phi = np.full(net.size, 1e18, np.float32)
        with refuses(name, "diverged", "lower the inner rate (1e+30)", error=DivergenceError):
            evaluate(net, phi, tasks, OnlineSGD(1e30), [0, 4], rng)


# Dead units


def relu_net():
    layers = [Dense(1, 16), ReLU(), Dense(16, 16), ReLU(), Dense(16, 1)]
    return Network(layers, "mse", (1,))


def test_dead_units_are_counted_in_each_relu_layer(rng):
    net = Network([Dense(1, 4), ReLU(), Dense(4, 3), ReLU(), Dense(3, 1)], "mse", (1,))
    params = net.init(rng)
    views = net.views(params)
    views[0][0][...], views[0][1][...] = 0, [1, -1, 1, -1]
    views[2][0][...], views[2][1][...] = 1, [0, -3, -1]
    found = dead_units(net, params, np.linspace(-5, 5, 20)[:, None])
    assert found == [DeadUnits(1, 2, 4), DeadUnits(3, 1, 3)]


def test_a_unit_that_answers_one_input_is_alive():
    net = Network([Dense(1, 2), ReLU(), Dense(2, 1)], "mse", (1,))
    params = np.zeros(net.size, np.float32)
    views = net.views(params)
    views[0][0][...], views[0][1][...] = 1, [-4.9, -5.1]
    assert dead_units(net, params, np.linspace(-5, 5, 11)[:, None]) == [DeadUnits(1, 1, 2)]


def test_channels_of_a_convolution_die_as_units_do(rng):
    layers = [Conv1D(1, 3, 2), ReLU(), GlobalAveragePool(), Dense(3, 2)]
    net = Network(layers, "cross_entropy", (6, 1))
    params = net.init(rng)
    views = net.views(params)
    views[0][1][...] = [-100, 0, 100]
    assert dead_units(net, params, rng.normal(size=(5, 6, 1))) == [DeadUnits(1, 1, 3)]


def test_tanh_has_no_dead_units(mlp, rng):
    assert dead_units(mlp, mlp.init(rng), np.zeros((2, 1))) == []


def test_a_real_collapse_is_noticed():
    """ReLU on the full circle with raw input: no number stops being finite, nothing is learned."""
    rng = np.random.default_rng(0)
    net = relu_net()
    clients = simulate(net, Sine().devices(200, rng))
    strategy = tiny_reptile(0.02, 32, CONSTANT)
    phi = Federation(net, strategy, clients, 300, rng).run()
    assert np.isfinite(phi).all()
    with pytest.warns(DeadUnitsWarning, match="dead.*Tanh.*lower the inner rate") as caught:
        evaluate(net, phi, sine_tasks(20), OnlineSGD(0.02), [0, 32], rng)
    assert caught[0].filename == __file__


def test_a_healthy_network_warns_of_nothing(rng):
    net = Network([Dense(1, 16), Tanh(), Dense(16, 16), ReLU(), Dense(16, 1)], "mse", (1,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(net, net.init(rng), sine_tasks(4), OnlineSGD(0.01), [0, 8], rng)
