"""The serial monitor, when --keep saves, and the recordings of the kit as files."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from tinyreptile_lite.cli import main
from tinyreptile_lite.nano import VirtualNano, build, peripherals
from tinyreptile_lite.nano.flash import read_kept
from tinyreptile_lite.nano.image import check_binary
from tinyreptile_lite.nano.monitor import _kept
from tinyreptile_lite.nano.motion import DOCUMENTED, checked_axes, rows_of
from tinyreptile_lite.nano.recording import read_recording, recorded_rate
from tinyreptile_lite.nano.terminal import _Screen, _typed, show
from tinyreptile_lite.tasks.wrist import Wrist

ARDUINO = Path(__file__).parents[1] / "arduino"


@pytest.fixture(scope="module")
def firmware():
    return build(ARDUINO / "FindAxes")


@pytest.mark.parametrize(
    ("typed", "sent", "words"),
    [
        ([""], b"", ":save needs the name of a new file"),
        (["no/folder.csv"], b"", "there is no folder no; make it"),
        (["a.csv", "b.csv"], b"", "nothing has come for a.csv; that is given up"),
        (["a.csv"], b"--- begin x\n1\n2\n", "2 lines are in a.csv; it is incomplete"),
        (["a.csv"], b"--- begin x\n1\n2\n--- end\n", "2 lines are in a.csv\n"),
    ],
)
def test_save_says_what_becomes_of_it(tmp_path, monkeypatch, capsys, typed, sent, words):
    monkeypatch.chdir(tmp_path)
    screen = _Screen()
    for name in typed:
        screen.save(name)
    screen.show(sent)
    screen.close()
    assert words in capsys.readouterr().err


def test_flash_is_kept_as_soon_as_it_is_written(firmware, tmp_path, refuses):
    board, file = VirtualNano(firmware), tmp_path / "flash"
    with pytest.raises(KeyboardInterrupt), _kept(board, file) as after_step:
        board.flash.program(0xFF000, b"mine")
        after_step()
        assert not file.exists()  # more may come
        after_step()
        assert b"mine" in file.read_bytes()
        board.flash.program(0xFF010, b"more")
        os.kill(os.getpid(), signal.SIGTERM)
    assert b"more" in file.read_bytes()
    file.write_text("0,0,1,0,0,0")
    with refuses("choose another name; if --keep made it, delete it"):
        board.flash.load(file)


def test_poses_lead_through_find_axes(firmware, capsys):
    board, screen = VirtualNano(firmware), _Screen()
    board.run(300)
    for pose in (1, 2, 3):
        _typed(board, screen, f":pose {pose}")
        board.run(200 if pose == 1 else 1300)
        _typed(board, screen, "")
        board.run(1500)
    assert "for WristAdapt, as a line" in board.serial.text, board.serial.text
    _typed(board, screen, ":pose 9")
    assert "no pose 9; choose 1 palm down" in capsys.readouterr().err


@pytest.mark.parametrize("arm", ["left", "right"])
def test_a_recording_of_the_kit_is_what_the_network_knows(tmp_path, arm):
    file = tmp_path / "out.csv"
    assert main(["recording", f"person-1-{arm}", "bent-over row", str(file)]) == 0
    device = next(one for one in Wrist().devices() if one.name == f"person-1-{arm}")
    rows = rows_of(read_recording(file), checked_axes(DOCUMENTED, arm == "right"))
    np.testing.assert_allclose(rows, device.recordings[6], atol=1e-4)
    assert recorded_rate(file) == 25
    assert main(["recording", f"person-1-{arm}", "0", str(file)]) == 2
    assert main(["recording", f"person-1-{arm}", "7", str(tmp_path / "x.csv")]) == 2


def test_a_boards_escape_sequences_do_not_reach_the_terminal(capsys):
    show("tab\t, µ and \x1b]0;title\x07\r\n".encode())
    assert capsys.readouterr().out == "tab\t, µ and \ufffd]0;title\ufffd\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_is_no_file_of_flash_and_no_image(tmp_path, refuses):
    """Reading one would never end."""
    os.mkfifo(tmp_path / "fifo.bin")
    with refuses("fifo.bin holds no flash memory"):
        read_kept(tmp_path / "fifo.bin")
    with refuses("fifo.bin is no file"):
        check_binary(tmp_path / "fifo.bin")


def test_what_a_sketch_sends_has_an_end(monkeypatch, refuses):
    monkeypatch.setattr(peripherals, "_MOST_SENT", 2 << 20)
    port = peripherals.SerialPort()
    with refuses("sent more than 2 MB"):
        for _ in range(1000):
            port.from_board(bytes(4096))
    assert len(port.sent) == 2 << 20
