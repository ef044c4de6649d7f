"""The figures: what each one is made of, what is kept of it, and what tells that it is stale."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tinyreptile_lite.bench import (
    axes,
    device,
    equal,
    equal_cost,
    faults,
    host,
    mounting,
    together,
    wire,
)
from tinyreptile_lite.bench.timing import Rows
from tinyreptile_lite.core.export import export
from tinyreptile_lite.core.native import native, native_score
from tinyreptile_lite.errors import unknown_name
from tinyreptile_lite.evaluation import Scorer
from tinyreptile_lite.experiment import Comparison, Trial, population, summary
from tinyreptile_lite.figures.fingerprint import ROUNDS, as_text, fingerprint, first_rounds
from tinyreptile_lite.lab.demo import FAMILY, FOLD, demo
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.nano.compilers import BuildError, find_compiler
from tinyreptile_lite.recipes import BY_HAND, Recipe, find_recipe, recipes
from tinyreptile_lite.tasks import DATA_SETS, find_family
from tinyreptile_lite.tasks.wrist import FILE, PEOPLE, SHA256
from tinyreptile_lite.wire.faults import Faults

Array = np.ndarray
Pieces = dict[str, Callable[[], Any]]
Prints = dict[str, str]

SEEDS = 0, 1, 2
QUICK_ROUNDS = 10
QUICK_DEVICES = 40
PROTOCOL = {
    "test": "devices never seen in training, all folds; query samples are never learned from",
    "interval": "95 %: Student's t over seeds and over test devices, added in squares",
}
SEARCHED = "settings by `tinyreptile tune`, on devices neither trained nor tested on"
CHOSEN = "settings of our own choice, some of them made while looking at these test devices"
COMPILERS = "gcc", "zig"


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
    tools : bool
        Whether its fingerprints name the compilers, which are others on other computers.
    """

    name: str
    pieces: Callable[[bool], Pieces]
    fingerprint: Callable[[], Prints]
    assemble: Callable[[list[Any], Path], dict[str, Any]] = lambda results, _: {"rows": results[0]}
    settings: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    tools: bool = False

    def stamp(self) -> dict[str, Any]:
        """Return what the figure says of itself: command, settings, fingerprint."""
        command = self.command or f"tinyreptile figures {self.name}"
        return {"command": command, **self.settings, "fingerprint": self.fingerprint()}


# Strategies side by side


