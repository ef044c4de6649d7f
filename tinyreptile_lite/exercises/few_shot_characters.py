"""Exercises of 06_few_shot_characters: support and query, the head, class means as a layer."""

from collections.abc import Callable

import numpy as np

from tinyreptile_lite.exercises.base import (
    Wrong,
    call,
    exercise,
    explain,
    numbers,
    pair,
    short,
    unchanged,
)
from tinyreptile_lite.layers import Dense, Tanh
from tinyreptile_lite.network import Network

Function = Callable[..., object]
QUERY = 5


@exercise(1, "support and query")
def split(split: Function, rng: np.random.Generator) -> None:
    """The first drawings of each character to learn from, the next five to be asked about."""
    ways, shots = int(rng.integers(3, 9)), int(rng.integers(2, 5))
    drawings = np.arange(ways * 20).reshape(ways, 20, 1, 1) * np.ones((28, 28), int)
    sets = pair("split", call(split, drawings, shots))
    support, query = (pair("each set of split", one) for one in sets)
    known, asked = (_names(part) for part in (support, query))
    if set(known) & set(asked):
        raise Wrong("a drawing is in both: then the query asks what was shown; take the next five")
    if len(known) != ways * shots:
        text = f"the support of {ways} ways, {shots} shots has {ways * shots} drawings"
        raise Wrong(f"{text}, not {len(known)}: take {shots} of each character")
    if len(asked) != ways * QUERY:
        text = f"the query has {ways * QUERY} drawings, not {len(asked)}"
        raise Wrong(f"{text}: take five of each character")
    for name, names, (_, labels) in (("support", known, support), ("query", asked, query)):
        given = np.ravel(numbers(f"the labels of the {name}", labels))
        right = np.array(names) // 20
        if len(given) != len(right):
            raise Wrong(f"give one label for each drawing: {len(right)}, not {len(given)}")
        if np.array_equal(given, right):
            continue
        tiled = np.array_equal(given, np.tile(np.arange(ways), len(right) // ways))
        look = "repeat each label, do not tile them" if tiled else "the character's number, from 0"
        raise Wrong(f"the labels of the {name} begin {short(right)}, not {short(given)}: {look}")
    first = (20 * way + place for way in range(ways) for place in range(shots))
    after = (20 * way + shots + place for way in range(ways) for place in range(QUERY))
    if known != list(first) or asked != list(after):
        raise Wrong("take the first drawings of each character, then the next five")


def _names(part: tuple[object, object]) -> list[int]:
    """Which drawings these are; every point of drawing k is k."""
    images = numbers("images", part[0])
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise Wrong(f"images have the shape (drawings, 28, 28), not {images.shape}")
    return [int(image.max()) for image in images]


@exercise(2, "a head of zeros")
def fresh(fresh: Function, rng: np.random.Generator) -> None:
    """A copy of phi whose head is zero."""
    width = int(rng.integers(3, 9))
    net = Network([Dense(2, width), Tanh(), Dense(width, 3)], "cross_entropy", (2,))
    phi = net.init(rng)
    before = phi.copy()
    mine = numbers("fresh(net, phi)", call(fresh, net, phi))
    if not np.array_equal(phi, before):
        raise Wrong("phi itself has changed: copy it first")
    if mine.shape != phi.shape:
        raise Wrong(f"the shape must be {phi.shape}, not {mine.shape}: keep the body too")
    if mine[net.head].any():
        raise Wrong("the head is not zero: its place is net.head")
    if not np.array_equal(mine[: net.head.start], before[: net.head.start]):
        raise Wrong("the body has changed: only the head becomes zero")


@exercise(3, "a running mean")
def take_in(take_in: Function, rng: np.random.Generator) -> None:
    """Mean of count + 1 rows, from the mean of count rows and one more."""
    rows = rng.normal(size=(int(rng.integers(4, 9)), 3)).round(2)
    mean = np.zeros(3)
    for count, row in enumerate(rows):
        given = mean.copy()
        mine = call(take_in, given, count, row.copy(), hint="count is 0 for the first row")
        unchanged("mean", mean, given)
        right = rows[: count + 1].mean(axis=0)
        slips = {
            "half of the old, half of the new: then the last row counts most": (mean + row) / 2,
            "this is the sum: divide by count + 1": mean + row,
            "the old mean stands for count rows: count * mean": (mean + row) / (count + 1),
            "after this row there are count + 1": mean + (row - mean) / max(count, 1),
        }
        look = "(count * mean + row) / (count + 1)"
        explain(f"the mean after {count + 1} rows", mine, right, slips, look)
        mean = right


@exercise(4, "class means as a layer")
def imprint(imprint: Function, rng: np.random.Generator) -> None:
    """Weights and bias of a layer whose largest output is the nearest class mean."""
    ways, features = int(rng.integers(3, 6)), int(rng.integers(6, 9))
    means = rng.normal(size=(ways, features)) * rng.uniform(0.3, 3, (ways, 1))
    weights, bias = (
        numbers("imprint", one) for one in pair("imprint", call(imprint, means.copy()))
    )
    if weights.shape != (features, ways):
        turn = ": turn the means around" if weights.shape == (ways, features) else ""
        text = f"the weights must have the shape (features, ways), {(features, ways)}"
        raise Wrong(f"{text}, not {weights.shape}{turn}")
    if bias.shape != (ways,):
        raise Wrong(f"the bias must have the shape (ways,), {(ways,)}, not {bias.shape}")
    new = rng.normal(size=(300, features)) * 2
    far = np.square(new[:, None] - means).sum(axis=2)
    chosen = (new @ weights + bias).argmax(axis=1)
    hits = (chosen == far.argmin(axis=1)).mean()
    if hits == 1:
        return
    if (chosen == far.argmax(axis=1)).mean() > 0.9:
        look = "it names the farthest mean: a small distance must give a large output"
    elif not bias.any():
        look = "without a bias a long mean wins everywhere: which part of the distance is left?"
    elif np.allclose(weights, means.T):
        look = "the mixed term of (x - mean)**2 has a 2; or halve the bias"
    elif (bias > 0).all():
        look = "the squared length of a mean makes it farther: minus"
    else:
        look = "write (x - mean)**2 out, and leave out what is equal for all means"
    raise Wrong(f"of 300 new drawings {hits:.0%} go to the nearest mean, not all: {look}")
