"""Diagrams show what they are given: to scale, with whole words, and nothing on top of another."""

import matplotlib

matplotlib.use("Agg")

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation
from pictures import assert_words_are_whole_and_apart, texts

from tinyreptile_lite.clients import simulate
from tinyreptile_lite.core.native import native
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.lab.diagrams import (
    Walk,
    arrows,
    frame_diagram,
    ram_map,
    record,
    round_diagram,
)
from tinyreptile_lite.lab.diagrams.frame import aligned
from tinyreptile_lite.layers import Dense
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.strategies import Schedule, Strategy, fed_avg, reptile, tiny_reptile
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.wire import frames


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def all_words() -> str:
    return " | ".join(text for text, _ in texts(plt.gcf()))


def test_words_that_are_cut_or_covered_are_found():
    plt.figure().text(0.99, 0.5, "far too long")
    with pytest.raises(AssertionError, match="is cut off"):
        assert_words_are_whole_and_apart(plt.gcf())
    plt.figure().text(0.5, 0.5, "here")
    plt.gcf().text(0.51, 0.51, "there")
    with pytest.raises(AssertionError, match="'here' lies on 'there'"):
        assert_words_are_whole_and_apart(plt.gcf())


# A round


@pytest.mark.parametrize(
    ("names", "has", "lacks"),
    [
        ((), ["one sample, one step, forgotten", "outer rate * (phi_hat - phi)"], ["several"]),
        (("reptile",), ["keeps all its samples", "passes over them several times"], ["forgotten"]),
        (("fedavg",), ["the mean of all", "device A", "device C", "phi_hat of B"], ["forgotten"]),
        (("tinyreptile", "reptile", "fedavg"), ["TinyReptile:", "Reptile:", "FedAvg:"], []),
    ],
)
def test_a_round_names_what_goes_between_server_and_devices(names, has, lacks):
    axes = round_diagram(*names)
    assert len(axes) == max(1, len(names))
    words = all_words()
    assert all(each in words for each in ["server", "1. phi", "3. phi_hat", "4. phi", *has])
    assert not any(each in words for each in lacks)
    assert_words_are_whole_and_apart(plt.gcf())


def test_the_step_of_a_round_ends_between_phi_and_phi_hat():
    round_diagram()
    places = dict(texts(plt.gcf()))
    assert places["phi"].x1 < places["new phi"].x0 < places["new phi"].x1 < places["phi_hat"].x0


def test_a_round_refuses_other_strategies(refuses):
    with refuses("'fedsgd'", "fedavg, reptile, tinyreptile"):
        round_diagram("fedsgd")
    with refuses("reptile, reptile", "once"):
        round_diagram("reptile", "reptile")


# The way of phi


def federation(strategy: Strategy, net: Network | None = None, **options) -> Federation:
    rng = np.random.default_rng(2023)
    sine = Sine(train_devices=20, test_devices=1)
    net = net or sine.network()
    clients = simulate(net, sine.split(0, rng)[0])
    return Federation(net, strategy, clients, 6, rng)


STRATEGIES = [
    tiny_reptile(0.02, 8, Schedule(0.5, 0.5)),
    reptile(0.02, 10, epochs=3, batch=5),
    reptile(0.002, 10, epochs=3, batch=5, client_count=2, adam=True),
    fed_avg(0.02, 8, client_count=3),
]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_a_recorded_run_is_the_same_and_every_step_is_known(strategy):
    usual, watched = federation(strategy), federation(strategy)
    visitor = watched.visitor
    walk = record(watched, 4)
    assert watched.visitor is visitor and watched.round == 4
    np.testing.assert_array_equal(watched.run(), usual.run())  # every bit
    assert walk.phi.shape == (5, usual.net.size)
    steps = 8 if isinstance(strategy.learner, OnlineSGD) else 6
    for i, visits in enumerate(walk.visits):
        assert len(visits) == strategy.client_count
        assert all(way.shape == (steps + 1, usual.net.size) for way in visits)
        assert all(np.array_equal(way[0], walk.phi[i]) for way in visits)
        rate = strategy.outer.rate(i, 6)
        moved = strategy.combine(walk.phi[i], [way[-1] for way in visits], rate)
        np.testing.assert_array_equal(moved, walk.phi[i + 1])


def test_of_clients_in_c_the_ends_of_a_visit_are_known():
    learner = native(OnlineSGD(0.02))
    walk = record(federation(Strategy("tinyreptile", learner, 8)), 2)
    assert [way.shape for visits in walk.visits for way in visits] == [(2, 1153)] * 2
    np.testing.assert_array_equal(walk.visits[0][0][0], walk.phi[0])


