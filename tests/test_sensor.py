"""A broken sensor is noticed, a good one never is called broken (tr_sensor.h, the virtual IMU)."""

from pathlib import Path

import numpy as np
import pytest

from tinyreptile_lite.nano import VirtualNano, build
from tinyreptile_lite.nano.motion import Fault, Row, Rows
from tinyreptile_lite.nano.motion import fault as judge
from tinyreptile_lite.nano.peripherals import FAULTS, Imu, rest
from tinyreptile_lite.tasks.wrist import Wrist
from tinyreptile_lite.wire.frames import ERRORS

ARDUINO = Path(__file__).parents[1] / "arduino"
TO_SENSOR = np.array([1, 1, 1] + 3 * [180 / np.pi])
MILLISECOND = 1000
RANGE = [[-4] * 3 + [-2000] * 3, [4] * 3 + [2000] * 3]  # of both libraries


def recordings():
    return [one * TO_SENSOR for device in Wrist().devices() for one in device.recordings]


def test_no_recording_looks_broken():
    """At 25 readings a second, and at 100: each four times, or straight lines between them."""
    assert len(recordings()) == 140
    for recording in recordings():
        assert judge(recording) == Fault.OK
        assert judge(np.repeat(recording, 4, axis=0)) == Fault.OK
        times = np.arange(0, len(recording) - 1, 0.25)
        between = [np.interp(times, np.arange(len(recording)), axis) for axis in recording.T]
        assert judge(np.transpose(between)) == Fault.OK
        for readings in (recording, np.transpose(between)):
            assert judge(np.clip(readings, *RANGE)) == Fault.OK


def test_a_board_at_rest_is_not_frozen():
    table = rest(10_000)
    assert judge(table) == Fault.OK
    assert np.abs(table.mean(axis=0) - [0, 0, 1, 0, 0, 0]).max() < 0.005
    assert judge(table.round(1)) == Fault.FROZEN  # without its noise it is
    table[:, 3:] = 0  # a gyroscope that gives no sign of life
    assert judge(table[:60]) == Fault.OK and judge(table[:70]) == Fault.FROZEN


def played(fault, count=100, rate=100.0, recording=None):
    """Readings of a virtual sensor that breaks after half of them."""
    imu, readings = Imu(recording, rate), []
    imu.begin(0)
    for n in range(count):
        imu.fault = fault if n >= count // 2 else "ok"
        now = 10 * MILLISECOND * n
        if imu.has_new("acceleration", now):
            halves = []
            for kind in ("acceleration", "rotation"):
                imu.read(kind, now)
                halves.append(imu.latched)
            readings.append(np.concatenate(halves))
    return np.array(readings)


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("ok", Fault.OK),
        ("freeze", Fault.FROZEN),
        ("garbage", Fault.JUMPS),
        ("dead", Fault.JUMPS),
        ("jumps", Fault.JUMPS),
        ("nan", Fault.NO_NUMBER),
        ("silent", Fault.OK),  # there is nothing to look at; tr_rows_none notices
    ],
)
def test_each_fault_of_the_virtual_sensor_is_found(fault, found):
    moving = Wrist().devices()[0].recordings[0] * TO_SENSOR
    for recording in (None, moving):
        readings = played(fault, recording=recording)
        assert judge(readings[:50]) == Fault.OK
        assert judge(readings) == found
    assert len(readings) == (50 if fault == "silent" else 100)


def test_a_dead_sensor_is_always_available_and_a_silent_one_never():
    imu = Imu(None, 25.0)
    imu.begin(0)
    for fault, available in (("dead", True), ("silent", False)):
        imu.fault = fault
        for now in (0, 1, 10**6):
            imu.read("rotation", now)
            assert imu.has_new("rotation", now) == available


def test_an_unknown_fault_is_refused(refuses):
    with refuses("unknown fault of the IMU 'rust'", *FAULTS):
        Imu(None, 25.0).fault = "rust"


