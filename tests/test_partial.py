"""TinyMetaFed in our reading: rebuild the head, step the body, send a part of the changes."""

import numpy as np
import pytest

from tinyreptile_lite import checkpoint, strategies
from tinyreptile_lite.clients import Order, SimulatedClient, simulate
from tinyreptile_lite.core.native import native
from tinyreptile_lite.costs import device_ram, visit_bytes, visit_macs
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.few_shot import HeadOnly
from tinyreptile_lite.image_layers import Conv2D, Flatten, LayerNorm, SiLU
from tinyreptile_lite.layers import Conv1D, Dense, GlobalAveragePool, Tanh
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.network import Network
from tinyreptile_lite.packing import halved, selected
from tinyreptile_lite.partial import PartialSGD
from tinyreptile_lite.recipes import FRUGAL, find_recipe
from tinyreptile_lite.tasks.base import Samples
from tinyreptile_lite.tasks.sine import Sine

NETS = {
    "dense": Network([Dense(3, 8), Tanh(), Dense(8, 4)], "cross_entropy", (3,)),
    "conv1d": Network(
        [Conv1D(2, 4, 3), Tanh(), Conv1D(4, 4, 3), GlobalAveragePool(), Dense(4, 4)],
        "cross_entropy",
        (12, 2),
    ),
    "conv2d": Network(
        [Conv2D(1, 4, 3, padding=1), LayerNorm(4), SiLU(), Flatten(), Dense(4 * 36, 4)],
        "cross_entropy",
        (6, 6, 1),
    ),
}
RNG = np.random.default_rng


def visit_of(net, count=9, tasks=()):
    rng = RNG(3)
    x = rng.normal(size=(*tasks, count, *net.input_shape)).astype(np.float32)
    phi = np.stack([net.init(rng) for _ in range(tasks[0])]) if tasks else net.init(rng)
    return phi, Samples(x, rng.integers(net.outputs, size=(*tasks, count)))


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_the_first_samples_move_the_head_alone_and_the_others_the_body_alone(net):
    phi, samples = visit_of(net)
    for learner in (PartialSGD(0.1, 9, 0.2), native(PartialSGD(0.1, 9, 0.2))):
        head = learner.learn(net, phi, samples, RNG(0)).params
        wanted = HeadOnly(0.2).learn(net, phi, samples, RNG(0)).params
        assert np.allclose(head, wanted, atol=1e-6)
        assert (head[: net.head.start] == phi[: net.head.start]).all()
    for learner in (PartialSGD(0.1, 4, 0.2), native(PartialSGD(0.1, 4, 0.2))):
        both = learner.learn(net, phi, samples, RNG(0)).params
        first = Samples(samples.x[:4], samples.y[:4])
        wanted = HeadOnly(0.2).learn(net, phi, first, RNG(0)).params
        assert np.allclose(both[net.head], wanted[net.head], atol=1e-6)
        assert (both[: net.head.start] != phi[: net.head.start]).any()


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
@pytest.mark.parametrize("tasks", [(), (3,)], ids=["one task", "three tasks"])
def test_numpy_and_the_c_core_agree(net, tasks):
    phi, samples = visit_of(net, tasks=tasks)
    for learner in (PartialSGD(0.05), PartialSGD(0.05, 3), PartialSGD(0.05, 3, 0.1)):
        ours = learner.learn(net, phi, samples, RNG(0))
        core = native(learner).learn(net, phi, samples, RNG(0))
        assert np.allclose(ours.params, core.params, atol=1e-5)
        assert np.allclose(ours.loss, core.loss, atol=1e-5)


def test_without_packing_and_head_it_is_online_learning():
    net = NETS["conv1d"]
    phi, samples = visit_of(net)
    plain = OnlineSGD(0.05).learn(net, phi, samples, RNG(0))
    assert (PartialSGD(0.05).learn(net, phi, samples, RNG(0)).params == plain.params).all()


def test_what_is_not_sent_stays_as_it_is_at_the_server():
    net = NETS["dense"]
    phi, samples = visit_of(net)
    for send_head in (True, False):
        learner = PartialSGD(0.3, 3, 0.3, bits=8, percent=20, send_head=send_head)
        params = learner.learn(net, phi, samples, RNG(0)).params
        limit = net.size if send_head else net.head.start
        assert (params[limit:] == phi[limit:]).all()
        assert 0 < np.count_nonzero(params != phi) <= np.ceil(0.2 * limit)


def test_the_body_steps_from_phi_in_float16_and_the_server_keeps_float32():
    net = NETS["dense"]
    phi, samples = visit_of(net)
    learned = PartialSGD(0.3).learn(net, halved(phi), samples, RNG(0)).params
    seed = int(RNG(0).integers(2**32))
    sent = selected(learned - halved(phi), 100, 8, seed)
    params = PartialSGD(0.3, bits=8).learn(net, phi, samples, RNG(0)).params
    assert (params == phi + sent.values).all()