def test_recording_refuses_more_rounds_than_are_left(refuses):
    with refuses("7 rounds", "6 are left"):
        record(federation(STRATEGIES[0]), 7)
    with refuses("rounds"):
        record(federation(STRATEGIES[0]), 0)


def arrow_ends(ax: Axes) -> np.ndarray:
    """Start and end of each arrow, shape (arrows, 2, 2)."""
    found = [child for child in ax.get_children() if isinstance(child, Annotation)]
    return np.array([(one.xyann, one.xy) for one in found])


def test_two_weights_are_drawn_as_they_are():
    walk = record(federation(STRATEGIES[0], Network([Dense(1, 1)], "mse", (1,))), 5)
    ax = arrows(walk, names=("slope", "offset"))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("slope", "offset")
    expected = np.stack([walk.phi[:-1], walk.phi[1:]], axis=1)
    np.testing.assert_allclose(arrow_ends(ax), expected, rtol=1e-6)
    thin = [line for line in ax.lines if line.get_linewidth() < 1 and len(line.get_xdata()) == 9]
    np.testing.assert_allclose(thin[0].get_xydata(), walk.visits[0][0], rtol=1e-6)
    assert_words_are_whole_and_apart(ax.figure)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_many_weights_are_seen_in_two_principal_components(strategy):
    walk = record(federation(strategy), 4)
    ax = arrows(walk)
    assert "principal component 1" in ax.get_xlabel() and "of 1,153 weights" in ax.get_ylabel()
    ends = [way[-1] for visits in walk.visits for way in visits]
    points = np.concatenate([walk.phi, ends]).astype(float)
    values = np.linalg.eigvalsh(np.cov(points.T))[::-1]
    assert f"{values[0] / values.sum():.0%}" in ax.get_xlabel()
    assert f"{values[1] / values.sum():.0%}" in ax.get_ylabel()
    flat = arrow_ends(ax)  # a projection makes no distance longer
    real = np.linalg.norm(np.diff(walk.phi, axis=0), axis=1)
    assert (np.linalg.norm(flat[:, 1] - flat[:, 0], axis=1) <= real * 1.001).all()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(labels) == len(set(labels)) == 5
    assert_words_are_whole_and_apart(ax.figure)


def test_arrows_draw_on_the_axes_they_are_given():
    _, ax = plt.subplots()
    assert arrows(record(federation(STRATEGIES[0]), 2), ax) is ax


def test_arrows_refuse_what_is_no_walk(refuses):
    with refuses("1 phi and 0 rounds", "record"):
        arrows(Walk(np.zeros((1, 3)), []))
    two = Walk(np.zeros((2, 2)), [[np.ones((2, 2))]])
    with refuses("3 names", "give two"):
        arrows(two, names=("a", "b", "c"))


def test_a_phi_that_stands_still_is_drawn():
    arrows(Walk(np.zeros((3, 5), np.float32), [[np.zeros((2, 5), np.float32)]] * 2))
    assert_words_are_whole_and_apart(plt.gcf())


# A frame

NUMBERS = np.random.default_rng(0).normal(size=256).astype("<f4")
MESSAGES = [
    frames.Hello(1, 1039),
    frames.Push(3, 0, 0xFFFFFFFF, 0),
    frames.Chunk(0xD4, 2, np.array([1, -2], "<f4").tobytes()),
    frames.Chunk(1, 0, NUMBERS.tobytes()),
    frames.Chunk(1, 0, bytes(1024)),
    frames.Train(123456789, 0.02, 32, 5, 1),
    frames.Pull(0, 0, 0xFFFFFFFF),
    frames.Evaluate(0xFFFFFFFF, 1, 32, 1),
    frames.Status(),
    frames.Abort(7),
    frames.Welcome(7, b"12345678", bytes(8), 1153, 256, 8, 3),
    frames.Report(4, 0, 0xFFFFFFFF, 32, 0xFFFFFFFF, -1.25e-7),
    frames.Score(1, 2, 65535, 65535, float("nan")),
    frames.Hello2(1, 1039),
    frames.Push2(3, 0, 0xFFFFFFFF, 0, 8, 3, 1120, 280, 0xFFFFFFFF),
    frames.Train2(123456789, 0.02, 32, 5, 1, 65535, 0.001),
    frames.Welcome2(7, b"12345678", bytes(8), 1153, 256, 8, 3, 1),
    frames.Report2(4, 0, 0xFFFFFFFF, 32, 0xFFFFFFFF, -1.25e-7, 0xFFFFFFFF),
]


