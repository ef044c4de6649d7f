"""Pieces of work that take long: done in several processes, each kept when it is done.

So a command that is interrupted goes on where it was.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.checkpoint import write_npz
from tinyreptile_lite.experiment import run_all

Works = Mapping[str, Callable[[], Any]]  # by a name that tells all that the result depends on
_Piece = tuple[Callable[[], Any], Path]  # a piece of work, and where its result is kept


def places(works: Works, folder: Path, about: Any) -> list[Path]:
    """Files in which the results of these works are kept.

    Parameters
    ----------
    folder : Path
    about : plain JSON types
        What all these works have in common.
    """
    return [folder / f"{_key(about, name)}.npz" for name in works]


def run_kept(
    works: Works, folder: Path, about: Any, jobs: int = 1, progress: bool = False, title: str = ""
) -> list[Any]:
    """Do all works that are not kept, and return the results in order.

    Each gives an array or plain JSON types.
    """
    pieces = list(zip(works.values(), places(works, folder, about), strict=True))
    return run_all(_kept, pieces, jobs, progress, title)


def _key(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _kept(piece: _Piece) -> Any:
    """Read what was kept of a piece, or else do the work and keep it."""
    work, path = piece
    if not path.is_file():
        done = work()
        write_npz(path, value=done if isinstance(done, np.ndarray) else np.array(json.dumps(done)))
    value = np.load(path, allow_pickle=False)["value"]
    return json.loads(str(value)) if value.dtype.kind == "U" else value
