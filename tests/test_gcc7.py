"""The Arduino core for the board brings GCC 7.2, which is hard to get: what it lacks is not used.

GCC 8 and later know more pragmas and builtins, and say nothing if they are asked for C++17. An
unknown pragma is only a warning, but the code then is slower than the figures say.
"""

import re

import pytest
from compilers import BOARD

from tinyreptile_lite.core.build import CORE
from tinyreptile_lite.nano import build

BOOK = CORE.parents[2]  # the sketchbook
SOURCES = [p for p in sorted(BOOK.rglob("*")) if p.suffix in (".c", ".h", ".cpp", ".ino")]
SKETCHES = sorted(path.parent.name for path in BOOK.glob("*/*.ino"))
PRAGMAS = {"once", "GCC optimize", "GCC diagnostic", "GCC poison", "STDC FP_CONTRACT"}
ATTRIBUTES = {
    "always_inline", "noinline", "noreturn", "unused", "used", "aligned", "packed", "section",
    "weak", "may_alias", "format", "pure", "const", "optimize",
}  # fmt: skip
BUILTINS = {"__has_include", "__has_attribute"} | {
    f"__builtin_{name}"
    for name in (
        "expect",
        "trap",
        "unreachable",
        "frame_address",
        "return_address",
        "offsetof",
        "memcpy",
        "assume_aligned",
    )
}


def used(pattern: str, text: str) -> set[str]:
    return set(re.findall(pattern, text, flags=re.MULTILINE))


def newer(text: str) -> set[str]:
    """Return what GCC 7 may not know: pragmas, attributes and builtins not in the lists."""
    pragmas = used(r'(?:^\s*#\s*pragma\s+|_Pragma\s*\(\s*")((?:GCC|STDC|clang)\s+\w+|\w+)', text)
    attributes = used(r"__attribute__\s*\(\(\s*_*(\w+?)_*\b", text)
    builtins = used(r"\b(?:__builtin_|__has_)\w+", text)
    return (pragmas - PRAGMAS) | (attributes - ATTRIBUTES) | (builtins - BUILTINS)


def test_the_sources_ask_for_nothing_that_gcc_7_lacks():
    assert len(SOURCES) > 10
    assert not {path.name: names for path in SOURCES if (names := newer(path.read_text()))}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("#pragma GCC unroll 16\n", "GCC unroll"),
        ('#define U _Pragma("GCC unroll 8")\n', "GCC unroll"),
        ("static __attribute__((access(read_only, 1))) void f();\n", "access"),
        ("#if __has_builtin(__builtin_bit_cast)\n", "__has_builtin"),
    ],
)
def test_what_is_newer_is_found(text, name):
    assert name in newer(text)


@pytest.mark.parametrize("sketch", SKETCHES)
def test_the_sources_keep_to_the_standards_of_the_arduino_core(sketch):
    """C11 and C++14, with -Wpedantic: else a newer compiler lets newer language pass."""
    flags = ["-Wpedantic", "-Wno-overlength-strings"]
    said = build(BOOK / sketch, compiler=BOARD[-1], flags=flags).warnings
    warnings = re.findall(r"^.*warning:.*$", said, flags=re.MULTILINE)
    assert not [line for line in warnings if "arduino_api" not in line]  # the virtual board's own
