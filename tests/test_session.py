"""The protocol: a board in C behind every kind of bad link, a hostile board, a hostile server."""

import zlib
from dataclasses import replace

import fuzz_wire
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyreptile_lite.bench import faults as bench_faults
from tinyreptile_lite.bench import wire
from tinyreptile_lite.clients import Order, SimulatedClient
from tinyreptile_lite.errors import DivergenceError, KitError
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, ReLU, Scale, Tanh
from tinyreptile_lite.learners import MinibatchSGD, OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.strategies import fed_avg, tiny_reptile
from tinyreptile_lite.tasks.base import Samples
from tinyreptile_lite.tasks.sine import Sine, SineDevice
from tinyreptile_lite.wire import frames
from tinyreptile_lite.wire.ble import BLE_FRAME
from tinyreptile_lite.wire.channel import BoardError, BoardRefused, BoardSilent
from tinyreptile_lite.wire.client import BoardClient
from tinyreptile_lite.wire.faults import Faults, FaultyLink
from tinyreptile_lite.wire.frames import Source, State
from tinyreptile_lite.wire.links import USB_FRAME, LinkLost, LocalLink
from tinyreptile_lite.wire.local import LocalBoard, network_id

SINE = Sine().network()
SMALL = Network([Scale(0.4), Dense(1, 16), Tanh(), Dense(16, 1)], "mse", (1,))
BAD = Faults(drop=0.1, flip=0.01, duplicate=0.01)
WORSE = Faults(drop=0.1, duplicate=0.1, reorder=0.1, flip=0.05, delay=0.1, cut=0.01)
RATE = OnlineSGD(0.02)


class Gestures:
    """Made-up labelled recordings, for a network with convolutions."""

    name = "gestures"
    net = Network(
        [Conv1D(3, 6, 4, 2), ReLU(), GlobalAveragePool(), Dense(6, 4)], "cross_entropy", (16, 3)
    )

    def stream(self, count, rng):
        return Samples(
            rng.normal(size=(count, 16, 3)).astype(np.float32), rng.integers(4, size=count)
        )


def sine_device(number: int = 0) -> SineDevice:
    return SineDevice(f"sine-{number}", 1.0 + number, 0.5 * number)


def client_of(net=SMALL, device=None, faults=None, frame=USB_FRAME, seed=0, **options):
    """Return a client on a local board, and the board."""
    board = LocalBoard(net, device or sine_device())
    link = LocalLink(board, frame)
    return BoardClient(FaultyLink(link, faults or Faults(), seed), net, **options), board


def start(net=SMALL, seed=0):
    return net.init(np.random.default_rng(seed))


# ---- A board is a client like any other ----------------------------------------------------------


@pytest.mark.parametrize("frame", [USB_FRAME, BLE_FRAME, 64])
@pytest.mark.parametrize(("net", "device"), [(SINE, sine_device()), (Gestures.net, Gestures())])
def test_a_board_learns_what_a_simulated_client_learns(net, device, frame):
    client, _ = client_of(net, device, frame=frame)
    order = Order(3, RATE, 40, 2**32 - 1)
    phi = start(net)
    update, expected = client.visit(phi, order), SimulatedClient(net, device).visit(phi, order)
    np.testing.assert_allclose(update.params, expected.params, rtol=1e-5, atol=1e-6)
    assert update.loss == pytest.approx(expected.loss, rel=1e-5)
    np.testing.assert_array_equal(phi, start(net))


@pytest.mark.parametrize("strategy", [tiny_reptile(0.02, 8), fed_avg(0.02, 8, 2)])
def test_boards_and_simulated_clients_mix_in_the_round_loop(strategy):
    devices = [sine_device(i) for i in range(4)]
    simulated = [SimulatedClient(SMALL, device) for device in devices]
    mixed = [*simulated[:2], *(client_of(device=device)[0] for device in devices[2:])]
    runs = [
        Federation(SMALL, strategy, clients, 20, np.random.default_rng(1)).run()
        for clients in (simulated, mixed)
    ]
    np.testing.assert_allclose(*runs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("net", "device"), [(SINE, sine_device()), (Gestures.net, Gestures())])
