"""The wire format: how messages between a server and a board become bytes, and bytes messages.

A message is packed into a payload (version, kind, fields, CRC-32), COBS takes the zero bytes out
of it, and a zero byte ends the frame. `docs/wire-format.md` says it on one page with an example;
`arduino/libraries/TinyReptile/src/tr_wire.c` is the same in C. COBS is Consistent Overhead Byte
Stuffing (Cheshire and Baker 1999).
"""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, cast

from tinyreptile_lite.core.table import Status as Core

VERSION = 1
DELIMITER = b"\0"
HEADER_BYTES, CHECK_BYTES, CHUNK_FIELDS = 2, 4, 3
MASK_CHUNKS = 32  # chunks that one mask of missing or wanted chunks speaks about
MAX_CHUNKS = 2048  # of one weight vector
MAX_PAYLOAD = 4096  # longest payload a decoder here accepts, CRC included
_BLOCK = 254  # longest run of bytes without a zero behind one COBS code byte


class FrameError(ValueError):
    """A frame that is damaged or not of this format. It is dropped; the sender repeats it."""


class VersionError(FrameError):
    """An undamaged frame of another version of the format.

    Attributes
    ----------
    version : int
    """

    def __init__(self, version: int) -> None:
        super().__init__(f"wire version {version}, not {VERSION}")
        self.version = version


class State(IntEnum):
    """What a board is doing with the visit it was last told about."""

    EMPTY = 0  # it knows of no visit, or the visit was aborted
    RECEIVING = 1  # chunks are missing
    READY = 2  # all weights are there and their CRC is right
    TRAINING = 3
    TRAINED = 4
    EVALUATING = 5
    FAILED = 6  # see the error; the visit is over


class Source(IntEnum):
    """Where a board takes its samples from. In WELCOME, bit 1 << source says that it has it."""

    SENSOR = 0  # as they come; a seed means nothing
    DATA = 1  # recorded or computed, the same for the same seed


# Errors in STATE. Below 32 they are the C core's.
ERRORS = {
    Core.OK: "none",
    Core.NULL: "a needed pointer is NULL",
    Core.NETWORK: "the network's layers do not fit together",
    Core.WEIGHTS: "the weight array has the wrong size",
    Core.WORKSPACE: "the workspace is too small",
    Core.PHI: "the start weights hold NaN or a huge number",
    Core.RATE: "the inner rate is out of range",
    Core.SAMPLE: "the sensor gave NaN or a huge number",
    Core.TARGET: "the target is missing, NaN or huge",
    Core.LABEL: "the label is missing or out of range",
    Core.DIVERGED: "the output is out of bounds; lower the inner rate",
    Core.OVERFLOW: "a gradient is out of bounds; lower the inner rate",
    32: "the CRC of the whole weight vector is wrong",
    33: "it has no such source of samples",
    34: "the number of samples must be 1 to 65,535",
    35: "the sensor failed",
}


# ---- Messages ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello:
    """Server: who are you? `frame_bytes` is the longest frame the server's side can carry."""

    KIND: ClassVar[int] = 1
    LAYOUT: ClassVar[str] = "<IH"
    session: int
    frame_bytes: int


@dataclass(frozen=True)
class Push:
    """Server: a visit begins; chunks of weights with this CRC-32 follow. Not answered."""

    KIND: ClassVar[int] = 2
    LAYOUT: ClassVar[str] = "<IHII"
    round: int
    attempt: int
    nonce: int
    crc: int


@dataclass(frozen=True)
class Chunk:
    """Either side: part of the weights. `tag` is the low byte of the visit's nonce."""

    KIND: ClassVar[int] = 3
    LAYOUT: ClassVar[str] = "<BH"
    tag: int
    index: int
    data: bytes  # float32, little-endian


@dataclass(frozen=True)
class Train:
    """Server: learn online. Answered by STATE when done; at once if it cannot begin."""

    KIND: ClassVar[int] = 4
    LAYOUT: ClassVar[str] = "<IfHIB"
    nonce: int
    rate: float
    sample_count: int
    seed: int
    source: int


