"""What a board worn another way costs, and how well that is noticed.

accuracy     The shipped phi of WristAdapt on the person whom it does not know, before and after
             windows of this person, as means of both arms and of orders of the windows. Readings
             are made from the recordings step by step (`nano.mounting`), and become rows again in
             the C code of the sketches.
  as_trained   the recordings as they are
  rev1, rev2   worn as documented, both arms, with the library of either revision
  wrong        the other 23 ways to strap the board on, with the map of the documented one: the
               median and the best of them
  wizard       all 48 frames with both signs of rotation, each with the map that FindAxes finds:
               the worst of them
  wrong arm    worn as documented on the other arm than the sketch was told
  offset       as drawn, and the gyroscope reads up to 30 degrees/s at rest, about each axis:
               without a still second the mean of ten draws and the worst of them, and after one
               the worst
noticed      WristAdapt counts how many of the seven exercises the network knew just before the
             first lesson in each; here one pass of all seven. All 20 arms, each with phi of the ten
             trainings that left the person out.
"""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial

import numpy as np

from tinyreptile_lite.bench.timing import Rows, counted
from tinyreptile_lite.core.build import CORE
from tinyreptile_lite.core.native import native
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.evaluation import evaluate, score
from tinyreptile_lite.experiment import Comparison, Trial, population
from tinyreptile_lite.nano.motion import (
    DOCUMENTED,
    Found,
    checked_axes,
    found_axes,
    rows_of,
)
from tinyreptile_lite.nano.mounting import ARMS, ELBOW, as_worn, frames, in_frame
from tinyreptile_lite.nano.peripherals import rest
from tinyreptile_lite.nano.poses import asked, poses
from tinyreptile_lite.recipes import find_recipe
from tinyreptile_lite.tasks.base import Samples
from tinyreptile_lite.tasks.wrist import PEOPLE, Wrist, WristDevice

Array = np.ndarray
Frame = tuple[Array, int]  # signed permutation, and the sign of rotation
Wear = Callable[[Array, str], Array]  # rows of the sketch, from a recording as trained and the arm

COUNTS = 0, 7, 21
DRAWS = 10
WRONG_DRAWS, RIGHT_DRAWS = 3, 30  # orders of the windows; a false alarm is rare
LAID = 30  # readings on the table: a bit more than a second
OFFSETS, OFFSET = 10, 30.0  # draws; degrees per second, typical of the LSM9DS1
WINDOWS, KNOWN = 7, 4  # the rule of WristAdapt: fewer of the seven exercises known
_TO_SENSOR = np.array([1, 1, 1] + 3 * [180 / np.pi])
_FAMILY, _NET = Wrist(), Wrist().network()
_RECIPE = find_recipe("wrist", "tinyreptile")


def rows(draws: int = DRAWS, people: int = PEOPLE) -> Rows:
    """All of it; `people` are those whose arms are in the second part."""
    print("accuracy as worn in every way; a minute or two", file=sys.stderr)
    groups = {
        "as_trained": accuracy(as_trained, draws),
        "rev1": accuracy(documented("LSM9DS1"), draws),
        "rev2": accuracy(documented("BMI270"), draws),
        "wrong_arm": accuracy(_wrong_arm, draws),
    }
    wrong = [accuracy(partial(_mounted, *way), draws) for way in mountings()]
    groups["wrong_median"], groups["wrong_best"] = np.median(wrong, axis=0), np.max(wrong, axis=0)
    guided = [accuracy(_guided(frame), draws) for frame in frames()]
    groups["wizard_worst"] = np.min(guided, axis=0)
    never, still = (
        [accuracy(with_offset(n, laid), draws) for n in range(OFFSETS)] for laid in (False, True)
    )
    groups["offset_mean"], groups["offset_worst"] = np.mean(never, axis=0), np.min(never, axis=0)
    groups["still_worst"] = np.min(still, axis=0)
    found = [
        row
        for group, scores in groups.items()
        for row in counted(group, {str(n): (one, "accuracy") for n, one in _by_count(scores)})
    ]
    print("how well that is noticed", file=sys.stderr)
    return found + noticed(people)


def trace() -> dict[str, Array]:
    """Rows of a worn board, and the weights after its first windows: a figure's fingerprint."""
    device = _FAMILY.devices()[1]
    worn = [documented("BMI270")(recording, device.arm) for recording in device.recordings]
    support = replace(device, recordings=tuple(worn)).task(np.random.default_rng(0)).support
    seven = Samples(support.x[:WINDOWS], support.y[:WINDOWS])
    rng = np.random.default_rng(0)
    learned = native(_RECIPE.adaptation, strict=False).learn(_NET, shipped_phi(), seven, rng)
    return {"rows": worn[0], "learned": learned.params}


def _by_count(scores: Array) -> Iterator[tuple[int, float]]:
    return zip(COUNTS, map(float, scores), strict=True)


# ---- Accuracy ------------------------------------------------------------------------------------


@cache
def shipped_phi() -> Array:
    """Return the weights of WristAdapt, as they stand in its folder."""
    file = CORE.parents[2] / "WristAdapt" / "phi.c"
    try:
        numbers = file.read_text("utf-8").split("] = {")[-1]
    except OSError as error:
        raise KitError(f"cannot read {file}: run this in a clone of the repository") from error
    return np.array(re.findall(r"-?\d[\d.e+-]*(?=f,)", numbers), np.float32)


