"""What Python knows of the C core: its kinds of layer, losses, statuses, limits and macros.

A test reads `tinyreptile_core.h` and compares every value.
"""

from ctypes import c_float
from enum import IntEnum
from math import isfinite, prod
from typing import NamedTuple

import numpy as np

from tinyreptile_lite import image_layers, layers
from tinyreptile_lite.costs import workspace_floats
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.network import Network

LIMIT = np.float32(1e12)  # TR_LIMIT: no sound weight or sample is larger
MAX_FLOATS = 1 << 24  # TR_MAX_FLOATS: in any one array
LARGEST = 65_535  # of any size that a layer names: they are uint16_t ...
LARGEST_BYTE = 255  # ... but for stride and padding
LARGEST_KERNEL = 4096  # side of a Conv2D's


# tr_status: what a function of the core answers, numbered from 0.
Status = IntEnum(
    "Status",
    "OK NULL NETWORK WEIGHTS WORKSPACE PHI RATE SAMPLE TARGET LABEL DIVERGED OVERFLOW ALIGNMENT",
    start=0,
)


class Kind(NamedTuple):
    """A kind of layer: its tr_kind, the macro that writes it, and the macro's arguments.

    The later kinds have their functions besides, by the name of a tr_functions.
    """

    code: int
    macro: str
    fields: tuple[str, ...] = ()
    functions: str = ""


class LossName(NamedTuple):
    """A loss: its tr_loss, and the name of that in C."""

    code: int
    macro: str


KINDS: dict[type[layers.Layer], Kind] = {
    layers.Dense: Kind(1, "TR_DENSE", ("inputs", "outputs")),
    layers.Conv1D: Kind(2, "TR_CONV1D", ("time", "inputs", "outputs", "kernel", "stride")),
    layers.GlobalAveragePool: Kind(3, "TR_GLOBAL_AVERAGE_POOL", ("time", "inputs")),
    layers.Tanh: Kind(4, "TR_TANH"),
    layers.ReLU: Kind(5, "TR_RELU"),
    layers.Scale: Kind(6, "TR_SCALE", ("factor",)),
    image_layers.SiLU: Kind(7, "TR_SILU", (), "tr_silu"),
    image_layers.Conv2D: Kind(
        8,
        "TR_CONV2D",
        ("time", "width", "inputs", "outputs", "kernel", "stride", "padding", "pool", "bias"),
        "tr_conv2d",
    ),
    image_layers.LayerNorm: Kind(9, "TR_LAYER_NORM", ("time", "inputs"), "tr_layer_norm"),
}
LOSSES = {"mse": LossName(1, "TR_MSE"), "cross_entropy": LossName(2, "TR_CROSS_ENTROPY")}


def core_layers(net: Network) -> list[tuple[layers.Layer, layers.Shape]]:
    """Return the layers that the core has a table entry for, each with the shape of its input."""
    pairs = zip(net.layers, net.shapes[:-1], strict=True)
    return [pair for pair in pairs if not isinstance(pair[0], image_layers.Flatten)]


def layer_sizes(layer: layers.Layer, shape: layers.Shape) -> dict[str, int | float]:
    """Return the fields of tr_layer for a layer that takes inputs of this shape.

    Raises
    ------
    KitError
        If the C core has no such layer.
    """
    if type(layer) not in KINDS:
        known = ", ".join(kind.__name__ for kind in KINDS)
        raise KitError(f"the C core has no layer {layer}; choose among {known}")
    sizes: dict[str, int | float] = {"kind": KINDS[type(layer)].code}
    if isinstance(layer, layers.Dense):
        sizes |= {"time": 1, "inputs": layer.inputs, "outputs": layer.outputs}
    elif isinstance(layer, layers.Conv1D):
        sizes |= {"time": shape[0], "inputs": layer.in_channels, "outputs": layer.out_channels}
        sizes |= {"kernel": layer.kernel, "stride": layer.stride}
    elif isinstance(layer, layers.GlobalAveragePool):
        sizes |= {"time": shape[0], "inputs": shape[1], "outputs": shape[1]}
    elif isinstance(layer, image_layers.Conv2D):
        sizes |= {"time": shape[0], "width": shape[1]}
        sizes |= {"inputs": layer.in_channels, "outputs": layer.out_channels}
        sizes |= {"kernel": layer.kernel, "stride": layer.stride}
        sizes |= {"padding": layer.padding, "pool": layer.pool, "bias": int(layer.bias)}
    elif isinstance(layer, image_layers.LayerNorm):
        sizes |= {"time": prod(shape[:-1]), "width": 1}
        sizes |= {"inputs": layer.channels, "outputs": layer.channels}
    elif isinstance(layer, layers.Scale):
        sizes |= {"factor": float(layer.factor)}
    return sizes


def layer_macro(layer: layers.Layer, shape: layers.Shape) -> str:
    """Write a layer that takes inputs of this shape in C: ``"TR_DENSE(1, 32)"``."""
    sizes = layer_sizes(layer, shape)
    kind = KINDS[type(layer)]
    values = [literal(sizes[f]) if f == "factor" else str(sizes[f]) for f in kind.fields]
    return f"{kind.macro}({', '.join(values)})" if values else kind.macro


def literal(value: float | np.floating) -> str:
    """Write a float32 so that C reads the very same one: nine digits suffice.

    Raises
    ------
    KitError
        If it is not finite, which C cannot write.
    """
    number = _float32(value)
    if not isfinite(number):
        raise KitError(f"{value} is not finite as a float32; C source cannot hold it")
    text = f"{number:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _float32(value: float | np.floating) -> float:
    """Round as C does, beyond the largest to infinity; for single values faster than NumPy."""
    return c_float(float(value)).value


def check_fits_core(net: Network) -> None:
    """Raise `KitError` if the C core has no such layer, or a number is beyond its limits."""
    for layer, shape in core_layers(net):
        limits = {"stride": LARGEST_BYTE, "padding": LARGEST_BYTE, "factor": float(LIMIT)}
        if isinstance(layer, image_layers.Conv2D):
            limits["kernel"] = LARGEST_KERNEL
        for name, size in layer_sizes(layer, shape).items():
            limit = limits.get(name, LARGEST)
            if abs(_float32(size)) > limit:
                raise KitError(f"{layer}: {name} is {size}; the C core takes at most {limit:g}")
            if name == "factor" and _float32(size) == 0:
                raise KitError(f"{layer}: the factor is 0 as a float32; choose a larger one")
    counts = {"numbers in a sample": prod(net.input_shape), "layers": len(net.layers)}
    for name, count in counts.items():
        if count > LARGEST:
            raise KitError(f"the network has {count} {name}; the C core takes at most {LARGEST}")
    floats = max(net.size, workspace_floats(net))
    if floats >= MAX_FLOATS:
        raise KitError(
            f"the network needs an array of {floats:,} floats; the C core takes fewer than "
            f"{MAX_FLOATS:,}, so choose smaller layers"
        )
