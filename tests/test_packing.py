"""Packed changes: NumPy and C make the same bytes, and read no others."""

import ctypes
import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from vectors import make_wire

from tinyreptile_lite import packing
from tinyreptile_lite.core.build import CORE, load
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.packing import PackError, pack, selected, unpack

BITS = st.sampled_from([8, 16])
PERCENT = st.floats(0.5, 100) | st.just(100.0)
SEEDS = st.integers(0, 2**32 - 1)


class _Packing(ctypes.Structure):
    """tr_packing of tr_pack.h."""

    _fields_ = (
        ("bits", ctypes.c_uint8),
        *((name, ctypes.c_uint32) for name in ("count", "limit", "seed")),
        ("kept", ctypes.c_void_p),
    )


@cache
def library():
    found = load("pack", [CORE / "tr_pack.c"], CORE)
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    found.tr_pack.restype = size
    found.tr_pack.argtypes = [pointer, pointer, size, pointer]
    found.tr_unpack.argtypes = [pointer, size, ctypes.c_char_p, size]
    found.tr_to_half.restype = ctypes.c_uint16
    found.tr_to_half.argtypes = [ctypes.c_float]
    found.tr_from_half.restype = ctypes.c_float
    found.tr_from_half.argtypes = [ctypes.c_uint16]
    return found


