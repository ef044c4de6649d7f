"""DrawAdapt learns characters from a few drawings, and recognises them; the drawing pad."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from compilers import BOARD
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imsave
from pens import STROKES, character, strokes

from tinyreptile_lite.core.export import export
from tinyreptile_lite.drawing import as_rows, as_sent, draw_strokes
from tinyreptile_lite.few_shot import Imprinted
from tinyreptile_lite.lab import DrawBoard, DrawingPad
from tinyreptile_lite.nano import BuildError, VirtualNano, build
from tinyreptile_lite.nano.terminal import _Screen, _typed
from tinyreptile_lite.tasks import DATA_SETS, find_family
from tinyreptile_lite.tasks.base import Samples
from tinyreptile_lite.tasks.omniglot import Omniglot

SKETCH = Path(__file__).parents[1] / "arduino" / "DrawAdapt"
MOST_RAM = (
    196_608  # so that a quarter of the chip's is left for Mbed OS and the sketch's own growth
)
ROWS = as_rows(character(1))
real = [DATA_SETS["omniglot"].find(archive) for archive in DATA_SETS["omniglot"].archives]


@pytest.fixture(scope="module")
def firmware():
    return build(SKETCH)


@pytest.fixture
def board(firmware):
    return DrawBoard(VirtualNano(firmware))


def answered(board, *lines):
    """What the board says to lines that are no order of `DrawBoard`."""
    board.board.serial.read()
    for line in lines:
        board.board.serial.write_line(line)
    board.board.run(200)
    return board.board.serial.read_lines()


def right(board, how, takes=(7, 8)):
    """Share of drawings that are recognised."""
    asked = [
        (label, board.recognise(character(label, take))) for label in STROKES for take in takes
    ]
    return np.mean([getattr(found, how).label == label for label, found in asked])


def test_one_drawing_of_each_is_enough_to_recognise_others(board):
    for label in STROKES:
        assert board.teach(label, character(label)) == 1
    assert right(board, "means") > 0.5
    found = board.recognise(character(3, 5))
    assert found.passes is None
    assert list(found.means.scores) == [1, 2, 3, 4, 5]
    assert sum(found.means.scores.values()) == pytest.approx(1, abs=0.003)
    assert found.means.scores[found.means.label] == max(found.means.scores.values())


def test_five_drawings_and_passes_are_what_numpy_makes_of_them(board):
    """To rounding: class means of phi's features as the head, then online steps of all layers."""
    order = [(label, take) for take in range(5) for label in STROKES]
    for label, take in order:
        assert board.teach(label, character(label, take)) == take + 1
    assert right(board, "means") > 0.5
    losses = board.train(2)
    assert len(losses) == 2 and losses[1] < losses[0] + 0.05
    assert not board.board.leds["builtin"]
    assert right(board, "passes", takes=(7,)) > 0.5
    assert board.said[-1].startswith("after 2 passes: ")
    x = np.stack([as_sent(character(*each)) for each in order])[..., None]
    samples = Samples(x, np.array([label - 1 for label, _ in order]))
    phi = board.board.read_variable("phi")
    rng = np.random.default_rng(0)
    learnt = Imprinted(0.05, passes=2, scale=0.05).learn(Omniglot().network(), phi, samples, rng)
    weights = board.board.read_variable("weights")
    np.testing.assert_allclose(weights, learnt.params, rtol=1e-3, atol=1e-4)
    assert losses[0] == pytest.approx(float(learnt.loss), abs=1e-3)
    assert np.abs(weights[:-645] - phi[:-645]).max() > 0  # all layers have learnt


def test_what_it_has_learnt_outlives_a_reset_to_the_bit(board):
    for label in (2, 5):
        for take in range(2):
            board.teach(label, character(label, take))
    board.train(1)
    before, weights = board.recognise(character(2, 9)), board.board.read_variable("weights")
    board.board.run_until("kept: it outlives a reset", limit_ms=13_000)
    board.board.reset()
    again = DrawBoard(board.board)
    assert any("going on with 4 drawings learnt before" in line for line in again.said)
    board.board.run_until("pass 1 of 1")
    assert np.array_equal(board.board.read_variable("weights"), weights)
    assert again.recognise(character(2, 9)) == before
    again.forget()
    board.board.reset()
    assert "going on" not in " ".join(DrawBoard(board.board).said)


