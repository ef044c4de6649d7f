"""Simulated clients: the same order, the same answer."""

import numpy as np
import pytest

from tinyreptile_lite.clients import Order, simulate
from tinyreptile_lite.learners import MinibatchSGD, OnlineSGD
from tinyreptile_lite.tasks.base import PooledDevice
from tinyreptile_lite.tasks.sine import Sine


@pytest.fixture
def devices(rng):
    return Sine().devices(5, rng)


def test_a_visit_learns_from_the_devices_own_stream(mlp, devices, rng):
    phi, learner = mlp.init(rng), OnlineSGD(0.02)
    update = simulate(mlp, devices)[2].visit(phi, Order(0, learner, 8, seed=11))
    samples = devices[2].stream(8, np.random.default_rng(11))
    learned = learner.learn(mlp, phi, samples, rng)
    assert np.array_equal(update.params, learned.params)
    assert update.loss == learned.loss


def test_the_same_order_gives_the_same_answer_and_keeps_phi(mlp, devices, rng):
    phi = mlp.init(rng)
    kept = phi.copy()
    client = simulate(mlp, devices)[0]
    order = Order(3, MinibatchSGD(0.02, 2, 3), 8, seed=5)
    first, second = client.visit(phi, order), client.visit(phi, order)
    assert np.array_equal(first.params, second.params) and first.loss == second.loss
    assert np.array_equal(phi, kept)
    other = client.visit(phi, Order(3, order.learner, 8, seed=6))
    assert not np.array_equal(first.params, other.params)


def test_clients_bear_the_names_of_their_devices(mlp, devices):
    clients = simulate(mlp, devices)
    assert [client.name for client in clients] == [device.name for device in devices]
    assert len({client.name for client in clients}) == 5


def test_the_pool_mixes_all_devices(devices, rng):
    pool = PooledDevice(devices)
    x, y = pool.stream(300, rng)
    assert x.shape == y.shape == (300, 1)
    curves = np.stack([device.curve(x) for device in devices])
    owners = (curves == y).any(axis=2).sum(axis=1)
    assert (curves == y).any(axis=0).all()  # each sample lies on the curve of some device
    assert (owners > 30).all()  # about 60 each
    assert pool.task(rng).name in {device.name for device in devices}
