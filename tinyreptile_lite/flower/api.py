"""The parts of Flower that the kit uses, imported here and nowhere else.

Importing this raises `KitError` if Flower is missing or of another version.
"""
# ruff: noqa: E402, F401 - the version is looked at first; the other modules import all from here

from importlib.metadata import PackageNotFoundError, version

from tinyreptile_lite.errors import KitError

WANTED = "1.41"
REMEDY = "pip install 'tinyreptile-lite[flower]'"


def check_version(installed: str) -> None:
    """Raise `KitError` unless this version of Flower fits."""
    if installed.split(".")[:2] != WANTED.split("."):
        raise KitError(f"Flower {installed} is installed; the kit needs {WANTED}: {REMEDY}")


try:
    check_version(version("flwr"))
except PackageNotFoundError:
    raise KitError(f"Flower is not installed; {REMEDY}") from None

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
