"""Run the sketch BoardCheck on a board and understand what it says."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.arduino_cli import upload
from tinyreptile_lite.nano.firmware import build
from tinyreptile_lite.nano.ports import open_port
from tinyreptile_lite.nano.revisions import chip_of
from tinyreptile_lite.nano.virtual import VirtualNano

SKETCH = Path(__file__).parents[2] / "arduino" / "BoardCheck"
_MHZ = 64
_PATIENCE_S = 30.0
_WELL = "all well"
_REPORT = re.compile(r"^kit: (?:(?!^kit: ).)*?^BoardCheck: [^\n]*\n", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class BoardReport:
    """What BoardCheck found: its lines, and their values by name."""

    text: str
    values: dict[str, str]
    emulated: bool  # on the virtual board, whose times are modelled

    @property
    def well(self) -> bool:
        """Whether nothing is amiss."""
        return self.values["BoardCheck"] == _WELL

    @property
    def revision(self) -> int | None:
        """1 or 2; None if no motion sensor was found."""
        number = self.values["revision"]
        return int(number) if number in ("1", "2") else None

    def summary(self) -> str:
        """Return what it means, in plain words, a sentence in each line."""
        if self.revision:
            board = f"it is revision {self.revision}: its motion sensor is {self.values['sensor']}"
        else:
            board = "no motion sensor answers, so WristAdapt cannot run on it"
        equal = all(
            value.startswith("yes")
            for name, value in self.values.items()
            if name.startswith("equal bits")
        )
        bits = "the same bits as" if equal else "OTHER bits than"
        times = re.findall(
            r"^us per step of (\S+), without interrupts: (\d+)", self.text, re.MULTILINE
        )
        steps = ", ".join(f"{net} {us} us ({int(us) * _MHZ:,} cycles)" for net, us in times)
        return "\n".join(
            [
                f"this board: {self.values['BoardCheck']}",
                board,
                f"it learns {bits} every other machine",
                f"one online step, {'modelled' if self.emulated else 'measured'}: {steps}",
                f"RAM that is free beside BoardCheck: {self.values['free RAM']}",
                f"FederatedClient's name over Bluetooth: {self.values['name over Bluetooth']}",
            ]
        )


def read_report(text: str, emulated: bool = False) -> BoardReport | None:
    """Return the first whole report in what a board has sent; None if there is none yet.

    Raises
    ------
    KitError
        If lines are missing in it.
    """
    found = _REPORT.search(text.replace("\r\n", "\n"))
    if not found:
        return None
    rows = (line.partition(": ") for line in found[0].splitlines())
    values = {name: value for name, mark, value in rows if mark}
    needed = ("revision", "sensor", "free RAM", "name over Bluetooth")
    if missing := [name for name in needed if name not in values]:
        raise KitError(f"BoardCheck's report lacks {', '.join(missing)}; run it again")
    return BoardReport(found[0], values, emulated)


def check_virtual(revision: int = 1, compiler: str | None = None) -> BoardReport:
    """Run BoardCheck on a virtual board of this revision. Raises as `VirtualNano`."""
    chip = chip_of(revision)
    board = VirtualNano(build(SKETCH, compiler=compiler), imu_chip=chip)
    board.run_until(lambda nano: read_report(nano.serial.text) is not None)
    report = read_report(board.serial.text, emulated=True)
    assert report is not None
    return report


def check_real(port: str) -> BoardReport:
    """Load BoardCheck onto the board at `port` and read its report.

    Raises
    ------
    BuildError, KitError
        As `upload`; or if no report comes.
    """
    upload(SKETCH, port)
    text = ""
    end = time.monotonic() + _PATIENCE_S
    with open_port(port) as serial:
        serial.write(b"\n")  # start it again, if it has given up waiting for a listener
        while time.monotonic() < end:
            text += serial.read(4096).decode("utf-8", "replace")
            if report := read_report(text):
                return report
    raise KitError(
        f"BoardCheck on {port} sent no report within {_PATIENCE_S:g} seconds; press the board's "
        "button and try again"
    )
