"""The command line: ``tinyreptile`` and its commands, those of the other rooms too."""

import argparse
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tinyreptile_lite import checkpoint
from tinyreptile_lite.core.export import export
from tinyreptile_lite.core.native import native
from tinyreptile_lite.energy import EnergyModel
from tinyreptile_lite.errors import KitError, at_least_one, not_negative
from tinyreptile_lite.evaluation import evaluate
from tinyreptile_lite.expense import cost_row, cost_table
from tinyreptile_lite.experiment import (
    POPULATION_SEED,
    Population,
    body,
    build,
    compare,
    costs_row,
    population,
    score_row,
)
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.figures.command import add_figures_parser
from tinyreptile_lite.figures.reproduce import add_reproduce_parser
from tinyreptile_lite.flower.command import add_flower_parser
from tinyreptile_lite.marking.command import add_mark_parser
from tinyreptile_lite.nano.monitor import add_flash_parser
from tinyreptile_lite.nano.record import add_record_parser
from tinyreptile_lite.nano.wrists import add_recording_parser
from tinyreptile_lite.network import Network
from tinyreptile_lite.options import add_command, report
from tinyreptile_lite.recipes import Recipe, find_recipe, recipes
from tinyreptile_lite.search import search, write
from tinyreptile_lite.serve.command import add_serve_parser
from tinyreptile_lite.serve.energy_command import add_energy_parser
from tinyreptile_lite.settings import Setting, tuned
from tinyreptile_lite.tables import in_columns, table
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.tasks.base import Family
from tinyreptile_lite.tasks.command import add_data_parser
from tinyreptile_lite.watch import Watch, probes

CHECKPOINT_EVERY = 100  # rounds
_MOST_DRAWS = 10_000  # tasks of a device: more take hours and all memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a user's slip is one line on standard error and exit code 2."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            options.run(options)
    except KitError as error:
        print(f"tinyreptile: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tinyreptile: stopped", file=sys.stderr)
        return 130
    return 0


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"tinyreptile: {message}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say it in one line, as every other slip."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tinyreptile", description="Meta-learning for microcontrollers, from the shell."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    slow = {"--numpy": (False, "learners in NumPy only, not in the faster C core")}
    names = "family --strategy --rounds --seed --fold --out --resume --json"
    add_command(commands, "train", _train, names, slow)
    device = {"--device": (str, "one device by name; default: all test devices")}
    add_command(commands, "adapt", _adapt, "family --phi --strategy --seed --fold --json", device)
    comparison = {
        "--strategies": (str, "names with commas; default: all"),
        "--seeds": (3, "how many training seeds, from --seed on"),
        "--draws": (1, "tasks drawn from each test device"),
        "--jobs": (os.cpu_count() or 1, "processes to use"),
        **slow,
        "--plot": (Path, "also draw the comparison into this PNG file"),
    }
    shared = "family --seed --rounds --energy --json"
    add_command(commands, "compare", _compare, shared, comparison)
    searched = {
        "--strategies": (str, "names with commas; default: all"),
        "--jobs": (os.cpu_count() or 1, "processes to use"),
        "--stored": (False, "print what was found, and search nothing"),
    }
    add_command(commands, "tune", _tune, "family --json", searched)
    files = {"--out": (Path(), "the sketch's folder"), "--name": ("phi", "of the files and in C")}
    add_command(commands, "export", _export, "family --phi --json", files)
    add_flash_parser(commands)
    add_record_parser(commands)
    add_recording_parser(commands)
    add_serve_parser(commands)
    add_energy_parser(commands)
    add_flower_parser(commands)
    add_mark_parser(commands)
    folder = {"--out": (Path("build/demo"), "folder of results")}
    add_command(commands, "demo", _demo, "--seed --json", folder)
    what = {"what": (str, "host, device, wire, faults, fleet or axes; axes takes a minute or two")}
    add_command(commands, "bench", _bench, "--json", what)
    add_figures_parser(commands)
    add_reproduce_parser(commands)
    add_data_parser(commands)
    return parser


