"""What a figure is: the pieces of work it is made of, what is kept of it, and its fingerprint."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tinyreptile_lite.core.export import export
from tinyreptile_lite.experiment import Comparison, Trial, population
from tinyreptile_lite.figures.fingerprint import first_rounds
from tinyreptile_lite.lab.demo import FAMILY, FOLD, demo
from tinyreptile_lite.recipes import Recipe, find_recipe
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.tasks.wrist import FILE, SHA256

Array = np.ndarray
Pieces = dict[str, Callable[[], Any]]

SEEDS = 0, 1, 2
QUICK_ROUNDS = 10


@dataclass(frozen=True)
class Figure:
    """Something that takes so long to make that it is stored.

    Attributes
    ----------
    name : str
    pieces : callable
        Gives the pieces of work by name, all or a quick few; each gives an array or plain JSON
        types, can be done apart, and is kept while the others are done.
    fingerprint : callable
        Takes fingerprints of the first rounds of all runs behind the figure.
    assemble : callable
        Puts the pieces together, and writes the files that belong to the figure below a folder.
    settings : dict
        What it is made of, in plain JSON types: recipes, seeds, data.
    command : str
        What prints it, where another command than ``tinyreptile figures`` does so.
    """

    name: str
    pieces: Callable[[bool], Pieces]
    fingerprint: Callable[[], dict[str, str]]
    assemble: Callable[[list[Any], Path], dict[str, Any]] = lambda results, _: {"rows": results[0]}
    settings: dict[str, Any] = field(default_factory=dict)
    command: str = ""

    def stamp(self) -> dict[str, Any]:
        """Return what the figure says of itself: command, settings, fingerprint."""
        command = self.command or f"tinyreptile figures {self.name}"
        return {"command": command, **self.settings, "fingerprint": self.fingerprint()}


def compared(
    name: str, family: str, recipes: Sequence[Recipe], draws: int = 1, command: str = ""
) -> Figure:
    """Recipes side by side, in the C core where they have a twin there."""
    comparison = Comparison(family, tuple(recipes), SEEDS, draws)

    def first() -> list[Trial]:
        return [trial for trial in comparison.in_c().trials() if trial.seed == trial.fold == 0]

    def pieces(quick: bool) -> Pieces:
        trials = map(_shorter, first()) if quick else comparison.in_c().trials()
        return {repr(trial): trial.run for trial in trials}

    def assemble(results: list[Any], _: Path) -> dict[str, Any]:
        quick = len(results) < len(comparison.trials())
        return {"rows": (replace(comparison, seeds=(0,)) if quick else comparison).rows(results)}

    settings = {
        "family": family,
        "metric": find_family(family).metric,
        "recipes": {recipe.name: repr(recipe) for recipe in recipes},
        "seeds": list(SEEDS),
        "draws": draws,
        "data": _data(family),
    }
    prints = lambda: {trial.recipe.name: first_rounds(trial) for trial in first()}  # noqa: E731
    return Figure(name, pieces, prints, assemble, settings, command)


def sketched(name: str, family: str, rounds: int | None = None) -> Figure:
    """The starting point of a sketch: ``phi.h`` and ``phi.c`` in its folder."""
    trial = _tiny_reptile(family, 0, rounds)

    def pieces(quick: bool) -> Pieces:
        one = _shorter(trial) if quick else trial
        return {repr(one): partial(_train, one)}

    def assemble(results: list[Any], root: Path) -> dict[str, Any]:
        folder = root / "arduino" / name
        folder.mkdir(parents=True, exist_ok=True)
        run = f"tinyreptile on {family}, fold 0, seed 0, {trial.recipe.rounds} rounds"
        made = f"tinyreptile figures {name} ({run})"
        files = export(find_family(family).network(), results[0], folder, command=made)[:2]
        return {"files": {f"arduino/{name}/{path.name}": sha256(path) for path in files}}

    prints = lambda: {"tinyreptile": first_rounds(trial)}  # noqa: E731
    return Figure(name, pieces, prints, assemble, _settings(trial))


def pictured() -> Figure:
    """The picture of the demo."""
    trial = _tiny_reptile(FAMILY, FOLD, None)

    def draw(rounds: int | None) -> Array:
        with TemporaryDirectory() as folder:
            demo(Path(folder), _demo_rng(), rounds=rounds)
            return np.frombuffer((Path(folder) / "demo.png").read_bytes(), np.uint8)

    def assemble(results: list[Any], root: Path) -> dict[str, Any]:
        path = root / "docs" / "demo.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(results[0].tobytes())
        return {"files": {"docs/demo.png": sha256(path)}}

    return Figure(
        "demo",
        lambda quick: {"picture": partial(draw, QUICK_ROUNDS if quick else None)},
        lambda: {"tinyreptile": first_rounds(trial, _demo_rng())},
        assemble,
        _settings(trial),
    )


def _demo_rng() -> np.random.Generator:
    return np.random.default_rng([0, 0])  # as `tinyreptile demo` without options


def _tiny_reptile(family: str, fold: int, rounds: int | None) -> Trial:
    recipe = find_recipe(family, "tinyreptile").with_rounds(rounds)
    return Trial(family, recipe, seed=0, fold=fold, draws=1)


def _train(trial: Trial) -> Array:
    people = population(find_family(trial.family), trial.fold)
    return trial.train(people, np.random.default_rng([trial.seed, trial.fold]))


def _shorter(trial: Trial) -> Trial:
    return replace(trial, recipe=trial.recipe.with_rounds(QUICK_ROUNDS), draws=1)


def _settings(trial: Trial) -> dict[str, Any]:
    about = {"family": trial.family, "recipe": repr(trial.recipe), "seed": trial.seed}
    return about | {"fold": trial.fold, "data": _data(trial.family)}


def _data(family: str) -> dict[str, str]:
    """Hashes of the data files that a task family reads."""
    return {} if family == "sine" else {FILE: SHA256}


def sha256(path: Path) -> str:
    """Hash of a file, in hexadecimal; empty if it is not there."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