def test_a_board_scores_itself_before_and_after_it_learns(net, device):
    client, board = client_of(net, device)
    order, phi = Order(3, RATE, 40, 5), start(net)
    learned, scores = client.scored_visit(phi, order, 30)
    plain = client_of(net, device)[0].visit(phi, order)
    np.testing.assert_array_equal(learned.params, plain.params)  # scoring disturbs no bit
    assert learned.loss == plain.loss
    for score, params, count in ((scores.before, phi, 30), (scores.after, learned.params, 31)):
        assert score.seed != order.seed
        samples = device.stream(count, np.random.default_rng(score.seed))
        assert score.loss == pytest.approx(float(net.loss(params, *samples)), rel=1e-5)
        if net is Gestures.net:
            assert score.correct == (net.predict(params, samples.x).argmax(1) == samples.y).sum()
    assert board.steps == 40
    # What a board learned before it was asked cannot be asked again; nor is it learned again.
    again, scores_again = client.scored_visit(phi, order, 30)
    np.testing.assert_array_equal(again.params, plain.params)
    assert scores_again == (None, scores.after)
    assert board.steps == 40


def test_scores_cost_no_second_transfer():
    plain, scored = client_of(SINE)[0], client_of(SINE)[0]
    plain.visit(start(SINE), Order(0, RATE, 8, 1))
    scored.scored_visit(start(SINE), Order(0, RATE, 8, 1), 20)
    ways = [[c.session.traffic.sent, c.session.traffic.received] for c in (plain, scored)]
    assert (np.subtract(ways[1], ways[0]) < 100).all()


# ---- Bad links -----------------------------------------------------------------------------------


def run_rounds(rounds: int, faults: Faults, frame: int = USB_FRAME, seed: int = 0):
    """A federation of three boards; returns phi, the clients and the boards."""
    pairs = [
        client_of(device=sine_device(i), faults=faults, frame=frame, seed=seed + i)
        for i in range(3)
    ]
    federation = Federation(
        SMALL, tiny_reptile(0.02, 4), [c for c, _ in pairs], rounds, np.random.default_rng(2)
    )
    return federation.run(), *zip(*pairs, strict=True)


@pytest.mark.parametrize(("faults", "rounds"), [(BAD, 300), (WORSE, 200)])
@pytest.mark.parametrize("frame", [USB_FRAME, 80])
def test_bad_links_change_nothing(faults, rounds, frame):
    clean, _, _ = run_rounds(rounds, Faults(), frame)
    phi, clients, boards = run_rounds(rounds, faults, frame)
    np.testing.assert_array_equal(phi, clean)
    # No visit was lost, and none trained twice.
    assert sum(board.steps for board in boards) == 4 * rounds
    assert sum(client.session.traffic.silences for client in clients) > 0


class Resetting(LocalLink):
    """A link to a board whose reset button somebody presses now and then."""

    def __init__(self, board, seed, rate):
        super().__init__(board)
        self.rng, self.rate, self.resets = np.random.default_rng(seed), rate, 0

    def send(self, data):
        if self.rng.random() < self.rate:
            self.board.reset()
            self._waiting = b""
            self.resets += 1
        super().send(data)


@pytest.mark.parametrize("frame", [USB_FRAME, 80])  # 80: the board itself would take more
def test_resets_change_nothing(frame):
    phis = []
    for rate in (0.0, 0.1):
        link = Resetting(LocalBoard(SMALL, sine_device()), 4, rate)
        link.frame_bytes = frame
        client, phi = BoardClient(link, SMALL), start()
        for round_index in range(100):
            phi = client.visit(phi, Order(round_index, RATE, 4, round_index)).params
        phis.append(phi)
    assert link.resets > 30
    np.testing.assert_array_equal(*phis)


