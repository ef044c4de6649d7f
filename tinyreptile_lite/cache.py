"""What was made once stays in the user's cache: whole, and checked before each use.

An entry is a folder with its files and their hashes. It is made under another name and renamed, so
that nobody sees half of it; one that was damaged later, by a full disk or a power cut, does not
have its hashes any more and is made again.
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from tinyreptile_lite.errors import KitError

HASHES = "SHA256SUMS"  # as sha256sum writes and checks it
_REMEDY = "set TINYREPTILE_CACHE to a folder that you may write to"
_TRIES = 3  # to put an entry where other processes put the same one


class CannotBuild(KitError):
    """Something does not compile here, or cannot be kept in the cache."""


def cache_folder() -> Path:
    """Return the folder for what was made; `TINYREPTILE_CACHE` moves it.

    Raises
    ------
    CannotBuild
        If it would be in a home folder, and there is none.
    """
    if named := os.environ.get("TINYREPTILE_CACHE"):
        return Path(named)
    try:
        if sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        raise CannotBuild(f"there is no home folder for the cache; {_REMEDY}") from None
    return base / "tinyreptile_lite"


def holds(kind: str) -> bool:
    """Whether the cache has entries of this kind, sound or not."""
    return os.path.isdir(cache_folder() / kind)  # noqa: PTH112 - false too if it may not be seen


def hash_of(parts: Iterable[str | bytes]) -> str:
    """Hash all that an entry depends on; no two lists of parts have the same."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()[:32]


def cached(kind: str, key: str, names: Sequence[str], make: Callable[[Path], None]) -> Path:
    """Return the folder of an entry; it is made now if it is missing or damaged.

    `kind` is a folder in the cache; `key` holds a hash of all that the entry depends on; `make`,
    given an empty folder, writes the files `names` into it, and whatever else it likes.

    Raises
    ------
    CannotBuild
        If the cache cannot be written.
    """
    place = cache_folder() / kind / key
    if _is_sound(place, names):
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
            work, new = Path(scratch) / "work", Path(scratch) / "new"
            work.mkdir()
            make(work)
            new.mkdir()
            for name in names:
                (work / name).replace(new / name)
            (new / HASHES).write_text(_hashes(new, names), encoding="utf-8", newline="\n")
            _put(new, place, names)
    except OSError as error:
        reason = f"cannot write {error.filename}: {error.strerror}"
        raise CannotBuild(f"{reason}; {_REMEDY}") from error
    return place


def _hashes(folder: Path, names: Sequence[str]) -> str:
    lines = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    return "".join(lines)


def _is_sound(place: Path, names: Sequence[str]) -> bool:
    try:
        return (place / HASHES).read_bytes() == _hashes(place, names).encode()
    except OSError:
        return False


def _put(new: Path, place: Path, names: Sequence[str]) -> None:
    """Rename an entry to its place, unless another process was faster with a sound one."""
    for number in range(_TRIES):
        try:
            new.rename(place)
            return
        except OSError:
            if _is_sound(place, names):
                return
            with suppress(FileNotFoundError):  # another process has just moved it
                place.rename(new.parent / f"damaged{number}")
    new.rename(place)
