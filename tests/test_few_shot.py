"""Learners for few samples: against what they state, and the C core against NumPy."""


import numpy as np
import pytest
from hypothesis import strategies as st

from tinyreptile_lite.core.native import native
from tinyreptile_lite.few_shot import (
    UNSEEN,
    ClassMeans,
    HeadOnly,
    Imprinted,
    OnlinePasses,
    PrototypeSGD,
)
from tinyreptile_lite.image_layers import Conv2D, Flatten, LayerNorm, SiLU
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, ReLU, Scale, Tanh
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Samples

NETWORKS = {
    "image": Network(
        [Conv2D(1, 4, 3, 2, 1), LayerNorm(4), SiLU(), Flatten(), Dense(36, 5)],
        "cross_entropy",
        (6, 6, 1),
    ),
    "time": Network(
        [Conv1D(2, 4, 3, 2), ReLU(), Conv1D(4, 6, 2), Tanh(), GlobalAveragePool(), Dense(6, 3)],
        "cross_entropy",
        (12, 2),
    ),
    "tanh": Network([Dense(3, 7), Tanh(), Scale(2.0), Tanh(), Dense(7, 4)], "cross_entropy", (3,)),
}
ANY_NETWORK = pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)
LEARNERS = [
    OnlinePasses(0.05, 3),
    HeadOnly(0.05, 2),
    PrototypeSGD(0.05, 0.3, 0.2),
    ClassMeans(0.3),
    ClassMeans(cosine=True),
    Imprinted(0.05, 2, 0.3),
]
ANY_LEARNER = pytest.mark.parametrize("learner", LEARNERS, ids=str)
MEANS = [LEARNERS[2], LEARNERS[3], LEARNERS[5]]
SEEDS = st.integers(0, 2**32 - 1)


def draw(net: Network, count: int, rng: np.random.Generator, tasks: tuple[int, ...] = ()):
    x = rng.uniform(-1, 1, (*tasks, count, *net.input_shape)).astype(np.float32)
    if net.loss_function.name == "mse":
        return Samples(x, rng.uniform(-1, 1, (*tasks, count, net.outputs)).astype(np.float32))
    return Samples(x, rng.integers(net.outputs, size=(*tasks, count)))


def features(net: Network, params: np.ndarray, x: np.ndarray) -> np.ndarray:
    for layer, views in zip(net.layers[:-1], net.views(params), strict=False):
        x = layer.forward(views, x)
    return x


def distance(ours, reference) -> float:
    """Relative distance of two vectors, classes without a mean left out."""
    ours, reference = (np.where(one == UNSEEN, 0, one) for one in (ours, reference))
    return float(np.linalg.norm(ours - reference) / np.linalg.norm(reference))


@ANY_LEARNER
@ANY_NETWORK
def test_the_c_core_agrees_with_numpy(net, learner, rng):
    params = np.stack([net.init(rng) for _ in range(3)])
    for samples in (draw(net, 25, rng, (3,)), draw(net, 2, rng, (3,))):
        wanted = learner.learn(net, params, samples, rng)
        learned = native(learner).learn(net, params, samples, rng)
        assert np.array_equal(learned.params == UNSEEN, wanted.params == UNSEEN)
        assert distance(learned.params, wanted.params) < 1e-5
        np.testing.assert_allclose(learned.loss, wanted.loss, rtol=1e-4, atol=1e-6)
