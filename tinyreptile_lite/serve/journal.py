"""The journal: a run in one file. Who takes part, what happened, and from where it goes on.

The file is a database of SQLite, which comes with Python. A round is one transaction: what happened
in it, phi after it and the state of the random generator are on the disk together, or none is. So
the file always is a run between two rounds, whenever the program is killed or the power goes.

While a server works, new rounds are in a second file beside it, ``-wal``, that belongs to it: a
round then costs one wait for the disk (``synchronous=FULL``), and others may read at any time. A
server that ends in good order leaves the one file. The folder must be on a disk of this computer:
over a network SQLite cannot share a file that is in use.

A server never lets go of the right to write, so there is one at a time. SQLite checks its own pages
but not what is in them: each record, and phi, has a CRC-32.
"""

import json
import shlex
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.checkpoint import identity, state, take_up
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.serve.accounts import Bill
from tinyreptile_lite.serve.boards import counted_boards

Record = dict[str, Any]
VERSION = 2  # 1 was a text file
COMPANIONS = ("", "-wal", "-shm", "-journal")  # what SQLite may add to the file's name
_APPLICATION = 0x54524C4A  # in the file's header: "TRLJ"
_DISK = ("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")
_DAMAGED = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)
_SCHEMA = [
    ("CREATE TABLE records (number INTEGER PRIMARY KEY, record TEXT, crc INT)",),
    ("CREATE TABLE state (one INTEGER PRIMARY KEY, round INT, phi BLOB, rng TEXT, crc INT)",),
]


class Journal:
    """A journal that is open for writing; nobody else may write to it meanwhile.

    It is made if it is not there; else the federation goes on from it. `found` are the names that
    the clients were made from.

    Attributes
    ----------
    bills : list of (str, Bill)
        What the visits of before have cost which board; journals of old do not have it.

    Raises
    ------
    KitError
        If the file is the journal of another run, no journal, damaged, in use by another server,
        or cannot be written. It is left as it was then.
    """

    def __init__(self, path: Path, federation: Federation, found: Sequence[str] = ()) -> None:
        self.path = Path(path)
        self._mine = False
        self.bills: list[tuple[str, Bill]] = []
        with _explained(self.path):
            self._db = _connect(self.path, "rwc")
            try:
                self._open(federation, list(found))
            except BaseException:
                self.close()
                raise

    def _open(self, federation: Federation, found: list[str]) -> None:
        self._take_up(federation)  # what is refused is not touched
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA busy_timeout=0")  # who may write keeps it: no use to wait
        self._db.execute("BEGIN IMMEDIATE")
        if not self._take_up(federation):
            self._db.execute(f"PRAGMA application_id={_APPLICATION}")
            for (statement,) in _SCHEMA:
                self._db.execute(statement)
            run = identity(federation) | {"boards": list(federation.visitor.names), "found": found}
            self.write({"journal": VERSION, "run": run}, federation)
        self._mine = True

    def _take_up(self, federation: Federation) -> bool:
        """Let the federation go on from what is in the file, if anything is."""
        if _is_new(self._db, self.path):
            return False
        phi, where, self.bills = _read_state(self._db)
        _same_boards(self.path, where["identity"], federation)
        take_up(federation, phi, where, f"the journal {self.path}")
        return True

    def note(self, record: Record) -> None:
        """Add a record, in plain JSON types; it lasts from the next `keep` or `write` on.

        Raises `KitError` if it cannot be written, as on a full disk.
        """
        text = json.dumps(record)
        row = (text, zlib.crc32(text.encode()))
        with self._whole():
            if not self._db.in_transaction:  # something was dropped
                self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT INTO records (record, crc) VALUES (?, ?)", row)

    def write(self, record: Record, federation: Federation) -> None:
        """Make a record and where the federation stands last; raises as `note` does."""
        phi, rng = federation.phi.tobytes(), json.dumps(state(federation)["rng"])
        row = (federation.round, phi, rng, zlib.crc32(rng.encode(), zlib.crc32(phi)))
        with self._whole():
            self.note(record)
            self._db.execute("REPLACE INTO state VALUES (1, ?, ?, ?, ?)", row)
            self.keep()

    @property
    def round(self) -> int:
        """Rounds that are written down."""
        with self._whole():
            return int(self._db.execute("SELECT round FROM state").fetchone()[0])

    def keep(self) -> None:
        """Make last what has been noted; raises as `note` does."""
        with self._whole():
            self._db.execute("COMMIT")
            self._db.execute("BEGIN IMMEDIATE")

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Explain errors, and drop all that was noted and not kept: no half a round is left."""
        try:
            with _explained(self.path):
                yield
        except BaseException:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Close the file; another server may open it then. What was not kept is dropped."""
        with suppress(sqlite3.Error):  # it is safe as it is; a reader may be at it just now
            self._db.rollback()
            if self._mine:
                self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.close()


