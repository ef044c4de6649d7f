"""The exercises of 06: each typical slip gets its sentence."""

from pathlib import Path

import numpy as np
import pytest

from tinyreptile_lite.exercises.copies import read_notebook, source, strip_solution
from tinyreptile_lite.lab import answer
from tinyreptile_lite.tasks.omniglot import Omniglot

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "06_few_shot_characters.ipynb"
CELLS = {cell["id"]: source(cell) for cell in read_notebook(NOTEBOOK)["cells"]}


@pytest.fixture
def names():
    """What the checks use of the cells before them."""
    rng = np.random.default_rng(0)
    return {"__name__": "__main__", "np": np, "answer": answer, "rng": rng} | {
        "net": Omniglot().network()
    }


def split(support="some(0, shots)", query="some(shots, 5)", labels="repeat(count)"):
    return "ex1", (
        "def split(drawings, shots):\n"
        "    def some(first, count):\n"
        "        chosen = drawings[:, first : first + count].reshape(-1, 28, 28)\n"
        f"        return chosen, np.arange(len(drawings)).{labels}\n"
        f"    return {support}, {query}"
    )


def fresh(*lines):
    return "ex2", "def fresh(net, phi):\n    " + "\n    ".join(lines)


def take_in(result):
    return "ex3", f"def take_in(mean, count, row):\n    return {result}"


TILED = "reshape(-1, 1).T.repeat(count, axis=0).ravel()"


@pytest.mark.parametrize(
    ("exercise", "words"),
    [
        (split(query="some(0, 5)"), "a drawing is in both"),
        (split(support="some(0, 1)", query="some(9, 5)"), "ways"),
        (split(query="some(shots, 20)"), "take five of each character"),
        (split(labels="copy()"), "one label for each drawing"),
        (split(labels=TILED), "repeat each label, do not tile them"),
        (split(support="some(5, shots)", query="some(0, 5)"), "take the first drawings"),
        (fresh("phi[net.head] = 0", "return phi"), "copy it first"),
        (fresh("return phi[: net.head.start]"), "keep the body too"),
        (fresh("return phi.copy()"), "the head is not zero"),
        (fresh("return np.zeros_like(phi)"), "the body has changed"),
        (take_in("(mean + row) / 2"), "half of the old"),
        (take_in("mean + row"), "divide by count + 1"),
        (take_in("mean + (row - mean) / max(count, 1)"), "after 2 rows"),
        (take_in("mean.mean()"), "a mean for each column"),
        (take_in("None"), "take_in returns nothing"),
    ],
)
def test_a_slip_is_named(names, exercise, words):
    cell, text = exercise
    exec(text, names)
    with pytest.raises(AssertionError) as caught:
        exec(CELLS[f"{cell}-test"], names)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("cell", ["ex1", "ex2", "ex3"])
def test_a_blank_is_not_written_yet_and_the_solution_passes(names, cell):
    exec(CELLS[cell], names)
    exec(CELLS[f"{cell}-test"], names)
    exec(strip_solution(CELLS[cell]), names)
    with pytest.raises(AssertionError, match="is not written yet"):
        exec(CELLS[f"{cell}-test"], names)
