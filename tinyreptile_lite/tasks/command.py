"""The command ``tinyreptile data``: what is here, and how to get what is not."""

import argparse
import sys
from pathlib import Path
from typing import Any

from tinyreptile_lite.datasets import DataSet
from tinyreptile_lite.errors import unknown_name
from tinyreptile_lite.options import add_command, report
from tinyreptile_lite.tasks import DATA_SETS


def add_data_parser(commands: Any) -> None:
    """Add the command to argparse's ``commands``."""
    parser = add_command(commands, "data", _data, "--json")
    names = ", ".join(DATA_SETS)
    parser.add_argument("set", nargs="?", help=f"{names}; none: show what is here")
    text = "take the user's own archive, or the folder that it makes, instead of downloading"
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help=text)


def _data(options: argparse.Namespace) -> None:
    """Fetch a data set that does not ship with the kit, check it and prepare it."""
    if options.set is None and options.source is None:
        sets = [_about(data) for data in DATA_SETS.values()]
        report(options, {"sets": sets}, "\n\n".join(map(_text, sets)))
        return
    if options.set not in DATA_SETS:
        raise unknown_name("data set", options.set, DATA_SETS)
    data = DATA_SETS[options.set]
    if options.source is not None:
        data.take(options.source)
    else:
        data.fetch(progress=sys.stderr.isatty())
    about = _about(data)
    if None not in about["files"].values():
        about[data.unit] = sum(len(next(iter(arrays.values()))) for arrays in data.load())
    report(options, about, _text(about))


def _about(data: DataSet) -> dict[str, Any]:
    files = {archive.name: data.find(archive) for archive in data.archives}
    return {
        "name": data.name,
        "bytes": sum(archive.size for archive in data.archives),
        "families": list(data.families),
        "files": {name: path and str(path) for name, path in files.items()},
    }


def _text(about: dict[str, Any]) -> str:
    command = f"not here: tinyreptile data {about['name']}"
    lines = ["{name}, {0:.1f} MB, for {1}".format(
        about["bytes"] / 1e6, ", ".join(about["families"]), **about)]  # fmt: skip
    lines += [f"  {name}: {path or command}" for name, path in about["files"].items()]
    lines += [f"  {about[unit]:,} {unit}" for unit in ("characters", "clips") if unit in about]
    return "\n".join(lines)
