"""What several test files share."""

import json
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from compilers import report
from hypothesis import settings

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, Scale, Tanh
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks import DATA_SETS

# The same examples in every run: a class must not meet a failure that nobody can repeat.
settings.register_profile("kit", deadline=None, max_examples=30, derandomize=True, database=None)
settings.load_profile("kit")


def pytest_report_header() -> list[str]:
    sets = DATA_SETS.values()
    missing = [data.command for data in sets if None in map(data.find, data.archives)]
    return [*report(), *(f"also tested if its data is here: {one}" for one in missing)]


Refuses = Callable[..., AbstractContextManager[None]]


@pytest.fixture(scope="session")
def refuses() -> Refuses:
    """Expect a `KitError` of one line that holds all the words: the value and the remedy."""

    @contextmanager
    def expect(*words: object, error: type[KitError] = KitError) -> Iterator[None]:
        with pytest.raises(error) as caught:
            yield
        sentence = str(caught.value)
        assert "\n" not in sentence
        for word in words:
            assert str(word) in sentence

    return expect


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2023)


@pytest.fixture(scope="session")
def mlp() -> Network:
    """A small regression network with 25 parameters."""
    return Network([Scale(0.4), Dense(1, 8), Tanh(), Dense(8, 1)], "mse", (1,))


@pytest.fixture(scope="session")
def convnet() -> Network:
    """A small classifier of three classes for windows of 12 steps and 2 axes."""
    layers = [Conv1D(2, 4, 3, 2), Tanh(), Conv1D(4, 5, 2), Tanh(), GlobalAveragePool(), Dense(5, 3)]
    return Network(layers, "cross_entropy", (12, 2))


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Install a stand-in for arduino-cli; call it to set its answers, `calls` lists the calls."""
    bin = tmp_path / "bin"
    bin.mkdir()
    script = bin / "arduino-cli"
    fake = Path(__file__).with_name("fake_arduino_cli.py")
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fake}" "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(bin), prepend=os.pathsep)
    monkeypatch.setenv("FAKE_ARDUINO_CLI", str(tmp_path / "answers.json"))
    log = tmp_path / "log"

    def answer(version="1.3.1", platforms=("arduino:mbed_nano",), error=""):
        rows = [{"id": name} for name in platforms]
        settings = {"log": str(log), "version": version, "platforms": rows, "error": error}
        (tmp_path / "answers.json").write_text(json.dumps(settings))

    def calls():
        return [" ".join(json.loads(line)) for line in log.read_text().splitlines()]

    answer()
    answer.calls = calls
    return answer


@pytest.fixture(scope="session")
def small_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with small archives of the same trees as the real ones, and a cache."""
    from small_sets import write_all

    return write_all(tmp_path_factory.mktemp("data"))


@pytest.fixture
def data(small_sets: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small archives in place of the real data."""
    monkeypatch.setenv("TINYREPTILE_DATA", str(small_sets))
    monkeypatch.setenv("TINYREPTILE_CACHE", str(small_sets / "cache"))
    return small_sets
