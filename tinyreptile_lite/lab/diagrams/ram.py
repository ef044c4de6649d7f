"""A map of the board's RAM, to scale, and a magnified one of its small parts."""

from collections.abc import Mapping
from numbers import Integral

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.lab.diagrams.canvas import INK, cell, place, words
from tinyreptile_lite.lab.plots import COLOURS, GREY
from tinyreptile_lite.nano.image import RAM_BYTES

WIDTH = 9.0
LONG = WIDTH - 0.4  # inches of the whole RAM
_SMALL = 0.05  # a part below this share of the RAM is in the magnified map
_LETTER, _LINE = 0.09, 0.27  # inches a letter is wide, a line of the list is high
_HATCHES = ("", "//", "..", "xx", "\\\\", "++")


def ram_map(sizes: Mapping[str, int], total: int = RAM_BYTES) -> list[Axes]:
    """All of the RAM as one bar to scale, below it the small parts magnified, and a list of all.

    The parts are drawn in order of their size, not of their addresses; what is left is free.

    Raises `KitError` if a size is no positive whole number, or they are more than there is.

    Parameters
    ----------
    sizes : mapping of str to int
        Bytes by name, for example "weights", "workspace", "stack".
    total : int
        Bytes of RAM that the board has.

    Returns
    -------
    list of Axes
        The whole map, then the magnified one if there are small parts. Each is as many units long
        as it shows bytes.
    """
    parts = _checked(sizes, total)
    small = {name: size for name, size in parts.items() if size < _SMALL * total}
    height = 1.45 + 1.8 * bool(small) + _LINE * (len(parts) + 1)
    figure = plt.figure(figsize=(WIDTH, height))
    sheet = place(figure, 0, 0, WIDTH, height)
    words(sheet, (WIDTH / 2, height - 0.25), f"RAM: {total:,} bytes, to scale", **_TITLE)
    looks = {name: _look(i) for i, name in enumerate(parts)}
    axes = [_bar(figure, height - 1.25, parts, total, looks)]
    if small:
        axes.append(_bar(figure, height - 3.05, small, sum(small.values()), looks))
        _magnify(sheet, height - 1.25, height - 3.05, sum(small.values()) / total)
    _list(sheet, parts | {"free": total - sum(parts.values())}, looks, total)
    return axes


_TITLE = {"fontsize": 12, "weight": "bold"}
_BAR = 0.6  # inches high
_Looks = dict[str, dict[str, str]]


def _checked(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """The parts by size, the smallest first."""
    for name, size in sizes.items():
        if not isinstance(size, Integral) or size < 1:
            raise KitError(f"the part {name!r} has {size!r} bytes; give a whole number above 0")
    needed = sum(sizes.values())
    if not sizes or needed > total:
        raise KitError(
            f"{len(sizes)} parts with {needed:,} bytes in {total:,} bytes of RAM; "
            "give at least one, and no more than fit"
        )
    return {name: int(sizes[name]) for name in sorted(sizes, key=lambda name: sizes[name])}


def _look(i: int) -> dict[str, str]:
    return {"facecolor": COLOURS[i % 6], "hatch": _HATCHES[i % 6], "edgecolor": "white"}


def _bar(figure: Figure, bottom: float, parts: dict[str, int], end: int, looks: _Looks) -> Axes:
    """The parts one behind the other; the bar is ``end`` bytes long."""
    ax = place(figure, (WIDTH - LONG) / 2, bottom, LONG, _BAR)
    ax.set(xlim=(0, end), ylim=(0, 1))
    at = 0
    for name, size in parts.items():
        cell(ax, at, 0, size, 1, **looks[name], linewidth=0)
        inches = size / end * LONG
        if inches > _LETTER * len(name) + 0.1:
            back = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
            words(ax, (at + size / 2, 0.5), name, bbox=back)
        at += size
    if end - at > 0.1 * end:
        words(ax, ((at + end) / 2, 0.5), f"free: {end - at:,} bytes")
    cell(ax, 0, 0, end, 1, fill=False, linewidth=1.5, clip_on=False)
    return ax


def _magnify(sheet: Axes, above: float, below: float, share: float) -> None:
    """Lines from the small parts in the whole map to the ends of the magnified one."""
    left, right = (WIDTH - LONG) / 2, (WIDTH + LONG) / 2
    for start, end in ((left, left), (left + share * LONG, right)):
        sheet.plot([start, end], [above, below + _BAR], "--", color=GREY, linewidth=1.2)
    text = f"the small parts, {1 / share:.0f} times as large"
    words(sheet, (left + 0.15, (above + below + _BAR) / 2 - 0.3), text, ha="left")


def _list(sheet: Axes, parts: dict[str, int], looks: _Looks, total: int) -> None:
    looks = looks | {"free": {"facecolor": "white", "edgecolor": INK}}
    for row, (name, size) in enumerate(reversed(parts.items()), 1):
        y = _LINE * (len(parts) - row) + 0.22
        cell(sheet, 0.2, y - 0.08, 0.4, 0.17, **looks[name], linewidth=0.8)
        words(sheet, (0.75, y), name, ha="left")
        words(sheet, (4.4, y), f"{size:,} bytes", ha="right")
        words(sheet, (5.4, y), f"{size / total:.2%}", ha="right")
