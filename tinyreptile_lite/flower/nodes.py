"""Flower's nodes as the server sees them: who is there, who can play what, and who has failed.

Flower keeps a node that vanished on its list for about a minute, so the kit asks for itself: a
node gets visits only after it has said which devices it can play. If it then keeps the server
waiting, or answers nonsense, the visit is repeated on another node, and the node has to answer the
question again before it gets the next one. The first good answer to a visit counts, and it does
not matter whose: the same device, phi and order give the same answer everywhere.
"""

import itertools
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx
import numpy as np

from tinyreptile_lite.clients import Check, Order, Visited
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.flower import messages
from tinyreptile_lite.flower.api import Grid, Message, MessageType, RecordDict
from tinyreptile_lite.flower.messages import ANY, Visit
from tinyreptile_lite.flower.settings import Settings
from tinyreptile_lite.network import Network

POLL = 0.25  # seconds between two looks for answers
LOOK = 2.0  # seconds between two looks for nodes
TRIES = 3  # of one visit that was refused
log = logging.getLogger("flwr.tinyreptile")  # below Flower's own, so `flwr run --stream` shows it


class OutOfReach(KitError):
    """No node can do a visit now."""


@dataclass
class _Node:
    """What is known of one node."""

    plays: frozenset[str] = frozenset()
    ready: bool = False  # it has answered, and not failed since
    questions: list[str] = field(default_factory=list)  # ids of messages that ask for its devices
    next_question: float = -math.inf
    visits: int = 0


@dataclass
class _Job:
    """A visit on its way."""

    place: int  # of the device in the list of names
    visit: Visit
    given_up: float  # when to stop looking for a node
    running: dict[str, int] = field(default_factory=dict)  # message id: node
    refusals: dict[int, str] = field(default_factory=dict)  # node: the last reason
    refused: int = 0
    repeat: float = -math.inf  # when to turn to another node
    done: Visited | None = None


