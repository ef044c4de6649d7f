"""Learners for few samples: more passes, the head alone, or class means.

How a device adapts is a choice of its own. `OnlinePasses` keeps its samples and goes over them
again. `HeadOnly` lets the last layer learn, on features that stay as they are. `ClassMeans` makes
no step at all: a sample belongs to the class whose mean of features is nearest. `PrototypeSGD`
trains the layers before for just that, and `Imprinted` goes on from class means with online steps.

Class means need no code of their own to be used, as the head can hold them. With features f, the
inputs of the last layer, and mean m of class c, the weights ``2 * scale * m`` and the bias
``-scale * |m|**2`` give the output ``-scale * |f - m|**2``, but for a term that all classes share.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyreptile_lite.errors import KitError, at_least_one
from tinyreptile_lite.layers import Dense
from tinyreptile_lite.learners import Learned, OnlineSGD, check_rate
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Samples

Array = np.ndarray

# A class without a mean has this bias, plus 8 times the lowest of the means': so low that no sample
# is said to be of it, but not so low that it would spoil phi, or a class that comes later.
UNSEEN, BELOW = -100.0, 8.0
SCALES = (1e-6, 100.0)  # as the C core has them, so that nothing overflows
CLIPS = (1e-6, 1e12)
SHORTEST = 1e-30  # square of the length of a mean that still has a direction


@dataclass(frozen=True)
class OnlinePasses:
    """Keep the samples and pass over them, in the order they came, one online step for each.

    One pass is `OnlineSGD`.

    Parameters
    ----------
    rate : float
        Inner learning rate.
    passes : int
        Passes over the samples.
    """

    rate: float
    passes: int = 1
    memoryless: ClassVar[bool] = False
    weight_buffers: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_rate(self.rate)
        at_least_one(passes=self.passes)

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Make ``passes * N`` steps; ``rng`` is not used. The loss is that of the first pass."""
        one_pass = OnlineSGD(self.rate)
        params, loss = one_pass.learn(net, params, samples, rng)
        for _ in range(self.passes - 1):
            params = one_pass.learn(net, params, samples, rng).params
        return Learned(params, loss)

    def steps(self, sample_count: int) -> int:
        """Each sample once in each pass."""
        return self.passes * sample_count

    def kept_samples(self, sample_count: int) -> int:
        """All of them for a next pass; without one, the one that just arrived."""
        return sample_count if self.passes > 1 else 1


@dataclass(frozen=True)
class HeadOnly(OnlinePasses):
    """`OnlinePasses` for the head alone: the layers before it, the body, stay as they are.

    Parameters
    ----------
    rate, passes
        As in `OnlinePasses`.
    """

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Make ``passes * N`` steps of the head; ``rng`` is not used."""
        x, y = net.check_samples(params, *samples)
        first = head_layer(net)
        for layer, views in zip(net.layers[:first], net.views(params), strict=False):
            x = layer.forward(views, x)
        head = Network(net.layers[first:], net.loss_function.name, net.shapes[first])
        params = params.copy()
        passes = OnlinePasses(self.rate, self.passes)
        learned = passes.learn(head, params[..., net.head], Samples(x, y), rng)
        params[..., net.head] = learned.params
        return Learned(params, learned.loss)


def head_layer(net: Network) -> int:
    """Index of the last layer that has parameters."""
    return max(i for i, layer in enumerate(net.layers) if layer.parameter_shapes)


@dataclass(frozen=True)
class PrototypeSGD:
    """The prototype client: online steps of the body towards class means that can be told apart.

    For each sample, in the order it arrives: if its class has a mean, and another class too, then
    the body makes one step on the cross-entropy of ``softmax(-scale * |f - m|**2)`` over the
    classes that have one, with the means m taken as constant. In any case, the mean of its class
    then takes in its features f, as they were before the step. The sample is forgotten.

    The means start anew at each visit, so it ignores the head of the parameters it is given; in
    the head of those it returns are the means. A class that had no sample has the weight 0 and a
    very low bias, so the head of a phi trained this way is no good start for a learner with plain
    steps: make it zero. The prototypes are those of Snell et al. 2017 (arXiv 1703.05175), but
    online.

    Parameters
    ----------
    rate : float
        Inner learning rate of the body.
    scale : float, default 0.05
        Of the squared distances, 1e-6 to 100: how sharp the softmax is.
    clip : float, default 1
        Longest gradient with respect to the features f; a longer one is made shorter.
    """

    rate: float
    scale: float = 0.05
    clip: float = 1.0
    memoryless: ClassVar[bool] = False  # as it starts with no means
    weight_buffers: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_rate(self.rate)
        _check_range("scale", self.scale, SCALES)
        _check_range("clip", self.clip, CLIPS)

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Make one step for each sample; ``rng`` is not used.

        The loss is the mean over the samples whose class had a mean, or 0 if there was none.
        Raises as `Network.loss` does, and if the network cannot hold class means.
        """
        params = params.copy()
        learns = net.head.start > 0  # else there is no body
        means, x, y = _start(net, params, samples, self.scale, self.clip)
        if learns:
            # To the body, the head and its loss are one loss.
            body = Network(net.layers[:-1], net.loss_function.name, net.input_shape)
            body.loss_function = means  # type: ignore[assignment]
            weights = params[..., : body.size]
            step = np.empty_like(weights)
            bound = body.bind(weights, step)
        for i in range(y.shape[-1]):
            one = np.s_[..., i : i + 1]
            at = (slice(None),) * (params.ndim - 1) + (slice(i, i + 1),)
            if learns:
                body.backward(bound, x[at], y[one], self.rate)
                weights -= step
            else:
                means.gradient(_features(net, params, x[at]), y[one])
        return Learned(params, means.loss())

    def steps(self, sample_count: int) -> int:
        """One for each sample, though those of a class without a mean need no backward pass."""
        return sample_count

    def kept_samples(self, sample_count: int) -> int:
        """Only the one that just arrived."""
        return 1


