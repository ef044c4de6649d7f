"""The native learners against their NumPy namesakes."""

import ctypes
import subprocess
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_networks import networks

from tinyreptile_lite.clients import simulate
from tinyreptile_lite.core import build as core_build
from tinyreptile_lite.core import native
from tinyreptile_lite.core.native import NativeMinibatchSGD, NativeOnlineSGD
from tinyreptile_lite.core.structs import c_network
from tinyreptile_lite.errors import DivergenceError
from tinyreptile_lite.evaluation import evaluate
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.image_layers import Conv2D, Flatten, LayerNorm, SiLU
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, ReLU, Scale, Tanh
from tinyreptile_lite.learners import Adam, MinibatchSGD, OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.strategies import tiny_reptile
from tinyreptile_lite.tasks.base import Samples
from tinyreptile_lite.tasks.keywords import Keywords
from tinyreptile_lite.tasks.omniglot import Omniglot
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.tasks.wrist import Wrist
from tinyreptile_lite.wire import local

STEPS = 1000
NETWORKS = {
    "tanh, mse": Network([Dense(1, 32), Tanh(), Dense(32, 32), Tanh(), Dense(32, 1)], "mse", (1,)),
    "scale, mse": Network(
        [Scale(0.4), Dense(3, 13), Tanh(), Scale(2.0), Dense(13, 3)], "mse", (3,)
    ),
    "relu, cross-entropy": Network([Dense(64, 32), ReLU(), Dense(32, 10)], "cross_entropy", (64,)),
    "conv": Network(
        [Conv1D(6, 8, 5, 2), ReLU(), Conv1D(8, 9, 3), Tanh(), GlobalAveragePool(), Dense(9, 7)],
        "cross_entropy",
        (30, 6),
    ),
    "tanh, cross-entropy": Network(
        [Dense(4, 6), ReLU(), Dense(6, 3), Tanh()], "cross_entropy", (4,)
    ),
    "relu, mse": Network([Dense(2, 6), Tanh(), ReLU(), Dense(6, 2), ReLU()], "mse", (2,)),
}


@pytest.fixture(params=NETWORKS)
def net(request) -> Network:
    return NETWORKS[request.param]


def draw(net: Network, count: int, rng: np.random.Generator, tasks: tuple[int, ...] = ()):
    x = rng.uniform(-1, 1, (*tasks, count, *net.input_shape)).astype(np.float32)
    if net.loss_function.name == "mse":
        return Samples(x, rng.uniform(-1, 1, (*tasks, count, net.outputs)).astype(np.float32))
    return Samples(x, rng.integers(net.outputs, size=(*tasks, count)))


def distance(ours, reference) -> float:
    """Relative distance of two vectors."""
    return float(np.linalg.norm(ours - reference) / np.linalg.norm(reference))


def test_a_trajectory_of_a_thousand_steps_agrees_with_numpy(net, rng):
    params, samples = net.init(rng), draw(net, STEPS, rng)
    wanted = OnlineSGD(0.01).learn(net, params, samples, rng)
    learned = NativeOnlineSGD(0.01).learn(net, params, samples, rng)
    assert distance(wanted.params, params) > 0.01  # it did learn
    assert distance(learned.params, wanted.params) < 1e-5
    assert learned.loss == pytest.approx(wanted.loss, rel=1e-5)
    assert learned.params.dtype == np.float32


def test_the_gradient_agrees_with_numpy_and_with_finite_differences(net, rng):
    params, samples = net.init(rng), draw(net, 5, rng)
    gradient = one_gradient(net, params, samples)
    assert distance(gradient, net.loss_and_gradient(params, *samples)[1]) < 1e-5
    direction = rng.normal(size=net.size).astype(np.float32)
    step = 1e-5
    ahead = net.loss(params.astype(np.float64) + step * direction, *samples)
    behind = net.loss(params.astype(np.float64) - step * direction, *samples)
    assert gradient @ direction == pytest.approx((ahead - behind) / (2 * step), rel=1e-3, abs=1e-5)


def one_gradient(net, params, samples):
    """The core's own gradient: what a minibatch step at a large rate subtracts."""
    rate = 1000.0
    step = NativeMinibatchSGD(rate, 1, 5).learn(net, params, samples, np.random.default_rng(0))
    return (params - step.params) / rate


