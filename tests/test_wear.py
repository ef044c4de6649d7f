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
    words = {"right arm, Rev2": "as drawn for the right arm"}.get(name, "not as drawn")
    assert f"axes {command[1:]}: the board is worn {words}" in said
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


def teach(readings, labels=range(7), **board):
    """Teach exercises, one window of each; returns the board."""
    board = VirtualNano(ARDUINO / "WristAdapt", imu=readings[0], imu_rate=RATE, **board)
    for label in labels:
        board.imu.recording = readings[label]
        board.serial.write_line(str(label))
        board.run_until(f"learnt {EXERCISES[label]}", limit_ms=10_000)
        board.serial.read()
    board.run(500)
    return board


SAID = r"(\d) of the 7 exercises were known when you taught them first: is it worn"


def test_a_wrong_mounting_is_said_once_and_what_was_learnt_stays(wearers):
    for components, notices in (((0, 0, 1), 0), ((0, 0, -1), 1)):
        readings = [
            as_worn(recording * TO_SENSOR, components=components)
            for recording in wearers[0].recordings
        ]
        board = teach(readings)
        said = re.findall(SAID, board.serial.text)
        assert len(said) == notices and all(int(known) < 4 for known in said)
        assert not np.array_equal(board.read_variable("weights"), board.read_variable("phi"))


def test_an_exercise_that_is_repeated_counts_once(wearers):
    """Else seven lessons of one exercise would hide, or make up, that the board is worn wrongly."""
    upside_down = [as_worn(r * TO_SENSOR, components=(0, 0, -1)) for r in wearers[0].recordings]
    board = teach(upside_down, 8 * [0])
    assert board.serial.text.count("learnt pendulum") == 8
    assert not re.search(SAID, board.serial.text)
    assert board.read_variable("met", np.uint8)[0] == 1
    assert board.read_variable("known", np.int32)[0] <= 1


def test_another_map_is_said_at_the_start_after_r_and_with_the_help():
    board = VirtualNano(ARDUINO / "WristAdapt")
    board.run_until("ready")
    assert "axes" not in board.serial.text
    other = "axes +x+y+z+, not as drawn; as drawn for the left arm it is a+x-y-z-"
    for line, answer in (
        ("a", "axes +x-y-z-, as drawn for the left arm\n"),
        ("m", "the other arm: axes +x+y-z+, as drawn for the right arm"),
        ("a+x+y+z+", other),
        ("r", other),
        ("help", other),
        ("a", other),
    ):
        board.serial.read()
        board.serial.write_line(line)
        board.run(200)
        assert answer in board.serial.text.replace("\r", ""), line
    board.run_until("forgotten: back to phi")  # and the map is in flash already
    board.reset()
    board.run_until("ready")
    assert other in board.serial.text


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


def test_another_fault_is_said_too():
    board = VirtualNano(ARDUINO / "WristAdapt")
    board.run(2000)
    for fault in ("freeze", "nan", "silent"):
        board.imu.fault = fault
        board.run(4000)
    said = [line.split(":")[0] for line in board.serial.text.splitlines() if "the sensor" in line]
    assert [one.split(" any")[0] for one in said] == [
        "the sensor is frozen",
        "the sensor gave no number",
        "the sensor gives no readings",
    ]


def test_a_still_board_is_not_broken():
    board = VirtualNano(ARDUINO / "WristAdapt")
    board.run(10_000)
    assert "the sensor" not in board.serial.text
