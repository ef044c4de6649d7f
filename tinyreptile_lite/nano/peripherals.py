"""The virtual board's devices: serial port, pins and LEDs, IMU.

They know nothing of the emulator. `VirtualNano` passes them the virtual time in microseconds.
"""

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import ArrayLike

from tinyreptile_lite.errors import KitError, unknown_name
from tinyreptile_lite.nano.registers import IMU_CHIPS, PIN_COUNT

LED_BUILTIN, LED_RED, LED_GREEN, LED_BLUE = 13, 22, 23, 24
MARKER = 2  # high while the sketch FederatedClient learns, for a power meter
_INPUT_PULLUP = 2
_REST = (0.0, 0.0, 1.0, 0.0, 0.0, 0.0)  # flat on the table: 1 g upwards, no rotation
_REST_RATE = 104.0  # Hz, about what the real sensor gives
_REST_NOISE = 3 * (0.001,) + 3 * (0.1,)  # about that of real sensors, see `rest`
_STEP = np.array([4 / 32768] * 3 + [2000 / 32768] * 3)  # of both libraries: g, degrees per second
FAULTS = "ok", "freeze", "garbage", "dead", "jumps", "nan", "silent"
_FAILED = np.full(6, np.nan, np.float32)
_FASTEST = 10_000  # Hz
_MOST_SENT = 64 << 20  # bytes since a reset: hours of a sketch that reports, a moment of a runaway
_FULL_SCALE = 2000  # degrees per second


class SerialPort:
    """The host's end of the board's serial port."""

    def __init__(self) -> None:
        self.connected = True  # a serial monitor is open; the sketch sees it as `if (Serial)`
        self.listener: Callable[[bytes], object] | None = None  # gets whatever the sketch sends
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
        return self.read(max(0, end - self._read)).decode("utf-8", "replace").splitlines()

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
        """Take what the sketch sends. Raises `KitError` if it is too much to be kept."""
        if len(self.sent) + len(data) > _MOST_SENT:
            raise KitError(
                f"the sketch has sent more than {_MOST_SENT >> 20} MB since its reset; let it "
                "send less"
            )
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
        self.listener: Callable[[int, int], object] | None = None  # gets pin and level of a change
        self.analog = [512] * PIN_COUNT  # half way if nothing is set
        self.reset()

    def reset(self) -> None:
        """Let go of all outputs. A button that is pressed stays so."""
        self.level = [0] * PIN_COUNT
        self.mode = [0] * PIN_COUNT

    def drive(self, pin: int, level: int) -> bool:
        """Let the sketch set an output; returns whether that changes it."""
        changed = self.level[pin] != level
        self.level[pin] = level
        if changed and self.listener:
            self.listener(pin, level)
        return changed

    def press(self, pin: int) -> None:
        """Press a button between the pin and ground."""
        self._check(pin)
        self._pressed.add(pin)

    def release(self, pin: int) -> None:
        """Release the button."""
        self._check(pin)
        self._pressed.discard(pin)

    def has_button(self, pin: int) -> bool:
        """Whether the sketch expects a button between the pin and ground."""
        self._check(pin)
        return self.mode[pin] == _INPUT_PULLUP

    def set_analog(self, pin: int, value: int) -> None:
        """Set what `analogRead` returns, 0 to 1023."""
        self._check(pin)
        if not 0 <= value <= 1023:
            raise KitError(f"an analogue input reads 0 to 1023, not {value}")
        self.analog[pin] = value

    def read(self, pin: int) -> int:
        """Return a pin's level as the sketch sees it."""
        if pin in self._pressed:
            return 0
        return 1 if self.mode[pin] == _INPUT_PULLUP else self.level[pin]

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


def rest(count: int) -> np.ndarray:
    """Readings (count, 6) of a board that lies flat on the table.

    A real sensor is never silent: normal noise of 1 mg and 0.1 degrees/s (BMI270's data sheet: 0.16
    mg and 0.007 degrees/s, per root of a hertz), rounded to the sensor's steps. Always the same.
    """
    noise = np.random.default_rng(0).normal(0, _REST_NOISE, (count, 6))
    return (_STEP * np.round((_REST + noise) / _STEP)).astype(np.float32)


