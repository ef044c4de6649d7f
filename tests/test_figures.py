"""Figures are those of today's code, and stand in the documents as they are stored.

If a test here says that one is stale, it names the command that makes it again. Then run the
notebooks that read the results.
"""

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from documents import DOCUMENTS, written
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite import results
from tinyreptile_lite.bench import equal
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.experiment import Comparison, Trial, compare, costs_row
from tinyreptile_lite.figures import known, make
from tinyreptile_lite.figures.fingerprint import agree, fingerprint, first_rounds
from tinyreptile_lite.figures.known import Figure, compared
from tinyreptile_lite.recipes import find_recipe, recipes
from tinyreptile_lite.results import measured
from tinyreptile_lite.settings import spoken
from tinyreptile_lite.tasks import DATA_SETS, find_family

ROOT = Path(__file__).parents[1]


def _with_data(name):
    """A figure's name; it is left out where the data set that it is made of is not."""
    used = json.dumps(known.FIGURES[name].settings.get("data", {}))
    lacks = [
        data.command
        for data in DATA_SETS.values()
        if any(one.name in used and data.find(one) is None for one in data.archives)
    ]
    return pytest.param(name, marks=pytest.mark.skipif(bool(lacks), reason="; ".join(lacks)))


@pytest.mark.parametrize("name", [*map(_with_data, known.FIGURES)])
def test_a_stored_figure_is_what_would_be_made_today(name):
    assert make.stale(name) == ""


def test_every_stored_file_is_a_known_figure():
    assert {path.stem for path in results.FOLDER.glob("*.json")} == set(known.FIGURES)
    assert [row["strategy"] for row in measured("sine")["rows"]] == list(recipes("sine"))


COMPARED = [name for name, figure in known.FIGURES.items() if "metric" in figure.settings]


@pytest.mark.parametrize("name", COMPARED)
def test_stored_rows_have_the_costs_of_their_recipes(name):
    stored = measured(name)
    family = find_family(stored["family"])
    for row in stored["rows"]:
        known_recipe = find_recipe(family.name, row["strategy"])
        recipe = equal.recipe(family.name) if name.endswith("-equal") else known_recipe
        recipe = recipe.with_rounds(None if recipe.start else row["rounds"] or None)
        ways = {spoken(way): way for way in recipe.adaptations}
        costs = costs_row(family, recipe, ways[row["adaptation"]])
        assert row == row | {"strategy": recipe.name} | costs
        assert list(row["adapted_samples"]) == [str(count) for count in family.counts]
        assert row["seeds"] == [0, 1, 2]


def test_links_that_fail_and_kills_lose_nothing():
    """The README says so."""
    rows = {row["name"]: row["value"] for row in measured("faults")["rows"]}
    assert rows["kills.kills"] == 200 and rows["resets.resets"] > 200
    for name, value in rows.items():
        if name.endswith((".lost", ".doubled")):
            assert value == 0
        if name.endswith(".phi_equal"):
            assert value == 1


# Fingerprints


@given(st.integers(0, 2**32), st.integers(1, 2000))
def test_rounding_does_not_change_a_fingerprint_and_other_settings_do(seed, size):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=size).astype(np.float32)
    rounded = values * (1 + 1e-6 * rng.uniform(-1, 1, size)).astype(np.float32)
    assert agree(fingerprint(values), fingerprint(rounded))
    assert not agree(fingerprint(values), fingerprint(values + 1e-3 * rng.normal(size=size)))
    assert not agree(fingerprint(values), fingerprint(values, values))


@pytest.mark.parametrize("name", ["tinyreptile", "reptile-adam", "fedavg", "fedsgd", "joint"])
def test_one_percent_of_a_rate_shows(name):
    recipe = find_recipe("sine", name)
    learner = recipe.strategy.learner
    other = replace(learner, rate=1.01 * learner.rate)
    changed = replace(recipe, strategy=replace(recipe.strategy, learner=other))
    adapted = replace(recipe, adaptation=replace(recipe.adaptation, rate=1.01 * learner.rate))
    (twin,) = Comparison("sine", (recipe,), (0,)).in_c().recipes
    same, *others = (
        first_rounds(Trial("sine", one, seed, 0, 1))
        for one, seed in ((recipe, 0), (changed, 0), (adapted, 0), (recipe, 1))
    )
    assert agree(same, first_rounds(Trial("sine", twin, 0, 0, 1)))
    assert not any(agree(same, other) for other in others)


