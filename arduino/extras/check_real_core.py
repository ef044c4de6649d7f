"""Compile the sketches against the real Arduino core, with its own flags, warnings being errors.

The virtual board brings a thin Arduino API of its own. This check shows that the sketches also
suit the real one. It compiles and does not link. Folders that are needed, all from GitHub:

    CORE      arduino/ArduinoCore-mbed 4.6.0, with arduino/ArduinoCore-API's folder api in
              cores/arduino
    LSM9DS1   arduino-libraries/Arduino_LSM9DS1 1.1.1
    BMI270    arduino-libraries/Arduino_BMI270_BMM150 1.2.3
    BLE       arduino-libraries/ArduinoBLE 2.0.1

    python arduino/extras/check_real_core.py CORE LSM9DS1 BMI270 BLE
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tinyreptile_lite.nano.sketch import Sketch, read_sketch
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.wire.header import network_header

SKETCHES = Path(__file__).resolve().parents[1]
# The recipes of platform.txt, with its entries for the board nano33ble filled in.
RECIPE = [
    *("-g3", "-nostdlib", "-mcpu=cortex-m4", "-mfloat-abi=softfp", "-mfpu=fpv4-sp-d16"),
    *("-DARDUINO=10819", "-DARDUINO_ARDUINO_NANO33BLE", "-DARDUINO_ARCH_MBED"),
    *("-DARDUINO_ARCH_MBED_NANO", "-DARDUINO_ARCH_NRF52840"),
]
STRICT = ["-Wall", "-Wextra", "-Werror"]
# Sketch, the task family whose network.h takes the place of its own, and flags
JOBS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("BoardCheck", "", ()),
    ("HelloTinyReptile", "", ()),
    ("WristAdapt", "", ()),
    ("WristAdapt", "", ("-DREV2=1",)),
    ("WristAdapt", "", ("-DOWN_FRAME=1",)),
    ("KeywordAdapt", "", ()),
    ("FindAxes", "", ()),
    ("FindAxes", "", ("-DREV2=1",)),
    ("DrawAdapt", "", ()),
    ("Recorder", "", ()),
    ("Recorder", "", ("-DREV2=1",)),
    ("FederatedClient", "", ()),
    ("FederatedClient", "", ("-DTRANSPORT_BLE=1",)),
    ("FederatedClient", "wrist", ()),
    ("FederatedClient", "wrist", ("-DTRANSPORT_BLE=1", "-DREV2=1", "-DRIGHT_ARM=1")),
)


def commands(core: Path, sketch: Sketch, folder: Path, others: list[Path]) -> list[list[str]]:
    """Return one compiler call for each source of the sketch and of its libraries."""
    variant = core / "variants" / "ARDUINO_NANO33BLE"
    arduino = core / "cores" / "arduino"
    shipped = [core / "libraries" / name for name in ("Wire", "PDM/src")]
    own = [str(library.include) for library in sketch.libraries]
    old = [arduino / "api" / name for name in ("deprecated", "deprecated-avr-comp")]
    # Not -isystem for others' libraries: GCC 8 and older would take their headers for C.
    includes = [f"-I{p}" for p in (arduino, variant, folder, *own, *old, *shipped, *others)]
    tail = [f"-iprefix{arduino}", f"@{variant / 'includes.txt'}", "-o", str(folder / "out.o")]
    found = []
    sources = [folder / unit for unit in sketch.units]
    sources += [source for library in sketch.libraries for source in library.sources]
    for source in sources:
        kind = ("gcc", "cflags.txt") if source.suffix == ".c" else ("g++", "cxxflags.txt")
        start = [f"arm-none-eabi-{kind[0]}", *STRICT, f"@{variant / 'defines.txt'}"]
        found.append([*start, f"@{variant / kind[1]}", *RECIPE, *includes, str(source), *tail])
    return found


def main() -> int:
    """Compile everything; the first failure ends with the compiler's message."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("core", "lsm9ds1", "bmi270", "ble"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    others = [(path / "src").resolve() for path in (options.lsm9ds1, options.bmi270, options.ble)]
    for name, family, flags in JOBS:
        sketch = read_sketch(SKETCHES / name)
        if family:
            sketch.files["network.h"] = network_header(
                find_family(family).network(), family
            ).encode()
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for file, content in sketch.files.items():
                (folder / file).write_bytes(content)
            calls = commands(options.core.resolve(), sketch, folder, others)
            for call in calls:
                if subprocess.run([*call, *flags], check=False).returncode:  # noqa: S603
                    return 1
        print(f"{' '.join(filter(None, [name, family, *flags]))}: {len(calls)} sources, no warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
