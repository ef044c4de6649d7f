"""Notice a run that has collapsed: whatever new devices learn, they are right by chance only."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from tinyreptile_lite.errors import DivergenceError, KitError
from tinyreptile_lite.evaluation import evaluate
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.learners import Learner
from tinyreptile_lite.tasks.base import Device, Task

Array = np.ndarray

PROBES = 20  # in a whole run
PATIENCE = 3  # probes at chance, one after the other, before the run is stopped
DEVICES = 20


@dataclass
class Watch:
    """Probes a run now and then, as an ``after_round``, and stops it when it has collapsed.

    Each probe lets some training devices adapt to tasks of their own. Accuracy counts as chance if
    guessing gives as much once in a thousand times.

    Attributes
    ----------
    tasks : sequence of Task
        All of one size; see `probes`.
    learner : Learner
        How they adapt.
    at_chance : int
        Probes at chance since the last one above it.
    """

    tasks: Sequence[Task]
    learner: Learner
    at_chance: int = field(default=0, init=False)

    def __call__(self, federation: Federation) -> None:
        """Probe if it is time.

        Raises
        ------
        DivergenceError
            If the last `PATIENCE` probes were at chance; it tells the round, and what to lower.
        """
        if not federation.due(max(1, federation.rounds // PROBES)):
            return
        accuracy = self.accuracy(federation)
        self.at_chance = self.at_chance + 1 if accuracy <= self.limit() else 0
        if self.at_chance == PATIENCE:
            strategy = federation.strategy
            raise DivergenceError(
                f"round {federation.round}: the run has collapsed, as devices that adapt are right "
                f"by chance only ({accuracy:.2f}) in {PATIENCE} probes; lower the outer rate "
                f"({strategy.outer.start}) or the inner rate ({strategy.learner.rate}), and train "
                "again"
            )

    def accuracy(self, federation: Federation) -> float:
        """Mean accuracy of the tasks, adapted to all their support samples."""
        count = len(self.tasks[0].support.y)
        rng = np.random.default_rng(0)
        phi = federation.phi
        return float(evaluate(federation.net, phi, self.tasks, self.learner, [count], rng).mean())

    def limit(self) -> float:
        """Largest accuracy that counts as chance."""
        queries = sum(len(task.query.y) for task in self.tasks)
        chance = float(np.mean([1 / len(np.unique(task.query.y)) for task in self.tasks]))
        return chance + 3.1 * float(np.sqrt(chance * (1 - chance) / queries))


def probes(devices: Sequence[Device], rng: np.random.Generator) -> list[Task]:
    """Draw a task from each of some devices that have samples enough for one."""
    tasks = []
    for place in rng.permutation(len(devices)).tolist():
        with suppress(KitError):
            tasks.append(devices[place].task(rng))
        if len(tasks) == DEVICES:
            break
    return tasks
