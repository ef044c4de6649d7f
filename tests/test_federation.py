"""The round loop: seeds, history, checkpoints that survive anything, and runs that diverge."""

import json
import os
import random
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyreptile_lite import checkpoint
from tinyreptile_lite.clients import InTurn, simulate
from tinyreptile_lite.errors import DivergenceError, KitError
from tinyreptile_lite.evaluation import evaluate
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.layers import Dense
from tinyreptile_lite.learners import Learned, OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.strategies import (
    Schedule,
    Strategy,
    fed_avg,
    fed_sgd,
    joint,
    reptile,
    tiny_reptile,
)
from tinyreptile_lite.tasks.sine import Sine

ROUNDS = 6
STRATEGIES = [
    tiny_reptile(0.02, 4),
    reptile(0.02, 4, epochs=2, batch=2, client_count=3),
    reptile(0.01, 4, epochs=2, batch=2, adam=True),
    fed_avg(0.02, 4, client_count=3),
    fed_sgd(0.02, 4, client_count=3),
    joint(0.02, 4, batch=2),
]
ANY_STRATEGY = pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda one: one.name)


def federation(net, strategy=STRATEGIES[0], seed=1, rounds=ROUNDS, devices=10):
    waves = Sine().devices(devices, np.random.default_rng(0))
    clients = simulate(net, waves, strategy.pooled)
    return Federation(net, strategy, clients, rounds, np.random.default_rng(seed))


def probe(phi):
    return float(np.abs(phi).sum())


def same(one, other):
    """Equal to the last bit: parameters, rounds, history, and the chance still to come."""
    return (
        one.phi.tobytes() == other.phi.tobytes()
        and one.round == other.round
        and one.history == other.history
        and one.rng.bit_generator.state == other.rng.bit_generator.state
    )


def test_a_fresh_head_is_sent_at_each_visit(mlp):
    sent = []

    class Remembers:
        name = "one"

        def visit(self, phi, order):
            sent.append(phi.copy())
            return Learned(phi + np.float32(1), 0.5)

    strategy = replace(tiny_reptile(0.02, 4, Schedule(0.5, 0.5)), fresh_head=True)
    run = Federation(mlp, strategy, [Remembers()], 3, np.random.default_rng(0))
    phi = run.run()
    body = slice(0, mlp.head.start)
    for i, one in enumerate([*sent, phi]):
        assert not one[mlp.head].any()
        np.testing.assert_allclose(one[body], sent[0][body] + 0.5 * i, rtol=1e-5, atol=1e-6)
    assert np.abs(sent[0][body]).max() > 0
    assert strategy.config()["fresh_head"]


# One seed, one result


@ANY_STRATEGY
def test_same_seed_same_result(mlp, strategy):
    one, other = federation(mlp, strategy), federation(mlp, strategy)
    one.run(probe=probe, probe_every=2)
    other.run(probe=probe, probe_every=2)
    assert same(one, other)


def test_other_seed_other_result(mlp):
    runs = [federation(mlp, seed=seed).run() for seed in (1, 2)]
    assert not np.array_equal(*runs)


def test_looking_does_not_change_the_run(mlp, tmp_path):
    plain, watched = federation(mlp), federation(mlp)
    plain.run()
    keeper = checkpoint.Keeper(tmp_path / "run.npz", 0)
    watched.run(progress=True, probe=probe, probe_every=1, after_round=keeper)
    assert np.array_equal(plain.phi, watched.phi)
    assert plain.history.loss == watched.history.loss


def test_history_tells_what_happened(mlp):
    run = federation(mlp, fed_avg(0.02, 4, client_count=3), rounds=5)
    run.run(probe=probe, probe_every=2)
    history = run.history
    assert run.round == len(history.loss) == len(history.outer_rate) == len(history.visited) == 5
    for chosen in history.visited:
        assert len(set(chosen)) == 3 and set(chosen) <= set(range(10))
    assert history.probe_round == [0, 2, 4, 5]
    assert history.probe_value[-1] == probe(run.phi)


def test_no_client_is_visited_twice_in_a_round(mlp):
    run = federation(mlp, fed_avg(0.02, 4, client_count=3), devices=3)
    run.run()
    assert [sorted(chosen) for chosen in run.history.visited] == [[0, 1, 2]] * ROUNDS


