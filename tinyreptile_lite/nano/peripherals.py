"""The virtual board's devices: serial port, pins and LEDs, IMU.

They know nothing of the emulator. `VirtualNano` passes them the virtual time in microseconds.
"""

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.registers import IMU_AXES, PIN_COUNT

LED_BUILTIN, LED_RED, LED_GREEN, LED_BLUE = 13, 22, 23, 24
_INPUT_PULLUP = 2
_REST = (0.0, 0.0, 1.0, 0.0, 0.0, 0.0)  # flat on the table: 1 g upwards, no rotation
_REST_RATE = 104.0  # Hz, about what the real sensor gives
_FASTEST = 10_000  # Hz


class SerialPort:
    """The host's end of the board's serial port.

    Attributes
    ----------
    connected : bool
        Whether a serial monitor is open; the sketch sees it as `if (Serial)`.
    listener : callable, optional
        Called with the bytes whenever the sketch sends some.
    """

    def __init__(self) -> None:
        self.connected = True
        self.listener: Callable[[bytes], None] | None = None
        self.sent = bytearray()  # by the sketch, since the reset
        self._read = 0
        self._waiting = bytearray()  # for the sketch

    def write(self, data: bytes | str) -> None:
        """Send bytes, or text as UTF-8, to the sketch."""
        self._waiting += data.encode() if isinstance(data, str) else data

    def write_line(self, text: str) -> None:
        """Send one line to the sketch; the newline is added."""
        self.write(f"{text}\n")

    def read(self, count: int | None = None) -> bytes:
        """Return what the sketch has sent and nobody has read yet, at most `count` bytes."""
        end = len(self.sent) if count is None else min(len(self.sent), self._read + count)
        data = bytes(self.sent[self._read : end])
        self._read = end
        return data

    def read_lines(self) -> list[str]:
        """Return the complete lines among what nobody has read yet; a begun line stays."""
        end = self.sent.rfind(b"\n", self._read) + 1
        text = self.read(max(0, end - self._read)).decode("utf-8", "replace")
        return text.splitlines()

    @property
    def text(self) -> str:
        """All that the sketch has sent since the reset."""
        return self.sent.decode("utf-8", "replace")

    @property
    def waiting(self) -> int:
        """Bytes sent to the sketch that it has not taken yet."""
        return len(self._waiting)

    def reset(self) -> None:
        """Forget what was sent; bytes on their way to the board are lost, as on a real one."""
        self.sent.clear()
        self._waiting.clear()
        self._read = 0

    def from_board(self, data: bytes) -> None:
        """Take what the sketch sends."""
        self.sent += data
        if self.listener:
            self.listener(data)

    def to_board(self, room: int) -> bytes:
        """Hand over what waits for the sketch, at most so many bytes."""
        data = bytes(self._waiting[:room])
        del self._waiting[:room]
        return data


class Pins:
    """Digital pins, LEDs and analogue inputs."""

    def __init__(self) -> None:
        self._pressed: set[int] = set()
        self._analog: dict[int, int] = {}
        self.reset()

    def reset(self) -> None:
        """Let go of all outputs. A button that is pressed stays so."""
        self.level = [0] * PIN_COUNT
        self.mode = [0] * PIN_COUNT

    def press(self, pin: int) -> None:
        """Press a button between the pin and ground."""
        self._check(pin)
        self._pressed.add(pin)

    def release(self, pin: int) -> None:
        """Release the button."""
        self._check(pin)
        self._pressed.discard(pin)

    def set_analog(self, pin: int, value: int) -> None:
        """Set what `analogRead` returns, 0 to 1023."""
        self._check(pin)
        if not 0 <= value <= 1023:
            raise KitError(f"an analogue input reads 0 to 1023, not {value}")
        self._analog[pin] = value

    def set_mode(self, pin: int, mode: int) -> None:
        """Take the sketch's `pinMode`."""
        self.mode[pin] = mode

    def set_level(self, pin: int, level: int) -> bool:
        """Take the sketch's `digitalWrite`; whether that changes the level."""
        changed = level != self.level[pin]
        self.level[pin] = level
        return changed

    def read(self, pin: int) -> int:
        """Return a pin's level as the sketch sees it."""
        if pin in self._pressed:
            return 0
        if self.mode[pin] == _INPUT_PULLUP:
            return 1
        return self.level[pin]

    def analog(self, pin: int) -> int:
        """Return an analogue input, 0 to 1023; half way if nothing was set."""
        return self._analog.get(pin, 512)

    @property
    def leds(self) -> dict[str, bool]:
        """Which LEDs are lit. The three colours are lit by a low level."""
        colours = {"red": LED_RED, "green": LED_GREEN, "blue": LED_BLUE}
        lit = {name: self.mode[pin] == 1 and not self.level[pin] for name, pin in colours.items()}
        return {"builtin": bool(self.level[LED_BUILTIN]), **lit}

    @staticmethod
    def _check(pin: int) -> None:
        if not 0 <= pin < PIN_COUNT:
            raise KitError(f"the board has no pin {pin}; choose 0 to {PIN_COUNT - 1}")


