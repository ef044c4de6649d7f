"""Omniglot: a device learns five characters of its user's own, from one to five drawings of each.

The data set (Lake, Salakhutdinov and Tenenbaum 2015) has 1,623 characters of 50 alphabets, each
drawn once by 20 people; data/README.md tells its origin and licence. A sample is a drawing of
28x28 points, float32 of shape (28, 28, 1): 1 is ink. A device has five characters, bound to the
labels 0 to 4 at random, so that nothing is known before its first sample. Alphabets are split by
name: a new device's characters are of alphabets that no device had in training. Rotated by 90, 180
and 270 degrees, a character counts as three more, in training only.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from tinyreptile_lite.datasets import Archive, Arrays, DataSet, joined
from tinyreptile_lite.errors import KitError, at_least_one, needed
from tinyreptile_lite.image_layers import Conv2D, Flatten, LayerNorm, SiLU
from tinyreptile_lite.layers import Dense, Layer
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Device, Samples, Task

Array = np.ndarray

SIZE = 28
DRAWERS = 20  # people who drew a character
PICTURE = (105, 105)  # points of a picture as it was published
TURNS = 4
SHIFT = 2  # points by which a drawing is moved in training, at most
QUERY = 5  # query drawings of each character
VALIDATION = ("Armenian", "Braille", "Futurama", "Hebrew", "Ojibwe_(Canadian_Aboriginal_Syllabics)")
SMALL_VALIDATION = ("Tagalog",)
SMALL_TEST = ("Early_Aramaic", "Japanese_(katakana)")

_URL = "https://github.com/brendenlake/omniglot/raw/master/python/"


def read_characters(archive: Archive, source: Path, remedy: str) -> Arrays:
    """Read an archive: each character's 20 drawings, made smaller.

    Returns
    -------
    dict of ndarray
        "images" of uint8, shape (characters, 20, 28, 28), 255 is ink; "alphabet" and "number".

    Raises
    ------
    KitError
        If a picture is none, or has another size, or a character has not 20 drawings.
    """
    drawings: dict[tuple[str, str], dict[int, Array]] = {}
    for path, content in archive.files(source, remedy):
        image = _shrunk(content)
        if image is None:
            raise KitError(f"{path[0]} in {source} is no picture of 105x105 points; {remedy}")
        drawings.setdefault((path[1], path[2]), {})[int(path[3])] = image
    for (alphabet, number), drawn in drawings.items():
        if sorted(drawn) != list(range(1, DRAWERS + 1)):
            text = f"character {number} of {alphabet} in {source} has not {DRAWERS} drawings"
            raise KitError(f"{text}; {remedy}")
    names = sorted(drawings)
    images = [[drawings[name][i] for i in range(1, DRAWERS + 1)] for name in names]
    alphabet, number = np.array(names).T
    return {"images": np.array(images), "alphabet": alphabet, "number": number}


def _shrunk(content: bytes) -> Array | None:
    """Picture as (28, 28), each point the mean of the 9 to 16 that lie on it; None if unfit."""
    pillow = needed("PIL.Image", "pillow")
    try:
        with pillow.open(io.BytesIO(content), formats=["PNG"]) as picture:
            if picture.size != PICTURE:
                return None
            grey = picture.convert("L").resize((SIZE, SIZE), pillow.Resampling.BOX)
    except (OSError, SyntaxError, ValueError):  # whatever Pillow says of a damaged file
        return None
    return 255 - np.asarray(grey)


def _archive(name: str, sha256: str, size: int) -> Archive:
    tree = re.escape(name) + r"/([^/]+)/character(\d\d)/\d{4}_(\d\d)\.png"
    return Archive(f"{name}.zip", f"{_URL}{name}.zip", sha256, size, tree, name)


FULL = DataSet(
    "omniglot",
    ("omniglot", "omniglot-drawers"),
    "characters",
    "omniglot",
    (
        _archive(
            "images_background",
            "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
            9_464_212,
        ),
        _archive(
            "images_evaluation",
            "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
            6_462_886,
        ),
    ),
    read_characters,
)
SMALL = DataSet(
    "omniglot-small",
    ("omniglot-small", "omniglot-small-drawers"),
    "characters",
    "omniglot",
    (
        _archive(
            "images_background_small1",
            "f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4",
            1_319_022,
        ),
        _archive(
            "images_background_small2",
            "3ccaa407515a8778e5d0861875af38b17e418f301ad5bb3b5a6b65d901a41c7f",
            1_580_917,
        ),
    ),
    read_characters,
)


def samples_of(images: Array) -> Array:
    """Inputs (N, 28, 28, 1) in float32 from drawings (N, 28, 28) in uint8."""
    return (images[..., None] / np.float32(255)).astype(np.float32)


def shifted(images: Array, rng: np.random.Generator) -> Array:
    """Move each drawing (N, 28, 28) by up to `SHIFT` points each way; what leaves it is lost."""
    room = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    starts = rng.integers(2 * SHIFT + 1, size=(len(images), 2))
    pairs = zip(room, starts, strict=True)
    return np.stack([image[i : i + SIZE, j : j + SIZE] for image, (i, j) in pairs])


def _labels(ways: int, count: int, rng: np.random.Generator) -> Array:
    """Labels of a stream: passes, each with every label once in random order."""
    passes = [rng.permutation(ways) for _ in range(-(-count // ways))]
    return np.concatenate(passes)[:count]


def turned(images: Array, turns: Array) -> Array:
    """Turn each drawing (N, 28, 28) to the left by so many quarters (N)."""
    return np.stack([np.rot90(*pair) for pair in zip(images, turns, strict=True)])


@dataclass(frozen=True, eq=False)
class CharacterDevice:
    """Somebody's device with a few characters of his own; drawings of all 20 people."""

    name: str
    images: Array = field(repr=False)  # uint8, (characters, 20, 28, 28), shared by all devices
    characters: Array = field(repr=False)  # (ways): which of them, by label
    turns: Array = field(repr=False)  # (ways): quarter turns of each
    shots: int

    def stream(self, count: int, rng: np.random.Generator) -> Samples:
        """Draw ``count`` drawings, moved a little, and labels, in passes over the characters.

        No drawing comes twice before all 20 of its character have come.
        """
        at_least_one(count=count)
        labels = _labels(len(self.characters), count, rng)
        turn = np.arange(count) // len(self.characters) % DRAWERS
        images = self._drawings(labels, self._orders(rng)[labels, turn])
        return Samples(samples_of(shifted(images, rng)), labels)

    def task(self, rng: np.random.Generator) -> Task:
        """Draw a support of ``shots`` passes, a query of 5 other drawings of each character."""
        ways, orders = len(self.characters), self._orders(rng)
        labels = _labels(ways, ways * self.shots, rng)
        support = self._drawings(labels, orders[labels, np.arange(len(labels)) // ways])
        asked = np.arange(ways).repeat(QUERY)
        query = self._drawings(asked, orders[:, self.shots : self.shots + QUERY].ravel())
        sets = Samples(samples_of(support), labels), Samples(samples_of(query), asked)
        return Task(self.name, *sets)

    def _orders(self, rng: np.random.Generator) -> Array:
        """In which order each character's drawings are taken: (ways, 20)."""
        return rng.permuted(np.tile(np.arange(DRAWERS), (len(self.characters), 1)), axis=1)

    def _drawings(self, labels: Array, drawers: Array) -> Array:
        return turned(self.images[self.characters[labels], drawers], self.turns[labels])


@dataclass(frozen=True, eq=False)
class DrawerDevice:
    """One person's own drawings, one of each training character, as a federation has them.

    Each visit and each task takes other characters, and binds them to labels at random. As there
    is only one drawing of each, it comes again and again, each time moved a little.
    """

    drawer: int  # 1 to 20
    drawings: Array = field(repr=False)  # uint8, (characters, 28, 28)
    ways: int
    shots: int

    @property
    def name(self) -> str:
        """For example ``"drawer-7"``."""
        return f"drawer-{self.drawer}"

    def stream(self, count: int, rng: np.random.Generator) -> Samples:
        """Draw ``count`` drawings of a few characters, moved a little, and labels, in passes."""
        at_least_one(count=count)
        return self._samples(self._characters(rng), _labels(self.ways, count, rng), rng)

    def task(self, rng: np.random.Generator) -> Task:
        """Draw a few characters; support and query are their drawings, each moved otherwise."""
        characters = self._characters(rng)
        labels = _labels(self.ways, self.ways * self.shots, rng), np.arange(self.ways).repeat(QUERY)
        support, query = (self._samples(characters, each, rng) for each in labels)
        return Task(self.name, support, query)

    def _characters(self, rng: np.random.Generator) -> Array:
        chosen = rng.choice(len(self.drawings), self.ways, replace=False)
        turns = rng.integers(TURNS, size=self.ways)
        return np.stack([np.rot90(self.drawings[c], t) for c, t in zip(chosen, turns, strict=True)])

    def _samples(self, characters: Array, labels: Array, rng: np.random.Generator) -> Samples:
        return Samples(samples_of(shifted(characters[labels], rng)), labels)


class Omniglot:
    """The family of all devices that learn characters.

    Parameters
    ----------
    small : bool, default False
        Whether to take the small sets, 8 alphabets, for class: "omniglot-small".
    drawers : bool, default False
        False: a device in training is a user with characters of his own, drawn by everybody. True:
        it is one of the 20 drawers, who has drawn each character once: "omniglot-drawers". The new
        devices are the same.
    validate : bool, default False
        Whether the devices never seen in training are those to choose settings with, whose
        alphabets are in neither training nor test.
    ways, shots : int
        Characters of a device, and drawings of each to learn from.
    train_devices, test_devices : int
        How many users of each `split` draws.
    """

    metric = "accuracy"
    folds = 1

    def __init__(
        self,
        small: bool = False,
        drawers: bool = False,
        validate: bool = False,
        ways: int = 5,
        shots: int = 5,
        train_devices: int = 20_000,
        test_devices: int = 600,
    ) -> None:
        at_least_one(shots=shots, train_devices=train_devices, test_devices=test_devices)
        if not 2 <= ways <= 20:
            raise KitError(f"ways is {ways}; give 2 to 20 characters")
        if shots > DRAWERS - QUERY:
            raise KitError(f"shots is {shots}; give at most {DRAWERS - QUERY}")
        self.data = SMALL if small else FULL
        self.name = self.data.name + ("-drawers" if drawers else "")
        self.drawers, self.validate = drawers, validate
        self.ways, self.shots = ways, shots
        self.sizes = train_devices, test_devices
        self.counts = tuple(ways * n for n in range(shots + 1) if n in (0, 1, 3, shots))

    def network(self) -> Network:
        """Build the network of four convolutions: 22,965 parameters for 5 characters."""
        layers: list[Layer] = []
        channels = 1
        for outputs in (12, 32, 32, 32):  # images of 14, 7, 4 and 2 points a side
            convolution = Conv2D(channels, outputs, kernel=3, stride=2, padding=1)
            layers += [convolution, LayerNorm(outputs), SiLU()]
            channels = outputs
        layers += [Flatten(), Dense(4 * channels, self.ways)]
        return Network(layers, "cross_entropy", (SIZE, SIZE, 1))

    def split(
        self, fold: int, rng: np.random.Generator
    ) -> tuple[Sequence[Device], Sequence[Device]]:
        """Draw devices of the training alphabets and devices of the held-out ones; one fold.

        Raises
        ------
        KitError
            If the data is missing, or has too few characters.
        """
        parts = _characters(self.data)
        train, held_out = parts["train"], parts["validation" if self.validate else "test"]
        if min(len(train), len(held_out)) < self.ways:
            fewest = min(len(train), len(held_out))
            raise KitError(f"ways is {self.ways}, but there are {fewest} characters; give fewer")
        return self._training(train, rng), self._users("new-user", held_out, self.sizes[1], 1, rng)

    def _training(self, images: Array, rng: np.random.Generator) -> Sequence[Device]:
        if not self.drawers:
            return self._users("user", images, self.sizes[0], TURNS, rng)
        ways = self.ways, self.shots
        return [DrawerDevice(i + 1, images[:, i], *ways) for i in range(DRAWERS)]

    def _users(
        self, prefix: str, images: Array, count: int, turns: int, rng: np.random.Generator
    ) -> list[CharacterDevice]:
        """Draw users; a character in another turn is another one, but no user has it twice."""
        return [
            CharacterDevice(
                f"{prefix}-{i}",
                images,
                rng.choice(len(images), self.ways, replace=False),
                rng.integers(turns, size=self.ways),
                self.shots,
            )
            for i in range(count)
        ]


def _characters(data: DataSet) -> dict[str, Array]:
    """Drawings (characters, 20, 28, 28) to train on, to choose settings with, and to test on."""
    return _read(data, data.sources())


@cache
def _read(data: DataSet, _sources: tuple[Path, ...]) -> dict[str, Array]:
    """Read them once, but again from another place, as the data folder may be changed."""
    first, second = data.load()
    everything = joined([first, second])
    names, numbers = everything["alphabet"], everything["number"]
    if data is FULL:
        test, validation = np.isin(names, second["alphabet"]), np.isin(names, VALIDATION)
    else:
        test, validation = np.isin(names, SMALL_TEST), np.isin(names, SMALL_VALIDATION)
    known = np.zeros(len(names), bool)  # two alphabets are in both small sets
    known[np.unique(np.stack([names, numbers]), axis=1, return_index=True)[1]] = True
    test, validation = test & known, validation & known
    masks = {"train": known & ~(test | validation), "validation": validation, "test": test}
    images = {part: everything["images"][mask] for part, mask in masks.items()}
    for part in images.values():
        part.flags.writeable = False  # all devices share them
    return images