@dataclass(frozen=True)
class ClassMeans:
    """Class means of the features, forward only: the body stays as it is, the head becomes them.

    Parameters
    ----------
    scale : float, default 0.05
        As in `PrototypeSGD`: it does not matter for the nearest mean, but for the loss.
    cosine : bool, default False
        Whether the largest cosine decides, not the smallest distance: each mean, of length 1, is
        the weight, and the bias is 0.
    """

    scale: float = 0.05
    cosine: bool = False
    memoryless: ClassVar[bool] = False
    weight_buffers: ClassVar[int] = 0

    def __post_init__(self) -> None:
        _check_range("scale", self.scale, SCALES)

    @property
    def rate(self) -> float:
        """There are no steps."""
        return 0.0

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Put the class means into the head; ``rng`` is not used. Loss as in `PrototypeSGD`."""
        params = params.copy()
        means, x, y = _start(net, params, samples, self.scale, CLIPS[1])
        features = _features(net, params, x)
        for i in range(y.shape[-1]):
            means.gradient(features[..., i : i + 1, :], y[..., i : i + 1])
        if self.cosine:
            means.make_unit()
        return Learned(params, means.loss())

    def steps(self, sample_count: int) -> int:
        """None: the backward pass is never made."""
        return 0

    def kept_samples(self, sample_count: int) -> int:
        """Only the one that just arrived."""
        return 1


@dataclass(frozen=True)
class Imprinted(OnlinePasses):
    """Class means as the head's start, then online steps of all layers over the same samples.

    After Qi et al. 2018 (arXiv 1712.07136), who call weights made of features imprinted.

    Parameters
    ----------
    rate, passes
        As in `OnlinePasses`.
    scale : float, default 0.05
        As in `PrototypeSGD`. If it is too small the softmax is flat, and if too large, saturated.
    """

    scale: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_range("scale", self.scale, SCALES)

    def learn(
        self, net: Network, params: Array, samples: Samples, rng: np.random.Generator
    ) -> Learned:
        """Make class means, then ``passes * N`` steps, the loss being that of the first pass."""
        means = ClassMeans(self.scale).learn(net, params, samples, rng)
        return OnlinePasses(self.rate, self.passes).learn(net, means.params, samples, rng)

    def kept_samples(self, sample_count: int) -> int:
        """All of them, for the passes after the means."""
        return sample_count


LEARNERS = OnlinePasses, HeadOnly, PrototypeSGD, ClassMeans, Imprinted


def _check_range(name: str, value: float, ends: tuple[float, float]) -> None:
    if not ends[0] <= value <= ends[1]:
        raise KitError(f"{name} is {value}; give a number from {ends[0]:g} to {ends[1]:g}")


def check_holds_means(net: Network) -> None:
    """Raise `KitError` unless the network's head can hold class means."""
    if net.loss_function.name != "cross_entropy" or not isinstance(net.layers[-1], Dense):
        raise KitError(
            f"class means need a network that ends with Dense, with the loss cross_entropy; this "
            f"one ends with {net.layers[-1]}, with {net.loss_function.name}"
        )