def test_a_stale_figure_says_how_to_make_it_again(monkeypatch):
    name = "sine-20000-visits"
    figure = known.FIGURES[name]
    recipe = find_recipe("sine", "tinyreptile").with_rounds(20_000)
    changed = replace(recipe, adaptation=replace(recipe.adaptation, rate=0.03))
    other = compared(name, "sine", [changed], command=figure.command)
    monkeypatch.setitem(known.FIGURES, name, other)
    assert "its recipes is now" in make.stale(name)
    assert make.stale(name).endswith(f"make it again: tinyreptile figures {name}")
    same_settings = replace(other, settings=figure.settings)  # other code, not other recipes
    monkeypatch.setitem(known.FIGURES, name, same_settings)
    assert "the first rounds of tinyreptile give other numbers" in make.stale(name)
    monkeypatch.setitem(known.FIGURES, name, replace(same_settings, fingerprint=dict))
    assert "made of other runs" in make.stale(name)


@pytest.mark.parametrize("name", ["HelloTinyReptile", "demo"])
def test_a_file_that_was_changed_by_hand_is_found(name, tmp_path):
    assert "is not the file that was made" in make.stale(name, root=tmp_path)


# Documents


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_hold_the_stored_figures(name):
    text = (ROOT / name).read_text()
    assert written(name, text) == text, "tinyreptile figures writes them"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_number_that_is_typed_is_put_right(name):
    text = (ROOT / name).read_text()
    marked = [m.span() for m in re.finditer("<!-- figures.*?<!-- end", text, flags=re.DOTALL)]
    for digit in re.finditer(r"\d(?= ([|±]|bytes))", text):
        if any(start < digit.start() < end for start, end in marked):
            typed = text[: digit.start()] + str((int(digit[0]) + 1) % 10) + text[digit.end() :]
            assert written(name, typed) == text
    for sentence in DOCUMENTS[name][1]:
        opening = sentence.split("{}")[0].rstrip()
        start = re.search(r"\s+".join(map(re.escape, opening.split())), text).end()
        number = re.search(r"\d", text[start:]).start() + start
        typed = text[:number] + "9" + text[number:]
        assert written(name, typed) == text


COUNTS = {"before adapting": "0", "after 8 samples": "8", "after 32 samples": "32"} | {
    "14 windows": "14",
    "21 windows": "21",
}


def table(name, figure):
    """Cells of a table by column, one dictionary a row."""
    text = (ROOT / name).read_text().split(f"<!-- figures: {figure} -->\n")[1]
    head, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.split("<!-- end -->")[0].splitlines()
    )
    return [dict(zip(head, row, strict=True)) for row in rows]


@pytest.mark.parametrize(
    ("figure", "count"), [("wrist-commands", "21"), ("omniglot", "25"), ("keywords", "12")]
)
def test_every_way_to_adapt_in_the_readme_is_the_stored_one(figure, count):
    stored = {(r["strategy"], r["adaptation"]): r for r in measured(figure)["rows"]}
    for cells in table("README.md", figure):
        name = cells.pop("trained by")
        for kind, cell in cells.items():
            found = stored[name, kind]["adapted_samples"][count]
            assert cell == f"{found['mean']:.3f} ± {found['ci95']:.3f}"


def test_the_claim_in_the_readme_is_the_stored_one():
    values = {row["name"]: row["value"] for row in measured("claim")["rows"] if "name" in row}
    for cells in table("README.md", "claim"):
        assert float(cells["RAM"]) == round(values[f"{cells['family']}.ram_ratio"], 2)
        found = values[f"{cells['family']}.instructions_ratio"]
        assert float(cells["the whole training"]) == round(found, 2)


