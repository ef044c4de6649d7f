"""Visits whose changes come back packed: a board in C against NumPy, and everything in between.

`Reference` is what a board does, in NumPy and the C core, with no wire: each test demands its bits.
"""

import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from test_session import BAD, WORSE, Gestures, Resetting

from tinyreptile_lite import packing
from tinyreptile_lite.clients import Order
from tinyreptile_lite.core.native import native
from tinyreptile_lite.layers import Dense, Tanh
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.partial import WHOLE, PartialSGD
from tinyreptile_lite.tasks.base import Samples
from tinyreptile_lite.tasks.sine import Sine, SineDevice
from tinyreptile_lite.wire import frames
from tinyreptile_lite.wire.ble import BLE_FRAME
from tinyreptile_lite.wire.channel import BoardError, BoardRefused, BoardSilent, BoardUnsound
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.faults import FaultyLink
from tinyreptile_lite.wire.frames import Flag, State
from tinyreptile_lite.wire.links import USB_FRAME, LinkLost, LocalLink
from tinyreptile_lite.wire.local import LocalBoard, network_id

SINE = Sine().network()
SMALL = Network([Dense(1, 16), Tanh(), Dense(16, 1)], "mse", (1,))
DEVICE = SineDevice("/dev/fake", 1.0, 0.5)
PART = PartialSGD(0.02, 4, 0.01, 8, 25)
FEEDBACK = replace(PART, feedback=True)


class Noise:
    """Made-up samples for any network that ends in numbers."""

    name = "noise"

    def __init__(self, net):
        self.net = net

    def stream(self, count, rng):
        x = rng.normal(size=(count, *self.net.input_shape)).astype(np.float32)
        return Samples(x, rng.normal(size=(count, self.net.outputs)).astype(np.float32))


class Reference:
    """What a board sends and keeps."""

    def __init__(self, net=SMALL, device=DEVICE):
        self.net, self.device = net, device
        self.reset()

    def reset(self):
        self.kept = np.zeros(self.net.size, np.float32)

    def visit(self, phi, order):
        learner, samples = native(order.learner), None
        samples = self.device.stream(order.sample_count, np.random.default_rng(order.seed))
        if learner.bits == WHOLE:
            return learner.steps_of(self.net, phi, samples).params
        begin = packing.halved(phi)
        limit = learner.limit(self.net)
        change = (learner.steps_of(self.net, begin, samples).params - begin)[:limit]
        if learner.feedback:
            change += self.kept[:limit]
        self.sent = packing.selected(change, learner.percent, learner.bits, order.seed)
        if learner.feedback:
            change[self.sent.at] -= self.sent.values
            self.kept[:limit] = change
        return self.sent.added_to(phi)

    def take_back(self):
        """What was sent last did not arrive."""
        self.kept[self.sent.at] += self.sent.values


def start(net=SMALL, seed=0):
    return net.init(np.random.default_rng(seed))


def rounds(client, reference, learner, numbers, phi):
    """Visit again and again; each visit must be the reference's, bit by bit."""
    for number in numbers:
        order = Order(number, learner, 8, 100 + number)
        learned = client.visit(phi, order)
        np.testing.assert_array_equal(learned.params, reference.visit(phi, order))
        phi = phi + np.float32(0.5) * (learned.params - phi)
    return phi


def both(net=SMALL, device=DEVICE, link=LocalLink, frame=USB_FRAME, **options):
    """Return a client of a board, and the reference."""
    board = LocalBoard(net, device, **options)
    link = link(board)
    link.frame_bytes = frame
    return BoardClient(link, net, patience=20), Reference(net, device)


# ---- Bit by bit ----------------------------------------------------------------------------------

KINDS = [
    PartialSGD(0.02, bits=8),
    PartialSGD(0.02, bits=16),
    PartialSGD(0.02, bits=16, percent=25),
    PartialSGD(0.02, 4, 0.01, 8, 10),
    PartialSGD(0.02, 4, 0.01, 8, 10, send_head=False),
    PartialSGD(0.02, 8, 0.01, 8, 100, send_head=False),
    PartialSGD(0.02, 99, 0.01, 16, 1),
    PartialSGD(0.02, 4, 0.01),
    FEEDBACK,
    replace(FEEDBACK, bits=16, percent=3.0),
    replace(FEEDBACK, percent=100.0, send_head=False),
]


