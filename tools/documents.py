"""Write into the documents what is stored elsewhere: figures, and the page with the algorithm.

`tinyreptile figures` does so after it has made figures; alone, this takes those that are stored:

    python tools/documents.py

A table or a piece of code stands between ``<!-- figures: NAME -->`` and ``<!-- end -->``. A
sentence is known by its words; the numbers in it are put in.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tinyreptile_lite import tinyreptile
from tinyreptile_lite.energy import CYCLES_PER_MAC, INSTRUCTIONS_PER_MAC, RX_MA, TX_MA, EnergyModel
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.expense import cost_row
from tinyreptile_lite.recipes import find_recipe, recipes
from tinyreptile_lite.results import FOLDER, measured

Read = Callable[[str], dict[str, Any]]  # gives a stored figure by name
Cells = list[str]

ROOT = Path(__file__).parents[1]
README, BOARDS, WEAR = "README.md", "arduino/README.md", "docs/wear.md"
LIBRARY = "arduino/libraries/TinyReptile/README.md"
WIRE, ENERGY = "docs/wire-format.md", "docs/energy.md"
NUMBER = r"\d(?:[\d,.]*\d)?(?:\s±\s\d(?:[\d.]*\d)?)?"


def write_documents(root: Path, out: Path) -> None:
    """Write each document of the repository at ``root``, with today's figures, below ``out``.

    Where ``out`` has figures of its own, these are taken.

    Raises
    ------
    KitError
        If a document lacks a mark or a sentence.
    """
    own = out / "tinyreptile_lite" / "results"

    def read(name: str) -> dict[str, Any]:
        return measured(name, own if (own / f"{name}.json").is_file() else FOLDER)

    for name in DOCUMENTS:
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written(name, (root / name).read_text("utf-8"), read), "utf-8")


def written(name: str, text: str, read: Read = measured) -> str:
    """Return a document with the figures put in."""
    blocks, sentences = DOCUMENTS[name]
    for mark, block in blocks.items():
        pattern = rf"(<!-- figures: {mark} -->\n).*?(<!-- end -->)"
        text = _filled(name, f"a mark {mark}", pattern, text, [block(read)])
    for sentence, numbers in sentences.items():
        parts = [r"\s+".join(map(re.escape, re.split(r"\s+", p))) for p in sentence.split("{}")]
        pattern = NUMBER.join(f"({part})" for part in parts)
        text = _filled(name, sentence, pattern, text, numbers(read))
    return text


def _filled(name: str, what: str, pattern: str, text: str, cells: Cells) -> str:
    """Put the cells between the groups of the one match."""
    found = list(re.finditer(pattern, text, flags=re.DOTALL))
    if len(found) != 1:
        raise KitError(f"{name} has {what!r} {len(found)} times, not once; correct it by hand")
    words = found[0].groups()
    new = "".join(word + cell for word, cell in zip(words, [*cells, ""], strict=True))
    return text[: found[0].start()] + new + text[found[0].end() :]


def _table(rows: Iterable[Cells]) -> str:
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)


def _page(_: Read) -> str:
    """The algorithm itself, as it stands in the library."""
    names = "forward", "online_step", "visit", "tinyreptile"
    code = "\n\n".join(inspect.getsource(getattr(tinyreptile, name)) for name in names)
    return f"```python\n{code}```\n"


# Scores


def _score(row: dict[str, Any], count: int) -> str:
    """Mean and interval after so many samples."""
    return _interval(row["adapted_samples"][str(count)])


def _interval(score: dict[str, float]) -> str:
    return "{mean:.3f} ± {ci95:.3f}".format(**score)


def _ram(row: dict[str, Any]) -> str:
    return f"{row['device_ram_bytes']:,}"


def _rows(read: Read, *names: str) -> dict[str, dict[str, Any]]:
    """Rows by strategy; of several ways to adapt, the usual one, which comes first."""
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        for row in read(name)["rows"]:
            found.setdefault(row["strategy"], row)
    return found


def _scores(
    names: Sequence[str], columns: dict[str, int], costs: bool = False
) -> Callable[[Read], str]:
    def block(read: Read) -> str:
        last, rows = max(columns.values()), _rows(read, *names)
        table = [["strategy", *columns, *(["worst wrist", "training RAM, by formula"] * costs)]]
        for name in recipes(names[0]):
            if row := rows.get(name):
                more = [f"{row['adapted_samples'][str(last)]['worst']:.3f}", f"{_ram(row)} bytes"]
                table.append([name, *(_score(row, n) for n in columns.values()), *(more * costs)])
        return _table(table)

    return block


def _matrix(figure: str, count: int, kinds: Sequence[str]) -> Callable[[Read], str]:
    """Strategies down, ways to adapt across; scores after so many samples."""

    def block(read: Read) -> str:
        rows = read(figure)["rows"]
        cells = {(row["strategy"], row["adaptation"]): _score(row, count) for row in rows}
        names = dict.fromkeys(row["strategy"] for row in rows)
        body = [[name, *(cells.get((name, kind), "-") for kind in kinds)] for name in names]
        return _table([["trained by", *kinds], *(row for row in body if set(row[1:]) != {"-"})])

    return block


def _ways(
    figures: Sequence[str], chosen: Sequence[tuple[str, str]], columns: dict[str, int]
) -> Callable[[Read], str]:
    """Chosen strategies and ways to adapt down, numbers of samples across."""

    def block(read: Read) -> str:
        rows = {
            (row["strategy"], row["adaptation"]): row
            for figure in figures
            for row in read(figure)["rows"]
        }
        body = [[*key, *(_score(rows[key], count) for count in columns.values())] for key in chosen]
        return _table([["trained by", "adapts by", *columns], *body])

    return block


def _claim(read: Read) -> str:
    """What Reptile costs the devices, as a multiple of TinyReptile's costs, at equal accuracy."""
    rows = read("claim")["rows"]
    values = {row["name"]: row for row in rows if "name" in row}
    ratios = {
        "RAM": "ram_ratio",
        "RAM, packed samples": "ram_ratio_with_packed_samples",
        "a visit": "visit_instructions_ratio",
        "the whole training": "instructions_ratio",
        "bytes sent": "bytes_ratio",
    }
    table = [["family", *ratios, "difference of the scores"]]
    for row in rows:
        if row.get("strategy") == "tinyreptile":
            family = row["family"]
            cells = [f"{values[f'{family}.{name}']['value']:.2f}" for name in ratios.values()]
            (apart,) = (
                values[name] for name in values if name.startswith(f"{family}.") and "diff" in name
            )
            table.append([family, *cells, f"{apart['value']:+.3f} ± {apart['ci95']:.3f}"])
    return _table(table)


