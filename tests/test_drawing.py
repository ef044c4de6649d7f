"""Drawings of one's own: strokes, pictures and text become 28x28 points as Omniglot has them."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pens import STROKES, character, strokes
from PIL import Image

from tinyreptile_lite.drawing import (
    LEVELS,
    LONGEST,
    as_rows,
    as_sent,
    centred,
    checked,
    draw_strokes,
    read_drawing,
    read_rows,
)
from tinyreptile_lite.errors import KitError

LINES = st.lists(
    st.lists(st.tuples(*2 * [st.floats(-1e6, 1e6)]), min_size=1, max_size=5), min_size=1, max_size=4
)
INK = arrays(np.float32, (28, 28), elements=st.floats(0, 1, width=32))


def box(drawing):
    """First and last row and column with ink."""
    rows, columns = np.nonzero(drawing)
    return rows.min(), rows.max(), columns.min(), columns.max()


def is_a_drawing(found):
    assert found.shape == (28, 28) and found.dtype == np.float32
    assert found.min() >= 0 and 0 < found.max() <= 1


@given(LINES)
def test_any_strokes_are_a_drawing_in_the_middle(lines):
    found = draw_strokes(lines)
    is_a_drawing(found)
    top, bottom, left, right = box(found)
    assert bottom - top < LONGEST + 2 and right - left < LONGEST + 2
    assert abs(top + bottom - 27) <= 1 and abs(left + right - 27) <= 1


@pytest.mark.parametrize("label", STROKES)
def test_where_and_how_large_it_was_drawn_does_not_matter(label):
    lines = strokes(label)
    first = draw_strokes(lines)
    top, bottom, left, right = box(first)
    assert max(bottom - top, right - left) + 1 in (LONGEST, LONGEST + 1)
    for factor, shift in ((0.01, 5), (300, -70)):
        again = draw_strokes([factor * line + shift for line in lines])
        assert np.abs(again - first).mean() < 0.01


def test_a_dot_and_a_line_drawn_twice(refuses):
    dot = draw_strokes([[(7, 7)]])
    assert 0 < np.count_nonzero(dot) <= 9
    assert np.array_equal(dot, draw_strokes([[(1e8, -3), (1e8, -3)]]))
    line = [(0, 0), (0, 5)]
    assert np.array_equal(draw_strokes([line]), draw_strokes([line, line[::-1]]))


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "there is no stroke; draw one first"),
        ([[]], "give pairs x, y"),
        ([[1, 2]], "give pairs x, y"),
        ([[(1, 2, 3)]], "give pairs x, y"),
        ([[(1, 2), (3,)]], "give pairs x, y"),
        ([["ab"]], "give pairs x, y"),
        ([[(0, np.nan)]], "give finite numbers"),
        ([[(0, np.inf)]], "give finite numbers"),
        ([np.zeros((20_001, 2))], "20,001 points; give at most 20,000"),
    ],
)
def test_what_is_no_stroke_is_refused_in_one_sentence(lines, words, refuses):
    with refuses(words):
        draw_strokes(lines)


@given(INK)
def test_rows_and_the_levels_of_ink_are_one_thing(ink):
    rows, sent = as_rows(ink), as_sent(ink)
    assert len(rows) == 28 and all(
        len(row) == 28 and set(row) <= set("0123456789abcdef") for row in rows
    )
    assert np.array_equal(read_rows("\n".join(rows)), sent)
    assert np.array_equal(as_sent(sent), sent)
    assert np.abs(sent - ink).max() <= 0.5 / LEVELS + 1e-6


@given(st.text(alphabet="#.x \n\t0fé", max_size=300))
def test_any_text_is_a_drawing_or_one_sentence(text):
    try:
        found = read_rows(text)
    except KitError as error:
        assert "\n" not in str(error)
    else:
        assert found.shape == (28, 28) and found.min() >= 0 and found.max() <= 1


def test_text_of_any_size_is_brought_to_size(refuses):
    small, large = (
        read_rows("#.#\n.#.\n#.#"),
        read_rows("\n".join(["##..##", "##..##", "..##", "..##.."] + 2 * ["##  ##"])),
    )
    assert np.array_equal(small, large)
    for text, words in (("", "no ink"), ("...\n", "no ink"), ("#" * 201, "more than 200 rows")):
        with refuses(words):
            read_rows(text)


@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_ink_of_any_size_is_centred(ink):
    if not ink.any():
        with pytest.raises(KitError, match="there is no ink"):
            centred(ink)
        return
    found = centred(ink)
    is_a_drawing(found)
    top, bottom, left, right = box(found)
    assert max(bottom - top, right - left) in (LONGEST - 1, LONGEST) and found.max() == 1
    assert abs(top + bottom - 27) <= 1 and abs(left + right - 27) <= 1


@pytest.fixture
def saved(tmp_path):
    """Saves grey levels, 0 is black, as a picture."""

    def save(grey, name="a.png", **options):
        path = tmp_path / name
        picture = grey if isinstance(grey, Image.Image) else Image.fromarray(np.uint8(grey))
        picture.save(path, **options)
        return path

    return save


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.gif"])
@pytest.mark.parametrize("dark_paper", [False, True])
@pytest.mark.parametrize("size", [28, 105, 400])
def test_a_picture_of_any_size_and_kind_is_that_drawing(saved, name, dark_paper, size):
    want = character(4)
    large = np.asarray(Image.fromarray(np.uint8(255 * want)).resize((size, size)))
    found = read_drawing(saved(large if dark_paper else 255 - large, name))
    is_a_drawing(found)
    assert np.corrcoef(found.ravel(), want.ravel())[0, 1] > 0.85


def test_what_is_transparent_is_paper(saved):
    picture = np.zeros((50, 50, 4), np.uint8)
    picture[10:40, 20:25, 3] = 255
    found = read_drawing(saved(Image.fromarray(picture, "RGBA")))
    assert found[14, 14] == 1 and found[0, 0] == 0


def test_numbers_of_a_file_are_taken_as_they_are(tmp_path):
    want = character(2)
    for shape in ((28, 28), (28, 28, 1)):
        np.save(tmp_path / "a.npy", want.reshape(shape))
        assert np.array_equal(read_drawing(tmp_path / "a.npy"), want)


def test_bad_pictures_are_refused_in_one_sentence(saved, tmp_path, refuses, monkeypatch):
    whole = saved(np.tile([0, 255], (40, 20))).read_bytes()
    cases = [
        ("cut.png", whole[: len(whole) // 2], "it is no picture, or damaged"),
        ("text.png", b"hello", "it is no picture, or damaged"),
        ("empty.png", b"", "it is no picture, or damaged"),
        ("white.png", saved(np.full((9, 9), 255)).read_bytes(), "there is no ink"),
        ("a.npy", b"hello", "is no drawing"),
        (
            "bomb.png",
            saved(Image.new("1", (9_000, 9_000))).read_bytes(),
            "9000x9000 points are too many",
        ),
        ("large.png", bytes((16 << 20) + 1), "more than 16 MB"),
    ]
    for name, content, words in cases:
        (tmp_path / name).write_bytes(content)
        with refuses(name, words):
            read_drawing(tmp_path / name)
    with refuses("there.png", "give a picture"):
        read_drawing(tmp_path / "there.png")
    with refuses("cannot use", "give a picture"):
        read_drawing(tmp_path)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (np.zeros((27, 28)), "not float64 of shape (27, 28)"),
        (np.zeros((28, 28, 3)), "shape (28, 28, 3)"),
        (np.full((28, 28), 255), "divide by the largest"),
        (np.full((28, 28), np.nan), "divide by the largest"),
        (np.full((28, 28), "a"), "28x28 numbers"),
        (np.full((28, 28), None), "28x28 numbers"),
    ],
)
def test_numbers_that_are_no_drawing_are_refused(numbers, words, refuses, tmp_path):
    with refuses(words):
        checked(numbers)
    np.save(tmp_path / "a.npy", numbers, allow_pickle=True)
    with refuses("a.npy", "is no drawing"):
        read_drawing(tmp_path / "a.npy")


@given(st.binary(max_size=200), st.sampled_from([".png", ".npy", ".gif"]))
def test_a_file_of_anything_is_one_sentence(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("file") / f"a{suffix}"
    path.write_bytes(
        {".png": b"\x89PNG\r\n\x1a\n", ".npy": b"\x93NUMPY", ".gif": b"GIF89a"}[suffix] + content
    )
    with pytest.raises(KitError) as caught:
        read_drawing(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_picture_gives_no_warning(saved, recwarn):
    picture = io.BytesIO()
    Image.new("L", (6_000, 6_000)).save(picture, "PNG")
    path = saved(np.tile([0, 255], (40, 20)))
    path.write_bytes(picture.getvalue()[:2_000])
    with pytest.raises(KitError):
        read_drawing(path)
    assert not recwarn.list
