"""The whole story in two minutes: train on wearers, meet one never seen, adapt, draw the result."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.costs import device_ram, sample_bytes
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.evaluation import evaluate
from tinyreptile_lite.experiment import build, population
from tinyreptile_lite.federation import History
from tinyreptile_lite.recipes import find_recipe
from tinyreptile_lite.tasks import find_family

FAMILY = "wrist"
FOLD = 2  # leaves out person 3
DRAWS = 10  # orders of the support stream for each device


def demo(
    out: Path, rng: np.random.Generator, progress: bool = False, rounds: int | None = None
) -> tuple[dict[str, Any], str]:
    """Train with TinyReptile on some wearers, and adapt to the others from it and from scratch.

    Parameters
    ----------
    out : Path
        Folder for ``demo.png`` and ``demo.json``; it is made if need be.
    rng : numpy.random.Generator
    progress : bool
        Show a progress bar.
    rounds : int, optional
        Instead of the recipe's own number.

    Returns
    -------
    result : dict
        Accuracies for each device and start, and costs.
    text : str
        The story with its table.

    Raises
    ------
    KitError
        If the folder cannot be written to.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "demo.json").touch()
    except OSError as error:
        raise KitError(f"cannot write to {out}: {error.strerror}; choose another --out") from error
    family = find_family(FAMILY)
    recipe = find_recipe(FAMILY, "tinyreptile").with_rounds(rounds)
    people = population(family, FOLD, DRAWS)
    federation = build(family, recipe, people, rng)
    net = federation.net
    random_start = federation.phi.copy()
    federation.run(progress=progress)
    names = [device.name for device in people.test]
    accuracy = {
        start: evaluate(net, phi, people.tasks, recipe.adaptation, family.counts, rng)
        .reshape(len(names), DRAWS, -1)
        .mean(axis=1)
        for start, phi in (("tinyreptile", federation.phi), ("scratch", random_start))
    }
    assert recipe.strategy is not None  # a recipe that trains
    result = {
        "rounds": recipe.rounds,
        "training_devices": len(people.train),
        "samples": list(family.counts),
        "accuracy": {
            start: dict(zip(names, values.round(4).tolist(), strict=True))
            for start, values in accuracy.items()
        },
        "phi_bytes": federation.phi.nbytes,
        "recording_bytes": recipe.strategy.sample_count * sample_bytes(net),
        "device_ram_bytes": device_ram(net, recipe.adaptation, recipe.strategy.sample_count).total,
    }
    _draw(result, federation.history, out / "demo.png")
    (out / "demo.json").write_text(json.dumps(result, indent=2) + "\n")
    return result, _story(result, out)


def _draw(result: dict[str, Any], history: History, path: Path) -> None:
    from matplotlib import pyplot as plt

    from tinyreptile_lite.lab.plots import plot_history, save, style

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    plot_history(history, left, label="cross-entropy").set_title("Training: one wrist a round")
    for start, devices in result["accuracy"].items():
        for i, values in enumerate(devices.values()):
            label = {"tinyreptile": "from phi", "scratch": "from random weights"}[start]
            right.plot(result["samples"], values, **style(start), label=None if i else label)
    right.set(title="A wearer never seen, both wrists", ylim=(0, 1), xticks=result["samples"])
    right.set(xlabel="windows of 4 s the wrist has learned from", ylabel="accuracy")
    right.legend(loc="center right")
    save(figure, path)
    plt.close(figure)


def _story(result: dict[str, Any], out: Path) -> str:
    counts = result["samples"]
    lines = [
        f"TinyReptile visited {result['training_devices']} wrists, one in each of "
        f"{result['rounds']} rounds.",
        f"A visit moves {result['phi_bytes']:,} bytes of weights each way; the windows it learns "
        f"from, {result['recording_bytes']:,} bytes, stay on the wrist.",
        f"Learning takes {result['device_ram_bytes']:,} bytes of RAM, predicted by formula.",
        "",
        "Accuracy on wrists never seen, after adapting to so many windows",
        f"(one online step each, mean over {DRAWS} orders of the stream):",
        "",
        f"{'start':14}{'wrist':14}" + "".join(f"{count:>8}" for count in counts),
    ]
    for start, devices in result["accuracy"].items():
        for name, values in devices.items():
            cells = "".join(f"{value:8.3f}" for value in values)
            lines.append(f"{start:14}{name:14}{cells}")
    lines += ["", f"Picture: {out / 'demo.png'}"]
    return "\n".join(lines)
