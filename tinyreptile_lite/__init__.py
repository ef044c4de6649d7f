"""A teaching kit for meta-learning on microcontrollers.

This is the notebooks' door: the names below are what they need of the heart of the kit, the C core
and the experiments. Pictures and widgets are in `lab`, the virtual board in `nano`, boards together
in `serve`. Importing this loads NumPy and nothing heavier.
"""

from tinyreptile_lite import checkpoint, costs, strategies
from tinyreptile_lite.clients import Order, simulate
from tinyreptile_lite.core.export import export
from tinyreptile_lite.core.native import native
from tinyreptile_lite.evaluation import adapt, dead_units, evaluate
from tinyreptile_lite.experiment import build, population
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.few_shot import ClassMeans, HeadOnly, Imprinted, OnlinePasses, PrototypeSGD
from tinyreptile_lite.image_layers import Conv2D, Flatten, LayerNorm, SiLU
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, ReLU, Scale, Tanh
from tinyreptile_lite.learners import Adam, Learned, MinibatchSGD, OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.partial import PartialSGD
from tinyreptile_lite.recipes import find_recipe
from tinyreptile_lite.strategies import Strategy, interpolate
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.tasks.base import Samples, Task
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.tasks.wrist import EXERCISES, Wrist

__all__ = [
    "EXERCISES",
    "Adam",
    "ClassMeans",
    "Conv1D",
    "Conv2D",
    "Dense",
    "Federation",
    "Flatten",
    "GlobalAveragePool",
    "HeadOnly",
    "Imprinted",
    "LayerNorm",
    "Learned",
    "MinibatchSGD",
    "Network",
    "OnlinePasses",
    "OnlineSGD",
    "Order",
    "PartialSGD",
    "PrototypeSGD",
    "ReLU",
    "Samples",
    "Scale",
    "SiLU",
    "Sine",
    "Strategy",
    "Tanh",
    "Task",
    "Wrist",
    "adapt",
    "build",
    "checkpoint",
    "costs",
    "dead_units",
    "evaluate",
    "export",
    "find_family",
    "find_recipe",
    "interpolate",
    "native",
    "population",
    "simulate",
    "strategies",
]
