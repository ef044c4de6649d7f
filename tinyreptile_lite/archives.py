"""Read the files of an archive that others made, or of a folder, without trusting either.

Nothing is unpacked: files are read one by one, into memory. An archive that names a path outside
of its folder is refused all the same, as are files and archives larger than they should be.
"""

import hashlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from tinyreptile_lite.errors import KitError, file_errors

MOST_FILES = 200_000
BIGGEST = 1 << 20  # bytes of one file
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError,
    NotImplementedError, RuntimeError, ValueError,
)  # fmt: skip


def read_files(source: Path, suffix: str, remedy: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files with this suffix, in the order of the archive.

    Hidden files, and folders whose names begin with ``_``, are passed over.

    Parameters
    ----------
    source : Path
        A zip or tar archive (also compressed), or a folder; a folder's files are sorted.
    suffix : str
        For example ``".png"``.
    remedy : str
        What the user can do, for the error messages.

    Raises
    ------
    KitError
        If it is damaged, no archive, too large, or holds a path outside of its folder.
    """
    count = 0
    with file_errors(remedy):
        try:
            for name, size, content in _entries(source):
                parts = PurePosixPath(name).parts
                if name.startswith("/") or ".." in parts or "\\" in name or ":" in name:
                    raise KitError(f"{source} holds the path {name!r}, outside of it; {remedy}")
                count += 1
                if count > MOST_FILES or size > BIGGEST:
                    raise KitError(f"{source} is larger than it should be, at {name!r}; {remedy}")
                if name.endswith(suffix) and not any(p[0] == "_" or p[0] == "." for p in parts):
                    yield name, content()
        except KitError:
            raise
        except _DAMAGE as error:
            reason = str(error).split("\n")[0] or type(error).__name__
            raise KitError(f"{source} is damaged or no archive ({reason}); {remedy}") from error


def hash_of_source(source: Path, remedy: str) -> str:
    """SHA-256 of an archive, or of all names and files in a folder."""
    with file_errors(remedy):
        if source.is_file():
            with source.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        for path in _files(source):
            content = path.read_bytes()
            head = f"{path.relative_to(source).as_posix()}\0{len(content)}\0"
            digest.update(head.encode(errors="surrogateescape") + content)
    return digest.hexdigest()


def zip_folder(folder: Path, target: Path, suffix: str, remedy: str) -> None:
    """Write the files with this suffix in a folder into a zip archive, under the folder's name."""
    with file_errors(remedy), zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in _files(folder):
            if path.suffix == suffix:
                archive.write(path, path.relative_to(folder.parent))


Entry = tuple[str, int, Callable[[], bytes]]  # name, size, what reads it


def _entries(source: Path) -> Iterator[Entry]:
    if source.is_dir():
        return _in_folder(source)
    return _in_zip(source) if zipfile.is_zipfile(source) else _in_tar(source)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _in_folder(folder: Path) -> Iterator[Entry]:
    for path in _files(folder):
        yield path.relative_to(folder.parent).as_posix(), path.stat().st_size, path.read_bytes


def _in_zip(source: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(source) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, info.file_size, partial(archive.read, info)


def _in_tar(source: Path) -> Iterator[Entry]:
    with tarfile.open(source) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, member.size, file.read
