"""Write the stored figures into the documents: tables between marks, and numbers in sentences.

A table stands between ``<!-- figures: NAME -->`` and ``<!-- end -->``. A sentence is known by its
words; the numbers in it are put in.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.recipes import recipes
from tinyreptile_lite.results import FOLDER, measured

Read = Callable[[str], dict[str, Any]]  # a stored figure, by name
Values = Callable[[Read], list[str]]  # the numbers of a sentence

README, ARDUINO, LIBRARY = (
    "README.md",
    "arduino/README.md",
    "arduino/libraries/TinyReptile/README.md",
)
NUMBER = r"\d(?:[\d,.]*\d)?(?:\s±\s\d(?:[\d.]*\d)?)?"
NETWORKS = {
    "mlp_1_32_32_1": "1-32-32-1, ReLU",
    "mlp_64_32_10": "64-32-10, ReLU",
    "wrist": "wrist",
}
COMPILERS = {"gcc": "GCC", "zig": "zig (clang)"}


def write_documents(root: Path, out: Path) -> None:
    """Write each document of the repository at ``root``, with today's figures, below ``out``.

    Where ``out`` has figures of its own, these are taken.

    Raises
    ------
    KitError
        If a document lacks a mark or a sentence.
    """
    own = out / FOLDER.relative_to(FOLDER.parents[1])

    def read(name: str) -> dict[str, Any]:
        return measured(name, own if (own / f"{name}.json").is_file() else FOLDER)

    for name in (README, ARDUINO, LIBRARY):
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written(name, (root / name).read_text(encoding="utf-8"), read), "utf-8")


def written(name: str, text: str, read: Read = measured) -> str:
    """Return a document with the figures put in."""
    for figure, table in TABLES.get(name, {}).items():
        pattern = rf"(<!-- figures: {figure} -->\n).*?(<!-- end -->)"
        text = _once(name, pattern, figure, text, lambda m: m[1] + table(read) + m[2])  # noqa: B023
    for sentence, values in SENTENCES.get(name, {}).items():
        pieces = [r"\s+".join(map(re.escape, re.split(r"\s+", p))) for p in sentence.split("{}")]
        pattern = "".join(f"({piece})" for piece in pieces[:1])
        pattern += "".join(rf"{NUMBER}({piece})" for piece in pieces[1:])
        numbers = ["", *values(read)]

        def fill(found: re.Match[str], numbers: Sequence[str] = numbers) -> str:
            return "".join(n + g for n, g in zip(numbers, found.groups(), strict=True))

        text = _once(name, pattern, sentence, text, fill)
    return text


def _once(
    name: str, pattern: str, what: str, text: str, fill: Callable[[re.Match[str]], str]
) -> str:
    changed, count = re.subn(pattern, fill, text, flags=re.DOTALL)
    if count != 1:
        raise KitError(f"{name} has {what!r} {count} times, not once; correct it by hand")
    return changed


# What stands in a cell


def score(row: dict[str, Any], count: int) -> str:
    """Mean and interval after so many samples."""
    return "{mean:.3f} ± {ci95:.3f}".format(**row["adapted_samples"][str(count)])


def _row(figure: dict[str, Any], strategy: str = "tinyreptile") -> dict[str, Any]:
    return next(row for row in figure["rows"] if row["strategy"] == strategy)


def _ram(row: dict[str, Any]) -> str:
    return f"{row['device_ram_bytes']:,}"


def _value(read: Read, figure: str, name: str, compiler: str = "") -> dict[str, Any]:
    found = [
        row
        for row in read(figure)["rows"]
        if row["name"] == name and compiler in row.get("compiler", "")
    ]
    return found[0]  # type: ignore[no-any-return]


def _device(read: Read, network: str, what: str, layout: str, compiler: str = "gcc") -> str:
    return format(_value(read, "device", f"{network}.{what}", compiler)["value"], layout)


def _timed(name: str, layout: str) -> Values:
    """Median and quartiles of a name of `bench host`."""

    def values(read: Read) -> list[str]:
        row = _value(read, "host", name)
        return [format(value, layout) for value in (row["value"], *row["quartiles"])]

    return values


# Tables


def _lines(head: str, rows: Sequence[Sequence[str]]) -> str:
    columns = head.count("|") + 1
    lines = [head, " | ".join(["---"] * columns), *(" | ".join(row) for row in rows)]
    return "".join(f"| {line} |\n".replace("|  |", "| |") for line in lines)


def _scores(read: Read, head: str, names: Sequence[str], counts: Sequence[int]) -> str:
    rows = {row["strategy"]: row for name in names for row in read(name)["rows"]}
    table = []
    for name in recipes(names[0]):
        if name in rows:
            cells = [name, *(score(rows[name], count) for count in counts)]
            if "worst" in head:
                cells.append(f"{rows[name]['adapted_samples'][str(counts[-1])]['worst']:.3f}")
                cells.append(f"{_ram(rows[name])} bytes")
            table.append(cells)
    return _lines(head, table)


def _sine(read: Read) -> str:
    head = "strategy | before adapting | after 8 samples | after 32 samples"
    return _scores(read, head, ["sine"], (0, 8, 32))


def _wrist(read: Read) -> str:
    head = "strategy | before adapting | 14 windows | 21 windows | worst wrist"
    head += " | training RAM, by formula"
    return _scores(read, head, ["wrist", "wrist-reptile-adam"], (0, 14, 21))


def _commands(read: Read) -> str:
    head = "strategy | before adapting | 14 windows | 21 windows"
    return _scores(read, head, ["wrist-commands"], (0, 14, 21))


def _costs(read: Read) -> str:
    head = "network | compiler | instructions | cycles | RAM | Reptile's RAM"
    head += " | Reptile's instructions"
    columns = {"instructions": ",.0f", "cycles_model": ",.0f", "ram_bytes": ",.0f"}
    columns |= {"reptile_ram_ratio": ".2f", "reptile_instructions_ratio": ".1f"}
    rows = []
    for network, title in NETWORKS.items():
        for compiler, named in COMPILERS.items():
            cells = [_device(read, network, *column, compiler) for column in columns.items()]
            rows.append([title if compiler == "gcc" else "", _named(read, compiler, named), *cells])
    return _lines(head, rows)


def _named(read: Read, compiler: str, title: str) -> str:
    if compiler != "gcc":
        return title
    name = _value(read, "device", "wrist.ram_bytes", compiler)["compiler"]
    return f"{title} {_version(name)}"


def _version(compiler: str) -> str:
    """First two parts of a version."""
    return re.search(r"\d+\.\d+", compiler)[0]  # type: ignore[index]


TABLES: dict[str, dict[str, Callable[[Read], str]]] = {
    README: {"sine": _sine, "wrist": _wrist, "wrist-commands": _commands},
    ARDUINO: {"device": _costs},
}

# Sentences


def _wrist_ram(read: Read) -> list[str]:
    return [_ram(_row(read("wrist-commands"), name)) for name in ("scratch", "tinyreptile")]


def _early(read: Read) -> list[str]:
    names = "tinyreptile", "fedavg"
    return [score(_row(read(f"wrist-150-visits-{name}"), name), 21) for name in names]


def _overhead(read: Read) -> list[str]:
    rows = [_value(read, "wire", name) for name in ("overhead_1153", "overhead_ble")]
    return [f"{100 * row['value']:.1f}" for row in rows]


def _many_visits(read: Read) -> list[str]:
    return [score(_row(read("sine-20000-visits")), count) for count in (8, 32)]


def _step(read: Read) -> list[str]:
    return [_device(read, "mlp_1_32_32_1", what, ",.0f") for what in ("instructions", "ram_bytes")]


def _ratios(read: Read) -> list[str]:
    columns = {"reptile_ram_ratio": ".2f", "reptile_instructions_ratio": ".1f"}
    return [
        _device(read, network, *column)
        for network in ("mlp_1_32_32_1", "wrist")
        for column in columns.items()
    ]


def _stack(read: Read) -> list[str]:
    return [max(_device(read, network, "stack_bytes", ".0f") for network in NETWORKS)]


SENTENCES: dict[str, dict[str, Values]] = {
    README: {
        "TinyReptile gets {} and {}.": _many_visits,
        "the same bytes, {} against {} with 21 windows": _early,
        "random weights does best; it needs {} bytes instead of {}": _wrist_ram,
        "on the virtual board, takes {} instructions and {} bytes of RAM": _step,
        "At the same accuracy Reptile needs {} times the RAM and {} times the instructions; "
        "for the wrists' network {} and {} times.": _ratios,
        "NumPy makes {} ({} to {}) times": _timed("numpy_vs_torch", ".1f"),
        "each visit of 32 samples, makes {} ({} to {}) times": _timed("native_vs_torch", ".0f"),
        "adapts 1,000 sine tasks together in {} ({} to {}) s": _timed("tasks_together", ".2f"),
        "one after the other in {} ({} to {}) s": _timed("tasks_one_by_one", ".1f"),
        "the wire format adds {} % to a visit of 1,153 weights on a serial link and {} % on "
        "Bluetooth": _overhead,
    },
    LIBRARY: {"The stack needs at most {} bytes": _stack},
}