def test_every_client_has_its_turn(mlp):
    run = federation(mlp, tiny_reptile(0.02, 1), rounds=300, devices=5)
    run.run()
    visits = np.bincount(np.ravel(run.history.visited), minlength=5)
    assert (visits > 30).all()  # about 60 each


def test_outer_rate_goes_down_in_a_straight_line(mlp):
    run = federation(mlp, rounds=4)
    run.run()
    assert run.history.outer_rate == [1.0, 0.75, 0.5, 0.25]


def test_one_step_is_the_outer_update(mlp):
    run = federation(mlp, rounds=2)
    run.step()
    phi = run.phi.copy()
    returned = []

    @dataclass(frozen=True)
    class Recorder:
        client: object
        name: str = "recorder"

        def visit(self, phi, order):
            returned.append(self.client.visit(phi, order))
            return returned[-1]

    run.visitor = InTurn([Recorder(client) for client in run.visitor.clients])
    run.step()
    np.testing.assert_allclose(run.phi, phi + 0.5 * (returned[0].params - phi), atol=1e-7)


def test_given_phi_is_copied(mlp, rng):
    phi = mlp.init(rng)
    kept = phi.copy()
    clients = simulate(mlp, Sine().devices(3, rng))
    run = Federation(mlp, STRATEGIES[0], clients, 3, rng, phi=phi)
    assert np.array_equal(run.phi, phi)
    run.run()
    assert np.array_equal(phi, kept) and not np.array_equal(run.phi, phi)


# Checkpoints


@ANY_STRATEGY
def test_resuming_at_any_round_ends_bit_equal(mlp, strategy, tmp_path):
    whole = federation(mlp, strategy)
    whole.run(probe=probe, probe_every=2)
    for stop in range(ROUNDS + 1):
        file = tmp_path / f"{stop}.npz"
        first = federation(mlp, strategy)
        checkpoint.save(first, file)
        _run_until(first, stop, file)
        second = federation(mlp, strategy)
        checkpoint.resume(second, file)
        assert second.round == stop
        second.run(probe=probe, probe_every=2)
        assert same(second, whole)


def _run_until(run, stop, file):
    """Run with a checkpoint after every round, and fall over in the round after ``stop``."""
    step = run.step

    def fall():
        if run.round == stop:
            raise ConnectionError("the plug was pulled")
        step()

    run.step = fall
    try:
        run.run(probe=probe, probe_every=2, after_round=checkpoint.Keeper(file, 1))
    except ConnectionError:
        assert run.round == stop < ROUNDS


def test_a_finished_run_has_nothing_left_to_do(mlp, tmp_path):
    run = federation(mlp)
    run.run(after_round=checkpoint.Keeper(tmp_path / "run.npz", 0))
    again = federation(mlp)
    checkpoint.resume(again, tmp_path / "run.npz")
    again.run()
    assert same(run, again)


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox])
def test_any_numpy_generator_can_be_saved(mlp, bits, tmp_path):
    def build():
        clients = simulate(mlp, Sine().devices(3, np.random.default_rng(0)))
        return Federation(mlp, STRATEGIES[0], clients, 4, np.random.Generator(bits(1)))

    whole, first, second = build(), build(), build()
    whole.run()
    first.step()
    checkpoint.save(first, tmp_path / "run.npz")
    checkpoint.resume(second, tmp_path / "run.npz")
    assert np.array_equal(second.run(), whole.phi)


KILLED = """
    import sys
    from pathlib import Path
    import numpy as np
    from tinyreptile_lite import checkpoint
    from tinyreptile_lite.clients import simulate
    from tinyreptile_lite.federation import Federation
    from tinyreptile_lite.strategies import fed_avg
    from tinyreptile_lite.tasks.sine import Sine

    family, file = Sine(), Path(sys.argv[1])
    net = family.network()
    clients = simulate(net, family.devices(10, np.random.default_rng(0)))
    run = Federation(net, fed_avg(0.02, 8, 3), clients, 60, np.random.default_rng(1))
    if file.exists():
        checkpoint.resume(run, file)

    def probe(phi):
        print(run.round, flush=True)
        return float(np.abs(phi).sum())

    run.run(probe=probe, probe_every=1, after_round=checkpoint.Keeper(file, 1))
"""


