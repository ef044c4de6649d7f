"""Speed of the NumPy library and of the C core here, against the usual PyTorch eager loop."""

from itertools import chain
from typing import Any

import numpy as np

from tinyreptile_lite.bench import eager
from tinyreptile_lite.bench.timing import Rows, interleaved, row
from tinyreptile_lite.core.build import find_compiler
from tinyreptile_lite.core.native import NativeOnlineSGD, load
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.evaluation import evaluate
from tinyreptile_lite.layers import Dense, Tanh
from tinyreptile_lite.learners import Learner, OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Samples, Task
from tinyreptile_lite.tasks.omniglot import Omniglot
from tinyreptile_lite.tasks.sine import Sine

RATE = 0.02
STEPS = 320  # in one timed call
VISIT = 32  # samples in one call of the native learner
VISITS = 800  # take about as long as PyTorch takes for one
REPEATS = 30
TASKS = 1000
TASK_STEPS = 32
SAME = 1e-4  # largest difference of a weight after a visit that is called rounding
IMAGES = 25  # in a visit: 5 drawings of each of 5 characters
IMAGE_VISITS = 12  # in one timed call
TORCH_TASKS = 20  # PyTorch's time for 1,000 tasks is its time for these times 50


def rows(repeats: int = REPEATS) -> Rows:
    """Measure all names; one thread, medians over interleaved repeats.

    ``numpy_vs_torch`` compares online SGD steps per second on a 1-32-32-1 network with tanh.
    ``native_vs_torch`` compares whole visits in C with it.
    ``omniglot_vs_torch`` compares visits of 25 images on the characters' network, in C with it.
    ``tasks_together_vs_torch`` compares adapting and evaluating 1,000 sine tasks of 32 samples.
    """
    one_thread()
    numpy_time, torch_time = _visit_times(OnlineSGD(RATE), STEPS, 1, repeats)
    return [
        row("numpy_vs_torch", torch_time / numpy_time, "ratio"),
        row("numpy_steps", STEPS / numpy_time, "steps/s"),
        row("torch_steps", STEPS / torch_time, "steps/s"),
        *native_rows(repeats),
        *image_rows(repeats),
        *_task_rows(-(-repeats // 3)),
    ]


def native_rows(repeats: int = REPEATS) -> Rows:
    """Online SGD steps per second: whole visits in C against the PyTorch eager loop."""
    one_thread()
    load()
    native_time, torch_time = _visit_times(NativeOnlineSGD(RATE), VISIT, VISITS, repeats)
    found = [
        row("native_vs_torch", torch_time / native_time, "ratio"),
        row("native_steps", VISIT / native_time, "steps/s"),
    ]
    return [entry | {"compiler": find_compiler()[0]} for entry in found]


def image_rows(repeats: int = REPEATS) -> Rows:
    """Visits per second of 25 images, online, on the network of the Omniglot family.

    Raises
    ------
    KitError
        If the two do not learn the same, to rounding.
    """
    one_thread()
    load()
    rng = np.random.default_rng(0)
    net = Omniglot().network()
    params, learner = net.init(rng), NativeOnlineSGD(RATE)
    x = rng.uniform(0, 1, (IMAGES, *net.input_shape)).astype(np.float32)
    samples = Samples(x, rng.permutation(IMAGES) % net.outputs)
    in_torch = image_loop(net, params, samples)
    learned = learner.learn(net, params, samples, rng).params
    difference = eager.distance(in_torch(), eager.image_model(net, learned))
    if not difference < SAME:
        raise KitError(f"weights differ by {difference:.2g}: PyTorch learnt something else")

    def learn() -> None:
        for _ in range(IMAGE_VISITS):
            learner.learn(net, params, samples, rng)

    native_time, torch_time = interleaved(learn, in_torch, repeats=repeats).T
    native_time = native_time / IMAGE_VISITS
    found = [
        row("omniglot_vs_torch", torch_time / native_time, "ratio"),
        row("omniglot_visits", 1 / native_time, "visits/s"),
        row("omniglot_torch_visits", 1 / torch_time, "visits/s"),
    ]
    return [entry | {"compiler": find_compiler()[0]} for entry in found]


def one_thread() -> None:
    """Keep PyTorch and NumPy to one thread; idle ones that spin would slow the alternatives."""
    try:
        import torch
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise KitError(
            f"this benchmark needs {error.name}; "
            "install it with: pip install 'tinyreptile-lite[bench]'"
        ) from error
    torch.set_num_threads(1)
    threadpool_limits(1)


def network() -> Network:
    """The network of all speed figures: 1-32-32-1 with tanh."""
    return Network([Dense(1, 32), Tanh(), Dense(32, 32), Tanh(), Dense(32, 1)], "mse", (1,))


def torch_loop(params: np.ndarray, samples: Samples) -> Any:
    """Return a function that runs the usual eager loop over the samples, and gives the model."""
    import torch
    from torch import nn

    model = nn.Sequential(
        nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)
    )
    views = chain.from_iterable(network().views(params))
    with torch.no_grad():
        for parameter, view in zip(model.parameters(), views, strict=True):
            # PyTorch keeps a weight as (outputs, inputs), and a bias without the sample axis.
            parameter.copy_(torch.tensor(view.T.reshape(parameter.shape)))
    return eager.loop(model, nn.MSELoss(), RATE, *samples)


def image_loop(net: Network, params: np.ndarray, samples: Samples) -> Any:
    """The same for a network of images and a cross-entropy."""
    from torch import nn

    x = eager.channels_first(samples.x)
    return eager.loop(eager.image_model(net, params), nn.CrossEntropyLoss(), RATE, x, samples.y)


def lesson(count: int, rng: np.random.Generator) -> tuple[Network, np.ndarray, Samples]:
    """Return what the timed learners get: network, parameters and points of a sine."""
    net = network()
    params = net.init(rng)
    x = rng.uniform(-2, 2, (count, 1)).astype(np.float32)
    return net, params, Samples(x, np.sin(x))


def _visit_times(learner: Learner, count: int, visits: int, repeats: int) -> np.ndarray:
    """Seconds for so many samples, with the learner and in PyTorch: (2, repeats).

    The learner makes several visits while PyTorch makes one, to be timed as well.
    """
    rng = np.random.default_rng(0)
    net, params, samples = lesson(count, rng)

    def learn() -> None:
        for _ in range(visits):
            learner.learn(net, params, samples, rng)

    times = interleaved(learn, torch_loop(params, samples), repeats=repeats)
    return times.T / [[visits], [1]]


def _task_rows(repeats: int) -> Rows:
    import torch

    rng = np.random.default_rng(0)
    net = network()
    phi = net.init(rng)
    tasks = [device.task(rng) for device in Sine().devices(TASKS, rng)]

    def adapt(some: list[Task]) -> None:
        evaluate(net, phi, some, OnlineSGD(RATE), (TASK_STEPS,), rng)

    def one_by_one() -> None:
        for task in tasks:
            adapt([task])

    @torch.no_grad()
    def score(model: Any, task: Task) -> None:
        outputs = model(torch.tensor(task.query.x))
        torch.nn.functional.mse_loss(outputs, torch.tensor(task.query.y))

    def in_torch() -> None:
        for task in tasks[:TORCH_TASKS]:
            score(torch_loop(phi, task.support)(), task)

    together, single, torch_time = interleaved(
        lambda: adapt(tasks), one_by_one, in_torch, repeats=repeats
    ).T
    return [
        row("tasks_together_vs_torch", torch_time * (TASKS / TORCH_TASKS) / together, "ratio"),
        row("tasks_together", together, "s for 1,000 tasks"),
        row("tasks_one_by_one", single, "s for 1,000 tasks"),
    ]
