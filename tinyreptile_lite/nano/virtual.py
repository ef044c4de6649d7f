"""The virtual Nano 33 BLE: an unmodified sketch in an emulated Cortex-M4F.

Memory is the nRF52840's: 1 MB of flash at 0, 256 KB of RAM at 0x20000000; anything else is a
fault. What a sketch writes to flash outlives a reset (see `flash`). Devices are registers (see
`registers`). Nothing depends on the host's clock: virtual time comes from the code executed (see
`clock`), so two runs of the same sketch with the same input are equal.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.bus import Bus
from tinyreptile_lite.nano.clock import Clock
from tinyreptile_lite.nano.counter import make_counter
from tinyreptile_lite.nano.cycles import Block
from tinyreptile_lite.nano.firmware import Firmware, build
from tinyreptile_lite.nano.flash import Flash
from tinyreptile_lite.nano.image import STACK_BYTES, Memory
from tinyreptile_lite.nano.machine import STACK_PAINT, Machine
from tinyreptile_lite.nano.microphone import Microphone
from tinyreptile_lite.nano.peripherals import Imu, Pins, SerialPort
from tinyreptile_lite.nano.radio import Radio
from tinyreptile_lite.radio import Limits

_INTERRUPT_US = 1_000_000  # within which an interrupt's function must return


class VirtualNano:
    """A virtual Arduino Nano 33 BLE running one sketch.

    Parameters
    ----------
    sketch : path or Firmware
        The sketch folder, or what `build` returned for it.
    imu : array_like, shape (time, 6), optional
        Recording that the IMU plays, as Arduino's library gives it: acceleration x, y, z in g,
        rotation rate x, y, z in degrees per second. NaN is a reading that failed. By default the
        board lies still. `mounting.as_worn` makes one from the kit's recordings; `imu.fault`
        breaks the sensor, `imu.offset` is its gyroscope's.
    imu_rate : float
        Its samples per second.
    imu_chip : {"LSM9DS1", "BMI270"}, optional
        The chip on the board: revision 1 or revision 2; None for a board without.
    imu_loop : bool
        Whether the recording starts over at its end.
    sound : array_like of int16, shape (samples,), optional
        Recording of 16,000 samples a second that the microphone plays, from five seconds after the
        sketch has begun to listen; `say` plays another one at any time.
    microphone : bool
        Whether the board is a Sense, which has a microphone.
    radio : Limits
        Of the Bluetooth connection to a computer.
    seed : int
        Of the board's random numbers, and of the moments at which that connection drops.
    native : bool
        Count instructions with compiled code where possible; the results are the same.
    **options
        Passed to `build`: compiler, optimize, flags, libraries.

    Raises
    ------
    BuildError, KitError
        If the sketch cannot be built, unicorn is not installed, or a parameter is out of range.

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
        sound: ArrayLike | None = None,
        microphone: bool = True,
        radio: Limits = Limits(),  # noqa: B008 - it is frozen
        seed: int = 0,
        native: bool = True,
        **options: Any,
    ) -> None:
        self.serial, self.pins = SerialPort(), Pins()
        self.imu = Imu(imu, imu_rate, imu_chip, imu_loop)
        self.microphone = Microphone(sound, dead=not microphone)
        self.radio = Radio(radio, seed)
        self.firmware = sketch if isinstance(sketch, Firmware) else build(sketch, **options)
        self._machine = Machine(self.firmware.elf)
        self._counter = make_counter(self._machine.uc, self._machine.flash, native)
        self._clock = Clock(self._counter)
        self.flash = Flash(self._machine.flash, self.firmware.elf.end, spend=self._clock.spend)
        parts = (self.serial, self.pins, self.imu, self.flash)
        self._bus = Bus(self._machine, self._clock, *parts, seed, self.radio, self.microphone)
        self._machine.read_register, self._machine.write_register = self._bus.read, self._bus.write
        self._machine.reset()

    # ---- Running ---------------------------------------------------------------------------------

    def reset(self) -> None:
        """Press the reset button: RAM, clock, counts and serial port start afresh, flash stays."""
        self.radio.reset(self.time_us)
        parts = (self._clock, self._bus, self.serial, self.pins, self.imu, self.flash)
        for part in (self._machine, *parts, self.microphone):
            part.reset()

    @property
    def stopped(self) -> bool:
        """Whether the sketch has ended: it called `abort`, or `flash` lost its power."""
        return self._bus.stopped

    def run(self, milliseconds: float) -> None:
        """Run for some virtual time; ends early only if the sketch has `stopped`.

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

        def reached() -> bool:
            if isinstance(what, str):
                return self.serial.sent.find(what.encode(), begin) >= 0
            return what(self)

        if not self._run_to(self.time_us + round(limit_ms * 1000), reached):
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
            self._run_once(end_us)
            if self._bus.resetting:
                end_us -= self.time_us
                self.reset()
        return reached()

    def _run_once(self, end_us: int) -> None:
        """Run to the end of the millisecond, or pass the time slept; take an interrupt that is due.

        Ends earlier when the next interrupt is due.
        """
        due = self.microphone.next_us
        if due is not None and due <= self.time_us:
            if self.microphone.interrupt(self.time_us):
                self._interrupt(self.microphone.handler)
            return
        stop = end_us if due is None else min(end_us, due)
        if self._clock.wakes_by(stop):
            self._clock.stop_at(min(stop, self.time_us + 1000 - self.time_us % 1000))
            self._machine.run()

    def _interrupt(self, function: int) -> None:
        end = self.time_us + _INTERRUPT_US

        def go_on() -> None:
            if self.time_us >= end:
                raise KitError(
                    "the function that the sketch gave to PDM.onReceive does not return; let it "
                    "only read the samples"
                )
            self._clock.stop_at(end)

        self._machine.interrupt(function, go_on)
        self._clock.found_work()

    def say(self, recording: ArrayLike) -> float:
        """Play a recording to the microphone: int16, shape (samples,), at 16,000 a second.

        It begins now, or a second after the one that is still being played. Returns the number of
        virtual seconds until it ends. `KitError` if the sketch does not listen.
        """
        return self.microphone.play(recording, self.time_us)

    # ---- Reports ---------------------------------------------------------------------------------

    @property
    def time_us(self) -> int:
        """Virtual microseconds since the reset."""
        return self._clock.now

    @property
    def time_ms(self) -> float:
        """Virtual milliseconds since the reset."""
        return self.time_us / 1000

    @property
    def instructions(self) -> int:
        """Instructions executed since the reset."""
        return self._counter.instructions

    @property
    def cycles(self) -> int:
        """Modelled cycles executed since the reset."""
        return self._counter.cycles

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

    def read_variable(self, name: str, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Return a copy of a global or static variable as a one-dimensional array."""
        symbol = self.firmware.elf.find(name)
        return np.frombuffer(self.read_memory(symbol.address, symbol.size), dtype=dtype).copy()

    def read_memory(self, address: int, size: int) -> bytes:
        """Return bytes from flash or RAM."""
        return self._machine.read(address, size)
