"""Fingerprints: a few numbers that tell whether today's code still makes a stored figure.

They are taken of phi after the first rounds of the very runs behind the figure. Rounding on another
processor, BLAS or NumPy changes their last digits only; other settings, data or code change more.
"""

import numpy as np

from tinyreptile_lite.evaluation import adapt
from tinyreptile_lite.experiment import Trial, population
from tinyreptile_lite.tasks import find_family

Array = np.ndarray

ROUNDS = 5
PROJECTIONS = 8
TOLERANCE = 1e-5  # of the largest number: rounding gives 1e-6, one percent of a rate 2e-5 or more


def fingerprint(*arrays: Array) -> str:
    """Norm and fixed random projections of each array, as text."""
    numbers: list[float] = []
    for array in arrays:
        values = np.asarray(array, np.float64).ravel()
        directions = np.random.default_rng(2023).normal(size=(PROJECTIONS, values.size))
        numbers += [float(np.linalg.norm(values)), *(directions @ values).tolist()]
    return as_text(numbers)


def as_text(numbers: list[float]) -> str:
    """Numbers on one line, with as many digits as float32 has."""
    return " ".join(f"{number:.7g}" for number in numbers)


def agree(stored: str, found: str) -> bool:
    """Tell whether two fingerprints differ by rounding only."""
    one, other = (np.array(text.split(), float) for text in (stored, found))
    if one.shape != other.shape:
        return False
    return bool(np.abs(one - other).max() <= TOLERANCE * np.abs(one).max())


def first_rounds(trial: Trial, rng: np.random.Generator | None = None) -> str:
    """Fingerprint of a training run: phi after a few rounds, and what a new device makes of it.

    The generator is that of `Trial.run`, unless another one is given.
    """
    family = find_family(trial.family)
    people = population(family, trial.fold)
    rng = rng or np.random.default_rng([trial.seed, trial.fold])
    phi = trial.train(people, rng, ROUNDS)
    support, learner = people.tasks[0].support, trial.recipe.adaptation
    *_, adapted = adapt(family.network(), phi, support, learner, family.counts, rng)
    return fingerprint(phi, adapted)