class Imu:
    """An inertial sensor that plays a recording.

    The first sample is there when the sketch calls `IMU.begin()`, the next one 1 / rate seconds
    later, and so on. After the last one the recording starts over, if it is to loop; else the
    sensor has no new samples any more. The parameters are those of `VirtualNano`.

    Its `fault` can be set while it runs: "ok"; "freeze" repeats the last reading; "garbage" gives
    random 16-bit numbers as good ones; "dead" too, at any time, as `Arduino_LSM9DS1` does when I2C
    fails: it takes -1 for success and for "available"; "jumps" gives garbage in every fourth
    reading; "nan" gives readings that failed; "silent" none at all.

    Its `offset`, rotation rate x, y, z in degrees per second, is added to what it plays. The
    gyroscope of a real LSM9DS1 typically has one of up to 30 either way.

    A BMI270 is asked as `Arduino_BMI270_BMM150` does: each question reads and so clears both flags,
    and of those that were not asked for only the last question's are remembered. Its rotation comes
    `skew_us` microseconds after its acceleration; nobody of the kit knows a real chip's.

    The parts whose I2C addresses are in `dead` do not tell their numbers, see `i2c`.
    """

    skew_us = 0
    dead: Collection[int] = ()

    def __init__(
        self,
        recording: ArrayLike | None,
        rate: float,
        chip: str | None = "LSM9DS1",
        loop: bool = True,
    ) -> None:
        if chip is not None and chip not in IMU_CHIPS:
            raise unknown_name("IMU", chip, IMU_CHIPS)
        if not 0 < rate <= _FASTEST:
            raise KitError(f"the IMU's rate is {rate} Hz; choose a number up to {_FASTEST:,}")
        if recording is None:
            recording, rate = rest(int(10 * _REST_RATE)), _REST_RATE
        self.recording = np.ascontiguousarray(recording, dtype=np.float32)
        shape = self.recording.shape
        if len(shape) != 2 or shape[0] == 0 or shape[1] != 6:
            raise KitError(
                f"an IMU recording has shape (time, 6), not {shape}: acceleration x, y, z in g, "
                "rotation rate x, y, z in degrees per second"
            )
        self.rate, self.chip, self.loop = float(rate), chip, loop
        self._fault, self._dice = "ok", np.random.default_rng(0)
        self._offset = np.zeros(3, np.float32)
        self.reset()

    @property
    def fault(self) -> str:
        """How the sensor is broken; a reset of the board does not mend it."""
        return self._fault

    @fault.setter
    def fault(self, name: str) -> None:
        if name not in FAULTS:
            raise unknown_name("fault of the IMU", name, FAULTS)
        self._fault = name

    @property
    def offset(self) -> np.ndarray:
        """What the gyroscope reads at rest, in degrees per second; a reset does not change it."""
        return self._offset

    @offset.setter
    def offset(self, rates: ArrayLike) -> None:
        try:
            offset = np.array(rates, np.float32)
        except (TypeError, ValueError):
            offset = _FAILED
        if offset.shape != (3,) or not (np.abs(offset) <= _FULL_SCALE).all():
            raise KitError(
                f"a gyroscope's offset is {rates!r}; give three numbers, in degrees per second"
            )
        self._offset = offset

    def reset(self) -> None:
        """Stop the playback; `begin` starts it from the first sample."""
        self._start: int | None = None
        self._seen = {"acceleration": -1, "rotation": -1}
        self._told, self._remembered = dict(self._seen), frozenset[str]()
        self._given = {kind: np.zeros(3, np.float32) for kind in self._seen}
        self.latched = self._given["acceleration"]

    def begin(self, now_us: int) -> None:
        """Start the playback."""
        self.reset()
        self._start = now_us

    def play(self, recording: ArrayLike, now_us: int) -> None:
        """Go over to another recording (time, 6), from its first sample on, with the same rate."""
        self.recording = np.ascontiguousarray(recording, dtype=np.float32)
        if self._start is not None:
            self._start = now_us
            self._seen = dict.fromkeys(self._seen, -1)

    def index(self, now_us: int) -> int:
        """Return the number of the newest sample, counted from 0; -1 before `begin`."""
        if self._start is None:
            return -1
        newest = int((now_us - self._start) * self.rate // 1_000_000)
        return newest if self.loop else min(newest, len(self.recording) - 1)

    def has_new(self, kind: str, now_us: int) -> bool:
        """Whether there is a sample that the sketch has not read."""
        if self._fault in ("dead", "silent"):
            return self._fault == "dead"
        if self.chip == "BMI270":
            return self._asked(kind, now_us)
        return self._newest(kind, now_us) > self._seen[kind]

    def _asked(self, kind: str, now_us: int) -> bool:
        newest = {each: self._newest(each, now_us) for each in self._told}
        flags = {each for each in newest if newest[each] > self._told[each]}
        found = kind in flags | self._remembered
        self._told, self._remembered = newest, frozenset(flags - {kind})
        return found

    def _newest(self, kind: str, now_us: int) -> int:
        return self.index(now_us - self.skew_us if kind == "rotation" else now_us)

    def read(self, kind: str, now_us: int) -> None:
        """Latch the newest sample of "acceleration" or "rotation"."""
        newest = self._seen[kind] = self._newest(kind, now_us)
        if self._fault != "freeze":
            self._given[kind] = self._sense(kind, newest)
        self.latched = self._given[kind]

    def _sense(self, kind: str, newest: int) -> np.ndarray:
        axes = slice(0, 3) if kind == "acceleration" else slice(3, 6)
        if newest < 0 or self._fault == "nan":
            return _FAILED[axes]
        if self._fault in ("garbage", "dead") or (self._fault == "jumps" and newest % 4 == 0):
            return (_STEP[axes] * self._dice.integers(-32768, 32768, 3)).astype(np.float32)
        given = self.recording[newest % len(self.recording)][axes]
        return given if kind == "acceleration" else given + self._offset
