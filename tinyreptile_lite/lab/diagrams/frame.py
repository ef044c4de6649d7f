"""A frame as it goes over the wire: byte by byte, each field with its name and value."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.lab.diagrams.canvas import INK, cell, sheet, words
from tinyreptile_lite.lab.plots import COLOURS
from tinyreptile_lite.wire import frames

BYTE = 0.4  # inches a byte is wide
_GAP, _LEFT, _ROOM = 1.6, 1.1, 0.2  # inches: what is left out, words before a row, room above it
_NAMES, _LEVEL, _LETTER = 1.05, 0.42, 0.1  # inches: where names begin, high and wide as they are
ROW = 24  # bytes in a row
SHOWN = 3 * ROW  # of a longer frame the middle is left out
_ENDS = 15, 12  # payload bytes shown then before and behind the gap


class _Field(NamedTuple):
    """A part of the payload: what it is called, its value in words, its bytes."""

    name: str
    value: str
    size: int


class _Byte(NamedTuple):
    """A byte of the frame, and the byte of the payload above it; -1 where there is none."""

    sent: int
    payload: int  # position
    added: bool  # by the stuffing, or the zero at the end


def frame_diagram(frame: bytes) -> Axes:
    """The bytes of a frame, drawn to scale: below as they are sent, above the payload in them.

    A zero of the payload stands above the COBS byte that takes its place. Of a long chunk the
    middle is left out, and the gap says how many bytes it has.

    Raises `KitError` unless it is one whole, undamaged frame.

    Parameters
    ----------
    frame : bytes
        For example from ``frames.encode(message)``.
    """
    message = _read(frame)
    payload = frames.unstuff(frame[:-1])
    fields = list(_fields(message))
    rows = list(_rows(list(aligned(frame, payload))))
    names = [_levels(fields, row) for row in rows]
    high = _NAMES + _LEVEL * (1 + max(each.level for row in names for each in row)) + _ROOM
    width = max(map(_width, rows)) + _LEFT + 0.15
    ax = sheet(max(width, 7.5), 0.85 + high * len(rows))
    middle, top = ax.get_xlim()[1] / 2, ax.get_ylim()[1]
    title = f"{_name(message)}: a frame of {len(frame):,} bytes"
    words(ax, (middle, top - 0.25), title, fontsize=12, weight="bold")
    for i, (row, named) in enumerate(zip(rows, names, strict=True), 1):
        bottom = top - 0.4 - high * i
        _draw_row(ax, bottom, row, payload, fields)
        for each in named:
            _draw_name(ax, each, bottom + 1.0)
    words(
        ax, (middle, 0.2), "dark: put in by COBS, also where a zero was; the last 00 ends the frame"
    )
    return ax


def _read(frame: bytes) -> frames.Message:
    decoder = frames.Decoder()
    found = decoder.feed(bytes(frame))
    if len(found) != 1 or decoder.damaged or frame[-1:] != frames.DELIMITER or frame[:1] == b"\0":
        raise KitError(
            f"these {len(frame)} bytes hold {len(found)} whole and {decoder.damaged} damaged "
            "frames; give one whole frame, as frames.encode returns it"
        )
    try:
        return frames.parse(found[0])
    except frames.FrameError as error:
        raise KitError(
            f"the frame holds no message: {error}; give one of wire version 1 or 2"
        ) from None


def _fields(message: frames.Message) -> Iterator[_Field]:
    """Names, values and sizes, in the order of the payload."""
    yield _Field("version", str(message.VERSION), 1)
    yield _Field("kind", f"{message.KIND} {_name(message)}", 1)
    sizes = [struct.calcsize("<" + part) for part in _codes(message.LAYOUT)]
    for (name, value), size in zip(vars(message).items(), [*sizes, 0], strict=False):
        if isinstance(message, frames.Chunk) and name == "data":
            yield _Field("weights", _floats(value), len(value))
        else:
            yield _Field(name, _short(value), size)
    yield _Field("CRC-32", "checksum", frames.CHECK_BYTES)


def _name(message: frames.Message) -> str:
    """The name of its kind: that of both versions."""
    return frames.MESSAGES[message.KIND].__name__.upper()


def _codes(layout: str) -> Iterator[str]:
    """The codes of a `struct` layout, a count with the code that it counts."""
    count = ""
    for letter in layout.lstrip("<"):
        if letter.isdigit():
            count += letter
        else:
            yield count + letter
            count = ""


def _floats(data: bytes) -> str:
    values = struct.unpack(f"<{len(data) // 4}f", data)
    if len(values) > 3:
        return f"{len(values)} of 4 bytes each"
    return ", ".join(f"{value:g}" for value in values)


def _short(value: object) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return f"{value:.3g}" if isinstance(value, float) else f"{value}"


def aligned(frame: bytes, payload: bytes) -> Iterator[_Byte]:
    """Each byte of the frame with the payload byte that it carries or stands for."""
    at, place, for_zero = 0, 0, False
    while at < len(frame) - 1:
        code = frame[at]
        yield _Byte(code, place if for_zero else -1, added=True)
        place += for_zero
        for sent in frame[at + 1 : at + code]:
            yield _Byte(sent, place, added=False)
            place += 1
        for_zero = code < 255  # a full run stands for no zero
        at += code
    yield _Byte(frame[-1], -1, added=True)


Row = list[_Byte | int]  # an int is a gap of so many bytes


def _rows(line: list[_Byte]) -> Iterator[Row]:
    if len(line) > SHOWN:
        first, last = line[: _ENDS[0]], line[-_ENDS[1] :]
        yield [*first, len(line) - len(first) - len(last), *last]
        return
    count = -(-len(line) // ROW)
    even = -(-len(line) // count)  # so that the last row is about as long as the others
    for start in range(0, len(line), even):
        yield [*line[start : start + even]]


def _width(row: Row) -> float:
    return sum(_GAP if isinstance(each, int) else BYTE for each in row)


def _placed(row: Row) -> Iterator[tuple[float, _Byte | int]]:
    """Each byte of a row, and where it begins."""
    x = _LEFT
    for each in row:
        yield x, each
        x += _GAP if isinstance(each, int) else BYTE


def _owners(fields: list[_Field]) -> list[int]:
    """For each byte of the payload the place of its field."""
    return [i for i, field in enumerate(fields) for _ in range(field.size)]


def _draw_row(ax: Axes, bottom: float, row: Row, payload: bytes, fields: list[_Field]) -> None:
    words(ax, (0.1, bottom + 0.7), "payload", ha="left")
    words(ax, (0.1, bottom + 0.2), "on the wire", ha="left")
    owners = _owners(fields)
    for x, each in _placed(row):
        if isinstance(each, int):
            words(ax, (x + _GAP / 2, bottom + 0.45), f"… {each:,} bytes …")
            continue
        _draw_sent(ax, x, bottom, each)
        if each.payload >= 0:
            owner = owners[each.payload]
            _draw_payload(ax, x, bottom + 0.5, payload[each.payload], owner)


class _Name(NamedTuple):
    """The name of a field, with its value, over its bytes from left to right."""

    text: str
    left: float
    right: float
    level: int  # 0 is right above the bytes


def _levels(fields: list[_Field], row: Row) -> list[_Name]:
    """The names of a row: as low as there is room, so that none lies on another one."""
    owners, ends = _owners(fields), dict[int, tuple[float, float]]()
    for x, each in _placed(row):
        if not isinstance(each, int) and each.payload >= 0:
            owner = owners[each.payload]
            ends[owner] = ends.get(owner, (x, x))[0], x + BYTE
    names: list[_Name] = []
    taken: list[tuple[int, float, float]] = []  # level, from, to
    for owner, (left, right) in ends.items():
        field, middle = fields[owner], (left + right) / 2
        half = _LETTER * max(len(field.name), len(field.value)) / 2
        level = 0
        while any(
            at == level and start < middle + half and middle - half < end
            for at, start, end in taken
        ):
            level += 1
        taken += [(level, middle - half, middle + half)]
        taken += [(below, middle - 0.05, middle + 0.05) for below in range(level)]  # its line
        names.append(_Name(f"{field.name}\n{field.value}", left, right, level))
    return names


def _draw_sent(ax: Axes, x: float, y: float, each: _Byte) -> None:
    cell(ax, x, y, BYTE, 0.4, facecolor=INK if each.added else "white")
    colour = "white" if each.added else INK
    words(ax, (x + BYTE / 2, y + 0.2), f"{each.sent:02x}", color=colour, family="monospace")


def _draw_payload(ax: Axes, x: float, y: float, byte: int, owner: int) -> None:
    """In the tint of its field; neighbours differ in grey as well."""
    share = 0.5 if owner % 2 else 0.2
    colour = to_rgba(COLOURS[owner % len(COLOURS)])
    tint = tuple(1 - share * (1 - part) for part in colour[:3])
    cell(ax, x, y, BYTE, 0.4, facecolor=tint)
    words(ax, (x + BYTE / 2, y + 0.2), f"{byte:02x}", family="monospace")


def _draw_name(ax: Axes, name: _Name, y: float) -> None:
    """Name and value over a bracket, and a line to them if they stand higher."""
    left, right, middle = name.left + 0.05, name.right - 0.05, (name.left + name.right) / 2
    ax.plot([left, left, right, right], [y - 0.05, y, y, y - 0.05], color=INK, linewidth=1)
    foot = y + 0.05 + _LEVEL * name.level
    if name.level:
        ax.plot([middle, middle], [y, foot], color=INK, linewidth=0.8)
    words(ax, (middle, foot), name.text, va="bottom", fontsize=11)
