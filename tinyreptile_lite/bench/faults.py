"""What goes wrong between server and boards: no round lost, none doubled, phi the same.

Three boards, each the board's own C sources, learn 1-32-32-1 sine waves under TinyReptile. Phi must
equal, in every bit, that of the same rounds with nothing in their way.

links     Frames are lost, damaged and repeated. A board counts the steps it has made, so a visit
          that trained twice would show. The groups of "packed" do it under TinyMetaFed and version
          2 of the wire format: boards send a quarter of their changes, in 8 bits, without and with
          error feedback.
resets    Somebody presses reset buttons at random moments. A board that lost its work does it
          again; what counts is that each round reaches phi once.
kills     The boards sit on pseudo-terminals in a process of their own, as boards on USB would. The
          server runs in another process, which gets SIGKILL when its journal has got some random
          number of records and a random moment has passed; then it is started again. The journal
          tells which rounds were done. Linux and macOS.
ble       Bluetooth in the model of its limits, with links that drop in the middle of 2 % of the
          packets, and boards that hang then until their watchdog resets them; see `bluetooth`.
"""

import multiprocessing
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tinyreptile_lite import checkpoint
from tinyreptile_lite.bench import bluetooth
from tinyreptile_lite.bench.timing import Rows, counted
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.serve.boards import Boards, Record
from tinyreptile_lite.serve.journal import read_journal
from tinyreptile_lite.serve.roster import seated_devices
from tinyreptile_lite.serve.server import Server
from tinyreptile_lite.strategies import Strategy, tiny_meta_fed, tiny_reptile
from tinyreptile_lite.tasks.base import Device
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.faults import Faults, FaultyLink
from tinyreptile_lite.wire.links import LocalLink, SerialLink
from tinyreptile_lite.wire.local import USB_FLOATS, LocalBoard

ROUNDS, SAMPLES, BOARDS = 1000, 8, 3
FAULTS = Faults(drop=0.10, flip=0.01, duplicate=0.01)
ALL_FAULTS = Faults(drop=0.10, flip=0.01, duplicate=0.01, reorder=0.02, delay=0.02, cut=0.002)
RESET_RATE = 0.03  # per frame sent: more than 200 in all rounds
KILLS, KILLED_ROUNDS = 200, 2000  # enough rounds for all kills on a fast computer
_MOST_RECORDS = 14  # in the journal between two kills: up to some seven rounds
_MOST_SECONDS = 0.02  # a round takes about so long

_NET, _STRATEGY = Sine().network(), tiny_reptile(0.02, SAMPLES)
PACKED = {
    "links_packed": tiny_meta_fed(0.02, SAMPLES, 2, 0.02),
    "links_packed_feedback": tiny_meta_fed(0.02, SAMPLES, 2, 0.02, feedback=True),
}


def rows(rounds: int = ROUNDS, kills: int = KILLS, killed_rounds: int = KILLED_ROUNDS) -> Rows:
    """Run the rounds cleanly, with resets, faulty links, Bluetooth that drops, and kills."""
    clean, _ = run(Faults(), rounds)
    links = [ResettingLink(board, seed) for seed, board in enumerate(_boards())]
    phi, _ = run(Faults(), rounds, links)
    resets = sum(link.resets for link in links)
    found = counted("resets", {"resets": (resets, "resets"), "phi_equal": _equal(phi, clean)})
    for group, faults in (("links", FAULTS), ("links_all_faults", ALL_FAULTS)):
        found += _link_rows(group, run(faults, rounds), clean, rounds)
    found += packed_rows(rounds)
    return found + drop_rows(clean, rounds) + killed_rows(kills, killed_rounds)


def packed_rows(rounds: int) -> Rows:
    """Run the rounds over faulty links with boards that send packed changes."""
    found = []
    for group, strategy in PACKED.items():
        clean, _ = run(Faults(), rounds, strategy=strategy)
        found += _link_rows(group, run(FAULTS, rounds, strategy=strategy), clean, rounds)
    return found


