"""A virtual board that runs the sketch DrawAdapt, and somebody who draws for it."""

import re
from typing import NamedTuple

from numpy.typing import ArrayLike

from tinyreptile_lite.drawing import as_rows
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.virtual import VirtualNano

LABELS, MOST_PASSES = 5, 100  # as the sketch has them
_SAID = re.compile(r"(?:class means|after \d+ pass(?:es)?): (\d), in percent(.*)")
_STARTING_MS, _ANSWER_MS, _MOMENT_MS, _PASS_MS = 30_000, 10_000, 200, 10_000


class Answer(NamedTuple):
    """What the sketch takes a drawing for."""

    label: int
    scores: dict[int, float]  # probability of each label that was taught


class Recognised(NamedTuple):
    """What class means say, and, if there were passes, the network after them."""

    means: Answer
    passes: Answer | None


class DrawBoard:
    """Teach characters to DrawAdapt, and ask it for them.

    A drawing is (28, 28) or (28, 28, 1), from 0, no ink, to 1, as `drawing.draw_strokes`,
    `drawing.read_drawing` and the samples of Omniglot are; the board gets 16 levels of ink.

    Parameters
    ----------
    board : VirtualNano
        With the sketch DrawAdapt; it runs until it is ready.

    Attributes
    ----------
    said : list of str
        What the board has said to the last order, line by line.

    Examples
    --------
    >>> board = DrawBoard(VirtualNano("arduino/DrawAdapt"))  # doctest: +SKIP
    >>> board.teach(1, drawing)  # doctest: +SKIP
    1
    >>> board.recognise(another).means  # doctest: +SKIP
    Answer(label=1, scores={1: 0.98, 2: 0.02})
    """

    def __init__(self, board: VirtualNano) -> None:
        self.board = board
        if "ready:" not in board.serial.text:
            board.run_until("ready:", _STARTING_MS)
            board.run(_MOMENT_MS)
        self.said = board.serial.text.splitlines()

    def teach(self, label: int, drawing: ArrayLike) -> int:
        """Teach a drawing as character 1 to 5; returns how many drawings of it the board keeps.

        It keeps five of each: a sixth takes the place of the first.
        """
        if label not in range(1, LABELS + 1):
            raise KitError(f"there is no character {label}; choose one from 1 to {LABELS}")
        learnt = self._send(drawing, f"learn {label}", rf"learnt {label} from (\d) drawing")
        return int(learnt[1])

    def recognise(self, drawing: ArrayLike) -> Recognised:
        """Ask what a drawing is; `KitError` if nothing was taught yet."""
        self._send(drawing, "what", "class means: ")
        answers = [_answer(found) for found in map(_SAID.match, self.said) if found]
        return Recognised(answers[0], answers[1] if len(answers) > 1 else None)

    def train(self, passes: int) -> list[float]:
        """Train all layers on the drawings kept, from the class means on; the loss of each pass."""
        if passes not in range(1, MOST_PASSES + 1):
            raise KitError(f"passes are {passes}; choose 1 to {MOST_PASSES}")
        end, refusal = rf"pass {passes} of {passes}: ", "teach two|the passes ended"
        self._order([f"passes {passes}"], end, refusal, passes * _PASS_MS)
        return [float(line.rsplit(" ", 1)[1]) for line in self.said if line.startswith("pass ")]

    def forget(self) -> None:
        """Let the board forget all, in flash too."""
        self._order(["forget"], "forgotten", "the flash")

    def _send(self, drawing: ArrayLike, order: str, reply: str) -> re.Match[str]:
        refusal = "no drawing|not learnt|nothing was taught"
        return self._order(["draw", *as_rows(drawing), order], reply, refusal)

    def _order(
        self, lines: list[str], reply: str, refusal: str, limit_ms: float = _ANSWER_MS
    ) -> re.Match[str]:
        """Send lines; run until a line comes that begins with this reply, and a moment longer."""
        begin, end = len(self.board.serial.text), self.board.time_ms + limit_ms
        for line in lines:
            self.board.serial.write_line(line)
        while self.board.time_ms < end and not self.board.stopped:
            self.board.run(_MOMENT_MS)
            sent = self.board.serial.text[begin:]
            self.said = sent.splitlines()
            if found := re.search(rf"^{reply}.*\n", sent, re.MULTILINE):
                self.board.run(_MOMENT_MS)  # for a second line
                self.said = self.board.serial.text[begin:].splitlines()
                return found
            if refused := re.search(rf"^(?:{refusal}).*(?=\r\n)", sent, re.MULTILINE):
                raise KitError(f"the board says: {refused[0]}")
        raise KitError("the board does not answer; reset it")


def _answer(said: re.Match[str]) -> Answer:
    shares = (part.split(":") for part in said[2].split())
    return Answer(int(said[1]), {int(label): float(share) / 100 for label, share in shares})
