"""Messages over a link to one board, one at a time, and how long to wait for them."""

import time
from dataclasses import dataclass

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.wire import frames
from tinyreptile_lite.wire.links import Link, LinkLost

_SLOW = 4  # times the patience: one sample of a sensor may take seconds
_STRAY = 2 * frames.MASK_CHUNKS  # messages that an earlier talk may have left on the line
_NOISE_BYTES, _NOISE_TIMEOUTS = 16_384, 8  # without a good frame: no board


class BoardError(KitError):
    """A board that cannot take part now: the server skips it and may try again later."""


class BoardSilent(BoardError):
    """It does not answer, gets no further, or its link is gone."""


class BoardRefused(BoardError):
    """It cannot do what was asked, sends nonsense, or is a board for another network or version."""


class BoardUnsound(BoardRefused):
    """It sends what no sound board sends: what else it keeps is not to be trusted either."""


@dataclass
class Traffic:
    """What went over a link, and what went wrong."""

    sent: int = 0  # bytes, everything counted
    received: int = 0
    frames_sent: int = 0
    frames_received: int = 0
    damaged: int = 0  # received frames that were dropped: wrong CRC, unknown kind or length
    silences: int = 0  # answers that did not come in time
    reconnects: int = 0
    restarts: int = 0  # visits that had to begin again, because the board knew nothing of them


class Budget:
    """What a board may cost in messages, time and setbacks without getting any further.

    Boards may be slow, silent for a while or repeat themselves, but not for ever. Every wait of a
    talk spends of one budget, and only work that is further than it ever was fills it up again, as
    often as there are steps. So every talk has an end, whatever the board says.

    Parameters
    ----------
    silences : int
        Most in a row, and most setbacks. Besides, four times as many messages (and a few more) and
        four times as many time-outs without progress.
    timeout : float
        In seconds.
    steps : int
        Pieces of work, such as samples. In all, messages and time may be so many times as much.
    """

    def __init__(self, name: str, silences: int, timeout: float, steps: int = 1) -> None:
        self._name, self._most_silences, self._steps = name, silences, steps
        self._most_useless = _SLOW * silences + _STRAY
        self._most_seconds = _SLOW * silences * timeout
        self._silences = self._setbacks = self._useless = 0
        self._seconds = 0.0
        self._begin()

    def _begin(self) -> None:
        self._furthest: tuple[int, ...] = ()
        self._spent = self._useless, self._seconds  # up to here

    def reached(self, *mark: int) -> None:
        """Note how far the work is: numbers that are compared one after the other."""
        if mark > self._furthest:
            self._useless -= 1  # the message that said so
            self._begin()
            self._furthest = mark

    def setback(self, complaint: str) -> None:
        """The work begins again. Raises `BoardSilent` if that has happened too often."""
        self._setbacks += 1
        if self._setbacks > self._most_silences:
            raise BoardSilent(f"{self._name} {complaint}")
        self._begin()

    def waited(self, seconds: float) -> None:
        """Time has passed."""
        self._seconds += seconds

    def heard(self, message: frames.Message | None) -> None:
        """A message came, or None: a silence. Raises `BoardSilent` if the budget is spent."""
        if message is None:
            self._silences += 1
        else:
            self._silences = 0
            self._useless += 1
        if self._silences > self._most_silences:
            raise BoardSilent(f"{self._name} does not answer any more; reset or replug the board")
        useless = max(self._useless - self._spent[0], self._useless / self._steps)
        seconds = max(self._seconds - self._spent[1], self._seconds / self._steps)
        if useless > self._most_useless or seconds > self._most_seconds:
            last = describe(message) if message else "silence"
            raise BoardSilent(f"{self._name} gets no further ({last}); reset the board")


def describe(message: frames.Message) -> str:
    """Say what a message is, for a user."""
    if not isinstance(message, frames.Report):
        return type(message).__name__.upper()
    state = {each.value: each.name for each in frames.State}.get(message.state, message.state)
    return f"state {state}, {message.count} done, error {message.error}"


class Channel:
    """Sends and receives whole messages, and counts what goes wrong."""

    def __init__(self, link: Link) -> None:
        self.link, self.traffic = link, Traffic()
        self.budget = Budget(link.name, 1, link.timeout)  # of the talk that is going on
        self._decoder = frames.Decoder()
        self._inbox: list[frames.Message] = []

    def send(self, message: frames.Message, before: bytes = b"") -> None:
        """Send a message, perhaps with bytes before it. Raises `LinkLost`."""
        data = before + frames.encode(message)
        self.link.send(data)
        self.traffic.sent += len(data)
        self.traffic.frames_sent += 1

    def receive(self) -> frames.Message | None:
        """Return the next message, or None after a silence.

        Raises `LinkLost`, `BoardSilent` if the budget is spent, and `BoardRefused` if the board
        speaks another version.
        """
        message = self._next()
        self.traffic.silences += message is None
        self.budget.heard(message)
        return message

    def _next(self) -> frames.Message | None:
        noise, waited, timeout = 0, 0.0, self.link.timeout
        while not self._inbox:
            begin = time.monotonic()
            data = self.link.receive(timeout)
            # An emulated board's second may take longer than ours.
            passed = min(time.monotonic() - begin, timeout)
            self.budget.waited(passed)
            waited += passed
            if not data or noise > _NOISE_BYTES or (noise and waited > _NOISE_TIMEOUTS * timeout):
                return None
            self._take(data)
            noise += len(data)
        return self._inbox.pop(0)

    def _take(self, data: bytes) -> None:
        self.traffic.received += len(data)
        before = self._decoder.damaged
        contents = self._decoder.feed(data)
        self.traffic.damaged += self._decoder.damaged - before
        for content in contents:
            try:
                self._inbox.append(frames.parse(content))
                self.traffic.frames_received += 1
            except frames.VersionError as error:
                raise BoardRefused(
                    f"{self.link.name} speaks {error}; flash FederatedClient of this kit to it"
                ) from None
            except frames.FrameError:
                self.traffic.damaged += 1

    def forget(self) -> None:
        """Drop what has come and was not read."""
        self._inbox.clear()

    def reopen(self) -> None:
        """Get the link back. Raises `BoardSilent` if it stays away."""
        self._decoder = frames.Decoder()
        self.forget()
        try:
            self.link.reopen()
        except LinkLost as error:
            raise BoardSilent(str(error)) from None
