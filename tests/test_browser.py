"""Every notebook in a real browser: all cells run, every widget moves its picture, nothing fails.

The screenshots are left in ``build/browser``, one folder for each notebook.
"""

import json
import os
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import browsers
import pytest
from lab_page import Reading, read
from lab_server import LabServer, copy_course, lab_server
from playwright.sync_api import Browser

from tinyreptile_lite.tasks import DATA_SETS

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PICTURES = ROOT / "build" / "browser"
NEEDED = runpy.run_path(str(ROOT / "notebooks" / "conftest.py"))["NEEDED"]
VIEW = "application/vnd.jupyter.widget-view+json"

Specimen = list[tuple[str, str]]  # kind and text of cells


class Desk(NamedTuple):
    """What all readings share."""

    browser: Browser
    server: LabServer
    notebooks: list[Path]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    PICTURES.mkdir(parents=True, exist_ok=True)
    folder, own = tmp_path_factory.mktemp("course"), tmp_path_factory.mktemp("jupyter")
    notebooks = copy_course(NOTEBOOKS, folder)
    log = PICTURES / f"jupyter-{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}.log"
    try:
        with browsers.browser() as browser, lab_server(folder, own, log) as server:
            yield Desk(browser, server, notebooks)
            return
    except browsers.NoBrowser as error:
        sentence = str(error)
    pytest.fail(sentence, pytrace=False)


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Tell at once how far it is; all else that is printed is shown only of tests that fail."""

    def tell(text: str) -> None:
        with capfd.disabled():
            print(f"\nbrowser, {request.node.name}: {text}", file=sys.stderr, flush=True)

    return tell


def needs_data(notebook: Path) -> list[pytest.MarkDecorator]:
    if notebook.name not in NEEDED:
        return []
    data = DATA_SETS[NEEDED[notebook.name]]
    return [pytest.mark.skipif(None in map(data.find, data.archives), reason=data.command)]


def widget_cells(notebook: Path) -> set[str]:
    """Ids of the cells that show a widget, by their stored outputs."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return {
        cell["id"]
        for cell in cells
        for output in cell.get("outputs", [])
        if VIEW in output.get("data", {})
    }


@pytest.mark.parametrize(
    "notebook",
    [pytest.param(each, marks=needs_data(each), id=each.stem) for each in NOTEBOOKS],
)
def test_a_notebook_runs_and_all_its_widgets_move(notebook, desk, say):
    before, start = notebook.read_bytes(), time.monotonic()
    copy = next(each for each in desk.notebooks if each.name == notebook.name)
    reading = read(desk.browser, desk.server, copy, PICTURES / notebook.stem, say)
    say(f"{time.monotonic() - start:.0f} s; pictures in build/browser/{notebook.stem}")
    assert reading.faults == []
    assert sorted(reading.moved) == sorted(reading.widgets)  # as many moved as there are
    assert reading.widget_cells == widget_cells(notebook)
    assert notebook.read_bytes() == before


# What a reading must see, in notebooks made for it

SHOWN = """
import io, anywidget, ipywidgets as w, numpy as np
from matplotlib.image import imsave

def png(*values):
    file, seed = io.BytesIO(), abs(hash(str(values))) % 2**32
    imsave(file, np.random.default_rng(seed).random((40, 40)), format="png")
    return file.getvalue()
"""
PAPER = '''
class Paper(anywidget.AnyWidget):
    """A canvas that blackens under the mouse and counts."""
    import traitlets
    value = traitlets.Int().tag(sync=True)
    _esm = """export default { render({ model, el }) {
      const paper = el.appendChild(document.createElement("canvas"));
      paper.onpointerdown = (event) => {
        paper.getContext("2d").fillRect(event.offsetX, event.offsetY, 9, 9);
        model.set("value", model.get("value") + 1);
        model.save_changes();
      };
    } };"""
'''
ALL_KINDS = """
controls = [
    w.IntSlider(3, 0, 5, description="whole"),
    w.FloatRangeSlider(value=(2, 5), step=1, description="range"),
    w.SelectionSlider(options="abc", description="letter"),
    w.SelectionRangeSlider(options="abcd", index=(1, 2), description="letters"),
    w.Dropdown(options="abc", description="one of"), w.Select(options="abc", description="box"),
    w.Checkbox(description="tick"), w.ToggleButton(description="toggle"),
    w.ToggleButtons(options=[1, 2, 3]), w.RadioButtons(options="abc"),
    w.Text(description="text", continuous_update=False), w.Textarea(description="long text"),
    w.IntText(description="number"), Paper(),
]
button, clicks = w.Button(description="button"), []
picture = w.Image(layout={"align_self": "flex-start"})

def draw(_):
    picture.value = png(len(clicks), *(control.value for control in controls))

for control in controls:
    control.observe(draw, "value")
button.on_click(lambda _: (clicks.append(1), draw(_)))
draw(None)
w.VBox([*controls, button, picture])
"""


