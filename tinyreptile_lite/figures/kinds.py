"""The kinds of figures: what each is made of, what is kept of it, and its fingerprint.

A figure is made in pieces, such as one training run, that can be done apart and kept.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tinyreptile_lite.bench.timing import Rows
from tinyreptile_lite.core.export import export
from tinyreptile_lite.experiment import Comparison, Trial, build, population
from tinyreptile_lite.figures.fingerprint import first_rounds
from tinyreptile_lite.lab.demo import FAMILY, FOLD, demo
from tinyreptile_lite.recipes import find_recipe
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.tasks.wrist import FILE, SHA256

Array = np.ndarray
Pieces = dict[str, Callable[[], Any]]

QUICK_ROUNDS = 10


@dataclass(frozen=True)
class Figure:
    """Something that takes so long to make that it is stored."""

    name: str

    @property
    def command(self) -> str:
        """The command that makes it."""
        return f"tinyreptile figures {self.name}"

    def settings(self) -> dict[str, Any]:
        """What it is made of, in plain JSON types: recipes, seeds, data."""
        return {}

    def fingerprint(self) -> dict[str, str]:
        """Fingerprints of the first rounds of all runs behind it."""
        raise NotImplementedError

    def pieces(self, quick: bool) -> Pieces:
        """Pieces of work by name; each gives an array or plain JSON types."""
        raise NotImplementedError

    def assemble(self, results: list[Any], root: Path) -> dict[str, Any]:
        """Put the pieces together, and write the files that belong to the figure below ``root``."""
        return {"rows": results[0]}


@dataclass(frozen=True)
class Compared(Figure):
    """Strategies side by side, in the C core where they have a twin there."""

    comparison: Comparison
    options: str = ""  # of the command `tinyreptile compare` that prints the same rows

    @property
    def command(self) -> str:
        """The command that prints it, if there is one."""
        return f"tinyreptile compare {self.options}" if self.options else super().command

    def settings(self) -> dict[str, Any]:
        """Family, metric, recipes, seeds, draws and data."""
        family = find_family(self.comparison.family)
        return {
            "family": family.name,
            "metric": family.metric,
            "recipes": {recipe.name: repr(recipe) for recipe in self.comparison.recipes},
            "seeds": list(self.comparison.seeds),
            "draws": self.comparison.draws,
            "data": _data(family.name),
        }

    def fingerprint(self) -> dict[str, str]:
        """Each strategy with the first seed, on the first fold."""
        trials = self.comparison.in_c().trials()
        first = {trial.recipe.name: trial for trial in trials if _is_first(trial)}
        return {name: first_rounds(trial) for name, trial in first.items()}

    def pieces(self, quick: bool) -> Pieces:
        """One piece a training run."""
        trials = self.comparison.in_c().trials()
        if quick:
            trials = [_shorter(trial) for trial in trials if _is_first(trial)]
        return {repr(trial): trial.run for trial in trials}

    def assemble(self, results: list[Any], root: Path) -> dict[str, Any]:
        """One row a strategy."""
        quick = len(results) < len(self.comparison.trials())
        made = replace(self.comparison, seeds=(0,)) if quick else self.comparison
        return {"rows": made.rows(results)}


def _is_first(trial: Trial) -> bool:
    return trial.seed == trial.fold == 0


def _shorter(trial: Trial) -> Trial:
    return replace(trial, recipe=trial.recipe.with_rounds(QUICK_ROUNDS), draws=1)


def _data(family: str) -> dict[str, str]:
    return {} if family == "sine" else {FILE: SHA256}


@dataclass(frozen=True)
class Benched(Figure):
    """Rows of a benchmark.

    ``measure`` takes whether to be quick; ``trace`` gives fingerprints of what it computes.
    """

    measure: Callable[[bool], Rows]
    trace: Callable[[], dict[str, str]]

    def fingerprint(self) -> dict[str, str]:
        """Of what the benchmark computes while it measures."""
        return self.trace()

    def pieces(self, quick: bool) -> Pieces:
        """All in one piece."""
        return {"rows": partial(self.measure, quick)}


@dataclass(frozen=True)
class Trained(Figure):
    """What comes of one training run of TinyReptile in NumPy."""

    family: str
    fold: int = 0
    rounds: int | None = None

    @property
    def trial(self) -> Trial:
        """The training run."""
        recipe = find_recipe(self.family, "tinyreptile").with_rounds(self.rounds)
        return Trial(self.family, recipe, seed=0, fold=self.fold, draws=1)

    def settings(self) -> dict[str, Any]:
        """Family, recipe, seed, fold and data."""
        about = {"family": self.family, "recipe": repr(self.trial.recipe), "seed": 0}
        return about | {"fold": self.fold, "data": _data(self.family)}

    def fingerprint(self) -> dict[str, str]:
        """Of the run itself."""
        return {"tinyreptile": first_rounds(self.trial)}


class Sketched(Trained):
    """The starting point of a sketch: ``phi.h`` and ``phi.c`` in its folder."""

    def pieces(self, quick: bool) -> Pieces:
        """Train once."""
        trial = _shorter(self.trial) if quick else self.trial
        return {repr(trial): partial(_train, trial)}

    def assemble(self, results: list[Any], root: Path) -> dict[str, Any]:
        """Write the C files."""
        folder = root / "arduino" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        files = self.export(results[0], folder)
        return {"files": {f"arduino/{self.name}/{path.name}": sha256(path) for path in files}}

    def export(self, phi: Array, folder: Path) -> tuple[Path, Path]:
        """Write phi as C files into a folder."""
        trial, net = self.trial, find_family(self.family).network()
        run = f"{self.family}, fold {self.fold}, seed 0, {trial.recipe.rounds} rounds"
        files = export(net, phi, folder, command=f"{self.command} (tinyreptile on {run})")
        return files.header, files.source


def _train(trial: Trial) -> Array:
    family = find_family(trial.family)
    rng = np.random.default_rng([trial.seed, trial.fold])
    return build(family, trial.recipe, population(family, trial.fold), rng).run()


class Pictured(Trained):
    """The picture of the demo."""

    def fingerprint(self) -> dict[str, str]:
        """Of the demo's own run."""
        return {"tinyreptile": first_rounds(self.trial, _demo_rng())}

    def pieces(self, quick: bool) -> Pieces:
        """Tell the story once."""
        return {"picture": partial(_draw, QUICK_ROUNDS if quick else None)}

    def assemble(self, results: list[Any], root: Path) -> dict[str, Any]:
        """Write the picture."""
        path = root / "docs" / "demo.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(results[0].tobytes())
        return {"files": {"docs/demo.png": sha256(path)}}


def _demo_rng() -> np.random.Generator:
    return np.random.default_rng([0, 0])  # as `tinyreptile demo` without options


def _draw(rounds: int | None) -> Array:
    with TemporaryDirectory() as folder:
        demo(Path(folder), _demo_rng(), rounds=rounds)
        return np.frombuffer((Path(folder) / "demo.png").read_bytes(), np.uint8)


DEMO = Pictured("demo", FAMILY, FOLD)


def sha256(path: Path) -> str:
    """Hash of a file, in hexadecimal; empty if it is not there."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
