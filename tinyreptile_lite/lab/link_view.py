"""What goes over a link: listen to it, and see what lost frames cost."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

import ipywidgets
import numpy as np
from matplotlib.axes import Axes

from tinyreptile_lite.federation import Federation
from tinyreptile_lite.lab.plots import BLACK, BLUE, DASHES, GREY, VERMILION
from tinyreptile_lite.lab.widgets import Explorer, Picture, choice, panels
from tinyreptile_lite.strategies import tiny_reptile
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.wire import frames
from tinyreptile_lite.wire.ble import BLE_FRAME, BleLink
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.faults import Faults, FaultyLink
from tinyreptile_lite.wire.links import USB_FRAME, Link, LocalLink, SerialLink
from tinyreptile_lite.wire.local import LocalBoard

Array = np.ndarray

DROPS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
LINKS = {"USB": (USB_FRAME, SerialLink.timeout), "Bluetooth": (BLE_FRAME, BleLink.timeout)}
_LOOKS = {"USB": (BLUE, "-", "s"), "Bluetooth": (VERMILION, DASHES[0], "o")}


class Tap:
    """A link that keeps a copy of all that is ``sent`` to the board and ``received`` from it."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.name, self.frame_bytes, self.timeout = link.name, link.frame_bytes, link.timeout
        self.reopen, self.close = link.reopen, link.close
        self.sent, self.received = bytearray(), bytearray()

    def send(self, data: bytes) -> None:
        """Note and send."""
        self.sent += data
        self.link.send(data)

    def receive(self, seconds: float) -> bytes:
        """Receive and note."""
        data = self.link.receive(seconds)
        self.received += data
        return data


def overheard(data: bytes) -> list[frames.Message]:
    """Return the messages in these bytes; damaged frames are left out."""
    return [frames.parse(content) for content in frames.Decoder().feed(bytes(data))]


class LinkCost(NamedTuple):
    """What visits over a link needed."""

    bytes: float  # for each visit, both ways, with all that was lost
    waiting: float  # seconds for each visit in which the server waited in vain
    phi: Array  # after the last visit, shape (P,)


def link_cost(drop: float, kind: str = "USB", visits: int = 20, seed: int = 0) -> LinkCost:
    """Let a board learn a sine wave over a link that drops frames, and count.

    The board is the real one's C code in this process. The link carries the real frames, as long
    as on USB or Bluetooth, and a lost answer counts with the real link's time-out.

    ``drop`` is the share of the frames that never arrive, in both directions. Raises `BoardSilent`
    if so much is lost that the server gives the board up.
    """
    family = Sine()
    net, (device,) = family.network(), family.devices(1, np.random.default_rng(seed))
    longest, timeout = LINKS[kind]
    tap = Tap(LocalLink(LocalBoard(net, device), longest))
    client = BoardClient(FaultyLink(tap, Faults(drop=drop), seed), net)
    rng = np.random.default_rng(seed)
    phi = Federation(net, tiny_reptile(0.02, 32), [client], visits, rng).run()
    traffic = client.session.traffic
    total = traffic.sent + len(tap.received)  # each side counts what it sends
    return LinkCost(total / visits, traffic.silences * timeout / visits, phi)


@lru_cache
def link_costs() -> Mapping[tuple[str, float], LinkCost]:
    """`link_cost` for both kinds of link and all rates in `DROPS`."""
    return {(kind, drop): link_cost(drop, kind) for kind in LINKS for drop in DROPS}


def link_widget() -> Explorer:
    """A slider for the share of lost frames, a button for each kind of link; see `link_cost`."""
    costs = link_costs()
    percent = 100 * np.array(DROPS)

    def draw_lines(ax: Axes, value: Callable[[LinkCost], float], drop: float, kind: str) -> None:
        for each, (longest, _) in LINKS.items():
            line = [value(costs[each, rate]) for rate in DROPS]
            label = f"{each}: frames up to {longest:,} bytes"
            colour, dashes, marker = _LOOKS[each]
            own = colour if each == kind else GREY
            ax.plot(percent, line, color=own, linestyle=dashes, label=label)
            if each == kind:
                ax.plot(100 * drop, value(costs[kind, drop]), marker, color=own, markersize=9)
        ax.set_xlabel("frames lost, in percent")

    def draw(drop: float, kind: str) -> Picture:
        figure, (left, right) = panels(2)
        figure.subplots_adjust(wspace=0.22)
        draw_lines(left, lambda cost: cost.bytes / 1000, drop, kind)
        cost, clean = costs[kind, drop], costs[kind, 0.0]
        again = clean.bytes / 1000 / (1 - percent / 100)
        left.plot(percent, again, ":", color=BLACK, label="what was lost, and no more")
        left.set(ylabel="kB for each visit", ylim=(0, 1.25 * left.get_ylim()[1]))
        left.legend(loc="upper left")
        draw_lines(right, lambda cost: cost.waiting, drop, kind)
        right.set(ylabel="seconds of waiting in vain, each visit")
        same = "the same bits" if np.array_equal(cost.phi, clean.phi) else "other bits"
        return Picture(
            figure,
            f"Each visit: {cost.bytes / 1000:.1f} kB, {cost.bytes / clean.bytes:.2f} times those "
            f"of a clean link, and {cost.waiting:.1f} s of waiting. phi at the end: {same}.",
        )

    controls = {
        "drop": choice("lost frames", [(f"{100 * each:.0f} %", each) for each in DROPS], 0.1),
        "kind": ipywidgets.RadioButtons(
            options=list(LINKS), description="link", style={"description_width": "8em"}
        ),
    }
    return Explorer("Lost frames", controls, draw)
