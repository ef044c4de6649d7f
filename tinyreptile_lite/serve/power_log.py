"""The log of a real power meter: read from CSV, and lined up with the visits of a journal.

A log has a column of time and one of current, each with its unit in the header, as the programs of
the PPK2 (``Timestamp(ms),Current(uA),D0-D7``), Joulescope and Otii write them, or a hand
(``time,mA``). A column of voltage and columns of digital channels may be there. The sketch
FederatedClient raises pin D2 while it learns. If that pin is wired to a digital channel, the n-th
pulse is the n-th visit; else the times in the journal tell when a visit was.
"""

import csv
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinyreptile_lite.energy import EnergyModel
from tinyreptile_lite.errors import KitError, file_errors, unknown_name

Record = dict[str, Any]
Span = tuple[float, float]  # seconds: begin and end
_SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_AMPERES = {"a": 1.0, "ma": 1e-3, "ua": 1e-6, "na": 1e-9}
_VOLTS = {"v": 1.0, "mv": 1e-3, "uv": 1e-6}
_HEADER_ROWS = 40  # in which the header must come
_EXAMPLE = "time (s),current (mA)"
_CALENDAR = 1e9  # seconds: a clock beyond that counts from 1970


class _Column(NamedTuple):
    place: int
    scale: float  # to SI


@dataclass(frozen=True)
class PowerLog:
    """What a power meter has measured.

    Attributes
    ----------
    path : Path
    seconds, joules : ndarray, shape (samples,)
        Time, and the energy since the beginning.
    changes : list of (int, tuple of bool)
        The sample from which on the digital channels had these levels.
    channels : tuple of str
        Their names.
    """

    path: Path
    seconds: np.ndarray
    joules: np.ndarray
    changes: list[tuple[int, tuple[bool, ...]]]
    channels: tuple[str, ...]

    def between(self, span: Span) -> float:
        """Joules in a span of time, in a straight line between two samples."""
        first, last = np.interp(span, self.seconds, self.joules)
        return float(last - first)

    def covers(self, span: Span) -> bool:
        """Whether the whole span was measured."""
        return bool(self.seconds[0] <= span[0] and span[1] <= self.seconds[-1])

    def pulses(self, channel: str | None = None) -> tuple[list[Span], bool]:
        """Return when a channel was high, and whether it was so from the beginning.

        A pulse of which the log has no begin or no end is left out. By default it is the one
        channel that changes. Raises `KitError` if there is none, or if several do.
        """
        place = self._find(channel)
        levels = [(at, levels[place]) for at, levels in self.changes]
        edges = [
            (self.seconds[at], level)
            for (at, level), (_, before) in zip(levels[1:], levels, strict=False)
            if level != before
        ]
        rises = [float(when) for when, level in edges if level]
        falls = [float(when) for when, level in edges if not level]
        begun_high = levels[0][1]
        return list(zip(rises, falls[begun_high:], strict=False)), begun_high

    def _find(self, channel: str | None) -> int:
        names = dict(zip(map(str.lower, self.channels), range(len(self.channels)), strict=True))
        if channel is not None and channel.lower() not in names:
            raise unknown_name("digital channel", channel, self.channels)
        moving = [
            place
            for place in range(len(self.channels))
            if len({levels[place] for _, levels in self.changes}) > 1
        ]
        if channel is not None:
            moving = [names[channel.lower()]] if names[channel.lower()] in moving else []
        if not moving:
            raise KitError(
                f"{self.path} has no pulse of the marker; wire the board's pin D2 to a digital "
                "input of the meter and ground to ground, and export its digital channels"
            )
        if len(moving) > 1:
            shown = ", ".join(self.channels[place] for place in moving)
            raise KitError(f"several channels of {self.path} change: {shown}; give one: --channel")
        return moving[0]


# ---- Reading -------------------------------------------------------------------------------------