def _link_rows(group: str, ran: tuple[np.ndarray, int], clean: np.ndarray, rounds: int) -> Rows:
    phi, steps = ran
    visits, rest = divmod(steps, SAMPLES)
    lost, doubled = max(0, rounds - visits), max(0, visits - rounds) + (rest > 0)
    return counted(group, _rounds(rounds, lost, doubled) | {"phi_equal": _equal(phi, clean)})


def drop_rows(clean: np.ndarray, rounds: int) -> Rows:
    """Run the rounds over Bluetooth that drops; `clean` is the phi of rounds without trouble."""
    boards = _boards(chunk_floats=bluetooth.CHUNK_FLOATS)
    return bluetooth.drop_rows(_NET, _STRATEGY, boards, rounds, clean)


def _rounds(rounds: int, lost: int, doubled: int) -> dict[str, tuple[float, str]]:
    counts = {"rounds": rounds, "lost": lost, "doubled": doubled}
    return {name: (count, "rounds") for name, count in counts.items()}


def _equal(phi: np.ndarray, clean: np.ndarray) -> tuple[float, str]:
    return int(np.array_equal(phi, clean)), "1 or 0"


def _boards(devices: Sequence[Device] = (), chunk_floats: int = USB_FLOATS) -> list[LocalBoard]:
    devices = devices or Sine().devices(BOARDS, np.random.default_rng(0))
    return [LocalBoard(_NET, device, chunk_floats) for device in devices]


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
    links: Sequence[LocalLink] = (),
    strategy: Strategy = _STRATEGY,
) -> tuple[np.ndarray, int]:
    """Run a federation; returns phi and the learning steps that all boards have made."""
    links = links or [LocalLink(board) for board in _boards()]
    faulty = [FaultyLink(link, faults, seed) for seed, link in enumerate(links)]
    clients = [BoardClient(link, _NET) for link in faulty]
    phi = Federation(_NET, strategy, clients, rounds, np.random.default_rng(1)).run()
    return phi, sum(link.board.steps for link in links)


def killed_rows(kills: int, rounds: int) -> Rows:
    """Kill the server so often; then let it finish, and compare."""
    rng = np.random.default_rng(0)
    with TemporaryDirectory() as name:
        folder, killed = Path(name), 0
        with _ports() as ports:
            while _serve_once(ports, folder, rounds, rng if killed < kills else None):
                killed += 1
        records = read_journal(folder / "phi.journal")
        phi, _ = checkpoint.read(folder / "phi.npz")
    done = Counter(record["round"] for record in records if record.get("event") == "round")
    lost = sum(number not in done for number in range(1, rounds + 1))
    devices = seated_devices(Sine(), 0)[:BOARDS]  # those that the boards on the ports play
    clean, _ = run(Faults(), rounds, [LocalLink(board) for board in _boards(devices)])
    values = {"kills": (killed, "kills")} | _rounds(rounds, lost, sum(done.values()) - len(done))
    return counted("kills", values | {"phi_equal": _equal(phi, clean)})


@contextmanager
def _ports() -> Iterator[list[str]]:
    """Boards on pseudo-terminals, in another process: the names of the ports."""
    command = [sys.executable, "-m", "tinyreptile_lite.serve.terminals", f"local:{BOARDS}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as player:  # noqa: S603
        assert player.stdout is not None
        try:
            yield player.stdout.readline().split()
        finally:
            player.kill()


def _serve_once(
    ports: Sequence[str], folder: Path, rounds: int, rng: np.random.Generator | None
) -> bool:
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

    boards = Boards([BoardClient(SerialLink(port), _NET) for port in ports])
    federation = Federation(_NET, _STRATEGY, boards, rounds, np.random.default_rng(1))
    server = Server(federation, folder / "phi.npz", folder / "phi.journal", watch)
    server.run()
    server.close()
