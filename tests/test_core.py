"""The C core by itself: equal bits, clean under sanitizers and strict flags, fuzzed."""

import ctypes
import hashlib
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from compilers import BOARD, CC, HOST, SANITIZERS, STRICTEST, ZIG, needs_nm

from tinyreptile_lite.core import native
from tinyreptile_lite.core.build import CORE, HERE
from tinyreptile_lite.core.structs import c_network
from tinyreptile_lite.core.table import KINDS, Status
from tinyreptile_lite.layers import Dense
from tinyreptile_lite.nano import VirtualNano
from tinyreptile_lite.nano.compilers import find_compiler
from tinyreptile_lite.network import Network

DRIVERS = Path(__file__).parent / "c"
STRICT = [
    "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wdouble-promotion", "-Wconversion",
    "-Wshadow", "-Wcast-qual", "-Wstrict-prototypes", "-funsigned-char",
]  # fmt: skip
PLAIN = "-DTR_PLAIN_OPTIONS"  # the command line's level, not the source's own
SANITIZED = ["-O0", "-g1", PLAIN, *SANITIZERS[STRICTEST]]
OWN_CPU = {"gcc": "-march=native", "zig": "-mcpu=native"}
FAST = ['-DTR_KERNELS="host_kernels.h"', f"-I{HERE}"]  # this computer's kernels
RANDOM_NETWORKS = 500
# Of what random_networks.c prints. It changes if any weight, loss or refusal changes by one bit:
# then every figure that training gave has to be made again.
RANDOM_BITS = "7cdef7a812256611"
PROTOTYPE_BITS = "b2041d853b2f28c3"  # and of what prototypes.c prints
IMAGE_BITS = "9953538a91cbe634"  # the same for networks of the layers in tinyreptile_layers.h


def build(target: Path, compiler: Sequence[str], flags: list[str], *drivers: str) -> Path:
    sources = [str(DRIVERS / driver) for driver in drivers] + [str(CORE / "tinyreptile_core.c")]
    command = [*compiler, "-std=c99", *flags, f"-I{CORE}", *sources, "-lm", "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def run(program: Path, *arguments: str) -> str:
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def trajectories(folder: Path, compiler: Sequence[str], flags: list[str], steps: int = 1000) -> str:
    sources = ("trajectory.c", "trajectory_main.c")
    return run(build(folder / "trajectory", compiler, flags, *sources), str(steps))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    text = trajectories(tmp_path_factory.mktemp("core"), CC, ["-O2"])
    assert [line.split()[2] for line in text.splitlines()] == ["ok"] * 6
    assert len({line.split()[1] for line in text.splitlines()}) == 6
    return text


@pytest.mark.parametrize("level", ["-O0", "-O2", "-Os"])
@pytest.mark.parametrize("compiler", HOST)
def test_every_level_gives_the_same_bits(compiler, level, reference, tmp_path):
    assert trajectories(tmp_path, HOST[compiler], [level, PLAIN]) == reference


@pytest.mark.parametrize("compiler", HOST)
def test_simd_and_this_computers_own_instructions_do_not_change_a_bit(
    compiler, reference, tmp_path
):
    assert trajectories(tmp_path, HOST[compiler], ["-O2", *FAST]) == reference
    assert trajectories(tmp_path, HOST[compiler], ["-O3", *FAST, OWN_CPU[compiler]]) == reference


@pytest.mark.parametrize("flags", [["-O2"], ["-O2", *FAST], ["-O3", *FAST, "own"]])
@pytest.mark.parametrize("compiler", HOST)
def test_random_networks_give_the_bits_they_always_gave(compiler, flags, tmp_path):
    flags = [OWN_CPU[compiler] if flag == "own" else flag for flag in flags]
    drivers = ("random_networks.c", "random_networks_main.c")
    program = build(tmp_path / "random", HOST[compiler], flags, *drivers)
    for bits, more in (RANDOM_BITS, ()), (IMAGE_BITS, ("images",)):
        said = run(program, str(RANDOM_NETWORKS), *more)
        assert len(set(said.split())) == RANDOM_NETWORKS
        assert hashlib.sha256(said.encode()).hexdigest()[:16] == bits


@pytest.mark.parametrize("compiler", HOST)
def test_class_means_have_the_same_bits_at_every_level(compiler, tmp_path):
    drivers = ("prototypes.c", "prototypes_main.c")
    said = {
        run(build(tmp_path / "prototypes", HOST[compiler], flags, *drivers))
        for flags in (["-O0", PLAIN], ["-Os", PLAIN], ["-O2"], ["-O3", *FAST, OWN_CPU[compiler]])
    }
    assert {hashlib.sha256(text.encode()).hexdigest()[:16] for text in said} == {PROTOTYPE_BITS}


@pytest.mark.parametrize("flags", [[], FAST])
def test_frozen_layers_keep_their_bits_and_need_no_column(flags, tmp_path):
    lines = run(build(tmp_path / "freeze", CC, ["-O2", *flags], "freeze.c")).splitlines()
    column = "no-column" if flags else "column"  # which this computer's kernels never need
    for learnt in (lines[:5], lines[5:10]):  # online, minibatch; with 0, 1, 2, 3, 5 layers frozen
        assert learnt[0] == f"ok learnt learnt learnt {column}"
        assert learnt[1:3] == ["ok kept learnt learnt no-column"] * 2
        assert learnt[3:] == ["ok kept kept learnt no-column"] * 2
    assert lines[10:] == ["0 1"]  # six are all: then nothing would be left to learn


def test_misaligned_weights_and_workspace_are_refused():
    net = Network([Dense(3, 5)], "mse", (3,))
    memory = (ctypes.c_char * 400)()
    model, start = ctypes.addressof(memory), ctypes.addressof(memory) + 200
    network, init = c_network(net, native.load()), native.load().tr_init
    init.argtypes = [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_void_p, ctypes.c_size_t] * 2]
    for first, second in ((1, 0), (2, 0), (3, 0), (0, 1), (0, 2)):
        found = init(model, ctypes.byref(network), start + first, net.size, start + 100 + second, 5)
        assert found == Status.ALIGNMENT
    assert init(model, ctypes.byref(network), start, net.size, start + 100, 5) == Status.OK
    text = native.load().tr_status_text(Status.ALIGNMENT).decode()
    assert "4 bytes" in text


