"""What learning costs on the virtual Nano 33 BLE.

Instructions are counted on the emulated Cortex-M4. Cycles are modelled (`nano.cycles`), not
measured on a board. RAM is weights, workspace, the model's few fields and the high-water mark of
the stack; flash is what learning adds to an empty sketch, without the weights' start values. All
is built with Arduino's flags.

TinyReptile and Reptile are compared in RAM and in instructions on one visit of a device: the same
network, the same samples, and settings with which Reptile is as accurate, within the spread (see
`equal`). The sine's settings serve both dense networks. To know: the samples that Reptile keeps are
not shuffled, which spares it some work; and the core's minibatch gradient is written more plainly
than its online step, which costs Reptile about a quarter of its instructions.

A sine's sample has 8 bytes. So there Reptile's RAM is all but the second array of the size of the
weights, and its ratio stays just below 2 whatever the code: with no stack at all it would be 1.99.
"""

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyreptile_lite.bench import equal, host
from tinyreptile_lite.bench.timing import Rows
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
FLOAT_BYTES = 4

_EMPTY = "#include <stdlib.h>\nvoid setup() { abort(); }\nvoid loop() {}\n"
_SKETCH = """
#include <TinyReptile.h>
#include <stdlib.h>
#include <string.h>

#include "phi.h"
#include "settings.h"

static float weights[PHI_WEIGHTS];
static float workspace[PHI_WORKSPACE];
static tr_model model;
static volatile bool learnt;

// What the sensor will give: not counted as the learner's memory.
static float sensor_x[SAMPLES * PHI_INPUTS];
#if LABELS
typedef int32_t answer;
#else
typedef float answer;
#endif
const size_t answers = LABELS ? 1 : PHI_OUTPUTS;  // of one sample
static answer sensor_answers[SAMPLES * answers];

#if REPTILE
static float gradient[PHI_WEIGHTS];
static float kept_x[SAMPLES * PHI_INPUTS];
static answer kept_answers[SAMPLES * answers];

static tr_status visit() {
  memcpy(kept_x, sensor_x, sizeof kept_x);
  memcpy(kept_answers, sensor_answers, sizeof kept_answers);
  tr_status status = TR_OK;
  for (int epoch = 0; epoch < EPOCHS && status == TR_OK; epoch++) {
    for (size_t i = 0; i < SAMPLES && status == TR_OK; i += BATCH) {
      tr_samples batch = {kept_x + i * PHI_INPUTS, NULL, NULL, BATCH};
      if (i + BATCH > SAMPLES) batch.count = SAMPLES - i;
#if LABELS
      batch.labels = kept_answers + i * answers;
#else
      batch.targets = kept_answers + i * answers;
#endif
      status = tr_learn_minibatch(&model, NULL, gradient, &batch, RATE);
    }
  }
  return status;
}
#else
static tr_status visit() {
  tr_status status = TR_OK;
  float loss;
  for (size_t i = 0; i < SAMPLES && status == TR_OK; i++) {
    const float *x = sensor_x + i * PHI_INPUTS;
#if LABELS
    status = tr_learn_label(&model, &loss, x, sensor_answers[i], RATE);
#else
    status = tr_learn_value(&model, &loss, x, sensor_answers + i * answers, RATE);
#endif
  }
  return status;
}
#endif

static float draw() {
  static uint32_t state = 1;
  state = state * 1664525u + 1013904223u;
  return (float)(state >> 8) * (2.0f / 16777216.0f) - 1.0f;
}

void setup() {
  for (float &x : sensor_x) x = draw();
  for (answer &y : sensor_answers)
    y = LABELS ? (answer)((draw() + 1.0f) * 0.5f * PHI_OUTPUTS) : (answer)draw();
  tr_status status =
      tr_init(&model, &phi_network, weights, PHI_WEIGHTS, workspace, PHI_WORKSPACE);
  if (status == TR_OK) status = tr_reset(&model, phi);
  for (int i = 0; i < VISITS && status == TR_OK; i++) status = visit();
  learnt = status == TR_OK;
  abort();
}

void loop() {}
"""


@dataclass(frozen=True)
class Case:
    """A network, and what Reptile does on it in one visit."""

    net: Network
    samples: int
    reptile: MinibatchSGD


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
    sine, wrist = (_reptile(family) for family in ("sine", "wrist"))
    return {
        "mlp_1_32_32_1": Case(Network(layers, "mse", (1,)), *sine),
        "mlp_64_32_10": Case(Network(classes, "cross_entropy", (64,)), *sine),
        "wrist": Case(Wrist().network(), *wrist),
        "sine": Case(Sine().network(), *sine),
    }


