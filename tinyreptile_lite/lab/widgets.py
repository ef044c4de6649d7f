"""Widgets: move one thing and see what it changes. Under each lies a plain function.

The functions return numbers and know nothing of widgets; the widgets only draw them. Runs that a
slider chooses between are trained together when its widget is made, so moving it answers at once.
"""

import itertools
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import lru_cache
from html import escape
from io import BytesIO
from typing import Any, NamedTuple

import ipywidgets
import numpy as np
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from tinyreptile_lite.clients import simulate
from tinyreptile_lite.core.native import native
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.evaluation import adapt, evaluate
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.lab.plots import BLACK, BLUE, DASHES, GREY, VERMILION, plot_sine_adaptation
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.strategies import ANNEALED, Schedule, Strategy
from tinyreptile_lite.tasks.base import Device, Task
from tinyreptile_lite.tasks.sine import X_LIMIT, Sine, SineDevice

Array = np.ndarray

LEARNER, SAMPLES = OnlineSGD(0.02), 32  # of every training run here
HIGHEST = 100  # error that a picture still shows; one from a rate that is too high has no bounds
OUTER_RATES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
PHASE_LIMITS = tuple(np.pi * i / 4 for i in range(9))


class Picture(NamedTuple):
    """A figure, and the same in one sentence for those who cannot see it."""

    figure: Figure
    caption: str


class DescribedImage(ipywidgets.Image):
    """A picture whose tooltip says in words what is to be seen.

    JupyterLab looks whether a widget with a tooltip has a description too, and fails to show one
    that cannot have any, as `ipywidgets.Image`.
    """

    description = traitlets.Unicode("").tag(sync=True)


