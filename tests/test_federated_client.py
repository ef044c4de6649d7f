"""The sketch FederatedClient on the virtual Nano: a board in every respect but the silicon."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinyreptile_lite.bench.packing import pack_cost
from tinyreptile_lite.clients import Order
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, Tanh
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.nano import VirtualNano, build
from tinyreptile_lite.nano.cycles import model
from tinyreptile_lite.nano.mounting import as_worn
from tinyreptile_lite.network import Network
from tinyreptile_lite.partial import PartialSGD
from tinyreptile_lite.serve.fleet import VirtualLink
from tinyreptile_lite.tasks.base import Samples
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.wire import frames
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.faults import Faults, FaultyLink
from tinyreptile_lite.wire.frames import Source
from tinyreptile_lite.wire.header import network_header, recording_header
from tinyreptile_lite.wire.links import LocalLink
from tinyreptile_lite.wire.local import LocalBoard

SKETCH = Path(__file__).parents[1] / "arduino" / "FederatedClient"
SINE = Sine().network()
RATE = OnlineSGD(0.02)
FEEDBACK = PartialSGD(0.02, 2, 0.01, 8, 25, feedback=True)
# As the wrist network, but smaller: two seconds of six axes at 25 rows a second.
MOTION = Network(
    [Conv1D(6, 8, 5, 2), Tanh(), GlobalAveragePool(), Dense(8, 3)], "cross_entropy", (50, 6)
)


def start(net, seed=0):
    return net.init(np.random.default_rng(seed))


@pytest.fixture(scope="module")
def firmware():
    return build(SKETCH)


def client_of(firmware, net=SINE, faults=None, source=Source.DATA, **board):
    nano = VirtualNano(firmware, **board)
    link = FaultyLink(VirtualLink(nano, "virtual:1"), faults or Faults(), 1)
    return BoardClient(link, net, source), nano


def motion_firmware(
    folder: Path,
    recording: Samples | None = None,
    flags: tuple[str, ...] = (),
    settings: str = "",
):
    """Build a copy of the sketch for the network MOTION."""
    copy = folder / "FederatedClient"
    shutil.copytree(SKETCH, copy)
    header = network_header(MOTION, "motion") + settings
    (copy / "network.h").write_text(header, encoding="utf-8")
    if recording is not None:
        (copy / "recording.h").write_text(recording_header(recording), encoding="utf-8")
    firmware = build(copy, flags=flags)
    assert not firmware.warnings
    return firmware


def test_the_shipped_header_is_the_sine_networks():
    assert (SKETCH / "network.h").read_text(encoding="utf-8") == network_header(SINE, "sine")


def test_the_sketch_builds_without_a_warning_and_is_short(firmware):
    assert not firmware.warnings
    assert len((SKETCH / "FederatedClient.ino").read_text(encoding="utf-8").splitlines()) < 200


def sine_samples(board_id: bytes, seed: int, count: int) -> Samples:
    """What source.h draws on a board with this id, in Python."""

    def dice(seed):
        state = (seed * 2654435761 & 0xFFFFFFFF) ^ 0x9E3779B9 or 1
        for number in range(10_000):
            state ^= state << 13 & 0xFFFFFFFF
            state ^= state >> 17
            state ^= state << 5 & 0xFFFFFFFF
            if number >= 4:
                yield (state >> 8) / 2**24

    wave, points = dice(int.from_bytes(board_id[:4], "little")), dice(seed)
    amplitude, phase = 0.1 + 4.9 * next(wave), 6.2831853 * next(wave)
    x = np.array([[10 * next(points) - 5] for _ in range(count)], np.float32)
    return Samples(x, (amplitude * np.sin(x + phase)).astype(np.float32))


def test_a_virtual_board_learns_its_own_sine(firmware):
    client, nano = client_of(firmware, seed=7)
    phi = start(SINE)
    update = client.visit(phi, Order(0, RATE, 32, 5))
    samples = sine_samples(client.session.board.board_id, 5, 32)
    expected = RATE.learn(SINE, phi, samples, np.random.default_rng(0))
    np.testing.assert_allclose(update.params, expected.params, rtol=1e-4, atol=1e-5)
    assert update.loss == pytest.approx(float(expected.loss), rel=1e-4)
    assert not nano.leds["builtin"]


def test_a_virtual_board_scores_its_weights_before_and_after_it_learns(firmware):
    client, _ = client_of(firmware)
    phi, order = start(SINE), Order(0, RATE, 32, 5)
    learned, (before, after) = client.scored_visit(phi, order, 50)
    plain, _ = client_of(firmware)
    np.testing.assert_array_equal(learned.params, plain.visit(phi, order).params)
    for score, params in ((before, phi), (after, learned.params)):
        board_id = client.session.board.board_id
        samples = sine_samples(board_id, score.seed, score.sample_count)
        assert score.loss == pytest.approx(float(SINE.loss(params, *samples)), rel=1e-4)
    assert after.loss < before.loss


def test_boards_have_ids_of_their_own(firmware):
    ids = {client_of(firmware, seed=seed)[0].session.hello().board_id for seed in range(4)}
    assert len(ids) == 4


def run_rounds(firmware, faults, rounds=12, reset_at=()):
    client, nano = client_of(firmware, faults=faults)
    phi = start(SINE)
    for number in range(rounds):
        update = client.visit(phi, Order(number, RATE, 8, number))
        phi += np.float32(0.5) * (update.params - phi)
        if number in reset_at:
            nano.reset()
    return phi, client.session.traffic


def test_bad_links_and_resets_change_nothing_on_the_emulated_board(firmware):
    clean, _ = run_rounds(firmware, Faults())
    bad = Faults(drop=0.1, flip=0.02, duplicate=0.05, reorder=0.05, delay=0.05, cut=0.01)
    phi, traffic = run_rounds(firmware, bad, reset_at=(3, 7))
    assert traffic.silences > 0 and traffic.restarts >= 2
    np.testing.assert_array_equal(phi, clean)


def test_a_board_with_another_network_is_refused(firmware, refuses):
    client, _ = client_of(firmware, net=MOTION)
    with refuses("another network", "export"):
        client.visit(start(MOTION), Order(0, RATE, 8, 1))


def test_a_board_without_a_sensor_says_so(firmware, refuses):
    client, _ = client_of(firmware, source=Source.SENSOR)
    with refuses("no such source"):
        client.visit(start(SINE), Order(0, RATE, 8, 1))


def test_recorded_windows_in_flash(tmp_path):
    """A recording of one window: whatever is drawn, it is this one."""
    x = np.random.default_rng(3).normal(size=(1, 50, 6)).astype(np.float32)
    recording = Samples(x, np.array([2]))
    client, _ = client_of(motion_firmware(tmp_path, recording), MOTION)
    phi = start(MOTION)
    update = client.visit(phi, Order(0, RATE, 5, 1))
    five = Samples(np.repeat(x, 5, 0), np.repeat(recording.y, 5))
    expected = RATE.learn(MOTION, phi, five, np.random.default_rng(0))
    np.testing.assert_allclose(update.params, expected.params, rtol=1e-4, atol=1e-6)


class OneWindow:
    """A device that has recorded one window."""

    name = "one"

    def __init__(self, recording):
        self.recording = recording

    def stream(self, count, rng):
        return Samples(*(np.repeat(part, count, 0) for part in self.recording))


@pytest.mark.parametrize("learner", [PartialSGD(0.02, bits=16, percent=30), FEEDBACK], ids=str)
def test_packed_changes_of_a_virtual_board_are_those_of_a_local_one(tmp_path, learner):
    """The Cortex-M4 converts to float16 by itself; the local board's C does it in portable code."""
    x = np.random.default_rng(3).normal(size=(1, 50, 6)).astype(np.float32)
    recording = Samples(x, np.array([2]))
    firmware = motion_firmware(tmp_path, recording, settings="#define ERROR_FEEDBACK 1\n")
    virtual, _ = client_of(firmware, MOTION)
    local = BoardClient(LocalLink(LocalBoard(MOTION, OneWindow(recording))), MOTION)
    phi = start(MOTION)
    phi[:3] = 2.0**-20, -(2.0**-24), 0.3  # the first two are subnormal in float16
    for number in range(4):
        order = Order(number, learner, 6, number)
        learned, expected = (client.visit(phi, order) for client in (virtual, local))
        np.testing.assert_array_equal(learned.params, expected.params)
        assert learned.loss == expected.loss
        phi = learned.params
    counts = [client.session.traffic.received for client in (virtual, local)]
    assert abs(counts[0] - counts[1]) < 30  # but for its id, and zeros that COBS takes out