def _reptile(family: str) -> tuple[int, MinibatchSGD]:
    """Samples of a visit, and the Reptile that is as accurate as TinyReptile."""
    return equal.strategy(family).sample_count, equal.SETTINGS[family]


def rows() -> Rows:
    """Measure all names: those of the board, then the native learner's speed if PyTorch is there.

    Returns
    -------
    list of dict
        As `bench host` gives them, with the board's "compiler" or this machine's in each row.
    """
    found = board_rows()
    try:
        return found + host.native_rows() + _score_rows()
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
    online = measure(case, False, compiler)
    reptile = measure(case, True, compiler)
    per_step = 1 / case.samples
    values = {
        "instructions": (online.executed.instructions * per_step, "per online step"),
        "cycles_model": (online.executed.cycles * per_step, "per online step, modelled"),
        "ram_bytes": (online.ram, "bytes"),
        "flash_bytes": (online.flash, "bytes"),
        "stack_bytes": (online.stack, "bytes"),
        "reptile_ram_ratio": (
            (reptile.ram + reptile.samples) / (online.ram + online.samples),
            "ratio",
        ),
        "reptile_instructions_ratio": (
            reptile.executed.instructions / online.executed.instructions,
            "ratio, a visit",
        ),
        "reptile_gradient_bytes": (reptile.gradient, "bytes more"),
        "reptile_samples_bytes": (reptile.samples - online.samples, "bytes more"),
        "reptile_epochs": (case.reptile.epochs, "passes over the samples"),
    }
    return [
        {"name": f"{name}.{what}", "value": float(value), "unit": unit, "spread": 0.0}
        for what, (value, unit) in values.items()
    ]


def measure(case: Case, reptile: bool, compiler: str | None = None) -> Cost:
    """Build and run one visit on the virtual board."""
    one, two = (_run(case, reptile, visits, compiler) for visits in (1, 2))
    first, both = (model(board.blocks(), board.read_memory) for board in (one, two))
    executed = Executed(*(after - before for after, before in zip(both, first, strict=True)))
    size = one.firmware.elf.find
    answers = 1 if case.net.loss_function.name == "cross_entropy" else case.net.outputs
    sample = FLOAT_BYTES * (int(np.prod(case.net.input_shape)) + answers)
    return Cost(
        executed=executed,
        flash=one.memory.flash - _empty(compiler) - FLOAT_BYTES * case.net.size,
        weights=size("weights").size,
        workspace=size("workspace").size + size("model").size,
        gradient=size("gradient").size if reptile else 0,
        samples=sample * (case.samples if reptile else 1),
        stack=one.stack_used,
    )


def _run(case: Case, reptile: bool, visits: int, compiler: str | None) -> VirtualNano:
    settings = {
        "VISITS": visits,
        "SAMPLES": case.samples,
        "LABELS": int(case.net.loss_function.name == "cross_entropy"),
        "REPTILE": int(reptile),
        "EPOCHS": case.reptile.epochs,
        "BATCH": case.reptile.batch,
        "RATE": "0.01f",
    }
    with tempfile.TemporaryDirectory() as scratch:
        sketch = Path(scratch) / "Visit"
        sketch.mkdir()
        (sketch / "Visit.ino").write_text(_SKETCH)
        defines = [f"#define {name} {value}\n" for name, value in settings.items()]
        (sketch / "settings.h").write_text("".join(defines))
        export(case.net, case.net.init(np.random.default_rng(0)), sketch)
        board = VirtualNano(sketch, compiler=compiler, libraries=LIBRARIES)
    board.profile()
    board.run_until(lambda nano: nano.stopped, limit_ms=600_000)
    if not board.read_variable("learnt", np.uint8)[0]:
        raise KitError("the benchmark's sketch did not learn; the core refused a step")
    return board


def _empty(compiler: str | None) -> int:
    """Flash of a sketch that does nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        sketch = Path(scratch) / "Empty"
        sketch.mkdir()
        (sketch / "Empty.ino").write_text(_EMPTY)
        return build(sketch, compiler=compiler, libraries=LIBRARIES).memory.flash


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
