"""One round: what the server does, what the device does, and what goes between them."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from tinyreptile_lite.errors import KitError, unknown_name
from tinyreptile_lite.lab.diagrams.canvas import arrow, box, cell, place, words
from tinyreptile_lite.lab.plots import BLUE, GREY, VERMILION

WIDTH, HEIGHT = 9.0, 3.7
_SERVER, _DEVICE = 3.2, 5.8  # right edge of the server's box, left edge of the devices'
_LEARNS = {
    "tinyreptile": "2. learns online from its stream:\none sample, one step, forgotten",
    "reptile": "2. keeps all its samples and\npasses over them several times",
    "fedavg": "2. learns online from its stream",
}
_TITLES = {
    "tinyreptile": "TinyReptile: one device a round",
    "reptile": "Reptile: one device a round, which keeps its samples",
    "fedavg": "FedAvg: several devices a round, and their mean",
}


def round_diagram(*strategies: str) -> list[Axes]:
    """Server and devices in one round, with the names used everywhere: phi, phi_hat, outer rate.

    Raises `KitError` if a strategy is unknown.

    Parameters
    ----------
    *strategies : {"tinyreptile", "reptile", "fedavg"}
        Drawn one below the other; by default TinyReptile alone.

    Returns
    -------
    list of Axes
        One for each strategy.
    """
    strategies = strategies or ("tinyreptile",)
    for name in strategies:
        if name not in _TITLES:
            raise unknown_name("strategy", name, _TITLES)
    if len(set(strategies)) < len(strategies):
        raise KitError(f"{', '.join(strategies)}: draw each strategy once")
    figure = plt.figure(figsize=(WIDTH, HEIGHT * len(strategies)))
    axes = []
    for row, name in enumerate(strategies, 1):
        bottom = HEIGHT * (len(strategies) - row)
        axes.append(_one(place(figure, 0, bottom, WIDTH, HEIGHT), name))
    return axes


def _one(ax: Axes, name: str) -> Axes:
    words(ax, (WIDTH / 2, HEIGHT - 0.2), _TITLES[name], fontsize=12, weight="bold")
    box(ax, 0.15, 0.15, _SERVER - 0.15, 3.1, "server")
    if name == "fedavg":
        _mean_update(ax)
        _devices(ax, _LEARNS[name])
    else:
        _update(ax)
        _device(ax, _LEARNS[name], kept=name == "reptile")
    return ax


def _update(ax: Axes) -> None:
    """In the server's box: phi moves part of the way to phi_hat."""
    words(ax, (1.68, 2.3), "4. phi moves a part of the way:\nouter rate * (phi_hat - phi)")
    y, phi, there = 1.2, 0.6, 2.75
    ax.plot([phi, there], [y, y], ":", color=GREY, linewidth=1.5)
    new = phi + 0.45 * (there - phi)
    arrow(ax, (phi, y), (new, y), VERMILION, 4)
    ax.plot(phi, y, "o", color=VERMILION, markersize=9, zorder=5)
    ax.plot(there, y, "s", color=BLUE, markersize=9, markerfacecolor="white", markeredgewidth=2)
    for x, text in ((phi, "phi"), (new, "new phi"), (there, "phi_hat")):
        words(ax, (x, y - 0.3), text)


def _mean_update(ax: Axes) -> None:
    """In the server's box: phi becomes the mean of several phi_hat."""
    words(ax, (1.68, 2.4), "4. phi becomes the mean of all\nphi_hat (outer rate 1)")
    y, phi, mean = 1.25, 0.6, 2.1
    for x, up in ((1.8, 0.6), (2.55, 0.1), (1.95, -0.7)):
        ax.plot([phi, x], [y, y + up], color=BLUE, linewidth=0.8)
        look: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 2, "markersize": 9}
        ax.plot(x, y + up, "s", color=BLUE, **look)
    arrow(ax, (phi, y), (mean, y), VERMILION, 4)
    ax.plot(phi, y, "o", color=VERMILION, markersize=9, zorder=5)
    words(ax, (phi, y - 0.3), "phi")
    words(ax, (mean + 0.02, y - 0.27), "new phi")
    words(ax, (2.55, y + 0.6), "phi_hat")


def _device(ax: Axes, learns: str, kept: bool) -> None:
    width = WIDTH - 0.15 - _DEVICE
    middle = _DEVICE + width / 2
    box(ax, _DEVICE, 0.15, width, 3.1, "one device, drawn at random")
    words(ax, (middle, 2.3), learns)
    _samples(ax, middle, kept)
    words(ax, (middle, 0.42), "its own samples never leave it")
    arrow(ax, (_SERVER, 2.55), (_DEVICE, 2.55), VERMILION, 2.5)
    arrow(ax, (_DEVICE, 0.95), (_SERVER, 0.95), BLUE, 2.5)
    centre = (_SERVER + _DEVICE) / 2
    words(ax, (centre, 2.78), "1. phi goes out")
    words(ax, (centre, 1.18), "3. phi_hat comes back")
    words(ax, (centre, 0.72), "weights only", color=GREY)


def _samples(ax: Axes, middle: float, kept: bool) -> None:
    """Samples as small squares: they pass one by one, or stay together in the device."""
    y, size = 1.2, 0.26
    if kept:
        for i in range(6):
            cell(ax, middle - 0.96 + 0.33 * i, y - size / 2, size, size, facecolor=GREY)
        return
    for i in range(3):
        cell(ax, middle - 1.4 + 0.36 * i, y - size / 2, size, size)
    arrow(ax, (middle - 0.3, y), (middle + 0.02, y), width=1.2)
    cell(ax, middle + 0.06, y - size / 2, size, size, facecolor=GREY)
    arrow(ax, (middle + 0.36, y), (middle + 0.68, y), width=1.2)
    for i in range(2):  # gone
        left = middle + 0.72 + 0.36 * i
        cell(ax, left, y - size / 2, size, size, linestyle=":", edgecolor=GREY)


def _devices(ax: Axes, learns: str) -> None:
    width, height, centre = WIDTH - 0.15 - _DEVICE, 0.94, (_SERVER + _DEVICE) / 2
    for i, bottom in enumerate((2.31, 1.23, 0.15)):
        box(ax, _DEVICE, bottom, width, height, f"device {'ABC'[i]}")
        words(ax, (_DEVICE + width / 2, bottom + 0.33), learns)
        arrow(ax, (_SERVER, bottom + 0.66), (_DEVICE, bottom + 0.66), VERMILION, 2)
        arrow(ax, (_DEVICE, bottom + 0.22), (_SERVER, bottom + 0.22), BLUE, 2)
        words(ax, (centre, bottom + 0.81), "1. phi")
        words(ax, (centre, bottom + 0.38), f"3. phi_hat of {'ABC'[i]}")
