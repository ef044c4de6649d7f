"""Folders and files that one may not touch, and names that no file can have: one sentence each."""

import os
import shutil
import subprocess
import sys

import pytest

from tinyreptile_lite.cache import cache_folder
from tinyreptile_lite.cli import main
from tinyreptile_lite.nano.ports import check_port

# Root may do everything, so it gives that up first; the files it owns stay its own.
DROP = "-dac_override,-dac_read_search"
BOUND = ["setpriv", f"--bounding-set={DROP}", f"--inh-caps={DROP}"]
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

pytestmark = pytest.mark.skipif(
    os.name == "nt" or (IS_ROOT and not shutil.which("setpriv")), reason="no way to be refused"
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A sketch, weights, a folder that may not be written and one that may not be seen."""
    monkeypatch.setenv("TINYREPTILE_CACHE", str(cache_folder().resolve()))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Blink").mkdir()
    (tmp_path / "Blink" / "Blink.ino").write_text("void setup() {}\nvoid loop() {}\n")
    assert main(["train", "sine", "--rounds", "1", "--out", "phi.npz"]) == 0
    shutil.copytree(tmp_path / "Blink", tmp_path / "hidden" / "Blink")
    shutil.copy(tmp_path / "phi.npz", tmp_path / "hidden")
    (tmp_path / "shut").mkdir(mode=0o555)
    (tmp_path / "hidden").chmod(0)
    yield tmp_path
    for name in ("shut", "hidden"):
        (tmp_path / name).chmod(0o755)


def slip(*arguments: str, **variables: str | None) -> str:
    """The one line that a command says that is refused."""
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [*(BOUND if IS_ROOT else []), sys.executable, "-m", "tinyreptile_lite.cli", *arguments],
        capture_output=True,
        text=True,
        env={name: value for name, value in environment.items() if value is not None},
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = [text for text in done.stderr.splitlines() if not text.startswith("building for")]
    assert line.startswith("tinyreptile: ")
    return line


EXPORT = ("export", "sine", "--phi", "phi.npz", "--out")
SERVE = ("serve", "numpy:2", "--rounds", "1", "--out")
LONG = "x" * 300


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*EXPORT, "shut"), ["shut", "Permission denied", "a folder you can write to"]),
        ((*EXPORT, "hidden/new"), ["hidden/new", "Permission denied"]),
        ((*EXPORT, LONG), [LONG, "File name too long"]),
        ((*EXPORT, ".", "--name", LONG), [LONG, "File name too long", "up to 200 letters"]),
        (("export", "sine", "--phi", "hidden/phi.npz", "--out", "."), ["hidden/phi.npz"]),
        (("export", "sine", "--phi", LONG, "--out", "."), [LONG]),
        (("train", "sine", "--out", "shut/phi.npz"), ["shut/phi.npz", "Permission denied"]),
        (("train", "sine", "--out", "hidden/phi.npz"), ["hidden/phi.npz", "Permission denied"]),
        (("adapt", "sine", "--phi", "hidden/phi.npz"), ["hidden/phi.npz", "Permission denied"]),
        ((*SERVE, "shut/phi.npz"), ["shut/phi.journal", "a folder that you can write to"]),
        ((*SERVE, "hidden/phi.npz"), ["hidden/phi.npz", "Permission denied"]),
        ((*SERVE, "new.npz", "--journal", "hidden/new"), ["hidden/new", "Permission denied"]),
        (("flash", "hidden/Blink"), ["hidden/Blink", "Permission denied", "you can read"]),
        (("flash", LONG), [LONG, "File name too long"]),
        (("flash", "Blink", "--imu", "hidden/r.csv"), ["hidden/r.csv", "Permission denied"]),
    ],
)
def test_what_may_not_be_touched_is_one_sentence(place, arguments, words):
    line = slip(*arguments)
    assert all(word in line for word in words)


def test_a_file_that_may_not_be_read_is_not_replaced(place):
    (place / "phi.h").write_text("int mine;\n")
    (place / "phi.h").chmod(0)
    assert "phi.h: Permission denied" in slip(*EXPORT, ".")
    (place / "phi.h").chmod(0o644)
    assert (place / "phi.h").read_text() == "int mine;\n"


@pytest.mark.parametrize("folder", ["hidden", "hidden/Blink"])
def test_a_data_folder_that_may_not_be_seen_is_one_sentence(place, folder):
    assert folder in slip("train", "wrist", "--out", "w.npz", TINYREPTILE_DATA=folder)


@pytest.mark.parametrize("folder", ["shut", "hidden", "hidden/Blink"])
def test_a_data_folder_that_cannot_be_written_is_one_sentence(place, folder):
    line = slip("data", "omniglot-small", TINYREPTILE_DATA=folder)
    assert folder in line and "TINYREPTILE_DATA" in line


def test_an_archive_that_may_not_be_read_is_one_sentence(place):
    line = slip("data", "omniglot-small", "--from", "hidden/Blink", TINYREPTILE_DATA=".")
    assert "hidden/Blink" in line and "give images_background_small1.zip" in line


@pytest.mark.parametrize("home", ["shut", "hidden", LONG])
def test_a_home_that_cannot_be_written_is_one_sentence(place, home):
    line = slip(
        "flash", "Blink", HOME=str(place / home), TINYREPTILE_CACHE=None, XDG_CACHE_HOME=None
    )
    assert "set TINYREPTILE_CACHE to a folder that you may write to" in line


def test_a_port_of_any_length_is_one_sentence(refuses):
    with refuses("no board at /dev/xxx", "plug it in"):
        check_port(f"/dev/{LONG}")
