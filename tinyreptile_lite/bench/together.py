"""What learning together costs: bytes, instructions and modelled energy, side by side.

TinyReptile as the search has tuned it is trained again with less to send: changes in 16 or 8 bits,
the largest of them only (Top-P), with a head that is rebuilt first (partial), and with both, which
is TinyMetaFed in our reading. Nothing else is changed, and nothing is searched for them but P: with
8 bits and steps of all layers, P falls until the score on validation devices, which are in neither
training nor test, loses more than half a point, or a twentieth of the error; the last P before that
is chosen. Reptile and FedAvg, which the same search has tuned, stand beside them. New devices adapt
in the same way from all starting points: in several passes over the samples that they keep.

Bytes are counted on a board inside this process, framing, checks, positions and requests included.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tinyreptile_lite.bench.claim import claim_costs
from tinyreptile_lite.bench.packing import pack_cost
from tinyreptile_lite.clients import Order
from tinyreptile_lite.core.native import native, native_score
from tinyreptile_lite.costs import device_ram, visit_macs
from tinyreptile_lite.energy import EnergyModel, visit_energy
from tinyreptile_lite.experiment import Trial, population, summary
from tinyreptile_lite.learners import Learner, OnlineSGD
from tinyreptile_lite.nano.cycles import Executed
from tinyreptile_lite.partial import WHOLE as WHOLE_BITS
from tinyreptile_lite.partial import PartialSGD
from tinyreptile_lite.recipes import BY_HAND, Recipe, searched
from tinyreptile_lite.results import measured
from tinyreptile_lite.settings import plan_of, spoken
from tinyreptile_lite.strategies import Strategy
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.wire.ble import BLE_FRAME
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.links import USB_FRAME, LocalLink
from tinyreptile_lite.wire.local import LocalBoard

Array = np.ndarray

FAMILIES = "sine", "wrist", "wrist-commands", "omniglot"
RIVALS = "reptile", "fedavg"
WHOLE = "tinyreptile"
# Loss on validation devices: half of the point, or of the tenth of the error, that may be lost on
# test devices, as the validation devices are few.
ALLOWED = {"accuracy": 0.005, "mse": 0.05}
VALIDATION_SEED, VALIDATION_FOLDS = 100, 3
VISITS = 5  # whose bytes are counted, each by another device
HEAD_SHARE = 3  # a third of the samples rebuild the head


class Way(NamedTuple):
    """A way for the devices to step and to send."""

    bits: int
    percent: float = 100.0
    partial: bool = False
    send_head: bool = True
    feedback: bool = False

    @property
    def chooses(self) -> bool:
        """Whether it is one of those among which P is chosen."""
        return self.bits == 8 and not (self.partial or self.feedback)

    def learner(self, whole: Learner, sample_count: int) -> Learner:
        """What the devices do instead of TinyReptile's online steps."""
        head_samples = sample_count // HEAD_SHARE if self.partial else 0
        how = self.bits, self.percent, self.send_head, self.feedback
        return PartialSGD(whole.rate, head_samples, whole.rate, *how)


WAYS = {
    "16 bits": Way(16),
    "8 bits": Way(8),
    "8 bits, top 50 %": Way(8, 50),
    "8 bits, top 25 %": Way(8, 25),
    "8 bits, top 10 %": Way(8, 10),
    "8 bits, top 5 %": Way(8, 5),
    "8 bits, top 5 %, feedback": Way(8, 5, feedback=True),
    "partial": Way(32, partial=True),
    "tinymetafed": Way(8, 25, partial=True),
    "tinymetafed, head stays": Way(8, 25, partial=True, send_head=False),
}


# Where a training takes long, not all are tried.
_FEW = "8 bits", "8 bits, top 25 %", "8 bits, top 10 %", "8 bits, top 5 %", "tinymetafed"
_REST = "8 bits, top 5 %, feedback", "tinymetafed, head stays"
TRIED = {
    "sine": tuple(WAYS),
    "wrist": tuple(name for name in WAYS if name not in _REST),
    "wrist-commands": _FEW,
    "omniglot": _FEW,
}


