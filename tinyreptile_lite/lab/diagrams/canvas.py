"""A sheet measured in inches, on which boxes, arrows and words are put."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.patheffects import withStroke

INK = "#222222"
PALE = "#F4F4F4"

Point = tuple[float, float]


def sheet(width: float, height: float) -> Axes:
    """Axes that fill a new figure; one unit is an inch, so that words of one size always fit."""
    figure = plt.figure(figsize=(width, height))
    return place(figure, 0, 0, width, height)


def place(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes without frame at this place of a figure, all in inches."""
    whole_width, whole_height = figure.get_size_inches()
    part = left / whole_width, bottom / whole_height, width / whole_width, height / whole_height
    ax = figure.add_axes(part)
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.set_axis_off()
    return ax


def box(ax: Axes, left: float, bottom: float, width: float, height: float, title: str) -> None:
    """A rounded box with its title at the top."""
    shape = "round,pad=0,rounding_size=0.12"
    style: dict[str, Any] = {"facecolor": PALE, "edgecolor": INK, "linewidth": 1.5}
    ax.add_patch(FancyBboxPatch((left, bottom), width, height, boxstyle=shape, **style))
    top = bottom + height - 0.1
    words(ax, (left + width / 2, top), title, va="top", weight="bold")


def words(ax: Axes, at: Point, text: str, **style: Any) -> None:
    """Text in the middle of a point, unless the style says otherwise."""
    usual: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 10.5, "color": INK}
    ax.text(*at, text, **(usual | style))


def arrow(ax: Axes, start: Point, end: Point, colour: str = INK, width: float = 2.0) -> None:
    """An arrow from one point to another."""
    look = {"arrowstyle": "-|>", "color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0}
    halo = [
        withStroke(linewidth=width + 2, foreground="white")
    ]  # it stays clear of what it crosses
    more = {"mutation_scale": 10 + 2.5 * width, "path_effects": halo}
    ax.annotate("", end, start, arrowprops=look | more)


def cell(ax: Axes, left: float, bottom: float, width: float, height: float, **style: Any) -> None:
    """A rectangle with a thin edge."""
    usual: dict[str, Any] = {"edgecolor": INK, "linewidth": 0.8, "facecolor": "white"}
    ax.add_patch(Rectangle((left, bottom), width, height, **(usual | style)))
