"""Keywords: a device learns four words of its speaker, from one to three clips of each.

The clips are the test set of Google Speech Commands 0.02 (Warden 2018, arXiv 1804.03209), of which
we take the people who said at least six of its ten words at least four times; data/README.md tells
origin and licence. A device is a speaker. A sample is a second of sound as the front end gives it
(`sound`): float32 of shape (49, 16), its mean subtracted. Speakers are split into four groups: a
new device's speaker was heard by no device in training.
"""

import io
import itertools
import wave
import zlib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinyreptile_lite import sound
from tinyreptile_lite.datasets import Archive, Arrays, DataSet
from tinyreptile_lite.errors import KitError, at_least_one
from tinyreptile_lite.image_layers import LayerNorm, SiLU
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, Layer, Scale
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Device, Samples, Task

Array = np.ndarray

WORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
TRAINING_WORDS = ("left", "on", "stop", "up", "yes")  # where the other ones are new
LENGTH = sound.RATE  # samples of a clip
SHORTEST = LENGTH // 4
ROWS = sound.frame_count(LENGTH)
GROUPS = 4  # of people
# A speaker counts who said so many words so often.
LEAST_WORDS, LEAST_CLIPS = 6, 4


def read_wav(content: bytes) -> Array | None:
    """Samples (16000) in int16 of a mono recording at 16 kHz; None if it is none.

    One shorter than a second ends in silence; a longer one, or one below a quarter, is refused.
    """
    try:
        with wave.open(io.BytesIO(content)) as file:
            if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, LENGTH):
                return None
            if not SHORTEST <= file.getnframes() <= LENGTH:
                return None
            data = file.readframes(LENGTH)
    except (wave.Error, EOFError):
        return None
    if not 2 * SHORTEST <= len(data) <= 2 * LENGTH or len(data) % 2:  # its header may say more
        return None
    return np.frombuffer(data.ljust(2 * LENGTH, b"\0"), "<i2").astype(np.int16)


def read_clips(archive: Archive, source: Path, remedy: str) -> Arrays:
    """Read the archive: the clips of all speakers that count.

    Returns
    -------
    dict of ndarray
        "samples" of int16, shape (clips, 16000); "word", places in `WORDS`; "speaker", names. The
        clips are in the order of their speakers, words and numbers.

    Raises
    ------
    KitError
        If a file is no such recording, or no speaker counts.
    """
    clips = {}
    for path, content in archive.files(source, remedy):
        samples = read_wav(content)
        if samples is None:
            text = f"{path[0]} in {source} is no recording of up to a second, 16 kHz, mono, 16 bit"
            raise KitError(f"{text}; {remedy}")
        clips[path[2], WORDS.index(path[1]), int(path[3])] = samples
    numbers = Counter((speaker, word) for speaker, word, _ in clips)
    enough = Counter(speaker for (speaker, _), count in numbers.items() if count >= LEAST_CLIPS)
    keys = sorted(key for key in clips if enough[key[0]] >= LEAST_WORDS)
    if not keys:
        text = f"nobody in {source} said {LEAST_WORDS} words {LEAST_CLIPS} times"
        raise KitError(f"{text}; {remedy}")
    return {
        "samples": np.stack([clips[key] for key in keys]),
        "word": np.array([key[1] for key in keys]),
        "speaker": np.array([key[0] for key in keys]),
    }


DATA = DataSet(
    "keywords",
    ("keywords", "keywords-fixed", "keywords-new-words", "keywords-new-words-fixed"),
    "clips",
    "speech_commands",
    (
        Archive(
            "speech_commands_test_set_v0.02.tar.gz",
            "https://download.tensorflow.org/data/speech_commands_test_set_v0.02.tar.gz",
            "cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df",
            112_563_277,
            rf"({'|'.join(WORDS)})/([0-9a-f]{{8}})_nohash_(\d+)\.wav",
            "speech_commands_test_set_v0.02*",
        ),
    ),
    read_clips,
)