class Explorer(ipywidgets.VBox):
    """Controls above a picture that is drawn anew when one of them has moved.

    What the library refuses or cannot go on with is said in place of the caption.
    The picture is a PNG in a widget of its own, not a captured cell output, so a run notebook
    stores the same output each time. ``repr`` is the same each time for the same reason. ``draw``
    gets the controls' values by their names.
    """

    def __init__(
        self, title: str, controls: dict[str, ipywidgets.Widget], draw: Callable[..., Picture]
    ) -> None:
        self.title, self.controls, self._draw = title, controls, draw
        # A box stretches what is in it, and a stretched picture blurs.
        layout = {"max_width": "100%", "align_self": "flex-start"}
        self.image = DescribedImage(format="png", layout=layout)
        self.caption = ipywidgets.HTML()
        super().__init__([*controls.values(), self.caption, self.image])
        for control in controls.values():
            control.observe(self._update, names="value")
        self._update()

    def _update(self, _change: object = None) -> None:
        values = {name: control.value for name, control in self.controls.items()}
        try:
            figure, text = self._draw(**values)
        except KitError as error:
            self.image.layout.visibility, self.caption.value = "hidden", escape(str(error))
            return
        file = BytesIO()
        figure.savefig(file, format="png", dpi=80)
        self.image.value = file.getvalue()
        self.image.tooltip = f"{self.title}. {text}"  # what a screen reader says of the picture
        self.image.layout.visibility, self.caption.value = "visible", escape(text)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Add the picture, for places where no widget lives: a page on the web, a file not run."""
        bundle = super()._repr_mimebundle_(**options)
        picture = b64encode(self.image.value).decode()
        words = {"image/png": {"alt": self.image.tooltip or self.title}}
        return bundle | {"image/png": picture}, words

    def __repr__(self) -> str:
        return f"<{self.title}: run the cell, then move {', '.join(self.controls)}>"


def panels(count: int) -> tuple[Figure, Sequence[Axes]]:
    """A figure with so many Axes side by side."""
    # Fixed margins: a layout engine would draw everything twice, and a slider must feel alive.
    figure = Figure(figsize=(10 if count > 1 else 8, 3.6))
    figure.subplots_adjust(left=0.08, right=0.98, bottom=0.14, top=0.96, wspace=0.2)
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _log_scale(ax: Axes, ticks: Sequence[float]) -> None:
    ax.set_yscale("log")
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.yaxis.set_minor_locator(NullLocator())


def choice(name: str, options: Sequence[Any], value: Any) -> ipywidgets.SelectionSlider:
    """A slider over these options, which may be pairs of a label and a value."""
    return ipywidgets.SelectionSlider(
        options=list(options),
        value=value,
        description=name,
        continuous_update=False,
        style={"description_width": "8em"},
        layout={"width": "30em"},
    )


# 1. Inner rate and number of samples


def adaptation_curve(
    net: Network, phi: Array, tasks: Sequence[Task], rate: float, samples: int
) -> Array:
    """Error on new devices while they learn online with this inner rate, sample by sample.

    Returns the mean score on the query sets after 0, 1, ..., ``samples`` samples. Raises
    `DivergenceError` if the inner rate is so high that the weights are no longer finite.
    """
    counts, rng = range(samples + 1), np.random.default_rng(0)
    return evaluate(net, phi, tasks, OnlineSGD(rate), counts, rng).mean(axis=0)


def adaptation_widget(net: Network, phi: Array, tasks: Sequence[Task], shown: int = 0) -> Explorer:
    """Sliders for the inner rate and the number of samples; see `adaptation_curve`.

    The left picture shows one sine task, at position ``shown``, the right one the mean of all.
    """

    def draw(rate: float, samples: int) -> Picture:
        error = adaptation_curve(net, phi, tasks, rate, samples)
        figure, (left, right) = panels(2)
        task, counts = tasks[shown], sorted({0, samples})
        params = adapt(net, phi, task.support, OnlineSGD(rate), counts, np.random.default_rng(0))
        curves = {
            k: net.predict(each, task.query.x) for k, each in zip(counts, params, strict=True)
        }
        plot_sine_adaptation(task, curves, left)
        # Room for the legend; and the axes stay where they are when a slider moves.
        left.set(xlim=(-1.05 * X_LIMIT, 1.05 * X_LIMIT), ylim=(-6, 11))
        if any(curve.min() < -6 or curve.max() > 11 for curve in curves.values()):
            left.text(0, -5.5, "a curve leaves the picture", ha="center")
        _draw_errors(right, error)
        right.set_ylabel(f"mean squared error of {len(tasks)} devices")
        far = error[-1] > HIGHEST
        verdict = "far off: the inner rate is too high" if far else f"{error[-1]:.2f}"
        return Picture(figure, f"Before: {error[0]:.2f}. After {samples} samples: {verdict}.")

    rates = [0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.1]
    controls = {
        "rate": choice("inner rate", rates, 0.02),
        "samples": choice("samples", range(33), 8),
    }
    return Explorer("Inner rate and number of samples", controls, draw)


def _draw_errors(ax: Axes, error: Array) -> None:
    """Errors after 0, 1, 2, ... samples; those too high for the picture stand at its top."""
    above = np.flatnonzero(error > HIGHEST)
    ax.plot(np.minimum(error, HIGHEST), color=VERMILION)
    ax.plot(np.where(error > HIGHEST, np.nan, error), "o", color=VERMILION)
    if len(above):
        top = np.full(len(above), HIGHEST)
        label = f"more than {HIGHEST}"
        ax.plot(above, top, "^", color=VERMILION, markersize=9, clip_on=False, label=label)
        ax.legend(loc="lower right")
    ax.set(xlim=(-1, SAMPLES + 1), ylim=(0.01, HIGHEST), xlabel="samples seen")
    _log_scale(ax, [0.01, 0.1, 1, 10, HIGHEST])


# 2. Outer rate


class OuterRun(NamedTuple):
    """How far a training run has come: error after 8 samples, after so many rounds."""

    rounds: Array
    error: Array


@lru_cache
def outer_rate_runs(
    rounds: int = 400, every: int = 40, seed: int = 0
) -> dict[tuple[float, bool], OuterRun]:
    """Train on sine waves with each of `OUTER_RATES`, constant and annealed to 0.

    The runs start from the same parameters and see the same samples, so that only the outer
    rate tells them apart. Each has so many ``rounds``, fewer than in a course; whenever ``every``
    of them are done, it is probed on 100 devices never seen.

    Returns
    -------
    dict
        From (outer rate, annealed) to its `OuterRun`.
    """
    family, rng = Sine(), np.random.default_rng(seed)
    net, group = family.network(), family.devices(1000, rng)
    tasks = [device.task(rng) for device in family.devices(100, rng)]

    def error_after_8(phi: Array) -> float:
        return float(evaluate(net, phi, tasks, LEARNER, (8,), np.random.default_rng(0)).mean())

    runs = {}
    for rate, annealed in itertools.product(OUTER_RATES, (False, True)):
        run = _federation(net, group, Schedule(rate, 0.0 if annealed else rate), rounds, seed)
        run.run(probe=error_after_8, probe_every=every)
        probes = run.history.probe_round, run.history.probe_value
        runs[rate, annealed] = OuterRun(*map(np.array, probes))
    return runs


def outer_rate_widget() -> Explorer:
    """A slider for the outer rate, and whether it is annealed; see `outer_rate_runs`."""
    runs = outer_rate_runs()

    def draw(rate: float, annealed: bool) -> Picture:
        figure, (ax,) = panels(1)
        for run in runs.values():
            ax.plot(run.rounds, run.error, color=GREY, alpha=0.3, linewidth=1)
        chosen = runs[rate, annealed]
        kind = "annealed to 0" if annealed else "constant"
        ax.plot([], [], color=GREY, alpha=0.3, label="the other settings")
        ax.plot(*chosen, "o-", color=VERMILION, label=f"outer rate {rate}, {kind}")
        ax.set(xlabel="round", ylabel="error after 8 samples")
        _log_scale(ax, [0.2, 0.5, 1, 2, 5])
        ax.legend()
        return Picture(figure, f"Error of new devices after 8 samples: {chosen.error[-1]:.2f}.")

    controls = {
        "rate": choice("outer rate", OUTER_RATES, 1.0),
        "annealed": ipywidgets.Checkbox(value=True, description="annealed to 0"),
    }
    return Explorer("Outer rate", controls, draw)


# 3. How different the devices are


class Difference(NamedTuple):
    """Errors on devices never seen: of the best common model, and of models that adapted."""

    common: float
    before: float
    after_8: float
    after_32: float


@lru_cache
def difference_runs(rounds: int = 400, seed: int = 0) -> dict[float, Difference]:
    """Compare one common model with TinyReptile for each of `PHASE_LIMITS`.

    The best common model is the mean of all training curves. The phases of the sine waves lie in
    [0, limit): with limit 0 the devices differ in amplitude only, with 2 pi their mean is zero.
    TinyReptile runs for so many ``rounds``, fewer than in a course.

    Returns
    -------
    dict
        From the phase limit in radians to the `Difference`.
    """
    net = Sine().network()
    result = {}
    for limit in PHASE_LIMITS:
        group = _group(limit, 1000, seed)
        phi = _federation(net, group, ANNEALED, rounds, seed).run()
        rng = np.random.default_rng(seed)
        tasks = [device.task(rng) for device in _group(limit, 100, seed + 1)]
        scores = evaluate(net, phi, tasks, LEARNER, (0, 8, 32), rng).mean(axis=0)
        mean = common_curve(group, tasks[0].query.x)
        common = np.mean([np.square(task.query.y - mean).mean() for task in tasks])
        result[limit] = Difference(float(common), *map(float, scores))
    return result


def common_curve(group: Sequence[SineDevice], x: Array) -> Array:
    """Mean of all the sine waves at ``x`` (N, 1): no common model has a smaller squared error."""
    return np.mean([device.curve(x) for device in group], axis=0)


def difference_widget() -> Explorer:
    """A slider for the range of the phases; see `difference_runs`."""
    runs = difference_runs()
    in_pi = np.array(PHASE_LIMITS) / np.pi
    x = np.linspace(-X_LIMIT, X_LIMIT, 100, dtype=np.float32)[:, None]
    lines = {
        "common": ("best common model", BLACK, "-", "s"),
        "after_8": ("adapted to 8 samples", BLUE, DASHES[0], "^"),
        "after_32": ("adapted to 32 samples", VERMILION, DASHES[1], "o"),
    }

    def draw(limit: float) -> Picture:
        figure, (left, right) = panels(2)
        group = _group(limit, 1000, seed=0)
        for device in group[:12]:
            left.plot(x, device.curve(x), color=GREY, alpha=0.5)
        left.plot(x, common_curve(group, x), color=BLACK, linewidth=3, label="best common model")
        left.set(xlabel="input x", ylabel="output y", ylim=(-6, 6))
        left.legend(loc="upper right")
        for name, (label, colour, dashes, marker) in lines.items():
            errors = [getattr(run, name) for run in runs.values()]
            right.plot(in_pi, errors, color=colour, linestyle=dashes, label=label)
            chosen = getattr(runs[limit], name)
            right.plot(limit / np.pi, chosen, marker, color=colour, markersize=9)
        right.set(xlabel="phases from 0 to so many pi", ylabel="error on new devices", ylim=0)
        right.legend()
        common, _, after_8, after_32 = runs[limit]
        text = f"Error of the best common model: {common:.2f}; "
        return Picture(figure, text + f"adapted to 8 samples {after_8:.2f}, to 32 {after_32:.2f}.")

    options = [(f"{limit / np.pi:.2f} pi", limit) for limit in runs]
    controls = {"limit": choice("phases up to", options, PHASE_LIMITS[-1])}
    return Explorer("How different the devices are", controls, draw)


def _group(limit: float, count: int, seed: int) -> list[SineDevice]:
    return Sine(limit).devices(count, np.random.default_rng([7, seed]))


def _federation(
    net: Network, devices: Sequence[Device], outer: Schedule, rounds: int, seed: int
) -> Federation:
    """TinyReptile on these devices; with one seed, runs differ by devices and outer rate alone."""
    strategy = Strategy("tinyreptile", native(LEARNER, strict=False), SAMPLES, outer=outer)
    return Federation(net, strategy, simulate(net, devices), rounds, np.random.default_rng(seed))
