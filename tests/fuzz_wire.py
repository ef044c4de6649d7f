"""Fuzz both implementations of the wire format.

python tests/fuzz_wire.py --frames 10000000 --seed 1

The C side, with the state machine behind it, runs under ASan and UBSan (see c/fuzz_wire.c; needs
GCC or clang with sanitizers). The Python side gets the same kinds of damage. A short run of both is
part of the tests.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from vectors.make_wire import MESSAGES, packed

from tinyreptile_lite.core.build import CORE
from tinyreptile_lite.packing import PackError, unpack
from tinyreptile_lite.wire import frames

DRIVER = Path(__file__).parent / "c" / "fuzz_wire.c"
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
COMPILERS = ("gcc", "clang", "cc")


def fuzz_c(count: int, seed: int) -> dict:
    """Run the C driver; returns what it counted, raises if a sanitizer or a check complained."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise RuntimeError("no C compiler with sanitizers; install one: sudo apt install gcc")
    flags = ["-std=c99", "-g", "-DTR_PLAIN_OPTIONS", *SANITIZERS, f"-I{CORE}"]
    with tempfile.TemporaryDirectory() as folder:
        program, core = Path(folder) / "fuzz_wire", Path(folder) / "core.o"
        # The core's unrolled loops take long to instrument when optimised.
        compile_core = ["-O0", "-c", str(CORE / "tinyreptile_core.c"), "-o", str(core)]
        sources = [str(CORE / "tr_wire.c"), str(CORE / "tr_pack.c")]
        link_all = ["-O1", str(DRIVER), *sources, str(core), "-o", str(program)]
        for step in (compile_core, link_all):
            subprocess.run([compiler, *flags, *step], check=True)
        done = subprocess.run(
            [program, str(count), str(seed)],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"},  # ptrace may be forbidden
        )
    return json.loads(done.stdout)


def fuzz_python(count: int, seed: int) -> dict:
    """Decode mutated frames; anything but a message or a FrameError is a fault.

    Mutated packed changes are read as well: they are refused, or hold numbers for weights.
    """
    rng = random.Random(seed)
    contents = [frames.Decoder().feed(frames.encode(message))[0] for message in MESSAGES]
    short = [content for content in contents if len(content) < 200]  # long ones take the time
    decoder, messages, refused = frames.Decoder(), 0, 0
    for _ in range(count):
        frame = bytearray(frames.wrap(_mutated(rng, short if rng.random() < 0.99 else contents)))
        if rng.random() < 0.5:
            frame = _mutate(rng, frame)
        for content in decoder.feed(bytes(frame)):
            try:
                frames.encode(frames.parse(content))
                messages += 1
            except frames.FrameError:
                refused += 1
    return {
        "frames": count,
        "messages": messages,
        "refused": refused,
        "damaged": decoder.damaged,
    } | _fuzz_packed(rng, count)


def _fuzz_packed(rng: random.Random, count: int) -> dict:
    """Read mutated packed changes."""
    good = [(bytes.fromhex(one["bytes"]), len(one["change"]) // 8) for one in packed()]
    short = [(data, size) for data, size in good if len(data) < 300]
    read = refused = 0
    for _ in range(count):
        data, size = rng.choice(short if rng.random() < 0.99 else good)
        try:
            sent = unpack(bytes(_mutate(rng, bytearray(data))), size)
        except PackError:
            refused += 1
            continue
        rising = (np.diff(sent.at, prepend=-1) > 0).all()
        if not (rising and (sent.at < size).all() and np.isfinite(sent.values).all()):
            raise RuntimeError(f"changes that cannot be: {sent}")
        read += 1
    return {"packed_read": read, "packed_refused": refused}


def _mutated(rng: random.Random, contents: list[bytes]) -> bytes:
    """Header and fields of some message, half of the time damaged before they get their CRC."""
    content = rng.choice(contents)
    return bytes(_mutate(rng, bytearray(content))) if rng.random() < 0.5 else content


def _mutate(rng: random.Random, data: bytearray) -> bytearray:
    at = rng.randrange(len(data))
    match rng.randrange(5):
        case 0:
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            data[at] = rng.randrange(256)
        case 2:
            del data[at:]
        case 3:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        case _:
            data += data[at:]
    return data


def main() -> None:
    """Fuzz and print what was counted."""
    parser = argparse.ArgumentParser(description="Fuzz the wire format, in C and in Python.")
    parser.add_argument("--frames", type=int, default=10_000_000, help="into each of the two")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print("C:     ", json.dumps(fuzz_c(options.frames, options.seed)), flush=True)
    print("Python:", json.dumps(fuzz_python(options.frames, options.seed)))


if __name__ == "__main__":
    main()
