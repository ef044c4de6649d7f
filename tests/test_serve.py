"""Boards come and go, the server is killed, and phi is what it would have been."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinyreptile_lite import checkpoint, cli
from tinyreptile_lite.clients import Order, SimulatedClient
from tinyreptile_lite.core.native import native
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.recipes import find_recipe
from tinyreptile_lite.serve import roster
from tinyreptile_lite.serve.boards import Boards
from tinyreptile_lite.serve.command import find_boards
from tinyreptile_lite.serve.journal import Journal, read_journal
from tinyreptile_lite.serve.live import Live
from tinyreptile_lite.serve.roster import Roster, seated_devices
from tinyreptile_lite.serve.server import Server, look_away
from tinyreptile_lite.strategies import fed_avg, reptile, tiny_reptile
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.wire import frames
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.faults import Faults, FaultyLink
from tinyreptile_lite.wire.links import LocalLink, SerialLink
from tinyreptile_lite.wire.local import LocalBoard

FAMILY = Sine()
NET = FAMILY.network()
DEVICES = seated_devices(FAMILY, 0)
STRATEGY = tiny_reptile(0.02, 4)


def plug(place: int, net=NET) -> FaultyLink:
    """A board on a link that can be unplugged."""
    return FaultyLink(LocalLink(LocalBoard(net, DEVICES[place])), Faults())


def seat(link, patience=4) -> BoardClient:
    return BoardClient(link, NET, patience=patience)


class Diary:
    """Notes who was skipped and who came back."""

    def __init__(self):
        self.notes = []

    def __call__(self, server, record):
        if record["event"] in ("skip", "back"):
            self.notes.append((record["event"], record["board"], record.get("reason")))


def serve(folder, clients, rounds=12, strategy=STRATEGY, seed=1, wait=0.0, watch=look_away):
    boards, rng = Boards(clients, wait), np.random.default_rng(seed)
    federation = Federation(NET, strategy, boards, rounds, rng)
    return Server(federation, folder / "phi.npz", folder / "phi.journal", watch)


def run(folder, clients, **options) -> Federation:
    server = serve(folder, clients, **options)
    with contextlib.closing(server):
        server.run()
    return server.federation


def rounds_of(folder) -> list[dict]:
    return [r for r in read_journal(folder / "phi.journal") if r.get("event") == "round"]


# ---- Without trouble -----------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [STRATEGY, fed_avg(0.02, 4, 3)])
def test_without_trouble_it_is_the_ordinary_round_loop(tmp_path, strategy):
    boards = [seat(plug(place)) for place in range(4)]
    plain = Federation(NET, strategy, boards, 12, np.random.default_rng(1))
    plain.run()
    served = run(tmp_path, [seat(plug(place)) for place in range(4)], strategy=strategy)
    np.testing.assert_array_equal(served.phi, plain.phi)
    assert served.history.visited == plain.history.visited
    assert served.history.loss == plain.history.loss
    assert [record["round"] for record in rounds_of(tmp_path)] == list(range(1, 13))
    phi, state = checkpoint.read(tmp_path / "phi.npz")
    np.testing.assert_array_equal(phi, plain.phi)
    assert state["history"]["loss"] == plain.history.loss


def test_clients_of_all_kinds_mix(tmp_path):
    phis = []
    for name, names in {"mix": ["numpy:2", "native:1", "local:2"], "numpy": ["numpy:5"]}.items():
        (tmp_path / name).mkdir()
        with Roster(names, NET, DEVICES) as roster:
            phis.append(run(tmp_path / name, roster.clients, rounds=20).phi)
    np.testing.assert_allclose(*phis, rtol=1e-3, atol=1e-5)


def test_native_clients_run_what_the_core_has(rng):
    client = SimulatedClient(NET, DEVICES[0], native)
    federation = Federation(NET, reptile(0.01, 8, 2, 4), [client], 3, rng)
    assert np.isfinite(federation.run()).all()


# ---- Boards come and go --------------------------------------------------------------------------


def test_a_board_that_vanishes_is_skipped_and_taken_back(tmp_path):
    links, diary = [plug(place) for place in range(3)], Diary()
    server = serve(tmp_path, [seat(link) for link in links], rounds=40, watch=diary)
    for number in range(40):
        links[1].unplugged = 5 <= number < 20
        server.step()
    server.close()
    *skips, back = diary.notes
    assert set(skips) == {("skip", "sine-1", "sine-1 is unplugged; plug it in again")}
    assert back == ("back", "sine-1", None)
    by_board = [clients[0] for clients in server.federation.history.visited]
    assert 1 not in by_board[5:20]
    assert 1 in by_board[30:]


def test_the_order_goes_to_the_next_board_with_the_same_seed(tmp_path):
    """What a round gives is defined by phi, the order, and the board that did it."""
    rng = np.random.default_rng(1)
    phi, expected = NET.init(rng), []
    clients = [SimulatedClient(NET, device) for device in DEVICES[:3]]
    links = [plug(place) for place in range(3)]
    links[2].unplugged = True
    server = run(tmp_path, [seat(link) for link in links])
    for number in range(12):
        drawn = int(rng.choice(3, 1, replace=False, shuffle=False)[0])
        taker = 0 if drawn == 2 else drawn
        expected.append([taker])
        order = server_order(number, int(rng.integers(2**32, size=1)[0]))
        update = clients[taker].visit(phi, order)
        phi = STRATEGY.combine(phi, [update.params], STRATEGY.outer.rate(number, 12))
    assert server.history.visited == expected
    np.testing.assert_allclose(server.phi, phi, rtol=1e-3, atol=1e-5)


def server_order(number, seed):
    return Order(number, STRATEGY.learner, STRATEGY.sample_count, seed)


def test_a_board_does_two_orders_if_too_few_are_left(tmp_path):
    links = [plug(place) for place in range(3)]
    links[0].unplugged = links[1].unplugged = True
    server = run(tmp_path, [seat(link) for link in links], strategy=fed_avg(0.02, 4, 3), rounds=2)
    assert server.history.visited == [[2, 2, 2], [2, 2, 2]]


class Babbling(LocalLink):
    """A port behind which something quite different talks."""

    def receive(self, seconds):
        super().receive(seconds)
        return b"Temperature: 21.5 C\r\n" * 40


class Looping(LocalLink):
    """A board that says the same for ever."""

    def receive(self, seconds):
        return 50 * frames.encode(frames.Report(frames.State.TRAINING, 0, 1, 1, 0, 0.5))


class Stuck(LocalLink):
    """A board that seems to train for ever."""

    def receive(self, seconds):
        data = super().receive(seconds)
        parsed = map(frames.parse, frames.Decoder().feed(data))
        reports = [message for message in parsed if isinstance(message, frames.Report)]
        busy = [frames.encode(replace(each, state=frames.State.TRAINING)) for each in reports]
        return b"".join(busy) or data


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        (lambda: Looping(LocalBoard(NET, DEVICES[1])), "flash the sketch FederatedClient"),
        (lambda: Stuck(LocalBoard(NET, DEVICES[1])), "gets no further (state TRAINING"),
        (lambda: plug(1, FAMILY_OF_16), "holds another network"),
        (lambda: Babbling(LocalBoard(NET, DEVICES[1])), "flash the sketch FederatedClient"),
    ],
)
def test_what_is_no_board_of_this_run_is_skipped(tmp_path, link, reason):
    diary = Diary()
    server = run(tmp_path, [seat(plug(0)), seat(link())], watch=diary)
    assert {client for (client,) in server.history.visited} == {0}
    assert diary.notes[0][:2] == ("skip", "sine-1")
    assert reason in diary.notes[0][2]


FAMILY_OF_16 = type(NET)([*NET.layers[:2], *NET.layers[-1:]], "mse", (1,))


class Absurd(SimulatedClient):
    """Learns, but says something else from a round on."""

    since: int = 0
    answer: dict

    def visit(self, phi, order):
        learned = super().visit(phi, order)
        if order.round < self.since:
            return learned
        return learned._replace(**{name: make(phi) for name, make in self.answer.items()})


def absurd(place, since=0, **answer):
    client = Absurd(NET, DEVICES[place])
    object.__setattr__(client, "since", since)  # it is frozen
    object.__setattr__(client, "answer", answer)
    return client


def all_of(value):
    return lambda phi: np.full_like(phi, value)


ABSURD = {
    "far": ({"params": all_of(9.9e11)}, "went"),
    "farther": ({"params": all_of(3e38)}, "went"),
    "nan": ({"params": all_of(np.nan)}, "no longer finite"),
    "loss": ({"loss": lambda _: -1e30}, "below 0"),
    "no loss": ({"loss": lambda _: np.nan}, "no longer finite"),
    "shape": ({"params": lambda phi: phi[1:]}, "shape"),
    "type": ({"params": lambda phi: phi.astype(np.float64)}, "float32"),
    "list": ({"params": lambda phi: phi.tolist()}, "float32"),
}
every_absurdity = pytest.mark.parametrize(("answer", "reason"), ABSURD.values(), ids=ABSURD)


@every_absurdity
@pytest.mark.parametrize("since", [0, 5])
@pytest.mark.parametrize("strategy", [STRATEGY, fed_avg(0.02, 4, 3)], ids=["one", "fedavg"])
def test_an_absurd_answer_skips_its_board_and_another_one_does_the_round(
    tmp_path, answer, reason, since, strategy
):
    clean = [SimulatedClient(NET, device) for device in DEVICES[:3]]
    diary = Diary()
    clients = [*clean, absurd(3, since, **answer)]
    done = run(tmp_path, clients, strategy=strategy, watch=diary, rounds=20)
    assert np.linalg.norm(done.phi) < 100
    assert all(3 not in places for places in done.history.visited[since:])
    assert diary.notes
    for event, board, why in diary.notes:
        assert (event, board) == ("skip", "sine-3")
        assert reason in why


@every_absurdity
def test_if_only_absurd_boards_are_left_the_run_ends_and_phi_stays(
    tmp_path, refuses, answer, reason
):
    clients = [absurd(place, 2, **answer) for place in range(2)]
    server = serve(tmp_path, clients, wait=60.0)
    server.step(), server.step()
    phi = server.federation.phi.copy()
    with refuses(reason):
        server.run()
    server.close()
    np.testing.assert_array_equal(server.federation.phi, phi)
    np.testing.assert_array_equal(checkpoint.read(tmp_path / "phi.npz")[0], phi)


class Relentless(LocalLink):
    """A board that answers everything with good frames that lead nowhere."""

    def __init__(self, board, make):
        super().__init__(board)
        self.make, self.hostile = make, False

    def send(self, data):
        self.hostile |= any(c[1] == frames.Push.KIND for c in frames.Decoder().feed(data))
        super().send(data)

    def receive(self, seconds):
        data = super().receive(seconds)
        return frames.encode(self.make) * 20 if self.hostile else data


@pytest.mark.parametrize(
    "message",
    [
        frames.Report(frames.State.TRAINING, 0, 1, 1, 0, 0.0),
        frames.Report(frames.State.RECEIVING, 0, 1, 1, 0, 0.0),
        frames.Chunk(1, 0, bytes(16)),
    ],
    ids=["training", "receiving", "chunk"],
)
def test_a_board_that_never_comes_to_an_end_is_skipped_by_name(tmp_path, message):
    diary = Diary()
    hostile = Relentless(LocalBoard(NET, DEVICES[1]), message)
    clients = [seat(plug(0)), seat(hostile, patience=2), seat(plug(2))]
    done = run(tmp_path, clients, watch=diary)
    assert {place for (place,) in done.history.visited} == {0, 2}
    assert {note[:2] for note in diary.notes} == {("skip", "sine-1")}
    assert all("sine-1" in note[2] for note in diary.notes)


def test_if_nobody_is_left_the_run_can_go_on_later(tmp_path, refuses):
    whole = run(tmp_path_of(tmp_path, "whole"), [seat(plug(0)), seat(plug(1))])
    links = [plug(0), plug(1)]
    server = serve(tmp_path, [seat(link) for link in links])
    for _ in range(5):
        server.step()
    for link in links:
        link.unplugged = True
    with refuses("no board has taken part", "plug it in again", "goes on where it was"):
        server.run()
    server.close()
    again = run(tmp_path, [seat(plug(0)), seat(plug(1))])
    np.testing.assert_array_equal(again.phi, whole.phi)
    assert again.history == whole.history


def tmp_path_of(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are Unix")
def test_a_board_that_is_late_takes_part_from_then_on(tmp_path):
    with ports("local:1") as (name,):
        late = SerialLink(str(tmp_path / "late"))
        server = serve(tmp_path, [seat(plug(1)), seat(late)], rounds=40)
        for number in range(40):
            if number == 10:
                Path(late.name).symlink_to(name)
            server.step()
        server.close()
        late.close()
    by_board = [clients[0] for clients in server.federation.history.visited]
    assert 1 not in by_board[:10]
    assert 1 in by_board[20:]


# ---- Refused -------------------------------------------------------------------------------------


def test_two_boards_with_one_id_are_refused(tmp_path, refuses):
    twin = LocalLink(LocalBoard(NET, DEVICES[0]))
    twin.name = "/dev/twin"
    with refuses("/dev/twin", "sine-0", "one id", "an id of its own"):
        serve(tmp_path, [seat(plug(0)), seat(twin)])
    assert not list(tmp_path.iterdir())


def test_one_board_named_twice_is_refused(tmp_path, refuses):
    with refuses("one name", "once"):
        serve(tmp_path, [seat(plug(0)), seat(plug(0))])


def test_no_board_at_all_is_refused_and_leaves_no_files(tmp_path, refuses):
    link = plug(0)
    link.unplugged = True
    with refuses("no board can take part", "plug it in"):
        serve(tmp_path, [seat(link)])
    assert not list(tmp_path.iterdir())


def test_files_of_another_run_are_refused_and_left_alone(tmp_path, refuses):
    run(tmp_path, [seat(plug(0)), seat(plug(1))], rounds=3)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 2
    clients = [seat(plug(0)), seat(plug(1))]
    with refuses("phi.journal", "another run (rounds", "another file name"):
        serve(tmp_path, clients, rounds=4)
    with refuses("phi.journal", "another run (seed"):
        serve(tmp_path, clients, rounds=3, seed=2)
    with refuses("phi.journal", "begun with 2 boards, not with 1 board; name the same"):
        serve(tmp_path, clients[:1], rounds=3)
    (tmp_path / "phi.journal").rename(tmp_path / "kept")
    with refuses("phi.npz", "journal", "is not; put it back"):
        serve(tmp_path, clients, rounds=3)
    (tmp_path / "kept").rename(tmp_path / "phi.journal")
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


def test_a_checkpoint_of_another_run_is_not_written_over(tmp_path, refuses):
    run(tmp_path, [seat(plug(0))], rounds=3)
    (tmp_path / "phi.npz").rename(tmp_path / "kept.npz")
    run(tmp_path_of(tmp_path, "other"), [seat(plug(0))], rounds=4)
    theirs = (tmp_path / "other" / "phi.npz").read_bytes()
    (tmp_path / "phi.npz").write_bytes(theirs)
    with refuses("phi.npz", "another run", "name another file"):
        serve(tmp_path, [seat(plug(0))], rounds=3)
    assert (tmp_path / "phi.npz").read_bytes() == theirs
    (tmp_path / "phi.npz").unlink()  # ours is made again
    run(tmp_path, [seat(plug(0))], rounds=3)
    mine = [checkpoint.read(tmp_path / name)[0] for name in ("phi.npz", "kept.npz")]
    np.testing.assert_array_equal(*mine)


def test_a_journal_that_is_older_than_its_checkpoint_is_refused(tmp_path, refuses):
    server = serve(tmp_path, [seat(plug(0))])
    server.step()
    server.close()
    old = (tmp_path / "phi.journal").read_bytes()
    run(tmp_path, [seat(plug(0))])
    (tmp_path / "phi.journal").write_bytes(old)
    with refuses("12 rounds", "1;", "right files back"):
        serve(tmp_path, [seat(plug(0))])


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        (["foo:1"], ["unknown board 'foo:1'", "virtual:8"]),
        (["local"], ["does not say how many", "local:4"]),
        (["local:0"], ["does not say how many"]),
        (["/dev/ttyACM77"], ["no board on /dev/ttyACM77", "plug it in"]),
        (["COM77"], ["no board on COM77"]),
        (["/dev/null"], ["no board on /dev/null"]),
        (["numpy:4", "--strategy", "joint"], ["joint", "choose tinyreptile"]),
        (["numpy:4", "--strategy", "fedavg"], ["10 clients", "4"]),
        (["local:4", "--strategy", "reptile"], ["MinibatchSGD", "choose tiny_reptile"]),
        (["numpy:4", "--faults", "drop=2"], ["drop is 2.0", "0 to 1"]),
        (["numpy:99", "--family", "wrist"], ["99 boards", "ask for fewer"]),
        (["numpy:1", "--out", "nowhere/phi.npz"], ["nowhere", "folder"]),
    ],
)
def test_slips_on_the_command_line(tmp_path, monkeypatch, capsys, words, answers):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["serve", *words]) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    for answer in answers:
        assert answer in sentence


HUGE, LONG = "9" * 400, "n" * 300


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("serve", "--seed -1 | --fold -1 | --wait nan | --wait inf | --wait -1 | --score -1"),
        ("serve", f"--patience 0 | --score {HUGE} | --score 99999999999"),
        ("serve", f"--seed {HUGE} | --fold {HUGE} | --rounds {HUGE} | --patience {HUGE}"),
        (
            "serve",
            f"--out= | --out . | --out folder | --out {LONG} | --journal= | --journal folder",
        ),
        ("serve", f"--journal {LONG} | --journal folder | --journal /dev/full | --faults drop=nan"),
        ("train", f"--out= | --out . | --out folder | --out {LONG} | --seed -1 | --fold -1"),
        ("train", f"--seed {HUGE} | --fold {HUGE} | --rounds {HUGE} | --strategy="),
        ("adapt", f"--phi= | --phi . | --phi {LONG} | --seed {HUGE} | --fold -1 | --device="),
        (
            "compare",
            "--strategies= | --strategies , | --strategies tinyreptile, | --plot= | --plot .",
        ),
        ("compare", f"--plot {LONG}.png | --plot folder | --plot nowhere/x.png | --plot x.jpg"),
        ("compare", f"--draws 0 | --draws {HUGE} | --draws 10001 | --jobs 0 | --jobs {HUGE}"),
        ("compare", f"--seeds {HUGE} | --seed {HUGE} | --rounds {HUGE}"),
    ],
)
def test_slips_of_any_kind_are_one_sentence_before_any_work(
    tmp_path, monkeypatch, capsys, command, options
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    what = ["numpy:2"] if command == "serve" else ["sine"]
    for option in options.split(" | "):
        assert cli.main([command, *what, *option.split()]) == 2, option
        shown = capsys.readouterr()
        assert (shown.out, shown.err.count("\n")) == ("", 1)
        assert shown.err.startswith("tinyreptile: ")
        assert [path.name for path in tmp_path.iterdir()] == ["folder"], option


@pytest.mark.parametrize(
    ("out", "journal"),
    [
        ("run", "run"),
        ("run", "./folder/../run"),
        ("run", "run.part"),
        ("RUN.npz", "run.npz"),
        ("run-wal", "run"),
        ("run-shm", "run"),
        ("link", "run"),
        ("run", "link"),
        ("run", "folder/back/run"),
        ("second", "first"),
    ],
)
def test_a_checkpoint_that_would_be_written_over_the_journal(tmp_path, refuses, out, journal):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "back").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to("run")
    (tmp_path / "first").write_bytes(b"one file")
    (tmp_path / "second").hardlink_to(tmp_path / "first")
    federation = Federation(NET, STRATEGY, Boards([seat(plug(0))]), 1, np.random.default_rng(0))
    with refuses("need files of the same name"):
        Server(federation, tmp_path / out, tmp_path / journal)
    assert (tmp_path / "first").read_bytes() == b"one file"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", [["ble:TinyReptile-0000"], ["ble"]])
def test_no_bluetooth_or_nobody_there_is_one_sentence(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["serve", *words]) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert any(part in sentence for part in ("switch it on", "switch one on"))


# ---- Killed --------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals and SIGKILL are Unix")
def test_a_server_killed_at_any_moment_goes_on_where_it_was(tmp_path):
    """Real processes: three boards on serial ports in one, the server in another."""
    rounds = 100
    with ports("local:3") as names:
        command = [sys.executable, "-m", "tinyreptile_lite.cli", "serve", *names]
        command += ["--rounds", str(rounds), "--out", str(tmp_path / "phi.npz"), "--json"]
        kills = np.random.default_rng(7).integers(5, 40, size=3)
        for count in kills:
            kill_after(command, tmp_path / "phi.journal", int(count))
        last = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert json.loads(last.stdout)["rounds"] == rounds, last.stderr
    records = read_journal(tmp_path / "phi.journal")
    done = [record["round"] for record in records if record.get("event") == "round"]
    assert done == list(range(1, rounds + 1))  # none lost, none doubled
    starts = [record["round"] for record in records if record.get("event") == "start"]
    assert len(starts) == 1 + len(kills)
    assert all(0 < start < rounds for start in starts[1:])
    np.testing.assert_array_equal(checkpoint.read(tmp_path / "phi.npz")[0], unbroken(rounds))


@contextlib.contextmanager
def ports(*boards):
    """Serial ports of boards that another process plays."""
    command = [sys.executable, "-m", "tinyreptile_lite.serve.terminals", *boards]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as player:
        try:
            yield player.stdout.readline().split()
        finally:
            player.terminate()


def kill_after(command, journal: Path, count: int) -> None:
    """Start a server and kill it when it has added so many records to its journal."""
    before = count_records(journal)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        end = time.monotonic() + 60
        while count_records(journal) < before + count and time.monotonic() < end:
            assert server.poll() is None
            time.sleep(0.002)
        server.send_signal(signal.SIGKILL)


def count_records(journal: Path) -> int:
    with contextlib.suppress(KitError):  # none yet
        return len(read_journal(journal))
    return 0


def unbroken(rounds: int) -> np.ndarray:
    """The same run with the same devices, in this process and without a server."""
    with Roster(["local:3"], NET, DEVICES) as roster:
        strategy = find_recipe("sine", "tinyreptile").strategy
        rng = np.random.default_rng([0, 0])
        return Federation(NET, strategy, roster.clients, rounds, rng).run()


@pytest.mark.parametrize("moment", ["visit", "note", "write", "keep", "kept", "save", "round"])
@pytest.mark.parametrize("again", ["restart", "go on"])
def test_between_any_two_steps_of_a_round(tmp_path, monkeypatch, moment, again):
    """Interrupted before, within and after the transaction: it is all there, or nothing."""
    whole = run(tmp_path_of(tmp_path, "whole"), [seat(plug(0)), seat(plug(1))])
    armed = []

    def die(*_, **__):
        raise KeyboardInterrupt

    def watch(_, record):
        if armed and record["event"] == moment:
            die()

    server = serve(tmp_path, [seat(plug(0)), seat(plug(1))], watch=watch)
    for _ in range(5):
        server.step()
    armed.append(True)
    if moment == "save":
        monkeypatch.setattr(checkpoint.Keeper, "__call__", die)
    elif moment == "kept":
        keep = server.journal.keep
        monkeypatch.setattr(server.journal, "keep", lambda: (keep(), die()))
    elif moment in ("note", "write", "keep"):
        monkeypatch.setattr(server.journal, moment, die)
    with pytest.raises(KeyboardInterrupt):
        server.step()
    monkeypatch.undo()
    armed.clear()
    if again == "restart":
        server.close()
        server = serve(tmp_path, [seat(plug(0)), seat(plug(1))])
        assert server.federation.round == (6 if moment in ("kept", "save", "round") else 5)
    server.run()
    server.close()
    np.testing.assert_array_equal(server.federation.phi, whole.phi)
    assert server.federation.history == whole.history
    assert [record["round"] for record in rounds_of(tmp_path)] == list(range(1, 13))


# ---- Found boards, the live view ----------------------------------------------------------------


def test_a_run_with_found_boards_keeps_them(tmp_path, monkeypatch, capsys):
    journal = tmp_path / "phi.journal"
    monkeypatch.setattr(roster, "usb_ports", lambda: ["/dev/b", "/dev/a"])
    assert find_boards(["usb", "numpy:1"], journal) == ["/dev/b", "/dev/a", "numpy:1"]
    federation = Federation(NET, STRATEGY, Boards([seat(plug(0))]), 1, np.random.default_rng(0))
    Journal(journal, federation, ["/dev/a", "numpy:1"]).close()
    monkeypatch.setattr(roster, "usb_ports", lambda: ["/dev/c"])
    assert find_boards(["usb", "numpy:1"], journal) == ["/dev/a", "numpy:1"]
    assert "left out: /dev/c" in capsys.readouterr().err


def test_another_number_of_boards_is_told_how_many_the_run_was_begun_with(tmp_path, capsys):
    out = ["--rounds", "4", "--out", str(tmp_path / "phi.npz")]
    assert cli.main(["serve", "numpy:3", "local:1", *out]) == 0
    for names, here in (["numpy:2"], "2 boards"), (["local:4"], "these 4 boards"):
        capsys.readouterr()
        assert cli.main(["serve", *names, *out]) == 2
        error = capsys.readouterr().err
        assert f"begun with 4 boards (numpy:3 local:1), not with {here}; name the same" in error
        assert "--out" in error and error.count("\n") == 1
    assert cli.main(["serve", "numpy:3", "local:1", *out]) == 0


def test_the_command_line_tells_what_happens(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["serve", "local:2", "numpy:1", "--rounds", "30", "--faults", "drop=0.1,flip=0.05"]
    assert cli.main(words) == 0
    seen = capsys.readouterr()
    assert "3 of 3 boards, 30 rounds" in seen.err
    assert "round 30 of 30, loss" in seen.err
    assert "unanswered" in seen.err
    assert "\x1b" not in seen.err  # no terminal: plain lines
    assert "30 rounds with 3 boards" in seen.out
    assert cli.main([*words, "--json"]) == 0  # nothing is left to do
    result = json.loads(capsys.readouterr().out)
    assert result["rounds"] == 30
    assert [board["name"] for board in result["boards"]][2] == "numpy:sine-2"


@pytest.mark.parametrize("names", [["local:2", "numpy:2", "native:1"], ["numpy:3"]])
def test_scores_before_and_after_learning_change_no_bit(tmp_path, capsys, names):
    runs = {}
    for count in (0, 16):
        folder = tmp_path_of(tmp_path, str(count))
        with Roster(names, NET, DEVICES) as boards:
            visitor, rng = Boards(boards.clients, test_count=count), np.random.default_rng(1)
            federation = Federation(NET, fed_avg(0.02, 32, 3), visitor, 30, rng)
            server = Server(federation, folder / "phi.npz", folder / "phi.journal", Live())
            with contextlib.closing(server):
                server.run()
        runs[count] = federation.phi, rounds_of(folder), capsys.readouterr().err
    np.testing.assert_array_equal(runs[0][0], runs[16][0])
    assert "scores" not in runs[0][1][0] and "after learning" not in runs[0][2]
    scores = np.array([record["scores"] for record in runs[16][1]])
    assert scores.shape == (30, 3, 2)
    assert np.isfinite(scores).all() and (scores[..., 0] != scores[..., 1]).all()
    assert "after learning" in runs[16][2]


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are Unix")
def test_on_a_terminal_the_table_stays_in_place(tmp_path):
    import pty  # Unix only

    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream:
        links = [plug(0), plug(1)]
        links[1].unplugged = True
        run(tmp_path, [seat(link) for link in links], watch=Live(stream))
        os.set_blocking(master, False)
        shown = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                shown += os.read(master, 4096)
    os.close(master)
    assert b"\x1b[3A\x1b[J" in shown  # two boards and a line of sums
    assert b"round 12 of 12" in shown
    assert b"away" in shown


def test_an_older_wire_version_is_one_sentence(tmp_path, refuses):
    class Old(LocalLink):
        """Flashed with a kit of another version."""

        def receive(self, seconds):
            contents = frames.Decoder().feed(super().receive(seconds))
            return b"".join(frames.wrap(bytes([0]) + content[1:]) for content in contents)

    with refuses("speaks wire version 0", "flash FederatedClient of this kit"):
        serve(tmp_path, [seat(Old(LocalBoard(NET, DEVICES[0])))])
