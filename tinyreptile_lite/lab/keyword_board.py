"""A virtual board that runs the sketch KeywordAdapt, and somebody who speaks to it."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano import cycles
from tinyreptile_lite.nano.virtual import VirtualNano
from tinyreptile_lite.sound import BANDS

Array = np.ndarray

_HEARD = re.compile(r"(?:heard|perhaps) (\d), (\d+) %")
_LEARNT = re.compile(r"learnt: (\d) of 4 words known, ([\d.]+) s, loss ([\d.]+)")
_SETTLING_MS, _LEARNING_MS, _REST_MS = 15_000, 60_000, 1_000
_LISTENED_MS, _CYCLES_PER_MS = 2_000, 64_000
# What listens: the sketch's loop and its interrupt, the front end, the library PDM
_LISTENERS, _BEGINNINGS = {"loop", "hearSamples", "memmove", "memcpy"}, ("tr_", "PDM", "_ZN8PDM")


class Heard(NamedTuple):
    """What the sketch has said: the word's number, and how sure it is, 0 to 1."""

    word: int
    probability: float


class Lesson(NamedTuple):
    """What the sketch has said when it had learnt."""

    words: int  # that it knows now
    seconds: float  # of the board's time
    loss: float


class KeywordBoard:
    """Teach words to KeywordAdapt, and ask it what it hears; clips are int16, shape (samples,).

    Parameters
    ----------
    board : VirtualNano
        With the sketch KeywordAdapt; it runs until it listens.

    Examples
    --------
    >>> board = KeywordBoard(VirtualNano("arduino/KeywordAdapt"))  # doctest: +SKIP
    >>> board.teach(1, clips[:3])  # doctest: +SKIP
    Lesson(words=1, seconds=1.2, loss=0.02)
    >>> board.hear(clips[3])  # doctest: +SKIP
    Heard(word=1, probability=1.0)
    """

    def __init__(self, board: VirtualNano) -> None:
        self.board = board
        self._read = 0  # characters
        self._wait("listening:", _SETTLING_MS)

    def teach(self, word: int, clips: Sequence[Array]) -> Lesson:
        """Teach a word by its number, 1 to 4, with three clips of it.

        Raises
        ------
        KitError
            If there is no such word, there are not three clips, or one has no word in it.
        """
        if word not in range(1, 5) or len(clips) != 3:
            raise KitError(
                f"word {word} with {len(clips)} clips; give a word from 1 to 4, and three clips"
            )
        self.board.serial.write_line(str(word))
        self._wait(f"word {word}: say it three times", _REST_MS)
        for number, clip in enumerate(clips, 1):
            if not self._say(clip, rf"example {number} of 3\s"):
                self.board.serial.write_line("0")
                self.board.run(_REST_MS)
                raise KitError(
                    f"the board heard no word in clip {number} of 3; give a clip with one word, "
                    "and silence around it"
                )
        said = _LEARNT.search(self._wait(", loss ", _LEARNING_MS))
        if not said:
            raise KitError("the board has not learnt; teach the word with other clips")
        return Lesson(int(said[1]), float(said[2]), float(said[3]))

    def hear(self, clip: Array) -> Heard | None:
        """Say something; returns what the sketch says that it was, or None if it heard no word.

        It hears none before it has learnt one.
        """
        said = self._say(clip, _HEARD.pattern)
        return Heard(int(said[1]), int(said[2]) / 100) if said else None

    @property
    def rows(self) -> Array:
        """Input of the network (49, 16) that the last word has become on the board."""
        return self.board.read_variable("clip").reshape(-1, BANDS)

    def listening_share(self) -> float:
        """Part of the processor's time, 0 to 1, that listening takes while nobody speaks; modelled.

        It counts two seconds of the front end, of the loop that drives it and looks for words, and
        of the library PDM.
        """
        self.board.profile()
        self.board.run(_LISTENED_MS)
        self.board.profile(False)
        find = self.board.firmware.elf.function_at
        named = [(block, find(block.address) or "") for block in self.board.blocks()]
        own = [b for b, name in named if name in _LISTENERS or name.startswith(_BEGINNINGS)]
        used = cycles.model(own, self.board.read_memory).cycles
        return used / (_LISTENED_MS * _CYCLES_PER_MS)

    def _say(self, clip: Array, pattern: str) -> re.Match[str] | None:
        """Play a clip; returns what matches in the lines that come until a second after it."""
        self._read = len(self.board.serial.text)
        self.board.run(1000 * self.board.say(clip) + _REST_MS)
        return re.search(pattern, self.board.serial.text[self._read :])

    def _wait(self, text: str, limit_ms: float) -> str:
        """Run until a text has come since the last word was said; returns all that has."""

        def come(board: VirtualNano) -> bool:
            return text in board.serial.text[self._read :]

        self.board.run_until(come, limit_ms)
        self.board.run(1)
        said = self.board.serial.text[self._read :]
        self._read += len(said)
        return said
