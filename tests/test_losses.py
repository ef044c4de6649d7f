"""Losses against their definitions."""

import numpy as np
import pytest

from tinyreptile_lite.losses import LOSSES, find_loss


def test_mean_squared_error_is_the_mean_over_samples_and_outputs():
    output, y = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[0.0, 2.0], [3.0, 1.0]])
    assert find_loss("mse").value(output, y) == (1 + 0 + 0 + 9) / 4
    assert find_loss("mse").gradient(output, y).tolist() == [[0.5, 0.0], [0.0, 1.5]]


def test_cross_entropy_is_minus_log_softmax(rng):
    output, y = rng.normal(size=(6, 4)), rng.integers(4, size=6)
    softmax = np.exp(output) / np.exp(output).sum(axis=1, keepdims=True)
    expected = np.mean([-np.log(softmax[i, label]) for i, label in enumerate(y)])
    assert find_loss("cross_entropy").value(output, y) == pytest.approx(expected, rel=1e-12)


def test_cross_entropy_stays_finite_for_large_outputs():
    loss = find_loss("cross_entropy")
    output = np.array([[1e4, 0.0, -1e4]], np.float32)
    assert loss.value(output, np.array([0])) == 0
    assert loss.value(output, np.array([2])) == np.float32(2e4)
    assert loss.gradient(output, np.array([2])).tolist() == [[1, 0, -1]]


def test_unknown_loss_lists_the_known_ones(refuses):
    with refuses("'hinge'", *LOSSES):
        find_loss("hinge")
