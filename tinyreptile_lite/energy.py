"""A model of the energy that a visit takes on the board: learning, radio, waiting. Never measured.

The chip's numbers are those of the nRF52840 Product Specification (Nordic Semiconductor), chapter
"Electrical specification", with the DC/DC regulator at 3 V: the CPU runs from flash at 64 MHz with
about 3.3 mA, which is 155 pJ a cycle; the radio sends with 4.8, 9.6 or 14.8 mA at 0, +4 or +8 dBm,
and receives with 4.6 mA at 1 Mbit/s or 5.2 mA at 2 Mbit/s.

The radio is charged for the time in which bytes are on the air, and for nothing else: no ramp, no
pause between packets, no empty packet. So a whole board takes more. What it draws all the time is
a line of its own: for a Nano 33 BLE with ArduinoBLE, users report 16 to 18 mA, or 2 to 7 mA with a
changed tick.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from tinyreptile_lite.costs import visit_macs
from tinyreptile_lite.errors import KitError, named_numbers
from tinyreptile_lite.learners import Learner
from tinyreptile_lite.network import Network

TX_MA = {0: 4.8, 4: 9.6, 8: 14.8}  # by dBm
RX_MA = {1: 4.6, 2: 5.2}  # by Mbit/s
# The middle of the kit's four networks, an online step each: `tinyreptile bench device`.
INSTRUCTIONS_PER_MAC, CYCLES_PER_MAC = 3.1, 4.6


@dataclass(frozen=True)
class EnergyModel:
    """The constants of the model. `KitError` if one cannot be.

    Attributes
    ----------
    cycle_pj : float
        Energy of one cycle of the CPU, in pJ.
    volts : float
        Supply of the radio, and of the board where its current is given.
    tx_dbm : {0, 4, 8}
        Power of the radio when it sends.
    mbit : {1, 2}
        Speed of the radio on the air, in Mbit/s.
    idle_ma : float
        What the real board draws all the time beside that, in mA.
    """

    cycle_pj: float = 155.0
    volts: float = 3.0
    tx_dbm: float = 0
    mbit: float = 1
    idle_ma: float = 17.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value >= 0):
                raise KitError(f"the energy model's {name} is {value}; give a number from 0 on")
        for name, known in (("tx_dbm", TX_MA), ("mbit", RX_MA)):
            value = getattr(self, name)
            if value not in known:
                choices = ", ".join(map(str, known))
                raise KitError(f"the energy model's {name} is {value:g}; choose one of: {choices}")
        if not self.volts:
            raise KitError("the energy model's volts is 0; give the supply, for example 3.0")

    @classmethod
    def parse(cls, text: str) -> "EnergyModel":
        """Read "tx_dbm=8,idle_ma=5", as the command line has it."""
        known = [field.name for field in fields(cls)]
        return cls(**named_numbers(text, "constant of the energy model", known, 4))

    @property
    def sent_uj(self) -> float:
        """Energy of one byte that the board sends, in microjoules."""
        return self._byte_uj(TX_MA[int(self.tx_dbm)])

    @property
    def received_uj(self) -> float:
        """Energy of one byte that the board receives, in microjoules."""
        return self._byte_uj(RX_MA[int(self.mbit)])

    def _byte_uj(self, milliamperes: float) -> float:
        return self.volts * milliamperes * 8 / self.mbit / 1000  # mW times microseconds is nJ

    def idle(self, seconds: float) -> float:
        """Joules that the real board draws in so many seconds, beside what it does."""
        return self.volts * self.idle_ma * seconds / 1000


@dataclass(frozen=True)
class Energy:
    """Modelled joules, by purpose."""

    compute: float = 0.0
    sent: float = 0.0
    received: float = 0.0
    idle: float = 0.0

    @property
    def radio(self) -> float:
        """Joules of the radio, both directions."""
        return self.sent + self.received

    @property
    def work(self) -> float:
        """Joules of what the board was asked to do: all without `idle`."""
        return self.compute + self.radio

    @property
    def total(self) -> float:
        """Sum of all parts."""
        return self.work + self.idle

    def __add__(self, other: "Energy") -> "Energy":
        return Energy(*(a + b for a, b in zip(_parts(self), _parts(other), strict=True)))

    def __mul__(self, times: float) -> "Energy":
        return Energy(*(part * times for part in _parts(self)))


def _parts(energy: Energy) -> Sequence[float]:
    return list(vars(energy).values())


def visit_energy(
    model: EnergyModel, cycles: float, bytes_up: float, bytes_down: float, seconds: float = 0
) -> Energy:
    """Model the energy of a visit.

    Parameters
    ----------
    model : EnergyModel
    cycles : float
        Of the CPU.
    bytes_up, bytes_down : float
        What the board sent and received, framing included.
    seconds : float
        How long it took, for the line `idle`; 0 leaves that out.
    """
    return Energy(
        cycles * model.cycle_pj * 1e-12,
        bytes_up * model.sent_uj * 1e-6,
        bytes_down * model.received_uj * 1e-6,
        model.idle(seconds),
    )


@dataclass(frozen=True)
class Work:
    """What a board executed: instructions and modelled cycles.

    `counted` says that the instructions were counted on the virtual board; else both are estimated
    from the multiply-accumulates.
    """

    instructions: int
    cycles: int
    counted: bool

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.instructions + other.instructions,
            self.cycles + other.cycles,
            self.counted and other.counted,
        )

    def __mul__(self, times: float) -> "Work":
        return Work(round(self.instructions * times), round(self.cycles * times), self.counted)

    @property
    def kind(self) -> str:
        """How the instructions are known, in a word; "none" if there are none."""
        if not self.instructions:
            return "none"
        return "counted" if self.counted else "estimated"


NO_WORK = Work(0, 0, counted=True)


def estimated_work(net: Network, learner: Learner, sample_count: int) -> Work:
    """Estimate what a visit executes where nothing like it was counted on the virtual board."""
    return work_of_macs(visit_macs(net, learner, sample_count))


def work_of_macs(macs: float) -> Work:
    """Estimate what so many multiply-accumulates take."""
    return Work(round(macs * INSTRUCTIONS_PER_MAC), round(macs * CYCLES_PER_MAC), counted=False)
