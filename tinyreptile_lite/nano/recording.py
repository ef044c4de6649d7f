"""Recordings of the IMU as files, and blocks of lines that a sketch sends to be stored.

A sketch says what is worth a file by two lines: ``--- begin NAME`` in front of it and ``--- end``
behind it. Recorder does so with what the IMU reads, WristAdapt with its weights.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from tinyreptile_lite.errors import KitError, file_errors

AXES = 6
TITLE = "ax,ay,az,gx,gy,gz"
FASTEST = 10_000  # Hz
USUAL_RATE = 25.0  # samples per second, of a recording that does not say it
_BEGIN, _END = "--- begin", "--- end"
_RATE = re.compile(r"# rate: (\S+) Hz")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|[+-]?inf", re.ASCII | re.IGNORECASE)
_COMMENT = re.compile(r"#[ -~]{0,200}")  # nothing that a terminal or another program acts on
_LARGEST = 3.4e38  # of a float32, which readings are
_LONGEST = 4096  # bytes of a line
_REMEDY = "give six columns of numbers, CSV or .npy"


def read_recording(path: str | Path) -> NDArray[np.float32]:
    """Read an IMU recording from a CSV or .npy file: six columns, one row per sample.

    A CSV may begin with a title, and may have comments: lines that begin with #.

    Raises
    ------
    KitError
        If it cannot be read; names the line and what is wrong there.
    """
    try:
        if Path(path).suffix == ".npy":
            with Path(path).open("rb") as file:
                found = np.lib.format.read_array(file, allow_pickle=False)
            if np.iscomplexobj(found):
                raise KitError(f"{path} is no recording: its numbers are complex; {_REMEDY}")
            with np.errstate(over="ignore"):  # it is refused below
                rows = found.astype(np.float32)
            where = "it"
        else:
            rows, where = _read_csv(path), "a line of it"
    except OSError as error:
        raise KitError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise KitError(
            f"{path} is no recording: not UTF-8 text; save it again as CSV, UTF-8"
        ) from None
    except KitError:
        raise
    except (ValueError, IndexError, MemoryError):  # no number, no row, or a size made up
        raise KitError(f"{path} is no recording: {_REMEDY}") from None
    if np.isinf(rows).any():
        raise KitError(f"{path} is no recording: {where} has a number without end; take it out")
    return rows


def _read_csv(path: str | Path) -> NDArray[np.float32]:
    lines = [(n, line) for n, line in enumerate(_lines(path), 1) if line.strip()]
    lines = [(n, line) for n, line in lines if not line.startswith("#")]
    for n, line in lines[:1]:
        _check_separators(path, n, line)
        if not _is_number(line.split(",")[0].strip()):  # the title
            _check_title(path, line)
            del lines[0]
    lines = [(n, line) for n, line in lines if line != TITLE]  # joined files have several
    if not lines:
        raise KitError(f"{path} is no recording: it has no sample; {_REMEDY}")
    with np.errstate(over="ignore"):  # what is too large is refused as what has no end
        return np.array([_sample(path, n, line) for n, line in lines]).astype(np.float32)


def _check_separators(path: str | Path, n: int, line: str) -> None:
    if ";" in line or "\t" in line:
        raise _wrong(path, n, "put commas between the numbers, and points in them")


def _check_title(path: str | Path, line: str) -> None:
    names = [name.strip().lower() for name in line.split(",")]
    if sorted(names) == sorted(TITLE.split(",")) and names != TITLE.split(","):
        raise KitError(
            f"{path} is no recording: its columns are {','.join(names)}; put them in the order "
            f"{TITLE}"
        )


def _sample(path: str | Path, n: int, line: str) -> list[float]:
    """Six numbers of a line."""
    _check_separators(path, n, line)
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) == AXES + 1 and not cells[-1]:
        raise _wrong(path, n, "take away the comma at its end")
    for cell in cells:
        if not _is_number(cell):
            raise _wrong(path, n, f"{cell[:20]!r} is no number; {_REMEDY}")
    if len(cells) == AXES + 1:
        raise _wrong(path, n, f"has {len(cells)} columns, not {AXES}; take the time column out")
    if len(cells) == 2 * AXES:
        raise _wrong(path, n, "has 12 columns, not 6; put points in the numbers, not commas")
    if len(cells) != AXES:
        raise _wrong(path, n, f"has {len(cells)} columns, not {AXES}; {_REMEDY}")
    return [float(cell) for cell in cells]


def _wrong(path: str | Path, n: int, what: str) -> KitError:
    return KitError(f"{path} is no recording: line {n}: {what}")


def doubts(recording: NDArray[np.float32]) -> str:
    """Say what looks odd in a recording that can be played; empty if nothing does."""
    if len(recording) == 1:
        return "the recording has one sample, so the virtual board never moves"
    size = float(np.nanmedian(np.linalg.norm(recording[:, :3], axis=1)))
    if 0.3 <= size <= 3 or not size > 0:
        return ""
    unit = "m/s2" if 5 < size < 20 else "mg" if 500 < size < 2000 else "another unit"
    return f"the acceleration is about {size:.3g}: is it in {unit}? give g"


def recorded_rate(path: str | Path) -> float | None:
    """Samples per second as the last comment ``# rate: 104 Hz`` of a CSV says; None if none does.

    The file has been read by `read_recording`.
    """
    if Path(path).suffix == ".npy":
        return None
    said = [match[1] for line in _lines(path) if (match := _RATE.match(line))]
    return float(said[-1]) if said and _is_number(said[-1]) else None


def belongs_to_recording(line: str) -> bool:
    """Whether it is six numbers, the title or a comment; whoever sends it may be broken."""
    if line.startswith("#"):
        rate = _RATE.match(line)
        return bool(_COMMENT.fullmatch(line)) and (not rate or _is_rate(rate[1]))
    parts = line.split(",")
    numbers = len(parts) == AXES and all(map(_is_number, parts))
    return line == TITLE or (numbers and not any(abs(float(part)) > _LARGEST for part in parts))


def _lines(path: str | Path) -> list[str]:
    text = Path(path).read_text(encoding="utf-8-sig")
    return [line.rstrip("\r") for line in text.split("\n")]


def _is_rate(text: str) -> bool:
    return _is_number(text) and 0 < float(text) <= FASTEST


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


class Saver:
    """Stores the next block that a sketch sends in a new file, one complete line at a time.

    Parameters
    ----------
    path : path
        The file; made when the block begins.
    belongs : callable
        Lines of the block for which it gives False are left out and counted.

    Attributes
    ----------
    lines, dropped : int
        How many lines were stored, and how many left out.
    begun, done : bool
        Whether the block has begun, and whether nothing more is to come.

    Raises
    ------
    KitError
        If there is such a file, or it cannot be made or written to.
    """

    def __init__(self, path: str | Path, belongs: Callable[[str], bool] = lambda _: True) -> None:
        self.path, self._belongs = Path(path), belongs
        self.lines = self.dropped = 0
        self.begun = self.done = False
        self._file: TextIO | None = None
        self._rest = b""
        self._cut = False  # the begin of this line was dropped: it is too long
        self._check_new()

    def take(self, data: bytes) -> bytes:
        """Take what the sketch sent; returns what is not part of the block."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        others = []
        for line in lines:
            whole, self._cut = not self._cut, False  # the end of a line without end is no line
            if whole and self._takes(line.decode("utf-8", "replace")):
                continue
            others.append(line + b"\n")
        if self.done or len(self._rest) > _LONGEST:
            self._cut = not self.done
            self.dropped += self.begun and self._cut
            others.append(self._rest)
            self._rest = b""
        return b"".join(others)

    def close(self) -> None:
        """End the file where it is, behind the last complete line."""
        self.done = True
        if self._file:
            self._file.close()
            self._file = None

    def _takes(self, line: str) -> bool:
        line = line.rstrip("\r")
        if self.done:
            return False
        if not self.begun:
            if line.startswith(_BEGIN):
                self._begin()
            return self.begun
        if line == _END:
            self.close()
        elif self._belongs(line):
            self._write(line)
        else:
            self.dropped += 1
        return True

    def _check_new(self) -> None:
        if self.path.exists():
            raise KitError(f"{self.path} is already there and stays as it is; choose another name")

    @file_errors("choose a file you can write to")
    def _begin(self) -> None:
        self._check_new()
        self._file = self.path.open("x", buffering=1, encoding="utf-8", newline="\n")
        self.begun = True

    @file_errors("make room for it, or choose another place")
    def _write(self, line: str) -> None:
        assert self._file
        self._file.write(f"{line}\n")
        self.lines += 1
