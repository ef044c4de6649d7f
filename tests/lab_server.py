"""A JupyterLab server for the tests, on a copy of notebooks and with no settings of the user."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 90  # seconds until a server must answer
# Every cell stands in the page, also those out of sight; nobody is asked whether they want news.
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@dataclass(frozen=True)
class LabServer:
    """A running server and the folder that it shows."""

    url: str
    token: str
    folder: Path

    def page(self, notebook: Path) -> str:
        """Address of a notebook in JupyterLab, in a workspace of its own."""
        place = notebook.relative_to(self.folder).as_posix()
        return f"{self.url}lab/workspaces/{notebook.stem}/tree/{place}?token={self.token}"

    def end_kernels(self) -> None:
        """End all kernels, as nobody looks at their notebooks any more."""
        for session in json.loads(self._ask("api/sessions")):
            self._ask(f"api/sessions/{session['id']}", "DELETE")

    def _ask(self, path: str, method: str = "GET") -> bytes:
        headers = {"Authorization": f"token {self.token}"}
        asked = urllib.request.Request(self.url + path, headers=headers, method=method)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.read()


@contextmanager
def lab_server(folder: Path, own: Path, log: Path) -> Iterator[LabServer]:
    """Run JupyterLab as ``make lab`` does. ``own`` is for its files, ``log`` for what it says."""
    for name, settings in SETTINGS.items():
        file = own / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1"]
    command += ["--ServerApp.port=0", f"--ServerApp.root_dir={folder}"]
    command += ["--allow-root"] if hasattr(os, "getuid") and os.getuid() == 0 else []
    with log.open("wb") as said:
        server = subprocess.Popen(
            command, env=_environment(own, token), cwd=folder, stdout=said, stderr=said
        )
        try:
            yield LabServer(_address(server, own / "runtime", log), token, folder)
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()


def _environment(own: Path, token: str) -> dict[str, str]:
    """Where all that the server and its kernels read and write is in the folder ``own``."""
    folders = {
        "JUPYTER_CONFIG_DIR": own / "config",
        "JUPYTER_DATA_DIR": own / "data",
        "JUPYTER_RUNTIME_DIR": own / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": own / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": own / "workspaces",
        "IPYTHONDIR": own / "ipython",
    }
    # Where the tests find the kit, the kernels must find it, too.
    path = os.pathsep.join([str(Path(__file__).parent.parent), *_python_path()])
    secret = {"JUPYTER_TOKEN": token, "JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": path}
    return os.environ | {name: str(folder) for name, folder in folders.items()} | secret


def _python_path() -> list[str]:
    return list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))


def _address(server: subprocess.Popen, runtime: Path, log: Path) -> str:
    """Wait until the server has written down its address, and return it."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and server.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            try:
                return json.loads(file.read_text())["url"]
            except (json.JSONDecodeError, KeyError):
                continue  # half written
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab does not start: {log.read_text(errors='replace')[-2000:]}")


def copy_without_outputs(notebook: Path, folder: Path) -> Path:
    """Copy a notebook, so that each output that is seen later comes from a fresh run."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    copy = folder / notebook.name
    copy.write_text(json.dumps(content), encoding="utf-8")
    return copy


def copy_course(notebooks: list[Path], folder: Path) -> list[Path]:
    """Copy the notebooks, and the sketches that they look for beside them."""
    here = folder / "notebooks"
    here.mkdir(parents=True)
    sketches = notebooks[0].parent.parent / "arduino"
    shutil.copytree(sketches, folder / "arduino")
    return [copy_without_outputs(notebook, here) for notebook in notebooks]
