"""Where a board's axes are: the map in C, the wizard that finds it, and the physics in NumPy."""

import re
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinyreptile_lite.core.build import CORE
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.motion import (
    DOCUMENTED,
    RECORDED,
    Finder,
    Found,
    checked_axes,
    found_axes,
    rows_of,
)
from tinyreptile_lite.nano.mounting import as_worn, frames, in_frame
from tinyreptile_lite.nano.poses import asked, poses
from tinyreptile_lite.tasks.wrist import EXERCISES, RATE, Wrist, rotation_matrix

TO_SENSOR = np.array([1, 1, 1] + 3 * [180 / np.pi])
FRAMES = list(frames())


def text_of(matrix, sign):
    """The map that undoes `in_frame`, as text."""
    columns = np.abs(matrix).argmax(axis=0)
    signs = np.sum(matrix, axis=0)
    letters = (f"{'+-'[int(one < 0)]}{'xyz'[at]}" for at, one in zip(columns, signs, strict=True))
    return "".join(letters) + "+-"[int(sign < 0)]


@cache
def wearer(arm=0):
    """Forty readings of somebody, as trained on: g and degrees per second."""
    device = Wrist().devices()[arm]
    return np.float32(device.recordings[2][:40] * TO_SENSOR)


# ---- The recordings ------------------------------------------------------------------------------


def test_gravity_in_the_recordings_points_where_the_pose_says():
    """An arm that hangs, x to the hand; a thumb that is up, y to the little finger."""
    poses_of = {"pendulum": 0, "internal rotation": 1, "external rotation": 1}
    for name, axis in poses_of.items():
        exercise = EXERCISES.index(name)
        for device in Wrist().devices():
            mean = device.recordings[exercise][:, :3].mean(axis=0)
            assert mean[axis] > 0.5 and mean[axis] > 0.8 * np.abs(mean).max()


def carried(recording, start, end, sign):
    """Gravity at one moment, carried to another one by the rotation between them."""
    gravity = recording[start, :3]
    for rate in sign * (recording[start:end, 3:] + recording[start + 1 : end + 1, 3:]) / 2:
        gravity = rotation_matrix(rate, -np.linalg.norm(rate) / RATE) @ gravity
    return gravity


def test_rotation_in_the_recordings_obeys_the_right_hand_rule():
    """From one still moment to the next one in which gravity is elsewhere."""
    errors = []
    for device in Wrist().devices():
        for recording in device.recordings:
            rates = np.linalg.norm(recording[:, 3:], axis=1)
            strengths = np.linalg.norm(recording[:, :3], axis=1)
            still = np.flatnonzero((rates < 0.3) & (np.abs(strengths - 1) < 0.05))
            for start, end in pairwise(still):
                found = recording[end, :3]
                if 5 < end - start < 2 * RATE and recording[start, :3] @ found < 0.9:
                    both = [carried(recording, start, end, sign) - found for sign in (1, -1)]
                    errors.append(np.linalg.norm(both, axis=1))
    right, wrong = np.median(errors, axis=0)
    assert len(errors) > 100 and right < 0.25 < 2 * right < wrong


# ---- The maps ------------------------------------------------------------------------------------


def test_there_are_96_frames_and_the_map_of_each_undoes_it():
    assert len({text_of(*frame) for frame in FRAMES}) == 96
    recording = wearer()
    as_trained = rows_of(recording, RECORDED)
    for frame in FRAMES:
        again = rows_of(in_frame(recording, *frame), text_of(*frame))
        np.testing.assert_array_equal(again, as_trained)


def test_a_map_is_written_as_it_was_read():
    for frame in FRAMES:
        assert checked_axes(text_of(*frame)) == text_of(*frame)


@given(st.text("+-wxyza", max_size=9))
@example("+x+y+y+")
@example("+x+y+z")
@example("+x+y+z++")
@example("+X+Y+Z+")
def test_what_is_no_map_is_refused(text):
    if text in {text_of(*frame) for frame in FRAMES}:
        assert checked_axes(text) == text
    else:
        with pytest.raises(KitError, match="is no map of axes"):
            checked_axes(text)


@pytest.mark.parametrize("chip", ["LSM9DS1", "BMI270"])
@pytest.mark.parametrize(("arm", "axes"), [("left", DOCUMENTED), ("right", "+x+y-z+")])
def test_worn_as_documented_the_rows_are_those_of_the_training(arm, axes, chip):
    """The physics, step by step, and the table in C meet in every bit."""
    recording = wearer(arm == "right")
    readings = as_worn(recording, arm, chip)
    np.testing.assert_array_equal(rows_of(readings, axes), rows_of(recording, RECORDED))
    if arm == "right":
        assert checked_axes(DOCUMENTED, True) == axes
        assert checked_axes(axes, other_arm=True) == DOCUMENTED


def test_the_header_names_the_maps_that_python_names():
    header = (CORE / "tr_axes.h").read_text()
    found = dict(re.findall(r'#define TR_AXES_(\w+) "(\S+)"', header))
    assert found == {"RECORDED": RECORDED, "REV1": DOCUMENTED, "REV2": DOCUMENTED}


