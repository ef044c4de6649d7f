"""The algorithm on one page is what the library and the C core do."""

import ast
import inspect
import runpy
import sys

import numpy as np
import pytest

from tinyreptile_lite import tinyreptile as page
from tinyreptile_lite.clients import InTurn, SimulatedClient, as_it_is
from tinyreptile_lite.core.native import native
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.strategies import tiny_reptile
from tinyreptile_lite.tasks.sine import Sine

ROUNDS = 50


def by_the_page(devices, seed):
    waves = [page.sine(one.amplitude, one.phase) for one in devices]
    phi = page.tinyreptile(waves, ROUNDS, np.random.default_rng(seed))
    return np.concatenate([part.ravel() for layer in phi for part in layer])


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize(("runs", "tolerance"), [(as_it_is, 1e-6), (native, 1e-5)])
def test_the_page_gives_the_librarys_phi(seed, runs, tolerance):
    """C adds up in another order; 1,600 steps make such a difference some bits larger."""
    family = Sine()
    devices, net = family.devices(20, np.random.default_rng(100 + seed)), family.network()
    clients = InTurn([SimulatedClient(net, device, runs) for device in devices])
    strategy = tiny_reptile(0.019, 32)
    phi = Federation(net, strategy, clients, ROUNDS, np.random.default_rng(seed)).run()
    np.testing.assert_allclose(by_the_page(devices, seed), phi, rtol=0, atol=tolerance)


def test_the_page_needs_nothing_but_numpy():
    tree = ast.parse(inspect.getsource(page))
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in names] == ["import itertools", "import numpy as np"]


def test_it_is_one_page():
    """What a reader must read: the code down to the line that says that this was all."""
    tree = ast.parse(inspect.getsource(page).split("# All of it was above.")[0])
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.Module) and ast.get_docstring(node):
            del node.body[0]
    assert len(ast.unparse(tree).replace("\n\n", "\n").splitlines()) <= 37


def test_new_waves_adapt_far_better_from_phi(capsys):
    page.main(rounds=1000)
    *_, last = capsys.readouterr().out.splitlines()
    from_phi, from_random = map(float, last.split()[-2:])
    assert 10 * from_phi < from_random


def test_it_runs_as_the_page_says(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tinyreptile"])
    monkeypatch.delitem(sys.modules, "tinyreptile_lite.tinyreptile")
    runpy.run_module("tinyreptile_lite.tinyreptile", run_name="__main__")
    assert "after 32 samples" in capsys.readouterr().out