def read_power_log(path: Path, volts: float = 3.0, progress: bool = False) -> PowerLog:
    """Read the log of a power meter.

    Parameters
    ----------
    path : Path
        A CSV file, with commas, semicolons (then a comma may stand in numbers) or tabs.
    volts : float
        The supply, where the log has no voltage.
    progress : bool
        Show a bar.

    Raises
    ------
    KitError
        If it cannot be read, is empty, has no known header or unit, holds what is no number, or its
        clock runs backwards. The sentence names the line.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise KitError(f"{path} is no file; name the CSV file that the power meter's program wrote")
    with (
        file_errors("name the CSV file that the power meter's program has exported"),
        path.open(encoding="utf-8-sig", errors="replace", newline="") as file,
    ):
        comma = "," if ";" not in (start := file.read(4096)) else ";"
        comma = "\t" if "\t" in start and comma == "," and start.count("\t") > 1 else comma
        file.seek(0)
        try:
            return _read(path, csv.reader(file, delimiter=comma), comma, volts, progress)
        except csv.Error as error:
            raise KitError(f"{path} is no CSV file ({error}); export it again") from None


def _read(path: Path, rows: Any, comma: str, volts: float, progress: bool) -> PowerLog:
    from tqdm.auto import tqdm  # imported late: in Jupyter it loads the widgets

    header = _header(path, rows)
    time, current, voltage, digital = _columns(path, header)
    channels = _channels(header, digital)
    seconds, watts = array("d"), array("d")
    changes: list[tuple[int, tuple[bool, ...]]] = []
    bits: Sequence[str] = ()
    for cells in tqdm(rows, f"reading {path.name}", unit=" lines", disable=not progress):
        if not any(cells):
            continue
        try:
            now = _number(cells[time.place], comma) * time.scale
            power = _number(cells[current.place], comma) * current.scale
            power *= _number(cells[voltage.place], comma) * voltage.scale if voltage else volts
            found = [cells[place] for place in digital]
        except (IndexError, ValueError):
            shown = comma.join(cells)[:40]
            raise KitError(
                f"{path}, line {rows.line_num}: {shown!r} is not a row of numbers under "
                f"{comma.join(header)!r}; export the log again"
            ) from None
        if seconds and now < seconds[-1]:
            raise KitError(
                f"{path}, line {rows.line_num}: the clock runs backwards, from {seconds[-1]:g} to "
                f"{now:g} s; export one recording in one piece"
            )
        if found != bits:
            bits = found
            changes.append((len(seconds), _levels(path, rows.line_num, found, len(channels))))
        seconds.append(now)
        watts.append(power)
    if len(seconds) < 2:
        raise KitError(f"{path} has {len(seconds)} measurements; export a log of the whole run")
    times, drawn = np.array(seconds), np.array(watts)
    joules = np.concatenate([[0.0], np.cumsum(np.diff(times) * (drawn[1:] + drawn[:-1]) / 2)])
    return PowerLog(path, times, joules, changes, channels)


def _number(text: str, comma: str) -> float:
    value = float(text.replace(",", ".") if comma == ";" else text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _header(path: Path, rows: Iterator[list[str]]) -> list[str]:
    """Find the row that names the columns; what stands before it is the meter's own."""
    for _, cells in zip(range(_HEADER_ROWS), rows, strict=False):
        names = [cell.strip().lstrip("#").strip() for cell in cells]
        kinds = set(map(_kind, names))
        if "time" in kinds and len(names) > 1 and kinds & {"current", "amperes"}:
            return names
    raise KitError(
        f"{path} has no header with time and current; let its first line be for example {_EXAMPLE}"
    )


def _split(name: str) -> tuple[str, str]:
    """Split a column's name in words and unit, in small letters: "Current(uA)", "time_ms", "mA"."""
    name = re.sub("[\u00b5\u03bc\ufffd]", "u", name.lower()).strip()
    found = re.fullmatch(r"(.*?)\s*[(\[]\s*([^()\[\]]*?)\s*[)\]]", name)
    if found is None:
        found = re.fullmatch(r"(?:(.*?)[\s_]+)?([mun]?[sav]|sec|seconds)", name)
    return (found[1] or "", found[2]) if found else (name, "")


def _kind(name: str) -> str:
    words, unit = _split(name)
    if re.fullmatch(r"d\d|d\d-d\d|bits|gpi\W*\d\W*", name.lower()):
        return "digital"
    if "time" in words or (words in ("t", "") and unit in _SECONDS):
        return "time"
    if re.search(r"current|\bi\b|\bamp", words) or (not words and unit in _AMPERES):
        return "current"
    if "volt" in words or (words in ("u", "v", "") and unit in _VOLTS):
        return "voltage"
    return ""


def _columns(
    path: Path, header: Sequence[str]
) -> tuple[_Column, _Column, _Column | None, list[int]]:
    """Find time, current, voltage and digital channels; raises `KitError` for unknown units."""
    kinds = list(map(_kind, header))

    def column(kind: str, units: dict[str, float], usual: str = "") -> _Column:
        place = kinds.index(kind)
        unit = _split(header[place])[1] or usual
        if unit not in units:
            known = ", ".join(units)
            raise KitError(
                f"{path}: the column {header[place]!r} has no unit that is known ({known}); name "
                f"it in the header, as in {_EXAMPLE}"
            )
        return _Column(place, units[unit])

    voltage = column("voltage", _VOLTS) if "voltage" in kinds else None
    digital = [place for place, kind in enumerate(kinds) if kind == "digital"]
    return column("time", _SECONDS, "s"), column("current", _AMPERES), voltage, digital


def _channels(header: Sequence[str], digital: Sequence[int]) -> tuple[str, ...]:
    """Name the digital channels; all eight may share a column."""
    names = [header[place] for place in digital]
    eight = [f"D{place}" for place in range(8)]
    if names and names[0].lower() == "bits":  # a binary number
        return tuple(reversed(eight))
    return tuple(eight if "-" in "".join(names) else names)


