"""Drawings of one's own, as Omniglot has them: from strokes, pictures or text to 28x28 points.

Omniglot's drawings are 105x105 points of ink or none, drawn with a pen of about 3 points, and made
smaller by taking means. Half of them have a longest side of 17 to 21 of the 28 points that are
left. So a drawing is brought to that size here, and put in the middle.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tinyreptile_lite.errors import KitError, file_errors, needed
from tinyreptile_lite.tasks.omniglot import PICTURE, SIZE

Array = np.ndarray

LONGEST = 19  # points of a drawing's longest side
LEVELS = 15  # of ink, as a board gets it
_PEN = 3  # points of 105
_MOST_POINTS = 20_000  # of all strokes
_BIGGEST = 16 << 20  # bytes of a picture's file
_MOST_PIXELS = 50_000_000
_DIGITS = "0123456789abcdef"
_REMEDY = "give a picture (PNG, JPEG, BMP or GIF), or 28x28 numbers as .npy"


def draw_strokes(strokes: Sequence[ArrayLike]) -> Array:
    """Draw strokes with a pen as wide as Omniglot's.

    Parameters
    ----------
    strokes : sequence of array_like, each of shape (N, 2)
        Points x, y through which the pen goes, in any unit; x goes right, y down. One is a dot.

    Returns
    -------
    ndarray of float32, shape (28, 28)
        1 is ink. The drawing is in the middle; its longest side has `LONGEST` points.

    Raises
    ------
    KitError
        If there is no stroke, or its points are no finite numbers.
    """
    lines = [stroke_points(stroke) for stroke in strokes]
    if not lines:
        raise KitError("there is no stroke; draw one first")
    everything = np.concatenate(lines)
    if len(everything) > _MOST_POINTS:
        raise KitError(
            f"the strokes have {len(everything):,} points; give at most {_MOST_POINTS:,}"
        )
    low, high = everything.min(axis=0), everything.max(axis=0)
    room = LONGEST * PICTURE[0] / SIZE - _PEN  # for the middle of the pen
    scale = room / max(*(high - low), 1e-9 * max(*np.abs(high), *np.abs(low), 1.0))
    if (high == low).all():
        scale = 0.0
    middle = (np.array(PICTURE) - 1) / 2
    lines = [(line - (low + high) / 2) * scale + middle for line in lines]
    return _shrunk(_ink(lines))


def stroke_points(points: ArrayLike) -> Array:
    """Return the points of a stroke, (N, 2); `KitError` unless they are finite numbers."""
    try:
        stroke = np.asarray(points, float)
    except (TypeError, ValueError):
        stroke = np.empty(0)
    if stroke.ndim != 2 or stroke.shape[1] != 2 or not len(stroke):
        raise KitError("a stroke is no list of points; give pairs x, y such as [(0, 0), (1, 2)]")
    if not (np.abs(stroke) < 1e9).all():  # false for NaN
        raise KitError("a stroke has a point without end or beyond 1e9; give finite numbers")
    return stroke


def _ink(lines: Sequence[Array]) -> Array:
    """Points of Omniglot's own size, 1 where the pen was."""
    rows, columns = np.indices(PICTURE)
    at = np.stack([columns, rows], axis=-1)
    ink = np.zeros(PICTURE, bool)
    for line in lines:
        for begin, end in zip(line, np.concatenate([line[1:], line[-1:]]), strict=True):
            way = end - begin
            share = ((at - begin) @ way) / max(way @ way, 1e-12)
            nearest = begin + np.clip(share, 0, 1)[..., None] * way
            ink |= np.square(at - nearest).sum(axis=-1) <= (_PEN / 2) ** 2
    return ink


def _shrunk(ink: Array) -> Array:
    """Take the mean of the points whose middle lies on each of the smaller ones."""
    edges = np.arange(SIZE + 1) * PICTURE[0] / SIZE
    begins = np.ceil(edges - 0.5).astype(int)
    sums = np.add.reduceat(np.add.reduceat(ink.astype(float), begins[:-1]), begins[:-1], axis=1)
    counts = np.diff(begins)
    return (sums / np.outer(counts, counts)).astype(np.float32)


def centred(ink: Array) -> Array:
    """Bring ink on a picture of any size to Omniglot's size and place.

    Parameters
    ----------
    ink : ndarray, shape (height, width)
        0 is none; the most there is becomes 1.

    Returns
    -------
    ndarray of float32, shape (28, 28)

    Raises
    ------
    KitError
        If there is no ink.
    """
    most = float(ink.max(initial=0))
    rows, columns = (np.flatnonzero((ink > 0.2 * most).any(axis=axis)) for axis in (1, 0))
    if most <= 0 or not rows.size:
        raise KitError("there is no ink on the drawing; draw something first")
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] / most
    part = max(ink.shape) / LONGEST  # of a point of the drawing, in points of the picture
    whole = _resampled(_resampled(ink, part).T, part).T
    return (whole / whole.max()).astype(np.float32)


