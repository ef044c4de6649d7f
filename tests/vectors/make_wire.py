"""Write wire.json, the vectors that hold the Python and the C wire format together.

Run `python tests/vectors/make_wire.py` after a change of the format; a test compares the file with
what this script makes, so a forgotten run is noticed.
"""

import json
import random
from pathlib import Path

import numpy as np

from tinyreptile_lite.packing import pack
from tinyreptile_lite.wire import frames

TARGET = Path(__file__).with_name("wire.json")
LIMIT = 200  # payload limit of the decoders that read the streams

MESSAGES = [
    frames.Hello(session=0x01020304, frame_bytes=199),
    frames.Push(round=7, attempt=0, nonce=0xA1B2C3D4, crc=0x00FF00FF),
    frames.Chunk(tag=0xD4, index=0, data=bytes(4)),
    frames.Chunk(tag=0xD4, index=2, data=bytes.fromhex("0000803f000000c0")),
    frames.Chunk(tag=0, index=2047, data=bytes(range(1, 189))),
    frames.Chunk(tag=255, index=1, data=b"\xff" * 1024),
    frames.Chunk(tag=1, index=256, data=bytes(1024)),
    frames.Train(nonce=0xA1B2C3D4, rate=0.5, sample_count=32, seed=2**32 - 1, source=1),
    frames.Pull(nonce=0xA1B2C3D4, first=0, mask=0b11111),
    frames.Evaluate(nonce=0xA1B2C3D4, seed=5, sample_count=65535, source=0),
    frames.Status(),
    frames.Abort(nonce=1),
    frames.Welcome(
        session=0x01020304,
        board_id=b"\0\1\2\3\4\5\6\7",
        network=b"\xff" * 8,
        weights=1153,
        chunk_floats=47,
        window=32,
        sources=2,
    ),
    frames.Report(state=4, error=0, nonce=0xA1B2C3D4, count=32, detail=0xCAFE, loss=0.25),
    frames.Score(nonce=0xA1B2C3D4, seed=5, sample_count=50, correct=49, loss=0.125),
    frames.Hello2(session=0x01020304, frame_bytes=199),
    frames.Push2(
        round=7,
        attempt=0,
        nonce=0xA1B2C3D4,
        crc=0x00FF00FF,
        bits=8,
        flags=3,
        limit=1120,
        count=280,
        taken=0xD4C3B2A1,
    ),
    frames.Train2(
        nonce=0xA1B2C3D4,
        rate=0.5,
        sample_count=32,
        seed=2**32 - 1,
        source=1,
        head_samples=8,
        head_rate=0.25,
    ),
    frames.Welcome2(
        session=0x01020304,
        board_id=b"\0\1\2\3\4\5\6\7",
        network=b"\xff" * 8,
        weights=1153,
        chunk_floats=47,
        window=32,
        sources=2,
        flags=1,
    ),
    frames.Report2(
        state=4, error=0, nonce=0xA1B2C3D4, count=32, detail=0xCAFE, loss=0.25, size=408
    ),
]
PACKED = [  # size, percent, bits, seed
    (1, 100, 8, 0),
    (1, 50, 16, 1),
    (4, 50, 8, 5),
    (63, 100, 16, 2),
    (65, 100, 8, 3),
    (300, 25, 8, 4),
    (300, 75, 8, 2**32 - 1),
    (700, 1, 16, 6),
    (1153, 10, 8, 7),
]


def fields(message: frames.Message) -> dict[str, object]:
    """Fields of a message in JSON types."""
    return {k: v.hex() if isinstance(v, bytes) else v for k, v in vars(message).items()}


def packed() -> list[dict[str, object]]:
    """Changes, and their bytes: some are equal, some zero, some too small or large for float16."""
    rng, found = np.random.default_rng(0), []
    for size, percent, bits, seed in PACKED:
        change = (rng.integers(-999, 999, size) / 2**20).astype(np.float32)
        change[rng.random(size) < 0.2] *= np.float32(2**-16)
        change[rng.random(size) < 0.01] = 1e9
        how = {"percent": percent, "bits": bits, "seed": seed}
        data = pack(change, percent, bits, seed)
        found.append({"change": change.astype("<f4").tobytes().hex(), **how, "bytes": data.hex()})
    return found


def streams() -> list[bytes]:
    """Byte streams as a bad line delivers them."""
    rng = random.Random(4)
    short = [m for m in MESSAGES if len(frames.encode(m)) < LIMIT]
    found = [b"", b"\0", b"\0\0\0", b"\1\0", b"\xff\0", b"\2\0", bytes(range(1, 256)) + b"\0"]
    found += [frames.wrap(bytes(n)) for n in (0, 1, 2, LIMIT - 5, LIMIT - 4, LIMIT - 3, LIMIT)]
    found += [frames.wrap(b"\7" * n) for n in (LIMIT - 4, LIMIT - 3, 253, 254, 255, 600)]
    for _ in range(120):
        stream = bytearray(b"".join(frames.encode(rng.choice(short)) for _ in range(4)))
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(stream))
            if rng.random() < 0.4:
                stream[at] ^= 1 << rng.randrange(8)
            elif rng.random() < 0.5:
                del stream[at : at + rng.randrange(1, 9)]
            else:
                stream[at:at] = rng.randbytes(rng.randrange(1, 9))
        found.append(bytes(stream))
    return found


def vectors() -> dict[str, object]:
    """All vectors."""
    decoded = []
    for stream in streams():
        decoder = frames.Decoder(LIMIT)
        contents = decoder.feed(stream)
        decoded.append(
            {
                "bytes": stream.hex(),
                "contents": [content.hex() for content in contents],
                "damaged": decoder.damaged,
            }
        )
    return {
        "generator": "tests/vectors/make_wire.py",
        "versions": list(frames.BY_VERSION),
        "messages": [
            {"name": type(m).__name__, "fields": fields(m), "frame": frames.encode(m).hex()}
            for m in MESSAGES
        ],
        "packed": packed(),
        "limit": LIMIT,
        "streams": decoded,
    }


def text() -> str:
    """The file's text: one vector a line."""
    lines = json.dumps(vectors()).replace("}, {", "},\n {")
    return lines.replace("[{", "[\n {") + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