def scored_rounds(link) -> list:
    client, found = BoardClient(link, SMALL), []
    phi = start()
    for number in range(60):
        learned, scores = client.scored_visit(phi, Order(number, RATE, 4, number), 10)
        found.append((learned.params.tobytes(), learned.loss, scores.before, scores.after))
        phi = learned.params
    return [[part and replace(part, nonce=0) for part in each[2:]] + [each[:2]] for each in found]


def test_bad_links_and_resets_change_no_score():
    """A SCORE from before training, however late it comes, is not taken for one from after it."""
    clean = scored_rounds(LocalLink(LocalBoard(SMALL, sine_device())))
    faulty = FaultyLink(LocalLink(LocalBoard(SMALL, sine_device())), WORSE, 5)
    assert scored_rounds(faulty) == clean
    resetting = Resetting(LocalBoard(SMALL, sine_device()), 4, 0.05)
    assert scored_rounds(resetting) == clean
    assert resetting.resets > 20


class CutAfter(FaultyLink):
    """A link that breaks once, after so many bytes were sent."""

    def __init__(self, link, left):
        super().__init__(link, Faults())
        self.left = left

    def send(self, data):
        self.left -= len(data)
        if self.left < 0:
            self.left = 1 << 30
            self.cut()
        super().send(data)