def _start(
    net: Network, params: Array, samples: Samples, scale: float, clip: float
) -> tuple["_Means", Array, Array]:
    """Forget the head in ``params``; return means that will be written there, and the samples."""
    check_holds_means(net)
    x, y = net.check_samples(params, *samples)
    weight, bias = net.views(params)[-1]
    return _Means(weight, bias, scale, clip), x, y


def _features(net: Network, params: Array, x: Array) -> Array:
    """Inputs of the last layer, (..., N, features)."""
    for layer, views in zip(net.layers[:-1], net.views(params), strict=False):
        x = layer.forward(views, x)
    return x


class _Means:
    """Running class means in a head, and the loss of one more sample against them.

    To the layers before, it is a loss like those of `tinyreptile_lite.losses`, with features in
    the place of the output.
    """

    name = "cross_entropy"

    def __init__(self, weight: Array, bias: Array, scale: float, clip: float) -> None:
        weight[...], bias[...] = 0, UNSEEN
        self._weight, self._bias = weight, bias
        self._scale, self._clip = np.float32(scale), np.float32(clip)
        self._counts = np.zeros(bias.shape, np.float32)  # (..., 1, classes)
        self._losses = np.zeros((*bias.shape[:-2], 2), np.float32)  # their sum and number

    def gradient(self, features: Array, labels: Array, scale: float = 1.0) -> Array:
        """Gradient of the loss of one sample; then let the mean of its class take it in.

        Parameters
        ----------
        features : ndarray, shape (..., 1, F)
        labels : ndarray, shape (..., 1)
        scale : float
            Factor of the result.
        """
        hit = labels[..., None] == np.arange(self._bias.shape[-1])
        seen = self._counts > 0
        learns = (hit & seen).any(axis=-1) & (seen.sum(axis=-1) > 1)  # (..., 1)
        dy, loss = self._softmax(features, hit)
        self._losses[..., 0] += np.where(learns, loss, 0)[..., 0]
        self._losses[..., 1] += learns[..., 0]
        gradient = dy @ self._weight.mT
        length = np.sqrt(np.square(gradient).sum(axis=-1, keepdims=True))
        factor = np.float32(scale) * self._clip / np.maximum(length, self._clip)
        self._take_in(features, hit)
        return np.where(learns[..., None], gradient * factor, np.float32(0))

    def _softmax(self, features: Array, hit: Array) -> tuple[Array, Array]:
        """Gradient with respect to the outputs, (..., 1, classes), and loss, (..., 1)."""
        output = features @ self._weight + self._bias
        output -= output.max(axis=-1, keepdims=True)  # a class without a mean is far below
        softmax = np.exp(output)
        total = softmax.sum(axis=-1, keepdims=True)
        loss = np.log(total[..., 0]) - (hit * output).sum(axis=-1)
        return softmax / total - hit, loss

    def _take_in(self, features: Array, hit: Array) -> None:
        self._counts += hit
        share = hit / np.maximum(self._counts, 1)
        self._weight += share * (2 * self._scale * features.mT - self._weight)
        squares = np.square(self._weight).sum(axis=-2, keepdims=True)
        np.copyto(self._bias, -squares / (4 * self._scale), where=hit)
        lowest = np.where(hit, self._bias, 0).min(axis=-1, keepdims=True)
        unseen = np.minimum(self._bias, np.float32(UNSEEN) + np.float32(BELOW) * lowest)
        np.copyto(self._bias, unseen, where=self._counts == 0)

    def make_unit(self) -> None:
        """Give every mean length 1, and no bias; one without a direction becomes 0."""
        squares = np.square(self._weight).sum(axis=-2, keepdims=True)
        usable = squares > SHORTEST
        self._weight *= usable / np.sqrt(np.where(usable, squares, 1))
        self._bias[self._counts > 0] = 0

    def loss(self) -> Array:
        """Mean of all losses there were, for each task; 0 if there was none."""
        total, number = np.moveaxis(self._losses, -1, 0)
        return total / np.maximum(number, 1)
