"""The scripts for the Raspberry Pi, run here: they are plain shell, and this is a computer too."""

import configparser
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from strangers import NOBODY, as_stranger

from tinyreptile_lite import checkpoint
from tinyreptile_lite.cache import cache_folder
from tinyreptile_lite.flower.keys import make_keys
from tinyreptile_lite.flower.local import APP, QUIET, free_port
from tinyreptile_lite.serve.journal import read_journal

PI = Path(__file__).parents[1] / "pi"
ROLES = ("server", "client", "superlink")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a Raspberry Pi runs Linux")


@pytest.fixture
def home(tmp_path):
    """An empty home of somebody who is not root."""
    if os.geteuid() == 0:
        for folder in (tmp_path, *tmp_path.parents[:3]):
            folder.chmod(folder.stat().st_mode | 0o055)
        os.chown(tmp_path, NOBODY, NOBODY)
    return tmp_path


def run(script, *words, home, user=None, **variables):
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)} | variables
    environment["TINYREPTILE_CACHE"] = str(cache_folder())  # what was compiled once will do
    return subprocess.run(
        [PI / script, *words], capture_output=True, text=True, env=environment, user=user, cwd="/"
    )


def install(*words, home):
    user = NOBODY if os.geteuid() == 0 else None
    return run("install.sh", "--no-packages", *words, home=home, user=user)


def configure(home, role, text):
    folder = home / ".config" / "tinyreptile"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{role}.env").write_text(text)


