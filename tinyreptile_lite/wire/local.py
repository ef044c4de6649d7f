"""A board inside this process: the C sources of the real one, compiled for this computer.

`LocalBoard` runs the board's side of the wire format and the C core behind a pair of byte queues.
It answers at once, so thousands of rounds take seconds; with the same samples it learns the same
weights as the real board, bit by bit.
"""

import ctypes
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.core.build import CORE, load
from tinyreptile_lite.core.structs import c_network
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Device, Samples
from tinyreptile_lite.wire.frames import Source

WINDOW = 32
USB_FLOATS = 256  # 1 KB of weights in one chunk
_NO_TASKS = np.empty(0)  # samples have no task axis
_HARNESS = Path(__file__).parent / "host_board.c"

_Draw = ctypes.CFUNCTYPE(  # draw_samples of host_board.c: source, seed, samples; x, target, label
    ctypes.c_int, ctypes.c_uint8, ctypes.c_uint32, ctypes.c_uint16, *[ctypes.c_void_p] * 3
)


def network_id(net: Network) -> bytes:
    """First 8 bytes of the network's fingerprint: what a board says in its WELCOME."""
    return bytes.fromhex(net.fingerprint())[:8]


def board_id(name: str) -> bytes:
    """Make up a board id, 8 bytes, from a name."""
    return hashlib.sha256(name.encode()).digest()[:8]


class LocalBoard:
    """The board's side in C, in this process.

    Parameters
    ----------
    net : Network
    device : Device
        Gives the samples: for a training of N samples with a seed, those that it streams for
        ``numpy.random.default_rng(seed)``, as in a simulated client.
    chunk_floats : int
        Largest chunk the board has memory for.
    packs : bool
        Whether it can send packed changes; if not, it speaks version 1 of the format only, as does
        a board with more than 65,535 weights.
    feedback : bool
        Whether it has the memory for error feedback.

    Raises
    ------
    KitError
        If the C sources cannot be compiled here, or the network is too large for a board.
    """

    _board: int | None = None

    def __init__(
        self,
        net: Network,
        device: Device,
        chunk_floats: int = USB_FLOATS,
        packs: bool = True,
        feedback: bool = True,
    ) -> None:
        self.net, self.device = net, device
        self.chunk_floats, self.packs, self.feedback = chunk_floats, packs, feedback
        self.id = board_id(device.name)
        self._library = load_library()
        self._network = c_network(net, self._library)
        self._draw = _Draw(self._draw_samples)  # kept, as C holds only its address
        self._trouble: KitError | None = None  # of the device, on its way past the C code
        self.reset()

    def reset(self) -> None:
        """Press the reset button: the board forgets everything."""
        self.close()
        # tr_client_about of tr_wire.h: nothing but bytes
        about = self.id + network_id(self.net) + bytes([1 << Source.DATA, WINDOW])
        self._board = self._library.host_board_new(
            ctypes.byref(self._network),
            about,
            self.chunk_floats,
            self.packs,
            self.feedback,
            self._draw,
        )
        if not self._board:
            raise KitError(f"a board cannot hold this network: {self.net.size:,} weights")

    def feed(self, data: bytes) -> bytes:
        """Send bytes to the board and return what it answers.

        Raises
        ------
        KitError
            If the device's ``stream`` fails or returns what the network cannot learn from; it is
            chained to what ``stream`` raised. The board is reset.
        """
        size = self._library.host_board_feed(self._board, data, len(data))
        out = ctypes.create_string_buffer(size)
        self._library.host_board_take(self._board, out)
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            self.reset()
            raise trouble
        return out.raw

    @property
    def steps(self) -> int:
        """Learning steps made since the reset."""
        return int(self._library.host_board_steps(self._board))

    def close(self) -> None:
        """Free the board's memory."""
        if self._board:
            self._library.host_board_free(self._board)
        self._board = None

    __del__ = close

    def _draw_samples(self, source: int, seed: int, count: int, x: Any, y: Any, label: Any) -> int:
        """Fill the arrays of the C side; called by it when a training begins."""
        try:
            samples = self._stream(seed, count)
        except KitError as error:  # must not travel through C: `feed` raises it
            self._trouble = error
            return 0
        real = self.net.loss_function.name == "mse"
        target = (y, samples.y, np.float32) if real else (label, samples.y, np.int32)
        for pointer, values, dtype in ((x, samples.x, np.float32), target):
            data = np.ascontiguousarray(values, dtype)
            ctypes.memmove(pointer, data.ctypes.data, data.nbytes)
        return 1

    def _stream(self, seed: int, count: int) -> Samples:
        """Draw samples from the device; raises `KitError` if they are not what was asked for."""
        call = f"{self.device.name}: stream({count}, rng)"
        try:
            drawn = self.device.stream(count, np.random.default_rng(seed))
        except Exception as error:
            raise KitError(" ".join(f"{call} raised {error!r}".split())) from error
        try:
            samples = Samples(*self.net.check_samples(_NO_TASKS, *Samples(*drawn)))
        except (TypeError, ValueError) as error:  # a KitError is one
            raise KitError(f"{call} returned what does not fit: {error}") from error
        if len(samples.x) != count:
            raise KitError(f"{call} returned {len(samples.x)} samples; return {count}")
        return samples


@cache
def load_library() -> ctypes.CDLL:
    """Compile the board's side for this computer, or take it from the cache: `shared_library`."""
    parts = "tr_wire.c", "tr_pack.c", "tinyreptile_core.c"
    sources = [_HARNESS, *(CORE / part for part in parts)]
    library = load("board", sources, CORE)
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    library.host_board_new.restype = pointer
    library.host_board_new.argtypes = [pointer, pointer, size, *[ctypes.c_int] * 2, _Draw]
    library.host_board_free.argtypes = [pointer]
    library.host_board_feed.restype = size
    library.host_board_feed.argtypes = [pointer, ctypes.c_char_p, size]
    library.host_board_take.argtypes = [pointer, pointer]
    library.host_board_steps.restype = ctypes.c_uint32
    library.host_board_steps.argtypes = [pointer]
    return library
