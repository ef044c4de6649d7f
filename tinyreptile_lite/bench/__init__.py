"""Benchmarks: each gives rows of {"name", "value", "unit", "spread"}.

They stay apart from the tests, and run the alternatives in turn, so that a machine whose speed
drifts treats them alike.
"""

import importlib
from collections.abc import Callable
from typing import Any

from tinyreptile_lite.errors import unknown_name

NAMES = "host", "device", "wire", "faults", "fleet", "axes"


def find_bench(name: str) -> Callable[[], list[dict[str, Any]]]:
    """Look a benchmark up by name; raises `KitError` that lists the known ones."""
    if name not in NAMES:
        raise unknown_name("benchmark", name, NAMES)
    # Imported late: a benchmark may need packages that the rest of the kit does not.
    module = importlib.import_module(f"{__name__}.{name}")
    return module.rows  # type: ignore[no-any-return]