@dataclass(frozen=True)
class Augmentation:
    """A word said a little differently, elsewhere: drawn anew for each clip.

    Speed is a factor uniform in 1 +- ``speed``, the clip is moved by up to ``shift`` seconds each
    way and its loudness by up to ``gain`` decibels. White noise of up to ``noise`` times the clip's
    own root mean square is added. Up to ``mask`` neighbouring rows are blotted out. As this takes
    longer than to learn from it, each clip is said in ``takes`` ways, made when they are first
    needed; a stream draws among them. The blots are always new.
    """

    speed: float = 0.1
    shift: float = 0.1
    gain: float = 6.0
    noise: float = 0.1
    mask: int = 6
    takes: int = 16

    def __post_init__(self) -> None:
        for name, most in (("speed", 0.5), ("shift", 0.5), ("gain", 40), ("noise", 1)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise KitError(f"{name} is {value}; give a number from 0 to {most}")
        if not 0 <= self.mask < ROWS:
            raise KitError(f"mask is {self.mask}; give 0 to {ROWS - 1} rows")
        at_least_one(takes=self.takes)

    def apply(self, clip: Array, rng: np.random.Generator) -> Array:
        """Return another recording (16000) of a clip, in int16; samples that overflow are cut."""
        speed = 1 + rng.uniform(-self.speed, self.speed)
        middle, time = LENGTH / 2, np.arange(LENGTH)
        moved = middle + sound.RATE * rng.uniform(-self.shift, self.shift)
        heard = np.interp(moved + (time - middle) * speed, time, clip, left=0, right=0)
        loudness = np.sqrt(np.mean(heard * heard)) * rng.uniform(0, self.noise)
        heard += np.float32(loudness) * rng.standard_normal(LENGTH, np.float32)
        heard *= 10 ** (rng.uniform(-self.gain, self.gain) / 20)
        return np.rint(heard).clip(-32768, 32767).astype(np.int16)

    def blot(self, rows: Array, rng: np.random.Generator) -> None:
        """Set a few neighbouring rows of each clip (N, 49, 16) to the mean."""
        for clip in rows:
            length = rng.integers(self.mask + 1)
            start = rng.integers(ROWS - length + 1)
            clip[start : start + length] = 0


class Word(NamedTuple):
    """What is said: the first half of one word and the second of another, mostly the same one."""

    first: int  # place in WORDS
    second: int
    backwards: bool = False


def plain(words: Sequence[str]) -> list[Word]:
    """Words as they are."""
    places = [WORDS.index(word) for word in words]
    return [Word(place, place) for place in places]


def made(words: Sequence[str]) -> list[Word]:
    """Words that nobody says: each one backwards, and halves of all pairs spliced together."""
    places = [WORDS.index(word) for word in words]
    backwards = [Word(place, place, True) for place in places]
    return backwards + [Word(*pair) for pair in itertools.permutations(places, 2)]


def features(clips: Array) -> Array:
    """Inputs (..., 49, 16) of clips (..., 16000) in int16."""
    return sound.level(sound.log_mel(clips))


@dataclass(frozen=True, eq=False)
class SpeakerDevice:
    """One speaker's device."""

    speaker: str
    clips: dict[int, Array] = field(repr=False)  # by place in WORDS: int16, (clips, 16000)
    vocabulary: tuple[Word, ...] = field(repr=False)  # what it may hear in training
    tested: tuple[Word, ...] = field(repr=False)  # what it may be asked to learn
    permute_labels: bool
    ways: int
    shots: int
    augmentation: Augmentation
    takes: dict[Hashable, Array] = field(default_factory=dict, repr=False)  # what `_take` has made

    @property
    def name(self) -> str:
        """For example ``"speaker-0132a06d"``."""
        return f"speaker-{self.speaker}"

    def stream(self, count: int, rng: np.random.Generator) -> Samples:
        """Draw augmented clips (count, 49, 16) and labels (count,), as a device in training.

        With own labels, a visit has ``ways`` words, bound to labels at random; with fixed ones, all
        words of the speaker. They come in passes, each word once in random order. No clip of a word
        comes twice before all have come.
        """
        at_least_one(count=count)
        known = [i for i, word in enumerate(self.vocabulary) if {*word[:2]} <= set(self.clips)]
        chosen = rng.permutation(known)[: self.ways if self.permute_labels else None]
        passes = [rng.permutation(len(chosen)) for _ in range(-(-count // len(chosen)))]
        at = np.concatenate(passes)[:count]
        orders = {word: rng.permutation(len(clips)) for word, clips in self.clips.items()}
        said = [self._take(self.vocabulary[chosen[i]], n // len(chosen), orders, rng)
                for n, i in enumerate(at)]  # fmt: skip
        x = np.stack(said)
        self.augmentation.blot(x, rng)
        return Samples(x, at if self.permute_labels else chosen[at])

    def _take(
        self, word: Word, turn: int, orders: dict[int, Array], rng: np.random.Generator
    ) -> Array:
        """Return an input (49, 16): the clip of a word in one turn, said in one of many ways."""
        places = [int(orders[word][turn % len(orders[word])]) for word in word[:2]]
        take = int(rng.integers(self.augmentation.takes))
        numbers = [zlib.crc32(self.speaker.encode()), *word, *places, take]
        key = self.augmentation, *numbers
        if key not in self.takes:
            own = np.random.default_rng(numbers)
            clip = self.augmentation.apply(self._say(word, *places), own)
            self.takes[key] = features(clip)
        return self.takes[key]

    def _say(self, word: Word, first: int, second: int) -> Array:
        """Return a clip (16000) of a word, made of these clips of its two halves."""
        beginning, end = self.clips[word.first][first], self.clips[word.second][second]
        if word.backwards:
            return beginning[::-1]
        return np.concatenate([beginning[: LENGTH // 2], end[LENGTH // 2 :]])

    @cached_property
    def can_learn(self) -> list[Word]:
        """Words with enough clips to learn from and to be tested on."""
        return [w for w in self.tested if len(self.clips.get(w.first, ())) > self.shots]

    def task(self, rng: np.random.Generator) -> Task:
        """Draw the task of a new speaker: a support of ``shots`` passes over ``ways`` words.

        The query is one other clip of each word; so draw many tasks. Nothing is augmented.
        """
        if len(self.can_learn) < self.ways:
            raise KitError(
                f"{self.name} said {len(self.can_learn)} words {self.shots + 1} times; "
                f"give fewer ways than {self.ways}, or fewer shots"
            )
        chosen = rng.permutation(len(self.can_learn))[: self.ways]
        words = [self.can_learn[i] for i in chosen]
        orders = [rng.permutation(len(self.clips[word.first])) for word in words]
        at = np.concatenate([rng.permutation(self.ways) for _ in range(self.shots)])
        labels = np.arange(self.ways)
        if not self.permute_labels:
            labels = np.array([self.vocabulary.index(word) for word in words])

        def drawn(places: Array, turns: Array) -> Samples:
            pairs = zip(places, turns, strict=True)
            x = [self._features[words[i].first][orders[i][turn]] for i, turn in pairs]
            return Samples(np.stack(x), labels[places])

        support = drawn(at, np.arange(len(at)) // self.ways)
        query = drawn(np.arange(self.ways), np.full(self.ways, self.shots))
        return Task(self.name, support, query)

    @cached_property
    def _features(self) -> dict[int, Array]:
        return {word: features(clips) for word, clips in self.clips.items()}


class Keywords:
    """The family of all speakers.

    Parameters
    ----------
    permute_labels : bool, default True
        True: each speaker binds words of his own to labels of his own, drawn anew for every visit
        and task ("keywords"). False: a label is a word, the same for everybody ("keywords-fixed").
    new_words : bool, default False
        Whether a new device learns five words that no device heard in training
        ("keywords-new-words"). There, the other five are heard, and words made of them; see `made`.
        With fixed labels, a new device learns the words that the others heard, as they are or
        backwards, so that there are labels enough.
    validate : bool, default False
        Whether the devices never seen in training are those to choose settings with, whose
        speakers are in neither training nor test.
    ways, shots : int
        Words of a new device, and clips of each to learn from.
    augmentation : Augmentation, optional
        Of a training device's stream.
    """

    metric = "accuracy"
    folds = GROUPS

    def __init__(
        self,
        permute_labels: bool = True,
        new_words: bool = False,
        validate: bool = False,
        ways: int = 4,
        shots: int = 3,
        augmentation: Augmentation | None = None,
    ) -> None:
        at_least_one(shots=shots)
        most = len(TRAINING_WORDS) if new_words else len(WORDS)
        if not 2 <= ways <= most:
            raise KitError(f"ways is {ways}; give 2 to {most} words")
        self.name = "keywords" + "-new-words" * new_words + "-fixed" * (not permute_labels)
        self.permute_labels, self.validate = permute_labels, validate
        self.ways, self.shots = ways, shots
        self.augmentation = augmentation or Augmentation()
        self.counts = tuple(ways * n for n in range(shots + 1))
        heard = TRAINING_WORDS if new_words else WORDS
        self.vocabulary = tuple(plain(heard) + (made(heard) if new_words else []))[
            : None if permute_labels else len(WORDS)
        ]
        new = [word for word in WORDS if word not in heard]
        self.tested = tuple(plain(new if new_words and permute_labels else heard))

    def network(self) -> Network:
        """Build the network of three convolutions over time: 17,930 parameters.

        It has 10 outputs, as many as there are words. A device with 4 words of its own uses 4.
        """
        layers: list[Layer] = [Scale(0.25)]
        channels = sound.BANDS
        for outputs, kernel, stride in ((32, 3, 1), (32, 5, 2), (64, 5, 2)):
            layers += [Conv1D(channels, outputs, kernel, stride), LayerNorm(outputs), SiLU()]
            channels = outputs
        # Doubled features let the head learn four times as fast as the body.
        layers += [GlobalAveragePool(), Scale(2.0), Dense(channels, len(WORDS))]
        return Network(layers, "cross_entropy", (ROWS, sound.BANDS))

    def devices(self) -> list[SpeakerDevice]:
        """All speakers, in the order of their names; `KitError` without the data."""
        about = self.vocabulary, self.tested, self.permute_labels, self.ways, self.shots
        return [
            SpeakerDevice(speaker, clips, *about, self.augmentation, takes)
            for speaker, (clips, takes) in _speakers().items()
        ]

    def split(
        self, fold: int, rng: np.random.Generator
    ) -> tuple[Sequence[Device], Sequence[Device]]:
        """Hold out every fourth speaker; to validate, the next group, and both from training.

        A speaker who did not say enough words often enough is no device to test. ``rng`` is not
        used, as the folds are fixed.

        Raises
        ------
        KitError
            If the data is missing, or nobody can be tested.
        """
        if not 0 <= fold < self.folds:
            raise KitError(f"fold is {fold}; {self.name} has folds 0 to {self.folds - 1}")
        next_one = (fold + 1) % GROUPS
        held_out, shown = ({fold, next_one}, next_one) if self.validate else ({fold}, fold)
        devices = self.devices()
        train = [device for i, device in enumerate(devices) if i % GROUPS not in held_out]
        test = [d for d in devices[shown::GROUPS] if len(d.can_learn) >= self.ways]
        if not (train and test):
            raise KitError(
                f"fold {fold} has no speaker who said {self.ways} words {self.shots + 1} times; "
                "give fewer ways or shots"
            )
        return train, test


Speakers = dict[str, tuple[dict[int, Array], dict[Hashable, Array]]]


def _speakers() -> Speakers:
    """Clips (N, 16000) of each speaker and word, and room for what is made of them."""
    return _read(DATA.sources())


@cache
def _read(_sources: tuple[Path, ...]) -> Speakers:
    """Read them once, but again from another place, as the data folder may be changed."""
    (arrays,) = DATA.load()
    samples = arrays["samples"]
    samples.flags.writeable = False  # all devices share them
    found: Speakers = {}
    keys = np.stack([arrays["speaker"], arrays["word"].astype(str)])
    starts = np.flatnonzero(np.r_[True, (keys[:, 1:] != keys[:, :-1]).any(axis=0)])
    for start, end in itertools.pairwise([*starts.tolist(), len(samples)]):
        speaker, word = str(arrays["speaker"][start]), int(arrays["word"][start])
        found.setdefault(speaker, ({}, {}))[0][word] = samples[start:end]
    return found
