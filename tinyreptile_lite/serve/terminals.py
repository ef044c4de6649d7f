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
from collections.abc import Sequence

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.wire.links import Link, LinkLost

_READ = 65_536
_WAIT_SECONDS = 0.5


class Terminals:
    """A pseudo-terminal for each link.

    Parameters
    ----------
    links : sequence of Link
        To boards that work only when they are spoken to.

    Attributes
    ----------
    names : list of str
        The ports, for example "/dev/pts/5".
    """

    def __init__(self, links: Sequence[Link]) -> None:
        if os.name != "posix":
            raise KitError("Windows has no pseudo-terminals; use virtual:8 instead")
        import pty
        import tty

        self._selector = selectors.DefaultSelector()
        self.names, self._ends = [], []
        for link in links:
            board_end, port_end = pty.openpty()
            tty.setraw(port_end)  # bytes pass as they are
            os.set_blocking(board_end, False)
            self._selector.register(board_end, selectors.EVENT_READ, link)
            self._ends += [
                board_end,
                port_end,
            ]  # an open port end outlives the programs that use it
            self.names.append(os.ttyname(port_end))

    def serve(self, seconds: float | None = None) -> None:
        """Pass bytes on until nothing has come for so long; for ever by default."""
        while ready := self._selector.select(seconds):
            for key, _ in ready:
                self._pass(key.fd, key.data)

    def _pass(self, port: int, link: Link) -> None:
        try:
            link.send(os.read(port, _READ))
            while data := link.receive(link.timeout):
                _write(port, data)
        except LinkLost:
            link.reopen()

    def close(self) -> None:
        """Take the ports away."""
        self._selector.close()
        for end in self._ends:
            os.close(end)


def _write(port: int, data: bytes) -> None:
    """Write what fits; nobody may be reading, and then the rest is lost, as on a real line."""
    while data:
        try:
            data = data[os.write(port, data) :]
        except BlockingIOError:
            if not select.select([], [port], [], _WAIT_SECONDS)[1]:
                return


def main(arguments: Sequence[str] | None = None) -> None:
    """Play boards on pseudo-terminals."""
    from tinyreptile_lite.serve.roster import Roster, seated_devices
    from tinyreptile_lite.tasks import find_family

    parser = argparse.ArgumentParser(description="Play boards on pseudo-terminals.")
    parser.add_argument("boards", nargs="+", help="local:3, virtual:2")
    parser.add_argument("--family", default="sine")
    options = parser.parse_args(arguments)
    family = find_family(options.family)
    with Roster(options.boards, family.network(), seated_devices(family, 0)) as roster:
        terminals = Terminals(roster.links)
        print(*terminals.names, flush=True)
        terminals.serve()


if __name__ == "__main__":
    try:
        main()
    except KitError as error:
        sys.exit(f"terminals: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
