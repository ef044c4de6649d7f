"""Packed changes: what a device sends when it does not send all its weights.

A visit changes weights by little, and most of them by very little. So a device can send how they
changed, not what they are: the largest changes only (Top-P), in 16 or 8 bits each. `pack` makes the
bytes, `unpack` reads them; `docs/wire-format.md` has the layout with an example, and `tr_pack.c` is
the same in C. All changes are rounded to float16 first; the selection and the 8 bits come from
these.

The positions cost little: each is written as its distance from the one before, in a Rice code
(Rice and Plaunt 1971). The 8 bits are rounded up or down by chance, so that their mean is right
(as in QSGD, Alistarh et al. 2017, arXiv 1610.02132).
"""

import math
import struct
from dataclasses import dataclass

import numpy as np

from tinyreptile_lite.errors import KitError

Array = np.ndarray

BLOCK = 64  # changes that share a scale and stand together in the bytes
LARGEST = 127  # of a change in 8 bits; -128 is not used
HALF_MAX = 65504.0  # largest number of float16
SMALLEST_SCALE, LARGEST_SCALE = 1e-12, HALF_MAX
MAX_SHIFT = 6  # bits of a distance behind its unary part
HEADER = struct.Struct("<BBI")  # bits of a change, shift of the Rice code or DENSE, changes
DENSE = 255  # instead of a shift: all changes are there, and no distances
ALL = 100.0


class PackError(KitError):
    """Packed changes that no device could have made."""


@dataclass(frozen=True)
class Sent:
    """The changes that a device sends.

    Attributes
    ----------
    at : ndarray of int, shape (K,)
        Their positions in the parameters, rising.
    values : ndarray of float32, shape (K,)
        As the server reads them.
    """

    at: Array
    values: Array

    def added_to(self, params: Array) -> Array:
        """Return parameters with the changes added to them; the others are as they were."""
        params = params.copy()
        params[self.at] += self.values
        return params


def check_packing(percent: float, bits: int) -> None:
    """Raise `KitError` unless changes can be packed like this."""
    if not (np.isfinite(percent) and 0 < percent <= ALL):
        raise KitError(
            f"{percent} percent of the changes cannot be sent; give more than 0, at most 100"
        )
    if bits not in (8, 16):
        raise KitError(f"a change cannot be sent in {bits} bits; give 8 or 16")


def halved(phi: Array) -> Array:
    """Return phi as a device gets it in float16: each number rounded to the nearest of those.

    Raises `KitError` if it holds NaN or numbers beyond 65,504.
    """
    if not (np.abs(phi) <= HALF_MAX).all():  # false for NaN
        raise KitError("phi holds NaN or numbers beyond 65,504, which float16 does not have")
    return phi.astype(np.float16).astype(np.float32)


def sent_count(size: int, percent: float) -> int:
    """How many of so many changes are the top P percent, rounded up."""
    return min(size, math.ceil(size * percent / ALL))


def select(change: Array, percent: float) -> tuple[Array, Array]:
    """Choose the largest changes; of equal ones, those that come first. Zeros are never chosen.

    Parameters
    ----------
    change : ndarray of float32, shape (N,)
    percent : float
        Share to choose; where that is all of them, zeros are sent as well.

    Returns
    -------
    at : ndarray of int, shape (K,)
        Positions, rising.
    values : ndarray of float16, shape (K,)
    """
    values = np.clip(change, -HALF_MAX, HALF_MAX).astype(np.float16)
    most = sent_count(len(values), percent)
    if most == len(values):
        return np.arange(most), values
    size = values.view(np.uint16) & 0x7FFF  # of positive numbers: the larger, the larger its bits
    count = min(most, int(np.count_nonzero(size)))
    if not count:
        return np.arange(0), values[:0]
    last = np.partition(size, len(size) - count)[len(size) - count]
    chosen = size > last
    equal = np.flatnonzero(size == last)
    chosen[equal[: count - np.count_nonzero(chosen)]] = True
    at = np.flatnonzero(chosen)
    return at, values[at]


