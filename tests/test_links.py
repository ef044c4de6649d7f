"""Links: the serial port through a real pseudo-terminal, faults, the simulated line's clock."""

import asyncio
import os
import sys
import threading
import time
import tty
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreptile_lite.bench.wire import TimedLink
from tinyreptile_lite.clients import Order
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.layers import Dense, Tanh
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.tasks.sine import SineDevice
from tinyreptile_lite.wire import frames
from tinyreptile_lite.wire.ble import BleLink
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.faults import Faults, FaultyLink
from tinyreptile_lite.wire.links import LinkLost, LocalLink, SerialLink
from tinyreptile_lite.wire.local import LocalBoard

NET = Network([Dense(1, 16), Tanh(), Dense(16, 1)], "mse", (1,))
PHI = NET.init(np.random.default_rng(0))
ORDER = Order(0, OnlineSGD(0.02), 8, 3)


def local_board() -> LocalBoard:
    return LocalBoard(NET, SineDevice("sine", 1.0, 0.5))


class Echo:
    """A link whose far end sends everything straight back."""

    name, frame_bytes, timeout = "echo", 200, 0.25

    def __init__(self):
        self.waiting = b""

    def send(self, data):
        self.waiting += data

    def receive(self, seconds):
        data, self.waiting = self.waiting, b""
        return data

    def reopen(self):
        self.waiting = b""

    def close(self):
        pass


def through(faults: Faults, count: int, seed: int = 0) -> tuple[list[int], FaultyLink]:
    """Send numbered frames through an echo; return the numbers of the good ones that came back."""
    link, decoder, seen = FaultyLink(Echo(), faults, seed), frames.Decoder(), []
    for number in range(count):
        link.send(frames.encode(frames.Abort(number)))
        contents = decoder.feed(link.receive(0))
        seen += [frames.parse(content).nonce for content in contents]
    return seen, link


# ---- Faults --------------------------------------------------------------------------------------


def test_without_faults_nothing_happens():
    seen, link = through(Faults(), 50)
    assert seen == list(range(50))
    assert link.counts == Counter(sent=100)


def test_the_same_seed_gives_the_same_faults():
    faults = Faults(0.1, 0.1, 0.1, 0.1, 0.1)
    assert through(faults, 200, seed=5)[0] == through(faults, 200, seed=5)[0]
    assert through(faults, 200, seed=5)[0] != through(faults, 200, seed=6)[0]


def test_rates_are_kept():
    _, link = through(Faults(drop=0.1, flip=0.02, duplicate=0.05), 3000)
    for name, rate in (("drop", 0.1), ("flip", 0.02), ("duplicate", 0.05)):
        expected = rate * link.counts["sent"]
        assert abs(link.counts[name] - expected) < 5 * np.sqrt(expected)


def test_drop_loses_and_duplicate_repeats():
    assert through(Faults(drop=1), 10)[0] == []
    seen, _ = through(Faults(duplicate=1), 10)  # on the way there and on the way back
    assert Counter(seen) == dict.fromkeys(range(10), 4)


def test_reorder_lets_the_next_frame_overtake():
    seen, _ = through(Faults(reorder=0.3), 200)
    assert seen != sorted(seen)
    assert len(set(seen)) >= 198  # the last may still wait
    assert max(abs(place - number) for place, number in enumerate(seen)) <= 8


def test_delay_lets_many_overtake_but_loses_none():
    seen, _ = through(Faults(delay=0.2), 300)
    assert len(seen) == len(set(seen)) > 250
    assert max(abs(place - number) for place, number in enumerate(seen)) > 8


def test_flip_damages_and_the_crc_notices():
    seen, link = through(Faults(flip=1), 300)
    assert link.counts["flip"] == link.counts["sent"]
    assert len(seen) < 5  # two flips of the same bit undo each other


def test_a_cut_link_stays_lost_until_reopened():
    link = FaultyLink(Echo(), Faults(cut=1))
    with pytest.raises(LinkLost):
        link.send(frames.encode(frames.Status()))
    with pytest.raises(LinkLost):
        link.receive(0)
    link.faults = Faults()
    link.reopen()
    link.send(b"\1\0")
    assert link.receive(0) == b"\1\0"


def test_an_unplugged_link_does_not_come_back_by_itself():
    link = FaultyLink(Echo(), Faults())
    link.unplugged = True
    with pytest.raises(LinkLost, match="unplugged"):
        link.reopen()


@given(st.binary(max_size=50), st.integers(0, 50))
def test_a_stream_without_faults_passes_whole_frames_however_cut(data, at):
    link = FaultyLink(Echo(), Faults())
    link.send(data[:at])
    link.send(data[at:])
    assert link.receive(0) == data[: data.rfind(b"\0") + 1]


