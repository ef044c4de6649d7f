"""Faults on purpose: a link that drops, repeats, reorders, damages, delays and cuts.

Faults happen to whole frames, in both directions, at set rates; the same seed gives the same
faults for the same traffic.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from tinyreptile_lite.errors import KitError, named_numbers
from tinyreptile_lite.wire.links import Link, LinkLost

_LONGEST_DELAY = 20  # frames


@dataclass(frozen=True)
class Faults:
    """How often each fault happens to a frame, as a probability. `KitError` beyond 0 and 1."""

    drop: float = 0.0  # it never arrives
    duplicate: float = 0.0  # it arrives twice
    reorder: float = 0.0  # the next frame overtakes it
    flip: float = 0.0  # one to three of its bits change
    delay: float = 0.0  # it arrives behind up to 20 later frames
    cut: float = 0.0  # the link breaks; it and all frames on their way are lost

    def __post_init__(self) -> None:
        for name, rate in vars(self).items():
            if not 0 <= rate <= 1:
                raise KitError(f"the rate of {name} is {rate}; give a number from 0 to 1")

    @classmethod
    def parse(cls, text: str) -> "Faults":
        """Read "drop=0.1,flip=0.01", as the command line has it."""
        return cls(**named_numbers(text, "fault", vars(cls()), 0.1))


@dataclass
class _Way:
    """What is on its way in one direction of a faulty link."""

    partial: bytes = b""
    passed: int = 0  # frames
    held: dict[int, bytes] = field(default_factory=dict)  # by the number of the frame waited for


class FaultyLink:
    """A link that goes wrong on purpose. Its `faults` may be changed at any time."""

    def __init__(self, link: Link, faults: Faults, seed: int = 0) -> None:
        self.link, self.faults = link, faults
        self.name, self.frame_bytes, self.timeout = link.name, link.frame_bytes, link.timeout
        self.counts: Counter[str] = Counter()  # frames "sent", and how many met each fault
        self.unplugged = False  # while true, the link is and stays gone: somebody pulled the plug
        self._rng = np.random.default_rng(seed)
        self._out, self._in = _Way(), _Way()
        self._lost = False

    def send(self, data: bytes) -> None:
        """Send what the faults leave of the frames."""
        self._check()
        if left := self._carry(self._out, data):
            self.link.send(left)

    def receive(self, seconds: float) -> bytes:
        """Receive what the faults leave; b"" may also mean that a frame was dropped."""
        self._check()
        while data := self.link.receive(seconds):
            if left := self._carry(self._in, data):
                return left
        return b""

    def cut(self) -> None:
        """Break the link; `reopen` gets it back."""
        self._lost = True
        self._out, self._in = _Way(), _Way()

    def _check(self) -> None:
        if self._lost or self.unplugged:
            raise LinkLost(f"{self.name}: the link was cut on purpose")

    def reopen(self) -> None:
        """Mend a cut."""
        if self.unplugged:
            raise LinkLost(f"{self.name} is unplugged; plug it in again")
        self._lost = False
        self.link.reopen()

    def close(self) -> None:
        """Close the link inside."""
        self.link.close()

    def _carry(self, way: _Way, data: bytes) -> bytes:
        """Return what arrives now of these bytes and of what was held back."""
        *ends, way.partial = (way.partial + data).split(b"\0")
        return b"".join(self._carry_frame(way, end + b"\0") for end in ends)

    def _carry_frame(self, way: _Way, frame: bytes) -> bytes:
        self.counts["sent"] += 1
        happens = {name: self._rng.random() < rate for name, rate in vars(self.faults).items()}
        self.counts.update(name for name, yes in happens.items() if yes)
        if happens["cut"]:
            self.cut()
            self._check()
        if happens["flip"]:
            frame = self._flip(frame)
        arrived = b"" if happens["drop"] else frame * (1 + happens["duplicate"])
        wait = int(happens["reorder"])  # for so many later frames
        if happens["delay"]:
            wait = int(self._rng.integers(1, _LONGEST_DELAY + 1))
        way.passed += 1
        if wait:
            until = way.passed + wait
            way.held[until], arrived = way.held.get(until, b"") + arrived, b""
        return arrived + way.held.pop(way.passed, b"")

    def _flip(self, frame: bytes) -> bytes:
        damaged = bytearray(frame)
        for _ in range(int(self._rng.integers(1, 4))):
            damaged[self._rng.integers(len(damaged))] ^= 1 << int(self._rng.integers(8))
        return bytes(damaged)