@pytest.fixture
def look(
    desk: Desk, say: Callable[[str], None], request: pytest.FixtureRequest
) -> Callable[..., Reading]:
    """Read a notebook of these cells."""

    def make(cells: Specimen, tags: dict[int, list[str]], answer: float) -> Reading:
        notebook = desk.server.folder / f"{request.node.name}.ipynb"
        notebook.write_text(json.dumps(written(cells, tags)), encoding="utf-8")
        pictures = PICTURES / "specimens" / request.node.name
        return read(desk.browser, desk.server, notebook, pictures, say, answer)

    return make


def written(cells: Specimen, tags: dict[int, list[str]]) -> dict:
    """The content of a notebook file."""
    code = {"outputs": [], "execution_count": None}
    rows = [
        {"cell_type": kind, "id": f"c{i}", "source": text, "metadata": {"tags": tags.get(i, [])}}
        | (code if kind == "code" else {})
        for i, (kind, text) in enumerate(cells)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": rows}


def test_each_kind_of_widget_is_found_and_moved(look):
    reading = look([("code", SHOWN), ("code", PAPER), ("code", ALL_KINDS)], {}, 20)
    assert reading.faults == []
    # Range sliders have two handles; each button of a group and each radio button is one.
    count = {"slider": 6, "choice": 2, "tick": 1, "radio": 3, "number": 1, "text": 2}
    count |= {"toggles": 3, "toggle": 1, "button": 1, "paper": 1}
    kinds = [name.split()[0] for name in reading.moved]
    assert {kind: kinds.count(kind) for kind in kinds} == count
    assert sorted(reading.moved) == sorted(reading.widgets)


WRONG = {
    "w.HBox([w.IntSlider(description='dead'), w.Image(value=png())])": (
        "slider dead: ArrowRight changes nothing"
    ),
    "import warnings; warnings.warn('mind the gap')": "cell c3 complains",
    "page = w.Button(description='bad')\npage.on_click(lambda _: 1 / 0)\npage": "ZeroDivisionError",
    "tick = w.Checkbox(description='worse')\ntick.observe(lambda _: [][0], 'value')\ntick": (
        "IndexError"
    ),
    "class Bad(anywidget.AnyWidget):\n"
    "    _esm = 'export default { render() { setTimeout(() => { throw Error(\"oh\") }) } }'\n"
    "Bad()": "JavaScript fails: oh",
    "class New(anywidget.AnyWidget):\n"
    "    _esm = 'export default { render({ el }) { el.innerHTML = \"<p tabindex=0>knob</p>\" } }'\n"
    "New()": "nobody knows how to move",
    "w.Label('x' * 99, layout={'width': '3em'})": 'xxx" is cut',
    "print('y' * 150)": "a printed line breaks: yyy",
    "w.HTML('<div style=\"width: 3000px\">wide</div>')": "an output is cut on the right: wide",
    "w.Image(value=png(), width=400)": "a picture of 40 points is blown up to 400",
    "assert 1 == 2": "fails: AssertionError",
    "1": "cells have run",
}
PROSE = {
    "![gone](gone.png)": "gone.png does not load",
    "![far](https://far.example/a.png)": "far.example",
    r"$\left( x$": "a formula cannot be set",
}


def test_what_is_wrong_in_a_notebook_is_named(look):
    code = [SHOWN, "1 / 0", *WRONG]
    cells = [("code", text) for text in code] + [("markdown", text) for text in PROSE]
    reading = look(cells, {1: ["raises-exception"]}, 2)
    for sentence in (*WRONG.values(), *PROSE.values()):
        assert any(sentence in fault for fault in reading.faults), (sentence, reading.faults)
    assert not [fault for fault in reading.faults if "cell c1 fails" in fault]  # it is meant to
    assert sorted(reading.moved) != sorted(reading.widgets)