def cells(ax: Axes) -> list[Rectangle]:
    return [patch for patch in ax.patches if isinstance(patch, Rectangle)]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_a_frame_shows_its_bytes_and_fields(message):
    frame = frames.encode(message)
    ax = frame_diagram(frame)
    assert_words_are_whole_and_apart(ax.figure)
    assert len({round(one.get_width(), 6) for one in cells(ax)}) == 1  # each byte as wide
    assert all(one.get_rotation() == 0 and one.get_fontsize() > 10 for one in ax.texts)
    words = all_words()
    name = type(message).__name__.upper().strip("2")
    assert f"{name}: a frame of {len(frame):,} bytes" in words
    assert f"version\n{1 + (message.VERSION == 2)}" in words
    names = ["version", "kind", "CRC-32", *vars(message)]
    assert all(name.replace("data", "weights") in words for name in names)
    if len(frame) <= 72:
        payload = frames.unstuff(frame[:-1])
        assert len(cells(ax)) == len(frame) + len(payload)
        shown = [text for text, _ in texts(ax.figure) if len(text) == 2]
        assert sorted(shown) == sorted(f"{byte:02x}" for byte in frame + payload)


def test_the_example_of_the_wire_format_is_told_field_by_field():
    ax = frame_diagram(frames.encode(MESSAGES[2]))
    words = all_words()
    for each in ("version\n1", "kind\n3 CHUNK", "tag\n212", "index\n2", "weights\n1, -2"):
        assert each in words
    dark = [one for one in cells(ax) if sum(one.get_facecolor()[:3]) < 1]
    assert len(dark) == 1 + 6 + 1  # the first code, six zeros, the end


def test_a_zero_stands_above_the_code_that_takes_its_place():
    for message in MESSAGES:
        frame = frames.encode(message)
        payload = frames.unstuff(frame[:-1])
        found = list(aligned(frame, payload))
        assert bytes(one.sent for one in found) == frame
        assert [one.payload for one in found if one.payload >= 0] == [*range(len(payload))]
        for one in found:
            if one.payload >= 0:
                assert payload[one.payload] == (0 if one.added else one.sent)


def test_the_gap_of_a_long_frame_has_its_bytes():
    frame = frames.encode(MESSAGES[3])
    ax = frame_diagram(frame)
    shown = len([one for one in cells(ax) if one.get_y() < 0.5])  # on the wire
    assert f"{len(frame) - shown:,} bytes" in all_words()


def test_what_is_no_whole_frame_is_refused(refuses):
    frame = frames.encode(MESSAGES[0])
    for wrong in (b"", b"\0", frame[:-1], frame + frame, b"\0" + frame, frame[:-2] + b"\1\0"):
        with refuses(f"{len(wrong)} bytes", "one whole frame"):
            frame_diagram(wrong)
    with refuses("wire version 9"):
        frame_diagram(frames.encode(MESSAGES[0], version=9))


# The RAM

SIZES = {"weights": 4612, "workspace": 264, "stack, used": 321, "the rest of the stack": 32_447}


def bars(ax: Axes) -> list[float]:
    """How long each part is, as a share of the bar."""
    return [one.get_width() / np.diff(ax.get_xlim())[0] for one in ax.patches if one.get_fill()]


def test_the_whole_ram_is_to_scale():
    whole, _ = ram_map(SIZES)
    assert whole.get_xlim() == (0, 262_144)
    np.testing.assert_allclose(bars(whole), np.array(sorted(SIZES.values())) / 262_144)
    words = all_words()
    assert "262,144 bytes, to scale" in words and "free: 224,500 bytes" in words
    assert all(f"{size:,} bytes" in words and name in words for name, size in SIZES.items())
    assert_words_are_whole_and_apart(plt.gcf())


def test_small_parts_are_magnified_alike():
    whole, inset = ram_map(SIZES)
    small = np.array([264, 321, 4612])
    np.testing.assert_allclose(bars(inset), small / small.sum())
    assert f"{262_144 / small.sum():.0f} times as large" in all_words()
    assert whole.bbox.width == inset.bbox.width


@pytest.mark.parametrize(
    "sizes",
    [
        {"all of it": 262_144},
        {"weights": 1},
        {f"part {i}": 10 ** (i % 5) + i for i in range(12)},
        {"a": 100_000, "b": 100_000, "c": 62_144},
    ],
)
def test_any_map_is_readable(sizes):
    ram_map(sizes)
    assert_words_are_whole_and_apart(plt.gcf())


def test_parts_that_cannot_be_are_refused(refuses):
    with refuses("0 parts", "at least one"):
        ram_map({})
    with refuses("262,145 bytes in 262,144"):
        ram_map({"weights": 262_145})
    for size in (0, -4, 1.5, "4"):
        with refuses("'weights'", repr(size), "whole number"):
            ram_map({"weights": size})
