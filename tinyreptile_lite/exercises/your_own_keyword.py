"""Exercises of 07_your_own_keyword: frames, an input, people apart, the nearest mean."""

from collections.abc import Callable

import numpy as np

from tinyreptile_lite import sound
from tinyreptile_lite.exercises.base import Wrong, call, exercise, explain, numbers, short
from tinyreptile_lite.tasks.keywords import features

Function = Callable[..., object]
Array = np.ndarray


@exercise(1, "how many frames?")
def frame_count(frame_count: Function, rng: np.random.Generator) -> None:
    """Number of whole frames in so many samples."""
    window, hop = sound.WINDOW, 320
    cases = [(16_000, window, hop), (window, window, hop)]
    cases += [(int(rng.integers(2000, 30_000)), 2 ** int(rng.integers(7, 10)), 100) for _ in "abc"]
    for samples, size, step in cases:
        right = (samples - size) // step + 1
        slips = {
            "the first frame counts, too: one more": (samples - size) // step,
            "the last frames would not be whole: take the window off first": samples // step,
            "frames overlap: the next one begins a hop later, not a window": samples // size,
            "no half frames: round down": (samples - size) / step + 1,
            "the last frame would not be whole": right + 1,
        }
        what = f"frame_count({samples}, {size}, {step})"
        look = "where does the last whole frame begin?"
        explain(what, call(frame_count, samples, size, step), right, slips, look, 1e-12)


def _clip(rng: np.random.Generator) -> Array:
    """A second of sound: a tone that changes its pitch, over noise."""
    time = np.arange(sound.RATE) / sound.RATE
    low, high = rng.uniform(200, 600), rng.uniform(800, 2500)
    tone = np.sin(2 * np.pi * (low + (high - low) * time) * time) * np.sin(np.pi * time)
    return (4000 * tone + rng.normal(0, 60, sound.RATE)).astype(np.int16)


@exercise(2, "from a clip to an input")
def to_input(to_input: Function, rng: np.random.Generator) -> None:
    """49 rows of 16 bands, less their mean."""
    clip = _clip(rng)
    right = features(clip)
    mine = numbers("to_input(clip)", call(to_input, clip))
    if mine.shape == right.T.shape:
        raise Wrong("a row is a moment, a column a band: turn it around")
    rows = {
        50: "50 rows: the last frame is not whole, leave it out",
        31: "31 rows: frames overlap, the next one begins 320 later, not 512",
    }
    if mine.shape != right.shape:
        look = rows.get(mine.shape[0] if mine.ndim else 0, "49 frames of 16 bands")
        raise Wrong(f"the shape must be {right.shape}, not {mine.shape}: {look}")
    if abs(mine.mean()) > 0.01:
        raise Wrong(f"the mean is {mine.mean():.2f}: subtract it from all numbers")
    for axis, name in enumerate(("band", "row")):
        if np.ptp(mine.mean(axis=axis)) < 0.01:
            raise Wrong(f"each {name} has mean 0: subtract one number from all")
    if not np.isclose(mine.std(), right.std(), atol=0.01):
        raise Wrong("the spread has changed: do not divide")
    if not np.allclose(mine, right, atol=0.01):
        raise Wrong("the frames are others: begin at 0, 320, 640, ...")


NAMES = "ann", "bo", "cy", "di", "ed", "fay", "gus", "hal", "ida"


@exercise(3, "no voice on both sides")
def held_out(held_out: Function, rng: np.random.Generator) -> None:
    """Every fourth speaker, beginning with the number of the fold."""
    for fold in range(4):
        some = rng.permutation(NAMES)[: int(rng.integers(6, 10))]
        names = rng.permutation(np.concatenate([some, rng.choice(some, 8)]))
        right = set(np.unique(names)[fold::4])
        mine = np.asarray(call(held_out, names.copy(), fold))
        if mine.shape != names.shape or mine.dtype != bool:
            raise Wrong("give one True or False for each clip, in an array as long as speakers")
        torn = sorted(set(names[mine]) & set(names[~mine]))
        if torn:
            who = ", ".join(torn)
            raise Wrong(f"{who}: in training and in test; split by speaker, not by clip")
        if set(names[~mine]) == right:
            raise Wrong("these are the clips for training: turn it around")
        if set(names[mine]) != right:
            wanted, found = (", ".join(sorted(each)) for each in (right, set(names[mine])))
            everybody = ", ".join(sorted(set(names)))
            raise Wrong(
                f"of {everybody}, fold {fold} must hold out {wanted}, not {found}: "
                "sort the names, begin with number f, then every fourth"
            )


@exercise(4, "the nearest mean")
def nearest_mean(nearest_mean: Function, rng: np.random.Generator) -> None:
    """Labels of new features, by the means of the known ones."""
    for _ in range(3):
        ways, shots = int(rng.integers(2, 5)), int(rng.integers(2, 5))
        labels = rng.permutation(np.arange(ways).repeat(shots))
        known = rng.normal(size=(len(labels), 3)) * 2 + labels[:, None]
        new = rng.normal(size=(60, 3)) * 3 + 1
        means = np.stack([known[labels == label].mean(axis=0) for label in range(ways)])
        far = np.square(new[:, None] - means).sum(axis=2)
        one = np.square(new[:, None] - known).sum(axis=2)
        sums = np.stack([known[labels == label].sum(axis=0) for label in range(ways)])
        slips = {
            "this is the farthest mean: take the nearest": far.argmax(axis=1),
            "this is the nearest known clip: take the means first": labels[one.argmin(axis=1)],
            "these are sums, not means": np.square(new[:, None] - sums).sum(axis=2).argmin(axis=1),
            "a distance adds up squares: the signs must not cancel": (
                (new[:, None] - means).sum(axis=2).argmin(axis=1)
            ),
            "that is the sum of the distances: square each first, then add": (
                np.abs(new[:, None] - means).sum(axis=2).argmin(axis=1)
            ),
            "a scalar product favours long means: take the distance": (
                (new @ means.T).argmax(axis=1)
            ),
        }
        mine = numbers("nearest_mean", call(nearest_mean, known.copy(), labels.copy(), new.copy()))
        if mine.shape != (60,):
            raise Wrong(f"give one label for each row of new: 60, not {mine.shape}")
        wrong = np.flatnonzero(mine != far.argmin(axis=1))
        if len(wrong):
            place = int(wrong[0])
            what = f"the label of new row {short(new[place])} and others"
            look = "means of each label, squared distances, the smallest"
            explain(what, mine, far.argmin(axis=1), slips, look)
