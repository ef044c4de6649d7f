"""`tinyreptile flash`: the virtual board in the terminal, and the road to a real one."""

import io
import os
import struct
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tinyreptile_lite.cli import main
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano import arduino_cli
from tinyreptile_lite.nano.monitor import flash
from tinyreptile_lite.nano.ports import find_nano
from tinyreptile_lite.nano.recording import doubts, read_recording, recorded_rate

ARDUINO = Path(__file__).parents[1] / "arduino"
SKETCHES = sorted(path.parent for path in ARDUINO.glob("*/*.ino"))

ECHO = """
void setup() { pinMode(2, INPUT_PULLUP); pinMode(LEDG, OUTPUT); Serial.println("ready"); }
void loop() {
  while (Serial.available()) Serial.write(Serial.read());
  digitalWrite(LEDG, digitalRead(2));
}
"""


@pytest.fixture
def sketch(tmp_path):
    (tmp_path / "lib").mkdir()
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
    typed(
        ":press 2\n:press 99\n:imu freeze\n:imu rust\n:imu offset 9 -30 0.5\n:imu offset up\n"
        ":what\n:leds\n:reset\n"
    )
    flash(sketch, seconds=0.1)
    out, err = capsys.readouterr()
    assert out == "ready\n"
    assert "LEDs on: none" in err
    assert ":release PIN" in err
    assert "no pin 99" in err
    assert "fault of the IMU 'rust'" in err
    assert err.count("offset is") == 1 and "give three numbers" in err


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
        (["--board", "COM3", "--keep", "x"], "--keep is for the virtual board"),
        (["--seconds", "0"], "cannot run for 0.0 seconds"),
        (["--imu", "nowhere.csv"], "cannot read nowhere.csv"),
        (["--compiler", "msvc"], "choose gcc or zig"),
        (["--imu-rate", "nan"], "rate is nan Hz"),
        (["--imu-rate", "0"], "rate is 0.0 Hz"),
        (["--imu-rate", "1e9"], "choose a number up to 10,000"),
        (["--seconds", "nan"], "cannot run for nan seconds"),
        (["--seconds", "inf"], "cannot run for inf seconds"),
        (["--seconds", "1e20"], "cannot run for 1e+20 seconds"),
        (["--imu", "x" * 300], "File name too long"),
        (["--imu-frame", "left"], "--imu-frame is about a recording; name it with --imu"),
        (["--imu-rate", "50"], "--imu-rate is about a recording; name it with --imu"),
        (["--keep", "/nowhere/f.bin"], "cannot write /nowhere/f.bin; choose a folder"),
        (["--imu-frame", "up"], "frame of a recording 'up'"),
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
    with pytest.raises(KitError, match=f"{name} is no recording: "):
        read_recording(tmp_path / name)


SIX = "0,0,1,0,0,0\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("0;0;1;0;0;0\n", "line 1: put commas between the numbers, and points"),
        ("0\t0\t1\t0\t0\t0\n", "line 1: put commas"),
        ("0,1,0,1,1,0,0,1,0,1,0,1\n", "line 1: has 12 columns, not 6; put points"),
        (SIX * 50 + "0,0,word,0,0,0\n", "line 51: 'word' is no number"),
        (SIX + "0,0,1\n", "line 2: has 3 columns, not 6"),
        ("0,0,1,0,0,0,\n", "line 1: take away the comma at its end"),
        ("t,ax,ay,az,gx,gy,gz\n1," + SIX, "line 2: has 7 columns, not 6; take the time column"),
        ("gx,gy,gz,ax,ay,az\n" + SIX, "put them in the order ax,ay,az,gx,gy,gz"),
        ("0,0,inf,0,0,0\n", "a number without end"),
    ],
)
def test_a_bad_line_is_named(tmp_path, content, words):
    (tmp_path / "r.csv").write_text(content)
    with pytest.raises(KitError, match=words):
        read_recording(tmp_path / "r.csv")


def test_other_encodings_units_and_complex_numbers(tmp_path):
    (tmp_path / "r.csv").write_text(SIX, encoding="utf-16")
    with pytest.raises(KitError, match="save it again as CSV, UTF-8"):
        read_recording(tmp_path / "r.csv")
    (tmp_path / "r.csv").write_text("# rate: 0 Hz\n" + SIX, encoding="utf-8-sig")
    assert "one sample" in doubts(read_recording(tmp_path / "r.csv"))
    assert recorded_rate(tmp_path / "r.csv") == 0
    np.save(tmp_path / "c.npy", np.ones((3, 6), complex))
    with pytest.raises(KitError, match="complex"):
        read_recording(tmp_path / "c.npy")
    still = np.tile(np.array([0, 0, 1, 0, 0, 0], np.float32), (9, 1))
    assert not doubts(still)
    assert "is it in m/s2? give g" in doubts(still * np.float32(9.81))
    assert "is it in mg? give g" in doubts(still * 1000)


