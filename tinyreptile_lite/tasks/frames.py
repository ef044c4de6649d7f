"""Frames of a motion sensor: how a wearer can mount it, and a frame that no mounting changes.

A window is readings (time, 6) of acceleration x, y, z and rotation rate x, y, z, or many windows
of them with more axes in front.
"""

from itertools import permutations, product

import numpy as np

Array = np.ndarray


def random_rotation(rng: np.random.Generator) -> Array:
    """Draw a rotation matrix (3, 3), every rotation as likely as every other one.

    A unit quaternion uniform on its sphere gives it (Shoemake 1992, "Uniform random rotations").
    """
    w, x, y, z = _unit(rng.normal(size=4))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def axis_maps() -> Array:
    """All 48 matrices (48, 3, 3) that swap the axes and turn some round; the rotations first."""
    maps = [
        np.eye(3)[list(order)] * signs
        for order in permutations(range(3))
        for signs in product((1.0, -1.0), repeat=3)
    ]
    return np.array(sorted(maps, key=lambda one: -np.linalg.det(one)))


def seen_in(x: Array, matrix: Array, hand: int = 1) -> Array:
    """Return windows (..., 6) as a sensor mounted otherwise reads them.

    Parameters
    ----------
    matrix : ndarray, shape (3, 3)
        Orthogonal; what the sensor reads is this times what was read before.
    hand : {1, -1}
        -1 turns the sign of the rotation rate as well.
    """
    turned = (x.reshape(-1, 2, 3) @ matrix.T).astype(np.float32)
    turned[:, 1] *= hand
    return turned.reshape(x.shape)


def own_frame(x: Array) -> Array:
    """Return windows (..., time, 6), each in a frame that it defines itself.

    However a right-handed sensor is mounted, the result is the same. The first axis is the mean
    acceleration, so mostly gravity. The second one, square to it, is the axis about which the
    window turns most; it points where the cubes of this rotation have a positive sum. The third
    one makes the frame right-handed. ``tr_own_frame.h`` does the same on the board.
    """
    readings = x.astype(np.float64)
    acceleration, rotation = readings[..., :3], readings[..., 3:]
    up = _unit(acceleration.mean(axis=-2))
    # Any two axes square to the first one, from the coordinate axis that is squarest to it.
    side = _unit(np.cross(up, np.eye(3)[np.abs(up).argmin(axis=-1)]))
    other = np.cross(up, side)
    u, v = (np.einsum("...ti,...i->...t", rotation, axis) for axis in (side, other))
    angle = np.arctan2(2 * (u * v).sum(-1), (u * u - v * v).sum(-1)) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    about = cos[..., None] * u + sin[..., None] * v
    sign = np.where((about**3).sum(-1) < 0, -1, 1)
    second = (sign * cos)[..., None] * side + (sign * sin)[..., None] * other
    frame = np.stack([up, second, np.cross(up, second)], axis=-1)
    return np.concatenate([acceleration @ frame, rotation @ frame], axis=-1).astype(np.float32)


def _unit(vectors: Array) -> Array:
    """Vectors (..., n) of length 1; a vector of zeros stays as it is."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