@pytest.mark.parametrize("script", sorted(PI.glob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_are_plain_shell(script):
    assert subprocess.run(["sh", "-n", script]).returncode == 0
    assert os.access(script, os.X_OK) == (script.name != "common.sh")


@pytest.mark.parametrize("role", ROLES)
def test_installing_writes_settings_and_a_user_unit(home, role):
    done = install(role, home=home)
    assert done.returncode == 0, done.stderr
    assert f"enable --now tinyreptile-{role}" in done.stdout
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read(home / ".config" / "systemd" / "user" / f"tinyreptile-{role}.service")
    assert unit["Service"]["ExecStart"] == f'"{PI / role}.sh"'
    assert "User" not in unit["Service"]  # the user's own unit
    assert unit["Service"]["Restart"] == "on-failure"
    settings = home / ".config" / "tinyreptile" / f"{role}.env"
    assert settings.read_text() == (PI / f"{role}.env").read_text()


def test_installing_again_keeps_the_settings(home):
    install("server", home=home)
    settings = home / ".config" / "tinyreptile" / "server.env"
    settings.write_text("RUN=mine\n")
    done = install("server", home=home)
    assert "kept your settings" in done.stdout
    assert settings.read_text() == "RUN=mine\n"


@pytest.mark.parametrize(("words", "answer"), [((), "say what"), (("boss",), "'boss'")])
def test_slips(home, words, answer):
    done = install(*words, home=home)
    assert done.returncode == 2
    assert answer in done.stderr
    assert "server, client or superlink" in done.stderr
    assert not list(home.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try what root may not")
def test_root_is_refused(home):
    done = run("install.sh", "server", "--no-packages", home=home)
    assert (done.returncode, done.stdout) == (2, "")
    assert "do not run this as root" in done.stderr


@pytest.mark.parametrize("role", ROLES)
def test_without_settings_the_scripts_say_what_to_do(home, role):
    done = run(f"{role}.sh", home=home)
    assert done.returncode == 2
    assert f"run pi/install.sh {role} first" in done.stderr


def test_the_server_serves_and_goes_on(home):
    configure(home, "server", 'BOARDS="local:2 native:1"\nFAMILY=sine\nOPTIONS="--rounds 4"\n')
    for _ in range(2):
        done = run("server.sh", home=home, TINYREPTILE_VENV=sys.prefix)
        assert done.returncode == 0, done.stderr
        assert "4 rounds with 3 boards" in done.stdout
    state = home / ".local" / "state" / "tinyreptile"
    assert checkpoint.read(state / "run.npz")[1]["round"] == 4
    starts = [r for r in read_journal(state / "run.journal") if r.get("event") == "start"]
    assert [record["round"] for record in starts] == [0, 4]


@pytest.mark.parametrize(
    ("role", "text", "answer"),
    [
        ("client", "", "SUPERLINK is not set"),
        ("client", "SUPERLINK=superlink.local:9092\nNODE=pi-1\n", "keys/ca.crt; copy it"),
        ("superlink", "", "tinyreptile flower keys"),
    ],
)
def test_a_fleet_without_keys_is_one_sentence(home, role, text, answer):
    configure(home, role, text)
    done = run(f"{role}.sh", home=home, TINYREPTILE_VENV=sys.prefix)
    assert done.returncode == 2
    assert answer in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("role", "program", "shown"),
    [
        ("client", "supernode", ["--node-config", 'client="native"', "keys/pi-1"]),
        ("superlink", "superlink", ["--enable-supernode-auth", "127.0.0.1", "server.key", "9092"]),
    ],
)
def test_flower_gets_tls_keys_and_words_that_it_knows(home, role, program, shown):
    """What the script would run is printed instead, and held against Flower's own help."""
    venv, keys = home / "venv" / "bin", home / ".config" / "tinyreptile" / "keys"
    venv.mkdir(parents=True)
    (venv / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (venv / "python").chmod(0o755)
    keys.mkdir(parents=True)
    for name in ("ca.crt", "pi-1", "server.pem", "server.key"):
        (keys / name).touch()
    configure(home, role, "SUPERLINK=superlink.local:9092\nNODE=pi-1\n")
    done = run(f"{role}.sh", home=home, TINYREPTILE_VENV=str(home / "venv"))
    words = ("tinyreptile_lite.flower", program, *shown, "ca.crt")  # behind the gate
    assert all(word in done.stdout for word in words), done.stdout + done.stderr
    real = shutil.which(f"flower-{program}", path=str(Path(sys.executable).parent))
    assert real, "Flower is missing; pip install 'tinyreptile-lite[flower]'"
    known = subprocess.run([real, "--help"], capture_output=True, text=True).stdout
    for option in re.findall(r"^--[\w-]+", done.stdout, flags=re.MULTILINE):
        assert option in known


@contextmanager
def started(script, home, **variables):
    """Run a script in the background, with a PATH like systemd's; then end it."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "TINYREPTILE_VENV": sys.prefix}
    with (home / f"{script}.log").open("wb") as log:
        process = subprocess.Popen(
            [PI / script], env=environment | variables, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def flwr(home, *words):
    environment = os.environ | QUIET | {"FLWR_HOME": str(home / "flwr")}
    program = Path(sys.executable).parent / "flwr"
    done = subprocess.run([program, *words], env=environment, capture_output=True, text=True)
    return done.returncode == 0, done.stdout + done.stderr


def test_a_pi_learns_in_a_fleet_with_tls_and_keys(tmp_path):
    """The real scripts and the real Flower, on this computer's loopback."""
    keys, port = tmp_path / ".config" / "tinyreptile" / "keys", free_port()
    make_keys(keys, ["127.0.0.1"], ["pi-1"])
    configure(tmp_path, "superlink", f"PORT={port}\n")
    configure(tmp_path, "client", f"SUPERLINK=127.0.0.1:{port}\nNODE=pi-1\n")
    (tmp_path / "flwr").mkdir()
    (tmp_path / "flwr" / "config.toml").write_text(
        f'[superlink]\ndefault = "kit"\n\n[superlink.kit]\naddress = "127.0.0.1:{port}"\n'
        f'root-certificates = "{keys / "ca.crt"}"\n'
    )
    config = f'rounds=1 devices=5 seed=5 client="native" out="{tmp_path / "phi.npz"}"'
    with started("superlink.sh", tmp_path, FLWR_HOME=str(tmp_path / "link")):
        end = time.monotonic() + 120
        while not (answer := flwr(tmp_path, "supernode", "register", keys / "pi-1.pub"))[0]:
            assert time.monotonic() < end, (tmp_path / "superlink.sh.log").read_text() + answer[1]
        with socket.socket() as elsewhere:  # another of this computer's addresses
            assert elsewhere.connect_ex(("127.0.0.2", port)) != 0
        if os.geteuid() == 0:
            runs = f"https://127.0.0.1:{port}/v1/control/list-runs"
            code = as_stranger(lambda: str(httpx.post(runs, verify=False).status_code))
            assert code == "403"
        with started("client.sh", tmp_path, FLWR_HOME=str(tmp_path / "node")):
            done, text = flwr(tmp_path, "run", APP, "--stream", "--run-config", config)
    assert done and "1 rounds done" in text, text
    assert checkpoint.read(tmp_path / "phi.npz")[1]["round"] == 1
