"""BoardCheck: the same bits on this computer and on the board, the sensor found, plain words."""

import contextlib
import io
import os
import re
import shutil
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from compilers import BOARD
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.cli import main
from tinyreptile_lite.core.native import NativeOnlineSGD
from tinyreptile_lite.layers import Dense, ReLU
from tinyreptile_lite.nano import VirtualNano, board_check, build
from tinyreptile_lite.nano.board_check import read_report
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Samples

ARDUINO = Path(__file__).parents[1] / "arduino"
SKETCH = ARDUINO / "BoardCheck"
STEPS, RATE = 200, 0.0625
VALUES = Network([Dense(1, 32), ReLU(), Dense(32, 32), ReLU(), Dense(32, 1)], "mse", (1,))
LABELS = Network([Dense(64, 32), ReLU(), Dense(32, 10)], "cross_entropy", (64,))


def draws(count, seed=1):
    """The sketch's numbers from -1 to 1, here made with Python's whole numbers."""
    numbers, state = [], seed
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        numbers.append(((state >> 8) - 2**23) / 2**23)
    return np.array(numbers, np.float32)


def trained(net):
    """Loss, and CRC-32 of the weights, after the fixed training, in the C core of this computer."""
    width = net.input_shape[0]
    numbers = draws(net.size + STEPS * width)
    phi, x = np.float32(0.25) * numbers[: net.size], numbers[net.size :].reshape(STEPS, width)
    y = x * x if net is VALUES else x[:, :10].argmax(1)
    learned = NativeOnlineSGD(RATE).learn(net, phi, Samples(x, y), np.random.default_rng(0))
    return learned.loss, zlib.crc32(learned.params.tobytes())


def report_of(chip, **options):
    board = VirtualNano(build(SKETCH, **options), imu_chip=chip)
    board.run_until(lambda nano: read_report(nano.serial.text) is not None)
    return board, read_report(board.serial.text)


def test_the_bits_that_the_sketch_expects_are_this_computers():
    expected = re.findall(r"0x([0-9A-F]{8})", (SKETCH / "training.h").read_text())
    assert expected == [f"{trained(net)[1]:08X}" for net in (VALUES, LABELS)]
    assert trained(VALUES)[0] < 0.1  # of 0.2 if it learnt nothing


@pytest.mark.parametrize(
    ("compiler", "flags"), [*((name, ()) for name in BOARD), ("zig", ("-DTR_PLAIN",))]
)
def test_the_board_gets_the_same_bits_and_says_so(compiler, flags):
    board, report = report_of("LSM9DS1", compiler=compiler, flags=flags)
    assert board.firmware.warnings == ""
    for name, net in (("1-32-32-1", VALUES), ("64-32-10", LABELS)):
        assert report.values[f"equal bits, {name}"] == f"yes, {trained(net)[1]:08X}"
        assert 100 < int(report.values[f"stack, {name}"].split()[0]) < 1000
        for how in ("without", "with"):
            times = report.values[f"us per step of {name}, {how} interrupts"]
            median, least, most = map(int, re.findall(r"\d+", times))
            assert 0 < least <= median <= most
    assert report.well
    assert "the same bits as other machines" in report.summary()
    free = int(report.values["free RAM"].split()[0])
    assert 0 < board.memory.ram + free <= 262_144
    board.run(20)
    assert board.leds == {"builtin": False, "red": False, "green": True, "blue": False}


@pytest.mark.parametrize(
    ("chip", "revision", "words"),
    [
        ("LSM9DS1", 1, "it is revision 1: its motion sensor is LSM9DS1"),
        ("BMI270", 2, "it is revision 2: its motion sensor is BMI270"),
        (None, None, "no motion sensor answers, so WristAdapt cannot run on it"),
    ],
)
def test_one_sketch_finds_out_which_revision_it_is_on(chip, revision, words):
    board, report = report_of(chip)
    assert report.revision == revision
    assert report.well == (chip is not None)
    assert words in report.summary()
    board.run(20)
    assert board.leds["red"] == (chip is None)


