"""Logs of power meters, as their programs write them, and the visits they show."""

import contextlib
import json

import numpy as np
import pytest

from tinyreptile_lite import cli
from tinyreptile_lite.energy import EnergyModel
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.nano import VirtualNano
from tinyreptile_lite.nano.peripherals import MARKER
from tinyreptile_lite.serve.boards import Boards
from tinyreptile_lite.serve.fleet import SKETCH, VirtualLink
from tinyreptile_lite.serve.journal import read_journal
from tinyreptile_lite.serve.power_log import line_up, read_power_log, visits_of
from tinyreptile_lite.serve.server import Server
from tinyreptile_lite.strategies import tiny_reptile
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.wire.client import BoardClient

NET = Sine().network()
MODEL = EnergyModel()


def write(folder, *lines):
    path = folder / "log.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


# ---- Forms ---------------------------------------------------------------------------------------

FORMS = {
    "by hand": ("time,mA", [(0, 10), (1, 10), (3, 20)]),
    "ppk2": ("Timestamp(ms),Current(uA)", [(0, 10e3), (1e3, 10e3), (3e3, 20e3)]),
    "otii": ("Timestamp (s),Arc - Main current (A)", [(0, 0.01), (1, 0.01), (3, 0.02)]),
    "micro sign": ("Time [ms],Current [\u00b5A]", [(0, 10e3), (1e3, 10e3), (3e3, 20e3)]),
    "joulescope": (
        "#time (s),current (A),voltage (V)",
        [(0, 0.005, 6), (1, 0.005, 6), (3, 0.01, 6)],
    ),
    "snake case": ("time_us,current_na", [(0, 10e6), (1e6, 10e6), (3e6, 20e6)]),
    "swapped": ("current (mA),note,time (s)", [(10, "", 0), (10, "", 1), (20, "", 3)]),
}


@pytest.mark.parametrize(("header", "rows"), FORMS.values(), ids=FORMS)
def test_headers_name_units(tmp_path, header, rows):
    log = read_power_log(write(tmp_path, header, *(",".join(map(str, row)) for row in rows)))
    np.testing.assert_allclose(log.seconds, [0, 1, 3])
    np.testing.assert_allclose(log.joules, [0, 0.03, 0.12])
    assert log.between((0.5, 2)) == pytest.approx(0.06)
    assert log.channels == ()


def test_semicolons_come_with_decimal_commas_and_lines_before_the_header_are_skipped(tmp_path):
    lines = ["Meter 2000", "", "Zeit time (s);Current (mA)", "0,5;10,0", "", "1,5;10,0"]
    assert read_power_log(write(tmp_path, *lines)).joules[-1] == pytest.approx(0.03)
    tabs = ["time (s)\tcurrent (mA)", "0.5\t10", "1.5\t10"]
    assert read_power_log(write(tmp_path, *tabs), volts=5).joules[-1] == pytest.approx(0.05)


DIGITAL = {
    "one string": ("D0-D7", ["00000000", "01000000", "00000000", "01000000", "00000000"], "D1"),
    "a number": ("Bits", ["00000000", "01000000", "00000000", "01000000", "00000000"], "D6"),
    "separate": ("D0,D1", ["0,0", "0,1", "0,0", "0,1", "0,0"], "D1"),
    "joulescope": ("gpi[0]", ["0", "1", "0", "1", "0"], "gpi[0]"),
}


@pytest.mark.parametrize(("header", "bits", "name"), DIGITAL.values(), ids=DIGITAL)
def test_digital_channels_give_pulses(tmp_path, header, bits, name):
    rows = [f"{number},10,{bit}" for number, bit in enumerate(bits)]
    log = read_power_log(write(tmp_path, f"time (s),current (mA),{header}", *rows))
    assert log.pulses() == log.pulses(name) == ([(1, 2), (3, 4)], False)


def test_half_a_pulse_is_no_visit(tmp_path):
    rows = [f"{number},10,{bit}" for number, bit in enumerate("10110011")]
    log = read_power_log(write(tmp_path, "time (s),current (mA),D0", *rows))
    assert log.pulses() == ([(2, 4)], True)


# ---- Slips ---------------------------------------------------------------------------------------

HEADER = "Timestamp(ms),Current(uA)"
BAD = {
    "backwards": ([HEADER, "0,1", "2,1", "1,1"], ["log.csv, line 4", "backwards", "one recording"]),
    "words": ([HEADER, "0,1", "1,much"], ["log.csv, line 3", "'1,much'", "row of numbers"]),
    "cut off": ([HEADER, "0,1", "1"], ["log.csv, line 3", "'1'", "export the log again"]),
    "not finite": ([HEADER, "0,1", "1,nan"], ["log.csv, line 3", "nan"]),
    "no unit": (["time,current", "0,1", "1,1"], ["'current' has no unit", "current (mA)"]),
    "odd unit": (["time (h),mA", "0,1", "1,1"], ["'time (h)' has no unit that is known", "ms"]),
    "empty": ([""], ["no header", "time (s),current (mA)"]),
    "no rows": ([HEADER], ["0 measurements"]),
    "no header": (["0,1", "1,1"], ["no header"]),
    "levels": (["time,mA,D0-D7", "0,1,0000", "1,1,0000"], ["line 2", "'0000'", "8 digital"]),
}


