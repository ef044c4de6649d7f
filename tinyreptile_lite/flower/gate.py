"""A gate before Flower's servers: what is their owner's business, only their owner can do.

One port of the SuperLink is for the nodes, for the apps it runs and for the commands of its owner.
Nodes show a registered key there. Of the others Flower asks nothing: whoever reaches the port can
start a run, which is code, register a node of his own, or take an app's work. A SuperNode's port
hands out work as well. So the gate asks the operating system whose connection it is.
"""

import os
import struct
import sys
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

PROGRAMS = ("superlink", "supernode")
OPEN = ("/v1/fleet/", "/health")  # to everybody: on the first Flower asks for a node's key
LOOKS = 3  # at the table of connections; while it is read, it changes
_ESTABLISHED = "01"
_REFUSAL = (
    "only the user who started this server may do that, from the same computer; log in there, "
    "or reach it through ssh -L"
)


def gated(app: ASGIApp) -> ASGIApp:
    """Let pass to the app what is open to everybody, and all from the owner of this process."""

    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] == "lifespan"
            or scope["path"].startswith(OPEN)
            or any(is_owned(scope["client"], scope["server"]) for _ in range(LOOKS))
        ):
            await app(scope, receive, send)
        elif scope["type"] == "http":
            await JSONResponse({"detail": _REFUSAL}, 403)(scope, receive, send)

    return gate


def is_owned(client: tuple[str, int], server: tuple[str, int]) -> bool:
    """Whether the client's end of a TCP connection is a socket of this process's user.

    Linux tells whose each socket on this computer is. Elsewhere it is only known that the
    connection comes from this computer.
    """
    if sys.platform != "linux":
        return ip_address(client[0]).is_loopback
    wanted = [_shown(*client), _shown(*server), _ESTABLISHED, str(os.geteuid())]
    table = "tcp6" if ":" in client[0] else "tcp"
    for line in (Path("/proc/self/net") / table).read_text().splitlines()[1:]:
        _, local, remote, state, _, _, _, user, _, inode, *_ = line.split()
        # Without an inode nobody holds the socket any longer, and the user is no longer told.
        if [local, remote, state, user] == wanted and inode != "0":
            return True
    return False


def _shown(host: str, port: int) -> str:
    """Write an address as the kernel's table does: words of this machine, in hexadecimal digits."""
    packed = ip_address(host).packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"


def serve(program: str, options: list[str]) -> None:
    """Run ``flower-superlink`` or ``flower-supernode`` behind the gate, with Flower's options."""
    load = uvicorn.Config.load

    def load_gated(self: uvicorn.Config) -> None:
        load(self)
        # Outside all else: what is inside believes headers that say where a request comes from.
        self.loaded_app = gated(self.loaded_app)

    uvicorn.Config.load = load_gated  # type: ignore
    sys.argv = [f"flower-{program}", *options]
    getattr(import_module(f"flwr.{program}.cli"), f"flower_{program}")()
