"""Checkpoints: files from which a run goes on, written in one piece."""

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite.errors import KitError, file_errors
from tinyreptile_lite.federation import Federation, History, sound

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
    write_npz(path, phi=federation.phi, state=np.array(json.dumps(state(federation))))


def resume(federation: Federation, path: Path) -> None:
    """Go on from a checkpoint of this very run.

    Raises
    ------
    KitError
        If the file is missing, damaged or forged, or of another run: another network, strategy,
        number of rounds, list of clients or seed.
    """
    phi, where = read(path)
    take_up(federation, phi, where, f"the checkpoint {path}")


def identity(run: Federation) -> dict[str, Any]:
    """Tell this run from any other, in plain JSON types."""
    names = run.visitor.names
    return {
        "network": run.net.config(),
        "strategy": run.strategy.config(),
        "rounds": run.rounds,
        "data": run.data,
        "clients": {"count": len(names), "names": _digest(list(names))},
        "seed": _digest(run.seed),
    }


def state(run: Federation) -> dict[str, Any]:
    """Tell where the run stands, besides phi, in plain JSON types."""
    return {
        "identity": identity(run),
        "round": run.round,
        "rng": _plain(run.rng.bit_generator.state),
        "history": vars(run.history),
    }


def take_up(run: Federation, phi: Array, state: dict[str, Any], origin: str) -> None:
    """Go on from phi and a `state` of this very run.

    Parameters
    ----------
    run : Federation
    phi : ndarray, shape (P,)
    state : dict
    origin : str
        Where both come from, to begin a sentence with.

    Raises
    ------
    KitError
        If they are of another run - another network, strategy, number of rounds, list of
        clients or seed - or contradict themselves. Nothing is changed then.
    """
    for part, value in identity(run).items():
        found = state["identity"].get(part)
        if found != value:
            raise KitError(
                f"{origin} is of another run ({part}: {_short(found)}, not "
                f"{_short(value)}); start again with another file name"
            )
    phi = sound(phi, run.net)
    history = _read_history(state["history"], len(run.visitor.names))
    done, before = state["round"], run.rng.bit_generator.state
    counted = type(done) is int and 0 <= done <= run.rounds
    if not (counted and history and _rounds(history) == {done}):
        raise KitError(f"{origin} contradicts itself; move it away and train again")
    try:
        run.rng.bit_generator.state = state["rng"]
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        run.rng.bit_generator.state = before
        raise KitError(f"{origin} has no generator; move it away and train again") from error
    run.go_on(phi, done, history)


def _read_history(plain: object, clients: int) -> History | None:
    """Return the history that ``vars`` has described, or None if that is none."""
    if not isinstance(plain, dict) or plain.keys() != vars(History()).keys():
        return None
    if not all(type(entries) is list for entries in plain.values()):
        return None
    visited = plain["visited"]
    if not all(type(places) is list and _places(places, clients) for places in visited):
        return None
    numbers = [n for name, entries in plain.items() if name != "visited" for n in entries]
    # JSON has whole numbers of any length; no float is so large.
    sound = all(type(n) is float or (type(n) is int and abs(n) < 2**63) for n in numbers)
    return History(**plain) if sound else None


def _rounds(history: History) -> set[int]:
    return {len(each) for each in (history.loss, history.outer_rate, history.visited)}


def _places(places: list[object], clients: int) -> bool:
    return all(type(place) is int and 0 <= place < clients for place in places)


def _digest(value: object) -> str:
    """Short fingerprint of plain values, to compare and to show."""
    return hashlib.sha256(json.dumps(_plain(value)).encode()).hexdigest()[:12]


def _plain(value: object) -> Any:
    """Return JSON types alone; some generators keep arrays."""
    return json.loads(json.dumps(value, default=np.ndarray.tolist))


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 200 else text[:197] + "..."


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