@pytest.mark.parametrize(("lines", "words"), BAD.values(), ids=BAD)
def test_a_log_that_cannot_be_is_one_sentence(tmp_path, lines, words, refuses):
    path = write(tmp_path, *lines)
    before = path.read_bytes()
    with refuses(*words):
        read_power_log(path)
    assert path.read_bytes() == before


def test_a_log_that_is_not_there_or_no_text_is_one_sentence(tmp_path, refuses):
    with refuses("none.csv", "No such file", "power meter"):
        read_power_log(tmp_path / "none.csv")
    with refuses(tmp_path, "is no file"):
        read_power_log(tmp_path)
    (tmp_path / "photo.csv").write_bytes(bytes(range(256)) * 40)
    with refuses("photo.csv"):
        read_power_log(tmp_path / "photo.csv")


def test_a_marker_that_is_not_wired_or_not_clear_is_one_sentence(tmp_path, refuses):
    head = "time (s),current (mA),D0,D1,D2"
    flat = read_power_log(write(tmp_path, head, "0,1,1,0,0", "1,1,1,0,0"))
    with refuses("no pulse of the marker", "pin D2", "ground"):
        flat.pulses()
    two = read_power_log(write(tmp_path, head, "0,1,0,0,0", "1,1,1,1,0", "2,1,0,0,0"))
    with refuses("D0, D1", "--channel"):
        two.pulses()
    assert two.pulses("d1") == ([(1, 2)], False)
    with refuses("no pulse of the marker"):
        two.pulses("D2")
    with refuses("'D9'", "D0, D1, D2"):
        two.pulses("D9")


# ---- Lining up -----------------------------------------------------------------------------------


def visit(number, begun, board="one", learned=True, seconds=1.0):
    joules = {"compute": 1e-3, "sent": 2e-3, "received": 3e-3, "idle": 9.0}
    return {
        "event": "spent", "round": number, "board": board, "learned": learned, "begun": begun,
        "seconds": seconds, "modelled_joules": joules, "modelled_learning_joules": 1e-3,
    }  # fmt: skip


VISITS = [visit(1, 5000.0), visit(2, 5004.0)]
STEADY = ["time (s),current (mA)", "0,10", "10,10"]  # 30 mW


def test_by_time_a_whole_visit_is_compared(tmp_path):
    log = read_power_log(write(tmp_path, *STEADY))
    rows = line_up(log, VISITS, EnergyModel(idle_ma=5))
    assert [row["visit"] for row in rows] == [1, 2]
    for row in rows:
        assert row["measured_joules"] == pytest.approx(0.03)
        assert row["modelled_joules"] == pytest.approx(6e-3)  # learning and radio
        assert row["modelled_idle_joules"] == pytest.approx(0.015)
    assert [row["visit"] for row in line_up(log, VISITS, MODEL, offset=6)] == [1]
    assert [row["visit"] for row in line_up(log, VISITS, MODEL, offset=-3)] == [2]


def test_a_clock_that_counts_from_1970_needs_no_offset(tmp_path):
    since = 1.7e9
    log = read_power_log(write(tmp_path, STEADY[0], f"{since},10", f"{since + 10},10"))
    visits = [visit(1, since + 2), visit(2, since + 20)]
    assert [row["visit"] for row in line_up(log, visits, MODEL)] == [1]


def test_a_log_of_another_time_is_one_sentence(tmp_path, refuses):
    log = read_power_log(write(tmp_path, *STEADY))
    with refuses("0 to 10 s", "no visit", "--offset"):
        line_up(log, VISITS, MODEL, offset=500)


def marked(folder, bits):
    rows = [f"{number},10,{bit}" for number, bit in enumerate(bits)]
    return read_power_log(write(folder, "time (s),current (mA),D0", *rows))


def test_by_the_marker_only_the_learning_is_compared(tmp_path):
    rows = line_up(marked(tmp_path, "0110100"), VISITS, MODEL)
    assert [row["seconds"] for row in rows] == [2, 1]
    assert [row["measured_joules"] for row in rows] == pytest.approx([0.06, 0.03])
    assert [row["modelled_joules"] for row in rows] == [1e-3, 1e-3]
    later = line_up(marked(tmp_path, "010"), VISITS, MODEL, first=2)
    assert [row["visit"] for row in later] == [2]


def test_pulses_that_do_not_fit_the_visits_are_one_sentence(tmp_path, refuses):
    with refuses("3 pulses", "2 visits", "cut from the log"):
        line_up(marked(tmp_path, "0101010"), VISITS, MODEL)
    with refuses("2 pulses", "1 visits of the board from visit 2"):
        line_up(marked(tmp_path, "01010"), VISITS, MODEL, first=2)
    half = marked(tmp_path, "11010")
    with refuses("middle of a visit", "--first-visit"):
        line_up(half, VISITS, MODEL)
    assert line_up(half, VISITS, MODEL, first=2)[0]["visit"] == 2


