"""What several test files share."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import pytest
from compilers import report
from hypothesis import settings

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, Scale, Tanh
from tinyreptile_lite.network import Network

# The same examples in every run: a class must not meet a failure that nobody can repeat.
settings.register_profile("kit", deadline=None, max_examples=30, derandomize=True, database=None)
settings.load_profile("kit")


def pytest_report_header() -> list[str]:
    return report()


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
