"""A whole Flower federation on this computer: Flower's real processes on the loopback interface."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from ssl import create_default_context
from typing import IO

import httpx

from tinyreptile_lite.errors import KitError, file_errors
from tinyreptile_lite.flower import api  # noqa: F401 - refuses another Flower
from tinyreptile_lite.flower.keys import CA, CERTIFICATE, KEY, make_keys, write_private
from tinyreptile_lite.lifetime import TOLD

if sys.platform != "win32":
    import fcntl

APP = Path(__file__).parent / "app"
HOST = "127.0.0.1"
SIMULATION_REMEDY = "pip install 'tinyreptile-lite[simulation]'"
_FOLDER = "tinyreptile-flower-"  # how the names of the temporary folders begin
_RAY_PATH = 68  # characters that Ray adds to that of a folder to name its sockets
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PATIENCE = 180.0  # seconds for a process of Flower's to start
TRIES = 4  # runs that Flower may take for dead before we do, too
# No telemetry, no look for updates, no packages installed behind the user's back, no proxy.
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # keeps Ray on the loopback interface, on Linux too
    "NO_PROXY": "*",
    "PYTHONUNBUFFERED": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.25",  # seconds; Flower's own choice is 1
    TOLD: "1",
}


class LocalFlower:
    """A SuperLink and SuperNodes as child processes, with TLS, node keys and the gate.

    Use it in a ``with`` statement. All they write goes to one folder that is deleted at the end;
    `~/.flwr` is not touched. If this process is killed, they end too, and the next one deletes
    the folder. Raises `KitError` if Flower is missing or does not fit, or a process does not start.

    Parameters
    ----------
    nodes : sequence of mapping
        The configuration of each SuperNode, for example ``{"client": "native"}``. Without any it
        is a SuperLink for the simulation engine.
    """

    def __init__(self, nodes: Sequence[Mapping[str, str]]) -> None:
        if not nodes and find_spec("ray") is None:
            raise KitError(f"Ray, the simulation engine, is not installed; {SIMULATION_REMEDY}")
        self._configs = {f"node-{number}": config for number, config in enumerate(nodes)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._folder, self._lock = _make_folder()
        self._keys = self._folder / "keys"
        self._address = f"{HOST}:{free_port()}"
        self._ray: dict[str, str] = {}

    def __enter__(self) -> "LocalFlower":
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- Processes -------------------------------------------------------------------------------

    def _start(self) -> None:
        make_keys(self._keys, [], self._configs)
        if not self._configs:
            self._prepare_ray()
        kind = "--enable-supernode-auth" if self._configs else "--simulation"
        self._spawn("superlink", "superlink", int(self._address.rpartition(":")[2]), kind)
        self._await_link()
        self._write_connection()
        with ThreadPoolExecutor(2) as threads:
            public = [self._keys / f"{name}.pub" for name in self._configs]
            list(threads.map(lambda key: self._ask("supernode", "register", key, "local"), public))
        for name, config in self._configs.items():
            key = ("--auth-supernode-private-key", self._keys / name)
            root = ("--root-certificates", self._keys / CA)
            pairs = ("--node-config", _pairs(config)) if config else ()
            link = ("--superlink", self._address)
            self._spawn(name, "supernode", free_port(), *link, *root, *key, *pairs)

    def _prepare_ray(self) -> None:
        """Let Ray ask for a token, and put its sockets where only this user finds them."""
        if len(str(self._folder)) + _RAY_PATH > 107:  # what Linux takes for a socket's name
            raise KitError(f"{self._folder} is too long a name for Ray; set a shorter TMPDIR")
        token = self._keys / "ray"
        write_private(token, secrets.token_hex(32).encode())
        self._ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        self._ray |= {"RAY_TMPDIR": str(self._folder)}

    def _spawn(self, name: str, program: str, port: int, *options: str | Path) -> None:
        """Start a server of Flower's behind the gate, with TLS."""
        command = [sys.executable, "-m", "tinyreptile_lite.flower", program, *options]
        command += ["--host", HOST, "--port", str(port)]
        for option, file in {"ca-certfile": CA, "certfile": CERTIFICATE, "keyfile": KEY}.items():
            command += [f"--ssl-{option}", self._keys / file]
        with (self._folder / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(  # noqa: S603
                command,
                env=self._environment(name),
                stdin=subprocess.PIPE,  # they end when it does
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )

    def _environment(self, name: str) -> dict[str, str]:
        """Each process gets a home of its own, as if it were a machine of its own."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        home = {"FLWR_HOME": str(self._folder / f"home-{name}"), "PATH": path}
        return os.environ | QUIET | self._ray | home

    def _await_link(self) -> None:
        trusted = create_default_context(cafile=self._keys / CA)
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self._processes["superlink"].poll() is None:
            try:
                url = f"https://{self._address}/health"
                httpx.get(url, verify=trusted, trust_env=False).raise_for_status()  # no proxy
                return
            except httpx.HTTPError:
                time.sleep(0.2)
        last_words = " ".join(self.log().split()[-40:]) or "it said nothing"
        raise KitError(f"Flower's SuperLink does not start: {last_words}")

    def close(self) -> None:
        """End all processes and delete their folder."""
        for process in reversed(self._processes.values()):
            process.terminate()
        for process in self._processes.values():
            with process:  # closes its input: what it has started ends now, if it has not yet
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
        self._processes.clear()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()

    def log(self, name: str = "superlink") -> str:
        """Return all that a process has written so far: "superlink", "node-0" and so on."""
        return (self._folder / f"{name}.log").read_text(errors="replace")

    # ---- Flower's command line -------------------------------------------------------------------

    def _write_connection(self) -> None:
        home = Path(self._environment("user")["FLWR_HOME"])
        home.mkdir()
        (home / "config.toml").write_text(
            '[superlink]\ndefault = "local"\n\n[superlink.local]\n'
            f"address = {json.dumps(self._address)}\n"
            f"root-certificates = {json.dumps(str(self._keys / CA))}\n"
        )

    def _flwr(self, *arguments: str | Path, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start one command of ``flwr``."""
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "flwr.cli.app", *arguments],
            env=self._environment("user"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            errors="replace",
            cwd=self._folder,
        )

    def _ask(self, *arguments: str | Path) -> str:
        """Do one command of ``flwr``; return what it prints."""
        with self._flwr(*arguments) as process:
            out, err = process.communicate()
        if process.returncode:
            text = " ".join((out + err).split())
            raise KitError(f"flwr {arguments[0]} failed: {text[-500:]}")
        return _COLOUR.sub("", out)  # Jupyter asks every program for colours

    def run(
        self, out: Path, simulated_nodes: int = 0, **settings: str | int | float | bool
    ) -> Iterator[str]:
        """Do a run with ``flwr run --stream``; yield the lines of its log as they come.

        Nodes are simulated if this is for the simulation engine. The settings, and what ``out``
        is, are those of `tinyreptile_lite.flower.settings.Settings`. Raises `KitError` with the
        reason if the run fails.
        """
        settings |= {"out": str(out.resolve())}
        config = {name.replace("_", "-"): value for name, value in settings.items()}
        command = ["run", str(APP), "local", "--stream", "--run-config", _pairs(config)]
        if simulated_nodes:
            command += ["--federation-config", f"num-supernodes={simulated_nodes}"]
        with self._flwr(*command, stderr=subprocess.STDOUT) as process:
            try:
                assert process.stdout is not None
                yield from (_COLOUR.sub("", line).rstrip() for line in process.stdout)
            finally:
                process.kill()
        last = json.loads(self._ask("list", "local", "--format", "json"))["runs"][0]
        if last["status"] != "finished:completed":
            reason = last.get("status-details", "")
            reason = reason.removeprefix("ServerApp failed with exception: ")
            raise KitError(reason or last["status"])

    def run_steadily(
        self, out: Path, simulated_nodes: int = 0, **settings: str | int | float | bool
    ) -> Iterator[str]:
        """As `run`, but go on from ``out`` if Flower takes the run for dead.

        On a busy computer the heartbeat of Flower's server process may come late; Flower then ends
        the run. The finished rounds are in ``out``.
        """
        for tries_left in reversed(range(TRIES)):
            try:
                yield from self.run(out, simulated_nodes, **settings)
                return
            except KitError as error:
                if "heartbeat" not in str(error) or not tries_left:
                    raise
                yield f"{error}; the run goes on from {out}"
                settings["resume"] = True


def _make_folder() -> tuple[Path, IO[bytes]]:
    """Make a temporary folder with a locked file; delete those that killed processes have left."""
    with file_errors("set TMPDIR to a folder you can write to"):
        for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
            _delete_if_left(folder)
        new = Path(tempfile.mkdtemp(prefix=_FOLDER))
        lock = (new / "lock").open("wb")
    if sys.platform != "win32":
        fcntl.flock(lock, fcntl.LOCK_EX)
    return new, lock


def _delete_if_left(folder: Path) -> None:
    if sys.platform == "win32" or folder.lstat().st_uid != os.geteuid():
        return
    with suppress(OSError), (folder / "lock").open("rb") as lock:  # in use, or just being made
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """Return a port of this computer that nothing listens on."""
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


def _pairs(values: Mapping[str, str | int | float | bool]) -> str:
    """Write a configuration as Flower's command line wants it."""
    return " ".join(f"{name}={json.dumps(value)}" for name, value in values.items())