@pytest.mark.parametrize("learner", KINDS, ids=str)
def test_a_board_sends_what_numpy_says_it_sends(learner):
    client, reference = both(SINE)
    rounds(client, reference, learner, range(4), start(SINE))


SHAPES = {
    "two weights": Network([Dense(1, 1)], "mse", (1,)),
    "an odd number": SMALL,
    "several chunks": Network([Dense(9, 40), Tanh(), Dense(40, 3)], "mse", (9,)),
}


@pytest.mark.parametrize("frame", [USB_FRAME, BLE_FRAME, 64])
@pytest.mark.parametrize("shape", SHAPES)
def test_networks_and_chunks_of_any_size(shape, frame):
    net = SHAPES[shape]
    for learner in (PartialSGD(0.02, bits=16), PartialSGD(0.02, bits=8, percent=25, feedback=True)):
        client, reference = both(net, Noise(net), frame=frame)
        rounds(client, reference, learner, range(3), start(net))


def test_a_network_of_convolutions_sends_a_part_too():
    client, reference = both(Gestures.net, Gestures())
    rounds(client, reference, FEEDBACK, range(4), start(Gestures.net))


def test_a_phi_that_float16_does_not_have_is_not_sent(refuses):
    client, _ = both()
    for bad in (70_000.0, -70_000.0):
        phi = start()
        phi[3] = bad
        with refuses("beyond 65,504, which float16 does not have"):
            client.visit(phi, Order(0, PART, 8, 1))
    assert client.session.traffic.sent == 0


@pytest.mark.parametrize("percent", [0, -1, 101, np.nan, np.inf])
def test_a_percentage_that_cannot_be_is_refused(percent, refuses):
    with refuses(f"{percent} percent", "more than 0, at most 100"):
        PartialSGD(0.02, bits=8, percent=percent)


def test_a_network_that_is_all_head_must_send_it(refuses):
    net = SHAPES["two weights"]
    learner = PartialSGD(0.02, bits=8, send_head=False)
    client, _ = both(net, Noise(net))
    with refuses("all head", "set send_head to True"):
        client.visit(start(net), Order(0, learner, 8, 1))
    with refuses("all head", "set send_head to True"):
        learner.learn(net, start(net), Noise(net).stream(8, np.random.default_rng(0)), None)


def test_changes_cost_a_part_of_the_bytes():
    client, _ = both(SINE)
    client.visit(start(SINE), Order(0, PartialSGD(0.02, bits=8, percent=10), 8, 1))
    traffic = client.session.traffic
    assert traffic.received < 0.1 * 4 * SINE.size
    assert traffic.sent < 0.55 * 4 * SINE.size


def test_scores_are_of_all_that_the_board_learned():
    """Before it learns, those of phi in float16; after it, those of weights that never left it."""
    client, _ = both(SINE)
    phi, order = start(SINE), Order(0, PART, 8, 5)
    learned, scores = client.scored_visit(phi, order, 30)
    plain, _ = both(SINE)
    np.testing.assert_array_equal(learned.params, plain.visit(phi, order).params)
    half = packing.halved(phi)
    samples = DEVICE.stream(8, np.random.default_rng(5))
    whole = native(PART).steps_of(SINE, half, samples).params
    for score, params in ((scores.before, half), (scores.after, whole)):
        samples = DEVICE.stream(score.sample_count, np.random.default_rng(score.seed))
        assert score.loss == pytest.approx(float(SINE.loss(params, *samples)), rel=1e-5)


# ---- Links and boards that go wrong --------------------------------------------------------------


@pytest.mark.parametrize("frame", [USB_FRAME, 80])
@pytest.mark.parametrize("faults", [BAD, WORSE])
@pytest.mark.parametrize("learner", [PART, FEEDBACK])
def test_bad_links_change_nothing(learner, faults, frame):
    client, reference = both(
        link=lambda board: FaultyLink(LocalLink(board), faults, 3), frame=frame
    )
    rounds(client, reference, learner, range(60), start())
    assert client.session.link.link.board.steps == 8 * 60
    assert client.session.traffic.silences > 0


