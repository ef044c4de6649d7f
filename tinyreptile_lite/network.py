"""A network: layers in order over ONE flat float32 parameter vector.

One vector is what a device receives and sends back, what the server averages, and what the C core
keeps in RAM. Layers read and write it through views. Every function takes parameters of shape
(P,), or (T, P) for T models at once with samples of shape (T, N, ...).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from math import prod
from typing import Any

import numpy as np

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.layers import Layer, Shape
from tinyreptile_lite.losses import find_loss

Array = np.ndarray
Views = list[list[Array]]
Bound = list[tuple[Layer, list[Array], list[Array]]]


class Network:
    """Layers, a loss and the shape of one input sample.

    Parameters
    ----------
    layers : sequence of Layer
        In forward order.
    loss : {"mse", "cross_entropy"}
        See `tinyreptile_lite.losses`.
    input_shape : tuple of int
        Shape of one sample: ``(features,)``, ``(time, channels)`` or
        ``(height, width, channels)``.

    Attributes
    ----------
    size : int
        Number of parameters P.
    head : slice
        Where the parameters of the last layer that has any are; those before it are the body.
    shapes : list of tuple
        Shape of one sample before the first layer and after every layer.

    Raises
    ------
    KitError
        If a layer does not fit the one before it, or no layer has parameters.

    Examples
    --------
    >>> net = Network([Dense(1, 32), Tanh(), Dense(32, 1)], "mse", (1,))
    >>> net.size
    97
    """

    def __init__(self, layers: Sequence[Layer], loss: str, input_shape: Shape) -> None:
        self.layers = list(layers)
        self.loss_function = find_loss(loss)
        self.input_shape = tuple(input_shape)
        self.shapes = [self.input_shape]
        for layer in self.layers:
            self.shapes.append(layer.output_shape(self.shapes[-1]))
        if len(self.shapes[-1]) != 1:
            raise KitError(f"the last layer gives shape {self.shapes[-1]}; end with a Dense layer")
        self.outputs = self.shapes[-1][0]
        self.size = sum(prod(shape) for layer in self.layers for shape in layer.parameter_shapes)
        if self.size == 0:
            raise KitError("no layer has parameters; add a Dense or Conv1D layer")
        # Nothing below the first layer with parameters needs a gradient.
        self.first = next(i for i, layer in enumerate(self.layers) if layer.parameter_shapes)
        # The parameters of the last layer that has any; those before it are the body.
        self.head = slice(self.size - self._head_size(), self.size)

    # Parameters

    def _head_size(self) -> int:
        sizes = [sum(map(prod, layer.parameter_shapes)) for layer in self.layers]
        return next(size for size in reversed(sizes) if size)

    def init(self, rng: np.random.Generator) -> Array:
        """Draw random parameters as each layer begins: see `Layer.init`.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of all randomness.

        Returns
        -------
        ndarray of float32, shape (P,)
        """
        params = np.empty(self.size, np.float32)
        for layer, views in zip(self.layers, self.views(params), strict=True):
            layer.init(views, rng)
        return params

    def views(self, params: Array) -> Views:
        """Cut a flat vector into the arrays of each layer, without copying.

        Parameters
        ----------
        params : ndarray, shape (P,) or (T, P)

        Returns
        -------
        list of list of ndarray
            For each layer its weight (..., fan_in, outputs) and bias (..., 1, outputs), or nothing.
        """
        if params.shape[-1] != self.size:
            raise KitError(
                f"the parameters have length {params.shape[-1]}; this network has {self.size}"
            )
        result, start = [], 0
        for layer in self.layers:
            views = []
            for shape in layer.parameter_shapes:
                stop = start + prod(shape)
                views.append(params[..., start:stop].reshape(*params.shape[:-1], *shape))
                start = stop
            result.append(views)
        return result

    # Forward and backward

    def forward(self, params: Array, x: Array) -> Array:
        """Output of the last layer, without checks; `predict` is the friendly form."""
        for layer, views in zip(self.layers, self.views(params), strict=True):
            x = layer.forward(views, x)
        return x

    def bind(self, params: Array, gradient: Array) -> Bound:
        """Join each layer with its views, once for many steps of `backward`.

        The views stay true while ``params`` changes in place.
        """
        return list(zip(self.layers, self.views(params), self.views(gradient), strict=True))

    def backward(self, bound: Bound, x: Array, y: Array, scale: float = 1.0) -> Array:
        """Write ``scale`` times the gradient into the bound vector; return the output.

        This is the inner loop of all learning: no checks, no copies. `loss_and_gradient` is the
        friendly form.
        """
        values = [x]
        for layer, params, _ in bound:
            x = layer.forward(params, x)
            values.append(x)
        output = after = values.pop()
        dy = self.loss_function.gradient(output, y, scale)
        for layer, params, grads in bound[: self.first : -1]:
            before = values.pop()
            dy = layer.backward(params, grads, before, after, dy)
            after = before
        layer, params, grads = bound[self.first]
        layer.weight_gradient(params, grads, values.pop(), dy)
        return output

    def predict(self, params: Array, x: Array) -> Array:
        """Outputs of the last layer.

        Parameters
        ----------
        params : ndarray, shape (P,) or (T, P)
        x : ndarray, shape (N, *input_shape) or (T, N, *input_shape)

        Returns
        -------
        ndarray of float32, shape (N, outputs) or (T, N, outputs)

        Raises
        ------
        KitError
            If the shapes do not fit, or ``x`` holds NaN or infinite values.
        """
        return self.forward(params, self.check_inputs(params, x))

    def loss(self, params: Array, x: Array, y: Array) -> Array:
        """Mean loss over the samples, for each task.

        Parameters
        ----------
        params, x
            As in `predict`.
        y : ndarray
            Targets (..., N, outputs) for "mse", integer labels (..., N) for "cross_entropy".

        Returns
        -------
        ndarray of float32, shape () or (T,)
        """
        x, y = self.check_samples(params, x, y)
        return self.loss_function.value(self.forward(params, x), y)

    def loss_and_gradient(self, params: Array, x: Array, y: Array) -> tuple[Array, Array]:
        """Mean loss over the samples and its gradient.

        Returns
        -------
        loss : ndarray of float32, shape () or (T,)
        gradient : ndarray of float32, shape of ``params``
        """
        x, y = self.check_samples(params, x, y)
        gradient = np.empty_like(params)
        output = self.backward(self.bind(params, gradient), x, y)
        return self.loss_function.value(output, y), gradient

    # Checks, made once at the border and never in the inner loop

    def check_inputs(self, params: Array, x: Array) -> Array:
        """Return ``x`` as float32 after checking its shape and values; see `predict`."""
        x = np.asarray(x, dtype=np.float32)
        tasks = params.shape[:-1]
        samples_axis = len(tasks)
        fits = x.ndim == samples_axis + 1 + len(self.input_shape)
        if (
            not fits
            or x.shape[:samples_axis] != tasks
            or x.shape[1 + samples_axis :] != (self.input_shape)
        ):
            wanted = ", ".join(map(str, (*tasks, "N", *self.input_shape)))
            raise KitError(f"the input has shape {x.shape}; this network needs ({wanted})")
        if x.shape[samples_axis] == 0:
            raise KitError("there are 0 samples; give at least one")
        if not np.isfinite(x).all():
            raise KitError("the input holds NaN or infinite values; remove those samples")
        return x

    def check_samples(self, params: Array, x: Array, y: Array) -> tuple[Array, Array]:
        """Return inputs and targets after checking both; see `loss`."""
        x = self.check_inputs(params, x)
        return x, self.loss_function.check(y, x.shape[: params.ndim], self.outputs)

    # Identity

    def config(self) -> dict[str, Any]:
        """Describe the network in plain JSON types."""
        return {
            "input_shape": [int(size) for size in self.input_shape],
            "layers": [{"kind": type(layer).__name__} | _plain(layer) for layer in self.layers],
            "loss": self.loss_function.name,
        }

    def fingerprint(self) -> str:
        """SHA-256 of the configuration, in hexadecimal: equal networks, equal fingerprints."""
        text = json.dumps(self.config(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def __repr__(self) -> str:
        layers = ", ".join(map(repr, self.layers))
        return f"Network([{layers}], {self.loss_function.name!r}, {self.input_shape})"


def _plain(layer: Layer) -> dict[str, Any]:
    """Sizes of a layer, NumPy's numbers turned into Python's."""
    sizes = asdict(layer)  # type: ignore[call-overload]
    return {
        name: size.item() if isinstance(size, np.generic) else size for name, size in sizes.items()
    }
