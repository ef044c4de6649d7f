"""`tinyreptile flash`: the virtual board in the terminal, and the road to a real one."""

import io
import os
import stat
import sys
import threading

import numpy as np
import pytest

from tinyreptile_lite.cli import main
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano import arduino_cli
from tinyreptile_lite.nano.monitor import flash, read_recording

ECHO = """
void setup() { pinMode(2, INPUT_PULLUP); pinMode(LEDG, OUTPUT); Serial.println("ready"); }
void loop() {
  while (Serial.available()) Serial.write(Serial.read());
  digitalWrite(LEDG, digitalRead(2));
}
"""


@pytest.fixture
def sketch(tmp_path):
    (tmp_path / "Echo").mkdir()
    (tmp_path / "Echo" / "Echo.ino").write_text(ECHO)
    return tmp_path / "Echo"


@pytest.fixture
def typed(monkeypatch):
    def typed(text):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    typed("")
    return typed


def test_lines_go_to_the_sketch_and_back(sketch, typed, capsys):
    typed("hello\nworld\n")
    assert main(["flash", str(sketch), "--seconds", "0.2"]) == 0
    out, err = capsys.readouterr()
    assert out == "ready\nhello\nworld\n"
    assert "RAM" in err
    assert "0.20 virtual seconds" in err


def test_lines_with_a_colon_go_to_the_board(sketch, typed, capsys):
    typed(":press 2\n:press 99\n:what\n:leds\n:reset\n")
    flash(sketch, seconds=0.1)
    out, err = capsys.readouterr()
    assert out == "ready\n"
    assert "LEDs on: none" in err
    assert ":release PIN" in err
    assert "no pin 99" in err


def test_the_imu_plays_a_file(tmp_path, sketch, typed, capsys):
    (sketch / "Echo.ino").write_text(
        "#include <Arduino_LSM9DS1.h>\nvoid setup() { IMU.begin(); }\nvoid loop() {\n"
        "float x, y, z;\nif (!IMU.accelerationAvailable()) return;\n"
        "IMU.readAcceleration(x, y, z); Serial.println(y); }\n"
    )
    (tmp_path / "r.csv").write_text("ax,ay,az,gx,gy,gz\n0,1,2,3,4,5\n0,6,nan,0,0,0\n")
    flash(sketch, seconds=0.06, imu=tmp_path / "r.csv")
    assert capsys.readouterr().out.split() == ["1.00", "6.00"]
    np.save(tmp_path / "r.npy", np.ones((3, 6)))
    assert read_recording(tmp_path / "r.npy").shape == (3, 6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--board", "usb"], "unknown board 'usb'"),
        (["--seconds", "0"], "cannot run for 0.0 seconds"),
        (["--imu", "nowhere.csv"], "cannot read nowhere.csv"),
        (["--compiler", "msvc"], "choose gcc or zig"),
        (["--imu-rate", "nan"], "rate is nan Hz"),
        (["--imu-rate", "0"], "rate is 0.0 Hz"),
        (["--imu-rate", "1e9"], "choose a number up to 10,000"),
        (["--seconds", "nan"], "cannot run for nan seconds"),
        (["--imu", "x" * 300], "File name too long"),
    ],
)
def test_a_slip_is_one_line(sketch, typed, capsys, arguments, words):
    assert main(["flash", str(sketch), *arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert words in err


def test_a_sketch_that_does_not_compile_shows_the_compilers_words(sketch, typed, capsys):
    (sketch / "Echo.ino").write_text("void setup() {\n  oops;\n}\nvoid loop() {}\n")
    assert main(["flash", str(sketch)]) == 2
    err = capsys.readouterr().err
    assert "  oops;\n" in err
    assert err.splitlines()[-1].startswith(
        "tinyreptile: Echo does not compile: Echo.ino:2:3: error"
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("words.csv", b"a,b\nc,d\n"),
        ("empty.csv", b""),
        ("title.csv", b"ax,ay,az,gx,gy,gz\n"),
        ("noise.csv", bytes(range(128, 256))),
        ("empty.npy", b""),
        ("cut.npy", b"\x93NUMPY\x01\x00"),
        ("archive.npy", b"PK\x03\x04 and more"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(KitError, match=f"{name} is no recording: give six columns of numbers"):
        read_recording(tmp_path / name)


def test_a_recording_may_begin_with_any_number(tmp_path):
    (tmp_path / "r.csv").write_text("1e-3,0,0,0,0,0\n2,0,0,0,0,0\n")
    assert read_recording(tmp_path / "r.csv")[:, 0].tolist() == [np.float32(1e-3), 2]
    (tmp_path / "r.csv").write_text("nan,0,0,0,0,0\n2,0,0,0,0,0\n")
    assert len(read_recording(tmp_path / "r.csv")) == 2


# ---- A real board: arduino-cli is played by a script that notes how it is called -----------------

FAKE = """#!/bin/sh
echo "$@" >> "{log}"
case "$1" in
  core) echo '{listed}' ;;
  compile) echo "{error}" >&2; exit {code} ;;
esac
"""


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Install the stand-in; returns a function that sets what it answers."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    log = tmp_path / "log"

    def answer(listed='{"platforms": [{"id": "arduino:mbed_nano"}]}', error="", code=0):
        script = folder / "arduino-cli"
        script.write_text(FAKE.format(log=log, listed=listed, error=error, code=code))
        script.chmod(script.stat().st_mode | stat.S_IEXEC)
        return log

    return answer


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal plays the serial port")
def test_a_real_board_is_flashed_and_monitored(sketch, cli, typed, capsys):
    log = cli()
    board, port = os.openpty()
    typed("hi\n")
    heard = []

    def play():
        heard.append(os.read(board, 100))
        os.write(board, b"from the board\r\n")

    thread = threading.Thread(target=play)
    thread.start()
    flash(sketch, os.ttyname(port), seconds=1)
    thread.join()
    assert "from the board\n" in capsys.readouterr().out
    assert b"hi" in heard[0]
    where = f"--fqbn arduino:mbed_nano:nano33ble --port {os.ttyname(port)}"
    assert log.read_text().splitlines()[1] == f"compile --upload {where} {sketch}"


def test_what_is_missing_for_a_real_board_is_one_line(sketch, cli, monkeypatch):
    cli(listed='{"platforms": []}')
    with pytest.raises(KitError, match="arduino-cli core install arduino:mbed_nano"):
        flash(sketch, "/dev/ttyACM0")
    cli()
    with pytest.raises(KitError, match="no board at /dev/ttyNONE"):
        flash(sketch, "/dev/ttyNONE")
    monkeypatch.setattr(arduino_cli.shutil, "which", lambda _: None)
    with pytest.raises(KitError, match="arduino-cli is not installed"):
        flash(sketch, "COM3")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("Echo.ino:2:3: error: no", "Echo does not compile: Echo.ino:2:3: error: no"),
        ("x: fatal error: Foo.h: No such file", "arduino-cli lib install Foo"),
        ("Failed uploading: no device", "cannot be loaded .* Failed uploading"),
    ],
)
def test_arduino_clis_errors_become_one_line(sketch, cli, error, message, capsys):
    cli(error=error, code=1)
    with pytest.raises(KitError, match=message):
        flash(sketch, os.devnull)