def _train(options: argparse.Namespace) -> None:
    """Learn a common starting point phi."""
    family = find_family(options.family)
    recipe = find_recipe(options.family, options.strategy).at(options.fold, family.folds)
    recipe = recipe.with_rounds(options.rounds)
    if not options.numpy:
        recipe = recipe.with_learners(partial(native, strict=False))
    there = checkpoint.is_there(options.out)
    if there and not options.resume:
        raise KitError(f"{options.out} is already there; add --resume or name another --out")
    people = population(family, options.fold)
    rng = _generator(options.seed, options.fold)
    fresh = recipe.start if not there else None
    phi = body(fresh, options.fold, rng, progress=_on_terminal()) if fresh else None
    federation = build(family, recipe, people, rng, phi)
    if there:
        checkpoint.resume(federation, options.out)
    else:
        checkpoint.save(federation, options.out)  # so that it fails before the work
    keep = checkpoint.Keeper(options.out, CHECKPOINT_EVERY)
    watch = _watch(family, recipe, people)

    def after_round(run: Federation) -> None:
        keep(run)
        watch(run)

    federation.run(progress=_on_terminal(), after_round=after_round)
    result = {
        "family": family.name,
        "strategy": recipe.name,
        "seed": options.seed,
        "fold": options.fold,
        "loss": float(np.mean(federation.history.loss[-CHECKPOINT_EVERY:])),
        "out": str(options.out),
    } | costs_row(family, recipe)
    text = (
        "{strategy} on {family}: {rounds} rounds, mean loss {loss:.3f} while learning in the last "
        "rounds; phi is in {out}"
    )
    report(options, result, text.format(**result))


def _on_terminal() -> bool:
    return sys.stderr.isatty()


def _watch(family: Family, recipe: Recipe, people: Population) -> Callable[[Federation], None]:
    """What stops a run that has collapsed, where there is a chance to fall to."""
    if family.metric != "accuracy" or recipe.strategy is None or recipe.strategy.pooled:
        return lambda _: None
    tasks = probes(people.train, np.random.default_rng(POPULATION_SEED))
    return Watch(tasks, native(recipe.adaptation, strict=False))


def _generator(seed: int, fold: int) -> np.random.Generator:
    not_negative(seed=seed, fold=fold)
    return np.random.default_rng([seed, fold])


def _adapt(options: argparse.Namespace) -> None:
    """Let devices never seen adapt from phi."""
    family = find_family(options.family)
    recipe = find_recipe(options.family, options.strategy)
    net = family.network()
    people = population(family, options.fold)
    phi, state = _read_phi(options.phi, net)
    source = state["identity"].get("data")
    if source != people.source:  # devices of another fold may have been trained on
        raise KitError(
            f"{options.phi} was trained on {source}, so {people.source} may hold devices it has "
            "seen; name the same task family and --fold"
        )
    tasks = people.tasks
    if options.device is not None:
        names = [task.name for task in tasks]
        tasks = [task for task in tasks if task.name == options.device]
        if not tasks:
            shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise KitError(f"unknown test device {options.device!r}; choose one of: {shown}")
    rng = _generator(options.seed, options.fold)
    scores = evaluate(net, phi, tasks, recipe.adaptation, family.counts, rng)
    row = score_row(recipe.name, scores[None], family.counts, family.metric)
    row |= {"devices": len(tasks), "metric": family.metric}
    report(options, row, table([row], family.metric))


def _read_phi(path: Path, net: Network) -> tuple[np.ndarray, dict[str, Any]]:
    phi, state = checkpoint.read(path)
    if state["identity"].get("network") != net.config() or phi.size != net.size:
        raise KitError(f"{path} holds phi of another network; name the file of this task family")
    return phi, state


def _export(options: argparse.Namespace) -> None:
    """Write phi as C files for a sketch."""
    net = find_family(options.family).network()
    phi, state = _read_phi(options.phi, net)
    try:
        data, strategy = state["identity"]["data"], state["identity"]["strategy"]["name"]
        trained = f"{strategy} on {data['family']}, fold {data['fold']}, {state['round']} rounds"
    except (KeyError, TypeError):
        raise KitError(f"{options.phi} does not say how it was trained; train again") from None
    origin = f"tinyreptile export {options.family}, from {trained}"
    files = export(net, phi, options.out, options.name, origin)
    result = {"header": str(files.header), "source": str(files.source), "weights": net.size}
    report(options, result, "wrote {header} and {source}: {weights:,} weights".format(**result))


