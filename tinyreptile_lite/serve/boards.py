"""The boards of a run, which come and go: a visitor of the round loop.

An order carries the round and a seed. If the board that was drawn for it cannot do it, the same
order goes to the next board of the list that is free, in the order of the list. So the seed stays,
the device changes: the result is defined by phi, the order and the device that did it, and the
history says which one that was. The draws of later rounds do not depend on it. If fewer boards are
left than the strategy visits, one board does two orders.

With a budget, a board that has spent it is left in peace: it gets no order any more, and the others
do them. It ends what it has begun, so it may spend a little more, less than a visit takes.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinyreptile_lite.clients import Check, Client, Order, SimulatedClient, Visited
from tinyreptile_lite.energy import Energy, EnergyModel
from tinyreptile_lite.errors import DivergenceError, KitError
from tinyreptile_lite.learners import Learned
from tinyreptile_lite.nano.machine import BoardFault
from tinyreptile_lite.serve.accounts import Account, Bill, in_joules
from tinyreptile_lite.wire.channel import BoardError, BoardRefused, Traffic
from tinyreptile_lite.wire.client import MAX_SAMPLES, BoardClient
from tinyreptile_lite.wire.links import LinkLost
from tinyreptile_lite.wire.session import Session

Record = dict[str, Any]
Listener = Callable[[Record], None]
Scores = tuple[float | None, float | None]  # mean loss before and after learning; None: unknown
_AWAY = (BoardError, LinkLost, BoardFault)  # a board fails like this, and may come back
_LONGEST_PAUSE = 8  # rounds before a board that is away is tried again
_GREETING_PATIENCE = 4  # silences after which a board that is met again counts as away
_RETRY_SECONDS = 1.0
_TEST = 1  # tells a score's seed from that of the training


class SameId(BoardRefused):
    """Two boards with one id: nobody could tell who has learned what."""


@dataclass
class Seat:
    """A client's place in the round, and why it is empty if it is."""

    client: Client
    account: Account  # what its visits have cost
    reason: str = ""  # why it cannot take part; "" if it can
    failures: int = 0  # without a success in between
    next_try: int = 0  # the round in which it is tried again
    board_id: bytes = b""  # of the board that sits there, if it is a board
    scores: Scores = (None, None)  # of its last visit
    bill: Record = field(default_factory=dict)  # what that cost
    peace: str = ""  # why it is left in peace; "" if it is not

    @property
    def name(self) -> str:
        """Name of the client."""
        return self.client.name

    @property
    def session(self) -> Session | None:
        """The conversation with the board, if it is one."""
        return self.client.session if isinstance(self.client, BoardClient) else None

    @property
    def traffic(self) -> Traffic:
        """What went over its link; nothing if it has none."""
        return self.session.traffic if self.session else Traffic()