@dataclass(frozen=True)
class Run:
    """All trials of one way in a family, or of a rival."""

    family: str
    name: str  # of WAYS, of RIVALS, or WHOLE

    @property
    def recipe(self) -> Recipe:
        """How it trains, with the one adaptation that is compared."""
        rival = self.name if self.name in RIVALS else WHOLE
        return self._shown(searched(self.family)[rival])

    def _shown(self, recipe: Recipe) -> Recipe:
        kind = f"{plan_of(self.family).passes[0]} passes"
        (adaptation,) = (one for one in recipe.adaptations if spoken(one) == kind)
        strategy = recipe.strategy
        if strategy is not None and self.name in WAYS:
            learner = WAYS[self.name].learner(strategy.learner, strategy.sample_count)
            strategy = replace(strategy, learner=learner)
        second = recipe.second and self._shown(recipe.second)
        return replace(recipe, strategy=strategy, adaptation=adaptation, more=(), second=second)

    @property
    def strategy(self) -> Strategy:
        """How it trains in the first fold."""
        strategy = self.recipe.at(0, find_family(self.family).folds).strategy
        assert strategy is not None
        return strategy

    @property
    def is_stored(self) -> bool:
        """Whether the figure of its family has its scores, as its recipe is the one there."""
        return self.name not in WAYS and self.family not in BY_HAND

    def trials(self, seeds: Sequence[int], draws: int) -> list[Trial]:
        """List the training runs, seed by seed; none if their scores are stored."""
        if self.is_stored:
            return []
        folds = range(find_family(self.family).folds)
        return [self._trial(seed, fold, draws, False) for seed in seeds for fold in folds]

    def validation(self, draws: int) -> list[Trial]:
        """List the runs that judge it on validation devices; none of a rival."""
        if self.name in RIVALS:
            return []
        folds = range(min(VALIDATION_FOLDS, find_family(self.family).folds))
        return [self._trial(VALIDATION_SEED, fold, draws, True) for fold in folds]

    def _trial(self, seed: int, fold: int, draws: int, validate: bool) -> Trial:
        folds = find_family(self.family).folds
        recipe = self.recipe.with_learners(partial(native, strict=False)).at(fold, folds)
        most = 0 if self.family == "wrist-commands" else plan_of(self.family).devices
        most = most if validate else 0
        return Trial(self.family, recipe, seed, fold, draws, validate, most, native_score)


def runs(family: str) -> list[Run]:
    """List what is compared in a family."""
    return [Run(family, name) for name in (WHOLE, *TRIED[family], *RIVALS)]


def stored_score(run: Run) -> dict[str, float]:
    """Return the score, after all samples, that the figure of the family has."""
    kind = f"{plan_of(run.family).passes[0]} passes"
    (row,) = (
        row
        for row in measured(run.family)["rows"]
        if row["strategy"] == run.name and row["adaptation"] == kind
    )
    return [*row["adapted_samples"].values()][-1]  # type: ignore[no-any-return]


def traffic(family_name: str, learner: Learner, sample_count: int, seed: int = 0) -> dict[str, Any]:
    """Count the bytes of a visit, over USB and in frames of Bluetooth, from a phi at random.

    Returns
    -------
    dict of str to float
        ``bytes_up`` and ``bytes_down`` of a visit, means over some; ``ble_up`` and ``ble_down``.
    """
    found: dict[str, Any] = {}
    for prefix, frame in (("bytes", USB_FRAME), ("ble", BLE_FRAME)):
        up, down = _visits(family_name, learner, sample_count, frame, seed)
        found |= {f"{prefix}_up": up, f"{prefix}_down": down}
    return found


def _visits(
    family_name: str, learner: Learner, sample_count: int, frame: int, seed: int
) -> tuple[float, float]:
    family, up, down = find_family(family_name), 0, 0
    net = family.network()
    phi = net.init(np.random.default_rng(seed))
    for number, device in enumerate(population(family).train[:VISITS]):
        client = BoardClient(LocalLink(LocalBoard(net, device), frame), net)
        order = Order(0, learner, sample_count, seed + number)
        client.session.need(2 if isinstance(learner, PartialSGD) else 1)
        client.session.hello()  # a board is met once, and visited often
        met = client.session.traffic.received, client.session.traffic.sent
        client.visit(phi, order)
        up += client.session.traffic.received - met[0]
        down += client.session.traffic.sent - met[1]
    return up / VISITS, down / VISITS


def online(learner: Learner) -> Learner:
    """What a board would do that sends as much as this learner: Reptile's steps are not for it."""
    return learner if isinstance(learner, PartialSGD) else OnlineSGD(learner.rate)


def chosen(family: str, validation: dict[str, float]) -> str:
    """Name the way that is chosen: P falls until the validation devices lose too much."""
    metric, best = find_family(family).metric, "8 bits"
    for name in (name for name, way in WAYS.items() if way.chooses and name in validation):
        if loss(metric, validation[WHOLE], validation[name]) > ALLOWED[metric]:
            break
        best = name
    return best


def loss(metric: str, before: float, after: float) -> float:
    """How much worse a score has become: in points, or as a share of the error."""
    return before - after if metric == "accuracy" else after / before - 1


class Scored(NamedTuple):
    """What the trials of a run gave."""

    test: dict[str, float]  # `experiment.summary` of the test devices
    validation: float  # mean over the validation devices