def test_at_rest_on_the_table_the_board_reads_one_g_upwards():
    """Components up, as the maker says: the watch's face then looks up, and its z reads -1."""
    watch = np.array([[0, 0, -1, 0, 0, 0]], np.float32)
    for chip in ("LSM9DS1", "BMI270"):
        for arm in ("left", "right"):
            np.testing.assert_array_equal(as_worn(watch, arm, chip), [[0, 0, 1, 0, 0, 0]])
    # The plug to the hand instead: gravity along the hand is then along plus x.
    hanging = np.array([[1, 0, 0, 0, 0, 0]], np.float32)
    np.testing.assert_array_equal(as_worn(hanging)[0, :3], [1, 0, 0])
    np.testing.assert_array_equal(as_worn(hanging, plug=(1, 0, 0))[0, :3], [-1, 0, 0])


def test_a_mounting_that_cannot_be_is_refused(refuses):
    with refuses("arm 'middle'", "left, right"):
        as_worn(wearer(), "middle")
    with refuses("IMU 'MPU6050'", "BMI270, LSM9DS1"):
        as_worn(wearer(), chip="MPU6050")
    with refuses("plug (0, 0, 1)", "right angles"):
        as_worn(wearer(), plug=(0, 0, 1))


# ---- The wizard ----------------------------------------------------------------------------------


def guided(readings, rate=100.0, at=None):
    """What the wizard answers when it has had the readings; each pose is asked at its time."""
    return found_axes(readings, rate, asked(rate) if at is None else at)


def test_the_wizard_finds_all_96_maps():
    arm = poses(np.random.default_rng(1))
    for frame in FRAMES:
        assert guided(in_frame(arm, *frame)) == (Found.DONE, text_of(*frame))


@given(st.integers(0, 2**32 - 1), st.sampled_from(FRAMES), st.sampled_from([25, 104, 119]))
def test_the_wizard_bears_a_board_strapped_on_askew_and_a_gyroscope_with_an_offset(
    seed, frame, rate
):
    rng = np.random.default_rng(seed)
    arm = poses(rng, rate)
    skew = rotation_matrix(rng.normal(size=3), np.radians(15))
    arm = np.hstack([arm[:, :3] @ skew.T, arm[:, 3:] @ skew.T])
    arm[:, 3:] += rng.uniform(-30, 30, 3)  # degrees/s, as the LSM9DS1's data sheet allows
    assert guided(in_frame(arm, *frame), rate) == (Found.DONE, text_of(*frame))


@pytest.mark.parametrize(
    ("worn", "plug", "components", "axes"),
    [
        ("left", None, (0, 0, 1), DOCUMENTED),
        ("left", (1, 0, 0), (0, 0, 1), "-x+y-z-"),  # the plug to the hand
        ("left", None, (0, 0, -1), "+x+y+z-"),  # upside down
        ("left", (0, 1, 0), (0, 0, 1), "-y-x-z-"),
    ],
)
def test_the_wizard_finds_mountings_of_a_real_board(worn, plug, components, axes):
    arm = poses(np.random.default_rng(2))
    readings = as_worn(arm, worn, plug=plug, components=components)
    assert guided(readings) == (Found.DONE, axes)
    np.testing.assert_array_equal(
        rows_of(as_worn(wearer(), worn, plug=plug, components=components), axes),
        rows_of(wearer(), RECORDED),
    )


def test_on_a_right_arm_the_same_poses_give_the_map_that_mirrors():
    """An arm in a mirror is in the same poses; the recordings' frame is mirrored with it."""
    for chip in ("LSM9DS1", "BMI270"):
        readings = as_worn(poses(np.random.default_rng(3)), "right", chip)
        assert guided(readings) == (Found.DONE, checked_axes(DOCUMENTED, other_arm=True))


def test_the_wizard_says_what_was_wrong():
    rng = np.random.default_rng(4)
    arm, at = poses(rng), asked()
    shaking = arm + rng.normal(0, [0.2] * 3 + [20] * 3, arm.shape)
    assert guided(np.tile(shaking, (5, 1)), at=at[:1])[0] == Found.NOT_STILL
    assert guided(arm * 0.5)[0] == Found.NO_GRAVITY
    assert guided(np.tile(arm[:130], (3, 1)), at=[at[0], at[0] + 120])[0] == Found.ALIKE
    askew = rotation_matrix(np.array([1, 1, 0]), np.radians(45))
    assert guided(np.hstack([arm[:, :3] @ askew.T, arm[:, 3:] @ askew.T]))[0] == Found.SKEW
    dead = arm * [1, 1, 1, 0, 0, 0]
    assert guided(dead)[0] == Found.TURN
    assert guided(np.delete(arm, slice(170, 200), axis=0))[0] != Found.DONE
    finder = Finder()
    finder.pose()
    status = [finder.add(arm[0], 10_000 * n) for n in range(102)]
    assert status[-2:] == [Found.POSE, Found.MOVING]
    assert finder.add(arm[0], 1_300_000) == Found.STOPPED
