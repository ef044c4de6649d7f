"""Which compilers the tests use. Everything runs with the pip wheel's clang; GCC joins if found.

`make test` must work on a machine with nothing but git, Python and make, so the board's own
compiler family (arm-none-eabi-gcc) and the computer's GCC are tested where they are installed. The
head of every test run says which were used.
"""

import shutil
import sys

import pytest

from tinyreptile_lite.core.build import find_compiler

ZIG = (sys.executable, "-m", "ziglang", "cc")
HOST_GCC = shutil.which("gcc")
HOST = {"zig": ZIG} | ({"gcc": (HOST_GCC,)} if HOST_GCC else {})
BOARD = ("zig", "gcc") if shutil.which("arm-none-eabi-gcc") else ("zig",)

# The wheel's clang has no address sanitizer.
SANITIZERS = {
    "zig": ("-fsanitize=undefined", "-fno-sanitize-recover=all"),
    "gcc": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
}
STRICTEST = "gcc" if HOST_GCC else "zig"

CC = find_compiler()  # the system's, or the wheel's

needs_nm = pytest.mark.skipif(not shutil.which("nm"), reason="apt install binutils")


def report() -> list[str]:
    """Say in the head of the test run what is used."""
    lines = [f"compilers: board {', '.join(BOARD)}; computer {', '.join(HOST)}"]
    if "gcc" not in BOARD:
        lines.append("also tested if installed: apt install gcc-arm-none-eabi (Debian, Ubuntu)")
    if not shutil.which("nm"):
        lines.append("symbol tables are tested if installed: apt install binutils")
    if not HOST_GCC:
        lines.append("address sanitizer only if installed: apt install gcc (Debian, Ubuntu)")
    return lines
