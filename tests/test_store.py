"""Weights that outlive a reset: tr_store on this computer, with a flash that has the real rules."""

import ctypes
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyreptile_lite.core.build import CORE, shared_library
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.flash import ERASE_US, PROGRAM_US, Flash

HERE = Path(__file__).parent
OK, ONE_LEFT, EMPTY, NETWORK, CRC, FORMAT, SIZE, FAILED = range(8)
HEADER, USER = 68, 32
PAGE = 128
MINE, OTHER = b"network1", b"network2"
ERASE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32)
PROGRAM = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32
)


class CFlash(ctypes.Structure):
    _fields_ = (
        ("memory", ctypes.c_void_p),
        ("size", ctypes.c_uint32),
        ("page", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("erase", ERASE),
        ("program", PROGRAM),
    )


@cache
def library():
    sources = [
        HERE / "c" / "store.c",
        *(CORE / f"{n}.c" for n in ("tr_store", "tr_wire", "tr_pack")),
    ]
    sources.append(CORE / "tinyreptile_core.c")
    lib = ctypes.CDLL(str(shared_library("store", sources, CORE)))
    lib.tr_store_find.restype = ctypes.POINTER(ctypes.c_float)
    lib.tr_store_text.restype = lib.float_text.restype = ctypes.c_char_p
    lib.float_text.argtypes = ctypes.c_char_p, ctypes.c_float
    assert lib.flash_size() == ctypes.sizeof(CFlash)
    return lib


class Store:
    """tr_store.h over a `Flash`."""

    def __init__(self, pages=8, page=PAGE):
        self.memory = (ctypes.c_ubyte * (pages * page))()
        ctypes.memset(self.memory, 0xFF, len(self.memory))
        self.spent = 0
        self.flash = Flash(self.memory, 0, page, self._spend)
        erase = ERASE(lambda _, address: 0 if self.flash.erase(address) else -1)
        program = PROGRAM(
            lambda _, at, data, size: (
                0 if self.flash.program(at, ctypes.string_at(data, size)) else -1
            )
        )
        where = ctypes.addressof(self.memory)
        self.c = CFlash(where, len(self.memory), page, None, erase, program)

    def _spend(self, microseconds):
        self.spent += microseconds

    def find(self, network=MINE, count=5):
        """Status, weights and user's bytes."""
        status, user = ctypes.c_int(-1), ctypes.create_string_buffer(USER)
        found = library().tr_store_find(
            ctypes.byref(self.c), network, count, user, ctypes.byref(status)
        )
        if not found:
            return status.value, None, None
        return status.value, np.ctypeslib.as_array(found, (count,)).copy(), user.raw

    def keep(self, weights, network=MINE, user=None):
        weights = np.ascontiguousarray(weights, np.float32)
        pointer = weights.ctypes.data_as(ctypes.c_void_p)
        return library().tr_store_keep(ctypes.byref(self.c), network, pointer, len(weights), user)

    def forget(self):
        return library().tr_store_forget(ctypes.byref(self.c))


def draw(count, seed):
    return np.random.default_rng(seed).normal(size=count).astype(np.float32)


def same(found, weights):
    return found is not None and found.tobytes() == np.float32(weights).tobytes()


def text(status):
    return library().tr_store_text(status).decode()


def test_every_status_has_a_sentence():
    sentences = [text(status) for status in range(8)]
    assert len(set(sentences)) == 8
    assert text(99) == text(-1) == "unknown status"
    assert "unknown status" not in sentences


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 111))
def test_the_newest_record_is_found_with_its_bytes(seeds, count):
    store = Store()
    assert store.find(count=count) == (EMPTY, None, None)
    for number, seed in enumerate(seeds):
        user = bytes([number]) * USER
        assert store.keep(draw(count, seed), user=user) == OK
        status, weights, kept = store.find(count=count)
        assert (status, kept) == (OK, user)
        assert same(weights, draw(count, seed))
    assert max(store.flash.erasures.values()) == math.ceil(len(seeds) / 2)  # both slots wear alike
    assert store.find(OTHER, count)[0] == NETWORK
    assert store.forget() == OK
    assert store.find(count=count)[0] == EMPTY
    assert bytes(store.memory) == b"\xff" * len(store.memory)


def test_what_does_not_fit_is_refused_and_touches_nothing():
    store = Store()
    room = (4 * PAGE - HEADER) // 4
    assert store.keep(draw(room, 1)) == OK
    before = bytes(store.memory)
    assert store.keep(draw(room + 1, 2)) == SIZE
    assert store.keep([]) == SIZE
    assert store.find(count=room + 1)[0] == store.find(count=2**32 - 1)[0] == SIZE
    assert bytes(store.memory) == before
    assert Store(pages=1).keep([1]) == SIZE


