"""Find a data file of the kit, and make sure it is the right one."""

import hashlib
import os
from pathlib import Path

from tinyreptile_lite.errors import KitError, file_errors

VARIABLE = "TINYREPTILE_DATA"


def data_folders() -> list[Path]:
    """List the folders that are searched, first the one the user named.

    They are: the folder in the environment variable TINYREPTILE_DATA if it is set; ``data`` inside
    the installed package; ``data`` beside the package, as in a clone of the repository. Raises
    `KitError` if TINYREPTILE_DATA names no folder.
    """
    package = Path(__file__).resolve().parent
    folders = [package / "data", package.parent / "data"]
    named = os.environ.get(VARIABLE)
    if not named:
        return folders
    if not os.path.isdir(named):  # noqa: PTH112 - false too if it may not be seen
        raise KitError(f"{VARIABLE} is {named!r}, which is no folder; correct it or unset it")
    return [Path(named), *folders]


def read_data(name: str, sha256: str, remedy: str) -> bytes:
    """Read a data file whose content is known in advance.

    Parameters
    ----------
    name : str
        Path inside a data folder, for example ``"wrist/wrist.npz"``.
    sha256 : str
        Hash of the right content, in hexadecimal.
    remedy : str
        What the user can do to get the file, for the error messages.

    Raises
    ------
    KitError
        If the file is nowhere, cannot be read, or holds something else.
    """
    folders = data_folders()
    with file_errors(remedy):
        path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        searched = ", ".join(map(str, folders))
        raise KitError(f"the data file {name} is in none of the folders {searched}; {remedy}")
    with file_errors(remedy):
        content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise KitError(
            f"{path} is not the expected file: its SHA-256 begins with {found[:12]}, "
            f"not with {sha256[:12]}; {remedy}"
        )
    return content
