"""What learning costs on the virtual Nano 33 BLE.

Instructions are counted on the emulated Cortex-M4. Cycles are modelled, with a range in which a
board should lie (`nano.cycles`), not measured on one. RAM is weights, workspace, the model's few
fields and the high-water mark of the stack; flash is what learning adds to an empty sketch, without
the weights' start values. All is built with Arduino's flags.

TinyReptile and Reptile are compared in RAM and in instructions on one visit of a device: the same
network, the same samples, and settings with which Reptile is as accurate, within the spread (see
`equal`). The sine's settings serve both dense networks. To know: the samples that Reptile keeps are
not shuffled, which spares it some work; and the core's minibatch gradient is written more plainly
than its online step, which costs Reptile about a quarter of its instructions.

The convolutional networks are measured as TinyReptile trains them, with an online step. Its
instructions are divided by its multiply-adds: the products of the forward pass and of both backward
passes, as `costs.step_macs` counts them. That is how AIfES was counted, and it counts products with
the padding, and those of positions that a pool drops, though the core makes neither.

A sine's sample has 8 bytes. So there Reptile's RAM is all but the second array of the size of the
weights, and its ratio stays just below 2 whatever the code: with no stack at all it would be 1.99.
"""

import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinyreptile_lite.bench import equal, host
from tinyreptile_lite.bench.timing import Rows, counted
from tinyreptile_lite.core.build import CORE
from tinyreptile_lite.core.export import export
from tinyreptile_lite.core.table import literal
from tinyreptile_lite.costs import FLOAT_BYTES, device_ram, sample_bytes, step_macs
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.image_layers import Conv2D, Flatten
from tinyreptile_lite.layers import Dense, ReLU
from tinyreptile_lite.learners import Learner, MinibatchSGD, OnlineSGD
from tinyreptile_lite.nano import VirtualNano, build
from tinyreptile_lite.nano.compilers import find_compiler
from tinyreptile_lite.nano.cycles import Executed, model
from tinyreptile_lite.nano.image import RAM_BYTES, STACK_BYTES
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.tasks.keywords import Keywords
from tinyreptile_lite.tasks.omniglot import Omniglot
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.tasks.wrist import Wrist

LIBRARIES = CORE.parents[1]
SKETCHES = Path(__file__).parent / "sketches"
PLAIN = ("-DTR_PLAIN",)  # without the fast forms for this processor
RATE = 0.01  # of each step
OTHER_BYTES = 4096  # of RAM, for all that is no part of learning
LIMIT_MS = 3_600_000  # of virtual time


class Case(NamedTuple):
    """A network, the samples of one visit, and what Reptile does with them."""

    net: Network
    samples: int
    reptile: MinibatchSGD = MinibatchSGD(0.1)

    def learner(self, reptile: bool) -> Learner:
        """Return what the device does with its samples."""
        return self.reptile if reptile else OnlineSGD(self.reptile.rate)

    @property
    def classifies(self) -> bool:
        """Whether a sample's answer is a label."""
        return self.net.loss_function.name == "cross_entropy"


@dataclass(frozen=True)
class Cost:
    """One visit on the board: executed code, and bytes by purpose."""

    executed: Executed
    flash: int
    weights: int
    workspace: int
    gradient: int
    samples: int
    stack: int

    @property
    def ram(self) -> int:
        """Bytes of RAM without the samples."""
        return self.weights + self.workspace + self.gradient + self.stack

    @property
    def all_ram(self) -> int:
        """Bytes of RAM with the samples that the learner keeps; online that is one."""
        return self.ram + self.samples


def cases() -> dict[str, Case]:
    """The networks of the figures; ``sine`` is the kit's own, with tanh and a scaled input."""
    layers = [Dense(1, 32), ReLU(), Dense(32, 32), ReLU(), Dense(32, 1)]
    classes = [Dense(64, 32), ReLU(), Dense(32, 10)]
    sine, wrist = (
        (equal.strategy(family).sample_count, equal.SETTINGS[family]) for family in equal.SETTINGS
    )
    return {
        "mlp_1_32_32_1": Case(Network(layers, "mse", (1,)), *sine),
        "mlp_64_32_10": Case(Network(classes, "cross_entropy", (64,)), *sine),
        "wrist": Case(Wrist().network(), *wrist),
        "sine": Case(Sine().network(), *sine),
    }


def convolutional() -> dict[str, Case]:
    """The networks with convolutions of the families that need them, and AIfES's example.

    AIfES 2.2.0 takes 49 to 55 instructions per multiply-add for that, and 211,840 bytes.
    """
    convolutions = [Conv2D(1, 8, 3, padding=1, pool=2), ReLU(), Conv2D(8, 8, 3, padding=1), ReLU()]
    example = Network([*convolutions, Flatten(), Dense(1568, 5)], "cross_entropy", (28, 28, 1))
    nets = {
        "cnn_28x28": example,
        "omniglot": Omniglot().network(),
        "keywords": Keywords().network(),
    }
    return {name: Case(net, samples=2) for name, net in nets.items()}


def rows() -> Rows:
    """Measure all names: those of the board, then the native learner's speed if PyTorch is there.

    Each row has the board's "compiler" or this machine's.
    """
    found = board_rows()
    try:
        found += host.native_rows()
    except KitError as error:
        warnings.warn(f"no native_vs_torch: {error}", stacklevel=2)
    return found + _score_rows()


def board_rows(compiler: str | None = None) -> Rows:
    """Measure what is counted on the virtual board; ``compiler`` is as in `nano.build`."""
    named = str(find_compiler(compiler))
    found = [row for name, case in cases().items() for row in _device_rows(name, case, compiler)]
    for name, case in convolutional().items():
        found += step_rows(name, case, measure(case, False, compiler), compiler)
    return [entry | {"compiler": named} for entry in found]


