"""What each visit costs a board: bytes, instructions, and joules, which are modelled.

The bytes are those that went over the board's link, frames and repetitions included; the radio is
charged for them as if they had gone over Bluetooth, also where the link is a cable. A virtual
board's instructions are counted, all that it executes. Of any other board they are those of the
learning alone, as far as they were counted on the virtual board, else estimated (`expense`).
"""

import math
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from tinyreptile_lite.clients import Client, Order
from tinyreptile_lite.costs import visit_bytes
from tinyreptile_lite.energy import NO_WORK, Energy, EnergyModel, Work, visit_energy
from tinyreptile_lite.expense import framing, score_work, visit_work
from tinyreptile_lite.network import Network
from tinyreptile_lite.serve.gauge import Reading
from tinyreptile_lite.wire.channel import Traffic
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.links import LinkLost, LocalLink


@dataclass(frozen=True)
class Bill:
    """What boards were asked to do, and what that took.

    Attributes
    ----------
    bytes_up, bytes_down : int
        Sent by the board, and received.
    work : Work
    energy : Energy
        `idle` is that of a board while it was visited; of a device in this process it is 0.
    """

    bytes_up: int = 0
    bytes_down: int = 0
    work: Work = NO_WORK
    energy: Energy = field(default_factory=Energy)

    def __add__(self, other: "Bill") -> "Bill":
        return Bill(
            self.bytes_up + other.bytes_up,
            self.bytes_down + other.bytes_down,
            self.work + other.work,
            self.energy + other.energy,
        )

    def record(self) -> dict[str, Any]:
        """Return it in plain JSON types."""
        return {
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
            "instructions": self.work.instructions,
            "cycles": self.work.cycles,
            "work": self.work.kind,
            "modelled_joules": asdict(self.energy),
        }

    @classmethod
    def read(cls, record: dict[str, Any]) -> "Bill":
        """Read what `record` has made. Raises `ValueError` or its like if it is no such thing."""
        numbers = [record[name] for name in ("bytes_up", "bytes_down", "instructions", "cycles")]
        if not all(0 <= one < math.inf for one in (*numbers, *record["modelled_joules"].values())):
            raise ValueError
        work = Work(record["instructions"], record["cycles"], record["work"] != "estimated")
        energy = Energy(**record["modelled_joules"])
        return cls(record["bytes_up"], record["bytes_down"], work, energy)


class Account:
    """What one client has cost so far; `begin` and `end` go around each visit."""

    def __init__(self, client: Client, model: EnergyModel) -> None:
        self._client, self._model = client, model
        self.total = Bill()
        self._session = client.session if isinstance(client, BoardClient) else None
        self._link = _innermost(self._session.link) if self._session else None
        self._traffic = Traffic()  # up to the last bill
        self._before: Reading | None = None
        self._begun = self._start = 0.0

    def begin(self) -> None:
        """A visit begins."""
        self._begun, self._start, self._before = time.time(), time.monotonic(), self._read()

    def end(self, order: Order, worked: bool, test_count: int) -> dict[str, Any]:
        """A visit has ended; return what it took, in plain JSON types, and add it up.

        Of a board that has not `worked` only the bytes are known, unless it is a virtual one.
        """
        passed = time.monotonic() - self._start
        work, learning, seconds = self._work(order, worked, test_count)
        if seconds is None:
            seconds = passed
        up, down = self._moved(order, worked)
        waited = seconds if self._has_battery else 0.0
        bill = Bill(up, down, work, visit_energy(self._model, work.cycles, up, down, waited))
        self.total += bill
        return bill.record() | {
            "learned": worked,
            "begun": self._begun,
            "seconds": seconds,
            "modelled_learning_joules": visit_energy(self._model, learning, 0, 0).compute,
        }

    @property
    def _has_battery(self) -> bool:
        """Whether its seconds are those of a board; else they are this computer's."""
        return self._link is not None and not isinstance(self._link, LocalLink)

    def _read(self) -> Reading | None:
        """Read the gauge of a virtual board; None if there is none, or its process has ended."""
        if not hasattr(self._link, "gauge"):
            return None
        try:
            return self._link.gauge()  # type: ignore[union-attr, no-any-return]
        except LinkLost:
            return None

    def _work(self, order: Order, worked: bool, test_count: int) -> tuple[Work, int, float | None]:
        """What was executed, the cycles of learning alone, and the seconds if they are virtual."""
        after = self._read()
        if after is not None:
            spent = after.since(self._before or Reading())
            work = Work(spent.instructions, spent.cycles, counted=True)
            return work, spent.learning_cycles, spent.microseconds / 1e6
        net = self._net
        if not worked or net is None:
            return NO_WORK, 0, None
        work = visit_work(net, order.learner, order.sample_count)
        learning = work.cycles
        if test_count:
            work += score_work(net, 2 * test_count)
        return work, learning, None

    @property
    def _net(self) -> Network | None:
        return self._session.net if self._session else getattr(self._client, "net", None)

    def _moved(self, order: Order, worked: bool) -> tuple[int, int]:
        """Bytes that the board has sent and received; of a simulated one by formula."""
        if self._session is None:
            moved = visit_bytes(self._net, order.learner) if worked and self._net else (0, 0)
            return round(moved[0] * framing()), round(moved[1] * framing())
        sent, received = self._session.traffic.sent, self._session.traffic.received
        up, down = received - self._traffic.received, sent - self._traffic.sent
        self._traffic = Traffic(sent, received)
        return up, down


def _innermost(link: Any) -> Any:
    """Return the link to the board itself, inside of faults on purpose."""
    while hasattr(link, "link"):
        link = link.link
    return link


def in_joules(energy: Energy) -> str:
    """Say how much a board's work took, in a unit that fits."""
    for unit, size in (("J", 1.0), ("mJ", 1e-3)):
        if energy.work >= size:
            return f"{energy.work / size:.3g} {unit}"
    return f"{energy.work * 1e6:.3g} uJ"
