"""The command `reproduce`: tables as they are stored, each row with its way to adapt."""

import json

import numpy as np
import pytest

from tinyreptile_lite.bench.together import FAMILIES
from tinyreptile_lite.cli import main
from tinyreptile_lite.figures.known import FIGURES
from tinyreptile_lite.figures.reproduce import SUBJECTS
from tinyreptile_lite.results import measured


def test_every_subject_has_its_figures():
    assert {name for names in SUBJECTS.values() for name in names} <= set(FIGURES)


@pytest.mark.parametrize("subject", [name for name in SUBJECTS if name not in ("claim", "costs")])
def test_the_stored_rows_are_those_of_the_figures(subject, capsys):
    assert main(["reproduce", subject, "--stored", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = [row for name in SUBJECTS[subject] for row in measured(name)["rows"]]
    assert found["rows"] == rows
    assert found["protocol"]["seeds"] == 3
    for row in rows:
        assert {"strategy", "adaptation", "adapted_samples", "device_ram_bytes"} <= set(row)
    ways = [(row["strategy"], row["adaptation"], row["rounds"]) for row in rows]
    assert len(set(ways)) == len(ways) or subject == "keywords"  # there with new words, too


def test_the_rows_of_the_costs_are_named_by_family(capsys):
    assert main(["reproduce", "costs", "--stored", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    named = {row["name"]: row["value"] for row in rows if "name" in row}
    for family in FAMILIES:
        for ratio in ("bytes_up_ratio", "energy_ratio", "accuracy_loss"):
            assert np.isfinite(named[f"{family}.{ratio}"])
    assert main(["reproduce", "costs", "--stored"]) == 0
    text = capsys.readouterr().out
    assert "tinymetafed, head stays" in text and "wrist.energy_ratio" in text


def test_all_are_printed(capsys):
    assert main(["reproduce", "--stored"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for names in SUBJECTS.values() for name in names)
    assert "omniglot.ram_ratio" in text and "tinyreptile, 4 passes" in text


def test_what_the_readme_says_of_own_commands_is_so():
    rows = {(r["strategy"], r["adaptation"]): r for r in measured("wrist-commands")["rows"]}
    four, alone = rows["tinyreptile", "4 passes"], rows["scratch", "60 passes in minibatches"]
    for count, one in four["adapted_samples"].items():
        other = alone["adapted_samples"][count]
        assert abs(one["mean"] - other["mean"]) < np.hypot(one["ci95"], other["ci95"])
    one_pass = rows["tinyreptile", "one pass"]["adaptation_ram_bytes"]
    assert one_pass < 0.4 * alone["adaptation_ram_bytes"]


def test_slips_are_one_sentence(capsys):
    for slip, words in ((["sinus"], "'sinus'"), (["sine", "--jobs", "0"], "jobs is 0")):
        assert main(["reproduce", *slip]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
