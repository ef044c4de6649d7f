"""The command line: what it prints, and one sentence for every slip."""

import json
import re
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

from tinyreptile_lite import checkpoint, cli
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.figures.known import FIGURES
from tinyreptile_lite.recipes import recipes
from tinyreptile_lite.results import measured


@pytest.fixture(autouse=True)
def keep_warnings_as_they_were():
    with warnings.catch_warnings():  # the command line shows warnings its own way
        yield


@pytest.fixture
def run(capsys):
    """Run a command that must succeed; gives what it printed, read as JSON if asked for."""

    def command(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return json.loads(printed.out) if "--json" in arguments else printed.out

    return command


@pytest.fixture
def slip(capsys):
    """Run a command that must fail with exit code 2, one line, and nothing on standard output."""

    def command(*arguments, words):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse
            code = stop.code
        printed = capsys.readouterr()
        assert code == 2
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        assert line.startswith("tinyreptile")
        for word in words:
            assert str(word) in line

    return command


# train, resume and adapt


@pytest.mark.parametrize("strategy", [name for name in recipes("sine") if name != "scratch"])
def test_every_strategy_trains_and_adapts(strategy, run, tmp_path):
    out = tmp_path / "phi.npz"
    options = ["--strategy", strategy, "--json"]
    trained = run("train", "sine", *options, "--rounds", 2, "--out", out)
    assert trained["strategy"] == strategy and trained["rounds"] == 2
    assert np.isfinite(trained["loss"])
    adapted = run("adapt", "sine", *options, "--phi", out, "--device", "new-sine-7")
    assert list(adapted["adapted_samples"]) == ["0", "1", "2", "4", "8", "16", "32"]


@pytest.mark.parametrize("family", ["wrist", "wrist-commands", "wrist-any"])
def test_wrists_train_and_adapt(family, run, tmp_path):
    out = tmp_path / "phi.npz"
    run("train", family, "--rounds", 1, "--fold", 2, "--out", out)
    adapted = run("adapt", family, "--fold", 2, "--phi", out, "--json")
    assert list(adapted["adapted_samples"]) == ["0", "7", "14", "21"]
    assert (adapted["metric"], adapted["devices"]) == ("accuracy", 2)


def test_the_seed_decides(run, tmp_path):
    phis = []
    for i, seed in enumerate((5, 5, 6)):
        run("train", "sine", "--rounds", 3, "--seed", seed, "--out", tmp_path / f"{i}.npz")
        phis.append(checkpoint.read(tmp_path / f"{i}.npz")[0])
    assert np.array_equal(phis[0], phis[1]) and not np.array_equal(phis[0], phis[2])


def test_a_stopped_run_resumes_bit_equal(run, tmp_path, monkeypatch, capsys):
    whole, stopped = tmp_path / "whole.npz", tmp_path / "stopped.npz"
    options = ["train", "sine", "--rounds", "210"]
    run(*options, "--out", whole)
    step = Federation.step

    def stop(self):
        if self.round == 130:
            raise KeyboardInterrupt
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Federation, "step", stop)
        assert cli.main([*options, "--out", str(stopped)]) == 130
    assert capsys.readouterr().err.splitlines() == ["tinyreptile: stopped"]
    assert checkpoint.read(stopped)[1]["round"] == 100
    run(*options, "--out", stopped, "--resume")
    assert checkpoint.read(stopped)[0].tobytes() == checkpoint.read(whole)[0].tobytes()


def test_one_device_can_be_chosen(run, tmp_path):
    out = tmp_path / "phi.npz"
    run("train", "sine", "--rounds", 1, "--out", out)
    adapted = run("adapt", "sine", "--phi", out, "--device", "new-sine-7", "--json")
    assert adapted["devices"] == 1
    text = run("adapt", "sine", "--phi", out)
    assert "tinyreptile" in text and "mse" in text


# compare

ROW = {
    "strategy",
    "adapted_samples",
    "rounds",
    "bytes_up",
    "bytes_down",
    "device_ram_bytes",
    "adaptation",
    "adaptation_ram_bytes",
    "seeds",
}


