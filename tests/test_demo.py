"""The demo: picture, text and the words in README.md say the same."""

import json
import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from pictures import assert_words_are_whole_and_apart, texts

from tinyreptile_lite.federation import History
from tinyreptile_lite.lab.demo import _draw, demo
from tinyreptile_lite.lab.plots import save

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> tuple[dict, str, Path]:
    folder = tmp_path_factory.mktemp("demo")
    return *demo(folder, np.random.default_rng(0), rounds=3), folder


def test_the_demo_keeps_what_it_tells(told):
    result, text, folder = told
    assert json.loads((folder / "demo.json").read_text()) == result
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert set(result["accuracy"]) == {"phi", "random weights"}
    for start, wrists in result["accuracy"].items():
        assert list(wrists) == ["person-3-left", "person-3-right"]
        for name, values in wrists.items():
            row = [start, name, *(f"{value:.3f}" for value in values)]
            assert re.search(r" +".join(map(re.escape, row)), text)
    assert "both wrists of a wearer never seen" in text


def test_the_scratch_of_the_tables_is_told_from_random_weights(told):
    result, text, _ = told
    passes = result["scratch_passes"]
    assert f"passes {passes} times over them" in " ".join(text.split())
    caption = " ".join(README.split("docs/demo.png)")[1].split("## Start")[0].split())
    assert f"passes {passes} times over them" in caption
    assert "both wrists of one wearer never seen" in caption and "four curves" in caption


def test_the_picture_names_every_curve(told, tmp_path, monkeypatch):
    result, *_ = told
    kept = []
    monkeypatch.setattr(plt, "close", kept.append)
    _draw(result, History(loss=[1.0, 0.5], outer_rate=[1.0, 0.5]), tmp_path / "demo.png")
    monkeypatch.undo()
    (figure,) = kept
    words = [text for text, _ in texts(figure)]
    for start in ("phi", "random weights"):
        assert {f"left wrist, from {start}", f"right wrist, from {start}"} <= {*words}
    assert "guessing: 1 of 7" in words and "A wearer never seen learns online" in words
    curves = [line for line in figure.axes[1].lines if len(line.get_xdata()) == 4]
    assert len(curves) == 4
    assert len({(one.get_marker(), one.get_color()) for one in curves}) == 4
    assert_words_are_whole_and_apart(figure)
    save(figure, tmp_path / "again.png")
    plt.close(figure)
