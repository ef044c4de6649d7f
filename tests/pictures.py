"""What a reader of a picture needs: words that are whole and apart, curves that are told apart."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

# Severity 1.0 of Machado, Oliveira and Fernandes, A Physiologically-based Model for Simulation of
# Color Vision Deficiency, IEEE Transactions on Visualization and Computer Graphics 15 (2009), on
# linear RGB.
BLINDNESS = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}
SEEN = ["usual", "grey", *BLINDNESS]
_LIGHT = np.array([0.2126, 0.7152, 0.0722])  # luminance of linear sRGB


@contextmanager
def _drawn_texts() -> Iterator[list[Text]]:
    found: list[Text] = []
    draw = Text.draw

    def note(self: Text, *given: object, **options: object) -> None:
        draw(self, *given, **options)
        if self.get_visible() and self.get_text().strip():
            found.append(self)

    Text.draw = note  # type: ignore[method-assign]
    try:
        yield found
    finally:
        Text.draw = draw  # type: ignore[method-assign]


def texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """All words that are really drawn, and where, in pixels."""
    figure.canvas.draw()  # a layout engine moves things the first time
    with _drawn_texts() as found:
        figure.canvas.draw()
    once = {id(text): text for text in found}.values()
    return [(text.get_text(), Text.get_window_extent(text)) for text in once]


def assert_words_are_whole_and_apart(figure: Figure) -> None:
    """Every text lies inside the figure, and none on another one."""
    found = texts(figure)
    assert found
    width, height = figure.bbox.size
    for text, place in found:
        inside = place.x0 >= 0 and place.y0 >= 0 and place.x1 <= width and place.y1 <= height
        assert inside, f"{text!r} is cut off: {place} in {width} by {height}"
    for (one, here), (other, there) in combinations(found, 2):
        common = Bbox.intersection(here, there)
        apart = common is None or min(common.size) < 1
        assert apart, f"{one!r} lies on {other!r}"


def seen(colour: str, how: str) -> np.ndarray:
    """Linear RGB of a colour as someone sees it, or as a printer without colours prints it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if how in BLINDNESS:
        return np.clip(np.array(BLINDNESS[how]) @ linear, 0, 1)
    return np.repeat(_LIGHT @ linear, 3) if how == "grey" else linear


def contrast_with_white(colour: str, how: str) -> float:
    """Contrast as in WCAG 2: 1 for white itself, 21 for black."""
    return float(1.05 / (_LIGHT @ seen(colour, how) + 0.05))