def _levels(path: Path, line: int, cells: Sequence[str], count: int) -> tuple[bool, ...]:
    digits = "".join(cell.strip() for cell in cells)
    if len(digits) != count or set(digits) - {"0", "1"}:
        raise KitError(
            f"{path}, line {line}: {digits!r} are no levels of {count} digital channels; export "
            "them as 0 and 1"
        )
    return tuple(digit == "1" for digit in digits)


# ---- Lining up -----------------------------------------------------------------------------------


def visits_of(records: Sequence[Record], path: Path, board: str | None = None) -> list[Record]:
    """Choose from a journal the visits in which one board has learned: the one that was measured.

    Raises `KitError` if it is not said which one that is, or if it has none.
    """
    visits = [record for record in records if record.get("event") == "spent" and record["learned"]]
    names = list(dict.fromkeys(record["board"] for record in visits))
    if board is not None and board not in names:
        raise unknown_name("board", board, names)
    if board is None and len(names) > 1:
        raise KitError(
            f"{len(names)} boards have learned; say which one the meter was on, with --board: "
            f"{', '.join(names[:8])}{', ...' * (len(names) > 8)}"
        )
    if not visits:
        raise KitError(f"no board has learned in {path}; start the server first")
    return [record for record in visits if board in (None, record["board"])]


def line_up(
    log: PowerLog,
    visits: Sequence[Record],
    model: EnergyModel,
    channel: str | None = None,
    first: int | None = None,
    offset: float | None = None,
) -> list[Record]:
    """Put what was measured in each visit beside what is modelled for it.

    By the marker, if the log has digital channels and no `offset` is given: a pulse lasts while the
    board learns, so it is compared with the learning alone. Else by the times in the journal: then
    with the whole visit, the radio included.

    Parameters
    ----------
    log, visits, model
        The idle current is that of the model.
    channel : str, optional
        Of the marker; see `PowerLog.pulses`.
    first : int, optional
        The visit, counted from 1, to which the first pulse belongs.
    offset : float, optional
        The log's time, in seconds, at which the first visit of the journal began. By default 0, or
        the journal's own time where the log's clock counts from 1970.

    Returns
    -------
    list of dict
        A row for each visit: ``visit``, ``round``, ``board``, ``seconds``, ``measured_joules``,
        ``modelled_joules`` and ``modelled_idle_joules``.

    Raises
    ------
    KitError
        If nothing can be lined up.
    """
    if offset is None and log.channels:
        spans, modelled = _by_marker(log, visits, channel, first), "modelled_learning_joules"
    else:
        spans, modelled = _by_time(log, visits, offset), ""
    return [
        {
            "visit": number + 1,
            "round": visits[number]["round"],
            "board": visits[number]["board"],
            "seconds": span[1] - span[0],
            "measured_joules": log.between(span),
            "modelled_joules": visits[number][modelled] if modelled else _work(visits[number]),
            "modelled_idle_joules": model.idle(span[1] - span[0]),
        }
        for number, span in spans
    ]


def _work(visit: Record) -> float:
    return sum(joules for part, joules in visit["modelled_joules"].items() if part != "idle")


def _by_marker(
    log: PowerLog, visits: Sequence[Record], channel: str | None, first: int | None
) -> list[tuple[int, Span]]:
    pulses, begun_high = log.pulses(channel)
    if begun_high and first is None:
        raise KitError(
            f"{log.path} begins in the middle of a visit; start the meter before the server, or "
            "say with --first-visit which visit the first whole pulse is"
        )
    skipped = (first or 1) - 1
    if skipped + len(pulses) > len(visits):
        raise KitError(
            f"{log.path} has {len(pulses)} pulses of the marker, but the journal has "
            f"{max(0, len(visits) - skipped)} visits of the board from visit {skipped + 1} on; "
            "cut from the log what does not belong to this run"
        )
    return list(enumerate(pulses, start=skipped))


def _by_time(
    log: PowerLog, visits: Sequence[Record], offset: float | None
) -> list[tuple[int, Span]]:
    zero = visits[0]["begun"]
    if offset is None:
        offset = zero if log.seconds[0] > _CALENDAR else 0.0
    begins = [visit["begun"] - zero + offset for visit in visits]
    spans = [(begin, begin + visit["seconds"]) for begin, visit in zip(begins, visits, strict=True)]
    found = [(number, span) for number, span in enumerate(spans) if log.covers(span)]
    if not found:
        raise KitError(
            f"{log.path} goes from {log.seconds[0]:g} to {log.seconds[-1]:g} s and holds no visit: "
            f"they go from {spans[0][0]:g} to {spans[-1][1]:g} s; say with --offset at which of "
            "the log's seconds the first visit began"
        )
    return found
