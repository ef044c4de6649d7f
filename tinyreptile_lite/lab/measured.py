"""Full comparisons that take too long for a notebook, and the commands that made them.

``python -m tinyreptile_lite.lab.measured`` makes all files in ``results/`` again (two to three
hours on two cores); names after it make only these.
"""

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from tinyreptile_lite.cli import main as tinyreptile
from tinyreptile_lite.errors import KitError, unknown_name

FOLDER = Path(__file__).parent / "results"

COMMANDS = {
    "sine": "compare sine --json",
    "wrist": "compare wrist --json",
    "wrist-commands": "compare wrist-commands --json",
    "wrist-150-visits-tinyreptile": "compare wrist --strategies tinyreptile --rounds 150 --json",
    "wrist-150-visits-fedavg": "compare wrist --strategies fedavg --rounds 30 --json",
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
        The object that ``tinyreptile compare --json`` printed: "family", "metric" and "rows".

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


def main(names: Sequence[str]) -> int:
    """Run the commands, all or those named, and keep what they print."""
    for name in names or COMMANDS:
        if name not in COMMANDS:
            print(unknown_name("comparison", name, COMMANDS), file=sys.stderr)
            return 2
        part = FOLDER / f"{name}.part"
        with part.open("w") as file, redirect_stdout(file):
            code = tinyreptile(COMMANDS[name].split())
        if code:
            part.unlink()
            return code
        part.replace(FOLDER / f"{name}.json")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
