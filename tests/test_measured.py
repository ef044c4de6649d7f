"""The stored comparisons are those of the recipes as they are now.

If not: ``python -m tinyreptile_lite.lab.measured``, then run the notebooks that read them again.
"""

from pathlib import Path

import numpy as np
import pytest

from tinyreptile_lite.experiment import costs_row
from tinyreptile_lite.lab import measured as module
from tinyreptile_lite.lab.measured import COMMANDS, as_rows, main, measured, only, settings
from tinyreptile_lite.recipes import find_recipe, recipes
from tinyreptile_lite.tasks import find_family


@pytest.mark.parametrize("name", COMMANDS)
def test_stored_rows_are_those_of_todays_recipes(name):
    result = measured(name)
    family = find_family(result["family"])
    assert result["metric"] == family.metric
    for row in result["rows"]:
        rounds = row["rounds"] if "visits" in name else None
        recipe = find_recipe(family.name, row["strategy"]).with_rounds(rounds)
        assert {key: row[key] for key in costs_row(family, recipe)} == costs_row(family, recipe)
        assert list(row["adapted_samples"]) == [str(count) for count in family.counts]
        assert row["seeds"] == [0, 1, 2]
    assert result["command"] == f"tinyreptile {COMMANDS[name]}"
    assert result["recipes"] == settings(family.name, [row["strategy"] for row in result["rows"]])


def test_the_stored_comparison_of_sines_holds_every_strategy():
    assert [row["strategy"] for row in measured("sine")["rows"]] == list(recipes("sine"))


README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_figures_in_the_readme_are_the_stored_ones(name):
    for row in measured(name)["rows"]:
        for scores in _in_readme(name, row):
            assert f"{scores['mean']:.3f} ± {scores['ci95']:.3f}" in README, row["strategy"]


def _in_readme(name, row):
    counts = {"sine": ("0", "8", "32"), "sine-20000-visits": ("8", "32")}
    default = ("21",) if "visits" in name else ("0", "14", "21")
    return [row["adapted_samples"][count] for count in counts.get(name, default)]


def test_scores_of_ones_own_become_rows():
    scores = {"joint": np.array([[4.0, 1.0], [2.0, 3.0], [3.0, 2.0]])}
    (row,) = as_rows(scores, (0, 8), "mse")
    assert row["strategy"] == "joint"
    assert list(row["adapted_samples"]) == ["0", "8"]
    assert row["adapted_samples"]["8"]["mean"] == 2
    assert row["adapted_samples"]["0"]["worst"] == 4
    assert row["adapted_samples"]["0"]["ci95"] == pytest.approx(4.30 / np.sqrt(3))
    (short,) = only([row], [8])
    assert short == row | {"adapted_samples": {"8": row["adapted_samples"]["8"]}}


def test_unknown_and_missing_comparisons_are_refused(tmp_path, monkeypatch, refuses):
    with refuses("unknown comparison 'omniglot'", "sine, sine-20000-visits"):
        measured("omniglot")
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    with refuses("sine.json", "python -m tinyreptile_lite.lab.measured sine"):
        measured("sine")


def test_a_comparison_is_made_by_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    command = "compare sine --strategies scratch --seeds 1 --jobs 1 --json"
    monkeypatch.setitem(COMMANDS, "sine", command)
    assert main(["sine"]) == 0
    assert [row["strategy"] for row in measured("sine")["rows"]] == ["scratch"]
    assert [path.name for path in tmp_path.iterdir()] == ["sine.json"]


def test_a_failing_command_leaves_the_old_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    (tmp_path / "sine.json").write_text("{}")
    monkeypatch.setitem(COMMANDS, "sine", "compare sine --seeds 0 --json")
    assert main(["sine"]) == 2
    assert [path.read_text() for path in tmp_path.iterdir()] == ["{}"]
    assert main(["omniglot"]) == 2
    assert "unknown comparison" in capsys.readouterr().err
