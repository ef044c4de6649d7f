"""Layers of networks for images: convolution with padding, layer normalisation, SiLU, flatten.

An image is (height, width, channels); channels come last, as in `layers`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinyreptile_lite.errors import KitError, at_least_one, not_negative
from tinyreptile_lite.layers import Array, Dense, Layer, Shape

MOST_POOL = 15  # TR_MAX_POOL of the C core
EPSILON = 1e-5  # added to a variance before the square root


@dataclass(frozen=True)
class Conv2D(Layer):
    """Convolution over an image, with zeros around it, and a maximum over squares of positions.

    Parameters are the weight (kernel, kernel, in_channels, out_channels), row-major, then the bias
    (out_channels) unless ``bias`` is false, as before a `LayerNorm`, which has its own. Like that
    of `Conv1D`, one position is a `Dense` layer on the numbers of its window.

    ``pool`` is max pooling within the layer: of every ``pool * pool`` positions only the largest
    output of each channel is kept, so that a board need not hold the others. An activation that
    follows gives the same as one before the pooling would.
    """

    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    pool: int = 1
    bias: bool = True

    def __post_init__(self) -> None:
        at_least_one(
            "Conv2D: ",
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            kernel=self.kernel,
            stride=self.stride,
            pool=self.pool,
        )
        not_negative(padding=self.padding)
        if self.padding >= self.kernel:
            raise KitError(f"Conv2D: padding is {self.padding}; give less than the kernel's size")
        if self.pool > MOST_POOL:
            raise KitError(f"Conv2D: pool is {self.pool}; give at most {MOST_POOL}")

    @cached_property
    def _dense(self) -> Dense:
        return Dense(self.fan_in, self.out_channels)

    @property
    def parameter_shapes(self) -> tuple[Shape, ...]:  # type: ignore[override]
        return self._dense.parameter_shapes[: 1 + self.bias]

    @property
    def fan_in(self) -> int:  # type: ignore[override]
        return self.kernel**2 * self.in_channels

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) == 3 and shape[2] == self.in_channels:
            rows, columns = (side // self.pool for side in self._positions(shape))
            if rows > 0 and columns > 0:
                return rows, columns, self.out_channels
        raise KitError(f"{self} cannot follow an output of shape {shape}")

    def macs(self, shape: Shape) -> int:
        return prod(self._positions(shape)) * self.fan_in * self.out_channels

    def forward(self, params: Sequence[Array], x: Array) -> Array:
        y = self._convolve(params, x)
        return y if self.pool == 1 else self._squares(y).max(axis=-2)

    def weight_gradient(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, dy: Array
    ) -> None:
        self._weight_gradient(params, grads, x, self._before_pool(params, x, dy))

    def backward(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, y: Array, dy: Array
    ) -> Array:
        dy = self._before_pool(params, x, dy)
        self._weight_gradient(params, grads, x, dy)
        windows = self._flat(dy) @ params[0].mT
        windows = windows.reshape(*dy.shape[:-1], self.kernel, self.kernel, self.in_channels)
        dx = np.zeros_like(self._padded(x))
        spans = [self.stride * positions for positions in dy.shape[-3:-1]]
        for row, column in np.ndindex(self.kernel, self.kernel):  # windows overlap
            rows = slice(row, row + spans[0], self.stride)
            columns = slice(column, column + spans[1], self.stride)
            dx[..., rows, columns, :] += windows[..., row, column, :]
        rows, columns = (slice(self.padding, self.padding + side) for side in x.shape[-3:-1])
        return dx[..., rows, columns, :]

    def _weight_gradient(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, dy: Array
    ) -> None:
        dense = self._with_bias(grads)
        self._dense.weight_gradient(params, dense, self._windows(x), self._flat(dy))

    def _with_bias(self, arrays: Sequence[Array]) -> list[Array]:
        """Return the weight and the bias; zeros if there is none."""
        weight = arrays[0]
        zeros = np.zeros((*weight.shape[:-2], 1, self.out_channels), weight.dtype)
        return [weight, arrays[1] if self.bias else zeros]

    def _positions(self, shape: Shape) -> tuple[int, int]:
        """Count the positions down and across, before the pooling."""
        wide = 2 * self.padding - self.kernel
        return (shape[-3] + wide) // self.stride + 1, (shape[-2] + wide) // self.stride + 1

    def _padded(self, x: Array) -> Array:
        if self.padding == 0:
            return np.ascontiguousarray(x)
        sides = [(self.padding, self.padding)] * 2
        return np.pad(x, [*[(0, 0)] * (x.ndim - 3), *sides, (0, 0)])

    def _windows(self, x: Array) -> Array:
        """All windows of (..., N, height, width, channels): (..., N * positions, fan_in)."""
        positions = self._positions(x.shape)
        x, before = self._padded(x), x.shape[:-3]
        shape = (*before, *positions, self.kernel, self.kernel * self.in_channels)
        row, column, channel = x.strides[-3:]
        strides = (*x.strides[:-3], self.stride * row, self.stride * column, row, channel)
        # As in Conv1D, the reshape copies overlapping views into rows that `dot` can work on fast.
        return as_strided(x, shape, strides).reshape(*before[:-1], -1, self.fan_in)

    def _convolve(self, params: Sequence[Array], x: Array) -> Array:
        y = self._dense.forward(self._with_bias(params), self._windows(x))
        return y.reshape(*x.shape[:-3], *self._positions(x.shape), self.out_channels)

    def _flat(self, dy: Array) -> Array:
        """(..., N, rows, columns, channels) as (..., N * positions, channels)."""
        return dy.reshape(*dy.shape[:-4], -1, self.out_channels)

    def _squares(self, y: Array) -> Array:
        """Cut (..., rows, columns, channels) into (..., rows, columns, pool * pool, channels).

        Positions that fill no square are left out.
        """
        rows, columns = (side // self.pool for side in y.shape[-3:-1])
        y = y[..., : rows * self.pool, : columns * self.pool, :]
        y = y.reshape(*y.shape[:-3], rows, self.pool, columns, self.pool, y.shape[-1])
        return y.swapaxes(-4, -3).reshape(*y.shape[:-5], rows, columns, -1, y.shape[-1])

    def _before_pool(self, params: Sequence[Array], x: Array, dy: Array) -> Array:
        """Return the gradient of all positions: zero where another one was the largest."""
        if self.pool == 1:
            return dy
        y = self._convolve(params, x)
        squares = self._squares(y)
        spread = np.zeros_like(squares)
        largest = squares.argmax(axis=-2)[..., None, :]
        np.put_along_axis(spread, largest, dy[..., None, :], axis=-2)
        rows, columns = dy.shape[-3:-1]
        spread = spread.reshape(*dy.shape[:-1], self.pool, self.pool, -1).swapaxes(-4, -3)
        whole = np.zeros_like(y)
        whole[..., : rows * self.pool, : columns * self.pool, :] = spread.reshape(
            *dy.shape[:-3], rows * self.pool, columns * self.pool, -1
        )
        return whole


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Normalise each sample over all its numbers, then scale and shift each channel.

    Parameters are the gain (channels), which begins at 1, then the bias (channels), which begins
    at 0. The input is (channels,), (time, channels) or (height, width, channels).

    Ba, Kiros and Hinton, "Layer Normalization", 2016; with one gain and bias for each channel.
    """

    channels: int

    def __post_init__(self) -> None:
        at_least_one("LayerNorm: ", channels=self.channels)

    fan_in = 1

    @property
    def parameter_shapes(self) -> tuple[Shape, ...]:  # type: ignore[override]
        return (1, self.channels), (1, self.channels)

    def init(self, views: Sequence[Array], rng: np.random.Generator) -> None:
        views[0][...], views[1][...] = 1, 0

    def output_shape(self, shape: Shape) -> Shape:
        if not shape or shape[-1] != self.channels:
            raise KitError(f"{self} cannot follow an output of shape {shape}")
        return shape

    def macs(self, shape: Shape) -> int:
        return prod(shape)

    def forward(self, params: Sequence[Array], x: Array) -> Array:
        gain, bias = (self._spread(param, x) for param in params)
        return gain * self._normal(params, x)[0] + bias

    def weight_gradient(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, dy: Array
    ) -> None:
        axes = tuple(range(params[0].ndim - 2, x.ndim - 1))  # all but tasks and channels
        np.sum(dy * self._normal(params, x)[0], axis=axes, out=grads[0][..., 0, :])
        np.sum(dy, axis=axes, out=grads[1][..., 0, :])

    def backward(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, y: Array, dy: Array
    ) -> Array:
        self.weight_gradient(params, grads, x, dy)
        normal, root = self._normal(params, x)
        axes = self._axes(params, x)
        d = dy * self._spread(params[0], x)
        along = (d * normal).mean(axis=axes, keepdims=True)
        return root * (d - d.mean(axis=axes, keepdims=True) - normal * along)

    def _axes(self, params: Sequence[Array], x: Array) -> tuple[int, ...]:
        """Axes of one sample: behind those of tasks and samples."""
        return tuple(range(params[0].ndim - 1, x.ndim))

    def _spread(self, param: Array, x: Array) -> Array:
        """Return a parameter (..., 1, channels) with as many axes as ``x``, to multiply with it."""
        ones = (1,) * (x.ndim - param.ndim + 1)
        return param.reshape(*param.shape[:-2], *ones, self.channels)

    def _normal(self, params: Sequence[Array], x: Array) -> tuple[Array, Array]:
        """Return the normalised input, and 1 / standard deviation of each sample."""
        axes = self._axes(params, x)
        distance = x - x.mean(axis=axes, keepdims=True)
        variance = np.square(distance).mean(axis=axes, keepdims=True)
        root = 1 / np.sqrt(variance + EPSILON)
        return distance * root, root


@dataclass(frozen=True)
class SiLU(Layer):
    """Sigmoid linear unit, ``x / (1 + exp(-x))``: a smooth ReLU.

    Its derivative needs the input, which the C core keeps besides the output, but not if the layer
    before is a `LayerNorm`.
    """

    def forward(self, params: Sequence[Array], x: Array) -> Array:
        return x * _sigmoid(x)

    def backward(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, y: Array, dy: Array
    ) -> Array:
        s = _sigmoid(x)
        return dy * s * (1 + x * (1 - s))


def _sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))`` by the exponential of a negative number, which cannot overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


@dataclass(frozen=True)
class Flatten(Layer):
    """An image (height, width, channels) becomes (height * width * channels,) for a `Dense`.

    Nothing moves in memory, so the C core has no such layer: export leaves it out.
    """

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 3:
            raise KitError(f"{self} needs an image (height, width, channels), not {shape}")
        return (prod(shape),)

    def forward(self, params: Sequence[Array], x: Array) -> Array:
        return x.reshape(*x.shape[:-3], -1)

    def backward(
        self, params: Sequence[Array], grads: Sequence[Array], x: Array, y: Array, dy: Array
    ) -> Array:
        return dy.reshape(x.shape)
