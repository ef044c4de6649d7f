"""The set-up: it says what it does, marks what is ready, and mends what was cut off."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import set_up

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

PYTHON = """#!/bin/sh
case "$*" in
*"import pip"*) echo {fits} ;;
*purelib*) echo "{packages}" ;;
*) echo "$*" >> "{log}"; {then} ;;
esac
"""


def package(packages, name, files):
    """Write an installed package; the list says how large its files are."""
    info = packages / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    rows = [f"{name}-1.0.dist-info/RECORD,,\n"]
    for file, text in files.items():
        (packages / file).parent.mkdir(parents=True, exist_ok=True)
        (packages / file).write_text(text)
        rows.append(f"{file},sha256=x,{len(text)}\n")
    (info / "RECORD").write_text("".join(rows))
    return info


@pytest.fixture
def venv(tmp_path):
    """An environment whose Python is a stand-in; call it to set what pip does."""
    folder = tmp_path / ".venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "place").write_text(f"{folder.resolve()}\n")

    def then(command, fits=True):
        packages = folder / "packages"
        packages.mkdir(exist_ok=True)
        text = PYTHON.format(fits=fits, packages=packages, log=folder / "log", then=command)
        (folder / "bin" / "python").write_text(text)
        (folder / "bin" / "python").chmod(0o755)
        return folder

    return then


def test_the_parts_are_the_extras_and_a_student_needs_neither_ray_nor_test_tools():
    extras = {name: set(part.extras.split(",")) for name, part in set_up.PARTS.items()}
    assert set.union(*extras.values()) == set(PROJECT["optional-dependencies"])
    assert not extras["lab"] & {"simulation", "test", "bench"}


def test_the_oldest_and_the_newest_python_are_those_of_the_project_file():
    oldest, too_new = re.fullmatch(
        r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"].replace(" ", "")
    ).groups()
    assert (3, int(oldest)) == set_up.OLDEST and (3, int(too_new) - 1) == set_up.NEWEST


def test_size_and_time_are_said_before_and_the_mark_comes_after(venv, capfd):
    folder = venv("exit 0")
    set_up.set_up("lab", folder, ROOT)
    said = capfd.readouterr().out
    assert re.search(r"^Setting up .*\(lab\)\. This fetches about \d+ MB, fills \d+ MB", said)
    assert re.search(r"Ready after \d+ seconds\.\n$", said)
    assert f"--editable {ROOT}[lab,data,boards,ble,flower]" in (folder / "log").read_text()
    assert "quiet" not in (folder / "log").read_text()
    assert (folder / "ready-lab").exists() and not (folder / "ready-test").exists()
    set_up.set_up("test", folder, ROOT)
    assert (folder / "ready-test").exists()


def test_packages_are_named_as_they_come(tmp_path, capfd):
    with set_up.named(tmp_path):
        package(tmp_path, "numpy", {"numpy/a.py": "1"})
        set_up.time.sleep(1.2)
    assert "installed numpy 1.0 (1 packages)" in capfd.readouterr().out


def test_if_pip_fails_there_is_no_mark_and_what_is_there_stays(venv):
    folder = venv("exit 1")
    with pytest.raises(subprocess.CalledProcessError):
        set_up.set_up("lab", folder, ROOT)
    assert not list(folder.glob("ready-*")) and not (folder / "unfinished").exists()
    venv("exit 0")
    set_up.set_up("lab", folder, ROOT)
    assert (folder / "ready-lab").exists()


def test_if_pip_is_killed_the_next_call_mends_what_is_half_there(venv, capfd):
    folder = venv("kill -9 $$")
    packages = folder / "packages"
    with pytest.raises(subprocess.CalledProcessError):
        set_up.set_up("lab", folder, ROOT)
    whole = package(packages, "whole", {"whole/a.py": "1", "ziglang/lib/libc/mingw/a.h": "2"})
    half, short = (package(packages, name, {f"{name}/a.py": "123"}) for name in ("half", "short"))
    (packages / "half" / "a.py").unlink()
    (packages / "short" / "a.py").write_text("1")
    torn = package(packages, "torn", {})
    (torn / "RECORD").unlink()
    (packages / "~umpy").mkdir()
    set_up.slim(packages)  # what is taken out on purpose is no damage
    venv("exit 0")
    set_up.set_up("lab", folder, ROOT)
    assert whole.exists()
    assert not any(path.exists() for path in (half, short, torn, packages / "~umpy"))
    assert "half 1.0 is not complete; it is installed again" in capfd.readouterr().out
    assert (folder / "ready-lab").exists() and not (folder / "unfinished").exists()


def test_an_environment_that_was_moved_or_has_another_python_does_not_work(venv, tmp_path):
    assert set_up.works(venv("exit 0"))
    assert not set_up.works(venv("exit 0", fits=False))
    folder = venv("exit 0").rename(tmp_path / "moved")
    assert not set_up.works(folder)
    assert not set_up.works(tmp_path / "none")


def test_only_what_no_board_and_no_computer_of_the_kit_needs_is_taken_out(tmp_path):
    headers = tmp_path / "ziglang" / "lib" / "libc" / "include"
    names = "any-windows-any", "generic-freebsd", "arm-linux-musl", "generic-musl", "any-darwin-any"
    for name in names:
        (headers / name).mkdir(parents=True)
    set_up.slim(tmp_path)
    assert {path.name for path in headers.iterdir()} == set(names[2:])


def test_slips_are_one_sentence(capsys, monkeypatch):
    for arguments in ([], ["everything"], ["lab", "test"]):
        assert set_up.main(arguments) == 2
        assert capsys.readouterr().err == "set up: name one of the parts: lab, test, bench\n"
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    assert set_up.main(["lab"]) == 2
    error = capsys.readouterr().err
    assert "Python 3.9 does not fit" in error and "make lab PYTHON=python3.13" in error
    monkeypatch.undo()
    for stop, code in ((KeyboardInterrupt(), 130), (subprocess.CalledProcessError(1, "pip"), 1)):

        def stopped(name, stop=stop):
            raise stop

        monkeypatch.setattr(set_up, "set_up", stopped)
        assert set_up.main(["lab"]) == code
        assert "call make again" in capsys.readouterr().err


def make(*words, folder=ROOT):
    """What `make` would do."""
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    done = subprocess.run(
        ["make", "--dry-run", *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def kit(tmp_path):
    """A folder of the kit in which nothing is set up."""
    for name in ("Makefile", "pyproject.toml", "tools/set_up.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


def ready(kit, *marks):
    """Pretend that parts are set up."""
    (kit / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
    (kit / ".venv" / "place").write_text(f"{kit.resolve() / '.venv'}\n")
    (kit / ".venv" / "bin" / "python").symlink_to(sys.executable)
    for mark in marks:
        (kit / ".venv" / f"ready-{mark}").touch()


def test_make_completes_the_set_up_in_any_order(kit):
    def parts(command):
        return re.findall(r"set_up\.py (\w+)", make(command, folder=kit))

    assert parts("lab") == parts("lab-solved") == parts("demo") == ["lab"]
    assert parts("test") == parts("lint") == ["lab", "test"]
    assert parts("figures") == parts("bench") == ["lab", "bench"]
    ready(kit, "lab")
    assert parts("lab") == [] and parts("test") == ["test"]
    (kit / ".venv" / "ready-test").touch()
    assert parts("test") == parts("lab") == []
    (kit / ".venv" / "ready-lab").unlink()
    assert parts("lab") == ["lab"]


def test_make_sets_up_anew_what_was_moved_or_whose_python_is_gone(kit):
    ready(kit, "lab", "test")
    (kit / ".venv" / "place").write_text("elsewhere\n")
    assert "set_up.py lab" in make("lab", folder=kit)
    (kit / ".venv" / "bin" / "python").unlink()
    ready(kit, "lab", "test")
    (kit / ".venv" / "bin" / "python").unlink()
    assert "set_up.py lab" in make("lab", folder=kit)


def test_make_opens_the_students_copies_and_clean_leaves_them():
    opened = make("lab", f"VENV={ROOT / 'none'}")
    assert "exercises.copies notebooks my_course" in opened
    assert "/tree/my_course/00_start_here.ipynb" in opened
    assert "/tree/notebooks/00_start_here.ipynb" in make("lab-solved", f"VENV={ROOT / 'none'}")
    assert "my_course" not in make("clean")
    assert "my_course/" in (ROOT / ".gitignore").read_text().splitlines()
