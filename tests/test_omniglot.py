"""The characters: who is held out, which drawings a device sees, turned and moved how."""

import io

import numpy as np
import pytest
from PIL import Image

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.tasks import omniglot
from tinyreptile_lite.tasks.base import Samples, stack
from tinyreptile_lite.tasks.omniglot import FULL, SMALL, Omniglot, samples_of, shifted, turned

SIZES = {"train_devices": 30, "test_devices": 8}
pytestmark = pytest.mark.usefixtures("data")
DRAWINGS = pytest.mark.parametrize("data_set", [FULL, SMALL], ids=["full", "small"])


@pytest.fixture
def make():
    return lambda **options: Omniglot(**{"ways": 4, "shots": 3, **SIZES, **options})


def same(image, other):
    return np.array_equal(image, other)


def place_of(image, images):
    """Character and drawer of an input, unmoved and unturned, among drawings."""
    found = np.argwhere((samples_of(images)[..., 0] == image[..., 0]).all(axis=(-1, -2)))
    assert len(found) == 1
    return tuple(found[0].tolist())


@DRAWINGS
def test_alphabets_are_split_by_name_and_none_is_twice(data_set):
    parts = omniglot._characters(data_set)
    expected = {"train": 10, "validation": 5, "test": 7}
    if data_set is SMALL:
        expected["test"] = 6
    assert {part: len(images) for part, images in parts.items()} == expected
    everything = np.concatenate(list(parts.values()))
    assert everything.shape[1:] == (20, 28, 28)
    assert len(np.unique(everything.reshape(len(everything), -1), axis=0)) == len(everything)


def test_a_point_is_the_mean_of_what_lies_on_it():
    black_half = np.full((105, 105), 255, np.uint8)
    black_half[:, :54] = 0  # of the 15th point's three columns, from 52.5 on, one
    file = io.BytesIO()
    Image.fromarray(black_half).convert("1").save(file, "PNG")
    shrunk = omniglot._shrunk(file.getvalue())
    assert shrunk.dtype == np.uint8
    assert (shrunk == shrunk[0]).all()
    np.testing.assert_allclose(shrunk[0], [255] * 14 + [85] + [0] * 13)


def test_a_stream_is_in_passes_and_never_repeats_a_drawing_before_it_must(make, rng):
    train, _ = make().split(0, rng)
    device = train[3]
    x, y = device.stream(83, rng)
    assert x.shape == (83, 28, 28, 1) and x.dtype == np.float32
    assert x.min() >= 0 and x.max() <= 1
    for start in range(0, 80, 4):
        assert sorted(y[start : start + 4]) == [0, 1, 2, 3]
    assert len(set(y[80:])) == 3


def test_a_stream_shows_its_own_characters_turned_and_moved(make, rng, monkeypatch):
    monkeypatch.setattr(omniglot, "shifted", lambda images, rng: images)
    train, _ = make().split(0, rng)
    images = omniglot._characters(FULL)["train"]
    turns = set()
    for device in train:
        x, y = device.stream(12, rng)
        seen = set()
        for drawing, label in zip(x, y, strict=True):
            upright = np.rot90(drawing, -device.turns[label])
            character, drawer = place_of(upright, images)
            assert character == device.characters[label]
            seen.add((label, drawer))
        assert len(seen) == 12
        turns |= set(device.turns.tolist())
    assert turns == {0, 1, 2, 3}


