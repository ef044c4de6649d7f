"""Words that nobody has said: glides between two vowels, so that tests need no recording."""

import numpy as np

RATE = 16_000
# Two formants at the beginning and at the end, in hertz, and the length in seconds
WORDS = (
    ((300, 2300), (750, 1200), 0.45),
    ((700, 1100), (300, 800), 0.35),
    ((500, 1800), (500, 900), 0.6),
    ((280, 900), (350, 2500), 0.5),
)


def word(number: int, take: int) -> np.ndarray:
    """One second in int16 with a word in it; each take is said a little differently."""
    rng = np.random.default_rng([number, take])
    begin, end, seconds = WORDS[number]
    count = int(seconds * rng.uniform(0.92, 1.08) * RATE)
    way = np.linspace(0, 1, count)
    pitch = 2 * np.pi * np.cumsum(rng.uniform(110, 130) * (1 - 0.15 * way)) / RATE
    sound = np.zeros(count)
    for first, last in zip(begin, end, strict=True):
        formant = (first + (last - first) * way) * rng.uniform(0.96, 1.04)
        for harmonic in range(1, 30):
            distance = harmonic * 120 - formant
            sound += np.sin(harmonic * pitch) * np.exp(-((distance / 150) ** 2))
    sound *= np.hanning(count) ** 0.5 * 2_000 * rng.uniform(0.7, 1.3)
    clip = rng.normal(0, 8, RATE)
    at = int((0.5 + rng.uniform(-0.08, 0.08)) * RATE) - count // 2
    clip[at : at + count] += sound
    return np.rint(clip).clip(-32_768, 32_767).astype(np.int16)
