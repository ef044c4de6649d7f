"""Pictures are drawn from the numbers they are given; the numbers on them are read back."""

import matplotlib

matplotlib.use("Agg")

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from pictures import BLINDNESS, SEEN, contrast_with_white, seen

from tinyreptile_lite.federation import History
from tinyreptile_lite.lab import plots
from tinyreptile_lite.recipes import recipes
from tinyreptile_lite.tasks.base import Samples, Task


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def row(strategy: str, means: dict[int, float], ci95: float = 0.05) -> dict:
    scores = {str(k): {"mean": m, "ci95": ci95, "worst": m} for k, m in means.items()}
    return {"strategy": strategy, "adapted_samples": scores}


def line(ax: Axes, label: str) -> np.ndarray:
    """Points (x, y) of the line with this label."""
    (found,) = [line for line in ax.lines if line.get_label() == label]
    return np.stack([found.get_xdata(), found.get_ydata()], axis=1)


def test_adaptation_draws_means_in_order_of_samples():
    rows = [row("tinyreptile", {0: 4.0, 1: 2.0, 32: 0.02, 8: 0.1}), row("joint", {0: 4.2, 32: 4.1})]
    ax = plots.plot_adaptation(rows, metric="mse")
    expected = [[0, 4.0], [1, 2.0], [8, 0.1], [32, 0.02]]
    np.testing.assert_allclose(line(ax, "tinyreptile"), expected)
    assert ax.get_yscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "8", "32"]
    assert "squared error" in ax.get_ylabel()
    assert "samples" in ax.get_xlabel()


def test_adaptation_band_is_the_interval_and_stays_above_zero_on_a_log_axis():
    rows = [row("fedavg", {0: 4.0, 1: 0.01}, ci95=0.5)]
    band = plots.plot_adaptation(rows, metric="mse").collections[0].get_paths()[0].vertices
    assert band[:, 1].min() > 0
    assert band[:, 1].max() == pytest.approx(4.5)
    band = plots.plot_adaptation(rows, metric="accuracy").collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(-0.49)


def test_accuracy_has_a_linear_axis_of_per_cent():
    means = {0: 0.9, 7: 0.92, 14: 0.95, 21: 0.96}
    ax = plots.plot_adaptation([row("fedavg", means)], metric="accuracy", unit="windows")
    assert ax.get_yscale() == ax.get_xscale() == "linear"
    ax.figure.canvas.draw()
    assert all(tick.get_text().endswith("%") for tick in ax.get_yticklabels())
    assert ax.get_xlabel().startswith("windows")


def test_adaptation_refuses_no_rows_and_unknown_metrics(refuses):
    with refuses("0 rows", "at least one"):
        plots.plot_adaptation([], metric="mse")
    with refuses("unknown metric 'auc'", "accuracy, mse"):
        plots.plot_adaptation([row("fedavg", {0: 1.0})], metric="auc")


LOOKS = {name: plots.style(name) for name in plots.STYLES} | {
    f"spare {i}": dict(zip(("color", "marker", "linestyle"), spare, strict=True))
    for i, spare in enumerate(plots.SPARE_STYLES)
}


def test_every_recipe_has_a_style_and_any_other_name_always_the_same():
    for family in ("sine", "wrist", "omniglot"):
        assert not set(recipes(family)) - set(plots.STYLES)
    assert plots.style("mine") == plots.style("mine")


@pytest.mark.parametrize("part", ["marker", "linestyle"])
def test_any_two_strategies_differ_in_marker_and_in_line_without_any_colour(part):
    for (one, here), (other, there) in combinations(LOOKS.items(), 2):
        assert here[part] != there[part], f"{one} and {other} have the same {part}"


@pytest.mark.parametrize("how", SEEN)
def test_every_colour_stands_out_from_white_however_it_is_seen(how):
    colours = {look["color"] for look in LOOKS.values()} | {*plots.COLOURS, plots.GREY}
    for colour in colours:
        assert contrast_with_white(colour, how) >= 3, f"{colour} is too light"


def _without_colour(line: Line2D) -> tuple:
    sizes = line.get_linewidth(), line.get_markersize()
    return line.get_linestyle(), line._dash_pattern, line.get_marker(), *sizes