def _resampled(ink: Array, part: float) -> Array:
    """Means over `SIZE` parts of the rows, the ink in the middle; an edge may cut a row."""
    edges = (np.arange(SIZE + 1) - SIZE / 2) * part + len(ink) / 2
    edges = np.clip(edges, 0, len(ink))
    sums = np.concatenate([np.zeros((1, ink.shape[1])), np.cumsum(ink, axis=0)])
    at = np.minimum(edges.astype(int), len(ink) - 1)
    until = sums[at] + (edges - at)[:, None] * ink[at]
    return np.diff(until, axis=0) / part


def read_drawing(path: str | Path) -> Array:
    """Read a drawing from a picture, or from 28x28 numbers from 0 to 1 in a .npy file.

    A picture may have any size, and be dark on light or light on dark; see `centred`.

    Raises
    ------
    KitError
        If it cannot be read, is no picture, or holds no drawing.
    """
    path = Path(path)
    with file_errors(_REMEDY), path.open("rb") as file:
        content = file.read(_BIGGEST + 1)
    if len(content) > _BIGGEST:
        raise KitError(f"{path} has more than {_BIGGEST >> 20} MB; give a smaller picture")
    if path.suffix == ".npy":
        try:
            return checked(np.lib.format.read_array(io.BytesIO(content), allow_pickle=False))
        except KitError as error:
            raise KitError(f"{path} is no drawing: {error}") from None
        except (ValueError, TypeError, MemoryError, EOFError, SyntaxError):
            raise KitError(f"{path} is no drawing; {_REMEDY}") from None
    try:
        return centred(_ink_of(_grey(path, content)))
    except KitError as error:
        raise KitError(f"{path}: {error}") from None


def _grey(path: Path, content: bytes) -> Array:
    """Brightness of a picture's points, on white where it is transparent."""
    pillow = needed("PIL.Image", "pillow")
    try:
        with pillow.open(io.BytesIO(content), formats=["PNG", "JPEG", "BMP", "GIF"]) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise KitError(
                    f"{picture.width}x{picture.height} points are too many; make it smaller"
                )
            layers = picture.convert("RGBA")
            paper = pillow.new("RGBA", layers.size, "white")
            return np.asarray(pillow.alpha_composite(paper, layers).convert("L"), float)
    except KitError:
        raise
    except Exception:  # Pillow has many of its own for a damaged file
        raise KitError(f"it is no picture, or damaged; {_REMEDY}") from None


def _ink_of(grey: Array) -> Array:
    """Distance from the paper's brightness, which most of the picture's points have."""
    paper = np.median(grey)
    away = np.abs(grey - paper)
    return np.where(away < 0.3 * away.max(initial=1), 0, away)  # shadows on a photo are no ink


def checked(drawing: ArrayLike) -> Array:
    """Return a drawing (28, 28), or (28, 28, 1), as float32; `KitError` unless all is 0 to 1."""
    found = np.asarray(drawing)
    if found.shape not in ((SIZE, SIZE), (SIZE, SIZE, 1)) or found.dtype.kind not in "fiub":
        raise KitError(f"a drawing has 28x28 numbers, not {found.dtype} of shape {found.shape}")
    found = found.reshape(SIZE, SIZE)
    if not ((found >= 0) & (found <= 1)).all():  # false for NaN
        raise KitError("a drawing has numbers from 0, no ink, to 1; divide by the largest")
    return found.astype(np.float32)


def as_rows(drawing: ArrayLike) -> list[str]:
    """Return the 28 rows of 28 digits, 0 to f, that the sketch DrawAdapt takes."""
    levels = np.rint(checked(drawing) * LEVELS).astype(int)
    return ["".join(_DIGITS[level] for level in row) for row in levels]


def as_sent(drawing: ArrayLike) -> Array:
    """Return a drawing as the board sees it, with 16 levels of ink: (28, 28) of float32."""
    return np.rint(checked(drawing) * LEVELS).astype(np.float32) / np.float32(LEVELS)


def read_rows(text: str) -> Array:
    """Read a drawing typed as rows: ``.`` or a space is no ink, anything else is.

    Rows of 28 signs, 28 of them, are taken as they are, where the digits 0 to f are levels of ink.
    Any other size is brought to Omniglot's.

    Raises
    ------
    KitError
        If there is no ink, or the text is too large.
    """
    rows = [row.rstrip() for row in text.splitlines()]
    if len(rows) > 200 or max(map(len, rows), default=0) > 200:
        raise KitError("the text has more than 200 rows or signs in a row; draw it smaller")
    exact = [row.lower() for row in rows if row]
    if len(exact) == SIZE and all(len(row) == SIZE for row in exact):
        known = {sign: i / LEVELS for i, sign in enumerate(_DIGITS)} | {".": 0.0, "#": 1.0}
        if all(set(row) <= known.keys() for row in exact):
            return np.array([[known[sign] for sign in row] for row in exact], np.float32)
    width = max(map(len, rows), default=0)
    signs = np.array([list(row.ljust(width)) for row in rows]).reshape(len(rows), width)
    return centred(np.where((signs == ".") | (signs == " "), 0.0, 1.0))
