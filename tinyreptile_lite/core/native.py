"""The C core as a learner: the same source as on the board, compiled for this computer.

A native learner does what its NumPy namesake does and takes its place anywhere. It gives the same
bits as the board does, and agrees with NumPy to rounding. Where no compiler is to be had, it warns
once and goes on in NumPy.
"""

import ctypes
import threading
import warnings
from dataclasses import asdict, dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from tinyreptile_lite.cache import CannotBuild
from tinyreptile_lite.core import build
from tinyreptile_lite.core.build import CORE
from tinyreptile_lite.core.structs import CNetwork, c_network
from tinyreptile_lite.core.table import Status
from tinyreptile_lite.costs import workspace_floats
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.evaluation import score
from tinyreptile_lite.few_shot import (
    ClassMeans,
    HeadOnly,
    Imprinted,
    OnlinePasses,
    PrototypeSGD,
    check_holds_means,
    head_layer,
)
from tinyreptile_lite.image_layers import Flatten
from tinyreptile_lite.learners import Learned, Learner, MinibatchSGD, OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.partial import PartialSGD
from tinyreptile_lite.tasks.base import Samples

Array = np.ndarray

LINE = 16  # floats in a cache line of 64 bytes


class _Call(ctypes.Structure):
    """`visit` of host.c."""

    _fields_ = (
        ("network", ctypes.POINTER(CNetwork)),
        *((name, ctypes.c_void_p) for name in ("x", "targets", "labels", "params", "losses")),
        *((name, ctypes.c_void_p) for name in ("each", "statuses", "workspace", "gradient")),
        ("counts", ctypes.c_void_p),
        *((name, ctypes.c_size_t) for name in ("workspace_floats", "weight_count", "outputs")),
        *((name, ctypes.c_size_t) for name in ("tasks", "count")),
    )


@cache
def load() -> ctypes.CDLL:
    """Compile the core for this computer, or take it from the cache.

    Raises
    ------
    CannotBuild
        If there is no compiler, or it fails.
    """
    sources = [Path(__file__).parent / "host.c", CORE / "tinyreptile_core.c"]
    if not all(path.is_file() for path in sources):
        raise CannotBuild(f"the C sources are not in {CORE}; install from the repository")
    library = build.load("core", sources, CORE)
    visit, size, rate = ctypes.POINTER(_Call), ctypes.c_size_t, ctypes.c_float
    library.tr_host_online.argtypes = library.tr_host_minibatch.argtypes = [visit, size, size, rate]
    library.tr_host_prototypes.argtypes = [visit, size, rate, rate, rate]
    library.tr_host_partial.argtypes = [visit, size, rate, rate]
    for name in "online", "minibatch", "prototypes", "partial":
        getattr(library, f"tr_host_{name}").restype = size
    library.tr_host_score.argtypes = [visit]
    library.tr_host_score.restype = size
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
        return _visit(net, params, samples, load().tr_host_online, 0, 1, self.rate)


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
        numbers = self.epochs, self.batch, self.rate
        return _visit(net, params, shuffled, load().tr_host_minibatch, *numbers)


@dataclass(frozen=True)
class NativeOnlinePasses(OnlinePasses):
    """`OnlinePasses` in the C core: all passes in one call."""

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Make ``passes * N`` steps; ``rng`` is not used. The loss is that of the first pass."""
        if not available():
            return super().learn(net, params, samples, rng)
        numbers = 0, self.passes, self.rate
        return _visit(net, params, samples, load().tr_host_online, *numbers)


@dataclass(frozen=True)
class NativeHeadOnly(HeadOnly):
    """`HeadOnly` in the C core: the layers before the head are frozen."""

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Make ``passes * N`` steps of the head; ``rng`` is not used."""
        if not available():
            return super().learn(net, params, samples, rng)
        body = net.layers[: head_layer(net)]
        frozen = sum(not isinstance(layer, Flatten) for layer in body)  # the core has no Flatten
        numbers = frozen, self.passes, self.rate
        return _visit(net, params, samples, load().tr_host_online, *numbers)


@dataclass(frozen=True)
class NativePrototypeSGD(PrototypeSGD):
    """`PrototypeSGD` in the C core: a whole visit in one call."""

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Make one step for each sample; ``rng`` is not used. Raises as `PrototypeSGD` does."""
        if not available():
            return super().learn(net, params, samples, rng)
        check_holds_means(net)
        numbers = 0, self.scale, self.clip, self.rate
        return _visit(net, params, samples, load().tr_host_prototypes, *numbers)


@dataclass(frozen=True)
class NativeClassMeans(ClassMeans):
    """`ClassMeans` in the C core: a whole visit in one call."""

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Put the class means into the head; ``rng`` is not used. Raises as `ClassMeans` does."""
        if not available():
            return super().learn(net, params, samples, rng)
        check_holds_means(net)
        numbers = int(self.cosine), self.scale, 1.0, 0.0
        return _visit(net, params, samples, load().tr_host_prototypes, *numbers)


