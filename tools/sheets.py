"""Sheets for predictions: one page a lesson, made from the notebooks.

Each **Predict.** of the lesson's notebooks gets a line for the guess and one for what came out: ::

    python tools/sheets.py            write docs/teaching/sheets again
"""

import json
import re
import textwrap
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent
SHEETS = ROOT / "docs" / "teaching" / "sheets"
LESSONS = {
    1: ("The idea, and one model for all", ("00_start_here", "01_one_model_for_all")),
    2: ("Reptile by hand", ("02_reptile_by_hand",)),
    3: ("Learning online, on the device", ("03_tinyreptile_online", "04_on_the_device")),
    4: ("Many boards, bad links", ("05_learning_together", "05b_bad_links")),
    5: ("Characters and words of your own", ("06_few_shot_characters", "07_your_own_keyword")),
    6: ("What it costs", ("08_what_it_costs",)),
}
A4 = 8.27, 11.69  # inches
# A question ends with its paragraph, or with the answers to choose from in the next one.
ENDS = re.compile(r"\n\n(?!A\. )|\n#|\Z")


def predictions(notebook: str) -> list[str]:
    """Questions that stand behind **Predict.** in a notebook, as plain text."""
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text("utf-8"))["cells"]
    found = []
    for cell in cells:
        text = "".join(cell["source"])
        for start in re.finditer(r"\*\*Predict\*?\*?\.?\*?\*?", text):
            rest = text[start.end() :]
            end = ENDS.search(rest)
            question = rest[: end.start() if end else None]
            found.append(_plain(question))
    return [question for question in found if question]


def _plain(text: str) -> str:
    """Without Markdown; answers to choose from stand apart."""
    text = re.sub(r"&nbsp;|\\\n", " ", text)
    text = re.sub(r"[*`$]", "", text)
    text = " ".join(text.split()).strip(" .")
    text = text[:1].upper() + text[1:]
    return text if text.endswith(("?", ".)")) or not text else f"{text}."


def words(lesson: int) -> str:
    """All that stands on a sheet: what tells that it is stale."""
    title, notebooks = LESSONS[lesson]
    lines = [f"Lesson {lesson}: {title}"]
    for notebook in notebooks:
        lines += ["", notebook, *predictions(notebook)]
    return "\n".join(lines) + "\n"


def draw(lesson: int) -> Figure:
    """One page A4."""
    title, notebooks = LESSONS[lesson]
    figure = plt.figure(figsize=A4)
    count = sum(len(predictions(one)) for one in notebooks)
    rows = count + 0.5 * len(notebooks)
    step = 0.83 / rows
    size = 9.5 if rows < 12 else 8.5
    figure.text(0.08, 0.955, f"Lesson {lesson}: {title}", size=15, weight="bold")
    figure.text(0.08, 0.93, "Name: " + "_" * 34 + "     Date: " + "_" * 16, size=10)
    figure.text(0.08, 0.91, "Guess first, then run the cell. A wrong guess teaches most.", size=9)
    at, number = 0.89, 0
    for notebook in notebooks:
        figure.text(0.08, at - 0.012, notebook, size=10, weight="bold", family="monospace")
        at -= 0.5 * step
        for question in predictions(notebook):
            number += 1
            lines = textwrap.wrap(f"{number}. {question}", 100 if size > 9 else 112)
            figure.text(0.08, at, "\n".join(lines), size=size, va="top", linespacing=1.15)
            below = at - step + 0.02
            figure.text(0.08, below, "My guess: " + "_" * 30, size=9)
            figure.text(0.52, below, "What came out: " + "_" * 30, size=9)
            at -= step
    return figure


def write(folder: Path = SHEETS) -> list[Path]:
    """Write sheets as PDF, and their words beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for lesson in LESSONS:
        figure, path = draw(lesson), folder / f"lesson-{lesson}.pdf"
        nothing = {"CreationDate": None, "Producer": None, "Creator": None}
        figure.savefig(path, metadata=nothing)
        plt.close(figure)
        path.with_suffix(".txt").write_text(words(lesson), "utf-8")
        written += [path, path.with_suffix(".txt")]
    return written


if __name__ == "__main__":
    for path in write():
        print(path.relative_to(ROOT))
