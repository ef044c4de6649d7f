"""The server's side of the wire format: a talk with one board.

A board only tells its state. `Session` compares the state with what it wants, sends what is
missing, and looks again; lost, repeated and late frames need no case of their own. The page
`docs/wire-format.md` has the rules.
"""

import secrets
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TypeVar

import numpy as np

from tinyreptile_lite.core.table import LIMIT, Status
from tinyreptile_lite.errors import DivergenceError, KitError
from tinyreptile_lite.learners import Learned
from tinyreptile_lite.network import Network
from tinyreptile_lite.packing import PackError, unpack
from tinyreptile_lite.wire import frames
from tinyreptile_lite.wire.channel import (
    BoardError,
    BoardRefused,
    BoardSilent,
    BoardUnsound,
    Budget,
    Channel,
)
from tinyreptile_lite.wire.frames import State
from tinyreptile_lite.wire.links import Link, LinkLost
from tinyreptile_lite.wire.local import network_id

Array = np.ndarray
_DIVERGED = {Status.DIVERGED, Status.OVERFLOW}
_BUSY = {State.TRAINING, State.EVALUATING}
_asked = attrgetter("nonce", "seed", "sample_count")  # of a score, or of the request for it
_NO_SCORE = BoardRefused, DivergenceError  # a board that cannot give one may still learn
_WRONG_CRC_LIMIT = 3
_OLD_WELCOMES = 3  # one or two may be late answers to a hello of version 1
_SMALLEST_RESULT = 64  # bytes of changes of a network so small that its weights are fewer
_STEPS = 16  # of a visit beside its samples: hello, push, pull, and what goes wrong
_BEFORE, _TRAINING, _AFTER = range(3)  # steps of a visit
Result = TypeVar("Result")
Turn = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Packing:
    """How a board sends changes, and what they are added to; see `frames.Push2`."""

    bits: int
    flags: int
    limit: int
    count: int
    taken: int
    phi: Array  # float32, shape (P,); the board gets it in float16


@dataclass
class Visit:
    """The weights a board gets, what it shall do with them, and what has come of it."""

    round: int
    attempt: int
    weights: bytes  # float32, little-endian; float16 if changes come back
    request: frames.Train  # its nonce names the visit
    packing: Packing | None = None  # how changes come back; by default all weights do
    tests: Sequence[frames.Evaluate] = ()  # two, if it is scored before and after learning
    step: int = _BEFORE
    got: dict[int, bytes] = field(default_factory=dict)  # chunks, kept over lost links
    learned: Learned | None = None
    before: frames.Score | None = None
    after: frames.Score | None = None

    @property
    def nonce(self) -> int:
        """The visit's own number."""
        return self.request.nonce

    @property
    def push(self) -> frames.Push:
        """What begins the visit."""
        about = self.round, self.attempt, self.nonce, zlib.crc32(self.weights)
        how = self.packing
        if how is None:
            return frames.Push(*about)
        return frames.Push2(*about, how.bits, how.flags, how.limit, how.count, how.taken)

    @property
    def sample_count(self) -> int:
        """How many samples the board works on, scores included."""
        return self.request.sample_count + sum(test.sample_count for test in self.tests)

    def knows(self, report: frames.Report) -> bool:
        """Whether the board that sent this is in this visit."""
        return report.nonce == self.nonce and report.state != State.EMPTY


class _ForgottenError(Exception):
    """The board no longer knows the visit: it was reset, or this is a late report of another."""


