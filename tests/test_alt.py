"""Pictures keep what is on them in words, in notebooks, pages made of them, and scripts."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import nbformat
import pytest
from nbclient import NotebookClient

from tinyreptile_lite.lab import plots

ALT = 'A line that rises from 0 to 1, "steeply" & <at once>.'


@pytest.fixture(autouse=True)
def close_figures():
    plt.close("all")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    """A notebook with one picture, then two, each shown with words; it was run."""
    cells = [
        "import matplotlib.pyplot as plt\nfrom tinyreptile_lite.lab import plots",
        f"plt.plot([0, 1])\nplots.show({ALT!r})",
        "for i in 2, 3:\n    plt.figure(figsize=(i, 2))\nplots.show('small', 'wide')\nprint(1)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    return notebook


def outputs(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for output in cell.outputs if output.output_type == "display_data"]


def test_a_notebook_keeps_each_picture_once_with_its_words(notebook):
    _, one, two = notebook.cells
    (picture,) = outputs(one)
    assert picture.metadata["image/png"] == {"alt": ALT}
    assert set(picture.data) == {"image/png", "text/plain"}
    assert picture.data["text/plain"] == "<Figure size 640x480 with 1 Axes>"  # as plt.show() has it
    assert [each.metadata["image/png"]["alt"] for each in outputs(two)] == ["small", "wide"]
    assert two.outputs[-1].text == "1\n"


def test_a_script_goes_on_and_shows_each_figure_once(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "import matplotlib.pyplot as plt\nfrom tinyreptile_lite.lab import plots\n"
        "for i in range(3):\n    plt.figure()\n    plots.show(f'picture {i}')\n"
        "print([plt.figure(n).alt for n in plt.get_fignums()])\n"
    )
    environment = os.environ | {"MPLBACKEND": "agg", "DISPLAY": ":0"}
    command = [sys.executable, "-W", "error", script]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout == "['picture 0', 'picture 1', 'picture 2']\n", done.stderr
    assert not done.stderr


def test_pictures_without_words_are_refused(refuses):
    with refuses("no figure", "draw one first"):
        plots.show("nothing")
    plt.figure()
    for text in ("", "  \n", None, 5):
        with refuses(repr(text), "say what the picture shows"):
            plots.show(text)
    with refuses("1 open figures and 0 alternative texts"):
        plots.show()
    plt.figure()
    with refuses("2 open figures and 1", "before you draw the next one"):
        plots.show("one")
    plots.show("one", "two")
    plt.figure()
    plots.show("three\n   lines of   text")
    assert plt.gcf().alt == "three lines of text"