@pytest.mark.parametrize(
    ("chip", "dead", "words"),
    [
        ("LSM9DS1", 0x1E, "LSM9DS1, but its magnetometer does not answer"),
        ("LSM9DS1", 0x6B, "only the magnetometer answers"),
        ("BMI270", 0x10, "BMI270, but its magnetometer BMM150 does not answer"),
        ("BMI270", 0x68, "only the magnetometer answers"),
    ],
)
def test_a_sensor_of_which_a_part_is_dead_is_not_well(chip, dead, words):
    board = VirtualNano(build(SKETCH), imu_chip=chip)
    board.imu.dead = {dead}
    board.run_until(lambda nano: read_report(nano.serial.text) is not None)
    report = read_report(board.serial.text)
    assert not report.well and report.revision is None
    assert f"its motion sensor: {words}, so WristAdapt cannot run on it" in report.summary()


def test_any_key_starts_it_again():
    board, first = report_of("BMI270")
    board.run(500)
    board.serial.read()
    board.serial.write("x")
    board.run_until("BoardCheck: ")
    board.run_until("\n")
    assert read_report(board.serial.read().decode()).values["chip"] == first.values["chip"]


def test_other_bits_are_told(tmp_path):
    shutil.copytree(SKETCH, tmp_path / "BoardCheck")
    training = tmp_path / "BoardCheck" / "training.h"
    training.write_text(training.read_text().replace("0x89A64E5E", "0x89A64E5F"))
    board = VirtualNano(tmp_path / "BoardCheck")
    board.run_until(lambda nano: read_report(nano.serial.text) is not None)
    report = read_report(board.serial.text)
    assert report.values["equal bits, 1-32-32-1"] == "no, expected 89A64E5F, got 89A64E5E"
    assert not report.well
    assert "it learns OTHER bits than other machines" in report.summary()


def test_its_name_is_the_one_that_the_server_meets():
    _, report = report_of("LSM9DS1")
    client = VirtualNano(ARDUINO / "FederatedClient")
    client.run(100)
    number = client.read_memory(client.firmware.elf.find("about").address, 8).hex().upper()
    assert report.values["chip"] == number
    assert report.values["name over Bluetooth"] == f"TinyReptile-{number[-4:]}"


REPORT = (
    "kit: a\r\ncompiler: 7.2.1 20170904\r\nrevision: 1\r\nsensor: b\r\nfree RAM: c\r\n"
    "name over Bluetooth: d\r\nBoardCheck: all well\r\n"
)


@given(st.text(), st.integers(0, len(REPORT)))
def test_a_report_is_read_once_it_is_whole(noise, cut):
    started = f"{noise}\n{REPORT[:cut]}"  # and then the board starts again
    begun = cut < len(REPORT)
    assert begun == (read_report(started) is None)
    assert read_report(f"{started}\n{REPORT}more").values["sensor"] == "b"


def test_a_report_with_a_hole_is_refused(refuses):
    with refuses("BoardCheck's report lacks sensor, free RAM", "run it again"):
        read_report(REPORT.replace("sensor: ", "").replace("free RAM: ", "free"))


def test_its_row_fits_into_the_table_of_the_readme():
    _, report = report_of("BMI270", compiler="zig")
    text = (ARDUINO / "README.md").read_text()
    head = next(line for line in text.splitlines() if "us, least to most" in line)
    cells = report.row().strip("| ").split(" | ")
    assert len(cells) == len(head.strip("| ").split(" | "))
    assert cells[0] == "?, 2"
    assert cells[1].startswith("Clang ")
    assert cells[2] == report.times("without")["1-32-32-1"]
    assert cells[5] == report.times("with")["64-32-10"]
    assert cells[6] == "yes"
    assert read_report(REPORT).row().startswith("| ?, 1 | GCC 7 | ")


# ---- The sensor's bus ----------------------------------------------------------------------------

BUS = """
#include <Wire.h>
void ask(TwoWire &wire, uint8_t address, uint8_t where, int count) {
  wire.beginTransmission(address);
  wire.write(where);
  Serial.print(wire.endTransmission());
  Serial.print(wire.requestFrom(address, count));
  Serial.println(wire.read());
}
void setup() { ASK; }
void loop() {}
"""