def test_resets_change_nothing_without_feedback():
    client, reference = both(link=lambda board: Resetting(board, 4, 0.1))
    rounds(client, reference, PART, range(60), start())
    assert client.session.link.resets > 15


class Pausing(LocalLink):
    """A link whose next frame of a kind does something else first."""

    when, action = None, None

    def send(self, data):
        (message,) = map(frames.parse, frames.Decoder().feed(data))
        if self.when and isinstance(message, self.when):
            self.when = None
            self.action()
        super().send(data)


@pytest.mark.parametrize("when", [frames.Chunk, frames.Train, frames.Pull])
def test_a_reset_in_the_middle_loses_only_what_was_kept(when):
    client, reference = both(link=Pausing)
    link = client.session.link
    phi = rounds(client, reference, FEEDBACK, range(3), start())
    link.when, link.action = when, link.board.reset
    reference.reset()
    rounds(client, reference, FEEDBACK, range(3, 6), phi)
    assert client.session.traffic.restarts == 1


def test_a_reset_in_the_middle_of_a_pull_mixes_no_two_results():
    """With chunks of 8 floats a result has several; what was kept is gone, so it is another one."""
    client, reference = both(SINE, link=Pausing, frame=64)
    link = client.session.link
    phi = rounds(client, reference, FEEDBACK, range(2), start(SINE))

    def reset():
        link._waiting = link._waiting[: len(link._waiting) // 2]
        link.when, link.action = frames.Status, link.board.reset

    link.when, link.action = frames.Pull, reset
    real = link.receive
    halves = iter([True])

    def receive(seconds):
        data = real(seconds)
        if link.when is frames.Status and data and next(halves, False):
            return data[: len(data) // 2]
        return data

    link.receive = receive
    order = Order(2, FEEDBACK, 8, 102)
    learned = client.visit(phi, order)
    kept = reference.kept.copy()
    with_kept = reference.visit(phi, order)
    reference.reset()
    without = reference.visit(phi, order)
    assert any(np.array_equal(learned.params, one) for one in (with_kept, without))
    assert kept.any()


class Deaf(LocalLink):
    """A link that can lose all that the board sends."""

    deaf = False

    def receive(self, seconds):
        data = super().receive(seconds)
        return b"" if self.deaf else data


class DeafTo(Deaf):
    """From the first frame of a kind on, nothing arrives any more; the board still hears."""

    kind = None

    def send(self, data):
        (message,) = map(frames.parse, frames.Decoder().feed(data))
        self.deaf |= self.kind is not None and isinstance(message, self.kind)
        super().send(data)


def lose_a_result(client, phi, order):
    """A visit that the board makes and whose result never arrives."""
    link = client.session.link
    link.kind, client.session.patience = frames.Train, 2
    with pytest.raises(BoardSilent):
        client.visit(phi, order)
    link.deaf, link.kind = False, None
    link._waiting = b""


def test_changes_that_did_not_arrive_are_sent_with_the_next():
    client, reference = both(link=DeafTo)
    phi = rounds(client, reference, FEEDBACK, range(3), start())
    order = Order(3, FEEDBACK, 8, 103)
    lose_a_result(client, phi, order)
    reference.visit(phi, order)
    reference.take_back()
    rounds(client, reference, FEEDBACK, range(4, 8), phi)


def test_a_lost_result_that_is_asked_for_again_is_not_learned_twice():
    client, reference = both(link=DeafTo)
    phi = rounds(client, reference, FEEDBACK, range(3), start())
    lose_a_result(client, phi, Order(3, FEEDBACK, 8, 103))
    rounds(client, reference, FEEDBACK, range(3, 8), phi)
    assert client.session.link.board.steps == 8 * 8


def test_a_lost_result_without_feedback_is_lost():
    client, reference = both(link=DeafTo)
    phi = rounds(client, reference, PART, range(3), start())
    lose_a_result(client, phi, Order(3, PART, 8, 103))
    rounds(client, reference, PART, range(3, 6), phi)


def test_another_attempt_in_a_round_takes_back_what_was_lost():
    client, reference = both(link=DeafTo)
    phi = rounds(client, reference, FEEDBACK, range(3), start())
    order = Order(3, FEEDBACK, 8, 103)
    lose_a_result(client, phi, order)
    reference.visit(phi, order)
    reference.take_back()
    again = replace(order, seed=7)
    learned = client.visit(phi, again)
    np.testing.assert_array_equal(learned.params, reference.visit(phi, again))


def test_an_order_again_after_its_success_is_answered_from_memory():
    client, reference = both()
    phi, order = start(), Order(0, FEEDBACK, 8, 100)
    first, again = client.visit(phi, order), client.visit(phi, order)
    np.testing.assert_array_equal(first.params, again.params)
    reference.visit(phi, order)
    rounds(client, reference, FEEDBACK, range(1, 4), phi)
    assert client.session.link.board.steps == 8 * 4


def test_another_server_begins_with_nothing_kept():
    client, reference = both()
    rounds(client, reference, FEEDBACK, range(3), start())
    assert reference.kept.any()
    reference.reset()
    other = BoardClient(LocalLink(client.session.link.board), SMALL)
    rounds(other, reference, FEEDBACK, range(3), start())


def test_a_server_that_starts_again_finds_the_result():
    client, reference = both()
    phi = rounds(client, reference, FEEDBACK, range(3), start())
    order = Order(3, FEEDBACK, 8, 103)
    first = client.visit(phi, order)
    other = BoardClient(LocalLink(client.session.link.board), SMALL)
    np.testing.assert_array_equal(first.params, other.visit(phi, order).params)
    assert client.session.link.board.steps == 8 * 4


def test_a_visit_with_all_weights_in_between_takes_no_change_twice():
    """Even if it fails: then the board knows of it, and not that the last changes had arrived."""
    client, reference = both(link=DeafTo)
    phi = rounds(client, reference, FEEDBACK, range(2), start())
    lose_a_result(client, phi, Order(2, OnlineSGD(0.02), 8, 1))
    reference.reset()
    rounds(client, reference, FEEDBACK, range(3, 6), phi)


@pytest.mark.parametrize("seed", range(3))
def test_all_kinds_of_visits_take_turns_over_bad_links(seed):
    client, reference = both(link=lambda board: FaultyLink(LocalLink(board), WORSE, seed), frame=80)
    client.session.patience = 60
    phi, rng = start(), np.random.default_rng(seed)
    for number in range(60):
        learner = (OnlineSGD(0.02), PART, FEEDBACK, FEEDBACK)[rng.integers(4)]
        order = Order(number, learner, 8, number)
        learned = client.visit(phi, order).params
        if learner is PART or learner is FEEDBACK:
            np.testing.assert_array_equal(learned, reference.visit(phi, order))
        else:
            reference.reset()
        phi = phi + np.float32(0.5) * (learned - phi)


def test_a_visit_without_feedback_keeps_what_is_kept():
    client, reference = both()
    phi = rounds(client, reference, FEEDBACK, range(2), start())
    phi = rounds(client, reference, PART, range(2, 4), phi)
    assert reference.kept.any()
    rounds(client, reference, FEEDBACK, range(4, 6), phi)


def test_another_training_of_the_same_client_begins_with_nothing_kept():
    client, reference = both()
    rounds(client, reference, FEEDBACK, range(3), start())
    reference.reset()
    rounds(client, reference, FEEDBACK, range(3), start(seed=1))


def test_an_evaluation_that_comes_late_does_not_change_what_is_pulled():
    client, _ = both()
    phi, order = start(), Order(0, FEEDBACK, 8, 100)
    learned = client.visit(phi, order)
    board = client.session.link.board
    visit = client._make_visit(phi, order)
    pull, late = frames.Pull(visit.nonce, 0, 1), frames.Evaluate(visit.nonce, 3, 5, 1)
    raw = frames.encode(pull)[:-1] + b"\0" + frames.encode(late)
    found = [frames.parse(each) for each in frames.Decoder().feed(board.feed(raw))]
    (chunk,) = (each for each in found if isinstance(each, frames.Chunk))
    board.feed(frames.encode(late))
    found = frames.Decoder().feed(board.feed(frames.encode(pull)))
    assert [frames.parse(each).data for each in found] == [chunk.data]
    assert packing.unpack(chunk.data[: _size(board)], SMALL.size).added_to(phi).tobytes() == (
        learned.params.tobytes()
    )


def _size(board) -> int:
    (content,) = frames.Decoder().feed(board.feed(frames.encode(frames.Status())))
    return frames.parse(content).size


# ---- Both versions -------------------------------------------------------------------------------


def test_a_board_of_version_1_refuses_changes_and_still_learns(refuses):
    client, _ = both(packs=False)
    plain, phi = OnlineSGD(0.02), start()
    first = client.visit(phi, Order(0, plain, 8, 1))
    assert client.session.version == frames.VERSION
    for number in (1, 2):
        with refuses(
            "/dev/fake speaks wire version 1", "flash FederatedClient", error=BoardRefused
        ):
            client.visit(phi, Order(number, PART, 8, 1))
    again = client.visit(phi, Order(3, plain, 8, 1))
    np.testing.assert_array_equal(first.params, again.params)
    # What only differs in its name needs no version 2.
    same = client.visit(phi, Order(4, PartialSGD(0.02), 8, 1))
    np.testing.assert_array_equal(first.params, same.params)


def test_a_board_without_memory_for_feedback_says_so_and_sends_changes(refuses):
    client, reference = both(feedback=False)
    with refuses(
        "/dev/fake has no memory for error feedback", "ERROR_FEEDBACK", "without feedback"
    ):
        client.visit(start(), Order(0, FEEDBACK, 8, 1))
    rounds(client, reference, PART, range(1, 4), start())


def test_all_kinds_of_visits_take_turns():
    client, reference = both(SINE)
    phi, kinds = start(SINE), [OnlineSGD(0.02), PART, PartialSGD(0.02, 4, 0.01), PartialSGD(0.02)]
    for number, learner in enumerate(kinds * 3):
        order = Order(number, learner, 8, number)
        learned = client.visit(phi, order)
        if isinstance(learner, PartialSGD):
            np.testing.assert_array_equal(learned.params, reference.visit(phi, order))
        phi = learned.params


def test_late_answers_of_version_1_refuse_no_board():
    """A WELCOME of version 1 may come late, and so may a HELLO that makes the board speak it."""

    class Late(LocalLink):
        old = b""

        def send(self, data):
            if frames.parse(frames.Decoder().feed(data)[0]).KIND == frames.Hello.KIND and self.old:
                self._waiting += self.old
                self.old = b""
            super().send(data)

    client, reference = both(link=Late)
    link = client.session.link
    client.visit(start(), Order(0, OnlineSGD(0.02), 8, 1))
    link.old = frames.encode(client.session.board) * 2
    phi = rounds(client, reference, FEEDBACK, range(1, 3), start())
    link.board.feed(frames.encode(frames.Hello(5, USB_FRAME)))
    rounds(client, reference, FEEDBACK, range(3, 5), phi)


def test_a_board_with_more_weights_than_can_be_packed_speaks_version_1(refuses):
    net = Network([Dense(255, 257)], "mse", (255,))
    assert net.size > 65_535
    client, _ = both(net, Noise(net))
    client.visit(start(net), Order(0, OnlineSGD(0.001), 1, 1))
    with refuses("speaks wire version 1"):
        client.visit(start(net), Order(1, PartialSGD(0.001, bits=8), 1, 1))


# ---- Hostile boards ------------------------------------------------------------------------------

PHI, ORDER = start(), Order(0, PartialSGD(0.02, bits=8, percent=25), 8, 1)
COUNT = packing.sent_count(SMALL.size, 25)
GOOD = packing.pack(np.linspace(-1, 1, SMALL.size, dtype=np.float32), 25, 8, 1)


class Lying:
    """A board that takes everything and sends back these bytes."""

    name, frame_bytes, timeout = "/dev/fake", USB_FRAME, 0.01

    def __init__(self, result=GOOD, size=None, crc=None, report=frames.Report2, loss=0.5):
        crc = zlib.crc32(result) if crc is None else crc
        size = len(result) if size is None else size
        self.result, self.loss = result, loss
        self.about = (State.TRAINED, 0), (8, crc, loss), (size,)
        self.kind, self.nonce, self.waiting = report, 0, b""

    def answer(self, message):
        if isinstance(message, frames.Hello):
            about = (8 * b"7", network_id(SMALL), SMALL.size, 256, 8, 2)
            return frames.Welcome2(message.session, *about, Flag.FEEDBACK)
        self.nonce = getattr(message, "nonce", self.nonce)
        if isinstance(message, frames.Pull):
            data = self.result + bytes(-len(self.result) % 4)
            return frames.Chunk(self.nonce & 255, 0, data)
        if isinstance(message, frames.Train | frames.Status):
            (state, error), rest, size = self.about
            size = size if self.kind is frames.Report2 else ()
            return self.kind(state, error, self.nonce, *rest, *size)
        return None

    def send(self, data):
        for content in frames.Decoder().feed(data):
            answer = self.answer(frames.parse(content))
            self.waiting += frames.encode(answer) if answer else b""

    def receive(self, seconds):
        data, self.waiting = self.waiting, b""
        return data

    def reopen(self):
        raise LinkLost("/dev/fake is gone")

    def close(self):
        pass


def lied(**lie):
    return BoardClient(Lying(**lie), SMALL, patience=3).visit(PHI, ORDER)


def scaled(scale: float) -> bytes:
    return GOOD[:6] + struct.pack("<f", scale) + GOOD[10:]


def header(bits=8, shift=1, count=COUNT) -> bytes:
    return struct.pack("<BBI", bits, shift, count) + GOOD[6:]


def test_what_a_good_board_says_is_taken():
    np.testing.assert_array_equal(lied().params, packing.unpack(GOOD, SMALL.size).added_to(PHI))


LIES = {
    "nothing": ({"size": 0}, "0 bytes of changes"),
    "too much": ({"size": 4 * SMALL.size + 65}, "261 bytes of changes"),
    "no end": ({"size": 2**32 - 1}, "4,294,967,295 bytes of changes"),
    "too short": ({"result": GOOD[:-1]}, "end too early"),
    "hardly anything": ({"result": b"\x08"}, "1 bytes are too short"),
    "too long": ({"result": GOOD + b"\1"}, "1 bytes too many"),
    "a scale of zero": ({"result": scaled(0)}, "a scale of 0"),
    "a negative scale": ({"result": scaled(-1)}, "a scale of -1"),
    "a scale of NaN": ({"result": scaled(np.nan)}, "a scale of nan"),
    "a scale of infinity": ({"result": scaled(np.inf)}, "a scale of inf"),
    "a scale that is huge": ({"result": scaled(1e30)}, "a scale of 1e+30"),
    "other bits": ({"result": header(bits=4)}, "packed changes of 4 bits"),
    "no such code": ({"result": header(shift=7)}, "with the code 7"),
    "more weights than there are": ({"result": header(count=SMALL.size + 1)}, "50 packed changes"),
    "all, but not all": ({"result": header(shift=255)}, "13 packed changes for 49 weights"),
    "all of them": (
        {"result": packing.pack(np.ones(SMALL.size, np.float32), 100, 8, 1)},
        "49 changes, not 13",
    ),
    "a change of no weight": (
        {"result": packing.pack(np.r_[np.zeros(90), 1].astype(np.float32), 1, 16, 1)},
        "a change of weight 90 of 49",
    ),
    "a loss of NaN": ({"loss": np.nan}, "a loss of nan"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_board_that_lies_is_named_with_its_lie(lie, refuses):
    options, words = LIES[lie]
    with refuses("/dev/fake sent", words, "reset the board", error=BoardUnsound):
        lied(**options)


@pytest.mark.parametrize(
    "lie", [{"crc": 5}, {"report": frames.Report}, {"result": GOOD[:4]}, {"result": bytes(2000)}]
)
def test_other_nonsense_comes_to_an_end(lie):
    with pytest.raises(BoardError, match="/dev/fake"):
        lied(**lie)


def test_positions_cannot_repeat_nor_fall():
    """A distance is that beyond the position before: there are no bytes for such a thing."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        data = GOOD[:10] + rng.bytes(len(GOOD) - 10)
        try:
            at = packing.unpack(data, SMALL.size).at
        except packing.PackError:
            continue
        assert (np.diff(at) > 0).all()


def test_a_board_that_lied_is_asked_anew_and_told_to_forget():
    """The same order is another visit then, so that it is no more answered from memory."""
    link = Lying(result=scaled(np.nan))
    client, pushed = BoardClient(link, SMALL, patience=3), []
    answer = link.answer

    def noting(message):
        pushed.extend([message] if isinstance(message, frames.Push) else [])
        return answer(message)

    link.answer = noting
    order = replace(ORDER, learner=FEEDBACK)
    for _ in range(2):
        with pytest.raises(BoardUnsound):
            client.visit(PHI, order)
    first, second = pushed
    assert (first.attempt, second.attempt) == (0, 1)
    assert first.nonce != second.nonce
    assert second.flags == Flag.FEEDBACK | Flag.FORGET


# ---- Raw requests to the board -------------------------------------------------------------------

PUSH = {"round": 1, "attempt": 0, "nonce": 77, "bits": 8, "flags": 0, "limit": 49, "count": 13}


def asked(board, *messages):
    data = board.feed(b"".join(map(frames.encode, messages)))
    return [frames.parse(content) for content in frames.Decoder().feed(data)]


@pytest.mark.parametrize(
    "change",
    [
        {"bits": 0},
        {"bits": 4},
        {"bits": 255},
        {"count": 0},
        {"count": 50, "limit": 49},
        {"limit": 50},
        {"limit": 0, "count": 0},
        {"limit": 2**32 - 1, "count": 2**32 - 1},
        {"flags": Flag.FEEDBACK},
    ],
    ids=str,
)
def test_a_board_refuses_changes_that_it_cannot_send(change):
    board = LocalBoard(SMALL, DEVICE, feedback=False)
    asked(board, frames.Hello2(1, USB_FRAME))
    weights = start().astype("<f2").tobytes()
    push = PUSH | {"crc": zlib.crc32(weights), "taken": 0} | change
    asked(board, frames.Push2(**push), frames.Chunk(77, 0, weights + bytes(2)))
    (report,) = asked(board, frames.Status())
    assert (report.state, report.error) == (State.FAILED, 64)
    good = push | {"round": 2} | PUSH | {"round": 2}
    asked(board, frames.Push2(**good), frames.Chunk(77, 0, weights + bytes(2)))
    assert asked(board, frames.Status())[0].state == State.READY


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_board_refuses_a_phi_that_is_not_sound(value):
    board = LocalBoard(SMALL, DEVICE)
    asked(board, frames.Hello2(1, USB_FRAME))
    phi = start().astype("<f2")
    phi[-1] = value
    crc = zlib.crc32(phi.tobytes())
    push = frames.Push2(**PUSH, crc=crc, taken=0)
    asked(board, push, frames.Chunk(77, 0, phi.tobytes() + bytes(2)))
    (report,) = asked(board, frames.Status())
    assert (report.state, report.error) == (State.FAILED, 5)


def test_a_head_alone_cannot_step_its_body(refuses):
    net = SHAPES["two weights"]
    board = LocalBoard(net, Noise(net))
    with refuses("all head", "set head_samples to 0"):
        learner = PartialSGD(0.02, 4, 0.01)
        BoardClient(LocalLink(board), net).visit(start(net), Order(0, learner, 8, 1))
    weights = start(net).astype("<f4").tobytes()
    asked(board, frames.Hello2(1, USB_FRAME), frames.Push(1, 0, 77, zlib.crc32(weights)))
    asked(board, frames.Chunk(77, 0, weights))
    (report,) = asked(board, frames.Train2(77, 0.02, 8, 1, 1, 4, 0.01))
    assert (report.state, report.error) == (State.FAILED, 2)