def test_a_recording_may_begin_with_any_number(tmp_path):
    (tmp_path / "r.csv").write_text("1e-3,0,0,0,0,0\n2,0,0,0,0,0\n")
    assert read_recording(tmp_path / "r.csv")[:, 0].tolist() == [np.float32(1e-3), 2]
    (tmp_path / "r.csv").write_text("nan,0,0,0,0,0\n2,0,0,0,0,0\n")
    assert len(read_recording(tmp_path / "r.csv")) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name its folder, or add --check to look at the board; the kit's are: arduino/Board"),
        (["--build-only", "images"], "no sketch to build"),
        (["--build-only", "arduino/WristAdapt"], "took arduino/WristAdapt for its own FOLDER"),
        (["--board", "arduino/WristAdapt"], "name the sketch first: tinyreptile flash arduino/"),
        (["--check", "--imu", "nosuch.csv"], "--imu is for a sketch, and --check alone has none"),
        (["--check", "--keep", "x"], "--keep is for a sketch"),
        (["wristadapt"], "did you mean"),
        (["arduino/WristAdpt"], "did you mean"),
        (
            ["nothing-like-it"],
            "the sketches are: arduino/BoardCheck, arduino/Draw",
        ),
        (["arduino"], "is a folder of sketches; name one of: arduino/BoardCheck, arduino/Draw"),
        (["--check", "--image", "x.bin"], "no sketch to load"),
        (["Blink", "--image", "x.bin"], "x.bin is for a real board"),
    ],
)
def test_without_a_sketch_or_a_board_it_says_what_is_missing(typed, capsys, arguments, words):
    assert main(["flash", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_the_second_revision_gets_its_sketch_and_its_sensor(sketch, typed, capsys):
    (sketch / "Echo.ino").write_text(
        "#if REV2\n#include <Arduino_BMI270_BMM150.h>\n#endif\n"
        "void setup() { Serial.println(IMU.begin()); }\nvoid loop() {}\n"
    )
    assert main(["flash", str(sketch), "--rev2", "--seconds", "0.1"]) == 0
    assert capsys.readouterr().out == "1\n"
    with pytest.raises(KitError, match="unknown revision 3; choose one of: 1, 2"):
        flash(sketch, revision=3)
    with pytest.raises(KitError, match="unknown revision 3; choose one of: 1, 2"):
        flash(None, check=True, revision=3)


# ---- A real board: arduino-cli is played by fake_arduino_cli.py, the port by a pseudo-terminal ---

needs_pty = pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal plays the port")
PROFILE = """profiles:
  rev1:
    fqbn: arduino:mbed_nano:nano33ble
    libraries:
      - dir: ../lib
  rev2:
    fqbn: arduino:mbed_nano:nano33ble
"""


@pytest.fixture
def port():
    """A port, and the end of it where a board would be."""
    board, host = os.openpty()
    yield board, os.ttyname(host)
    os.close(board)
    os.close(host)


@needs_pty
def test_a_real_board_is_flashed_and_monitored(sketch, cli, port, typed, capsys):
    board, name = port
    typed("hi\n")
    heard = []

    def play():
        heard.append(os.read(board, 100))
        os.write(board, b"from the board\r\n")

    thread = threading.Thread(target=play)
    thread.start()
    flash(sketch, name, seconds=1)
    thread.join()
    out, err = capsys.readouterr()
    assert "from the board\n" in out
    assert "Rev2" not in err  # this sketch suits both
    assert b"hi" in heard[0]
    assert cli.calls() == [
        "core list --format json",
        f"compile --upload --fqbn arduino:mbed_nano:nano33ble --port {name} {sketch}",
    ]


@needs_pty
def test_a_picture_is_sent_to_a_real_board_too(sketch, cli, port, typed, tmp_path, capsys):
    board, name = port
    path = tmp_path / "one.npy"
    np.save(path, np.eye(28))
    typed(f":draw {path} 2\n:draw no.png\n")
    flash(sketch, name, seconds=0.3)
    rows = os.read(board, 4096).decode().splitlines()
    assert rows[0] == "draw" and rows[2] == "0f" + 26 * "0" and rows[29:] == ["learn 2"]
    assert "cannot use no.png" in capsys.readouterr().err


@needs_pty
def test_a_sketch_for_one_revision_says_which_if_nobody_chose(cli, port, typed, capsys):
    flash(ARDUINO / "WristAdapt", port[1], seconds=0.1)
    assert (
        "built for revision 1; if the board is marked Rev2, add --rev2" in capsys.readouterr().err
    )


@needs_pty
@pytest.mark.parametrize(
    ("revision", "more"),
    [(1, ""), (2, " --build-property compiler.cpp.extra_flags=-DREV2=1")],
)
def test_a_sketch_with_profiles_is_built_with_its_versions(sketch, cli, port, revision, more):
    (sketch / "sketch.yaml").write_text(PROFILE)
    arduino_cli.upload(sketch, port[1], revision)
    assert cli.calls() == [
        "version --format json",
        f"compile --upload --profile rev{revision}{more} --port {port[1]} {sketch}",
    ]


@needs_pty
@pytest.mark.parametrize("name", [folder.name for folder in SKETCHES])
def test_every_sketch_of_the_kit_is_built_with_its_profile(name, cli, port):
    for revision in (1, 2):
        arduino_cli.upload(ARDUINO / name, port[1], revision)
    first, second = cli.calls()[1::2]
    assert "--profile rev1" in first
    assert "--profile rev2" in second


@needs_pty
def test_one_teacher_builds_and_thirty_laptops_load(
    sketch, tmp_path, cli, port, typed, capsys, refuses
):
    (sketch / "sketch.yaml").write_text(PROFILE)
    folder = tmp_path / "images"
    assert main(["flash", str(sketch), "--rev2", "--build-only", str(folder)]) == 0
    image = folder / "Echo-rev2.bin"
    assert capsys.readouterr().out == f"wrote {image}; load it with --image\n"
    assert [path.name for path in folder.iterdir()] == [image.name]
    flash(sketch, port[1], image=image, seconds=0.1)
    where = f"--profile rev1 --port {port[1]}"
    assert cli.calls()[-1] == f"upload {where} --input-file {image} {sketch}"
    with refuses("Echo-rev2.bin is for revision 2; load the one for rev1"):
        flash(sketch, port[1], image=image, revision=1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.bin", b""),
        ("x.bin", b"\x7fELF" + bytes(5000)),
        ("x.bin", struct.pack("<II", 0x2004_0008, 0x1_0201) + bytes(5000)),
        ("x.bin", struct.pack("<II", 0x2004_0000, 0x1_0200) + bytes(5000)),
        ("x.bin", struct.pack("<II", 0x2004_0000, 0x0_0201) + bytes(5000)),
        ("x.bin", struct.pack("<II", 0x2004_0000, 0x1_0201) + bytes(100)),
        ("x.hex", struct.pack("<II", 0x2004_0000, 0x1_0201) + bytes(5000)),
        ("x.bin", struct.pack("<II", 0x2004_0000, 0x1_0201) + bytes(983_040)),
    ],
)
def test_what_is_no_image_for_the_board_never_reaches_it(sketch, tmp_path, refuses, name, content):
    (tmp_path / name).write_bytes(content)
    with refuses(name):
        arduino_cli.upload_image(sketch, tmp_path / name, os.devnull)
    with refuses("nowhere.bin", "name an image that you can read"):
        arduino_cli.upload_image(sketch, "nowhere.bin", os.devnull)


def test_what_is_missing_for_a_real_board_is_one_line(sketch, cli, monkeypatch, refuses):
    cli(platforms=[])
    with refuses("arduino-cli core install arduino:mbed_nano"):
        flash(sketch, "/dev/ttyACM0")
    cli()
    with refuses("no board at /dev/ttyNONE"):
        flash(sketch, "/dev/ttyNONE")
    (sketch / "sketch.yaml").write_text(PROFILE)
    cli(version="1.2.2")
    with refuses("arduino-cli is 1.2.2; install 1.3.0 or newer"):
        flash(sketch, os.devnull)
    for version in ("nightly-20260101", "0.0.0-git", "10.0.0"):
        cli(version=version)
        arduino_cli.upload(sketch, os.devnull)
    monkeypatch.setattr(arduino_cli.shutil, "which", lambda _: None)
    with refuses("arduino-cli is not installed"):
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
    cli(error=error)
    with pytest.raises(KitError, match=message):
        flash(sketch, os.devnull)


def test_a_library_that_a_profile_lacks_is_to_be_added_there(sketch, cli, refuses):
    (sketch / "sketch.yaml").write_text(PROFILE)
    cli(error="x: fatal error: Foo.h: No such file")
    with refuses("Foo.h", "add its library to rev1 in", "sketch.yaml"):
        arduino_cli.upload(sketch, os.devnull)


# ---- Which board ---------------------------------------------------------------------------------


def plugged_in(monkeypatch, *boards):
    from serial.tools import list_ports, list_ports_common

    rows = []
    for name, vid, pid in boards:
        row = list_ports_common.ListPortInfo(name)
        row.vid, row.pid = vid, pid
        rows.append(row)
    monkeypatch.setattr(list_ports, "comports", lambda: rows)


def test_the_only_board_is_found_by_itself(monkeypatch, refuses):
    other = ("/dev/ttyUSB0", 0x1A86, 0x7523), ("/dev/ttyS0", None, None)
    plugged_in(monkeypatch, *other)
    with refuses("no Nano 33 BLE is plugged in", "--board virtual"):
        find_nano()
    plugged_in(monkeypatch, *other, ("/dev/ttyACM1", 0x2341, 0x805A))
    assert find_nano() == "/dev/ttyACM1"
    plugged_in(monkeypatch, ("COM7", 0x2341, 0x805A), ("COM3", 0x2341, 0x005A))
    with refuses("several boards", "COM3, COM7"):
        flash("anything", "auto")
