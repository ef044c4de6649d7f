"""The server's side of the wire format: a board becomes a client of the round loop.

A board only tells its state. `Session` compares the state with what it wants, sends what is
missing, and looks again; lost, repeated and late frames need no case of their own. The page
`docs/wire-format.md` has the rules.
"""

import secrets
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tinyreptile_lite.clients import Order
from tinyreptile_lite.errors import DivergenceError, KitError
from tinyreptile_lite.learners import Learned, OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.wire import frames
from tinyreptile_lite.wire.frames import Source, State
from tinyreptile_lite.wire.links import Link, LinkLost
from tinyreptile_lite.wire.local import network_id

Array = np.ndarray
LIMIT = np.float32(1e12)  # TR_LIMIT of the C core: no sound weight is larger
MAX_SAMPLES = 65_535
_DIVERGED = {10, 11}  # tr_status: the output or a gradient is out of bounds
_WRONG_CRC_LIMIT = 3
_SLOW = 4  # times the patience: one sample of a sensor may take seconds
_NOISE_BYTES, _NOISE_TIMEOUTS = 16_384, 8  # without a good frame: no board
Result = TypeVar("Result")
Turn = Callable[[], AbstractContextManager[None]]


class BoardError(KitError):
    """A board that cannot take part now: the server skips it and may try again later."""


class BoardSilent(BoardError):
    """It does not answer, or its link is gone."""


class WrongBoard(BoardError):
    """It answers, but holds another network or speaks another version."""


class BoardRefused(BoardError):
    """It cannot do what was asked, or sent back nonsense."""


@dataclass
class Traffic:
    """What went over a link, and what went wrong.

    Attributes
    ----------
    sent, received : int
        Bytes, everything counted.
    frames_sent, frames_received : int
    damaged : int
        Received frames that were dropped: wrong CRC, unknown kind or length.
    silences : int
        Answers that did not come in time.
    reconnects : int
    restarts : int
        Visits that had to begin again, because the board knew nothing of them.
    """

    sent: int = 0
    received: int = 0
    frames_sent: int = 0
    frames_received: int = 0
    damaged: int = 0
    silences: int = 0
    reconnects: int = 0
    restarts: int = 0


@dataclass(frozen=True)
class Transfer:
    """One transfer of weights to a board, and what it is asked to do with them."""

    round: int
    attempt: int
    nonce: int
    weights: bytes  # float32, little-endian

    @property
    def crc(self) -> int:
        """CRC-32 of the weights."""
        return zlib.crc32(self.weights)


class _ForgottenError(Exception):
    """The board no longer knows the visit: it was reset."""