def read_journal(path: Path) -> list[Record]:
    """Read a journal, also one that is being written.

    The first record says which run it is; the others have an "event" each, in their order.

    Raises `KitError` if there is no such file, or it is no journal or damaged.
    """
    path = Path(path)
    with _explained(path), closing(_connect(path, "ro")) as db:
        if _is_new(db, path):
            raise KitError(f"the journal {path} is empty; start the server first")
        return _read_records(db)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    if path.exists():
        kind = path.stat()
        if not path.is_file():  # a device may never end
            raise KitError(f"{path} is no ordinary file; name another one for the journal")
        if kind.st_nlink > 1:  # under its other name the file would have another -wal
            raise KitError(f"{path} has a second name, a hard link; remove it or name another file")
        if kind.st_size == 1:  # SQLite takes it for an empty file
            raise _no_journal(path)
    address = f"{path.resolve().as_uri()}?mode={mode}"
    return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)


def _is_new(db: sqlite3.Connection, path: Path) -> bool:
    """Whether nothing is in it yet; refuses what is no whole journal."""
    schema = db.execute("SELECT sql FROM sqlite_schema ORDER BY rowid").fetchall()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    if (schema, application) not in (([], 0), ([], _APPLICATION), (_SCHEMA, _APPLICATION)):
        raise _no_journal(path)
    return not schema


def _read_records(db: sqlite3.Connection) -> list[Record]:
    """Return all records; raises `ValueError` or its like if they are damaged."""
    sound = db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    records = []
    rows = db.execute("SELECT number, record, crc FROM records ORDER BY number")
    for number, (found, text, crc) in enumerate(rows, start=1):
        sound = sound and (number, zlib.crc32(text.encode())) == (found, crc)
        records.append(json.loads(text))
    found = records[0]["run"]["found"]
    if not sound or records[0]["journal"] != VERSION or not all(type(one) is str for one in found):
        raise ValueError
    return records


def _read_state(
    db: sqlite3.Connection,
) -> tuple[np.ndarray, dict[str, Any], list[tuple[str, Bill]]]:
    """Return phi, the rest of what `take_up` needs, and bills; raises as `_read_records` does."""
    head, *records = _read_records(db)
    ((done, phi, rng, crc),) = db.execute("SELECT round, phi, rng, crc FROM state").fetchall()
    rounds = [record for record in records if record["event"] == "round"]
    numbered = [record["round"] for record in rounds] == list(range(1, len(rounds) + 1))
    if not numbered or zlib.crc32(rng.encode(), zlib.crc32(phi)) != crc:
        raise ValueError
    names = {"loss": "loss", "outer_rate": "outer_rate", "visited": "clients"}
    history = {name: [record[key] for record in rounds] for name, key in names.items()}
    history |= {"probe_round": [], "probe_value": []}
    state = {"identity": head["run"], "round": done, "rng": json.loads(rng), "history": history}
    spent = [record for record in records if record["event"] == "spent"]
    bills = [(_text(record["board"]), Bill.read(record)) for record in spent]
    return np.frombuffer(phi, np.float32).copy(), state, bills


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _same_boards(path: Path, run: Record, federation: Federation) -> None:
    """Refuse other boards than those that this very run was begun with."""
    mine = identity(federation)
    wrong = [part for part, value in mine.items() if run.get(part) != value]
    if wrong != ["clients"]:
        return  # nothing, or more than that: it is another run
    named = f" ({shlex.join(run['found'])})" if run["found"] else ""
    begun, here = run["clients"]["count"], mine["clients"]["count"]
    these = f"{'these ' if begun == here else ''}{counted_boards(here)}"
    raise KitError(
        f"the run in the journal {path} was begun with {counted_boards(begun)}{named}, not with "
        f"{these}; name the same boards to go on, or another file with --out to begin a new run"
    )


def _no_journal(path: Path) -> KitError:
    return KitError(f"{path} is no journal; name another file for the journal")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk say, and what damaged contents lead to, into a sentence."""
    try:
        yield
    except KitError:
        raise
    except (sqlite3.Error, OSError, *_DAMAGED) as error:
        raise _sentence(path, error) from error


def _sentence(path: Path, error: Exception) -> KitError:
    kind = getattr(error, "sqlite_errorname", "")
    if kind.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return KitError(f"another server is writing to {path}; stop it, or name another file")
    if kind == "SQLITE_NOTADB":
        return _no_journal(path)
    if kind.startswith(_DISK) or isinstance(error, OSError):
        return KitError(
            f"cannot use the journal {path}: {getattr(error, 'strerror', error)}; free some space "
            "or name a file in a folder that you can write to, then start again: the run goes on "
            "where it was"
        )
    return KitError(f"the journal {path} is damaged; move it away and start again")
