"""Exercises of 05b_bad_links: zeros taken out, a checksum looked at, frames sent again."""

import zlib
from collections.abc import Callable

import numpy as np

from tinyreptile_lite.exercises.base import Wrong, call, exercise, explain
from tinyreptile_lite.wire import frames

Function = Callable[..., object]


def _payload(rng: np.random.Generator) -> bytes:
    """Some bytes, with a zero at the front, in the middle, or at the end."""
    count = int(rng.integers(3, 9))
    found = rng.integers(1, 256, count)
    found[rng.integers(0, count, int(rng.integers(1, 3)))] = 0
    return bytes(found.tolist())


@exercise(1, "take the zeros out")
def stuff(stuff: Function, rng: np.random.Generator) -> None:
    """COBS of a payload whose pieces are shorter than 254 bytes."""
    for given in (b"\x11\x22\0\x33", b"\0", b"\x07\0", *(_payload(rng) for _ in range(9))):
        text, right = given.hex(" "), frames.stuff(given)
        mine = call(stuff, given)
        if not isinstance(mine, (bytes, bytearray)):
            raise Wrong(f"stuff must return bytes, not {mine!r:.60}")
        if bytes(mine) == right:
            continue
        what = f"{text} must become {right.hex(' ')}, not {bytes(mine).hex(' ')}"
        pieces = given.split(b"\0")
        if bytes(mine) == b"".join(bytes([len(p)]) + p for p in pieces):
            look = "the number is the length + 1, so that it is never zero"
        elif 0 in mine:
            look = "there is still a zero in it"
        elif bytes(mine) == b"".join(bytes([len(p)]) + p for p in pieces if p):
            look = "an empty piece counts, too, and the number is the length + 1"
        elif bytes(mine) == b"".join(bytes([len(p) + 1]) + p for p in pieces if p):
            look = "between two zeros, before the first and after the last is an empty piece: 01"
        elif len(mine) == len(right) - 1:
            look = "one piece is missing: the last one needs its number, too"
        else:
            look = "in front of each piece stands its length + 1"
        raise Wrong(f"{what}: {look}")


@exercise(2, "is it whole?")
def is_whole(is_whole: Function, rng: np.random.Generator) -> None:
    """Whether the last four bytes of a payload are the CRC-32 of all before, low byte first."""
    for _ in range(4):
        content = rng.bytes(int(rng.integers(3, 20)))
        right = content + zlib.crc32(content).to_bytes(4, "little")
        bit = int(rng.integers(8 * len(right)))
        flipped = bytearray(right)
        flipped[bit // 8] ^= 1 << bit % 8
        turned = content + zlib.crc32(content).to_bytes(4, "big")
        cases = [
            (right, True, "it is whole: compare with the CRC of all but the last four bytes"),
            (bytes(flipped), False, f"bit {bit % 8} of byte {bit // 8} has flipped"),
            (turned, False, "the low byte comes first: 'little'"),
            (right[:-1], False, "a byte is missing"),
            (content[:2], False, "it is too short for a CRC"),
        ]
        for given, wanted, look in cases:
            mine = call(is_whole, given)
            if mine is not wanted and not (isinstance(mine, np.bool_) and bool(mine) == wanted):
                answer = f"is_whole({given.hex(' ')}) must be {wanted}, not {mine!r:.40}"
                raise Wrong(f"{answer}: {look}")


@exercise(3, "how often is a frame sent?")
def mean_sends(mean_sends: Function, rng: np.random.Generator) -> None:
    """Mean number of times that a frame is sent until it arrives."""
    for loss in (0.0, 0.5, round(float(rng.uniform(0.05, 0.4)), 2)):
        right = 1 / (1 - loss)
        slips = {
            "what is sent again may be lost again": 1 + loss,
            "that is the part that arrives: how many trials does one success need?": 1 - loss,
            "it is sent once at least": loss / (1 - loss),
            "divide by the part that arrives, not by the part that is lost": (
                1 / loss if loss else -1.0
            ),
            "and then again, and again: add all loss**k": 1 + loss + loss**2,
        }
        look = "1 + loss + loss**2 + ..., a geometric series"
        explain(f"mean_sends({loss})", call(mean_sends, loss), right, slips, look)
