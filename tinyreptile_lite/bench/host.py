"""Speed of the NumPy library on this machine, against the usual PyTorch eager loop."""

from itertools import chain
from typing import Any

import numpy as np

from tinyreptile_lite.bench.timing import interleaved, row
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.evaluation import evaluate
from tinyreptile_lite.layers import Dense, Tanh
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Samples, Task
from tinyreptile_lite.tasks.sine import Sine

RATE = 0.02
STEPS = 320  # in one timed call
REPEATS = 30
TASKS = 1000
TASK_STEPS = 32
TORCH_TASKS = 20  # PyTorch's time for 1,000 tasks is its time for these times 50


def rows() -> list[dict[str, Any]]:
    """Measure all names; one thread, medians over interleaved repeats.

    ``numpy_vs_torch`` compares online SGD steps per second on a 1-32-32-1 network with tanh.
    ``tasks_together_vs_torch`` compares adapting and evaluating 1,000 sine tasks of 32 samples.
    """
    one_thread()
    rng = np.random.default_rng(0)
    return _steps(rng) + _tasks(rng)


def one_thread() -> None:
    """Keep PyTorch and NumPy to one thread; idle ones that spin would slow the alternatives."""
    torch, threadpool_limits = _tools()
    torch.set_num_threads(1)
    threadpool_limits(1)


def _tools() -> tuple[Any, Any]:
    try:
        import torch
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise KitError(
            f"this benchmark needs {error.name}; "
            "install it with: pip install 'tinyreptile-lite[bench]'"
        ) from error
    return torch, threadpool_limits


def network() -> Network:
    """The network of all speed figures: 1-32-32-1 with tanh."""
    return Network([Dense(1, 32), Tanh(), Dense(32, 32), Tanh(), Dense(32, 1)], "mse", (1,))


def torch_loop(params: np.ndarray, samples: Samples) -> Any:
    """Return a function that runs the usual eager loop over the samples, and gives the model."""
    torch, _ = _tools()
    nn = torch.nn
    model = nn.Sequential(
        nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)
    )
    views = chain.from_iterable(network().views(params))
    with torch.no_grad():
        for parameter, view in zip(model.parameters(), views, strict=True):
            # PyTorch keeps a weight as (outputs, inputs), and a bias without the sample axis.
            parameter.copy_(torch.tensor(view.T.reshape(parameter.shape)))
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE)
    criterion = nn.MSELoss()
    xs, ys = torch.tensor(samples.x[:, None]), torch.tensor(samples.y[:, None])

    def run() -> Any:
        losses = []
        for x, y in zip(xs, ys, strict=True):
            optimiser.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        return model

    return run


def _steps(rng: np.random.Generator) -> list[dict[str, Any]]:
    net = network()
    params = net.init(rng)
    x = rng.uniform(-2, 2, (STEPS, 1)).astype(np.float32)
    samples = Samples(x, np.sin(x))
    learner = OnlineSGD(RATE)
    times = interleaved(
        lambda: learner.learn(net, params, samples, rng),
        torch_loop(params, samples),
        repeats=REPEATS,
    )
    numpy_time, torch_time = times.T
    return [
        row("numpy_vs_torch", torch_time / numpy_time, "ratio"),
        row("numpy_steps", STEPS / numpy_time, "steps/s"),
        row("torch_steps", STEPS / torch_time, "steps/s"),
    ]


def _tasks(rng: np.random.Generator) -> list[dict[str, Any]]:
    net = network()
    phi = net.init(rng)
    devices = Sine().devices(TASKS, rng)
    tasks = [device.task(rng) for device in devices]
    learner, counts = OnlineSGD(RATE), (TASK_STEPS,)

    def adapt(some: list[Task]) -> None:
        evaluate(net, phi, some, learner, counts, rng)

    def one_by_one() -> None:
        for task in tasks:
            adapt([task])

    def in_torch() -> None:
        torch, _ = _tools()
        for task in tasks[:TORCH_TASKS]:
            model = torch_loop(phi, task.support)()
            with torch.no_grad():
                torch.nn.functional.mse_loss(
                    model(torch.tensor(task.query.x)), torch.tensor(task.query.y)
                )

    together, single, torch_time = interleaved(
        lambda: adapt(tasks), one_by_one, in_torch, repeats=REPEATS // 3
    ).T
    return [
        row("tasks_together_vs_torch", torch_time * (TASKS / TORCH_TASKS) / together, "ratio"),
        row("tasks_together", together, "s for 1,000 tasks"),
        row("tasks_one_by_one", single, "s for 1,000 tasks"),
    ]
