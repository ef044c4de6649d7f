"""Sine waves: every device has its own amplitude and phase, and sees noise-free points of it.

The distribution is that of the Reptile demonstration (Nichol, Achiam and Schulman 2018, and their
public example): amplitude U[0.1, 5], phase U[0, 2 pi), inputs U[-5, 5].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.layers import Dense, Scale, Tanh
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.base import Device, Samples, Task

X_LIMIT = 5.0


@dataclass(frozen=True)
class SineDevice:
    """A device that measures ``amplitude * sin(x + phase)``."""

    name: str
    amplitude: float
    phase: float
    support_size: int = 32
    query_size: int = 50

    def curve(self, x: np.ndarray) -> np.ndarray:
        """Targets (N, 1) for inputs (N, 1), in float32."""
        return (self.amplitude * np.sin(x + self.phase)).astype(np.float32)

    def stream(self, count: int, rng: np.random.Generator) -> Samples:
        """Draw ``count`` points with x uniform in [-5, 5]; both arrays are (count, 1)."""
        x = rng.uniform(-X_LIMIT, X_LIMIT, (count, 1)).astype(np.float32)
        return Samples(x, self.curve(x))

    def task(self, rng: np.random.Generator) -> Task:
        """Draw random support points; the query is even over [-5, 5], the middles of equal parts.

        A grid with both ends on it would count them double, and there the error is largest.
        """
        edges = np.linspace(-X_LIMIT, X_LIMIT, 2 * self.query_size + 1, dtype=np.float32)
        middles = edges[1::2, None]
        query = Samples(middles, self.curve(middles))
        return Task(self.name, self.stream(self.support_size, rng), query)


class Sine:
    """The family of all sine waves.

    Parameters
    ----------
    phase_limit : float, default 2 pi
        Phases are uniform in [0, phase_limit), in radians. The smaller it is, the more alike the
        devices are; pi is the half circle.
    train_devices, test_devices : int
        How many of each `split` draws. A few waves of large amplitude hold much of the error, so
        the mean needs many test devices.
    validate : bool, default False
        Whether `split` holds out other waves than those to test on, to choose settings with.
    """

    name = "sine"
    metric = "mse"
    folds = 1
    counts: tuple[int, ...] = (0, 1, 2, 4, 8, 16, 32)

    def __init__(
        self,
        phase_limit: float = 2 * np.pi,
        train_devices: int = 10_000,
        test_devices: int = 4_000,
        validate: bool = False,
    ) -> None:
        if not 0 <= phase_limit <= 2 * np.pi:
            raise KitError(f"phase_limit is {phase_limit}; give radians from 0 to 2 pi")
        if min(train_devices, test_devices) < 1:
            raise KitError("there must be at least one training and one test device")
        self.phase_limit = phase_limit
        self.sizes = train_devices, test_devices
        self.validate = validate

    def network(self) -> Network:
        """Build the MLP 1-32-32-1 with tanh; its input is divided by 2.5."""
        layers = [Scale(0.4), Dense(1, 32), Tanh(), Dense(32, 32), Tanh(), Dense(32, 1)]
        return Network(layers, "mse", (1,))

    def devices(
        self, count: int, rng: np.random.Generator, prefix: str = "sine"
    ) -> list[SineDevice]:
        """Draw ``count`` devices, named ``prefix-0`` and so on."""
        amplitudes = rng.uniform(0.1, 5.0, count).tolist()
        phases = rng.uniform(0, self.phase_limit, count).tolist()
        waves = zip(amplitudes, phases, strict=True)
        return [SineDevice(f"{prefix}-{i}", *wave) for i, wave in enumerate(waves)]

    def split(
        self, fold: int, rng: np.random.Generator
    ) -> tuple[Sequence[Device], Sequence[Device]]:
        """Draw training and test devices; there is one fold, as waves are drawn, not given."""
        train, test = self.sizes
        trained, tested = self.devices(train, rng), self.devices(test, rng, "new-sine")
        return trained, self.devices(test, rng, "other-sine") if self.validate else tested