def dice(seed: int, at: Array) -> Array:
    """Return a number from 0 to below 1 for each position: the same on every computer.

    They are made by the last steps of MurmurHash3 (Appleby, public domain).
    """
    x = np.uint32(seed) ^ (at.astype(np.uint32) * np.uint32(0x9E3779B9))
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return (x >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


def quantise(at: Array, values: Array, seed: int) -> tuple[Array, Array]:
    """Round changes to whole multiples, -127 to 127, of a scale that each block has for itself.

    Returns
    -------
    scales : ndarray of float32, shape (B,)
    steps : ndarray of int8, shape (K,)
    """
    values = values.astype(np.float32)
    starts = np.arange(0, len(values), BLOCK)
    largest = np.maximum.reduceat(np.abs(values), starts) if len(values) else values
    largest[largest == 0] = LARGEST  # a block of zeros
    scales = largest / np.float32(LARGEST)
    inverse = np.repeat(np.float32(LARGEST) / largest, BLOCK)[: len(values)]
    steps = np.floor(values * inverse + dice(seed, at))
    return scales, np.clip(steps, -LARGEST, LARGEST).astype(np.int8)


def selected(change: Array, percent: float, bits: int, seed: int) -> Sent:
    """Return what arrives of a change: that of ``unpack(pack(...))``, without the bytes."""
    at, values = select(change, percent)
    if bits == 16:
        return Sent(at, values.astype(np.float32))
    scales, steps = quantise(at, values, seed)
    return Sent(at, _multiplied(scales, steps))


def _multiplied(scales: Array, steps: Array) -> Array:
    return np.repeat(scales, BLOCK)[: len(steps)] * steps.astype(np.float32)


# ---- Bytes ---------------------------------------------------------------------------------------


def pack(change: Array, percent: float, bits: int, seed: int) -> bytes:
    """Make the bytes of a change.

    Parameters
    ----------
    change : ndarray of float32, shape (N,)
    percent : float
        Share of the changes to send, the largest; more than 0, at most 100.
    bits : int
        Of each: 8, with a common scale for each 64 of them, or 16.
    seed : int
        From 0 to 2**32 - 1, for the rounding to 8 bits.

    Raises
    ------
    KitError
        If the percentage or the bits cannot be.
    """
    check_packing(percent, bits)
    at, values = select(change, percent)
    dense = sent_count(len(change), percent) == len(change)
    shift = DENSE if dense else rice_shift(len(change), len(at))
    gaps = np.diff(at, prepend=-1) - 1
    scales, steps = quantise(at, values, seed) if bits == 8 else (None, values)
    parts = [HEADER.pack(bits, shift, len(at))]
    for number, start in enumerate(range(0, len(at), BLOCK)):
        block = slice(start, start + BLOCK)
        if scales is not None:
            parts.append(struct.pack("<f", scales[number]))
        if shift != DENSE:
            parts.append(_rice(gaps[block], shift))
        parts.append(steps[block].tobytes())
    return b"".join(parts)


def rice_shift(size: int, count: int) -> int:
    """Return the shift of the Rice code that suits so many of so many positions.

    It is the largest that keeps ``2**shift`` at or below 0.7 times the mean distance.
    """
    shift = 0
    while shift < MAX_SHIFT and 10 * (count << (shift + 1)) <= 7 * (size - count):
        shift += 1
    return shift


def _rice(gaps: Array, shift: int) -> bytes:
    """Write each distance as ones, a zero and `shift` bits, the lowest bit of a byte first."""
    bits = "".join(
        "1" * (gap >> shift) + "0" + "".join(str(gap >> i & 1) for i in range(shift))
        for gap in gaps.tolist()
    )
    return np.packbits(np.frombuffer(bits.encode(), np.uint8) - 48, bitorder="little").tobytes()


def unpack(data: bytes, size: int) -> Sent:
    """Read the bytes of a change of so many parameters; `pack` says how they are made.

    Raises
    ------
    PackError
        If nothing that `pack` makes has these bytes: what a device sends is not trusted.
    """
    if len(data) < HEADER.size:
        raise PackError(f"{len(data)} bytes are too short for packed changes")
    bits, shift, count = HEADER.unpack_from(data)
    if bits not in (8, 16) or not (shift <= MAX_SHIFT or shift == DENSE):
        raise PackError(f"packed changes of {bits} bits with the code {shift}: there is no such")
    if count > size or (shift == DENSE and count != size):
        raise PackError(f"{count:,} packed changes for {size:,} weights")
    reader = _Reader(data, HEADER.size)
    positions, values, last = [], [], -1
    for start in range(0, count, BLOCK):
        length = min(BLOCK, count - start)
        scale = reader.scale() if bits == 8 else 1.0
        if shift == DENSE:
            at = np.arange(start, start + length)
        else:
            at = last + np.cumsum(reader.gaps(length, shift, size) + 1)
        last = int(at[-1])
        if last >= size:
            raise PackError(f"a change of weight {last:,} of {size:,}")
        positions.append(at)
        values.append(np.float32(scale) * reader.steps(length, bits))
    if reader.at != len(data):
        raise PackError(f"{len(data) - reader.at} bytes too many behind the packed changes")
    return Sent(np.concatenate([np.arange(0), *positions]), np.concatenate([_NONE, *values]))


_NONE = np.empty(0, np.float32)


class _Reader:
    """Reads packed bytes from front to end, and never beyond it."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def _take(self, count: int) -> bytes:
        if len(self.data) - self.at < count:
            raise PackError("the packed changes end too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def scale(self) -> float:
        (scale,) = struct.unpack("<f", self._take(4))
        if not SMALLEST_SCALE <= scale <= LARGEST_SCALE:  # false for NaN
            raise PackError(f"packed changes with a scale of {scale:g}")
        return float(scale)

    def gaps(self, count: int, shift: int, size: int) -> Array:
        """Read so many distances and the bits that fill the last byte."""
        most = (size >> shift) + count * (1 + shift)  # bits, as all distances lie within the size
        piece = np.frombuffer(self.data[self.at : self.at + most // 8 + 1], np.uint8)
        bits = np.unpackbits(piece, bitorder="little")
        found, at = [], 0
        for _ in range(count):
            ones = bits[at : at + (size >> shift) + 2]
            end = int(np.argmin(ones)) if len(ones) else 0
            if not len(ones) or ones[end]:
                raise PackError("packed changes with a distance that does not end")
            low = bits[at + end + 1 : at + end + 1 + shift]
            found.append((end << shift) + sum(int(bit) << i for i, bit in enumerate(low)))
            at += end + 1 + shift
        self._take(-(-at // 8))
        if bits[at : -(-at // 8) * 8].any():
            raise PackError("packed changes with bits set where none are needed")
        return np.array(found)

    def steps(self, count: int, bits: int) -> Array:
        """Read so many changes, before they are multiplied by their scale."""
        steps = np.frombuffer(self._take(count * bits // 8), "<f2" if bits == 16 else np.int8)
        if not np.isfinite(steps).all() or (bits == 8 and (steps == -LARGEST - 1).any()):
            raise PackError("packed changes hold a number that is none")
        return steps.astype(np.float32)