def accuracy(wear: Wear, draws: int) -> Array:
    """Mean accuracy of both arms of person 1 after each number of windows, in `draws` orders."""
    _, devices = _FAMILY.split(0, np.random.default_rng(0))
    rng, tasks = np.random.default_rng([0, 0]), []
    for device in devices:
        assert isinstance(device, WristDevice)
        worn = tuple(wear(recording, device.arm) for recording in device.recordings)
        other = replace(device, recordings=worn)
        tasks += [other.task(rng) for _ in range(draws)]
    learner = native(_RECIPE.adaptation, strict=False)
    return evaluate(_NET, shipped_phi(), tasks, learner, COUNTS, rng).mean(axis=0)


def as_trained(recording: Array, arm: str) -> Array:
    """Nothing lies between the recording and the network."""
    return recording


def documented(chip: str) -> Wear:
    """Worn as documented, by a board with this chip, which is told the arm."""
    return lambda recording, arm: rows_of(
        as_worn(recording * _TO_SENSOR, arm, chip), checked_axes(DOCUMENTED, arm == "right")
    )


def with_offset(seed: int, laid: bool) -> Wear:
    """Worn as documented, with an offset of the gyroscope; the arm is ``laid`` still first or not.

    The offset is drawn anew for each arm, uniform about each axis.
    """
    table = (rest(LAID) * np.array([1, 1, -1, 1, 1, 1]))[: LAID if laid else 0]

    def wear(recording: Array, arm: str) -> Array:
        rng = np.random.default_rng([seed, ARMS.index(arm)])
        readings = as_worn(np.vstack([table, recording * _TO_SENSOR]), arm)
        readings[:, 3:] += rng.uniform(-OFFSET, OFFSET, 3)
        return rows_of(readings, checked_axes(DOCUMENTED, arm == "right"))[len(table) :]

    return wear


def _wrong_arm(recording: Array, arm: str) -> Array:
    return rows_of(as_worn(recording * _TO_SENSOR, arm), checked_axes(DOCUMENTED, arm == "left"))


def mountings() -> Iterator[tuple[str, str]]:
    """Where plug and components point in the other 23 ways to strap a board on."""
    ways = "elbow", "hand", "little finger", "thumb", "out", "in"
    for plug in ways:
        for components in ways:
            right_angles = ways.index(plug) // 2 != ways.index(components) // 2
            if right_angles and (plug, components) != ("elbow", "out"):
                yield plug, components


def _mounted(plug: str, components: str, recording: Array, arm: str) -> Array:
    elbow = np.array(ELBOW[arm])
    ways = {"elbow": elbow, "hand": -elbow}
    ways |= {"little finger": np.array([0, 1, 0]), "thumb": np.array([0, -1, 0])}
    ways |= {"out": np.array([0, 0, 1]), "in": np.array([0, 0, -1])}
    worn = as_worn(recording * _TO_SENSOR, arm, plug=ways[plug], components=ways[components])
    return rows_of(worn, checked_axes(DOCUMENTED, arm == "right"))


def _guided(frame: Frame) -> Wear:
    """Any frame, after the wizard."""
    arm = poses(np.random.default_rng(0))
    status, axes = found_axes(in_frame(arm, *frame), 100, asked())
    if status != Found.DONE:
        raise KitError(f"the wizard found no map for {frame}: {status.name}")
    return lambda recording, _: rows_of(in_frame(recording * _TO_SENSOR, *frame), axes)


# ---- Noticed -------------------------------------------------------------------------------------


def noticed(people: int = PEOPLE) -> Rows:
    """How often the rule of WristAdapt speaks, worn wrongly and worn rightly."""
    ways = [frame for frame in frames() if not _same(frame)]
    right = [_known(people, (np.eye(3), 1), RIGHT_DRAWS)]
    all_wrong = [_known(people, frame) for frame in ways]
    turned = [
        known
        for known, (matrix, sign) in zip(all_wrong, ways, strict=True)
        if sign == 1 and np.linalg.det(matrix) > 0
    ]
    arm = [_known(people, (np.diag([1, -1, 1]), -1))]
    kinds = {"false_alarms": right, "mountings_found": turned, "frames_found": all_wrong}
    kinds["wrong_arm_found"] = arm
    shares = {kind: float(np.mean(np.array(known) < KNOWN)) for kind, known in kinds.items()}
    return counted("noticed", {kind: (share, "share") for kind, share in shares.items()})


def _same(frame: Frame) -> bool:
    return frame[1] == 1 and np.array_equal(frame[0], np.eye(3))


def _known(people: int, frame: Frame, draws: int = WRONG_DRAWS) -> Array:
    """How many of the seven exercises each arm's network knew: (arms, draws)."""
    learner = native(_RECIPE.adaptation, strict=False)
    known = np.zeros((people * len(ARMS), draws), int)
    for at, device in enumerate(_FAMILY.devices()[: len(known)]):
        for draw in range(draws):
            rng = np.random.default_rng([at, draw])
            support = device.task(rng).support
            x = in_frame(support.x.reshape(-1, 6), *frame).reshape(support.x.shape)
            params = _phi_without(device.person)
            for n in range(WINDOWS):
                one = Samples(x[n : n + 1], support.y[n : n + 1])
                known[at, draw] += int(score(_NET, params, one))
                params = learner.learn(_NET, params, one, rng).params
    return known


@cache
def _phi_without(person: int) -> Array:
    """Phi of a training that has left this person out, as WristAdapt's was made."""
    recipe = Comparison("wrist", (_RECIPE,), (0,)).in_c().recipes[0]
    trial = Trial("wrist", recipe, seed=0, fold=person - 1, draws=1)
    return trial.train(population(_FAMILY, trial.fold), np.random.default_rng([0, trial.fold]))
