"""The list of all figures, in the order in which they are made."""

import contextlib
from collections.abc import Callable

import numpy as np

from tinyreptile_lite.bench import device, equal, faults, host, wire
from tinyreptile_lite.bench.timing import Rows
from tinyreptile_lite.errors import unknown_name
from tinyreptile_lite.figures.fingerprint import as_text, fingerprint
from tinyreptile_lite.figures.kinds import Figure, compared, pictured, sketched
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.nano.compilers import BuildError, find_compiler
from tinyreptile_lite.recipes import find_recipe, recipes
from tinyreptile_lite.wire.faults import Faults


def _compare(name: str, family: str, strategies: str = "", rounds: int | None = None) -> Figure:
    """As `tinyreptile compare` does it; on wrists with 10 orders of the windows."""
    draws = 1 if family == "sine" else 10
    given = {"strategies": strategies, "rounds": rounds, "draws": draws if draws > 1 else None}
    options = "".join(f" --{option} {value}" for option, value in given.items() if value)
    names = strategies.split(",") if strategies else recipes(family)
    found = [find_recipe(family, one).with_rounds(rounds) for one in names]
    return compared(name, family, found, draws, f"tinyreptile compare {family}{options} --json")


def _equal(family: str) -> Figure:
    """The Reptile that is as accurate as TinyReptile, see `bench.equal`."""
    return compared(f"{family}-equal", family, [equal.recipe(family)])


def _bench(
    name: str, measure: Callable[[bool], Rows], trace: Callable[[], dict[str, str]]
) -> Figure:
    """All rows of a benchmark in one piece; the fingerprint is of what it computes."""
    return Figure(name, lambda quick: {"rows": lambda: measure(quick)}, trace)


def _device(_: bool) -> Rows:
    return [row for compiler in ("gcc", "zig") for row in device.board_rows(compiler)]


def _device_trace() -> dict[str, str]:
    """Counts of visits with each compiler that is installed; others count otherwise."""
    found = {}
    for compiler in ("gcc", "zig"):
        with contextlib.suppress(BuildError):
            named = find_compiler(compiler)
            for name, case in device.cases().items():
                kinds = (False,) if name == "wrist" else (False, True)  # its Reptile takes long
                costs = [device.measure(case, reptile, compiler) for reptile in kinds]
                for what, *counts in zip(
                    ("instructions", "cycles", "bytes"),
                    *((*cost.executed, cost.ram) for cost in costs),
                    strict=True,
                ):
                    found[f"{name}, {what}, {named}"] = as_text(counts)
    return found


def _host_trace() -> dict[str, str]:
    rng = np.random.default_rng(0)
    net, params, samples = host.lesson(host.STEPS, rng)
    return {"numpy": fingerprint(OnlineSGD(host.RATE).learn(net, params, samples, rng).params)}


def _faults(quick: bool) -> Rows:
    return faults.rows(20, 3, 30) if quick else faults.rows()


_ALL = [
    _compare("sine", "sine"),
    _compare("sine-20000-visits", "sine", "tinyreptile", 20_000),
    _equal("sine"),
    _compare("wrist-150-visits-tinyreptile", "wrist", "tinyreptile", 150),
    _compare("wrist-150-visits-fedavg", "wrist", "fedavg", 30),
    _compare("wrist", "wrist", "tinyreptile,reptile,reptile-batched,fedavg,fedsgd,joint,scratch"),
    _compare("wrist-reptile-adam", "wrist", "reptile-adam"),  # apart, as it has no twin in C
    _compare("wrist-commands", "wrist-commands", "tinyreptile,reptile,fedavg,fedsgd,joint,scratch"),
    _equal("wrist"),
    sketched("HelloTinyReptile", "sine", rounds=20_000),
    sketched("WristAdapt", "wrist"),
    pictured(),
    _bench("device", _device, _device_trace),
    _bench("host", lambda quick: host.rows(2 if quick else host.REPEATS), _host_trace),
    _bench(
        "wire",
        lambda quick: wire.rows(1 if quick else wire.REPEATS),
        lambda: {row["name"]: as_text([row["value"]]) for row in wire.rows(repeats=1)},
    ),
    _bench("faults", _faults, lambda: {"phi": fingerprint(faults.run(Faults(), rounds=5)[0])}),
]
FIGURES = {figure.name: figure for figure in _ALL}


def find_figure(name: str) -> Figure:
    """Look a figure up by name; raises `KitError` that lists the known ones."""
    if name not in FIGURES:
        raise unknown_name("figure", name, FIGURES)
    return FIGURES[name]
