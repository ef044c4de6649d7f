"""A fleet of virtual boards: emulated machines, several in a process, processes on all cores.

Each board is a Nano 33 BLE of its own (`VirtualNano`) that runs the sketch FederatedClient. The
server reaches it over a link that carries bytes, like any board. Each plays its own wearer: windows
of the stream that he trains with are in its flash. With one input it has a sine wave of its own.

A worker process gets its orders through a pipe and ends when that is closed, so nothing is left
over when the server is killed. What boards send is passed on as bytes and never unpickled; only
the server's own orders are.
"""

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from math import prod
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from tinyreptile_lite.core.build import CORE
from tinyreptile_lite.costs import sample_bytes
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.firmware import Firmware, build
from tinyreptile_lite.nano.image import FLASH_BYTES
from tinyreptile_lite.nano.machine import BoardFault
from tinyreptile_lite.nano.virtual import VirtualNano
from tinyreptile_lite.network import Network
from tinyreptile_lite.serve.gauge import Gauge, Reading
from tinyreptile_lite.tasks.base import Device, Samples
from tinyreptile_lite.wire.header import network_header, recording_header
from tinyreptile_lite.wire.links import USB_FRAME, LinkLost
from tinyreptile_lite.wire.local import board_id

SKETCH = CORE.parents[2] / "FederatedClient"
_PROGRAM_BYTES = 65_536  # of flash kept free for the sketch, which takes about 26,000
_STARTING = threading.Lock()
_OK, _TROUBLE = b"\0", b"\1"
_ANSWERED = "receive", "counts"


def firmware_for(net: Network, device: Device) -> Firmware:
    """Build the sketch FederatedClient for a network, with a device's `recording` in its flash.

    With one input the sketch computes a sine wave, and nothing is recorded. Raises `BuildError` if
    there is no compiler.
    """
    with tempfile.TemporaryDirectory() as scratch:
        sketch = Path(scratch) / SKETCH.name
        shutil.copytree(SKETCH, sketch)
        (sketch / "network.h").write_text(network_header(net, "NAME"), encoding="utf-8")
        if prod(net.input_shape) > 1:
            header = recording_header(recording(net, device))
            (sketch / "recording.h").write_text(header, encoding="utf-8")
        return build(sketch, libraries=CORE.parents[1])


def recording(net: Network, device: Device) -> Samples:
    """Windows of a device's training stream, as many as fit the flash; its name is the seed."""
    count = (FLASH_BYTES - _PROGRAM_BYTES) // sample_bytes(net)
    seed = int.from_bytes(board_id(device.name), "little")
    return device.stream(count, np.random.default_rng(seed))


# ---- The server's side ---------------------------------------------------------------------------


class _Board(NamedTuple):
    """What a worker has to know to make one board."""

    name: str
    firmware: Firmware
    seed: int


