"""Pictures of runs and devices, each drawn on one Axes.

Every function takes plain numbers and an ``ax`` (a new figure without one), draws, and returns the
Axes (or, for `plot_windows`, an array of them). A ``metric`` is "mse" or "accuracy". Colours are
those of Okabe and Ito, which colour-blind people can tell apart; the light ones are darker here,
to stand out from white by 3:1. A strategy has the same colour, marker and line in every picture, so
that it is known in grey as well. End a cell with `show`, which keeps the picture in words.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter

from tinyreptile_lite import sound
from tinyreptile_lite.errors import KitError, file_errors, unknown_name
from tinyreptile_lite.federation import History
from tinyreptile_lite.lab.alt import show
from tinyreptile_lite.tasks.base import Task

Array = np.ndarray

__all__ = [
    "look",
    "plot_adaptation",
    "plot_common_curves",
    "plot_history",
    "plot_per_device",
    "plot_rows",
    "plot_sine_adaptation",
    "plot_windows",
    "save",
    "show",
    "style",
]

BLACK, ORANGE, SKY, GREEN = "#000000", "#B87A00", "#288CC2", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#8F8500", "#0072B2", "#D55E00", "#BC5F92"
GREY = "#767676"

DASHES = (0, (6, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (6, 2, 1, 2, 1, 2)), (0, (2, 2))
STYLES = {
    "tinyreptile": (VERMILION, "o", "-"),
    "reptile": (BLUE, "s", DASHES[0]),
    "reptile-batched": (PURPLE, "D", DASHES[2]),
    "reptile-adam": (SKY, "^", DASHES[1]),
    "fedavg": (GREEN, "v", DASHES[3]),
    "fedsgd": (ORANGE, "P", DASHES[4]),
    "joint": (BLACK, "X", (0, (12, 2))),
    "scratch": (GREY, "*", (0, (3, 1, 1, 1))),
    "prototype": (YELLOW, "h", (0, (1, 3))),
}
SPARE_STYLES = [
    (YELLOW, "<", (0, (9, 3, 1, 3))),
    (BLACK, ">", (0, (4, 4))),
    (PURPLE, "p", (0, (8, 1, 2, 1))),
    (BLUE, "d", (0, (3, 1, 1, 1, 1, 1))),
    (GREEN, "H", (0, (12, 2, 3, 2))),
]
# For curves that are no strategies: look number i in every picture.
COLOURS = (VERMILION, BLUE, GREEN, PURPLE, ORANGE, SKY)
LINES = ("-", *DASHES)
MARKERS = "osD^vP"

BARE: dict[str, Any] = {"fontsize": "small", "frameon": False, "handlelength": 3}  # of legends
SCORE_LABELS = {"mse": "mean squared error", "accuracy": "accuracy"}


def style(strategy: str) -> dict[str, Any]:
    """Colour, marker and line of a strategy: fixed for known names, by spelling for any other."""
    spare = SPARE_STYLES[sum(strategy.encode()) % len(SPARE_STYLES)]
    colour, marker, line = STYLES.get(strategy, spare)
    return {"color": colour, "marker": marker, "linestyle": line}


def look(place: int) -> dict[str, Any]:
    """Colour and line of curve number ``place`` where no strategies are compared."""
    return {"color": COLOURS[place % 6], "linestyle": LINES[place % 6]}


def plot_adaptation(
    rows: Sequence[Mapping[str, Any]], metric: str, ax: Axes | None = None, unit: str = "samples"
) -> Axes:
    """Score on new devices against the samples they adapted to, one line for each strategy.

    Raises `KitError` if there are no rows, or the metric is unknown.

    Parameters
    ----------
    rows : sequence of mapping
        As in ``tinyreptile compare --json``: each has "strategy" and "adapted_samples", which
        leads from a number of samples to "mean" and "ci95" (half the width of the band).
    metric : {"mse", "accuracy"}
        "mse" gets a logarithmic axis.
    unit : str
        What one sample is called, for example "windows".
    """
    if not rows:
        raise KitError("there are 0 rows to plot; compare at least one strategy")
    ax = _axes(ax)
    for row in rows:
        scores = row["adapted_samples"].items()
        points = sorted((int(count), score["mean"], score["ci95"]) for count, score in scores)
        counts, mean, spread = np.array(points).T
        own = style(row["strategy"])
        ax.plot(counts, mean, label=row["strategy"], markersize=6, **own)
        # A logarithmic axis has no place for zero.
        low = np.maximum(mean - spread, mean / 10) if metric == "mse" else mean - spread
        ax.fill_between(counts, low, mean + spread, color=own["color"], alpha=0.2, linewidth=0)
    _count_axis(ax, sorted({int(count) for row in rows for count in row["adapted_samples"]}))
    ax.set_xlabel(f"{unit} the new device has learned from")
    if metric == "mse":
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_locator(NullLocator())
    _score_axis(ax.yaxis, metric)
    _legend_outside(ax)
    return ax


def plot_sine_adaptation(task: Task, curves: Mapping[int, Array], ax: Axes | None = None) -> Axes:
    """One new sine device: its curve, its support points, and the model after k of them.

    Parameters
    ----------
    task : Task
        The query holds the true curve, the support the points in the order they arrived.
    curves : mapping of int to ndarray, shape (N, 1)
        From k, the number of support points learned, to the model's output on the query inputs.
    """
    ax = _axes(ax)
    x = task.query.x[:, 0]
    ax.plot(x, task.query.y[:, 0], color=BLACK, linewidth=3, alpha=0.3, label="the device's curve")
    shades = plt.get_cmap("viridis_r")(np.linspace(0.5, 0.95, len(curves)))
    for i, (count, shade) in enumerate(zip(sorted(curves), shades, strict=True), 1):
        label = f"after {count} point{'s' * (count != 1)}" if count else "before learning"
        line = "-" if i == len(curves) else DASHES[i % len(DASHES)] if count else DASHES[0]
        ax.plot(x, curves[count][:, 0], color=shade, linestyle=line, label=label)
    seen = max(curves)
    points = task.support.x[:seen, 0], task.support.y[:seen, 0]
    ax.plot(*points, "x", color=BLACK, label="points it measured")
    ax.set(xlabel="input x", ylabel="output y")
    ax.legend(fontsize="small")
    return ax


def plot_common_curves(
    x: Array, devices: Sequence[Array], models: Mapping[str, Array], ax: Axes | None = None
) -> Axes:
    """Curves of many devices, thin and grey, and of common models that should serve them all.

    Models may agree, so each one is thinner than the one before it, and no line hides another.

    Parameters
    ----------
    x : ndarray, shape (N, 1)
    devices : sequence of ndarray, shape (N, 1)
        What each device measures at ``x``.
    models : mapping of str to ndarray, shape (N, 1)
        From the name of a strategy to its model's output at ``x``.
    """
    ax = _axes(ax)
    for y in devices:
        ax.plot(x[:, 0], y[:, 0], color=GREY, linewidth=0.5)
    for left, (name, y) in zip(reversed(range(len(models))), models.items(), strict=True):
        own = style(name) | {"marker": ""}
        ax.plot(x[:, 0], y[:, 0], linewidth=2 + 3 * left, label=name, **own)
    ax.set(xlabel="input x", ylabel="output y")
    _legend_outside(ax)
    return ax


def plot_history(
    history: History, ax: Axes | None = None, window: int | None = None, label: str = "loss"
) -> Axes:
    """Loss during the visits over the rounds, smoothed, with the outer rate behind it.

    Raises `KitError` if the history is empty.

    Parameters
    ----------
    window : int, optional
        Rounds in the running mean; by default a fiftieth of the run.
    label : str
        Name of the loss, for example "cross-entropy".
    """
    if not history.loss:
        raise KitError("the history is empty; run at least one round")
    ax = _axes(ax)
    loss = np.asarray(history.loss)
    window = min(window or max(1, len(loss) // 50), len(loss))
    smooth = np.convolve(loss, np.ones(window) / window, mode="valid")
    rounds = np.arange(1, len(loss) + 1)
    ax.plot(rounds, loss, color=SKY, alpha=0.35, linewidth=0.6, label="each round")
    middle = np.arange(len(smooth)) + (window + 1) / 2
    ax.plot(middle, smooth, color=BLUE, label=f"mean of {window} rounds")
    ax.set(xlabel="round", ylabel=f"{label} of the visited devices")
    ax.set_ylim(0, 1.1 * np.quantile(loss, 0.99))
    outer = ax.twinx()
    outer.plot(rounds, history.outer_rate, color=GREY, linestyle=":")
    outer.set(ylabel="outer rate (dotted)", ylim=(0, 1.05))
    ax.legend(fontsize="small")
    return ax


def plot_per_device(
    names: Sequence[str],
    scores: Mapping[str, Sequence[float] | Array],
    metric: str,
    ax: Axes | None = None,
) -> Axes:
    """One row of dots for each device, with the mean as a line and the worst device ringed.

    Raises `KitError` if there are no devices, a label has not one score for each, or the metric is
    unknown.

    Parameters
    ----------
    names : sequence of str
        Of the devices, shape (D,).
    scores : mapping of str to sequence of float
        From a label, such as "before adapting", to the scores of the devices, shape (D,).
    """
    if not names:
        raise KitError("there are 0 devices to plot; give at least one")
    ax = _axes(ax)
    rows = np.arange(len(names))
    for i, (label, values) in enumerate(scores.items()):
        values = np.asarray(values, float)
        if values.shape != rows.shape:
            raise KitError(f"{label!r} has scores of shape {values.shape} for {len(names)} devices")
        colour, marker = COLOURS[i % 6], MARKERS[i % 6]
        y = rows + 0.2 * (i - (len(scores) - 1) / 2)  # equal scores must not hide each other
        ax.plot(values, y, marker, color=colour)
        named = f"{label} (line: mean {values.mean():.2f})"
        ax.plot([], [], marker=marker, linewidth=1, label=named, **look(i))
        ax.axvline(values.mean(), **look(i), linewidth=1)
        worst = values.argmax() if metric == "mse" else values.argmin()
        ax.plot(values[worst], y[worst], "o", markersize=14, markerfacecolor="none", color=colour)
    ax.plot([], [], "o", markersize=10, markerfacecolor="none", color=BLACK, label="worst device")
    ax.set_yticks(rows, names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="y", alpha=0.3)
    _score_axis(ax.xaxis, metric)
    _legend_above(ax)
    return ax


def plot_windows(
    windows: Array, titles: Sequence[str], axes: Array | None = None, seconds: float = 4.0
) -> Array:
    """Six axes of a wrist over time: one column a window, acceleration above rotation rate.

    Raises `KitError` if the windows have another shape, or there is not one title for each.

    Parameters
    ----------
    windows : ndarray, shape (W, time, 6)
        Acceleration x, y, z in g, then rotation rate x, y, z in rad/s.
    titles : sequence of str
        One for each window.
    axes : ndarray of Axes, shape (2, W), optional
        The same is returned.
    seconds : float
        Length of a window.
    """
    if windows.ndim != 3 or windows.shape[2] != 6 or len(windows) != len(titles):
        raise KitError(
            f"the windows have shape {windows.shape} with {len(titles)} titles; "
            "give (windows, time, 6) and a title for each"
        )
    if axes is None:
        size = 2.4 * len(windows) + 1, 4
        axes = _figure(2, len(windows), figsize=size, sharex=True, sharey="row", squeeze=False)
    time = np.linspace(0, seconds, windows.shape[1], endpoint=False)
    for window, title, (above, below) in zip(windows, titles, axes.T, strict=True):
        for axis, name in enumerate("xyz"):
            above.plot(time, window[:, axis], **look(axis), label=name, linewidth=1)
            below.plot(time, window[:, axis + 3], **look(axis), linewidth=1)
        above.set_title(title, fontsize="medium")
        below.set_xlabel("time (s)")
    axes[0, 0].set_ylabel("acceleration (g)")
    axes[1, 0].set_ylabel("rotation (rad/s)")
    _legend_outside(axes[0, -1])
    return axes


def plot_rows(inputs: Sequence[Array], titles: Sequence[str]) -> Array:
    """Words as a network sees them, side by side: log-mel bands over time, dark where it is loud.

    Returns the axes. Raises `KitError` if an input has another shape, or there is not one title for
    each.

    Parameters
    ----------
    inputs : sequence of ndarray, shape (rows, bands)
        As `tasks.keywords.features` gives them; a row begins every 20 ms.
    titles : sequence of str
    """
    shapes = [np.shape(each) for each in inputs]
    if not shapes or any(len(shape) != 2 for shape in shapes) or len(shapes) != len(titles):
        raise KitError(
            f"the inputs have shapes {shapes} with {len(titles)} titles; "
            "give (rows, bands) for each, and a title"
        )
    size = 2.2 * len(shapes) + 1.5, 2.8
    axes = _figure(1, len(shapes), figsize=size, sharey=True, squeeze=False)[0]
    low, high = min(map(np.min, inputs)), max(map(np.max, inputs))
    for each, title, ax in zip(inputs, titles, axes, strict=True):
        end = len(each) * sound.HOP / sound.RATE
        shown = ax.imshow(
            np.transpose(each), "gray_r", aspect="auto", origin="lower", vmin=low, vmax=high,
            extent=(0, end, 0, np.shape(each)[1]),
        )  # fmt: skip
        ax.set_title(title, fontsize="medium")
        ax.set_xlabel("time (s)")
    axes[0].set(ylabel="mel band", yticks=range(0, np.shape(inputs[0])[1] + 1, 4))
    axes[0].figure.colorbar(shown, ax=axes, label="log energy, less the mean")
    return axes


def save(figure: Figure, path: Path | str) -> None:
    """Write a figure to a file; the ending names the format (.png, .svg, .pdf).

    Raises `KitError` if the format is unknown, or the folder is missing or cannot be written to.
    """
    path = Path(path)
    if path.suffix.lstrip(".").lower() not in figure.canvas.get_supported_filetypes():
        raise KitError(f"cannot write the picture {path}; end its name in .png, .svg or .pdf")
    with file_errors("choose a folder you can write to"):
        figure.savefig(path, dpi=150, bbox_inches="tight")


def _axes(ax: Axes | None) -> Axes:
    return _figure(figsize=(7, 4)) if ax is None else ax


def _figure(*shape: int, **options: Any) -> Any:
    return plt.subplots(*shape, layout="constrained", **options)[1]


def _legend_outside(ax: Axes) -> None:
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), **BARE)


def _legend_above(ax: Axes) -> None:
    """Where the names are long, and at the side they would take the room of the picture."""
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), **BARE)


def _score_axis(axis: Axis, metric: str) -> None:
    if metric not in SCORE_LABELS:
        raise unknown_name("metric", metric, SCORE_LABELS)
    axis.set_label_text(f"{SCORE_LABELS[metric]} on the query samples")
    if metric == "accuracy":
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _count_axis(ax: Axes, counts: list[int]) -> None:
    """Ticks at the counts; when each is about double the last one, powers of two stand evenly."""
    if len(counts) > 2 and counts[-1] - counts[-2] > counts[1] - counts[0]:
        ax.set_xscale("symlog", base=2, linthresh=1)
    ax.set_xticks(counts, [str(count) for count in counts])
    ax.xaxis.set_minor_locator(NullLocator())
