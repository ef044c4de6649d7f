"""Print the polynomials that src/tinyreptile_core.c uses for tanh, exp and log.

Each is fitted to the least largest relative error by reweighted least squares (Lawson's method).
Run with Python and NumPy: ``python fit_math.py``.
"""

import numpy as np

POINTS = 4001


def chebyshev(low: float, high: float, hole: float) -> np.ndarray:
    """Points crowded towards both ends of an interval, without those nearer to 0 than `hole`."""
    x = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * np.arange(POINTS) / (POINTS - 1))
    return x[np.abs(x) > hole]


def lawson(columns: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients of the columns whose largest weighted error is least, and that error."""
    importance, best, least = np.ones_like(target), np.zeros(columns.shape[1]), np.inf
    for _ in range(200):
        scale = np.sqrt(importance) * weight
        found = np.linalg.lstsq(columns * scale[:, None], target * scale, rcond=None)[0]
        error = np.abs((columns @ found - target) * weight)
        if error.max() < least:
            best, least = found, float(error.max())
        importance *= error / error.max() + 1e-9
        importance /= importance.sum()
    return best, least


def fit_tanh(degree: int = 4, end: float = 7.8) -> tuple[np.ndarray, np.ndarray, float]:
    """P and Q of ``tanh(x) = x P(x^2) / Q(x^2)`` with Q(0) = 1."""
    x = chebyshev(0, end, 1e-3)
    u, t = (x / end) ** 2, np.tanh(x) / x
    q = np.ones_like(x)
    powers = u[:, None] ** np.arange(degree + 1)
    columns = np.concatenate([powers, -t[:, None] * powers[:, 1:]], axis=1)
    for _ in range(8):  # linear once the denominator in the error's weight is known
        found, least = lawson(columns, t, 1 / (q * t))
        q = 1 + powers[:, 1:] @ found[degree + 1 :]
    scale = end ** (2.0 * np.arange(degree + 1))
    return found[: degree + 1] / scale, np.r_[1, found[degree + 1 :]] / scale, least


def fit_exp(degree: int = 4) -> tuple[np.ndarray, float]:
    """g of ``exp(r) = 1 + r + r^2 g(r)``, r within half a step of ln 2."""
    r = chebyshev(-np.log(2) / 2, np.log(2) / 2, 1e-4)
    return lawson(r[:, None] ** np.arange(degree + 1), (np.expm1(r) - r) / r**2, r**2 / np.exp(r))


def fit_log(degree: int = 7) -> tuple[np.ndarray, float]:
    """h of ``log(1 + f) = f - f^2 / 2 + f^3 h(f)``, 1 + f from sqrt(1/2) to sqrt(2)."""
    f = chebyshev(np.sqrt(0.5) - 1, np.sqrt(2) - 1, 1e-3)
    target = (np.log1p(f) - f + f**2 / 2) / f**3
    return lawson(f[:, None] ** np.arange(degree + 1), target, np.abs(f**3 / np.log1p(f)))


def show(name: str, coefficients: np.ndarray) -> None:
    print(name, ", ".join(f"{np.float32(value):.9g}f" for value in coefficients))


if __name__ == "__main__":
    p, q, error = fit_tanh()
    show("tanh P", p)
    show("tanh Q", q)
    print(f"  relative error {error:.2g}")
    for name, (coefficients, error) in {"exp g": fit_exp(), "log h": fit_log()}.items():
        show(name, coefficients)
        print(f"  relative error {error:.2g}")
