"""A model of the limits of Bluetooth on the board: one connection, as a sketch has it.

The numbers come from the sources of ArduinoBLE 2.0.1 and of the core arduino:mbed_nano for the Nano
33 BLE, or are assumed where that is said; nothing was measured on a real board. The radio itself
sends again what is lost on the air, so nothing is lost there until the whole link drops. Time is in
seconds. Whoever uses the model brings the clock; nothing sleeps.
"""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

RING_BYTES = 256  # HCICordioTransport.h, _rxBuf: a packet that does not fit is dropped whole
SEND_PACKETS = 4  # the core's mbed_config.h, CORDIO_LL_TX_BUFFERS; HCI.cpp calls it _maxPkt
MTU = 247  # HCI.cpp, setMaxMtu: the core's CORDIO_LL_MAX_ACL_SIZE, 256, less 9
JOIN_BYTES = 255  # HCI.h, _l2CapPduBuffer: pieces are joined there, and nobody checks the room
TURN = 0.005  # RTX_Config.h, OS_ROBIN_TIMEOUT: how long a busy sketch keeps the radio's thread off
YIELD_TURN = 0.001  # mbed_config.h, WSF_MS_PER_TICK: how often that thread looks if it may
_PIECE_HEADER = 5  # of a piece in the ring: kind, handle, length
_L2CAP_HEADER, _ATT_HEADER = 4, 3
_EVENT_BYTES = {"completed": 8, "lost": 7, "up": 22}  # in the ring: what the radio reports
_EMPTY, _PAUSE = 80e-6, 150e-6  # an empty packet, and the pause after each: Core Spec. 5, LE 1M
_BYTE = 8e-6


@dataclass(frozen=True)
class Limits:
    """Of one connection; times in seconds."""

    interval: float = 0.015  # from one connection event to the next; computers choose .0075 to .05
    packets: int = 1  # of each side in one event, at most; assumed, computers differ
    piece_bytes: int = 251  # longest packet on the air; 27 before Bluetooth 4.2
    mtu: int = MTU  # longest write or notification, header included
    supervision: float = 0.42  # silence after which both sides call the link lost: Linux's default
    turn: float = TURN  # what comes and goes waits so long for the radio's thread
    ring_bytes: int = RING_BYTES
    send_packets: int = SEND_PACKETS
    drop: float = 0.0  # probability for each packet that the link drops in the middle of it


@dataclass(frozen=True)
class Packet:
    """What one side sends the other, or what the radio reports to the sketch.

    The host sends "write" (and waits for a "response"), "command" (and does not wait) and
    "subscribe"; the board "response" and "notify"; the radio reports "up", "lost", "completed".
    """

    kind: str
    data: bytes = b""
    count: int = 0  # of packets completed


class _Sending:
    """A packet on the air, in pieces."""

    def __init__(self, packet: Packet, ready: float, piece_bytes: int) -> None:
        self.packet, self.ready = packet, ready
        self.size = len(packet.data) + _ATT_HEADER + _L2CAP_HEADER
        self.pieces = [min(piece_bytes, self.size - at) for at in range(0, self.size, piece_bytes)]
        self.done = 0  # pieces


@dataclass(frozen=True)
class _Piece:
    sending: _Sending
    number: int

    @property
    def size(self) -> int:
        return self.sending.pieces[self.number]


