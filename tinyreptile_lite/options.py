"""Options of the command line: those that commands share, how a command is added, and its report.

An option is a name with its default and its help; an option without a default has a type there.
"""

import argparse
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinyreptile_lite.tasks import FAMILIES

Options = dict[str, tuple[Any, str]]
SHARED: Options = {
    # Names are checked by the library, so that its one sentence lists the known ones.
    "family": (str, f"task family: {', '.join(FAMILIES)}"),
    "--strategy": ("tinyreptile", "whose recipe to use"),
    "--rounds": (int, "instead of the recipe's own number"),
    "--seed": (0, "of all that is drawn at random"),
    "--fold": (0, "which people are left out"),
    "--phi": (Path("phi.npz"), "what train wrote"),
    "--out": (Path("phi.npz"), "where phi is written"),
    "--energy": (str, "constants of the energy model: tx_dbm=8,idle_ma=5; see docs/energy.md"),
    "--resume": (False, "go on from --out if it is there"),
    "--json": (False, "print one JSON object"),
}


def add_command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], None],
    shared: str,
    own: Options | None = None,
) -> argparse.ArgumentParser:
    """Add a command to argparse's ``commands``; returns its parser, for whatever else it needs.

    Parameters
    ----------
    run : callable
        Does the work, and raises `KitError` for a user's slip. Its docstring is the user's help.
    shared : str
        Names in `SHARED`, with spaces between them.
    own : dict
        Options of this command alone, or shared ones with another default or help.
    """
    about = inspect.getdoc(run) or name
    parser = commands.add_parser(name, help=about.splitlines()[0], description=about)
    parser.set_defaults(run=run)
    chosen = {option: SHARED[option] for option in shared.split()} | (own or {})
    for option, (value, text) in chosen.items():
        if value is False:
            parser.add_argument(option, action="store_true", help=text)
        elif isinstance(value, type):
            parser.add_argument(option, type=value, help=text)
        else:
            text += f"; default: {value}"
            parser.add_argument(option, type=type(value), default=value, help=text)
    return parser


def report(options: argparse.Namespace, result: dict[str, Any], text: str) -> None:
    """Print the result as JSON if the user wants that, else the text."""
    print(json.dumps(result, indent=2) if options.json else text)
