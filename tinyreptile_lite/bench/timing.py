"""Rows of benchmarks: alternatives timed in turn and compared pair by pair, and what is counted."""

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


def counted(group: str, values: dict[str, tuple[float, str]]) -> Rows:
    """Results without spread, as they are counted: each value and its unit by name."""
    return [
        {"name": f"{group}.{name}", "value": value, "unit": unit, "spread": 0.0}
        for name, (value, unit) in values.items()
    ]
