"""Layers: each knows its parameter shapes, its output shape, and how to go forward and backward.

A layer holds no numbers and no state. It gets its parameters as views into the network's flat
vector, so the same layer serves one model or many models at once: with a leading task axis the
weights are (T, inputs, outputs) instead of (inputs, outputs), and every operation below uses only
the last axes. The sample axis N is always there; online learning has N = 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinyreptile_lite.errors import KitError, at_least_one

Array = np.ndarray
Shape = tuple[int, ...]


class Layer:
    """What every layer offers; a layer without parameters keeps these defaults."""

    parameter_shapes: tuple[Shape, ...] = ()
    fan_in: int = 0

    def init(self, views: Sequence[Array], rng: np.random.Generator) -> None:
        """Draw random parameters into ``views``, uniform in +-1/sqrt(fan in), biases too."""
        for view in views:
            view[...] = rng.uniform(-1, 1, view.shape) / np.sqrt(self.fan_in)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of one sample's output, from the shape of one sample's input."""
        return shape

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulates of one forward pass over one sample of this shape."""
        return 0

    def forward(self, params: Sequence[Array], x: Array) -> Array:
        """Output for the inputs ``x`` of shape (..., N, *input shape)."""
        raise NotImplementedError

    def weight_gradient(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, dy: Array
    ) -> None:
        """Write the gradient with respect to the parameters into the views ``grads``."""

    def backward(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, y: Array, dy: Array
    ) -> Array:
        """Do `weight_gradient`, and return the gradient with respect to ``x``.

        ``y`` is the output that belongs to ``x``, and ``dy`` the gradient with respect to it.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Dense(Layer):
    """Fully connected layer, ``y = x @ weight + bias``.

    Parameters are the weight (inputs, outputs), row-major, then the bias (outputs).
    """

    inputs: int
    outputs: int

    def __post_init__(self) -> None:
        at_least_one("Dense: ", inputs=self.inputs, outputs=self.outputs)

    @cached_property
    def parameter_shapes(self) -> tuple[Shape, ...]:  # type: ignore[override]
        # The bias is a row, so that it adds to every sample, with or without a task axis.
        return (self.inputs, self.outputs), (1, self.outputs)

    @property
    def fan_in(self) -> int:  # type: ignore[override]
        return self.inputs

    def output_shape(self, shape: Shape) -> Shape:
        if shape != (self.inputs,):
            raise KitError(f"{self} cannot follow an output of shape {shape}")
        return (self.outputs,)

    def macs(self, shape: Shape) -> int:
        return self.inputs * self.outputs

    # A single model uses ``dot``, which starts faster than ``@`` but knows no task axis.

    def forward(self, params: Sequence[Array], x: Array) -> Array:
        weight, bias = params
        y = x.dot(weight) if weight.ndim == 2 else x @ weight
        y += bias
        return y

    def weight_gradient(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, dy: Array
    ) -> None:
        weight, bias = grads
        if weight.ndim == 2:
            x.T.dot(dy, weight)
        elif x.shape[-2] == 1:  # one outer product for each task; `matmul` is slow for these
            np.einsum("...i,...j->...ij", x[..., 0, :], dy[..., 0, :], out=weight)
        else:
            np.matmul(x.mT, dy, out=weight)
        if dy.shape[-2] == 1:
            bias[...] = dy
        else:
            np.add.reduce(dy, axis=-2, keepdims=True, out=bias)

    def backward(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, y: Array, dy: Array
    ) -> Array:
        self.weight_gradient(params, grads, x, dy)
        weight = params[0]
        return dy.dot(weight.T) if weight.ndim == 2 else dy @ weight.mT