def _less_to_send(read: Read) -> str:
    """What TinyReptile saves when it sends less, and what it loses by that."""
    table = [
        [
            "family",
            "all weights",
            "sends less",
            "its score",
            "bytes up, times fewer",
            "tinymetafed's score",
            "bytes up, times fewer",
            "energy of the better rival, in multiples",
        ]
    ]
    for family in COSTS:
        rows = read(f"costs-{family}")["rows"]
        ways = {row["way"]: row for row in rows if "way" in row}
        whole, both = ways["tinyreptile"], ways["tinymetafed"]
        (own,) = (row for row in ways.values() if row["chosen"])
        (energy,) = (row for row in rows if row.get("name") == f"{family}.energy_ratio")
        fewer = [f"{whole['bytes_up'] / way['bytes_up']:.1f}" for way in (own, both)]
        table.append(
            [
                family,
                _interval(whole["score"]),
                own["way"],
                _interval(own["score"]),
                fewer[0],
                _interval(both["score"]),
                fewer[1],
                f"{energy['value']:.1f} ({energy['of']})",
            ]
        )
    return _table(table)


COSTS = "sine", "wrist", "wrist-commands", "omniglot"
_SCRATCH = "scratch", "60 passes in minibatches"


def _kinds(few: int, many: int) -> list[str]:
    """Ways to adapt, as a figure names them."""
    means = "class means", f"class means, then {few} passes"
    return ["one pass", f"{few} passes", f"{many} passes", f"head only, {few} passes", *means]


def _mountings(family: str, shown: Sequence[tuple[str, str]]) -> Callable[[Read], str]:
    """How a sensor was mounted in training, and how in the test."""

    def block(read: Read) -> str:
        rows = {(row["trained"], row["worn"]): row for row in read(f"mountings-{family}")["rows"]}
        counts = rows[shown[0]]["adapted_samples"]
        table = [["trained", "worn", "before adapting", *(f"{n} windows" for n in [*counts][1:])]]
        table += [[*key, *(_score(rows[key], count) for count in counts)] for key in shown]
        return _table(table)

    return block


def _many_visits(read: Read) -> Cells:
    return [_score(_rows(read, "sine-20000-visits")["tinyreptile"], count) for count in (8, 32)]


def _few_visits(read: Read) -> Cells:
    rows = _rows(read, "wrist-150-visits-tinyreptile", "wrist-150-visits-fedavg")
    return [_score(row, 21) for row in rows.values()]


