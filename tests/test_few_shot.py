"""Learners for few samples: against what they state, and the C core against NumPy."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_networks import networks

from tinyreptile_lite.clients import simulate
from tinyreptile_lite.core.native import native
from tinyreptile_lite.costs import device_ram, step_macs, visit_macs
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.federation import Federation
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
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.strategies import Schedule, Strategy
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
    """Relative distance of two vectors."""
    return float(np.linalg.norm(ours - reference) / np.linalg.norm(reference))


def balanced(net: Network, passes: int, rng: np.random.Generator) -> Samples:
    """Samples of every class, so that each has a mean."""
    x, _ = draw(net, passes * net.outputs, rng)
    return Samples(x, np.tile(np.arange(net.outputs), passes))


# Passes


@ANY_NETWORK
@pytest.mark.parametrize("runs", [lambda learner: learner, native], ids=["numpy", "native"])
def test_passes_are_the_samples_over_and_over_in_their_order(net, runs, rng):
    params, (x, y) = net.init(rng), draw(net, 6, rng)
    for passes in (1, 3):
        again = Samples(np.tile(x, (passes, *[1] * (x.ndim - 1))), np.tile(y, passes))
        wanted = runs(OnlineSGD(0.05)).learn(net, params, again, rng)
        learned = runs(OnlinePasses(0.05, passes)).learn(net, params, Samples(x, y), rng)
        assert np.array_equal(learned.params, wanted.params)
        first = runs(OnlineSGD(0.05)).learn(net, params, Samples(x, y), rng)
        assert learned.loss == first.loss


@ANY_NETWORK
@pytest.mark.parametrize("runs", [lambda learner: learner, native], ids=["numpy", "native"])
def test_the_head_alone_makes_the_steps_it_would_make_with_all(net, runs, rng):
    params, samples = net.init(rng), draw(net, 6, rng)
    learned = runs(HeadOnly(0.05, 2)).learn(net, params, samples, rng)
    wanted = params.copy()
    for _ in range(2):
        for x, y in zip(*samples, strict=True):
            _, gradient = net.loss_and_gradient(wanted, x[None], y[None])
            wanted[net.head] -= np.float32(0.05) * gradient[net.head]
    assert np.array_equal(learned.params[: net.head.start], params[: net.head.start])
    np.testing.assert_allclose(learned.params, wanted, rtol=1e-4, atol=1e-6)


@given(networks(), SEEDS)
def test_the_head_alone_learns_in_any_network(net, seed):
    rng = np.random.default_rng(seed)
    params, samples = net.init(rng), draw(net, 3, rng)
    learner = HeadOnly(1e-3, 2)
    ours, wanted = (one.learn(net, params, samples, rng) for one in (native(learner), learner))
    assert np.array_equal(ours.params[: net.head.start], params[: net.head.start])
    assert distance(ours.params, wanted.params) < 1e-5


# Class means


@given(st.integers(2, 6), st.integers(1, 9), st.sampled_from([1e-3, 0.05, 2.0]), SEEDS)
def test_a_head_of_means_gives_the_distances(classes, size, scale, seed):
    """But for a term that all classes have in common."""
    rng = np.random.default_rng(seed)
    net = Network([Dense(3, size), Tanh(), Dense(size, classes)], "cross_entropy", (3,))
    params, samples, (x, _) = net.init(rng), draw(net, 9, rng), draw(net, 20, rng)
    for learner in (ClassMeans(scale), native(ClassMeans(scale))):
        output = net.predict(learner.learn(net, params, samples, rng).params, x)
        f, known = features(net, params, samples.x), np.unique(samples.y)
        means = np.stack([f[samples.y == c].mean(axis=0) for c in known])
        squares = np.square(features(net, params, x)[:, None] - means).sum(axis=-1)
        differences = output[:, known] - output[:, known[:1]]
        wanted = -scale * (squares - squares[:, :1])
        np.testing.assert_allclose(differences, wanted, rtol=1e-3, atol=1e-4)
        others = np.delete(output, known, axis=1)
        assert (others < output[:, known].max(axis=1, keepdims=True)).all()


@given(SEEDS)
def test_cosines_decide_if_asked_to(seed):
    rng = np.random.default_rng(seed)
    net = NETWORKS["tanh"]
    params, samples, (x, _) = net.init(rng), balanced(net, 3, rng), draw(net, 20, rng)
    f, others = features(net, params, samples.x), features(net, params, x)
    means = np.stack([f[samples.y == c].mean(axis=0) for c in range(net.outputs)])
    wanted = others @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    for learner in (ClassMeans(cosine=True), native(ClassMeans(cosine=True))):
        output = net.predict(learner.learn(net, params, samples, rng).params, x)
        np.testing.assert_allclose(output, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("learner", MEANS, ids=str)
def test_a_class_without_samples_never_wins_and_spoils_nothing(learner, rng):
    net = NETWORKS["image"]
    params, (x, y), (others, _) = net.init(rng), draw(net, 20, rng), draw(net, 50, rng)
    for large in (1, 100):  # features without a normalisation may be long
        grown = params.copy()
        grown[44:48] *= large  # the gain
        for runs in (learner, native(learner)):
            learned = runs.learn(net, grown, Samples(x, y % 3), rng)
            assert net.predict(learned.params, others).argmax(axis=1).max() < 3
            weight, bias = net.views(learned.params)[-1]
            assert not weight[:, 3:].any()
            lowest = min(0.0, float(bias[0, :3].min()))
            assert (bias[0, 3:] <= UNSEEN + lowest).all()
            assert large > 1 or (bias[0, 3:] > 2 * UNSEEN).all()


def test_one_class_alone_or_one_sample_of_each_has_no_loss(rng):
    net = NETWORKS["image"]
    params, (x, _) = net.init(rng), draw(net, 5, rng)
    for labels in (np.full(5, 2), np.arange(5)):
        for runs in (PrototypeSGD(0.1), native(PrototypeSGD(0.1))):
            learned = runs.learn(net, params, Samples(x, labels), rng)
            assert learned.loss == 0
            assert np.array_equal(learned.params[: net.head.start], params[: net.head.start])


# The prototype client


def one_step(net: Network, rng: np.random.Generator, learner) -> tuple[np.ndarray, Samples]:
    """Change by the first step there is: by a third sample, of the first one's class."""
    params, (x, _) = net.init(rng), draw(net, 3, rng)
    samples = Samples(x, np.array([1, 2, 1]))
    return learner.learn(net, params, samples, rng).params - params, samples


