"""The usual way to learn in PyTorch: its eager loop, and the kit's network of images in it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.image_layers import EPSILON, Conv2D, Flatten, LayerNorm, SiLU
from tinyreptile_lite.layers import Dense, Layer, Shape
from tinyreptile_lite.network import Network

Array = np.ndarray


def loop(model: Any, criterion: Any, rate: float, x: Array, y: Array) -> Callable[[], Any]:
    """Return a function that makes an online step for each sample, and gives the model."""
    import torch

    optimiser = torch.optim.SGD(model.parameters(), lr=rate)
    samples = list(zip(torch.tensor(x[:, None]), torch.tensor(y[:, None]), strict=True))

    def run() -> Any:
        losses = []
        for one, answer in samples:
            optimiser.zero_grad()
            loss = criterion(model(one), answer)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        return model

    return run


def image_model(net: Network, params: Array) -> Any:
    """Return a network of images in PyTorch, with the same parameters.

    Raises
    ------
    KitError
        If it has another layer than convolutions, normalisations, SiLU, and a dense one at the end.
    """
    import torch
    from torch import nn

    modules, image = [], net.input_shape
    for layer, shape, own in zip(net.layers, net.shapes[:-1], net.views(params), strict=True):
        module = _module(layer)
        image = shape if len(shape) == 3 else image
        for parameter, value in zip(module.parameters(), own, strict=True):
            parameter.data = torch.tensor(_turned(layer, value, image))
        modules.append(module)
    return nn.Sequential(*modules)


def channels_first(x: Array) -> Array:
    """Return images (count, height, width, channels) as PyTorch takes them."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def distance(model: Any, other: Any) -> float:
    """Largest difference between the parameters of two models."""
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return max(float((one - two).detach().abs().max()) for one, two in pairs)


def _module(layer: Layer) -> Any:
    from torch import nn

    match layer:
        case Conv2D(pool=1):
            sizes = layer.in_channels, layer.out_channels, layer.kernel, layer.stride, layer.padding
            return nn.Conv2d(*sizes, bias=layer.bias)
        case LayerNorm():  # over channels and positions: one group
            return nn.GroupNorm(1, layer.channels, eps=EPSILON)
        case SiLU():
            return nn.SiLU()
        case Flatten():
            return nn.Flatten()
        case Dense():
            return nn.Linear(layer.inputs, layer.outputs)
    raise KitError(f"this comparison knows no {layer}; choose a network as Omniglot's")


def _turned(layer: Layer, value: Array, image: Shape) -> Array:
    """Return a parameter in PyTorch's order: outputs first, and channels before positions.

    ``image`` is what the layer takes, or what was flattened for it.
    """
    if value.shape[0] == 1:  # a bias, or a gain
        return value[0]
    if isinstance(layer, Conv2D):
        image = layer.kernel, layer.kernel, layer.in_channels
    turned = value.reshape(*image, -1).transpose(3, 2, 0, 1)
    return turned if isinstance(layer, Conv2D) else turned.reshape(value.shape[::-1])