@dataclass(frozen=True)
class Pull:
    """Server: send the chunks first + i for each bit i of mask. Answered by CHUNKs."""

    KIND: ClassVar[int] = 5
    LAYOUT: ClassVar[str] = "<IHI"
    nonce: int
    first: int
    mask: int


@dataclass(frozen=True)
class Evaluate:
    """Server: measure the loss without learning. Answered by SCORE when done."""

    KIND: ClassVar[int] = 6
    LAYOUT: ClassVar[str] = "<IIHB"
    nonce: int
    seed: int
    sample_count: int
    source: int


@dataclass(frozen=True)
class Status:
    """Server: in what state are you? Answered by STATE."""

    KIND: ClassVar[int] = 7
    LAYOUT: ClassVar[str] = "<"


@dataclass(frozen=True)
class Abort:
    """Server: forget this visit. Answered by STATE."""

    KIND: ClassVar[int] = 8
    LAYOUT: ClassVar[str] = "<I"
    nonce: int


@dataclass(frozen=True)
class Welcome:
    """Board: the answer to a HELLO of any version, in the board's own."""

    KIND: ClassVar[int] = 9
    LAYOUT: ClassVar[str] = "<I8s8sIHBB"
    session: int
    board_id: bytes  # 8 bytes that no other board has
    network: bytes  # first 8 bytes of the network's fingerprint
    weights: int
    chunk_floats: int
    window: int  # chunks that may be on their way unconfirmed
    sources: int


@dataclass(frozen=True)
class Report:
    """Board: the message STATE.

    `count` is the number of chunks before the first missing one, or of samples done; `detail` is a
    mask of missing chunks from there on in state RECEIVING, else the CRC-32 of the weights.
    """

    KIND: ClassVar[int] = 10
    LAYOUT: ClassVar[str] = "<BBIHIf"
    state: int
    error: int
    nonce: int
    count: int
    detail: int
    loss: float


@dataclass(frozen=True)
class Score:
    """Board: result of EVALUATE. `correct` counts right labels; 0 for regression."""

    KIND: ClassVar[int] = 11
    LAYOUT: ClassVar[str] = "<IIHHf"
    nonce: int
    seed: int
    sample_count: int
    correct: int
    loss: float


Message = Hello | Push | Chunk | Train | Pull | Evaluate | Status | Abort | Welcome | Report | Score
MESSAGES: dict[int, type[Message]] = {
    kind.KIND: kind
    for kind in (
        Hello, Push, Chunk, Train, Pull, Evaluate, Status, Abort, Welcome, Report, Score
    )
}  # fmt: skip


# ---- Frames --------------------------------------------------------------------------------------


def encode(message: Message, version: int = VERSION) -> bytes:
    """Return the frame of a message, its delimiter included."""
    head = struct.pack("<BB", version, message.KIND)
    if isinstance(message, Chunk):
        fields = struct.pack(message.LAYOUT, message.tag, message.index) + message.data
    else:
        fields = struct.pack(message.LAYOUT, *vars(message).values())
    return wrap(head + fields)


def wrap(content: bytes) -> bytes:
    """Add the CRC-32, take the zero bytes out, end with a zero byte."""
    return stuff(content + struct.pack("<I", zlib.crc32(content))) + DELIMITER


def parse(content: bytes) -> Message:
    """Return the message in what a `Decoder` gave.

    Raises
    ------
    VersionError
        If it is of another version of the format.
    FrameError
        If its kind is unknown or its length is not that of its kind.
    """
    if len(content) < HEADER_BYTES:
        raise FrameError(f"{len(content)} bytes are too short for a header")
    version, kind = content[:HEADER_BYTES]
    if version != VERSION:
        raise VersionError(version)
    if kind not in MESSAGES:
        raise FrameError(f"unknown kind {kind}")
    message: Any = MESSAGES[kind]
    fields = content[HEADER_BYTES:]
    size = struct.calcsize(message.LAYOUT)
    if kind == Chunk.KIND:
        if len(fields) <= size or (len(fields) - size) % 4:
            raise FrameError(f"a chunk of {len(fields) - size} bytes holds no whole floats")
        tag, index = struct.unpack(Chunk.LAYOUT, fields[:size])
        return Chunk(tag, index, fields[size:])
    if len(fields) != size:
        raise FrameError(f"kind {kind} has {size} bytes of fields, not {len(fields)}")
    return cast(Message, message(*struct.unpack(message.LAYOUT, fields)))


