"""A pad to draw on in a notebook, with mouse, pen or finger.

All of it works without a browser too: give `DrawingPad.strokes`, and click its buttons.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from html import escape
from io import BytesIO
from typing import Any

import anywidget
import ipywidgets
import numpy as np
import traitlets
from matplotlib.image import imsave
from numpy.typing import ArrayLike

from tinyreptile_lite.drawing import as_sent, draw_strokes, stroke_points
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.lab.draw_board import LABELS, Answer, DrawBoard
from tinyreptile_lite.lab.widgets import DescribedImage
from tinyreptile_lite.tasks.omniglot import SIZE

Array = np.ndarray

PAPER = 280  # points of the pad's side
_ENLARGED = 5
_WAITS = "draw a character"


class _Paper(anywidget.AnyWidget):
    """The canvas; a stroke reaches Python when the pen is lifted."""

    strokes: Any = traitlets.List().tag(sync=True)
    side = traitlets.Int(PAPER).tag(sync=True)

    _esm = """
    export default {
      render({ model, el }) {
        const side = model.get("side");
        const paper = document.createElement("canvas");
        paper.width = paper.height = side;
        paper.setAttribute("role", "img");
        paper.setAttribute("aria-label", "paper to draw a character on");
        // Without touch-action a finger would scroll the notebook.
        paper.style = "background: white; outline: 1px solid gray; margin: 1px; cursor: crosshair; "
          + "touch-action: none; max-width: 100%";
        const pen = paper.getContext("2d");
        let stroke = null;

        function show() {
          pen.clearRect(0, 0, side, side);
          pen.lineWidth = side / 28;
          pen.lineCap = pen.lineJoin = "round";
          for (const points of [...model.get("strokes"), ...(stroke ? [stroke] : [])]) {
            pen.beginPath();
            for (const [x, y] of points) pen.lineTo(x, y);
            pen.lineTo(points.at(-1)[0] + 0.1, points.at(-1)[1]);  // else a dot would not show
            pen.stroke();
          }
        }

        function place(event) {
          const box = paper.getBoundingClientRect();
          return [event.clientX - box.left, event.clientY - box.top]
            .map((v) => Math.round(v * side / box.width));
        }

        paper.addEventListener("pointerdown", (event) => {
          if (stroke || event.button !== 0) return;
          event.preventDefault();
          paper.setPointerCapture(event.pointerId);
          stroke = [place(event)];
          show();
        });
        paper.addEventListener("pointermove", (event) => {
          if (!stroke || !paper.hasPointerCapture(event.pointerId)) return;
          const [x, y] = place(event), [oldX, oldY] = stroke.at(-1);
          if (Math.hypot(x - oldX, y - oldY) < 2) return;
          stroke.push([x, y]);
          show();
        });
        paper.addEventListener("lostpointercapture", () => {
          if (!stroke) return;
          const whole = stroke;
          stroke = null;
          model.set("strokes", [...model.get("strokes"), whole]);
          model.save_changes();
        });
        model.on("change:strokes", show);
        el.appendChild(paper);
        show();
        return () => model.off("change:strokes", show);
      },
    };
    """


class DrawingPad(ipywidgets.VBox):
    """Draw a character, teach it to a board, and let the board recognise the next one.

    Beside the paper is the drawing as the board gets it; under it, what the board says. "Teach"
    empties the paper; "Recognise" does not, so that what was taken for another can be taught.
    "Forget" lets the board forget all characters.

    Parameters
    ----------
    board : DrawBoard, optional
        Who learns. Without one the pad only draws: read `drawing`.

    Attributes
    ----------
    strokes : list of lists of [x, y]
        What was drawn, in points of the paper, 280x280; x goes right, y down. It can be set.
    character : ipywidgets.ToggleButtons
        Whose value is the number under which "Teach" teaches.
    clear, teach, recognise, forget : ipywidgets.Button
        Their method ``click()`` does what a click does.

    Examples
    --------
    >>> pad = DrawingPad()
    >>> pad.strokes = [[(40, 40), (240, 40)], [(140, 40), (140, 240)]]
    >>> pad.drawing.shape
    (28, 28)
    """

    def __init__(self, board: DrawBoard | None = None) -> None:
        self.board = board
        self._paper = _Paper()
        self._sent = DescribedImage(format="png", layout={"border": "1px solid silver"})
        self._sent.tooltip = f"the drawing as a board gets it, {SIZE} by {SIZE} pixels"
        self._said = ipywidgets.HTML()
        self.character = ipywidgets.ToggleButtons(
            options=list(range(1, LABELS + 1)),
            description="character",
            style={"button_width": "3em"},
        )
        self.clear = self._button("Clear", "eraser", self._clear)
        self.teach = self._button("Teach", "graduation-cap", self._teach)
        self.recognise = self._button("Recognise", "question", self._recognise)
        self.forget = self._button("Forget", "trash", self._forget)
        row = ipywidgets.HBox([self.clear, self.teach, self.recognise, self.forget])
        if board is None:
            row, self.character.layout.display = self.clear, "none"
        self._paper.observe(self._show, "strokes")
        self._show()
        papers = ipywidgets.HBox(
            [
                _under("your paper", self._paper),
                _under(f"as the board gets it, {SIZE} x {SIZE}", self._sent),
            ]
        )
        super().__init__([papers, self.character, row, self._said])

    @property
    def strokes(self) -> list[list[list[float]]]:
        """What was drawn."""
        return self._paper.strokes

    @strokes.setter
    def strokes(self, strokes: Sequence[ArrayLike]) -> None:
        self._paper.strokes = [stroke_points(stroke).tolist() for stroke in strokes]

    @property
    def drawing(self) -> Array:
        """The strokes as a drawing, (28, 28), see `draw_strokes`; `KitError` if there are none."""
        return draw_strokes(self.strokes)

    @property
    def text(self) -> str:
        """What stands under the paper."""
        return self._text

    def _button(self, name: str, icon: str, act: Callable[[], str]) -> ipywidgets.Button:
        def clicked(_: object) -> None:
            try:
                self._tell(act())
            except KitError as error:
                self._tell(str(error))

        button = ipywidgets.Button(description=name, icon=icon)
        button.on_click(clicked)
        return button

    def _clear(self) -> str:
        self.strokes = []
        return _WAITS

    def _teach(self) -> str:
        label = self.character.value
        count = self._learner().teach(label, self.drawing)
        self.strokes = []
        return f"The board knows character {label} from {count} drawing{'s' if count > 1 else ''}."

    def _recognise(self) -> str:
        found = self._learner().recognise(self.drawing)
        texts = ["Class means: " + _in_words(found.means)]
        if found.passes:
            texts.append("After the passes: " + _in_words(found.passes))
        return " ".join(texts)

    def _forget(self) -> str:
        self._learner().forget()
        return "The board has forgotten all characters."

    def _learner(self) -> DrawBoard:
        if self.board is None:
            raise KitError("the pad has no board; give it a DrawBoard")
        return self.board

    def _tell(self, text: str) -> None:
        self._text = text
        self._said.value = f'<div role="status">{escape(text)}</div>'

    def _show(self, _change: object = None) -> None:
        """Show the drawing as a board gets it."""
        try:
            ink = as_sent(self.drawing) if self.strokes else np.zeros((SIZE, SIZE))
            self._tell("" if self.strokes else _WAITS)
        except KitError as error:
            ink = np.zeros((SIZE, SIZE))
            self._tell(str(error))
        file, large = BytesIO(), np.kron(ink, np.ones((_ENLARGED, _ENLARGED)))
        imsave(file, large, vmin=0, vmax=1, cmap="gray_r", format="png")
        self._sent.value = file.getvalue()

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Add the drawing, for places where no widget lives, as `widgets.Explorer` does."""
        bundle = super()._repr_mimebundle_(**options)
        picture = b64encode(self._sent.value).decode()
        return bundle | {"image/png": picture}, {"image/png": {"alt": self._sent.tooltip}}

    def __repr__(self) -> str:
        return "<a pad to draw on: run the cell, then draw with mouse or finger>"


def _under(caption: str, picture: ipywidgets.DOMWidget) -> ipywidgets.VBox:
    # A box stretches what is in it, and a stretched picture blurs.
    picture.layout.align_self = "flex-start"
    return ipywidgets.VBox([ipywidgets.Label(caption), picture], layout={"margin": "0 12px 0 0"})


def _in_words(answer: Answer) -> str:
    scores = ", ".join(f"{label}: {100 * share:.0f} %" for label, share in answer.scores.items())
    return f"it is {answer.label} ({scores})."