@ANY_NETWORK
@pytest.mark.parametrize("runs", [lambda learner: learner, native], ids=["numpy", "native"])
def test_the_gradient_is_that_of_the_stated_loss(net, runs, rng):
    rate, scale, step = 0.01, 0.3, 1e-6
    seed = rng.integers(2**32)
    change, samples = one_step(
        net, np.random.default_rng(seed), runs(PrototypeSGD(rate, scale, 1e6))
    )
    params = net.init(np.random.default_rng(seed)).astype(np.float64)
    means = features(net, params, samples.x[:2])

    def loss(body):
        f = features(net, body, samples.x[2:])
        output = -scale * np.square(f - means).sum(axis=1)
        return np.log(np.exp(output).sum()) - output[0]

    body = np.arange(net.size) < net.head.start
    for _ in range(5):
        direction = rng.normal(size=net.size) * body
        slope = (loss(params + step * direction) - loss(params - step * direction)) / (2 * step)
        assert -(change @ direction) / rate == pytest.approx(slope, rel=2e-3, abs=2e-4)


@ANY_NETWORK
@pytest.mark.parametrize("runs", [lambda learner: learner, native], ids=["numpy", "native"])
def test_a_long_gradient_at_the_features_is_made_shorter(net, runs, rng):
    seed = rng.integers(2**32)
    whole, half, longer = (
        one_step(net, np.random.default_rng(seed), runs(PrototypeSGD(1.0, 0.3, clip)))[0]
        for clip in (1e6, 1e-3, 2e-3)
    )
    body = slice(net.head.start)
    assert 0 < np.linalg.norm(half[body]) < 0.9 * np.linalg.norm(whole[body])
    np.testing.assert_allclose(2 * half[body], longer[body], atol=1e-3 * np.abs(half[body]).max())


@ANY_NETWORK
@pytest.mark.parametrize("runs", [lambda learner: learner, native], ids=["numpy", "native"])
def test_a_visit_is_what_it_is_said_to_be(net, runs, rng):
    """With the means written into the head by hand, and the network's own gradient."""
    rate, scale = 0.05, 0.3
    params, (x, y) = net.init(rng), draw(net, 15, rng)
    wanted, losses, sums = params.astype(np.float64), [], {}
    for one, label in zip(x, y.tolist(), strict=True):
        f = features(net, wanted, one[None])[0]
        if label in sums and len(sums) > 1:
            weight, bias = net.views(wanted)[-1]
            weight[...], bias[...] = 0, -1e9
            for c, (total, count) in sums.items():
                weight[:, c] = 2 * scale * total / count
                bias[0, c] = -scale * np.square(total / count).sum()
            loss, gradient = net.loss_and_gradient(wanted, one[None], np.array([label]))
            losses.append(loss)
            wanted[: net.head.start] -= rate * gradient[: net.head.start]
        total, count = sums.get(label, (0, 0))
        sums[label] = total + f, count + 1
    learned = runs(PrototypeSGD(rate, scale, 1e6)).learn(net, params, Samples(x, y), rng)
    body = slice(net.head.start)
    np.testing.assert_allclose(learned.params[body], wanted[body], rtol=1e-3, atol=1e-5)
    assert learned.loss == pytest.approx(np.mean(losses), rel=1e-4)
    weight, _ = net.views(learned.params)[-1]
    for c, (total, count) in sums.items():
        np.testing.assert_allclose(weight[:, c], 2 * scale * total / count, rtol=1e-3, atol=1e-5)