def _compare(options: argparse.Namespace) -> None:
    """Put strategies side by side."""
    at_least_one(seeds=options.seeds, draws=options.draws, jobs=options.jobs)
    _generator(options.seed, 0)  # refuses a negative seed before the work
    if options.draws > _MOST_DRAWS:
        raise KitError(f"draws is {options.draws}; give at most {_MOST_DRAWS:,}")
    if options.plot is not None:
        _check_picture(options.plot)
    model = EnergyModel.parse(options.energy or "")
    family, names = find_family(options.family), list(recipes(options.family))
    if options.strategies is not None:
        names = options.strategies.split(",")
    rows = compare(
        options.family,
        names,
        range(options.seed, options.seed + options.seeds),
        options.rounds,
        options.draws,
        min(options.jobs, 4 * (os.cpu_count() or 1)),
        progress=_on_terminal(),
        c_core=not options.numpy,
    )
    trained = [find_recipe(options.family, name).with_rounds(options.rounds) for name in names]
    costs = [cost_row(options.family, recipe, model) for recipe in trained]
    result = {"family": family.name, "metric": family.metric, "rows": rows, "costs": costs}
    report(options, result, f"{table(rows, family.metric)}\n\n{cost_table(costs, model)}")
    if options.plot is not None:
        _plot(rows, family.metric, options.plot)


def _tune(options: argparse.Namespace) -> None:
    """Search the settings of all strategies, with the same budget for each."""
    names = options.strategies.split(",") if options.strategies else []
    if options.stored:
        found = tuned(options.family)
    else:
        found = search(options.family, names, options.jobs, _on_terminal())
        write(options.family, found)
    lines = [
        (half, name, *one["setting"].values(), one["tried"][-1]["score"])
        for half, some in enumerate(found["halves"], start=1)
        for name, one in some.items()
    ]
    report(
        options,
        found,
        in_columns(
            "{:<5}{:16}{:>8}{:>7}{:>7}{:>8}{:>8}{:>7}{:>9}",
            [("half", "strategy", *Setting._fields, "score"), *lines],
        ),
    )


def _check_picture(path: Path) -> None:
    """Refuse before the work what could not be drawn after it."""
    _check_matplotlib()
    checkpoint.is_there(path)  # refuses what is no name of a file
    if path.suffix != ".png":
        raise KitError(f"cannot write the picture {path}; end its name in .png")
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise KitError(f"cannot write {path}; choose a folder you can write to")


def _check_matplotlib() -> None:
    if importlib.util.find_spec("matplotlib") is None:
        raise KitError(
            "pictures need Matplotlib; install it with: pip install 'tinyreptile-lite[lab]'"
        )


def _plot(rows: Sequence[dict[str, Any]], metric: str, path: Path) -> None:
    from matplotlib import pyplot as plt

    from tinyreptile_lite.lab.plots import plot_adaptation, save

    figure, ax = plt.subplots(figsize=(8, 5), layout="constrained")
    plot_adaptation(rows, metric, ax)
    save(figure, path)


def _demo(options: argparse.Namespace) -> None:
    """Tell the whole story on real wearers."""
    from tinyreptile_lite.lab.demo import demo

    _check_matplotlib()
    result, text = demo(options.out, _generator(options.seed, 0), progress=_on_terminal())
    report(options, result, text)


def _bench(options: argparse.Namespace) -> None:
    """Measure speed on this machine."""
    from tinyreptile_lite.bench import find_bench

    rows = find_bench(options.what)()
    cells = [(row["name"], row["value"], row["unit"], _spread(row)) for row in rows]
    report(options, {"rows": rows}, in_columns("{:28}{:>12.4g} {:24} {}", cells))


def _spread(row: dict[str, Any]) -> str:
    if "range" in row:
        return "{:.4g} to {:.4g}".format(*row["range"])
    if "quartiles" in row:
        return "quartiles {:.4g} and {:.4g}".format(*row["quartiles"])
    return f"+-{row['spread']:.2g}"


if __name__ == "__main__":
    sys.exit(main())
