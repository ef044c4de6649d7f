"""The list of all figures, in the order in which they are made."""

import numpy as np

from tinyreptile_lite.bench import device, equal, faults, host, kills, wire
from tinyreptile_lite.bench.timing import Rows
from tinyreptile_lite.errors import unknown_name
from tinyreptile_lite.experiment import Comparison
from tinyreptile_lite.figures.fingerprint import as_text, fingerprint
from tinyreptile_lite.figures.kinds import DEMO, Benched, Compared, Figure, Sketched
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.nano.firmware import find_compiler
from tinyreptile_lite.recipes import find_recipe, recipes
from tinyreptile_lite.wire.faults import Faults

SEEDS = 0, 1, 2
WRIST = "tinyreptile", "reptile", "reptile-batched", "fedavg", "fedsgd", "joint", "scratch"
COMMANDS = "tinyreptile", "reptile", "fedavg", "fedsgd", "joint", "scratch"


def _compared(
    name: str, family: str, strategies: tuple[str, ...] = (), rounds: int | None = None
) -> Compared:
    """As `tinyreptile compare` does it; on wrists with 10 orders of the windows."""
    draws = 1 if family == "sine" else 10
    options = [family]
    options += ["--strategies", ",".join(strategies)] if strategies else []
    options += ["--rounds", str(rounds)] if rounds else []
    options += ["--draws", str(draws)] if draws > 1 else []
    found = [find_recipe(family, one).with_rounds(rounds) for one in strategies or recipes(family)]
    comparison = Comparison(family, tuple(found), SEEDS, draws)
    return Compared(name, comparison, " ".join([*options, "--json"]))


def _equal(family: str) -> Compared:
    """The Reptile that is as accurate as TinyReptile, see `bench.equal`."""
    return Compared(f"{family}-equal", Comparison(family, (equal.recipe(family),), SEEDS))


def _device(_: bool) -> Rows:
    return [row for compiler in ("gcc", "zig") for row in device.board_rows(compiler)]


def _device_trace() -> dict[str, str]:
    """Counts of an online visit; another compiler counts otherwise, so it is named."""
    costs = {name: device.measure(case, False, "zig") for name, case in device.cases().items()}
    counts = {name: as_text([*cost.executed, cost.ram]) for name, cost in costs.items()}
    return {f"{name}, {find_compiler('zig')}": text for name, text in counts.items()}


def _host_trace() -> dict[str, str]:
    rng = np.random.default_rng(0)
    net, params, samples = host.lesson(host.STEPS, rng)
    return {"numpy": fingerprint(OnlineSGD(host.RATE).learn(net, params, samples, rng).params)}


def _wire_trace() -> dict[str, str]:
    return {row["name"]: as_text([row["value"]]) for row in wire.rows(repeats=1)}


def _faults_trace() -> dict[str, str]:
    return {"phi": fingerprint(faults.run(Faults(), rounds=5)[0])}


_ALL = [
    _compared("sine", "sine"),
    _compared("sine-20000-visits", "sine", ("tinyreptile",), 20_000),
    _equal("sine"),
    _compared("wrist-150-visits-tinyreptile", "wrist", ("tinyreptile",), 150),
    _compared("wrist-150-visits-fedavg", "wrist", ("fedavg",), 30),
    _compared("wrist", "wrist", WRIST),
    _compared("wrist-reptile-adam", "wrist", ("reptile-adam",)),  # no twin in C, so it takes long
    _compared("wrist-commands", "wrist-commands", COMMANDS),
    _equal("wrist"),
    Sketched("HelloTinyReptile", "sine", rounds=20_000),
    Sketched("WristAdapt", "wrist"),
    DEMO,
    Benched("device", _device, _device_trace),
    Benched("host", lambda quick: host.rows(2 if quick else host.REPEATS), _host_trace),
    Benched("wire", lambda quick: wire.rows(1 if quick else wire.REPEATS), _wire_trace),
    Benched(
        "faults",
        lambda quick: (
            faults.rows(20) + kills.rows(3, 30) if quick else faults.rows() + kills.rows()
        ),
        _faults_trace,
    ),
]
FIGURES: dict[str, Figure] = {figure.name: figure for figure in _ALL}


def find_figure(name: str) -> Figure:
    """Look a figure up by name; raises `KitError` that lists the known ones."""
    if name not in FIGURES:
        raise unknown_name("figure", name, FIGURES)
    return FIGURES[name]