def test_a_lost_link_resumes_without_starting_over():
    """Cut in the middle of the push: what has arrived is not sent again."""
    plain, _ = client_of(SINE, frame=BLE_FRAME)
    plain.visit(start(SINE), Order(0, RATE, 4, 0))
    whole = plain.session.traffic.sent
    link = CutAfter(LocalLink(LocalBoard(SINE, sine_device()), BLE_FRAME), whole // 2)
    client = BoardClient(link, SINE)
    client.visit(start(SINE), Order(0, RATE, 4, 0))
    assert client.session.traffic.reconnects == 1
    assert client.session.traffic.sent < whole + 200  # one hello, one status, one chunk again


def test_a_pull_resumes_too():
    class CutAtPull(FaultyLink):
        seen = 0

        def receive(self, seconds):
            data = super().receive(seconds)
            self.seen += len(data)
            if 2000 < self.seen < 1 << 30:
                self.seen = 1 << 30
                self.cut()
            return data

    class Slow(LocalLink):
        """Hands out frame by frame."""

        def receive(self, seconds):
            frame, zero, self._waiting = self._waiting.partition(b"\0")
            return frame + zero

    board = LocalBoard(SINE, sine_device())
    client = BoardClient(CutAtPull(Slow(board, BLE_FRAME), Faults()), SINE)
    client.visit(start(SINE), Order(0, RATE, 4, 0))
    assert client.session.traffic.reconnects == 1
    assert client.session.traffic.received < 4 * SINE.size * 1.08 + 300
    assert board.steps == 4


def test_an_order_again_is_answered_without_training_again():
    client, board = client_of()
    order = Order(5, RATE, 8, 1)
    first = client.visit(start(), order)
    again = client.visit(start(), order)
    np.testing.assert_array_equal(first.params, again.params)
    assert board.steps == 8
    client.visit(start(), Order(5, RATE, 8, 2))  # another order in the same round is another visit
    assert board.steps == 16


def test_a_server_that_starts_again_finds_the_result():
    board = LocalBoard(SMALL, sine_device())
    order = Order(5, RATE, 8, 1)
    first = BoardClient(LocalLink(board), SMALL).visit(start(), order)
    again = BoardClient(LocalLink(board), SMALL).visit(start(), order)
    np.testing.assert_array_equal(first.params, again.params)
    assert board.steps == 8


def test_rounds_may_begin_anew():
    client, _ = client_of()
    late = client.visit(start(), Order(90, RATE, 8, 1))
    early = client.visit(start(), Order(0, RATE, 8, 1))
    np.testing.assert_array_equal(late.params, early.params)


def test_a_window_is_never_exceeded():
    class Watching(LocalLink):
        open = most = 0

        def send(self, data):
            kind = frames.unstuff(data.strip(b"\0"))[1]
            self.open += kind == frames.Chunk.KIND
            self.most = max(self.most, self.open)
            super().send(data)

        def receive(self, seconds):
            data = super().receive(seconds)
            self.open = 0 if data else self.open
            return data

    link = Watching(LocalBoard(SINE, sine_device()), 48)  # 1,153 weights in 128 chunks
    BoardClient(link, SINE).visit(start(SINE), Order(0, RATE, 1, 0))
    assert 16 <= link.most <= 32


# ---- Raw requests to the board -------------------------------------------------------------------


class Raw:
    """Speaks to a local board without a session."""

    def __init__(self, net=SMALL):
        self.board = LocalBoard(net, sine_device())
        self.ask(frames.Hello(1, USB_FRAME))

    def ask(self, *messages: frames.Message) -> list[frames.Message]:
        data = self.board.feed(b"".join(map(frames.encode, messages)))
        return [frames.parse(content) for content in frames.Decoder().feed(data)]

    def state(self) -> frames.Report:
        return self.ask(frames.Status())[-1]

    def push(self, weights: np.ndarray, round_index=1, attempt=0, nonce=77, crc=None):
        data = weights.astype("<f4").tobytes()
        crc = zlib.crc32(data) if crc is None else crc
        chunk = frames.Chunk(nonce & 255, 0, data)  # 49 weights fit into one
        return self.ask(frames.Push(round_index, attempt, nonce, crc), chunk)


TRAIN = frames.Train(nonce=77, rate=0.02, sample_count=8, seed=1, source=1)


def test_the_states_of_a_visit():
    raw = Raw()
    assert raw.state().state == State.EMPTY
    raw.ask(frames.Push(1, 0, 77, 5))
    assert (raw.state().state, raw.state().detail) == (State.RECEIVING, 0b1)
    raw.push(start(), nonce=78, attempt=1)
    assert raw.state().state == State.READY
    raw.ask(frames.Abort(5))
    assert raw.state().state == State.READY
    raw.ask(frames.Abort(78))
    assert raw.state().state == State.EMPTY
    raw.push(start(), nonce=78, attempt=1)  # the same visit may begin again
    assert raw.state().state == State.READY


def test_a_push_before_the_first_hello_is_ignored():
    raw = Raw()
    raw.board.reset()
    raw.push(start())
    assert raw.state().state == State.EMPTY


def test_a_repeated_train_does_not_train_again():
    raw = Raw()
    raw.push(start())
    first, second, third = raw.ask(TRAIN, TRAIN, TRAIN)
    assert first == second == third and first.state == State.TRAINED
    assert raw.board.steps == 8


def test_an_evaluation_after_training_scores_the_trained_weights():
    raw = Raw()
    raw.push(start())
    question = frames.Evaluate(77, 5, 50, 1)
    (before,) = raw.ask(question)
    raw.ask(TRAIN)
    (chunk,) = raw.ask(frames.Pull(77, 0, 1))
    (after,) = raw.ask(question)
    samples = sine_device().stream(50, np.random.default_rng(5))
    for score, params in ((before, start()), (after, np.frombuffer(chunk.data, np.float32))):
        assert score.loss == pytest.approx(float(SMALL.loss(params, *samples)), rel=1e-5)
    assert raw.ask(question) == [after]  # from memory, as long as the weights are the same


def test_late_frames_of_the_same_visit_do_not_touch_trained_weights():
    raw = Raw()
    raw.push(start())
    (before,) = raw.ask(TRAIN)
    raw.push(start())
    assert raw.state() == before


def test_late_frames_of_an_older_visit_are_ignored():
    raw = Raw()
    raw.push(start(seed=1), round_index=1, nonce=77)
    raw.push(start(seed=2), round_index=2, nonce=333)
    before = raw.state()
    raw.push(start(seed=1), round_index=1, nonce=77)
    assert raw.state() == before
    raw.ask(frames.Hello(5, USB_FRAME))  # after a hello in a new session, any visit is newer
    raw.push(start(seed=1), round_index=1, nonce=77)
    assert raw.state().nonce == 77


def test_a_chunk_of_another_visit_with_the_same_tag_is_noticed():
    raw = Raw()
    raw.push(start(), crc=123)
    report = raw.state()
    assert (report.state, report.error, report.detail) == (State.RECEIVING, 32, 0b1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2e12])