def test_faults_are_read_from_text():
    assert Faults.parse("drop=0.1, flip=0.01") == Faults(drop=0.1, flip=0.01)
    assert Faults.parse("") == Faults()


@pytest.mark.parametrize(
    ("text", "words"),
    [("drop=2", ["drop", "2"]), ("drip=0.1", ["drip", "duplicate"]), ("drop=x", ["drop=x"])],
)
def test_bad_faults_are_refused(text, words, refuses):
    with refuses(*words):
        Faults.parse(text)


# ---- The simulated line --------------------------------------------------------------------------


def test_a_byte_takes_ten_bit_times_and_the_latency():
    link = TimedLink(local_board(), bits_per_second=1e6, latency=0.001)
    request = frames.encode(frames.Status())
    link.send(request)
    answer = link.receive(1.0)
    assert frames.parse(frames.Decoder().feed(answer)[0]).state == frames.State.EMPTY
    assert link.now == pytest.approx((len(request) + len(answer)) * 1e-5 + 0.002)


def test_silence_lets_time_pass():
    link = TimedLink(local_board(), 1e6)
    assert link.receive(0.25) == b""
    assert link.now == 0.25


# ---- The serial port -----------------------------------------------------------------------------


class Terminal:
    """A board behind a real pseudo-terminal, as a USB port is for the program that opens it."""

    def __init__(self):
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.port = os.ttyname(self.slave)
        self.board = local_board()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while data := os.read(self.master, 4096):
                answer = self.board.feed(data)
                while answer:
                    answer = answer[os.write(self.master, answer) :]
        except OSError:
            return  # unplugged

    def unplug(self):
        os.close(self.slave)
        os.close(self.master)


def test_a_board_learns_over_a_serial_port():
    terminal = Terminal()
    client = BoardClient(SerialLink(terminal.port), NET)
    update = client.visit(PHI, ORDER)
    reference = BoardClient(LocalLink(local_board()), NET).visit(PHI, ORDER)
    np.testing.assert_array_equal(update.params, reference.params)
    client.session.link.close()
    with pytest.raises(LinkLost):
        client.session.link.send(b"\0")
    client.visit(PHI, Order(1, OnlineSGD(0.02), 8, 3))  # opens the port again by itself
    assert client.session.traffic.reconnects == 1
    client.session.link.close()
    terminal.unplug()


def test_silence_on_a_serial_port_ends():
    master, slave = os.openpty()
    tty.setraw(slave)
    link = SerialLink(os.ttyname(slave))
    link.reopen()
    assert link.receive(0.01) == b""
    os.write(master, b"\1\2\0")
    assert link.receive(5.0)
    link.close()
    os.close(master)
    os.close(slave)


def test_an_unplugged_serial_port_is_a_lost_link():
    master, slave = os.openpty()
    tty.setraw(slave)
    link = SerialLink(os.ttyname(slave), patience=0.0)
    link.reopen()
    os.close(slave)
    os.close(master)
    with pytest.raises(LinkLost, match="gone"):
        end = time.monotonic() + 5
        while time.monotonic() < end:
            link.send(b"\0")
            link.receive(0.01)
    with pytest.raises(LinkLost):
        link.reopen()


def test_a_port_that_does_not_exist_is_named(refuses):
    with refuses("/dev/ttyACM99", "list_ports", error=LinkLost):
        SerialLink("/dev/ttyACM99").reopen()


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("[Errno 13] could not open port: Permission denied", "dialout"),
        ("[Errno 16] Device or resource busy", "serial monitor"),
        ("[Errno 2] No such file or directory", "plug it in"),
    ],
)
def test_each_trouble_with_a_port_has_its_remedy(reason, remedy):
    from tinyreptile_lite.wire.links import _port_trouble

    assert remedy in _port_trouble("/dev/ttyACM0", OSError(reason))


# ---- Bluetooth -----------------------------------------------------------------------------------


def test_no_bluetooth_is_one_sentence(refuses, monkeypatch):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
    with refuses("Bluetooth"):
        BleLink("TinyReptile-0000", patience=0.1).reopen()


