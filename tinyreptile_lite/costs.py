"""What learning costs a device, by formula: memory, bytes on the link and arithmetic.

The formulas follow the C core, which works in place wherever it can. They leave out the stack and
the program itself; those are measured on the board.
"""

from dataclasses import dataclass
from math import prod

from tinyreptile_lite.layers import Conv1D, ReLU, Scale, Tanh
from tinyreptile_lite.learners import Learner
from tinyreptile_lite.network import Network
from tinyreptile_lite.strategies import Strategy

FLOAT_BYTES = 4
ACTIVATIONS = (Tanh, ReLU)


@dataclass(frozen=True)
class DeviceRam:
    """Bytes of RAM that a learner needs, by purpose."""

    weights: int
    weight_buffers: int
    workspace: int
    samples: int

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return self.weights + self.weight_buffers + self.workspace + self.samples


def workspace_floats(net: Network) -> int:
    """Count the floats a device needs for the layers' outputs and their gradients.

    Every layer's output is kept for the backward pass, which then writes gradients over it. Tanh,
    ReLU and Scale work in place, unless they read the sample itself (the first layer) or the
    output of a Tanh or ReLU, which the backward pass needs. A convolution that passes a gradient
    back needs one more float for each step of its input in time; the longest of them counts.
    """
    floats = history = 0
    for i, layer in enumerate(net.layers):
        keeps_input = i == 0 or isinstance(net.layers[i - 1], ACTIVATIONS)
        if keeps_input or not isinstance(layer, (*ACTIVATIONS, Scale)):
            floats += prod(net.shapes[i + 1])
        if isinstance(layer, Conv1D) and i > net.first:
            history = max(history, net.shapes[i][0])
    return floats + history


def sample_bytes(net: Network) -> int:
    """Count the bytes of one sample in float32 with its target, or with its label in 32 bits."""
    target = net.outputs if net.loss_function.name == "mse" else 1
    return FLOAT_BYTES * (prod(net.input_shape) + target)


def device_ram(net: Network, learner: Learner, sample_count: int) -> DeviceRam:
    """Predict the bytes of RAM that learning from the samples of one visit needs on a device."""
    weights = FLOAT_BYTES * net.size
    return DeviceRam(
        weights=weights,
        weight_buffers=learner.weight_buffers * weights,
        workspace=FLOAT_BYTES * workspace_floats(net),
        samples=learner.kept_samples(sample_count) * sample_bytes(net),
    )


def step_macs(net: Network) -> int:
    """Count the multiply-accumulates of one step on one sample.

    Forward, weight gradient, and the gradient passed back by every layer but the first one that
    learns; a bias counts once for each output it is added to.
    """
    macs = 0
    for i, layer in enumerate(net.layers):
        if layer.parameter_shapes:
            passes = 2 if i == net.first else 3
            macs += passes * layer.macs(net.shapes[i]) + prod(net.shapes[i + 1])
    return macs


def visit_macs(net: Network, learner: Learner, sample_count: int) -> int:
    """Count the multiply-accumulates of one visit of a device."""
    return learner.steps(sample_count) * step_macs(net)


def round_bytes(net: Network, strategy: Strategy) -> tuple[int, int]:
    """Count the bytes of one round, without framing.

    Returns
    -------
    up : int
        From the devices: their parameters, or all their samples if the server learns itself.
    down : int
        To the devices: the common parameters, or nothing.
    """
    if strategy.pooled:
        return strategy.sample_count * sample_bytes(net), 0
    each = strategy.client_count * FLOAT_BYTES * net.size
    return each, each
