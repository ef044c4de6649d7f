"""BoardCheck: the same bits on this computer and on the board, the sensor found, plain words."""

import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from compilers import BOARD

from tinyreptile_lite.core.native import NativeOnlineSGD
from tinyreptile_lite.layers import Dense, ReLU
from tinyreptile_lite.nano import VirtualNano, build
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Samples

ARDUINO = Path(__file__).parents[1] / "arduino"
SKETCH = ARDUINO / "BoardCheck"
STEPS, RATE = 200, 0.0625
VALUES = Network([Dense(1, 32), ReLU(), Dense(32, 32), ReLU(), Dense(32, 1)], "mse", (1,))
LABELS = Network([Dense(64, 32), ReLU(), Dense(32, 10)], "cross_entropy", (64,))


def draws(count, seed=1):
    """The sketch's numbers from -1 to 1, here made with Python's whole numbers."""
    numbers, state = [], seed
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        numbers.append(((state >> 8) - 2**23) / 2**23)
    return np.array(numbers, np.float32)


def trained(net):
    """Loss, and CRC-32 of the weights, after the fixed training, in the C core of this computer."""
    width = net.input_shape[0]
    numbers = draws(net.size + STEPS * width)
    phi, x = np.float32(0.25) * numbers[: net.size], numbers[net.size :].reshape(STEPS, width)
    y = x * x if net is VALUES else x[:, :10].argmax(1)
    learned = NativeOnlineSGD(RATE).learn(net, phi, Samples(x, y), np.random.default_rng(0))
    return learned.loss, zlib.crc32(learned.params.tobytes())


@pytest.mark.parametrize("net", [VALUES, LABELS])
def test_a(net):
    print(trained(net), hex(trained(net)[1]))