@pytest.mark.parametrize("bad", [1, [1, 2], [1, 2, np.nan], [0, 0, 2001], ["up", 0, 0], None, {}])
def test_an_offset_of_the_gyroscope_is_three_numbers(refuses, bad):
    with refuses("a gyroscope's offset is", "three numbers"):
        Imu(None, 25.0).offset = bad
    imu = Imu(None, 25.0)
    imu.offset = 30, -20.5, 0
    imu.begin(0)
    imu.read("rotation", 0)
    np.testing.assert_allclose(imu.latched, [30, -20.5, 0], atol=0.5)
    imu.read("acceleration", 0)
    np.testing.assert_allclose(imu.latched, [0, 0, 1], atol=0.01)


def test_a_server_says_of_a_fault_what_a_sketch_says():
    assert Fault.OK.text == "the sensor is fine"
    for fault in list(Fault)[1:]:
        assert ERRORS[35 + fault] == fault.text.replace("the sensor", "its sensor")


def test_gravity_must_be_there_and_no_arm_is_that_strong():
    noise = rest(200) - np.float32([0, 0, 1, 0, 0, 0])
    assert judge(noise) == Fault.NO_GRAVITY
    assert judge(noise[:50]) == Fault.OK  # a fall of half a second
    assert judge(noise + np.float32([5, 5, 5, 0, 0, 0])) == Fault.TOO_STRONG


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("end", [-4, 4 - 4 / 32768])
def test_an_axis_that_is_stuck_at_the_end_of_its_range_is_found(axis, end):
    """Both libraries set 4 g, so a real board never reads 7 g."""
    readings = rest(100)
    readings[40:71, axis] = end
    assert judge(readings) == Fault.OK
    readings[71, axis] = end
    assert judge(readings) == Fault.TOO_STRONG


@pytest.mark.parametrize("huge", [1e20, -1e20, 10_001])
@pytest.mark.parametrize("axis", range(6))
def test_one_huge_number_does_not_spoil_the_sensor_for_ever(axis, huge):
    rows, readings = Rows(), rest(40)
    readings[20, axis] = huge
    times = range(0, 400 * MILLISECOND, 10 * MILLISECOND)
    answers = [rows.add(*pair)[0] for pair in zip(readings, times, strict=True)]
    assert [n for n, answer in enumerate(answers) if answer == Row.FAILED] == [20]


def test_a_sensor_that_works_again_is_believed_again():
    rows, n = Rows(), 0
    statuses = []
    for readings in (rest(50), np.repeat(rest(1), 40, axis=0), rest(51)[1:]):
        for reading in readings:
            statuses.append(rows.add(reading, 10 * MILLISECOND * n)[0])
            n += 1
    failed = np.flatnonzero(np.array(statuses) == Row.FAILED)
    assert failed[0] > 60 and failed[-1] == 89 and rows.fault == Fault.OK


ASKS = {
    "remembered": "tr_imu_read(IMU, x)",
    "not": "IMU.accelerationAvailable() && IMU.gyroscopeAvailable()",
}
READER = """#include <Arduino_BMI270_BMM150.h>
#include <tr_imu.h>
float x[6];
void setup() { IMU.begin(); }
void loop() { if (ASKED) Serial.println("reading"); }
"""


@pytest.fixture(scope="module", params=ASKS)
def reader(request, tmp_path_factory):
    sketch = tmp_path_factory.mktemp("imu") / "Reader"
    sketch.mkdir()
    (sketch / "Reader.ino").write_text(READER.replace("ASKED", ASKS[request.param]))
    return request.param, build(sketch, libraries=ARDUINO / "libraries")


@pytest.mark.parametrize("skew", [0, 500, 1000, 2000])
def test_rotation_that_comes_after_acceleration_costs_no_reading(reader, skew):
    """The flags of a BMI270 are cleared by being read, so they have to be remembered."""
    how, firmware = reader
    board = VirtualNano(firmware, imu=rest(100), imu_rate=100.0, imu_chip="BMI270")
    board.imu.skew_us = skew
    board.run(1000)
    count = board.serial.text.count("reading")
    assert 98 <= count <= 100 if how == "remembered" or not skew else count < 50