def test_a_board_refuses_weights_that_are_not_sound(value):
    raw = Raw()
    raw.push(start())
    before = raw.ask(frames.Pull(77, 0, 1))
    bad = start(seed=3)
    bad[17] = value
    raw.push(bad, round_index=2, nonce=77 + 256)
    report = raw.state()
    assert (report.state, report.error) == (State.FAILED, 5)
    raw.push(start(), round_index=3)  # the board goes on
    assert raw.ask(frames.Pull(77, 0, 1)) == before


@pytest.mark.parametrize(
    ("change", "error"),
    [({"rate": np.nan}, 6), ({"sample_count": 0}, 34), ({"source": 0}, 33), ({"source": 200}, 33)],
)
def test_a_train_that_cannot_be_is_refused(change, error):
    raw = Raw()
    raw.push(start())
    (report,) = raw.ask(frames.Train(**(vars(TRAIN) | change)))
    assert (report.state, report.error) == (State.FAILED, error)


def test_an_evaluation_that_fails_keeps_the_visit():
    raw = Raw()
    raw.push(start())
    (report,) = raw.ask(frames.Evaluate(77, 1, 5, 0))
    assert (report.state, report.error) == (State.READY, 33)
    assert isinstance(raw.ask(frames.Evaluate(77, 1, 5, 1))[0], frames.Score)


def test_a_hello_of_another_version_is_answered_with_ours():
    raw = Raw()
    hello = frames.encode(frames.Hello(5, USB_FRAME), version=9)
    (content,) = frames.Decoder().feed(raw.board.feed(hello))
    assert content[:2] == bytes([frames.VERSION, frames.Welcome.KIND])


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.integers(0, 3).map(lambda n: frames.Push(n, 0, 77 + n % 2, 1)),
            st.builds(frames.Chunk, st.integers(76, 79), st.integers(0, 3), st.just(bytes(196))),
            st.just(TRAIN),
            st.builds(frames.Pull, st.integers(77, 78), st.integers(0, 9), st.integers(0, 9)),
            st.builds(frames.Hello, st.integers(0, 2), st.integers(0, 300)),
            st.builds(frames.Abort, st.integers(77, 78)),
        ),
        max_size=12,
    )
)
def test_requests_in_any_order_are_answered_sensibly(messages):
    raw = Raw()
    for answer in raw.ask(*messages):
        assert not isinstance(answer, frames.Report) or answer.state in list(State)
    client = BoardClient(LocalLink(raw.board), SMALL)  # and the board is as good as new
    client.visit(start(), Order(0, RATE, 2, 0))


# ---- Boards that do not fit, and hostile ones ----------------------------------------------------


class Scripted:
    """A peer that answers each frame with what a function returns."""

    name, frame_bytes, timeout = "/dev/fake", USB_FRAME, 0.01

    def __init__(self, answer):
        self.answer, self.waiting = answer, b""

    def send(self, data):
        for content in frames.Decoder().feed(data):
            self.waiting += self.answer(frames.parse(content))

    def receive(self, seconds):
        data, self.waiting = self.waiting, b""
        return data

    def reopen(self):
        raise LinkLost("/dev/fake is gone")

    def close(self):
        pass


def welcome(hello, **changes):
    fields = {
        "session": hello.session, "board_id": bytes(8), "network": network_id(SMALL),
        "weights": SMALL.size, "chunk_floats": 256, "window": 8, "sources": 2,
    }  # fmt: skip
    return frames.encode(frames.Welcome(**(fields | changes)))


def visit(answer, patience=3):
    client = BoardClient(Scripted(answer), SMALL, patience=patience)
    return client.visit(start(), Order(0, RATE, 8, 1))


def test_silence_names_the_remedy(refuses):
    with refuses("/dev/fake", "FederatedClient", error=BoardSilent):
        visit(lambda message: b"")