def test_the_board_that_was_measured_must_be_clear(tmp_path, refuses):
    mixed = [*VISITS, visit(3, 5010.0, "two"), visit(4, 5011.0, "two", learned=False)]
    with refuses("2 boards", "--board", "one, two"):
        visits_of(mixed, tmp_path)
    assert [one["round"] for one in visits_of(mixed, tmp_path, "two")] == [3]
    with refuses("'three'", "one, two"):
        visits_of(mixed, tmp_path, "three")
    with refuses("no board has learned"):
        visits_of([{"event": "start"}], tmp_path)


# ---- The virtual board ---------------------------------------------------------------------------


class Meter:
    """Writes a log as a PPK2 would, of a board that takes 20 mA while it learns, else 10 mA."""

    def __init__(self, board):
        self.board, self.lines = board, ["Timestamp(ms),Current(uA),D0-D7", "0,10000,00000000"]
        self.gauge, board.pins.listener = board.pins.listener, self.changed

    def changed(self, pin, level):
        self.gauge(pin, level)
        if pin == MARKER:
            self.sample(1 - level)
            self.sample(level)

    def sample(self, level):
        current, bits = (20000, "00000100") if level else (10000, "00000000")
        self.lines.append(f"{self.board.time_us / 1000},{current},{bits}")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A journal and a log of a virtual board's five visits."""
    folder = tmp_path_factory.mktemp("served")
    board = VirtualNano(SKETCH)
    client = BoardClient(VirtualLink(board, "virtual:0"), NET)
    meter = Meter(board)
    boards = Boards([client])
    run = Federation(NET, tiny_reptile(0.02, 8), boards, 5, np.random.default_rng(0))
    server = Server(run, folder / "phi.npz", folder / "phi.journal")
    with contextlib.closing(server):
        server.run()
    board.run(5)
    meter.sample(0)
    (folder / "log.csv").write_text("\n".join(meter.lines))
    return folder


def test_the_sketchs_marker_shows_each_visit_of_the_virtual_board(served):
    visits = visits_of(read_journal(served / "phi.journal"), served)
    rows = line_up(read_power_log(served / "log.csv"), visits, MODEL)
    assert [row["round"] for row in rows] == [1, 2, 3, 4, 5]
    for row, one in zip(rows, visits, strict=True):
        assert row["measured_joules"] == pytest.approx(3 * 0.02 * row["seconds"], rel=1e-3)
        cycles = row["modelled_joules"] / (MODEL.cycle_pj * 1e-12)
        assert cycles == pytest.approx(row["seconds"] * 64e6, rel=0.05)  # it does nothing else
        # Eight steps of about 17,550 cycles, besides the samples' sines and the frame at the end.
        assert 8 * 17_000 < cycles < 8 * 30_000
        assert one["cycles"] > 2 * cycles and one["work"] == "counted"
        assert one["modelled_joules"]["idle"] == pytest.approx(MODEL.idle(one["seconds"]))


def test_the_command_prints_measured_beside_modelled(served, capsys, monkeypatch):
    monkeypatch.chdir(served)
    assert cli.main(["energy", "phi.journal", "log.csv"]) == 0
    text = capsys.readouterr().out
    assert "5 of 5 visits are in the log" in text and "measured    modelled" in text
    assert cli.main(["energy", "phi.journal", "log.csv", "--channel", "D5", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 5
    assert cli.main(["energy", "phi.journal", "log.csv", "--first-visit", "0"]) == 2
    assert "first_visit is 0" in capsys.readouterr().err


def test_a_bad_log_takes_nothing_from_the_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["serve", "local:1", "--rounds", "3", "--energy-log", "log.csv"]
    write(tmp_path, HEADER, "0,1", "2,1", "1,1")
    assert cli.main(words) == 2
    seen = capsys.readouterr()
    assert "3 rounds with 1 board" in seen.out
    (error,) = [line for line in seen.err.splitlines() if line.startswith("tinyreptile:")]
    assert "line 4: the clock runs backwards" in error
    assert "tinyreptile energy phi.journal log.csv" in error
    write(tmp_path, HEADER, "0,10000", "60000,10000")
    assert cli.main(words) == 0  # the run is done; only the log is read again
    assert "visits are in the log" in capsys.readouterr().out


def test_the_measured_board_is_asked_for_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = ["--energy-log", "log.csv"]
    for words, answer in (
        (["local:2", *log], "2 boards take part; say with --energy-board"),
        (["local:1", *log, "--energy-board", "mine"], "unknown board 'mine'"),
        (["local:1", "--energy-board", "mine"], "--energy-log FILE.csv"),
    ):
        assert cli.main(["serve", *words]) == 2
        assert answer in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
