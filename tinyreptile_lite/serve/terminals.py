"""Boards on pseudo-terminals: serial ports without hardware, for other programs to open.

    python -m tinyreptile_lite.serve.terminals local:3

prints the names of three ports and plays a board on each, until it is stopped. The server cannot
tell them from boards on USB, and they live on when the server is killed. Linux and macOS.
"""

import argparse
import os
import select
import selectors
import sys

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.serve.roster import Roster, seated_devices
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.wire.links import Link, LinkLost

_READ = 65_536
_WAIT_SECONDS = 0.5


def _open_port(board_ends: selectors.DefaultSelector, link: Link) -> str:
    """Open a pseudo-terminal for a board that works only when it is spoken to; return its name."""
    import tty  # not on Windows

    board_end, port_end = os.openpty()  # an open port end outlives the programs that use it
    tty.setraw(port_end)  # bytes pass as they are
    os.set_blocking(board_end, False)
    board_ends.register(board_end, selectors.EVENT_READ, link)
    return os.ttyname(port_end)


def _pass(port: int, link: Link) -> None:
    """Give a board what has come for it, and pass on what it answers."""
    try:
        link.send(os.read(port, _READ))
        while data := link.receive(link.timeout):
            _write(port, data)
    except LinkLost:
        link.reopen()


def _write(port: int, data: bytes) -> None:
    """Write what fits; nobody may be reading, and then the rest is lost, as on a real line."""
    while data:
        try:
            data = data[os.write(port, data) :]
        except BlockingIOError:
            if not select.select([], [port], [], _WAIT_SECONDS)[1]:
                return


def main() -> None:
    """Play boards on pseudo-terminals, for ever."""
    parser = argparse.ArgumentParser(description="Play boards on pseudo-terminals.")
    parser.add_argument("boards", nargs="+", help="local:3, virtual:2")
    parser.add_argument("--family", default="sine")
    options = parser.parse_args()
    if os.name != "posix":
        raise KitError("Windows has no pseudo-terminals; use virtual:8 instead")
    family, board_ends = find_family(options.family), selectors.DefaultSelector()
    with Roster(options.boards, family.network(), seated_devices(family, 0)) as roster:
        print(*(_open_port(board_ends, link) for link in roster.links), flush=True)
        while True:
            for key, _ in board_ends.select():
                _pass(key.fd, key.data)


if __name__ == "__main__":
    try:
        main()
    except KitError as error:
        sys.exit(f"terminals: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
