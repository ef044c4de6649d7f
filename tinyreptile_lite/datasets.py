"""Data sets that do not ship with the kit: fetched once, checked, prepared once.

A data set consists of archives. Each lies in the data set's folder inside a data folder (see
`datafiles`), under its own name: as its publishers offer it, fetched by `fetch` and checked by
hash; or as the user's own copy of the same files, an archive or a folder, whose bytes may differ.
What is read from them is prepared as arrays, and these stay in the user's cache.
"""

import fnmatch
import inspect
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyreptile_lite.archives import hash_of_source, read_files, zip_folder
from tinyreptile_lite.cache import cached, hash_of
from tinyreptile_lite.datafiles import VARIABLE, data_folders
from tinyreptile_lite.errors import KitError, file_errors, needed

Array = np.ndarray
Arrays = dict[str, Array]
_WRITABLE = f"set {VARIABLE} to a folder that you may write to"


@dataclass(frozen=True)
class Archive:
    """One file of a data set, as its publishers offer it."""

    name: str
    url: str
    sha256: str
    size: int  # bytes
    tree: str  # regular expression: paths of its files
    copies: str  # glob: names that the user's own copy may have

    @property
    def suffix(self) -> str:
        """Of the files in it that hold data."""
        return "." + self.tree.rpartition(".")[2]

    @property
    def root(self) -> str:
        """Name without its endings, which is the folder that a zip archive makes."""
        return re.sub(r"(\.tar)?\.\w+$", "", self.name)

    def name_of_copy(self, source: Path) -> str:
        """Name under which a copy of the user's own archive, or folder, is found again."""
        if source.is_dir():
            return f"{self.root}.zip"
        return source.name if fnmatch.fnmatch(source.name, self.copies) else self.name

    def files(self, source: Path, remedy: str) -> Iterator[tuple[re.Match[str], bytes]]:
        """Yield path, matched with `tree`, and content of the data files in a source.

        Raises
        ------
        KitError
            If it cannot be read, holds other files, or none.
        """
        found = 0
        for name, content in read_files(source, self.suffix, remedy):
            path = re.fullmatch(f"(?:.*/)?{self.tree}", name.removeprefix("./"))
            if path is None:
                raise KitError(f"{source} holds {name!r}, which {self.name} does not; {remedy}")
            found += 1
            yield path, content
        if not found:
            raise KitError(f"{source} holds no file of {self.name}; {remedy}")


@dataclass(frozen=True)
class DataSet:
    """Archives, and how to make arrays of them."""

    name: str  # as `tinyreptile data` knows it
    families: tuple[str, ...]  # that need it
    unit: str  # what its arrays count
    folder: str  # in a data folder
    archives: tuple[Archive, ...]
    read: Callable[[Archive, Path, str], Arrays]  # of one archive: where it is, and the remedy

    @property
    def command(self) -> str:
        """What fetches the data set, and how much that is."""
        size = sum(archive.size for archive in self.archives)
        return f"tinyreptile data {self.name} ({size / 1e6:.0f} MB)"

    def find(self, archive: Archive) -> Path | None:
        """Return where an archive is, or the user's copy of it; None if it is nowhere."""
        with file_errors(f"correct {VARIABLE}"):
            for folder in data_folders():
                copies = sorted((folder / self.folder).glob(archive.copies))
                for path in (folder / self.folder / archive.name, *copies):
                    if path.exists():
                        return path
        return None

    def sources(self) -> tuple[Path, ...]:
        """Return where each archive is.

        Raises
        ------
        KitError
            If one is missing.
        """
        found = []
        for archive in self.archives:
            path = self.find(archive)
            if path is None:
                searched = ", ".join(str(folder / self.folder) for folder in data_folders())
                raise KitError(
                    f"{archive.name} is in none of the folders {searched}; get it with: "
                    f"{self.command}; the notebooks 00 to 05 need no such data"
                )
            found.append(path)
        return tuple(found)

    def load(self) -> list[Arrays]:
        """Return the arrays of each archive; they are prepared if they are not in the cache.

        Raises
        ------
        KitError
            If an archive is missing, or is not what it should be.
        """
        pairs = zip(self.archives, self.sources(), strict=True)
        return [self._prepared(archive, path) for archive, path in pairs]

    def _prepared(self, archive: Archive, path: Path) -> Arrays:
        remedy = f"delete it, and get it again with: {self.command}"
        code = Path(inspect.getfile(self.read)).read_bytes()

        def make(folder: Path) -> None:
            np.savez(folder / "arrays.npz", **self.read(archive, path, remedy))  # type: ignore[arg-type]

        key = f"{archive.name}-{hash_of([code, hash_of_source(path, remedy)])}"
        content = (cached("data", key, ["arrays.npz"], make) / "arrays.npz").read_bytes()
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return dict(file)

    def fetch(self, progress: bool = False) -> None:
        """Download the archives that are missing, each checked by hash before it gets its name.

        Raises
        ------
        KitError
            If there is no network, another file comes, or it cannot be written.
        """
        missing = [archive for archive in self.archives if self.find(archive) is None]
        if not missing:
            return
        pooch = needed("pooch", "pooch")
        pooch.get_logger().setLevel("ERROR")
        remedy = f"try again, or give a copy: tinyreptile data {self.name} --from FILE"
        for archive in missing:
            folder, known = self._folder(), f"sha256:{archive.sha256}"
            with file_errors(_WRITABLE):
                try:
                    pooch.retrieve(archive.url, known, archive.name, folder, progressbar=progress)
                except OSError as error:
                    if error.strerror:  # of the file system, not of the network
                        raise
                    reason = type(error).__name__
                    raise KitError(f"cannot download {archive.url} ({reason}); {remedy}") from None
                except ValueError:
                    text = f"what came from {archive.url} is not the expected file: another SHA-256"
                    raise KitError(f"{text}; {remedy}") from None

    def take(self, source: Path) -> Path:
        """Copy the user's own archive, or folder, to its place; returns that.

        Raises
        ------
        KitError
            If it is none of the data set's archives, or not sound. Then nothing is written.
        """
        names = " or ".join(archive.name for archive in self.archives)
        remedy = f"give {names}, or the folder that it makes"
        archive = self._archive_of(source, remedy)
        self.read(archive, source, remedy)
        with file_errors(_WRITABLE):
            folder = self._folder()
            target = folder / archive.name_of_copy(source)
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                copy = Path(scratch) / "copy"
                if source.is_file():
                    shutil.copyfile(source, copy)
                else:
                    zip_folder(source, copy, archive.suffix, remedy)
                copy.replace(target)
        return target

    def _archive_of(self, source: Path, remedy: str) -> Archive:
        reasons = []
        for archive in self.archives:
            try:
                next(archive.files(source, remedy))
                return archive
            except KitError as error:
                reasons.append(error)
        raise reasons[0]

    def _folder(self) -> Path:
        """Return the data set's folder in the first data folder that exists; it is made."""
        first = next((folder for folder in data_folders() if folder.is_dir()), None)
        if first is None:
            raise KitError(f"there is no data folder; {_WRITABLE}")
        with file_errors(_WRITABLE):
            (first / self.folder).mkdir(exist_ok=True)
        if not os.access(first / self.folder, os.W_OK):
            raise KitError(f"cannot write to {first / self.folder}; {_WRITABLE}")
        return first / self.folder


def joined(parts: Sequence[Arrays]) -> Arrays:
    """Join arrays of the same names along their first axis."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