def test_a_sixth_drawing_takes_the_place_of_the_first(board, firmware):
    other = DrawBoard(VirtualNano(firmware))
    for take in range(6):
        count = board.teach(2, character(2, take))
        if take:
            other.teach(2, character(2, take))
    assert count == 5
    for name in ("means", "kept"):
        kept = [each.board.read_variable(name, "uint8") for each in (board, other)]
        assert np.array_equal(*kept)


def test_another_drawing_ends_the_passes_and_the_led(board):
    for label in (1, 2):
        board.teach(label, character(label))
    answered(board, "passes 100")
    assert board.board.leds["builtin"]
    assert board.teach(2, character(2, 1)) == 2
    assert (
        "the passes ended: another drawing has come; the class means are still there" in board.said
    )
    assert not board.board.leds["builtin"]
    assert board.recognise(character(1, 1)).passes is None


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*ROWS[:3], ROWS[3][:-1], *ROWS[4:]], "row 4 has 27 signs, not 28"),
        ([ROWS[0] * 1_000, *ROWS[1:]], "row 1 has 9999 signs, not 28"),
        ([*ROWS[:5], "", *ROWS[6:]], "row 6 has 0 signs, not 28"),
        ([*ROWS[:27], "g" * 28], "row 28 has a sign that is not one of 0 to 9, a to f, . and #"),
        ([*ROWS[:27], "é" * 14], "row 28 has a sign"),
        (["0" * 28] * 28, "it has no ink"),
        ([*ROWS[:9], "what"], "only 9 of 28 rows came"),
        (["draw", *ROWS[:2], "learn 1"], "only 0 of 28 rows came"),
    ],
)
def test_what_is_no_drawing_gets_one_sentence_and_teaches_nothing(board, rows, words):
    said = answered(board, "draw", *rows)
    assert said[0].startswith("no drawing: ") and words in said[0]
    assert said[0].endswith("; send draw and its 28 rows again")
    assert "no drawing yet: send draw and its 28 rows" in answered(board, "learn 1")
    assert not any("learnt" in line for line in said)


def test_rows_typed_by_hand_and_a_drawing_that_stops(board):
    typed = ["." * 28] * 13 + ["...." + 20 * "#" + "...F\r"] * 2 + ["0" * 28] * 13
    assert answered(board, "draw", *typed) == ["drawing: ink on 42 of 784 points"]
    answered(board, "draw", *ROWS[:3])
    board.board.run(10_500)
    assert "no drawing: only 3 of 28 rows came" in board.board.serial.text


@pytest.mark.parametrize(
    "line",
    ["learn", "learn 0", "learn 6", "learn 1 2", "passes 0", "passes 101", "What", "x" * 99, "é"],
)
def test_nonsense_gets_one_line_of_help(board, line):
    (answer,) = answered(board, line)
    assert answer.startswith("unknown command: draw and 28 rows give a drawing")


ORDERS = ["draw", "what", "learn 1", "learn 5", "passes 1", "forget", ROWS[9], "0" * 27, ""]


@given(st.lists(st.sampled_from(ORDERS) | st.binary(max_size=40), max_size=40))
@settings(max_examples=8)
def test_anything_that_comes_leaves_a_board_that_learns(firmware, lines):
    board = DrawBoard(VirtualNano(firmware))
    for line in lines:
        board.board.serial.write((line.encode() if isinstance(line, str) else line) + b"\n")
    board.board.run(3_000)
    board.forget()
    assert board.teach(4, character(4)) == 1
    assert board.recognise(character(4)).means.scores == {4: 1.0}


def test_slips_are_one_sentence(board, refuses):
    with refuses("no character 6; choose one from 1 to 5"):
        board.teach(6, character(1))
    with refuses("passes are 0; choose 1 to 100"):
        board.train(0)
    with refuses("28x28 numbers"):
        board.recognise(np.zeros(3))
    with refuses("the board says: no drawing: it has no ink"):
        board.teach(1, np.zeros((28, 28)))
    with refuses("the board says: nothing was taught yet"):
        board.recognise(character(1))
    with refuses("the board says: teach two characters first"):
        board.train(1)


