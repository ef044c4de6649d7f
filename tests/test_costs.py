"""Costs: worked out by hand for the networks of the course, and rules that must hold for all."""

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_networks import networks

from tinyreptile_lite.core import native
from tinyreptile_lite.core.structs import c_network
from tinyreptile_lite.costs import (
    device_ram,
    round_bytes,
    sample_bytes,
    step_macs,
    visit_macs,
    workspace_floats,
)
from tinyreptile_lite.image_layers import Conv2D, Flatten, LayerNorm, SiLU
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, ReLU, Scale, Tanh
from tinyreptile_lite.learners import Adam, MinibatchSGD, OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.strategies import fed_avg, joint, tiny_reptile
from tinyreptile_lite.tasks.sine import Sine

WIDTHS = st.integers(1, 5)


@pytest.fixture(scope="module")
def sine():
    """1-32-32-1, with 64 + 1,056 + 33 = 1,153 parameters; its first layer scales the input."""
    return Sine().network()


def test_ram_of_online_sgd_by_hand(sine):
    ram = device_ram(sine, OnlineSGD(0.02), 32)
    assert ram.weights == 4 * 1153
    assert ram.weight_buffers == 0
    assert ram.workspace == 4 * (1 + 32 + 32 + 1)  # scaled input, two hidden layers, output
    assert ram.samples == 8  # x and y of the one sample at hand
    assert ram.total == 4612 + 264 + 8


def test_ram_of_learners_that_keep_their_samples_by_hand(sine):
    assert device_ram(sine, MinibatchSGD(0.02, 8, 4), 32).total == 2 * 4612 + 264 + 32 * 8
    assert device_ram(sine, Adam(0.02, 8, 4), 32).total == 3 * 4612 + 264 + 32 * 8


def test_macs_by_hand(sine):
    # Forward and weight gradient; from the second layer on a gradient to pass back; biases.
    assert step_macs(sine) == (2 * 32 + 32) + (3 * 32 * 32 + 32) + (3 * 32 + 1)
    assert visit_macs(sine, OnlineSGD(0.02), 32) == 32 * step_macs(sine)
    assert visit_macs(sine, MinibatchSGD(0.02, 8, 4), 32) == 8 * 32 * step_macs(sine)


def test_convolutions_by_hand():
    layers = [Conv1D(2, 4, 3, 2), Tanh(), Conv1D(4, 5, 2), ReLU(), GlobalAveragePool(), Dense(5, 3)]
    net = Network(layers, "cross_entropy", (12, 2))
    assert net.shapes == [(12, 2), (5, 4), (5, 4), (4, 5), (4, 5), (5,), (3,)]
    # The second convolution passes a gradient back, which takes a float for each of its 5 steps.
    assert workspace_floats(net) == 5 * 4 + 4 * 5 + 5 + 3 + 5
    assert sample_bytes(net) == 4 * (12 * 2 + 1)
    assert step_macs(net) == (2 * 5 * 6 * 4 + 20) + (3 * 4 * 8 * 5 + 20) + (3 * 5 * 3 + 3)


def test_image_layers_by_hand():
    layers = [
        Conv2D(1, 6, 3, 1, 1, 2), LayerNorm(6), SiLU(), Conv2D(6, 5, 3, 2, 1), SiLU(), Flatten(),
        Dense(20, 2),
    ]  # fmt: skip
    net = Network(layers, "cross_entropy", (8, 8, 1))
    assert net.shapes[1:6] == [(4, 4, 6), (4, 4, 6), (4, 4, 6), (2, 2, 5), (2, 2, 5)]
    # A byte for each pooled output; mean and deviation; the second SiLU cannot work in place. The
    # second convolution sends a gradient back: four floats for each of its 16 pixels.
    assert workspace_floats(net) == (96 + 24) + (96 + 2) + 20 + 20 + 2 + 4 * 16
    macs = (2 * 64 * 9 * 6 + 96) + (3 * 96 + 96) + (3 * 4 * 54 * 5 + 20) + (3 * 20 * 2 + 2)
    assert step_macs(net) == macs


