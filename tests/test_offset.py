"""A gyroscope's offset is taken off after a still second (tr_still.h), and nothing else is."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.bench import axes
from tinyreptile_lite.core.build import CORE
from tinyreptile_lite.nano import VirtualNano
from tinyreptile_lite.nano.motion import DOCUMENTED, RECORDED, Fault, Rows, rows_of
from tinyreptile_lite.nano.mounting import as_worn
from tinyreptile_lite.nano.peripherals import rest
from tinyreptile_lite.tasks.wrist import EXERCISES, RATE, WINDOW, Wrist, rotation_matrix

ARDUINO = Path(__file__).parents[1] / "arduino"
TO_SENSOR = np.array([1, 1, 1] + 3 * [180 / np.pi])
TABLE = rest(300)
SECOND, GAP, SWAY, LEAST = 1_000_000, 200_000, [0.05] * 3 + [6] * 3, 2  # as tr_still.h says


def expected(readings, times):
    """The offset after each reading: the rule of tr_still.h, in NumPy and over whole runs."""
    offset, since, found = np.zeros(3), 0, []
    for n, now in enumerate(times):
        if n > since and now - times[n - 1] > GAP:
            since = n
        run = readings[since : n + 1]
        if (np.ptp(run, axis=0) > np.float32(SWAY)).any():
            since = n + 1
        elif now - times[since] >= SECOND:
            mean, since = run.mean(axis=0), n + 1
            upright = 0.8 <= np.linalg.norm(mean[:3]) <= 1.2
            if upright and np.abs(mean[3:] - offset).max() >= LEAST:
                offset = mean[3:]
        found.append(offset)
    return np.array(found)


def offsets(readings, times):
    rows, found = Rows(), []
    for reading, now in zip(readings, times, strict=True):
        rows.add(reading, int(now))
        assert rows.fault in (Fault.OK, Fault.GAP)
        found.append(rows.offset)
    return np.array(found)


pieces = st.lists(
    st.tuples(
        st.integers(5, 130),  # readings
        st.sampled_from([10_000, 40_000, 250_000]),  # microseconds between them
        st.sampled_from([0, 0.01, 0.3]),  # noise of an arm that moves, in g
        st.tuples(*3 * [st.integers(-40, 40)]),  # offset, degrees per second
        st.sampled_from([0.7, 1.0, 1.3]),  # g
    ),
    min_size=1,
    max_size=5,
)


@given(pieces, st.integers(0, 2**32 - 1))
def test_the_offset_is_the_mean_of_a_still_second(pieces, seed):
    rng, readings, steps = np.random.default_rng(seed), [], []
    for count, step, noise, offset, gravity in pieces:
        piece = TABLE[:count] * np.float32([1, 1, gravity, 1, 1, 1])
        piece[:, 3:] += offset
        readings.append(piece + rng.normal(0, noise, piece.shape) * ([1] * 3 + [30] * 3))
        steps += count * [step]
    readings, times = np.float32(np.vstack(readings)), np.cumsum(steps)
    np.testing.assert_allclose(offsets(readings, times), expected(readings, times), atol=1e-3)


def test_the_limits_are_those_of_the_header():
    header = (CORE / "tr_still.h").read_text("utf-8")
    found = dict(re.findall(r"#define TR_STILL_(\w+) ([\d.]+)", header))
    assert {name: float(value) for name, value in found.items()} == {
        "TIME": SECOND, "GAP": GAP, "G": SWAY[0], "DPS": SWAY[3], "OFF": LEAST
    }  # fmt: skip


def test_a_sensor_without_an_offset_is_left_alone_bit_for_bit():
    """No second of the recordings is still; and one of a board on a table shows no offset."""
    for device in Wrist().devices():
        for recording in device.recordings[::3]:
            readings = np.float32(recording * TO_SENSOR)
            assert not offsets(readings, np.arange(len(readings)) * SECOND // RATE).any()
    for small in (0, 1.5, -1.5):
        assert not offsets(TABLE + np.float32([0] * 3 + [small] * 3), np.arange(300) * 10_000).any()


@pytest.mark.parametrize("rate", [5, 20, 60])
def test_an_arm_that_turns_evenly_and_slowly_has_no_offset(rate):
    """Gravity moves, as it does not with an offset."""
    turns = (rotation_matrix(np.array([1, 1, 0]), np.radians(rate * n / 100)) for n in range(300))
    readings = TABLE.copy()
    readings[:, :3] += [turn.T @ [0, 0, 1] - [0, 0, 1] for turn in turns]
    readings[:, 3:5] += rate / np.sqrt(2)
    assert not offsets(np.float32(readings), np.arange(300) * 10_000).any()


def test_a_broken_second_is_no_still_one():
    rows, readings = Rows(), TABLE + np.float32([0] * 3 + [20] * 3)
    for n, reading in enumerate(readings[:180]):
        rows.add(None if n == 90 else reading, 10_000 * n)
    assert not rows.offset.any()
    for n in range(180, 200):
        rows.add(readings[n], 10_000 * n)
    np.testing.assert_allclose(rows.offset, 20, atol=0.1)


# ---- On a wrist ----------------------------------------------------------------------------------


def test_a_new_wearer_is_known_as_well_with_an_offset_after_a_still_second():
    """Person 1, three offsets of up to 30 degrees/s for each axis."""
    as_trained = axes.accuracy(axes.as_trained, draws=3)
    never, still = (
        np.mean([axes.accuracy(axes.with_offset(n, laid), draws=3) for n in range(3)], axis=0)
        for laid in (False, True)
    )
    np.testing.assert_allclose(still, as_trained, atol=0.01)
    assert never[0] < as_trained[0] - 0.03


def test_the_sketch_learns_what_it_would_without_the_offset():
    """A second on the table, other axes meanwhile, then an exercise."""
    recording = Wrist().devices()[0].recordings[2] * TO_SENSOR
    laid = np.vstack([rest(int(1.5 * RATE)) * [1, 1, -1, 1, 1, 1], recording])
    worn = as_worn(laid)
    board = VirtualNano(ARDUINO / "WristAdapt", imu=worn, imu_rate=RATE, imu_loop=False)
    board.imu.offset = 30, -25, 12
    board.run(1500)
    assert "lay the arm still for a second" in board.serial.text
    for line in ("m", "a" + DOCUMENTED, "2"):  # the offset is the sensor's, not the mounting's
        board.serial.write_line(line)
    board.run_until(f"learnt {EXERCISES[2]}")
    rows = board.read_variable("rows").reshape(WINDOW, 6)
    clean = rows_of(recording, RECORDED)
    errors = [np.abs(clean[i : i + WINDOW] - rows).max() for i in range(len(clean) - WINDOW)]
    assert min(errors) < np.radians(0.3)
