"""The same Flower app in Flower's simulation engine."""

import importlib.util

import pytest

from tinyreptile_lite import checkpoint
from tinyreptile_lite.errors import KitError

if importlib.util.find_spec("ray") is None:
    pytest.fail("this test needs Ray: pip install -e '.[simulation]'", pytrace=False)

from test_flower import own_loop

from tinyreptile_lite.flower.local import LocalFlower


def simulate(out):
    """Run in the engine; on a busy machine Ray may need more than one attempt to come up."""
    for attempts_left in (2, 1, 0):
        try:
            with LocalFlower([]) as flower:
                return list(flower.run(out, 2, rounds=2, devices=6, seed=5, nodes=2, resume=True))
        except KitError as error:
            if "Simulation failed" not in str(error) or not attempts_left:
                raise


def test_the_simulation_engine_gives_our_own_loops_phi(tmp_path):
    text = "\n".join(simulate(tmp_path / "phi.npz"))
    phi, state = checkpoint.read(tmp_path / "phi.npz")
    own = own_loop(2)
    assert "2 simulated SuperNodes" in text
    assert state["history"] == vars(own.history)
    assert phi.tobytes() == own.phi.tobytes()