def test_a_killed_process_resumes_bit_equal(tmp_path):
    """SIGKILL at random moments, often in the middle of writing a checkpoint."""
    command = [sys.executable, "-c", textwrap.dedent(KILLED)]
    whole, file = tmp_path / "whole.npz", tmp_path / "killed.npz"
    subprocess.run([*command, str(whole)], check=True, stdout=subprocess.DEVNULL)
    chance = random.Random(1)
    for _ in range(5):
        process = subprocess.Popen([*command, str(file)], stdout=subprocess.PIPE, text=True)
        for _ in range(chance.randint(2, 10)):
            assert process.stdout.readline(), "the run ended before it could be killed"
        time.sleep(chance.uniform(0, 0.01))
        process.kill()
        process.communicate()
    assert 0 < checkpoint.read(file)[1]["round"] < 60
    subprocess.run([*command, str(file)], check=True, stdout=subprocess.DEVNULL)
    phi, state = checkpoint.read(file)
    expected_phi, expected_state = checkpoint.read(whole)
    assert phi.tobytes() == expected_phi.tobytes()
    assert state == expected_state
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.npz", "whole.npz"]


@pytest.fixture(scope="module")
def saved(mlp, tmp_path_factory) -> Path:
    """A good checkpoint after two rounds; tests only read it."""
    run = federation(mlp)
    run.step()
    run.step()
    path = tmp_path_factory.mktemp("good") / "run.npz"
    checkpoint.save(run, path)
    return path


def _refused(run, path, refuses, *words):
    """The sentence names the file, the run stays as it was, and so does the file."""
    phi, state, content = run.phi.copy(), run.rng.bit_generator.state, path.read_bytes()
    with refuses(path, *words):
        checkpoint.resume(run, path)
    assert np.array_equal(run.phi, phi) and run.round == 0 and not run.history.loss
    assert run.rng.bit_generator.state == state
    assert path.read_bytes() == content


@given(cut=st.integers(0, 10_000))
def test_truncated_checkpoint_is_refused(mlp, saved, refuses, cut):
    content = saved.read_bytes()
    file = saved.with_name("cut.npz")
    file.write_bytes(content[: cut % len(content)])
    _refused(federation(mlp), file, refuses, "damaged", "train again")


@settings(max_examples=150)
@given(st.integers(0, 100_000), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_harmless(mlp, saved, refuses, place, change):
    content = bytearray(saved.read_bytes())
    content[place % len(content)] ^= change
    file = saved.with_name("changed.npz")
    file.write_bytes(content)
    good = federation(mlp)
    checkpoint.resume(good, saved)
    try:
        checkpoint.read(file)
    except ValueError:
        _refused(federation(mlp), file, refuses, "damaged")
    else:  # a byte that carries nothing, such as the time stamp inside the archive
        run = federation(mlp)
        checkpoint.resume(run, file)
        assert same(run, good)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", os.urandom(500)])
def test_a_file_of_something_else_is_refused(mlp, tmp_path, content, refuses):
    file = tmp_path / "other.npz"
    file.write_bytes(content)
    _refused(federation(mlp), file, refuses, "damaged or no checkpoint")


@pytest.mark.parametrize(
    "arrays",
    [
        {"weights": np.zeros(3)},
        {"phi": np.zeros(25, np.float32)},
        {"phi": np.zeros(25, np.float32), "state": np.array("no json")},
        {"phi": np.zeros(25, np.float32), "state": np.array("[1, 2]")},
        {"phi": np.zeros(25, np.float32), "state": np.array("{}")},
        {"phi": np.array([{}], object), "state": np.array("{}")},
    ],
    ids=str,
)
def test_archives_of_something_else_are_refused(mlp, tmp_path, arrays, refuses):
    file = tmp_path / "other.npz"
    np.savez(file, **arrays)
    _refused(federation(mlp), file, refuses, "damaged or no checkpoint")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("round", 3),
        ("round", "many"),
        ("history", []),
        ("history", {"loss": 1}),
        ("visited", 5),
        ("visited", [1, 2]),
        ("visited", [["a"]]),
        ("visited", [[99]]),
        ("loss", None),
        ("visited", [[[0]]]),
        ("visited", [{"0": 0}]),
        ("loss", ["low"]),
        ("loss", [10**400]),
        ("outer_rate", []),
        ("rng", {}),
        ("rng", 1),
    ],
)
def test_a_forged_state_is_refused(mlp, saved, refuses, part, value):
    phi, state = checkpoint.read(saved)
    where = state["history"] if part in state["history"] else state
    length = len(state["history"]["loss"])
    where[part] = value * length if isinstance(value, list) and len(value) == 1 else value
    file = saved.with_name("forged.npz")
    np.savez(file, phi=phi, state=np.array(json.dumps(state)))
    _refused(federation(mlp), file, refuses, str(file))


