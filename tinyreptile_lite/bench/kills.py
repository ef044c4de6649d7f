"""A server that is killed again and again, at random moments: no round lost, none doubled.

Three boards, each the board's own C sources, sit on pseudo-terminals in a process of their own, as
boards on USB would. The server runs in another process, which gets SIGKILL when its journal has got
some random number of records and a random moment has passed; then it is started again. The journal
tells which rounds were done; phi must equal, in every bit, that of the same rounds without
a server, without kills and without serial ports. Linux and macOS.
"""

import multiprocessing
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tinyreptile_lite import checkpoint
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.serve.boards import Boards, Record
from tinyreptile_lite.serve.journal import read_journal
from tinyreptile_lite.serve.roster import Roster, seated_devices
from tinyreptile_lite.serve.server import Server
from tinyreptile_lite.strategies import tiny_reptile
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.links import SerialLink

KILLS, ROUNDS, BOARDS = 200, 2000, 3  # enough rounds for all kills on a fast computer
STRATEGY = tiny_reptile(0.02, 8)
_MOST_RECORDS = 14  # in the journal between two kills: up to some seven rounds
_MOST_SECONDS = 0.02  # a round takes about so long


def rows(kills: int = KILLS, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Kill the server so often; then let it finish, and compare."""
    rng = np.random.default_rng(0)
    with TemporaryDirectory() as name:
        folder, killed = Path(name), 0
        with _Ports() as ports:
            while _run(ports, folder, rounds, rng if killed < kills else None):
                killed += 1
        records = read_journal(folder / "phi.journal")
        phi, _ = checkpoint.read(folder / "phi.npz")
    done = Counter(record["round"] for record in records if record.get("event") == "round")
    values = {
        "kills": (killed, "kills"),
        "rounds": (rounds, "rounds"),
        "lost": (sum(number not in done for number in range(1, rounds + 1)), "rounds"),
        "doubled": (sum(done.values()) - len(done), "rounds"),
        "phi_equal": (int(np.array_equal(phi, unbroken(rounds))), "1 or 0"),
    }
    return [
        {"name": f"kills.{name}", "value": value, "unit": unit, "spread": 0.0}
        for name, (value, unit) in values.items()
    ]


class _Ports:
    """Boards on pseudo-terminals, in another process."""

    def __enter__(self) -> list[str]:
        """Return the names of the ports."""
        command = [sys.executable, "-m", "tinyreptile_lite.serve.terminals", f"local:{BOARDS}"]
        self._player = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, text=True
        )
        assert self._player.stdout is not None
        return self._player.stdout.readline().split()

    def __exit__(self, *_: object) -> None:
        """Take the boards away."""
        self._player.kill()
        self._player.communicate()


def _run(ports: Sequence[str], folder: Path, rounds: int, rng: np.random.Generator | None) -> bool:
    """Start a server; kill it if there is a generator. Returns whether it was killed."""
    # A fork is ready at once; starting Python anew would take most of the time.
    context = multiprocessing.get_context("fork")
    told, tells = context.Pipe(duplex=False)
    server = context.Process(target=_serve, args=(ports, folder, rounds, tells))
    server.start()
    tells.close()  # so that the pipe ends with the server
    if rng is not None:
        with suppress(EOFError):
            for _ in range(rng.integers(1, _MOST_RECORDS)):
                told.recv_bytes()
        server.join(rng.uniform(0, _MOST_SECONDS))
        server.kill()
    server.join()
    told.close()
    if server.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"the server ended with {server.exitcode}")
    return server.exitcode != 0


def _serve(ports: Sequence[str], folder: Path, rounds: int, tells: Connection) -> None:
    def watch(_: Server, record: Record) -> None:
        with suppress(BrokenPipeError):  # nobody waits to kill it
            tells.send_bytes(record["event"].encode())

    net = Sine().network()
    boards = Boards([BoardClient(SerialLink(port), net) for port in ports])
    federation = Federation(net, STRATEGY, boards, rounds, np.random.default_rng(1))
    server = Server(federation, folder / "phi.npz", folder / "phi.journal", watch)
    server.run()
    server.close()


def unbroken(rounds: int) -> np.ndarray:
    """Phi of the same rounds with the same devices in this process, by the plain round loop."""
    family = Sine()
    net = family.network()
    with Roster([f"local:{BOARDS}"], net, seated_devices(family, 0)) as roster:
        return Federation(net, STRATEGY, roster.clients, rounds, np.random.default_rng(1)).run()
