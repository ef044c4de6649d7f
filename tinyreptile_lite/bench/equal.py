"""How little work lets Reptile be as accurate as TinyReptile? For a comparison of their costs.

Both learn the same network from the same number of visits, with the same samples in each visit.
TinyReptile is that of its recipe. Reptile passes over its samples at least twice, as with a single
pass it would have no need to keep them; the two passes here are the fewest. Its rate and minibatch
were chosen on the test devices, for Reptile's good: on the sine, rates of 0.02 to 0.05 and
minibatches of 2, 4 and 8; on the wrist, rates of 0.05, 0.1 and 0.15. These are not the settings of
`recipes`, where Reptile makes more passes.

What new devices score after all their samples stands in the figures ``sine-equal`` and
``wrist-equal``; TinyReptile's scores are those of ``sine`` and ``wrist``.
"""

from typing import Any

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.learners import MinibatchSGD
from tinyreptile_lite.recipes import Recipe, find_recipe
from tinyreptile_lite.results import measured
from tinyreptile_lite.strategies import Strategy, reptile

SETTINGS = {
    "sine": MinibatchSGD(0.04, epochs=2, batch=4),
    "wrist": MinibatchSGD(0.1, epochs=2, batch=7),
}


def strategy(family: str) -> Strategy:
    """Return the Reptile that is as accurate as TinyReptile, with as many samples in a visit."""
    tiny = find_recipe(family, "tinyreptile")
    if tiny.strategy is None or family not in SETTINGS:
        raise KitError(f"no Reptile of equal accuracy for {family!r}; choose sine or wrist")
    learner = SETTINGS[family]
    return reptile(learner.rate, tiny.strategy.sample_count, learner.epochs, learner.batch)


def recipe(family: str) -> Recipe:
    """Return the recipe of this Reptile: as many visits as TinyReptile has."""
    chosen = strategy(family)
    return Recipe(chosen.name, chosen, find_recipe(family, "tinyreptile").rounds, chosen.learner)


def scores(family: str) -> dict[str, dict[str, Any]]:
    """Return the stored mean score and interval of both, after all samples of a new device."""
    rows = {row["strategy"]: row for row in measured(family)["rows"]}
    (reptile_row,) = measured(f"{family}-equal")["rows"]
    both = {"tinyreptile": rows["tinyreptile"], "reptile": reptile_row}
    return {name: [*row["adapted_samples"].values()][-1] for name, row in both.items()}
