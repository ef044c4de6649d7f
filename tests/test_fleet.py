"""Virtual boards in worker processes: separate machines, each with its own wearer."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tinyreptile_lite.clients import Order
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.nano import VirtualNano
from tinyreptile_lite.nano.image import FLASH_BYTES
from tinyreptile_lite.serve.boards import Boards
from tinyreptile_lite.serve.fleet import Fleet, VirtualLink, firmware_for, recording
from tinyreptile_lite.serve.journal import read_journal
from tinyreptile_lite.serve.roster import Roster, seated_devices
from tinyreptile_lite.serve.server import Server
from tinyreptile_lite.strategies import fed_avg, tiny_reptile
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.tasks.base import Samples
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.faults import Faults, FaultyLink
from tinyreptile_lite.wire.frames import Source
from tinyreptile_lite.wire.links import LinkLost, LocalLink
from tinyreptile_lite.wire.local import LocalBoard

FAMILY = find_family("sine")
NET = FAMILY.network()
DEVICES = seated_devices(FAMILY, 0)[:3]
RATE = OnlineSGD(0.02)


def order(number: int) -> Order:
    return Order(number, RATE, 4, number)


@pytest.fixture(scope="module")
def fleet():
    with Fleet(NET, DEVICES, workers=2) as boards:
        yield boards


def clients_of(fleet):
    return [BoardClient(link, NET) for link in fleet.links]


def test_boards_in_processes_learn_what_boards_here_learn(fleet):
    phi = NET.init(np.random.default_rng(0))
    clients = clients_of(fleet)
    learned = {client.name: client.visit(phi, order(1)).params for client in clients}
    for worker in fleet.workers:
        for board in worker._boards:
            nano = VirtualNano(firmware_for(NET, DEVICES[0]), seed=board.seed)
            alone = BoardClient(VirtualLink(nano, "alone"), NET).visit(phi, order(1)).params
            np.testing.assert_array_equal(learned[board.name], alone)
    assert len({params.tobytes() for params in learned.values()}) == 3  # three waves
    assert len({client.session.board.board_id for client in clients}) == 3


def test_they_sit_on_all_workers(fleet):
    assert [len(worker.links) for worker in fleet.workers] == [2, 1]
    assert [link.name for link in fleet.links] == [f"virtual:sine-{n}" for n in range(3)]


def test_a_reset_board_does_its_round_again(fleet):
    phi = NET.init(np.random.default_rng(0))
    link = fleet.links[0]
    client = BoardClient(link, NET)
    first = client.visit(phi, order(2))
    link.reset()
    again = client.visit(phi, order(2))
    np.testing.assert_array_equal(first.params, again.params)
    assert client.session.traffic.restarts > 0


def test_a_process_that_dies_is_a_lost_link_and_comes_back(fleet):
    phi = NET.init(np.random.default_rng(0))
    client = clients_of(fleet)[1]
    first = client.visit(phi, order(3))
    worker = next(worker for worker in fleet.workers if client.session.link in worker.links)
    worker.process.kill()
    worker.process.join()
    with pytest.raises(LinkLost, match="has ended"):
        client.session.link.receive(0.1)
    np.testing.assert_array_equal(client.visit(phi, order(3)).params, first.params)
    assert client.session.traffic.reconnects > 0


def test_what_boards_in_processes_execute_is_counted_over_resets(fleet):
    phi, link = NET.init(np.random.default_rng(0)), fleet.links[0]
    readings = [link.gauge()]
    client = BoardClient(FaultyLink(link, Faults()), NET)
    for number in (4, 5):
        client.visit(phi, order(number))
        readings.append(link.gauge())
        link.reset()
    readings.append(link.gauge())
    first, second, third = (b.since(a) for a, b in itertools.pairwise(readings))
    assert first.instructions > first.cycles / 3 > first.learning_cycles / 3 > 4 * 17_000 / 3
    assert second.learning_cycles == pytest.approx(first.learning_cycles, rel=0.1)
    assert third.learning_cycles == 0
    assert [reading.microseconds for reading in readings] == sorted(
        r.microseconds for r in readings
    )


def test_the_journal_counts_a_virtual_boards_instructions(fleet, tmp_path):
    boards = Boards(clients_of(fleet)[:1])
    federation = Federation(NET, tiny_reptile(0.02, 4), boards, 2, np.random.default_rng(0))
    server = Server(federation, tmp_path / "phi.npz", tmp_path / "phi.journal")
    with contextlib.closing(server):
        server.run()
    spent = [one for one in read_journal(tmp_path / "phi.journal") if one.get("event") == "spent"]
    for one in spent:
        assert one["work"] == "counted" and one["modelled_joules"]["idle"] > 0
        assert one["cycles"] * 155e-12 > one["modelled_learning_joules"] > 4 * 17_000 * 155e-12


def test_a_server_visits_the_boards_of_a_round_side_by_side(fleet, tmp_path):
    def run(folder, clients):
        rng = np.random.default_rng(0)
        federation = Federation(NET, fed_avg(0.02, 4, 3), Boards(clients), 3, rng)
        server = Server(federation, folder / "phi.npz", folder / "phi.journal")
        server.run()
        server.close()
        return federation.phi

    (tmp_path / "again").mkdir()
    first, again = run(tmp_path, clients_of(fleet)), run(tmp_path / "again", clients_of(fleet))
    np.testing.assert_array_equal(first, again)


PARENT = """
import json, sys
from tinyreptile_lite.serve.boards import Boards
from tinyreptile_lite.serve.fleet import Fleet
from tinyreptile_lite.serve.roster import seated_devices
from tinyreptile_lite.tasks import find_family
family = find_family("sine")
fleet = Fleet(family.network(), seated_devices(family, 0)[:2], workers=2)
print(json.dumps([worker.process.pid for worker in fleet.workers]), flush=True)
sys.stdin.read()
"""


def test_nothing_is_left_over_when_the_server_is_killed():
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        workers = json.loads(parent.stdout.readline())
        parent.kill()
    end = time.monotonic() + 30
    while any(map(lives, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(lives, workers))


def test_a_script_needs_no_guard_and_runs_once(tmp_path):
    """A student's script that is not written for processes that import it."""
    script = tmp_path / "mine.py"
    script.write_text(PARENT.replace("sys.stdin.read()", "fleet.close()"))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (len(json.loads(done.stdout)), done.stderr) == (2, "")