def step_rows(name: str, case: Case, online: Cost, compiler: str | None) -> Rows:
    """What one online step costs, of the visit that was measured."""
    plain = measure(case, False, compiler, PLAIN)
    per_step = 1 / case.samples
    instructions, cycles, low, high = (number * per_step for number in online.executed)
    values = {
        "instructions": (instructions, "per online step"),
        "instructions_per_mac": (instructions / step_macs(case.net), "per multiply-add"),
        "cycles_model": (cycles, "per online step, modelled"),
        "cycles_low": (low, "per online step, modelled"),
        "cycles_high": (high, "per online step, modelled"),
        "plain_cycles_ratio": (plain.executed.cycles / online.executed.cycles, "ratio"),
        "ram_bytes": (online.ram, "bytes"),
        "all_ram_bytes": (online.all_ram, "bytes, with the sample"),
        "flash_bytes": (online.flash, "bytes"),
        "stack_bytes": (online.stack, "bytes"),
    }
    found = counted(name, values)
    for entry in found:
        if entry["name"].endswith("cycles_model"):
            entry["range"] = [low, high]
    return found


def _device_rows(name: str, case: Case, compiler: str | None) -> Rows:
    online, reptile = (measure(case, kind, compiler) for kind in (False, True))
    instructions_ratio = reptile.executed.instructions / online.executed.instructions
    values = {
        "reptile_ram_ratio": (reptile.all_ram / online.all_ram, "ratio"),
        "reptile_instructions_ratio": (instructions_ratio, "ratio, a visit"),
        "reptile_gradient_bytes": (reptile.gradient, "bytes more"),
        "reptile_samples_bytes": (reptile.samples - online.samples, "bytes more"),
        "reptile_epochs": (case.reptile.epochs, "passes over the samples"),
    }
    return step_rows(name, case, online, compiler) + counted(name, values)


def measure(
    case: Case, reptile: bool, compiler: str | None = None, flags: Sequence[str] = ()
) -> Cost:
    """Build and run one visit on the virtual board."""
    one, two = (run(case, reptile, visits, compiler, flags) for visits in (1, 2))
    first, both = (model(board.blocks(), board.read_memory) for board in (one, two))
    size = one.firmware.elf.find
    empty = build(SKETCHES / "Empty", compiler=compiler, libraries=LIBRARIES)
    learner = case.learner(reptile)
    samples = sample_bytes(case.net)
    return Cost(
        executed=Executed(*(after - before for after, before in zip(both, first, strict=True))),
        flash=one.memory.flash
        - empty.memory.flash
        - FLOAT_BYTES * case.net.size
        - samples * case.samples * in_flash(case, reptile),
        weights=size("weights").size,
        workspace=size("workspace").size + size("model").size,
        gradient=size("gradient").size if reptile else 0,
        samples=samples * learner.kept_samples(case.samples),
        stack=one.stack_used,
    )


def in_flash(case: Case, reptile: bool) -> bool:
    """Whether the samples are measured in flash, as the RAM cannot hold them and the sensor's."""
    kept = device_ram(case.net, case.learner(reptile), case.samples).total
    return kept + case.samples * sample_bytes(case.net) > RAM_BYTES - STACK_BYTES - OTHER_BYTES


def _samples(case: Case) -> str:
    """Random samples in C."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, case.samples * int(np.prod(case.net.input_shape)))
    count = case.samples * (1 if case.classifies else case.net.outputs)
    y = rng.integers(case.net.outputs, size=count) if case.classifies else rng.uniform(-1, 1, count)
    arrays = {
        "float sensor_x": map(literal, x),
        "answer sensor_answers": map(str if case.classifies else literal, y),
    }
    return "".join(f"static const {n}[] = {{{', '.join(v)}}};\n" for n, v in arrays.items())


def run(
    case: Case,
    reptile: bool,
    visits: int = 1,
    compiler: str | None = None,
    flags: Sequence[str] = (),
) -> VirtualNano:
    """Build the sketch of a visit and run it; the board has stopped when it has learnt."""
    flash = in_flash(case, reptile)
    settings = {
        "VISITS": visits,
        "SAMPLES": case.samples,
        "LABELS": int(case.classifies),
        "REPTILE": int(reptile),
        "EPOCHS": case.reptile.epochs,
        "BATCH": case.reptile.batch,
        "RATE": literal(RATE),
        "IN_FLASH": int(flash),
    }
    defines = [f"#define {name} {value}\n" for name, value in settings.items()]
    with tempfile.TemporaryDirectory() as scratch:
        sketch = shutil.copytree(SKETCHES / "Visit", Path(scratch) / "Visit")
        (sketch / "settings.h").write_text("".join(defines))
        (sketch / "samples.h").write_text(_samples(case) if flash else "")
        export(case.net, case.net.init(np.random.default_rng(0)), sketch)
        firmware = build(sketch, compiler=compiler, flags=flags, libraries=LIBRARIES)
    board = VirtualNano(firmware)
    board.profile()
    board.run_until(lambda nano: nano.stopped, limit_ms=LIMIT_MS)
    if not board.read_variable("learnt", np.uint8)[0]:
        raise KitError("the benchmark's sketch did not learn; the core refused a step")
    return board


def _score_rows() -> Rows:
    """Stored scores of TinyReptile and Reptile, after all samples of a new device."""
    return [
        {
            "name": f"{family}.{strategy}_score",
            "value": score["mean"],
            "unit": f"{find_family(family).metric}, stored",
            "spread": score["ci95"],
            "compiler": "this computer's",
        }
        for family in equal.SETTINGS
        for strategy, score in equal.scores(family).items()
    ]