@given(
    sizes=st.lists(st.integers(1, 19), min_size=2, max_size=5),
    kinds=st.lists(st.sampled_from([Tanh, ReLU]), min_size=4, max_size=4),
    loss=st.sampled_from(["mse", "cross_entropy"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_dense_networks_of_any_size_agree_with_numpy(sizes, kinds, loss, seed):
    layers = []
    for before, after, kind in zip(sizes, sizes[1:], kinds, strict=False):
        layers += [Dense(before, after), kind()]
    agrees(Network(layers[:-1], loss, (sizes[0],)), seed)


@given(
    time=st.integers(3, 20),
    channels=st.integers(1, 7),
    widths=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 3)), max_size=3),
    seed=st.integers(0, 2**32 - 1),
)
def test_convolutions_of_any_size_agree_with_numpy(time, channels, widths, seed):
    shape, layers = (time, channels), []
    for outputs, kernel, stride in widths:
        if kernel <= shape[0]:
            layers += [Conv1D(shape[1], outputs, kernel, stride), Tanh()]
            shape = layers[-2].output_shape(shape)
    layers += [GlobalAveragePool(), Dense(shape[1], 4)]
    agrees(Network(layers, "cross_entropy", (time, channels)), seed)


@given(networks(), st.integers(0, 2**32 - 1))
def test_layers_in_any_order_agree_with_numpy(net, seed):
    """The workspace has not a float more than `costs` says."""
    rng = np.random.default_rng(seed)
    params, samples = net.init(rng), draw(net, 3, rng)
    ours, wanted = (
        kind(1e-3).learn(net, params, samples, rng) for kind in (NativeOnlineSGD, OnlineSGD)
    )
    assert distance(ours.params, wanted.params) < 1e-5


def agrees(net: Network, seed: int) -> None:
    rng = np.random.default_rng(seed)
    params, samples = net.init(rng), draw(net, 9, rng)
    online = [kind(0.02).learn(net, params, samples, rng) for kind in (OnlineSGD, NativeOnlineSGD)]
    assert distance(online[1].params, online[0].params) < 1e-5
    batches = [
        kind(0.02, 2, 4).learn(net, params, samples, np.random.default_rng(seed))
        for kind in (MinibatchSGD, NativeMinibatchSGD)
    ]
    assert distance(batches[1].params, batches[0].params) < 1e-5
    assert batches[1].loss == pytest.approx(batches[0].loss, rel=1e-4, abs=1e-6)


def test_many_tasks_learn_side_by_side(net, rng):
    params = np.stack([net.init(rng) for _ in range(4)])
    samples = draw(net, 7, rng, tasks=(4,))
    for learner in (OnlineSGD(0.02), MinibatchSGD(0.02, 2, 3)):
        wanted = learner.learn(net, params, samples, np.random.default_rng(1))
        learned = native.native(learner).learn(net, params, samples, np.random.default_rng(1))
        assert learned.params.shape == wanted.params.shape
        assert learned.loss.shape == wanted.loss.shape
        np.testing.assert_allclose(learned.loss, wanted.loss, rtol=1e-4)
        assert distance(learned.params, wanted.params) < 1e-5


def test_learning_leaves_what_it_was_given_alone(net, rng):
    params, samples = net.init(rng), draw(net, 3, rng)
    kept = params.copy()
    NativeOnlineSGD(0.1).learn(net, params, samples, rng)
    assert np.array_equal(params, kept)


def test_a_later_visit_does_not_touch_what_an_earlier_one_gave(net, rng):
    params, samples, others = net.init(rng), draw(net, 3, rng), draw(net, 3, rng)
    first = NativeOnlineSGD(0.1).learn(net, params, samples, rng)
    kept, loss = first.params.copy(), float(first.loss)
    NativeOnlineSGD(0.1).learn(net, first.params, others, rng)
    NativeOnlineSGD(0.1).learn(net, first.params, draw(net, 5, rng), rng)
    assert np.array_equal(first.params, kept)
    assert float(first.loss) == loss
    again = NativeOnlineSGD(0.1).learn(net, params, samples, rng)
    assert np.array_equal(again.params, kept)


