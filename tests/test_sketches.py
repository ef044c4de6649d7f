"""The sketches on the virtual Nano: they learn, they answer nonsense, they survive a bad sensor."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from compilers import BOARD

from tinyreptile_lite.core.export import export
from tinyreptile_lite.core.native import native
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.nano import BuildError, VirtualNano, build
from tinyreptile_lite.nano.mounting import as_worn
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.tasks.base import Samples
from tinyreptile_lite.tasks.frames import own_frame
from tinyreptile_lite.tasks.wrist import EXERCISES, RATE, WINDOW, Wrist

ARDUINO = Path(__file__).parents[1] / "arduino"
TO_SENSOR = np.array([1, 1, 1] + 3 * [180 / np.pi])  # g stays, rad/s becomes degrees/s


def worn(recording, arm="left", **mounting):
    """What the board reads, strapped on as documented."""
    return as_worn(recording * TO_SENSOR, arm, **mounting)


@pytest.fixture(scope="module")
def wearer():
    """Somebody whose recordings are in no training set of fold 0."""
    return Wrist().split(0, np.random.default_rng(0))[1][0]


def answers(board, milliseconds=200):
    board.serial.read()
    board.run(milliseconds)
    return board.serial.read_lines()


@pytest.mark.parametrize("name", ["HelloTinyReptile", "WristAdapt", "FindAxes"])
@pytest.mark.parametrize("flags", [(), ("-DREV2=1", "-DOWN_FRAME=1")])
@pytest.mark.parametrize("compiler", BOARD)
def test_sketches_build_without_a_warning(name, flags, compiler):
    folder = ARDUINO / name
    firmware = build(folder, flags=flags, compiler=compiler)
    assert firmware.warnings == ""
    assert firmware.memory.stack == 32_768
    assert len((folder / f"{name}.ino").read_text().splitlines()) < 200


@pytest.mark.parametrize(("name", "other"), [("HelloTinyReptile", "wrist"), ("WristAdapt", "sine")])
def test_phi_of_another_network_is_one_clear_line(name, other, tmp_path):
    sketch = tmp_path / name
    shutil.copytree(ARDUINO / name, sketch, ignore=shutil.ignore_patterns("phi.*"))
    net = find_family(other).network()
    export(net, net.init(np.random.default_rng(0)), sketch)
    with pytest.raises(BuildError, match=rf"{name}.ino:\d+:.*phi.h has another network"):
        build(sketch)


# ---- HelloTinyReptile ----------------------------------------------------------------------------


@pytest.fixture
def hello():
    board = VirtualNano(ARDUINO / "HelloTinyReptile")
    board.run(1500)
    return board


def losses(lines):
    """Errors in plotter lines; fails on any other line."""
    rows = [re.fullmatch(r"loss:(\d+\.\d{4}),error:(\d+\.\d{4})", line) for line in lines]
    return [float(row[2]) for row in rows]


def test_hello_learns_a_wave_and_streams_the_loss(hello):
    errors = losses(hello.serial.read_lines())
    assert len(errors) == 33
    assert errors[-1] < 0.1 * errors[0]
    assert not hello.leds["builtin"]


def test_hello_draws_another_wave_for_each_seed():
    first = []
    for seed in (1, 2, 1):
        board = VirtualNano(ARDUINO / "HelloTinyReptile", seed=seed)
        board.run_until("\n")
        first.append(board.serial.text)
    assert first[0] == first[2] != first[1]


def test_hello_takes_a_new_wave_and_a_new_rate(hello):
    phi = hello.read_variable("phi")
    hello.serial.read()
    hello.serial.write_line("r0.01")
    hello.serial.write_line("n")
    hello.run_until("\n")
    np.testing.assert_array_equal(hello.read_variable("weights"), phi)
    assert len(losses(answers(hello, 1500))) >= 32
    np.testing.assert_allclose(hello.read_variable("rate"), [0.01], rtol=1e-6)


@pytest.mark.parametrize(
    "nonsense", ["x", "", "n1", "r", "rr", "r-1", "rnan", "r7", "0.02", "n" * 99]
)
def test_hello_answers_nonsense_with_one_line_and_keeps_its_weights(hello, nonsense):
    weights = hello.read_variable("weights")
    hello.serial.write_line(nonsense)
    lines = answers(hello)
    assert len(lines) == 1
    assert lines[0].startswith("send n (new wave)")
    np.testing.assert_array_equal(hello.read_variable("weights"), weights)


def test_hello_survives_a_rate_that_is_too_high(hello):
    hello.serial.write_line("r1")
    for _ in range(6):
        hello.serial.write_line("f")
        hello.run(1000)
    assert np.isfinite(hello.read_variable("weights")).all()
    hello.serial.write_line("r0.02")
    hello.serial.write_line("n")
    hello.serial.read()
    hello.run(1500)
    assert losses(hello.serial.read_lines())[-1] < 5


# ---- WristAdapt ----------------------------------------------------------------------------------


def test_wrist_recognises_a_new_wearers_exercise(wearer):
    recording = worn(wearer.recordings[1])
    board = VirtualNano(ARDUINO / "WristAdapt", imu=recording, imu_rate=RATE)
    board.run(20_000)
    ready, *lines = board.serial.read_lines()
    assert ready.startswith("ready")
    assert len(lines) == 8  # every two seconds, once there are four seconds
    assert all(re.fullmatch(rf"({'|'.join(EXERCISES)}) \d+", line) for line in lines)
    assert sum(line.startswith(EXERCISES[1]) for line in lines) > 4


@pytest.mark.parametrize(("rate", "repeat"), [(RATE, 1), (4 * RATE, 4)])
def test_wrist_sees_the_windows_that_it_was_trained_on(wearer, rate, repeat):
    recording = wearer.recordings[2]
    sensor = np.repeat(worn(recording), repeat, axis=0)
    board = VirtualNano(ARDUINO / "WristAdapt", imu=sensor, imu_rate=rate, imu_loop=False)
    board.run(1000)
    board.serial.write_line("2")
    board.run_until("learnt forward elevation")
    rows = board.read_variable("rows").reshape(WINDOW, 6)
    # Where a slot of a fast sensor begins between two readings, a row is a mean of both.
    shares = [0.0] if repeat == 1 else np.arange(0, 1, 0.25)
    errors = [
        np.abs(
            (1 - share) * recording[i : i + WINDOW]
            + share * recording[i + 1 : i + 1 + WINDOW]
            - rows
        )
        for i in range(len(recording) - WINDOW)
        for share in shares
    ]
    assert min(error.mean() for error in errors) < (1e-6 if repeat == 1 else 0.02)


@pytest.mark.parametrize("chip", ["LSM9DS1", "BMI270"])
@pytest.mark.parametrize(
    ("commands", "axes"), [("", None), ("m", "+x+y-z+"), ("mm", "+x-y-z-"), ("a", "+x+y-z+")]
)
def test_wrist_mirrors_a_right_arm_as_the_training_does(chip, commands, axes):
    wearer = Wrist().split(0, np.random.default_rng(0))[1][1]
    assert wearer.arm == "right"
    recording = wearer.recordings[2]
    board = VirtualNano(
        ARDUINO / "WristAdapt",
        imu=worn(recording, wearer.arm, chip=chip),
        imu_rate=RATE,
        imu_chip=chip,
        imu_loop=False,
        flags=("-DREV2=1",) if chip == "BMI270" else (),
    )
    board.run(1000)
    for command in [*commands, "2"]:
        board.serial.write_line(f"a{axes}" if command == "a" else command)
    board.run_until("learnt forward elevation")
    assert axes is None or f"axes {axes}" in board.serial.text
    rows = board.read_variable("rows").reshape(WINDOW, 6)
    errors = [
        np.abs(recording[i : i + WINDOW] - rows).mean() for i in range(len(recording) - WINDOW)
    ]
    assert (min(errors) < 1e-6) == (axes == "+x+y-z+")


@pytest.mark.parametrize(
    ("chip", "mounting"),
    [
        ("LSM9DS1", {"plug": (0, 1, 0), "components": (1, 0, 0)}),
        ("BMI270", {"plug": (0, 0, -1), "components": (0, 1, 0)}),
    ],
)
def test_wrist_worn_anyhow_learns_from_windows_in_their_own_frame(wearer, chip, mounting):
    """With nothing but the revision's map of axes, the network sees what it was trained on."""
    recording = wearer.recordings[2]
    board = VirtualNano(
        ARDUINO / "WristAdapt",
        imu=worn(recording, chip=chip, **mounting),
        imu_rate=RATE,
        imu_chip=chip,
        imu_loop=False,
        flags=("-DOWN_FRAME=1", f"-DREV2={int(chip == 'BMI270')}"),
    )
    board.run(1000)
    board.serial.write_line("2")
    board.run_until("learnt forward elevation")
    x = own_frame(board.read_variable("rows").reshape(1, WINDOW, 6))
    windows = np.lib.stride_tricks.sliding_window_view(recording, WINDOW, axis=0)
    trained = own_frame(windows.swapaxes(1, 2))
    assert np.abs(trained - x).max(axis=(1, 2)).min() < 1e-4
    learner, phi = native(OnlineSGD(0.03)), board.read_variable("phi")
    net, rng = find_family("wrist-any").network(), np.random.default_rng(0)
    learned = learner.learn(net, phi, Samples(x, np.array([2])), rng)
    step = np.abs(learned.params - phi).max()
    np.testing.assert_allclose(board.read_variable("weights"), learned.params, atol=1e-3 * step)


