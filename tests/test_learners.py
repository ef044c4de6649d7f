"""Learners against hand-written loops, with and without a task axis."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.learners import Adam, MinibatchSGD, OnlineSGD
from tinyreptile_lite.tasks.base import Samples

LEARNERS = [OnlineSGD(0.05), MinibatchSGD(0.05, 2, 3), Adam(0.01, 2, 3)]
ANY_LEARNER = pytest.mark.parametrize("learner", LEARNERS, ids=lambda one: type(one).__name__)
SEEDS = st.integers(0, 2**32 - 1)


def draw(net, count, rng, tasks=()):
    """Random samples that fit the network."""
    x = rng.normal(size=(*tasks, count, *net.input_shape)).astype(np.float32)
    if net.loss_function.name == "mse":
        return Samples(x, rng.normal(size=(*tasks, count, net.outputs)).astype(np.float32))
    return Samples(x, rng.integers(net.outputs, size=(*tasks, count)))


def shuffled_batches(samples, epochs, batch, seed):
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(samples.x))
        while len(order):
            chosen, order = order[:batch], order[batch:]
            yield samples.x[chosen], samples.y[chosen]


@pytest.fixture(params=["mlp", "convnet"])
def net(request):
    return request.getfixturevalue(request.param)


def test_online_sgd_is_one_plain_step_a_sample_in_order(net, rng):
    params, samples = net.init(rng), draw(net, 10, rng)
    learned = OnlineSGD(0.05).learn(net, params, samples, rng)
    w, losses = params.copy(), []
    for i in range(10):
        loss, gradient = net.loss_and_gradient(w, samples.x[i : i + 1], samples.y[i : i + 1])
        w -= np.float32(0.05) * gradient
        losses.append(loss)
    np.testing.assert_allclose(learned.params, w, rtol=1e-4, atol=1e-6)
    assert learned.loss == pytest.approx(np.mean(losses), rel=1e-4)


def test_online_sgd_draws_nothing(mlp, rng):
    params, samples = mlp.init(rng), draw(mlp, 4, rng)
    before = rng.bit_generator.state
    OnlineSGD(0.05).learn(mlp, params, samples, rng)
    assert rng.bit_generator.state == before


@given(st.integers(1, 15), SEEDS)
def test_online_sgd_is_memoryless(convnet, split, seed):
    rng = np.random.default_rng(seed)
    params, samples = convnet.init(rng), draw(convnet, 16, rng)
    learner = OnlineSGD(0.05)
    first = Samples(samples.x[:split], samples.y[:split])
    rest = Samples(samples.x[split:], samples.y[split:])
    halfway = learner.learn(convnet, params, first, rng).params
    stepwise = learner.learn(convnet, halfway, rest, rng).params
    assert np.array_equal(stepwise, learner.learn(convnet, params, samples, rng).params)


@pytest.mark.parametrize(("epochs", "batch"), [(1, 10), (3, 4), (2, 100)])
def test_minibatch_sgd_steps_along_the_mean_gradient_of_each_batch(net, rng, epochs, batch):
    params, samples = net.init(rng), draw(net, 10, rng)
    learner = MinibatchSGD(0.05, epochs, batch)
    learned = learner.learn(net, params, samples, np.random.default_rng(7))
    w = params.copy()
    for x, y in shuffled_batches(samples, epochs, batch, seed=7):
        w -= np.float32(0.05) * net.loss_and_gradient(w, x, y)[1]
    np.testing.assert_allclose(learned.params, w, rtol=1e-4, atol=1e-6)


def test_one_full_batch_does_not_depend_on_the_shuffle(mlp, rng):
    params, samples = mlp.init(rng), draw(mlp, 10, rng)
    learner = MinibatchSGD(0.05, 1, 10)
    results = [learner.learn(mlp, params, samples, np.random.default_rng(s)).params for s in (1, 2)]
    np.testing.assert_allclose(*results, atol=1e-6)


def test_adam_equals_the_textbook(net, rng):
    """Kingma and Ba 2015, algorithm 1, in float64 with all its moments; beta1 is 0."""
    params, samples = net.init(rng), draw(net, 10, rng)
    learned = Adam(0.01, 3, 4).learn(net, params, samples, np.random.default_rng(7))
    beta1, beta2, epsilon = 0.0, 0.999, 1e-8
    w = params.astype(np.float64)
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, (x, y) in enumerate(shuffled_batches(samples, 3, 4, seed=7), start=1):
        g = net.loss_and_gradient(w, x, y)[1]
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        w -= 0.01 * m_hat / (np.sqrt(v_hat) + epsilon)
    np.testing.assert_allclose(learned.params, w, atol=2e-4)


def test_first_adam_step_has_the_size_of_the_rate(mlp, rng):
    params, samples = mlp.init(rng), draw(mlp, 10, rng)
    step = Adam(0.01, 1, 10).learn(mlp, params, samples, rng).params - params
    np.testing.assert_allclose(np.abs(step), 0.01, rtol=1e-2)


@ANY_LEARNER
def test_task_axis_equals_one_device_after_the_other(net, learner, rng):
    params = np.stack([net.init(rng) for _ in range(3)])
    samples = draw(net, 7, rng, tasks=(3,))
    together = learner.learn(net, params, samples, np.random.default_rng(7))
    assert together.params.shape == params.shape and together.loss.shape == (3,)
    for t in range(3):
        alone = Samples(samples.x[t], samples.y[t])
        learned = learner.learn(net, params[t], alone, np.random.default_rng(7))
        # Adam divides by the root of tiny squares, which shows the last bits.
        np.testing.assert_allclose(together.params[t], learned.params, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(together.loss[t], learned.loss, rtol=1e-4)


@ANY_LEARNER
def test_learning_leaves_parameters_and_samples_alone(net, learner, rng):
    params, samples = net.init(rng), draw(net, 6, rng)
    kept = [array.copy() for array in (params, *samples)]
    learned = learner.learn(net, params, samples, rng)
    assert learned.params.dtype == np.float32
    assert not np.shares_memory(learned.params, params)
    for array, copy in zip((params, *samples), kept, strict=True):
        assert np.array_equal(array, copy)


@ANY_LEARNER
def test_same_seed_same_result(net, learner, rng):
    params, samples = net.init(rng), draw(net, 6, rng)
    first, second = (
        learner.learn(net, params, samples, np.random.default_rng(5)).params for _ in range(2)
    )
    assert np.array_equal(first, second)


def test_what_a_device_must_hold():
    assert (OnlineSGD(0.1).steps(32), OnlineSGD(0.1).kept_samples(32)) == (32, 1)
    learner = MinibatchSGD(0.1, epochs=4, batch=10)
    assert (learner.steps(32), learner.kept_samples(32)) == (128, 32)
    assert [one.weight_buffers for one in (OnlineSGD, MinibatchSGD, Adam)] == [0, 1, 2]


# Bad input


@pytest.mark.parametrize("kind", [OnlineSGD, MinibatchSGD, Adam])
@pytest.mark.parametrize("rate", [0, -0.1, float("nan"), float("inf")])
def test_impossible_inner_rates_are_refused(kind, rate, refuses):
    with refuses("inner rate", rate, "above 0"):
        kind(rate)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, ("epochs is 0", "at least 1")),
        ({"batch": -2}, ("batch is -2", "at least 1")),
        ({"beta2": 1.0}, ("beta2 is 1.0", "below 1")),
        ({"beta2": float("nan")}, ("beta2 is nan", "below 1")),
        ({"epsilon": -1.0}, ("epsilon is -1.0", "above 0")),
    ],
)
def test_impossible_options_are_refused(options, words, refuses):
    with refuses(*words):
        Adam(0.1, **options)


@ANY_LEARNER
def test_bad_samples_are_refused(mlp, learner, rng, refuses):
    params, (x, y) = mlp.init(rng), draw(mlp, 4, rng)
    with refuses("0 samples", "at least one"):
        learner.learn(mlp, params, Samples(x[:0], y[:0]), rng)
    with refuses("(4, 2)", "(N, 1)"):
        learner.learn(mlp, params, Samples(np.hstack([x, x]), y), rng)
    with refuses("NaN"):
        learner.learn(mlp, params, Samples(x, y * np.nan), rng)