class Fleet(ExitStack):
    """Virtual boards in worker processes; a context manager that ends the processes.

    Each board has one of the devices; by default each core has a worker.

    Raises
    ------
    BuildError
        If the sketch cannot be built.
    KitError
        If unicorn is not installed.
    """

    def __init__(self, net: Network, devices: Sequence[Device], workers: int | None = None) -> None:
        super().__init__()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        count = min(len(devices), workers or cores or 1)
        boards = _build_boards(net, devices, cores or 1)
        self.workers = [Worker(boards[first::count]) for first in range(count)]
        for worker in self.workers:
            self.callback(worker.close)
        try:
            for worker in self.workers:  # they start side by side
                worker.await_start()
        except BaseException:
            self.close()
            raise
        # Neighbours sit on different workers: the boards of one round then use all cores.
        places = range(len(boards))
        self.links = [self.workers[place % count].links[place // count] for place in places]


def _build_boards(net: Network, devices: Sequence[Device], cores: int) -> list[_Board]:
    if prod(net.input_shape) == 1:
        firmwares = [firmware_for(net, devices[0])] * len(devices)
    else:
        with ThreadPoolExecutor(cores) as threads:
            firmwares = list(threads.map(lambda device: firmware_for(net, device), devices))
    ids = (board_id(device.name)[:4] for device in devices)
    return [
        _Board(f"virtual:{device.name}", firmware, int.from_bytes(number, "little"))
        for device, firmware, number in zip(devices, firmwares, ids, strict=True)
    ]


class Worker:
    """A process with some boards, and its pipe; safe to use from several threads."""

    def __init__(self, boards: Sequence[_Board]) -> None:
        self._boards = boards
        self._lock = threading.Lock()
        self.links = [FleetLink(self, number, board.name) for number, board in enumerate(boards)]
        self._start()

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_work, args=(theirs, self._boards), daemon=True)
        with _without_script():
            self.process.start()
        theirs.close()  # so that the pipe ends with the process

    def await_start(self) -> None:
        """Wait until the boards are there. Raises `KitError` with the worker's reason if not."""
        try:
            self._answer()
        except LinkLost as error:
            raise KitError(f"virtual boards did not start: {error}") from None

    def call(self, board: int, what: str, *values: object) -> bytes:
        """Call a method of a board's `VirtualLink`, and wait for its answer if it has one."""
        with self._lock:
            try:
                self._pipe.send((board, what, *values))  # our own words; a board's go as bytes
            except OSError:
                raise self._gone() from None
            return self._answer() if what in _ANSWERED else b""

    def revive(self) -> None:
        """If the process has died, start it again: all its boards are reset."""
        with self._lock:
            if not self.process.is_alive():
                self._pipe.close()
                self._start()
                self._answer()

    def _answer(self) -> bytes:
        try:
            answer = self._pipe.recv_bytes()
        except (EOFError, OSError):
            raise self._gone() from None
        if answer[:1] == _TROUBLE:
            raise LinkLost(answer[1:].decode())
        return answer[1:]

    def _gone(self) -> LinkLost:
        self.process.join()
        return LinkLost(f"the process {self.process.pid} of the virtual boards has ended")

    def close(self) -> None:
        """Let the process end."""
        with self._lock:
            self._pipe.close()
            self.process.join()


@contextmanager
def _without_script() -> Iterator[None]:
    """Hide the user's script from a process that starts: it would run it again from the top."""
    with _STARTING:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = script


class FleetLink:
    """The serial port of a virtual board in another process, in virtual time.

    The board's clock runs while the server waits for it. A board whose sketch faults is lost, and
    is reset.
    """

    frame_bytes = USB_FRAME
    timeout = 0.25

    def __init__(self, worker: Worker, number: int, name: str) -> None:
        self._worker, self._number, self.name = worker, number, name

    def send(self, data: bytes) -> None:
        """Put bytes into the board's serial port."""
        self._worker.call(self._number, "send", data)

    def receive(self, seconds: float) -> bytes:
        """Let the board run until it sends something, at most so long in virtual time."""
        return self._worker.call(self._number, "receive", seconds)

    def gauge(self) -> Reading:
        """Read what the board has executed. Raises `LinkLost` if its process has ended."""
        return Reading.unpack(self._worker.call(self._number, "counts"))

    def reopen(self) -> None:
        """Forget what was on its way to the server; start a dead process again."""
        self._worker.revive()
        self._worker.call(self._number, "reopen")

    def reset(self) -> None:
        """Press the board's reset button."""
        self._worker.call(self._number, "reset")

    def close(self) -> None:
        """Nothing to close: the fleet ends the process."""


# ---- The worker ----------------------------------------------------------------------------------


class VirtualLink:
    """The serial port of a virtual board, in virtual time."""

    frame_bytes = USB_FRAME
    timeout = 0.25

    def __init__(self, board: VirtualNano, name: str) -> None:
        self.board, self.name = board, name
        self._gauge = Gauge(board)

    def send(self, data: bytes) -> None:
        """Put bytes into the board's serial port."""
        self.board.serial.write(data)

    def receive(self, seconds: float) -> bytes:
        """Let the board run until it sends something, at most so long in virtual time."""
        serial = self.board.serial
        data = serial.read()
        if not data and seconds > 0:
            before = len(serial.sent)
            try:
                self.board.run_until(lambda _: len(serial.sent) > before, seconds * 1000)
            except BoardFault:
                raise
            except KitError:  # nothing came in time
                return b""
            data = serial.read()
        return data

    def gauge(self) -> Reading:
        """Read what the board has executed."""
        return self._gauge.read()

    def counts(self) -> bytes:
        """The same in bytes."""
        return self.gauge().pack()

    def reopen(self) -> None:
        """Forget what was on its way to the server."""
        self.board.serial.read()

    def reset(self) -> None:
        """Press the board's reset button."""
        self._gauge.read()  # or what it executed until now would not be counted
        self.board.reset()

    def close(self) -> None:
        """Nothing to close."""


def _work(pipe: Connection, boards: Sequence[_Board]) -> None:
    """Play the boards until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server: it closes the pipe
    with suppress(EOFError, OSError):  # the server has gone
        try:
            links = [VirtualLink(VirtualNano(b.firmware, seed=b.seed), b.name) for b in boards]
        except KitError as error:
            pipe.send_bytes(_TROUBLE + str(error).encode())
            return
        pipe.send_bytes(_OK)
        while True:
            number, what, *values = pipe.recv()
            link = links[number]
            if what not in _ANSWERED:
                getattr(link, what)(*values)
                continue
            try:
                answer = _OK + getattr(link, what)(*values)
            except BoardFault as fault:
                link.reset()
                answer = _TROUBLE + f"{link.name}: {fault}".encode()
            pipe.send_bytes(answer)
