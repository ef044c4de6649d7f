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
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.layers import Dense, ReLU
from tinyreptile_lite.learners import MinibatchSGD
from tinyreptile_lite.nano import VirtualNano, build
from tinyreptile_lite.nano.compilers import find_compiler
from tinyreptile_lite.nano.cycles import Executed, model
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.tasks.wrist import Wrist

LIBRARIES = CORE.parents[1]
SKETCHES = Path(__file__).parent / "sketches"
FLOAT_BYTES = 4
PLAIN = ("-DTR_PLAIN",)  # without the fast forms for this processor


class Case(NamedTuple):
    """A network, the samples of one visit, and what Reptile does with them."""

    net: Network
    samples: int
    reptile: MinibatchSGD

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
    return [
        entry | {"compiler": named}
        for name, case in cases().items()
        for entry in _device_rows(name, case, compiler)
    ]


def _device_rows(name: str, case: Case, compiler: str | None) -> Rows:
    online, reptile = (measure(case, kind, compiler) for kind in (False, True))
    plain = measure(case, False, compiler, PLAIN)
    per_step = 1 / case.samples
    ram_ratio = (reptile.ram + reptile.samples) / (online.ram + online.samples)
    instructions_ratio = reptile.executed.instructions / online.executed.instructions
    values = {
        "instructions": (online.executed.instructions * per_step, "per online step"),
        "cycles_model": (online.executed.cycles * per_step, "per online step, modelled"),
        "cycles_low": (online.executed.low * per_step, "per online step, modelled"),
        "cycles_high": (online.executed.high * per_step, "per online step, modelled"),
        "plain_cycles_ratio": (plain.executed.cycles / online.executed.cycles, "ratio"),
        "ram_bytes": (online.ram, "bytes"),
        "flash_bytes": (online.flash, "bytes"),
        "stack_bytes": (online.stack, "bytes"),
        "reptile_ram_ratio": (ram_ratio, "ratio"),
        "reptile_instructions_ratio": (instructions_ratio, "ratio, a visit"),
        "reptile_gradient_bytes": (reptile.gradient, "bytes more"),
        "reptile_samples_bytes": (reptile.samples - online.samples, "bytes more"),
        "reptile_epochs": (case.reptile.epochs, "passes over the samples"),
    }
    found = counted(name, values)
    for entry in found:
        if entry["name"].endswith("cycles_model"):
            entry["range"] = [online.executed.low * per_step, online.executed.high * per_step]
    return found


def measure(
    case: Case, reptile: bool, compiler: str | None = None, flags: Sequence[str] = ()
) -> Cost:
    """Build and run one visit on the virtual board."""
    one, two = (_run(case, reptile, visits, compiler, flags) for visits in (1, 2))
    first, both = (model(board.blocks(), board.read_memory) for board in (one, two))
    size = one.firmware.elf.find
    empty = build(SKETCHES / "Empty", compiler=compiler, libraries=LIBRARIES)
    answers = 1 if case.classifies else case.net.outputs
    sample = FLOAT_BYTES * (int(np.prod(case.net.input_shape)) + answers)
    return Cost(
        executed=Executed(*(after - before for after, before in zip(both, first, strict=True))),
        flash=one.memory.flash - empty.memory.flash - FLOAT_BYTES * case.net.size,
        weights=size("weights").size,
        workspace=size("workspace").size + size("model").size,
        gradient=size("gradient").size if reptile else 0,
        samples=sample * (case.samples if reptile else 1),
        stack=one.stack_used,
    )


def _run(
    case: Case, reptile: bool, visits: int, compiler: str | None, flags: Sequence[str]
) -> VirtualNano:
    settings = {
        "VISITS": visits,
        "SAMPLES": case.samples,
        "LABELS": int(case.classifies),
        "REPTILE": int(reptile),
        "EPOCHS": case.reptile.epochs,
        "BATCH": case.reptile.batch,
        "RATE": "0.01f",
    }
    defines = [f"#define {name} {value}\n" for name, value in settings.items()]
    with tempfile.TemporaryDirectory() as scratch:
        sketch = shutil.copytree(SKETCHES / "Visit", Path(scratch) / "Visit")
        (sketch / "settings.h").write_text("".join(defines))
        export(case.net, case.net.init(np.random.default_rng(0)), sketch)
        firmware = build(sketch, compiler=compiler, flags=flags, libraries=LIBRARIES)
    board = VirtualNano(firmware)
    board.profile()
    board.run_until(lambda nano: nano.stopped, limit_ms=600_000)
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