@pytest.mark.parametrize("figure", ["sine", "wrist"])
def test_every_score_in_the_readme_is_the_stored_one(figure):
    stored = measured(figure)["rows"]
    stored += measured("wrist-reptile-adam")["rows"] if figure == "wrist" else []
    rows = {row["strategy"]: row for row in stored}
    for cells in table("README.md", figure):
        row = rows.pop(cells.pop("strategy"))
        for column, cell in cells.items():
            if column in COUNTS:
                found = row["adapted_samples"][COUNTS[column]]
                assert cell == f"{found['mean']:.3f} ± {found['ci95']:.3f}"
            elif column == "worst wrist":
                assert float(cell) == round(row["adapted_samples"]["21"]["worst"], 3)
            else:
                assert cell == f"{row['device_ram_bytes']:,} bytes"
    assert not rows


def test_every_cost_in_the_table_of_the_board_is_the_stored_one():
    stored = measured("device")["rows"]
    kinds = {"GCC 12.2": "gcc", "zig (clang)": "zig"}
    columns = {
        "instructions": ("instructions", 0),
        "RAM": ("ram_bytes", 0),
        "Reptile's RAM": ("reptile_ram_ratio", 2),
        "Reptile's instructions": ("reptile_instructions_ratio", 1),
    }
    names = [name for name in ("mlp_1_32_32_1", "mlp_64_32_10", "wrist") for _ in range(2)]
    for name, cells in zip(names, table("arduino/README.md", "device"), strict=True):
        rows = {
            row["name"]: row["value"]
            for row in stored
            if kinds[cells["compiler"]] in row["compiler"]
        }
        for column, (what, digits) in columns.items():
            value = rows[f"{name}.{what}"]
            assert float(cells[column].replace(",", "")) == round(value, digits)
        middle, low, high = (rows[f"{name}.cycles_{part}"] for part in ("model", "low", "high"))
        ends = (f"{float(f'{end:.3g}'):,.0f}" for end in (low, high))
        assert cells["cycles"] == f"{middle:,.0f} ({' to '.join(ends)})"


def test_no_table_in_the_documents_holds_figures_that_are_typed():
    for name in DOCUMENTS:
        text = re.sub("<!-- figures.*?<!-- end", "", (ROOT / name).read_text(), flags=re.DOTALL)
        for line in text.splitlines():
            assert not re.search(r"^\|.*(\d\.\d|\d,\d{3}|±)", line), line


def test_the_page_in_the_readme_is_the_code_itself():
    code = (ROOT / "tinyreptile_lite" / "tinyreptile.py").read_text()
    text = (ROOT / "README.md").read_text()
    begin, end = code.index("def forward"), code.index("\n\n\n# All of it was above.")
    block = f"<!-- figures: page -->\n```python\n{code[begin:end]}\n```\n<!-- end -->"
    assert block in text and block.endswith("    return phi\n```\n<!-- end -->")
    assert written("README.md", text.replace("delta = back -", "delta = back +")) == text


def test_a_sentence_that_was_changed_is_named(refuses):
    text = (ROOT / "README.md").read_text().replace("NumPy makes", "NumPy does")
    with refuses("README.md has 'NumPy makes", "0 times"):
        written("README.md", text)


# Sketches


@pytest.mark.parametrize("name", ["HelloTinyReptile", "WristAdapt", "KeywordAdapt", "DrawAdapt"])
def test_the_files_of_a_sketch_are_an_export_of_their_weights(name, tmp_path):
    folder = ROOT / "arduino" / name
    numbers = (folder / "phi.c").read_text().split("] = {")[-1]
    phi = np.array(re.findall(r"-?\d[\d.e+-]*(?=f,)", numbers), np.float32)
    made = known.FIGURES[name].assemble([phi], tmp_path)
    assert made["files"] == measured(name)["files"]
    assert (tmp_path / "arduino" / name / "phi.c").read_bytes() == (folder / "phi.c").read_bytes()
    assert f"Made by: tinyreptile figures {name} (" in (folder / "phi.h").read_text()


# Making


@pytest.fixture
def clone(tmp_path):
    """A folder with the documents, as a clone has them."""
    for name in DOCUMENTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


