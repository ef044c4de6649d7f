"""Each layer against plain loops that do what its docstring says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, ReLU, Scale, Tanh

SMALL = st.integers(1, 4)
SEEDS = st.integers(0, 2**32 - 1)


def convolve(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, stride: int) -> np.ndarray:
    """Convolve (N, time, channels) with (kernel, in, out), one product after the other."""
    kernel, channels, outputs = weight.shape
    positions = (x.shape[1] - kernel) // stride + 1
    y = np.zeros((len(x), positions, outputs))
    for n, t, o in np.ndindex(y.shape):
        y[n, t, o] = bias[o]
        for k, c in np.ndindex(kernel, channels):
            y[n, t, o] += weight[k, c, o] * x[n, t * stride + k, c]
    return y


@given(SMALL, SMALL, SMALL, st.integers(1, 3), st.integers(0, 5), SMALL, SEEDS)
def test_convolution_equals_plain_loops(channels, outputs, kernel, stride, extra, samples, seed):
    rng = np.random.default_rng(seed)
    layer = Conv1D(channels, outputs, kernel, stride)
    weight = rng.normal(size=(kernel, channels, outputs))
    bias = rng.normal(size=outputs)
    x = rng.normal(size=(samples, kernel + extra, channels))
    params = [weight.reshape(layer.parameter_shapes[0]), bias.reshape(layer.parameter_shapes[1])]
    y = layer.forward(params, x)
    assert y.shape[1:] == layer.output_shape(x.shape[1:])
    np.testing.assert_allclose(y, convolve(weight, bias, x, stride), atol=1e-12)
    assert layer.macs(x.shape[1:]) == y[0].size * kernel * channels


def test_dense_weight_is_inputs_by_outputs():
    layer = Dense(2, 3)
    weight, bias = np.arange(6.0).reshape(layer.parameter_shapes[0]), np.array([[10.0, 20.0, 30.0]])
    y = layer.forward([weight, bias], np.array([[1.0, 100.0]]))
    assert y.tolist() == [[310.0, 421.0, 532.0]]
    assert layer.macs((2,)) == 6


def test_layers_without_parameters():
    x = np.array([[[-1.0, 2.0], [3.0, -4.0]]])
    assert ReLU().forward([], x).tolist() == [[[0.0, 2.0], [3.0, 0.0]]]
    assert GlobalAveragePool().forward([], x).tolist() == [[1.0, -1.0]]
    assert Scale(-2).forward([], x).tolist() == [[[2.0, -4.0], [-6.0, 8.0]]]
    np.testing.assert_array_equal(Tanh().forward([], x), np.tanh(x))


def test_no_layer_changes_its_input(rng):
    for layer in (Dense(4, 3), Conv1D(4, 3, 2), GlobalAveragePool(), Tanh(), ReLU(), Scale(0.5)):
        x = rng.normal(size=(5, 4) if isinstance(layer, Dense) else (2, 5, 4))
        params = [rng.normal(size=shape) for shape in layer.parameter_shapes]
        grads = [np.zeros_like(param) for param in params]
        y = layer.forward(params, x)
        dy = rng.normal(size=y.shape)
        kept = [array.copy() for array in (x, y, dy, *params)]
        layer.backward(params, grads, x, y, dy)
        for array, copy in zip((x, y, dy, *params), kept, strict=True):
            np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Dense(0, 3), ("Dense", "inputs is 0", "at least 1")),
        (lambda: Dense(3, -1), ("Dense", "outputs is -1", "at least 1")),
        (lambda: Dense(2.5, 1), ("Dense", "inputs is 2.5", "whole number")),
        (lambda: Conv1D(2, 2, 0), ("Conv1D", "kernel is 0", "at least 1")),
        (lambda: Conv1D(2, 2, 3, 0), ("Conv1D", "stride is 0", "at least 1")),
        (lambda: Scale(float("nan")), ("Scale", "nan", "finite")),
        (lambda: Scale(0), ("Scale", "0", "other than 0")),
    ],
)
def test_impossible_sizes_are_refused(make, words, refuses):
    with refuses(*words):
        make()