def test_a_port_full_of_noise_is_no_board(refuses):
    class Chatter(Scripted):
        def receive(self, seconds):
            return b"temperature 21.5\r\n" * 50

    client = BoardClient(Chatter(lambda message: b""), SMALL, patience=2)
    with refuses("/dev/fake", "FederatedClient", error=BoardSilent):
        client.visit(start(), Order(0, RATE, 8, 1))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": b"\xee" * 8}, ["another network", "ee" * 8]),
        ({"weights": 50}, ["50 weights", "49 weights"]),
        ({"chunk_floats": 0}, ["chunks of 0"]),
        ({"chunk_floats": 65535}, ["65535"]),
        ({"window": 0}, ["window of 0"]),
    ],
)
def test_a_board_that_does_not_fit_is_named(changes, words, refuses):
    with refuses("/dev/fake", *words, error=BoardRefused):
        visit(lambda message: welcome(message, **changes))


def test_another_version_is_named(refuses):
    answer = frames.encode(frames.Status(), version=7)
    with refuses("wire version 7", "flash", error=BoardRefused):
        visit(lambda message: answer)


def hostile(weights: bytes, loss: float = 0.5, crc: int | None = None):
    """A board that takes everything and sends back these weights."""
    nonces = []

    def answer(message):
        if isinstance(message, frames.Hello):
            return welcome(message)
        if isinstance(message, frames.Push):
            nonces.append(message.nonce)
        if isinstance(message, frames.Pull):
            return frames.encode(frames.Chunk(nonces[-1] & 255, 0, weights))
        if isinstance(message, frames.Train | frames.Status):
            check = zlib.crc32(weights) if crc is None else crc
            return frames.encode(frames.Report(State.TRAINED, 0, nonces[-1], 8, check, loss))
        return b""

    return answer


@pytest.mark.parametrize("value", [np.nan, np.inf, 2e12])
def test_nonsense_weights_are_refused(value, refuses):
    weights = start()
    weights[7] = value
    with refuses("/dev/fake", "weight 7", error=BoardRefused):
        visit(hostile(weights.tobytes()))


def test_a_nonsense_loss_is_refused(refuses):
    with refuses("loss of nan", error=BoardRefused):
        visit(hostile(start().tobytes(), loss=np.nan))


def test_weights_with_a_wrong_crc_are_refused(refuses):
    with refuses("CRC", error=BoardRefused):
        visit(hostile(start().tobytes(), crc=1))


@pytest.mark.parametrize("size", [4, 195 * 4])
def test_weights_of_another_size_are_refused(size):
    with pytest.raises(BoardError):
        visit(hostile(bytes(size)))


answers = st.one_of(
    st.builds(frames.Report, st.integers(0, 9), st.integers(0, 255), st.integers(0, 3),
              st.integers(0, 65535), st.integers(0, 2**32 - 1), st.floats(width=32)),
    st.builds(frames.Chunk, st.integers(0, 255), st.integers(0, 65535), st.just(bytes(196))),
    st.builds(frames.Score, st.integers(0, 3), st.integers(0, 3), st.integers(0, 65535),
              st.integers(0, 65535), st.floats(width=32)),
    st.binary(max_size=20),
)  # fmt: skip


@settings(max_examples=40)
@given(st.lists(answers, min_size=1, max_size=8))
def test_a_hostile_board_raises_kit_errors_only(script):
    """It knows the nonce and answers with anything but the truth, and never stops a server."""
    nonces, turn = [0], [0]

    def answer(message):
        if isinstance(message, frames.Hello):
            return welcome(message)
        nonces[0] = getattr(message, "nonce", nonces[0])
        turn[0] += 1
        chosen = script[turn[0] % len(script)]
        if isinstance(chosen, bytes):
            return chosen
        changed = {"nonce": nonces[0]} if hasattr(chosen, "nonce") and turn[0] % 3 else {}
        return frames.encode(type(chosen)(**(vars(chosen) | changed)))

    client = BoardClient(Scripted(answer), SMALL, patience=3)
    for action in (
        lambda: client.visit(start(), Order(0, RATE, 8, 1)),
        lambda: client.scored_visit(start(), Order(0, RATE, 8, 1), 8),
    ):
        try:
            action()
        except KitError as error:
            assert "\n" not in str(error)


