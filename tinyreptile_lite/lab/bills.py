"""The bill of each strategy: memory, bytes, time and modelled energy, beside how good it is."""

from collections.abc import Mapping, Sequence
from math import hypot
from typing import Any

from tinyreptile_lite.costs import FLOAT_BYTES
from tinyreptile_lite.energy import EnergyModel, visit_energy
from tinyreptile_lite.expense import cost_row, framing
from tinyreptile_lite.recipes import find_recipe
from tinyreptile_lite.results import measured
from tinyreptile_lite.settings import plan_of
from tinyreptile_lite.tables import in_columns
from tinyreptile_lite.tasks import find_family

Row = dict[str, Any]

FAMILIES = "sine", "wrist", "wrist-commands", "omniglot"  # that have a figure ``costs-FAMILY``
BILLS = (*FAMILIES, "keywords")
WHOLE, RIVALS, POOR = "tinyreptile", ("reptile", "fedavg"), ("fedsgd", "joint")
CPU_HZ, AIR_BITS = 64e6, 1e6  # a second, of the board and of its radio


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
