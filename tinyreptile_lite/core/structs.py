"""The C core's structs of a network, for ctypes."""

import ctypes
from math import prod

from tinyreptile_lite.core.table import KINDS, LOSSES, check_fits_core, core_layers, layer_sizes
from tinyreptile_lite.layers import Layer, Shape
from tinyreptile_lite.network import Network


class CLayer(ctypes.Structure):
    """tr_layer of the C core."""

    _fields_ = (
        ("kind", ctypes.c_uint8),
        ("stride", ctypes.c_uint8),
        ("padding", ctypes.c_uint8),
        ("pool", ctypes.c_uint8),
        ("kernel", ctypes.c_uint16),
        ("time", ctypes.c_uint16),
        ("width", ctypes.c_uint16),
        ("inputs", ctypes.c_uint16),
        ("outputs", ctypes.c_uint16),
        ("bias", ctypes.c_uint8),
        ("factor", ctypes.c_float),
        ("functions", ctypes.c_void_p),
    )


class CNetwork(ctypes.Structure):
    """tr_network of the C core."""

    _fields_ = (
        ("layers", ctypes.POINTER(CLayer)),
        ("layer_count", ctypes.c_uint16),
        ("inputs", ctypes.c_uint16),
        ("loss", ctypes.c_uint8),
    )


def c_layer(layer: Layer, shape: Shape, core: ctypes.CDLL) -> CLayer:
    """Return a layer that takes inputs of this shape as a tr_layer, for the core in a library."""
    sizes = layer_sizes(layer, shape)
    functions = KINDS[type(layer)].functions
    if functions:
        sizes["functions"] = ctypes.addressof(ctypes.c_char.in_dll(core, functions))
    return CLayer(**sizes)


def c_network(net: Network, core: ctypes.CDLL) -> CNetwork:
    """Return the network as a tr_network, for the C core in a library; it keeps its layers alive.

    Raises
    ------
    KitError
        If the C core has no such layer, or a number is beyond its limits.
    """
    check_fits_core(net)
    layers = [c_layer(*pair, core) for pair in core_layers(net)]
    table = (CLayer * len(layers))(*layers)
    loss = LOSSES[net.loss_function.name].code
    return CNetwork(table, len(layers), prod(net.input_shape), loss)
