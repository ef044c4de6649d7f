"""The server's journal: what happened in a run, line by line, safe against power cuts.

A line is a JSON object and eight hexadecimal digits. The digits are the CRC-32 of all objects so
far, so that a line that was changed, lost or moved is noticed. The first line says which run it
is. Only the last line may be torn: the program was killed, or the power went, while it was written.
It never counted, and is cut off.
"""

import contextlib
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tinyreptile_lite.errors import KitError

Record = dict[str, Any]
VERSION = 1


class Journal:
    """A journal that is open for writing; nobody else may write to it meanwhile.

    Parameters
    ----------
    path : Path
        Made if it is not there.
    identity : dict
        Tells one run from another, in plain JSON types.

    Attributes
    ----------
    records : list of dict
        What the file held when it was opened, without the first line.

    Raises
    ------
    KitError
        If the file is the journal of another run, damaged before its last line, in use by another
        server, or cannot be written.
    """

    def __init__(self, path: Path, identity: Record) -> None:
        self.path = Path(path)
        _check_ordinary(self.path)
        with self._explained():
            self._file = self.path.open("a+b")
        try:
            _lock(self._file, self.path)
            self.records = self._take_up(identity)
        except BaseException:
            self.close()
            raise

    def _take_up(self, identity: Record) -> list[Record]:
        """Read what is there, cut a torn line off, and begin the journal if it is new."""
        self._file.seek(0)
        data = self._file.read()
        records, good, self._crc = _read(data, self.path)
        if not records:
            if data[: len(_HEAD)] != _HEAD[: len(data)]:
                raise KitError(f"{self.path} is no journal; name another file for the journal")
            records = [{"journal": VERSION, "run": identity}]
            self._cut(0)
            self.write(records[0], sync=True)
        elif good < len(data):
            self._cut(good)
        _check_run(records[0], identity, self.path)
        return records[1:]

    def _cut(self, size: int) -> None:
        with self._explained():
            self._file.truncate(size)

    def write(self, record: Record, sync: bool = False) -> None:
        """Add a line.

        Parameters
        ----------
        record : dict
            In plain JSON types.
        sync : bool
            Return only when the line is on the disk.

        Raises
        ------
        KitError
            If it cannot be written, as on a full disk.
        """
        text = json.dumps(record).encode()
        self._crc = zlib.crc32(text, self._crc)
        with self._explained():
            self._file.write(b"%s %08x\n" % (text, self._crc))
            self._file.flush()
            if sync:
                os.fsync(self._file.fileno())

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise KitError(
                f"cannot write the journal {self.path}: {error.strerror}; free some space or name "
                "another file, then start again: the run goes on where it was"
            ) from error

    def close(self) -> None:
        """Close the file; another server may open it then."""
        with contextlib.suppress(OSError):  # what was still in the buffer has been reported
            self._file.close()


_HEAD = b'{"journal": '


def _check_ordinary(path: Path) -> None:
    if path.exists() and not path.is_file():  # a device may never end
        raise KitError(f"{path} is no ordinary file; name another one for the journal")


def _read(data: bytes, path: Path) -> tuple[list[Record], int, int]:
    """Return the records, the bytes that hold them, and their CRC."""
    records: list[Record] = []
    good = crc = 0
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline is torn
        text, _, digits = line.rpartition(b" ")
        new = zlib.crc32(text, crc)
        record = _parse(text) if digits == b"%08x" % new else None
        if record is None:
            raise KitError(
                f"the journal {path} is damaged in line {number}; "
                "move it and its checkpoint away and start again"
            )
        records.append(record)
        crc, good = new, good + len(line) + 1
    return records, good, crc


def _parse(text: bytes) -> Record | None:
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _check_run(head: Record, identity: Record, path: Path) -> None:
    if head.get("journal") != VERSION:
        raise KitError(
            f"{path} is a journal of version {head.get('journal')}, not {VERSION}; "
            "name another file for the journal"
        )
    found = head.get("run", {})
    for part, value in json.loads(json.dumps(identity)).items():
        if found.get(part) != value:
            raise KitError(
                f"{path} is the journal of another run: {part} is {_short(found.get(part))} there, "
                f"{_short(value)} here; name another file, or start with the settings of that run"
            )


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 120 else text[:117] + "..."


def _lock(file: IO[bytes], path: Path) -> None:
    """Keep other servers out; the lock goes with the process, however that ends."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(1 << 30)  # Windows forbids reading what is locked: lock where nothing is
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise KitError(
            f"another server is writing to {path}; stop it, or name another file"
        ) from error


def read_journal(path: Path) -> list[Record]:
    """Read a journal, also one that is being written.

    Parameters
    ----------
    path : Path

    Returns
    -------
    list of dict
        The first says which run it is.

    Raises
    ------
    KitError
        If there is no such file, or it is no journal or damaged.
    """
    _check_ordinary(Path(path))
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise KitError(f"cannot read the journal {path}: {error.strerror}") from error
    records, _, _ = _read(data, path)
    if not records or "journal" not in records[0]:
        raise KitError(f"{path} is no journal; name the file that tinyreptile serve has written")
    return records
