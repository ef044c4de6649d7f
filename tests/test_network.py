"""Networks: gradients, views of the flat vector, the task axis, identity and bad input."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyreptile_lite.image_layers import Conv2D, Flatten, LayerNorm, SiLU
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, Layer, ReLU, Scale, Tanh
from tinyreptile_lite.network import Network

WIDTHS = st.integers(1, 4)
ACTIVATIONS = st.sampled_from([None, Tanh(), ReLU(), Scale(0.7), SiLU()])


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Draw a dense or a convolutional network of any depth up to three."""
    layers: list[Layer] = [Scale(0.4)] if draw(st.booleans()) else []
    kind = draw(st.integers(0, 2))
    if kind == 2:
        shape = (draw(st.integers(3, 5)), draw(st.integers(3, 5)), draw(WIDTHS))
        kernel, outputs = draw(st.integers(1, 3)), draw(WIDTHS)
        numbers = draw(st.integers(1, 2)), draw(st.integers(0, kernel - 1))
        conv2d = Conv2D(shape[2], outputs, kernel, *numbers)
        sides = conv2d.output_shape(shape)[:2]
        conv2d = replace(
            conv2d, pool=draw(st.integers(1, min(2, *sides))), bias=draw(st.booleans())
        )
        layers += [conv2d, draw(ACTIVATIONS), LayerNorm(outputs), draw(ACTIVATIONS), Flatten()]
        channels = int(np.prod(conv2d.output_shape(shape)))
    elif kind == 1:
        channels, time = draw(WIDTHS), draw(st.integers(8, 12))
        shape = (time, channels)
        for _ in range(draw(st.integers(1, 2))):
            conv = Conv1D(channels, draw(WIDTHS), draw(st.integers(1, 3)), draw(st.integers(1, 2)))
            layers += [conv, draw(ACTIVATIONS)]
            channels = conv.out_channels
        layers.append(GlobalAveragePool())
    else:
        channels = draw(WIDTHS)
        shape = (channels,)
    for _ in range(draw(st.integers(1, 2))):
        width = draw(WIDTHS)
        layers += [Dense(channels, width), draw(ACTIVATIONS)]
        channels = width
    loss = draw(st.sampled_from(["mse", "cross_entropy"]))
    return Network([layer for layer in layers if layer], loss, shape)


@st.composite
def problems(draw: st.DrawFn, tasks: bool = False) -> tuple:
    """Draw a network with parameters and samples in float64, with a task axis or without."""
    net = draw(networks())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    axes = (draw(st.integers(1, 3)),) if tasks else ()
    samples = (*axes, draw(st.integers(1, 4)))
    params = rng.normal(size=(*axes, net.size))
    x = rng.normal(size=(*samples, *net.input_shape))
    if net.loss_function.name == "mse":
        return net, params, x, rng.normal(size=(*samples, net.outputs))
    return net, params, x, rng.integers(net.outputs, size=samples)


def gradient(net, params, x, y, scale=1.0):
    result = np.full_like(params, np.nan)  # every number must be written
    net.backward(net.bind(params, result), x, y, scale)
    return result


@settings(max_examples=80)
@given(problems())
def test_gradient_equals_finite_differences(problem):
    net, params, x, y = problem

    def loss(step: np.ndarray) -> float:
        return net.loss_function.value(net.forward(params + step, x), y)

    h = 1e-6
    numerical = [(loss(row) - loss(-row)) / (2 * h) for row in h * np.eye(net.size)]
    np.testing.assert_allclose(gradient(net, params, x, y), numerical, rtol=1e-5, atol=1e-8)


@given(problems(tasks=True))
def test_task_axis_equals_a_loop_over_tasks(problem):
    net, params, x, y = problem
    together = gradient(net, params, x, y)
    output = net.forward(params, x)
    loss = net.loss_function.value(output, y)
    assert loss.shape == params.shape[:1]
    for t in range(len(params)):
        np.testing.assert_allclose(together[t], gradient(net, params[t], x[t], y[t]), atol=1e-12)
        np.testing.assert_allclose(output[t], net.forward(params[t], x[t]), atol=1e-12)
        np.testing.assert_allclose(loss[t], net.loss_function.value(output[t], y[t]), atol=1e-12)


@given(problems(), st.floats(-2, 2))
def test_scale_multiplies_the_gradient(problem, scale):
    net, params, x, y = problem
    expected = scale * gradient(net, params, x, y)
    np.testing.assert_allclose(gradient(net, params, x, y, scale), expected, atol=1e-12)


@given(problems(tasks=True))
def test_float32_stays_float32_and_close_to_float64(problem):
    net, params, x, y = problem
    loss, grad = net.loss_and_gradient(params.astype(np.float32), x, y)
    assert loss.dtype == grad.dtype == np.float32
    np.testing.assert_allclose(grad, gradient(net, params, x, y), rtol=2e-3, atol=2e-4)
    assert np.array_equal(net.loss(params.astype(np.float32), x, y), loss)


@given(networks(), st.sampled_from([(), (3,)]))
def test_views_cut_the_flat_vector_in_order_without_copying(net, tasks):
    params = np.arange(np.prod(tasks, dtype=int) * net.size, dtype=np.float32)
    params = params.reshape(*tasks, net.size)
    views = net.views(params)
    parts = [view.reshape(*tasks, -1) for layer in views for view in layer]
    np.testing.assert_array_equal(np.concatenate(parts, axis=-1), params)
    for layer in views:
        for view in layer:
            assert np.shares_memory(view, params)
            view[...] = -1
    assert (params == -1).all()