@pytest.mark.parametrize("part", ["loss", "visited", "probe_round"])
@pytest.mark.parametrize("empty", [{}, ""])
def test_a_forged_start_is_refused(mlp, tmp_path, refuses, part, empty):
    """What is as long as a list and cannot be added to would stop the first round."""
    file = tmp_path / "forged.npz"
    state = checkpoint.state(federation(mlp))
    state["history"] = state["history"] | {part: empty}
    np.savez(file, phi=federation(mlp).phi, state=np.array(json.dumps(state)))
    _refused(federation(mlp), file, refuses, "contradicts itself")


def test_a_plain_array_file_is_refused(mlp, tmp_path, refuses):
    np.save(tmp_path / "array.npy", np.zeros(25, np.float32))
    _refused(federation(mlp), tmp_path / "array.npy", refuses, "damaged or no checkpoint")


@pytest.mark.parametrize("phi", [np.zeros(24, np.float32), np.zeros(25), np.full(25, np.nan, "f")])
def test_parameters_that_do_not_fit_are_refused(mlp, saved, tmp_path, phi, refuses):
    with np.load(saved) as good:
        state = good["state"]
    file = tmp_path / "odd.npz"
    np.savez(file, phi=phi, state=state)
    run = federation(mlp)
    before = run.phi.copy()
    with refuses():
        checkpoint.resume(run, file)
    assert np.array_equal(run.phi, before) and run.round == 0


def test_a_missing_checkpoint_is_named(mlp, tmp_path, refuses):
    with refuses(tmp_path / "none.npz", "no checkpoint", "train first"):
        checkpoint.resume(federation(mlp), tmp_path / "none.npz")


def test_a_checkpoint_of_another_run_is_refused(mlp, saved, refuses):
    wider = Network([Dense(1, 12), Dense(12, 1)], "mse", (1,))
    others = {
        "network": federation(wider),
        "strategy": federation(mlp, tiny_reptile(0.03, 4)),
        "rounds": federation(mlp, rounds=7),
        "clients": federation(mlp, devices=11),
        "seed": federation(mlp, seed=2),
    }
    for part, run in others.items():
        _refused(run, saved, refuses, f"another run ({part}", "another file name")


def test_clients_of_other_people_are_another_run(mlp, saved, refuses):
    waves = Sine().devices(10, np.random.default_rng(0), prefix="other")
    run = Federation(mlp, STRATEGIES[0], simulate(mlp, waves), ROUNDS, np.random.default_rng(1))
    _refused(run, saved, refuses, "another run (clients")


def test_another_kind_of_generator_is_refused(mlp, saved, refuses):
    clients = simulate(mlp, Sine().devices(10, np.random.default_rng(0)))
    generator = np.random.Generator(np.random.MT19937(1))
    run = Federation(mlp, STRATEGIES[0], clients, ROUNDS, generator)
    with refuses("another run (seed"):
        checkpoint.resume(run, saved)


def test_checkpoints_hold_no_pickle(saved):
    with np.load(saved, allow_pickle=False) as file:
        assert set(file) == {"phi", "state"}
        assert json.loads(str(file["state"]))["round"] == 2


def test_a_missing_folder_is_named(mlp, tmp_path, refuses):
    file = tmp_path / "missing" / "run.npz"
    with refuses(file, "cannot write", "folder"):
        checkpoint.save(federation(mlp), file)
    assert not file.parent.exists()


def test_a_folder_that_is_a_file_is_named_and_kept(mlp, tmp_path, refuses):
    blocker = tmp_path / "results"
    blocker.write_text("precious")
    with refuses(blocker / "run.npz", "cannot write"):
        checkpoint.save(federation(mlp), blocker / "run.npz")
    assert blocker.read_text() == "precious"


