"""The exercises of 07: each typical slip gets its sentence."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from tinyreptile_lite.exercises.copies import read_notebook, source, strip_solution

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "07_your_own_keyword.ipynb"
CELLS = {cell["id"]: source(cell) for cell in read_notebook(NOTEBOOK)["cells"]}


@pytest.fixture
def names(data):
    """What the cells before the exercises define; tones stand in for words."""
    names = {"__name__": "__main__"}
    with mpl.rc_context():
        mpl.use("Agg")
        for cell in ("setup", "hear", "steps", "row"):
            exec(CELLS[cell], names)
        mpl.pyplot.close("all")
    return names | {"tasks": [], "by_way": {"class means": [np.nan] * 4}}


def frames(hop=320, end=15_489):
    return f"np.stack([row(np.resize(clip[i:i + 512], 512)) for i in range(0, {end}, {hop})])"


def to_input(result):
    return "ex1", f"def to_input(clip):\n    rows = {frames()}\n    return {result}"


def held_out(result):
    return "ex2", f"def held_out(speakers, fold):\n    return {result}"


def nearest(result):
    means = "np.stack([known[labels == label].mean(axis=0) for label in np.unique(labels)])"
    text = f"    means = {means}\n    far = np.square(new[:, None] - means).sum(axis=2)"
    return "ex3", f"def nearest_mean(known, labels, new):\n{text}\n    return {result}"


ANY_CLIP = "np.arange(len(speakers)) % 4 == fold"
RIGHT_FOLD = "np.isin(speakers, np.unique(speakers)[fold::4])"
NEAREST_CLIP = "labels[np.square(new[:, None] - known).sum(axis=2).argmin(axis=1)]"


@pytest.mark.parametrize(
    ("exercise", "words"),
    [
        (to_input("(rows - rows.mean()).T"), "turn it around"),
        (to_input(frames(hop=512)), "31 rows: frames overlap"),
        (to_input(frames(end=16_000)), "50 rows: the last frame is not whole"),
        (to_input("rows"), "subtract it from all"),
        (to_input("rows - rows.mean(axis=0)"), "each band has mean 0"),
        (to_input("rows - rows.mean(axis=1, keepdims=True)"), "each row has mean 0"),
        (to_input("(rows - rows.mean()) / rows.std()"), "do not divide"),
        (to_input("None"), "to_input returns nothing"),
        (held_out(ANY_CLIP), "split by speaker, not by clip"),
        (held_out(f"~{RIGHT_FOLD}"), "turn it around"),
        (held_out("np.isin(speakers, np.unique(speakers)[::4])"), "fold 1 must hold out"),
        (held_out("np.unique(speakers)[fold::4]"), "one True or False for each clip"),
        (nearest("far.argmax(axis=1)"), "this is the farthest mean"),
        (nearest(NEAREST_CLIP), "the nearest known clip"),
        (nearest("far.min(axis=1)"), "must be 0, 1, 1"),
        (nearest("far.argmin()"), "one label for each row"),
    ],
)
def test_a_slip_is_named(names, exercise, words):
    cell, text = exercise
    exec(text, names)
    with pytest.raises(AssertionError) as caught:
        exec(CELLS[f"{cell}-test"], names)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("cell", ["ex1", "ex2", "ex3"])
def test_a_blank_is_not_written_yet(names, cell):
    exec(strip_solution(CELLS[cell]), names)
    with pytest.raises(AssertionError, match="is not written yet"):
        exec(CELLS[f"{cell}-test"], names)
