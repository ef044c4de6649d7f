"""A federation that survives: boards come and go, and the server may be killed at any moment.

The round loop is the ordinary one. Two things are added.

*Another board takes over.* An order carries the round and a seed. If the board that was drawn for
it cannot do it, the same order goes to the next board of the list that is free, in the order of
the list. So the seed stays, the device changes: the result is defined by phi, the order and the
device that did it, and the journal says which one that was. The draws of later rounds do not
depend on it. If fewer boards are left than the strategy visits, one board does two orders.

*The server may be killed.* After every round the checkpoint is replaced in one piece. It holds phi,
the state of the random generator and the journal's line for this round; this is the moment the
round counts. The line goes to the journal next. A server that starts again adds the line if it is
missing, and repeats the round it was in with the same draws. A board that still knows the order
sends what it has learned, without learning twice.
"""

import os
import threading
import time
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite import checkpoint
from tinyreptile_lite.clients import Check, Client, Order, Visited
from tinyreptile_lite.errors import DivergenceError, KitError
from tinyreptile_lite.federation import Federation, History
from tinyreptile_lite.learners import Learned
from tinyreptile_lite.nano.machine import BoardFault
from tinyreptile_lite.network import Network
from tinyreptile_lite.serve.journal import Journal, Record
from tinyreptile_lite.strategies import Strategy
from tinyreptile_lite.wire.channel import BoardError, BoardRefused, Traffic
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.links import LinkLost

FAILURES = (BoardError, LinkLost, BoardFault, DivergenceError)  # of a board, not of the run
_LONGEST_PAUSE = 8  # rounds before a board that is away is tried again
_GREETING_PATIENCE = 4  # silences after which a board that is met again counts as away
_RETRY_SECONDS = 1.0


class Watch:
    """Is told what happens; this one does not care. See `tinyreptile_lite.serve.live`."""

    def started(self, server: "Server") -> None:
        """The boards have been met."""

    def visiting(self, server: "Server", names: Sequence[str]) -> None:
        """Orders go out to these boards."""

    def skipped(self, server: "Server", name: str, reason: str) -> None:
        """A board cannot take part now."""

    def returned(self, server: "Server", name: str) -> None:
        """A board that was away takes part again."""

    def waiting(self, server: "Server") -> None:
        """No board is left; the server waits for one."""

    def done(self, server: "Server") -> None:
        """A round is in the checkpoint and in the journal."""


@dataclass
class Seat:
    """A client's place in the round, and why it is empty if it is.

    Attributes
    ----------
    client : Client
    reason : str
        Why it cannot take part; "" if it can.
    failures : int
        Without a success in between.
    next_try : int
        The round in which it is tried again.
    board_id : bytes
        Of the board that sits there, if it is a board.
    """

    client: Client
    reason: str = ""
    failures: int = 0
    next_try: int = 0
    board_id: bytes = b""

    @property
    def name(self) -> str:
        """Name of the client."""
        return self.client.name

    @property
    def traffic(self) -> Traffic:
        """What went over its link; nothing if it has none."""
        board = isinstance(self.client, BoardClient)
        return self.client.session.traffic if board else Traffic()  # type: ignore[attr-defined]


