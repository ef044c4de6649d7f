"""The command ``tinyreptile figures``: make the stored figures again.

Importing this does not import what makes them.
"""

import argparse
import os
import sys
from typing import Any

from tinyreptile_lite.errors import KitError, at_least_one


def add_figures_parser(commands: Any) -> None:
    """Add the command `figures` to the command line."""
    about = (
        "Make the figures of the documents again, all or those named; an interrupted run goes on."
    )
    parser = commands.add_parser("figures", help=about, description=about)
    parser.set_defaults(run=_run)
    parser.add_argument("names", nargs="*", metavar="NAME", help="as in tinyreptile_lite/results")
    parser.add_argument("--quick", action="store_true", help="a smoke run, in build/figures/quick")
    parser.add_argument("--check", action="store_true", help="only say which ones are stale")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes to use")


def _run(options: argparse.Namespace) -> None:
    from tinyreptile_lite.figures.known import FIGURES
    from tinyreptile_lite.figures.make import make, stale

    at_least_one(jobs=options.jobs)
    if options.check:
        found = [reason for name in options.names or FIGURES if (reason := stale(name))]
        if found:
            raise KitError(". ".join(found))
        return
    for path in make(options.names, options.quick, options.jobs, sys.stderr.isatty()):
        print(path)
