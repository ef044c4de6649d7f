"""KeywordAdapt learns words from three examples each, and hears them: made-up and real ones."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from voices import word

from tinyreptile_lite import sound
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.lab import KeywordBoard
from tinyreptile_lite.nano import VirtualNano, build
from tinyreptile_lite.nano.microphone import SETTLING_S
from tinyreptile_lite.tasks import DATA_SETS
from tinyreptile_lite.tasks.keywords import Keywords, features

SKETCH = Path(__file__).parents[1] / "arduino" / "KeywordAdapt"
MOST_RAM = 131_072  # of a sketch with ArduinoCore-zephyr; here with the stack that it has used
FRONT_END = ("ring", "front", "rows", "loudness")
MOST_FRONT_END, LIBRARYS_BUFFERS = 12_000, 2 * 512
SILENCE = np.zeros(16_000, np.int16)
real = [DATA_SETS["keywords"].find(archive) for archive in DATA_SETS["keywords"].archives]


@pytest.fixture(scope="module")
def firmware():
    return build(SKETCH)


@pytest.fixture
def board(firmware):
    return KeywordBoard(VirtualNano(firmware))


@pytest.fixture(scope="module")
def taught(firmware, tmp_path_factory):
    """A board that has learnt three words, and its flash as a file."""
    board = KeywordBoard(VirtualNano(firmware))
    for number in (3, 1, 2):
        lesson = board.teach(number, [word(number, take) for take in range(3)])
        assert lesson.words == {3: 1, 1: 2, 2: 3}[number]
        assert lesson.seconds < 10 and lesson.loss < 1
    assert [board.hear(word(number, 7)).word for number in (1, 2, 3)] == [1, 2, 3]
    board.board.run_until("kept: it outlives a reset", limit_ms=12_000)
    path = tmp_path_factory.mktemp("kept") / "flash"
    board.board.flash.save(path)
    return board, path


def said(board, milliseconds=100):
    board.serial.read()
    board.run(milliseconds)
    return board.serial.read().decode()


def test_the_rows_on_the_board_are_those_of_numpy(board):
    """And the first seconds, in which the samples are wrong, are no word."""
    assert "heard" not in board.board.serial.text
    assert board.board.time_ms > 1000 * SETTLING_S - 50
    assert board.hear(SILENCE) is None
    assert board.hear(word(0, 0)) is None  # none is known
    assert "heard a word; none is known yet: 1 to 4 teaches one" in board.board.serial.text
    ear = board.board.microphone
    begin = int(SETTLING_S * sound.RATE) - 2 * 256  # what is read first then was heard before
    bands = sound.log_mel(ear._heard(begin, 5 * sound.RATE))
    windows = np.stack([sound.level(bands[i : i + 49]) for i in range(len(bands) - 48)])
    assert sum(np.array_equal(window, board.rows) for window in windows) == 1
    assert ear.faults == ""
    assert "known words: none; 0 samples lost" in said_to(board, "s")


def said_to(board, line):
    board.board.serial.write_line(line)
    return said(board.board)


def test_it_learns_words_and_keeps_them_over_a_reset(taught, firmware):
    learnt = taught[0].board.read_variable("weights")
    assert not np.array_equal(learnt, taught[0].board.read_variable("phi"))
    again = VirtualNano(firmware)
    again.flash.load(taught[1])
    board = KeywordBoard(again)
    assert "learnt: 3 of 4 words known" in again.serial.text
    assert np.array_equal(again.read_variable("weights"), learnt)  # to the bit
    assert board.hear(word(2, 8)).word == 2
    assert "known words: 1 2 3; 0 samples lost" in said_to(board, "s")
    assert "forgotten: no word is known" in said_to(board, "f") + said(again, 1000)
    again.reset()
    board = KeywordBoard(again)
    assert "learnt" not in again.serial.text
    assert np.array_equal(again.read_variable("weights"), again.read_variable("phi"))


def test_it_fits_and_leaves_room(taught, firmware):
    board = taught[0].board
    elf = firmware.elf
    assert firmware.memory.ram - firmware.memory.stack + board.stack_used < MOST_RAM
    front_end = sum(elf.find(name).size for name in FRONT_END)
    assert front_end + LIBRARYS_BUFFERS < MOST_FRONT_END
    assert not firmware.warnings
    assert build(SKETCH, flags=["-DREV2=1"], compiler="zig").memory.ram < 262_144


def test_listening_leaves_the_processor_to_others(board):
    """The front end, with the loop that drives it and looks for words: under 5 %, modelled."""
    nano = board.board
    before = nano.read_variable("rowCount", "int32")[0]
    assert 0.02 < board.listening_share() < 0.05
    assert nano.read_variable("rowCount", "int32")[0] - before in (99, 100, 101)


def test_the_button_teaches_in_turn_and_0_teaches_none(board):
    nano = board.board
    for number in (1, 2):
        nano.pins.press(2)
        assert f"word {number}: say it three times" in said(nano)
        nano.pins.release(2)
        nano.run(50)
        assert nano.leds["builtin"]
        assert said_to(board, "0") == ""
        assert not nano.leds["builtin"]


@pytest.mark.parametrize("line", ["5", "x", "12", "1" * 50, "learn"])
def test_nonsense_gets_one_line_of_help(taught, line):
    answer = said_to(taught[0], line).strip()
    assert answer.startswith("listening: 1 to 4 teaches a word")
    assert "\n" not in answer


def test_clicks_and_a_long_noise_are_no_words(board, rng):
    click = SILENCE.copy()
    click[8_000:8_300] = rng.integers(-9_000, 9_000, 300)
    noise = rng.integers(-9_000, 9_000, 40_000).astype(np.int16)
    for clip in (click, noise):
        board.hear(clip)
    assert "heard a word" not in board.board.serial.text


def test_a_board_without_a_microphone_is_told(firmware):
    board = VirtualNano(firmware, microphone=False)
    board.run_until("the microphone is silent: is this a Nano 33 BLE Sense?", limit_ms=9_000)


def test_a_microphone_that_stops_is_started_again(board):
    nano = board.board
    nano.microphone.stalled = True
    nano.run_until("no sound comes from the microphone: it starts again", limit_ms=7_000)
    nano.run_until("listening:")
    board.hear(word(0, 1))
    assert "heard a word" in nano.serial.text


def test_what_a_slow_sketch_loses_is_counted(tmp_path):
    sketch = tmp_path / SKETCH.name
    shutil.copytree(SKETCH, sketch)
    file = sketch / f"{SKETCH.name}.ino"
    file.write_text(file.read_text().replace("void loop() {", "void loop() {\n  delay(90);"))
    board = KeywordBoard(VirtualNano(sketch))
    lost = re.search(r"(\d+) samples lost", said_to(board, "s") + said(board.board, 300))
    assert int(lost[1]) > 0
    assert board.board.microphone.faults == ""  # the library was served all the time


def test_teaching_asks_for_three_clips_with_a_word(board, refuses):
    with refuses("word 5 with 3 clips"):
        board.teach(5, [SILENCE] * 3)
    with refuses("word 1 with 2 clips"):
        board.teach(1, [SILENCE] * 2)
    with refuses("no word in clip 2 of 3"):
        board.teach(1, [word(0, 0), SILENCE, word(0, 1)])
    assert not board.board.leds["builtin"]


@pytest.mark.skipif(None in real, reason=DATA_SETS["keywords"].command)
def test_it_learns_the_words_of_a_speaker_never_heard(firmware, rng):
    _, test = Keywords().split(0, rng)
    speaker = test[3]
    chosen = speaker.can_learn[:4]
    board = KeywordBoard(VirtualNano(firmware))
    for number, each in enumerate(chosen, 1):
        board.teach(number, speaker.clips[each.first][:3])
    heard = [board.hear(speaker.clips[each.first][3]) for each in chosen]
    assert sum(one is not None and one.word == i for i, one in enumerate(heard, 1)) >= 3
    assert board.rows.shape == features(SILENCE).shape
    with pytest.raises(KitError, match="word 0"):
        board.teach(0, [])
