"""Make figures, keep what is done, and tell which stored figures are stale."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.checkpoint import write_npz
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.experiment import run_all
from tinyreptile_lite.figures.documents import write_documents
from tinyreptile_lite.figures.fingerprint import agree
from tinyreptile_lite.figures.kinds import Figure, sha256
from tinyreptile_lite.figures.known import FIGURES, find_figure
from tinyreptile_lite.results import FOLDER, measured

ROOT = FOLDER.parents[1]
PARTS = "build/figures/parts"  # below the root; git ignores it
QUICK = "build/figures/quick"


@dataclass(frozen=True)
class Piece:
    """A piece of a figure's work; what it gives is kept until the whole command is done."""

    work: Callable[[], Any]
    path: Path

    def run(self) -> Any:
        """Read what was kept, or else do the work and keep it."""
        if self.path.is_file():
            value = np.load(self.path, allow_pickle=False)["value"]
        else:
            done = self.work()
            value = done if isinstance(done, np.ndarray) else np.array(json.dumps(done))
            write_npz(self.path, value=value)
        return json.loads(str(value)) if value.dtype.kind == "U" else value


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
        Which ones; none means all.
    quick : bool
        Make a smoke run of each in ``build/figures/quick``: a few rounds, one seed, one fold. No
        stored figure is touched.
    jobs : int
        Processes for the training runs.
    progress : bool
        Show progress bars.
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
    for folder in (root / PARTS, out / FOLDER.relative_to(ROOT)):
        folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    failed: list[str] = []
    parts: list[Path] = []
    for figure in chosen:
        try:
            stamp = figure.stamp() | ({"quick": True} if quick else {})
            pieces = _pieces(figure, stamp, root)
            results = run_all(Piece.run, pieces, jobs, progress, figure.name)
        except KitError as error:
            failed.append(f"{figure.name} ({error})")
            continue
        content = json.dumps(stamp | figure.assemble(results, out), indent=1)
        path = out / FOLDER.relative_to(ROOT) / f"{figure.name}.json"
        path.with_suffix(".part").write_text(content + "\n", encoding="utf-8")
        made.append(path.with_suffix(".part").replace(path))
        parts += [piece.path for piece in pieces]
    write_documents(root, out)
    for path in parts:
        path.unlink(missing_ok=True)
    if failed:
        raise KitError(f"not made: {'; '.join(failed)}")
    return made


def _pieces(figure: Figure, stamp: dict[str, Any], root: Path) -> list[Piece]:
    keyed = {
        hashlib.sha256(json.dumps([figure.name, stamp, name]).encode()).hexdigest()[:24]: work
        for name, work in figure.pieces("quick" in stamp).items()
    }
    return [Piece(work, root / PARTS / f"{key}.npz") for key, work in keyed.items()]


def stale(name: str, root: Path = ROOT) -> str:
    """Say why a stored figure is not what would be made today; empty if it is.

    Its first rounds are run again for this.
    """
    stored = measured(name)
    for key, value in find_figure(name).stamp().items():
        if key == "fingerprint":
            wrong = _differing(stored.get(key, {}), value)
        else:
            wrong = "" if stored.get(key) == value else f"its {key} is now {value}"
        if wrong:
            break
    else:
        files = stored.get("files", {}).items()
        changed = [file for file, value in files if sha256(root / file) != value]
        wrong = f"{changed[0]} is not the file that was made" if changed else ""
    return f"{name} is stale: {wrong}; make it again: tinyreptile figures {name}" if wrong else ""


def _differing(stored: dict[str, str], found: dict[str, str]) -> str:
    """Name a run that gives other numbers now. One with other tools than stored tells nothing."""
    for name, text in found.items():
        if name in stored and not agree(stored[name], text):
            return f"the first rounds of {name} give other numbers"
    return "" if stored else "it has no fingerprint"
