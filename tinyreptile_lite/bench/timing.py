"""Time alternatives in turn, and compare them pair by pair."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

Rows = list[dict[str, Any]]


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call, in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleaved(*alternatives: Callable[[], object], repeats: int) -> np.ndarray:
    """Time each alternative once in each repeat, after one warm-up: (repeats, alternatives)."""
    for work in alternatives:
        work()
    return np.array([[seconds(work) for work in alternatives] for _ in range(repeats)])


def row(name: str, values: np.ndarray, unit: str) -> dict[str, Any]:
    """One result: the median, the quartiles, and half their distance as spread."""
    low, middle, high = map(float, np.percentile(values, [25, 50, 75]))
    found = {"name": name, "value": middle, "unit": unit, "spread": (high - low) / 2}
    return found | {"quartiles": [low, high]}
