"""Wrists: people wear a smartwatch and do seven shoulder exercises; which one is it?

A device is one person's one arm: ten people, two arms, 20 devices. The recordings are part of the
SPAR study (Burns et al. 2018, arXiv 1802.01489); data/README.md tells their origin and licence.
A sample is a window of 4 seconds: 100 readings at 25 Hz of acceleration x, y, z in g and rotation
rate x, y, z in rad/s, as float32 of shape (100, 6). Right arms are mirrored, see `MIRROR`.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from tinyreptile_lite.datafiles import read_data
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, Tanh
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Device, Samples, Task
from tinyreptile_lite.tasks.frames import own_frame, random_rotation, seen_in

Array = np.ndarray

FILE = "wrist/wrist.npz"
SHA256 = "108a5bf024895067a1d616fab5dfbb78f1d7c2a653849c5032b6c8c3ba1ecaa0"
REMEDY = "get it with git, or build it: python data/build_wrist.py"

EXERCISES = (
    "pendulum",
    "abduction",
    "forward elevation",
    "internal rotation",
    "external rotation",
    "trapezius row",
    "bent-over row",
)
ARMS = ("left", "right")
PEOPLE = 10
RATE = 25  # readings a second
WINDOW = 4 * RATE  # readings in a window: 4 seconds
PASSES = 3  # support windows from each recording, one after the other
QUERY = 12  # query windows from each recording, evenly spaced over the rest
FIRST_QUERY = PASSES * WINDOW  # the support windows end here
# A right arm moves as a left arm in a mirror whose plane is across x: that turns acceleration x
# round, and the rotations about y and z. Both arms are then one kind of device.
MIRROR = np.array([-1, 1, 1, 1, -1, -1], np.float32)


@dataclass(frozen=True)
class Augmentation:
    """A watch worn a little differently: one random turn and one random scale for a whole visit.

    The watch's frame is turned about a random axis by an angle uniform in +-``rotation`` radians,
    and all readings are multiplied by a factor uniform in 1 +- ``scale``. With ``anyhow`` the watch
    is mounted in any way before that, each rotation as likely as every other one.
    """

    rotation: float
    scale: float
    anyhow: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.rotation <= np.pi:
            raise KitError(f"rotation is {self.rotation}; give radians from 0 to pi")
        if not 0 <= self.scale < 1:
            raise KitError(f"scale is {self.scale}; give a number from 0 to below 1")

    def apply(self, x: Array, rng: np.random.Generator) -> Array:
        """Return windows (..., 6) turned and scaled by one draw; acceleration turns as rotation."""
        turn = rotation_matrix(rng.normal(size=3), rng.uniform(-self.rotation, self.rotation))
        turn *= rng.uniform(1 - self.scale, 1 + self.scale)
        if self.anyhow:
            turn = turn @ random_rotation(rng)
        return (x.reshape(-1, 3) @ turn.T.astype(np.float32)).reshape(x.shape)


def rotation_matrix(axis: Array, angle: float) -> Array:
    """Matrix (3, 3) of a turn by ``angle`` radians about ``axis`` (Rodrigues' formula)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


@dataclass(frozen=True, eq=False)
class WristDevice:
    """One person's one arm."""

    person: int  # 1 to 10
    arm: str  # "left" or "right"
    recordings: tuple[Array, ...] = field(repr=False)  # each exercise: float32, shape (time, 6)
    augmentation: Augmentation
    permute_labels: bool = False  # each visit and each task binds exercises to labels at random
    own_frame: bool = False  # each window is turned into a frame of its own

    @property
    def name(self) -> str:
        """For example ``"person-3-left"``."""
        return f"person-{self.person}-{self.arm}"

    def worn(self, matrix: Array, hand: int = 1) -> "WristDevice":
        """Return the same arm with the sensor mounted otherwise, for all windows; see `seen_in`."""
        turned = tuple(seen_in(recording, matrix, hand) for recording in self.recordings)
        return replace(self, recordings=turned)

    def stream(self, count: int, rng: np.random.Generator) -> Samples:
        """Draw windows (count, 100, 6) and labels (count,), as a device in training sees them.

        Exercises come in passes of seven, each once in random order. A window may start anywhere
        in its recording. One augmentation holds for the whole visit.
        """
        if count < 1:
            raise KitError(f"the number of windows is {count}; give at least 1")
        exercises = _passes(-(-count // len(EXERCISES)), rng)[:count]
        starts = np.array([rng.integers(len(self.recordings[e]) - WINDOW + 1) for e in exercises])
        x = self.augmentation.apply(self._windows(exercises, starts), rng)
        return Samples(x, self._labels(rng)[exercises])

    def task(self, rng: np.random.Generator) -> Task:
        """Draw the task of a new wearer: a support of 21 windows, a query of 84.

        The support set is the first 12 seconds of each recording, as three windows of 4 seconds
        without overlap: three passes of seven exercises, each pass in random order. The query set
        is 12 windows from the rest of each recording, evenly spaced from the end of the support
        windows to the end of the recording; in short recordings they overlap each other, but
        never a support window. Nothing is augmented.
        """
        labels = self._labels(rng)
        exercises = _passes(PASSES, rng)
        starts = np.repeat(np.arange(PASSES) * WINDOW, len(EXERCISES))
        support = Samples(self._windows(exercises, starts), labels[exercises])
        exercises = np.repeat(np.arange(len(EXERCISES)), QUERY)
        starts = np.concatenate(
            [np.linspace(FIRST_QUERY, len(r) - WINDOW, QUERY, dtype=int) for r in self.recordings]
        )
        query = Samples(self._windows(exercises, starts), labels[exercises])
        return Task(self.name, support, query)

    def _windows(self, exercises: Array, starts: Array) -> Array:
        pairs = zip(exercises, starts, strict=True)
        x = np.stack([self.recordings[e][start : start + WINDOW] for e, start in pairs])
        return own_frame(x) if self.own_frame else x

    def _labels(self, rng: np.random.Generator) -> Array:
        """Label of each exercise."""
        labels = np.arange(len(EXERCISES))
        return rng.permutation(labels) if self.permute_labels else labels


def _passes(count: int, rng: np.random.Generator) -> Array:
    """Exercises of ``count`` passes; each pass holds every exercise once, in random order."""
    return np.concatenate([rng.permutation(len(EXERCISES)) for _ in range(count)])


class Wrist:
    """The family of all wrists.

    Parameters
    ----------
    permute_labels : bool, default False
        False: a label is an exercise, the same for everybody ("wrist"). True: each wearer binds
        his own exercises to seven commands ("wrist-commands"). The binding is drawn anew for every
        visit and every task, so a model can only know it from the samples of this wearer: before
        adapting nobody can do better than chance, 1/7, in the mean.
    rotation, scale, anyhow : float, float, bool
        Augmentation of a training device's stream; see `Augmentation`. "wrist-commands-any" is
        trained anyhow.
    own_frame : bool, default False
        True: each window is turned into a frame of its own, so that it does not matter how the
        sensor is mounted ("wrist-any"); see `frames.own_frame`.
    validate : bool, default False
        Whether the devices never seen in training are those to choose settings with: both wrists of
        the next person, who is in neither training nor test.
    """

    metric = "accuracy"
    folds = PEOPLE
    counts: tuple[int, ...] = (0, 7, 14, 21)

    def __init__(
        self,
        permute_labels: bool = False,
        rotation: float = 0.3,
        scale: float = 0.2,
        anyhow: bool = False,
        own_frame: bool = False,
        validate: bool = False,
    ) -> None:
        self.validate = validate
        self.permute_labels, self.own_frame = permute_labels, own_frame
        self.augmentation = Augmentation(rotation, scale, anyhow)
        self.name = "wrist" + "-commands" * permute_labels + "-any" * (anyhow or own_frame)

    def network(self) -> Network:
        """Build the network of two convolutions over time, with 8,807 parameters."""
        layers = [
            Conv1D(6, 32, kernel=7, stride=2),
            Tanh(),
            Conv1D(32, 32, kernel=7, stride=2),
            Tanh(),
            GlobalAveragePool(),
            Dense(32, len(EXERCISES)),
        ]
        return Network(layers, "cross_entropy", (WINDOW, 6))

    def devices(self) -> list[WristDevice]:
        """All 20 devices, ordered by person and arm; `KitError` without the right data file."""
        return [
            WristDevice(
                person, arm, recordings, self.augmentation, self.permute_labels, self.own_frame
            )
            for (person, arm), recordings in _recordings().items()
        ]

    def split(
        self, fold: int, rng: np.random.Generator
    ) -> tuple[Sequence[Device], Sequence[Device]]:
        """Hold out both arms of one person: fold 0 person 1, fold 9 person 10.

        There are 18 devices to train on, 16 to validate, and 2 to test. ``rng`` is not used, as the
        folds are fixed.
        """
        if not 0 <= fold < self.folds:
            raise KitError(f"fold is {fold}; {self.name} has folds 0 to {self.folds - 1}")
        shown = (fold + self.validate) % PEOPLE + 1
        held_out = {fold + 1, shown}
        devices = self.devices()
        train = [device for device in devices if device.person not in held_out]
        return train, [device for device in devices if device.person == shown]


@cache
def _recordings() -> dict[tuple[int, str], tuple[Array, ...]]:
    """Recordings of each person and arm, one for each exercise, from the data file."""
    with np.load(io.BytesIO(read_data(FILE, SHA256, REMEDY)), allow_pickle=False) as file:
        signals = (file["signals"] * file["unit"]).astype(np.float32)
        right = np.repeat(file["arm"] == ARMS.index("right"), file["lengths"])
        signals[right] *= MIRROR
        signals.flags.writeable = False  # all devices share them
        series = np.split(signals, np.cumsum(file["lengths"])[:-1])
        owners = [(int(p), ARMS[a]) for p, a in zip(file["person"], file["arm"], strict=True)]
    # The file is ordered by person, arm and exercise.
    step = len(EXERCISES)
    return {owners[i]: tuple(series[i : i + step]) for i in range(0, len(owners), step)}
