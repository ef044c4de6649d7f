"""The server for boards: rounds that survive, and boards that come and go. Notebooks enter here."""

from tinyreptile_lite.serve.boards import Boards
from tinyreptile_lite.serve.journal import read_journal
from tinyreptile_lite.serve.roster import Roster, seated_devices
from tinyreptile_lite.serve.server import Server
from tinyreptile_lite.wire import frames
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.faults import Faults
from tinyreptile_lite.wire.links import LocalLink
from tinyreptile_lite.wire.local import LocalBoard

__all__ = [
    "BoardClient",
    "Boards",
    "Faults",
    "LocalBoard",
    "LocalLink",
    "Roster",
    "Server",
    "frames",
    "read_journal",
    "seated_devices",
]