def test_what_was_not_sent_comes_with_the_next_visit():
    sine, rng = Sine(), RNG(0)
    net, (device,) = sine.network(), sine.devices(1, rng)
    client = SimulatedClient(net, device)
    learner = PartialSGD(0.02, bits=16, percent=5, feedback=True)
    phi = net.init(rng)
    first = client.visit(phi, Order(0, learner, 8, 1)).params
    kept = client.kept.after
    steps = learner.steps_of(net, halved(phi), device.stream(8, RNG(1))).params
    change = steps - halved(phi)
    assert np.allclose((first - phi) + kept, change, atol=1e-6)  # nothing is lost
    client.visit(first, Order(1, learner, 8, 2))
    assert (client.kept.before == kept).all()


def test_the_same_order_again_gives_the_same_answer_with_feedback_too():
    sine, rng = Sine(), RNG(0)
    net, (device,) = sine.network(), sine.devices(1, rng)
    client, phi = SimulatedClient(net, device), net.init(rng)
    learner = PartialSGD(0.02, bits=8, percent=5, feedback=True)
    client.visit(phi, Order(0, learner, 8, 1))
    one, again = (client.visit(phi, Order(1, learner, 8, 2)).params for _ in range(2))
    assert (one == again).all()


def test_another_training_begins_with_nothing_kept():
    sine, rng = Sine(), RNG(0)
    net, (device,) = sine.network(), sine.devices(1, rng)
    phi, learner = net.init(rng), PartialSGD(0.02, bits=8, percent=5, feedback=True)
    client = SimulatedClient(net, device)
    for number in range(3):
        client.visit(phi, Order(number, learner, 8, number))
    again = client.visit(phi, Order(0, learner, 8, 5)).params
    fresh = SimulatedClient(net, device).visit(phi, Order(0, learner, 8, 5)).params
    assert (again == fresh).all()


def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    sine = Sine()
    net = sine.network()
    clients = simulate(net, sine.devices(5, RNG(0)))
    strategy = strategies.tiny_meta_fed(0.02, 8, 2, 0.01, percent=30)

    def fresh():
        return Federation(net, strategy, clients, 6, RNG(1))

    whole, part = fresh(), fresh()
    whole.run()
    for _ in range(3):
        part.step()
    checkpoint.save(part, tmp_path / "phi.npz")
    again = fresh()
    checkpoint.resume(again, tmp_path / "phi.npz")
    assert (again.run() == whole.phi).all()


@pytest.mark.parametrize("name", FRUGAL)
def test_its_recipes_are_tinyreptiles_with_less_to_send(name):
    tiny, found = find_recipe("wrist-commands", "tinyreptile"), find_recipe("wrist-commands", name)
    assert found.rounds == tiny.rounds
    assert found.adaptation == tiny.adaptation
    assert found.strategy.outer == tiny.strategy.outer
    assert found.second.strategy.name == name


def test_its_costs_are_counted():
    net = Sine().network()
    whole, packed = PartialSGD(0.02), PartialSGD(0.02, 10, bits=8, percent=10)
    assert visit_bytes(net, whole) == (4 * net.size, 4 * net.size)
    up, down = visit_bytes(net, packed)
    assert down == 2 * net.size
    assert up < 4 * net.size / 20
    online = OnlineSGD(0.02)
    assert visit_macs(net, packed, 32) < visit_macs(net, online, 32)
    assert device_ram(net, packed, 32).weight_buffers == 2 * net.size
    keeps = PartialSGD(0.02, bits=8, percent=10, feedback=True)
    assert device_ram(net, keeps, 32).weight_buffers == 6 * net.size


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"percent": 0, "bits": 8}, "0 percent of the changes cannot be sent"),
        ({"percent": 101, "bits": 8}, "101 percent of the changes cannot be sent"),
        ({"bits": 4}, "in 4 bits; give 8 or 16"),
        ({"percent": 10}, "cannot be sent in 32 bits; give 8 or 16 bits"),
        ({"head_samples": -1}, "-1 samples for the head"),
        ({"head_rate": -0.1}, "the inner rate is -0.1"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_sentence(settings, sentence):
    with pytest.raises(KitError, match=sentence):
        PartialSGD(0.1, **settings)


def test_a_network_without_a_body_says_so():
    net = Network([Dense(3, 4)], "cross_entropy", (3,))
    phi, samples = visit_of(net)
    with pytest.raises(KitError, match="is all head: there is no body to step"):
        PartialSGD(0.1, 2).learn(net, phi, samples, RNG(0))
