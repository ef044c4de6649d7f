"""Random networks of every kind of layer, for property tests."""

from hypothesis import strategies as st

from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, Layer, ReLU, Scale, Tanh
from tinyreptile_lite.network import Network

FACTORS = st.one_of(st.integers(1, 3), st.sampled_from([0.4, -0.5, 1e-3]))


@st.composite
def elementwise(draw: st.DrawFn) -> list[Layer]:
    """Up to three layers that may work in place, in any order."""
    kinds = st.one_of(st.just(Tanh()), st.just(ReLU()), st.builds(Scale, FACTORS))
    return draw(st.lists(kinds, max_size=3))


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Convolutions and a pooling, or none, then dense layers, with elementwise layers between."""
    widths = st.integers(1, 9)
    layers: list[Layer] = draw(elementwise())
    if draw(st.booleans()):
        shape: tuple[int, ...] = (draw(st.integers(3, 20)), draw(widths))
        start = shape
        for _ in range(draw(st.integers(0, 3))):
            kernel = draw(st.integers(1, min(4, shape[0])))
            conv = Conv1D(shape[1], draw(widths), kernel, draw(st.integers(1, 3)))
            shape = conv.output_shape(shape)
            layers += [conv, *draw(elementwise())]
        layers += [GlobalAveragePool(), *draw(elementwise())]
        size = shape[1]
    else:
        size = draw(widths)
        start = (size,)
    for _ in range(draw(st.integers(1, 3))):
        layers += [Dense(size, width := draw(widths)), *draw(elementwise())]
        size = width
    return Network(layers, draw(st.sampled_from(["mse", "cross_entropy"])), start)
