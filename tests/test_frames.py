"""The wire format: Python against C, against shared vectors, against everything a line can do."""

import json
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_frames import NativeDecoder, library, native_wrap
from vectors import make_wire

from tinyreptile_lite.packing import pack, unpack
from tinyreptile_lite.wire import frames

VECTORS = json.loads(make_wire.TARGET.read_text(encoding="utf-8"))
PAGE = Path(__file__).parents[1] / "docs" / "wire-format.md"
DECODERS = [frames.Decoder, NativeDecoder]


def message_of(vector: dict) -> frames.Message:
    kind = getattr(frames, vector["name"])
    fields = vector["fields"]
    raw = {"data", "board_id", "network"}
    return kind(**{k: bytes.fromhex(v) if k in raw else v for k, v in fields.items()})


# ---- Vectors -------------------------------------------------------------------------------------


def test_vectors_are_what_their_generator_makes():
    assert make_wire.TARGET.read_text(encoding="utf-8") == make_wire.text()


def test_vectors_cover_every_kind():
    known = {kind.__name__ for kinds in frames.BY_VERSION.values() for kind in kinds.values()}
    assert {v["name"] for v in VECTORS["messages"]} == known


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda v: v["name"])
def test_messages_become_the_vectors_bytes_and_come_back(vector):
    message, frame = message_of(vector), bytes.fromhex(vector["frame"])
    assert frames.encode(message) == frame
    (content,) = frames.Decoder().feed(frame)
    assert frames.parse(content) == message
    assert native_wrap(content) == frame
    assert NativeDecoder(4096).feed(frame) == [content]


@pytest.mark.parametrize("decoder", DECODERS)
def test_damaged_streams_give_the_vectors_frames(decoder):
    for vector in VECTORS["streams"]:
        reader = decoder(VECTORS["limit"])
        contents = reader.feed(bytes.fromhex(vector["bytes"]))
        assert [content.hex() for content in contents] == vector["contents"]
        assert reader.damaged == vector["damaged"]


# ---- The two implementations are one format ------------------------------------------------------

# Bytes with many zeros, and runs around the block length of 254.
payloads = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from([b"\0", b"\1", b"\xff" * 253, b"\7" * 254]), max_size=6).map(b"".join),
)


@given(payloads)
def test_stuffing_has_no_zero_and_undoes(payload):
    stuffed = frames.stuff(payload)
    assert 0 not in stuffed
    assert len(stuffed) <= len(payload) + 1 + len(payload) // 254
    assert frames.unstuff(stuffed) == payload


@given(payloads)
def test_c_stuffs_the_same_bytes(payload):
    assert native_wrap(payload) == frames.wrap(payload)


@given(st.binary(max_size=100), st.integers(0, 2**32 - 1))
def test_c_crc_is_zlibs(data, start):
    assert library().tr_crc32(start, data, len(data)) == zlib.crc32(data, start)


streams = st.lists(
    st.one_of(
        st.binary(max_size=40),
        payloads.map(frames.wrap),
        st.just(b"\0"),
        payloads.map(frames.stuff),
    ),
    max_size=6,
).map(b"".join)


@settings(max_examples=300)
@given(streams, st.integers(6, 400))
def test_both_decoders_accept_the_same_frames(stream, limit):
    ours, native = frames.Decoder(limit), NativeDecoder(limit)
    assert ours.feed(stream) == native.feed(stream)
    assert ours.damaged == native.damaged


@given(streams, st.lists(st.integers(0, 200), max_size=5))
def test_frames_do_not_depend_on_how_the_stream_is_cut(stream, cuts):
    whole, cut = frames.Decoder(), frames.Decoder()
    found, at = [], 0
    for end in [*sorted(min(c, len(stream)) for c in cuts), len(stream)]:
        found += cut.feed(stream[at:end])
        at = end
    assert found == whole.feed(stream)
    assert cut.damaged == whole.damaged


