"""The journal: nothing lost, nothing believed that is damaged."""

import json
import multiprocessing
import sqlite3
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyreptile_lite.checkpoint import state
from tinyreptile_lite.clients import SimulatedClient
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.layers import Dense
from tinyreptile_lite.network import Network
from tinyreptile_lite.serve.boards import Boards
from tinyreptile_lite.serve.journal import Journal, read_journal
from tinyreptile_lite.serve.server import Server
from tinyreptile_lite.strategies import tiny_reptile
from tinyreptile_lite.tasks.sine import Sine

NET = Network([Dense(1, 1)], "mse", (1,))  # two weights
DEVICES = Sine().devices(2, np.random.default_rng(0))


def federation(rounds=3, seed=0):
    clients = [SimulatedClient(NET, device) for device in DEVICES]
    rng = np.random.default_rng(seed)
    return Federation(NET, tiny_reptile(0.02, 2), Boards(clients), rounds, rng)


def written(folder, steps=3):
    """A journal of so many rounds."""
    server = Server(federation(), folder / "phi.npz", folder / "run.journal")
    for _ in range(steps):
        server.step()
    server.close()
    return folder / "run.journal"


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path):
    path, plain = written(tmp_path), federation()
    plain.run()
    head, start, *events = read_journal(path)
    assert head["journal"] == 2
    assert head["run"]["boards"] == ["sine-0", "sine-1"]
    assert (start["event"], start["round"]) == ("start", 0)
    assert [record["event"] for record in events] == ["visit", "spent", "round"] * 3
    assert [record["loss"] for record in events[2::3]] == plain.history.loss
    assert events[-1]["phi"] == f"{zlib.crc32(plain.phi.tobytes()):08x}"
    again = federation()
    Journal(path, again).close()
    np.testing.assert_array_equal(again.phi, plain.phi)
    assert state(again) == state(plain)


def test_it_can_be_read_while_it_is_written(tmp_path):
    server = Server(federation(), tmp_path / "phi.npz", tmp_path / "run.journal")
    for count in range(1, 4):
        server.step()
        assert read_journal(tmp_path / "run.journal")[-1]["round"] == count
    server.close()


def test_what_was_not_kept_is_dropped_in_one_piece(tmp_path):
    path, mine = written(tmp_path, steps=1), federation()
    before = read_journal(path)
    journal = Journal(path, mine)
    journal.note({"event": "skip"})
    journal.close()
    assert read_journal(path) == before
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith("run")] == [path.name]


@settings(max_examples=300)
@given(st.data())
def test_damage_is_noticed_or_harmless(tmp_path_factory, whole, data):
    content, records, plain = whole
    at = data.draw(st.integers(0, len(content) - 1))
    damaged = bytearray(content)
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    check_damaged(tmp_path_factory.mktemp("journal") / "run.journal", damaged, records, plain)


@given(st.data())
def test_half_a_file_is_noticed_or_harmless(tmp_path_factory, whole, data):
    content, records, plain = whole
    kept = content[: data.draw(st.integers(1, len(content) - 1))]
    check_damaged(tmp_path_factory.mktemp("journal") / "run.journal", kept, records, plain)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path, plain = written(tmp_path_factory.mktemp("whole")), federation()
    plain.run()
    return Quiet(path.read_bytes()), read_journal(path), plain


class Quiet(bytes):
    """Shown in short when a test fails."""

    def __repr__(self):
        return f"{len(self)} bytes"


def check_damaged(path, content, records, plain):
    """It is refused, or says what it said before the damage."""
    path.write_bytes(content)
    again = federation()
    try:
        assert read_journal(path) == records
        Journal(path, again).close()
    except KitError as error:
        assert str(path) in str(error)
        return
    np.testing.assert_array_equal(again.phi, plain.phi)
    assert state(again) == state(plain)