def test_threads_learn_side_by_side_as_one_after_the_other(rng):
    net = NETWORKS["conv"]
    params, visits = net.init(rng), [draw(net, 40, rng) for _ in range(32)]

    def learn(samples):
        return NativeOnlineSGD(0.01).learn(net, params, samples, rng).params

    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(learn, visits))
    for learned, samples in zip(together, visits, strict=True):
        assert np.array_equal(learned, learn(samples))


def test_the_round_loop_takes_a_native_learner_as_it_is(rng):
    net = NETWORKS["tanh, mse"]
    devices = Sine().devices(3, rng)
    phi = net.init(rng)
    ends = []
    for learner in (OnlineSGD(0.02), NativeOnlineSGD(0.02)):
        strategy = replace(tiny_reptile(0.02, 16), learner=learner)
        seeded = np.random.default_rng(7)
        federation = Federation(net, strategy, simulate(net, devices), 20, seeded, phi)
        ends.append(federation.run())
    assert distance(ends[1], ends[0]) < 1e-4
    tasks = [device.task(rng) for device in devices]
    results = [
        evaluate(net, phi, tasks, learner, (0, 4, 8), np.random.default_rng(3))
        for learner in (OnlineSGD(0.02), NativeOnlineSGD(0.02))
    ]
    np.testing.assert_allclose(*results, rtol=1e-4)


def test_a_task_that_diverges_is_nan_and_the_others_are_not(rng):
    net = Network([Dense(2, 6), ReLU(), Dense(6, 2)], "mse", (2,))
    params = np.stack([net.init(rng)] * 2)
    samples = draw(net, 40, rng, tasks=(2,))
    samples.x[1] *= 1e4
    learned = NativeOnlineSGD(0.01).learn(net, params, samples, rng)
    assert np.isfinite(learned.params[0]).all()
    assert np.isfinite(learned.loss[0])
    assert np.isnan(learned.params[1]).all()
    assert np.isnan(learned.loss[1])


def test_bad_samples_are_refused_as_numpy_refuses_them(rng, refuses):
    net, rate = NETWORKS["relu, cross-entropy"], NativeOnlineSGD(0.1)
    params, good = net.init(rng), draw(net, 3, rng)
    for value in (np.nan, np.inf):
        bad = Samples(good.x.copy(), good.y)
        bad.x[1, 5] = value
        with refuses("NaN"):
            rate.learn(net, params, bad, rng)
    with refuses("label 10", "0 to 9"):
        rate.learn(net, params, Samples(good.x, np.array([1, 10, 2])), rng)
    with refuses("label -4294967296"):
        rate.learn(net, params, Samples(good.x, np.array([1, -(2**32), 2])), rng)
    with refuses("whole numbers"):
        rate.learn(net, params, Samples(good.x, good.y.astype(float)), rng)
    with refuses("shape", "64"):
        rate.learn(net, params, Samples(good.x[:, 1:], good.y), rng)
    with refuses(net.size):
        rate.learn(net, params[1:], good, rng)
    with refuses("C core", "huge"):
        rate.learn(net, params, Samples(good.x * 1e20, good.y), rng)


def test_a_network_beyond_the_cores_sizes_is_refused(refuses):
    net = Network([Dense(70_000, 1)], "mse", (70_000,))
    with refuses("70000", "65535"):
        c_network(net, native.load())


def test_learners_without_a_twin_are_refused(refuses):
    assert native.native(OnlineSGD(0.1)) == NativeOnlineSGD(0.1)
    assert native.native(MinibatchSGD(0.1, 2, 3)) == NativeMinibatchSGD(0.1, 2, 3)
    assert native.native(NativeOnlineSGD(0.1)) == NativeOnlineSGD(0.1)
    with refuses("Adam", "OnlineSGD"):
        native.native(Adam(0.1))


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    """A computer whose compiler fails, and whose cache is empty."""
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("TINYREPTILE_CACHE", str(tmp_path))
    caches = (native.load, native.available, core_build.find_compiler)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


