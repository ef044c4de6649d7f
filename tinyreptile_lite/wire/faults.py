"""Faults on purpose: a link that drops, repeats, reorders, damages, delays and cuts.

Faults happen to whole frames, in both directions, at set rates; the same seed gives the same
faults for the same traffic.
"""

from collections import Counter
from dataclasses import dataclass, fields

import numpy as np

from tinyreptile_lite.errors import KitError, unknown_name
from tinyreptile_lite.wire.links import Link, LinkLost

_LONGEST_DELAY = 20  # frames


@dataclass(frozen=True)
class Faults:
    """How often each fault happens to a frame, as a probability.

    Parameters
    ----------
    drop : float
        It never arrives.
    duplicate : float
        It arrives twice.
    reorder : float
        The next frame overtakes it.
    flip : float
        One to three of its bits change.
    delay : float
        It arrives behind up to 20 later frames.
    cut : float
        The link breaks; it and all frames on their way are lost.

    Raises
    ------
    KitError
        If a rate is not within 0 and 1.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    flip: float = 0.0
    delay: float = 0.0
    cut: float = 0.0

    def __post_init__(self) -> None:
        for name, rate in vars(self).items():
            if not 0 <= rate <= 1:
                raise KitError(f"the rate of {name} is {rate}; give a number from 0 to 1")

    @classmethod
    def parse(cls, text: str) -> "Faults":
        """Read "drop=0.1,flip=0.01", as the command line has it."""
        rates = {}
        known = [field.name for field in fields(cls)]
        for part in filter(None, text.replace(" ", "").split(",")):
            name, _, value = part.partition("=")
            if name not in known:
                raise unknown_name("fault", name, known)
            try:
                rates[name] = float(value)
            except ValueError:
                raise KitError(f"{part!r} is no rate; write for example {name}=0.1") from None
        return cls(**rates)


class FaultyLink:
    """A link that goes wrong on purpose.

    Parameters
    ----------
    link : Link
    faults : Faults
        May be changed at any time.
    seed : int

    Attributes
    ----------
    counts : Counter
        Frames that were "sent", and how many met each fault.
    unplugged : bool
        While true, the link is gone and stays gone: somebody pulled the plug.
    """

    def __init__(self, link: Link, faults: Faults, seed: int = 0) -> None:
        self.link, self.faults = link, faults
        self.name, self.frame_bytes, self.timeout = link.name, link.frame_bytes, link.timeout
        self.counts: Counter[str] = Counter()
        self.unplugged = False
        self._rng = np.random.default_rng(seed)
        self._out, self._in = _Way(self), _Way(self)
        self._lost = False

    def send(self, data: bytes) -> None:
        """Send what the faults leave of the frames."""
        self._check()
        if left := self._out.carry(data):
            self.link.send(left)

    def receive(self, seconds: float) -> bytes:
        """Receive what the faults leave; b"" may also mean that a frame was dropped."""
        self._check()
        while data := self.link.receive(seconds):
            if left := self._in.carry(data):
                return left
        return b""

    def cut(self) -> None:
        """Break the link; `reopen` gets it back."""
        self._lost = True
        self._out.clear()
        self._in.clear()

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


class _Way:
    """One direction of a faulty link."""

    def __init__(self, link: FaultyLink) -> None:
        self._link = link
        self._partial = b""
        self._held: list[tuple[int, bytes]] = []  # frames to wait for, frame

    def clear(self) -> None:
        self._partial = b""
        self._held.clear()

    def carry(self, data: bytes) -> bytes:
        """Return what arrives now of these bytes and of what was held back."""
        *ends, self._partial = (self._partial + data).split(b"\0")
        return b"".join(self._carry_frame(end + b"\0") for end in ends)

    def _carry_frame(self, frame: bytes) -> bytes:
        link = self._link
        link.counts["sent"] += 1
        happens = {name: link._rng.random() < rate for name, rate in vars(link.faults).items()}
        link.counts.update(name for name, yes in happens.items() if yes)
        if happens["cut"]:
            link.cut()
            link._check()
        if happens["flip"]:
            frame = self._flip(frame)
        arrived = b"" if happens["drop"] else frame * (1 + happens["duplicate"])
        wait = 1 if happens["reorder"] else 0
        if happens["delay"]:
            wait = int(link._rng.integers(1, _LONGEST_DELAY + 1))
        if arrived and wait:
            self._held.append((wait + 1, arrived))
            arrived = b""
        return arrived + self._release()

    def _release(self) -> bytes:
        """A frame has passed: let go of those that have waited long enough."""
        self._held = [(wait - 1, frame) for wait, frame in self._held]
        ready = b"".join(frame for wait, frame in self._held if wait == 0)
        self._held = [(wait, frame) for wait, frame in self._held if wait]
        return ready

    def _flip(self, frame: bytes) -> bytes:
        damaged = bytearray(frame)
        for _ in range(int(self._link._rng.integers(1, 4))):
            damaged[self._link._rng.integers(len(damaged))] ^= 1 << int(self._link._rng.integers(8))
        return bytes(damaged)
