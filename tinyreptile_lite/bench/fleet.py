"""Rounds per second of virtual boards: emulated machines on all cores, the sine network.

One round of one board is: it gets phi, learns online from 32 samples, sends its weights back, and
the server's journal and checkpoint are on the disk. With N boards,

rounds_per_s.N               all boards are visited side by side (FedAvg), with a worker process
                             on each core; the rounds of all boards together
rounds_per_s_one_worker.N    the same with one worker process
rounds_per_s_one_by_one.N    one board after another, as TinyReptile visits them: each needs the
                             phi of the one before, so more boards and cores bring nothing

Everything is emulated: the figures say what this computer can play, not how fast boards are.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tinyreptile_lite.bench.timing import Rows, interleaved, row
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.serve.boards import Boards
from tinyreptile_lite.serve.fleet import Fleet
from tinyreptile_lite.serve.roster import seated_devices
from tinyreptile_lite.serve.server import Server
from tinyreptile_lite.strategies import Strategy, fed_avg, tiny_reptile
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.wire.client import BoardClient

BOARDS = (1, 2, 4, 8, 16, 32)
RATE, SAMPLES = 0.02, 32  # as the recipe for the sine waves
REPEATS, VISITS = 5, 32  # visits in a repeat, or one for each board


def rows(boards: Sequence[int] = BOARDS, repeats: int = REPEATS) -> Rows:
    """Measure for each number of boards; medians over repeats."""
    found = []
    for count in boards:
        side_by_side, one_by_one = fed_avg(RATE, SAMPLES, count), tiny_reptile(RATE, SAMPLES)
        settings: dict[str, tuple[Strategy, int | None]] = {
            "rounds_per_s": (side_by_side, None),
            "rounds_per_s_one_worker": (side_by_side, 1),
            "rounds_per_s_one_by_one": (one_by_one, None),
        }
        for name, (strategy, workers) in settings.items():
            speeds = measure(count, strategy, workers, repeats)
            found.append(row(f"{name}.{count}", speeds, "rounds/s"))
    return found


def measure(count: int, strategy: Strategy, workers: int | None, repeats: int) -> np.ndarray:
    """Return visits per second, one value for each repeat after a warm-up: (repeats,)."""
    family = Sine()
    net, steps = family.network(), -(-VISITS // strategy.client_count)
    rounds = (1 + repeats) * steps
    with (
        TemporaryDirectory() as folder,
        Fleet(net, seated_devices(family, 0)[:count], workers) as fleet,
    ):
        boards = Boards([BoardClient(link, net) for link in fleet.links])
        federation = Federation(net, strategy, boards, rounds, np.random.default_rng(0))
        server = Server(federation, Path(folder) / "phi.npz", Path(folder) / "phi.journal")

        def play() -> None:
            for _ in range(steps):
                server.step()

        (seconds,) = interleaved(play, repeats=repeats).T
        server.close()
    return steps * strategy.client_count / seconds
