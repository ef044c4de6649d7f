"""Pictures of what learning together costs: energy of a visit, ways to send less, a coin cell.

Energies are modelled (`energy`), never measured on a board. Instructions are counted on the virtual
board where that was done (the stored figures), else estimated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter

from tinyreptile_lite.energy import Energy, EnergyModel, visit_energy
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.expense import visit_bytes, visit_work
from tinyreptile_lite.lab.bills import FAMILIES, RIVALS, WHOLE, Row, ways
from tinyreptile_lite.lab.plots import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILION, style
from tinyreptile_lite.lab.widgets import Explorer, Picture, choice
from tinyreptile_lite.learners import Learner
from tinyreptile_lite.partial import PartialSGD
from tinyreptile_lite.recipes import find_recipe
from tinyreptile_lite.strategies import Strategy
from tinyreptile_lite.tasks import find_family

CELL_MAH = 225.0  # a CR2032, by its makers' data sheets
IDLES = {  # what a board draws while it waits, in mA
    "17 mA": 17.0,  # with ArduinoBLE, as users report: see `energy`
    "5 mA": 5.0,  # with a changed tick
    "0.003 mA": 0.003,  # the chip alone, asleep with its memory and clock on, by its data sheet
}
PARTS = {  # of a visit's energy: colour and hatch
    "compute": ("learning", VERMILION, ""),
    "sent": ("sending", BLUE, "//"),
    "received": ("receiving", GREEN, ".."),
}


# ---- One visit -----------------------------------------------------------------------------------


def sends(strategy: Strategy, percent: float = 100, bits: int = 32) -> Learner:
    """Return the strategy's online learner, or the same one that sends packed changes."""
    if bits == 32:
        return strategy.learner
    return PartialSGD(strategy.learner.rate, bits=bits, percent=percent)


def tinyreptile_energy(
    family: str, percent: float = 100, bits: int = 32, model: EnergyModel | None = None
) -> Energy:
    """Model the energy of one visit of TinyReptile, without any waiting.

    Parameters
    ----------
    family : str
    percent : float
        Share of the changes that is sent.
    bits : {8, 16, 32}
        Of each change; with 32 the weights are sent, all of them.
    model : EnergyModel, optional

    Notes
    -----
    The instructions of packing are left out; the figures ``costs`` have them (``packing_share``).
    """
    net = find_family(family).network()
    strategy = find_recipe(family, WHOLE).strategy
    assert strategy is not None
    work = visit_work(net, strategy.learner, strategy.sample_count)
    moved = visit_bytes(net, replace(strategy, learner=sends(strategy, percent, bits)))
    return visit_energy(model or EnergyModel(), work.cycles, *moved)