def below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_comparison_is_made_as_its_command_does_it(clone, monkeypatch):
    fedavg, scratch = (find_recipe("sine", name).with_rounds(2) for name in ("fedavg", "scratch"))
    monkeypatch.setattr(known, "SEEDS", (0,))
    figure = compared("sine", "sine", [fedavg, scratch], command="tinyreptile compare sine --json")
    monkeypatch.setitem(known.FIGURES, "sine", figure)
    (path,) = make.make(["sine"], jobs=2, root=clone)
    assert path == clone / "tinyreptile_lite" / "results" / "sine.json"
    assert below(clone) == {*DOCUMENTS, str(path.relative_to(clone))}  # no part is left
    made = measured("sine", path.parent)
    assert made["rows"] == compare("sine", ["fedavg", "scratch"], [0], rounds=2, c_core=True)
    assert made["command"] == "tinyreptile compare sine --json"
    assert (
        f"{made['rows'][0]['adapted_samples']['8']['mean']:.3f}"
        in (clone / "README.md").read_text()
    )


def test_an_interrupted_run_goes_on(clone, monkeypatch):
    done = []

    def step(i):
        done.append(i)
        if done == [0, 1, 2]:
            raise KeyboardInterrupt
        return np.full(2, i, np.float32) if i else {"i": 0}

    def assemble(results, root):
        assert results[0] == {"i": 0} and results[2].dtype == np.float32
        return {"rows": [float(result[0]) for result in results[1:]]}

    pieces = {f"step {i}": partial(step, i) for i in range(3)}
    figure = Figure("steps", lambda quick: pieces, lambda: {"steps": "1 2"}, assemble)
    monkeypatch.setitem(known.FIGURES, "steps", figure)
    with pytest.raises(KeyboardInterrupt):
        make.make(["steps"], root=clone)
    (path,) = make.make(["steps"], root=clone)
    assert done == [0, 1, 2, 2]
    assert measured("steps", path.parent)["rows"] == [1, 2]
    make.make(["steps"], root=clone)  # what was kept is gone: all is made again
    assert done == [0, 1, 2, 2, 0, 1, 2]


def test_a_quick_run_touches_no_stored_figure(clone):
    before = {name: (clone / name).read_bytes() for name in below(clone)}
    names = ["wrist-150-visits-fedavg", "WristAdapt"]
    paths = make.make(names, quick=True, root=clone)
    assert [path.parent for path in paths] == 2 * [
        clone / "build" / "figures" / "quick" / "tinyreptile_lite" / "results"
    ]
    assert {name: (clone / name).read_bytes() for name in before} == before
    quick = clone / "build" / "figures" / "quick"
    made = {f"tinyreptile_lite/results/{name}.json" for name in names}
    sketch = {"arduino/WristAdapt/phi.h", "arduino/WristAdapt/phi.c"}
    assert below(quick) == made | sketch | set(DOCUMENTS)
    assert measured(names[0], paths[0].parent)["quick"] is True
    assert (quick / "README.md").read_text() != (clone / "README.md").read_text()


def test_a_figure_that_cannot_be_made_leaves_the_others(clone, monkeypatch, refuses):
    def pieces(quick):
        raise KitError("it needs a compiler")

    monkeypatch.setitem(known.FIGURES, "failing", Figure("failing", pieces, dict))
    with refuses("not made: failing (it needs a compiler)"):
        make.make(["failing", "wrist-150-visits-fedavg"], quick=True, root=clone)
    assert len(list((clone / "build/figures/quick").rglob("*.json"))) == 1


def test_figures_are_made_in_a_clone(tmp_path, refuses):
    with refuses(tmp_path, "clone of the repository"):
        make.make(["sine"], root=tmp_path)
    with refuses("unknown figure 'mnist'", "sine, sine-20000-visits"):
        make.make(["mnist"])


def test_a_clone_that_cannot_be_written_is_one_sentence(tmp_path, refuses):
    (tmp_path / "arduino").mkdir()
    (tmp_path / "build").write_text("no folder")
    with refuses("build", "that you can write to"):
        make.make(["sine"], root=tmp_path)


def test_unknown_and_damaged_results_are_refused(tmp_path, refuses):
    with refuses("unknown figure 'mnist'", "sine, sine-20000-visits"):
        measured("mnist")
    (tmp_path / "sine.json").write_text("{")
    with refuses("sine.json", "tinyreptile figures sine"):
        measured("sine", tmp_path)
