"""The virtual Nano 33 BLE: an unmodified sketch in an emulated Cortex-M4F.

Memory is the nRF52840's: 1 MB of flash at 0, 256 KB of RAM at 0x20000000; anything else is a
fault. Devices are registers (see `registers`). Nothing depends on the host's clock: virtual time
comes from the instructions executed, so two runs of the same sketch with the same input are equal.

Virtual time is a model, not a measurement: every instruction takes 1.5 cycles of the 64 MHz clock,
which is about what the written-down cycle model of the Cortex-M4 gives for the kit's own code.
Sleeping costs no host time. A sketch that only polls, for the time or for input, would cost much;
so each poll takes 1 microsecond, and more the longer the sketch does nothing else, at most 250. A
wait is never longer by more than a few percent for that. Polling the IMU takes 200 microseconds
and reading three axes 500, as the real chip on its serial bus takes some hundreds.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.counter import Block, make_counter
from tinyreptile_lite.nano.firmware import Firmware, build
from tinyreptile_lite.nano.image import STACK_BYTES, Memory
from tinyreptile_lite.nano.machine import STACK_PAINT, Machine
from tinyreptile_lite.nano.peripherals import Imu, Pins, SerialPort, float_bits
from tinyreptile_lite.nano.registers import IMU_CHIPS, PIN_COUNT

CLOCK_HZ = 64_000_000
_CYCLES_PER_US = CLOCK_HZ // 1_000_000
_POLLS_PER_US, _LONGEST_POLL_US = 10, 250
_BUSY = 2_000  # instructions between two polls that make a sketch more than idle
_IMU_POLL_US, _IMU_READ_US = 200, 500
_WORD = 0xFFFF_FFFF


class VirtualNano:
    """A virtual Arduino Nano 33 BLE running one sketch.

    Parameters
    ----------
    sketch : path or Firmware
        The sketch folder, or what `build` returned for it.
    imu : array_like, shape (time, 6), optional
        Recording that the IMU plays: acceleration x, y, z in g, rotation rate x, y, z in degrees
        per second. By default the board lies still.
    imu_rate : float
        Samples per second of the recording.
    imu_chip : {"LSM9DS1", "BMI270"}, optional
        The chip on the board: revision 1 or revision 2; None for a board without.
    imu_loop : bool
        Whether the recording starts over at its end.
    seed : int
        Seed of the board's random number generator.
    native : bool
        Count instructions with compiled code where possible; the results are the same.
    **options
        Passed to `build`: compiler, optimize, flags, libraries.

    Attributes
    ----------
    serial : SerialPort
    pins : Pins
    imu : Imu
    firmware : Firmware

    Raises
    ------
    BuildError
        If the sketch cannot be built.
    KitError
        If unicorn is not installed, or a parameter is out of range.

    Examples
    --------
    >>> board = VirtualNano("arduino/HelloTinyReptile")  # doctest: +SKIP
    >>> board.run(milliseconds=500)  # doctest: +SKIP
    >>> print(board.serial.text)  # doctest: +SKIP
    """

    def __init__(
        self,
        sketch: str | Path | Firmware,
        *,
        imu: ArrayLike | None = None,
        imu_rate: float = 25.0,
        imu_chip: str | None = "LSM9DS1",
        imu_loop: bool = True,
        seed: int = 0,
        native: bool = True,
        **options: Any,
    ) -> None:
        if imu_chip is not None and imu_chip not in IMU_CHIPS:
            raise KitError(f"unknown IMU {imu_chip!r}; choose one of: {', '.join(IMU_CHIPS)}")
        self.serial = SerialPort()
        self.pins = Pins()
        self.imu = Imu(imu, imu_rate, imu_chip, imu_loop)
        self.firmware = sketch if isinstance(sketch, Firmware) else build(sketch, **options)
        self._seed = seed
        self._machine = Machine(self.firmware.elf, self._read, self._write)
        self._counter = make_counter(self._machine.uc, self._machine.flash, native)
        self._random = random.Random(seed)  # noqa: S311 - a game's dice, not a key
        self.reset()

    # ---- Running ---------------------------------------------------------------------------------

    def reset(self) -> None:
        """Press the reset button: memory, clock, counts and serial port start afresh."""
        self._machine.reset()
        self._counter.instructions = 0
        self.serial.reset()
        self.pins.reset()
        self.imu.reset()
        self._random.seed(self._seed)
        self._extra = 0  # cycles that passed without instructions
        self._wake: int | None = None  # microseconds
        self._end_us = 0
        self._polls, self._last_poll = 0, 0
        self._registers: dict[str, int] = {}
        self.stopped = False

    def run(self, milliseconds: float) -> None:
        """Run for some virtual time; ends early only if the sketch calls `abort`.

        Raises
        ------
        BoardFault
            If the sketch leaves the chip's memory or executes what is no instruction.
        """
        if not milliseconds >= 0:
            raise KitError(f"cannot run for {milliseconds} milliseconds; choose 0 or more")
        self._run_to(self.time_us + round(milliseconds * 1000), lambda: False)

    def run_until(
        self, what: str | Callable[["VirtualNano"], bool], limit_ms: float = 60_000
    ) -> None:
        """Run until the sketch has sent a text, or until a condition holds.

        Parameters
        ----------
        what : str or callable
            Text to wait for, in what is sent from now on; or a function of the board, asked after
            each output and each virtual millisecond.
        limit_ms : float
            Virtual time after which waiting is given up.

        Raises
        ------
        KitError
            If it does not happen within `limit_ms`; the message holds the last line sent.
        """
        begin = len(self.serial.sent)
        if isinstance(what, str):
            raw = what.encode()
            reached = lambda: self.serial.sent.find(raw, begin) >= 0  # noqa: E731
        else:
            reached = lambda: what(self)  # noqa: E731
        end = self.time_us + round(limit_ms * 1000)
        if self._run_to(end, reached):
            return
        last = (self.serial.text.splitlines() or ["nothing"])[-1]
        wanted = repr(what) if isinstance(what, str) else "the condition"
        raise KitError(
            f"{wanted} did not come within {limit_ms:g} virtual milliseconds; "
            f"the sketch's last line was: {last}"
        )

    def _run_to(self, end_us: int, reached: Callable[[], bool]) -> bool:
        """Run until a condition, asked after output and every millisecond, or until a time."""
        while not self.stopped:
            if reached():
                return True
            if self.time_us >= end_us:
                return False
            self._advance(end_us)
        return reached()

    def _advance(self, end_us: int) -> None:
        """Sleep, or execute until a time, output, or the end of a virtual millisecond."""
        if self._wake is not None:
            self._skip_to(min(self._wake, end_us))
            if self.time_us < self._wake:
                return
            self._wake = None
        self._end_us = min(end_us, self.time_us + 1000 - self.time_us % 1000)
        self._set_limit()
        self._machine.run()

    def _set_limit(self) -> None:
        """Let the emulator stop when the instructions left until `_end_us` have been executed."""
        missing = self._end_us * _CYCLES_PER_US - self._cycles
        self._counter.limit = self._counter.instructions + max(0, -(-missing * 2 // 3))

    def _stop_soon(self) -> None:
        self._counter.limit = 0

    # ---- Time ------------------------------------------------------------------------------------

    @property
    def _cycles(self) -> int:
        return 3 * self._counter.instructions // 2 + self._extra

    @property
    def time_us(self) -> int:
        """Virtual microseconds since the reset."""
        return self._cycles // _CYCLES_PER_US

    @property
    def time_ms(self) -> float:
        """Virtual milliseconds since the reset."""
        return self.time_us / 1000

    def _skip_to(self, time_us: int) -> None:
        self._extra += max(0, time_us * _CYCLES_PER_US - self._cycles)

    def _spend(self, microseconds: int) -> None:
        self._extra += microseconds * _CYCLES_PER_US
        if self._counter.limit:
            self._set_limit()

    def _poll(self) -> None:
        """Let time pass for a poll; more if the sketch does nothing else."""
        idle = self._counter.instructions - self._last_poll < _BUSY
        self._polls = self._polls + 1 if idle else 0
        self._last_poll = self._counter.instructions
        self._spend(min(1 + self._polls // _POLLS_PER_US, _LONGEST_POLL_US))

    # ---- Reports ---------------------------------------------------------------------------------

    @property
    def instructions(self) -> int:
        """Instructions executed since the reset."""
        return self._counter.instructions

    @property
    def stack_used(self) -> int:
        """Largest size of the stack since the reset, in bytes: the high-water mark."""
        stack = bytes(self._machine.ram[:STACK_BYTES])
        return len(stack.lstrip(bytes([STACK_PAINT])))

    @property
    def memory(self) -> Memory:
        """Flash and RAM by section."""
        return self.firmware.memory

    @property
    def leds(self) -> dict[str, bool]:
        """Which of the LEDs "builtin", "red", "green" and "blue" are lit."""
        return self.pins.leds

    def profile(self, on: bool = True) -> None:
        """Start or stop noting how often each block of code runs; starting forgets the past."""
        self._counter.profile(on)

    def blocks(self) -> list[Block]:
        """Return the blocks of code executed while profiling."""
        return self._counter.blocks()

    # ---- Memory ----------------------------------------------------------------------------------

    def read_variable(self, name: str, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Return a copy of a global or static variable as a one-dimensional array."""
        symbol = self.firmware.elf.find(name)
        return np.frombuffer(self.read_memory(symbol.address, symbol.size), dtype=dtype).copy()

    def read_memory(self, address: int, size: int) -> bytes:
        """Return bytes from flash or RAM."""
        memory, offset = self._machine.locate(address, size)
        return bytes(memory[offset : offset + size])

    def write_memory(self, address: int, data: bytes) -> None:
        """Overwrite bytes in RAM."""
        memory, offset = self._machine.locate(address, len(data))
        if memory is not self._machine.ram:
            raise KitError(f"address 0x{address:08X} is flash and cannot be written")
        memory[offset : offset + len(data)] = list(data)

    # ---- Registers -------------------------------------------------------------------------------

    def _read(self, name: str, pin: int) -> int:
        if name in _PIN_READERS:
            return _PIN_READERS[name](self, _checked(pin))
        return int(_READERS[name](self)) if name in _READERS else self._registers.get(name, 0)

    def _write(self, name: str, pin: int, value: int) -> None:
        if name in _PIN_WRITERS:
            _PIN_WRITERS[name](self, _checked(pin), value)
        elif name in _WRITERS:
            _WRITERS[name](self, value)
        else:
            self._registers[name] = value

    def _clock_low(self) -> int:
        self._poll()
        self._registers["CLOCK_HIGH"] = self.time_us >> 32
        return self.time_us & _WORD

    def _sleep(self, microseconds: int) -> None:
        self._wake = self.time_us + microseconds
        self._stop_soon()

    def _send(self, length: int) -> None:
        self._polls = 0
        self.serial._from_board(self._dma("SERIAL_TX_ADDRESS", length))
        self._stop_soon()

    def _dma(self, register: str, length: int) -> bytes:
        return self.read_memory(self._registers.get(register, 0), length)

    def _waiting(self) -> int:
        if self.serial.waiting:
            self._polls = 0
        else:
            self._poll()
        return self.serial.waiting

    def _receive(self, room: int) -> None:
        data = self.serial._to_board(room)
        self._registers["SERIAL_RX_COUNT"] = len(data)
        self.write_memory(self._registers.get("SERIAL_RX_ADDRESS", 0), data)

    def _set_mode(self, pin: int, mode: int) -> None:
        self.pins.mode[pin] = mode

    def _set_level(self, pin: int, level: int) -> None:
        if level == self.pins.level[pin]:
            return
        self._polls = 0
        self.pins.level[pin] = level

    def _get_level(self, pin: int) -> int:
        self._poll()
        return self.pins.read(pin)

    def _imu_begin(self, chip: int) -> None:
        fitted = self.imu.chip is not None and IMU_CHIPS[self.imu.chip] == chip
        self._registers["IMU_PRESENT"] = int(fitted)
        if fitted:
            self.imu.begin(self.time_us)

    def _imu_new(self, kind: str) -> int:
        self._poll()
        self._spend(_IMU_POLL_US)
        return self.imu.has_new(kind, self.time_us)

    def _imu_read(self, kind: str) -> None:
        self.imu.read(kind, self.time_us)
        self._spend(_IMU_READ_US)

    def _stop(self, _: int) -> None:
        self.stopped = True
        self._stop_soon()


