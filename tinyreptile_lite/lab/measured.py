"""Full comparisons that take too long for a notebook, and the commands that made them.

``python -m tinyreptile_lite.lab.measured`` makes all files in ``results/`` again; names behind it
make only these.
"""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.cli import main as tinyreptile
from tinyreptile_lite.errors import KitError, unknown_name
from tinyreptile_lite.experiment import summary
from tinyreptile_lite.recipes import find_recipe

Array = np.ndarray

FOLDER = Path(__file__).parent / "results"

COMMANDS = {
    "sine": "compare sine --json",
    "sine-20000-visits": "compare sine --strategies tinyreptile --rounds 20000 --json",
    "wrist": (
        "compare wrist --strategies tinyreptile,reptile,reptile-batched,fedavg,fedsgd,joint,scratch"
        " --draws 10 --json"
    ),
    # Apart, as Adam has no twin in the C core.
    "wrist-reptile-adam": "compare wrist --strategies reptile-adam --draws 10 --json",
    "wrist-commands": (
        "compare wrist-commands --strategies tinyreptile,reptile,fedavg,fedsgd,joint,scratch"
        " --draws 10 --json"
    ),
    "wrist-150-visits-tinyreptile": (
        "compare wrist --strategies tinyreptile --rounds 150 --draws 10 --json"
    ),
    "wrist-150-visits-fedavg": "compare wrist --strategies fedavg --rounds 30 --draws 10 --json",
}


def measured(name: str) -> dict[str, Any]:
    """Read what a full comparison gave.

    Parameters
    ----------
    name : str
        One of `COMMANDS`.

    Returns
    -------
    dict
        The object that ``tinyreptile compare --json`` printed, with "family", "metric" and
        "rows"; besides, its "command" and the "recipes" it was made with.

    Raises
    ------
    KitError
        If the name is unknown, or the file is missing or damaged.
    """
    if name not in COMMANDS:
        raise unknown_name("comparison", name, COMMANDS)
    path = FOLDER / f"{name}.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise KitError(
            f"cannot read {path}; make it again: python -m tinyreptile_lite.lab.measured {name}"
        ) from error


def as_rows(
    scores: Mapping[str, Array], counts: Sequence[int], metric: str
) -> list[dict[str, Any]]:
    """Put scores of one's own into the form that a comparison has, to plot or to print them.

    Parameters
    ----------
    scores : mapping of str to ndarray, shape (devices, len(counts))
        From the name of a strategy to what `evaluate` returned.
    counts : sequence of int
        Numbers of support samples.
    metric : {"mse", "accuracy"}

    Returns
    -------
    list of dict
        With keys "strategy" and "adapted_samples"; the interval is over the devices alone.
    """
    return [
        {
            "strategy": name,
            "adapted_samples": {
                str(count): summary(values[None, :, i], metric) for i, count in enumerate(counts)
            },
        }
        for name, values in scores.items()
    ]


def only(rows: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> list[dict[str, Any]]:
    """Copy rows with these numbers of samples alone, so that a printed table stays narrow."""
    return [
        {**row, "adapted_samples": {str(k): row["adapted_samples"][str(k)] for k in counts}}
        for row in rows
    ]


def main(names: Sequence[str]) -> int:
    """Run the commands, all or those named, and keep what they print."""
    for name in names or COMMANDS:
        if name not in COMMANDS:
            print(unknown_name("comparison", name, COMMANDS), file=sys.stderr)
            return 2
        with redirect_stdout(io.StringIO()) as printed:
            code = tinyreptile(COMMANDS[name].split())
        if code:
            return code
        made = {"command": f"tinyreptile {COMMANDS[name]}"} | json.loads(printed.getvalue())
        made["recipes"] = settings(made["family"], [row["strategy"] for row in made["rows"]])
        part = FOLDER / f"{name}.part"
        part.write_text(json.dumps(made, indent=1) + "\n")
        part.replace(FOLDER / f"{name}.json")
    return 0


def settings(family: str, strategies: Sequence[str]) -> dict[str, str]:
    """Write out the recipes of today, to tell whether rows were made with others."""
    return {name: repr(find_recipe(family, name)) for name in strategies}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
