"""The ClientApp: a Flower node does the work of any client of the round loop.

What it is, a node says in its own configuration::

    --node-config 'client="native"'
    --node-config 'boards="/dev/ttyACM0 /dev/ttyACM1 ble:TinyReptile-3F2A"'

The first plays any device of the family, in the C core; without a word it is the run's choice.
The second lends the boards that are attached to it.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np

from tinyreptile_lite.clients import Client, SimulatedClient, simulate
from tinyreptile_lite.core.native import native
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.flower import messages
from tinyreptile_lite.flower.api import ClientApp, Context, Message
from tinyreptile_lite.flower.settings import Settings, check_client
from tinyreptile_lite.network import Network
from tinyreptile_lite.wire.channel import BoardError
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.frames import Source
from tinyreptile_lite.wire.links import Link, LocalLink, SerialLink
from tinyreptile_lite.wire.local import LocalBoard
from tinyreptile_lite.wire.session import Session

PATIENCE = 8  # silences in a row after which a board is taken for absent
Work = Callable[[Message, Context], Message]


def refuse(message: Message, context: Context, work: Work) -> Message:
    """Do the work; what goes wrong for a known reason is answered with this reason."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what diverged is refused with a remedy
            return work(message, context)
    except KitError as error:
        return Message(messages.write_refusal(str(error)), reply_to=message)


app = ClientApp(mods=[refuse])


@app.query()
def devices(message: Message, context: Context) -> Message:
    """Say which devices this node can play."""
    return Message(messages.write_devices(_devices(context)), reply_to=message)


def _devices(context: Context) -> list[str]:
    settings, ports = Settings.read(context.run_config), _ports(context)
    if not ports:
        return [messages.ANY]
    reasons: list[str] = []
    names = [board.name for board in _boards(ports, settings.recipe()[0].network(), reasons)]
    if not names:
        raise KitError("; ".join(reasons))
    return names


@app.train()
def train(message: Message, context: Context) -> Message:
    """Do one visit: learn from phi as the order says."""
    settings, ports = Settings.read(context.run_config), _ports(context)
    net = settings.recipe()[0].network()
    phi, (device, order) = messages.read_visit(message.content, net)
    if not ports:
        kind = context.node_config.get("client", settings.client)
        learned = _find_client(settings, device, kind).visit(phi, order)
        return Message(messages.write_update(learned), reply_to=message)
    for board in _boards(ports, net, []):
        if board.name == device:
            return Message(messages.write_update(board.visit(phi, order)), reply_to=message)
    raise BoardError(f"no board on {', '.join(ports)} is {device}; plug it in again")


def _find_client(settings: Settings, device: str, kind: object) -> Client:
    """Make a client of this kind that plays a device of the family."""
    check_client(kind)
    family, _, strategy = settings.recipe()
    net = family.network()
    for client in simulate(net, settings.train_devices()[1], strategy.pooled):
        if client.name == device and isinstance(client, SimulatedClient):
            if kind == "board":
                return BoardClient(LocalLink(LocalBoard(net, client.device)), net, name=device)
            return replace(client, runs=native) if kind == "native" else client
    raise KitError(f"this node has no device {device!r}; give all nodes the same version")


def _ports(context: Context) -> list[str]:
    return str(context.node_config.get("boards", "")).split()


def _boards(ports: list[str], net: Network, reasons: list[str]) -> Iterator[BoardClient]:
    """Open one board after another; why one cannot take part goes to the reasons."""
    for port in ports:
        try:
            with closing(_open(port)) as link:
                board = Session(link, net, PATIENCE).hello()
                data = board.sources & 1 << Source.DATA  # the same order, the same samples
                source = Source.DATA if data else Source.SENSOR
                yield BoardClient(link, net, source, name=f"board-{board.board_id.hex()}")
        except KitError as error:
            reasons.append(str(error))


def _open(port: str) -> Link:
    if port.startswith("ble:"):
        from tinyreptile_lite.wire.ble import BleLink  # late: most nodes have no use for it

        return BleLink(port.removeprefix("ble:"))
    return SerialLink(port)
