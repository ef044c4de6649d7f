"""The widgets: their plain functions are right, and moving a control changes what they show."""

from base64 import b64decode

import numpy as np
import pytest
from matplotlib.figure import Figure

from tinyreptile_lite.errors import DivergenceError, KitError
from tinyreptile_lite.evaluation import evaluate
from tinyreptile_lite.lab import widgets
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.tasks.sine import Sine

PNG = b"\x89PNG"


@pytest.fixture(scope="module")
def sine():
    """The family, its network, twenty devices and the task of each."""
    rng = np.random.default_rng(1)
    devices = Sine().devices(20, rng)
    return Sine().network(), devices, [device.task(rng) for device in devices]


def test_adaptation_curve_is_what_evaluation_gives(sine, rng):
    net, _, tasks = sine
    phi = net.init(rng)
    curve = widgets.adaptation_curve(net, phi, tasks, rate=0.01, samples=4)
    assert curve.shape == (5,)
    right = evaluate(net, phi, tasks, OnlineSGD(0.01), (0, 4), rng).mean(axis=0)
    np.testing.assert_allclose(curve[[0, 4]], right, rtol=1e-5)


def test_adaptation_curve_refuses_to_go_on_without_finite_weights(sine, rng):
    net, _, tasks = sine
    with pytest.raises(DivergenceError):
        widgets.adaptation_curve(net, net.init(rng), tasks, rate=10.0, samples=32)


def test_outer_rate_runs_cover_every_setting():
    runs = widgets.outer_rate_runs(rounds=6, every=3)
    assert set(runs) == {(rate, kind) for rate in widgets.OUTER_RATES for kind in (False, True)}
    for run in runs.values():
        assert run.rounds.tolist() == [0, 3, 6]
        assert np.isfinite(run.error).all()
    starts = {float(run.error[0]) for run in runs.values()}
    assert len(starts) == 1  # they differ by the outer rate alone
    assert runs[1.0, True].error[1] != runs[1.0, False].error[1]


def test_the_more_the_devices_differ_the_worse_is_one_common_model():
    runs = widgets.difference_runs(rounds=60)
    common = [runs[limit].common for limit in widgets.PHASE_LIMITS]
    assert np.all(np.diff(common) > 0)
    same_phase, full_circle = runs[widgets.PHASE_LIMITS[0]], runs[widgets.PHASE_LIMITS[-1]]
    # Amplitudes U[0.1, 5] and equal phases: variance 4.9**2 / 12 times the mean of sin**2.
    assert same_phase.common == pytest.approx(4.9**2 / 12 / 2, rel=0.2)
    # Phases over the full circle: the mean curve is zero, its error the mean of amplitude**2 / 2.
    assert full_circle.common == pytest.approx((5**3 - 0.1**3) / (3 * 4.9) / 2, rel=0.2)
    assert max(same_phase.after_8, same_phase.after_32) < 0.6 * same_phase.common


def test_no_constant_shift_makes_the_common_curve_better(rng):
    group, x = Sine(1.0).devices(50, rng), np.linspace(-5, 5, 20)[:, None]

    def error(curve):
        return np.mean([np.square(device.curve(x) - curve).mean() for device in group])

    best = widgets.common_curve(group, x)
    for other in (best + 0.1, best - 0.1, 0.9 * best, group[0].curve(x)):
        assert error(best) < error(other)


def test_moving_the_adaptation_widget_redraws_it(sine, rng):
    net, _, tasks = sine
    widget = widgets.adaptation_widget(net, net.init(rng), tasks)
    before, caption = widget.image.value, widget.caption.value
    assert bytes(before).startswith(PNG)
    widget.controls["samples"].value = 3
    assert widget.image.value != before and "After 3 samples" in widget.caption.value
    assert widget.caption.value != caption


def test_the_other_widgets_draw_their_function_and_follow_the_slider(monkeypatch):
    outer, difference = widgets.outer_rate_runs(6, 3), widgets.difference_runs(60)
    monkeypatch.setattr(widgets, "outer_rate_runs", lambda: outer)
    monkeypatch.setattr(widgets, "difference_runs", lambda: difference)
    widget = widgets.outer_rate_widget()
    assert f"{outer[1.0, True].error[-1]:.2f}" in widget.caption.value
    widget.controls["annealed"].value = False
    widget.controls["rate"].value = 0.1
    assert f"{outer[0.1, False].error[-1]:.2f}" in widget.caption.value
    widget = widgets.difference_widget()
    widget.controls["limit"].value = widgets.PHASE_LIMITS[0]
    assert f"{difference[0.0].common:.2f}" in widget.caption.value
    assert bytes(widget.image.value).startswith(PNG)


def test_what_the_library_refuses_is_said_and_the_widget_lives_on():
    def draw(size):
        if size == 2:
            raise KitError("2 is <too> much")
        return widgets.Picture(widgets.Figure(figsize=(1, 1)), f"size {size}")

    widget = widgets.Explorer("Sizes", {"size": widgets.choice("size", [1, 2, 3], 1)}, draw)
    widget.controls["size"].value = 2
    assert widget.caption.value == "2 is &lt;too&gt; much"
    assert widget.image.layout.visibility == "hidden"
    widget.controls["size"].value = 3
    assert (widget.caption.value, widget.image.layout.visibility) == ("size 3", "visible")


def test_a_widget_prints_the_same_in_every_run(sine, rng):
    net, _, tasks = sine
    phi = net.init(rng)
    one, two = (widgets.adaptation_widget(net, phi, tasks) for _ in range(2))
    assert repr(one) == repr(two)
    assert len(repr(one)) < 110  # ipywidgets would cut it off
    assert one.image.value == two.image.value


def test_a_widget_carries_its_picture_to_where_no_widget_lives(sine, rng):
    net, _, tasks = sine
    widget = widgets.adaptation_widget(net, net.init(rng), tasks)
    bundle, metadata = widget._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == widget.image.tooltip
    assert widget.title in widget.image.tooltip and widget.caption.value in widget.image.tooltip
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"] == repr(widget)
    assert b64decode(bundle["image/png"]) == bytes(widget.image.value)


def test_errors_too_high_for_the_picture_stand_at_its_top():
    ax = Figure().subplots()
    widgets._draw_errors(ax, np.array([4.0, 30.0, 2e3, np.inf]))
    line, within, above = ax.lines
    assert line.get_ydata().tolist() == [4, 30, 100, 100]
    np.testing.assert_array_equal(within.get_ydata(), [4, 30, np.nan, np.nan])
    assert above.get_xdata().tolist() == [2, 3] and set(above.get_ydata()) == {ax.get_ylim()[1]}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["more than 100"]


def test_the_axes_stay_where_they_are_and_a_curve_that_leaves_is_said(sine, rng):
    net, _, tasks = sine
    widget = widgets.adaptation_widget(net, net.init(rng), tasks)
    limits, said = set(), []
    for rate, samples in ((0.02, 0), (0.02, 8), (0.1, 8)):
        left, right = widget._draw(rate=rate, samples=samples).figure.axes
        limits.add((left.get_xlim(), left.get_ylim(), right.get_xlim(), right.get_ylim()))
        said.append([text.get_text() for text in left.texts])
    assert len(limits) == 1
    assert said == [[], [], ["a curve leaves the picture"]]
