"""A teaching kit for meta-learning on microcontrollers.

The names below are what a notebook needs; everything else is in the modules. Importing this loads
NumPy and nothing heavier.
"""

from tinyreptile_lite.clients import simulate
from tinyreptile_lite.evaluation import adapt, evaluate
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, ReLU, Scale, Tanh
from tinyreptile_lite.learners import Adam, MinibatchSGD, OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.strategies import (
    Strategy,
    fed_avg,
    fed_sgd,
    interpolate,
    joint,
    reptile,
    tiny_reptile,
)
from tinyreptile_lite.tasks.base import Samples, Task
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.tasks.wrist import Wrist

__all__ = [
    "Adam",
    "Conv1D",
    "Dense",
    "Federation",
    "GlobalAveragePool",
    "MinibatchSGD",
    "Network",
    "OnlineSGD",
    "ReLU",
    "Samples",
    "Scale",
    "Sine",
    "Strategy",
    "Tanh",
    "Task",
    "Wrist",
    "adapt",
    "evaluate",
    "fed_avg",
    "fed_sgd",
    "interpolate",
    "joint",
    "reptile",
    "simulate",
    "tiny_reptile",
]
