"""Task families: many devices whose tasks differ but have something in common."""

from collections.abc import Callable

from tinyreptile_lite.datasets import DataSet
from tinyreptile_lite.errors import unknown_name
from tinyreptile_lite.tasks import keywords, omniglot
from tinyreptile_lite.tasks.base import Family
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.tasks.wrist import Wrist

FAMILIES: dict[str, Callable[[], Family]] = {
    "sine": Sine,
    "wrist": Wrist,
    "wrist-commands": lambda: Wrist(permute_labels=True),
    "wrist-any": lambda: Wrist(rotation=0, own_frame=True),
    "wrist-commands-any": lambda: Wrist(permute_labels=True, rotation=0, anyhow=True),
}
DATA_SETS: dict[str, DataSet] = {
    data.name: data for data in (omniglot.SMALL, omniglot.FULL, keywords.DATA)
}


def find_family(name: str) -> Family:
    """Build a task family by name; raises `KitError` that lists the known ones."""
    if name not in FAMILIES:
        raise unknown_name("task family", name, FAMILIES)
    return FAMILIES[name]()