@pytest.mark.parametrize("how", SEEN)
def test_curves_of_a_picture_are_told_apart_however_it_is_seen(how):
    """By line or marker; and but for a print without colours by the colour as well."""
    x = np.linspace(-5, 5, 11, dtype=np.float32)[:, None]
    names = list(plots.STYLES)
    task = Task("new", Samples(x, np.sin(x)), Samples(x, np.sin(x)))
    history = History(loss=[1.0, 2.0, 3.0], outer_rate=[1.0, 0.7, 0.3])
    drawn = [
        plots.plot_adaptation([row(name, {0: 1.0, 8: 0.5}) for name in names], "mse"),
        plots.plot_common_curves(x, [], dict.fromkeys(names, x)),
        plots.plot_sine_adaptation(task, dict.fromkeys((0, 1, 4, 8, 11), x)),
        plots.plot_per_device(["a"], {name: [0.5] for name in "uvwxyz"}, "accuracy"),
        *plots.plot_windows(np.zeros((1, 100, 6)), ["one"])[:, 0],
        plots.plot_history(history),
    ]
    for ax in drawn:
        named = [one for one in ax.lines if not one.get_label().startswith("_")]
        for one, other in combinations(named, 2):
            assert _without_colour(one) != _without_colour(other), one.get_label()
    main = [seen(plots.STYLES[name][0], how) for name in ("tinyreptile", "reptile", "fedavg")]
    for here, there in combinations(main, 2):
        assert how == "grey" or np.abs(here - there).max() > 0.05


@pytest.mark.parametrize("how", list(BLINDNESS))
def test_what_a_colour_blind_person_sees_is_still_a_picture(how):
    for grey in ("#000000", "#808080", "#FFFFFF"):  # greys look as they do to everyone
        np.testing.assert_allclose(seen(grey, how), seen(grey, "usual"), atol=0.01)
    red, green = seen("#D00000", how), seen("#006000", how)
    assert np.abs(red - green).max() < np.abs(seen("#D00000", "usual")).max()


def test_sine_adaptation_shows_only_the_points_that_were_learned():
    x = np.linspace(-5, 5, 11, dtype=np.float32)[:, None]
    task = Task("new", Samples(x[:6], np.sin(x[:6])), Samples(x, np.sin(x)))
    ax = plots.plot_sine_adaptation(task, {4: 0.5 * np.sin(x), 0: 0 * x, 1: 0.1 * np.sin(x)})
    assert len(line(ax, "points it measured")) == 4
    np.testing.assert_array_equal(line(ax, "before learning")[:, 1], 0)
    np.testing.assert_allclose(line(ax, "after 4 points")[:, 1], 0.5 * np.sin(x[:, 0]))
    assert len(line(ax, "after 1 point")) == 11


def test_common_curves_name_the_models_only():
    x = np.linspace(-5, 5, 11)[:, None]
    ax = plots.plot_common_curves(x, [np.sin(x), np.cos(x)], {"joint": 0 * x})
    np.testing.assert_array_equal(line(ax, "joint"), np.hstack([x, 0 * x]))
    assert len(ax.lines) == 3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["joint"]


def test_common_curves_that_agree_do_not_hide_each_other():
    x = np.linspace(-5, 5, 11)[:, None]
    ax = plots.plot_common_curves(x, [], {"fedsgd": 0 * x, "joint": 0 * x})
    broad, thin = (one.get_linewidth() for one in ax.lines)
    assert broad >= 2 * thin
    assert beside_the_picture(ax)


def beside_the_picture(ax: Axes) -> bool:
    """Whether the legend lies on nothing that is drawn."""
    ax.figure.canvas.draw()
    return not ax.get_legend().get_window_extent().overlaps(ax.bbox.padded(-1))


def test_spare_colours_are_told_apart():
    for (one, *_), (other, *_) in combinations(plots.SPARE_STYLES, 2):
        assert np.abs(seen(one, "usual") - seen(other, "usual")).max() > 0.25


