"""The server: runs the rounds of boards that come and go, and writes them down.

Three things that know little of each other do the work: `Boards` visits, `Federation` is the
ordinary round loop, `Journal` keeps each round as one transaction. A server may be killed at any
moment. Started again, it repeats the round it was in with the same draws; a board that still knows
the order sends what it has learned, without learning twice.
"""

import itertools
import os
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from tinyreptile_lite import checkpoint
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.serve.boards import Boards, Record
from tinyreptile_lite.serve.journal import COMPANIONS, Journal

Watch = Callable[["Server", Record], None]
SAVE_EVERY = 100  # rounds


def look_away(server: "Server", record: Record) -> None:
    """Watch nothing; see `tinyreptile_lite.serve.live`."""


class Server:
    """A federation of boards whose rounds last.

    The federation's visitor is a `Boards`; it goes on from the journal if that is there. To `out`
    goes an ordinary checkpoint, at the start, now and then, and at the end. `watch` gets this
    server and each record of the journal when it is written. `found` are the names that the clients
    were made from, kept in the journal.

    Raises
    ------
    KitError
        If the files are one and the same, belong to another run, are damaged, in use, or cannot
        be written; if two boards have one id; if no board can take part.
    """

    def __init__(
        self,
        federation: Federation,
        out: Path,
        journal: Path,
        watch: Watch = look_away,
        found: Sequence[str] = (),
    ) -> None:
        if not isinstance(federation.visitor, Boards):
            raise TypeError("the federation's visitor must be a Boards")
        self.federation, self.boards = federation, federation.visitor
        self.out, self._watch = Path(out), watch
        # What a board has spent of its budget counts also if its round never ends.
        self._kept = ("start", "wait", "peace", *(("spent",) * (self.boards.budget is not None)))
        _check_files(self.out, Path(journal))
        absent = self.boards.meet()  # first, so that a slip leaves no files behind
        self.journal = Journal(journal, federation, found)
        self._counted = self.boards.traffic
        try:
            self._check_out()
            checkpoint.save(federation, self.out)
            self.boards.listen(self._note)
            for place, error in absent.items():
                self.boards.skip(place, error, federation.round)
            self._note({"event": "start", "round": federation.round, "process": os.getpid()})
            self.boards.recall(self.journal.bills, federation.round)
        except BaseException:
            self.close()
            raise

    def _check_out(self) -> None:
        """Refuse a checkpoint of another run, or one that knows more than the journal."""
        if not checkpoint.is_there(self.out):
            return
        _, state = checkpoint.read(self.out)
        if state["identity"] != checkpoint.identity(self.federation):
            raise KitError(f"{self.out} is of another run than the journal; name another file")
        if state["round"] > self.federation.round:
            raise KitError(
                f"{self.out} has {state['round']} rounds, its journal {self.journal.path} "
                f"{self.federation.round}; put the right files back, or name other ones"
            )

    def _note(self, record: Record) -> None:
        self.journal.note(record)
        if record["event"] in self._kept:
            self.journal.keep()
        self._watch(self, record)

    def step(self) -> None:
        """Run one round and make it last.

        Raises `KitError` if nobody is left, or the round cannot be written down. It is repeated
        when the server starts again.
        """
        if self.journal.round == self.federation.round:  # else it was interrupted while it wrote
            self.federation.step()
        history, traffic = self.federation.history, self.boards.traffic
        record: Record = {
            "event": "round",
            "round": self.federation.round,
            "clients": history.visited[-1],
            "seeds": [order.seed for order in self.boards.orders],
            "loss": history.loss[-1],
            "outer_rate": history.outer_rate[-1],
            "phi": f"{zlib.crc32(self.federation.phi.tobytes()):08x}",
            "sent": traffic.sent - self._counted.sent,
            "received": traffic.received - self._counted.received,
        }
        if self.boards.test_count:
            record["scores"] = self.boards.scores
        self.journal.write(record, self.federation)
        self._counted = traffic
        checkpoint.Keeper(self.out, SAVE_EVERY)(self.federation)
        self._watch(self, record)

    def run(self) -> None:
        """Run all rounds that are left; raises as `step` does. phi is in `out` then."""
        try:
            while self.federation.round < self.federation.rounds:
                self.step()
        finally:
            if self.journal.round == self.federation.round:
                checkpoint.save(self.federation, self.out)

    def close(self) -> None:
        """Close the journal, so that another server may go on."""
        self.boards.close()
        self.journal.close()


def _check_files(out: Path, journal: Path) -> None:
    """Refuse a checkpoint that would be written over the journal or over another run's phi."""
    begun = checkpoint.is_there(journal) and journal.stat().st_size
    if checkpoint.is_there(out) and not begun:
        raise KitError(
            f"{out} is already there, but its journal {journal} is not; put it back, "
            "or name other files"
        )
    mine = [out.with_name(out.name + ending) for ending in ("", ".part")]
    its = [journal.with_name(journal.name + ending) for ending in COMPANIONS]
    if any(_same(one, other) for one, other in itertools.product(mine, its)):
        raise KitError(f"{out} and the journal {journal} need files of the same name; name others")


def _same(one: Path, other: Path) -> bool:
    """Whether both are one file, also by a link or on a disk that knows no capital letters."""
    names = {unicodedata.normalize("NFKC", str(p.resolve())).casefold() for p in (one, other)}
    return len(names) == 1 or (one.exists() and other.exists() and one.samefile(other))
