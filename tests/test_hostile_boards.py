"""Boards that send valid frames and never come to an end: each is given up by name, within a bound.

A hostile board is an honest one up to a phase of the visit. From then on it answers with frames of
its choice, in one of several ways. The bound is counted in calls of the link, not in seconds.
"""

import itertools
import time

import numpy as np
import pytest

from tinyreptile_lite.clients import Order
from tinyreptile_lite.errors import DivergenceError
from tinyreptile_lite.layers import Dense, Tanh
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.sine import SineDevice
from tinyreptile_lite.wire import frames
from tinyreptile_lite.wire.channel import BoardError, BoardSilent, Budget
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.frames import State
from tinyreptile_lite.wire.links import LinkLost, LocalLink
from tinyreptile_lite.wire.local import LocalBoard, network_id

NET = Network([Dense(1, 16), Tanh(), Dense(16, 1)], "mse", (1,))
PHI = NET.init(np.random.default_rng(0))
ORDER = Order(0, OnlineSGD(0.02), 8, 3)
DEVICE = SineDevice("/dev/fake", 1.0, 0.5)
PATIENCE = 2
TRAIN = frames.Train.KIND
CALLS = 60_000  # of receive: enough for a silence after noise, byte by byte, some times


class Endless(AssertionError):
    """The server does not come to an end."""


class Hostile(LocalLink):
    """A link to a board that turns hostile in a phase.

    Parameters
    ----------
    begins : callable
        Whether a message of the server begins its hostility.
    attack : callable
        Makes the next bytes from the session's number, the visit's nonce and a counter.
    flood, trickle : bool
        Whether bytes come without being asked for, or one by one.
    """

    def __init__(self, begins, attack, flood=False, trickle=False):
        super().__init__(LocalBoard(NET, DEVICE))
        self.pause = 0.0  # seconds before each byte that trickles
        self.begins, self.attack, self.flood, self.trickle = begins, attack, flood, trickle
        self.turned, self.count, self.calls = False, itertools.count(), 0
        self.session = self.nonce = 0

    def send(self, data):
        for content in frames.Decoder().feed(data):
            message = frames.parse(content)
            self.session = getattr(message, "session", self.session)
            self.nonce = getattr(message, "nonce", self.nonce)
            self.turned |= self.begins(message)
            if self.turned:
                self._waiting += self._next()
            else:
                self._waiting += self.board.feed(frames.encode(message))

    def _next(self):
        answers = self.attack(self.session, self.nonce, next(self.count))
        return b"".join(map(frames.encode, answers))

    def receive(self, seconds):
        self.calls += 1
        if self.calls > CALLS:
            raise Endless
        if self.turned and self.flood and not self._waiting:
            self._waiting = self._next() * 20
        if self.turned and self.trickle:
            if self.pause:
                time.sleep(self.pause)
            first, self._waiting = self._waiting[:1], self._waiting[1:]
            return first
        return super().receive(seconds)


def report(state, count=0, detail=0, error=0):
    return lambda session, nonce, n: [frames.Report(state, error, nonce, count, detail, 0.5)]


def welcome(session, nonce, n):
    return [frames.Welcome(session, bytes(8), network_id(NET), NET.size, 256, 8, 2)]


def chunk(tag=0, index=0, size=4 * 49):
    return lambda session, nonce, n: [frames.Chunk((nonce + tag) & 255, index, bytes(size))]


def score(session, nonce, n):
    return [frames.Score(nonce, 1, 9, 5, 0.5)]


def by_turns(*attacks):
    return lambda session, nonce, n: attacks[n % len(attacks)](session, nonce, n)


def growing(state):
    return lambda session, nonce, n: [frames.Report(state, 0, nonce, n & 0xFFFF, n, 0.5)]