class Session:
    """A conversation with one board.

    Parameters
    ----------
    link : Link
    net : Network
        What the board must hold.
    patience : int
        Silences in a row, or reconnects without a result, after which the board is given up.
    turn : callable, optional
        Makes a context in which the link may be used: see `BleLink.turn`.

    Attributes
    ----------
    board : Welcome or None
        What the board said of itself.
    traffic : Traffic
    """

    def __init__(
        self, link: Link, net: Network, patience: int = 30, turn: Turn = nullcontext
    ) -> None:
        self.link, self.net, self.patience, self._turn = link, net, patience, turn
        self.board: frames.Welcome | None = None
        self.traffic = Traffic()
        self._session = _new_session()
        self._begun = 0  # nonce of the visit that the board was last told about
        self._owed = 0  # states asked for between chunks, whose answers are still to come
        self._decoder = frames.Decoder()
        self._inbox: list[frames.Message] = []

    # ---- Requests --------------------------------------------------------------------------------

    def hello(self) -> frames.Welcome:
        """Ask who is there.

        Raises
        ------
        BoardSilent
            If nobody answers.
        WrongBoard
            If it holds another network or speaks another version of the wire format.
        """
        with self._turn():
            return self._greet()

    def _greet(self) -> frames.Welcome:
        for _ in range(self.patience + 1):
            try:
                welcome = self._ask_hello()
            except LinkLost:
                self._reopen()
                continue
            if welcome is not None:
                self.board = self._checked(welcome)
                return self.board
        raise BoardSilent(
            f"{self.link.name} does not answer as a TinyReptile board; "
            "flash the sketch FederatedClient to it"
        )

    def _ask_hello(self) -> frames.Welcome | None:
        """Say hello once; None if the answer does not come."""
        self._inbox.clear()
        # The zero ends whatever half a frame the board may have got before.
        hello = frames.Hello(self._session, self.link.frame_bytes)
        self._transmit(b"\0" + frames.encode(hello))
        while message := self._receive():
            if isinstance(message, frames.Welcome) and message.session == self._session:
                return message
        return None

    def _checked(self, board: frames.Welcome) -> frames.Welcome:
        """Refuse a board that does not fit."""
        if board.network != network_id(self.net) or board.weights != self.net.size:
            raise WrongBoard(
                f"{self.link.name} holds another network ({board.weights:,} weights, "
                f"{board.network.hex()}), not this one ({self.net.size:,} weights, "
                f"{network_id(self.net).hex()}); export the network and flash the board again"
            )
        fits = frames.chunk_floats(self.link.frame_bytes)
        chunks = -(-board.weights // max(1, board.chunk_floats))
        if not 0 < board.chunk_floats <= fits or chunks > frames.MAX_CHUNKS or not board.window:
            raise WrongBoard(
                f"{self.link.name} offers chunks of {board.chunk_floats} floats and a window of "
                f"{board.window}, but the link carries chunks of 1 to {fits}; flash it again"
            )
        return board

    def begin_anew(self) -> None:
        """Begin another session: for the board, any visit is now newer than the last."""
        self._session = _new_session()
        self.board = None

    def status(self) -> frames.Report:
        """Ask for the board's state."""
        return self._steadily(lambda: self._ask(frames.Status()))

    def abort(self, nonce: int) -> frames.Report:
        """Let the board forget a visit."""
        return self._steadily(lambda: self._ask(frames.Abort(nonce)))

    def train(
        self, visit: Transfer, rate: float, samples: int, seed: int, source: Source = Source.DATA
    ) -> Learned:
        """Let the board learn from the visit's weights, and fetch the result.

        Parameters
        ----------
        visit : Transfer
        rate : float
            Inner learning rate.
        samples : int
            1 to 65,535.
        seed : int
            Seeds the board's choice of data; the sensor knows no seed.
        source : Source

        Returns
        -------
        Learned
            Parameters (P,) and the mean loss while learning.

        Raises
        ------
        BoardSilent
            If the board does not answer, or its link does not come back.
        BoardRefused
            If it cannot do this, or sends back weights that are not finite.
        DivergenceError
            If its learning diverged.
        """
        request = frames.Train(visit.nonce, rate, samples, seed, source)
        got: dict[int, bytes] = {}  # chunks, kept over lost links

        def attempt() -> Learned:
            report = self._drive(visit, request, {State.TRAINED})
            return self._checked_update(self._pull(visit, report, got), report)

        return self._steadily(attempt)

    def evaluate(
        self, visit: Transfer, samples: int, seed: int, source: Source = Source.DATA
    ) -> frames.Score:
        """Let the board measure the loss of the visit's weights; raises as `train` does.

        A visit that has trained is measured as it is then.
        """
        request = frames.Evaluate(visit.nonce, seed, samples, source)

        def attempt() -> frames.Score:
            self._drive(visit, frames.Status(), {State.READY, State.TRAINED, State.EVALUATING})
            return self._await_score(visit, request)

        score = self._steadily(attempt)
        if not np.isfinite(score.loss):
            raise BoardRefused(f"{self.link.name} sent a loss of {score.loss}; reset the board")
        return score

    # ---- The loop: state, what is missing, state ... ---------------------------------------------

    def _drive(self, visit: Transfer, request: frames.Message, goals: set[State]) -> frames.Report:
        """Bring the board to one of the goal states; `request` follows when weights are there."""
        if self.board is None:
            self.hello()
        report = self._ask(frames.Status()) if self._begun == visit.nonce else None
        stuck = sends = 0
        while not (report and _knows(report, visit) and report.state in goals):
            if report is None or not _knows(report, visit):
                sends += 1
                report = self._begin(visit, sends)
            elif report.state == State.FAILED:
                raise self._failure(report)
            elif report.state == State.RECEIVING:
                self._send_chunks(visit, _missing(report, self._chunk_count()))
            if report is None or report.state != State.TRAINING:
                self._send(request)
            newer = self._next_report()
            stuck = stuck + 1 if newer == report else 0
            if stuck > self.patience * (_SLOW if newer.state == State.TRAINING else 1):
                raise BoardSilent(f"{self.link.name} gets no further: {_describe(newer)}")
            report = newer
        return report

    def _begin(self, visit: Transfer, sends: int) -> frames.Report | None:
        """Tell the board of the visit and send all weights, unless it knows the visit after all.

        A report of another visit may just be late. So, from the second time on, ask again first;
        from the third time on in a new session, in which the board takes any visit as newer.
        """
        if sends > self.patience:
            raise BoardSilent(f"{self.link.name} forgets every visit; reset the board")
        if sends > 1:
            self.traffic.restarts += 1
            self._session = _new_session() if sends > 2 else self._session
            self.hello()
            report = self._ask(frames.Status())
            if _knows(report, visit):
                return report
        self._begun = visit.nonce
        self._send(frames.Push(visit.round, visit.attempt, visit.nonce, visit.crc))
        self._send_chunks(visit, range(self._chunk_count()))
        return None

    def _send_chunks(self, visit: Transfer, indices: Sequence[int]) -> None:
        """Send chunks, never more than a window of them unconfirmed."""
        size = 4 * self._chunk_floats
        half = max(1, self._welcome.window // 2)
        self._owed = 0
        for number, index in enumerate(indices):
            if number and number % half == 0 and len(indices) - number > half:
                if self._owed:
                    report = self._receive_report()  # of half a window ago; if lost, go on
                    self._owed -= 1
                    if report is not None and not _knows(report, visit):
                        return  # PUSH was lost: the caller will see it too
                self._send(frames.Status())
                self._owed += 1
            data = visit.weights[index * size : (index + 1) * size]
            self._send(frames.Chunk(visit.nonce & 255, index, data))

    def _pull(self, visit: Transfer, report: frames.Report, got: dict[int, bytes]) -> bytes:
        """Fetch the weights that the report's CRC belongs to; `got` keeps what has come."""
        for _ in range(_WRONG_CRC_LIMIT):
            self._pull_chunks(visit, got)
            weights = b"".join(got[index] for index in range(self._chunk_count()))
            if zlib.crc32(weights) == report.detail:
                return weights
            got.clear()  # a late chunk of another visit with the same tag was among them
        raise BoardRefused(f"{self.link.name} sent weights with a wrong CRC; reset the board")

    def _pull_chunks(self, visit: Transfer, got: dict[int, bytes]) -> None:
        silences = 0
        while missing := [i for i in range(self._chunk_count()) if i not in got]:
            wanted = [i for i in missing if i < missing[0] + frames.MASK_CHUNKS]
            mask = sum(1 << (i - missing[0]) for i in wanted)
            self._send(frames.Pull(visit.nonce, missing[0], mask))
            before = len(got)
            self._collect(visit, wanted, got)
            silences = silences + 1 if len(got) == before else 0
            if silences > self.patience:
                raise self._silent()

    def _collect(self, visit: Transfer, wanted: list[int], got: dict[int, bytes]) -> None:
        """Take chunks until all that were wanted are there, the last one is, or silence."""
        while message := self._receive():
            if isinstance(message, frames.Report) and not _knows(message, visit):
                raise _ForgottenError
            if not isinstance(message, frames.Chunk) or message.tag != visit.nonce & 255:
                continue
            if len(message.data) == self._chunk_bytes(message.index):
                got[message.index] = message.data
            if message.index == wanted[-1] or all(i in got for i in wanted):
                return

    def _await_score(self, visit: Transfer, request: frames.Evaluate) -> frames.Score:
        self._send(request)
        last, stuck = None, 0
        while stuck <= self.patience:
            message = self._receive()
            if isinstance(message, frames.Score) and _answers(message, request):
                return message
            if isinstance(message, frames.Report):
                if not _knows(message, visit):
                    raise _ForgottenError
                if message.error:
                    raise self._failure(message)
            if message is None:
                self._send(request)
            stuck = stuck + 1 if message is None or message == last else 0
            last = message or last
        raise self._silent()

    # ---- One message at a time -------------------------------------------------------------------

    def _ask(self, request: frames.Message) -> frames.Report:
        self._send(request)
        return self._next_report()

    def _next_report(self) -> frames.Report:
        """Wait for the board's state; at each silence, ask for it."""
        silences = 0
        while silences <= self.patience:
            report = self._receive_report()
            if report is None:
                silences += 1
                self._owed = 0
                self._send(frames.Status())
            elif self._owed and report.state == State.RECEIVING:
                self._owed -= 1  # it was asked for before the last chunks left
            else:
                return report
        raise self._silent()

    def _receive_report(self) -> frames.Report | None:
        while message := self._receive():
            if isinstance(message, frames.Report):
                return message
        return None

    def _receive(self) -> frames.Message | None:
        """Return the next message, or None after a silence."""
        noise, end = 0, time.monotonic() + _NOISE_TIMEOUTS * self.link.timeout
        while not self._inbox:
            data = self.link.receive(self.link.timeout)
            if not data or noise > _NOISE_BYTES or (noise and time.monotonic() > end):
                self.traffic.silences += 1
                return None
            self._take(data)
            noise += len(data)
        return self._inbox.pop(0)

    def _take(self, data: bytes) -> None:
        self.traffic.received += len(data)
        before = self._decoder.damaged
        contents = self._decoder.feed(data)
        self.traffic.damaged += self._decoder.damaged - before
        for content in contents:
            try:
                self._inbox.append(frames.parse(content))
                self.traffic.frames_received += 1
            except frames.VersionError as error:
                raise WrongBoard(
                    f"{self.link.name} speaks wire version {error.version}, this kit "
                    f"{frames.VERSION}; flash FederatedClient of this kit to it"
                ) from None
            except frames.FrameError:
                self.traffic.damaged += 1

    def _send(self, message: frames.Message) -> None:
        self._transmit(frames.encode(message))

    def _transmit(self, data: bytes) -> None:
        self.link.send(data)
        self.traffic.sent += len(data)
        self.traffic.frames_sent += 1

    # ---- Trouble ---------------------------------------------------------------------------------

    def _steadily(self, action: Callable[[], Result]) -> Result:
        """Repeat an action over lost links and resets; it goes on where the board is."""
        with self._turn():
            return self._persistently(action)

    def _persistently(self, action: Callable[[], Result]) -> Result:
        for _ in range(self.patience + 1):
            try:
                return action()
            except LinkLost:
                self._reopen()
                self.hello()
            except _ForgottenError:
                self.traffic.restarts += 1
        raise BoardSilent(f"{self.link.name} is lost again and again; check its cable or battery")

    def _reopen(self) -> None:
        self.traffic.reconnects += self.board is not None  # else it was not open yet
        self._decoder = frames.Decoder()
        self._inbox.clear()
        try:
            self.link.reopen()
        except LinkLost as error:
            raise BoardSilent(str(error)) from None

    def _silent(self) -> BoardSilent:
        return BoardSilent(f"{self.link.name} does not answer any more; reset or replug the board")

    def _failure(self, report: frames.Report) -> KitError:
        reason = frames.ERRORS.get(report.error, f"error {report.error}")
        kind = DivergenceError if report.error in _DIVERGED else BoardRefused
        return kind(f"{self.link.name} could not do it: {reason}")

    def _checked_update(self, weights: bytes, report: frames.Report) -> Learned:
        """Refuse what would damage phi."""
        params = np.frombuffer(weights, "<f4").astype(np.float32)
        sound = np.abs(params) <= LIMIT  # false for NaN
        if not sound.all():
            at = int(np.flatnonzero(~sound)[0])
            raise BoardRefused(
                f"{self.link.name} sent back {params[at]} as weight {at}; reset the board"
            )
        if not np.isfinite(report.loss):
            raise BoardRefused(f"{self.link.name} sent a loss of {report.loss}; reset the board")
        return Learned(params, report.loss)

    # ---- Sizes, as agreed in the hello -----------------------------------------------------------

    @property
    def _welcome(self) -> frames.Welcome:
        return self.board or self.hello()

    @property
    def _chunk_floats(self) -> int:
        return self._welcome.chunk_floats

    def _chunk_count(self) -> int:
        return -(-self.net.size // self._chunk_floats)

    def _chunk_bytes(self, index: int) -> int:
        """Bytes of weights in a chunk; 0 or less if there is no such chunk."""
        return 4 * min(self._chunk_floats, self.net.size - index * self._chunk_floats)


def _new_session() -> int:
    return secrets.randbelow(2**32 - 1) + 1


def _knows(report: frames.Report, visit: Transfer) -> bool:
    """Whether the board is in this visit."""
    return report.nonce == visit.nonce and report.state != State.EMPTY


def _answers(score: frames.Score, request: frames.Evaluate) -> bool:
    wanted = (request.nonce, request.seed, request.sample_count)
    return (score.nonce, score.seed, score.sample_count) == wanted


def _missing(report: frames.Report, chunks: int) -> list[int]:
    """Chunks that a board in state RECEIVING asks for."""
    after = (report.count + i for i in range(frames.MASK_CHUNKS) if report.detail >> i & 1)
    return [index for index in after if index < chunks]


def _describe(report: frames.Report) -> str:
    try:
        state = State(report.state).name
    except ValueError:
        state = str(report.state)
    return f"state {state}, {report.count} done, error {report.error}"


# ---- A client of the round loop ------------------------------------------------------------------


class BoardClient:
    """A board on any link, as a client of the round loop.

    Parameters
    ----------
    link : Link
    net : Network
    source : Source
        Where the board takes its samples from.
    patience : int
        See `Session`.
    name : str, optional
        By default the link's.
    turn : callable, optional
        See `Session`.

    Attributes
    ----------
    session : Session

    Raises
    ------
    BoardError
        By `visit`, if the board cannot take part now; phi is as it was.
    """

    def __init__(
        self,
        link: Link,
        net: Network,
        source: Source = Source.DATA,
        patience: int = 30,
        name: str | None = None,
        turn: Turn = nullcontext,
    ) -> None:
        self.session = Session(link, net, patience, turn)
        self.source = source
        self._name = name or link.name
        self._last = (-1, 0, b"")  # round, attempt, what was ordered

    @property
    def name(self) -> str:
        """Name of the client."""
        return self._name

    def visit(self, phi: Array, order: Order) -> Learned:
        """Send phi, let the board learn online, fetch what it learned.

        The same order again, after a failure or even a success, goes on with the same visit: the
        board never trains twice for it.
        """
        learner = order.learner
        if not isinstance(learner, OnlineSGD):
            raise KitError(
                f"{self.name} learns online, one sample at a time, and cannot run "
                f"{type(learner).__name__}; choose tiny_reptile or fed_avg"
            )
        if not 1 <= order.sample_count <= MAX_SAMPLES:
            raise KitError(
                f"{self.name} cannot take {order.sample_count} samples a visit; "
                f"give 1 to {MAX_SAMPLES}"
            )
        what = struct.pack("<fHIB", learner.rate, order.sample_count, order.seed, self.source)
        visit = self._make_transfer(phi, order.round, what)
        return self.session.train(visit, learner.rate, order.sample_count, order.seed, self.source)

    def evaluate(self, phi: Array, samples: int, seed: int) -> frames.Score:
        """Let the board measure the mean loss of phi on samples of its own."""
        what = struct.pack("<HI", samples, seed) + b"evaluate"
        visit = self._make_transfer(phi, max(0, self._last[0]), what)
        return self.session.evaluate(visit, samples, seed, self.source)

    def _make_transfer(self, phi: Array, round_index: int, what: bytes) -> Transfer:
        """Number the visit so that the board can tell newer from older."""
        weights = np.ascontiguousarray(phi, "<f4")
        if not (np.abs(weights) <= LIMIT).all():
            raise KitError(f"phi holds NaN or huge numbers and was not sent to {self.name}")
        if weights.shape != (self.session.net.size,):
            raise KitError(f"phi has shape {weights.shape}, not ({self.session.net.size},)")
        what += weights.tobytes()
        last_round, attempt, last = self._last
        if round_index != last_round:
            attempt = 0
        elif what != last:
            attempt += 1
        if round_index < last_round or attempt > 0xFFFF:
            attempt = 0
            self.session.begin_anew()
        self._last = (round_index, attempt, what)
        nonce = zlib.crc32(struct.pack("<IH", round_index, attempt) + what) or 1
        return Transfer(round_index, attempt, nonce, weights.tobytes())
