"""What a sketch reads from and writes to the registers, passed on to the devices behind them.

Polling the IMU takes 200 microseconds and reading three axes 500, as the real chip on its serial
bus takes some hundreds.
"""

import random

import numpy as np

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.clock import Clock
from tinyreptile_lite.nano.flash import Flash
from tinyreptile_lite.nano.i2c import SensorBus
from tinyreptile_lite.nano.machine import Machine
from tinyreptile_lite.nano.microphone import Microphone
from tinyreptile_lite.nano.peripherals import Imu, Pins, SerialPort
from tinyreptile_lite.nano.radio import Radio
from tinyreptile_lite.nano.registers import IMU_CHIPS, PIN_COUNT

_IMU_POLL_US, _IMU_READ_US = 200, 500
_RADIO_SEND_US = 20  # assumed: to hand a packet to the radio
_WIRE_US = 100
_PDM_READ_US = 3  # assumed: to copy a block of samples
_WORD = 0xFFFF_FFFF


class Bus:
    """The registers of a board; see `registers`. Once the sketch has ended it is `stopped`.

    `resetting` says that the sketch has asked for a reset.
    """

    def __init__(
        self,
        machine: Machine,
        clock: Clock,
        serial: SerialPort,
        pins: Pins,
        imu: Imu,
        flash: Flash,
        seed: int,
        radio: Radio,
        microphone: Microphone,
    ) -> None:
        self._machine, self._clock, self._seed = machine, clock, seed
        self._serial, self._pins, self._imu, self._flash = serial, pins, imu, flash
        self._radio, self._microphone = radio, microphone
        self._sensors = SensorBus(imu)
        self._random = random.Random()  # noqa: S311 - a game's dice, not a key
        self.reset()

    def reset(self) -> None:
        """Forget what was written, and start the random numbers afresh."""
        self._random.seed(self._seed)
        self._kept: dict[str, int] = {}
        self.stopped = self.resetting = False

    def read(self, name: str, pin: int) -> int:
        """Return what is in a register; ``pin`` is 0 for those without."""
        _check(pin)
        match name:
            case "CLOCK_LOW":
                self._clock.poll()
                self._kept["CLOCK_HIGH"] = self._clock.now >> 32
                return self._clock.now & _WORD
            case "SERIAL_RX_WAITING":
                (self._clock.found_work if self._serial.waiting else self._clock.poll)()
                return self._serial.waiting
            case "PIN_LEVEL":
                self._clock.poll()
                return self._pins.read(pin)
            case "IMU_NEW_ACCELERATION" | "IMU_NEW_ROTATION":
                self._clock.poll()
                self._clock.spend(_IMU_POLL_US)
                return int(self._imu.has_new(_kind(name), self._clock.now))
            case "IMU_X" | "IMU_Y" | "IMU_Z":
                return _float_bits(self._imu.latched["XYZ".index(name[-1])])
            case "SERIAL_CONNECTED":
                return int(self._serial.connected)
            case "IMU_RATE":
                return _float_bits(self._imu.rate)
            case "RANDOM":
                return self._random.getrandbits(32)
            case "PIN_ANALOG":
                return self._pins.analog[pin]
            case "RADIO_RX_KIND":
                return self._take_packet()
            case "RADIO_SEND_PACKETS":
                return self._radio.controller.limits.send_packets
            case "RADIO_MTU":
                return self._radio.controller.limits.mtu
            case "PDM_AVAILABLE":
                return self._microphone.available
            case "TICKS_DUE":
                return self._radio.ticks_due(self._clock.now)
        return self._kept.get(name, 0)

    def write(self, name: str, pin: int, value: int) -> None:
        """Do what writing a register asks for, or keep the value until it is needed."""
        _check(pin)
        match name:
            case "SERIAL_TX_LENGTH":
                self._clock.found_work()
                address = self._kept.get("SERIAL_TX_ADDRESS", 0)
                self._serial.from_board(self._machine.read(address, value))
                self._clock.stop_soon()
            case "SERIAL_RX_LENGTH":
                data = self._serial.to_board(value)
                self._kept["SERIAL_RX_COUNT"] = len(data)
                self._machine.write(self._kept.get("SERIAL_RX_ADDRESS", 0), data)
            case "SLEEP":
                self._clock.sleep(value)
            case "PIN_MODE":
                self._pins.mode[pin] = value
            case "PIN_LEVEL" | "PIN_PWM":
                level = value if name == "PIN_LEVEL" else int(value >= 128)
                if self._pins.drive(pin, level):
                    self._clock.found_work()
            case "IMU_BEGIN":
                fitted = self._imu.chip is not None and IMU_CHIPS[self._imu.chip] == value
                self._kept["IMU_PRESENT"] = int(fitted)
                if fitted:
                    self._imu.begin(self._clock.now)
            case "IMU_READ_ACCELERATION" | "IMU_READ_ROTATION":
                self._imu.read(_kind(name), self._clock.now)
                self._clock.spend(_IMU_READ_US)
            case "WIRE_SEND":
                data = self._machine.read(*self._transfer())
                self._kept["WIRE_COUNT"] = self._sensors.write(value, data)
                self._clock.spend(_WIRE_US)
            case "WIRE_RECEIVE":
                address, length = self._transfer()
                data = self._sensors.read(value, length)
                self._machine.write(address, data)
                self._kept["WIRE_COUNT"] = len(data)
                self._clock.spend(_WIRE_US)
            case "STOP":
                self._stop()
            case "RESET":
                self.resetting = True
                self._clock.stop_soon()
            case "RADIO_NAME_LENGTH":
                address = self._kept.get("RADIO_NAME_ADDRESS", 0)
                self._radio.name = self._machine.read(address, value).decode("utf-8", "replace")
            case "RADIO_ADVERTISE":
                self._radio.advertise(self._clock.now)
            case "RADIO_TX_KIND":
                address = self._kept.get("RADIO_TX_ADDRESS", 0)
                data = self._machine.read(address, self._kept.get("RADIO_TX_LENGTH", 0))
                self._radio.transmit(value, data, self._clock.now)
                self._clock.found_work()
                self._clock.spend(_RADIO_SEND_US)
            case "TICK_PERIOD":
                self._radio.start_ticker(value, self._clock.now)
            case "PDM_BEGIN":
                asked = self._kept.get("PDM_CHANNELS", 0), self._kept.get("PDM_RATE", 0)
                self._microphone.begin(*asked, value, self._clock.now)
                self._clock.stop_soon()
            case "PDM_END":
                self._microphone.end()
            case "PDM_HANDLER":
                self._microphone.handler = value
            case "PDM_READ":
                data = self._microphone.read(value, self._clock.now)
                self._machine.write(self._kept.get("PDM_ADDRESS", 0), data)
                self._kept["PDM_COUNT"] = len(data)
                self._clock.spend(_PDM_READ_US)
            case "INTERRUPTS_OFF":
                self._microphone.masked = bool(value)
                self._clock.stop_soon()
            case "FLASH_PROGRAM":
                data = self._machine.read(self._kept.get("FLASH_SOURCE", 0), value)
                self._flash_did(self._flash.program(self._kept.get("FLASH_ADDRESS", 0), data))
            case "FLASH_ERASE":
                self._flash_did(self._flash.erase(value))
            case _:
                self._kept[name] = value

    def _transfer(self) -> tuple[int, int]:
        return self._kept.get("WIRE_ADDRESS", 0), self._kept.get("WIRE_LENGTH", 0)

    def _take_packet(self) -> int:
        """Copy the next packet that has come, if there is one; returns its kind."""
        kind, data, count = self._radio.take(self._clock.now)
        if kind:
            self._clock.found_work()
        else:
            self._clock.poll(self._radio.nothing_for)
        self._kept["RADIO_RX_LENGTH"] = count or len(data)
        if data:
            self._machine.write(self._kept.get("RADIO_RX_ADDRESS", 0), data)
        return kind

    def _flash_did(self, done: bool) -> None:
        self._kept["FLASH_DONE"] = int(done)
        if not self._flash.powered:
            self._stop()

    def _stop(self) -> None:
        self.stopped = True
        self._clock.stop_soon()


def _kind(register: str) -> str:
    return register.rsplit("_", 1)[-1].lower()


def _float_bits(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


def _check(pin: int) -> None:
    if pin >= PIN_COUNT:
        raise KitError(f"the sketch uses pin {pin}; the board has 0 to {PIN_COUNT - 1}")