_READERS: dict[str, Callable[[VirtualNano], int]] = {
    "SERIAL_CONNECTED": lambda b: b.serial.connected,
    "SERIAL_RX_WAITING": VirtualNano._waiting,
    "CLOCK_LOW": VirtualNano._clock_low,
    "IMU_RATE": lambda b: float_bits(b.imu.rate),
    "IMU_NEW_ACCELERATION": lambda b: b._imu_new("acceleration"),
    "IMU_NEW_ROTATION": lambda b: b._imu_new("rotation"),
    "IMU_X": lambda b: float_bits(b.imu.latched[0]),
    "IMU_Y": lambda b: float_bits(b.imu.latched[1]),
    "IMU_Z": lambda b: float_bits(b.imu.latched[2]),
    "RANDOM": lambda b: b._random.getrandbits(32),
}
_WRITERS: dict[str, Callable[[VirtualNano, int], None]] = {
    "SERIAL_TX_LENGTH": VirtualNano._send,
    "SERIAL_RX_LENGTH": VirtualNano._receive,
    "SLEEP": VirtualNano._sleep,
    "IMU_BEGIN": VirtualNano._imu_begin,
    "IMU_READ_ACCELERATION": lambda b, _: b._imu_read("acceleration"),
    "IMU_READ_ROTATION": lambda b, _: b._imu_read("rotation"),
    "STOP": VirtualNano._stop,
}
_PIN_READERS: dict[str, Callable[[VirtualNano, int], int]] = {
    "PIN_LEVEL": VirtualNano._get_level,
    "PIN_ANALOG": lambda b, pin: b.pins.analog(pin),
}
_PIN_WRITERS: dict[str, Callable[[VirtualNano, int, int], None]] = {
    "PIN_MODE": VirtualNano._set_mode,
    "PIN_LEVEL": VirtualNano._set_level,
    "PIN_PWM": lambda b, pin, duty: b._set_level(pin, int(duty >= 128)),
}


def _checked(pin: int) -> int:
    if pin >= PIN_COUNT:
        raise KitError(f"the sketch uses pin {pin}; the board has 0 to {PIN_COUNT - 1}")
    return pin