@pytest.mark.parametrize("compiler", HOST)
def test_what_is_refused_near_the_bound_does_not_depend_on_simd(compiler, tmp_path):
    said = {
        run(build(tmp_path / "near", HOST[compiler], ["-O2", *flags], "near_bound.c"))
        for flags in ((), FAST, (*FAST, OWN_CPU[compiler]))
    }
    (line,) = said
    assert 5000 < int(line.split()[0]) < 15000


def test_sanitizers_find_nothing_in_the_trajectories(tmp_path):
    short = trajectories(tmp_path, CC, ["-O2"], 50)
    strictest = HOST[STRICTEST]
    assert trajectories(tmp_path, strictest, SANITIZED, 50) == short
    for flags in (FAST, [*FAST, OWN_CPU[STRICTEST]]):
        assert trajectories(tmp_path, strictest, [*SANITIZED, *flags], 50) == short


@pytest.mark.parametrize("flags", [[], FAST])
def test_fuzzing_breaks_nothing(flags, tmp_path):
    program = build(tmp_path / "fuzz", HOST[STRICTEST], [*SANITIZED, *flags], "fuzz_core.c")
    assert run(program, "1", "10000") == "10000 rounds\n"


def test_mathematics_is_as_accurate_as_the_header_says(tmp_path):
    lines = run(build(tmp_path / "math", CC, ["-O2"], "math_error.c")).splitlines()
    worst = {name: float(value) for name, value in map(str.split, lines)}
    assert worst.pop("beyond") == 0
    assert max(worst["tanh"], worst["tanh-"]) < 6
    assert max(worst["exp"], worst["exp-"], worst["log"]) < 1
    assert worst["rsqrt"] < 2


