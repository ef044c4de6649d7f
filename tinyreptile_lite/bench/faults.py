"""Rounds over links that lose, damage and repeat frames: none lost, none doubled, phi the same.

Three boards, each the board's own C sources in this process, learn 1-32-32-1 sine waves under
TinyReptile. The same rounds run over clean links first; phi must be equal in every bit. A board
counts the steps it has made, so a visit that trained twice would show.

Then somebody presses reset buttons at random moments. A board that lost its work does it again;
what counts there is that each round reaches phi once, and phi stays the same.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyreptile_lite.federation import Federation
from tinyreptile_lite.strategies import tiny_reptile
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.faults import Faults, FaultyLink
from tinyreptile_lite.wire.links import LocalLink
from tinyreptile_lite.wire.local import LocalBoard

ROUNDS, SAMPLES, BOARDS = 1000, 8, 3
FAULTS = Faults(drop=0.10, flip=0.01, duplicate=0.01)
RESET_RATE = 0.03  # per frame sent: more than 200 in all rounds
ALL_FAULTS = Faults(drop=0.10, flip=0.01, duplicate=0.01, reorder=0.02, delay=0.02, cut=0.002)


def rows(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Run the rounds cleanly, with the three faults of the target, and with all six."""
    clean, _ = run(Faults(), rounds)
    found = _reset_rows(clean, rounds)
    for prefix, faults in (("links", FAULTS), ("links_all_faults", ALL_FAULTS)):
        phi, steps = run(faults, rounds)
        visits, rest = divmod(steps, SAMPLES)
        values = {
            "rounds": (rounds, "rounds"),
            "lost": (max(0, rounds - visits), "rounds"),
            "doubled": (max(0, visits - rounds) + (rest > 0), "rounds"),
            "phi_equal": (int(np.array_equal(phi, clean)), "1 or 0"),
        }
        found += [
            {"name": f"{prefix}.{name}", "value": value, "unit": unit, "spread": 0.0}
            for name, (value, unit) in values.items()
        ]
    return found


def _reset_rows(clean: np.ndarray, rounds: int) -> list[dict[str, Any]]:
    links: list[ResettingLink] = []

    def plug(board: LocalBoard, seed: int) -> ResettingLink:
        links.append(ResettingLink(board, seed))
        return links[-1]

    phi, _ = run(Faults(), rounds, plug)
    values = {
        "resets": (sum(link.resets for link in links), "resets"),
        "phi_equal": (int(np.array_equal(phi, clean)), "1 or 0"),
    }
    return [
        {"name": f"resets.{name}", "value": value, "unit": unit, "spread": 0.0}
        for name, (value, unit) in values.items()
    ]


class ResettingLink(LocalLink):
    """A link to a board whose reset button somebody presses now and then."""

    def __init__(self, board: LocalBoard, seed: int) -> None:
        super().__init__(board)
        self._rng = np.random.default_rng(seed)
        self.resets = 0

    def send(self, data: bytes) -> None:
        """Press the button, perhaps, then send."""
        if self._rng.random() < RESET_RATE:
            self.board.reset()
            self.reopen()
            self.resets += 1
        super().send(data)


def run(
    faults: Faults,
    rounds: int = ROUNDS,
    plug: Callable[[LocalBoard, int], LocalLink] = lambda board, _: LocalLink(board),
) -> tuple[np.ndarray, int]:
    """Run a federation; returns phi and the learning steps that all boards have made."""
    family = Sine()
    net = family.network()
    devices = family.devices(BOARDS, np.random.default_rng(0))
    boards = [LocalBoard(net, device) for device in devices]
    clients = [
        BoardClient(FaultyLink(plug(board, seed), faults, seed), net)
        for seed, board in enumerate(boards)
    ]
    federation = Federation(
        net, tiny_reptile(0.02, SAMPLES), clients, rounds, np.random.default_rng(1)
    )
    return federation.run(), sum(board.steps for board in boards)
