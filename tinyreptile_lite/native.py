"""The C core as a learner: the same source as on the board, compiled for this computer.

A native learner does what its NumPy namesake does and takes its place anywhere. It gives the same
bits as the board does, and agrees with NumPy to rounding. Where no compiler is to be had, it warns
once and goes on in NumPy.
"""

import ctypes
import warnings
from dataclasses import asdict, dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from tinyreptile_lite._native import CORE, CannotBuild, shared_library
from tinyreptile_lite.costs import workspace_floats
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, Layer, ReLU, Scale, Tanh
from tinyreptile_lite.learners import Learned, Learner, MinibatchSGD, OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Samples

Array = np.ndarray

# tr_kind, tr_loss and tr_status of the C core
KINDS = {Dense: 1, Conv1D: 2, GlobalAveragePool: 3, Tanh: 4, ReLU: 5, Scale: 6}
LOSSES = {"mse": 1, "cross_entropy": 2}
OK, DIVERGED, OVERFLOW = 0, 10, 11
LARGEST = 65535  # of any size that a layer names


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


class _Visit(ctypes.Structure):
    """`visit` of host.c."""

    _fields_ = (
        ("network", ctypes.POINTER(CNetwork)),
        *((name, ctypes.c_void_p) for name in ("x", "targets", "labels", "params", "losses")),
        *((name, ctypes.c_void_p) for name in ("statuses", "workspace", "gradient")),
        *((name, ctypes.c_size_t) for name in ("workspace_floats", "weight_count", "outputs")),
        *((name, ctypes.c_size_t) for name in ("tasks", "count")),
    )


def layer_sizes(layer: Layer, shape: tuple[int, ...]) -> dict[str, int | float]:
    """Fields of tr_layer for a layer that takes inputs of this shape."""
    sizes: dict[str, int | float] = {"kind": KINDS[type(layer)]}
    if isinstance(layer, Dense):
        sizes |= {"time": 1, "inputs": layer.inputs, "outputs": layer.outputs}
    elif isinstance(layer, Conv1D):
        sizes |= {"time": shape[0], "inputs": layer.in_channels, "outputs": layer.out_channels}
        sizes |= {"kernel": layer.kernel, "stride": layer.stride}
    elif isinstance(layer, GlobalAveragePool):
        sizes |= {"time": shape[0], "inputs": shape[1], "outputs": shape[1]}
    elif isinstance(layer, Scale):
        sizes |= {"factor": layer.factor}
    return sizes


def check_fits_core(net: Network) -> None:
    """Raise `KitError` if a size is larger than the C core can name."""
    for layer, shape in zip(net.layers, net.shapes[:-1], strict=True):
        for name, size in layer_sizes(layer, shape).items():
            limit = 255 if name == "stride" else LARGEST
            if isinstance(size, int) and size > limit:
                raise KitError(f"{layer}: {name} is {size}; the C core takes at most {limit}")
    if prod(net.input_shape) > LARGEST:
        raise KitError(f"a sample has {prod(net.input_shape)} numbers; the C core takes {LARGEST}")


def c_network(net: Network) -> CNetwork:
    """Return the network as the C core's tr_network; it keeps its layers alive.

    Raises
    ------
    KitError
        If a size is larger than the C core can name.
    """
    check_fits_core(net)
    sizes = [
        layer_sizes(layer, shape) for layer, shape in zip(net.layers, net.shapes[:-1], strict=True)
    ]
    table = (CLayer * len(sizes))(*(CLayer(**fields) for fields in sizes))
    loss = LOSSES[net.loss_function.name]
    return CNetwork(table, len(net.layers), prod(net.input_shape), loss)


@cache
def load() -> ctypes.CDLL:
    """Compile the core for this computer, or take it from the cache.

    Raises
    ------
    CannotBuild
        If there is no compiler, or it fails.
    """
    sources = [Path(__file__).parent / "_native" / "host.c", CORE / "tinyreptile_core.c"]
    if not all(path.is_file() for path in sources):
        raise CannotBuild(f"the C sources are not in {CORE}; install from the repository")
    path = shared_library("core", sources, CORE)
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise CannotBuild(f"cannot load {path}: {error}") from error
    visit, size, rate = ctypes.POINTER(_Visit), ctypes.c_size_t, ctypes.c_float
    library.tr_host_online.argtypes = [visit, rate]
    library.tr_host_minibatch.argtypes = [visit, size, size, rate]
    library.tr_host_online.restype = library.tr_host_minibatch.restype = None
    library.tr_status_text.argtypes = [ctypes.c_int]
    library.tr_status_text.restype = ctypes.c_char_p
    return library


@cache
def available() -> bool:
    """Whether the C core runs here; if not, one warning says why."""
    try:
        load()
    except CannotBuild as error:
        warnings.warn(f"the C core goes on in NumPy: {error}", stacklevel=3)
        return False
    return True


