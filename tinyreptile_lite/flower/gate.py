"""A gate before Flower's servers: what is their owner's business, only their owner can do.

One port of the SuperLink is for the nodes, for the apps it runs and for the commands of its owner.
Nodes show a registered key there. Of the others Flower asks nothing: whoever reaches the port can
start a run, which is code, register a node of his own, or take an app's work. A SuperNode's port
hands out work as well. So the gate asks the operating system whose connection it is.
"""

import os
import struct
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import uvicorn
from starlette.responses import JSONResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
Address = tuple[str, int]

PROGRAMS = ("superlink", "supernode")
OPEN = ("/v1/fleet/", "/health")  # to everybody: on the first Flower asks for a node's key
LOOKS = 3  # at the table of connections; while it is read, it changes
_ESTABLISHED = "01"
_REFUSAL = (
    "only the user who started this server may do that, from the same computer; log in there, "
    "or reach it through ssh -L"
)


class Gate:
    """Lets pass what is open to everybody, and all that comes from the owner of this process.

    Parameters
    ----------
    app : ASGI application
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "lifespan" or scope["path"].startswith(OPEN) or _is_owner(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await JSONResponse({"detail": _REFUSAL}, 403)(scope, receive, send)


def _is_owner(scope: Scope) -> bool:
    client, server = scope["client"], scope["server"]
    return any(is_owned(client, server) for _ in range(LOOKS))


def is_owned(client: Address, server: Address) -> bool:
    """Whether the client's end of a TCP connection is a socket of this process's user.

    Linux tells whose each socket on this computer is. Elsewhere it is only known that the
    connection comes from this computer.
    """
    if sys.platform != "linux":
        return ip_address(client[0]).is_loopback
    wanted = [_shown(client), _shown(server), _ESTABLISHED, str(os.geteuid())]
    table = "tcp6" if ":" in client[0] else "tcp"
    for line in (Path("/proc/self/net") / table).read_text().splitlines()[1:]:
        _, local, remote, state, _, _, _, user, _, inode, *_ = line.split()
        # Without an inode nobody holds the socket any longer, and the user is no longer told.
        if [local, remote, state, user] == wanted and inode != "0":
            return True
    return False


def _shown(address: Address) -> str:
    """Write an address as the kernel's table does: words of this machine, in hexadecimal digits."""
    packed = ip_address(address[0]).packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{address[1]:04X}"


def serve(program: str, options: list[str]) -> None:
    """Run ``flower-superlink`` or ``flower-supernode`` behind the gate.

    Parameters
    ----------
    program : {"superlink", "supernode"}
    options : list of str
        Flower's own.
    """
    load = uvicorn.Config.load

    def load_gated(self: uvicorn.Config) -> None:
        load(self)
        # Outside all else: what is inside believes headers that say where a request comes from.
        self.loaded_app = Gate(self.loaded_app)

    uvicorn.Config.load = load_gated  # type: ignore
    sys.argv = [f"flower-{program}", *options]
    getattr(import_module(f"flwr.{program}.cli"), f"flower_{program}")()
