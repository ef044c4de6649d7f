"""What learning costs a device, by formula: memory, bytes on the link and arithmetic.

The formulas follow the C core, which works in place wherever it can. They leave out the stack and
the program itself; those are measured on the board.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from tinyreptile_lite.few_shot import ClassMeans, HeadOnly, Imprinted, PrototypeSGD, head_layer
from tinyreptile_lite.image_layers import Conv2D, Flatten, LayerNorm, SiLU
from tinyreptile_lite.layers import Conv1D, Layer, ReLU, Scale, Shape, Tanh
from tinyreptile_lite.learners import Learner
from tinyreptile_lite.network import Network
from tinyreptile_lite.packing import packed_bytes
from tinyreptile_lite.partial import WHOLE, PartialSGD
from tinyreptile_lite.strategies import Strategy

FLOAT_BYTES = 4
COUNT_BYTES = 2  # of the samples of a class, where class means are made
ACTIVATIONS = (Tanh, ReLU)


@dataclass(frozen=True)
class DeviceRam:
    """Bytes of RAM that a learner needs, by purpose."""

    weights: int
    weight_buffers: int
    workspace: int
    samples: int
    counts: int = 0

    @property
    def total(self) -> int:
        """Sum of all parts."""
        arrays = self.weights + self.weight_buffers + self.workspace
        return arrays + self.samples + self.counts


def workspace_floats(net: Network) -> int:
    """Count the floats a device needs for the layers' outputs and their gradients.

    Every layer's output is kept for the backward pass, which then writes gradients over it. Tanh,
    ReLU and Scale work in place, unless they read the sample itself (the first layer) or the
    output of a Tanh or ReLU, which the backward pass needs. A SiLU needs its own input, and works
    in place only on a LayerNorm, which can make it again. A LayerNorm keeps its sample's mean and
    deviation; a convolution with a pool a byte for each output. What layers need in turn is there
    once: see `_turn_floats`.
    """
    floats = turn = 0
    before = None
    for layer, shape, after, sends_back in _passes(net):
        if not _in_place(layer, before):
            floats += prod(after) + _kept_floats(layer, after)
        turn = max(turn, _turn_floats(layer, shape, sends_back))
        before = layer
    return floats + turn


def _passes(net: Network) -> Iterator[tuple[Layer, Shape, Shape, bool]]:
    """Yield each layer, the shapes around it, and whether a gradient goes back through it."""
    for i, layer in enumerate(net.layers):
        if not isinstance(layer, Flatten):  # moves nothing
            yield layer, net.shapes[i], net.shapes[i + 1], i > net.first


def _in_place(layer: Layer, before: Layer | None) -> bool:
    if isinstance(layer, SiLU):
        return isinstance(before, LayerNorm)
    usable = before is not None and not isinstance(before, ACTIVATIONS)
    return usable and isinstance(layer, (*ACTIVATIONS, Scale))


def _kept_floats(layer: Layer, after: Shape) -> int:
    """Count the floats that a layer keeps besides its output."""
    if isinstance(layer, LayerNorm):
        return 2
    pooled = isinstance(layer, Conv2D) and layer.pool > 1
    return -(-prod(after) // FLOAT_BYTES) if pooled else 0


def _turn_floats(layer: Layer, shape: Shape, sends_back: bool) -> int:
    """Count the floats that a layer needs only while it is its turn.

    To send a gradient back, a convolution needs one for each step of its input in time, or four for
    each pixel; one with a pool needs one for each output channel.
    """
    if isinstance(layer, Conv1D) and sends_back:
        return shape[0]
    if isinstance(layer, Conv2D):
        column = 4 * shape[0] * shape[1] if sends_back else 0
        return max(column, layer.out_channels if layer.pool > 1 else 0)
    return 0


def sample_bytes(net: Network) -> int:
    """Count the bytes of one sample in float32 with its target, or with its label in 32 bits."""
    target = net.outputs if net.loss_function.name == "mse" else 1
    return FLOAT_BYTES * (prod(net.input_shape) + target)


def device_ram(net: Network, learner: Learner, sample_count: int) -> DeviceRam:
    """Predict the bytes of RAM that learning from the samples of one visit needs on a device."""
    weights = FLOAT_BYTES * net.size
    counts = isinstance(learner, PrototypeSGD | ClassMeans | Imprinted)
    return DeviceRam(
        weights=weights,
        weight_buffers=int(learner.weight_buffers * weights),
        workspace=FLOAT_BYTES * workspace_floats(net),
        samples=learner.kept_samples(sample_count) * sample_bytes(net),
        counts=COUNT_BYTES * net.outputs * counts,
    )


def step_macs(net: Network, first: int | None = None) -> int:
    """Count the multiply-accumulates of one step on one sample.

    Forward, weight gradient, and the gradient passed back by every layer but the first one that
    learns; a bias counts once for each output it is added to.

    Parameters
    ----------
    first : int, optional
        Index of the first layer that learns, if those before it are frozen. One beyond all layers
        leaves the forward pass.
    """
    macs = 0
    first = net.first if first is None else first
    for i, layer in enumerate(net.layers):
        if layer.parameter_shapes:
            passes = 1 if i < first else 2 if i == first else 3
            biases = prod(net.shapes[i + 1]) if len(layer.parameter_shapes) > 1 else 0
            macs += passes * layer.macs(net.shapes[i]) + biases
    return macs


def visit_macs(net: Network, learner: Learner, sample_count: int) -> int:
    """Count the multiply-accumulates of one visit of a device."""
    if isinstance(learner, PartialSGD):
        for_head = min(learner.head_samples, sample_count)
        steps = step_macs(net, head_layer(net)), step_macs(net)
        return for_head * steps[0] + (sample_count - for_head) * steps[1]
    first = head_layer(net) if isinstance(learner, HeadOnly) else None
    macs = learner.steps(sample_count) * step_macs(net, first)
    if isinstance(learner, ClassMeans | Imprinted):
        macs += sample_count * step_macs(net, len(net.layers))
    return macs


def round_bytes(net: Network, strategy: Strategy) -> tuple[int, int]:
    """Count the bytes of one round, without framing.

    Returns
    -------
    up : int
        From the devices: their parameters or, at most, their packed changes, or all their samples
        if the server learns itself.
    down : int
        To the devices: the common parameters, or nothing.
    """
    if strategy.pooled:
        return strategy.sample_count * sample_bytes(net), 0
    up, down = visit_bytes(net, strategy.learner)
    return strategy.client_count * up, strategy.client_count * down


def visit_bytes(net: Network, learner: Learner) -> tuple[int, int]:
    """Count the bytes of one visit, up and down, without framing; of packed changes at most."""
    whole = FLOAT_BYTES * net.size
    if not isinstance(learner, PartialSGD) or learner.bits == WHOLE:
        return whole, whole
    limit = net.size if learner.send_head else net.head.start
    return packed_bytes(limit, learner.percent, learner.bits), whole // 2
