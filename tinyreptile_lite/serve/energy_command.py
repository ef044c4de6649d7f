"""`tinyreptile energy`: the model of energy, what a run has spent, and a power meter beside it."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinyreptile_lite.energy import RX_MA, TX_MA, EnergyModel
from tinyreptile_lite.errors import KitError, at_least_one
from tinyreptile_lite.expense import cost_row, cost_table
from tinyreptile_lite.options import add_command, report
from tinyreptile_lite.recipes import find_recipe
from tinyreptile_lite.serve.accounts import Bill
from tinyreptile_lite.serve.journal import read_journal
from tinyreptile_lite.serve.power_log import Record, line_up, read_power_log, visits_of
from tinyreptile_lite.tables import in_columns
from tinyreptile_lite.tasks import FAMILIES

_MOST_ROWS = 20  # of a printed table: the first ones


def add_energy_parser(commands: Any) -> None:
    """Add the command `energy` to the command line."""
    own = {
        "--board": (str, "the one that the meter was on, if several have learned"),
        "--channel": (str, "of the marker; default: the one that changes"),
        "--first-visit": (int, "the visit of the first pulse; default: 1"),
        "--offset": (float, "the log's second at which the first visit began: no marker is used"),
    }
    parser = add_command(commands, "energy", _run, "--energy --json", own)
    parser.add_argument("journal", nargs="?", type=Path, help="what its boards have spent")
    parser.add_argument("log", nargs="?", type=Path, help="a power meter's CSV file beside it")


def _run(options: argparse.Namespace) -> None:
    """Show modelled energy: a visit of each family, or a run's; or a meter's log beside it."""
    model = EnergyModel.parse(options.energy or "")
    if options.journal is None:
        _show_model(options, model)
    elif options.log is None:
        _show_run(options)
    else:
        _show_log(options, model)


def _show_model(options: argparse.Namespace, model: EnergyModel) -> None:
    rows = []
    for family in FAMILIES:
        row = cost_row(family, find_recipe(family, "tinyreptile"), model)
        rows.append(row | {"strategy": family})
    constants = {
        "CPU, a cycle": f"{model.cycle_pj:g} pJ",
        f"radio, a byte sent, {model.tx_dbm:g} dBm": f"{model.sent_uj:.4f} uJ",
        f"radio, a byte received, {model.mbit:g} Mbit/s": f"{model.received_uj:.4f} uJ",
        f"board, waiting, {model.idle_ma:g} mA": f"{1000 * model.idle(1):.1f} mJ a second",
        f"supply, where no log tells it; tx_dbm {_known(TX_MA)}, mbit {_known(RX_MA)}": (
            f"{model.volts:g} V"
        ),
    }
    text = in_columns("{:64}{:>16}", constants.items())
    text = f"The model, of an nRF52840 with its DC/DC regulator:\n{text}\n\n"
    text += f"TinyReptile. {cost_table(rows, model)}"
    report(options, {"model": asdict(model), "costs": rows}, text)


def _known(values: dict[int, float]) -> str:
    return ", ".join(map(str, values))


def _show_run(options: argparse.Namespace) -> None:
    spent = [one for one in read_journal(options.journal) if one.get("event") == "spent"]
    if not spent:
        raise KitError(f"{options.journal} tells no costs; let a server of this kit go on with it")
    bills: dict[str, Bill] = {}
    visits: dict[str, int] = {}
    for one in spent:
        name = one["board"]
        bills[name] = bills.get(name, Bill()) + Bill.read(one)
        visits[name] = visits.get(name, 0) + one["learned"]
    rows = [{"board": n, "visits": visits[n]} | bill.record() for n, bill in bills.items()]
    cells = [
        ("", "", "bytes", "bytes", "instruc-", "", "learn", "radio", "idle"),
        ("board", "visits", "up", "down", "tions", "", "mJ", "mJ", "mJ"),
        *(_board_cells(name, visits[name], bill) for name, bill in bills.items()),
    ]
    text = "What the boards have spent on visits; joules are modelled\n" + in_columns(
        "{:28}{:>8}{:>12}{:>12}{:>16} {:10}{:>10}{:>10}{:>10}", cells
    )
    report(options, {"boards": rows}, text)


def _board_cells(name: str, visits: int, bill: Bill) -> Sequence[str]:
    energy, work = bill.energy, bill.work
    joules = (f"{1000 * one:.3f}" for one in (energy.compute, energy.radio, energy.idle))
    counts = (f"{n:,}" for n in (visits, bill.bytes_up, bill.bytes_down, work.instructions))
    return name, *counts, work.kind, *joules


def _show_log(options: argparse.Namespace, model: EnergyModel) -> None:
    if options.first_visit is not None:
        at_least_one(first_visit=options.first_visit)
    visits = visits_of(read_journal(options.journal), options.journal, options.board)
    log = read_power_log(options.log, model.volts, sys.stderr.isatty())
    rows = line_up(log, visits, model, options.channel, options.first_visit, options.offset)
    report(options, {"log": str(options.log), "rows": rows}, log_table(rows, len(visits)))


def log_table(rows: Sequence[Record], visits: int) -> str:
    """Lay out what was measured in visits beside what is modelled for them."""
    cells: list[Sequence[Any]] = [
        ("", "", "", "measured", "modelled", "modelled", ""),
        ("visit", "round", "s", "mJ", "mJ", "idle mJ", "board"),
    ]
    cells += [(row["visit"], row["round"], *_log_cells([row]), row["board"]) for row in rows]
    more = len(cells) - 2 - _MOST_ROWS
    if more > 0:
        cells[2 + _MOST_ROWS :] = [("...", f"{more} more", "", "", "", "", "")]
    cells.append(("all", len(rows), *_log_cells(rows), ""))
    title = f"{len(rows)} of {visits} visits are in the log\n"
    return title + in_columns("{:>6}{:>10}{:>10}{:>12}{:>12}{:>12}  {}", cells)


def _log_cells(rows: Sequence[Record]) -> Sequence[str]:
    keys = "measured_joules", "modelled_joules", "modelled_idle_joules"
    seconds = sum(row["seconds"] for row in rows)
    return f"{seconds:.3f}", *(f"{1000 * sum(row[key] for row in rows):.3f}" for key in keys)
