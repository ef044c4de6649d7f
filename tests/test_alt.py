"""Pictures keep what is on them in words, in notebooks, pages made of them, and scripts."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import json
import re
import tomllib
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import nbformat
import pytest
from nbclient import NotebookClient

from tinyreptile_lite.lab import plots
from tinyreptile_lite.lab.jupyter.install import EXTENSION, HERE, SETTING, install

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
    """Jupyter as it is in an environment that was told."""
    folder = tmp_path_factory.mktemp("environment")
    install(folder)
    install(folder)
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


def test_the_extension_has_the_kits_version_and_one_name():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    package = json.loads((HERE / "labextension" / "package.json").read_text())
    assert package["version"] == project["project"]["version"]
    assert package["name"] == EXTENSION.name
    script = HERE / "labextension" / package["jupyterlab"]["_build"]["load"]
    assert f'_JUPYTERLAB["{package["name"]}"]' in script.read_text()


def test_settings_of_somebody_else_are_left_alone(tmp_path, refuses):
    setting = tmp_path / SETTING
    setting.parent.mkdir(parents=True)
    setting.write_text("c.NbConvertApp.log_level = 10\n")
    with refuses(setting, "somebody else", "make lab"):
        install(tmp_path)
    assert setting.read_text() == "c.NbConvertApp.log_level = 10\n"


def test_an_environment_that_cannot_be_written_to_is_named(tmp_path, refuses):
    (tmp_path / "share").write_text("a file, no folder")
    with refuses("cannot use", "share", "make lab"):
        install(tmp_path)
