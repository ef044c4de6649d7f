"""The front end for sound: one second of a microphone becomes 49 rows of 16 log-mel bands.

A frame is 512 samples at 16 kHz (32 ms), and 50 begin each second. Its spectrum is summed up in 16
bands, evenly spaced on the mel scale from 31 to 4,000 Hz, of which the network sees the logarithm.
The board does the same in C (`tr_sound.c`), sample by sample as they come; this module defines
every bit of the result. So it has an FFT of its own, in float32, whose sums have one order, and all
frames go through it side by side.
"""

import math

import numpy as np

from tinyreptile_lite.errors import KitError

Array = np.ndarray

RATE = 16_000  # samples a second
WINDOW = 512  # samples of a frame
HOP = 320  # samples from one frame to the next
BANDS = 16
LOW, HIGH = 1, 128  # FFT bins at the ends of the lowest and of the highest band
CHUNK = 50  # frames side by side; more no longer fit the processor's cache
FLOOR = np.float32(2.0**19)  # added to a band's energy: about a noise of 18 steps of the samples
LN2_HIGH, LN2_LOW = np.float32(0.693145752), np.float32(1.42860682e-6)
LOG = (  # of tr_logf, from the highest power down
    -7.63449743e-2, 0.127615824, -0.13160184, 0.142017573,
    -0.166233569, 0.200012267, -0.250008196, 0.333333313,
)  # fmt: skip


