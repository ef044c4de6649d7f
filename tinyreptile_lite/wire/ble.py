"""A board over Bluetooth LE: the Nordic UART Service, a serial port in two characteristics.

Each write waits for its response: ArduinoBLE's receive ring holds one frame of under 200 bytes, and
what does not fit is lost, or worse (`radio` has a model of it). Boards are visited one after
another, as ArduinoBLE is reported to be unstable past two or three connections.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import CancelledError
from functools import cache
from typing import Any

from tinyreptile_lite.errors import KitError, needed
from tinyreptile_lite.wire.links import LinkLost

BLE_FRAME = 199  # longest frame: a chunk of 47 floats
SERVICE = "6e400001-b5a3-f393-e0a9-e50e24dcca9e"
TO_BOARD = "6e400002-b5a3-f393-e0a9-e50e24dcca9e"
FROM_BOARD = "6e400003-b5a3-f393-e0a9-e50e24dcca9e"
_CALL_SECONDS = 10.0  # for a write; a board that hangs resets itself within five
_CONNECT_SECONDS = 30.0  # beside those to look for the board


class BleLink:
    """A board that advertises itself by Bluetooth; `reopen` looks for it and connects.

    Parameters
    ----------
    board : str
        The name that it advertises, for example "TinyReptile-3F2A", or its address.
    patience : float
        Seconds to look for it and try to connect.
    """

    frame_bytes = BLE_FRAME
    timeout = 1.0
    _radio = threading.RLock()
    _connected: "BleLink | None" = None

    def __init__(self, board: str, patience: float = 20.0) -> None:
        self.name, self._patience = board, patience
        self._bleak = needed("bleak", "bleak")
        self._received: queue.SimpleQueue[bytes] = queue.SimpleQueue()  # notifications
        self._client: Any = None

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Have the radio for a while: wait for it, and disconnect the board that had it before."""
        with BleLink._radio:
            before, BleLink._connected = BleLink._connected, self
            if before not in (None, self):
                before.close()
            yield

    def _call(self, work: Coroutine[Any, Any, None], seconds: float = _CALL_SECONDS) -> None:
        """Run something in the loop's thread and wait for it. Raises `LinkLost` if it fails."""
        future = asyncio.run_coroutine_threadsafe(work, _loop())
        try:
            future.result(seconds)
        except KitError:
            raise
        # bleak promises `BleakError`, but its backends raise much else if the link drops meanwhile.
        except (Exception, CancelledError) as error:
            future.cancel()
            raise LinkLost(
                f"the Bluetooth link to {self.name} failed ({str(error) or type(error).__name__}); "
                "bring the board nearer or reset it"
            ) from None

    async def _connect(self, seconds: float) -> None:
        try:
            # A computer may remember another name than the one that is advertised.
            device = await self._bleak.BleakScanner.find_device_by_filter(
                lambda found, heard: self.name in (heard.local_name, found.name, found.address),
                timeout=seconds,
            )
        except (self._bleak.BleakError, OSError) as error:
            raise KitError(
                f"this computer has no Bluetooth that can be used ({error}); "
                "switch it on, or use a USB cable"
            ) from None
        if device is None:
            raise LinkLost(
                f"no board {self.name} is in reach by Bluetooth; switch it on and bring it nearer"
            )
        self._client = self._bleak.BleakClient(device)
        await self._client.connect()
        self._serial_service()
        received = self._received  # of this connection: a late notification goes nowhere
        await self._client.start_notify(FROM_BOARD, lambda _, data: received.put(bytes(data)))

    def send(self, data: bytes) -> None:
        """Write to the board and wait until it has what was written.

        If the connection carries less at once, the computer cuts it and the board joins it.
        """
        self._call(self._write(data))

    async def _write(self, data: bytes) -> None:
        self._check()
        to_board = self._serial_service()
        for at in range(0, len(data), BLE_FRAME):
            await self._client.write_gatt_char(to_board, data[at : at + BLE_FRAME], response=True)

    def _serial_service(self) -> Any:
        """Where the board is written to. Raises `KitError` if it is another sketch's."""
        to_board = self._client.services.get_characteristic(TO_BOARD)
        if to_board is None:
            raise KitError(f"{self.name} has no serial service; flash FederatedClient to it")
        return to_board

    def _check(self) -> None:
        if self._client is None or not self._client.is_connected:
            raise LinkLost(f"{self.name} has left; bring it nearer or reset it")

    def receive(self, seconds: float) -> bytes:
        """Return the next notification."""
        try:
            return self._received.get(timeout=seconds)
        except queue.Empty:
            self._check()
            return b""

    def reopen(self) -> None:
        """Look for the board and connect. Raises `LinkLost`, or `KitError` without Bluetooth.

        A board that hangs advertises, but cannot be used before it has reset itself: so this tries
        again while the patience lasts.
        """
        end = time.monotonic() + self._patience
        while True:
            self.close()
            self._received = queue.SimpleQueue()
            left = max(0.1, end - time.monotonic())
            try:
                self._call(self._connect(left), left + _CONNECT_SECONDS)
                return
            except LinkLost:
                if time.monotonic() >= end:
                    self.close()
                    raise
                time.sleep(0.2)
            except KitError:
                self.close()
                raise

    def close(self) -> None:
        """Disconnect, so that another computer may connect."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(LinkLost):
                self._call(client.disconnect())


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """bleak is asynchronous: all links share a loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop
