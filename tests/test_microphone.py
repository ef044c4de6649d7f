"""The virtual microphone: what a sketch hears through Arduino's library, and when it does not."""

import wave

import numpy as np
import pytest
from compilers import BOARD
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.cli import main
from tinyreptile_lite.nano import VirtualNano, build
from tinyreptile_lite.nano.microphone import FIRST_S, RATE, SETTLING_S, Microphone, read_wav
from tinyreptile_lite.nano.terminal import _Screen, _typed

BLOCK = 256  # samples of the library's buffer
TAPE = """
#include <PDM.h>

#ifndef PART
#define PART 512
#endif
static int16_t tape[20000];
static volatile unsigned int skipped = 0, count = 0, calls = 0;
static volatile bool late = false;
static float sum = 0.0f;

void take() {
  int16_t block[256];
  if (late) return;
  const int n = PDM.read(block, PART) / 2;
  for (int i = 0; i < n; i++) {
    if (skipped + 1 <= SKIP) skipped = skipped + 1;
    else if (count < 20000) { tape[count] = block[i]; count = count + 1; }
  }
  calls = calls + 1;
  for (volatile float x = 1.0f; x < WASTE; x = x + 1.0f) sum += 0.0f * x;
}

void setup() {
  Serial.begin(115200);
  PDM.onReceive(take);
  PDM.setGain(80);
  Serial.println(PDM.begin(CHANNELS, RATE_ASKED) ? "begun" : "refused");
}

void loop() {
  float x = 0.5f;
  unsigned int odd = 0;
  for (int i = 0; i < 2000; i++) {
    x = 3.9f * x * (1.0f - x);
    if (x > 0.7f && i % 3) odd += i; else if (x < 0.2f) odd ^= 5;
  }
  static float first = x;
  static unsigned int firstOdd = odd;
  if (x != first || odd != firstOdd) Serial.println("an interrupt has spoilt the sum");
  if (Serial.available()) {
    const int order = Serial.read();
    if (order == 'm') { noInterrupts(); delay(100); interrupts(); }
    if (order == 'l') {
      late = true;
      while (!PDM.available()) {}
      delayMicroseconds(5000);
      count = 0;
      count = PDM.read(tape, 512) / 2;
      late = false;
    }
    if (order == 'e') PDM.end();
    Serial.println("done");
  }
}
"""
USUAL = {"CHANNELS": 1, "RATE_ASKED": 16000, "SKIP": 0, "WASTE": 0}


@pytest.fixture(scope="module")
def tape(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tape") / "Tape"
    folder.mkdir()
    (folder / "Tape.ino").write_text(TAPE)

    def make(sound=None, microphone=True, compiler=None, **flags):
        given = [f"-D{name}={value}" for name, value in {**USUAL, **flags}.items()]
        firmware = build(folder, flags=given, compiler=compiler)
        assert not firmware.warnings
        board = VirtualNano(firmware, sound=sound, microphone=microphone)
        board.run_until("\n")
        return board

    return make


def heard(board):
    return board.read_variable("tape", "int16")[: board.read_variable("count", "uint32")[0]]


def write_wav(path, samples, rate=RATE, channels=1, width=2):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def test_a_recording_is_heard_sample_by_sample_and_soft_noise_around_it(tape, rng):
    sound = rng.integers(-32768, 32768, 9_000).astype(np.int16)
    skip = int(FIRST_S * RATE) - 1_000
    board = tape(sound, SKIP=skip)
    board.run(1000 * FIRST_S + 1800)
    samples = heard(board)
    begin = 1_000 + 2 * BLOCK  # each sample is read two buffers after it was heard
    assert np.array_equal(samples[begin : begin + len(sound)], sound)
    rest = np.r_[samples[:begin], samples[begin + len(sound) :]]
    assert 5 < rest.std() < 20
    again = sound[:500]
    assert board.say(again) == pytest.approx(500 / RATE)
    assert board.say(again) == pytest.approx(1 + 1000 / RATE)  # one after the other
    assert "spoilt" not in board.serial.text
    assert board.microphone.faults == ""
    stack = board.stack_used
    board.reset()
    board.run_until("begun")
    assert board.stack_used <= stack


def test_the_first_seconds_begin_high_and_settle(tape):
    board = tape()
    board.run(1000)
    samples = heard(board)
    assert not samples[: 3 * BLOCK].any()
    assert samples[3 * BLOCK : 5 * BLOCK].mean() > 10_000
    board = tape(SKIP=int((SETTLING_S - 0.25) * RATE))
    board.run(5000)
    samples = heard(board)[: RATE // 2]
    assert abs(samples[:500]).max() > abs(samples[RATE // 4 + 2 * BLOCK :]).max() < 100


@pytest.mark.parametrize("compiler", BOARD)
def test_what_is_computed_between_interrupts_stays_the_same(tape, compiler):
    board = tape(WASTE="5000.0f", compiler=compiler)
    board.run(500)
    assert board.read_variable("calls", "uint32")[0] > 25
    assert "spoilt" not in board.serial.text


def test_samples_that_are_not_read_stop_the_microphone(tape):
    board = tape(PART=256)
    board.run(500)
    assert board.read_variable("calls", "uint32")[0] == 1
    assert board.microphone.stalled
    assert "the library stopped it" in board.microphone.faults


def test_what_is_read_late_is_mixed_with_newer_sound(tape):
    board = tape()
    board.run(5_000)
    ramp = np.arange(8_000, dtype=np.int16)
    board.say(ramp)
    board.run(200)
    board.serial.write("l")
    board.run_until("done")
    jumps = np.flatnonzero(np.diff(heard(board)) != 1)
    assert len(jumps) == 1
    assert np.diff(heard(board))[jumps[0]] == 1 - 2 * BLOCK
    assert 70 <= jumps[0] <= 90  # five milliseconds
    assert "samples read too late" in board.microphone.faults


def test_what_comes_while_interrupts_are_off_is_lost(tape):
    board = tape()
    board.run(100)
    calls = board.read_variable("calls", "uint32")[0]
    board.serial.write("m")
    board.run_until("done")
    assert 4 * BLOCK <= board.microphone.lost <= 7 * BLOCK
    board.run(100)
    assert board.read_variable("calls", "uint32")[0] - calls < 10
    board.serial.write("e")
    board.run_until("done")
    calls = board.read_variable("calls", "uint32")[0]
    board.run(100)
    assert board.read_variable("calls", "uint32")[0] == calls


def test_a_board_that_is_no_sense_hears_the_same_number_on_and_on(tape):
    board = tape(microphone=False)
    board.run(500)
    assert len(set(heard(board))) == 1


def test_what_the_library_or_the_virtual_board_does_not_know(tape, refuses):
    assert "refused" in tape(RATE_ASKED=8000).serial.text
    with refuses("2 channels of 16,000", "the virtual one has 1 channel"):
        tape(CHANNELS=2)
    with refuses("PDM.onReceive does not return", "only read"):
        tape(WASTE="1e9f").run(3000)
    board = VirtualNano("arduino/FindAxes")
    with refuses("the sketch does not listen"):
        board.say(np.zeros(100, np.int16))
    board = tape()
    with refuses("int16, shape (samples,), not float64"):
        board.say(np.zeros(100))
    with refuses("empty"):
        VirtualNano(board.firmware, sound=np.zeros(0, np.int16))


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"rate": 44_100}, "44,100 samples a second, 1 channels and 16 bits; give a WAV"),
        ({"channels": 2}, "2 channels"),
        ({"width": 1}, "8 bits"),
        ({"samples": np.zeros(0)}, "is empty"),
        (None, "is no recording of sound"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, refuses, capsys, about, words):
    path = tmp_path / "word.wav"
    path.write_bytes(b"RIFF")
    if about is not None:
        write_wav(path, **{"samples": np.zeros(100), **about})
    with refuses(words, path):
        read_wav(path)
    assert main(["flash", "arduino/KeywordAdapt", "--mic", str(path), "--seconds", "1"]) == 2
    assert words in capsys.readouterr().err


def test_a_file_that_is_not_there_and_a_cut_one(tmp_path, refuses):
    with refuses("there.wav", "choose a WAV file you can read"):
        read_wav(tmp_path / "there.wav")
    path = write_wav(tmp_path / "cut.wav", np.arange(100))
    path.write_bytes(path.read_bytes()[:-51])
    assert np.array_equal(read_wav(path), np.arange(74))


def test_mic_at_the_keyboard(tape, tmp_path, capsys):
    board, path = tape(), write_wav(tmp_path / "a.wav", np.arange(8_000))
    for line in (":mic", f":mic {tmp_path / 'b.wav'}", f":mic {path}"):
        _typed(board, _Screen(), line)
    first, second, third = capsys.readouterr().err.splitlines()
    assert ":mic needs the name of a WAV file" in first
    assert "b.wav" in second
    assert "a.wav is played, up to 0.5 s from now" in third
    for options in ([], ["--board", "COM3", "arduino/KeywordAdapt"]):
        assert main(["flash", "--check", *options, "--mic", str(path)]) == 2
    said = capsys.readouterr().err
    assert "--mic is for a sketch" in said
    assert "--mic is for the virtual board" in said


@given(
    st.integers(4, 2048).map(lambda words: 4 * words),
    st.lists(st.integers(2, 9_000).map(lambda count: count // 2 * 2), min_size=1, max_size=5),
    st.integers(0, 2**32 - 1),
)
def test_all_samples_come_once_in_buffers_and_parts_of_any_size(size, parts, seed):
    ear = Microphone()
    ear.begin(1, RATE, size, 500)
    sound = np.random.default_rng(seed).integers(-32768, 32768, 3_000).astype(np.int16)
    now, taken = 6_000_500, []
    while (due := ear.next_us) < now:  # the settling
        ear.interrupt(due)
        ear.read(size, due)
    ear.play(sound, now)
    for turn in range(6_000 * 2 // size + 4):
        due = ear.next_us
        assert ear.interrupt(due)
        while ear.available:
            taken.append(ear.read(parts[turn % len(parts)], due))
    heard = np.frombuffer(b"".join(taken), "<i2")
    at = np.flatnonzero(heard == sound[0])
    assert any(np.array_equal(heard[i : i + len(sound)], sound) for i in at)
    assert ear.faults == ""


@pytest.mark.parametrize("size", [0, 2, 18, 9_000, 2**31])
def test_a_buffer_of_a_size_that_no_sketch_means_is_refused(size, refuses):
    with refuses(f"buffer of {size} bytes", "choose a multiple of 4"):
        Microphone().begin(1, RATE, size, 0)