def test_ctrl_c_is_quiet():
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        workers = json.loads(parent.stdout.readline())
        for pid in workers:  # as a terminal does
            os.kill(pid, signal.SIGINT)
        time.sleep(0.2)
        assert all(map(lives, workers))
        parent.stdin.close()
        assert parent.stderr.read() == ""


def lives(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody has waited for does not."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return shown.stdout.strip()[:1] not in ("", "Z")


# ---- Recordings ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wrist():
    family = find_family("wrist")
    return family.network(), seated_devices(family, 0)


def test_each_board_plays_its_own_wearers_recordings(wrist):
    """The board's rounds are those of a board here that draws from the same windows."""
    net, wearers = wrist
    phi = net.init(np.random.default_rng(0))
    names = [device.name for device in wearers[:2]]
    with Roster(["virtual:2"], net, wearers) as roster:
        assert [client.name for client in roster.clients] == [f"virtual:{name}" for name in names]
        updates = [client.visit(phi, Order(0, RATE, 3, 5)) for client in roster.clients]
    for update, wearer in zip(updates, wearers, strict=False):
        board = BoardClient(LocalLink(LocalBoard(net, Replay(net, wearer))), net)
        expected = board.visit(phi, Order(0, RATE, 3, 5))
        np.testing.assert_allclose(update.params, expected.params, rtol=1e-3, atol=1e-6)


def test_boards_learn_from_training_streams_and_from_nothing_else(wrist):
    """A window of the tests, cut at its place and not augmented, is on no board."""
    net, wearers = wrist
    held_out = {
        device.name for device in find_family("wrist").split(0, np.random.default_rng(0))[1]
    }
    assert held_out and not held_out & {wearer.name for wearer in wearers}
    played = [recording(net, wearer) for wearer in wearers[:2]]
    for wearer, samples in zip(wearers, played, strict=False):
        again = recording(net, wearer)
        assert all(np.array_equal(*pair) for pair in zip(samples, again, strict=True))
        assert np.bincount(samples.y).min() > 50  # as many as fit, all exercises
        task = wearer.task(np.random.default_rng(0))
        tested = {x.tobytes() for part in (task.support, task.query) for x in part.x}
        assert not tested & {x.tobytes() for x in samples.x}
    assert not np.array_equal(played[0].x, played[1].x)
    memory = firmware_for(net, wearers[0]).memory
    assert 0.9 < memory.flash / FLASH_BYTES < 1


class Replay:
    """Draws windows as source.h does."""

    def __init__(self, net, wearer):
        self.name, self.windows = wearer.name, recording(net, wearer)

    def stream(self, count, rng):
        rows = np.array([next(self.dice) % len(self.windows.y) for _ in range(count)])
        return Samples(self.windows.x[rows], self.windows.y[rows])

    @property
    def dice(self):
        if not hasattr(self, "_dice"):
            self._dice = xorshift(5)
        return self._dice


def xorshift(seed):
    state = (seed * 2654435761 & 0xFFFFFFFF) ^ 0x9E3779B9 or 1
    for number in range(10_000):
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        if number >= 4:
            yield state


def test_many_chunks_at_once_are_not_noise(wrist):
    """A burst of good frames, longer than what a port may babble, was taken for silence."""
    net, wearers = wrist
    client = BoardClient(LocalLink(LocalBoard(net, wearers[0])), net, Source.DATA, patience=2)
    client.visit(net.init(np.random.default_rng(0)), Order(0, RATE, 2, 0))
    assert client.session.traffic.silences == 0
