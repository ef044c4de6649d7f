"""The journal: nothing lost, nothing believed that is damaged."""

import json
import subprocess
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.serve.journal import Journal, read_journal

RUN = {"network": "small", "seed": "abc", "boards": ["a", "b"]}
RECORDS = [{"event": "round", "round": n, "loss": 0.5 / n} for n in (1, 2, 3)]


def written(path, records=RECORDS):
    journal = Journal(path, RUN)
    for record in records:
        journal.write(record)
    journal.close()
    return path


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path):
    path = written(tmp_path / "run.journal")
    journal = Journal(path, RUN)
    assert journal.records == RECORDS
    journal.write({"event": "more"}, sync=True)
    journal.close()
    assert read_journal(path) == [{"journal": 1, "run": RUN}, *RECORDS, {"event": "more"}]


def test_a_line_is_json_and_the_crc_of_all_so_far(tmp_path):
    crc = 0
    for line in written(tmp_path / "run.journal").read_bytes().splitlines():
        text, _, digits = line.rpartition(b" ")
        crc = zlib.crc32(text, crc)
        assert json.loads(text)
        assert int(digits, 16) == crc


@given(st.data())
def test_a_torn_last_line_is_cut_off(tmp_path_factory, data):
    path = written(tmp_path_factory.mktemp("journal") / "run.journal")
    whole = path.read_bytes()
    kept = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:kept])
    journal = Journal(path, RUN)
    lines = max(0, whole[:kept].count(b"\n") - 1)
    assert journal.records == RECORDS[:lines]
    journal.write({"event": "after"})
    journal.close()
    assert read_journal(path)[1:] == [*RECORDS[:lines], {"event": "after"}]


@given(st.data())
def test_damage_is_noticed_or_costs_only_the_last_line(tmp_path_factory, refuses, data):
    path = written(tmp_path_factory.mktemp("journal") / "run.journal")
    whole = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(whole)
    if at == len(whole) - 1:  # without its newline it is torn
        assert read_journal(path)[1:] == RECORDS[:-1]
    else:
        with refuses(path):
            read_journal(path)


def test_a_missing_line_is_noticed(tmp_path, refuses):
    path = written(tmp_path / "run.journal")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    with refuses(path, "damaged in line 3", "start again"):
        Journal(path, RUN)


def test_the_journal_of_another_run_is_refused_and_left_alone(tmp_path, refuses):
    path = written(tmp_path / "run.journal")
    before = path.read_bytes()
    with refuses(path, "another run", "seed", '"abc"', '"xyz"'):
        Journal(path, RUN | {"seed": "xyz"})
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"round,loss\n1,0.5\n", b"\x00\x01", b"x"])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path, refuses, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with refuses(path, "name another file" if content != b"round,loss\n1,0.5\n" else "line 1"):
        Journal(path, RUN)
    assert path.read_bytes() == content


def test_a_device_is_no_journal(refuses):
    with refuses("/dev/zero", "ordinary file"):
        Journal("/dev/zero", RUN)


def test_two_servers_cannot_write_to_one_journal(tmp_path, refuses):
    journal = Journal(tmp_path / "run.journal", RUN)
    with refuses("run.journal", "another server"):
        Journal(tmp_path / "run.journal", RUN)
    journal.close()
    Journal(tmp_path / "run.journal", RUN).close()


def test_a_folder_that_is_missing(tmp_path, refuses):
    with refuses("nowhere", "No such file"):
        Journal(tmp_path / "nowhere" / "run.journal", RUN)


FILL = """
import resource, sys
from tinyreptile_lite.serve.journal import Journal
journal = Journal(sys.argv[1], {})
resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))
try:
    for n in range(100):
        journal.write({"round": n})
except ValueError as error:
    print(n, error)
"""


def test_a_full_disk_is_one_sentence_and_the_journal_stays_good(tmp_path):
    """No more than 400 bytes may be written, and the operating system means it."""
    path = tmp_path / "run.journal"
    done = subprocess.run([sys.executable, "-c", FILL, str(path)], capture_output=True, text=True)
    count, _, sentence = done.stdout.strip().partition(" ")
    assert "cannot write the journal" in sentence
    assert "free some space" in sentence
    assert len(read_journal(path)) == 1 + int(count)
    journal = Journal(path, {})
    journal.write({"event": "after"})
    journal.close()
    assert read_journal(path)[-1] == {"event": "after"}
