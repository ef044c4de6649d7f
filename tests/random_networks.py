"""Random networks of every kind of layer, for property tests."""

from dataclasses import replace

from hypothesis import strategies as st

from tinyreptile_lite.image_layers import Conv2D, Flatten, LayerNorm, SiLU
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, Layer, ReLU, Scale, Tanh
from tinyreptile_lite.network import Network

WIDTHS = st.integers(1, 9)
FACTORS = st.one_of(st.integers(1, 3), st.sampled_from([0.4, -0.5, 1e-3]))


@st.composite
def between(draw: st.DrawFn, channels: int) -> list[Layer]:
    """Up to three layers that keep the shape, in any order."""
    kinds = st.sampled_from([Tanh(), ReLU(), SiLU(), LayerNorm(channels)])
    return draw(st.lists(st.one_of(kinds, st.builds(Scale, FACTORS)), max_size=3))


@st.composite
def convolutions(draw: st.DrawFn, shape: tuple[int, ...]) -> list[Layer]:
    """Up to three convolutions over time or over an image, then what ends in a row of numbers."""
    layers: list[Layer] = []
    for _ in range(draw(st.integers(0, 3))):
        kernel = draw(st.integers(1, min(4, *shape[:-1])))
        sizes = shape[-1], draw(WIDTHS), kernel, draw(st.integers(1, 3))
        conv: Layer
        if len(shape) == 2:
            conv = Conv1D(*sizes)
        else:
            conv = Conv2D(*sizes, draw(st.integers(0, kernel - 1)))
            pool = draw(st.integers(1, min(3, *conv.output_shape(shape)[:2])))
            conv = replace(conv, pool=pool, bias=draw(st.booleans()))
        shape = conv.output_shape(shape)
        layers += [conv, *draw(between(shape[-1]))]
    return [*layers, GlobalAveragePool() if len(shape) == 2 else Flatten()]


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Convolutions over time or an image, or none, then dense layers, with others between."""
    dimensions = draw(st.integers(1, 3))
    start = tuple(
        draw(WIDTHS if axis == dimensions - 1 else st.integers(3, 20 if dimensions == 2 else 9))
        for axis in range(dimensions)
    )
    layers = draw(between(start[-1]))
    if dimensions > 1:
        layers += draw(convolutions(start))
    shape = start
    for layer in layers:
        shape = layer.output_shape(shape)
    layers += draw(between(shape[0]))
    for _ in range(draw(st.integers(1, 3))):
        layers += [Dense(shape[0], width := draw(WIDTHS)), *draw(between(width))]
        shape = (width,)
    return Network(layers, draw(st.sampled_from(["mse", "cross_entropy"])), start)
