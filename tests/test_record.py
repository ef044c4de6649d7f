"""Recorder and `tinyreptile record`: what the IMU reads becomes a file, and the file is played."""

import io
import os
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.cli import main
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano import VirtualNano, build
from tinyreptile_lite.nano import record as module
from tinyreptile_lite.nano.monitor import flash
from tinyreptile_lite.nano.record import SKETCH, record
from tinyreptile_lite.nano.recording import (
    TITLE,
    Saver,
    belongs_to_recording,
    read_recording,
    recorded_rate,
)


def draw(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)


@pytest.fixture(autouse=True)
def nobody_at_the_keyboard(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))


@pytest.fixture(scope="module")
def firmware():
    return build(SKETCH)


# ---- The sketch ----------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [(), ("-DREV2=1",)])
def test_recorder_builds_without_a_warning(flags):
    assert not build(SKETCH, flags=flags).warnings


def test_commands_and_the_button_start_and_stop(firmware):
    board = VirtualNano(firmware, imu=draw(50), imu_rate=50)
    board.run_until("ready: r records, s stops")
    board.run(100)
    assert board.serial.text.count("\n") == 1
    assert not board.leds["builtin"]
    board.serial.write("r\n")
    board.run(500)
    assert board.leds["builtin"]
    board.serial.write("r\nx\nnonsense\ns\n")
    board.run(500)
    lines = board.serial.text.splitlines()[1:]
    assert lines[:3] == ["--- begin recording", "# rate: 50 Hz", TITLE]
    assert lines[-4:] == 3 * ["# r records, s stops"] + ["--- end"]
    assert 20 <= len(lines) - 7 <= 30
    assert all(map(belongs_to_recording, lines[1:-1]))
    for _ in range(2):
        board.pins.press(2)
        board.run(200)
        board.pins.release(2)
        board.run(200)
    again = board.serial.text.splitlines()[1 + len(lines) :]
    assert (again[0], again[-1]) == ("--- begin recording", "--- end")
    assert not board.leds["builtin"]


def test_a_board_without_its_sensor_says_so(firmware):
    board = VirtualNano(firmware, imu_chip="BMI270")
    board.run_until("no IMU: does REV2 suit your board?")


def test_a_sensor_that_is_not_as_fast_as_it_says_is_measured(firmware, tmp_path):
    board = VirtualNano(firmware, imu=draw(120), imu_rate=100)
    board.run(100)
    saver = Saver(tmp_path / "r.csv")
    board.serial.listener = saver.take
    board.serial.write_line("r")
    board.run_until("--- begin recording")
    board.imu.rate = 90.0
    board.run(2000)
    board.imu.rate = 100.0
    board.serial.write_line("s")
    board.run_until("--- end")
    assert abs(recorded_rate(tmp_path / "r.csv") - 90) < 1


# ---- The command ---------------------------------------------------------------------------------


def test_a_recording_played_and_recorded_is_the_same_file(tmp_path, capsys):
    samples = draw(260)
    samples[100] = np.nan  # a reading that failed
    np.save(tmp_path / "first.npy", samples)
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    command = ["record", "virtual", str(first), "--imu", str(tmp_path / "first.npy")]
    assert main([*command, "--imu-rate", "119"]) == 0
    assert "260 samples, 2.2 s at 119 Hz" in capsys.readouterr().err
    np.testing.assert_array_equal(read_recording(first), samples)
    assert recorded_rate(first) == 119
    assert record("virtual", second, imu=first) == 260
    assert second.read_bytes() == first.read_bytes()


