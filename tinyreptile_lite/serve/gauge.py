"""What a virtual board has executed, read from outside: the sketch knows nothing of it."""

import struct
from typing import NamedTuple

from tinyreptile_lite.nano.peripherals import MARKER
from tinyreptile_lite.nano.virtual import VirtualNano

_LAYOUT = struct.Struct("<4Q")


class Reading(NamedTuple):
    """Counts since the board's power was switched on; they go on over resets."""

    instructions: int = 0
    cycles: int = 0  # modelled, see `nano.cycles`
    learning_cycles: int = 0  # of these, with the marker pin high
    microseconds: int = 0  # virtual

    def since(self, earlier: "Reading") -> "Reading":
        """What came after an earlier reading; all of this one if the board was made anew."""
        if self.instructions < earlier.instructions:
            return self
        return Reading(*(now - then for now, then in zip(self, earlier, strict=True)))

    def pack(self) -> bytes:
        """The numbers as bytes, to pass them on."""
        return _LAYOUT.pack(*self)

    @classmethod
    def unpack(cls, data: bytes) -> "Reading":
        """Read what `pack` has made."""
        return cls(*_LAYOUT.unpack(data))


class Gauge:
    """Reads a virtual board's counters, which a reset sets to zero, and its marker pin."""

    def __init__(self, board: VirtualNano) -> None:
        self._board = board
        self._before = self._last = Reading()
        self._learned = self._risen = 0
        board.pins.listener = self._changed

    def _changed(self, pin: int, level: int) -> None:
        if pin != MARKER:
            return
        if level:
            self._risen = self._board.cycles
        else:
            self._learned += max(0, self._board.cycles - self._risen)

    def read(self) -> Reading:
        """Return the counts. A reset between two readings costs what came right before it."""
        board = self._board
        now = Reading(board.instructions, board.cycles, 0, board.time_us)
        if now.instructions < self._last.instructions:
            self._before = _sum(self._before, self._last)
        self._last = now
        return _sum(self._before, now)._replace(learning_cycles=self._learned)


def _sum(one: Reading, other: Reading) -> Reading:
    return Reading(*(a + b for a, b in zip(one, other, strict=True)))
