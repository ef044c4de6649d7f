"""The command ``tinyreptile reproduce``: the tables of a family from scratch, or as stored.

Importing this does not import what makes them.
"""

import argparse
import os
import sys
from typing import Any

from tinyreptile_lite.energy import EnergyModel
from tinyreptile_lite.errors import at_least_one, unknown_name
from tinyreptile_lite.expense import cost_table, costs_of_claim, costs_of_rows
from tinyreptile_lite.options import add_command, report
from tinyreptile_lite.results import measured
from tinyreptile_lite.tables import in_columns, table

# The figures that belong to a subject.
SUBJECTS = {
    "sine": ("sine",),
    "wrist": ("wrist",),
    "wrist-commands": ("wrist-commands",),
    "omniglot": ("omniglot", "omniglot-long"),
    "keywords": ("keywords", "keywords-new-words"),
    "claim": ("claim",),
    "costs": ("costs-sine", "costs-wrist", "costs-wrist-commands", "costs-omniglot"),
}


def add_reproduce_parser(commands: Any) -> None:
    """Add the command `reproduce` to the command line."""
    own = {
        "--stored": (False, "print the stored result of the full run, and run nothing"),
        "--quick": (False, "a smoke run of a few rounds, in build/figures/quick"),
        "--jobs": (os.cpu_count() or 1, "processes to use"),
    }
    parser = add_command(commands, "reproduce", _run, "--energy --json", own)
    parser.add_argument("what", nargs="?", help=f"{', '.join(SUBJECTS)}; default: all of them")


def _run(options: argparse.Namespace) -> None:
    """Make the tables of a family from scratch, and print them; an interrupted run goes on."""
    from tinyreptile_lite.figures.make import make

    at_least_one(jobs=options.jobs)
    model = EnergyModel.parse(options.energy or "")
    if options.what is not None and options.what not in SUBJECTS:
        raise unknown_name("subject", options.what, SUBJECTS)
    subjects = [options.what] if options.what else list(SUBJECTS)
    names = [name for subject in subjects for name in SUBJECTS[subject]]
    if options.stored:
        found = {name: measured(name) for name in names}
    else:
        paths = make(names, options.quick, options.jobs, sys.stderr.isatty())
        found = {path.stem: measured(path.stem, path.parent) for path in paths}
    costs = {name: _costs(one, model) for name, one in found.items()}
    result: dict[str, Any] = {"figures": found, "costs": costs}
    if options.what:
        result = dict(found[names[0]]) | {
            "rows": [r for one in found.values() for r in one["rows"]],
            "costs": [row for rows in costs.values() for row in rows],
        }
    texts = [
        _text(name, one) + (f"\n\n{cost_table(costs[name], model)}" if costs[name] else "")
        for name, one in found.items()
    ]
    report(options, result, "\n\n".join(texts))


def _costs(figure: dict[str, Any], model: EnergyModel) -> list[dict[str, Any]]:
    """What the boards pay for a figure: worked out from its recipes, not stored in it."""
    if "metric" not in figure:
        return costs_of_claim(figure["rows"], model)
    return costs_of_rows(figure["rows"], figure["family"], model)


def _text(name: str, figure: dict[str, Any]) -> str:
    if "metric" in figure:
        return f"{name}: {table(figure['rows'], figure['metric'])}"
    named = [row for row in figure["rows"] if "name" in row]
    lines = in_columns("{:50}{:>10}", [(row["name"], f"{row['value']:.3f}") for row in named])
    ways = [row for row in figure["rows"] if "way" in row]
    if not ways:
        return f"{name}: TinyReptile against Reptile\n{lines}"
    title = f"{name}: ways to send less; joules are modelled, of the whole training"
    return f"{title}\n{_ways(ways)}\n\n{lines}"


def _ways(rows: list[dict[str, Any]]) -> str:
    """Ways to step and to send, side by side; a star at the one that was chosen."""
    cells = [("", "score", "+- 95 %", "bytes up", "down", "M instr.", "RAM", "J", "")]
    cells += [
        (
            row["way"],
            f"{row['score']['mean']:.3f}",
            f"{row['score']['ci95']:.3f}",
            f"{row['bytes_up']:,.0f}",
            f"{row['bytes_down']:,.0f}",
            f"{row['instructions'] / 1e6:.2f}",
            f"{row['ram_bytes']:,}",
            f"{row['joules']:.2f}",
            "*" if row["chosen"] else "",
        )
        for row in rows
    ]
    return in_columns("{:28}{:>7}{:>9}{:>10}{:>9}{:>10}{:>9}{:>9} {}", cells)