class Boards:
    """Visits clients side by side; one that fails is skipped, and another one takes over.

    Parameters
    ----------
    clients : sequence of Client
    wait : float
        Seconds to wait for a board when none is left.
    test_count : int
        If not 0, each visit is scored before and after learning, on so many samples of the device
        that it does not learn from. What it learns is the same in every bit.
    model : EnergyModel
        Of what visits cost.
    budget : float, optional
        Joules, modelled, that each board may spend on visits; what it draws while it is idle is
        left out. By default there is no end.

    Attributes
    ----------
    listener : callable, optional
        Is told each event as a record: "visit", "spent" when a visit has ended, well or not,
        "skip", "back", "peace" if a board is left in peace, and "wait" if nobody is left. Each has
        its "event" and "round", those of one board its "board", a visit the "seed", a skip and a
        peace the "reason". What "spent" has is told by `Account.end`.

    Raises
    ------
    KitError
        If two have one name, or a number cannot be.
    """

    def __init__(
        self,
        clients: Sequence[Client],
        wait: float = 60.0,
        test_count: int = 0,
        model: EnergyModel = EnergyModel(),  # noqa: B008 - it is frozen
        budget: float | None = None,
    ) -> None:
        if not 0 <= test_count < MAX_SAMPLES:
            raise KitError(f"cannot score on {test_count} samples; give 0 to {MAX_SAMPLES - 1}")
        if not (wait >= 0 and math.isfinite(wait)):
            raise KitError(f"wait is {wait} s; give 0 or more seconds")
        if budget is not None and not (budget > 0 and math.isfinite(budget)):
            raise KitError(f"the budget of a board is {budget} J; give more than 0, such as 0.5")
        self.names = [client.name for client in clients]
        if len(set(self.names)) < len(clients):
            raise KitError("two boards have one name; name each board once")
        self.seats = [Seat(client, Account(client, model)) for client in clients]
        self.wait, self.test_count, self.budget = wait, test_count, budget
        self.orders: Sequence[Order] = ()  # of the last round that was done
        self.scores: list[Scores] = []  # of these orders
        self._listener: Listener | None = None
        self._ids = threading.Lock()
        self._threads = ThreadPoolExecutor(max(1, min(32, len(clients))), "visit")

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def listen(self, listener: Listener) -> None:
        """Tell this listener from now on what happens."""
        self._listener = listener

    def _tell(self, event: str, number: int, **more: object) -> None:
        if self._listener:
            self._listener({"event": event, "round": number + 1} | more)

    @property
    def traffic(self) -> Traffic:
        """What went over all links since they were opened."""
        each = [vars(seat.traffic) for seat in self.seats]
        return Traffic(**{name: sum(part[name] for part in each) for name in vars(Traffic())})

    # ---- What it costs ---------------------------------------------------------------------------

    @property
    def spent(self) -> Bill:
        """What all boards have cost in this run."""
        return sum((seat.account.total for seat in self.seats), Bill())

    def recall(self, bills: Iterable[tuple[str, Bill]], number: int) -> None:
        """Take over what the visits of a journal have cost; `number` is the round to come."""
        seats = {seat.name: seat for seat in self.seats}
        for name, bill in bills:
            if name in seats:
                seats[name].account.total += bill
        for seat in self.seats:
            self._check_budget(seat, number)

    def _check_budget(self, seat: Seat, number: int) -> None:
        """Leave a board in peace if it has spent its budget."""
        energy = seat.account.total.energy
        if self.budget is None or energy.work < self.budget or seat.peace:
            return
        seat.peace = (
            f"left in peace: it has spent {in_joules(energy)} of {in_joules(Energy(self.budget))}, "
            "modelled"
        )
        self._tell("peace", number, board=seat.name, reason=seat.peace)

    def _end_if_all_spent(self, number: int) -> None:
        """Raise `KitError` if all boards are left in peace: waiting would not help."""
        if all(seat.peace for seat in self.seats):
            raise KitError(
                f"every board has spent the {self.budget:g} J, modelled, that it may spend; "
                f"{number} rounds are done and phi is kept: start again with a larger budget "
                "(--joules-per-board), and the run goes on where it was"
            )

    # ---- Who is there ----------------------------------------------------------------------------

    def meet(self) -> dict[int, Exception]:
        """Say hello to all boards; return which seats stay empty, and why.

        Raises `KitError` if two boards have one id, or if no board is there.
        """
        greeted = enumerate(self._threads.map(self._greet, self.seats))
        absent = {place: error for place, error in greeted if error}
        for error in absent.values():
            if isinstance(error, SameId):
                raise error
        if len(absent) == len(self.seats):
            raise KitError(f"no board can take part: {absent[0]}")
        return absent

    def _greet(self, seat: Seat) -> Exception | None:
        """Say hello if it is a board that has not been met, or was away."""
        session = seat.session
        if session is None or session.board is not None:
            return None
        try:
            session.hello(_GREETING_PATIENCE)
            self._check_id(seat)
        except _AWAY as error:
            session.forget()
            return error
        return None

    def _check_id(self, seat: Seat) -> None:
        """Note which board sits there; raises `SameId` if another seat has the same one."""
        if seat.session is None or seat.session.board is None:
            return
        found = seat.session.board.board_id
        with self._ids:
            for other in self.seats:
                if other.board_id == found and other is not seat and not other.reason:
                    raise SameId(
                        f"{seat.name} and {other.name} have one id, {found.hex()}; "
                        "name each board once, and give each board an id of its own"
                    )
            seat.board_id = found

    def skip(self, place: int, error: Exception, number: int) -> None:
        """Note why a board does not take part, and when to try it again."""
        seat = self.seats[place]
        seat.reason, seat.board_id = str(error), b""
        seat.failures += 1
        seat.next_try = number + min(2**seat.failures, _LONGEST_PAUSE)
        if seat.session:
            seat.session.begin_anew()
        self._tell("skip", number, board=seat.name, reason=seat.reason)

    # ---- A round ---------------------------------------------------------------------------------

    def visit_all(
        self, phi: np.ndarray, drawn: Sequence[int], orders: Sequence[Order], check: Check
    ) -> list[Visited]:
        """Do all orders of a round, each on its client or on another one that is free.

        Raises `KitError` if no board takes part for so long, or all that do diverge.
        """
        number = orders[0].round
        done: dict[int, Visited] = {}  # by position of the order
        scores: dict[int, Scores] = {}
        failed: dict[int, Exception] = {}  # by place, since the last pause
        end: float | None = None
        while len(done) < len(orders):
            jobs = self._assign(number, drawn, failed, done)
            if not jobs:
                self._end_if_all_spent(number)
                if end is None:
                    end = time.monotonic() + self.wait
                    self._tell("wait", number)
                self._pause(failed, end, number)
            for at, learned in self._run_jobs(jobs, phi, orders, check):
                place, seat = jobs[at], self.seats[jobs[at]]
                self._tell("spent", number, board=seat.name, seed=orders[at].seed, **seat.bill)
                self._check_budget(seat, number)
                if isinstance(learned, Exception):
                    failed[place] = learned
                    self.skip(place, learned, number)
                    continue
                done[at], scores[at], end = Visited(place, learned), seat.scores, None
                if seat.reason:
                    seat.reason, seat.failures = "", 0
                    self._tell("back", number, board=seat.name)
        self.orders, self.scores = orders, [scores[at] for at in range(len(orders))]
        return [done[at] for at in range(len(orders))]

    def _assign(
        self, number: int, drawn: Sequence[int], failed: Iterable[int], done: dict[int, Visited]
    ) -> dict[int, int]:
        """Give each order that is left a place: the drawn one, or the next one on the list.

        A board that has done an order of this round gets another one only if nobody else can.
        """
        able = {
            place
            for place, seat in enumerate(self.seats)
            if place not in failed
            and not seat.peace
            and (not seat.reason or seat.next_try <= number)
        }
        able = able - {visited.client for visited in done.values()} or able
        jobs: dict[int, int] = {}
        for at, wanted in enumerate(drawn):
            free = able - set(jobs.values())
            if at not in done and free:
                jobs[at] = min(free, key=lambda place: (place - wanted) % len(self.seats))
        return jobs

    def _run_jobs(
        self, jobs: dict[int, int], phi: np.ndarray, orders: Sequence[Order], check: Check
    ) -> list[tuple[int, Learned | Exception]]:
        """Visit all at once, each in a thread of its own; results in the order of the orders."""
        for at, place in jobs.items():
            order = orders[at]
            self._tell("visit", order.round, board=self.seats[place].name, seed=order.seed)

        def attempt(at: int) -> Learned | Exception:
            seat, order = self.seats[jobs[at]], orders[at]
            seat.account.begin()
            learned = self._attempt(seat, phi, order, check)
            seat.bill = seat.account.end(order, not isinstance(learned, _AWAY), self.test_count)
            return learned

        side_by_side = self._threads.map if len(jobs) > 1 else map
        return list(zip(jobs, side_by_side(attempt, jobs), strict=True))

    def _attempt(
        self, seat: Seat, phi: np.ndarray, order: Order, check: Check
    ) -> Learned | Exception:
        """Visit and score one client; return why it failed, if it did."""
        error = self._greet(seat)
        if error is not None:
            return error
        client, before, after = seat.client, None, None
        try:
            if self.test_count and isinstance(client, BoardClient):
                learned, scores = client.scored_visit(phi, order, self.test_count)
                before, after = (score.loss if score else None for score in scores)
            else:
                learned = client.visit(phi, order)
            self._check_id(seat)  # somebody may have put another board there
        except (*_AWAY, DivergenceError) as failure:
            return failure
        try:
            check(seat.name, learned)
        except KitError as refusal:
            return refusal
        if self.test_count and isinstance(client, SimulatedClient):
            rng = np.random.default_rng([order.seed, _TEST])
            test = client.device.stream(self.test_count, rng)
            before, after = (float(client.net.loss(each, *test)) for each in (phi, learned.params))
        seat.scores = before, after
        return learned

    def _pause(self, failed: dict[int, Exception], end: float, number: int) -> None:
        """Nobody is left: wait a little, then try everybody again who is not left in peace."""
        if failed and not any(isinstance(error, _AWAY) for error in failed.values()):
            raise next(iter(failed.values()))  # waiting would not help
        if time.monotonic() > end:
            reasons = sorted({seat.reason or seat.peace for seat in self.seats} - {""})
            raise KitError(
                f"no board has taken part for {self.wait:g} s: {'; '.join(reasons)}; "
                "then start again: the run goes on where it was"
            )
        time.sleep(_RETRY_SECONDS)
        failed.clear()
        for seat in self.seats:
            seat.next_try = number


def counted_boards(count: int) -> str:
    """Return a number of boards in words."""
    return f"{count} board{'s' * (count != 1)}"
