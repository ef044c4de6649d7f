"""The round loop over Flower: real processes on the loopback interface give our own loop's phi."""

import importlib.util
import os
import re
import select
import threading
import tomllib
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite import checkpoint, cli
from tinyreptile_lite.clients import Order, simulate
from tinyreptile_lite.core.native import native
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.experiment import population
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.few_shot import ClassMeans, PrototypeSGD
from tinyreptile_lite.learners import Adam, Learned, MinibatchSGD, OnlineSGD
from tinyreptile_lite.partial import PartialSGD
from tinyreptile_lite.recipes import find_recipe
from tinyreptile_lite.tasks import find_family

if importlib.util.find_spec("flwr") is None:
    pytest.fail("these tests need Flower: pip install -e '.[flower]'", pytrace=False)

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from strangers import as_stranger, needs_root

from tinyreptile_lite.flower import api, client, keys, local, messages, nodes, server
from tinyreptile_lite.flower.local import APP, LocalFlower
from tinyreptile_lite.flower.messages import Visit
from tinyreptile_lite.flower.settings import Settings
from tinyreptile_lite.wire.local import LocalBoard, board_id

ORDER = Order(3, OnlineSGD(0.02), 8, 2**32 - 1)
NET = find_family("sine").network()
DEVICES = population(find_family("sine"), draws=0).train[:6]
CONFIG = {"rounds": 4, "devices": 6, "seed": 5, "visit-seconds": 60.0, "wait-seconds": 2.0}


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """Flower writes nothing to the user's home, and tells nobody; it is coloured as in Jupyter."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("FLWR_HOME", str(tmp_path / "flwr"))
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    for name in ("_run_id", "_node_id", "_task_id"):  # messages bear them
        monkeypatch.setattr(TaskIdentity, name, 1)


def own_loop(rounds=4, strategy="tinyreptile"):
    """What `tinyreptile train` does, in this process."""
    recipe = find_recipe("sine", strategy).with_rounds(rounds)
    rng = np.random.default_rng([CONFIG["seed"], 0])
    federation = Federation(NET, recipe.strategy, simulate(NET, DEVICES), rounds, rng)
    federation.run()
    return federation


# ---- Real processes ------------------------------------------------------------------------------


def steadily(flower, out, **settings):
    """Run; where Flower takes its own starved ServerApp for dead, go on from the file."""
    for nodes_alive in (3, 2, 2, 2):
        try:
            yield from flower.run(out, resume=True, nodes=nodes_alive, **settings)
            return
        except KitError as error:
            if "heartbeat" not in str(error):
                raise
            yield str(error)


def kill_one_without_work(flower):
    """The node of the largest id comes last; it has no chance to say goodbye."""
    told = [re.findall(r"SuperNode ID: (\d+)", flower.log(f"node-{i}")) for i in range(3)]
    process = flower._processes[f"node-{np.argmax([int(ids[-1]) if ids else 0 for ids in told])}"]
    process.kill()
    process.wait()


def test_a_node_killed_half_way_changes_no_bit_of_phi(tmp_path):
    lines, out = [], tmp_path / "phi.npz"
    with LocalFlower([{}, {}, {}]) as flower:
        settings = {"rounds": 4, "devices": 6, "seed": 5, "visit_seconds": 15.0}
        for line in steadily(flower, out, **settings):
            lines.append(line)
            if "round 2 of 4" in line:  # the first two nodes have done one visit each
                kill_one_without_work(flower)
    phi, state = checkpoint.read(out)
    own, text = own_loop(), "\n".join(lines)
    assert "another node takes over" in text or "heartbeat" in text
    assert state["round"] == 4 and state["history"] == vars(own.history)
    assert phi.tobytes() == own.phi.tobytes()
    assert not (tmp_path / "flwr").exists()


# ---- All but the processes: the same ServerApp and ClientApp, called directly --------------------


class DirectGrid:
    """Flower's nodes without Flower's processes; some of them misbehave.

    Parameters
    ----------
    configs : dict
        Configuration of each node, by its id.
    damage : dict
        For some nodes, a function of the reply to a visit: what comes instead, or None.
    """

    def __init__(self, configs, damage=None, run=CONFIG):
        self.configs, self.damage, self.run = configs, damage or {}, run
        self.replies, self.visited = {}, []

    def get_node_ids(self):
        return list(self.configs)

    def push_messages(self, pushed):
        for message in pushed:
            node = message.metadata.dst_node_id
            message.metadata.__dict__["_message_id"] = key = f"message-{len(self.replies)}"
            context = Context(1, node, self.configs[node], RecordDict(), self.run, 1)
            reply = client.app(message, context)
            if message.metadata.message_type == "train":
                self.visited.append(node)
                reply = self.damage.get(node, lambda reply: reply)(reply)
            self.replies[key] = reply
        return [key]

    def pull_messages(self, ids):
        return [reply for key in ids if (reply := self.replies.pop(key, None))]


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(nodes, "POLL", 0.001)
    monkeypatch.setattr(nodes, "LOOK", 0.002)


def run(grid, tmp_path, **settings):
    grid.run = CONFIG | {"out": str(tmp_path / "phi.npz")} | settings
    server.app(grid, Context(1, 0, {}, RecordDict(), grid.run, 1))
    return checkpoint.read(tmp_path / "phi.npz")


@pytest.mark.parametrize("strategy", ["tinyreptile", "reptile-batched", "reptile-adam"])
def test_any_strategy_gives_our_own_loops_phi(strategy, tmp_path, fast):
    grid = DirectGrid({7: {}, 3: {}})
    phi, state = run(grid, tmp_path, strategy=strategy)
    own = own_loop(strategy=strategy)
    assert phi.tobytes() == own.phi.tobytes()
    assert state["history"] == vars(own.history)
    assert {3, 7} == set(grid.visited)  # both had work


def test_a_run_goes_on_where_it_was(tmp_path, fast):
    settings = Settings.read(CONFIG | {"out": str(tmp_path / "phi.npz"), "resume": True})
    federation = server.build(DirectGrid({1: {}}), settings)
    federation.step()
    checkpoint.save(federation, tmp_path / "phi.npz")
    phi, state = run(DirectGrid({2: {}}), tmp_path, resume=True)
    assert state["round"] == 4 and phi.tobytes() == own_loop().phi.tobytes()


def _params(reply, array):
    content = RecordDict(dict(reply.content))
    content["params"] = ArrayRecord({"params": array})
    return _reply(reply, content)


def _reply(reply, content):
    reply.__dict__["_content"] = content
    return reply


def _nan(reply):
    data = np.full(NET.size, np.nan, "<f4").tobytes()
    return _params(reply, Array("float32", (NET.size,), messages.FORMAT, data))


def _short(reply):
    return _params(reply, Array("float32", (NET.size,), messages.FORMAT, bytes(40)))


def _pickled(reply):
    return _params(reply, Array("float32", (NET.size,), "pickle", bytes(4 * NET.size)))


def _reshaped(reply):
    return _params(reply, Array("float32", (1, NET.size), messages.FORMAT, bytes(4 * NET.size)))


BROKEN = {
    "vanished": lambda reply: None,
    "NaN": _nan,
    "wrong length": _short,
    "pickle": _pickled,
    "wrong shape": _reshaped,
    "empty": lambda reply: _reply(reply, RecordDict()),
    "wrong records": lambda reply: _reply(reply, RecordDict({"params": ConfigRecord({"a": 1})})),
    "no loss": lambda reply: _reply(
        reply, RecordDict(dict(reply.content) | {"update": ConfigRecord({"loss": float("inf")})})
    ),
    "error": lambda reply: _reply_error(reply, "boom\n\x1b[31m" * 100),
    "refusal": lambda reply: _reply(reply, messages.write_refusal("no battery")),
}


def _reply_error(reply, reason):
    reply.__dict__.update(_content=None, _error=Error(0, reason))
    return reply


@pytest.mark.parametrize("kind", BROKEN)
def test_a_node_that_answers_nonsense_never_damages_phi(kind, tmp_path, fast):
    grid = DirectGrid({1: {}, 2: {}}, {1: BROKEN[kind]})
    seconds = 0.05 if kind == "vanished" else 60.0
    phi, state = run(grid, tmp_path, **{"visit-seconds": seconds})
    assert 1 in grid.visited and state["round"] == 4
    assert phi.tobytes() == own_loop().phi.tobytes()


def test_a_visit_that_all_nodes_refuse_ends_the_run_with_the_reason(tmp_path, fast, refuses):
    with refuses("sine-", "refused 3 times", "no battery"):
        run(DirectGrid({1: {}}, {1: BROKEN["refusal"]}), tmp_path)
    assert checkpoint.read(tmp_path / "phi.npz")[1]["round"] == 0


def test_a_fleet_without_nodes_says_how_to_start_one(tmp_path, fast, refuses):
    with refuses("fewer than 2 nodes", "more SuperNodes"):
        run(DirectGrid({1: {}}), tmp_path, nodes=2, **{"wait-seconds": 0.05})


def test_learning_that_diverges_names_the_remedy(refuses):
    with refuses("lower the inner rate"):
        messages.write_update(Learned(np.full(NET.size, np.nan, np.float32), 1.0))


# ---- Clients -------------------------------------------------------------------------------------


def visit(node, device, phi, order=ORDER, settings=CONFIG):
    grid = DirectGrid({1: node}, run=settings)
    content = messages.write_visit(phi, Visit(device, order), NET)
    (key,) = grid.push_messages([Message(content, 1, "train")])
    return messages.read_update(grid.replies[key], NET)


@pytest.mark.parametrize("kind", ["native", "board"])
def test_a_node_works_in_the_c_core_if_it_says_so(kind, rng):
    phi = NET.init(rng)
    update = visit({"client": kind}, DEVICES[2].name, phi)
    in_c = Order(ORDER.round, native(ORDER.learner), ORDER.sample_count, ORDER.seed)
    expected = simulate(NET, DEVICES)[2].visit(phi, in_c)
    assert update.params.tobytes() == expected.params.tobytes()
    assert not np.array_equal(update.params, visit({}, DEVICES[2].name, phi).params)


@pytest.fixture
def port():
    """A serial port with a board at its other end."""
    board, (host, end) = LocalBoard(NET, DEVICES[0]), os.openpty()
    os.set_blocking(host, False)
    stop = threading.Event()

    def serve():
        while not stop.is_set():
            if select.select([host], [], [], 0.05)[0]:
                answer = memoryview(board.feed(os.read(host, 4096)))
                while answer:
                    select.select([], [host], [], 1)
                    answer = answer[os.write(host, answer) :]

    import tty

    tty.setraw(end)
    thread = threading.Thread(target=serve)
    thread.start()
    yield os.ttyname(end)
    stop.set()
    thread.join()
    os.close(host)
    os.close(end)


def test_a_node_lends_the_boards_attached_to_it(port, tmp_path, fast):
    grid = DirectGrid({1: {"boards": f"{port} /dev/nothing"}})
    phi, state = run(grid, tmp_path, attached=True, rounds=2)
    assert state["identity"]["data"]["attached"] == [f"board-{board_id(DEVICES[0].name).hex()}"]
    assert state["round"] == 2 and np.isfinite(phi).all()


def test_a_round_whose_board_is_gone_is_repeated_on_another(tmp_path, fast, monkeypatch):
    monkeypatch.setattr(client, "_devices", lambda context: [context.node_config["board"]])
    grid = DirectGrid({1: {"board": "sine-1"}, 2: {"board": "sine-4"}}, {1: BROKEN["refusal"]})
    _, state = run(grid, tmp_path, attached=True, nodes=2, rounds=6)
    assert state["round"] == 6 and 1 in grid.visited
    assert state["history"]["visited"] == [[1]] * 6  # sine-4 alone


def test_two_boards_of_one_name_are_refused(tmp_path, fast, monkeypatch, refuses):
    monkeypatch.setattr(client, "_devices", lambda context: ["board-1"])
    with refuses("board-1", "id of its own"):
        run(DirectGrid({1: {}, 2: {}}), tmp_path, attached=True, nodes=2)


@pytest.mark.parametrize(
    ("node", "device", "words"),
    [
        ({"client": "abacus"}, "sine-0", ("abacus", "numpy")),
        ({}, "sine-6", ("sine-6", "same version")),
        ({"boards": "/dev/nothing"}, "board-1", ("board-1", "plug it in")),
    ],
)
def test_what_a_node_cannot_do_it_refuses_with_a_reason(node, device, words, refuses):
    with refuses(*words):
        visit(node, device, np.zeros(NET.size, np.float32))


# ---- Messages ------------------------------------------------------------------------------------


@given(
    st.sampled_from(
        [
            OnlineSGD(0.02),
            MinibatchSGD(0.1, 3, 7),
            Adam(0.003, 8, 4, 0.99, 1e-7),
            PrototypeSGD(0.05, 0.1, 2.0),
            ClassMeans(0.1, True),
            PartialSGD(0.05, 3, 0.1, 8, 25.0, send_head=False),
        ]
    ),
    st.integers(0, 2**32 - 1),
    st.text(),
)
def test_a_visit_survives_the_way(learner, seed, device):
    phi = NET.init(np.random.default_rng(seed))
    given_visit = Visit(device, Order(5, learner, 9, seed))
    sent = messages.write_visit(phi, given_visit, NET)
    got_phi, got = messages.read_visit(sent, NET)
    assert got_phi.tobytes() == phi.tobytes() and got == given_visit


def test_nodes_keep_nothing_between_two_visits(refuses):
    learner = PartialSGD(0.05, bits=8, percent=25.0, feedback=True)
    with refuses("keep nothing between two visits; train without error feedback"):
        order = Order(0, learner, 9, 1)
        messages.write_visit(np.zeros(NET.size, np.float32), Visit("sine-0", order), NET)


def test_a_visit_for_another_network_or_learner_is_refused(mlp, refuses):
    phi = np.zeros(NET.size, np.float32)
    sent = messages.write_visit(phi, Visit("sine-0", ORDER), NET)
    with refuses("another network", "same version"):
        messages.read_visit(sent, mlp)
    for learner, words in (
        ({"kind": "eval"}, ("eval", "OnlineSGD")),
        ({"kind": "OnlineSGD", "rate": 0.1, "depth": 3}, ("OnlineSGD", "depth")),
        ({"kind": "OnlineSGD", "rate": -1.0}, ("-1.0",)),
    ):
        sent["learner"] = ConfigRecord(learner)
        with refuses(*words):
            messages.read_visit(sent, NET)


# ---- Settings, versions, keys --------------------------------------------------------------------


def test_the_apps_configuration_is_the_settings_defaults():
    app = tomllib.loads((APP / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    assert app["config"] == {k.replace("_", "-"): v for k, v in asdict(Settings()).items()}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"family": "cosine"}, ("cosine", "sine")),
        ({"strategy": "scratch"}, ("scratch", "choose another")),
        ({"rounds": -1}, ("rounds", "-1")),
        ({"rounds": "many"}, ("rounds", "many", "whole number")),
        ({"nodes": 0}, ("nodes", "0")),
        ({"visit-seconds": 0}, ("visit_seconds", "0")),
        ({"client": "abacus"}, ("abacus", "native")),
        ({"devices": 10**6}, ("devices", 10**6)),
    ],
)
def test_a_wrong_setting_is_one_sentence(config, words, refuses):
    with refuses(*words):
        settings = Settings.read(config)
        settings.recipe()
        settings.train_devices()


def test_another_version_of_flower_is_refused(refuses):
    api.check_version("1.41.7")
    for version in ("1.42.0", "1.4.1", "2.41.0"):
        with refuses(version, "1.41", "pip install"):
            api.check_version(version)


def test_keys_are_private_and_never_overwritten(tmp_path, refuses):
    keys.make_keys(tmp_path / "keys", ["127.0.0.1", "pi.local"], ["pi-1"])
    names = {"ca.crt", "server.pem", "server.key", "pi-1", "pi-1.pub"}
    before = {path.name: path.read_bytes() for path in (tmp_path / "keys").iterdir()}
    assert set(before) == names
    if os.name == "posix":
        assert {path.stat().st_mode & 0o77 for path in (tmp_path / "keys").iterdir()} == {0}
    with refuses("ca.crt", "already there"):
        keys.make_keys(tmp_path / "keys", ["127.0.0.1"], ["pi-2"])
    assert {p.name: p.read_bytes() for p in (tmp_path / "keys").iterdir()} == before
    with refuses("../pi", "letters"):
        keys.make_keys(tmp_path / "other", ["127.0.0.1"], ["../pi"])
    with refuses("a b", "host"):
        keys.make_keys(tmp_path / "other", ["a b"], [])
    assert not (tmp_path / "other").exists()


# ---- The command line ----------------------------------------------------------------------------


def test_the_command_makes_keys(tmp_path, capsys):
    command = ["flower", "keys", str(tmp_path / "keys"), "--host", "127.0.0.1", "--node", "pi-1"]
    assert cli.main(command) == 0
    assert (tmp_path / "keys" / "pi-1.pub").read_text().startswith("ecdsa-sha2-nistp384 ")
    assert cli.main(command) == 2
    assert "already there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["cosine"], "cosine"),
        (["sine", "--nodes", "0"], "nodes is 0"),
        (["sine", "--client", "abacus"], "abacus"),
        (["sine"], "--resume"),
    ],
)
def test_a_slip_is_told_before_any_process_starts(arguments, word, tmp_path, capsys):
    out = tmp_path / "phi.npz"
    out.write_bytes(b"")
    assert cli.main(["flower", "run", *arguments, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert word in error and error.count("\n") == 1


@needs_root
@pytest.mark.parametrize(
    "command",
    [
        "flower keys {}/keys --host pi",
        "flower keys {} --host pi",
        "flower run sine --out {}/phi.npz",
    ],
)
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_folder_that_one_may_not_touch_is_one_sentence(command, mode, tmp_path_factory, capsys):
    folder = tmp_path_factory.mktemp("ours")
    for parent in (folder.parent, folder.parent.parent):
        parent.chmod(0o711)
    folder.chmod(mode)

    def work():
        assert cli.main(command.format(folder).split()) == 2
        return capsys.readouterr().err

    answer = as_stranger(work)
    assert answer.startswith("tinyreptile: cannot use") and answer.count("\n") == 1, answer
    assert "Permission denied; choose a folder you can write to" in answer


def test_the_command_says_what_it_waits_for(tmp_path, capsys, monkeypatch):
    class NoFlower:
        def __init__(self, nodes):
            self.nodes = nodes

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def run_steadily(self, out, simulated, **settings):
            error = capsys.readouterr().err
            assert "starting Flower: a SuperLink and 2 SuperNodes" in error
            assert "the rounds begin when all nodes have answered" in error
            yield "round 1 of 1"
            checkpoint.save(own_loop(1), out)

    monkeypatch.setattr(local, "LocalFlower", NoFlower)
    command = ["flower", "run", "sine", "--nodes", "2", "--out", str(tmp_path / "phi.npz")]
    assert cli.main(command) == 0
    assert "round 1 of 1\nending Flower's processes\n" in capsys.readouterr().err


def test_without_ray_the_remedy_is_told(tmp_path, monkeypatch, refuses):
    monkeypatch.setattr(local, "find_spec", lambda name: None)
    with refuses("Ray", "pip install 'tinyreptile-lite[simulation]'"):
        LocalFlower([])


def test_a_file_that_is_no_run_is_told_before_any_process_starts(tmp_path, capsys):
    (tmp_path / "phi.npz").write_bytes(b"no run")
    for out in (tmp_path / "phi.npz", tmp_path, tmp_path / "none" / "phi.npz", "x" * 300):
        assert cli.main(["flower", "run", "sine", "--resume", "--out", str(out)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_without_a_folder_for_temporary_files_the_remedy_is_told(monkeypatch, refuses):
    def none():
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(local.tempfile, "gettempdir", none)
    with refuses("No usable temporary directory", "TMPDIR"):
        LocalFlower([{}])


# ---- Runs that Flower takes for dead -------------------------------------------------------------


class Starving(LocalFlower):
    """A federation whose runs end early for these reasons, and then succeed."""

    def __init__(self, *reasons):
        self.reasons, self.settings = list(reasons), []

    def run(self, out, simulated_nodes=0, **settings):
        self.settings.append(settings)
        yield f"run {len(self.settings)}"
        if self.reasons:
            raise KitError(self.reasons.pop(0))


def test_a_run_that_flower_starved_goes_on_from_its_file(tmp_path):
    flower = Starving("No heartbeat received", "No heartbeat received")
    log = list(flower.run_steadily(tmp_path / "phi.npz", rounds=3))
    assert [line for line in log if line.startswith("run")] == ["run 1", "run 2", "run 3"]
    assert flower.settings == [{"rounds": 3}] + [{"rounds": 3, "resume": True}] * 2


@pytest.mark.parametrize(("reasons", "runs"), [(["no node"], 1), (["heartbeat"] * 4, 4)])
def test_another_failure_or_too_many_is_told(reasons, runs, tmp_path, refuses):
    flower = Starving(*reasons)
    with refuses(reasons[0]):
        list(flower.run_steadily(tmp_path / "phi.npz"))
    assert len(flower.settings) == runs
