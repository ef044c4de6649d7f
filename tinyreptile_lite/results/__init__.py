"""The stored figures: results that take too long to make in a notebook or a test.

``tinyreptile figures`` makes them, see `tinyreptile_lite.figures`; here they are only read.
"""

import json
from pathlib import Path
from typing import Any

from tinyreptile_lite.errors import KitError, unknown_name

FOLDER = Path(__file__).parent


def measured(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """Read one of the figures that ``tinyreptile figures`` makes, for example ``"wrist"``.

    Returns
    -------
    dict
        Its "rows", for a comparison also "family" and "metric"; besides, the "command" that made
        it, the settings, and the "fingerprint" that tells whether it is stale.

    Raises
    ------
    KitError
        If there is no such figure, or its file is damaged.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        raise unknown_name("figure", name, (file.stem for file in folder.glob("*.json")))
    try:
        return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise KitError(f"cannot read {path}; make it again: tinyreptile figures {name}") from error
