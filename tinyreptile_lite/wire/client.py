"""A board on any link, as a client of the round loop."""

import struct
import zlib
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np

from tinyreptile_lite.clients import Order
from tinyreptile_lite.core.table import LIMIT
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.learners import Learned, OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.packing import halved, sent_count
from tinyreptile_lite.partial import WHOLE, PartialSGD
from tinyreptile_lite.wire import frames
from tinyreptile_lite.wire.channel import BoardUnsound
from tinyreptile_lite.wire.frames import Flag, Source
from tinyreptile_lite.wire.links import Link
from tinyreptile_lite.wire.session import Packing, Session, Turn, Visit

Array = np.ndarray
MAX_SAMPLES = 65_535
_TEST = 0x5EED_7E57  # tells a score's seed from that of the training


class Scores(NamedTuple):
    """How well a board did on samples of its own, or None where it could not tell."""

    before: frames.Score | None  # with phi; also None if it had learned before it was asked
    after: frames.Score | None  # with what it learned, on one sample more


class BoardClient:
    """A board on any link, as a client of the round loop.

    Parameters
    ----------
    link : Link
    net : Network
    source : Source
        Where the board takes its samples from.
    patience, turn
        See `Session`.
    name : str, optional
        By default the link's.
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
        self.name = name or link.name
        self._last = (-1, 0, b"")  # round, attempt, what was ordered
        # The visit with error feedback whose changes were the last that arrived; None: what the
        # board may have kept is of another training.
        self._taken: int | None = None

    def visit(self, phi: Array, order: Order) -> Learned:
        """Send phi, let the board learn online, fetch what it learned.

        Raises `BoardError` if the board cannot take part now; phi is as it was.
        The same order again, after a server's crash or even a success, goes on with the same visit:
        the board never trains twice for it.
        """
        return self._visited(self._make_visit(phi, order))

    def _visited(self, visit: Visit) -> Learned:
        if visit.packing is None:
            self._taken = None  # such a visit cannot say what was taken
        try:
            learned = self.session.visit(visit)
        except BoardUnsound:
            # What it keeps may be as bad: let it forget that, and make the visit anew.
            self._taken, self._last = None, (*self._last[:2], b"")
            raise
        if visit.packing and visit.packing.flags & Flag.FEEDBACK:
            self._taken = visit.nonce
        return learned

    def scored_visit(self, phi: Array, order: Order, test_count: int) -> tuple[Learned, Scores]:
        """Visit, and let the board measure how well it does, before and after it learns.

        It learns what it learns in `visit`, in every bit. It measures on `test_count` samples of
        its own, drawn with another seed than those that it learns from.
        """
        if not 1 <= test_count < MAX_SAMPLES:
            raise KitError(
                f"{self.name} cannot be scored on {test_count} samples; give 1 to {MAX_SAMPLES - 1}"
            )
        visit = self._make_visit(phi, order)
        # One sample more afterwards: a SCORE from before that comes late is then not taken for it.
        visit.tests = [
            frames.Evaluate(visit.nonce, order.seed ^ _TEST, count, self.source)
            for count in (test_count, test_count + 1)
        ]
        learned = self._visited(visit)
        return learned, Scores(visit.before, visit.after)

    def _make_visit(self, phi: Array, order: Order) -> Visit:
        """Number the visit so that the board can tell newer from older."""
        learner = self._checked(phi, order)
        if order.round < self._last[0]:
            self._taken = None  # another training begins
        packing = self._packing(phi, learner)
        weights = np.asarray(phi, "<f2" if packing else "<f4").tobytes()
        about = learner.rate, order.sample_count, order.seed, self.source
        what = struct.pack("<fHIB", *about) + weights
        if isinstance(learner, PartialSGD):
            what += repr(learner).encode()
        last_round, attempt, last = self._last
        if order.round != last_round:
            attempt = 0
        elif what != last:
            attempt += 1
        if order.round < last_round or attempt > 0xFFFF:
            attempt = 0
            self.session.begin_anew()
        self._last = (order.round, attempt, what)
        nonce = zlib.crc32(struct.pack("<IH", order.round, attempt) + what) or 1
        train = _train(nonce, learner, order, self.source)
        return Visit(order.round, attempt, weights, train, packing)

    def _packing(self, phi: Array, learner: OnlineSGD | PartialSGD) -> Packing | None:
        """How the board shall send its changes, if not all its weights."""
        plain = isinstance(learner, OnlineSGD) or _is_plain(learner)
        self.session.need(frames.VERSION if plain else frames.VERSION_2)
        if not isinstance(learner, PartialSGD) or learner.bits == WHOLE:
            return None
        halved(phi)  # raises if it does not fit into float16
        limit = learner.limit(self.session.net)
        flags = Flag.FEEDBACK if learner.feedback else Flag(0)
        if learner.feedback and self._taken is None:
            flags |= Flag.FORGET  # what it kept belongs to another training
        count = sent_count(limit, learner.percent)
        return Packing(learner.bits, flags, limit, count, self._taken or 0, phi)

    def _checked(self, phi: Array, order: Order) -> OnlineSGD | PartialSGD:
        """Refuse what the board could not do; returns the learner."""
        learner = order.learner
        if not isinstance(learner, OnlineSGD | PartialSGD):
            raise KitError(
                f"{self.name} learns online, one sample at a time, and cannot run "
                f"{type(learner).__name__}; choose tiny_reptile, tiny_meta_fed or fed_avg"
            )
        if isinstance(learner, PartialSGD):
            learner.check_parts(self.session.net)
        if not 1 <= order.sample_count <= MAX_SAMPLES:
            raise KitError(
                f"{self.name} cannot take {order.sample_count} samples a visit; "
                f"give 1 to {MAX_SAMPLES}"
            )
        if not (np.abs(phi) <= LIMIT).all():
            raise KitError(f"phi holds NaN or huge numbers and was not sent to {self.name}")
        if phi.shape != (self.session.net.size,):
            raise KitError(f"phi has shape {phi.shape}, not ({self.session.net.size},)")
        return learner


def _is_plain(learner: PartialSGD) -> bool:
    """Whether it steps all layers and sends all weights, as `OnlineSGD` does."""
    return learner.bits == WHOLE and not learner.head_samples


def _train(
    nonce: int, learner: OnlineSGD | PartialSGD, order: Order, source: Source
) -> frames.Train:
    about = nonce, learner.rate, order.sample_count, order.seed, source
    if isinstance(learner, OnlineSGD) or _is_plain(learner):
        return frames.Train(*about)
    return frames.Train2(*about, learner.head_samples, learner.head_rate or learner.rate)