ATTACKS = {
    "silence": lambda session, nonce, n: [],
    "welcome": welcome,
    "another session": lambda session, nonce, n: welcome(session ^ 1, nonce, n),
    **{state.name: report(state, 1, 1) for state in State if state != State.FAILED},
    "no such state": report(99),
    "another visit": lambda session, nonce, n: report(State.TRAINING)(session, nonce ^ 1, n),
    "all missing": report(State.RECEIVING, 0, 2**32 - 1),
    "none missing": report(State.RECEIVING, 65_535),
    "the same chunk": chunk(),
    "a wrong tag": chunk(tag=1),
    "no such chunk": chunk(index=2047),
    "a chunk too long": chunk(size=4 * 200),
    "a score": score,
    "requests": lambda session, nonce, n: [frames.Hello(session, 1039), frames.Status()],
    "more and more trained": growing(State.TRAINING),
    "more and more received": growing(State.RECEIVING),
    "more and more evaluated": growing(State.EVALUATING),
    "one sample": by_turns(report(State.TRAINING, 1), report(State.TRAINING, 2)),
    "two states": by_turns(report(State.TRAINING, 3), report(State.RECEIVING, 0, 1)),
    "ready or not": by_turns(report(State.READY), report(State.EMPTY)),
    "forgetful": by_turns(report(State.TRAINED, 8), report(State.EMPTY), chunk()),
    "through all states": lambda session, nonce, n: report(n % 6)(session, nonce, n),
    "all numbers of states": lambda session, nonce, n: report(7 + n % 249)(session, nonce, n),
    "nothing but wrong CRCs": by_turns(report(State.TRAINED, 8, 1), chunk()),
}
WAYS = {"asked": {}, "flood": {"flood": True}, "trickle": {"trickle": True, "flood": True}}


def is_kind(kind):
    return lambda message: isinstance(message, kind)


PHASES = {
    "greeting": is_kind(frames.Hello),
    "push": is_kind(frames.Push),
    "chunks": is_kind(frames.Chunk),
    "scoring": is_kind(frames.Evaluate),
    "training": is_kind(frames.Train),
    "pull": is_kind(frames.Pull),
}
TESTS = 5
every_way = pytest.mark.parametrize("way", WAYS)
every_attack = pytest.mark.parametrize("attack", ATTACKS)


@every_way
@every_attack
@pytest.mark.parametrize("phase", PHASES)
def test_every_attack_in_every_phase_ends(attack, phase, way):
    link = Hostile(PHASES[phase], ATTACKS[attack], **WAYS[way])
    client = BoardClient(link, NET, patience=PATIENCE)
    with pytest.raises(BoardError, match="/dev/fake"):
        client.scored_visit(PHI, ORDER, TESTS)


@every_way
@every_attack
def test_an_attack_on_the_second_score_costs_the_score_only(attack, way):
    link = Hostile(
        lambda m: getattr(m, "sample_count", 0) == TESTS + 1, ATTACKS[attack], **WAYS[way]
    )
    learned, scores = BoardClient(link, NET, patience=PATIENCE).scored_visit(PHI, ORDER, TESTS)
    np.testing.assert_array_equal(learned.params, honest().visit(PHI, ORDER).params)
    assert scores.before and not scores.after


@pytest.mark.parametrize("loss", [-1e30, -1e-6, float("inf"), float("nan")])
def test_a_score_that_cannot_be_is_none(loss):
    asked = []

    def begins(message):
        asked.extend([message] if is_second_score(message) else [])
        return is_second_score(message)

    def answer(session, nonce, n):
        return [frames.Score(nonce, asked[0].seed, asked[0].sample_count, 0, loss)]

    client = BoardClient(Hostile(begins, answer), NET, patience=PATIENCE)
    _, scores = client.scored_visit(PHI, ORDER, TESTS)
    assert scores.before and not scores.after


def is_second_score(message) -> bool:
    return isinstance(message, frames.Evaluate) and message.sample_count > TESTS


def honest() -> BoardClient:
    return BoardClient(LocalLink(LocalBoard(NET, DEVICE)), NET)


# ---- What a hostile board can do with time -------------------------------------------------------


def test_a_board_that_makes_progress_for_ever_is_given_up():
    """Samples are done one by one, but more of them than were ordered, and slowly."""
    budget = Budget("/dev/fake", 12, 0.25, steps=32 + 16)
    with pytest.raises(BoardSilent, match="/dev/fake gets no further"):
        for sample in range(65_536):
            budget.waited(11.0)
            budget.heard(frames.Report(State.TRAINING, 0, 1, sample, 0, 0.0))
            budget.reached(1, State.TRAINING, sample)
    assert 48 <= sample < 60


