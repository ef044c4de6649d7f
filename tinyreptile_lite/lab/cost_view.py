"""What learning together costs: energy of a visit, the bill of each strategy, a coin cell.

Energies are modelled (`energy`), never measured on a board. Instructions are counted on the virtual
board where that was done (the stored figures), else estimated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import hypot
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter

from tinyreptile_lite.costs import FLOAT_BYTES
from tinyreptile_lite.energy import Energy, EnergyModel, visit_energy
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.expense import cost_row, framing, visit_bytes, visit_work
from tinyreptile_lite.lab.plots import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILION, style
from tinyreptile_lite.lab.widgets import Explorer, Picture, choice
from tinyreptile_lite.learners import Learner
from tinyreptile_lite.partial import PartialSGD
from tinyreptile_lite.recipes import find_recipe
from tinyreptile_lite.results import measured
from tinyreptile_lite.settings import plan_of
from tinyreptile_lite.strategies import Strategy
from tinyreptile_lite.tables import in_columns
from tinyreptile_lite.tasks import find_family

Row = dict[str, Any]

FAMILIES = "sine", "wrist", "wrist-commands", "omniglot"  # that have a figure ``costs-FAMILY``
BILLS = (*FAMILIES, "keywords")
WHOLE, RIVALS, POOR = "tinyreptile", ("reptile", "fedavg"), ("fedsgd", "joint")
CPU_HZ, AIR_BITS = 64e6, 1e6  # a second, of the board and of its radio
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


# ---- The bill ------------------------------------------------------------------------------------


def ways(family: str) -> list[Row]:
    """Return what the figure ``costs-FAMILY`` has of each way to send less, and of the rivals."""
    return [row for row in measured(f"costs-{family}")["rows"] if "way" in row]


def bill(family: str) -> list[Row]:
    """Put six strategies side by side, and the way of TinyReptile that was chosen to send less.

    Returns
    -------
    list of dict
        ``name``; ``score`` on new devices with "mean" and "ci95", and ``adapts``, how they adapted;
        ``as_good``: "yes" if the score is TinyReptile's within both intervals, else "better" or
        "worse". Of one visit ``ram_bytes``, ``bytes`` (both ways), ``instructions``, ``seconds``
        (modelled: the processor's, then the air's), ``joules``. Of the whole run ``visits`` and
        ``run_joules``.

    Notes
    -----
    FedSGD and joint training are no rivals in the figure ``costs-FAMILY``: their scores are those
    of the figure FAMILY, where devices may adapt in another way, so that is said. A family without
    such a figure has no ways to send less, and no TinyMetaFed; its bytes are those over Bluetooth.
    """
    if family in FAMILIES:
        stored = {row["way"]: row for row in ways(family)}
        chosen = next(name for name, row in stored.items() if row["chosen"])
        names = dict.fromkeys([WHOLE, chosen, "tinymetafed", *RIVALS])
        rows = [_stored_line(stored[name], _passes(family)) for name in names]
        size = FLOAT_BYTES * find_family(family).network().size
        frames = stored[WHOLE]["bytes_up"] / size / framing()  # theirs, for each byte of Bluetooth
        rows += [_other_line(family, name, frames) for name in POOR]
    else:
        rows = [_other_line(family, name) for name in (WHOLE, *RIVALS, *POOR)]
    return [row | {"as_good": compared(rows[0]["score"], row["score"], family)} for row in rows]


def _passes(family: str) -> str:
    """How new devices adapt in the figure ``costs-FAMILY``."""
    return f"{plan_of(family).passes[0]} passes"


def _stored_line(row: Row, adapts: str) -> Row:
    moved = row["bytes_up"], row["bytes_down"]
    same = {key: row[key] for key in ("score", "ram_bytes", "instructions", "visits")}
    visit = _visit(row["cycles"], moved)
    run = row["visits"] * visit["joules"]
    return {"name": row["way"], "adapts": adapts, **same, **visit, "run_joules": run}


def _other_line(family: str, name: str, frames: float = 1.0) -> Row:
    """A strategy of the figure FAMILY, with so many bytes for each byte over Bluetooth."""
    cost = cost_row(family, find_recipe(family, name), EnergyModel())
    found = [row for row in measured(family)["rows"] if row["strategy"] == name]
    alike = [row for row in found if row["adaptation"] == _passes(family)]
    score = (alike or found)[0]
    visit = _visit(cost["cycles"], [frames * cost[key] for key in ("bytes_up", "bytes_down")])
    return {
        "name": name,
        "adapts": score["adaptation"],
        "score": [*score["adapted_samples"].values()][-1],
        "ram_bytes": score["device_ram_bytes"],
        "instructions": cost["instructions"],
        "visits": cost["visits"],
        **visit,
        "run_joules": cost["run_joules"] * visit["joules"] / cost["visit_joules"],
    }


def _visit(cycles: float, moved: Sequence[float]) -> Row:
    return {
        "bytes": sum(moved),
        "seconds": cycles / CPU_HZ + 8 * sum(moved) / AIR_BITS,
        "joules": visit_energy(EnergyModel(), cycles, *moved).work,
    }


def compared(one: Mapping[str, float], other: Mapping[str, float], family: str) -> str:
    """Tell whether the other score is as good as the one, within the intervals of both.

    Returns
    -------
    {"yes", "better", "worse"}
    """
    gain = other["mean"] - one["mean"]
    if abs(gain) <= hypot(one["ci95"], other["ci95"]):
        return "yes"
    return "better" if (gain > 0) == (find_family(family).metric == "accuracy") else "worse"


def bill_table(family: str) -> str:
    """Lay a `bill` out as text."""
    metric, rows = find_family(family).metric, bill(family)
    cells: list[Sequence[Any]] = [
        ("", metric, "as", "RAM", "bytes", "million", "", "", "", "J"),
        ("", "+- 95 %", "good?", "kB", "a visit", "instr.", "ms", "mJ", "visits", "in all"),
    ]
    cells += [_cells(row, rows[0]["adapts"]) for row in rows]
    layout = "{:19}{:>14}  {:7}{:>6}{:>9}{:>8}{:>6}{:>8}{:>8}{:>8}"
    title = f"{family}: a visit, and a whole training (times and joules are modelled)\n"
    ways = dict.fromkeys(row["adapts"] for row in rows if row["adapts"] != rows[0]["adapts"])
    note = (
        f"\n* new devices adapt in {', '.join(ways)}, else in {rows[0]['adapts']}" if ways else ""
    )
    return title + in_columns(layout, cells) + note


def _cells(row: Row, adapts: str) -> Sequence[str]:
    other = "" if row["adapts"] == adapts else " *"
    return (
        row["name"] + other,
        "{mean:.3f} +-{ci95:.3f}".format(**row["score"]),
        row["as_good"],
        f"{row['ram_bytes'] / 1000:.1f}",
        f"{row['bytes']:,.0f}",
        f"{row['instructions'] / 1e6:.2f}",
        f"{1000 * row['seconds']:.0f}",
        f"{1000 * row['joules']:.2f}",
        f"{row['visits']:,}",
        f"{row['run_joules']:.2f}",
    )


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
