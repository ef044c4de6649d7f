"""What Python knows of the C core is what the C core's header says."""

import ctypes
import re
import subprocess

import numpy as np
import pytest
from compilers import CC
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import networks

from tinyreptile_lite.core import native, table
from tinyreptile_lite.core.build import CORE, shared_library
from tinyreptile_lite.core.export import export
from tinyreptile_lite.core.structs import CLayer, CNetwork, c_layer, c_network
from tinyreptile_lite.image_layers import MOST_POOL, Conv2D, Flatten, LayerNorm, SiLU
from tinyreptile_lite.layers import (
    Conv1D,
    Dense,
    GlobalAveragePool,
    Layer,
    ReLU,
    Scale,
    Tanh,
)
from tinyreptile_lite.losses import LOSSES
from tinyreptile_lite.network import Network
from tinyreptile_lite.wire.header import network_header

HEADER = re.sub(r"/\*.*?\*/", "", (CORE / "tinyreptile_core.h").read_text(), flags=re.DOTALL)


def enumeration(name):
    """Names and values of an enum in the header: each without a value is one more."""
    body = re.search(r"typedef enum \{([^}]*)\} " + name + ";", HEADER)[1]
    values, last = {}, -1
    for entry in body.split(","):
        key, _, value = entry.partition("=")
        last = int(value) if value else last + 1
        values[key.strip()] = last
    return values


def struct(name):
    """Names and types of a struct's fields."""
    body = re.search(r"typedef struct \{([^}]*)\} " + name + ";", HEADER)[1]
    fields = [line.split() for line in body.split(";") if line.strip()]
    return [(name, " ".join(kind)) for *kind, name in fields]


def test_statuses():
    ours = {
        "TR_OK" if each is table.Status.OK else f"TR_ERR_{each.name}": each for each in table.Status
    }
    assert ours == enumeration("tr_status")


def test_kinds_of_layer():
    assert {*table.KINDS, Flatten} == set(Layer.__subclasses__())
    ours = {f"TR_KIND_{kind.macro.removeprefix('TR_')}": kind.code for kind in table.KINDS.values()}
    assert ours == enumeration("tr_kind")


def test_losses():
    assert set(table.LOSSES) == set(LOSSES)
    assert {loss.macro: loss.code for loss in table.LOSSES.values()} == enumeration("tr_loss")


def test_limits():
    (limit,) = re.findall(r"#define TR_LIMIT (\S+)f\n", HEADER)
    assert np.float32(limit) == table.LIMIT
    assert table.LIMIT.dtype == np.float32
    assert "#define TR_MAX_FLOATS (1L << 24)" in HEADER
    assert table.MAX_FLOATS == 1 << 24
    assert np.iinfo(np.uint16).max == table.LARGEST
    assert np.iinfo(np.uint8).max == table.LARGEST_BYTE
    assert f"#define TR_MAX_POOL {MOST_POOL}\n" in HEADER


def test_structs():
    c_types = {"uint8_t": ctypes.c_uint8, "uint16_t": ctypes.c_uint16, "float": ctypes.c_float}
    *sizes, (pointer, _) = struct("tr_layer")
    ours = [(name, c_types[kind]) for name, kind in sizes]
    assert [*ours, (pointer.removeprefix("*"), ctypes.c_void_p)] == list(CLayer._fields_)
    names = [(name.removeprefix("*"), c_types.get(kind)) for name, kind in struct("tr_network")]
    (pointer, _), *plain = CNetwork._fields_
    assert names == [(pointer, None), *plain]


def test_the_macros_fill_the_fields_that_ctypes_fills(tmp_path, monkeypatch):
    made = {
        Dense(2, 3): (2,), Conv1D(4, 5, 6, 7): (9, 4), GlobalAveragePool(): (8, 3),
        Tanh(): (5,), ReLU(): (5,), Scale(0.4): (5,), SiLU(): (5,),
        Conv2D(3, 4, 5, 2, 1, 6): (40, 50, 3), Conv2D(1, 2, 3, bias=False): (4, 5, 1),
        LayerNorm(7): (8, 9, 7),
    }  # fmt: skip
    assert {type(layer) for layer in made} == set(table.KINDS)
    monkeypatch.setenv("TINYREPTILE_CACHE", str(tmp_path))
    source = tmp_path / "layers.c"
    macros = ", ".join(table.layer_macro(layer, shape) for layer, shape in made.items())
    source.write_text(f'#include "tinyreptile_core.h"\nconst tr_layer layers[] = {{{macros}}};\n')
    sources = [source, CORE / "tinyreptile_core.c"]
    library = ctypes.CDLL(str(shared_library("layers", sources, CORE)))
    in_c = (CLayer * len(made)).in_dll(library, "layers")
    for (layer, shape), written in zip(made.items(), in_c, strict=True):
        ours = c_layer(layer, shape, library)
        assert bytes(ours) == bytes(written), layer


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_literal_is_the_very_same_float32(value):
    text = table.literal(value)
    assert re.fullmatch(r"-?\d+(\.\d+)?(e[+-]\d+)?f", text)
    assert "." in text or "e" in text
    assert np.float32(text[:-1]).tobytes() == np.float32(value).tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_what_c_cannot_write_is_refused(value, refuses):
    with refuses(value, "not finite"):
        table.literal(value)


