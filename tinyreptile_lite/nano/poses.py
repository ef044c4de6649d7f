"""An arm goes through the three poses of the sketch FindAxes, as a watch would measure it."""

import numpy as np
from numpy.typing import NDArray

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.tasks.wrist import rotation_matrix

HOLD, TURN = 1.3, 1.0  # seconds in a pose, and from one to the next
_STAY = 600  # seconds in a pose that somebody asks for
_NOISE = 3 * (0.005,) + 3 * (0.3,)
_TURNS = ((0, 0, 0), (-90, 0, 0), (0, 0, 90))  # degrees, to each pose


def asked(rate: float = 100) -> list[int]:
    """Numbers of the readings at which each pose has just been taken."""
    return [round((0.1 + pose * (HOLD + TURN)) * rate) for pose in range(len(_TURNS))]


def poses(rng: np.random.Generator, rate: float = 100) -> NDArray[np.float32]:
    """Readings (time, 6) in the frame of the recordings: g and degrees per second.

    Palm down, thumb up, arm hanging. On the way the arm turns about the vertical as well, which
    gravity does not show. The sensor has noise.
    """
    gravity, rows = np.array([0.0, 0.0, -1.0]), []
    for turn in _TURNS:
        for _ in range(round(TURN * rate) if any(turn) else 0):
            spin = np.array(turn) / TURN + 40 * gravity
            rows.append([*gravity, *spin])
            gravity = rotation_matrix(spin, -np.radians(np.linalg.norm(spin)) / rate) @ gravity
        rows += [[*gravity, 0, 0, 0]] * round(HOLD * rate)
    return np.array(rows + rng.normal(0, _NOISE, (len(rows), 6)), np.float32)


def into_pose(number: int, rate: float) -> NDArray[np.float32]:
    """Readings (time, 6) of an arm that goes into pose 1, 2 or 3 from the one before, and stays.

    They are in the frame of the recordings.
    """
    if number not in range(1, len(_TURNS) + 1):
        raise KitError(f"no pose {number}; choose 1 palm down, 2 thumb up, 3 arm hanging")
    rows = poses(np.random.default_rng(0), rate)
    hold, turn = round(HOLD * rate), round(TURN * rate)
    end = hold + (number - 1) * (turn + hold)
    rest = rows[end - hold : end]
    way = rows[max(0, end - hold - turn) : end - hold]
    return np.vstack([way, *[rest] * round(_STAY / HOLD)])
