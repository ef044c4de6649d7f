"""What a visit and a whole training cost a board: bytes, instructions, modelled joules.

Nothing here is stored or trained: a row is worked out from a recipe and its network. Instructions
and cycles are those that were counted on the virtual board (the figures ``device`` and ``claim``)
where the same network learned in the same way there; else they are estimated, and called so.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from tinyreptile_lite.costs import round_bytes, sample_bytes, step_macs
from tinyreptile_lite.energy import (
    NO_WORK,
    Energy,
    EnergyModel,
    Work,
    estimated_work,
    visit_energy,
    work_of_macs,
)
from tinyreptile_lite.few_shot import OnlinePasses
from tinyreptile_lite.learners import Learner, OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.recipes import Recipe, find_recipe
from tinyreptile_lite.results import measured
from tinyreptile_lite.strategies import Strategy
from tinyreptile_lite.tables import in_columns
from tinyreptile_lite.tasks import find_family

_MEASURED = "sine", "wrist", "omniglot", "keywords"  # families whose networks are in ``device``
_ONLINE = OnlineSGD.__name__, OnlinePasses.__name__  # their steps are those that were counted
_COMPILER = "arm-none-eabi-gcc"
_MOVED = "bytes_up", "bytes_down"
Row = dict[str, Any]


# ---- Instructions --------------------------------------------------------------------------------


def visit_work(net: Network, learner: Learner, sample_count: int) -> Work:
    """Return what learning from the samples of one visit takes on the board."""
    one = _steps().get(net.fingerprint())
    if one and _kind(learner) in _ONLINE:
        return one * learner.steps(sample_count)
    seen = _visits().get((net.fingerprint(), _kind(learner)))
    if seen is None:
        return estimated_work(net, learner, sample_count)
    name, passes, work = seen
    if (name, passes) == (_named(learner), learner.steps(sample_count)):
        return work
    return replace(work * (learner.steps(sample_count) / passes), counted=False)


def score_work(net: Network, sample_count: int) -> Work:
    """Return what it takes to score so many samples: forward passes, always estimated."""
    return work_of_macs(sample_count * step_macs(net, len(net.layers)))


def _kind(learner: Learner) -> str:
    """Name a learner, wherever it runs."""
    return type(learner).__name__.removeprefix("Native")


def _named(learner: Learner | str) -> str:
    """Describe a learner without its rate, which changes no count, and without where it runs."""
    return re.sub(r"rate=[^,)]*(, )?", "", str(learner)).removeprefix("Native")


@cache
def _steps() -> Mapping[str, Work]:
    """One online step on each measured network, by its fingerprint."""
    rows = {
        row["name"]: row["value"]
        for row in measured("device")["rows"]
        if row.get("compiler", "").startswith(_COMPILER)
    }
    return {
        find_family(name).network().fingerprint(): Work(
            rows[f"{name}.instructions"], rows[f"{name}.cycles_model"], counted=True
        )
        for name in _MEASURED
    }


@cache
def _visits() -> Mapping[tuple[str, str], tuple[str, int, Work]]:
    """Visits with minibatches that were counted for the claim, by network and kind of learner.

    Each has its learner, the passes over a sample and what was executed.
    """
    found = {}
    for row in measured("claim")["rows"]:
        epochs = re.search(r"epochs=(\d+)", row.get("learner", ""))
        if epochs:
            net = find_family(row["family"]).network()
            work = Work(row["visit_instructions"], row["visit_cycles"], counted=True)
            passes = int(epochs[1]) * (row["sample_bytes"] // sample_bytes(net))
            kind = row["learner"].partition("(")[0]
            found[net.fingerprint(), kind] = _named(row["learner"]), passes, work
    return found


# ---- Bytes ---------------------------------------------------------------------------------------


@cache
def framing() -> float:
    """How many bytes go over Bluetooth for each byte of weights, by the figure ``wire``."""
    rows = {row["name"]: row["value"] for row in measured("wire")["rows"]}
    return 1 + float(rows["overhead_ble"])


def visit_bytes(net: Network, strategy: Strategy) -> tuple[int, int]:
    """Return the bytes that a board sends and gets in one visit, with the frames around them."""
    up, down = round_bytes(net, replace(strategy, client_count=1))
    return round(up * framing()), round(down * framing())


# ---- Rows ----------------------------------------------------------------------------------------


def cost_row(family: str, recipe: Recipe, model: EnergyModel) -> Row:
    """Sum up what training by a recipe costs the boards.

    Returns
    -------
    dict
        Of one visit: ``bytes_up`` and ``bytes_down`` with framing, ``instructions`` and
        ``cycles``, how they are known (``work``: "counted" or "estimated"), joules of
        ``compute_joules``, ``radio_joules`` and their sum ``visit_joules``. Of the whole training:
        ``visits`` and ``run_joules``. All joules are modelled. A recipe that trains nothing costs
        nothing.
    """
    net = find_family(family).network()
    visits, run, first = 0, Energy(), None
    for strategy, rounds in _parts(recipe):
        work, energy = _visit(net, strategy, model)
        count = rounds * strategy.client_count
        first = first or _row(work, visit_bytes(net, strategy), energy)
        visits, run = visits + count, run + energy * count
    first = first or _row(NO_WORK, (0, 0), Energy())
    return {"strategy": recipe.name, **first, "visits": visits, "run_joules": run.work}


def _parts(recipe: Recipe) -> list[tuple[Strategy, int]]:
    """What a recipe trains: its own strategy first, then what comes before."""
    parts = [(recipe.strategy, recipe.rounds)] if recipe.strategy else []
    return parts + ([(recipe.start.strategy, recipe.start.rounds)] if recipe.start else [])


def _visit(net: Network, strategy: Strategy, model: EnergyModel) -> tuple[Work, Energy]:
    """What a board pays for one visit; a server that has all samples learns from them itself."""
    work = NO_WORK
    if not strategy.pooled:
        work = visit_work(net, strategy.learner, strategy.sample_count)
    return work, visit_energy(model, work.cycles, *visit_bytes(net, strategy))


def _row(work: Work, moved: tuple[int, int], energy: Energy) -> Row:
    up, down = moved
    return {
        "bytes_up": up,
        "bytes_down": down,
        "instructions": work.instructions,
        "cycles": work.cycles,
        "work": work.kind,
        "compute_joules": energy.compute,
        "radio_joules": energy.radio,
        "visit_joules": energy.work,
    }


def costs_of_rows(rows: Sequence[Mapping[str, Any]], family: str, model: EnergyModel) -> list[Row]:
    """Make a `cost_row` of each strategy in the rows of a comparison, with the rounds it had."""
    found = {}
    for row in rows:
        recipe = find_recipe(family, row["strategy"])
        if row["rounds"] != sum(rounds for _, rounds in _parts(recipe)):
            recipe = recipe.with_rounds(row["rounds"])
        found[recipe.name] = cost_row(family, recipe, model)
    return list(found.values())


def costs_of_claim(rows: Sequence[Mapping[str, Any]], model: EnergyModel) -> list[Row]:
    """Put modelled joules beside what was counted for the claim."""
    found = []
    for row in rows:
        if "visit_cycles" not in row:
            continue
        moved = tuple(round(row[key] / row["visits"] * framing()) for key in _MOVED)
        work = Work(row["visit_instructions"], row["visit_cycles"], counted=True)
        energy = visit_energy(model, work.cycles, *moved)
        run = visit_energy(model, row["cycles"], *(row[key] * framing() for key in _MOVED))
        name = f"{row['family']}, {row['strategy']}"
        last = {"visits": row["visits"], "run_joules": run.work}
        found.append({"strategy": name, **_row(work, (moved[0], moved[1]), energy), **last})
    return found


def cost_table(rows: Sequence[Mapping[str, Any]], model: EnergyModel) -> str:
    """Lay rows of costs out as text."""
    width = max(16, *(len(row["strategy"]) + 1 for row in rows))
    cells: list[Sequence[Any]] = [
        ("", "bytes", "bytes", "instruc-", "", "learn", "radio", "visit", "", "run"),
        ("", "up", "down", "tions", "", "mJ", "mJ", "mJ", "visits", "J"),
    ]
    cells += [_cells(row) for row in rows]
    title = (
        f"What a visit costs a board, and the whole run all of them; joules are modelled for "
        f"{model.tx_dbm:g} dBm,\nwithout what a board draws while it waits "
        f"({model.idle_ma:g} mA, {model.idle(1) * 1000:.0f} mJ a second)\n"
    )
    layout = f"{{:{width}}}{{:>8}}{{:>8}}{{:>13}} {{:10}}{{:>9}}{{:>9}}{{:>9}}{{:>8}}{{:>9}}"
    return title + in_columns(layout, cells)


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    joules = (f"{1000 * row[f'{key}_joules']:.3f}" for key in ("compute", "radio", "visit"))
    return (
        row["strategy"],
        f"{row['bytes_up']:,}",
        f"{row['bytes_down']:,}",
        f"{row['instructions']:,}",
        row["work"],
        *joules,
        f"{row['visits']:,}",
        f"{row['run_joules']:.2f}",
    )
