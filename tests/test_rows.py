"""Readings of a motion sensor become rows (tr_rows.h); the sketches' tests run it on the board."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.nano.motion import Fault, Row, Rows

SLOT = 40_000
FAILED, OPEN, DONE = Row
UNIT = np.array([1, 1, 1] + 3 * [np.pi / 180], np.float32)


def play(readings, times, **options):
    """Rows that the readings make, and the numbers of the readings that completed them."""
    rows = Rows(**options)
    answers = [rows.add(*pair) for pair in zip(readings, times, strict=True)]
    assert {status for status, _ in answers} <= {OPEN, DONE}
    return [row for _, row in answers if row is not None], [a[0] for a in answers]


def draw(count, seed=0):
    return np.random.default_rng(seed).normal(0, 0.5, (count, 6)).astype(np.float32)


@given(st.integers(0, 2**32 - 1), st.integers(-9_000, 9_000))
def test_a_sensor_of_25_readings_a_second_gives_its_readings(start, jitter):
    """Wherever the clock stands, also where it wraps around, and if a reading is a little late."""
    readings = draw(12)
    times = [start + SLOT * n + (jitter if n % 3 else 0) for n in range(12)]
    rows, _ = play(readings, times)
    np.testing.assert_allclose(rows, (readings * UNIT)[:-1], rtol=1e-6)


@given(st.lists(st.integers(1, 30_000), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_a_row_is_the_mean_of_the_readings_in_its_slot(pauses, seed):
    times = np.concatenate([[0], np.cumsum(pauses)])
    readings = draw(len(times), seed)
    slots = (times + SLOT // 2) // SLOT  # the first reading is in the middle of its slot
    rows, _ = play(readings, map(int, times))
    means = [(readings[slots == slot] * UNIT).mean(axis=0) for slot in np.unique(slots)]
    assert len(rows) == len(means) - 1  # the last slot is still open
    np.testing.assert_allclose(
        np.reshape(rows, (-1, 6)), np.reshape(means[:-1], (-1, 6)), rtol=1e-5, atol=1e-6
    )


def test_a_sensor_that_is_silent_for_a_second_has_failed():
    rows, second = Rows(), 1_000_000
    start = 2**32 - second // 2  # the clock wraps around meanwhile
    assert rows.none(start) == rows.none(start + second) == OPEN
    assert rows.none(start + second + 1) == FAILED and rows.fault == Fault.SILENT
    assert rows.add(draw(1)[0], start + 2 * second)[0] == OPEN and rows.fault == 0
    assert rows.none(start + 3 * second) == OPEN


@pytest.mark.parametrize("bad", [None, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axis", range(6))
def test_a_failed_reading_drops_the_row_in_the_making(bad, axis):
    rows, readings = Rows(), draw(4)
    assert rows.add(readings[0], 0) == (OPEN, None)
    spoilt = readings[1].copy()
    spoilt[axis] = np.nan if bad is None else bad
    assert rows.add(None if bad is None else spoilt, 10_000) == (FAILED, None)
    assert rows.add(readings[2], 50_000) == (OPEN, None)  # a new slot begins
    status, row = rows.add(readings[3], 70_000)
    assert status == DONE
    np.testing.assert_allclose(row, readings[2] * UNIT, rtol=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40_000), st.integers(0, 60))
def test_a_window_with_a_hole_is_dropped(start, pause, before):
    """Else each reading after the hole would be a row, until as many were made as are missing."""
    rows, readings = Rows(), draw(before + 40)
    hole, least = 200_000, 40
    times = [start + pause * n + (n > before) * (hole + 1 - pause) for n in range(before + 40)]
    answers = [rows.add(*pair)[0] for pair in zip(readings, times, strict=True)]
    assert [n for n, answer in enumerate(answers) if answer == FAILED] == [before + 1]
    assert answers[before + 2 :].count(DONE) <= least * pause / SLOT + 1
    exact = Rows()
    assert [exact.add(draw(1)[0], time)[0] for time in (0, hole)] == [OPEN, DONE]
    assert exact.add(draw(1)[0], 2 * hole + 1)[0] == FAILED and exact.fault == Fault.GAP
    assert Fault.GAP.text == "readings of the sensor were missing"


def test_a_pause_before_a_windows_first_reading_is_no_hole():
    rows, second = Rows(), 1_000_000
    assert [rows.none(time) for time in (0, second // 2)] == [OPEN] * 2
    assert rows.add(draw(1)[0], second)[0] == OPEN
