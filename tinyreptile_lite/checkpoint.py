"""Checkpoints: files from which a run goes on, written in one piece."""

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.errors import KitError, file_errors
from tinyreptile_lite.federation import Federation

Array = np.ndarray


@dataclass(frozen=True)
class Keeper:
    """Saves a run after every so many rounds and at the end: an ``after_round`` of a run."""

    path: Path
    every: int

    def __call__(self, federation: Federation) -> None:
        """Save the run if it is time."""
        if federation.due(self.every):
            save(federation, self.path)


def save(federation: Federation, path: Path) -> None:
    """Write a checkpoint (.npz) in one piece: after a crash the old or the new one is there.

    Raises
    ------
    KitError
        If the folder is missing or cannot be written to.
    """
    write_npz(path, phi=federation.phi, state=np.array(json.dumps(federation.state())))


def resume(federation: Federation, path: Path) -> None:
    """Go on from a checkpoint of this very run.

    Raises
    ------
    KitError
        If the file is missing, damaged or forged, or of another run: another network, strategy,
        number of rounds, list of clients or seed.
    """
    phi, state = read(path)
    federation.take_up(phi, state, f"the checkpoint {path}")


def is_there(path: Path) -> bool:
    """Whether there is a file of this name.

    Raises
    ------
    KitError
        If it cannot be the name of a file, or one may not look.
    """
    with file_errors("choose another name"):
        if not path.name or path.is_dir():
            raise KitError(f"{str(path)!r} is no file; give the name of one, for example phi.npz")
        return path.exists()


def read(path: Path) -> tuple[Array, dict[str, Any]]:
    """Read phi and the state that `save` wrote.

    Returns
    -------
    phi : ndarray of float32, shape (P,)
    state : dict

    Raises
    ------
    KitError
        If the file is missing, truncated or no checkpoint.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            phi, state = file["phi"], json.loads(str(file["state"]))
        complete = state.keys() >= {"identity", "round", "rng", "history"}
    except FileNotFoundError as error:
        raise KitError(f"there is no checkpoint {path}; check the name, or train first") from error
    except PermissionError as error:
        raise KitError(f"cannot read {path}: {error.strerror}; choose a readable file") from error
    except Exception as error:  # zipfile and NumPy answer damage with many kinds of error
        raise _damaged(path) from error
    whole = complete and isinstance(state["identity"], dict)
    if not whole or phi.dtype != np.float32 or phi.ndim != 1:
        raise _damaged(path)
    return phi, state


def _damaged(path: Path) -> KitError:
    return KitError(
        f"{path} is damaged or no checkpoint; move it away and train again, or name another file"
    )


def write_npz(path: Path, **arrays: Array) -> None:
    """Write arrays to ``path`` so that neither a crash nor a power cut leaves half a file.

    Raises
    ------
    KitError
        If the folder is missing or cannot be written to.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")  # a leftover of a crash is simply written over
    try:
        with part.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):
            part.unlink()
        reason = getattr(error, "strerror", None) or error
        raise KitError(
            f"cannot write {path}: {reason}; choose a folder you can write to"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder last over a power cut; Windows does so by itself."""
    if os.name != "nt":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