def _cosine() -> Array:
    """Cosine of 2 pi k / 512; all else comes from it, the window too."""
    turn = 2 * math.pi / WINDOW
    quarter = [math.cos(turn * k) for k in range(WINDOW // 4)]
    half = [*quarter, 0.0, *(-value for value in quarter[:0:-1])]
    return np.array([*half, *(-value for value in half)], np.float32)


def _bands() -> tuple[Array, Array]:
    """Where the bands peak, and how much of each bin belongs to the band that peaks above it.

    A bin between two peaks belongs to both bands: `rise` of it to the upper one, the rest to the
    lower one, as in triangular filters.
    """
    hertz = RATE / WINDOW
    low, high = (math.log1p(hertz * k / 700) for k in (LOW, HIGH))  # mel, but for a factor
    peaks = np.linspace(low, high, BANDS + 2)
    mel = np.log1p(hertz * np.arange(LOW, HIGH) / 700)
    section = np.minimum(np.searchsorted(peaks, mel + 1e-9, "right") - 1, BANDS)
    rise = (mel - peaks[section]) / (peaks[1] - peaks[0])
    firsts = np.searchsorted(section, np.arange(BANDS + 2)) + LOW
    return firsts.astype(np.uint8), rise.round(6).astype(np.float32)


def _shares() -> Array:
    """Which share each band adds in each step: (steps, 16) places in what `_mel` puts together."""
    bins = HIGH - LOW - 1
    starts = np.maximum(SECTIONS.astype(int) - LOW - 1, 0)
    places = [
        [*range(a, b), *range(bins + b, bins + c)]
        for a, b, c in zip(starts, starts[1:], starts[2:], strict=False)
    ]
    steps = max(map(len, places))
    return np.array([place + [2 * bins] * (steps - len(place)) for place in places]).T


COSINE = _cosine()
SECTIONS, RISE = _bands()  # first bin of each section between two peaks; RISE from bin LOW on
SHARES = _shares()


def frame_count(samples: int) -> int:
    """Number of whole frames in so many samples."""
    return max(0, (samples - WINDOW) // HOP + 1)


def log_mel(samples: Array) -> Array:
    """Log-mel bands of recordings, as the board computes them.

    Parameters
    ----------
    samples : ndarray of int16, shape (..., N)
        At 16 kHz.

    Returns
    -------
    ndarray of float32, shape (..., frames, 16)
        Natural logarithms of energies; see `frame_count`.

    Raises
    ------
    KitError
        If the samples are not int16, or too few for one frame.
    """
    if samples.dtype != np.int16:
        raise KitError(f"the samples are {samples.dtype}; give int16, as a microphone does")
    if samples.shape[-1] < WINDOW:
        raise KitError(f"there are {samples.shape[-1]} samples; a frame needs at least {WINDOW}")
    views = np.lib.stride_tricks.sliding_window_view(samples, WINDOW, axis=-1)[..., ::HOP, :]
    bands = np.empty((*views.shape[:-1], BANDS), np.float32)
    frames, rows = views.reshape(-1, WINDOW), bands.reshape(-1, BANDS)
    for start in range(0, len(frames), CHUNK):
        some = slice(start, start + CHUNK)
        rows[some] = _rows(frames[some].T.astype(np.float32))
    return bands


def level(bands: Array) -> Array:
    """Subtract the mean of each recording's bands (..., frames, 16): loud and soft become equal.

    The board sums them up in their order, and so does this.
    """
    flat = bands.reshape(*bands.shape[:-2], -1)
    total = np.add.accumulate(flat, axis=-1, dtype=np.float32)[..., -1]
    return bands - (total / np.float32(flat.shape[-1]))[..., None, None]


def _rows(frames: Array) -> Array:
    """Rows (n, 16) of frames (512, n)."""
    half = np.float32(0.5)
    frames *= (half - half * COSINE)[:, None]
    return _log(_mel(_power(*_fft(frames)))).T


def _fft(frames: Array) -> tuple[Array, Array]:
    """Complex FFT, real and imaginary parts (256, n), of frames (512, n).

    Even samples are the real, odd ones the imaginary numbers. Radix 4, decimation in time: four
    transforms of every fourth number become one, four times.
    """
    count = frames.shape[1]
    digits = (4, 4, 4, 4, count)
    re, im = (
        frames[start::2].reshape(digits).transpose(3, 2, 1, 0, 4).reshape(256, count)
        for start in (0, 1)
    )
    quarter = 1
    while quarter < 256:
        shape = (-1, 4, quarter, count)
        re, im = _join_four(re.reshape(shape), im.reshape(shape), quarter)
        quarter *= 4
    return re.reshape(256, count), im.reshape(256, count)


def _join_four(re: Array, im: Array, quarter: int) -> tuple[Array, Array]:
    """One stage: of each block (4, quarter), the butterflies with their twiddle factors."""
    step = np.arange(quarter)[:, None] * (WINDOW // (4 * quarter))
    x, y = [re[:, 0]], [im[:, 0]]
    for r in (1, 2, 3):
        c, s = COSINE[r * step], COSINE[r * step + 3 * WINDOW // 4 & WINDOW - 1]
        x.append(re[:, r] * c + im[:, r] * s)
        y.append(im[:, r] * c - re[:, r] * s)
    even_x, even_y, odd_x, odd_y = x[0] + x[2], y[0] + y[2], x[1] + x[3], y[1] + y[3]
    left_x, left_y, turned_x, turned_y = x[0] - x[2], y[0] - y[2], x[1] - x[3], y[1] - y[3]
    re = np.stack([even_x + odd_x, left_x + turned_y, even_x - odd_x, left_x - turned_y], 1)
    im = np.stack([even_y + odd_y, left_y - turned_x, even_y - odd_y, left_y + turned_x], 1)
    return re, im


def _power(re: Array, im: Array) -> Array:
    """Four times the squared magnitude of bins LOW + 1 to HIGH - 1 of the real FFT of 512."""
    k = np.arange(LOW + 1, HIGH)
    re, im, mirror_re, mirror_im = re[k], im[k], re[256 - k], im[256 - k]
    c, s = COSINE[k][:, None], COSINE[k + 3 * WINDOW // 4 & WINDOW - 1][:, None]
    odd_x, odd_y = im + mirror_im, mirror_re - re
    x = re + mirror_re + (odd_x * c + odd_y * s)
    y = im - mirror_im + (odd_y * c - odd_x * s)
    return x * x + y * y


def _mel(power: Array) -> Array:
    """Energy of each band (16, n), from the bins between LOW and HIGH in their order.

    All bands add up their next bin at once; those that have none left add zero.
    """
    upper = RISE[1:, None] * power
    shares = np.concatenate([upper, power - upper, np.zeros_like(power[:1])])
    energy = np.zeros((BANDS, power.shape[1]), np.float32)
    for step in SHARES:
        energy += shares[step]
    return energy


def _log(energy: Array) -> Array:
    """tr_logf of the core, of energies with the floor added."""
    bits = (energy + FLOOR).view(np.uint32)
    offset = bits - np.uint32(0x3F3504F3)
    k = (offset.view(np.int32) >> 23).astype(np.float32)
    f = ((offset & 0x007FFFFF) + np.uint32(0x3F3504F3)).view(np.float32) - np.float32(1)
    h = np.zeros_like(f)
    for coefficient in LOG:
        h = h * f + np.float32(coefficient)
    square = f * f
    tail = square * f * h + k * LN2_LOW - np.float32(0.5) * square
    return (f + tail) + k * LN2_HIGH