@dataclass(frozen=True)
class NativeImprinted(Imprinted):
    """`Imprinted` in the C core: one call for the class means and one for the passes."""

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Make class means, then ``passes * N`` steps, the loss being that of the first pass."""
        means = NativeClassMeans(self.scale).learn(net, params, samples, rng)
        return NativeOnlinePasses(self.rate, self.passes).learn(net, means.params, samples, rng)


@dataclass(frozen=True)
class NativePartialSGD(PartialSGD):
    """`PartialSGD` in the C core: all steps in one call; what is sent is chosen in NumPy."""

    def steps_of(self, net: Network, params: Array, samples: Samples) -> Learned:
        """Make the steps of a visit, before anything is packed."""
        if not available():
            return super().steps_of(net, params, samples)
        numbers = self.head_samples, self.head_rate or self.rate, self.rate
        return _visit(net, params, samples, load().tr_host_partial, *numbers)


TWINS: dict[type, Any] = {
    OnlineSGD: NativeOnlineSGD,
    MinibatchSGD: NativeMinibatchSGD,
    OnlinePasses: NativeOnlinePasses,
    HeadOnly: NativeHeadOnly,
    PrototypeSGD: NativePrototypeSGD,
    ClassMeans: NativeClassMeans,
    Imprinted: NativeImprinted,
    PartialSGD: NativePartialSGD,
}


def native(learner: Learner, strict: bool = True) -> Learner:
    """Return the native twin of a NumPy learner.

    Unless `strict`, a learner without a twin, or without a compiler, stays as it is, in NumPy.

    Raises
    ------
    KitError
        If it has no twin and `strict` is true.
    """
    if type(learner) in TWINS.values():
        return learner
    twin = TWINS.get(type(learner))
    if not strict and not (twin and available()):
        return learner
    if not twin:
        name = type(learner).__name__
        known = ", ".join(kind.__name__ for kind in TWINS)
        raise KitError(f"the C core has no {name}; choose one of: {known}")
    return twin(**asdict(learner))  # type: ignore[call-overload, no-any-return]


def native_score(net: Network, params: Array, query: Samples) -> Array:
    """`evaluation.score` in the C core: equal but for ties and rounding, and much faster."""
    if not available():
        return score(net, params, query)
    return _visit(net, params, query, load().tr_host_score).loss  # type: ignore[return-value]


_Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # of params, x and y


def _aligned(size: int) -> Array:
    """Floats that start where a cache line does, so that no SIMD load takes two lines."""
    room = np.empty(size + LINE, np.float32)
    skip = -room.ctypes.data // room.itemsize % LINE
    return room[skip : skip + size]


class _Desk:
    """Arrays as C wants them, and the struct that tells C where they are, for visits of one shape.

    Each thread keeps the last one of each network: to fill the struct takes longer than to copy
    the samples of a short visit.
    """

    def __init__(self, net: Network, shapes: _Shapes) -> None:
        params, x, y = shapes
        tasks = params[:-1]
        regression = net.loss_function.name == "mse"
        count = y[len(tasks)]
        self.shapes = shapes
        self.params = _aligned(prod(params)).reshape(params)
        self.x = np.empty(x, np.float32)
        self.y = np.empty(y, np.float32 if regression else np.int32)
        self.losses = np.empty(tasks, np.float32)
        self.statuses = np.empty(tasks, np.int32)
        self._arrays = {  # kept, as C holds only their addresses
            "x": self.x,
            "targets" if regression else "labels": self.y,
            "params": self.params,
            "losses": self.losses,
            "each": np.empty(count, np.float32),
            "statuses": self.statuses,
            "workspace": _aligned(workspace_floats(net)),
            "gradient": np.empty(net.size, np.float32),
            "counts": np.empty(net.outputs, np.uint16),
        }
        call = _Call(**{name: array.ctypes.data for name, array in self._arrays.items()})
        call.network = ctypes.pointer(c_network(net, load()))  # ctypes keeps what it points to
        call.workspace_floats = self._arrays["workspace"].size
        call.weight_count, call.outputs = net.size, net.outputs
        call.tasks, call.count = self.statuses.size, count
        self.visit = ctypes.pointer(call)


class _Desks(threading.local):
    """The desks of one thread, as clients in several threads may learn at the same time."""

    def __init__(self) -> None:
        self.of: WeakKeyDictionary[Network, _Desk] = WeakKeyDictionary()


_desks = _Desks()


def _lay_out(net: Network, params: Array, samples: Samples) -> _Desk:
    """Return a desk with copies of these parameters and samples on it."""
    x, y = samples
    shapes = params.shape, x.shape, y.shape
    desk = _desks.of.get(net)
    if desk is None or desk.shapes != shapes:
        net.views(params)
        net.check_samples(params, x, y)
        desk = _desks.of[net] = _Desk(net, shapes)
    if desk.y.dtype == np.int32:  # another label than the network's own could wrap
        y = net.loss_function.check(y, desk.y.shape, net.outputs)
    desk.params[...] = params
    desk.x[...] = x
    desk.y[...] = y
    return desk


def _visit(net: Network, params: Array, samples: Samples, learn: Any, *numbers: float) -> Learned:
    """Let a function of the core learn from these samples."""
    desk = _lay_out(net, params, samples)
    if learn(desk.visit, *numbers):
        _after_failure(net, params, samples, desk)
    return Learned(desk.params.copy(), desk.losses.copy()[()])


def _after_failure(net: Network, params: Array, samples: Samples, desk: _Desk) -> None:
    """NaN for the tasks that diverged, as NumPy gives it; bad samples are refused as NumPy does."""
    wrong = desk.statuses[~np.isin(desk.statuses, (Status.OK, Status.DIVERGED, Status.OVERFLOW))]
    if wrong.size:
        net.check_samples(params, *samples)
        reason = load().tr_status_text(int(wrong[0])).decode()
        raise KitError(f"the C core refuses these samples: {reason}")
    lost = desk.statuses != Status.OK
    desk.params[lost] = np.nan
    desk.losses[lost] = np.nan