def test_failing_to_write_leaves_no_litter(mlp, tmp_path, refuses):
    target = tmp_path / "run.npz"
    target.mkdir()  # a folder cannot be replaced by a file
    with refuses(target, "cannot write"):
        checkpoint.save(federation(mlp), target)
    assert list(tmp_path.iterdir()) == [target]


def test_a_disk_that_fills_up_keeps_the_old_checkpoint(mlp, tmp_path, refuses, monkeypatch):
    file = tmp_path / "run.npz"
    run = federation(mlp)
    checkpoint.save(run, file)
    old = file.read_bytes()
    run.step()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with refuses(file, "No space left on device"):
        checkpoint.save(run, file)
    assert file.read_bytes() == old and list(tmp_path.iterdir()) == [file]


def test_files_can_be_read_by_others_as_usual(tmp_path):
    checkpoint.write_npz(tmp_path / "run.npz", phi=np.zeros(1))
    (tmp_path / "plain").touch()
    assert (tmp_path / "run.npz").stat().st_mode == (tmp_path / "plain").stat().st_mode


# Runs that go wrong


@dataclass(frozen=True)
class Breaking:
    """A client that behaves well in the first rounds, then sends back what it is told to."""

    client: object
    name: str
    breaks_in: int
    params: float = 0.0
    loss: float = 0.0

    def visit(self, phi, order):
        if order.round < self.breaks_in:
            return self.client.visit(phi, order)
        return Learned(np.full_like(phi, self.params), self.loss)


def test_a_rate_that_is_too_high_stops_the_run(mlp, refuses):
    run = federation(mlp, tiny_reptile(1e4, 32), rounds=50)
    with refuses("round ", "client sine-", "lower the inner rate (10000", error=DivergenceError):
        run.run()
    assert np.isfinite(run.phi).all()
    assert run.round == len(run.history.loss) == len(run.history.visited)


@pytest.mark.parametrize("bad", [{"params": np.nan}, {"params": np.inf}, {"loss": np.nan}])
def test_divergence_names_round_and_client_and_keeps_everything(mlp, tmp_path, bad, refuses):
    file = tmp_path / "run.npz"
    run = federation(mlp, rounds=10)
    run.visitor = InTurn([Breaking(one, one.name, 3, **bad) for one in run.visitor.clients])
    with refuses("round 4", "client sine-", "lower", "0.02", error=DivergenceError):
        run.run(after_round=checkpoint.Keeper(file, 1))
    good = federation(mlp, rounds=10)
    for _ in range(3):
        good.step()
    assert same(run, good)
    again = federation(mlp, rounds=10)
    checkpoint.resume(again, file)
    assert same(again, good)


class Answers:
    """A client that learns, and then answers something else."""

    name = "odd"

    def __init__(self, client, change):
        self.client, self.change = client, change

    def visit(self, phi, order):
        return self.change(self.client.visit(phi, order))


ODD_ANSWERS = {
    "nothing": (lambda a: None, KitError, "return Learned"),
    "no loss": (lambda a: Learned(a.params, None), KitError, "return Learned"),
    "losses": (lambda a: Learned(a.params, np.ones(3)), KitError, "return Learned"),
    "no array": (lambda a: Learned(list(a.params), a.loss), KitError, "float32"),
    "float64": (lambda a: Learned(a.params.astype(float), a.loss), KitError, "float32"),
    "shape": (lambda a: Learned(a.params[None], a.loss), KitError, "(1, 25)"),
    "one more": (lambda a: Learned(np.append(a.params, a.params[:1]), a.loss), KitError, "(26,)"),
    "huge": (
        lambda a: Learned(np.full_like(a.params, 9.9e11), a.loss),
        DivergenceError,
        "from phi",
    ),
    "overflow": (lambda a: Learned(np.full_like(a.params, 3e38), a.loss), DivergenceError, "phi"),
    "far": (lambda a: Learned(a.params + 1000, a.loss), DivergenceError, "visits usually"),
    "loss": (lambda a: Learned(a.params, -1e30), DivergenceError, "-1e+30"),
}


