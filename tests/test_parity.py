"""The same source gives the same bits on this computer and on the virtual Nano 33 BLE."""

import shutil
import subprocess
from pathlib import Path

import pytest
from compilers import CC

from tinyreptile_lite.core.build import CORE
from tinyreptile_lite.nano import VirtualNano

DRIVERS = Path(__file__).parent / "c"
STEPS = 1000
SKETCH = """
#include <TinyReptile.h>
#include "trajectory.h"

void setup() {
  Serial.begin(115200);
  for (int which = 0; which < TRAJECTORIES; which++) {
    tr_status status;
    const uint32_t hash = trajectory(which, TRAJECTORY_STEPS, &status);
    Serial.print(which);
    Serial.print(' ');
    for (int shift = 28; shift >= 0; shift -= 4) Serial.print((hash >> shift) & 15, HEX);
    Serial.print(' ');
    Serial.println(tr_status_text(status));
  }
  Serial.println("done");
}

void loop() { delay(1000); }
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> list[str]:
    """Hashes of all weights after 1,000 steps, networks and losses as in trajectory.c."""
    program = tmp_path_factory.mktemp("host") / "trajectory"
    drivers = [DRIVERS / "trajectory.c", DRIVERS / "trajectory_main.c"]
    flags = ["-std=c99", "-O2", f"-I{CORE}"]
    command = [*CC, *flags, *drivers, CORE / "tinyreptile_core.c", "-o", program]
    subprocess.run(command, check=True)
    done = subprocess.run([program, str(STEPS)], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert all(line.endswith(" ok") for line in lines)
    return lines


@pytest.mark.parametrize(
    ("compiler", "level"), [(None, "-Os"), (None, "-O2"), ("zig", "-Os"), ("zig", "-O2")]
)
def test_a_thousand_steps_end_in_the_same_bits(compiler, level, host, tmp_path):
    sketch = tmp_path / "Parity"
    sketch.mkdir()
    (sketch / "Parity.ino").write_text(SKETCH)
    for name in ("trajectory.c", "trajectory.h"):
        shutil.copy(DRIVERS / name, sketch / name)
    board = VirtualNano(sketch, compiler=compiler, optimize=level, libraries=CORE.parents[1])
    board.run_until("done", limit_ms=600_000)
    assert board.serial.text.lower().splitlines() == [*host, "done"]
