"""The gate: strangers reach Flower's ports, and can do nothing there that its owner may do."""

import ast
import hashlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest

if importlib.util.find_spec("flwr") is None:
    pytest.fail("these tests need Flower: pip install -e '.[flower]'", pytrace=False)

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.cli.build import build_fab_from_disk
from flwr.proto.control_pb2 import ListRunsRequest, RegisterNodeRequest, StartRunRequest
from flwr.proto.fab_pb2 import Fab
from flwr.proto.fleet_pb2 import ActivateNodeRequest, RegisterNodeFleetRequest
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from strangers import as_stranger, needs_root

from tinyreptile_lite import checkpoint
from tinyreptile_lite.flower import gate, local
from tinyreptile_lite.flower.local import APP, LocalFlower

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose a socket is")


# ---- Whose a connection is -----------------------------------------------------------------------


def connect(host="127.0.0.1"):
    """Both ends of a connection over the loopback interface."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        client = socket.create_connection(listener.getsockname()[:2])
        return closing(client), closing(listener.accept()[0])


def ends(client, server):
    return client.getsockname()[:2], server.getsockname()[:2]


@linux
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"] if socket.has_ipv6 else ["127.0.0.1"])
def test_the_kernel_says_whose_a_connection_is(host, monkeypatch):
    first, second = connect(host)
    with first as client, second as server:
        assert gate.is_owned(*ends(client, server))
        assert not gate.is_owned((host, 1), server.getsockname()[:2])
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
        assert not gate.is_owned(*ends(client, server))


@linux
def test_a_connection_that_was_left_is_nobodys(monkeypatch):
    """The kernel then shows user 0, whoever it was."""
    first, second = connect()
    with first as client, second as server:
        left = ends(client, server)
        client.close()
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        assert not gate.is_owned(*left)


def test_where_nobody_tells_only_this_computer_may(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    here = ("127.0.0.1", 9092)
    assert gate.is_owned(("127.0.0.1", 1), here) and gate.is_owned(("::1", 1), here)
    assert not gate.is_owned(("192.0.2.7", 1), here)


def test_a_slip_is_one_line():
    command = [sys.executable, "-m", "tinyreptile_lite.flower", "superduper"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "superduper" in done.stderr and "superlink" in done.stderr


# ---- Flower's real processes ---------------------------------------------------------------------


class Add:
    """Adds headers to a request."""

    def __init__(self, headers):
        self.headers = headers

    def intercept(self, context, call_next):
        context.request.headers.update(self.headers)
        return call_next(context)


def attack(link, node, app, headers):
    """What a stranger without certificate may wish to do, by Flower's own clients; the answers."""
    private = ec.generate_private_key(ec.SECP384R1())
    key = public_key_to_bytes(private.public_key())
    add = [RuntimeVersionHttpInterceptor("flwr CLI"), Add(headers)]
    sign = NodeAuthHttpInterceptor(private, private.public_key())
    control = ControlHttpClient(f"https://{link}", verify=False, interceptors=add)
    runs = RuntimeHttpClient(f"https://{link}", verify=False, interceptors=add)
    visits = RuntimeHttpClient(f"https://{node}", verify=False, interceptors=add)
    fleet = FleetHttpClient(f"https://{link}", verify=False, interceptors=[*add, sign])
    fab = Fab(hash_str=hashlib.sha256(app).hexdigest(), content=app)
    task = AcquireTaskRequest(supported_task_types=["flwr-serverapp", "flwr-clientapp"])
    attempts = {
        "see the runs": (control.ListRuns, ListRunsRequest()),
        "run an app": (control.StartRun, StartRunRequest(fab=fab)),
        "register a node": (control.RegisterNode, RegisterNodeRequest(public_key=key)),
        "take a run": (runs.AcquireTask, task),
        "take a visit": (visits.AcquireTask, task),
        "add a node": (fleet.RegisterNode, RegisterNodeFleetRequest(public_key=key)),
        "be a node": (fleet.ActivateNode, ActivateNodeRequest(public_key=key)),
    }
    return {name: _answer(*attempt) for name, attempt in attempts.items()}


def _answer(call, request):
    try:
        return call(request).ByteSize()
    except httpx.HTTPStatusError as error:
        return error.response.status_code, error.response.text


@linux
@needs_root
def test_a_stranger_can_neither_run_an_app_nor_register_a_node(tmp_path):
    app = build_fab_from_disk(APP)
    with LocalFlower([{}]) as flower:
        words = flower._processes["node-0"].args
        node = f"127.0.0.1:{words[words.index('--port') + 1]}"
        while "SuperNode ID" not in flower.log("node-0"):
            time.sleep(0.1)
        host, port = flower._address.split(":")
        with closing(socket.create_connection((host, int(port)))) as ours:
            forged = {"x-forwarded-for": f"127.0.0.1:{ours.getsockname()[1]}"}
            for headers in ({}, forged, {"authorization": "Bearer me"}):
                work = (flower._address, node, app, headers)
                text = as_stranger(lambda work=work: repr(attack(*work)))
                answers = ast.literal_eval(text) if text.startswith("{") else pytest.fail(text)
                for name in ("see the runs", "run an app", "register a node", "take a run"):
                    assert answers[name][0] == 403 and "ssh" in answers[name][1], name
                assert answers["take a visit"][0] == 403
                assert 400 <= answers["add a node"][0] < 500
                assert 400 <= answers["be a node"][0] < 500
        list(flower.run_steadily(tmp_path / "phi.npz", rounds=1, devices=5))
    assert checkpoint.read(tmp_path / "phi.npz")[1]["round"] == 1


# ---- A federation whose parent is killed ---------------------------------------------------------


def processes_of(folder):
    """Processes that have this folder in their command line or environment."""
    shown = subprocess.run(
        ["ps", "axeww", "-o", "pid,stat,command"], capture_output=True, text=True
    )
    return [line for line in shown.stdout.splitlines() if str(folder) in line]


@linux
def test_a_killed_federation_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(local.tempfile, "tempdir", None)
    command = [sys.executable, "-m", "tinyreptile_lite.cli", "flower", "run", "sine"]
    command += ["--nodes", "1", "--rounds", "1000", "--out", str(tmp_path / "phi.npz")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        assert any("round 1 of" in line for line in run.stderr)
        (left,) = tmp_path.glob("tinyreptile-flower-*")
        assert len(processes_of(left)) >= 6  # SuperLink, SuperNode, their SuperExecs, app, flwr
        run.kill()
    end = time.monotonic() + 60
    while processes_of(left) and time.monotonic() < end:
        time.sleep(0.2)
    assert not processes_of(left)
    assert left.exists()
    new, lock = local._make_folder()
    assert not left.exists()
    local._make_folder()  # and leaves alone what is in use
    assert new.exists()
    lock.close()