# ---- What a user may do wrong --------------------------------------------------------------------


def test_phi_that_is_not_finite_is_never_sent(refuses):
    client, _ = client_of()
    phi = start()
    phi[3] = np.nan
    with refuses("phi", "NaN"):
        client.visit(phi, Order(0, RATE, 8, 1))
    assert client.session.traffic.sent == 0


def test_boards_learn_online_only(refuses):
    with refuses("MinibatchSGD", "tiny_reptile"):
        client_of()[0].visit(start(), Order(0, MinibatchSGD(0.02), 8, 1))


@pytest.mark.parametrize("samples", [0, 65535])
def test_a_number_of_samples_that_no_board_can_be_scored_on(samples, refuses):
    with refuses(samples, "65534"):
        client_of()[0].scored_visit(start(), Order(0, RATE, 8, 1), samples)


def test_a_score_that_the_board_cannot_give_costs_no_visit():
    """What it is tested on is too large for the core; what it learns from is not."""

    def stream(count, rng):
        good = sample(count, rng)
        return good if count == 8 else good._replace(x=np.full((count, 1), 2e12, np.float32))

    order, device = Order(0, RATE, 8, 1), Broken(stream)
    learned, scores = client_of(device=device)[0].scored_visit(start(), order, 5)
    plain = client_of(device=device)[0].visit(start(), order)
    np.testing.assert_array_equal(learned.params, plain.params)
    assert scores == (None, None)


@pytest.mark.parametrize("samples", [0, 65536])
def test_a_number_of_samples_that_no_board_can_take(samples, refuses):
    with refuses(samples):
        client_of()[0].visit(start(), Order(0, RATE, samples, 1))


def test_phi_of_another_network(refuses):
    with refuses("(48,)", "49"):
        client_of()[0].visit(start()[1:], Order(0, RATE, 8, 1))


def test_a_source_that_the_board_does_not_have(refuses):
    client, _ = client_of(source=Source.SENSOR)
    with refuses("no such source", error=BoardRefused):
        client.visit(start(), Order(0, RATE, 8, 1))


class Broken:
    """A student's device, not finished yet."""

    name = "my device"

    def __init__(self, stream):
        self.stream = stream


def sample(count, rng, **changes):
    x = rng.normal(size=(count, 1)).astype(np.float32)
    return Samples(**({"x": x, "y": x} | changes))


def raises(count, rng):
    return {}["accelerometer"]


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (raises, ["stream(8, rng) raised KeyError('accelerometer')"]),
        (lambda count: None, ["TypeError", "positional argument"]),
        (lambda count, rng: None, ["NoneType"]),
        (lambda count, rng: sample(count, rng)[0], ["Samples", "9"]),
        (lambda count, rng: sample(count - 1, rng), ["7 samples; return 8"]),
        (lambda count, rng: sample(count, rng, x=np.zeros((count, 2))), ["(8, 2)", "(N, 1)"]),
        (lambda count, rng: sample(count, rng, y=np.zeros(count)), ["(8,)", "(8, 1)"]),
        (lambda count, rng: sample(count, rng, x=np.full((count, 1), "one")), ["'one'"]),
        (lambda count, rng: sample(count, rng, x=np.full((count, 1), np.nan)), ["input", "NaN"]),
        (lambda count, rng: sample(count, rng, y=np.full((count, 1), np.inf)), ["targets", "inf"]),
    ],
)
def test_an_error_of_the_device_is_the_devices_own(stream, words, refuses):
    client, board = client_of(device=Broken(stream))
    with refuses("my device", *words):
        client.visit(start(), Order(0, RATE, 8, 1))
    board.device.stream = sample  # the student mends it, and the same order works
    client.visit(start(), Order(0, RATE, 8, 1))


