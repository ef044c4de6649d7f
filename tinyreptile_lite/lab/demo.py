"""The whole story in two minutes: train on wearers, meet one never seen, adapt, draw the result."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.costs import device_ram, sample_bytes
from tinyreptile_lite.errors import file_errors
from tinyreptile_lite.evaluation import evaluate
from tinyreptile_lite.experiment import build, population
from tinyreptile_lite.federation import History
from tinyreptile_lite.recipes import find_recipe
from tinyreptile_lite.tables import in_columns
from tinyreptile_lite.tasks import find_family

FAMILY = "wrist"
FOLD = 2  # leaves out person 3
DRAWS = 10  # orders of the support stream for each device
STARTS = "phi", "random weights"


def demo(
    out: Path, rng: np.random.Generator, progress: bool = False, rounds: int | None = None
) -> tuple[dict[str, Any], str]:
    """Train with TinyReptile on some wearers; the others adapt from phi and from random weights.

    Both adapt alike, in one online pass. (The strategy "scratch" of `recipes` is another thing: it
    starts from random weights too, but passes many times over windows that it keeps.)

    Writes ``demo.png`` and ``demo.json`` into the folder ``out``, which is made if need be; raises
    `KitError` if it cannot be written to.

    Returns
    -------
    result : dict
        Accuracies for each device and start, and costs.
    text : str
        The story with its table.
    """
    with file_errors("choose another --out"):
        out.mkdir(parents=True, exist_ok=True)
        (out / "demo.json").touch()
    family = find_family(FAMILY)
    recipe = find_recipe(FAMILY, "tinyreptile").with_rounds(rounds)
    scratch = find_recipe(FAMILY, "scratch")
    people = population(family, FOLD, DRAWS)
    federation = build(family, recipe, people, rng)
    net, samples = federation.net, federation.strategy.sample_count
    random_start = federation.phi.copy()
    federation.run(progress=progress)
    accuracy = {}
    for start, phi in zip(STARTS, (federation.phi, random_start), strict=True):
        scores = evaluate(net, phi, people.tasks, recipe.adaptation, family.counts, rng)
        means = scores.reshape(len(people.test), DRAWS, -1).mean(axis=1).round(4).tolist()
        names = (device.name for device in people.test)
        accuracy[start] = dict(zip(names, means, strict=True))
    result = {
        "rounds": recipe.rounds,
        "training_devices": len(people.train),
        "samples": list(family.counts),
        "labels": net.outputs,
        "scratch_passes": scratch.adaptation.steps(1),
        "accuracy": accuracy,
        "phi_bytes": federation.phi.nbytes,
        "recording_bytes": samples * sample_bytes(net),
        "device_ram_bytes": device_ram(net, recipe.adaptation, samples).total,
    }
    _draw(result, federation.history, out / "demo.png")
    (out / "demo.json").write_text(json.dumps(result, indent=2) + "\n")
    return result, _story(result, out)


def _draw(result: dict[str, Any], history: History, path: Path) -> None:
    from matplotlib import pyplot as plt

    from tinyreptile_lite.lab.plots import plot_history, save

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    plot_history(history, left, label="cross-entropy").set_title(
        "Phi is learned: one wrist a round"
    )
    _draw_accuracy(right, result)
    save(figure, path)
    plt.close(figure)


def _draw_accuracy(ax: Any, result: dict[str, Any]) -> None:
    """A curve for each wrist and start; they are named in the order in which they lie."""
    from tinyreptile_lite.lab.plots import DASHES, GREY, VERMILION

    looks = {"phi": (VERMILION, "os"), "random weights": (GREY, "^D")}
    for start, devices in result["accuracy"].items():
        colour, markers = looks[start]
        for i, (name, values) in enumerate(devices.items()):
            look = {"marker": markers[i], "linestyle": ("-", DASHES[0])[i], "markersize": 6 + 5 * i}
            look |= {"markerfacecolor": "none" if i else colour}  # both are seen where they meet
            label = f"{_wrist(name)} wrist, from {start}"
            ax.plot(result["samples"], values, color=colour, label=label, **look)
    chance = 1 / result["labels"]
    ax.axhline(chance, color="black", linestyle=":", label=f"guessing: 1 of {result['labels']}")
    ax.set(title="A wearer never seen learns online", ylim=(0, 1.04), xticks=result["samples"])
    ax.set(xlabel="windows of 4 s that the wrist has learned from, one step each")
    ax.set_ylabel(f"accuracy, mean over {DRAWS} orders")
    ax.legend(loc="center right", fontsize="small")


def _wrist(device: str) -> str:
    """Which arm a device is worn on."""
    return device.rsplit("-", 1)[-1]


def _story(result: dict[str, Any], out: Path) -> str:
    counts = result["samples"]
    cells = [["start", "wrist", *counts]]
    for start, devices in result["accuracy"].items():
        for name, values in devices.items():
            cells.append([start, name, *(f"{value:.3f}" for value in values)])
    return f"""\
TinyReptile visited {result["training_devices"]} wrists, one in each of {result["rounds"]} rounds.
A visit moves {result["phi_bytes"]:,} bytes of weights each way; the windows it learns from, \
{result["recording_bytes"]:,} bytes, stay on the wrist.
Learning takes {result["device_ram_bytes"]:,} bytes of RAM, predicted by formula.

Accuracy on both wrists of a wearer never seen, after adapting to so many windows
(one online step each, from phi or from random weights; mean over {DRAWS} orders of the stream):

{in_columns("{:16}{:16}" + "{:>8}" * len(counts), cells)}

("scratch" in the tables of README.md starts from random weights, too, but keeps its windows and
passes {result["scratch_passes"]} times over them.)

Picture: {out / "demo.png"}"""
