"""The C framing as Python functions, so that tests hold the two implementations together."""

import ctypes
from functools import cache

from tinyreptile_lite.wire.local import load_library


@cache
def library() -> ctypes.CDLL:
    """The board's C sources, with the framing functions declared."""
    found = load_library()
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    found.tr_crc32.restype = ctypes.c_uint32
    found.tr_crc32.argtypes = [ctypes.c_uint32, ctypes.c_char_p, size]
    found.tr_frame_reader_init.argtypes = [pointer, pointer, size]
    found.tr_frame_byte.restype = size
    found.tr_frame_byte.argtypes = [pointer, ctypes.c_uint8]
    found.tr_frame_gap.restype = size
    found.tr_frame_gap.argtypes = [size]
    found.tr_frame_stuff.restype = size
    found.tr_frame_stuff.argtypes = [pointer, size]
    return found


class _Reader(ctypes.Structure):
    """tr_frame_reader of tr_wire.h."""

    _fields_ = (
        ("payload", ctypes.c_void_p),
        ("capacity", ctypes.c_size_t),
        ("size", ctypes.c_size_t),
        ("damaged", ctypes.c_uint32),
        ("run", ctypes.c_uint8),
        ("zero", ctypes.c_uint8),
        ("begun", ctypes.c_uint8),
        ("bad", ctypes.c_uint8),
    )


class NativeDecoder:
    """`frames.Decoder` in C: same methods, same results."""

    def __init__(self, limit: int) -> None:
        self._library = library()
        self._payload = ctypes.create_string_buffer(limit)
        self._reader = _Reader()
        self._library.tr_frame_reader_init(
            ctypes.byref(self._reader), ctypes.addressof(self._payload), limit
        )

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return header and fields of each good frame they complete."""
        found = []
        for byte in data:
            size = self._library.tr_frame_byte(ctypes.byref(self._reader), byte)
            if size:
                found.append(self._payload.raw[:size])
        return found

    @property
    def damaged(self) -> int:
        """Frames dropped so far."""
        return int(self._reader.damaged)


def native_wrap(content: bytes) -> bytes:
    """`frames.wrap` in C."""
    gap = library().tr_frame_gap(len(content))
    room = gap + len(content) + 4 + 1
    frame = ctypes.create_string_buffer(bytes(gap) + content, room)
    size = library().tr_frame_stuff(frame, len(content))
    return frame.raw[:size]