class Bleak:
    """What the package bleak shows of a board in reach; the board is real, the radio is not.

    `failures` are raised one after the other instead of a write, and end the connection, half of
    the data having arrived.
    """

    class BleakError(Exception):
        pass

    def __init__(self, board, failures=()):
        self.board, self.failures = board, list(failures)
        self.writes, self.connections = [], 0
        self.BleakScanner = self
        self.BleakClient = lambda device: self.Client(self)

    async def find_device_by_filter(self, wanted, timeout):
        found = SimpleNamespace(name="Arduino", address="12:34")  # as BlueZ remembers it
        heard = SimpleNamespace(local_name="TinyReptile-3F2A")
        return found if wanted(found, heard) else None

    class Client:
        def __init__(self, radio):
            self.radio, self.is_connected, self.services = radio, False, self

        async def connect(self):
            self.is_connected = True
            self.radio.connections += 1

        async def disconnect(self):
            self.is_connected = False

        async def start_notify(self, uuid, heard):
            self.heard = heard

        def get_characteristic(self, uuid):
            return self

        async def write_gatt_char(self, characteristic, data, response):
            assert response and len(data) <= 199
            self.radio.writes.append(data)
            if self.radio.failures and len(self.radio.writes) % 3 == 0:
                self.is_connected = False
                self.radio.board.feed(data[: len(data) // 2])
                raise self.radio.failures.pop(0)
            answer = self.radio.board.feed(data)
            for at in range(0, len(answer), 20):
                self.heard(None, bytearray(answer[at : at + 20]))


def ble_link(monkeypatch, *args, name="TinyReptile-3F2A", patience=0.5):
    radio = Bleak(*args)
    monkeypatch.setitem(sys.modules, "bleak", radio)
    return BleLink(name, patience), radio


def test_a_board_is_found_by_the_name_that_it_advertises(monkeypatch):
    for name in ("TinyReptile-3F2A", "12:34"):
        link, _ = ble_link(monkeypatch, local_board(), name=name)
        link.reopen()
        link.close()
    link, _ = ble_link(monkeypatch, local_board(), name="TinyReptile-0000", patience=0.1)
    with pytest.raises(LinkLost, match="TinyReptile-0000"):
        link.reopen()


def test_whatever_bleak_raises_is_a_lost_link_and_the_visit_goes_on(monkeypatch):
    """Each failure comes in the middle of a frame, half of which stays on the board."""
    failures = [Bleak.BleakError("gone"), TimeoutError(), EOFError(), AssertionError(), OSError()]
    failures += [asyncio.CancelledError(), KeyError("/org/bluez"), AttributeError("call")]
    link, radio = ble_link(monkeypatch, local_board(), failures)
    client = BoardClient(link, NET)
    update = client.visit(PHI, ORDER)
    reference = BoardClient(LocalLink(local_board()), NET).visit(PHI, ORDER)
    np.testing.assert_array_equal(update.params, reference.params)
    assert not radio.failures and radio.connections == 9
    link.close()


def test_another_sketch_is_named_at_once_and_left(monkeypatch):
    link, radio = ble_link(monkeypatch, local_board(), patience=60)
    monkeypatch.setattr(radio.Client, "get_characteristic", lambda self, uuid: None)
    with pytest.raises(KitError, match="no serial service; flash FederatedClient"):
        link.reopen()
    assert link._client is None


def test_a_failure_without_words_has_its_name(monkeypatch):
    link, _ = ble_link(monkeypatch, local_board(), [TimeoutError()])
    link.reopen()
    with pytest.raises(LinkLost, match="failed \\(TimeoutError\\)"):
        for _ in range(3):
            link.send(b"x\0")


def test_closing_never_fails(monkeypatch):
    link, radio = ble_link(monkeypatch, local_board())
    link.reopen()

    async def gone(self):
        raise KeyError("gone")

    monkeypatch.setattr(radio.Client, "disconnect", gone)
    link.close()
    assert link._client is None


class Peripheral:
    """What `bleak` makes of a board in reach, as far as it takes to be connected or not."""

    def __init__(self, connected):
        self.connected = connected

    async def disconnect(self):
        self.connected.discard(self)


def test_one_board_is_connected_at_a_time(monkeypatch):
    connected = set()

    async def connect(link, seconds):
        link._client = Peripheral(connected)
        connected.add(link._client)

    monkeypatch.setattr(BleLink, "_connect", connect)
    links = [BleLink(f"TinyReptile-{number}") for number in range(3)]

    def use(link):
        for _ in range(20):
            with link.turn(), link.turn():  # a visit says hello
                if link._client not in connected:
                    link.reopen()
                assert connected == {link._client}

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(use, links))
    links[0].reopen()
    links[0].close()
    assert links[0]._client is None


def test_a_session_has_its_turn_for_a_whole_visit():
    turns = []

    @contextmanager
    def turn():
        turns.append("begins")
        yield
        turns.append("ends")

    class Watched(LocalLink):
        def send(self, data):
            assert turns.count("begins") > turns.count("ends")
            super().send(data)

    client = BoardClient(Watched(local_board()), NET, turn=turn)
    client.visit(PHI, ORDER)
    client.session.hello()
    assert turns.count("begins") == turns.count("ends")