def test_imu_plays_a_recording_at_its_own_rate(tmp_path, firmware, capsys):
    (tmp_path / "r.csv").write_text(f"# rate: 50 Hz\n{TITLE}\n" + "0,0,1,0,0,0\n" * 9)
    flash(SKETCH, seconds=0.1, imu=tmp_path / "r.csv")
    count = record("virtual", tmp_path / "out.csv", imu=tmp_path / "r.csv", seconds=1)
    assert count in (50, 51)  # a second, with or without the sample at its end
    assert "# rate: 50 Hz" in (tmp_path / "out.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["virtual", "there.csv"], "there.csv is already there and stays as it is"),
        (["virtual", "new.csv"], "needs --seconds, or a recording to play"),
        (["virtual", "new.csv", "--seconds", "0"], "cannot record for 0.0 seconds"),
        (["virtual", "new.npy", "--seconds", "1"], "choose a name that ends in .csv"),
        (["virtual", "new.csv", "--seconds", "inf"], "cannot record for inf seconds"),
        (["virtual", "new.csv", "--seconds", "1e20"], "cannot record for 1e+20 seconds"),
        (["/dev/ttyX", "new.csv", "--seconds", "inf"], "cannot record for inf seconds"),
        (["virtual", "no/folder.csv", "--seconds", "1"], "choose a file you can write to"),
        (["virtual", "new.csv", "--imu", "nowhere.csv"], "cannot read nowhere.csv"),
        (["usb", "new.csv"], "unknown board 'usb'"),
        (["/dev/ttyNONE", "new.csv"], "no board at /dev/ttyNONE; plug it in"),
    ],
)
def test_a_slip_is_one_line_and_no_file(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tinyreptile_lite.nano.ports._REAPPEAR_S", 0)
    (tmp_path / "there.csv").write_text("mine")
    assert main(["record", *arguments]) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["there.csv"]
    assert (tmp_path / "there.csv").read_text() == "mine"


class Board:
    """A pseudo-terminal that plays a board: what it sends, and whether it is pulled out then."""

    def __init__(self, sends, unplugged=False):
        self.host, port = os.openpty()
        self.name = os.ttyname(port)
        os.close(port)
        self.heard = b""
        self._sends, self._unplugged = sends, unplugged
        self.thread = threading.Thread(target=self._play)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join()
        if not self._unplugged:
            os.close(self.host)

    def _play(self):
        while b"r\n" not in self.heard:
            try:
                self.heard += os.read(self.host, 100)
            except OSError:  # nobody has opened the port yet
                time.sleep(0.01)
        for part in self._sends:
            time.sleep(0.05)
            os.write(self.host, part)
        if self._unplugged:
            time.sleep(0.2)
            os.close(self.host)


needs_terminal = pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is the port")
BEGIN = f"ready\r\n--- begin recording\r\n# rate: 104 Hz\r\n{TITLE}\r\n".encode()


@needs_terminal
def test_a_real_board_is_recorded_until_it_stops(tmp_path):
    sends = [BEGIN[:20], BEGIN[20:] + b"1,2,3,4", b",5,6\r\n# reset!\r\nready\r\n1,2", b"\r\n"]
    with Board([*sends, b"7,8,9,1,2,3\r\n--- end\r\n"]) as board:
        assert record(board.name, tmp_path / "r.csv") == 2
    assert (tmp_path / "r.csv").read_text() == (
        f"# rate: 104 Hz\n{TITLE}\n1,2,3,4,5,6\n# reset!\n7,8,9,1,2,3\n"
    )


@needs_terminal
def test_unplugging_leaves_a_valid_file_and_one_sentence(tmp_path, refuses):
    with (
        Board([BEGIN + b"1,2,3,4,5,6\r\n1,2,3,4,5,", b"7"], unplugged=True) as board,
        refuses("is gone; plug it in again"),
    ):
        record(board.name, tmp_path / "r.csv")
    assert read_recording(tmp_path / "r.csv").tolist() == [[1, 2, 3, 4, 5, 6]]


@needs_terminal
def test_control_c_ends_with_a_valid_file(tmp_path, monkeypatch):
    taken = Saver.take

    def interrupt(self, data):
        left = taken(self, data)
        if self.lines == 4:
            monkeypatch.setattr(Saver, "take", taken)
            raise KeyboardInterrupt
        return left

    monkeypatch.setattr(Saver, "take", interrupt)
    monkeypatch.setattr(module, "_GOODBYE_S", 0.2)
    with Board([BEGIN + b"1,2,3,4,5,6\r\n", b"6,5,4,3,2,1\r\n7,7"]) as board:
        assert record(board.name, tmp_path / "r.csv") == 2


@needs_terminal
def test_another_sketch_on_the_board_is_named_with_the_remedy(tmp_path, monkeypatch, refuses):
    monkeypatch.setattr(module, "_PATIENCE_S", 0.3)
    with Board([b"unknown command\r\n"]) as board, refuses("tinyreptile flash arduino/Recorder"):
        record(board.name, tmp_path / "r.csv")
    with Board([BEGIN + b"--- end\r\n"]) as board, refuses("no sample came from"):
        record(board.name, tmp_path / "r.csv")
    assert not list(tmp_path.iterdir())


# ---- Files ---------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=40)), st.data())
def test_a_block_is_found_however_the_bytes_are_cut(tmp_path_factory, parts, data):
    """What stands around it is passed on, and the file holds the block."""
    around = b"".join(parts).replace(b"---", b"")
    before, after = around[: len(around) // 2] + b"\n", around[len(around) // 2 :]
    whole = before + b"--- begin x\r\n1,2\r\n--- endless\n\n# 3\n--- end\r\n" + after
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    saver = Saver(tmp_path_factory.mktemp("block") / "file")
    pieces = [whole[i:j] for i, j in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert b"".join(map(saver.take, pieces)) == before + after
    assert saver.path.read_bytes() == b"1,2\n--- endless\n\n# 3\n"
    assert (saver.lines, saver.done) == (4, True)


def test_comments_and_titles_are_no_samples(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text(f"# by hand\n# rate: 104 Hz\n\n{TITLE}\n1,2,3,4,5,6\n# rate: 99.5 Hz\n")
    assert read_recording(path).tolist() == [[1, 2, 3, 4, 5, 6]]
    assert recorded_rate(path) == 99.5
    path.write_text("1,2,3,4,5,6\n# rate: fast Hz\n")
    assert recorded_rate(path) is None
    path.write_text("# rate: nan Hz\n1,2,3,4,5,6\n")
    with pytest.raises(KitError, match="rate is nan Hz"):
        flash(SKETCH, imu=path)
    path.write_text("# nothing\n")
    with pytest.raises(KitError, match="is no recording"):
        read_recording(path)


# ---- The monitor ---------------------------------------------------------------------------------

SPEAKER = """
void setup() { Serial.println("hello"); }
void loop() {
  if (Serial.read() == 'w') Serial.println("--- begin x\\nline\\nanother\\n--- end\\nthat was it");
}
"""


def test_the_monitor_saves_what_stands_between_the_marks(tmp_path, monkeypatch, capsys):
    (tmp_path / "Speaker").mkdir()
    (tmp_path / "Speaker" / "Speaker.ino").write_text(SPEAKER)
    file = tmp_path / "out.txt"
    for _ in range(2):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f":save {file}\nw\n"))
        flash(tmp_path / "Speaker", seconds=0.2)
    out, err = capsys.readouterr()
    marks = "--- begin x\nline\nanother\n--- end\n"
    assert out == f"hello\nthat was it\nhello\n{marks}that was it\n"
    assert file.read_text() == "line\nanother\n"
    assert f"2 lines are in {file}" in err
    assert "is already there and stays as it is" in err


def test_flash_is_kept_between_two_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "Counter").mkdir()
    (tmp_path / "Counter" / "Counter.ino").write_text(
        "#include <FlashIAP.h>\nvoid setup() {\n  mbed::FlashIAP flash;\n  flash.init();\n"
        "  int count = 0, zero = 0;\n"
        "  for (; *(const int *)(0xff000 + 4 * count) == 0; count++) {}\n"
        "  flash.program(&zero, 0xff000 + 4 * count, 4);\n  Serial.println(count);\n}\n"
        "void loop() {}\n"
    )
    for _ in range(3):
        flash(tmp_path / "Counter", seconds=0.1, keep=tmp_path / "flash")
    flash(tmp_path / "Counter", seconds=0.1)
    assert capsys.readouterr().out.split() == ["0", "1", "2", "0"]
    (tmp_path / "flash").write_bytes(b"nonsense")
    with pytest.raises(KitError, match="holds no flash memory, or is damaged"):
        flash(tmp_path / "Counter", seconds=0.1, keep=tmp_path / "flash")
    assert (tmp_path / "flash").read_bytes() == b"nonsense"


HOSTILE = [
    "1_0,2,3,4,5,6", "\uff11,2,3,4,5,6", "# rate: nan Hz", "# rate: 0 Hz", "# \x1b[2J", "# a\x0c1",
    f"#{'x' * 300}", "1,2,3,4,5", "1,2,3,4,5,6,7", "0x1,2,3,4,5,6", "1" * 9000,
    "inf,2,3,4,5,6", "1e999,2,3,4,5,6",
]  # fmt: skip


def test_odd_lines_of_a_board_do_not_spoil_what_is_recorded(tmp_path):
    """A file with one of them could not be read back, and was taken away."""
    saver = Saver(tmp_path / "r.csv", belongs_to_recording)
    good = ["0.1,-2,3e1,4,5,nan", TITLE, "1,2,3,4,5,6"]
    text = "\n".join(
        ["--- begin recording", "# rate: 104 Hz", *good, *HOSTILE, good[0], "--- end\n"]
    )
    for at in range(0, len(data := text.encode()), 1000):
        saver.take(data[at : at + 1000])
    assert saver.done and saver.dropped == len(HOSTILE)
    assert len(read_recording(saver.path)) == 3 and recorded_rate(saver.path) == 104


def test_a_line_without_end_takes_no_memory_and_no_time(tmp_path):
    saver = Saver(tmp_path / "r.csv", belongs_to_recording)
    saver.take(b"--- begin recording\n")
    for _ in range(2000):
        saver.take(b"7" * 10_000)
        assert len(saver._rest) <= 4096
    saver.take(b"\n1,2,3,4,5,6\n--- end\n")
    assert saver.lines == 1