def test_the_networks_of_the_references_fit_a_board():
    """The body of the few-shot scouting, and AIfES's network in a quarter of its 211,840 bytes."""
    body = []
    for before, after in zip((1, 16, 32, 32), (16, 32, 32, 32), strict=True):
        body += [Conv2D(before, after, 3, 2, 1, bias=False), LayerNorm(after), SiLU()]
    few_shot = Network([*body, Flatten(), Dense(128, 5)], "cross_entropy", (28, 28, 1))
    assert few_shot.size == 23_408 + 128 * 5 + 5
    assert device_ram(few_shot, OnlineSGD(0.05), 1).total < 180 * 1024 - 32_768  # and the stack
    layers = [Conv2D(1, 8, 3, 1, 1, 2), ReLU(), Conv2D(8, 8, 3, 1, 1), ReLU(), Flatten()]
    digits = Network([*layers, Dense(1568, 5)], "cross_entropy", (28, 28, 1))
    ram = device_ram(digits, OnlineSGD(0.01), 1)
    assert ram.weights + ram.workspace < 211_840 / 4


def test_activations_work_in_place_only_on_a_layers_output():
    dense = Network([Dense(3, 4), Tanh(), Dense(4, 2)], "mse", (3,))
    scaled = Network([Scale(0.5), *dense.layers], "mse", (3,))
    twice = Network([Dense(3, 4), Tanh(), Scale(0.5), Dense(4, 2)], "mse", (3,))
    assert workspace_floats(dense) == 4 + 2
    assert workspace_floats(scaled) == 3 + 4 + 2  # the sample itself is not written over
    assert workspace_floats(twice) == 4 + 4 + 2  # the gradient of tanh needs its output
    before = Network([Scale(0.5), Tanh(), Dense(3, 4), Scale(0.5), Tanh(), ReLU()], "mse", (3,))
    assert workspace_floats(before) == 3 + 4 + 4  # a scale's own output is needed by nobody


@given(WIDTHS, WIDTHS, WIDTHS, WIDTHS)
def test_a_convolution_of_one_position_costs_what_a_dense_layer_costs(kernel, channels, wide, out):
    conv = [Conv1D(channels, wide, kernel), Tanh(), GlobalAveragePool(), Dense(wide, out)]
    conv_net = Network(conv, "mse", (kernel, channels))
    dense_net = Network(
        [Dense(kernel * channels, wide), Tanh(), Dense(wide, out)], "mse", (kernel * channels,)
    )
    assert conv_net.size == dense_net.size
    assert step_macs(conv_net) == step_macs(dense_net)
    assert sample_bytes(conv_net) == sample_bytes(dense_net)
    assert workspace_floats(conv_net) == workspace_floats(dense_net) + wide  # the pool's output


@given(st.integers(1, 100), st.integers(1, 9))
def test_bytes_of_a_round(samples, clients):
    net = Sine().network()
    assert round_bytes(net, tiny_reptile(0.02, samples)) == (4612, 4612)
    assert round_bytes(net, fed_avg(0.02, samples, clients)) == (clients * 4612, clients * 4612)
    assert round_bytes(net, joint(0.02, samples, 4)) == (samples * 8, 0)


@given(st.integers(1, 500))
def test_online_learning_needs_the_same_ram_for_any_number_of_samples(samples):
    net = Sine().network()
    online, batch = (device_ram(net, one, samples) for one in (OnlineSGD(0.1), MinibatchSGD(0.1)))
    assert online == device_ram(net, OnlineSGD(0.1), 1)
    assert batch.samples == samples * online.samples
    assert batch.total > online.total


@given(networks())
def test_weights_and_workspace_are_what_the_c_core_asks_for(net):
    core = native.load()
    described = c_network(net, core)
    weights, floats = ctypes.c_size_t(), ctypes.c_size_t()
    assert core.tr_weight_count(ctypes.byref(weights), ctypes.byref(described)) == 0
    assert core.tr_workspace_size(ctypes.byref(floats), ctypes.byref(described)) == 0
    assert (weights.value, floats.value) == (net.size, workspace_floats(net))