@pytest.mark.parametrize("validate", [False, True])
def test_a_task_has_new_characters_upright_and_other_drawings_to_ask_for(make, validate, rng):
    _, test = make(validate=validate).split(0, rng)
    images = omniglot._characters(FULL)["validation" if validate else "test"]
    for device in test:
        task = device.task(rng)
        places = {}
        for x, y in zip(*task.support, strict=True):
            places.setdefault(int(y), []).append(place_of(x, images))
        asked = {}
        for x, y in zip(*task.query, strict=True):
            asked.setdefault(int(y), []).append(place_of(x, images))
        assert sorted(places) == sorted(asked) == [0, 1, 2, 3]
        for label in places:
            assert {c for c, _ in places[label] + asked[label]} == {device.characters[label]}
            assert len({d for _, d in places[label] + asked[label]}) == 3 + omniglot.QUERY
        passes = task.support.y.reshape(3, 4)
        assert (np.sort(passes, axis=1) == np.arange(4)).all()
    support, query = stack([device.task(rng) for device in test])
    assert support.x.shape == (8, 12, 28, 28, 1) and query.x.shape == (8, 20, 28, 28, 1)


def test_a_drawer_has_one_drawing_of_each_character_and_the_new_users_stay(make, rng):
    family = make(drawers=True)
    train, test = family.split(0, rng)
    assert [device.name for device in train] == [f"drawer-{i}" for i in range(1, 21)]
    assert len(test) == 8 and family.name == "omniglot-drawers"
    images = omniglot._characters(FULL)["train"]
    drawer = train[4]
    assert same(drawer.drawings, images[:, 4])
    for samples in (drawer.stream(8, rng), drawer.task(rng).support, drawer.task(rng).query):
        assert samples.x.shape[1:] == (28, 28, 1)
        assert set(samples.y) == {0, 1, 2, 3}
    assert len(drawer.task(rng).query.y) == 4 * omniglot.QUERY


def test_moving_and_turning_lose_nothing_but_what_leaves_the_picture(rng):
    images = np.zeros((50, 28, 28), np.uint8)
    images[:, 5, 9] = 255
    moved = shifted(images, rng)
    rows, columns = np.nonzero(moved)[1:]
    assert set(rows) == {3, 4, 5, 6, 7} and set(columns) == {7, 8, 9, 10, 11}
    edge = np.full((200, 28, 28), 255, np.uint8)
    assert (shifted(edge, rng) == 0).any()
    assert same(turned(images[:4], np.arange(4))[1], np.rot90(images[0]))


def test_one_seed_gives_one_population_one_stream_and_one_task(make):
    def draw(seed):
        rng = np.random.default_rng(seed)
        train, test = make().split(0, rng)
        task = test[2].task(rng)
        return [*train[1].stream(9, rng), *task.support, *task.query]

    assert all(map(same, draw(5), draw(5)))
    assert not all(map(same, draw(5), draw(6)))


def test_counts_are_those_of_whole_passes():
    assert Omniglot().counts == (0, 5, 15, 25)
    assert Omniglot(shots=1).counts == (0, 5)
    assert [Omniglot(small=s, drawers=d).name for s in (0, 1) for d in (0, 1)] == [
        "omniglot", "omniglot-drawers", "omniglot-small", "omniglot-small-drawers"]  # fmt: skip


def test_the_network_is_small_enough_and_takes_the_samples(make, rng):
    assert Omniglot().network().size == 22_965
    net = make().network()
    x, y = make().split(0, rng)[0][0].stream(8, rng)
    assert net.predict(net.init(rng), x).shape == (8, 4)
    assert np.isfinite(OnlineSGD(0.05).learn(net, net.init(rng), Samples(x, y), rng).params).all()


def test_too_much_to_ask_for_is_refused(make, refuses, rng):
    for options, words in (
        ({"ways": 1}, ["ways is 1", "2 to 20"]),
        ({"ways": 21}, ["ways is 21"]),
        ({"shots": 16}, ["shots is 16", "at most 15"]),
        ({"shots": 0}, ["shots is 0"]),
        ({"test_devices": 0}, ["test_devices is 0"]),
    ):
        with refuses(*words):
            make(**options)
    with refuses("ways is 8", "7 characters", "give fewer"):
        make(ways=8).split(0, rng)
    with pytest.raises(KitError, match="count is 0"):
        make().split(0, rng)[0][0].stream(0, rng)
