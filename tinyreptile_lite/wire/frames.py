"""The wire format: how messages between a server and a board become bytes, and bytes messages.

A message is packed into a payload (version, kind, fields, CRC-32), COBS takes the zero bytes out
of it, and a zero byte ends the frame. `docs/wire-format.md` says it on one page with an example;
`arduino/libraries/TinyReptile/src/tr_wire.c` is the same in C. COBS is Consistent Overhead Byte
Stuffing (Cheshire and Baker 1999).
"""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any, ClassVar, dataclass_transform

from tinyreptile_lite.core.table import Status as Core

VERSION = 1  # of most messages
VERSION_2 = 2  # of those that packed changes need
DELIMITER = b"\0"
HEADER_BYTES, CHECK_BYTES = 2, 4
MASK_CHUNKS = 32  # chunks that one mask of missing or wanted chunks speaks about
MAX_CHUNKS = 2048  # of one weight vector
MAX_PAYLOAD = 4096  # longest payload a decoder here accepts, CRC included
_BLOCK = 254  # longest run of bytes without a zero behind one COBS code byte


class FrameError(ValueError):
    """A frame that is damaged or not of this format. It is dropped; the sender repeats it."""


class VersionError(FrameError):
    """An undamaged frame of another version of the format."""

    def __init__(self, version: int) -> None:
        super().__init__(f"wire version {version}, not {VERSION} or {VERSION_2}")
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
    Core.ALIGNMENT: "its memory is not aligned",
    32: "the CRC of the whole weight vector is wrong",
    33: "it has no such source of samples",
    34: "the number of samples must be 1 to 65,535",
    35: "the sensor failed",
    36: "its sensor gave no number",
    37: "its sensor gives no readings any more",
    38: "its sensor is frozen: its numbers never change",
    39: "its sensor feels no gravity",
    40: "its sensor reads more than 7 g, or the end of its range, on and on",
    41: "its sensor's numbers jump as no arm can",
    42: "readings of its sensor were missing",
    64: "it cannot pack its changes like that",
}


# ---- Messages ------------------------------------------------------------------------------------


@dataclass_transform(frozen_default=True)
class Message:
    """Base of all messages, which are frozen dataclasses. `struct` packs their fields."""

    KIND: ClassVar[int]
    LAYOUT: ClassVar[str]
    VERSION: ClassVar[int]

    def __init_subclass__(cls, kind: int, layout: str, version: int = VERSION) -> None:
        cls.KIND, cls.LAYOUT, cls.VERSION = kind, layout, version
        BY_VERSION[version][kind] = dataclass(frozen=True)(cls)


MESSAGES: dict[int, type[Message]] = {}
MESSAGES_2: dict[int, type[Message]] = {}  # those that packed changes need have more fields
BY_VERSION = {VERSION: MESSAGES, VERSION_2: MESSAGES_2}


class Hello(Message, kind=1, layout="<IH"):
    """Server: who are you? `frame_bytes` is the longest frame the server's side can carry."""

    session: int
    frame_bytes: int


class Push(Message, kind=2, layout="<IHII"):
    """Server: a visit begins; chunks of weights with this CRC-32 follow. Not answered."""

    round: int
    attempt: int
    nonce: int
    crc: int


class Chunk(Message, kind=3, layout="<BH"):
    """Either side: part of the weights. `tag` is the low byte of the visit's nonce."""

    tag: int
    index: int
    data: bytes  # float32, little-endian; behind what `struct` packs


class Train(Message, kind=4, layout="<IfHIB"):
    """Server: learn online. Answered by STATE when done; at once if it cannot begin."""

    nonce: int
    rate: float
    sample_count: int
    seed: int
    source: int


class Pull(Message, kind=5, layout="<IHI"):
    """Server: send the chunks first + i for each bit i of mask. Answered by CHUNKs."""

    nonce: int
    first: int
    mask: int


class Evaluate(Message, kind=6, layout="<IIHB"):
    """Server: measure the loss without learning. Answered by SCORE when done."""

    nonce: int
    seed: int
    sample_count: int
    source: int


class Status(Message, kind=7, layout="<"):
    """Server: in what state are you? Answered by STATE."""


class Abort(Message, kind=8, layout="<I"):
    """Server: forget this visit. Answered by STATE."""

    nonce: int


class Welcome(Message, kind=9, layout="<I8s8sIHBB"):
    """Board: the answer to a HELLO of any version, in the board's own."""

    session: int
    board_id: bytes  # 8 bytes that no other board has
    network: bytes  # first 8 bytes of the network's fingerprint
    weights: int
    chunk_floats: int
    window: int  # chunks that may be on their way unconfirmed
    sources: int


class Report(Message, kind=10, layout="<BBIHIf"):
    """Board: the message STATE.

    `count` is the number of chunks before the first missing one, or of samples done; `detail` is a
    mask of missing chunks from there on in state RECEIVING, else the CRC-32 of the weights.
    """

    state: int
    error: int
    nonce: int
    count: int
    detail: int
    loss: float


class Score(Message, kind=11, layout="<IIHHf"):
    """Board: result of EVALUATE. `correct` counts right labels; 0 for regression."""

    nonce: int
    seed: int
    sample_count: int
    correct: int
    loss: float


class Flag(IntFlag):
    """In PUSH and WELCOME of version 2."""

    FEEDBACK = 1  # what is not sent is kept for the next visit; the board has the memory for it
    FORGET = 2  # what was kept so far belongs to another training


class Hello2(Hello, kind=1, layout="<IH", version=2):
    """Server: as `Hello`, and I would like packed changes."""


