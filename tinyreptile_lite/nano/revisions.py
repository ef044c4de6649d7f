"""The two revisions of the Nano 33 BLE Sense: their motion sensors, and what a sketch is told."""

from tinyreptile_lite.errors import unknown_name

CHIPS = {1: "LSM9DS1", 2: "BMI270"}  # a board marked Rev2 has the second
_FLAGS: dict[int, tuple[str, ...]] = {1: (), 2: ("-DREV2=1",)}


def chip_of(revision: int) -> str:
    """Return the motion sensor's name; `KitError` for any revision but 1 and 2."""
    if revision not in CHIPS:
        raise unknown_name("revision", revision, map(str, CHIPS))
    return CHIPS[revision]


def compiler_flags(revision: int) -> tuple[str, ...]:
    """Return the compiler's flags for a sketch; `KitError` for any revision but 1 and 2."""
    chip_of(revision)
    return _FLAGS[revision]
