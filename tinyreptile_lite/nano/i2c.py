"""The board's inner I2C bus, as far as a sketch asks it which sensors are fitted.

Every chip has a register with a number of its own. The addresses, registers and numbers are those
that the libraries Arduino_LSM9DS1 1.1.1 and Arduino_BMI270_BMM150 1.2.3 look for.
"""

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.peripherals import Imu

SENSOR_BUS = 1  # `Wire1`; nothing is connected to the pins of `Wire`
_ADDRESS_BITS = 7
# By the IMU's chip: the register and the number of each device on the bus, by its address.
IDENTITIES = {
    "LSM9DS1": {0x6B: (0x0F, 0x68), 0x1E: (0x0F, 0x3D)},
    "BMI270": {0x68: (0x00, 0x24), 0x10: (0x40, 0x32)},
    None: {},
}
_BMM150, _POWER_ON = 0x10, bytes([0x4B, 1])  # its number is 0 until it is told this


class SensorBus:
    """Tells the identity of the chip that the board has, and knows nothing else of it."""

    def __init__(self, imu: Imu) -> None:
        self._imu = imu
        self._chosen: dict[int, int] = {}  # register, by the device's address
        self._awake = False

    def write(self, target: int, data: bytes) -> int:
        """Choose a register, the only byte of `data`, or wake the BMM150; how many bytes it took.

        `target` is the number of the bus, then seven bits of address.

        Raises
        ------
        KitError
            If more is written than the number of a register.
        """
        address = self._device(target)
        if address is None:
            return 0
        if (address, data) == (_BMM150, _POWER_ON):
            self._awake = True
            return len(data)
        if len(data) > 1:
            raise KitError(_ONLY_IDENTITY)
        self._chosen[address] = data[0] if data else 0
        return max(1, len(data))  # an address alone is answered too

    def read(self, target: int, length: int) -> bytes:
        """Return what the chosen register holds, or nothing if no device answers.

        Raises
        ------
        KitError
            If it is any but the register of the chip's number.
        """
        address = self._device(target)
        if address is None or length == 0:
            return b""
        register, number = IDENTITIES[self._imu.chip][address]
        if length > 1 or self._chosen.get(address) != register:
            raise KitError(_ONLY_IDENTITY)
        return bytes([number if address != _BMM150 or self._awake else 0])

    def _device(self, target: int) -> int | None:
        bus, address = target >> _ADDRESS_BITS, target & (1 << _ADDRESS_BITS) - 1
        known = bus == SENSOR_BUS and address in IDENTITIES[self._imu.chip].keys() - set(
            self._imu.dead
        )
        return address if known else None


_ONLY_IDENTITY = (
    "over Wire1 the virtual board's sensor tells only which chip it is; read its samples with "
    "Arduino_LSM9DS1.h or Arduino_BMI270_BMM150.h"
)
