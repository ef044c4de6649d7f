"""How little work lets Reptile be as accurate as TinyReptile? For a comparison of their costs.

Both learn the same network from the same number of visits, with the same samples in each visit.
TinyReptile is that of its recipe. Reptile passes over its samples at least twice, as with a single
pass it would have no need to keep them; the two passes here are the fewest. Its rate and minibatch
were chosen on the test devices, for Reptile's good: on the sine, rates of 0.02 to 0.05 and
minibatches of 2, 4 and 8; on the wrist, rates of 0.05, 0.1 and 0.15. These are not the settings of
`recipes`, where Reptile makes more passes.

What new devices score after all their samples, by the same means as ``tinyreptile compare``:

    python -m tinyreptile_lite.bench.equal sine wrist

measures Reptile again and writes equal.json; TinyReptile's scores are those of `lab.measured`.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.core.native import native
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.experiment import Trial, summary
from tinyreptile_lite.lab.measured import measured
from tinyreptile_lite.learners import MinibatchSGD
from tinyreptile_lite.recipes import Recipe, find_recipe
from tinyreptile_lite.strategies import Strategy, reptile
from tinyreptile_lite.tasks import find_family

FILE = Path(__file__).with_suffix(".json")
SETTINGS = {
    "sine": MinibatchSGD(0.04, epochs=2, batch=4),
    "wrist": MinibatchSGD(0.1, epochs=2, batch=7),
}
SEEDS = 0, 1, 2


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
    rounds = find_recipe(family, "tinyreptile").rounds
    return Recipe(chosen.name, chosen, rounds, chosen.learner)


def measure(family_name: str) -> dict[str, Any]:
    """Train this Reptile with every seed and fold; score new devices after all their samples."""
    family, chosen = find_family(family_name), recipe(family_name).with_learners(native)
    scores = [
        Trial(family_name, chosen, seed, fold, draws=1).run()[:, -1]
        for seed in SEEDS
        for fold in range(family.folds)
    ]
    found = summary(np.array(scores).reshape(len(SEEDS), -1), family.metric)
    return found | {"seeds": list(SEEDS), "recipe": repr(recipe(family_name))}


def scores(family: str) -> dict[str, dict[str, float]]:
    """Return the stored mean score and interval of both, after all samples of a new device."""
    rows = {row["strategy"]: row["adapted_samples"] for row in measured(family)["rows"]}
    return {"tinyreptile": [*rows["tinyreptile"].values()][-1], "reptile": stored()[family]}


def stored() -> dict[str, dict[str, Any]]:
    """Read what `measure` gave for each family."""
    return json.loads(FILE.read_text())  # type: ignore[no-any-return]


def main(families: Sequence[str]) -> int:
    """Measure these families again, and keep the others' scores."""
    made = (stored() if FILE.exists() else {}) | {name: measure(name) for name in families}
    FILE.write_text(json.dumps(made, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
