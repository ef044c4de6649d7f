"""The live view of a run with boards: one table that stays in place, or plain lines in a log."""

import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import TextIO

import numpy as np

from tinyreptile_lite.serve.accounts import Bill, in_joules
from tinyreptile_lite.serve.boards import Record, Scores, counted_boards
from tinyreptile_lite.serve.server import Server
from tinyreptile_lite.wire.channel import Traffic

_REDRAW_SECONDS = 0.1
_LINE_SECONDS = 10.0
_LOSS_ROUNDS = 20  # the loss of one round says little
_MOST_SEATS = 16


class Live:
    """Shows round, boards, loss, bytes, modelled joules and link errors: the server's ``watch``.

    If the stream, by default standard error, is no terminal, what happens is written line by line,
    with the state of the run every ten seconds.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._visits: Counter[str] = Counter()
        self._at: set[str] = set()
        self._reasons: dict[str, str] = {}  # that were told
        self._height = 0  # lines of the table on the screen
        self._next = 0.0
        self._begun = (time.monotonic(), 0)

    def __call__(self, server: Server, record: Record) -> None:
        """Show what has happened, and the state of the run, but not too often."""
        event, board, where = record["event"], record.get("board", ""), f"round {record['round']}"
        if event == "start":
            self._start(server)
        elif event == "visit":
            self._at.add(board)
            self._visits[board] += 1
            if self._terminal:
                self._show(server)
        elif event == "skip" and self._reasons.get(board) != record["reason"]:
            self._reasons[board] = record["reason"]
            self._say(f"{where}: skipped {board}: {record['reason']}")
        elif event == "back":
            self._reasons.pop(board, None)
            self._say(f"{where}: {board} is back")
        elif event == "peace":
            self._say(f"{where}: {board} is {record['reason']}")
        elif event == "wait":
            self._say(f"{where}: no board is left; waiting for one")
        elif event == "round":
            self._at.clear()
            self._show(server, last=record["round"] == server.federation.rounds)

    def _start(self, server: Server) -> None:
        federation, seats = server.federation, server.boards.seats
        here = sum(not seat.reason for seat in seats)
        self._begun = (time.monotonic(), federation.round)
        where = f"goes on after round {federation.round}" if federation.round else "begins"
        self._say(
            f"the run {where}: {here} of {counted_boards(len(seats))}, {federation.rounds} rounds"
        )

    def _show(self, server: Server, last: bool = False) -> None:
        now = time.monotonic()
        if now < self._next and not last:
            return
        self._next = now + (_REDRAW_SECONDS if self._terminal else _LINE_SECONDS)
        if not self._terminal:
            self._say(self._summary(server))
            return
        width = shutil.get_terminal_size().columns - 1
        lines = [line[:width] for line in (self._summary(server), *self._table(server))]
        self._say(*lines)
        self._height = len(lines)

    def _say(self, *lines: str) -> None:
        """Write lines in place of the table; they stay."""
        if self._height:
            self._stream.write(f"\x1b[{self._height}A\x1b[J")  # up, and clear to the end
        self._height = 0
        print(*lines, sep="\n", file=self._stream, flush=True)

    def _summary(self, server: Server) -> str:
        since, first = self._begun
        federation = server.federation
        speed = (federation.round - first) / max(1e-9, time.monotonic() - since)
        loss = federation.history.loss[-_LOSS_ROUNDS:]
        shown = f"loss {sum(loss) / len(loss):.3f}, " if loss else ""
        shown += _scores(seat.scores for seat in server.boards.seats)
        return (
            f"round {federation.round} of {federation.rounds}, {shown}{speed:.1f} rounds/s, "
            f"{in_joules(server.boards.spent.energy)} modelled, {describe(server.boards.traffic)}"
        )

    def _table(self, server: Server) -> list[str]:
        seats, rows = server.boards.seats, []
        for seat in seats[:_MOST_SEATS]:
            mark = "peace" if seat.peace else "away" if seat.reason else ""
            mark = mark or ("*" if seat.name in self._at else "")
            rest = _scores([seat.scores]) + _spent(seat.account.total)
            rest += seat.peace or seat.reason or describe(seat.traffic)
            rows.append(f"  {seat.name:28} {mark:5} {self._visits[seat.name]:6} orders, {rest}")
        if len(seats) > _MOST_SEATS:
            rows.append(f"  and {len(seats) - _MOST_SEATS} more")
        return rows


def _spent(bill: Bill) -> str:
    """Joules and instructions in words; nothing before there are any."""
    count = bill.work.instructions
    if not bill.energy.work:
        return ""
    shown = f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"
    return f"{in_joules(bill.energy)} modelled, {shown} instructions {bill.work.kind}, "


def _scores(each: Iterable[Scores]) -> str:
    """Mean losses before and after learning, where both are known, in words."""
    known = np.array([pair for pair in each if None not in pair], float)
    if not len(known):
        return ""
    before, after = known.mean(axis=0)
    return f"loss {before:.3f} before and {after:.3f} after learning, "


def describe(traffic: Traffic) -> str:
    """Bytes and link errors in words."""
    counts = {
        "damaged": traffic.damaged,
        "questions unanswered and asked again": traffic.silences,
        "reconnects": traffic.reconnects,
        "begun again": traffic.restarts,
    }
    errors = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    moved = f"{_bytes(traffic.sent)} sent, {_bytes(traffic.received)} received"
    return f"{moved}, {errors or 'no link errors'}"


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
