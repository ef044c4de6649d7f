"""What the notebook on learning together uses: the tap and the widget."""

from collections import Counter
from pathlib import Path

import numpy as np

from tinyreptile_lite.clients import Order
from tinyreptile_lite.exercises.copies import read_notebook, source
from tinyreptile_lite.lab import link_view as lab
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.wire import frames
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.links import LocalLink
from tinyreptile_lite.wire.local import LocalBoard

NET = Sine().network()
NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "05b_bad_links.ipynb"


def test_a_tap_hears_all_and_changes_nothing(rng):
    (device,), phi = Sine().devices(1, rng), NET.init(rng)
    tap = lab.Tap(LocalLink(LocalBoard(NET, device)))
    heard, alone = (BoardClient(link, NET) for link in (tap, LocalLink(LocalBoard(NET, device))))
    order = Order(0, OnlineSGD(0.02), 8, 1)
    np.testing.assert_array_equal(heard.visit(phi, order).params, alone.visit(phi, order).params)
    traffic = heard.session.traffic
    assert (len(tap.sent), len(tap.received)) == (traffic.sent, traffic.received)
    kinds = [
        Counter(type(m).__name__ for m in lab.overheard(data)) for data in (tap.sent, tap.received)
    ]
    assert kinds == [
        {"Hello": 1, "Push": 1, "Chunk": 5, "Train": 1, "Pull": 1},
        {"Welcome": 1, "Report": 1, "Chunk": 5},
    ]


def test_damaged_frames_are_not_heard():
    frame = frames.encode(frames.Status())
    assert lab.overheard(frame + b"\x05" + frame + frame) == [frames.Status()] * 2


def test_lost_frames_cost_bytes_and_time_but_no_bit_of_phi():
    clean, *lost = (lab.link_cost(drop, visits=6) for drop in (0.0, 0.2, 0.5))
    assert clean.waiting == 0
    assert 8 * NET.size < clean.bytes < 1.03 * 8 * NET.size
    assert clean.bytes < lost[0].bytes < lost[1].bytes
    assert 0 < lost[0].waiting < lost[1].waiting
    for cost in lost:
        np.testing.assert_array_equal(cost.phi, clean.phi)


def test_a_link_that_loses_everything_is_refused(refuses):
    with refuses("does not answer"):
        lab.link_cost(1.0, visits=1)


def test_the_widget_draws_the_costs_and_follows_the_slider(monkeypatch):
    costs = {
        (kind, drop): lab.LinkCost(1000.0 * (1 + drop), drop, np.zeros(3))
        for kind in lab.LINKS
        for drop in lab.DROPS
    }
    monkeypatch.setattr(lab, "link_costs", lambda: costs)
    widget = lab.link_widget()
    assert "1.10 times" in widget.caption.value and "same bits" in widget.caption.value
    assert widget.controls["kind"].options == ("USB", "Bluetooth")  # buttons: two are no scale
    before = widget.image.value
    costs["Bluetooth", 0.5] = lab.LinkCost(2500.0, 1.5, np.ones(3))
    widget.controls["kind"].value, widget.controls["drop"].value = "Bluetooth", 0.5
    assert "2.5 kB, 2.50 times" in widget.caption.value and "1.5 s" in widget.caption.value
    assert "other bits" in widget.caption.value
    assert widget.image.value != before


def test_the_course_shows_the_widget():
    code = [source(c) for c in read_notebook(NOTEBOOK)["cells"] if c["cell_type"] == "code"]
    assert any("link_widget()" in text for text in code)