class Server(Federation):
    """A federation with a journal, whose boards may fail.

    Parameters
    ----------
    net, strategy, clients, rounds, rng, data
        As in `Federation`.
    out : Path
        The checkpoint. If it and the journal are there, the run goes on.
    journal : Path
    watch : Watch, optional
    wait : float
        Seconds to wait for a board when none is left.
    found : sequence of str
        The names that the clients were made from, kept in the journal.

    Attributes
    ----------
    seats : list of Seat
        In the order of the clients.

    Raises
    ------
    KitError
        If the files belong to another run, are damaged, in use, or cannot be written; if two
        boards have one id; if no board can take part.
    """

    def __init__(
        self,
        net: Network,
        strategy: Strategy,
        clients: Sequence[Client],
        rounds: int,
        rng: np.random.Generator,
        *,
        out: Path,
        journal: Path,
        watch: Watch | None = None,
        wait: float = 60.0,
        data: dict[str, Any] | None = None,
        found: Sequence[str] = (),
    ) -> None:
        self.names = [client.name for client in clients]
        super().__init__(net, strategy, self, rounds, rng, data=data)
        self._found = list(found)
        self.seats = [Seat(client) for client in clients]
        self.out, self.watch, self.wait = Path(out), watch or Watch(), wait
        if len(set(self.names)) < len(clients):
            raise KitError("two boards have one name; name each board once")
        self._last: Record = {}
        self._seeds: list[int] = []
        self._ids = threading.Lock()
        self._threads = ThreadPoolExecutor(min(32, len(clients)), thread_name_prefix="visit")
        absent = self._meet()  # first, so that a slip leaves no files behind
        self.journal = self._take_up(Path(journal))
        for place, error in absent.items():
            self._skip(self.seats[place], error)
        self.watch.started(self)

    def close(self) -> None:
        """Close the journal, so that another server may go on."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.journal.close()

    # ---- Killed and started again ----------------------------------------------------------------

    def _take_up(self, path: Path) -> Journal:
        """Go on from the checkpoint and the journal, or begin both."""
        found = self.out.exists()
        if found:
            checkpoint.resume(self, self.out)
        names = {"boards": [seat.name for seat in self.seats], "found": self._found}
        identity = self.identity() | names
        journal = Journal(path, identity)
        try:
            rounds = [record for record in journal.records if record.get("event") == "round"]
            if found:
                self._reconcile(journal, rounds)
            elif rounds:
                raise KitError(
                    f"the journal {path} has {len(rounds)} rounds, but its checkpoint {self.out} "
                    "is missing; put it back, or name other files"
                )
            else:
                checkpoint.save(self, self.out)
            journal.write({"event": "start", "round": self.round, "process": os.getpid()})
        except BaseException:
            journal.close()
            raise
        return journal

    def _reconcile(self, journal: Journal, rounds: list[Record]) -> None:
        """Bring the journal up to the checkpoint, which may be one round ahead."""
        last = checkpoint.read(self.out)[1].get("last", {})
        if last and len(rounds) == self.round - 1:  # killed between the two
            journal.write(last, sync=True)
            rounds.append(last)
        fits = len(rounds) == self.round and (not rounds or rounds[-1] == last)
        if not fits:
            raise KitError(
                f"the checkpoint {self.out} has {self.round} rounds and the journal "
                f"{journal.path} {len(rounds)} or other ones; put the right file back, "
                "or name other files"
            )
        self._last = last
        self.history = History(
            [record["loss"] for record in rounds],
            [record["outer_rate"] for record in rounds],
            [record["clients"] for record in rounds],
        )

    def state(self) -> dict[str, Any]:
        """As of any federation, and the journal's line for the last round."""
        return super().state() | {"last": self._last}

    def step(self) -> None:
        """Run one round and make it last; raises as `Federation.step` does, or if nobody is left.

        Raises
        ------
        KitError
            If the round cannot be written down. It is repeated when the server starts again.
        """
        before = self.traffic
        super().step()
        self._last = {
            "event": "round",
            "round": self.round,
            "clients": self.history.visited[-1],
            "seeds": self._seeds,
            "loss": self.history.loss[-1],
            "outer_rate": self.history.outer_rate[-1],
            "phi": f"{zlib.crc32(self.phi.tobytes()):08x}",
            "sent": self.traffic.sent - before.sent,
            "received": self.traffic.received - before.received,
        }
        checkpoint.save(self, self.out)
        self.journal.write(self._last, sync=True)
        self.watch.done(self)

    @property
    def traffic(self) -> Traffic:
        """What went over all links since this server was started."""
        each = [vars(seat.traffic) for seat in self.seats]
        return Traffic(**{name: sum(part[name] for part in each) for name in vars(Traffic())})

    # ---- Boards come and go ----------------------------------------------------------------------

    def _meet(self) -> dict[int, Exception]:
        """Say hello to all boards; return which seats stay empty, and why.

        Raises
        ------
        KitError
            If two boards have one id, or if no board is there.
        """
        greeted = enumerate(self._threads.map(self._greet, range(len(self.seats))))
        absent = {place: error for place, error in greeted if error}
        for error in absent.values():
            if isinstance(error, SameId):
                raise error
        if len(absent) == len(self.seats):
            raise KitError(f"no board can take part: {absent[0]}")
        return absent

    def _greet(self, place: int) -> Exception | None:
        """Say hello if it is a board that has not been met, or was away."""
        client = self.seats[place].client
        if not isinstance(client, BoardClient) or client.session.board is not None:
            return None
        session, patience = client.session, client.session.patience
        session.patience = min(_GREETING_PATIENCE, patience)
        try:
            session.hello()
            self._check_id(place)
        except FAILURES as error:
            session.board = None
            return error
        finally:
            session.patience = patience
        return None

    def _check_id(self, place: int) -> None:
        """Note which board sits there; raises `SameId` if another seat has the same one."""
        client = self.seats[place].client
        if not isinstance(client, BoardClient) or client.session.board is None:
            return
        with self._ids:
            board_id = client.session.board.board_id
            for seat in self.seats:
                if seat.board_id == board_id and seat.client is not client and not seat.reason:
                    raise SameId(
                        f"{client.name} and {seat.name} have one id, {board_id.hex()}; "
                        "name each board once, and give each board an id of its own"
                    )
            self.seats[place].board_id = board_id

    def visit_all(
        self, phi: np.ndarray, drawn: Sequence[int], orders: Sequence[Order], check: Check
    ) -> list[Visited]:
        """Do all orders of a round, each on its client or on another one that is free."""
        updates: dict[int, Learned] = {}  # by position of the order
        places: dict[int, int] = {}
        failed: dict[int, Exception] = {}  # by seat, since the last pause
        end: float | None = None
        while len(updates) < len(orders):
            left = [at for at in range(len(orders)) if at not in updates]
            jobs = self._assign(left, drawn, failed, set(places.values()))
            if not jobs:
                end = end or time.monotonic() + self.wait
                self._pause(failed, end)
                continue
            for at, result in self._run_jobs(jobs, orders):
                if isinstance(result, Learned):
                    updates[at], places[at] = result, jobs[at]
                    end = None
                    self._welcome_back(self.seats[jobs[at]])
                else:
                    failed[jobs[at]] = result
                    self._skip(self.seats[jobs[at]], result)
        self._seeds = [order.seed for order in orders]
        return [Visited(places[at], updates[at]) for at in range(len(orders))]

    def _assign(
        self, left: list[int], drawn: Sequence[int], failed: Iterable[int], used: set[int]
    ) -> dict[int, int]:
        """Give each order that is left a seat: the drawn one, or the next one on the list.

        A board that has done an order of this round gets another one only if nobody else can.
        """
        able = {
            place
            for place, seat in enumerate(self.seats)
            if place not in failed and (not seat.reason or seat.next_try <= self.round)
        }
        jobs: dict[int, int] = {}
        for fresh in (able - used, able):
            for at in left:
                free = [p for p in fresh if p not in jobs.values()]
                if at not in jobs and free:
                    jobs[at] = min(free, key=lambda p: (p - drawn[at]) % len(self.seats))
            if jobs:
                break
        return jobs

    def _run_jobs(
        self, jobs: dict[int, int], orders: Sequence[Order]
    ) -> list[tuple[int, Learned | Exception]]:
        """Visit all at once, each in a thread of its own; results in the order of the orders."""
        for at, place in jobs.items():
            name = self.seats[place].name
            self.journal.write(
                {
                    "event": "visit",
                    "round": self.round + 1,
                    "board": name,
                    "seed": orders[at].seed,
                }
            )
        self.watch.visiting(self, [self.seats[place].name for place in jobs.values()])
        if len(jobs) == 1:
            ((at, place),) = jobs.items()
            return [(at, self._attempt(place, orders[at]))]
        futures = {
            at: self._threads.submit(self._attempt, place, orders[at]) for at, place in jobs.items()
        }
        return [(at, future.result()) for at, future in sorted(futures.items())]

    def _attempt(self, place: int, order: Order) -> Learned | Exception:
        """Visit one client; return why it failed, if it did."""
        seat = self.seats[place]
        error = self._greet(place)
        if error is not None:
            return error
        try:
            update = seat.client.visit(self.phi, order)
            self.check(seat.name, update)
            self._check_id(place)  # somebody may have put another board there
        except FAILURES as failure:
            return failure
        return update

    def _welcome_back(self, seat: Seat) -> None:
        seat.failures = 0
        if not seat.reason:
            return
        seat.reason = ""
        self.journal.write({"event": "back", "round": self.round + 1, "board": seat.name})
        self.watch.returned(self, seat.name)

    def _skip(self, seat: Seat, error: Exception) -> None:
        """Note why a board does not take part, and when to try it again."""
        news = seat.reason != str(error)
        seat.reason, seat.board_id = str(error), b""
        seat.failures += 1
        seat.next_try = self.round + min(2**seat.failures, _LONGEST_PAUSE)
        if isinstance(seat.client, BoardClient):
            seat.client.session.begin_anew()
        self.journal.write(
            {"event": "skip", "round": self.round + 1, "board": seat.name, "reason": seat.reason}
        )
        if news:
            self.watch.skipped(self, seat.name, seat.reason)

    def _pause(self, failed: dict[int, Exception], end: float) -> None:
        """Nobody is left: wait a little, then try everybody again."""
        errors = list(failed.values())
        if errors and all(isinstance(error, DivergenceError) for error in errors):
            raise errors[0]  # waiting would not help
        if time.monotonic() > end:
            reasons = sorted({seat.reason for seat in self.seats if seat.reason})
            raise KitError(
                f"no board has taken part for {self.wait:g} s: {'; '.join(reasons)}; "
                "then start again: the run goes on where it was"
            )
        self.watch.waiting(self)
        time.sleep(_RETRY_SECONDS)
        failed.clear()
        for seat in self.seats:
            seat.next_try = self.round


class SameId(BoardRefused):
    """Two boards with one id: nobody could tell who has learned what."""