@dataclass(frozen=True)
class Conv1D(Layer):
    """Convolution over time without padding; the input is (time, channels).

    Parameters are the weight (kernel, in_channels, out_channels), row-major, then the bias
    (out_channels). As channels come last, one position of the convolution is a `Dense` layer on
    ``kernel * in_channels`` neighbouring numbers; the code below uses just that.
    """

    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1

    def __post_init__(self) -> None:
        at_least_one(
            "Conv1D: ",
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            kernel=self.kernel,
            stride=self.stride,
        )

    @cached_property
    def _dense(self) -> Dense:
        return Dense(self.fan_in, self.out_channels)

    @property
    def parameter_shapes(self) -> tuple[Shape, ...]:  # type: ignore[override]
        return self._dense.parameter_shapes

    @property
    def fan_in(self) -> int:  # type: ignore[override]
        return self.kernel * self.in_channels

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 2 or shape[1] != self.in_channels or shape[0] < self.kernel:
            raise KitError(f"{self} cannot follow an output of shape {shape}")
        return self._positions(shape[0]), self.out_channels

    def macs(self, shape: Shape) -> int:
        return self._positions(shape[0]) * self.fan_in * self.out_channels

    def forward(self, params: Sequence[Array], x: Array) -> Array:
        y = self._dense.forward(params, self._windows(x))
        return y.reshape(*x.shape[:-2], -1, self.out_channels)

    def weight_gradient(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, dy: Array
    ) -> None:
        self._dense.weight_gradient(params, grads, self._windows(x), self._flat(dy))

    def backward(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, y: Array, dy: Array
    ) -> Array:
        self.weight_gradient(params, grads, x, dy)
        windows = self._flat(dy) @ params[0].mT
        windows = windows.reshape(*dy.shape[:-1], self.kernel, self.in_channels)
        dx = np.zeros_like(x)
        span = self.stride * dy.shape[-2]
        for tap in range(self.kernel):  # positions overlap, so each tap adds its share
            dx[..., tap : tap + span : self.stride, :] += windows[..., tap, :]
        return dx

    def _positions(self, time: int) -> int:
        return (time - self.kernel) // self.stride + 1

    def _windows(self, x: Array) -> Array:
        """All windows of (..., N, time, channels) as rows: (..., N * positions, fan_in)."""
        x = np.ascontiguousarray(x)
        shape = (*x.shape[:-2], self._positions(x.shape[-2]), self.fan_in)
        strides = (*x.strides[:-2], self.stride * x.strides[-2], x.strides[-1])
        # The view overlaps itself; the reshape copies it into rows that `dot` can work on fast.
        return as_strided(x, shape, strides).reshape(*x.shape[:-3], -1, self.fan_in)

    def _flat(self, dy: Array) -> Array:
        """(..., N, positions, channels) as (..., N * positions, channels)."""
        return dy.reshape(*dy.shape[:-3], -1, self.out_channels)


@dataclass(frozen=True)
class GlobalAveragePool(Layer):
    """Mean over time: (time, channels) becomes (channels,)."""

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            raise KitError(f"{self} needs an input of (time, channels), not {shape}")
        return (shape[1],)

    def forward(self, params: Sequence[Array], x: Array) -> Array:
        return x.mean(axis=-2)

    def backward(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, y: Array, dy: Array
    ) -> Array:
        return np.broadcast_to((dy / x.shape[-2])[..., None, :], x.shape)


@dataclass(frozen=True)
class Tanh(Layer):
    """Hyperbolic tangent."""

    def forward(self, params: Sequence[Array], x: Array) -> Array:
        return np.tanh(x)

    def backward(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, y: Array, dy: Array
    ) -> Array:
        return dy - dy * y * y


@dataclass(frozen=True)
class ReLU(Layer):
    """Rectified linear unit: negative inputs become zero."""

    def forward(self, params: Sequence[Array], x: Array) -> Array:
        return np.maximum(x, 0)

    def backward(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, y: Array, dy: Array
    ) -> Array:
        return dy * np.sign(y)  # y is never negative, so its sign is 0 or 1


@dataclass(frozen=True)
class Scale(Layer):
    """Multiply by a constant: brings raw inputs into the range where a network learns well."""

    factor: float

    def __post_init__(self) -> None:
        if not np.isfinite(self.factor) or self.factor == 0:
            raise KitError(f"Scale: factor is {self.factor}; give a finite number other than 0")

    def forward(self, params: Sequence[Array], x: Array) -> Array:
        return self.factor * x

    def backward(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, y: Array, dy: Array
    ) -> Array:
        return self.factor * dy
