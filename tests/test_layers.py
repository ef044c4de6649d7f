"""Each layer against plain loops that do what its docstring says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.image_layers import Conv2D, Flatten, LayerNorm, SiLU
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


def convolve_image(
    weight: np.ndarray, bias: np.ndarray, x: np.ndarray, layer: Conv2D
) -> np.ndarray:
    """Convolve (N, height, width, channels) with (kernel, kernel, in, out), product by product."""
    sides = [(n + 2 * layer.padding - layer.kernel) // layer.stride + 1 for n in x.shape[1:3]]
    y = np.zeros((len(x), *sides, layer.out_channels))
    for n, row, column, o in np.ndindex(y.shape):
        y[n, row, column, o] = bias[o]
        for i, j, c in np.ndindex(weight.shape[:3]):
            at = (row * layer.stride + i - layer.padding, column * layer.stride + j - layer.padding)
            if 0 <= at[0] < x.shape[1] and 0 <= at[1] < x.shape[2]:
                y[n, row, column, o] += weight[i, j, c, o] * x[n, *at, c]
    return y


@given(SMALL, SMALL, SMALL, st.integers(1, 3), st.integers(0, 3), SMALL, st.integers(1, 2), SEEDS)
def test_convolution_over_an_image_equals_plain_loops(
    channels, outputs, kernel, stride, padding, extra, pool, seed
):
    rng = np.random.default_rng(seed)
    padding = min(padding, kernel - 1)
    layer = Conv2D(channels, outputs, kernel, stride, padding, pool)
    sides = kernel + pool * stride, kernel + pool * stride + extra
    weight = rng.normal(size=(kernel, kernel, channels, outputs))
    bias = rng.normal(size=outputs)
    x = rng.normal(size=(2, *sides, channels))
    params = [weight.reshape(layer.parameter_shapes[0]), bias.reshape(layer.parameter_shapes[1])]
    y = layer.forward(params, x)
    whole = convolve_image(weight, bias, x, layer)
    wanted = np.zeros((2, *layer.output_shape(x.shape[1:])))
    for n, row, column, o in np.ndindex(wanted.shape):
        square = whole[n, row * pool : (row + 1) * pool, column * pool : (column + 1) * pool, o]
        wanted[n, row, column, o] = square.max()
    np.testing.assert_allclose(y, wanted, atol=1e-12)
    assert layer.macs(x.shape[1:]) == whole[0].size * kernel**2 * channels


def test_a_pool_sends_the_gradient_to_the_first_of_equals():
    layer = Conv2D(1, 1, 1, pool=2)
    params = [np.ones((1, 1)), np.zeros((1, 1))]
    x = np.array([[1.0, 3.0, 9.0], [3.0, 2.0, 9.0], [9.0, 9.0, 9.0]]).reshape(1, 3, 3, 1)
    grads = [np.zeros_like(param) for param in params]
    y = layer.forward(params, x)
    assert y.ravel().tolist() == [3.0]  # the last row and column fill no square
    dx = layer.backward(params, grads, x, y, np.full_like(y, 5.0))
    assert dx.ravel().tolist() == [0, 5, 0, 0, 0, 0, 0, 0, 0]
    assert [grad.ravel().tolist() for grad in grads] == [[15.0], [5.0]]


@pytest.mark.parametrize("shape", [(6,), (5, 6), (3, 4, 6)])
def test_layer_normalisation_by_hand(shape, rng):
    x, layer = rng.normal(3, 5, size=(2, *shape)), LayerNorm(6)
    gain, bias = rng.normal(size=(2, 1, 6))
    y = layer.forward([gain, bias], x)
    for sample, normal in zip(x, (y - bias[0]) / gain[0], strict=True):
        wanted = (sample - sample.mean()) / np.sqrt(sample.var() + 1e-5)
        np.testing.assert_allclose(normal, wanted, atol=1e-12)
    layer.init(views := [np.empty((1, 6)), np.empty((1, 6))], rng)
    assert views[0].tolist() == [[1.0] * 6] and views[1].tolist() == [[0.0] * 6]


def test_silu_is_x_times_sigmoid_and_never_overflows():
    x = np.array([[-1e9, -200.0, -1.0, 0.0, 1.0, 200.0, 1e9]], np.float32)
    with np.errstate(all="raise", under="ignore"):
        y = SiLU().forward([], x)
        slope = SiLU().backward([], [], x, y, np.ones_like(x))
    sigmoid = 1 / (1 + np.exp(-1.0))
    wanted = [0, 0, sigmoid - 1, 0, sigmoid, 200, 1e9]
    np.testing.assert_allclose(y[0], wanted, rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(slope[0, [0, 3, 6]], [0, 0.5, 1], atol=1e-30)


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
    layers = [Dense(4, 3), Conv1D(4, 3, 2), GlobalAveragePool(), Tanh(), ReLU(), Scale(0.5)]
    layers += [SiLU(), LayerNorm(4), Conv2D(4, 3, 3, padding=1, pool=2), Flatten()]
    for layer in layers:
        shape = (3, 5, 4) if isinstance(layer, Conv2D | Flatten) else (5, 4)
        x = rng.normal(size=shape if isinstance(layer, Dense) else (2, *shape))
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
        (lambda: Conv2D(1, 1, 3, padding=-1), ("padding is -1", "at least 0")),
        (lambda: Conv2D(1, 1, 3, padding=3), ("padding is 3", "less than the kernel")),
        (lambda: Conv2D(1, 1, 3, pool=0), ("Conv2D", "pool is 0", "at least 1")),
        (lambda: Conv2D(1, 1, 3, pool=16), ("Conv2D", "pool is 16", "at most 15")),
        (lambda: LayerNorm(0), ("LayerNorm", "channels is 0", "at least 1")),
        (lambda: Scale(float("nan")), ("Scale", "nan", "finite")),
        (lambda: Scale(0), ("Scale", "0", "other than 0")),
    ],
)
def test_impossible_sizes_are_refused(make, words, refuses):
    with refuses(*words):
        make()