@pytest.mark.parametrize("compiler", BOARD)
def test_it_builds_without_a_warning_and_fits(compiler, board):
    firmware = build(SKETCH, compiler=compiler)
    assert firmware.warnings == ""
    assert firmware.memory.ram - firmware.memory.stack + board.board.stack_used < MOST_RAM
    assert len((SKETCH / "DrawAdapt.ino").read_text().splitlines()) < 200


def test_phi_of_another_network_is_one_clear_line(tmp_path):
    sketch = tmp_path / SKETCH.name
    shutil.copytree(SKETCH, sketch, ignore=shutil.ignore_patterns("phi.*"))
    net = find_family("wrist").network()
    export(net, net.init(np.random.default_rng(0)), sketch)
    with pytest.raises(BuildError, match=r"phi\.h has another network"):
        build(sketch)


def test_draw_at_the_keyboard(board, tmp_path, capsys):
    screen, path = _Screen(), tmp_path / "a letter.png"
    imsave(path, np.kron(character(3), np.ones((4, 4))), cmap="gray_r")
    (tmp_path / "no.png").write_bytes(b"hello")
    for typed in ("", " 2", f"{tmp_path}/b.png 2", f"{tmp_path}/no.png"):
        _typed(board.board, screen, f":draw {typed}".rstrip())
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4
    assert said[0] == ":draw needs the name of a picture, such as :draw letter.png 2"
    assert "b.png" in said[2] and "it is no picture" in said[3]
    for order, answer in ((f"{path} 3", "learnt 3 from 1 drawing"), (path, "class means: 3")):
        _typed(board.board, screen, f":draw {order}")
        board.board.run(300)
        assert answer in board.board.serial.text


def test_the_pad_teaches_and_asks_without_a_browser(board):
    pad = DrawingPad(board)
    blank = pad._sent.value
    for label in (1, 4):
        pad.strokes = [100 * line + 140 for line in strokes(label)]
        assert np.array_equal(pad.drawing, draw_strokes(pad.strokes))
        assert pad._sent.value != blank
        pad.character.value = label
        pad.teach.click()
        assert pad.text == f"The board knows character {label} from 1 drawing."
        assert pad.strokes == [] and pad._sent.value == blank
    pad.strokes = [100 * line + 140 for line in strokes(4, 1)]
    pad.recognise.click()
    assert pad.text.startswith("Class means: it is ") and pad.text.endswith("%).")
    assert pad.strokes
    board.train(1)
    pad.recognise.click()
    assert "After the passes: it is " in pad.text
    pad.forget.click()
    assert pad.text == "The board has forgotten all characters."
    pad.teach.click()
    assert pad.text == "The board knows character 4 from 1 drawing."
    pad.clear.click()
    assert pad.strokes == [] and pad.text == "draw a character"


def test_the_pad_says_what_is_wrong(board):
    pad = DrawingPad(board)
    for button in (pad.teach, pad.recognise):
        button.click()
        assert pad.text == "there is no stroke; draw one first"
    pad.strokes = [[(1, 1)]]
    pad.recognise.click()
    assert "nothing was taught yet" in pad.text and pad.strokes
    pad._paper.strokes = [["<b>"]]  # what no pen draws
    assert "give pairs x, y" in pad.text and "<b>" not in pad._said.value
    assert repr(pad) == repr(DrawingPad())
    bundle, about = pad._repr_mimebundle_()
    assert "image/png" in bundle and "drawing" in about["image/png"]["alt"]


def test_a_pad_alone_only_draws(refuses):
    pad = DrawingPad()
    with refuses("draw one first"):
        _ = pad.drawing
    pad.strokes = strokes(2)
    assert np.array_equal(pad.drawing, character(2))
    pad.teach.click()
    assert pad.text == "the pad has no board; give it a DrawBoard"


@pytest.mark.skipif(None in real, reason=DATA_SETS["omniglot"].command)
def test_it_learns_characters_of_alphabets_never_seen(board, rng):
    hits = []
    for device in Omniglot(ways=5, shots=1, test_devices=4).split(0, rng)[1]:
        task = device.task(rng)
        board.forget()
        for x, y in zip(*task.support, strict=True):
            board.teach(int(y) + 1, x)
        asked = list(zip(*task.query, strict=True))[::3]
        hits += [board.recognise(x).means.label == y + 1 for x, y in asked]
    assert np.mean(hits) > 0.5