class Push2(Push, kind=2, layout="<IHIIBBIII", version=2):
    """Server: as `Push`; and how to send the changes that the visit will have made.

    With 8 or 16 `bits` for a change, phi comes in float16. With 32, all is as in version 1.
    """

    bits: int
    flags: int
    limit: int  # only changes of the first so many weights are sent
    count: int  # of changes to send; if it is the limit, all
    taken: int  # nonce of the visit whose changes were the last that arrived


class Train2(Train, kind=4, layout="<IfHIBHf", version=2):
    """Server: as `Train`; and the first samples rebuild the head."""

    head_samples: int
    head_rate: float


class Welcome2(Welcome, kind=9, layout="<I8s8sIHBBB", version=2):
    """Board: as `Welcome`; and what it can do with changes, in bits of `Flag`."""

    flags: int


class Report2(Report, kind=10, layout="<BBIHIfI", version=2):
    """Board: as `Report`; and the bytes that can be pulled."""

    size: int


# ---- Frames --------------------------------------------------------------------------------------


def encode(message: Message, version: int | None = None) -> bytes:
    """Return the frame of a message, its delimiter included."""
    fields = list(vars(message).values())
    data = fields.pop() if isinstance(message, Chunk) else b""
    head = struct.pack("<BB", version or message.VERSION, message.KIND)
    return wrap(head + struct.pack(message.LAYOUT, *fields) + data)


def wrap(content: bytes) -> bytes:
    """Add the CRC-32, take the zero bytes out, end with a zero byte."""
    return stuff(content + _check(content)) + DELIMITER


def _check(content: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(content))


def parse(content: bytes) -> Message:
    """Return the message in what a `Decoder` gave. Raises `FrameError`, also `VersionError`."""
    if len(content) < HEADER_BYTES:
        raise FrameError(f"{len(content)} bytes are too short for a header")
    version, number = content[:HEADER_BYTES]
    if version not in BY_VERSION:
        raise VersionError(version)
    if number not in BY_VERSION[version]:
        raise FrameError(f"unknown kind {number} in version {version}")
    kind: Any = BY_VERSION[version][number]
    end = HEADER_BYTES + struct.calcsize(kind.LAYOUT)
    fields, data = content[HEADER_BYTES:end], content[end:]
    fits = data and len(data) % 4 == 0 if kind is Chunk else not data
    if len(content) < end or not fits:
        raise FrameError(f"kind {number} does not have {len(content)} bytes")
    return kind(*struct.unpack(kind.LAYOUT, fields), *([data] if data else []))


def stuff(payload: bytes) -> bytes:
    """COBS: each run of up to 254 bytes without a zero gets its length + 1 in front."""
    blocks = [
        run[at : at + _BLOCK]
        for run in payload.split(b"\0")
        for at in range(0, len(run) + 1, _BLOCK)
    ]
    if len(blocks) > 1 and len(blocks[-2]) == _BLOCK and not blocks[-1]:
        blocks.pop()  # a full block stands for no zero, and none is left
    return b"".join(bytes([len(block) + 1]) + block for block in blocks)


def unstuff(stuffed: bytes) -> bytes:
    """Undo `stuff`. Raises `FrameError` if that never made these bytes."""
    if 0 in stuffed:
        raise FrameError("a zero byte inside a frame")
    out = bytearray()
    at = 0
    while at < len(stuffed):
        code = stuffed[at]
        out += stuffed[at + 1 : at + code]
        at += code
        if code <= _BLOCK and at < len(stuffed):
            out.append(0)
    if at > len(stuffed):
        raise FrameError("the frame ends in the middle of a run")
    return bytes(out)


class Decoder:
    """Finds the frames in a stream of bytes.

    Parameters
    ----------
    limit : int
        Longest payload accepted, CRC included; a longer one is dropped as it arrives.
    """

    def __init__(self, limit: int = MAX_PAYLOAD) -> None:
        self.limit = limit
        self.damaged = 0  # frames dropped: wrong CRC, wrong stuffing, too short or too long
        self._partial = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes as they come; return header and fields of each good frame they complete."""
        found = []
        *ends, rest = data.split(DELIMITER)
        for piece in ends:
            self._keep(piece)
            try:
                if self._partial:  # between two delimiters in a row nothing was sent
                    found.append(self._content())
            except FrameError:
                self.damaged += 1
            self._partial.clear()
        self._keep(rest)
        return found

    def _keep(self, piece: bytes) -> None:
        """Of a frame that is too long keep one byte too many: `_content` refuses it."""
        self._partial += piece[: frame_bytes(self.limit) - len(self._partial)]

    def _content(self) -> bytes:
        payload = unstuff(bytes(self._partial))
        if not HEADER_BYTES + CHECK_BYTES <= len(payload) <= self.limit:
            raise FrameError(f"a payload of {len(payload)} bytes")
        content, check = payload[:-CHECK_BYTES], payload[-CHECK_BYTES:]
        if check != _check(content):
            raise FrameError("the CRC is wrong")
        return content


# ---- Sizes ---------------------------------------------------------------------------------------


def frame_bytes(payload: int) -> int:
    """Longest frame of a payload of this many bytes: stuffing and delimiter added."""
    return payload + 1 + payload // _BLOCK + 1


def chunk_payload(floats: int) -> int:
    """Payload of a chunk with this many floats, CRC included."""
    return HEADER_BYTES + struct.calcsize(Chunk.LAYOUT) + 4 * floats + CHECK_BYTES


def chunk_floats(longest_frame: int) -> int:
    """Most floats in a chunk whose frame is never longer than this; 0 if none fits."""
    payload = longest_frame - 2 - (longest_frame - 1) // (_BLOCK + 1)  # undoes `frame_bytes`
    return max(0, payload - chunk_payload(0)) // 4
