"""Five characters that no alphabet has to have, drawn by code with an unsteady hand."""

import numpy as np

from tinyreptile_lite.drawing import draw_strokes

_ROUND = np.linspace(0, 2 * np.pi, 25)
_RING = np.stack([np.cos(_ROUND), np.sin(_ROUND)], axis=1)
STROKES = {
    1: [[(-1, -1), (1, 1)], [(-1, 1), (1, -1)]],
    2: [_RING],
    3: [[(-0.6, -1), (-0.6, 1), (0.6, 1)]],
    4: [[(-1, -1), (1, -1)], [(0, -1), (0, 1)], [(-0.6, 0.3), (0.6, 0.3)]],
    5: [[(-1, -0.8), (-0.5, 0.8), (0, -0.8), (0.5, 0.8), (1, -0.8)]],
}


def strokes(label, take=0):
    """A character's strokes, drawn otherwise in each take: leaning, narrower, shaky."""
    rng = np.random.default_rng([label, take])
    shape = np.eye(2) + rng.uniform(-0.15, 0.15, (2, 2))
    return [np.array(line) @ shape + rng.normal(0, 0.04, (len(line), 2)) for line in STROKES[label]]


def character(label, take=0):
    return draw_strokes(strokes(label, take))
