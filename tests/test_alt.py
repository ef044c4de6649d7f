"""Pictures keep what is on them in words, in notebooks, pages made of them, and scripts."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import json
import re
import shutil
import tomllib
from html.parser import HTMLParser

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
        "for i in 2, 3:\n    plt.subplots(figsize=(i, 2))\nplots.show('small', 'wide')\nprint(1)",
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


# Jupyter

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory) -> dict[str, str]:
    """Environment in which Jupyter finds what an installation of the kit puts below it."""
    folder = tmp_path_factory.mktemp("environment")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for place, files in project["tool"]["setuptools"]["data-files"].items():
        (folder / place).mkdir(parents=True)
        for file in files:
            shutil.copy(ROOT / file, folder / place)
    paths = {"JUPYTER_CONFIG_PATH": "etc/jupyter", "JUPYTER_PATH": "share/jupyter"}
    own = {name: str(folder / place) for name, place in paths.items()}
    return os.environ | own | {"JUPYTER_CONFIG_DIR": str(folder / "own"), "PYTHONPATH": str(ROOT)}


def run(*command: object, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", *map(str, command)]
    return subprocess.run(command, check=True, capture_output=True, text=True, **options)


def test_a_page_made_by_nbconvert_has_the_words(notebook, jupyter, tmp_path):
    path = tmp_path / "lesson.ipynb"
    nbformat.write(notebook, path)
    before = path.read_bytes()
    run("jupyter", "nbconvert", "--to", "html", path, env=jupyter)
    pictures = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, about: tag == "img" and pictures.append(dict(about))
    parser.feed(path.with_suffix(".html").read_text())
    assert [each["alt"] for each in pictures] == [ALT, "small", "wide"]
    assert all(each["src"].startswith("data:image/png;base64,iVBOR") for each in pictures)
    assert path.read_bytes() == before


def test_jupyterlab_takes_the_extension_as_it_is(jupyter):
    listed = run("jupyter", "labextension", "list", env=jupyter)
    assert re.search(r"tinyreptile-alt v[\d.]+\S*.*enabled.*OK", listed.stdout + listed.stderr)


def test_every_file_for_jupyter_is_there_and_tells_the_kits_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    files = [f for each in project["tool"]["setuptools"]["data-files"].values() for f in each]
    folder = ROOT / "tinyreptile_lite" / "lab" / "jupyter"
    there = {path for path in folder.rglob("*.js*") if path.is_file()}
    assert {ROOT / file for file in files} == there
    package = json.loads((folder / "labextension" / "package.json").read_text())
    assert package["version"] == project["project"]["version"]
    assert package["jupyterlab"]["_build"]["load"] == "static/remoteEntry.js"
    assert (
        f'_JUPYTERLAB["{package["name"]}"]'
        in (folder / "labextension" / "static" / "remoteEntry.js").read_text()
    )
