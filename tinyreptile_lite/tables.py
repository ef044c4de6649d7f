"""Scores as rows and as a printed table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tinyreptile_lite.experiment import score_row

Array = np.ndarray


def in_columns(layout: str, rows: Iterable[Sequence[Any]]) -> str:
    """Lay cells out as text, a line each row; the layout is a format such as "{:16}{:>8}"."""
    return "\n".join(layout.format(*row) for row in rows)


def command_lines(command: str, width: int = 100) -> str:
    """Break a command that is too long for a page, before an option, as a shell reads it."""
    if len(command) <= width:
        return command
    return command.replace(" --", " \\\n    --")


def table(rows: Sequence[Mapping[str, Any]], metric: str) -> str:
    """Lay rows of scores out as text: one line a row, one column a number of samples.

    Where a strategy has several rows, each says how the new devices adapted.
    """
    counts = list(rows[0]["adapted_samples"])
    names = [row["strategy"] for row in rows]
    if len(set(names)) < len(rows):
        names = [f"{row['strategy']}, {row['adaptation']}" for row in rows]
    cells = [["", *counts, "worst"]]
    for name, row in zip(names, rows, strict=True):
        scores = row["adapted_samples"]
        means = ["{mean:.3f} +-{ci95:.3f}".format(**scores[count]) for count in counts]
        cells.append([name, *means, "{worst:.3f}".format(**scores[counts[-1]])])
    title = (
        f"{metric} after adapting to so many samples: mean +- 95 % interval; "
        "the worst device after the last one\n"
    )
    width = max(16, *(len(name) + 1 for name in names))
    return title + in_columns(f"{{:{width}}}" + "{:>15}" * len(counts) + "{:>8}", cells)


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

    Returns
    -------
    list of dict
        See `score_row`; the interval is over the devices alone.
    """
    return [score_row(name, values[None], counts, metric) for name, values in scores.items()]


def only(rows: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> list[dict[str, Any]]:
    """Copy rows with these numbers of samples alone, so that a printed table stays narrow."""
    return [
        {**row, "adapted_samples": {str(k): row["adapted_samples"][str(k)] for k in counts}}
        for row in rows
    ]