def change(path, *statements):
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def rewrite(path, number, **values):
    """Forge a record, with the right CRC."""
    with sqlite3.connect(path) as db:
        ((text,),) = db.execute("SELECT record FROM records WHERE number = ?", [number]).fetchall()
        text = json.dumps(json.loads(text) | values)
        row = (text, zlib.crc32(text.encode()), number)
        db.execute("UPDATE records SET record = ?, crc = ? WHERE number = ?", row)
    db.close()


@pytest.mark.parametrize(
    ("values", "answers"),
    [
        ({"round": 2}, ["damaged"]),
        ({"round": "3"}, ["damaged"]),
        ({"loss": "low"}, ["contradicts itself"]),
        ({"clients": 1}, ["contradicts itself"]),
        ({"clients": ["a"]}, ["contradicts itself"]),
        ({"clients": [7]}, ["contradicts itself"]),
        ({"event": None}, ["contradicts itself"]),
        ({"loss": 10**400}, ["contradicts itself"]),
    ],
)
def test_a_forged_round_is_refused(tmp_path, refuses, values, answers):
    path = written(tmp_path)
    rewrite(path, 11, **values)  # the third one
    with refuses(path, *answers):
        Journal(path, federation())


@pytest.mark.parametrize(
    "values",
    [
        {"board": 7},
        {"instructions": "many"},
        {"bytes_up": -1},
        {"modelled_joules": {"compute": 0.1, "luck": 3}},
        {"modelled_joules": {"compute": float("nan")}},
        {"modelled_joules": None},
    ],
    ids=str,
)
def test_a_forged_cost_is_refused(tmp_path, refuses, values):
    path = written(tmp_path)
    rewrite(path, 4, **values)
    with refuses(path, "damaged"):
        Journal(path, federation())


def test_a_journal_from_before_costs_were_noted_goes_on(tmp_path):
    path = written(tmp_path, steps=2)
    records = [record for record in read_journal(path) if record.get("event") != "spent"]
    rows = [
        (n, text, zlib.crc32(text.encode())) for n, text in enumerate(map(json.dumps, records), 1)
    ]
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM records")
        db.executemany("INSERT INTO records VALUES (?, ?, ?)", rows)
    db.close()
    server = Server(federation(), tmp_path / "phi.npz", path)
    assert server.federation.round == 2 and server.boards.spent.energy.work == 0
    server.run()
    server.close()
    assert server.boards.spent.energy.work > 0


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM records WHERE number = 3",
        "DELETE FROM records",
        "DELETE FROM state",
        "UPDATE records SET record = 'x'",
        "UPDATE records SET record = NULL WHERE number = 4",
        "UPDATE records SET crc = NULL",
        "UPDATE state SET rng = '{}'",
        "UPDATE state SET phi = x'00'",
        "UPDATE state SET phi = 3",
        "UPDATE state SET round = 2",
        "UPDATE state SET round = 'three'",
        "UPDATE state SET round = 9000000000000000000",
        "UPDATE records SET record = '[]', crc = 223132457 WHERE number = 1",
        "CREATE TABLE more (n)",
        "CREATE TRIGGER more AFTER INSERT ON records BEGIN DELETE FROM records; END",
        "DROP TABLE state",
        "PRAGMA application_id=7",
    ],
)
def test_what_somebody_has_changed_is_refused(tmp_path, refuses, statement):
    path = written(tmp_path)
    change(path, statement)
    with refuses(path):
        Journal(path, federation())


@pytest.mark.parametrize("run", [[], {}, {"found": 5}, {"found": [1]}, {"found": None}])
def test_a_forged_list_of_boards_is_refused(tmp_path, refuses, run):
    path = written(tmp_path)
    rewrite(path, 1, run=run)
    with refuses(path, "damaged"):
        read_journal(path)