@pytest.mark.parametrize("level", ["-O2", "-Os"])
@pytest.mark.parametrize("compiler", HOST)
def test_strict_flags_raise_no_warning(compiler, level, tmp_path):
    core = CORE / "tinyreptile_core.c"
    others = [CORE / "tr_store.c", DRIVERS / "store.c", DRIVERS / "trajectory.c"]
    others += [DRIVERS / "prototypes.c"]
    for flags in ([str(core)], [*FAST, str(core)], *([str(path)] for path in others)):
        flags = [*STRICT, level, f"-I{CORE}", *flags, "-c", "-o", str(tmp_path / "x.o")]
        done = subprocess.run([*HOST[compiler], *flags], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("abi", ["softfp", "hard"])
@pytest.mark.parametrize("compiler", BOARD)
def test_the_boards_kernels_suit_every_level_and_abi(compiler, abi, tmp_path):
    for flags, expected in (["-Os"], True), (["-O2"], True), (["-Os", "-DTR_PLAIN"], False):
        strict = ["-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow", "-funsigned-char"]
        tail = ["-S", str(CORE / "tinyreptile_core.c"), "-o", str(tmp_path / "x.s")]
        command = [*find_compiler(compiler).c, f"-mfloat-abi={abi}", *strict, *flags, *tail]
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        text = re.sub(r"[ \t]", "", (tmp_path / "x.s").read_text())
        assert bool(re.search(r"vldmia\w+!?,{s16(-|,s17,s18,)s19}", text)) == expected


def test_header_serves_a_sketch_in_cpp(tmp_path):
    sketch = tmp_path / "sketch.cpp"
    sketch.write_text(
        "#include <TinyReptile.h>\n"
        "static const tr_layer layers[] = {TR_SCALE(0.4f), TR_CONV1D(9, 2, 4, 3, 1), TR_RELU,\n"
        "    TR_GLOBAL_AVERAGE_POOL(7, 4), TR_DENSE(4, 2), TR_TANH};\n"
        "static const tr_layer image[] = {TR_CONV2D(9, 8, 2, 4, 3, 2, 1, 2, 0),\n"
        "    TR_LAYER_NORM(4, 4), TR_SILU, TR_DENSE(16, 2)};\n"
        "static const tr_network other = {image, 4, 144, TR_MSE};\n"
        "static const tr_network network = {layers, 6, 18, TR_CROSS_ENTROPY};\n"
        "int main() { size_t n; return tr_weight_count(&n, &network) ||\n"
        "    tr_weight_count(&n, &other) || n != 72 + 8 + 34; }\n"
    )
    cpp = ("g++",) if shutil.which("g++") else (*ZIG[:-1], "c++")
    flags = ["-std=c++11", "-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{CORE}", "-c"]
    subprocess.run([*cpp, *flags, str(sketch), "-o", str(tmp_path / "x.o")], check=True)
    core = [*CC, "-c", "-std=c99", str(CORE / "tinyreptile_core.c"), "-o", str(tmp_path / "c.o")]
    subprocess.run(core, check=True)
    program = tmp_path / "program"
    subprocess.run([*CC, tmp_path / "x.o", tmp_path / "c.o", "-o", program], check=True)
    assert subprocess.run([program]).returncode == 0


def test_fast_math_is_refused_at_compile_time(tmp_path):
    command = [*CC, "-ffast-math", "-c", str(CORE / "tinyreptile_core.c"), "-o", "/dev/null"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "without -ffast-math" in done.stderr


@needs_nm
def test_core_needs_no_library_but_memory_functions(tmp_path):
    """No malloc, no stdio, no libm, and no global state to write to."""
    target = str(tmp_path / "core.o")
    command = [*CC, "-O2", "-c", str(CORE / "tinyreptile_core.c"), "-o", target]
    subprocess.run(command, check=True)
    names = subprocess.run(["nm", target], capture_output=True, text=True, check=True).stdout
    kinds = [line.split()[-2:] for line in names.splitlines()]
    outside = {name for kind, name in kinds if kind == "U"}
    assert outside <= {"memcpy", "memset", "_GLOBAL_OFFSET_TABLE_"}
    constant = {kind.functions for kind in KINDS.values()}  # though a loader fills in addresses
    assert {name for kind, name in kinds if kind in "bBdDC"} <= constant


def test_the_librarys_example_learns_on_the_virtual_board():
    example = CORE.parent / "examples" / "LearnXor"
    board = VirtualNano(example, libraries=CORE.parents[1])
    board.run(milliseconds=4000)
    losses = [float(line.removeprefix("loss:")) for line in board.serial.text.splitlines()]
    assert losses[0] > 0.3
    assert losses[-1] < 0.1
    assert board.firmware.warnings == ""


def test_every_public_name_is_a_keyword_of_the_arduino_editor():
    header = (CORE / "tinyreptile_core.h").read_text()
    listed = (CORE.parent / "keywords.txt").read_text().split()
    functions = re.findall(r"\b(tr_[a-z_0-9]+)\(", header)
    macros = re.findall(r"#define (TR_[A-Z0-9_]+)", header)
    statuses = re.findall(r"\bTR_(?:OK|ERR_[A-Z]+)\b", header)
    types = re.findall(r"\} (tr_[a-z]+);", header)
    assert {*functions, *macros, *statuses, *types} <= set(listed)