def test_history_smooths_with_a_centred_running_mean():
    history = History(loss=[1.0, 2.0, 3.0, 4.0], outer_rate=[1.0, 0.75, 0.5, 0.25])
    ax = plots.plot_history(history, window=3)
    np.testing.assert_allclose(line(ax, "mean of 3 rounds"), [[2, 2], [3, 3]])
    (outer,) = [other for other in ax.figure.axes if other is not ax]
    np.testing.assert_array_equal(outer.lines[0].get_ydata(), history.outer_rate)


def test_history_of_one_round_is_drawn_and_an_empty_one_refused(refuses):
    plots.plot_history(History(loss=[1.0], outer_rate=[1.0]), window=50)
    with refuses("history is empty", "at least one round"):
        plots.plot_history(History())


@pytest.mark.parametrize(("metric", "worst"), [("mse", 2), ("accuracy", 0)])
def test_per_device_rings_the_worst(metric, worst):
    scores = np.array([0.1, 0.5, 0.9])
    ax = plots.plot_per_device(["a", "b", "c"], {"before": scores}, metric)
    assert beside_the_picture(ax)
    (ring,) = [line for line in ax.lines if line.get_markersize() == 14]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (scores[worst], worst)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b", "c"]


def test_per_device_refuses_what_does_not_fit(refuses):
    with refuses("0 devices"):
        plots.plot_per_device([], {}, "mse")
    with refuses("'before'", "(3,)", "2 devices"):
        plots.plot_per_device(["a", "b"], {"before": [1.0, 2.0, 3.0]}, "mse")


def test_windows_put_acceleration_above_rotation():
    windows = np.arange(2 * 100 * 6, dtype=np.float32).reshape(2, 100, 6)
    axes = plots.plot_windows(windows, ["pendulum", "abduction"])
    np.testing.assert_array_equal(axes[0, 1].lines[2].get_ydata(), windows[1, :, 2])
    np.testing.assert_array_equal(axes[1, 0].lines[0].get_ydata(), windows[0, :, 3])
    assert axes[0, 0].lines[0].get_xdata()[25] == 1.0
    assert "(g)" in axes[0, 0].get_ylabel()
    assert "(rad/s)" in axes[1, 0].get_ylabel()


def test_windows_refuse_other_shapes(refuses):
    with refuses("(100, 6)", "1 titles", "(windows, time, 6)"):
        plots.plot_windows(np.zeros((100, 6)), ["pendulum"])


def test_rows_of_words_have_time_and_bands(refuses, rng):
    loud, soft = rng.normal(size=(2, 49, 16))
    axes = plots.plot_rows([loud, soft / 9], ["loud", "soft"])
    first, second = (ax.images[0] for ax in axes)
    np.testing.assert_array_equal(first.get_array(), loud.T)
    assert first.get_clim() == second.get_clim()  # one colour bar tells of both
    assert axes[1].get_xlim() == (0, 0.98) and axes[0].get_ylim() == (0, 16)
    assert axes[0].get_xlabel() == "time (s)" and axes[0].get_ylabel() == "mel band"
    with refuses("(16000,)", "1 titles", "(rows, bands)"):
        plots.plot_rows([np.zeros(16_000)], ["a clip"])
    with refuses("(49, 16)", "2 titles"):
        plots.plot_rows([loud], ["loud", "soft"])
    with refuses("[]", "0 titles"):
        plots.plot_rows([], [])


def test_plots_draw_on_the_axes_they_are_given():
    _, ax = plt.subplots()
    assert plots.plot_adaptation([row("fedavg", {0: 1.0})], "mse", ax) is ax
    assert to_rgba(ax.lines[0].get_color()) == to_rgba(plots.GREEN)


def test_save_writes_a_picture(tmp_path: Path):
    ax = plots.plot_adaptation([row("fedavg", {0: 1.0})], "mse")
    plots.save(ax.figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_save_refuses_unknown_formats_and_missing_folders(tmp_path: Path, refuses):
    ax = plots.plot_adaptation([row("fedavg", {0: 1.0})], "mse")
    with refuses("a.xyz", ".png"):
        plots.save(ax.figure, tmp_path / "a.xyz")
    with refuses("missing", "choose a folder"):
        plots.save(ax.figure, tmp_path / "missing" / "a.png")