@given(st.integers(1, 70), st.integers(0, 3), st.integers(0, 99))
def test_power_lost_at_any_operation_leaves_the_last_good_record(count, before, seed):
    """Cut in the middle of each erased page and of each word: the old weights or the new ones."""
    operations = (HEADER + 4 * count) // 4 + -(-(HEADER + 4 * count) // PAGE)
    for cut in range(operations + 1):
        store = Store(pages=6)
        for number in range(before):
            assert store.keep(draw(count, seed + number)) == OK
        store.flash.lose_power_after(cut)
        said = store.keep(draw(count, seed + 1000))
        assert said == (OK if cut == operations else FAILED)
        store.flash.reset()
        status, weights, _ = store.find(count=count)
        if cut == operations:
            assert same(weights, draw(count, seed + 1000))
        elif before:
            assert status in (OK, ONE_LEFT)
            assert same(weights, draw(count, seed + before - 1))
        else:
            assert status == EMPTY
        assert store.keep(draw(count, 7)) == OK  # and life goes on
        assert same(store.find(count=count)[1], draw(count, 7))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12))
def test_power_lost_again_and_again_leaves_the_last_good_record(cuts):
    store, last = Store(pages=4), None
    for seed, cut in enumerate(cuts):  # 29 operations make a record
        store.flash.lose_power_after(cut)
        last = seed if store.keep(draw(10, seed)) == OK else last
        store.flash.reset()
        found = store.find(count=10)[1]
        assert found is None if last is None else same(found, draw(10, last))


@given(st.integers(1, 40), st.integers(0, 4))
def test_power_lost_while_forgetting_never_brings_back_an_older_record(count, records):
    for cut in range(8):
        store = Store(pages=6)
        for number in range(records):
            store.keep(draw(count, number))
        store.flash.lose_power_after(cut)
        store.forget()
        store.flash.reset()
        _, weights, _ = store.find(count=count)
        assert weights is None or same(weights, draw(count, records - 1))
        assert store.forget() == OK
        assert store.find(count=count)[0] == EMPTY


