"""What a Nano 33 BLE Sense on a wrist reads while the arm does what a recording holds.

Step by step: as the network was trained -> as the watch measured -> the motion itself -> the board
strapped on -> the chip -> the formula of Arduino's library. The sketches' way back is the table in
`tr_axes.h`; nothing is shared, so that each checks the other. Both say where the facts come from.

All rows are acceleration x, y, z in g and rotation rate x, y, z in any unit, as float32.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinyreptile_lite.errors import KitError, unknown_name
from tinyreptile_lite.nano.registers import IMU_CHIPS

Array = NDArray[np.float32]

ARMS = "left", "right"
# Directions in the watch's right-handed frame on either arm: x is its 3 o'clock, y its 12 o'clock,
# z out of its face. Worn on the back of the wrist, 12 o'clock is at the little finger's side, so
# 3 o'clock is at the hand of a left arm, and at the elbow of a right one.
ELBOW = {"left": (-1, 0, 0), "right": (1, 0, 0)}
OUT = (0, 0, 1)


def as_worn(
    recording: ArrayLike,
    arm: str = "left",
    chip: str = "LSM9DS1",
    plug: ArrayLike | None = None,
    components: ArrayLike = OUT,
) -> Array:
    """Return the readings of a board on the wrist, for a recording as networks are trained on it.

    Parameters
    ----------
    recording : array_like, shape (time, 6)
        As in `tasks.wrist`: right arms are mirrored.
    arm : {"left", "right"}
    chip : {"LSM9DS1", "BMI270"}
        Of revision 1 or 2; each has its library.
    plug, components : array_like, shape (3,)
        Where the USB plug and the components point, in the watch's frame. By default as
        documented: to the elbow, and out of the wrist.

    Raises
    ------
    KitError
        If the arm or the chip is unknown, or plug and components do not stand at right angles.
    """
    if arm not in ARMS:
        raise unknown_name("arm", arm, ARMS)
    if chip not in IMU_CHIPS:
        raise unknown_name("IMU", chip, IMU_CHIPS)
    rows = np.array(recording, np.float32)
    if arm == "right":  # the training looks at right arms in a mirror that is across x
        rows *= np.array([-1, 1, 1, 1, -1, -1], np.float32)
    # Apple's acceleration at rest points to the ground; what presses on the sensor points upwards.
    force, rotation = -rows[:, :3], rows[:, 3:]
    board = _board(ELBOW[arm] if plug is None else plug, components)
    return _library(chip, force @ board.T, rotation @ board.T)


def _board(plug: ArrayLike, components: ArrayLike) -> Array:
    """Rows: the board's right-handed axes in the watch's frame; x to the plug, z out of the chips.

    Looking at the components with the plug up, y points to the left.
    """
    x, z = np.array(plug, np.float32), np.array(components, np.float32)
    if not (x.shape == z.shape == (3,) and x @ x == z @ z == 1 and x @ z == 0):
        raise KitError(
            f"plug {plug!r} and components {components!r}; give two axes at right angles"
        )
    return np.stack([x, np.cross(z, x), z])


def _library(chip: str, force: Array, rotation: Array) -> Array:
    """Return what the library gives, for force and rotation in the board's right-handed axes."""
    if (
        chip == "BMI270"
    ):  # the chip's x is the board's y, its y the board's -x; the library's formula
        # then is x = -y, y = -x, z = z of the chip, for both
        chips = [np.stack([v[:, 1], -v[:, 0], v[:, 2]], 1) for v in (force, rotation)]
        return np.hstack([np.stack([-v[:, 1], -v[:, 0], v[:, 2]], 1) for v in chips])
    # The LSM9DS1's own frame is left-handed, for both, and the library gives it as it is.
    return np.hstack([np.stack([v[:, 0], -v[:, 1], v[:, 2]], 1) for v in (force, rotation)])


def frames() -> Iterator[tuple[Array, int]]:
    """All signed permutations of three axes, 48, each with both signs of rotation: 96 frames."""
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            matrix = np.zeros((3, 3), np.float32)
            matrix[range(3), order] = signs
            yield from ((matrix, 1), (matrix, -1))


def in_frame(recording: ArrayLike, matrix: Array, sign: int) -> Array:
    """Return a recording in another frame.

    Acceleration is multiplied by a signed permutation, rotation by ``sign`` and the same.
    """
    rows, turn = np.array(recording, np.float32), matrix.astype(np.float32)
    return np.hstack([rows[:, :3] @ turn.T, sign * rows[:, 3:] @ turn.T])
