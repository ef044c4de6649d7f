"""The sketches worn in any way, with a sensor that may break, on the virtual Nano."""

import re
from pathlib import Path

import numpy as np
import pytest

from tinyreptile_lite.bench import axes
from tinyreptile_lite.nano import VirtualNano, build
from tinyreptile_lite.nano.motion import RECORDED, rows_of
from tinyreptile_lite.nano.mounting import as_worn, frames, in_frame
from tinyreptile_lite.nano.poses import asked, poses
from tinyreptile_lite.tasks.wrist import EXERCISES, RATE, WINDOW, Wrist

ARDUINO = Path(__file__).parents[1] / "arduino"
TO_SENSOR = np.array([1, 1, 1] + 3 * [180 / np.pi])
FRAMES = list(frames())
REV2 = {"imu_chip": "BMI270", "flags": ("-DREV2=1",)}


@pytest.fixture(scope="module")
def wearers():
    """Both arms of person 1, whom phi does not know."""
    return Wrist().split(0, np.random.default_rng(0))[1]


# ---- Any mounting --------------------------------------------------------------------------------


def find_axes(readings, **board):
    """What the sketch FindAxes prints, when somebody sends the lines at the right moments."""
    board = VirtualNano(ARDUINO / "FindAxes", imu=readings, imu_rate=100, imu_loop=False, **board)
    for at in asked():
        board.run_until(lambda board, at=at: board.imu.index(board.time_us) >= at)
        board.serial.write_line("")
    board.run(2000)
    return board.serial.text


WORN = {
    "upside down": (lambda rows: as_worn(rows, components=(0, 0, -1)), {}),
    "right arm, Rev2": (lambda rows: as_worn(rows, "right", "BMI270"), REV2),
    "left-handed": (lambda rows: in_frame(rows, *FRAMES[41]), {}),
    "turned rotations": (lambda rows: in_frame(rows, *FRAMES[86]), {}),
}


@pytest.mark.parametrize("name", WORN)
def test_any_mounting_learns_the_same_bits_after_the_wizard(name, wearers):
    wear, options = WORN[name]
    said = find_axes(wear(poses(np.random.default_rng(0))), **options)
    command = re.search(r"for WristAdapt, as a line: (a\S+)", said)[1]
    assert f'#define AXES "{command[1:]}"' in said
    recording = wearers["right" in name].recordings[2] * TO_SENSOR
    sketch = ARDUINO / "WristAdapt"
    board = VirtualNano(sketch, imu=wear(recording), imu_rate=RATE, imu_loop=False, **options)
    board.run(200)
    for line in (command, "2"):
        board.serial.write_line(line)
    board.run_until("learnt forward elevation")
    rows = board.read_variable("rows").reshape(WINDOW, 6)
    expected = rows_of(recording, RECORDED)
    places = [i for i in range(len(expected)) if np.array_equal(expected[i : i + WINDOW], rows)]
    assert len(places) == 1


def test_the_wizard_tells_why_there_is_no_map():
    still = poses(np.random.default_rng(0))[:130]
    said = find_axes(np.tile(still, (6, 1)))
    assert "no map: this pose is like one before" in said
    assert said.count("pose 1 of 3") == 2
    assert "no map: the sensor is frozen" in find_axes(np.repeat(still[:1], 900, axis=0))
    ended = find_axes(poses(np.random.default_rng(0))[: asked()[2] + 1])
    assert ended.count("no map: the sensor gives no readings any more") == 1


def test_federated_client_takes_the_wizards_map():
    flags = ('-DAXES="+y-x+z+"', "-DRIGHT_ARM=0")
    assert not build(ARDUINO / "FederatedClient", flags=flags).warnings


def test_worn_as_documented_a_new_wearer_is_known_as_well_as_in_training():
    """Held-out person 1, both arms, both revisions; the C code of the sketches in between."""
    as_trained = axes.accuracy(axes.as_trained, draws=3)
    np.testing.assert_allclose(as_trained, [0.893, 0.946, 0.944], atol=0.01)
    for chip in ("LSM9DS1", "BMI270"):
        worn = axes.accuracy(axes.documented(chip), draws=3)
        np.testing.assert_allclose(worn, as_trained, atol=0.01)


def teach(readings, **board):
    """Teach the seven exercises once, one window of each; returns the board."""
    board = VirtualNano(ARDUINO / "WristAdapt", imu=readings[0], imu_rate=RATE, **board)
    for label, recording in enumerate(readings):
        board.imu.recording = recording
        board.serial.write_line(str(label))
        board.run_until(f"learnt {EXERCISES[label]}", limit_ms=10_000)
    board.run(500)
    return board


def test_a_wrong_mounting_is_said_once_and_what_was_learnt_stays(wearers):
    for components, notices in (((0, 0, 1), 0), ((0, 0, -1), 1)):
        readings = [
            as_worn(recording * TO_SENSOR, components=components)
            for recording in wearers[0].recordings
        ]
        board = teach(readings)
        said = re.findall(r"(\d) of your first 7 were known: is it worn", board.serial.text)
        assert len(said) == notices and all(int(known) < 4 for known in said)
        assert not np.array_equal(board.read_variable("weights"), board.read_variable("phi"))


# ---- A broken sensor -----------------------------------------------------------------------------

SENTENCES = {
    "freeze": "the sensor is frozen",
    "garbage": "the sensor's numbers jump",
    "dead": "the sensor's numbers jump",
    "jumps": "the sensor's numbers jump",
    "nan": "the sensor gave no number",
    "silent": "the sensor gives no readings any more",
}


@pytest.mark.parametrize("fault", SENTENCES)
def test_a_broken_sensor_teaches_nothing_and_is_named_once(fault, wearers):
    readings = as_worn(wearers[0].recordings[1] * TO_SENSOR)
    board = VirtualNano(ARDUINO / "WristAdapt", imu=readings, imu_rate=RATE)
    board.serial.write_line("1")
    board.run(2000)
    board.imu.fault = fault
    board.run(8000)
    assert board.serial.text.count("the sensor") == 1
    assert f"{SENTENCES[fault]}" in board.serial.text
    assert "learnt" not in board.serial.text
    np.testing.assert_array_equal(board.read_variable("weights"), board.read_variable("phi"))
    board.imu.fault = "ok"
    board.run(6000)
    assert "learnt abduction" in board.serial.text
    assert board.serial.text.count("the sensor") == 1


def test_a_still_board_is_not_broken():
    board = VirtualNano(ARDUINO / "WristAdapt")
    board.run(10_000)
    assert "the sensor" not in board.serial.text