@given(st.integers(1, 20), st.data())
def test_a_flipped_bit_is_noticed_and_the_record_before_is_used(count, data):
    store = Store()
    size = HEADER + 4 * count
    weights = [draw(count, seed) for seed in range(2)]
    store.keep(weights[0])
    bit = data.draw(st.integers(0, 8 * size - 1))
    store.memory[bit // 8] ^= 1 << bit % 8
    assert store.find(count=count)[0] in (EMPTY, CRC, FORMAT)
    assert store.keep(weights[0]) == OK  # the sound one
    assert store.keep(weights[1]) == OK
    store.memory[4 * PAGE + bit // 8] ^= 1 << bit % 8
    status, found, _ = store.find(count=count)
    assert status in (OK, ONE_LEFT)
    assert same(found, weights[0])


def test_what_is_damaged_or_of_another_kind_is_told_apart():
    store = Store()
    store.keep(draw(5, 0))
    sound = bytes(store.memory)

    def after(at, value):
        ctypes.memmove(store.memory, sound, len(sound))
        store.memory[at] = value
        return store.find()[0]

    assert after(HEADER, sound[HEADER] ^ 1) == CRC
    assert after(30, sound[30] ^ 1) == CRC  # the sketch's own bytes
    assert after(4, 2) == FORMAT
    assert after(0, 0) == EMPTY
    assert store.find(count=6)[0] in (EMPTY, NETWORK)
    ctypes.memmove(store.memory, sound, len(sound))
    assert store.find(count=6)[0] == NETWORK


def test_one_network_keeps_its_record_beside_another_ones():
    store = Store()
    store.keep(draw(5, 0))
    store.keep(draw(9, 1), OTHER)
    assert store.find()[0] == NETWORK  # the other one had none, and took the first slot
    store.keep(draw(5, 2))
    assert same(store.find()[1], draw(5, 2))


def test_a_worn_page_is_noticed():
    store = Store()
    store.keep(draw(5, 0))
    store.memory[4 * PAGE + HEADER] = 0
    store.c.erase = ERASE(lambda _, address: 0)  # says yes, and does nothing
    assert store.keep(draw(5, 1)) == FAILED
    assert same(store.find()[1], draw(5, 0))


@pytest.mark.parametrize("worn", [0, 1])
def test_with_one_worn_page_the_other_slot_still_keeps(worn):
    store = Store()
    bad = 4 * PAGE * worn + PAGE
    store.c.erase = ERASE(lambda _, at: -1 if at == bad else 0 if store.flash.erase(at) else -1)
    assert store.keep(draw(70, 0)) == OK
    assert same(store.find(count=70)[1], draw(70, 0))
    assert store.keep(draw(70, 1)) == FAILED  # the sound record is not risked
    assert same(store.find(count=70)[1], draw(70, 0))


def test_sequence_numbers_may_wrap_around():
    store = Store()
    store.keep(draw(5, 0))
    library().tr_crc32.restype = ctypes.c_uint32
    header = bytearray(store.memory[:HEADER])
    header[16:20] = b"\xff" * 4
    crc = library().tr_crc32(0, bytes(header[:60]), 60)
    header[60:64] = crc.to_bytes(4, "little")
    store.memory[:HEADER] = list(header)
    for seed in range(1, 4):
        assert store.keep(draw(5, seed)) == OK
        assert same(store.find()[1], draw(5, seed))


# ---- The flash itself ----------------------------------------------------------------------------


def test_flash_has_the_real_ones_rules(refuses):
    memory = (ctypes.c_ubyte * (4 * 4096))()
    spent = []
    flash = Flash(memory, 5000, spend=spent.append)
    assert flash.erase(8192)
    assert not flash.erase(8192 + 4)
    assert not flash.erase(4 * 4096)
    assert flash.program(8192, b"\xf0\x0f\x55")  # filled up to a word
    assert flash.program(8192, b"\x3f\xff\xff\xff")
    assert bytes(memory[8192:8197]) == b"\x30\x0f\x55\xff\xff"  # bits are cleared, never set
    assert not flash.program(8193, b"abcd")
    assert not flash.program(4 * 4096 - 4, b"abcdefgh")
    assert spent == [ERASE_US, PROGRAM_US, PROGRAM_US]
    assert flash.erasures == {8192: 1}
    with refuses("its own program", "0x00001000"):
        flash.erase(4096)


def test_flash_outlives_a_run_in_a_file(tmp_path, refuses):
    memory = (ctypes.c_ubyte * (4 * 4096))(*b"\xff" * (4 * 4096))
    flash = Flash(memory)
    flash.program(4096, b"weights!")
    flash.erase(8192)
    flash.save(tmp_path / "flash")
    flash.save(tmp_path / "flash")
    other = (ctypes.c_ubyte * (4 * 4096))(*b"\xff" * (4 * 4096))
    again = Flash(other)
    again.load(tmp_path / "flash")
    assert bytes(other) == bytes(memory)
    assert again.erasures == flash.erasures
    assert [path.name for path in tmp_path.iterdir()] == ["flash"]
    larger = Flash((ctypes.c_ubyte * (4 * 4096))(), 4097)
    larger.load(tmp_path / "flash")  # a program lies there now
    with refuses("nowhere", "choose a file"):
        flash.load(tmp_path / "nowhere")
    with refuses("choose a file"):
        flash.save(tmp_path / "no" / "folder")


@given(st.data())
def test_a_damaged_file_is_one_sentence_or_the_same_memory(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flash") / "flash"
    memory = (ctypes.c_ubyte * (2 * 4096))(*b"\xff" * (2 * 4096))
    flash = Flash(memory)
    flash.program(4096, bytes(range(200)))
    flash.save(path)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    other = (ctypes.c_ubyte * (2 * 4096))(*b"\xff" * (2 * 4096))
    try:
        Flash(other).load(path)
    except KitError as error:
        assert "flash memory, or is damaged" in str(error)
        assert bytes(other) == b"\xff" * len(other)
    else:
        assert bytes(other) == bytes(memory)


# ---- Floats as text ------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.floats(width=32))
def test_a_float_as_text_is_read_back_to_the_same_bits(value):
    buffer = ctypes.create_string_buffer(b"\xee" * 20, 20)
    written = library().float_text(buffer, value).decode()
    assert len(written) < 20
    if math.isnan(value):
        assert written == "nan"
    else:
        assert np.float32(written).tobytes() == np.float32(value).tobytes()


@pytest.mark.parametrize(
    "value",
    [
        0.25,
        -1.5e-12,
        1024,
        0.1,
        1e-4,
        9.99e-5,
        0.001,
        -0.0,
        12.5,
        999999999,
        1e9,
        3e38,
        1e-45,
        123.0,
    ],
)
def test_floats_look_as_printf_writes_them(value):
    buffer = ctypes.create_string_buffer(20)
    assert library().float_text(buffer, value).decode() == f"{np.float32(value):.9g}"