@settings(max_examples=300)
@given(st.sampled_from(make_wire.MESSAGES), st.data())
def test_a_damaged_frame_is_never_taken_for_another_message(message, data):
    frame = bytearray(frames.encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    contents = frames.Decoder().feed(bytes(frame) + b"\0")
    assert all(frames.parse(content) == message for content in contents)


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_undamaged_nonsense_raises_frame_errors_only(content):
    try:
        message = frames.parse(content)
    except frames.FrameError:
        return
    (again,) = frames.Decoder().feed(frames.encode(message))
    assert repr(frames.parse(again)) == repr(message)  # as NaN is not equal to itself


def test_a_frame_of_another_version_says_which():
    (content,) = frames.Decoder().feed(frames.encode(frames.Status(), version=9))
    with pytest.raises(frames.VersionError, match="wire version 9") as caught:
        frames.parse(content)
    assert caught.value.version == 9


def test_an_endless_frame_takes_no_endless_memory():
    decoder = frames.Decoder(100)
    for _ in range(100):
        decoder.feed(b"\7" * 10_000)
    assert len(decoder._partial) <= frames.frame_bytes(100)
    good = frames.encode(frames.Status())
    assert decoder.feed(b"\0" + good) == frames.Decoder().feed(good)


@given(st.integers(0, 600), st.binary(min_size=1, max_size=1))
def test_sizes_are_upper_bounds(floats, byte):
    frame = frames.encode(frames.Chunk(1, 1, byte * (4 * floats)))
    longest = frames.frame_bytes(frames.chunk_payload(floats))
    assert len(frame) <= longest
    assert frames.chunk_floats(longest) == floats


# ---- The page ------------------------------------------------------------------------------------


def test_the_pages_worked_example_is_true():
    """The example's hexadecimal blocks are the bytes that this code makes."""
    page = PAGE.read_text(encoding="utf-8")
    named = dict(re.findall(r"^    (\w+): +((?:[0-9a-f]{2} ?)+)$", page, re.MULTILINE))
    blocks = {name: bytes.fromhex(text) for name, text in named.items()}
    chunk = frames.Chunk(tag=0xD4, index=2, data=struct.pack("<2f", 1.0, -2.0))
    (content,) = frames.Decoder().feed(frames.encode(chunk))
    assert blocks["content"] == content
    assert blocks["crc"] == struct.pack("<I", zlib.crc32(content))
    assert blocks["frame"] == frames.encode(chunk)


def test_the_pages_packed_example_is_true():
    page = PAGE.read_text(encoding="utf-8").split("## Version 2")[1]
    named = dict(re.findall(r"^    (\w+) ?: +([0-9a-f]{2}(?: [0-9a-f]{2})*)(?:  |$)", page, re.M))
    (numbers,) = re.findall(r"percent of the changes ([-0-9., ]+), in 8 bits", page)
    changes = [float(number) for number in numbers.split(",")]
    data = pack(np.array(changes, np.float32), percent=50, bits=8, seed=5)
    assert bytes.fromhex(" ".join(named[n] for n in ("header", "scale", "gaps", "steps"))) == data
    sent = unpack(data, len(changes))
    told = dict(re.findall(r"weight (\d+) moves by (-?\d\.\d+)", page))
    assert {int(at): float(value) for at, value in told.items()} == pytest.approx(
        dict(zip(sent.at.tolist(), sent.values.tolist(), strict=True)), abs=5e-5
    )
    push = next(m for m in make_wire.MESSAGES if isinstance(m, frames.Push2))
    (content,) = frames.Decoder().feed(frames.encode(push))
    assert bytes.fromhex(named["push"]) == content[2 + struct.calcsize(frames.Push.LAYOUT) :]


@pytest.mark.parametrize(("version", "kinds"), frames.BY_VERSION.items())
def test_the_pages_tables_list_every_message(version, kinds):
    page = PAGE.read_text(encoding="utf-8").split("## Version 2")[version - 1]
    sizes = {int(k): int(n) for k, n in re.findall(r"^\| (\d+) \| [A-Z]+ \| (\d+)", page, re.M)}
    assert sizes == {number: struct.calcsize(kind.LAYOUT) for number, kind in kinds.items()}


def test_the_page_lists_every_state_and_error():
    page = PAGE.read_text(encoding="utf-8")
    for state in frames.State:
        assert f"{state.value} {state.name}" in page
    for number in (n for n in frames.ERRORS if n >= 32):
        assert f"{number} {frames.ERRORS[number]}" in page
