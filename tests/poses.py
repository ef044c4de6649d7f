"""An arm goes through the wizard's three poses, as an ideal watch would measure it."""

import numpy as np

from tinyreptile_lite.tasks.wrist import rotation_matrix

HOLD, TURN = 1.3, 1.0  # seconds


def ask_at(rate):
    """Numbers of the readings at which each pose has just been taken."""
    return [round((0.1 + pose * (HOLD + TURN)) * rate) for pose in range(3)]


def poses(rng, rate=100):
    """Readings (time, 6) in the frame of the recordings: g and degrees per second.

    Palm down, thumb up, arm hanging; on the way it turns about the vertical as well. Sensor noise.
    """
    gravity, rows = np.array([0.0, 0.0, -1.0]), []
    turns = (None, np.array([-90.0, 0, 0]), np.array([0, 0, 90.0]))  # degrees, to each pose
    for turn in turns:
        if turn is not None:
            steps = round(TURN * rate)
            for _ in range(steps):
                rate_dps = turn / TURN + 40 * gravity  # about the vertical: gravity does not change
                rows.append([*gravity, *rate_dps])
                angle = np.radians(np.linalg.norm(rate_dps)) / rate
                gravity = rotation_matrix(rate_dps, -angle) @ gravity
        rows += [[*gravity, 0, 0, 0]] * round(HOLD * rate)
    noise = rng.normal(0, [0.005] * 3 + [0.3] * 3, (len(rows), 6))
    return (rows + noise).astype(np.float32)