def test_the_order_matters_and_the_head_that_came_does_not(rng):
    net = NETWORKS["image"]
    params, (x, y) = net.init(rng), balanced(net, 3, rng)
    one, other = params.copy(), params.copy()
    other[net.head] = 7
    for runs in (PrototypeSGD(0.1), native(PrototypeSGD(0.1))):
        first, second, back = (
            runs.learn(net, start, samples, rng).params
            for start, samples in (
                (one, Samples(x, y)),
                (other, Samples(x, y)),
                (one, Samples(x[::-1], y[::-1])),
            )
        )
        assert np.array_equal(first, second)
        assert distance(back, first) > 1e-3


def test_a_server_trains_with_few_of_the_classes(rng):
    """The biases of the others are not so low that the server takes them for divergence."""
    net = NETWORKS["image"]
    seen = np.abs(rng.normal(size=(5, *net.input_shape))).astype(np.float32)

    class TwoClasses:
        name = "two of five"

        def stream(self, count, rng):
            labels = rng.integers(2, size=count)
            x = seen[labels] + 0.3 * rng.normal(size=(count, *net.input_shape))
            return Samples(x.astype(np.float32), labels)

    strategy = Strategy("prototype", native(PrototypeSGD(0.05)), 12, outer=Schedule(0.3, 0.0))
    federation = Federation(net, strategy, simulate(net, [TwoClasses()]), 60, rng)
    federation.run()
    assert np.mean(federation.history.loss[-10:]) < 0.7 * np.mean(federation.history.loss[:10])


# All of them


@ANY_LEARNER
@ANY_NETWORK
def test_the_c_core_agrees_with_numpy(net, learner, rng):
    params = np.stack([net.init(rng) for _ in range(3)])
    for samples in (draw(net, 25, rng, (3,)), draw(net, 2, rng, (3,))):
        wanted = learner.learn(net, params, samples, rng)
        learned = native(learner).learn(net, params, samples, rng)
        assert distance(learned.params, wanted.params) < 1e-5
        np.testing.assert_allclose(learned.loss, wanted.loss, rtol=1e-4, atol=1e-6)


@given(networks(), SEEDS)
def test_any_network_that_can_hold_means_agrees_and_the_others_are_refused(net, seed):
    rng = np.random.default_rng(seed)
    params, samples = net.init(rng), draw(net, 6, rng)
    learner = PrototypeSGD(1e-3, 0.05, 0.1)
    if net.loss_function.name == "mse" or not isinstance(net.layers[-1], Dense):
        for one in (learner, native(learner)):
            with pytest.raises(KitError, match="ends with Dense"):
                one.learn(net, params, samples, rng)
    else:
        ours, wanted = (one.learn(net, params, samples, rng) for one in (native(learner), learner))
        assert distance(ours.params, wanted.params) < 1e-4
        assert ours.loss == pytest.approx(wanted.loss, rel=1e-3, abs=1e-4)


