"""Write src/tr_sound_tables.h from the tables of the kit's own tinyreptile_lite/sound.py.

Run with Python and NumPy in a clone of the kit: ``python make_sound_tables.py``.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[4]))
from tinyreptile_lite import sound

TARGET = Path(__file__).parents[1] / "src" / "tr_sound_tables.h"
HEAD = f"""\
/* Tables of tr_sound.c, written by extras/make_sound_tables.py. */
#ifndef TR_SOUND_TABLES_H
#define TR_SOUND_TABLES_H

#include <stdint.h>

#define TR_SOUND_LOW {sound.LOW} /* first bin of rise */
"""


def table(comment: str, declared: str, values: Iterable[str], row: int) -> str:
    """Lay out a constant array."""
    items = list(values)
    lines = (", ".join(items[i : i + row]) for i in range(0, len(items), row))
    return f"\n/* {comment} */\nstatic const {declared} = {{\n    " + ",\n    ".join(lines) + "};\n"


def floats(values: Iterable[float]) -> Iterable[str]:
    """Decimal numbers from which C reads the same bits."""
    for value in values:
        text = f"{value:.9g}"
        yield text + ("f" if set(text) & set(".e") else ".0f")


def header() -> str:
    """Return the whole file."""
    rise = "Share of each bin, from TR_SOUND_LOW on, that belongs to the band above it."
    first = "First bin of each section between the peaks of two bands, and the end of the last."
    return (
        HEAD
        + table("Cosine of k turns / 512.", "float tr_sound_cosine[512]", floats(sound.COSINE), 6)
        + table(rise, f"float tr_sound_rise[{len(sound.RISE)}]", floats(sound.RISE), 6)
        + table(first, "uint8_t tr_sound_sections[18]", map(str, sound.SECTIONS), 18)
        + "\n#endif\n"
    )


if __name__ == "__main__":
    TARGET.write_text(header())