def stuff(payload: bytes) -> bytes:
    """COBS: each run of up to 254 bytes without a zero gets its length + 1 in front."""
    out = bytearray()
    *runs, last = payload.split(b"\0")
    for run in runs:
        out += _with_codes(run) or b"\1"
        if run and len(run) % _BLOCK == 0:
            out.append(1)  # a full block stands for no zero
    return bytes(out + (_with_codes(last) or b"\1"))


def _with_codes(run: bytes) -> bytes:
    """Put the code byte in front of each block of a run without zeros."""
    blocks = (run[at : at + _BLOCK] for at in range(0, len(run), _BLOCK))
    return b"".join(bytes([len(block) + 1]) + block for block in blocks)


def unstuff(stuffed: bytes) -> bytes:
    """Undo `stuff`.

    Raises
    ------
    FrameError
        If there is a zero in it, or its last run is shorter than it says.
    """
    if 0 in stuffed:
        raise FrameError("a zero byte inside a frame")
    out = bytearray()
    at, zero = 0, False
    while at < len(stuffed):
        code = stuffed[at]
        if zero:
            out.append(0)
        if at + code > len(stuffed):
            raise FrameError("the frame ends in the middle of a run")
        out += stuffed[at + 1 : at + code]
        zero = code <= _BLOCK
        at += code
    return bytes(out)


class Decoder:
    """Finds the frames in a stream of bytes.

    Parameters
    ----------
    limit : int
        Longest payload accepted, CRC included; a longer one is dropped as it arrives.

    Attributes
    ----------
    damaged : int
        Frames dropped so far: wrong CRC, wrong stuffing, too short or too long.
    """

    def __init__(self, limit: int = MAX_PAYLOAD) -> None:
        self.limit = limit
        self.damaged = 0
        self._longest = frame_bytes(limit)
        self._partial = bytearray()
        self._too_long = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they come; return header and fields of each good frame they complete."""
        found = []
        *ends, rest = data.split(DELIMITER)
        for piece in ends:
            self._keep(piece)
            content = self._finish()
            if content is not None:
                found.append(content)
        self._keep(rest)
        return found

    def _keep(self, piece: bytes) -> None:
        self._too_long = self._too_long or len(self._partial) + len(piece) > self._longest
        if not self._too_long:
            self._partial += piece

    def _finish(self) -> bytes | None:
        stuffed, too_long = bytes(self._partial), self._too_long
        self._partial.clear()
        self._too_long = False
        if not stuffed and not too_long:
            return None  # two delimiters in a row: nothing was sent, nothing is damaged
        try:
            if too_long:
                raise FrameError("the frame is too long")
            return _checked(unstuff(stuffed), self.limit)
        except FrameError:
            self.damaged += 1
            return None


def _checked(payload: bytes, limit: int) -> bytes:
    if not HEADER_BYTES + CHECK_BYTES <= len(payload) <= limit:
        raise FrameError(f"a payload of {len(payload)} bytes")
    content, check = payload[:-CHECK_BYTES], payload[-CHECK_BYTES:]
    if struct.unpack("<I", check)[0] != zlib.crc32(content):
        raise FrameError("the CRC is wrong")
    return content


# ---- Sizes ---------------------------------------------------------------------------------------


def frame_bytes(payload: int) -> int:
    """Longest frame of a payload of this many bytes: stuffing and delimiter added."""
    return payload + 1 + payload // _BLOCK + 1


def chunk_payload(floats: int) -> int:
    """Payload of a chunk with this many floats, CRC included."""
    return HEADER_BYTES + CHUNK_FIELDS + 4 * floats + CHECK_BYTES


def chunk_floats(longest_frame: int) -> int:
    """Most floats in a chunk whose frame is never longer than this; 0 if none fits."""
    floats = max(0, longest_frame - chunk_payload(0) - 2) // 4
    while floats and frame_bytes(chunk_payload(floats)) > longest_frame:
        floats -= 1
    return floats