class Imu:
    """An inertial sensor that plays a recording.

    The first sample is there when the sketch calls `IMU.begin()`, the next one 1 / rate seconds
    later, and so on. The recording starts over at its end unless `loop` is false; then the
    sensor has no new samples any more.

    Parameters
    ----------
    recording : array_like, shape (time, 6), optional
        Acceleration x, y, z in g and rotation rate x, y, z in degrees per second. NaN is a
        reading that failed. By default the board lies still.
    rate : float
        Samples per second.
    chip : {"LSM9DS1", "BMI270"}, optional
        The chip that is fitted: the first revision of the board has the LSM9DS1, the second the
        BMI270. None is a board without an IMU.
    loop : bool
        Whether to start over at the end.
    """

    def __init__(
        self,
        recording: ArrayLike | None,
        rate: float,
        chip: str | None = "LSM9DS1",
        loop: bool = True,
    ) -> None:
        if not 0 < rate <= _FASTEST:
            raise KitError(f"the IMU's rate is {rate} Hz; choose a number up to {_FASTEST:,}")
        if recording is None:
            recording, rate = [_REST], _REST_RATE
        self.recording = _checked_recording(recording)
        self.rate = float(rate)
        self.chip = chip
        self.loop = loop
        self.reset()

    def reset(self) -> None:
        """Stop the playback; `begin` starts it from the first sample."""
        self._start: int | None = None
        self._seen = {"acceleration": -1, "rotation": -1}
        self.latched = (0.0, 0.0, 0.0)

    def begin(self, now_us: int) -> None:
        """Start the playback."""
        self.reset()
        self._start = now_us

    def index(self, now_us: int) -> int:
        """Return the number of the newest sample, counted from 0; -1 before `begin`."""
        if self._start is None:
            return -1
        newest = int((now_us - self._start) * self.rate // 1_000_000)
        return newest if self.loop else min(newest, len(self.recording) - 1)

    def has_new(self, kind: str, now_us: int) -> bool:
        """Whether there is a sample that the sketch has not read."""
        return self.index(now_us) > self._seen[kind]

    def read(self, kind: str, now_us: int) -> None:
        """Latch the newest sample of "acceleration" or "rotation"."""
        newest = self.index(now_us)
        self._seen[kind] = newest
        if newest < 0:
            self.latched = (np.nan, np.nan, np.nan)
            return
        row = self.recording[newest % len(self.recording)]
        x, y, z = row[:3] if kind == "acceleration" else row[3:]
        self.latched = (float(x), float(y), float(z))


def _checked_recording(recording: ArrayLike) -> NDArray[np.float32]:
    array = np.ascontiguousarray(recording, dtype=np.float32)
    if array.ndim != 2 or array.shape[1] != IMU_AXES or len(array) == 0:
        raise KitError(
            f"an IMU recording has shape (time, {IMU_AXES}), not {array.shape}: acceleration "
            "x, y, z in g, rotation rate x, y, z in degrees per second"
        )
    return array


def float_bits(value: float) -> int:
    """Return the 32 bits of a float32."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    return int(bits)
