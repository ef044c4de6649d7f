"""The teacher's guide: its links, its minutes, its commands, and sheets that are not stale."""

import re
from pathlib import Path

import pytest
import sheets

from tinyreptile_lite.exercises import NOTEBOOKS, exercises_of

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "teaching"
PAGES = sorted(FOLDER.glob("*.md"))
LESSONS = sorted(FOLDER.glob("lesson-*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("http") or (FOLDER / target).exists(), target


@pytest.mark.parametrize("page", LESSONS, ids=lambda page: page.stem)
def test_a_lesson_has_90_minutes_and_all_its_parts(page):
    text = page.read_text()
    minutes = [int(number) for number in re.findall(r"^\| (\d+)", text, re.MULTILINE)]
    assert sum(minutes) == 90
    starred = [int(number) for number in re.findall(r"^\| (\d+) \*", text, re.MULTILINE)]
    assert 40 <= sum(starred) <= 75  # what a short lesson keeps
    for part in ("Aims", "Prepare", "Say", "What goes wrong", "They ask", "Homework"):
        assert f"**{part}.**" in text
    assert len(text.split()) < 900  # two printed pages


def test_every_notebook_and_every_exercise_has_its_lesson():
    assert sorted(one for _, some in sheets.LESSONS.values() for one in some) == sorted(NOTEBOOKS)
    text = "".join(page.read_text() for page in LESSONS)
    for notebook in NOTEBOOKS:
        start = notebook.partition("_")[0]
        named = set(re.findall(rf"\b{start}-(\d)", text))
        named |= {
            str(number)
            for low, high in re.findall(rf"\b{start}-(\d) to {start}-(\d)", text)
            for number in range(int(low), int(high) + 1)
        }
        assert named == {str(one.number) for one in exercises_of(notebook)}, notebook


def test_misconceptions_name_exercises_and_sentences_that_exist():
    text = (FOLDER / "misconceptions.md").read_text()
    known = {
        f"{notebook.partition('_')[0]}-{one.number}"
        for notebook in NOTEBOOKS
        for one in exercises_of(notebook)
    }
    assert set(re.findall(r"\b(\d\db?-\d)\b", text)) <= known
    code = "".join(path.read_text() for path in (ROOT / "tinyreptile_lite/exercises").glob("*.py"))
    for said in re.findall(r': "([^"]+)"', text):
        assert said in code or said in code.replace("{name}", "phi"), said


@pytest.mark.parametrize("lesson", sheets.LESSONS)
def test_sheets_are_those_of_the_notebooks(lesson):
    text = (sheets.SHEETS / f"lesson-{lesson}.txt").read_text()
    assert text == sheets.words(lesson), "stale; make them again: python tools/sheets.py"
    assert 1_000 < (sheets.SHEETS / f"lesson-{lesson}.pdf").stat().st_size < 100_000


def test_every_prediction_is_on_a_sheet():
    for _, notebooks in sheets.LESSONS.values():
        for notebook in notebooks:
            raw = (ROOT / "notebooks" / f"{notebook}.ipynb").read_text()
            assert len(sheets.predictions(notebook)) == raw.count("**Predict"), notebook


def test_commands_of_the_guide_exist():
    text = "".join(page.read_text() for page in PAGES)
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make ([a-z-]+)", text)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    cli = "".join(path.read_text() for path in (ROOT / "tinyreptile_lite").rglob("*.py"))
    for command in set(re.findall(r"tinyreptile ([a-z]+)", text)):
        assert f'"{command}"' in cli, command
