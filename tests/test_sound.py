"""The front end for sound: a spectrum, cheap, and the same bits in NumPy, C and on the board."""

import ctypes
import importlib.util
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from compilers import BOARD, HOST, SANITIZERS
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite import sound
from tinyreptile_lite.core.build import CORE, shared_library
from tinyreptile_lite.nano import VirtualNano
from tinyreptile_lite.nano.cycles import model

DRIVERS = Path(__file__).parent / "c"
MOST_CYCLES = 64_000_000 // 50 // 20  # 5 % of 64 MHz for each of 50 rows a second
MOST_RAM = 12_000
SKETCH = """
#include <TinyReptile.h>
#include <stdlib.h>
#include "sound.h"

static int16_t block[256];

void setup() {
  Serial.begin(115200);
  const uint32_t hash = sound_hash(sound_rows(block, 256, 16000));
  for (int shift = 28; shift >= 0; shift -= 4) Serial.print((hash >> shift) & 15, HEX);
  Serial.println("");
  abort();
}

void loop() {}
"""


@cache
def library():
    sources = [DRIVERS / "sound.c", CORE / "tr_sound.c", CORE / "tinyreptile_core.c"]
    loaded = ctypes.CDLL(str(shared_library("sound", sources, CORE)))
    size = ctypes.c_size_t
    loaded.sound_rows.argtypes, loaded.sound_rows.restype = [ctypes.c_void_p, size, size], size
    loaded.sound_hash.argtypes, loaded.sound_hash.restype = [size], ctypes.c_uint32
    loaded.tr_sound_take.argtypes = [ctypes.c_void_p, ctypes.c_void_p, size]
    loaded.tr_sound_take.restype = size
    loaded.tr_sound_level.argtypes = [ctypes.c_void_p, size]
    return loaded


def stream(samples, sizes):
    """Rows that C makes of samples which come in blocks of these sizes, over and over."""
    state, rows, at = (ctypes.c_float * 800)(), [], 0
    library().tr_sound_restart(state)
    while at < len(samples):
        for size in sizes:
            block = np.ascontiguousarray(samples[at : at + size])
            at += len(block)
            while len(block):
                block = block[library().tr_sound_take(state, block.ctypes.data, len(block)) :]
                row = (ctypes.c_float * sound.BANDS)()
                if library().tr_sound_row(state, row):
                    rows.append(np.array(row))
    return np.array(rows, np.float32).reshape(-1, sound.BANDS)


def recording(seed, count, loudness):
    """Noise whose loudness is drawn anew for each 100 samples, with an offset."""
    rng = np.random.default_rng(seed)
    envelope = np.repeat(rng.uniform(0, loudness, count // 100 + 1), 100)[:count]
    samples = rng.normal(rng.uniform(-loudness, loudness), envelope + 1e-9)
    return samples.clip(-32768, 32767).astype(np.int16)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 4_000),
    st.sampled_from([0, 3, 500, 40_000]),
    st.lists(st.integers(1, 1_000), min_size=1, max_size=5),
)
def test_c_and_numpy_give_the_same_bits_whatever_the_blocks(seed, count, loudness, sizes):
    samples = recording(seed, count, loudness)
    rows = stream(samples, sizes)
    assert len(rows) == sound.frame_count(count)
    if len(rows):
        assert np.array_equal(rows, sound.log_mel(samples))
        assert rows.min() > 13 and rows.max() < 35
        library().tr_sound_level(rows.ctypes.data, rows.size)
        assert np.array_equal(rows, sound.level(sound.log_mel(samples)))


@pytest.mark.parametrize("compiler", BOARD)
def test_the_board_gives_the_same_bits_in_time_and_in_little_ram(compiler, tmp_path):
    sketch = tmp_path / "Sound"
    sketch.mkdir()
    (sketch / "Sound.ino").write_text(SKETCH)
    for name in ("sound.c", "sound.h"):
        shutil.copy(DRIVERS / name, sketch / name)
    board = VirtualNano(sketch, compiler=compiler, libraries=CORE.parents[1])
    board.profile()
    board.run_until(lambda nano: nano.stopped)
    block = np.zeros(16_000, np.int16)
    rows = library().sound_rows(block.ctypes.data, 16_000, 16_000)
    assert rows == sound.frame_count(16_000) == 49
    assert int(board.serial.text, 16) == library().sound_hash(rows)
    assert model(board.blocks(), board.read_memory).cycles / rows <= MOST_CYCLES
    find = board.firmware.elf.find
    assert find("sound").size + find("rows").size + board.stack_used <= MOST_RAM


@pytest.mark.parametrize("name", HOST)
def test_other_compilers_have_nothing_to_say_and_give_the_same_bits(name, tmp_path):
    sources = [DRIVERS / "sound.c", DRIVERS / "sound_main.c", CORE / "tr_sound.c"]
    strict = ["-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wdouble-promotion"]
    command = [*HOST[name], "-std=c99", "-g1", "-O1", "-DTR_PLAIN_OPTIONS", *SANITIZERS[name]]
    command += [*strict, "-Werror", f"-I{CORE}", *sources, CORE / "tinyreptile_core.c"]
    subprocess.run([*command, "-o", tmp_path / "sound"], check=True)
    done = subprocess.run([tmp_path / "sound"], capture_output=True, text=True, check=True)
    block = np.zeros(99, np.int16)
    rows = library().sound_rows(block.ctypes.data, 99, 16_000)
    assert int(done.stdout, 16) == library().sound_hash(rows)


@given(st.integers(0, 2**32 - 1), st.sampled_from([10, 3_000]))
def test_a_row_is_the_logarithm_of_triangular_mel_bands(seed, loudness):
    samples = recording(seed, sound.WINDOW, loudness)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    power = 4 * np.abs(np.fft.rfft(samples * window)) ** 2
    mel = np.log1p(np.arange(257) * 31.25 / 700)
    peaks = np.linspace(mel[1], mel[128], 18)
    bands = [
        power @ np.interp(mel, peaks[b : b + 3], [0, 1, 0], left=0, right=0) for b in range(16)
    ]
    np.testing.assert_allclose(
        sound.log_mel(samples)[0], np.log(np.array(bands) + 2**19), atol=1e-4
    )


def test_a_constant_offset_is_not_heard():
    silence = sound.log_mel(np.zeros(512, np.int16))
    assert np.array_equal(np.unique(silence), [np.float32(np.log(2**19))])
    np.testing.assert_allclose(sound.log_mel(np.full(512, 20_000, np.int16)), silence, atol=1e-4)


def test_recordings_side_by_side_give_what_each_gives(rng):
    several = rng.integers(-9_000, 9_000, (2, 3, 1_600)).astype(np.int16)
    rows = sound.level(sound.log_mel(several))
    assert rows.shape == (2, 3, 4, 16)
    assert np.array_equal(rows[1, 2], sound.level(sound.log_mel(several[1, 2])))
    np.testing.assert_allclose(rows.mean(axis=(-1, -2)), 0, atol=1e-5)


def test_the_tables_in_c_are_those_of_numpy():
    path = CORE.parent / "extras" / "make_sound_tables.py"
    spec = importlib.util.spec_from_file_location("make_sound_tables", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.TARGET.read_text() == script.header()


def test_what_is_no_recording_is_refused(refuses):
    with refuses("float64", "int16"):
        sound.log_mel(np.zeros(512))
    with refuses("511 samples", 512):
        sound.log_mel(np.zeros(511, np.int16))