@pytest.mark.parametrize("done", [0, 3], ids=["first round", "later"])
@pytest.mark.parametrize("kind", ODD_ANSWERS)
def test_an_absurd_answer_never_reaches_phi(mlp, kind, done, refuses):
    change, error, word = ODD_ANSWERS[kind]
    run = federation(mlp)
    for _ in range(done):
        run.step()
    phi, state = run.phi, run.rng.bit_generator.state
    honest, run.visitor = run.visitor, InTurn([Answers(c, change) for c in run.visitor.clients])
    with refuses("odd", word, f"round {done + 1}", error=error):
        run.step()
    assert run.phi is phi and run.round == done and run.rng.bit_generator.state == state
    run.visitor = honest
    assert np.isfinite(run.run()).all()


def test_one_that_still_learns_where_the_others_have_nothing_left_to_learn(mlp):
    """Their visits go nowhere, so that any other goes infinitely farther."""
    run = federation(mlp)
    still = [Answers(c, lambda a: Learned(run.phi.copy(), 0.0)) for c in run.visitor.clients]
    learns, run.visitor = run.visitor, InTurn(still)
    for _ in range(3):
        run.step()
    run.visitor = learns
    run.run()
    assert run.round == ROUNDS


@pytest.mark.parametrize("unlocked", [False, True])
def test_a_client_that_writes_into_phi_is_refused(mlp, unlocked, refuses):
    def write(phi, order):
        phi[0] = 1

    def unlock(phi, order):
        phi.flags.writeable = True
        write(phi, order)

    run = federation(mlp)
    for client in run.visitor.clients:
        object.__setattr__(client, "visit", unlock if unlocked else write)
    before = run.phi.copy()
    with refuses("sine-", "writes into phi", "phi.copy()"):
        run.step()
    assert np.array_equal(run.phi, before)


def test_an_interrupted_round_is_repeated_alike(mlp):
    whole, interrupted = federation(mlp), federation(mlp)
    whole.run()
    interrupted.step()
    visitor = interrupted.visitor

    class Interrupt:
        name = "interrupt"

        def visit(self, phi, order):
            raise KeyboardInterrupt

    interrupted.visitor = InTurn([Interrupt()] * len(visitor.names))
    with pytest.raises(KeyboardInterrupt):
        interrupted.run()
    interrupted.visitor = visitor
    interrupted.run()
    assert same(interrupted, whole)


@pytest.mark.parametrize("rounds", [0, -3, 2.5])
def test_impossible_rounds_are_refused(mlp, rounds, refuses):
    with refuses(f"rounds is {rounds}", "at least 1"):
        federation(mlp, rounds=rounds)


@pytest.mark.parametrize("devices", [0, 2])
def test_too_few_clients_are_refused(mlp, devices, refuses):
    with refuses("fedavg", "3 clients", f"there are {devices}", "visit fewer"):
        federation(mlp, fed_avg(0.02, 4, 3), devices=devices)


def test_an_empty_pool_is_refused(mlp, refuses):
    with refuses("0 devices"):
        federation(mlp, joint(0.02, 4, 4), devices=0)


@pytest.mark.parametrize("phi", [np.zeros(24), np.zeros((1, 25)), np.full(25, np.nan)], ids=str)
def test_impossible_starting_points_are_refused(mlp, rng, phi, refuses):
    clients = simulate(mlp, Sine().devices(3, rng))
    with refuses("phi"):
        Federation(mlp, STRATEGIES[0], clients, 3, rng, phi=phi)


# Learning really happens


def test_tinyreptile_learns_to_learn_sine_waves():
    """A tenth of the usual rounds is enough to adapt far better than a random start."""
    family, rng = Sine(test_devices=200), np.random.default_rng(0)
    net, learner = family.network(), OnlineSGD(0.02)
    train, test = family.split(0, rng)
    start = net.init(rng)
    strategy = Strategy("tinyreptile", learner, sample_count=32)
    run = Federation(net, strategy, simulate(net, train), 500, rng, phi=start)
    phi = run.run()
    tasks = [device.task(rng) for device in test]
    before, after = (
        evaluate(net, params, tasks, learner, [0, 8, 32], rng).mean(axis=0)
        for params in (start, phi)
    )
    assert after[1] < before[1] / 3 and after[2] < before[2] / 10
    assert after[0] > 3  # one model cannot fit all waves before it has seen a sample