# Benchmarks

NETWORKS = {"mlp_1_32_32_1": "1-32-32-1, ReLU", "mlp_64_32_10": "64-32-10, ReLU", "wrist": "wrist"}
CONVOLUTIONAL = {
    "cnn_28x28": "28x28, two convolutions",
    "omniglot": "characters (Omniglot)",
    "keywords": "keywords",
}
STEP = {"instructions": ",.0f", "cycles_model": ",.0f", "ram_bytes": ",.0f"}
RANGE = {"cycles_low": ".3g", "cycles_high": ".3g"}
RATIOS = {"reptile_ram_ratio": ".2f", "reptile_instructions_ratio": ".1f"}


def _bench(read: Read, figure: str, name: str, compiler: str = "") -> dict[str, Any]:
    rows = (row for row in read(figure)["rows"] if compiler in row.get("compiler", ""))
    return next(row for row in rows if row["name"] == name)


def _device(read: Read, network: str, layouts: dict[str, str], compiler: str = "gcc") -> Cells:
    rows = {what: _bench(read, "device", f"{network}.{what}", compiler) for what in layouts}
    return [format(row["value"], layouts[what]) for what, row in rows.items()]


def _cost(read: Read, network: str, compiler: str, more: dict[str, str] = RATIOS) -> Cells:
    instructions, cycles, *rest = _device(read, network, STEP | more, compiler)
    low, high = (f"{float(end):,.0f}" for end in _device(read, network, RANGE, compiler))
    return [instructions, f"{cycles} ({low} to {high})", *rest]


def _costs(read: Read) -> str:
    head = "network, compiler, instructions, cycles, RAM, Reptile's RAM, Reptile's instructions"
    table = [head.split(", ")]
    for network, title in NETWORKS.items():
        table.append([title, _gcc(read), *_cost(read, network, "gcc")])
        table.append(["", "zig (clang)", *_cost(read, network, "zig")])
    return _table(table)


def _convolutional_costs(read: Read) -> str:
    head = "network, compiler, instructions, per multiply-add, cycles, RAM, with the sample"
    table = [head.split(", ")]
    layouts = {"instructions_per_mac": ".1f", "ram_bytes": ",.0f", "all_ram_bytes": ",.0f"}
    for network, title in CONVOLUTIONAL.items():
        for compiler, name in (("gcc", _gcc(read)), ("zig", "zig (clang)")):
            instructions, cycles, *_ = _cost(read, network, compiler, {})
            per_mac, *ram = _device(read, network, layouts, compiler)
            first = title if compiler == "gcc" else ""
            table.append([first, name, instructions, per_mac, cycles, *ram])
    return _table(table)


def _gcc(read: Read) -> str:
    version = _bench(read, "device", "wrist.ram_bytes", "gcc")["compiler"].split()[-1]
    return "GCC " + ".".join(version.split(".")[:2])


def _step(read: Read) -> Cells:
    return _device(read, "mlp_1_32_32_1", {"instructions": ",.0f", "ram_bytes": ",.0f"})


def _ratios(read: Read) -> Cells:
    return [*_device(read, "mlp_1_32_32_1", RATIOS), *_device(read, "wrist", RATIOS)]


def _stack(read: Read) -> Cells:
    networks = [*NETWORKS, *CONVOLUTIONAL]
    cells = (_device(read, network, {"stack_bytes": ".0f"}) for network in networks)
    return max(cells, key=lambda one: int(one[0]))


WORN = {
    "as trained": "as_trained",
    "as drawn, library of the first revision": "rev1",
    "as drawn, library of Rev2": "rev2",
    "as drawn, but on the arm that the sketch does not know of": "wrong_arm",
    "in the other 23 ways, their median": "wrong_median",
    "in the other 23 ways, the best of them": "wrong_best",
    "in any of 96 ways after FindAxes, the worst of them": "wizard_worst",
    "as drawn, gyroscope off by up to 30 degrees/s, and never still": "offset_mean",
    "the same, the worst of ten draws": "offset_worst",
    "the same, after a still second, the worst of ten draws": "still_worst",
}


def _axes(read: Read) -> str:
    table = [["how it is worn", "no window", "7 windows", "21 windows"]]
    for title, group in WORN.items():
        rows = [_bench(read, "axes", f"{group}.{count}") for count in (0, 7, 21)]
        table.append([title, *(f"{row['value']:.3f}" for row in rows)])
    return _table(table)


