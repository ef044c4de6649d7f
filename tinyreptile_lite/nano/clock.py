"""Virtual time: it comes from the code executed, never from the host's clock.

It is a model, not a measurement: code takes the middle one of its modelled cycles (see `cycles`) at
64 MHz. Sleeping costs no host time. A sketch that only polls, for the time or for input, would
cost much; so each poll takes 1 microsecond, and more the longer the sketch does nothing else, at
most 250. A wait is never longer by more than a few percent for that.
"""

from tinyreptile_lite.nano.counter import Counter, NativeCounter

_CYCLES_PER_US = 64
_POLLS_PER_US, _LONGEST_POLL_US = 10, 250
_BUSY = 3_000  # cycles between two polls that make a sketch more than idle


class Clock:
    """The board's clock, in virtual microseconds since the reset; `counter` stops the emulator."""

    def __init__(self, counter: Counter | NativeCounter) -> None:
        self._counter = counter
        self.reset()

    def reset(self) -> None:
        """Start from zero."""
        self._counter.reset()
        self._extra = 0  # cycles in which nothing was executed
        self._wake: int | None = None  # microseconds
        self._end = 0  # microseconds
        self._polls, self._last_poll = 0, 0

    @property
    def _cycles(self) -> int:
        return self._counter.cycles + self._extra

    @property
    def now(self) -> int:
        """Microseconds since the reset."""
        return self._cycles // _CYCLES_PER_US

    def stop_at(self, end: int) -> None:
        """Let the emulator stop when it is so late."""
        self._end = end
        self._counter.limit = max(0, end * _CYCLES_PER_US - self._extra)

    def stop_soon(self) -> None:
        """Let the emulator stop after the running block of code."""
        self._counter.limit = 0

    def sleep(self, microseconds: int) -> None:
        """Execute nothing for so long."""
        self._wake = self.now + microseconds
        self.stop_soon()

    def wakes_by(self, end: int) -> bool:
        """Pass the time that is slept, until `end` at most; whether the sketch is awake then."""
        if self._wake is not None:
            target = min(self._wake, end)
            self._extra += max(0, target * _CYCLES_PER_US - self._cycles)
            if self.now < self._wake:
                return False
            self._wake = None
        return True

    def spend(self, microseconds: int) -> None:
        """Let time pass in which nothing is executed."""
        self._extra += microseconds * _CYCLES_PER_US
        if self._counter.limit:
            self.stop_at(self._end)

    def poll(self, nothing_for: float = 0) -> None:
        """Let time pass for a poll; more if the sketch does nothing else.

        Then up to `nothing_for` microseconds, in which polling again would be in vain.
        """
        idle = self._counter.cycles - self._last_poll < _BUSY
        self._polls = self._polls + 1 if idle else 0
        self._last_poll = self._counter.cycles
        waits = max(1 + self._polls // _POLLS_PER_US, int(nothing_for) if idle else 0)
        self.spend(min(waits, _LONGEST_POLL_US))

    def found_work(self) -> None:
        """The sketch does more than polling."""
        self._polls = 0
