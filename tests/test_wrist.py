"""The wrist family: who is held out, which windows a device sees, and how they are augmented."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.tasks.base import stack
from tinyreptile_lite.tasks.wrist import (
    EXERCISES,
    FIRST_QUERY,
    QUERY,
    WINDOW,
    Augmentation,
    Wrist,
    rotation_matrix,
)

PLAIN = Wrist(rotation=0, scale=0)


def places(x: np.ndarray, recording: np.ndarray) -> list[int]:
    """Starts at which the window ``x`` is found in the recording."""
    windows = np.lib.stride_tricks.sliding_window_view(recording, WINDOW, axis=0)
    return np.flatnonzero((windows.swapaxes(1, 2) == x).all(axis=(1, 2))).tolist()


def test_folds_hold_every_device_out_once_and_split_people(rng):
    held_out = []
    for fold in range(PLAIN.folds):
        train, test = PLAIN.split(fold, rng)
        assert len(train) == 18
        assert len(test) == 2
        assert not {d.person for d in train} & {d.person for d in test}
        held_out += [device.name for device in test]
    people = range(1, 11)
    expected = [f"person-{p}-{arm}" for p, arm in itertools.product(people, ("left", "right"))]
    assert held_out == expected


@pytest.mark.parametrize("fold", [-1, 10])
def test_unknown_fold_is_named(fold, rng):
    with pytest.raises(KitError, match=f"fold is {fold}; wrist has folds 0 to 9"):
        PLAIN.split(fold, rng)


def test_support_is_the_start_and_query_the_rest_without_overlap(rng):
    for device in PLAIN.devices():
        task = device.task(rng)
        support_starts = {e: [] for e in range(7)}
        for x, y in zip(*task.support, strict=True):
            support_starts[y] += places(x, device.recordings[y])
        assert all(starts == [0, 100, 200] for starts in support_starts.values())
        query_starts = {e: [] for e in range(7)}
        for x, y in zip(*task.query, strict=True):
            query_starts[y] += places(x, device.recordings[y])
        for exercise, starts in query_starts.items():
            assert len(starts) == QUERY
            assert min(starts) == FIRST_QUERY == 300
            assert max(starts) == len(device.recordings[exercise]) - WINDOW


def test_tasks_of_all_devices_stack_and_fit_the_network(rng):
    support, query = stack([device.task(rng) for device in PLAIN.devices()])
    assert support.x.shape == (20, 21, WINDOW, 6)
    assert query.x.shape == (20, 7 * QUERY, WINDOW, 6)
    assert support.x.dtype == query.x.dtype == np.float32
    assert support.y.dtype == query.y.dtype == np.int64
    for passes in support.y.reshape(20, 3, 7):
        assert (np.sort(passes, axis=-1) == np.arange(7)).all()
    net = PLAIN.network()
    assert 8_000 <= net.size <= 10_000
    assert net.predict(net.init(rng), query.x[0]).shape == (7 * QUERY, len(EXERCISES))


def test_streams_are_balanced_and_cut_from_the_right_recording(rng):
    device = PLAIN.devices()[7]
    x, y = device.stream(17, rng)
    assert x.shape == (17, WINDOW, 6)
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    assert sorted(y[:7]) == sorted(y[7:14]) == list(range(7))
    assert len(set(y[14:])) == 3
    for window, label in zip(x, y, strict=True):
        assert places(window, device.recordings[label])


@pytest.mark.parametrize("count", [0, -3])
def test_a_stream_has_at_least_one_window(count, rng):
    with pytest.raises(KitError, match=f"number of windows is {count}"):
        PLAIN.devices()[0].stream(count, rng)


@pytest.mark.parametrize("permute_labels", [False, True])
def test_one_seed_gives_one_stream_and_one_task(permute_labels):
    device = Wrist(permute_labels).devices()[3]

    def draw(seed):
        rng = np.random.default_rng(seed)
        stream, task = device.stream(14, rng), device.task(rng)
        return [*stream, *task.support, *task.query]

    assert all(np.array_equal(a, b) for a, b in zip(draw(5), draw(5), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(draw(5), draw(6), strict=True))


def test_commands_bind_each_exercise_to_one_label_for_support_and_query(rng):
    family = Wrist(permute_labels=True, rotation=0, scale=0)
    assert family.name == "wrist-commands"
    device = family.devices()[0]
    bindings = set()
    for _ in range(20):
        task = device.task(rng)
        exercise_of = {}
        for x, y in zip(*task.support, strict=True):
            found = [e for e in range(7) if places(x, device.recordings[e])]
            assert exercise_of.setdefault(int(y), found) == found
        assert sorted(exercise_of) == list(range(7))
        for label, (exercise,) in exercise_of.items():
            query = task.query.x[task.query.y == label]
            assert len(query) == QUERY
            assert places(query[0], device.recordings[exercise])
        bindings.add(tuple(exercise_of[label][0] for label in range(7)))
    assert len(bindings) > 15


def test_commands_change_the_labels_and_nothing_else():
    def windows(permute_labels):
        task = Wrist(permute_labels).devices()[0].task(np.random.default_rng(0))
        return np.sort(task.support.x, axis=0), task.query.x

    for plain, permuted in zip(windows(False), windows(True), strict=True):
        np.testing.assert_array_equal(plain, permuted)


def test_recordings_are_shared_and_cannot_be_changed(rng):
    device = PLAIN.devices()[0]
    assert device.recordings[0] is Wrist().devices()[0].recordings[0]
    with pytest.raises(ValueError, match="read-only"):
        device.recordings[0][0] = 0
    task = device.task(rng)
    task.support.x[:] = 0
    assert device.recordings[0][:WINDOW].any()


def test_right_arms_are_mirrored_so_that_both_arms_are_alike():
    for device in PLAIN.devices():
        hanging = [device.recordings[e][:, 0].mean() for e in (0, 5, 6)]
        assert min(hanging) > 0, device.name


UNIT = st.floats(-1, 1).filter(lambda value: abs(value) > 1e-3)


@given(st.tuples(UNIT, UNIT, UNIT), st.floats(-np.pi, np.pi))
def test_rotation_matrix_turns_about_its_axis(axis, angle):
    turn = rotation_matrix(np.array(axis), angle)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turn), 1, atol=1e-12)
    np.testing.assert_allclose(turn @ axis, axis, atol=1e-12)
    np.testing.assert_allclose(np.trace(turn), 1 + 2 * np.cos(angle), atol=1e-12)


def test_rotation_matrix_is_right_handed():
    turn = rotation_matrix(np.array([0.0, 0.0, 2.0]), np.pi / 2)
    np.testing.assert_allclose(turn @ [1, 0, 0], [0, 1, 0], atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.floats(0, np.pi), st.floats(0, 0.9))
def test_augmentation_turns_both_sensors_alike_by_one_draw(seed, rotation, scale):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, WINDOW, 6)).astype(np.float32)
    same = np.concatenate([x[..., :3], x[..., :3]], axis=-1)
    turned = Augmentation(rotation, scale).apply(same, rng)
    assert turned.dtype == np.float32
    np.testing.assert_array_equal(turned[..., :3], turned[..., 3:])
    ratio = np.linalg.norm(turned[..., :3], axis=-1) / np.linalg.norm(same[..., :3], axis=-1)
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
    assert 1 - scale - 1e-4 <= ratio[0, 0] <= 1 + scale + 1e-4
    cosine = (turned * same).sum(-1) / (ratio * (same**2).sum(-1))
    assert cosine.min() >= np.cos(rotation) - 1e-4


def test_no_augmentation_changes_nothing(rng):
    x = rng.normal(size=(2, WINDOW, 6)).astype(np.float32)
    np.testing.assert_array_equal(Augmentation(0, 0).apply(x, rng), x)


@pytest.mark.parametrize("rotation", [-0.1, 4.0, np.nan])
def test_wrong_rotation_is_named(rotation):
    with pytest.raises(KitError, match=f"rotation is {rotation}"):
        Wrist(rotation=rotation)


@pytest.mark.parametrize("scale", [-0.1, 1.0, np.nan])
def test_wrong_scale_is_named(scale):
    with pytest.raises(KitError, match=f"scale is {scale}"):
        Wrist(scale=scale)