def _noticed(read: Read) -> Cells:
    names = "mountings_found", "wrong_arm_found", "false_alarms"
    return [f"{100 * _bench(read, 'axes', f'noticed.{name}')['value']:.1f}" for name in names]


def _timed(name: str, layout: str) -> Callable[[Read], Cells]:
    """Median and quartiles."""

    def cells(read: Read) -> Cells:
        row = _bench(read, "host", name)
        return [format(value, layout) for value in (row["value"], *row["quartiles"])]

    return cells


def _overhead(read: Read) -> Cells:
    rows = [_bench(read, "wire", f"overhead_{what}") for what in ("1153", "ble")]
    return [f"{100 * row['value']:.1f}" for row in rows]


def _drops(read: Read) -> Cells:
    layouts = {"visits": ",.0f", "drops": ",.0f", "longest_hang": ".0f"}
    return [
        format(_bench(read, "faults", f"ble.{name}")["value"], layouts[name]) for name in layouts
    ]


_SENT = {
    "float32": "all weights, float32 (version 1)",
    "float16": "all changes, 16 bits",
    "int8": "all changes, 8 bits",
    "int8_25_percent": "the largest 25 %, 8 bits",
    "int8_10_percent": "the largest 10 %, 8 bits",
}


def _packed(read: Read) -> str:
    links = ("usb", "ble")
    rows = [
        [words, *(f"{_bench(read, 'wire', f'up_{what}_{link}')['value']:.3f}" for link in links)]
        for what, words in _SENT.items()
    ]
    down = [f"{_bench(read, 'wire', f'down_{link}')['value']:.3f}" for link in links]
    return _table([["a visit", "USB", "Bluetooth"], *rows, ["to the board: phi in float16", *down]])


def _packed_rounds(read: Read) -> Cells:
    return [format(_bench(read, "faults", "links_packed.rounds")["value"], ",.0f")]


def _bluetooth(read: Read) -> str:
    def speed(name: str) -> Cells:
        rows = [_bench(read, "wire", f"ble_{name}{end}") for end in ("", "_ratio")]
        return [
            format(row["value"], layout) for row, layout in zip(rows, (".1f", ".2f"), strict=True)
        ]

    head = ["connection interval", "one packet in an event: kB/s", "share", "four: kB/s", "share"]
    intervals = ("7.5", "15", "30", "50")
    body = [[f"{t} ms", *speed(f"{t}_ms"), *speed(f"4_packets_{t}_ms")] for t in intervals]
    asked = ["15 ms, against bursts at 50 ms", "-", "-", *speed("asked")]
    return _table([head, *body, asked])


# Energy


def _energy(_: Read) -> str:
    """A visit of each family whose network was measured, as `tinyreptile energy` has it."""
    model, families = EnergyModel(), ("sine", "wrist", "omniglot", "keywords")
    head = ["family", "bytes up", "bytes down", "instructions", "learning", "radio", "a visit"]
    rows = [cost_row(name, find_recipe(name, "tinyreptile"), model) for name in families]
    body = [
        [
            name,
            *(f"{row[key]:,}" for key in ("bytes_up", "bytes_down", "instructions")),
            *(f"{1000 * row[f'{key}_joules']:.3f} mJ" for key in ("compute", "radio", "visit")),
        ]
        for name, row in zip(families, rows, strict=True)
    ]
    return _table([head, *body])


def _energy_model(_: Read) -> str:
    """The constants of the model, and the currents that they come from."""
    model = EnergyModel()
    cpu = model.cycle_pj * 64e-3 / model.volts  # pJ times MHz is uW
    sent = [
        [
            "sending" if not dbm else "",
            "bytes that the board sends" if not dbm else "",
            f"{EnergyModel(tx_dbm=dbm).sent_uj:.4f} uJ a byte",
            f"{current} mA at {dbm} dBm and 1 Mbit/s",
        ]
        for dbm, current in TX_MA.items()
    ]
    received = [
        [
            "receiving" if speed == 1 else "",
            "bytes that it receives" if speed == 1 else "",
            f"{EnergyModel(mbit=speed).received_uj:.4f} uJ a byte",
            f"{current} mA at {speed} Mbit/s",
        ]
        for speed, current in RX_MA.items()
    ]
    return _table(
        [
            ["part", "what it is charged for", "constant", "from"],
            ["learning", "cycles", f"{model.cycle_pj:g} pJ a cycle", f"{cpu:.1f} mA at 64 MHz"],
            *sent,
            *received,
            ["idle", "seconds, a line of its own", f"{model.idle_ma:g} mA", "users' reports"],
        ]
    )


# What stands where: the blocks between marks and the sentences of each document

