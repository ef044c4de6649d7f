"""Strategies: one outer update, and what it makes of the learners."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinyreptile_lite.clients import Order, simulate
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.learners import Adam, MinibatchSGD, OnlineSGD
from tinyreptile_lite.strategies import (
    ANNEALED,
    CONSTANT,
    Schedule,
    Strategy,
    fed_avg,
    fed_sgd,
    interpolate,
    joint,
    reptile,
    tiny_reptile,
)
from tinyreptile_lite.tasks.sine import Sine

WEIGHTS = arrays(np.float32, 5, elements=st.floats(-100, 100, width=32))
RATES = st.floats(0, 1)


@pytest.fixture
def devices(rng):
    return Sine().devices(6, rng)


def run(net, strategy, devices, rounds=4):
    clients = simulate(net, devices, strategy.pooled)
    federation = Federation(net, strategy, clients, rounds, np.random.default_rng(1))
    federation.run()
    return federation


@given(WEIGHTS, WEIGHTS, RATES)
def test_interpolation_stays_between_its_ends(phi, phi_hat, rate):
    result = interpolate(phi, phi_hat, rate)
    assert result.dtype == np.float32
    slack = 1e-4
    assert (result >= np.minimum(phi, phi_hat) - slack).all()
    assert (result <= np.maximum(phi, phi_hat) + slack).all()


@given(WEIGHTS, WEIGHTS)
def test_rate_0_keeps_phi_and_rate_1_takes_phi_hat(phi, phi_hat):
    assert np.array_equal(interpolate(phi, phi_hat, 0), phi)
    np.testing.assert_allclose(interpolate(phi, phi_hat, 1), phi_hat, atol=2e-5)


@given(WEIGHTS, st.lists(WEIGHTS, min_size=1, max_size=4), RATES)
def test_combining_moves_towards_the_mean(phi, params, rate):
    strategy = fed_avg(0.1, 1, len(params))
    expected = phi + rate * (np.mean(np.float64(params), axis=0) - phi)
    np.testing.assert_allclose(strategy.combine(phi, params, rate), expected, atol=1e-3)


@given(st.integers(1, 1000))
def test_annealing_starts_at_1_and_would_reach_0_after_the_last_round(rounds):
    rates = [ANNEALED.rate(i, rounds) for i in range(rounds)]
    assert rates[0] == 1 and rates[-1] == pytest.approx(1 / rounds)
    assert np.allclose(np.diff(rates), -1 / rounds)
    assert {CONSTANT.rate(i, rounds) for i in range(rounds)} == {1.0}


def test_fedavg_is_batched_reptile_with_outer_rate_1(mlp, devices):
    """The same numbers, round by round: only the name differs."""
    batched = Strategy("reptile-batched", OnlineSGD(0.02), 8, client_count=3, outer=Schedule(1, 1))
    one, other = run(mlp, fed_avg(0.02, 8, 3), devices), run(mlp, batched, devices)
    assert np.array_equal(one.phi, other.phi)
    assert one.history == other.history


def test_reptile_with_batches_of_one_is_tinyreptile_but_for_the_shuffle(mlp, devices, rng):
    """One epoch, one sample a batch: the same steps, in an order that the shuffle decides."""
    phi, device = mlp.init(rng), devices[0]
    learner = reptile(0.02, 8, epochs=1, batch=1).learner
    samples = device.stream(8, rng)
    order = np.random.default_rng(3).permutation(8)
    shuffled = type(samples)(samples.x[order], samples.y[order])
    ours = OnlineSGD(0.02).learn(mlp, phi, shuffled, rng).params
    theirs = learner.learn(mlp, phi, samples, np.random.default_rng(3)).params
    assert np.array_equal(ours, theirs)


def test_fedsgd_is_one_step_along_the_mean_gradient(mlp, devices, rng):
    strategy, rate = fed_sgd(0.1, 8, client_count=3), 0.1
    phi = mlp.init(rng)
    updates, gradients = [], []
    for seed, client in enumerate(simulate(mlp, devices[:3])):
        updates.append(
            client.visit(phi, Order(0, strategy.learner, strategy.sample_count, seed)).params
        )
        samples = client.device.stream(8, np.random.default_rng(seed))
        gradients.append(mlp.loss_and_gradient(phi, *samples)[1])
    expected = phi - rate * np.mean(gradients, axis=0)
    combined = strategy.combine(phi, updates, strategy.outer.rate(0, 1))
    np.testing.assert_allclose(combined, expected, rtol=1e-4, atol=1e-6)


def test_joint_training_sees_the_samples_of_many_devices(mlp, devices):
    federation = run(mlp, joint(0.02, 16, batch=16), devices)
    assert federation.visitor.names == ["pool"]
    assert federation.history.outer_rate == [1.0] * 4


def test_named_strategies_differ_only_where_they_say():
    assert tiny_reptile(0.02, 32) == Strategy("tinyreptile", OnlineSGD(0.02), 32, 1, ANNEALED)
    assert reptile(0.02, 32, 8, 4).name == "reptile"
    batched = reptile(0.02, 32, 8, 4, client_count=5, adam=True)
    assert (batched.name, batched.client_count) == ("reptile-adam-batched", 5)
    assert isinstance(batched.learner, Adam)
    assert fed_sgd(0.1, 32, 10).learner == MinibatchSGD(0.1, 1, 32)
    assert joint(0.02, 32, 8).pooled


def test_configuration_is_json_and_tells_strategies_apart():
    named = [
        tiny_reptile(0.02, 32),
        tiny_reptile(0.02, 32, CONSTANT),
        reptile(0.02, 32, 1, 4),
        reptile(0.02, 32, 1, 4, adam=True),
        fed_avg(0.02, 32, 3),
        fed_avg(0.02, 32, 4),
        fed_sgd(0.02, 32, 3),
        joint(0.02, 32, 32),
    ]
    configs = [strategy.config() for strategy in named]
    texts = {json.dumps(config, sort_keys=True) for config in configs}
    assert len(texts) == len(named)
    assert [json.loads(json.dumps(config)) for config in configs] == configs


# Bad input


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), float("inf")])
def test_impossible_outer_rates_are_refused(rate, refuses):
    with refuses("outer rate", rate, "from 0 to 1"):
        Schedule(rate, 0)
    with refuses("outer rate", rate, "from 0 to 1"):
        Schedule(1, rate)


def test_a_round_needs_samples_and_clients(refuses):
    with refuses("sample_count is 0", "at least 1"):
        tiny_reptile(0.02, 0)
    with refuses("client_count is -1", "at least 1"):
        fed_avg(0.02, 8, -1)
