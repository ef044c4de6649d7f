"""Make figures, keep what is done, and tell which stored figures are stale."""

import json
import runpy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tinyreptile_lite.checkpoint import sync_folder
from tinyreptile_lite.errors import KitError, file_errors
from tinyreptile_lite.figures.fingerprint import agree
from tinyreptile_lite.figures.known import FIGURES, find_figure, sha256
from tinyreptile_lite.pieces import places, run_kept
from tinyreptile_lite.results import FOLDER, measured

ROOT = FOLDER.parents[1]
RESULTS = FOLDER.relative_to(ROOT)
PARTS = "build/figures/parts"  # below the root; git ignores it
QUICK = "build/figures/quick"


def make(
    names: Sequence[str] = (),
    quick: bool = False,
    jobs: int = 1,
    progress: bool = False,
    root: Path = ROOT,
) -> list[Path]:
    """Make figures again, and write the tables, texts and files that show them.

    A command that is interrupted goes on where it was: each training run that is done is kept in
    ``build/figures/parts``, under a hash of all that it depends on, until the command has ended.

    Parameters
    ----------
    names : sequence of str
        None means all.
    quick : bool
        Make a smoke run of each in ``build/figures/quick``: a few rounds, one seed, one fold. No
        stored figure is touched.
    jobs : int
        Processes for the training runs.
    root : Path
        Clone of the repository.

    Returns
    -------
    list of Path
        The files with the results.

    Raises
    ------
    KitError
        If a name is unknown, this is no clone of the repository, or a figure could not be made;
        the others are made all the same.
    """
    chosen = [find_figure(name) for name in names] or list(FIGURES.values())
    if not (root / "arduino").is_dir():
        raise KitError(f"{root} is no clone of the repository; figures are made in one")
    out = root / QUICK if quick else root
    with file_errors("make figures in a clone that you can write to"):
        for folder in (root / PARTS, out / RESULTS):
            folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    parts: list[Path] = []
    failed: list[str] = []
    for figure in chosen:
        try:
            stamp = figure.stamp() | ({"quick": True} if quick else {})
            works, about = figure.pieces(quick), [figure.name, stamp]
            results = run_kept(works, root / PARTS, about, jobs, progress, figure.name)
        except KitError as error:
            failed.append(f"{figure.name} ({error})")
            continue
        content = json.dumps(stamp | figure.assemble(results, out), indent=1)
        part = out / RESULTS / f"{figure.name}.part"
        part.write_text(content + "\n", encoding="utf-8")
        made.append(part.replace(part.with_suffix(".json")))
        sync_folder(part.parent)
        parts += places(works, root / PARTS, about)
    # What writes into the documents of a clone is no part of the package.
    runpy.run_path(str(ROOT / "tools" / "documents.py"))["write_documents"](root, out)
    for path in parts:
        path.unlink(missing_ok=True)
    if failed:
        raise KitError(f"not made: {'; '.join(failed)}")
    return made


def stale(name: str, root: Path = ROOT) -> str:
    """Say why a stored figure is not what would be made today; empty if it is.

    Its first rounds are run again for this.
    """
    figure = find_figure(name)
    for reason in _differences(measured(name), figure.stamp(), root, figure.tools):
        return f"{name} is stale: {reason}; make it again: tinyreptile figures {name}"
    return ""


def _differences(
    stored: dict[str, Any], stamp: dict[str, Any], root: Path, tools: bool
) -> Iterator[str]:
    before, now = stored.get("fingerprint", {}), stamp.pop("fingerprint")
    for key, value in stamp.items():
        if stored.get(key) != value:
            yield f"its {key} is now {value}"
    for run in before.keys() & now.keys():
        if not agree(before[run], now[run]):
            yield f"the first rounds of {run} give other numbers"
    if not before:
        yield "it has no fingerprint"
    if not tools and before.keys() != now.keys():  # a run with other tools tells nothing
        yield "it was made of other runs"
    for file, value in stored.get("files", {}).items():
        if sha256(root / file) != value:
            yield f"{file} is not the file that was made"
