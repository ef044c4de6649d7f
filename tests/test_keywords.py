"""The keywords: who is held out, which words a device hears, and how they are changed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_sets import SPEAKERS, recording

from tinyreptile_lite import sound
from tinyreptile_lite.experiment import Population, build, population
from tinyreptile_lite.learners import OnlineSGD
from tinyreptile_lite.recipes import Recipe
from tinyreptile_lite.strategies import tiny_reptile
from tinyreptile_lite.tasks import keywords
from tinyreptile_lite.tasks.base import stack
from tinyreptile_lite.tasks.keywords import (
    LENGTH,
    TRAINING_WORDS,
    WORDS,
    Augmentation,
    Keywords,
    Word,
    made,
    plain,
    read_wav,
)

NOTHING = Augmentation(0, 0, 0, 0, 0)
pytestmark = pytest.mark.usefixtures("data")


def said(rows, device):
    """Words and clip numbers whose features these are."""
    return [
        (word, n)
        for word, several in device._features.items()
        for n, each in enumerate(several)
        if np.array_equal(each, rows)
    ]


def test_who_said_enough_counts_and_groups_never_mix(rng):
    speakers = [d.speaker for d in Keywords().devices()]
    assert speakers == sorted(SPEAKERS)[:-1]
    tested, chosen = [], []
    for fold in range(4):
        train, test = Keywords().split(fold, rng)
        assert len(train) == 6 and not {d.name for d in train} & {d.name for d in test}
        tested += [d.speaker for d in test]
        train, validation = Keywords(validate=True).split(fold, rng)
        held_out = {d.name for d in test} | {d.name for d in validation}
        assert len(train) == 4 and len(held_out) == 4
        assert not {d.name for d in train} & held_out
        chosen += [d.speaker for d in validation]
    assert sorted(tested) == sorted(chosen) == speakers


def test_a_task_binds_words_to_labels_and_asks_for_clips_not_learnt_from(rng):
    _, test = Keywords().split(1, rng)
    bound = set()
    for device in [*test] * 5:
        task = device.task(rng)
        learnt = {}
        for x, y in zip(*task.support, strict=True):
            learnt.setdefault(int(y), []).extend(said(x, device))
        assert sorted(learnt) == [0, 1, 2, 3]
        for places in learnt.values():
            assert len(places) == len(set(places)) == 3 and len({word for word, _ in places}) == 1
        for x, y in zip(*task.query, strict=True):
            (place,) = said(x, device)
            assert place[0] == learnt[int(y)][0][0] and place not in learnt[int(y)]
        assert (np.sort(task.support.y.reshape(3, 4)) == np.arange(4)).all()
        bound.add(tuple(learnt[label][0][0] for label in range(4)))
    assert len(bound) > 6
    support, query = stack([device.task(rng) for device in test])
    assert support.x.shape == (2, 12, 49, 16) and query.x.shape == (2, 4, 49, 16)
    assert support.x.dtype == np.float32


def test_with_fixed_labels_a_label_is_a_word(rng):
    family = Keywords(permute_labels=False, augmentation=NOTHING)
    train, test = family.split(0, rng)
    assert family.name == "keywords-fixed" and family.network().outputs == 10
    task = test[0].task(rng)
    for samples, device in ((train[2].stream(14, rng), train[2]), (task.support, test[0])):
        for x, y in zip(*samples, strict=True):
            assert WORDS[y] in {WORDS[word] for word, _ in said(x, device)}
    assert len(set(train[2].stream(7, rng).y)) == 7


def test_new_words_were_never_heard(rng):
    family = Keywords(new_words=True)
    assert family.name == "keywords-new-words"
    train, test = family.split(0, rng)
    heard = {WORDS[place] for word in train[0].vocabulary for place in word[:2]}
    assert heard == set(TRAINING_WORDS)
    assert not heard & {WORDS[word.first] for word in test[0].tested}
    assert len(train[0].vocabulary) == len(set(train[0].vocabulary)) == 5 + 5 + 20
    assert all(len(device.can_learn) >= 4 for device in test)
    fixed = Keywords(permute_labels=False, new_words=True, ways=3)
    assert fixed.network().outputs == len(fixed.vocabulary) == 10
    assert [word.backwards for word in fixed.vocabulary] == 5 * [False] + 5 * [True]
    assert {WORDS[word.first] for word in fixed.tested} == heard


def test_made_words_are_backwards_or_spliced(rng):
    device = Keywords(new_words=True).devices()[0]
    left, on = WORDS.index("left"), WORDS.index("on")
    assert np.array_equal(device._say(Word(left, left), 1, 1), device.clips[left][1])
    assert np.array_equal(device._say(Word(left, left, True), 2, 2), device.clips[left][2][::-1])
    spliced = device._say(Word(left, on), 2, 3)
    assert np.array_equal(spliced[:8_000], device.clips[left][2][:8_000])
    assert np.array_equal(spliced[8_000:], device.clips[on][3][8_000:])
    assert len(made(["up", "left"])) == 4 and plain(["up"]) == [Word(8, 8)]


def test_a_stream_has_four_words_each_clip_once_before_it_comes_again(rng):
    device = Keywords(augmentation=NOTHING).devices()[3]
    x, y = device.stream(16, rng)
    assert x.shape == (16, 49, 16) and x.dtype == np.float32
    places = [(int(label), *said(rows, device)[0]) for rows, label in zip(x, y, strict=True)]
    assert len(set(places)) == 16 and len({place[:2] for place in places}) == 4
    assert (np.sort(y.reshape(4, 4)) == np.arange(4)).all()


@pytest.mark.parametrize("permute_labels", [False, True])
def test_one_seed_gives_one_stream_and_one_task(permute_labels):
    device = Keywords(permute_labels).devices()[1]

    def draw(seed):
        rng = np.random.default_rng(seed)
        task = device.task(rng)
        return [*device.stream(5, rng), *task.support, *task.query]

    assert all(map(np.array_equal, draw(5), draw(5)))
    assert not all(map(np.array_equal, draw(5), draw(6)))


def test_a_clip_is_said_in_so_many_ways_whoever_asks_first():
    quiet = Augmentation(mask=0, takes=3)
    heard = [Keywords(augmentation=quiet).devices()[i] for i in (1, 1)]
    object.__setattr__(heard[1], "takes", {})  # one that begins anew
    drawn = [
        [device.stream(4, np.random.default_rng(seed)).x for seed in order]
        for device, order in zip(heard, (range(90), range(89, -1, -1)), strict=True)
    ]
    assert np.array_equal(np.stack(drawn[0]), np.stack(drawn[1][::-1]))
    ways = {rows.tobytes() for x in drawn[0] for rows in x}
    clips = sum(map(len, heard[0].clips.values()))
    assert 2.5 * clips < len(ways) <= 3 * clips


def test_a_federation_learns_fixed_words():
    family = Keywords(permute_labels=False)
    people = population(family, fold=2)
    assert isinstance(people, Population) and people.source["fold"] == 2
    recipe = Recipe("tinyreptile", tiny_reptile(0.02, 7), 12, OnlineSGD(0.02))
    federation = build(family, recipe, people, np.random.default_rng(0))
    federation.run()
    losses = federation.history.loss
    assert np.isfinite(losses).all()
    assert np.mean(losses[-4:]) < np.mean(losses[:4])


def test_the_network_is_small_enough():
    assert Keywords().network().size == 17_930
    assert Keywords().counts == (0, 4, 8, 12)


# Augmentation


@given(st.integers(0, 2**32 - 1))
def test_changed_clips_are_in_bounds_and_blots_are_flat(seed):
    rng = np.random.default_rng(seed)
    clip = rng.integers(-32768, 32768, LENGTH).astype(np.int16)
    changed = Augmentation().apply(clip, rng)
    assert changed.shape == (LENGTH,) and changed.dtype == np.int16
    rows = np.ones((5, 49, 16), np.float32)
    Augmentation(mask=9).blot(rows, rng)
    assert ((rows == 0).all(axis=-1) | (rows == 1).all(axis=-1)).all()
    assert (rows == 0).all(axis=-1).sum(axis=-1).max() <= 9


def test_each_change_is_what_it_says(rng):
    clip = np.zeros(LENGTH, np.int16)
    clip[6_000:10_000] = 1_000
    assert np.array_equal(NOTHING.apply(clip, rng), clip)
    for _ in range(20):
        loud = np.abs(Augmentation(0, 0, 6, 0, 0).apply(clip, rng)).max() / 1_000
        assert 0.5 < loud < 2
        moved = np.flatnonzero(Augmentation(0, 0.1, 0, 0, 0).apply(clip, rng) > 500)
        assert 3_998 <= len(moved) <= 4_001 and 4_400 <= moved[0] <= 7_600
        faster = np.flatnonzero(Augmentation(0.1, 0, 0, 0, 0).apply(clip, rng) > 500)
        assert 3_630 <= len(faster) <= 4_450 and abs(faster.mean() - 8_000) < 2
        noisy = Augmentation(0, 0, 0, 0.1, 0).apply(clip, rng)
        assert np.std((noisy - clip).astype(float)) <= 0.101 * 500


def test_impossible_changes_are_refused(refuses):
    for options in ({"speed": 0.6}, {"shift": -1}, {"gain": np.nan}, {"noise": 2}, {"mask": 49}):
        (name, value), *_ = options.items()
        with refuses(f"{name} is {value}"):
            Augmentation(**options)


# Recordings


def test_a_recording_of_a_second_or_less_is_read_and_ends_in_silence():
    whole, short = read_wav(recording(300)), read_wav(recording(300, 9_000))
    assert whole.shape == short.shape == (LENGTH,) and whole.dtype == np.int16
    assert np.array_equal(short[:9_000], whole[:9_000]) and not short[9_000:].any()
    assert np.abs(whole).max() > 2_000


@pytest.mark.parametrize(
    "options", [{"length": 16_001}, {"length": 3_999}, {"channels": 2}, {"rate": 44_100}]
)
def test_another_length_rate_or_number_of_channels_is_refused(options):
    assert read_wav(recording(300, **options)) is None


@given(st.integers(0, 60), st.integers(0, 255), st.integers(44, 32_044))
def test_a_damaged_recording_is_read_or_refused_and_nothing_else(at, value, length):
    content = bytearray(recording(300)[:length])
    content[at % len(content)] = value
    samples = read_wav(bytes(content))
    assert samples is None or (samples.shape == (LENGTH,) and samples.dtype == np.int16)


@given(st.binary(max_size=200))
def test_what_is_no_recording_is_refused(content):
    assert read_wav(content) is None


def test_too_much_to_ask_for_is_refused(refuses, rng):
    for options, words in (
        ({"ways": 1}, ["ways is 1", "2 to 10"]),
        ({"ways": 6, "new_words": True}, ["ways is 6", "2 to 5"]),
        ({"shots": 0}, ["shots is 0"]),
    ):
        with refuses(*words):
            Keywords(**options)
    with refuses("fold is 4", "0 to 3"):
        Keywords().split(4, rng)
    with refuses("fold 0", "4 words 5 times", "fewer"):
        Keywords(shots=4).split(0, rng)
    with refuses("0 words 5 times", "fewer ways"):
        Keywords(shots=4).devices()[0].task(rng)
    with refuses("count is 0"):
        Keywords().devices()[0].stream(0, rng)
    assert sound.frame_count(LENGTH) == keywords.ROWS == 49
