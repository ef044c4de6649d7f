"""The boards of a run, given by short names, in any mix.

    numpy:4             four devices, simulated in NumPy in this process
    native:4            the same, learning in the C core
    local:4             the board's own C sources in this process, behind the wire format
    virtual:8           emulated Nano 33 BLE boards running the sketch FederatedClient
    /dev/ttyACM0 COM3   a board on a USB or serial port
    ble:TinyReptile-3F2A   a board over Bluetooth
    usb, ble            whatever is found there

The devices of the task family (its sine waves, its wearers) are dealt out in order, so no two
boards play the same one. Virtual boards with the sine network make up a wave of their own.
"""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.clients import Client, SimulatedClient, as_it_is
from tinyreptile_lite.core.native import native
from tinyreptile_lite.errors import KitError, needed
from tinyreptile_lite.experiment import population
from tinyreptile_lite.nano.ports import is_port
from tinyreptile_lite.network import Network
from tinyreptile_lite.serve.fleet import Fleet
from tinyreptile_lite.tasks.base import Device, Family
from tinyreptile_lite.wire.ble import SERVICE, BleLink
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.faults import Faults, FaultyLink
from tinyreptile_lite.wire.frames import Source
from tinyreptile_lite.wire.links import Link, LocalLink, SerialLink
from tinyreptile_lite.wire.local import LocalBoard

COUNTED = ("numpy", "native", "local", "virtual")
_SCAN_SECONDS = 6.0
_REOPEN_SECONDS = 3.0  # others are waiting for their turn
_STABLE_NAMES = Path("/dev/serial/by-id")  # Linux: the name holds the chip's own number


def seated_devices(family: Family, fold: int) -> Sequence[Device]:
    """The family's training devices, in the order in which boards get them."""
    return population(family, fold).train


class Roster(ExitStack):
    """Clients made from short names (see the module); a context manager that closes their links.

    The devices are dealt out to the boards that play one, and the faults happen on every link on
    purpose. After so many silences as `patience` says a board is given up, see `Session`; `source`
    is where real boards take their samples from.

    Raises
    ------
    KitError
        If a name means nothing, there are more boards than devices, or nothing is found.
    """

    def __init__(
        self,
        names: Sequence[str],
        net: Network,
        devices: Sequence[Device],
        faults: Faults | None = None,
        patience: int = 12,
        source: Source = Source.DATA,
    ) -> None:
        super().__init__()
        self.net, self.faults, self.patience, self.source = net, faults, patience, source
        self.clients: list[Client] = []
        self.links: list[Link] = []  # of the clients that have one
        self._devices, self._dealt = devices, 0
        try:
            for name in names:
                self._add(name)
        except BaseException:
            self.close()
            raise
        if not self.clients:
            raise KitError("there are no boards; name some, for example virtual:8")

    def _add(self, name: str) -> None:
        kind, _, rest = name.partition(":")
        if kind in COUNTED:
            self._play(kind, self._deal(name, rest))
        elif kind == "ble" and rest:
            radio = BleLink(rest)
            self._board(radio, self.source, name=name, turn=radio.turn)
        elif is_port(name):
            self._board(SerialLink(name, patience=_REOPEN_SECONDS), self.source)
        else:
            raise KitError(
                f"unknown board {name!r}; name for example virtual:8, numpy:4, native:4, local:4, "
                "/dev/ttyACM0, COM3, ble:TinyReptile-3F2A, usb or ble"
            )

    def _deal(self, name: str, count: str) -> Sequence[Device]:
        """Deal out the next devices, each once."""
        if not (count.isdecimal() and len(count) < 10 and int(count) > 0):
            example = f"{name.partition(':')[0]}:4"
            raise KitError(f"{name!r} does not say how many; write for example {example}")
        first, self._dealt = self._dealt, self._dealt + int(count)
        if self._dealt > len(self._devices):
            raise KitError(
                f"{self._dealt} boards are to play a device each, but this task family has "
                f"{len(self._devices)} to train on; ask for fewer"
            )
        return self._devices[first : self._dealt]

    def _play(self, kind: str, devices: Sequence[Device]) -> None:
        """Add boards of one of the kinds that play a device each."""
        if kind == "virtual":
            for link in self.enter_context(Fleet(self.net, devices)).links:
                self._board(link)
            return
        for device in devices:
            named = _Named(f"{kind}:{device.name}", device)
            if kind == "local":
                board = LocalBoard(self.net, named)
                self.callback(board.close)
                self._board(LocalLink(board))
            else:
                runs = native if kind == "native" else as_it_is
                self.clients.append(SimulatedClient(self.net, named, runs))

    def _board(self, link: Link, source: Source = Source.DATA, **options: Any) -> None:
        if self.faults is not None:
            link = FaultyLink(link, self.faults, seed=len(self.links))
        self.links.append(link)
        self.callback(link.close)
        self.clients.append(BoardClient(link, self.net, source, self.patience, **options))


@dataclass(frozen=True)
class _Named:
    """A device under another name, so that no two clients have the same."""

    name: str
    device: Device

    def stream(self, count: int, rng: np.random.Generator) -> Any:
        return self.device.stream(count, rng)

    def task(self, rng: np.random.Generator) -> Any:
        return self.device.task(rng)


# ---- What is there -------------------------------------------------------------------------------


def discover(names: Sequence[str]) -> list[str]:
    """Replace "usb" and "ble" by the boards found there; without any names, look everywhere.

    Raises `KitError` if nothing is found, pyserial or bleak is missing, or Bluetooth is off.
    """
    if not names:
        found = usb_ports()
        with suppress(KitError):  # nobody has asked for Bluetooth
            found += ble_names()
        if not found:
            raise KitError(
                "no board was found; plug one in that runs the sketch FederatedClient, "
                "or play some, for example: tinyreptile serve virtual:8"
            )
        return found
    found = []
    for name in names:
        found += usb_ports() if name == "usb" else ble_names() if name == "ble" else [name]
    if not found:
        raise KitError(f"no board was found on {' or '.join(names)}; plug one in or switch it on")
    return found


def usb_ports() -> list[str]:
    """Names of the USB ports with a board or another serial device, stable ones if possible."""
    if _STABLE_NAMES.is_dir():
        return sorted(map(str, _STABLE_NAMES.iterdir()))
    ports = needed("serial.tools.list_ports", "pyserial").comports()
    return sorted(port.device for port in ports if port.vid is not None)


def ble_names() -> list[str]:
    """Boards that advertise themselves by Bluetooth, as "ble:NAME"; raises as `discover` does."""
    bleak = needed("bleak", "bleak")
    try:
        devices = asyncio.run(bleak.BleakScanner.discover(_SCAN_SECONDS, service_uuids=[SERVICE]))
    except (bleak.BleakError, OSError) as error:
        raise KitError(
            f"this computer has no Bluetooth that can be used ({error}); "
            "switch it on, or use a USB cable"
        ) from None
    return sorted(f"ble:{device.name or device.address}" for device in devices)