@given(networks(), st.integers(0, 2**32 - 1))
def test_initial_parameters_lie_within_the_fan_in(net, seed):
    params = net.init(np.random.default_rng(seed))
    assert params.dtype == np.float32 and params.shape == (net.size,)
    assert np.array_equal(params, net.init(np.random.default_rng(seed)))
    for layer, views in zip(net.layers, net.views(params), strict=True):
        for view in views:
            assert np.abs(view).max() <= np.float32(1 / np.sqrt(layer.fan_in))


def test_initial_parameters_fill_the_range_of_the_fan_in(rng):
    net = Network([Dense(100, 200), Tanh(), Dense(200, 100)], "mse", (100,))
    for layer, views in zip(net.layers, net.views(net.init(rng)), strict=True):
        for view in views:  # the standard deviation of a uniform number in +-a is a / sqrt(3)
            assert view.std() == pytest.approx(1 / np.sqrt(3 * layer.fan_in), rel=0.15)
            assert abs(view.mean()) < 0.3 / np.sqrt(layer.fan_in)


def test_initial_biases_are_random_too(mlp, rng):
    for layer in mlp.views(mlp.init(rng)):
        for view in layer:
            assert (view != 0).all()


@given(networks())
def test_configuration_survives_json(net):
    assert json.loads(json.dumps(net.config())) == net.config()


def test_fingerprint_tells_networks_apart(mlp):
    layers = list(mlp.layers)
    others = [
        Network([Scale(0.5), *layers[1:]], "mse", (1,)),
        Network([*layers[:2], ReLU(), *layers[3:]], "mse", (1,)),
        Network(layers, "cross_entropy", (1,)),
        Network(layers[1:], "mse", (1,)),
    ]
    prints = {net.fingerprint() for net in (mlp, *others)}
    assert len(prints) == 5
    assert all(len(print) == 64 for print in prints)


def test_sizes_from_numpy_still_make_a_configuration():
    net = Network([Scale(np.float32(0.5)), Dense(np.int64(2), 1)], "mse", (np.int64(2),))
    assert net.fingerprint() == Network([Scale(0.5), Dense(2, 1)], "mse", (2,)).fingerprint()


# Bad input


@pytest.mark.parametrize(
    ("layers", "shape", "words"),
    [
        ([Dense(2, 3), Dense(4, 1)], (2,), ("Dense(inputs=4", "(3,)")),
        ([Conv1D(3, 2, 3), GlobalAveragePool()], (9, 2), ("Conv1D", "(9, 2)")),
        ([Conv1D(2, 2, 5), GlobalAveragePool()], (4, 2), ("Conv1D", "(4, 2)")),
        ([GlobalAveragePool(), Dense(2, 1)], (2,), ("GlobalAveragePool", "(2,)")),
        ([Conv1D(2, 2, 3)], (9, 2), ("(7, 2)", "Dense")),
        ([Tanh()], (2,), ("no layer has parameters", "add")),
        ([Conv2D(3, 2, 3), Flatten()], (9, 9, 2), ("Conv2D", "(9, 9, 2)")),
        ([Conv2D(2, 2, 3, pool=4), Flatten()], (5, 9, 2), ("Conv2D", "(5, 9, 2)")),
        ([LayerNorm(3)], (2,), ("LayerNorm", "(2,)")),
        ([Flatten(), Dense(2, 1)], (2,), ("Flatten", "(height, width, channels)", "(2,)")),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers, shape, words, refuses):
    with refuses(*words):
        Network(layers, "mse", shape)


@pytest.mark.parametrize("shape", [(5,), (5, 2), (1, 5, 1), ()])
def test_wrong_input_shape_names_both_shapes(mlp, rng, shape, refuses):
    with refuses(shape, "(N, 1)"):
        mlp.predict(mlp.init(rng), np.zeros(shape))


def test_task_axis_of_samples_must_match_the_parameters(mlp, rng, refuses):
    params = np.stack([mlp.init(rng)] * 3)
    with refuses("(2, 5, 1)", "(3, N, 1)"):
        mlp.predict(params, np.zeros((2, 5, 1)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(mlp, rng, value, refuses):
    params, x, y = mlp.init(rng), np.zeros((3, 1)), np.zeros((3, 1))
    x[1] = value
    with refuses("input", "NaN or infinite", "remove"):
        mlp.loss(params, x, y)
    with refuses("targets", "NaN or infinite", "remove"):
        mlp.loss(params, y, x)


def test_zero_samples_are_refused(mlp, rng, refuses):
    with refuses("0 samples", "at least one"):
        mlp.loss(mlp.init(rng), np.zeros((0, 1)), np.zeros((0, 1)))


def test_targets_of_another_shape_are_refused(mlp, rng, refuses):
    with refuses("(3,)", "(3, 1)"):
        mlp.loss(mlp.init(rng), np.zeros((3, 1)), np.zeros(3))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0, 3], ("label 3", "0 to 2")),
        ([-1, 2], ("label -1", "0 to 2")),
        ([0.0, 1.0], ("float64", "whole numbers")),
        ([0, 1, 2], ("(3,)", "(2,)")),
        ([[0], [1]], ("(2, 1)", "(2,)")),
    ],
)
def test_wrong_labels_are_refused(convnet, rng, labels, words, refuses):
    params, x = convnet.init(rng), np.zeros((2, 12, 2))
    with refuses(*words):
        convnet.loss_and_gradient(params, x, np.array(labels))


def test_parameters_of_another_network_are_refused(mlp, refuses):
    with refuses("24", mlp.size):
        mlp.predict(np.zeros(24, np.float32), np.zeros((2, 1)))


def test_the_head_is_the_last_layer_with_parameters() -> None:
    net = Network([Dense(3, 4), Tanh(), Dense(4, 2), Scale(0.5)], "mse", (3,))
    assert net.head == slice(16, 26)
    assert Network([Dense(3, 2)], "mse", (3,)).head == slice(0, 8)
