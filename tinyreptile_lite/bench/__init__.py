"""Benchmarks: each gives rows of {"name", "value", "unit", "spread"}.

They stay apart from the tests, and run the alternatives in turn, so that a machine whose speed
drifts treats them alike.
"""

from collections.abc import Callable

from tinyreptile_lite.bench.timing import Rows
from tinyreptile_lite.errors import unknown_name


def find_bench(name: str) -> Callable[[], Rows]:
    """Look a benchmark up by name; raises `KitError` that lists the known ones."""
    # Imported late: a benchmark may need packages that the rest of the kit does not.
    from tinyreptile_lite.bench import device, faults, fleet, host, kills, wire

    known: dict[str, Callable[[], Rows]] = {
        "host": host.rows,
        "device": device.rows,
        "wire": wire.rows,
        "faults": lambda: faults.rows() + kills.rows(),
        "fleet": fleet.rows,
    }
    if name not in known:
        raise unknown_name("benchmark", name, known)
    return known[name]