class Session:
    """A conversation with one board.

    Parameters
    ----------
    link : Link
    net : Network
        What the board must hold.
    patience : int
        Silences in a row, or setbacks, after which the board is given up; see `Budget`.
    turn : callable, optional
        Makes a context in which the link may be used: see `BleLink.turn`.
    """

    def __init__(
        self, link: Link, net: Network, patience: int = 30, turn: Turn = nullcontext
    ) -> None:
        self.link, self.net, self.patience, self._turn = link, net, patience, turn
        self.board: frames.Welcome | None = None  # what it said of itself
        self.version = frames.VERSION  # to be asked for
        self._chunk_bytes = 0
        self._half = 1  # of a window
        self._channel = Channel(link)
        self.traffic = self._channel.traffic
        self._session = _new_session()
        self._begun = 0  # nonce of the visit that the board was last told about
        self._owed = 0  # states asked for between chunks, whose answers are still to come

    # ---- Requests --------------------------------------------------------------------------------

    def hello(self, patience: int | None = None) -> frames.Welcome:
        """Ask who is there, at most as patiently as asked.

        Raises `BoardSilent`, or `BoardRefused` if the board does not fit.
        """
        self.forget()
        return self._steadily(lambda board: board, patience=patience)

    def forget(self) -> None:
        """Ask again who is there before the next visit."""
        self.board = None

    def begin_anew(self) -> None:
        """Begin another session: for the board, any visit is now newer than the last."""
        self._session = _new_session()
        self.board = None

    def need(self, version: int) -> None:
        """Speak this version from now on; a board that cannot is refused at the next hello."""
        if version != self.version:
            self.version = version
            self.begin_anew()

    def visit(self, visit: Visit) -> Learned:
        """Let the board learn from the visit's weights, fetch the result, score it if wanted.

        The visit gets what came of it: `learned`, `before` and `after`. If the board is given up,
        it is told so, and is free.

        Raises
        ------
        BoardSilent
            If the board does not answer, gets no further, or its link does not come back.
        BoardRefused
            If it cannot do this, or sends back what is no sound result.
        DivergenceError
            If its learning diverged.
        """
        with self._turn():
            try:
                self._steadily(lambda board: self._visit(visit, board), _STEPS + visit.sample_count)
            except KitError as error:
                if visit.learned is None or not isinstance(error, BoardError):
                    self._abort(visit)
                    raise
        assert visit.learned is not None  # without a score, if that failed
        return visit.learned

    def _visit(self, visit: Visit, board: frames.Welcome) -> None:
        self._check_keeps(visit, board)
        visit.step = _BEFORE
        if visit.tests and visit.before is None:
            report = self._drive(visit, frames.Status(), {State.READY, State.TRAINED})
            if report.state == State.READY:
                with suppress(*_NO_SCORE):
                    visit.before = self._score(visit, visit.tests[0])
        visit.step = _TRAINING
        report = self._drive(visit, visit.request, {State.TRAINED})
        visit.learned = self._checked(visit, self._pull(visit, report), report.loss)
        visit.step = _AFTER
        if visit.tests:
            with suppress(*_NO_SCORE):
                visit.after = self._score(visit, visit.tests[1])

    def _abort(self, visit: Visit) -> None:
        """Tell the board that it may forget the visit; nobody waits for its answer."""
        if self._begun == visit.nonce:
            with suppress(LinkLost):
                self._channel.send(frames.Abort(visit.nonce))
        self._begun = 0
        self.begin_anew()

    def _greet(self) -> frames.Welcome:
        welcome, old = None, 0
        second = self.version == frames.VERSION_2
        kind = frames.Hello2 if second else frames.Hello
        fits = frames.Welcome2 if second else frames.Welcome
        try:
            while not isinstance(welcome, fits) or welcome.session != self._session:
                if welcome is None:
                    self._channel.forget()
                    # The zero ends whatever half a frame the board may have got before.
                    hello = kind(self._session, self.link.frame_bytes)
                    self._channel.send(hello, before=frames.DELIMITER)
                welcome = self._channel.receive()
                if isinstance(welcome, frames.Welcome) and not isinstance(welcome, fits):
                    old += 1
                    self._check_packs(old)
                    welcome = None
        except BoardSilent as error:
            raise BoardSilent(
                f"{self.link.name} does not answer as a TinyReptile board; "
                "flash the sketch FederatedClient to it"
            ) from error
        self._check_fits(welcome)
        self._chunk_bytes = 4 * welcome.chunk_floats
        self._half = max(1, welcome.window // 2)
        self.board = welcome
        return welcome

    def _check_packs(self, old_welcomes: int) -> None:
        if old_welcomes == _OLD_WELCOMES:
            raise BoardRefused(
                f"{self.link.name} speaks wire version {frames.VERSION} and sends all its weights, "
                "not packed changes; flash FederatedClient of this kit to it, or use a strategy "
                "that sends all weights"
            )

    def _check_keeps(self, visit: Visit, board: frames.Welcome) -> None:
        keeps = isinstance(board, frames.Welcome2) and board.flags & frames.Flag.FEEDBACK
        if visit.packing and visit.packing.flags & frames.Flag.FEEDBACK and not keeps:
            raise BoardRefused(
                f"{self.link.name} has no memory for error feedback; set ERROR_FEEDBACK to 1 in "
                "FederatedClient and flash it again, or train without feedback"
            )

    def _pieces(self, total: int) -> list[range]:
        """Where each chunk of so many bytes begins and ends."""
        size = self._chunk_bytes
        return [range(at, min(at + size, total)) for at in range(0, total, size)]

    def _check_fits(self, board: frames.Welcome) -> None:
        if board.network != network_id(self.net) or board.weights != self.net.size:
            raise BoardRefused(
                f"{self.link.name} holds another network ({board.weights:,} weights, "
                f"{board.network.hex()}), not this one ({self.net.size:,} weights, "
                f"{network_id(self.net).hex()}); export the network and flash the board again"
            )
        fits = frames.chunk_floats(self.link.frame_bytes)
        chunks = -(-board.weights // max(1, board.chunk_floats))
        if not 0 < board.chunk_floats <= fits or chunks > frames.MAX_CHUNKS or not board.window:
            raise BoardRefused(
                f"{self.link.name} offers chunks of {board.chunk_floats} floats and a window of "
                f"{board.window}, but the link carries chunks of 1 to {fits}; flash it again"
            )

    # ---- The loop: state, what is missing, state ... ---------------------------------------------

    def _drive(self, visit: Visit, request: frames.Message, goals: set[State]) -> frames.Report:
        """Bring the board to one of the goal states; `request` follows when weights are there."""
        report = None
        if self._begun == visit.nonce:
            self._channel.send(frames.Status())
            report = self._next_report(visit)
        if report is None or not visit.knows(report):
            self._begun = visit.nonce
            self._channel.send(visit.push)
            self._send_chunks(visit, range(len(self._pieces(len(visit.weights)))))
            self._channel.send(request)
            report = self._next_report(visit)
        while True:
            if not visit.knows(report):
                raise _ForgottenError
            if report.state in goals:
                return report
            if report.state == State.FAILED:
                raise self._failure(report)
            if report.state == State.RECEIVING:
                mask = range(frames.MASK_CHUNKS)
                missing = (report.count + i for i in mask if report.detail >> i & 1)
                most = len(self._pieces(len(visit.weights)))
                self._send_chunks(visit, [i for i in missing if i < most])
            if report.state not in _BUSY:
                self._channel.send(request)
            report = self._next_report(visit)

    def _send_chunks(self, visit: Visit, indices: Sequence[int]) -> None:
        """Send chunks, never more than a window of them unconfirmed."""
        self._owed = 0
        pieces = self._pieces(len(visit.weights))
        for number, index in enumerate(indices):
            if number and number % self._half == 0 and len(indices) - number > self._half:
                if self._owed:
                    report = self._receive_report(visit)  # of half a window ago; if lost, go on
                    self._owed -= 1
                    if report is not None and not visit.knows(report):
                        return  # PUSH was lost: the caller will see it too
                self._channel.send(frames.Status())
                self._owed += 1
            data = visit.weights[pieces[index].start : pieces[index].stop]
            self._channel.send(frames.Chunk(visit.nonce & 255, index, _whole_words(data)))

    def _pull(self, visit: Visit, report: frames.Report) -> bytes:
        """Fetch the weights, or the changes, that the report's CRC belongs to."""
        size = self._result_bytes(visit, report)
        pieces = self._pieces(size)
        chunks = range(len(pieces))
        for _ in range(_WRONG_CRC_LIMIT):
            while missing := [i for i in chunks if i not in visit.got]:
                wanted = [i for i in missing if i < missing[0] + frames.MASK_CHUNKS]
                self._pull_chunks(visit, wanted, pieces)
            result = b"".join(visit.got[i] for i in chunks)[:size]
            if zlib.crc32(result) == report.detail:
                return result
            visit.got.clear()  # a late chunk of another visit with the same tag was among them
            self._channel.budget.setback("sends weights with a wrong CRC; reset the board")
        raise self._nonsense("weights with a wrong CRC")

    def _result_bytes(self, visit: Visit, report: frames.Report) -> int:
        """How many bytes there are to fetch."""
        whole = 4 * self.net.size
        if visit.packing is None:
            return whole
        if not isinstance(report, frames.Report2):
            raise _ForgottenError  # a late hello of version 1 came between: greet it again
        size = report.size
        if not 0 < size <= whole + _SMALLEST_RESULT:
            raise self._nonsense(f"{size:,} bytes of changes")
        return size

    def _pull_chunks(self, visit: Visit, wanted: list[int], pieces: list[range]) -> None:
        """Take chunks until all that are wanted are there, the last one is, or silence."""
        mask = sum(1 << (i - wanted[0]) for i in wanted)
        self._channel.send(frames.Pull(visit.nonce, wanted[0], mask))
        while message := self._channel.receive():
            if isinstance(message, frames.Report) and not visit.knows(message):
                raise _ForgottenError
            if not isinstance(message, frames.Chunk) or message.tag != visit.nonce & 255:
                continue
            index, data = message.index, message.data
            if index < len(pieces) and len(data) == -(-len(pieces[index]) // 4) * 4:
                visit.got[index] = data
                self._channel.budget.reached(visit.step, State.TRAINED, len(visit.got))
            if index == wanted[-1] or all(i in visit.got for i in wanted):
                return

    def _score(self, visit: Visit, test: frames.Evaluate) -> frames.Score:
        """Let the board measure its weights."""
        message = None
        while True:
            if message is None:
                self._channel.send(test)
            message = self._channel.receive()
            if isinstance(message, frames.Report):
                self._note(visit, message)
                if not visit.knows(message):
                    raise _ForgottenError
                if message.error and message.state not in (State.RECEIVING, State.EVALUATING):
                    raise self._failure(message)
            elif isinstance(message, frames.Score) and _asked(message) == _asked(test):
                if not 0 <= message.loss < np.inf or message.correct > test.sample_count:
                    raise self._nonsense("a score that cannot be")
                return message

    # ---- One report at a time --------------------------------------------------------------------

    def _next_report(self, visit: Visit) -> frames.Report:
        """Wait for the board's state; at each silence, ask for it."""
        while True:
            report = self._receive_report(visit)
            if report is None:
                self._owed = 0
                self._channel.send(frames.Status())
            elif self._owed and report.state == State.RECEIVING:
                self._owed -= 1  # it was asked for before the last chunks left
            else:
                return report

    def _receive_report(self, visit: Visit) -> frames.Report | None:
        while message := self._channel.receive():
            if isinstance(message, frames.Report):
                self._note(visit, message)
                return message
        return None

    def _note(self, visit: Visit, report: frames.Report) -> None:
        """See whether this is progress."""
        if visit.knows(report) and report.state <= State.FAILED:
            # To count on is not to get further.
            most = max(visit.sample_count, len(self._pieces(len(visit.weights))))
            self._channel.budget.reached(visit.step, report.state, min(report.count, most))

    # ---- Trouble ---------------------------------------------------------------------------------

    def _steadily(
        self,
        action: Callable[[frames.Welcome], Result],
        steps: int = _STEPS,
        patience: int | None = None,
    ) -> Result:
        """Repeat an action over lost links and resets; it goes on where the board is.

        From the second time that the board knows nothing of the visit, a new session begins, in
        which it takes any visit as newer.
        """
        patience = min(patience or self.patience, self.patience)
        budget = Budget(self.link.name, patience, self.link.timeout, steps)
        self._channel.budget = budget
        board, restarts = self.board, 0
        with self._turn():
            while True:
                try:
                    board = board or self._greet()
                    return action(board)
                except LinkLost:
                    budget.setback("is lost again and again; check its cable or battery")
                    self.traffic.reconnects += self.board is not None  # else it was not open yet
                    self._channel.reopen()
                    board = self.board = None
                except _ForgottenError:
                    budget.setback("forgets every visit; reset the board")
                    restarts += 1
                    self.traffic.restarts += 1
                    self._session = _new_session() if restarts > 1 else self._session
                    board = None

    def _failure(self, report: frames.Report) -> KitError:
        reason = frames.ERRORS.get(report.error, f"error {report.error}")
        kind = DivergenceError if report.error in _DIVERGED else BoardRefused
        return kind(f"{self.link.name} could not do it: {reason}")

    def _checked(self, visit: Visit, result: bytes, loss: float) -> Learned:
        """Read what the board sent, and refuse what would damage phi."""
        params = self._params(visit, result)
        sound = np.abs(params) <= LIMIT  # false for NaN
        if not sound.all():
            at = int(np.flatnonzero(~sound)[0])
            raise self._nonsense(f"back {params[at]} as weight {at}")
        if not np.isfinite(loss):
            raise self._nonsense(f"a loss of {loss}")
        return Learned(params, loss)

    def _params(self, visit: Visit, result: bytes) -> Array:
        if visit.packing is None:
            return np.frombuffer(result, "<f4").astype(np.float32)
        try:
            sent = unpack(result, visit.packing.limit)
        except PackError as error:
            raise self._nonsense(str(error)) from None
        if len(sent.at) > visit.packing.count:
            raise self._nonsense(f"{len(sent.at):,} changes, not {visit.packing.count:,}")
        return sent.added_to(visit.packing.phi)

    def _nonsense(self, what: str) -> BoardUnsound:
        return BoardUnsound(f"{self.link.name} sent {what}; reset the board")


def _whole_words(data: bytes) -> bytes:
    """Fill the last word of a chunk with zeros."""
    return data + bytes(-len(data) % 4)


def _new_session() -> int:
    return secrets.randbelow(2**32 - 1) + 1
