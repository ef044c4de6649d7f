"""Generated C source: compiles, is the network, and never replaces what somebody wrote."""

import re
import subprocess

import numpy as np
import pytest
from compilers import CC, needs_nm
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.core.build import CORE
from tinyreptile_lite.core.export import c_name, export
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, ReLU, Scale, Tanh
from tinyreptile_lite.network import Network

SINE = Network([Scale(0.4), Dense(1, 8), Tanh(), Dense(8, 1)], "mse", (1,))
WRIST = Network(
    [Conv1D(6, 8, 5, 2), ReLU(), Conv1D(8, 9, 3), Tanh(), GlobalAveragePool(), Dense(9, 7)],
    "cross_entropy",
    (30, 6),
)
PROGRAM = r"""
#include <stdio.h>
#include "NAME.h"
static float weights[UPPER_WEIGHTS], workspace[UPPER_WORKSPACE];
static float x[UPPER_INPUTS], output[UPPER_OUTPUTS];
int main(void) {
    tr_model model;
    const tr_network *net = &NAME_network;
    size_t floats;
    if (tr_workspace_size(&floats, net) || floats != UPPER_WORKSPACE) return 1;
    if (tr_init(&model, net, weights, UPPER_WEIGHTS, workspace, UPPER_WORKSPACE)) return 2;
    if (tr_reset(&model, NAME)) return 3;
    for (int i = 0; i < UPPER_INPUTS; i++) x[i] = (float)(i % 7) * 0.25f - 0.5f;
    if (tr_forward(&model, output, x)) return 4;
    for (int i = 0; i < UPPER_WEIGHTS; i++) printf("%.9g\n", (double)weights[i]);
    for (int i = 0; i < UPPER_OUTPUTS; i++) printf("%.9g\n", (double)output[i]);
    return 0;
}
"""


@pytest.mark.parametrize("net", [SINE, WRIST])
def test_the_files_compile_and_are_the_network(net, tmp_path, rng):
    phi = net.init(rng)
    phi[:3] = 0.0, -0.0, 1e-42
    files = export(net, phi, tmp_path, "my phi")
    assert (files.header.name, files.source.name) == ("my_phi.h", "my_phi.c")
    main = tmp_path / "main.c"
    main.write_text(PROGRAM.replace("NAME", "my_phi").replace("UPPER", "MY_PHI"))
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{CORE}"]
    sources = [main, files.source, CORE / "tinyreptile_core.c"]
    subprocess.run([*CC, *flags, *sources, "-o", tmp_path / "main"], check=True)
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True)
    numbers = np.array(done.stdout.split(), np.float32)
    assert np.array_equal(numbers[: net.size].view(np.uint32), phi.view(np.uint32))
    x = (np.arange(np.prod(net.input_shape)) % 7 * 0.25 - 0.5).reshape(1, *net.input_shape)
    np.testing.assert_allclose(numbers[net.size :], net.predict(phi, x)[0], rtol=1e-4, atol=1e-6)


@needs_nm
def test_the_weights_stay_in_flash(tmp_path, rng):
    files = export(SINE, SINE.init(rng), tmp_path)
    target = tmp_path / "phi.o"
    subprocess.run([*CC, f"-I{CORE}", "-c", files.source, "-o", target], check=True)
    names = subprocess.run(["nm", target], capture_output=True, text=True, check=True).stdout
    kinds = {line.split()[-1]: line.split()[-2] for line in names.splitlines()}
    assert kinds["phi"] == "R"  # read-only data
    assert kinds["phi_network"] in "RD"  # D on a host: it holds an address


def test_the_header_names_generator_hash_and_shape(tmp_path, rng):
    text = export(WRIST, WRIST.init(rng), tmp_path, command="train wrist --seed 3").header
    first = text.read_text().split("*/")[0]
    assert "tinyreptile export" in first
    assert "train wrist --seed 3" in first
    assert WRIST.fingerprint() in first
    assert f"{WRIST.size} float32" in first
    assert "(30, 6)" in first


def test_the_output_is_the_same_every_time(tmp_path, rng):
    phi = SINE.init(rng)
    one = [path.read_bytes() for path in export(SINE, phi, tmp_path)[:2]]
    assert [path.read_bytes() for path in export(SINE, phi, tmp_path)[:2]] == one
    assert sorted(path.name for path in tmp_path.iterdir()) == ["phi.c", "phi.h"]
    phi[0] += 1
    assert [path.read_bytes() for path in export(SINE, phi, tmp_path)[:2]] != one


@pytest.mark.parametrize("suffix", ["h", "c"])
def test_a_file_written_by_hand_is_never_replaced(suffix, tmp_path, rng, refuses):
    own = tmp_path / f"phi.{suffix}"
    own.write_text("int mine;\n")
    with refuses(own.name, "another name"):
        export(SINE, SINE.init(rng), tmp_path)
    assert own.read_text() == "int mine;\n"
    assert [path.name for path in tmp_path.iterdir()] == [own.name]


def test_weights_of_another_network_are_refused(tmp_path, rng, refuses):
    with refuses(SINE.size, "another network"):
        export(SINE, WRIST.init(rng), tmp_path)
    with refuses("another network"):
        export(SINE, SINE.init(rng)[None], tmp_path)
    with refuses("NaN"):
        export(SINE, np.full(SINE.size, np.nan, np.float32), tmp_path)
    with refuses("no folder", "missing"):
        export(SINE, SINE.init(rng), tmp_path / "missing")
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=20))
def test_every_name_becomes_an_identifier_or_one_clear_line(name):
    try:
        found = c_name(name)
    except ValueError as error:
        assert "letter or digit" in str(error)
    else:
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", found)


def test_names_that_c_uses_itself_are_changed(refuses):
    assert c_name("../evil; int x") == "evil_int_x"
    assert c_name("2nd try") == "phi_2nd_try"
    assert c_name("float") == "float_phi"
    with refuses("'***'"):
        c_name("***")


def test_a_command_cannot_end_the_comment(tmp_path, rng):
    files = export(SINE, SINE.init(rng), tmp_path, command="*/ int evil; /*\n#error\\")
    assert files.header.read_text().count("*/") == 1
