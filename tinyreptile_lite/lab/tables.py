"""Scores as rows and as a printed table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinyreptile_lite.experiment import summary

Array = np.ndarray


def table(rows: Sequence[Mapping[str, Any]], metric: str) -> str:
    """Lay rows of scores out as text: one line a strategy, one column a number of samples."""
    counts = list(rows[0]["adapted_samples"])
    lines = [
        f"{metric} after adapting to so many samples: mean +- 95 % interval; "
        "the worst device after the last one"
    ]
    lines.append(f"{'':16}" + "".join(f"{count:>15}" for count in counts) + f"{'worst':>8}")
    for row in rows:
        scores = row["adapted_samples"]
        cells = [f"{'{mean:.3f} +-{ci95:.3f}'.format(**scores[count]):>15}" for count in counts]
        worst = f"{scores[counts[-1]]['worst']:8.3f}"
        lines.append(f"{row['strategy']:16}" + "".join(cells) + worst)
    return "\n".join(lines)


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
