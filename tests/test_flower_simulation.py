"""The same Flower app in Flower's simulation engine."""

import importlib.util
import os
import re
import subprocess
import sys

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


INTRUDER = """
import sys, ray
ray.init(sys.argv[1], _node_ip_address="127.0.0.1")
print("in", ray.get(ray.remote(lambda: 1).remote()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for Ray's port with ps")
def test_ray_asks_for_a_token_and_keeps_its_sockets_private(tmp_path):
    """Even who may touch the sockets cannot give Ray work: this is the same user, without token."""
    out = tmp_path / "phi.npz"
    with LocalFlower([]) as flower:
        for line in flower.run(out, 2, rounds=10**6, devices=6, nodes=2, resume=True):
            if "plays" not in line:
                continue
            shown = subprocess.run(["ps", "axww", "-o", "command"], capture_output=True, text=True)
            mine = "".join(x for x in shown.stdout.splitlines() if str(flower._folder) in x)
            (address,) = set(re.findall(r"gcs-address=(\S+)", mine))
            assert f"raylet_socket_name={flower._folder}" in mine
            assert flower._folder.stat().st_mode & 0o77 == 0
            environment = os.environ | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
            command = [sys.executable, "-c", INTRUDER, address]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=120
            )
            assert done.returncode and "in 1" not in done.stdout
            assert "token" in done.stderr
            break
    assert not flower._folder.exists()
