"""The same source gives the same bits on this computer and on the virtual Nano 33 BLE."""

import shutil
import subprocess
from pathlib import Path

import pytest
from compilers import BOARD, CC

from tinyreptile_lite.core.build import CORE
from tinyreptile_lite.nano import VirtualNano

DRIVERS = Path(__file__).parent / "c"
STEPS = 1000
NETWORKS = 20
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
RANDOM_SKETCH = """
#include <TinyReptile.h>
#include "random_networks.h"

void setup() {
  Serial.begin(115200);
  for (uint32_t seed = 0; seed < 2 * NETWORKS; seed++) {
    const uint32_t hash = random_network(seed % NETWORKS, seed >= NETWORKS);
    for (int shift = 28; shift >= 0; shift -= 4) Serial.print((hash >> shift) & 15, HEX);
    Serial.println("");
  }
  Serial.println("done");
}

void loop() { delay(1000); }
"""
PROTOTYPES = """
#include <TinyReptile.h>
#include "prototypes.h"

void setup() {
  Serial.begin(115200);
  for (int way = 0; way < WAYS; way++) {
    const uint32_t hash = prototypes(way);
    for (int shift = 28; shift >= 0; shift -= 4) Serial.print((hash >> shift) & 15, HEX);
    Serial.println("");
  }
  Serial.println("done");
}

void loop() { delay(1000); }
"""


def on_host(folder: Path, name: str, count: int, *more: str) -> list[str]:
    """What a driver prints on this computer, with the plain core."""
    program = folder / name
    drivers = [DRIVERS / f"{name}.c", DRIVERS / f"{name}_main.c"]
    command = [*CC, "-std=c99", "-O2", f"-I{CORE}", *drivers, CORE / "tinyreptile_core.c"]
    subprocess.run([*command, "-o", program], check=True)
    done = subprocess.run([program, str(count), *more], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def on_board(folder: Path, name: str, text: str, **options) -> list[str]:
    """What a sketch with that driver prints on the virtual board."""
    sketch = folder / "Parity"
    sketch.mkdir()
    (sketch / "Parity.ino").write_text(text)
    for file in (f"{name}.c", f"{name}.h"):
        shutil.copy(DRIVERS / file, sketch / file)
    board = VirtualNano(sketch, libraries=CORE.parents[1], **options)
    board.run_until("done", limit_ms=600_000)
    return board.serial.text.lower().splitlines()


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> list[str]:
    """Hashes of all weights after 1,000 steps, networks and losses as in trajectory.c."""
    lines = on_host(tmp_path_factory.mktemp("host"), "trajectory", STEPS)
    assert all(line.endswith(" ok") for line in lines)
    return lines


@pytest.mark.parametrize(
    ("compiler", "level"), [(None, "-Os"), (None, "-O2"), ("zig", "-Os"), ("zig", "-O2")]
)
def test_a_thousand_steps_end_in_the_same_bits(compiler, level, host, tmp_path):
    printed = on_board(tmp_path, "trajectory", SKETCH, compiler=compiler, optimize=level)
    assert printed == [*host, "done"]


@pytest.mark.parametrize("flags", [(), ("-DTR_PLAIN",)])
@pytest.mark.parametrize("compiler", BOARD)
def test_random_networks_learn_the_same_on_the_board(compiler, flags, tmp_path):
    text = RANDOM_SKETCH.replace("NETWORKS", str(NETWORKS))
    printed = on_board(tmp_path, "random_networks", text, compiler=compiler, flags=flags)
    host = [on_host(tmp_path, "random_networks", NETWORKS, *more) for more in ((), ("images",))]
    assert printed == [*host[0], *host[1], "done"]


def test_class_means_are_the_same_on_the_board(tmp_path):
    """Alone, with steps towards them, with frozen layers, with cosines, as an imprinted head."""
    host = on_host(tmp_path, "prototypes", 0)
    assert len(set(host)) == 6
    assert on_board(tmp_path, "prototypes", PROTOTYPES) == [*host, "done"]