def compared(
    name: str,
    family: str,
    recipes: Sequence[Recipe],
    draws: int = 1,
    command: str = "",
    scorer: Scorer | None = None,
) -> Figure:
    """Recipes side by side, in the C core where they have a twin there."""
    comparison = Comparison(family, tuple(recipes), SEEDS, draws, scorer)
    about = find_family(family)

    def first() -> list[Trial]:
        return [trial for trial in comparison.in_c().trials() if trial.seed == trial.fold == 0]

    def pieces(quick: bool) -> Pieces:
        trials = map(_shorter, first()) if quick else comparison.in_c().trials()
        return {repr(trial): trial.run for trial in trials}

    def assemble(results: list[Any], _: Path) -> dict[str, Any]:
        seeds = comparison.seeds[: len(results) // len(recipes)]  # a smoke run has the first only
        return {"rows": replace(comparison, seeds=seeds).rows(results)}

    return Figure(
        name,
        pieces,
        lambda: {trial.recipe.name: first_rounds(trial) for trial in first()},
        assemble,
        {
            "family": family,
            "metric": about.metric,
            "recipes": {recipe.name: repr(recipe) for recipe in recipes},
            "seeds": list(SEEDS),
            "draws": draws,
            "data": _data(family),
            "protocol": PROTOCOL
            | {"choice": CHOSEN if family in BY_HAND else SEARCHED}
            | {"folds": about.folds, "draws": draws, "seeds": len(SEEDS)},
        },
        command,
    )


# How many tasks of each test device, so that there are 600 or more of the people.
DRAWS = {"wrist": 10, "wrist-commands": 10, "keywords": 12, "keywords-new-words": 12}


def _family(family: str, strategies: str = "", name: str = "", visits: int = 0) -> Figure:
    """Every strategy of a family, and every way in which a new device adapts."""
    names = strategies.split(",") if strategies else list(recipes(family))
    found = [_with_visits(find_recipe(family, one), visits) for one in names]
    command = f"tinyreptile reproduce {family} --json"
    draws = DRAWS.get(family, 1)
    return compared(name or family, family, found, draws, command, native_score)


def _with_visits(recipe: Recipe, visits: int) -> Recipe:
    if not visits or recipe.strategy is None:
        return recipe
    return recipe.with_rounds(visits // recipe.strategy.client_count)


def _compare(name: str, family: str, strategies: str = "", rounds: int | None = None) -> Figure:
    """As `tinyreptile compare` does it, with the usual adaptation only."""
    draws = DRAWS.get(family, 1)
    given = {"strategies": strategies, "rounds": rounds, "draws": draws if draws > 1 else None}
    options = "".join(f" --{option} {value}" for option, value in given.items() if value)
    names = strategies.split(",") if strategies else recipes(family)
    found = [find_recipe(family, one).alone().with_rounds(rounds) for one in names]
    return compared(name, family, found, draws, f"tinyreptile compare {family}{options} --json")


def _equal(family: str) -> Figure:
    """The Reptile that is as accurate as TinyReptile, see `bench.equal`."""
    return compared(f"{family}-equal", family, [equal.recipe(family)])


def _shorter(trial: Trial) -> Trial:
    recipe = trial.recipe.with_rounds(QUICK_ROUNDS)
    return replace(trial, recipe=recipe, draws=1, most=QUICK_DEVICES)


def _data(family: str) -> dict[str, str]:
    """Hashes of the data files that a task family reads."""
    for data in DATA_SETS.values():
        if family in data.families:
            return {archive.name: archive.sha256 for archive in data.archives}
    return {} if family == "sine" else {FILE: SHA256}


def _claim() -> Figure:
    """TinyReptile and Reptile, tuned alike: what the devices pay."""
    runs, families = equal_cost.runs(), equal_cost.FAMILIES

    def trials(run: equal_cost.Run, quick: bool) -> list[Trial]:
        found = run.trials(SEEDS, DRAWS.get(run.family, 1))
        return [_shorter(found[0])] if quick else found

    def pieces(quick: bool) -> Pieces:
        return {repr(trial): trial.run for run in runs for trial in trials(run, quick)}

    def assemble(results: list[Any], _: Path) -> dict[str, Any]:
        quick, left, scores = len(results) == len(runs), iter(results), {}
        for run in runs:
            own = [next(left)[0, :, -1] for _ in trials(run, quick)]
            devices = np.concatenate(own).reshape(1 if quick else len(SEEDS), -1)
            scores[run] = summary(devices, find_family(run.family).metric)
        scores |= equal_cost.stored()
        return {"rows": [row for family in families for row in equal_cost.rows(family, scores)]}

    return Figure(
        "claim",
        pieces,
        lambda: {f"{run.family}, {run.name}": first_rounds(trials(run, True)[0]) for run in runs},
        assemble,
        {
            "recipes": {
                f"{family}, {name}": repr(equal_cost.Run(family, name).recipe)
                for family in families
                for name in equal_cost.RIVALS
            },
            "seeds": list(SEEDS),
            "draws": {family: DRAWS.get(family, 1) for family in families},
            "data": {family: _data(family) for family in families},
            "protocol": PROTOCOL | {"choice": SEARCHED},
        },
        "tinyreptile reproduce claim --json",
    )


def _costs(family: str) -> Figure:
    """TinyReptile with less to send, beside Reptile and FedAvg: bytes, instructions, joules."""
    runs, draws = together.runs(family), DRAWS.get(family, 1)

    def trials(run: together.Run, quick: bool) -> list[Trial]:
        found = [*run.trials(SEEDS, draws), *run.validation(draws)]
        return [_shorter(trial) for trial in found[:1]] if quick else found

    def pieces(quick: bool) -> Pieces:
        return {repr(trial): trial.run for run in runs for trial in trials(run, quick)}

    def assemble(results: list[Any], _: Path) -> dict[str, Any]:
        quick, left, scored = len(results) <= len(runs), iter(results), {}
        for run in runs:
            own = [next(left)[0, :, -1] for _ in trials(run, quick)]
            scored[run.name] = together.scored(run, own, 0 if quick else len(SEEDS))
        return {"rows": together.rows(family, scored)}

    def first() -> dict[str, Trial]:  # two tell enough: whole steps packed, and both ideas
        some = (run for run in runs if run.name in ("8 bits, top 25 %", "tinymetafed"))
        return {run.name: trials(run, quick=False)[0] for run in some}

    return Figure(
        f"costs-{family}",
        pieces,
        lambda: {name: first_rounds(trial) for name, trial in first().items()},
        assemble,
        {
            "recipes": {run.name: repr(run.recipe) for run in runs},
            "seeds": list(SEEDS),
            "draws": draws,
            "data": _data(family),
            "protocol": PROTOCOL | {"choice": f"{SEARCHED}; P on validation devices"},
        },
        "tinyreptile reproduce costs --json",
    )


# Files made from one training run


def _sketch(name: str, family: str, rounds: int | None = None) -> Figure:
    """The starting point of a sketch: ``phi.h`` and ``phi.c`` in its folder."""
    trial = _tiny_reptile(family, 0, rounds)
    run = f"tinyreptile on {family}, fold 0, seed 0, {trial.recipe.rounds} rounds"
    command = f"tinyreptile figures {name} ({run})"

    def train(trial: Trial) -> Array:
        return trial.train(population(find_family(family), trial.fold), _generator())

    def write(phi: Array, root: Path) -> Iterable[Path]:
        folder = root / "arduino" / name
        folder.mkdir(parents=True, exist_ok=True)
        return export(find_family(family).network(), phi, folder, command=command)[:2]

    return _files(name, trial, train, write)


def _picture() -> Figure:
    """The picture of the demo."""

    def draw(trial: Trial) -> Array:
        with TemporaryDirectory() as folder:
            demo(Path(folder), _generator(), rounds=trial.recipe.rounds)
            return np.frombuffer((Path(folder) / "demo.png").read_bytes(), np.uint8)

    def write(picture: Array, root: Path) -> Iterable[Path]:
        path = root / "docs" / "demo.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture.tobytes())
        return [path]

    return _files("demo", _tiny_reptile(FAMILY, FOLD), draw, write)


def _files(
    name: str,
    trial: Trial,
    run: Callable[[Trial], Array],
    write: Callable[[Array, Path], Iterable[Path]],
) -> Figure:
    def assemble(results: list[Any], root: Path) -> dict[str, Any]:
        paths = write(results[0], root)
        return {"files": {path.relative_to(root).as_posix(): sha256(path) for path in paths}}

    about = {"family": trial.family, "recipe": repr(trial.recipe), "seed": trial.seed}
    return Figure(
        name,
        lambda quick: {"run": partial(run, _shorter(trial) if quick else trial)},
        lambda: {"tinyreptile": first_rounds(trial, _generator())},
        assemble,
        about | {"fold": trial.fold, "data": _data(trial.family)},
    )


def _tiny_reptile(family: str, fold: int, rounds: int | None = None) -> Trial:
    recipe = find_recipe(family, "tinyreptile").at(fold, find_family(family).folds)
    recipe = recipe.alone().with_rounds(rounds)
    if family not in BY_HAND:  # larger networks
        recipe = recipe.with_learners(partial(native, strict=False))
    return Trial(family, recipe, seed=0, fold=fold, draws=1)


def _generator() -> np.random.Generator:
    return np.random.default_rng([0, 0])  # as `tinyreptile train` and `demo` without options


def sha256(path: Path) -> str:
    """Hash of a file, in hexadecimal; empty if it is not there."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


# Mountings of a sensor on a wrist


def _mountings(family: str, seeds: tuple[int, ...] = SEEDS) -> Figure:
    """Trained in three ways, worn in four."""
    first = [trial for trial in mounting.trials(family, (0,)) if trial.fold == 0]

    def pieces(quick: bool) -> Pieces:
        trials = mounting.trials(family, seeds)
        if quick:
            trials = [replace(t, recipe=t.recipe.with_rounds(QUICK_ROUNDS)) for t in first]
        return {repr(trial): trial.run for trial in trials}

    def assemble(results: list[Any], _: Path) -> dict[str, Any]:
        return {"rows": mounting.rows(family, results, 1 if len(results) < PEOPLE else len(seeds))}

    return Figure(
        f"mountings-{family}",
        pieces,
        lambda: {trial.way: fingerprint(trial.phi(ROUNDS)) for trial in first},
        assemble,
        {
            "recipes": {trial.way: repr(trial.recipe) for trial in first},
            "seeds": list(seeds),
            "draws": mounting.DRAWS,
            "data": _data(family),
        },
    )


def _mountings_search() -> Figure:
    """Settings for the ways that know no mounting, on people neither trained on nor tested."""
    first = [one for one in mounting.candidates() if one.fold == mounting.SEARCHED[0]]

    def pieces(quick: bool) -> Pieces:
        some = mounting.candidates()
        if quick:
            some = [replace(one, rounds=QUICK_ROUNDS) for one in first]
        return {f"{place} {one!r}": one.run for place, one in enumerate(some)}

    return Figure(
        "mountings-search",
        pieces,
        lambda: {f"{one!r}": fingerprint(one.phi(ROUNDS)) for one in first},
        lambda results, _: {"rows": mounting.search_rows(results)},
        {"data": _data("wrist"), "folds": list(mounting.SEARCHED)},
    )


# Benchmarks: all rows in one piece; the fingerprint is of what is computed


def _bench(
    name: str, measure: Callable[[bool], Rows], trace: Callable[[], Prints], tools: bool = False
) -> Figure:
    return Figure(name, lambda quick: {"rows": lambda: measure(quick)}, trace, tools=tools)


def _device(_: bool) -> Rows:
    return [row for compiler in COMPILERS for row in device.board_rows(compiler)]


def _device_trace() -> Prints:
    """Counts of visits with each compiler that is installed; others count otherwise."""
    found = {}
    for compiler in COMPILERS:
        with suppress(BuildError):
            named = find_compiler(compiler)
            online_only = {"wrist", *device.convolutional()}  # Reptile takes long there
            for name, case in (device.cases() | device.convolutional()).items():
                kinds = (False,) if name in online_only else (False, True)
                costs = [device.measure(case, reptile, compiler) for reptile in kinds]
                counts = [(*cost.executed, cost.ram) for cost in costs]
                for what, *numbers in zip(
                    ("instructions", "cycles", "low", "high", "bytes"), *counts, strict=True
                ):
                    found[f"{name}, {what}, {named}"] = as_text(numbers)
    return found


def _drops() -> str:
    """What drops of the Bluetooth link do to a few visits."""
    return as_text([row["value"] for row in faults.drop_rows(faults.run(Faults(), 20)[0], 20)])


def _host_trace() -> Prints:
    rng = np.random.default_rng(0)
    net, params, samples = host.lesson(host.STEPS, rng)
    return {"numpy": fingerprint(OnlineSGD(host.RATE).learn(net, params, samples, rng).params)}


_ALL = [
    _compare("sine", "sine"),
    _compare("sine-20000-visits", "sine", "tinyreptile", 20_000),
    _equal("sine"),
    _compare("wrist-150-visits-tinyreptile", "wrist", "tinyreptile", 150),
    _compare("wrist-150-visits-fedavg", "wrist", "fedavg", 30),
    _compare("wrist", "wrist", "tinyreptile,reptile,reptile-batched,fedavg,fedsgd,joint,scratch"),
    _compare("wrist-reptile-adam", "wrist", "reptile-adam"),  # apart, as it has no twin in C
    _family("wrist-commands"),
    _family("omniglot"),
    _family("omniglot", "tinyreptile,prototype", "omniglot-long", visits=150_000),
    _family("keywords"),
    _family("keywords-new-words", "tinyreptile"),
    _claim(),
    *(_costs(family) for family in together.FAMILIES),
    _equal("wrist"),
    _mountings_search(),
    _mountings("wrist"),
    _mountings("wrist-commands", SEEDS[:1]),
    _sketch("HelloTinyReptile", "sine", rounds=20_000),
    _sketch("WristAdapt", "wrist"),
    _sketch("KeywordAdapt", "keywords"),
    _sketch("DrawAdapt", "omniglot", rounds=150_000),
    _picture(),
    _bench("device", _device, _device_trace, tools=True),
    _bench("host", lambda quick: host.rows(2 if quick else host.REPEATS), _host_trace),
    _bench(
        "wire",
        lambda quick: wire.rows(1 if quick else wire.REPEATS),
        lambda: {row["name"]: as_text([row["value"]]) for row in wire.rows(repeats=1)},
    ),
    _bench(
        "faults",
        lambda quick: faults.rows(20, 3, 30) if quick else faults.rows(),
        lambda: {"phi": fingerprint(faults.run(Faults(), rounds=5)[0]), "ble": _drops()},
    ),
    _bench(
        "axes",
        lambda quick: axes.rows(1, 1) if quick else axes.rows(),
        lambda: {name: fingerprint(values) for name, values in axes.trace().items()},
    ),
]
FIGURES = {figure.name: figure for figure in _ALL}  # in the order in which they are made


def find_figure(name: str) -> Figure:
    """Look a figure up by name; raises `KitError` that lists the known ones."""
    if name not in FIGURES:
        raise unknown_name("figure", name, FIGURES)
    return FIGURES[name]