def cell_rounds(
    visit: Energy, model: EnergyModel, seconds: float, capacity: float = CELL_MAH
) -> int:
    """How many visits a cell of so many mAh pays for, with the waiting between two of them."""
    if not (capacity > 0 and seconds >= 0 and visit.work > 0):
        raise KitError(
            f"{capacity:g} mAh, {seconds:g} s and {visit.work:g} J buy no number of rounds; "
            "give a capacity and an energy above 0, and seconds from 0 on"
        )
    cell = capacity / 1000 * 3600 * model.volts
    return int(cell // (visit.work + model.idle(seconds)))


# ---- Pictures ------------------------------------------------------------------------------------


def plot_energy(visits: Mapping[str, Energy], ax: Axes | None = None, share: bool = True) -> Axes:
    """One bar for each visit: which part of its energy goes where.

    Parameters
    ----------
    visits : mapping of str to Energy
        From a label to the modelled energy of a visit; `Energy.idle` is not drawn.
    share : bool
        Whether a bar shows percent; else millijoules.

    Raises
    ------
    KitError
        If there are none, or one took no energy at all.
    """
    if not visits or not all(each.work for each in visits.values()):
        raise KitError(f"{len(visits)} visits, or one without energy; give one that cost something")
    ax = _axes(0.9 + 0.55 * len(visits)) if ax is None else ax
    totals = np.array([each.work for each in visits.values()])
    scale = totals if share else np.full(len(totals), 1e-3)
    left = np.zeros(len(totals))
    for part, (label, colour, hatch) in PARTS.items():
        width = np.array([getattr(each, part) for each in visits.values()]) / scale
        look: Row = {"color": colour, "hatch": hatch, "edgecolor": "white", "label": label}
        ax.barh(np.arange(len(totals)), width, left=left, **look)
        left += width
    names = [f"{name}: {1000 * one:.3g} mJ" for name, one in zip(visits, totals, strict=True)]
    ax.set_yticks(np.arange(len(totals)), names)
    ax.invert_yaxis()
    ax.set_xlabel("share of a visit's energy" if share else "energy of a visit (mJ)")
    if share:
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.set_xlim(0, 1)
    ax.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return ax


def _groups(rows: Sequence[Row]) -> dict[str, tuple[list[Row], dict[str, Any]]]:
    """Rows that are drawn alike, by what the legend calls them."""

    def line(row: Row) -> str:
        name = row["way"]
        if name in RIVALS:
            return str(name)
        if "feedback" in name:
            return "with error feedback"
        if name.startswith("tinymetafed"):
            return "tinymetafed"
        return "partial" if name == "partial" else "tinyreptile, more or less of it sent"

    looks = {
        "tinyreptile, more or less of it sent": style(WHOLE),
        "with error feedback": {"color": VERMILION, "marker": "d", "linestyle": ""},
        "partial": {"color": ORANGE, "marker": "P", "linestyle": ""},
        "tinymetafed": {"color": BLACK, "marker": "X", "linestyle": ""},
        **{name: style(name) | {"linestyle": ""} for name in RIVALS},
    }
    return {
        label: ([row for row in rows if line(row) == label], look) for label, look in looks.items()
    }


def plot_score_against_bytes(rows: Sequence[Row], metric: str, ax: Axes | None = None) -> Axes:
    """Score on new devices against the bytes that a visit sends up; the chosen way has a ring.

    Parameters
    ----------
    rows : sequence of dict
        As `ways` gives them.
    metric : {"mse", "accuracy"}
    """
    if not rows:
        raise KitError("there are 0 ways to plot; give the rows of one family")
    ax = _axes(4) if ax is None else ax
    for label, (some, look) in _groups(rows).items():
        if some:
            points = sorted((r["bytes_up"], r["score"]["mean"], r["score"]["ci95"]) for r in some)
            x, mean, spread = np.array(points).T
            low = np.minimum(spread, 0.9 * mean) if metric == "mse" else spread
            ax.errorbar(x, mean, (low, spread), label=label, markersize=6, capsize=2, **look)
    for row in rows:
        if row["chosen"]:
            ring: Row = {"markersize": 15, "markerfacecolor": "none", "color": GREY}
            ax.plot(row["bytes_up"], row["score"]["mean"], "o", label="chosen", **ring)
    ax.set_xscale("log")
    _log_axis(ax.xaxis)
    ax.set_xlabel("bytes up in a visit")
    ax.set_ylabel("mean squared error" if metric == "mse" else "accuracy")
    if metric == "mse":
        ax.set_yscale("log")
        _log_axis(ax.yaxis)
    else:
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return ax


def _axes(height: float) -> Axes:
    return plt.subplots(figsize=(7, height), layout="constrained")[1]


def _log_axis(axis: Axis) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_locator(NullLocator())


def plot_all_families(families: Sequence[str] = FAMILIES) -> Figure:
    """`plot_score_against_bytes` of each family, with one legend."""
    columns = -(-len(families) // 2)
    figure, axes = plt.subplots(2, columns, figsize=(10, 6.2), squeeze=False, layout="constrained")
    for family, ax in zip(families, axes.flat, strict=False):
        plot_score_against_bytes(ways(family), find_family(family).metric, ax)
        ax.set_title(family, fontsize="medium")
    for ax in axes.flat[len(families) :]:
        ax.set_axis_off()
    handles = dict(zip(*axes.flat[0].get_legend_handles_labels()[::-1], strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, fontsize="small")
    return figure


# ---- A coin cell ---------------------------------------------------------------------------------


def cell_widget() -> Explorer:
    """Sliders for what is sent, how loud, how often, and what a board draws while it waits."""

    def draw(
        family: str, percent: float, bits: int, dbm: int, minutes: int, waiting: float
    ) -> Picture:
        model = EnergyModel(tx_dbm=dbm, idle_ma=waiting)
        visits = {
            "all weights": tinyreptile_energy(family, model=model),
            f"top {percent:g} %, {bits} bits": tinyreptile_energy(family, percent, bits, model),
        }
        figure = Figure(figsize=(10, 3.6))
        figure.subplots_adjust(left=0.2, right=0.97, bottom=0.14, top=0.82, wspace=0.75)
        left, right = figure.subplots(1, 2)
        plot_energy(visits, left, share=False)
        left.legend(fontsize="small", loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
        rounds = _plot_rounds(visits, model, 60 * minutes, right)
        waits, spent = model.idle(60 * minutes), [*visits.values()][1].work
        return Picture(
            figure,
            f"A visit takes {_joules(spent)}, the wait behind it {_joules(waits)}. "
            f"A CR2032 buys {rounds[1]:,} rounds; with all weights {rounds[0]:,}.",
        )

    percents = [(f"{each} %", each) for each in (1, 5, 10, 25, 50, 100)]
    powers = [(f"{each} dBm", each) for each in (0, 4, 8)]
    pauses = [(f"{each} min", each) for each in (1, 5, 15, 60, 240)]
    controls = {
        "family": choice("family", ("sine", "wrist", "omniglot", "keywords"), "wrist"),
        "percent": choice("top P", percents, 10),
        "bits": choice("bits", (8, 16), 8),
        "dbm": choice("radio power", powers, 0),
        "minutes": choice("between visits", pauses, 5),
        "waiting": choice("waits with", list(IDLES.items()), 17.0),
    }
    return Explorer("What a coin cell buys", controls, draw)


def _joules(joules: float) -> str:
    return f"{joules:,.1f} J" if joules >= 1 else f"{1000 * joules:.3g} mJ"


def _plot_rounds(
    visits: Mapping[str, Energy], model: EnergyModel, seconds: float, ax: Axes
) -> list[int]:
    """Rounds that a cell buys, with the waiting and without it; returns those with it."""
    rounds = [cell_rounds(each, model, seconds) for each in visits.values()]
    looks = {
        "without waiting": ([cell_rounds(one, model, 0) for one in visits.values()], GREY, "xx"),
        "with it": (rounds, BLUE, ""),
    }
    for place, (label, (counts, colour, hatch)) in enumerate(looks.items()):
        at = np.arange(len(visits)) + 0.38 * (place - 0.5)
        look: Row = {"color": colour, "hatch": hatch, "edgecolor": "white", "label": label}
        bars = ax.barh(at, counts, 0.36, **look)
        ax.bar_label(bars, [f" {count:,}" for count in counts], fontsize="small")
    ax.set_yticks(np.arange(len(visits)), list(visits))
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.set_xlim(1, 3e8)
    ax.set_xticks([1, 1e2, 1e4, 1e6, 1e8])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("rounds that a CR2032 buys")
    ax.legend(fontsize="small", loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return rounds