def slack(size):
    return (size // 8 + size // 64 + 24) & ~3


def native_pack(phi, weights, percent, bits, seed, limit=None, kept=None):
    """`tr_pack`, with 64 bytes behind the room that must stay as they are."""
    size, start = len(phi), slack(len(phi))
    words = (start + 2 * size + 3) // 4
    room = np.full(4 * words + 64, 0xA5, np.uint8)
    room[start : start + 2 * size] = phi.astype(np.float16).view(np.uint8)
    limit = size if limit is None else limit
    how = _Packing(bits, packing.sent_count(limit, percent), limit, seed)
    how.kept = None if kept is None else kept.ctypes.data
    weights = np.ascontiguousarray(weights, np.float32)
    made = library().tr_pack(room.ctypes.data, weights.ctypes.data, size, ctypes.byref(how))
    assert (room[4 * words :] == 0xA5).all()
    return room[:made].tobytes()


def native_unpack(data, size):
    target = np.zeros(size, np.float32)
    good = library().tr_unpack(target.ctypes.data, size, data, len(data))
    assert good or not target.any()
    return target if good else None


def python_unpack(data, size):
    try:
        return unpack(data, size).added_to(np.zeros(size, np.float32))
    except PackError:
        return None


@st.composite
def visits(draw):
    """Draw phi in float16 and what became of it: many weights changed a little, some not."""
    size = draw(st.integers(1, 700))
    rng = np.random.default_rng(draw(SEEDS))
    phi = packing.halved(rng.standard_normal(size).astype(np.float32))
    scale = 10.0 ** draw(st.integers(-9, 2))
    change = scale * rng.standard_normal(size) * rng.random(size) ** draw(st.integers(0, 8))
    change[rng.random(size) < draw(st.sampled_from([0, 0.5, 0.99]))] = 0
    if draw(st.booleans()):
        change = np.sort(change)  # the large ones stand together
    return phi, (phi + change).astype(np.float32)


@given(visits(), PERCENT, BITS, SEEDS)
def test_c_packs_the_same_bytes(visit, percent, bits, seed):
    phi, weights = visit
    assert native_pack(phi, weights, percent, bits, seed) == pack(
        weights - phi, percent, bits, seed
    )


@given(visits(), PERCENT, BITS, SEEDS)
def test_what_arrives_is_what_was_selected(visit, percent, bits, seed):
    change = visit[1] - visit[0]
    data = pack(change, percent, bits, seed)
    read, sent = unpack(data, len(change)), selected(change, percent, bits, seed)
    assert (read.at == sent.at).all()
    assert (read.values == sent.values).all()
    assert (native_unpack(data, len(change)) == sent.added_to(np.zeros_like(change))).all()


@given(visits(), PERCENT)
def test_the_largest_changes_are_selected(visit, percent):
    change = visit[1] - visit[0]
    at, values = packing.select(change, percent)
    size = np.abs(change.astype(np.float16))
    most = packing.sent_count(len(change), percent)
    assert len(at) == (most if most == len(change) else min(most, np.count_nonzero(size)))
    left = np.delete(size, at)
    assert not len(left) or not len(at) or left.max() <= np.abs(values).min()


@given(visits(), st.floats(0.5, 100), BITS, SEEDS, st.floats(0.1, 1))
def test_error_feedback_keeps_what_was_not_sent(visit, percent, bits, seed, part):
    phi, weights = visit
    limit = max(1, int(part * len(phi)))
    kept = np.linspace(-1e-3, 1e-3, limit, dtype=np.float32)
    change = weights[:limit] - phi[:limit] + kept
    sent = selected(change, percent, bits, seed)
    data = native_pack(phi, weights, percent, bits, seed, limit, kept)
    change[sent.at] -= sent.values
    assert data == pack(
        weights[:limit] - phi[:limit] + (np.linspace(-1e-3, 1e-3, limit, dtype=np.float32)),
        percent,
        bits,
        seed,
    )
    assert (kept == change).all()


@given(arrays(np.float32, st.integers(1, 300), elements=st.floats(-1, 1, width=32)), SEEDS)
def test_8_bits_are_off_by_less_than_a_step(change, seed):
    values = change.astype(np.float16).astype(np.float32)
    sent = selected(change, 100, 8, seed).values
    for start in range(0, len(change), packing.BLOCK):
        block = slice(start, start + packing.BLOCK)
        step = np.abs(values[block]).max() / packing.LARGEST
        assert (np.abs(sent[block] - values[block]) <= step * 1.001).all()


def test_rounding_to_8_bits_is_right_in_the_mean():
    change = np.linspace(-1, 1, 64, dtype=np.float32)
    values = change.astype(np.float16).astype(np.float32)
    seeds = range(4_000)
    mean = np.mean([selected(change, 100, 8, seed).values for seed in seeds], axis=0)
    # A step is 1 / 127; the chance of a rounding has a deviation of half of it at most.
    assert np.abs(mean - values).max() < 5 * 0.5 / packing.LARGEST / np.sqrt(len(seeds))


def test_every_float16_and_its_neighbours_convert_as_in_numpy():
    halves = np.arange(1 << 16, dtype=np.uint16)
    halves = halves[(halves & 0x7C00) != 0x7C00]
    floats = halves.view(np.float16).astype(np.float32)
    c = library()
    assert [c.tr_from_half(int(half)) for half in halves[::7]] == floats[::7].tolist()
    between = np.concatenate([floats, np.nextafter(floats, 1e9), (floats[:-1] + floats[1:]) / 2])
    wanted = np.clip(between, -65504, 65504).astype(np.float16).view(np.uint16)
    some = slice(None, None, 11)
    assert [c.tr_to_half(float(one)) for one in between[some]] == wanted[some].tolist()
    for large in (65519.0, 65520.0, 1e12, np.inf):
        assert c.tr_to_half(large) == np.float16(65504).view(np.uint16)


@given(visits(), PERCENT, BITS, SEEDS, st.data())
def test_damaged_bytes_are_refused_by_both_or_read_alike(visit, percent, bits, seed, data):
    change = visit[1] - visit[0]
    whole = bytearray(pack(change, percent, bits, seed))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= 1 << data.draw(st.integers(0, 7))
    damaged = bytes(
        whole[: data.draw(st.integers(0, len(whole)))] if data.draw(BITS) == 8 else whole
    )
    python, c = python_unpack(damaged, len(change)), native_unpack(damaged, len(change))
    assert (python is None) == (c is None)
    assert python is None or np.array_equal(python, c)


@given(st.binary(max_size=80), st.integers(1, 500))
def test_any_bytes_are_refused_by_both_or_read_alike(data, size):
    python, c = python_unpack(data, size), native_unpack(data, size)
    assert (python is None) == (c is None)


@given(visits(), PERCENT, BITS)
def test_the_formula_says_how_many_bytes_it_takes_at_most(visit, percent, bits):
    made = len(pack(visit[1] - visit[0], percent, bits, 0))
    assert made <= packing.packed_bytes(len(visit[0]), percent, bits)


def test_the_coldest_corner_needs_no_more_room():
    """Where all changes that are sent stand at the front, what is written comes closest."""
    for size in (64, 500, 3_000):
        for percent in (10, 14, 25, 26, 40, 60, 75, 88, 89, 95, 99, 99.9):
            phi = np.zeros(size, np.float32)
            count = packing.sent_count(size, percent)
            weights = np.where(np.arange(size) < count, 1, 0).astype(np.float32)
            made = native_pack(phi, weights, percent, 16, 0)
            assert made == pack(weights, percent, 16, 0)
            ends = weights[::-1].copy()
            assert native_pack(phi, ends, percent, 16, 0) == pack(ends, percent, 16, 0)


@pytest.mark.parametrize("percent", [0, -1, 100.5, float("nan")])
def test_a_percentage_that_cannot_be_is_refused(percent):
    with pytest.raises(KitError, match=r"percent of the changes cannot be sent; give more than 0"):
        pack(np.ones(3, np.float32), percent, 8, 0)


def test_other_bits_are_refused():
    with pytest.raises(KitError, match="in 4 bits; give 8 or 16"):
        pack(np.ones(3, np.float32), 100, 4, 0)


def test_phi_beyond_float16_is_refused():
    with pytest.raises(KitError, match="beyond 65,504"):
        packing.halved(np.array([1.0, 7e4], np.float32))


@pytest.mark.parametrize(
    ("scale", "shown"), [(0.0, "scale of 0"), (np.nan, "scale of nan"), (-1.0, "scale of -1")]
)
def test_a_scale_that_cannot_be_is_named(scale, shown):
    data = bytearray(pack(np.ones(3, np.float32), 100, 8, 0))
    data[6:10] = np.float32(scale).tobytes()
    with pytest.raises(PackError, match=shown):
        unpack(bytes(data), 3)


def test_a_position_out_of_range_is_named():
    data = pack(np.array([0, 0, 0, 0, 1], np.float32), 20, 8, 0)
    with pytest.raises(PackError, match="a change of weight 4 of 4"):
        unpack(data, 4)


VECTORS = json.loads(make_wire.TARGET.read_text(encoding="utf-8"))["packed"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: f"{len(one['change']) // 8}")
def test_both_make_and_read_the_vectors_bytes(vector):
    change = np.frombuffer(bytes.fromhex(vector["change"]), "<f4")
    data, how = bytes.fromhex(vector["bytes"]), [vector[n] for n in ("percent", "bits", "seed")]
    assert pack(change, *how) == data
    assert native_pack(np.zeros_like(change), change, *how) == data
    np.testing.assert_array_equal(
        native_unpack(data, len(change)), python_unpack(data, len(change))
    )


@given(visits(), PERCENT, BITS, SEEDS)
def test_what_is_taken_back_is_what_was_sent(visit, percent, bits, seed):
    """A lost result is added to what is kept: then that is all of the change, but for rounding."""
    phi, weights = visit
    change = weights - phi
    kept = np.zeros(len(phi), np.float32)
    data = native_pack(phi, weights, percent, bits, seed, kept=kept)
    assert library().tr_unpack(kept.ctypes.data, len(kept), data, len(data))
    np.testing.assert_allclose(kept, change, atol=float(np.abs(change).max()) * 2**-20)


@pytest.mark.parametrize("options", [(4, 1, 9, 9), (8, 0, 9, 9), (8, 10, 9, 9), (16, 9, 10, 9)])
def test_c_packs_nothing_that_cannot_be(options):
    bits, count, limit, size = options
    room = np.zeros(100, np.uint32)
    how = _Packing(bits, count, limit, 0)
    weights = np.ones(size, np.float32)
    pack_it = library().tr_pack
    assert not pack_it(room.ctypes.data, weights.ctypes.data, size, ctypes.byref(how))
    assert not pack_it(room.ctypes.data, weights.ctypes.data, 65_536, ctypes.byref(how))


def test_the_largest_network_keeps_within_its_room():
    rng = np.random.default_rng(0)
    phi, weights = np.zeros(65_535, np.float32), rng.standard_normal(65_535).astype(np.float32)
    for percent, bits in ((100, 8), (100, 16), (60, 16), (1, 8)):
        data = native_pack(phi, weights, percent, bits, 1)
        assert data == pack(weights, percent, bits, 1)
