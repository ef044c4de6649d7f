"""Scores as rows and tables."""

import numpy as np
import pytest

from tinyreptile_lite.tables import as_rows, command_lines, only, table


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
    assert table([short], "mse").splitlines()[-1].split() == ["joint", "2.000", "+-2.483", "3.000"]


def test_a_command_too_long_for_a_page_breaks_before_its_options():
    short, strategies = "tinyreptile compare sine --json", ",".join(["reptile"] * 12)
    assert command_lines(short) == short
    command = f"tinyreptile compare wrist --strategies {strategies} --json"
    lines = command_lines(command).splitlines()
    assert [line.split()[0] for line in lines] == ["tinyreptile", "--strategies", "--json"]
    assert [line.endswith(" \\") for line in lines] == [True, True, False]
    assert command_lines(command).replace("\\\n", "").split() == command.split()