def scored(run: Run, results: Sequence[Array], seeds: int) -> Scored:
    """Sum up the results of a run's trials, those of the test devices first.

    Parameters
    ----------
    run : Run
    results : sequence of ndarray
        Scores of the devices of each trial.
    seeds : int
        Of the test trials; 0 in a smoke run, which has one short trial only.
    """
    if not seeds:
        short = np.concatenate(results) if results else np.ones(1)
        return Scored(summary(short[None], find_family(run.family).metric), float(short.mean()))
    count = 0 if run.is_stored else seeds * find_family(run.family).folds
    validation = results[count:]
    if run.is_stored:
        test = stored_score(run)
    else:
        devices = np.concatenate(results[:count]).reshape(seeds, -1)
        test = summary(devices, find_family(run.family).metric)
    mean = float(np.concatenate(validation).mean()) if validation else test["mean"]
    return Scored(test, mean)


def rows(
    family: str, scored: dict[str, Scored], compiler: str | None = None
) -> list[dict[str, Any]]:
    """Sum up a family: a row for each way and rival, then one for each ratio.

    Parameters
    ----------
    family : str
    scored : dict
        By name of the run.
    compiler : {"gcc", "zig"}, optional
        As in `nano.build`.

    Returns
    -------
    list of dict
        Of one visit: bytes, instructions, modelled cycles, RAM; of the whole training: visits and
        modelled joules, for the radio at 0 dBm.
    """
    best = chosen(family, {name: one.validation for name, one in scored.items()})
    lines = {name: _line(Run(family, name), one, compiler) for name, one in scored.items()}
    for name, line in lines.items():
        line["chosen"] = int(name == best)
    return [*lines.values(), *_named(family, lines, best)]


def _line(run: Run, scored: Scored, compiler: str | None) -> dict[str, Any]:
    strategy, recipe = run.strategy, run.recipe
    net = find_family(run.family).network()
    work = _work(run, compiler)
    moved = traffic(run.family, online(strategy.learner), strategy.sample_count)
    visits = recipe.rounds * strategy.client_count
    each = visit_energy(EnergyModel(), work["cycles"], moved["bytes_up"], moved["bytes_down"])
    return {
        "family": run.family,
        "way": run.name,
        "learner": repr(strategy.learner),
        "score": scored.test,
        "validation": scored.validation if run.name not in RIVALS else None,
        **moved,
        **work,
        "ram_bytes": device_ram(net, strategy.learner, strategy.sample_count).total,
        "visits": visits,
        "compute_joules": visits * each.compute,
        "radio_joules": visits * each.radio,
        "joules": visits * each.work,
    }


def _work(run: Run, compiler: str | None) -> dict[str, int]:
    """Instructions and modelled cycles of a visit; those of packing are among them.

    A head that is rebuilt takes less; its share is that of its multiply-accumulates.
    """
    strategy, learner = run.strategy, run.strategy.learner
    net = find_family(run.family).network()
    base = run if run.name in RIVALS else Run(run.family, WHOLE)
    cost = claim_costs(run.family, base.recipe.at(0, find_family(run.family).folds), compiler)
    share, packing = 1.0, Executed(0, 0, 0, 0)
    if isinstance(learner, PartialSGD):
        count = strategy.sample_count
        share = visit_macs(net, learner, count) / visit_macs(net, OnlineSGD(learner.rate), count)
        if learner.bits != WHOLE_BITS:
            packing = pack_cost(net, learner, compiler)
    learning = round(share * cost["visit_instructions"]), round(share * cost["visit_cycles"])
    return {
        "instructions": learning[0] + packing.instructions,
        "packing_instructions": packing.instructions,
        "cycles": learning[1] + packing.cycles,
    }


def _named(family: str, lines: dict[str, dict[str, Any]], best: str) -> list[dict[str, Any]]:
    """Ratios of what is sent, lost and spent: of the chosen way, and of 8 bits alone."""
    metric = find_family(family).metric
    whole, own, eight = lines[WHOLE], lines[best], lines["8 bits"]
    rival = min((lines[name] for name in RIVALS), key=lambda line: line["joules"])

    def lost(line: dict[str, Any]) -> float:
        return loss(metric, whole["score"]["mean"], line["score"]["mean"])

    values = {
        "bytes_up_ratio": whole["bytes_up"] / own["bytes_up"],
        "accuracy_loss": lost(own),
        "energy_ratio": rival["joules"] / own["joules"],
        "energy_ratio_of_tinyreptile": rival["joules"] / whole["joules"],
        "lead_over_rival": -loss(metric, rival["score"]["mean"], own["score"]["mean"]),
        "int8_bytes_up_ratio": whole["bytes_up"] / eight["bytes_up"],
        "int8_accuracy_loss": lost(eight),
        "packing_share": own["packing_instructions"] / own["instructions"],
    }
    notes = {"bytes_up_ratio": best, "energy_ratio": rival["way"]}
    return [
        {
            "name": f"{family}.{name}",
            "value": value,
            **({"of": notes[name]} if name in notes else {}),
        }
        for name, value in values.items()
    ]
