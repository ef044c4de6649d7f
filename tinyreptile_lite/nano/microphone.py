"""The virtual board's microphone: it plays recordings, as Arduino's library PDM gives them.

The model follows the library's source for the nRF52840. Two buffers are used in turn. Each time one
is full, an interrupt asks the sketch to read the other one at once, which the chip has begun to
fill again: what is read late has newer samples in it. A buffer that is not empty at the next
interrupt stops the microphone. Both are told, and so is what is lost while interrupts are off.

In the first seconds the real board's samples begin high and settle (ArduinoCore-mbed, issue 674);
the shape of that is assumed. The gain is not modelled: a recording is heard as it is in its file.
"""

import io
import wave
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tinyreptile_lite.errors import KitError, file_errors

RATE = 16_000  # samples a second
SETTLING_S = 4.0  # in which the samples are wrong, as reported
PAUSE_S = 1.0  # between two recordings
FIRST_S = 5.0  # when a recording begins that the board is made with
_NOISE = 8  # steps of the samples, between recordings; assumed
_OPEN = -32_768  # what an input without a microphone gives; assumed
_LONGEST_S = 3_600
_PROMPT_US = 300  # the emulator itself may be as late as that with an interrupt
_BUFFERS = range(16, 8_193)  # bytes


def read_wav(path: str | Path) -> np.ndarray:
    """Read a recording for the microphone: samples in int16.

    Raises
    ------
    KitError
        If it is no WAV file of 16,000 samples a second, one channel and 16 bits, or is empty or
        longer than an hour.
    """
    remedy = "give a WAV file of 16,000 samples a second, one channel, 16 bits"
    with file_errors("choose a WAV file you can read"):
        content = Path(path).read_bytes()
    try:
        with wave.open(io.BytesIO(content)) as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            if (channels, width, rate) != (1, 2, RATE):
                raise KitError(
                    f"{path} has {rate:,} samples a second, {channels} channels and "
                    f"{8 * width} bits; {remedy}"
                )
            data = file.readframes(_LONGEST_S * RATE + 1)
    except (wave.Error, EOFError):
        raise KitError(f"{path} is no recording of sound; {remedy}") from None
    return _checked(np.frombuffer(data[: len(data) // 2 * 2], "<i2"), path)


def _checked(samples: np.ndarray, name: object) -> np.ndarray:
    if not 0 < len(samples) <= _LONGEST_S * RATE:
        long = "empty" if not len(samples) else "longer than an hour"
        raise KitError(f"{name} is {long}; give up to an hour of sound")
    return samples.astype(np.int16)


class Microphone:
    """A microphone that plays what it is given, and soft noise in between.

    Attributes
    ----------
    dead : bool
        Whether there is none, as on a Nano 33 BLE that is no Sense; the library does not notice.
    lost, late : int
        Samples that no interrupt asked the sketch to read, and those read so late that newer ones
        had taken their place, since the reset.
    stalled : bool
        Whether the library has stopped it, as the sketch did not read a buffer in time.
    handler : int
        Address of the function that the interrupt calls.
    """

    def __init__(self, recording: ArrayLike | None = None, dead: bool = False) -> None:
        self.dead = dead
        self._first = None if recording is None else _samples(recording)
        rng = np.random.default_rng(0)
        self._noise = np.rint(rng.normal(0, _NOISE, 2 * RATE)).astype(np.int16)
        settling = np.arange(int(SETTLING_S * RATE)) / RATE
        shaking = 1 + 0.5 * rng.standard_normal(len(settling))
        self._settling = np.exp(-2 * settling) * shaking * 30_000
        self.reset()

    def reset(self) -> None:
        """Stop, and forget what is still to be played, but for what the board was made with."""
        self._start: int | None = None  # microseconds
        self._played: list[tuple[int, np.ndarray]] = []  # first sample's number since the start
        self._size = self._block = self._available = self._read_from = 0
        self.handler = self.lost = self.late = 0
        self.masked = self.stalled = False

    @property
    def faults(self) -> str:
        """What went wrong with the sound, in words; empty if nothing did."""
        said = [
            f"{self.lost:,} samples lost while interrupts were off" if self.lost else "",
            f"{self.late:,} samples read too late" if self.late else "",
            "the library stopped it, as a buffer was not read in time" if self.stalled else "",
        ]
        return "microphone: " + "; ".join(filter(None, said)) if any(said) else ""

    # ---- What it hears ---------------------------------------------------------------------------

    def play(self, recording: ArrayLike, now_us: int) -> float:
        """Play a recording now, or a second after what is still being played.

        Returns the number of seconds until it ends. `KitError` if the sketch does not listen, or
        the recording is not int16, shape (samples,).
        """
        samples = _samples(recording)
        if self._start is None:
            raise KitError("the sketch does not listen to the microphone; play it to one that does")
        now = self._number(now_us)
        last = [at + len(each) + int(PAUSE_S * RATE) for at, each in self._played[-1:]]
        begin = max([now, *last])
        self._played = [(at, each) for at, each in self._played if at + len(each) > now - RATE]
        self._played.append((begin, samples))
        return (begin + len(samples) - now) / RATE

    def _number(self, now_us: int) -> int:
        """Of the newest sample, counted from `begin`."""
        return int((now_us - (self._start or 0)) * RATE // 1_000_000)

    def _heard(self, first: int, count: int) -> np.ndarray:
        """Samples by their numbers."""
        numbers = np.arange(first, first + count)
        if self.dead:
            return np.full(count, _OPEN, np.int16)
        heard = self._noise[numbers % len(self._noise)]
        for begin, samples in self._played:
            inside = (numbers >= begin) & (numbers < begin + len(samples))
            heard[inside] = samples[numbers[inside] - begin]
        if first < len(self._settling):
            wrong = self._settling[numbers.clip(0, len(self._settling) - 1)]
            wrong[numbers >= len(self._settling)] = 0
            heard = (heard + wrong).clip(-32_768, 32_767).astype(np.int16)
        heard[numbers < self._size] = 0  # nothing comes before the second buffer
        return heard

    # ---- What the library does -------------------------------------------------------------------

    def begin(self, channels: int, rate: int, buffer_bytes: int, now_us: int) -> None:
        """Start, with two buffers of so many bytes."""
        if (channels, rate) != (1, RATE):
            raise KitError(
                f"the sketch asks the microphone for {channels} channels of {rate:,} samples a "
                f"second; the virtual one has 1 channel of {RATE:,}"
            )
        if buffer_bytes not in _BUFFERS or buffer_bytes % 4:
            raise KitError(
                f"the sketch asks for a buffer of {buffer_bytes} bytes for the microphone; choose "
                f"a multiple of 4, {_BUFFERS.start} to {_BUFFERS.stop - 1}"
            )
        self._start, self._size = now_us, buffer_bytes // 2
        self._block, self._available = -1, 0
        self.stalled, self._played = False, []
        if self._first is not None:
            self._played = [(int(FIRST_S * RATE), self._first)]

    def end(self) -> None:
        """Stop."""
        self._start = None

    @property
    def next_us(self) -> int | None:
        """When the next interrupt is due; None if none is."""
        if self._start is None or self.stalled or self.masked:
            return None
        return self._start + self._begins(self._block + 1)

    def _begins(self, block: int) -> int:
        """Microseconds from the start until the chip fills another buffer for this time."""
        return -(-block * self._size * 1_000_000 // RATE)

    def interrupt(self, now_us: int) -> bool:
        """Take the interrupt that is due; whether the sketch is asked to read."""
        if self._available:
            self.stalled = True
            return False
        newest = max(self._block + 1, self._number(now_us) // self._size)
        self.lost += (newest - self._block - 1) * self._size
        self._block, self._available = newest, self._size
        due = (self._start or 0) + self._begins(newest)
        self._read_from = due if now_us - due > _PROMPT_US else now_us
        return True

    @property
    def available(self) -> int:
        """Bytes to read."""
        return 2 * self._available

    def read(self, most: int, now_us: int) -> bytes:
        """Return samples that the interrupt has offered, at most so many bytes."""
        count = min(most, self.available) // 2
        place = self._size - self._available  # in the buffer
        self._available -= count
        old = self._heard((self._block - 2) * self._size + place, count)
        filled = (now_us - self._read_from) * RATE // 1_000_000 - place
        if (newer := min(max(filled, 0), count)) > 0:
            old[:newer] = self._heard(self._block * self._size + place, newer)
            self.late += newer
        return old.astype("<i2").tobytes()


def _samples(recording: ArrayLike) -> np.ndarray:
    samples = np.asarray(recording)
    if samples.ndim != 1 or samples.dtype != np.int16:
        raise KitError(
            f"a recording of sound is int16, shape (samples,), not {samples.dtype}, shape "
            f"{samples.shape}"
        )
    return _checked(samples, "the recording")