class Nodes:
    """All nodes of a run: a `Visitor` of the devices that they can play.

    Attributes
    ----------
    names : list of str
        Of the run's devices; to be set where every node can play any device of the family.
    """

    def __init__(self, grid: Grid, net: Network, settings: Settings) -> None:
        self._grid, self._net, self._settings = grid, net, settings
        self._nodes: dict[int, _Node] = {}
        self._next_look = -math.inf
        self.names: list[str] = []

    # ---- Who is there ----------------------------------------------------------------------------

    def gather(self) -> None:
        """Wait for the nodes; `names` are then those of all devices that only some can play.

        Raises `OutOfReach` if they do not come, `KitError` if two have a device of the same name.
        """
        count, seconds = self._settings.nodes, self._settings.wait_seconds
        end = time.monotonic() + seconds
        while sum(node.ready for node in self._nodes.values()) < count:
            if time.monotonic() > end:
                raise OutOfReach(
                    f"there are fewer than {count} nodes after {seconds:g} s; start "
                    "more SuperNodes, or wait for fewer with nodes="
                )
            self._listen()
        self.names = sorted(name for node in self._nodes.values() for name in node.plays - {ANY})
        for name, following in itertools.pairwise(self.names):
            if name == following:
                raise KitError(f"two nodes have a board {name}; give each board an id of its own")

    def _listen(self) -> None:
        """Look for nodes and for their answers about devices."""
        if time.monotonic() >= self._next_look:
            self._look()
        for node_id, node in self._nodes.items():
            if reply := next(filter(None, map(self._pull, node.questions)), None):
                self._introduce(node_id, node, reply)
        time.sleep(POLL)

    def _look(self) -> None:
        """Bring the list of nodes up to date and ask those that are not ready."""
        now = time.monotonic()
        self._next_look = now + LOOK
        present = set(self._grid.get_node_ids())
        for node_id in self._nodes.keys() - present:
            log.info("node %d has left", node_id)
            del self._nodes[node_id]
        for node_id in sorted(present):
            node = self._nodes.setdefault(node_id, _Node())
            if not node.ready and now >= node.next_question:
                if question := self._push(RecordDict(), node_id, MessageType.QUERY):
                    node.questions.append(question)
                node.next_question = now + self._settings.visit_seconds * (1 + len(node.questions))

    def _introduce(self, node_id: int, node: _Node, reply: Message) -> None:
        node.questions.clear()
        try:
            node.plays, node.ready = messages.read_devices(reply), True
            log.info("node %d plays %s", node_id, ", ".join(sorted(node.plays)))
        except KitError as error:
            log.warning("node %d cannot take part: %s", node_id, error)

    # ---- Visits ----------------------------------------------------------------------------------

    def visit_all(
        self, phi: np.ndarray, drawn: Sequence[int], orders: Sequence[Order], check: Check
    ) -> list[Visited]:
        """Make all visits side by side, each on a node that can play its device.

        An answer that `check` refuses is as good as none. Raises `OutOfReach` if a visit was
        refused too often, or there was no node for it.
        """
        end = time.monotonic() + self._settings.wait_seconds
        jobs = [
            _Job(place, Visit(self.names[place], order), end)
            for place, order in zip(drawn, orders, strict=True)
        ]
        while waiting := [job for job in jobs if job.done is None]:
            for job in waiting:
                self._collect(job, check)
                if job.done is None and time.monotonic() >= job.repeat:
                    self._send(job, phi)
            self._listen()
        return [job.done for job in jobs if job.done is not None]

    def _send(self, job: _Job, phi: np.ndarray) -> None:
        """Give the visit to a node, or to another one if that keeps us waiting."""
        device = job.visit.device
        for node_id in job.running.values():
            if node_id in self._nodes and self._nodes[node_id].ready:
                self._suspect(node_id, f"kept {device} waiting; another node takes over")
        able = {device, ANY}
        fit = [id_ for id_, node in self._nodes.items() if node.ready and node.plays & able]
        if not fit:
            if time.monotonic() > job.given_up:
                seconds = self._settings.wait_seconds
                reasons = "; ".join(job.refusals.values()) or "start a SuperNode"
                raise OutOfReach(f"no node could play {device} for {seconds:g} s: {reasons}")
            return
        node_id = min(fit, key=lambda id_: (id_ in job.refusals, self._nodes[id_].visits, id_))
        round_ = str(job.visit.order.round + 1)
        content = messages.write_visit(phi, job.visit, self._net)
        message_id = self._push(content, node_id, MessageType.TRAIN, round_)
        if message_id is None:
            self._suspect(node_id, "cannot be reached")
            return
        log.debug("round %s: %s goes to node %d", round_, device, node_id)
        self._nodes[node_id].visits += 1
        job.running[message_id] = node_id
        job.repeat = time.monotonic() + self._settings.visit_seconds
        job.given_up = job.repeat + self._settings.wait_seconds

    def _collect(self, job: _Job, check: Check) -> None:
        """Take what has come for a visit; one that was refused is repeated at once."""
        for message_id, node_id in list(job.running.items()):
            reply = self._pull(message_id)
            if reply is None or job.done is not None:
                continue
            del job.running[message_id]
            try:
                learned = messages.read_update(reply, self._net)
                check(job.visit.device, learned)
                job.done = Visited(job.place, learned)
            except KitError as error:
                self._refuse(job, node_id, str(error))

    def _refuse(self, job: _Job, node_id: int, reason: str) -> None:
        """Note that a node did not do the visit; it is repeated at once."""
        job.refusals[node_id] = reason
        job.refused += 1
        job.repeat = -math.inf
        if node_id in self._nodes:
            self._suspect(node_id, f"did not play {job.visit.device}: {reason}")
        if job.refused >= TRIES:
            raise OutOfReach(f"{job.visit.device} was refused {TRIES} times, at last: {reason}")

    def _suspect(self, node_id: int, why: str) -> None:
        """Give a node no more visits until it says again what it can play."""
        log.warning("node %d %s", node_id, why)
        node = self._nodes[node_id]
        node.ready, node.next_question = False, -math.inf

    # ---- Messages --------------------------------------------------------------------------------

    def _push(
        self, content: RecordDict, node_id: int, kind: str, group: str | None = None
    ) -> str | None:
        seconds = 10 * (self._settings.visit_seconds + self._settings.wait_seconds)
        message = Message(content, node_id, kind, ttl=seconds, group_id=group)
        return next(iter(self._grid.push_messages([message])), None)

    def _pull(self, message_id: str) -> Message | None:
        """Return the reply to a message, if it has come."""
        try:
            return next(iter(self._grid.pull_messages([message_id])), None)
        except httpx.HTTPError:
            raise  # the SuperLink is gone: nobody's fault here
        except Exception as error:  # a node may have sent anything
            log.warning("an answer cannot be read: %s", type(error).__name__)
            return None