@ANY_LEARNER
@ANY_NETWORK
@pytest.mark.parametrize("runs", [lambda learner: learner, native], ids=["numpy", "native"])
def test_many_tasks_learn_as_one_after_the_other_and_change_nothing(net, learner, runs, rng):
    learner = runs(learner)
    params = np.stack([net.init(rng) for _ in range(3)])
    samples = draw(net, 11, rng, (3,))
    kept = [array.copy() for array in (params, *samples)]
    before = rng.bit_generator.state
    together = learner.learn(net, params, samples, rng)
    assert rng.bit_generator.state == before
    assert together.params.shape == params.shape
    assert together.params.dtype == np.float32
    assert together.loss.shape == (3,)
    for t in range(3):
        alone = learner.learn(net, params[t], Samples(samples.x[t], samples.y[t]), rng)
        assert alone.loss.shape == ()
        np.testing.assert_allclose(together.params[t], alone.params, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(together.loss[t], alone.loss, rtol=1e-4, atol=1e-6)
        assert not np.shares_memory(alone.params, params)
    for array, copy in zip((params, *samples), kept, strict=True):
        assert np.array_equal(array, copy)


def test_an_imprinted_head_starts_with_the_means(rng):
    net = NETWORKS["image"]
    params, samples = net.init(rng), draw(net, 11, rng)
    for runs in (lambda learner: learner, native):
        means = runs(ClassMeans(0.3)).learn(net, params, samples, rng)
        wanted = runs(OnlinePasses(0.05, 2)).learn(net, means.params, samples, rng)
        learned = runs(Imprinted(0.05, 2, 0.3)).learn(net, params, samples, rng)
        assert np.array_equal(learned.params, wanted.params)
        assert learned.loss == wanted.loss


def test_what_a_device_must_hold_and_do():
    net = NETWORKS["image"]
    forward = step_macs(net, len(net.layers))
    head, whole = forward + 36 * 5, step_macs(net)
    assert forward == (9 * 9 * 4 + 36) + (36 + 36) + (36 * 5 + 5)
    for learner, steps, kept, counts, macs in (
        (OnlinePasses(0.1), 20, 1, 0, 20 * whole),
        (OnlinePasses(0.1, 3), 60, 20, 0, 60 * whole),
        (HeadOnly(0.1, 3), 60, 20, 0, 60 * head),
        (PrototypeSGD(0.1), 20, 1, 10, 20 * whole),
        (ClassMeans(), 0, 1, 10, 20 * forward),
        (Imprinted(0.1, 3), 60, 20, 10, 60 * whole + 20 * forward),
    ):
        assert (learner.steps(20), learner.kept_samples(20)) == (steps, kept)
        assert learner.weight_buffers == 0
        ram = device_ram(net, learner, 20)
        assert ram.samples == kept * 4 * 37
        assert ram.total == device_ram(net, OnlineSGD(0.1), 20).total + (kept - 1) * 148 + counts
        assert visit_macs(net, learner, 20) == macs
        assert native(learner).steps(20) == steps
        assert asdict(native(learner)) == asdict(learner)
        assert native(native(learner)) == native(learner)


# Bad input


@pytest.mark.parametrize("kind", [OnlinePasses, HeadOnly, PrototypeSGD, Imprinted])
@pytest.mark.parametrize("rate", [0, -0.1, float("nan")])
def test_impossible_rates_are_refused(kind, rate, refuses):
    with refuses("inner rate", rate, "above 0"):
        kind(rate)


@pytest.mark.parametrize("kind", [OnlinePasses, HeadOnly, Imprinted])
@pytest.mark.parametrize("passes", [0, 1.5])
def test_impossible_passes_are_refused(kind, passes, refuses):
    with refuses(f"passes is {passes}", "at least 1"):
        kind(0.1, passes)


@pytest.mark.parametrize("value", [0, -1.0, 1e13, float("nan")])
def test_impossible_scales_and_clips_are_refused(value, refuses):
    for make in (ClassMeans, lambda scale: PrototypeSGD(0.1, scale)):
        with refuses(f"scale is {value}", "1e-06 to 100"):
            make(value)
    with refuses(f"clip is {value}", "1e-06 to 1e+12"):
        PrototypeSGD(0.1, clip=value)


@pytest.mark.parametrize("learner", MEANS, ids=str)
def test_what_cannot_hold_means_is_refused_in_one_sentence(learner, mlp, rng, refuses):
    for runs in (learner, native(learner)):
        with refuses("class means", "cross_entropy", "mse"):
            runs.learn(mlp, mlp.init(rng), draw(mlp, 3, rng), rng)


@ANY_LEARNER
@pytest.mark.parametrize("runs", [lambda learner: learner, native], ids=["numpy", "native"])
def test_bad_samples_are_refused(learner, runs, rng, refuses):
    net, learner = NETWORKS["image"], runs(learner)
    params, (x, y) = net.init(rng), draw(net, 3, rng)
    with refuses("0 samples"):
        learner.learn(net, params, Samples(x[:0], y[:0]), rng)
    with refuses("label 5"):
        learner.learn(net, params, Samples(x, np.full(3, 5)), rng)
    with refuses("NaN"):
        learner.learn(net, params, Samples(x * np.nan, y), rng)
    with refuses("shape"):
        learner.learn(net, params, Samples(x[:, :3], y), rng)


def test_a_task_that_diverges_is_nan_and_the_others_are_not(rng):
    net = NETWORKS["time"]
    params = np.stack([net.init(rng)] * 2)
    params[1] *= 1e13
    samples = draw(net, 12, rng, (2,))
    with np.errstate(all="ignore"):
        learned = native(PrototypeSGD(0.1)).learn(net, params, samples, rng)
    assert np.isfinite(learned.params[0]).all()
    assert np.isnan(learned.params[1]).all()
    assert np.isnan(learned.loss[1])