@dataclass(frozen=True)
class NativeOnlineSGD(OnlineSGD):
    """`OnlineSGD` in the C core: a whole visit in one call."""

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Make one step for each sample; ``rng`` is not used. Raises as `Network.loss` does."""
        if not available():
            return super().learn(net, params, samples, rng)
        work = _Work(net, params, samples)
        losses = np.empty(work.y.shape[: work.axes], np.float32)
        load().tr_host_online(work.visit(losses), self.rate)
        return work.learned(losses.mean(axis=-1))


@dataclass(frozen=True)
class NativeMinibatchSGD(MinibatchSGD):
    """`MinibatchSGD` in the C core: all epochs in one call, shuffled as in NumPy."""

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Make ``epochs * ceil(N / batch)`` steps; ``rng`` shuffles each epoch."""
        if not available():
            return super().learn(net, params, samples, rng)
        axis = params.ndim - 1
        count = np.shape(samples.y)[axis]
        order = np.concatenate([rng.permutation(count) for _ in range(self.epochs)])
        shuffled = Samples(*(np.take(values, order, axis) for values in samples))
        work = _Work(net, params, shuffled)
        losses = np.empty(params.shape[:-1], np.float32)
        gradient = np.empty(net.size, np.float32)
        load().tr_host_minibatch(work.visit(losses, gradient), self.epochs, self.batch, self.rate)
        return work.learned(losses)


TWINS: dict[type, Any] = {OnlineSGD: NativeOnlineSGD, MinibatchSGD: NativeMinibatchSGD}


def native(learner: Learner) -> Learner:
    """Return the native twin of a NumPy learner.

    Raises
    ------
    KitError
        If it has none.
    """
    if isinstance(learner, NativeOnlineSGD | NativeMinibatchSGD):
        return learner
    if type(learner) not in TWINS:
        name = type(learner).__name__
        raise KitError(f"the C core has no {name}; choose OnlineSGD or MinibatchSGD")
    return TWINS[type(learner)](**asdict(learner))  # type: ignore[call-overload, no-any-return]


_networks: WeakKeyDictionary[Network, tuple[CNetwork, int]] = WeakKeyDictionary()


class _Work:
    """One visit: arrays as C wants them, and what comes back."""

    def __init__(self, net: Network, params: Array, samples: Samples) -> None:
        self.net, self.samples, self.start = net, samples, params
        self.axes = params.ndim  # the task axis, if there is one, and the sample axis
        self.params = np.array(params, np.float32, order="C")
        self.x = np.ascontiguousarray(samples.x, np.float32)
        regression = net.loss_function.name == "mse"
        self.y = np.ascontiguousarray(samples.y, np.float32) if regression else self._labels()
        wanted = (*self.params.shape[:-1], self.y.shape[self.axes - 1], *net.input_shape)
        answers = (*wanted[: self.axes], net.outputs) if regression else wanted[: self.axes]
        if self.x.shape != wanted or self.y.shape != answers or self.params.shape[-1] != net.size:
            self._refuse("the samples do not fit the network")
        self.statuses = np.empty(prod(self.params.shape[:-1]), np.int32)

    def _labels(self) -> Array:
        """Labels as int32; others than the network's own are refused before they could wrap."""
        given = np.asarray(self.samples.y)
        self.net.loss_function.check(given, given.shape, self.net.outputs)
        return np.ascontiguousarray(given, np.int32)

    def visit(self, losses: Array, gradient: Array | None = None) -> _Visit:
        """Fill the struct for C; this object keeps the arrays alive."""
        if self.net not in _networks:
            _networks[self.net] = c_network(self.net), workspace_floats(self.net)
        network, floats = _networks[self.net]
        self.workspace = np.empty(floats, np.float32)
        regression = self.net.loss_function.name == "mse"
        return _Visit(
            ctypes.pointer(network),
            self.x.ctypes.data,
            self.y.ctypes.data if regression else None,
            None if regression else self.y.ctypes.data,
            self.params.ctypes.data,
            losses.ctypes.data,
            self.statuses.ctypes.data,
            self.workspace.ctypes.data,
            None if gradient is None else gradient.ctypes.data,
            floats,
            self.net.size,
            self.net.outputs,
            self.statuses.size,
            self.y.shape[self.axes - 1],
        )

    def learned(self, losses: Array) -> Learned:
        """Parameters and losses; NaN for a task that diverged, as NumPy would give it."""
        if self.statuses.any():
            bad = self.statuses[self.statuses != OK]
            wrong = bad[(bad != DIVERGED) & (bad != OVERFLOW)]
            if wrong.size:
                self._refuse(load().tr_status_text(int(wrong[0])).decode())
            lost = self.statuses.reshape(self.params.shape[:-1]) != OK
            self.params[lost] = np.nan
            losses = np.where(lost, np.float32(np.nan), losses)
        return Learned(self.params, losses)

    def _refuse(self, reason: str) -> None:
        """Raise the error that NumPy raises for the same samples; if it has none, the core's."""
        self.net.views(self.start)
        self.net.check_samples(self.start, *self.samples)
        raise KitError(f"the C core refuses these samples: {reason}")