def test_wrist_learns_what_it_is_told(wearer):
    recording = worn(wearer.recordings[4])
    board = VirtualNano(ARDUINO / "WristAdapt", imu=recording, imu_rate=RATE)
    found = []
    for _ in range(4):
        board.serial.write_line("6")  # this wearer's own mind
        board.run_until("loss ", limit_ms=10_000)
        board.run_until("\n")
    found = [float(loss) for loss in re.findall(r"learnt .* loss ([\d.]+)", board.serial.text)]
    assert len(found) == 4
    assert found[-1] < found[0]
    board.serial.write_line("r")
    board.run(100)
    np.testing.assert_array_equal(board.read_variable("weights"), board.read_variable("phi"))


def test_wrist_button_labels_in_order(wearer):
    board = VirtualNano(ARDUINO / "WristAdapt", imu=worn(wearer.recordings[0]), imu_rate=RATE)
    board.run(100)
    for name in EXERCISES[:2]:
        board.pins.press(2)
        board.run_until(f"watching 4 s of {name}")
        board.run(20)
        assert board.leds["builtin"]
        board.pins.release(2)
        board.run_until(f"learnt {name}", limit_ms=10_000)
        board.run(20)
        assert not board.leds["builtin"]


def test_wrist_answers_nonsense_with_one_line():
    board = VirtualNano(ARDUINO / "WristAdapt")
    board.run(100)
    help_line, no_map = "unknown command: 0 to 6 teach an exercise", "no map of axes: send one like"
    said = dict.fromkeys(("7", "-1", "x", "01", "learn", "0" * 99), help_line)
    maps = "a+x-y", "a+x-y+y-", "a+x-y-z-+", "A+x-y-z-", "a +x-y-z-", "+x-y-z-", "a+x+x-z-"
    for nonsense, answer in (said | dict.fromkeys(maps, no_map)).items():
        board.serial.write_line(nonsense)
        lines = answers(board)
        assert len(lines) == 1 and lines[0].startswith(answer), (nonsense, lines)
    np.testing.assert_array_equal(board.read_variable("weights"), board.read_variable("phi"))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_wrist_drops_a_window_with_a_failed_reading(wearer, bad):
    recording = worn(wearer.recordings[1])
    recording[80:83, 2] = bad
    board = VirtualNano(ARDUINO / "WristAdapt", imu=recording, imu_rate=RATE, imu_loop=False)
    board.run(100)
    board.serial.write_line("1")
    board.run_until("learnt", limit_ms=10_000)
    assert board.serial.text.count("the sensor gave no number") == 1
    assert 80 < board.imu.index(board.time_us) - WINDOW < 90
    assert np.isfinite(board.read_variable("weights")).all()


def hole(board):
    """No readings for half a second, as if something had kept the sketch busy."""
    board.imu.fault = "silent"
    board.run(500)
    board.imu.fault = "ok"


def asked_for_weights(board):
    board.serial.write_line("w")
    board.run_until("--- end")


@pytest.mark.parametrize("busy", [hole, asked_for_weights])
def test_wrist_learns_from_four_whole_seconds_only(busy):
    board = VirtualNano(ARDUINO / "WristAdapt")
    board.run(1000)
    board.serial.write_line("3")
    board.run(1000)
    busy(board)
    since = board.time_us
    board.run_until("learnt", limit_ms=10_000)
    assert board.time_us - since > (WINDOW - 1) * 40_000
    missing = "readings of the sensor were missing: the four seconds start again"
    assert board.serial.text.count(missing) == (busy is hole)


def test_wrist_without_its_imu_says_so():
    board = VirtualNano(ARDUINO / "WristAdapt", imu_chip="BMI270")
    board.run_until("no IMU: does REV2 suit your board?")
    second = VirtualNano(ARDUINO / "WristAdapt", imu_chip="BMI270", flags=("-DREV2=1",))
    second.run_until("ready")
