"""The versions of the Arduino core and its libraries: one set, wherever they are written."""

import re
from pathlib import Path

import pytest
import yaml

from tinyreptile_lite.nano.arduino_cli import BOARD, OLDEST
from tinyreptile_lite.nano.sketch import read_sketch

ARDUINO = Path(__file__).parents[1] / "arduino"
FOLDERS = sorted({file.parent for file in ARDUINO.glob("*/*.ino")})
NAMES = [folder.name for folder in FOLDERS]
SENSORS = {"rev1": "Arduino_LSM9DS1", "rev2": "Arduino_BMI270_BMM150"}
LIBRARIES = {*SENSORS.values(), "ArduinoBLE"}  # each is called as its header is


def profiles(folder):
    """The profiles of a sketch, as arduino-cli reads them: fqbn, platforms and libraries."""
    project = yaml.safe_load((folder / "sketch.yaml").read_text())
    assert project.keys() == {"profiles", "default_profile"}
    assert project["default_profile"] == "rev1"
    return project["profiles"]


def versions(profile):
    """Versions by name, and the folders of libraries."""
    platforms = [row["platform"] for row in profile["platforms"]]
    named = [row for row in profile["libraries"] if isinstance(row, str)]
    folders = [row["dir"] for row in profile["libraries"] if isinstance(row, dict)]
    pairs = [re.fullmatch(r"([\w:]+) \((\d+\.\d+\.\d+)\)", row) for row in platforms + named]
    return {pair[1]: pair[2] for pair in pairs}, folders


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_every_sketch_is_pinned_for_both_revisions(folder):
    found = profiles(folder)
    assert list(found) == ["rev1", "rev2"]
    source = read_sketch(folder)
    text = b"".join(source.files.values()).decode()
    headers = set(re.findall(r"#include <(\w+)\.h>", text))
    for name, profile in found.items():
        assert profile["fqbn"] == BOARD
        pinned, folders = versions(profile)
        useful = LIBRARIES - {*SENSORS.values()} | {SENSORS[name]}
        core, *more = pinned
        assert core == BOARD.rpartition(":")[0]
        assert headers & useful <= set(more) <= useful
        own = {(folder / place).resolve() for place in folders}
        assert own == {library.folder for library in source.libraries}


def test_all_files_name_the_same_versions():
    everywhere = {}
    for folder in FOLDERS:
        for profile in profiles(folder).values():
            for name, version in versions(profile)[0].items():
                assert everywhere.setdefault(name, version) == version, folder
    texts = {
        "README.md": (ARDUINO / "README.md").read_text(),
        "check_real_core.py": (ARDUINO / "extras" / "check_real_core.py").read_text(),
    }
    repositories = {"arduino:mbed_nano": "ArduinoCore-mbed"}
    for file, text in texts.items():
        for name, version in everywhere.items():
            names = f"{name}|{repositories.get(name, name)}"
            said = re.findall(rf"(?:{names})[`*|@ ]+(\d+\.\d+\.\d+)", text)
            assert said, f"{file} does not name the version of {name}"
            assert set(said) == {version}, f"{file} names another version of {name}"
    assert f"arduino-cli {'.'.join(map(str, OLDEST))}" in texts["README.md"]


def test_the_core_is_checked_with_every_sketch():
    text = (ARDUINO / "extras" / "check_real_core.py").read_text()
    assert [name for name in NAMES if f'("{name}"' not in text] == []
