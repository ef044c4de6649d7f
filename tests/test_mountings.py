"""Ways to mount a sensor, and the frame that none of them changes: in NumPy and on the board."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.bench import mounting
from tinyreptile_lite.core.build import CORE, shared_library
from tinyreptile_lite.results import measured
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.tasks.frames import axis_maps, own_frame, random_rotation, seen_in
from tinyreptile_lite.tasks.wrist import WINDOW, Augmentation, Wrist

SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def windows():
    """Of every wearer one support set: (420, 100, 6)."""
    rng = np.random.default_rng(0)
    return np.concatenate([device.task(rng).support.x for device in Wrist().devices()])


# Rotations


@given(SEEDS)
def test_a_random_rotation_is_one(seed):
    turn = random_rotation(np.random.default_rng(seed))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turn), 1, atol=1e-12)


def test_random_rotations_are_uniform(rng):
    """Their angle has density (1 - cos a) / pi, and their axis and each column no direction."""
    turns = np.array([random_rotation(rng) for _ in range(20_000)])
    angles = np.sort(np.arccos(np.clip((np.trace(turns, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    share = (np.arange(len(angles)) + 0.5) / len(angles)
    expected = (angles - np.sin(angles)) / np.pi
    assert np.abs(share - expected).max() < 1.63 / np.sqrt(len(turns))  # Kolmogorov, 1 %
    # Each entry is uniform in -1 to 1, after any fixed turn too: the first and second moments.
    for fixed in (np.eye(3), random_rotation(rng)):
        entries = (fixed @ turns).reshape(-1, 9)
        np.testing.assert_allclose(entries.mean(axis=0), 0, atol=0.02)
        np.testing.assert_allclose(entries.T @ entries / len(turns), np.eye(9) / 3, atol=0.02)


def test_there_are_48_maps_of_axes_24_of_them_rotations():
    maps = axis_maps()
    assert len({one.tobytes() for one in maps + 0.0}) == 48
    assert [round(np.linalg.det(one)) for one in maps] == 24 * [1] + 24 * [-1]
    assert ((maps == 0) | (np.abs(maps) == 1)).all()
    assert (np.abs(maps).sum(axis=1) == 1).all() and (np.abs(maps).sum(axis=2) == 1).all()


# Windows as another sensor reads them


@given(SEEDS, st.sampled_from([1, -1]))
def test_acceleration_and_rotation_turn_alike(seed, hand):
    rng = np.random.default_rng(seed)
    x, turn = rng.normal(size=(2, 5, 6)).astype(np.float32), random_rotation(rng)
    seen = seen_in(x, turn, hand)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen[1, 3, :3], turn @ x[1, 3, :3], atol=1e-6)
    np.testing.assert_allclose(seen[1, 3, 3:], hand * turn @ x[1, 3, 3:], atol=1e-6)
    np.testing.assert_allclose(seen_in(seen, turn.T, hand), x, atol=1e-6)


def test_support_and_query_share_the_mounting(rng):
    device, turn = Wrist().devices()[4], random_rotation(rng)
    task, seen = (one.task(np.random.default_rng(1)) for one in (device, device.worn(turn, -1)))
    for part, other in ((task.support, seen.support), (task.query, seen.query)):
        np.testing.assert_array_equal(seen_in(part.x, turn, -1), other.x)
        np.testing.assert_array_equal(part.y, other.y)


def test_a_visit_has_one_mounting_and_the_next_one_another(rng):
    device = Wrist(rotation=0, scale=0).devices()[2]
    anyhow = Wrist(rotation=0, scale=0, anyhow=True).devices()[2]
    turns = []
    for seed in (1, 1, 2):
        plain, turned = (one.stream(14, np.random.default_rng(seed)) for one in (device, anyhow))
        np.testing.assert_array_equal(plain.y, turned.y)
        before, after = plain.x.reshape(-1, 3), turned.x.reshape(-1, 3)
        turn = np.linalg.lstsq(before, after, rcond=None)[0]
        np.testing.assert_allclose(before @ turn, after, atol=1e-4)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-5)
        turns.append(turn)
    np.testing.assert_array_equal(turns[0], turns[1])
    assert np.abs(turns[0] - turns[2]).max() > 0.1


def test_augmentation_in_any_mounting_is_uniform_and_scales_as_before():
    x = np.tile(np.eye(3, dtype=np.float32), 2)[None]
    anyhow = Augmentation(0.3, 0.2, anyhow=True)
    turned = [anyhow.apply(x, np.random.default_rng(seed)) for seed in range(2000)]
    firsts = np.array(turned)[:, 0, 0, :3]
    np.testing.assert_allclose(firsts.mean(axis=0), 0, atol=0.05)
    lengths = np.linalg.norm(firsts, axis=1)
    assert 0.8 - 1e-5 < lengths.min() < 0.82 and 1.18 < lengths.max() < 1.2 + 1e-5


# A window's own frame


def test_no_mounting_changes_a_window_in_its_own_frame(windows, rng):
    own = own_frame(windows)
    assert own.dtype == np.float32 and own.shape == windows.shape
    for turn in (*axis_maps()[:24], random_rotation(rng), random_rotation(rng)):
        np.testing.assert_allclose(own_frame(seen_in(windows, turn)), own, atol=1e-5)
    np.testing.assert_allclose(own_frame(own), own, atol=1e-5)


def test_a_window_in_its_own_frame_is_turned_and_nothing_else(windows):
    own = own_frame(windows)
    for part in (slice(3), slice(3, 6)):
        lengths = [np.linalg.norm(x[..., part], axis=-1) for x in (windows, own)]
        np.testing.assert_allclose(*lengths, atol=1e-5)
    volumes = [np.linalg.det(x[:, [[0], [30], [60]], :3].reshape(-1, 3, 3)) for x in (windows, own)]
    np.testing.assert_allclose(*volumes, atol=1e-4)  # not mirrored
    np.testing.assert_allclose(own[..., 1:3].mean(axis=1), 0, atol=1e-5)
    assert (own[..., 0].mean(axis=1) > 0).all()
    assert ((own[..., 4] ** 3).sum(axis=1) >= 0).all()
    squares = (own[..., 4:] ** 2).sum(axis=1)
    assert (squares[:, 0] >= squares[:, 1]).all()


@pytest.mark.parametrize("x", [np.zeros((4, 6)), np.eye(6)[:1], np.full((2, 6), 1e-30)])
def test_windows_without_motion_stay_finite(x):
    assert np.isfinite(own_frame(np.float32(x))).all()


def test_the_board_turns_a_window_as_the_training_does(windows):
    source = Path(__file__).parent / "c" / "own_frame.c"
    library = ctypes.CDLL(str(shared_library("own_frame", [source], CORE)))
    for window in (*windows, np.zeros((WINDOW, 6), np.float32)):
        rows = window.copy()
        library.own_frame(ctypes.c_void_p(rows.ctypes.data), len(rows))
        np.testing.assert_allclose(rows, own_frame(window), atol=2e-5)


# The families


def test_wearers_in_any_mounting_give_the_same_task_and_the_same_stream(rng):
    device = find_family("wrist-any").devices()[5]
    turned = device.worn(random_rotation(rng))
    draws = [
        lambda one, rng: one.task(rng).support,
        lambda one, rng: one.task(rng).query,
        lambda one, rng: one.stream(21, rng),
    ]
    for draw in draws:
        (x, y), (seen_x, seen_y) = (draw(one, np.random.default_rng(3)) for one in (device, turned))
        np.testing.assert_allclose(x, seen_x, atol=2e-5)
        np.testing.assert_array_equal(y, seen_y)


def test_the_families_without_mountings_draw_what_they_always_drew():
    """The numbers were taken before there were mountings."""
    device = Wrist().devices()[3]
    rng = np.random.default_rng(5)
    x, task = device.stream(14, rng).x, device.task(rng)
    sums = [values.astype(np.float64).sum() for values in (x, task.query.x)]
    np.testing.assert_allclose(sums, [346.56031104471185, 2718.482177734375], rtol=1e-7)
    assert rng.integers(2**32) == 3038670323


# What it costs


def loss(family, way):
    """What is lost in any rotation, by number of windows, against one mounting that is known."""
    rows = {(row["trained"], row["worn"]): row for row in measured(f"mountings-{family}")["rows"]}
    known, anyhow = rows["as worn", "as in the recordings"], rows[way, "in any rotation"]
    return {
        int(count): one["mean"] - anyhow["adapted_samples"][count]["mean"]
        for count, one in known["adapted_samples"].items()
    }


def test_what_the_boards_guide_says_of_losses_is_so():
    """With the exercises always more than 2 points, with own commands more than 10."""
    rotations, frames = loss("wrist", "any rotation"), loss("wrist", "own frame")
    assert all(0.02 < frames[count] < rotations[count] for count in frames)
    lost = loss("wrist-commands", "any rotation")
    assert min(lost[7], lost[14], lost[21]) > 0.1
    assert lost[21] < loss("wrist-commands", "own frame")[21]


def test_settings_are_chosen_on_people_neither_trained_on_nor_tested():
    for one in mounting.candidates():
        people = {device.person for device in mounting.others(Wrist(), one.left_out)}
        assert len(people) == 8
        assert one.validation not in people and one.fold + 1 not in {*people, one.validation}


def test_the_settings_are_the_best_that_were_found():
    """By the mean over 0, 7, 14 and 21 windows, of those that keep no window."""
    best = {}
    for row in measured("mountings-search")["rows"]:
        if row["adaptation"].startswith("online"):
            key = row["family"], row["trained"]
            best[key] = max(
                best.get(key, (0,)),
                (np.mean(row["accuracy"]), row["rate"], row["visits"], row["adaptation"]),
            )
    chosen = mounting.recipe("wrist", "any rotation")
    settings = chosen.strategy.learner.rate, chosen.rounds, f"online, {chosen.adaptation.rate}"
    assert best["wrist", "any rotation"][1:] == settings
