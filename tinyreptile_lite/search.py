"""A fair search of settings: ``tinyreptile tune FAMILY``.

Every strategy gets the same number of trials, of the same lengths, at the same points of the space
of settings: inner rate, outer rate at the start and at the end, visits, and for those that keep
samples passes and minibatch. All trials of the first rung are short; the best few go on to longer
ones (successive halving, Jamieson and Talwalkar 2016, arXiv 1502.07943). If the best one has fewer
visits than it may, it is tried with all of them too, both in full length.

A setting is judged on devices that are neither trained nor tested on, by the means of two new
devices: one that keeps nothing and makes one online pass, and one that makes several passes over
samples it keeps, each at the best of three inner rates. Where all devices are tested in some fold,
the folds are halved: what is used in one half was chosen on the devices tested in the other.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.checkpoint import sync_folder
from tinyreptile_lite.core.native import native, native_score
from tinyreptile_lite.errors import DivergenceError, at_least_one, file_errors, unknown_name
from tinyreptile_lite.experiment import Trial
from tinyreptile_lite.pieces import run_kept
from tinyreptile_lite.recipes import made
from tinyreptile_lite.settings import (
    PLANS,
    STRATEGIES,
    TUNED,
    Plan,
    Setting,
    adaptations,
    alone,
    clients,
    tuned,
)
from tinyreptile_lite.tasks import find_family

Array = np.ndarray

SEED = 100  # of the first rung; no result is made with it
RUNGS = 8, 3  # trials of a strategy, short and long
ALONE = "alone"  # the kind of adaptation of a device that has no start
HOPELESS = 1e9  # mean squared error of a run that diverged
# Inner rates of a new device, as parts of the rate in training.
FACTORS = {
    "one pass": (0.5, 1, 2),
    "passes": (0.25, 0.5, 1),
    "head only": (1, 4, 16),
    "class means": (1,),
    ALONE: (1,),
    "class means, then": (0.1, 0.3, 1),
}


def strategies_of(family: str) -> tuple[str, ...]:
    """Names of the strategies that the search of a family compares."""
    return (*STRATEGIES, *["prototype"] * PLANS[family].prototypes, "scratch")


def points(plan: Plan, name: str) -> list[Setting]:
    """Draw the settings of a strategy: a Latin hypercube, the same one for all strategies."""
    count = RUNGS[0]
    rng = np.random.default_rng(SEED)
    strata = np.stack([rng.permutation(count) for _ in range(6)], axis=1)
    cube = (strata + rng.random(strata.shape)) / count
    return [_setting(plan, name, *row) for row in cube.tolist()]


def _setting(
    plan: Plan,
    name: str,
    rate: float,
    outer: float,
    end: float,
    visits: float,
    passes: float,
    batch: float,
) -> Setting:
    low, high = plan.rates
    high *= {"fedsgd": 6, "joint": 2, "reptile": 2, "reptile-batched": 2, "scratch": 2}.get(name, 1)
    start = 0.1**outer  # from 1 down to 0.1
    many = int(plan.visits * (0.5 if visits < 0.3 else 1))
    return Setting(
        rate=_rounded(low * (high / low) ** rate),
        outer=_rounded(start),
        end=0.0 if end < 0.7 else _rounded(start),
        visits=many - many % clients(name),
        passes=2 if passes < 0.5 else 4,
        batch=plan.batches[int(batch * len(plan.batches))],
    )


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def search_fold(half: int, folds: int) -> int:
    """Fold whose validation devices, which are tested in the next one, choose for a half."""
    return next(
        fold for fold in range(folds) if folds == 1 or 2 * ((fold + 1) % folds) // folds != half
    )


@dataclass(frozen=True)
class Candidate:
    """One trial of the search: a setting, trained on one fold, judged on its validation devices."""

    family: str
    name: str
    setting: Setting
    fold: int
    part: float  # of the visits
    all_kinds: bool  # whether to try every kind of adaptation, or only those that judge

    def run(self) -> dict[str, dict[str, list[float]]]:
        """Return scores after each number of samples, by kind of adaptation and inner rate."""
        plan = PLANS[self.family]
        visits = int(self.setting.visits * self.part)
        setting = self.setting._replace(visits=visits - visits % clients(self.name))
        grid = self._grid(plan)
        rates = [(kind, rate) for kind, some in grid.items() for rate in some]
        kinds = adaptations(plan) | {ALONE: lambda _: alone(setting)}
        ways = [kinds[kind](rate) for kind, rate in rates]
        recipe = replace(
            made(plan, self.name, setting, ways), adaptation=ways[0], more=tuple(ways[1:])
        )
        recipe = recipe.with_learners(partial(native, strict=False))
        about = SEED, self.fold, plan.draws, True, plan.devices, native_score
        try:
            scores = Trial(self.family, recipe, *about).run().mean(axis=1)
        except DivergenceError:  # a setting that blows up is no reason to stop the search
            family = find_family(self.family)
            worst = 0.0 if family.metric == "accuracy" else HOPELESS
            scores = np.full((len(ways), len(family.counts)), worst)
        found: dict[str, dict[str, list[float]]] = {}
        for (kind, rate), means in zip(rates, scores.tolist(), strict=True):
            found.setdefault(kind, {})[str(rate)] = means
        return found

    def _grid(self, plan: Plan) -> dict[str, list[float]]:
        rate = min(self.setting.rate, plan.rates[1])
        judging = judges(plan, self.name)
        kinds = list(adaptations(plan)) if self.all_kinds and ALONE not in judging else judging
        return {kind: [_rounded(rate * factor) for factor in _factors(kind)] for kind in kinds}


def judges(plan: Plan, name: str) -> list[str]:
    """Kinds of adaptation by which a strategy is judged."""
    special = {"scratch": [ALONE], "prototype": ["class means"]}
    return special.get(name, ["one pass", f"{plan.passes[0]} passes"])


def _factors(kind: str) -> tuple[float, ...]:
    """Inner rates to try for a kind of adaptation, as parts of the rate in training."""
    found = [begin for begin in FACTORS if kind.startswith(begin)]
    return FACTORS[found[-1] if found else "passes"]


def best_rates(found: dict[str, dict[str, list[float]]], metric: str) -> dict[str, float]:
    """Choose the inner rate of each kind of adaptation."""
    return {
        kind: max((float(rate) for rate in some), key=lambda r: goodness(some[str(r)], metric))
        for kind, some in found.items()
    }


def goodness(means: Sequence[float], metric: str) -> float:
    """One number for the scores after each number of samples but zero; more is better."""
    after = np.array(means[1:])
    return float(-np.log(after).mean() if metric == "mse" else after.mean())


def judged(found: dict[str, dict[str, list[float]]], plan: Plan, name: str, metric: str) -> float:
    """Mean over the kinds that judge a strategy, each at its best rate."""
    kinds = judges(plan, name)
    best = [max(goodness(means, metric) for means in found[kind].values()) for kind in kinds]
    return float(np.mean(best))


def search(
    family: str,
    strategies: Sequence[str] = (),
    jobs: int = 1,
    progress: bool = False,
    folder: Path = Path("build/tune"),
) -> dict[str, Any]:
    """Search settings for the strategies of a family; an interrupted search goes on.

    Parameters
    ----------
    family : str
        One of `settings.PLANS`.
    strategies : sequence of str
        Names; all by default.
    jobs : int
        Processes to use.
    folder : Path
        Where the trials that are done are kept.

    Returns
    -------
    dict
        In plain JSON types, as `settings.tuned` reads it.

    Raises
    ------
    KitError
        If no such family has a search, or a strategy is unknown, or the data is missing.
    """
    if family not in PLANS:
        raise unknown_name("family with a search", family, PLANS)
    at_least_one(jobs=jobs)
    known = strategies_of(family)
    for name in strategies:
        if name not in known:
            raise unknown_name("strategy", name, known)
    with file_errors("search in a folder that you can write to"):
        folder.mkdir(parents=True, exist_ok=True)
    folds = find_family(family).folds
    names = list(strategies) or list(known)
    run = partial(run_kept, folder=folder, about=["tune"], jobs=jobs, progress=progress)
    halves = [
        dict(zip(names, races, strict=True))
        for races in (
            _race(family, names, half, folds, run) for half in range(1 if folds == 1 else 2)
        )
    ]
    return {
        "command": f"tinyreptile tune {family}",
        "plan": json.loads(json.dumps(asdict(PLANS[family]))),  # tuples become lists
        "trials": list(RUNGS),
        "halves": halves,
    }


def _race(
    family: str, names: Sequence[str], half: int, folds: int, run: Callable[..., list[Any]]
) -> list[dict[str, Any]]:
    """Let settings compete, rung after rung: what was chosen for each strategy, and all scores."""
    plan, metric, fold = PLANS[family], find_family(family).metric, search_fold(half, folds)
    left = {name: points(plan, name) for name in names}
    tried: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    rates: dict[str, dict[str, float]] = {}

    def compete(rung: int, part: float, some: dict[str, list[Setting]], all_kinds: bool) -> None:
        """Try these settings; the best of each strategy comes first in what is left."""
        trials = {
            (name, setting): Candidate(family, name, setting, fold, part, all_kinds)
            for name, settings in some.items()
            for setting in settings
        }
        works = {repr(one): one.run for one in trials.values()}
        title = f"{family}, half {half + 1}, rung {rung} of {len(RUNGS) + 1}"
        found = dict(zip(trials, run(works, title=title), strict=True))
        for name, settings in some.items():
            scores = {one: judged(found[name, one], plan, name, metric) for one in settings}
            left[name] = sorted(scores, key=scores.__getitem__, reverse=True)
            tried[name] += [
                {"rung": rung, "score": round(scores[setting], 4), **setting._asdict()}
                for setting in reversed(left[name])  # the best comes last
            ]
            rates[name] = best_rates(found[name, left[name][0]], metric)

    for rung, (count, part) in enumerate(zip(RUNGS, plan.parts, strict=True), start=1):
        best = {name: left[name][:count] for name in names}
        compete(rung, part, best, all_kinds=rung == len(RUNGS))
    pairs = {name: [left[name][0], _with_all_visits(plan, name, left[name][0])] for name in names}
    unlike = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    compete(len(RUNGS) + 1, 1.0, unlike, all_kinds=True)
    return [
        {"setting": left[name][0]._asdict(), "rates": rates[name], "tried": tried[name]}
        for name in names
    ]


def _with_all_visits(plan: Plan, name: str, setting: Setting) -> Setting:
    if name == "scratch":  # it makes none
        return setting
    return setting._replace(visits=plan.visits - plan.visits % clients(name))


def write(family: str, found: dict[str, Any], folder: Path = TUNED) -> Path:
    """Write what was found where `recipes` read it; strategies left out stay as they were."""
    path = folder / f"{family}.json"
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        if len(before["halves"]) == len(found["halves"]):
            pairs = zip(before["halves"], found["halves"], strict=True)
            found = found | {"halves": [old | new for old, new in pairs]}
    with file_errors("search in a clone that you can write to"):
        folder.mkdir(exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        part.replace(path)
        sync_folder(folder)
    tuned.cache_clear()
    return path
