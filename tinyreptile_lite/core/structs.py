"""The C core's structs of a network, for ctypes."""

import ctypes
from math import prod

from tinyreptile_lite.core.table import LOSSES, check_fits_core, layer_sizes
from tinyreptile_lite.network import Network


class CLayer(ctypes.Structure):
    """tr_layer of the C core."""

    _fields_ = (
        ("kind", ctypes.c_uint8),
        ("stride", ctypes.c_uint8),
        ("kernel", ctypes.c_uint16),
        ("time", ctypes.c_uint16),
        ("inputs", ctypes.c_uint16),
        ("outputs", ctypes.c_uint16),
        ("factor", ctypes.c_float),
    )


class CNetwork(ctypes.Structure):
    """tr_network of the C core."""

    _fields_ = (
        ("layers", ctypes.POINTER(CLayer)),
        ("layer_count", ctypes.c_uint16),
        ("inputs", ctypes.c_uint16),
        ("loss", ctypes.c_uint8),
    )


def c_network(net: Network) -> CNetwork:
    """Return the network as the C core's tr_network; it keeps its layers alive.

    Raises
    ------
    KitError
        If the C core has no such layer, or a number is beyond its limits.
    """
    check_fits_core(net)
    sizes = [layer_sizes(*pair) for pair in zip(net.layers, net.shapes[:-1], strict=True)]
    table = (CLayer * len(sizes))(*(CLayer(**fields) for fields in sizes))
    loss = LOSSES[net.loss_function.name].code
    return CNetwork(table, len(net.layers), prod(net.input_shape), loss)