@settings(max_examples=12)
@given(net=networks())
def test_headers_of_any_network_are_valid_c(net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("headers")
    (folder / "network.h").write_text(network_header(net, "any"))
    export(net, net.init(np.random.default_rng(0)), folder)
    unit = folder / "unit.c"
    unit.write_text('#include "network.h"\n#include "phi.c"\nconst tr_network *n = &network;\n')
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{CORE}"]
    done = subprocess.run([*CC, *flags, unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("factor", [2, 0.1, np.float32(0.4), np.float64(0.4), 1e10, -3])
def test_a_scale_of_any_kind_of_number_is_written_as_a_float(factor):
    text = table.layer_macro(Scale(factor), (1,))
    number = re.fullmatch(r"TR_SCALE\((-?[\d.e+]+)f\)", text)[1]
    assert np.float32(number) == np.float32(factor)


@pytest.mark.parametrize(
    ("layers", "inputs", "words"),
    [
        ([Dense(70_000, 1)], 70_000, ["inputs is 70000", "65535"]),
        ([Dense(1, 70_000), Dense(70_000, 1)], 1, ["outputs is 70000", "65535"]),
        ([Scale(1e13), Dense(1, 1)], 1, ["factor is 10000000000000.0", "at most 1e+12"]),
        ([Scale(1e300), Dense(1, 1)], 1, ["factor is 1e+300"]),
        ([Scale(1e-50), Dense(1, 1)], 1, ["Scale(factor=1e-50)", "0 as a float32"]),
        ([Dense(4096, 4096), Dense(4096, 1)], 4096, ["16,785,409", "16,777,216", "smaller"]),
    ],
)
def test_what_is_beyond_the_core_is_refused(layers, inputs, words, refuses):
    net = Network(layers, "mse", (inputs,))
    with refuses(*words):
        c_network(net, native.load())
    with refuses(*words):
        network_header(net, "big")


def test_a_stride_beyond_the_core_is_refused(refuses):
    net = Network([Conv1D(1, 1, 1, 256), GlobalAveragePool(), Dense(1, 1)], "mse", (999, 1))
    with refuses("stride is 256", "255"):
        table.check_fits_core(net)


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (Conv2D(1, 1, 1, 256), (300, 300, 1), ["stride is 256", "255"]),
        (Conv2D(1, 1, 300, 1, 256), (9, 9, 1), ["padding is 256", "255"]),
        (Conv2D(1, 1, 4097, 1, 10), (4097, 4097, 1), ["kernel is 4097", "4096"]),
        (Conv2D(1, 1, 1), (1, 70_000, 1), ["width is 70000", "65535"]),
        (LayerNorm(1), (300, 300, 1), ["time is 90000", "65535"]),
    ],
)
def test_image_layers_beyond_the_core_are_refused(layer, shape, words, refuses):
    layers = [layer, Flatten(), Dense(int(np.prod(layer.output_shape(shape))), 1)]
    with refuses(*words):
        table.check_fits_core(Network(layers, "mse", shape))


def test_a_flatten_is_no_layer_of_the_core():
    layers = [Scale(0.5), Conv2D(2, 3, 2), LayerNorm(3), Flatten(), Dense(18, 1)]
    header = network_header(Network(layers, "mse", (3, 4, 2)), "any")
    table_rows = re.findall(r"^    (TR_\w+)", header, flags=re.MULTILINE)
    assert table_rows == ["TR_SCALE", "TR_CONV2D", "TR_LAYER_NORM", "TR_DENSE"]
    assert "{network_layers, 4, " in header


def test_a_layer_that_the_core_has_not_is_refused(refuses):
    class Own(Layer):
        def __repr__(self):
            return "Own()"

    with refuses("no layer Own()", "Dense"):
        table.check_fits_core(Network([Own(), Dense(1, 1)], "mse", (1,)))