_SINE = {"before adapting": 0, "after 8 samples": 8, "after 32 samples": 32}
_AS_RECORDED, _ANY, _EITHER = (
    "as in the recordings",
    "in any rotation",
    "by one of 48 maps, rotation of either sign",
)
_WORN = (
    ("as worn", _AS_RECORDED),
    ("as worn", _ANY),
    ("any rotation", _AS_RECORDED),
    ("any rotation", _ANY),
    ("own frame", _ANY),
    ("own frame", _EITHER),
)
_WRIST = {"before adapting": 0, "14 windows": 14, "21 windows": 21}
DOCUMENTS: dict[
    str, tuple[dict[str, Callable[[Read], str]], dict[str, Callable[[Read], Cells]]]
] = {
    README: (
        {
            "page": _page,
            "sine": _scores(["sine"], _SINE),
            "wrist": _scores(["wrist", "wrist-reptile-adam"], _WRIST, costs=True),
            "wrist-commands": _matrix("wrist-commands", 21, _kinds(4, 20)),
            "wrist-commands-windows": _ways(
                ["wrist-commands"],
                [*(("tinyreptile", kind) for kind in _kinds(4, 20)[:3]), _SCRATCH],
                {f"{count} windows": count for count in (7, 14, 21)},
            ),
            "omniglot": _matrix("omniglot", 25, _kinds(4, 8)),
            "omniglot-long": _ways(
                ["omniglot-long"],
                [
                    *(("tinyreptile", kind) for kind in _kinds(4, 8)),
                    *(("prototype", kind) for kind in _kinds(4, 8)[:-1]),
                ],
                {"1 shot": 5, "5 shots": 25},
            ),
            "keywords": _matrix("keywords", 12, _kinds(4, 20)),
            "keywords-clips": _ways(
                ["keywords"],
                [("tinyreptile", kind) for kind in _kinds(4, 20)],
                {"1 clip": 4, "3 clips": 12},
            ),
            "keywords-new-words": _ways(
                ["keywords-new-words"],
                [("tinyreptile", kind) for kind in _kinds(4, 20)],
                {"1 clip": 4, "3 clips": 12},
            ),
            "claim": _claim,
            "costs": _less_to_send,
        },
        {
            "TinyReptile gets {} and {}.": _many_visits,
            "the same bytes, {} against {} with 21 windows": _few_visits,
            "on the virtual board, takes {} instructions and {} bytes of RAM": _step,
            "At the same accuracy Reptile needs {} times the RAM and {} times the instructions; "
            "for the wrists' network {} and {} times.": _ratios,
            "NumPy makes {} ({} to {}) times": _timed("numpy_vs_torch", ".1f"),
            "each visit of 32 samples, makes {} ({} to {}) times": _timed("native_vs_torch", ".0f"),
            "adapts 1,000 sine tasks together in {} ({} to {}) s": _timed("tasks_together", ".2f"),
            "one after the other in {} ({} to {}) s": _timed("tasks_one_by_one", ".1f"),
            "the wire format adds {} % to a visit of 1,153 weights on a serial link and {} % on "
            "Bluetooth": _overhead,
            "In a model of Bluetooth, {} visits outlive {} drops of the link in the middle of a "
            "packet; no hang of a board is longer than {} s": _drops,
        },
    ),
    WIRE: (
        {"ble": _bluetooth, "packed": _packed},
        {"in every bit, after {} rounds over links that lose": _packed_rounds},
    ),
    ENERGY: (
        {"energy": _energy, "energy-model": _energy_model},
        {
            "it takes {} instructions and {} cycles for a multiply-accumulate": lambda _: [
                str(INSTRUCTIONS_PER_MAC),
                str(CYCLES_PER_MAC),
            ]
        },
    ),
    BOARDS: ({"device": _costs, "convolutional": _convolutional_costs}, {}),
    WEAR: (
        {
            "axes": _axes,
            "mountings-wrist": _mountings("wrist", _WORN),
            "mountings-wrist-commands": _mountings("wrist-commands", _WORN),
        },
        {
            "It finds {} % of the other 23 ways to wear the board and {} % of the wrong arms, and "
            "speaks without a cause in {} % of the trials": _noticed
        },
    ),
    LIBRARY: (
        {},
        {
            "The stack needs at most {} bytes": _stack,
            "then takes {} times as many modelled cycles": lambda read: _device(
                read, "mlp_1_32_32_1", {"plain_cycles_ratio": ".1f"}
            ),
        },
    ),
}

if __name__ == "__main__":
    write_documents(ROOT, ROOT)