def test_the_devices_exception_is_chained():
    with pytest.raises(KitError) as caught:
        client_of(device=Broken(raises))[0].visit(start(), Order(0, RATE, 8, 1))
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("labels", "words"),
    [([0, 1, 2, 4], ["label 4", "0 to 3"]), ([0, -1, 1, 2], ["label -1"]), ([0.5] * 4, ["float"])],
)
def test_labels_of_a_device_that_do_not_fit(labels, words, refuses):
    x = np.zeros((4, 16, 3), np.float32)
    device = Broken(lambda count, rng: Samples(x, np.array(labels)))
    with refuses("my device", *words):
        client_of(Gestures.net, device)[0].visit(start(Gestures.net), Order(0, RATE, 4, 1))


def test_divergence_on_the_board_is_divergence(refuses):
    client, _ = client_of()
    with refuses("inner rate", error=DivergenceError):
        client.visit(start(), Order(0, OnlineSGD(900.0), 500, 1))


def test_a_failed_board_can_be_visited_again():
    client, _ = client_of()
    with pytest.raises(DivergenceError):
        client.visit(start(), Order(0, OnlineSGD(900.0), 500, 1))
    client.visit(start(), Order(0, RATE, 8, 1))


def test_an_unplugged_board_comes_back():
    client, _ = client_of()
    link = client.session.link
    link.unplugged = True
    with pytest.raises(BoardSilent, match="unplugged"):
        client.visit(start(), Order(0, RATE, 8, 1))
    link.unplugged = False
    client.visit(start(), Order(0, RATE, 8, 1))


# ---- Fuzzing, briefly ----------------------------------------------------------------------------


def test_the_c_side_survives_mutated_frames():
    counted = fuzz_wire.fuzz_c(100_000, seed=1)
    assert all(counted["states"]) and all(counted["answers"].values()), counted
    assert counted["packed"] and counted["damage_read"] and counted["damage_refused"], counted
    assert counted["damaged"] > 10_000


def test_the_python_side_survives_mutated_frames():
    counted = fuzz_wire.fuzz_python(5_000, seed=1)
    assert min(counted.values()) > 500, counted


# ---- What it costs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "frame", "limit"),
    [(1153, USB_FRAME, 0.03), (16_000, USB_FRAME, 0.02), (1153, BLE_FRAME, 0.08)],
)
def test_overhead_stays_within_its_limits(weights, frame, limit):
    net = SINE if weights == 1153 else Network([Dense(99, 160)], "mse", (99,))
    assert net.size == weights
    assert all(wire.overhead(net, frame, 0, seed) <= limit for seed in range(3))


def test_a_visit_gets_most_of_a_lines_capacity():
    assert wire.line_share(SINE, wire.USB_LATENCY, 0) > 0.9


@pytest.mark.parametrize(
    ("sent", "most"),
    [("float16", 0.55), ("int8", 0.30), ("int8_25_percent", 0.12), ("int8_10_percent", 0.065)],
)
@pytest.mark.parametrize("frame", wire.FRAMES.values())
def test_packed_changes_take_a_part_of_the_way_back(sent, most, frame):
    assert 0 < wire.way_share(SINE, frame, wire.SENT[sent], "received", 0) < most
    assert wire.way_share(SINE, frame, wire.SENT[sent], "sent", 0) < 0.56


def test_packed_rounds_over_bad_links_are_neither_lost_nor_doubled():
    rows = {row["name"]: row["value"] for row in bench_faults.packed_rows(rounds=20)}
    for group in bench_faults.PACKED:
        found = [rows[f"{group}.{name}"] for name in ("rounds", "lost", "doubled", "phi_equal")]
        assert found == [20, 0, 0, 1]


def test_the_faults_benchmark_tells_the_truth():
    clean, steps = bench_faults.run(Faults(), rounds=20)
    phi, faulty_steps = bench_faults.run(bench_faults.ALL_FAULTS, rounds=20)
    assert steps == faulty_steps == 20 * bench_faults.SAMPLES
    np.testing.assert_array_equal(phi, clean)