@pytest.mark.parametrize(
    ("rng", "phi", "answer"),
    [
        ("{}", None, "no generator"),
        ('{"bit_generator": "PCG64", "state": 3}', None, "no generator"),
        ("[1]", None, "no generator"),
        ("[" * 100_000, None, "damaged"),
        (None, b"\0" * 4, "phi has shape"),
        (None, b"\0\0\xc0\x7f" * 2, "NaN"),
        (None, b"\0" * 7, "damaged"),
    ],
)
def test_a_forged_state_is_refused(tmp_path, refuses, rng, phi, answer):
    path = written(tmp_path)
    with sqlite3.connect(path) as db:
        ((old_phi, old_rng),) = db.execute("SELECT phi, rng FROM state").fetchall()
        phi, rng = phi or old_phi, rng or old_rng
        row = (phi, rng, zlib.crc32(rng.encode(), zlib.crc32(phi)))
        db.execute("UPDATE state SET phi = ?, rng = ?, crc = ?", row)
    db.close()
    with refuses(answer):
        Journal(path, federation())


def test_the_journal_of_another_run_is_refused_and_left_alone(tmp_path, refuses):
    path = written(tmp_path)
    before = path.read_bytes()
    with refuses(path, "another run (seed"):
        Journal(path, federation(seed=1))
    assert path.read_bytes() == before


def test_a_file_that_is_no_journal_is_left_alone(tmp_path, refuses):
    change(tmp_path / "other.db", "PRAGMA journal_mode=WAL", "CREATE TABLE mine (n)")
    (tmp_path / "old.journal").write_bytes(b'{"journal": 1, "run": {}} 12345678\n')
    (tmp_path / "notes").write_bytes(b"x")
    for path in [*tmp_path.iterdir()]:
        before = path.read_bytes()
        with refuses(path, "no journal", "another file"):
            Journal(path, federation())
        with refuses(path, "no journal", "another file"):
            read_journal(path)
        assert path.read_bytes() == before


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/dev"])
def test_a_device_or_folder_is_no_journal(refuses, path):
    with refuses(path, "ordinary file"):
        Journal(path, federation())


def test_a_second_name_is_refused(tmp_path, refuses):
    path = written(tmp_path)
    (tmp_path / "second").hardlink_to(path)
    with refuses("hard link"):
        Journal(tmp_path / "second", federation())


def test_two_servers_cannot_write_to_one_journal(tmp_path, refuses):
    path = tmp_path / "run.journal"
    journal = Journal(path, federation())
    with refuses("run.journal", "another server"):
        Journal(path, federation())
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert "another server" in pool.apply(try_to_open, [path])
    journal.close()
    Journal(path, federation()).close()


def try_to_open(path):
    try:
        Journal(path, federation())
    except KitError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", ["nowhere/run.journal", "n" * 300])
def test_a_name_that_cannot_be_used(tmp_path, refuses, name):
    with refuses(name, "cannot use the journal"):
        Journal(tmp_path / name, federation())


FILL = """
import resource, sys
sys.path.insert(0, "tests")
from test_journal import *
mine = federation(rounds=100)
server = Server(mine, Path(sys.argv[1]) / "phi.npz", Path(sys.argv[1]) / "run.journal")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    server.run()
except KitError as error:
    print(server.journal.round, error)
server.close()
"""


def test_a_full_disk_is_one_sentence_and_the_journal_stays_good(tmp_path):
    """No file may grow beyond 100 kB, and the operating system means it."""
    command = [sys.executable, "-c", FILL.replace("Path", "__import__('pathlib').Path"), tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    count, _, sentence = done.stdout.strip().partition(" ")
    assert "cannot use the journal" in sentence, done.stderr
    assert "free some space" in sentence
    assert 0 < int(count) < 100
    assert read_journal(tmp_path / "run.journal")[-1]["round"] == int(count)
    server = Server(federation(rounds=100), tmp_path / "phi.npz", tmp_path / "run.journal")
    assert server.federation.round == int(count)
    server.run()
    server.close()
    plain = federation(rounds=100)
    np.testing.assert_array_equal(server.federation.phi, plain.run())