def test_without_a_compiler_numpy_goes_on_and_one_line_says_so(no_compiler, rng):
    net = NETWORKS["tanh, mse"]
    params, samples = net.init(rng), draw(net, 5, rng)
    with pytest.warns(UserWarning, match=r"goes on in NumPy: .*no-such-compiler") as said:
        learned = NativeOnlineSGD(0.02).learn(net, params, samples, rng)
    assert "\n" not in str(said[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # and it says so only once
        NativeMinibatchSGD(0.02, 1, 5).learn(net, params, samples, rng)
    assert np.array_equal(learned.params, OnlineSGD(0.02).learn(net, params, samples, rng).params)


@pytest.mark.parametrize("load", [native.load, local.load_library])
def test_a_library_that_may_not_be_loaded_is_one_line(load, tmp_path, monkeypatch, refuses):
    """As on a disk mounted noexec; here the compiler writes what is no library."""
    script = tmp_path / "cc"
    script.write_text('#!/bin/sh\nfor file do :; done\necho "no library" > "$file"\n')
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    monkeypatch.setenv("TINYREPTILE_CACHE", str(tmp_path / "cache"))
    core_build.find_compiler.cache_clear()
    try:
        with refuses("cannot load", "set TINYREPTILE_CACHE", error=core_build.CannotBuild):
            load.__wrapped__()
    finally:
        core_build.find_compiler.cache_clear()


def test_the_library_is_built_once(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYREPTILE_CACHE", str(tmp_path))
    source = tmp_path / "one.c"
    source.write_text("int one(void) { return 1; }\n")
    library = core_build.shared_library("one", [source], tmp_path)
    assert ctypes.CDLL(str(library)).one() == 1
    monkeypatch.setattr(subprocess, "run", None)  # a second build would fail
    assert core_build.shared_library("one", [source], tmp_path) == library
    assert list(library.parent.parent.iterdir()) == [library.parent]


def wide_networks() -> dict[str, Network]:
    """Such as fill the widest registers, and one beyond the room that the fast forms have."""
    layers = [Conv1D(3, 17, 3), ReLU(), Conv1D(17, 240, 5, 2), Tanh(), GlobalAveragePool()]
    image = [Conv2D(2, 20, 3), Tanh(), Conv2D(20, 120, 3, 2, 1), SiLU(), Flatten(), Dense(480, 3)]
    pooled = [Conv2D(3, 12, 3, 1, 1, pool=2, bias=False), LayerNorm(12), SiLU()]
    pooled += [Conv2D(12, 21, 3, 2, 1), LayerNorm(21), SiLU(), Flatten(), Dense(84, 3)]
    return {
        "characters": Omniglot().network(),
        "keywords": Keywords().network(),
        "wrist": Wrist().network(),
        "pooled": Network(pooled, "cross_entropy", (9, 7, 3)),
        "beyond, time": Network([*layers, Dense(240, 3)], "cross_entropy", (15, 3)),
        "beyond, image": Network(image, "cross_entropy", (6, 6, 2)),
    }


@pytest.mark.parametrize("name", wide_networks())
def test_wide_convolutions_give_the_plain_bits(name, rng, monkeypatch):
    fast, plain = (wide_networks()[name] for _ in range(2))  # the core is linked with a network
    params, samples = fast.init(rng), draw(fast, 6, rng)
    learners = NativeOnlineSGD(0.05), NativeMinibatchSGD(0.05, 1, 3)
    found = [one.learn(fast, params, samples, np.random.default_rng(0)) for one in learners]
    monkeypatch.setattr(core_build, "FLAGS", (*core_build.FLAGS, "-DTR_PLAIN"))
    library = native.load.__wrapped__()
    monkeypatch.setattr(native, "load", lambda: library)
    for one, learned in zip(learners, found, strict=True):
        again = one.learn(plain, params, samples, np.random.default_rng(0))
        assert again.params.tobytes() == learned.params.tobytes()
        assert again.loss == learned.loss
        assert not np.isnan(again.params).any()


def test_a_source_that_does_not_compile_is_one_line(tmp_path, monkeypatch, refuses):
    monkeypatch.setenv("TINYREPTILE_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "bad.c"
    source.write_text("int bad( { return 1; }\n")
    with refuses("bad.c", "error", error=core_build.CannotBuild):
        core_build.shared_library("bad", [source], tmp_path)


def test_the_round_loop_reports_divergence_with_the_rate(rng, refuses):
    net = Network([Dense(1, 8), ReLU(), Dense(8, 1)], "mse", (1,))
    strategy = replace(tiny_reptile(1.0, 64), learner=NativeOnlineSGD(100.0))
    clients = simulate(net, Sine().devices(2, rng))
    federation = Federation(net, strategy, clients, 5, rng)
    with refuses("diverged", "100.0", error=DivergenceError):
        federation.run()