def asked(tmp_path, question, chip="LSM9DS1"):
    (tmp_path / "Ask").mkdir(exist_ok=True)
    (tmp_path / "Ask" / "Ask.ino").write_text(BUS.replace("ASK", question))
    board = VirtualNano(tmp_path / "Ask", imu_chip=chip)
    board.run(5)
    return board.serial.text.strip()


def test_only_the_fitted_chip_answers_and_only_on_the_inner_bus(tmp_path, refuses):
    assert asked(tmp_path, "ask(Wire1, 0x6B, 0x0F, 1)") == f"01{0x68}"
    assert asked(tmp_path, "ask(Wire1, 0x68, 0, 1)") == "20-1"
    assert asked(tmp_path, "ask(Wire, 0x6B, 0x0F, 1)") == "20-1"
    assert asked(tmp_path, "ask(Wire1, 0x68, 0, 1)", "BMI270") == f"01{0x24}"
    for question in ("ask(Wire1, 0x6B, 0x28, 1)", "ask(Wire1, 0x6B, 0x0F, 6)"):
        with refuses("tells only which chip it is", "Arduino_LSM9DS1.h"):
            asked(tmp_path, question)


# ---- A real board's port -------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal plays the serial port")
@pytest.mark.parametrize("rev1", [False, True])
def test_flash_asks_a_board_at_a_port_and_chooses_its_sketch(rev1, cli, monkeypatch, capsys):
    """The virtual board at the other end of a pseudo-terminal is a board at a port."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    stop = threading.Event()
    board, host = os.openpty()
    port = os.ttyname(host)
    os.set_blocking(board, False)
    nano = VirtualNano(build(SKETCH), imu_chip="BMI270")

    def play():
        while not stop.wait(0.001):
            with contextlib.suppress(BlockingIOError):
                nano.serial.write(os.read(board, 100))
            nano.run(100)
            os.write(board, nano.serial.read())

    thread = threading.Thread(target=play)
    thread.start()
    arguments = ["flash", str(ARDUINO / "WristAdapt"), "--board", port, "--check"]
    try:
        status = main([*arguments, *(["--rev1"] if rev1 else ["--seconds", "0.1"])])
    finally:
        stop.set()
        thread.join()
        os.close(board)
        os.close(host)
    out, err = capsys.readouterr()
    assert "BoardCheck: all well" in out
    assert "one online step, measured: 1-32-32-1" in err
    first, *rest = [call for call in cli.calls() if call.startswith("compile")]
    assert first == f"compile --upload --profile rev1 --port {port} {SKETCH}"
    if rev1:
        assert (status, rest) == (2, [])
        assert "is revision 2, not 1; leave out --rev1" in err
    else:
        assert status == 0
        assert "--profile rev2 --build-property compiler.cpp.extra_flags=-DREV2=1" in rest[0]


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal plays the serial port")
def test_a_board_that_stays_silent_is_one_sentence(cli, monkeypatch, refuses):
    monkeypatch.setattr(board_check, "_PATIENCE_S", 0.1)
    board, host = os.openpty()
    with refuses("sent no report within 0.1 seconds", "press the board's button"):
        board_check.check_real(os.ttyname(host))
    os.close(board)
    os.close(host)


def test_a_board_that_lies_is_read_without_harm():
    """Numbers without end, and what a terminal would act on."""
    lines = ["kit: \x1b]0;x\x07", "compiler: 7", "revision: 1", "sensor: LSM9DS1", "free RAM: 1"]
    step = f"us per step of a, without interrupts: {'9' * 5000} median, 1 to 2"
    lines += ["name over Bluetooth: x", step]
    report = read_report("\n".join([*lines, "BoardCheck: all well", ""]))
    assert report.times("without") == {} and "\x1b" not in report.text + report.summary()


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal plays the serial port")
def test_a_board_that_leaves_during_the_check_is_one_sentence(cli, refuses, monkeypatch):
    board, host = os.openpty()
    os.write(board, b"kit: x\r\n")
    usual = board_check.open_port

    def open_port(port):
        opened = usual(port)  # on a busy machine this takes a while
        threading.Timer(0.3, os.close, [board]).start()
        return opened

    monkeypatch.setattr(board_check, "open_port", open_port)
    with refuses("is gone; plug it in again"):
        board_check.check_real(os.ttyname(host))
    os.close(host)