@pytest.mark.parametrize(
    ("family", "counts"),
    [("sine", ["0", "1", "2", "4", "8", "16", "32"]), ("wrist", ["0", "7", "14", "21"])],
)
def test_compare_prints_rows(family, counts, run, tmp_path):
    plot = tmp_path / "plot.png"
    options = ["--strategies", "scratch", "--seeds", 1, "--jobs", 1, "--plot", plot]
    result = run("compare", family, *options, "--json")
    (row,) = result["rows"]
    assert set(row) == ROW
    assert list(row["adapted_samples"]) == counts
    for score in row["adapted_samples"].values():
        assert set(score) == {"mean", "ci95", "worst"}
        assert all(np.isfinite(value) for value in score.values())
    assert row["seeds"] == [0]
    assert plot.read_bytes().startswith(b"\x89PNG")


# Slips


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "cosine"], ["'cosine'", "sine", "wrist-commands"]),
        (["train", "sine", "--strategy", "fedprox"], ["'fedprox'", "tinyreptile", "fedavg"]),
        (["train", "sine", "--strategy", "scratch"], ["scratch trains nothing"]),
        (["train", "sine", "--rounds", "0"], ["rounds is 0", "at least 1"]),
        (["train", "sine", "--rounds", "-5"], ["rounds is -5", "at least 1"]),
        (["train", "sine", "--seed", "-1"], ["seed is -1", "at least 0"]),
        (["train", "sine", "--fold", "1"], ["fold is 1", "0 to 0"]),
        (["train", "wrist", "--fold", "10"], ["fold is 10", "0 to 9"]),
        (["train", "sine", "--out", "missing/phi.npz"], ["missing/phi.npz", "folder"]),
        (["adapt", "sine", "--phi", "none.npz"], ["none.npz", "train first"]),
        (["adapt", "cosine"], ["'cosine'", "sine"]),
        (["compare", "sine", "--strategies", "tinyreptile,fedprox"], ["'fedprox'", "fedsgd"]),
        (["compare", "sine", "--strategies", "tinyreptile,"], ["''", "fedsgd"]),
        (["compare", "sine", "--rounds", "0"], ["rounds is 0", "at least 1"]),
        (["compare", "sine", "--rounds", "-1", "--strategies", "scratch"], ["rounds is -1"]),
        (["compare", "sine", "--seeds", "0"], ["seeds is 0", "at least 1"]),
        (["compare", "sine", "--seed", "-1"], ["seed is -1", "at least 0"]),
        (["compare", "sine", "--jobs", "0"], ["jobs is 0", "at least 1"]),
        (["compare", "sine", "--draws", "-1"], ["draws is -1", "at least 1"]),
        (["compare", "sine", "--plot", "missing/plot.png"], ["missing/plot.png", "folder"]),
        (["compare", "sine", "--plot", "plot.docx"], ["plot.docx", ".png"]),
        (["bench", "speed"], ["'speed'", "host"]),
        (["train", "sine", "--rounds", "many"], ["--rounds", "'many'"]),
        (["trian", "sine"], ["'trian'", "train"]),
        ([], ["COMMAND"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_slip_gets_one_sentence(arguments, words, slip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    slip(*arguments, words=words)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(run, slip, tmp_path):
    out = tmp_path / "phi.npz"
    run("train", "sine", "--rounds", 2, "--out", out)
    content = out.read_bytes()
    train = ["train", "sine", "--out", out]
    slip(*train, "--rounds", 2, words=[out, "already there", "--resume"])
    slip(*train, "--rounds", 3, "--resume", words=[out, "another run (rounds", "another file name"])
    slip(*train, "--rounds", 2, "--resume", "--seed", 1, words=["another run (seed"])
    slip(*train, "--rounds", 2, "--resume", "--strategy", "joint", words=["another run (strategy"])
    assert out.read_bytes() == content
    assert list(tmp_path.iterdir()) == [out]


def test_a_file_that_is_no_checkpoint_is_kept(slip, tmp_path):
    out = tmp_path / "thesis.npz"
    out.write_text("three years of work")
    slip("train", "sine", "--out", out, "--resume", words=[out, "no checkpoint"])
    slip("adapt", "sine", "--phi", out, words=[out, "no checkpoint"])
    assert out.read_text() == "three years of work"


def test_a_folder_that_is_a_file_is_named(slip, tmp_path):
    blocker = tmp_path / "results"
    blocker.write_text("precious")
    slip("train", "sine", "--out", blocker / "phi.npz", words=[blocker, "folder"])
    slip("compare", "sine", "--plot", blocker / "plot.png", words=[blocker, "folder"])
    slip("demo", "--out", blocker, words=[blocker, "--out"])
    assert blocker.read_text() == "precious"


def test_phi_of_another_network_is_refused(run, slip, tmp_path):
    out = tmp_path / "phi.npz"
    run("train", "sine", "--rounds", 1, "--out", out)
    slip("adapt", "wrist", "--phi", out, words=[out, "another network"])


@pytest.mark.parametrize(("part", "value"), [("data", None), ("data", {}), ("strategy", [])])
def test_weights_that_do_not_say_where_they_come_from_are_not_exported(
    run, slip, tmp_path, part, value
):
    out = tmp_path / "phi.npz"
    run("train", "sine", "--rounds", 1, "--out", out)
    phi, state = checkpoint.read(out)
    state["identity"][part] = value
    checkpoint.write_npz(out, phi=phi, state=np.array(json.dumps(state)))
    slip("export", "sine", "--phi", out, "--out", tmp_path, words=[out, "how it was trained"])


def test_an_unknown_device_lists_some(run, slip, tmp_path):
    out = tmp_path / "phi.npz"
    run("train", "sine", "--rounds", 1, "--out", out)
    words = ["'sine-7'", "new-sine-0", "..."]
    slip("adapt", "sine", "--phi", out, "--device", "sine-7", words=words)


def test_phi_that_has_seen_the_test_devices_is_refused(run, slip, tmp_path):
    """Adapting devices of another fold would test people who were trained on."""
    out = tmp_path / "phi.npz"
    run("train", "wrist", "--rounds", 1, "--fold", 0, "--out", out)
    slip("adapt", "wrist", "--fold", 1, "--phi", out, words=[out, "has seen", "--fold"])
    slip("adapt", "wrist-commands", "--phi", out, words=[out, "task family"])
    slip(
        *("train", "wrist", "--rounds", 1, "--fold", 1, "--out", out, "--resume"),
        words=[out, "another run (data"],
    )


def test_a_benchmark_prints_median_and_quartiles(run):
    lines = run("bench", "wire").splitlines()
    assert len(lines) == len(measured("wire")["rows"])
    for line in lines:
        assert re.fullmatch(r"\S+ +[\d.]+ (ratio|kB/s) +quartiles [\d.]+ and [\d.]+", line)


def test_figures_are_checked_and_refused_by_name(run, slip, monkeypatch):
    assert run("figures", "--check", "wire", "sine-20000-visits") == ""
    slip("figures", "mnist", words=["'mnist'", "sine-20000-visits"])
    slip("figures", "sine", "--jobs", 0, words=["jobs is 0"])
    name = measured("wire")["rows"][0]["name"]
    changed = replace(FIGURES["wire"], fingerprint=lambda: {name: "0.5"})
    monkeypatch.setitem(FIGURES, "wire", changed)
    words = ["stale", f"{name} give other numbers", "again: tinyreptile figures wire"]
    slip("figures", "--check", "wire", words=words)


def test_the_installed_command_shows_no_traceback(tmp_path):
    command = [sys.executable, "-m", "tinyreptile_lite.cli", "train", "sine", "--rounds", "0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tinyreptile: rounds is 0; give a whole number of at least 1\n"


def test_a_diverging_run_says_what_to_lower_and_keeps_the_file(slip, tmp_path, monkeypatch):
    out = tmp_path / "phi.npz"
    step = Federation.step

    def explode(self):
        if self.round == 3:
            self.phi = np.full_like(self.phi, 1e38)
        step(self)

    monkeypatch.setattr(Federation, "step", explode)
    words = ["round 4", "client sine-", "lower the inner rate (0.019)"]
    slip("train", "sine", "--rounds", 9, "--out", out, words=words)
    assert np.isfinite(checkpoint.read(out)[0]).all()
