"""The virtual board's Bluetooth: the limits of the real one, and no radio waves.

The computer at the other end uses `controller`. The ticker is here too, as its only use is to end
a send that hangs.
"""

import numpy as np

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.registers import RADIO_PACKETS
from tinyreptile_lite.radio import Controller, Limits, Packet

_ATT_HEADER = 3  # bytes of a packet beside its value
_MOST_WAITING = 64  # packets: ArduinoBLE waits for room, so that only a runaway sketch comes here
_KINDS = {number: kind for kind, number in RADIO_PACKETS.items()}


class Radio:
    """A radio that goes through resets; its controller's clock goes on then.

    Attributes
    ----------
    name : str
        What the board advertises.
    resets : int
        Of the board, so far.
    """

    def __init__(self, limits: Limits, seed: int) -> None:
        self.controller = Controller(limits, np.random.default_rng(seed))
        self.resets = 0
        self._begin = 0.0  # of the board's clock on the controller's
        self.reset(0)
        self.resets = 0

    def reset(self, now_us: int) -> None:
        """Forget everything; the board's clock starts from zero."""
        self.advance(now_us)
        self._begin = self.controller.now
        self.controller.reset()
        self.name, self.resets = "", self.resets + 1
        self._period = self._ticked = 0  # microseconds

    def advance(self, now_us: int) -> None:
        """Let time pass up to a moment on the board's clock."""
        self.controller.advance(self._begin + now_us * 1e-6)

    @property
    def nothing_for(self) -> float:
        """Microseconds until something can come to the sketch, counted from the last `advance`."""
        return min(1e6, (self.controller.next_moment() - self.controller.now) * 1e6)

    def advertise(self, now_us: int) -> None:
        """Let computers find the board."""
        self.advance(now_us)
        self.controller.advertising = True

    def take(self, now_us: int) -> tuple[int, bytes, int]:
        """Return kind, bytes and count of what came next; 0 if nothing."""
        self.advance(now_us)
        packet = self.controller.take()
        return (RADIO_PACKETS[packet.kind], packet.data, packet.count) if packet else (0, b"", 0)

    def transmit(self, kind: int, data: bytes, now_us: int) -> None:
        """Send a packet. Raises `KitError` if a sketch cannot send this one."""
        if _KINDS.get(kind) not in ("response", "notify"):
            raise KitError(
                f"the sketch sends a Bluetooth packet of kind {kind}, which there is not"
            )
        if len(data) > (most := self.controller.limits.mtu - _ATT_HEADER):
            raise KitError(
                f"the sketch sends {len(data)} bytes by Bluetooth in one go; send at most {most}"
            )
        self.advance(now_us)
        if self.controller.waiting >= _MOST_WAITING:
            raise KitError(
                f"the sketch has handed {_MOST_WAITING} packets to the radio, which holds "
                f"{self.controller.limits.send_packets}; wait until some are completed"
            )
        self.controller.transmit(Packet(_KINDS[kind], data))

    def start_ticker(self, period_us: int, now_us: int) -> None:
        """Tick so often."""
        self._period, self._ticked = period_us, now_us

    def ticks_due(self, now_us: int) -> int:
        """Return the ticks since this was last asked."""
        ticks = (now_us - self._ticked) // self._period if self._period else 0
        self._ticked += ticks * self._period
        return ticks