def test_a_slow_trickle_is_given_up():
    """Real time passes here: a byte of a good frame now and then, each before the time-out."""
    link = Hostile(is_kind(frames.Train), ATTACKS["TRAINING"], trickle=True, flood=True)
    link.timeout, link.pause = 0.02, 0.01
    with pytest.raises(BoardSilent, match="/dev/fake gets no further"):
        BoardClient(link, NET, patience=PATIENCE).visit(PHI, ORDER)


def test_links_that_break_again_and_again_are_given_up():
    class Breaking(LocalLink):
        def receive(self, seconds):
            raise LinkLost("/dev/fake is gone")

    link = Breaking(LocalBoard(NET, DEVICE))
    with pytest.raises(BoardSilent, match="/dev/fake is lost again and again"):
        BoardClient(link, NET).visit(PHI, ORDER)


# ---- Honest boards, as slow as they come ---------------------------------------------------------


def test_a_sensor_that_takes_four_seconds_a_sample_is_waited_for():
    """65,535 samples in three days, asked for twice a second, with some resets."""
    budget = Budget("/dev/slow", 12, 0.25, steps=65_535 + 16)
    report = frames.Report(State.TRAINING, 0, 1, 0, 0, 0.0)
    for sample in range(65_535):
        for _ in range(8):
            budget.waited(0.5)
            budget.heard(None)
            budget.heard(report)
        budget.reached(1, State.TRAINING, sample)
        if sample in (20_000, 60_000):
            budget.setback("forgets every visit")


class Slow(LocalLink):
    """A board that seems to work on each sample for many questions."""

    questions = 12 * 4

    def __init__(self, board):
        super().__init__(board)
        self.asked, self.trained = 0, None

    def send(self, data):
        super().send(data)
        contents = frames.Decoder().feed(self._waiting)
        reports = [m for m in map(frames.parse, contents) if isinstance(m, frames.Report)]
        if reports and reports[-1].state == State.TRAINED and self.asked < self.questions * 8:
            self._waiting = b""
            if self.asked % 2:  # every second question is answered by silence
                done = self.asked // self.questions
                self._waiting = frames.encode(
                    frames.Report(State.TRAINING, 0, reports[-1].nonce, done, 0, 0.0)
                )
            self.asked += 1


def test_a_board_that_is_slow_with_each_sample_is_waited_for():
    link = Slow(LocalBoard(NET, DEVICE))
    learned = BoardClient(link, NET, patience=12).visit(PHI, ORDER)
    np.testing.assert_array_equal(learned.params, honest().visit(PHI, ORDER).params)
    assert link.asked == Slow.questions * 8


# ---- Given up, and free --------------------------------------------------------------------------


def test_a_board_that_is_given_up_is_told_so_and_free():
    """It never answers TRAIN; later it is asked again, and takes the same order."""

    class Mute(LocalLink):
        mute = True

        def send(self, data):
            super().send(data)
            if self.mute and frames.parse(frames.Decoder().feed(data)[0]).KIND == TRAIN:
                self._waiting = b""
                self.silent = True

        def receive(self, seconds):
            data = super().receive(seconds)
            return b"" if self.mute and getattr(self, "silent", False) else data

    link = Mute(LocalBoard(NET, DEVICE))
    client = BoardClient(link, NET, patience=PATIENCE)
    with pytest.raises(BoardSilent):
        client.visit(PHI, ORDER)
    link.mute = False
    link.receive(0)
    link.send(frames.encode(frames.Status()))
    (content,) = frames.Decoder().feed(link.receive(0))
    assert frames.parse(content).state == State.EMPTY
    learned = client.visit(PHI, ORDER)
    np.testing.assert_array_equal(learned.params, honest().visit(PHI, ORDER).params)


def test_a_failed_board_takes_the_same_order_again():
    """Its inner rate was too high; the visit failed, but the board has not to be reset."""
    client = honest()
    order = Order(0, OnlineSGD(900.0), 500, 1)
    for _ in range(2):
        with pytest.raises(DivergenceError):
            client.visit(PHI, order)
    client.visit(PHI, ORDER)
