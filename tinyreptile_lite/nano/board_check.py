"""Run the sketch BoardCheck on a board and understand what it says."""

import re
import time
from dataclasses import dataclass

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.arduino_cli import upload
from tinyreptile_lite.nano.firmware import build
from tinyreptile_lite.nano.ports import open_port
from tinyreptile_lite.nano.revisions import chip_of
from tinyreptile_lite.nano.sketch import SKETCHBOOK
from tinyreptile_lite.nano.virtual import VirtualNano

SKETCH = SKETCHBOOK / "BoardCheck"
_MHZ = 64
_PATIENCE_S = 30.0
_LONGEST = 65_536  # characters of a report, with what stands before it
_CONTROL = re.compile(r"[^\n -~]")  # what a terminal might act on
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

    @property
    def equal(self) -> bool:
        """Whether it learns the same bits as every other machine."""
        told = [value for name, value in self.values.items() if name.startswith("equal bits")]
        return bool(told) and all(value.startswith("yes") for value in told)

    def times(self, how: str) -> dict[str, str]:
        """Return by network "median, least to most" microseconds, ``how`` interrupts."""
        number = r"\d{1,9}"
        span = rf"({number}) median, ({number} to {number})"
        pattern = rf"^us per step of (\S+), {how} interrupts: {span}$"
        rows = re.findall(pattern, self.text, re.MULTILINE)
        return {net: f"{median}, {span}" for net, median, span in rows}

    def summary(self) -> str:
        """Return what it means, in plain words, a sentence in each line."""
        if self.revision:
            board = f"it is revision {self.revision}: its motion sensor is {self.values['sensor']}"
        else:
            found = self.values["sensor"]
            board = "no motion sensor answers" if found == "none" else f"its motion sensor: {found}"
            board += ", so WristAdapt cannot run on it"
        medians = {net: int(row.split(",")[0]) for net, row in self.times("without").items()}
        steps = ", ".join(
            f"{net} {us} us (about {us * _MHZ:,} cycles)" for net, us in medians.items()
        )
        lines = [
            f"this board: {self.values['BoardCheck']}",
            board,
            f"it learns {'the same bits as' if self.equal else 'OTHER bits than'} other machines",
            f"one online step, {'modelled' if self.emulated else 'measured'}: {steps}",
            f"RAM that is free beside BoardCheck: {self.values['free RAM']}",
            f"FederatedClient's name over Bluetooth: {self.values['name over Bluetooth']}",
        ]
        return "\n".join(lines if self.emulated else [*lines, f"for the table: {self.row()}"])

    def row(self) -> str:
        """Return a row for the table of measurements in ``arduino/README.md``."""
        version = self.values["compiler"].split(".")[0]
        compiler = version if version[:1].isalpha() else f"GCC {version}"
        times = [
            self.times(how).get(net, "")
            for net in ("1-32-32-1", "64-32-10")
            for how in ("without", "with")
        ]
        cells = [f"?, {self.revision or 'no sensor'}", compiler, *times]
        return f"| {' | '.join([*cells, 'yes' if self.equal else 'no'])} |"


def read_report(text: str, emulated: bool = False) -> BoardReport | None:
    """Return the first whole report in what a board has sent; None if there is none yet.

    Raises
    ------
    KitError
        If lines are missing in it.
    """
    found = _REPORT.search(_CONTROL.sub("?", text.replace("\r\n", "\n")))
    if not found:
        return None
    rows = (line.partition(": ") for line in found[0].splitlines())
    values = {name: value for name, mark, value in rows if mark}
    needed = ("compiler", "revision", "sensor", "free RAM", "name over Bluetooth")
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
        try:
            serial.write(b"\n")  # start it again, if it has given up waiting for a listener
            while time.monotonic() < end:
                text = (text + serial.read(4096).decode("utf-8", "replace"))[-_LONGEST:]
                if report := read_report(text):
                    return report
        except OSError:  # what pyserial raises too
            raise KitError(f"the board at {port} is gone; plug it in again") from None
    raise KitError(
        f"BoardCheck on {port} sent no report within {_PATIENCE_S:g} seconds; press the board's "
        "button and try again"
    )