class Controller:
    """The board's radio, the ring between it and the sketch, and the host at the other end.

    The sketch calls `take` and `transmit`, the host the methods above them; `advance` lets time
    pass for both.
    """

    def __init__(self, limits: Limits, rng: np.random.Generator) -> None:
        self.limits, self._rng = limits, rng
        self.now = 0.0
        self.ring_losses = 0  # packets and reports that did not fit the ring
        self.overrun = False  # more pieces were joined than there is room for: memory is damaged
        self.drops = 0  # of the link
        self.connected = False  # as far as the host knows
        self.received: deque[Packet] = deque()  # by the host
        self._event = 0.0  # when the next connection event is
        self._silent_since = 0.0
        self.reset()

    def reset(self) -> None:
        """Reset the board: its radio falls silent, and what was in the ring is gone."""
        self.advertising = False
        self._linked = False  # as far as the radio knows
        self._silent = True  # nothing gets through, even if both sides do not know yet
        self._silent_since = self.now
        self._to_board: deque[_Sending] = deque()
        self._to_host: deque[_Sending] = deque()
        self._coming: deque[tuple[float, _Piece | Packet]] = deque()  # to the ring
        self._ring: deque[_Piece | Packet] = deque()
        self._used = self._joined = 0  # bytes

    # ---- The host --------------------------------------------------------------------------------

    def connect(self) -> bool:
        """Connect, if the board advertises."""
        if self.connected or not self.advertising:
            return False
        self.connected = self._linked = True
        self.advertising = self._silent = False
        self._event = self.now + self.limits.interval
        self._report(self.now, Packet("up"))
        return True

    def disconnect(self) -> None:
        """End the connection, if there is one."""
        if self.connected:
            self._fall_silent(self.now)
            self._give_up()

    def write(self, packet: Packet) -> None:
        """Send something to the board."""
        self._to_board.append(_Sending(packet, self.now, self.limits.piece_bytes))

    # ---- The sketch ------------------------------------------------------------------------------

    def take(self) -> Packet | None:
        """Take the next packet or report out of the ring; None if there is no whole one."""
        while self._ring:
            what = self._ring.popleft()
            self._used -= _room(what)
            if isinstance(what, Packet):
                return what
            # What is joined is a packet if it has the right size. A first piece that was lost is
            # not missed: the rest goes behind whatever is there.
            self._joined = self._joined + what.size if what.number else what.size
            self.overrun |= self._joined > JOIN_BYTES
            if self._joined == what.sending.size:
                self._joined = 0
                return what.sending.packet
        return None

    @property
    def waiting(self) -> int:
        """Packets of the sketch that the radio still has to send."""
        return len(self._to_host)

    def transmit(self, packet: Packet) -> None:
        """Hand something to the radio."""
        if self._linked:
            ready = self._after_turn(self.now)
            self._to_host.append(_Sending(packet, ready, self.limits.piece_bytes))

    # ---- Time ------------------------------------------------------------------------------------

    def next_moment(self) -> float:
        """When something happens next, if nobody does anything; infinity if nothing."""
        moments = [self._coming[0][0]] if self._coming else []
        if not self._silent:
            moments.append(self._event)
        elif self.connected or self._linked:
            moments.append(self._silent_since + self.limits.supervision)
        return max(self.now, min(moments, default=math.inf))

    def advance(self, until: float) -> None:
        """Let time pass."""
        while (moment := self.next_moment()) <= until:
            self.now = moment
            if self._coming and self._coming[0][0] <= moment:
                self._store(self._coming.popleft()[1])
            elif not self._silent:
                self._hold_event()
            else:
                self._give_up()
        self.now = max(self.now, until)

    def _after_turn(self, time: float) -> float:
        """When the radio's thread has had its turn."""
        turn = self.limits.turn
        return math.ceil(time / turn) * turn if turn else time

    def _report(self, time: float, what: _Piece | Packet) -> None:
        self._coming.append((self._after_turn(time), what))

    def _store(self, what: _Piece | Packet) -> None:
        if self._used + _room(what) > self.limits.ring_bytes:
            self.ring_losses += 1
        else:
            self._ring.append(what)
            self._used += _room(what)

    def _hold_event(self) -> None:
        """Let both sides send at most so many packets."""
        time, end, completed = self._event, self._event + self.limits.interval, 0
        self._event = end
        for _ in range(self.limits.packets):
            both = [_ready(queue, time) for queue in (self._to_board, self._to_host)]
            airtime = 2 * (_EMPTY + _PAUSE) + _BYTE * sum(each.size for each in both if each)
            if not any(both) or time + airtime > end:
                break
            time += airtime
            if any(self._drops(each) for each in both if each):
                self.drops += 1
                self._fall_silent(time)
                return
            down, up = both
            if down:
                _carry(self._to_board)
                self._report(time, down)
            if up and _carry(self._to_host):
                self.received.append(up.sending.packet)
                completed += 1
        if completed:
            self._report(time, Packet("completed", count=completed))

    def _drops(self, piece: _Piece) -> bool:
        """Throw the dice: a packet in many pieces has the same chance as one in one."""
        chance = self.limits.drop and 1 - (1 - self.limits.drop) ** (1 / len(piece.sending.pieces))
        return bool(chance) and self._rng.random() < chance

    def _fall_silent(self, time: float) -> None:
        """The link drops; both sides notice by the silence. What was on its way is lost."""
        self._silent, self._silent_since = True, time
        self._to_board.clear()
        self._to_host.clear()  # and nobody says that these packets are completed

    def _give_up(self) -> None:
        """Both sides have noticed."""
        self.connected = False
        self._to_board.clear()
        if self._linked:
            self._linked = False
            self._to_host.clear()
            self._report(self.now, Packet("lost"))


def _room(what: _Piece | Packet) -> int:
    """Bytes in the ring."""
    return _PIECE_HEADER + what.size if isinstance(what, _Piece) else _EVENT_BYTES[what.kind]


def _ready(queue: deque[_Sending], time: float) -> _Piece | None:
    """The next piece to go, if one is ready."""
    return _Piece(queue[0], queue[0].done) if queue and queue[0].ready <= time else None


def _carry(queue: deque[_Sending]) -> bool:
    """Take a piece off the queue; whether the packet is whole now."""
    queue[0].done += 1
    whole = queue[0].done == len(queue[0].pieces)
    if whole:
        queue.popleft()
    return whole