def test_packing_is_at_most_a_tenth_of_a_visit(firmware):
    """Instructions: to take phi, to learn from 32 samples, to pack and to send."""
    client, nano = client_of(firmware)
    client.session.need(frames.VERSION_2)
    client.session.hello()
    nano.profile()
    learner = PartialSGD(0.02, bits=8, percent=25)
    client.visit(start(SINE), Order(0, learner, 32, 5))
    whole = model(nano.blocks(), nano.read_memory).instructions
    assert 0.01 * whole < pack_cost(SINE, learner).instructions < 0.1 * whole
    assert nano.stack_used < 1_100  # bytes; packing takes the most


def test_a_sketch_without_memory_for_feedback_says_so(firmware, refuses):
    client, _ = client_of(firmware)
    with refuses("no memory for error feedback", "ERROR_FEEDBACK"):
        client.visit(start(SINE), Order(0, FEEDBACK, 8, 1))
    assert client.visit(start(SINE), Order(1, replace(FEEDBACK, feedback=False), 8, 1)).loss > 0


def test_live_windows_of_the_imu(tmp_path):
    """A board that is held still measures the same row again and again.

    It finds in the pause before the first window that its rotation is an offset, and takes it off.
    """
    row = np.array([0.1, -0.2, 0.9, 10.0, -20.0, 30.0], np.float32)
    firmware = motion_firmware(tmp_path)
    noise = np.array([[2**-10], [-(2**-10)]], np.float32)  # two readings make a row: it is gone
    imu = as_worn(row + noise)
    client, _ = client_of(firmware, MOTION, source=Source.SENSOR, imu=imu, imu_rate=50.0)
    phi, seed = start(MOTION), 4
    update = client.visit(phi, Order(0, RATE, 3, seed))
    row[3:] = 0
    labels = (seed + np.arange(3)) % 3
    windows = Samples(np.tile(row, (3, 50, 1)), labels)
    expected = RATE.learn(MOTION, phi, windows, np.random.default_rng(0))
    np.testing.assert_allclose(update.params, expected.params, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("right_arm", [0, 1])
def test_a_window_of_the_imu_has_a_row_for_each_reading_of_a_slow_sensor(tmp_path, right_arm):
    """As in training: 25 readings a second, none of them averaged with its neighbour."""
    firmware = motion_firmware(tmp_path, flags=(f"-DRIGHT_ARM={right_arm}",))
    rows = np.random.default_rng(1).normal(0, 0.5, (200, 6)).astype(np.float32)
    imu = as_worn(rows, "right" if right_arm else "left")
    client, _ = client_of(firmware, MOTION, source=Source.SENSOR, imu=imu, imu_rate=25.0)
    phi = start(MOTION)
    params = client.visit(phi, Order(0, RATE, 1, 0)).params
    rows[:, 3:] *= np.float32(np.pi / 180)

    def distance(begin):
        window = Samples(rows[None, begin : begin + 50], np.array([0]))
        return np.abs(RATE.learn(MOTION, phi, window, np.random.default_rng(0)).params - params)

    assert min(distance(begin).max() for begin in range(40, 80)) < 1e-6


@pytest.mark.parametrize(
    ("fault", "words"), [("freeze", "never change"), ("silent", "no readings"), ("dead", "jump")]
)
def test_a_broken_sensor_ends_the_visit_with_its_name(tmp_path, fault, words):
    client, nano = client_of(motion_firmware(tmp_path), MOTION, source=Source.SENSOR)
    phi = start(MOTION)
    nano.imu.fault = fault
    with pytest.raises(KitError, match=f"sensor.*{words}"):
        client.visit(phi, Order(0, RATE, 1, 1))
    assert 10_000 < nano.time_ms < 14_000
    nano.imu.fault = "ok"
    assert client.visit(phi, Order(1, RATE, 1, 1)).loss > 0


def test_the_board_listens_while_it_waits_for_its_sensor(tmp_path):
    """A visit that takes seconds is polled, can be aborted, and the next one is taken."""
    firmware = motion_firmware(tmp_path)
    client, nano = client_of(firmware, MOTION, source=Source.SENSOR, imu_chip=None)
    with pytest.raises(KitError, match="no such source"):
        client.visit(start(MOTION), Order(0, RATE, 1, 1))
    client, nano = client_of(firmware, MOTION, source=Source.SENSOR)
    client.visit(start(MOTION), Order(0, RATE, 1, 1))
    # Two seconds to get ready, and two of movement, but for half the slot of the first reading.
    assert nano.time_ms > 3980
    assert client.session.traffic.silences > 8
