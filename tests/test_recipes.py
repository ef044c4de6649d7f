"""Recipes: every strategy for every family, and all with the same number of samples."""

import json
from dataclasses import asdict

import pytest

from tinyreptile_lite.costs import device_ram
from tinyreptile_lite.few_shot import ClassMeans
from tinyreptile_lite.learners import MinibatchSGD, OnlineSGD
from tinyreptile_lite.recipes import BY_HAND, find_recipe, made, recipes
from tinyreptile_lite.settings import PLANS, SAME, Setting, plan_of, tuned
from tinyreptile_lite.tasks import FAMILIES, find_family

NAMES = {"tinyreptile", "reptile", "reptile-batched", "fedavg", "fedsgd", "joint", "scratch"}
ANY_FAMILY = pytest.mark.parametrize("family", FAMILIES)
SETTING = Setting(rate=0.03, outer=0.4, end=0.1, visits=1_000, passes=4, batch=3)


@ANY_FAMILY
def test_every_family_has_every_strategy(family):
    known = recipes(family)
    more = {"reptile-adam"} if family in BY_HAND else set()
    if "omniglot" in family:
        more = {"prototype"}
    assert set(known) == NAMES | more
    for name, recipe in known.items():
        assert find_recipe(family, name) == recipe
        trained = recipe.strategy or recipe.start
        assert (trained is None) == (name == "scratch")


@ANY_FAMILY
def test_no_strategy_sees_more_samples_than_another_may(family):
    trained = [recipe for recipe in recipes(family).values() if recipe.strategy]
    seen = {one.rounds * one.strategy.client_count * one.strategy.sample_count for one in trained}
    if family in BY_HAND:
        assert len(seen) == 1
    else:  # how many is a setting like the others
        plan = plan_of(family)
        assert max(seen) <= plan.visits * plan.sample_count


@ANY_FAMILY
def test_a_visit_has_as_many_samples_as_a_new_device(family):
    recipe = find_recipe(family, "tinyreptile")
    if not family.endswith("-fixed"):  # there it has one sample of each label
        assert recipe.strategy.sample_count == max(find_family(family).counts)
    assert type(recipe.adaptation) is type(recipe.strategy.learner)


@ANY_FAMILY
def test_tinyreptile_needs_less_than_half_the_ram_of_batch_learners(family):
    net = find_family(family).network()
    known = recipes(family)
    tiny = known["tinyreptile"].strategy
    few_samples = family == "sine" or family.endswith("-fixed")
    limit = 0.55 if few_samples else 0.5
    for name in known.keys() & {"reptile", "reptile-batched", "reptile-adam", "fedsgd"}:
        batch = known[name].strategy
        online = device_ram(net, tiny.learner, tiny.sample_count).total
        assert online < limit * device_ram(net, batch.learner, batch.sample_count).total


def test_rounds_can_be_replaced_where_there_are_any():
    assert find_recipe("sine", "tinyreptile").with_rounds(7).rounds == 7
    assert find_recipe("sine", "tinyreptile").with_rounds(None).rounds == 5000
    assert find_recipe("sine", "scratch").with_rounds(7).rounds == 0


def test_each_half_of_the_folds_has_settings_that_the_other_one_chose():
    first, second = tuned("wrist-commands")["halves"]
    recipe = find_recipe("wrist-commands", "tinyreptile")
    for half, folds in ((first, range(5)), (second, range(5, 10))):
        for fold in folds:
            setting = half["tinyreptile"]["setting"]
            chosen = recipe.at(fold, 10)
            assert chosen.second is None
            assert chosen.rounds == setting["visits"]
            assert chosen.strategy.learner == OnlineSGD(setting["rate"])
            assert chosen.strategy.outer.start == setting["outer"]
            assert chosen.adaptation == OnlineSGD(half["tinyreptile"]["rates"]["one pass"])


def test_a_search_is_read_as_it_was_planned():
    for family, plan in PLANS.items():
        if family not in BY_HAND:
            assert tuned(family)["plan"] == json.loads(json.dumps(asdict(plan)))
    assert tuned("omniglot-small") == tuned("omniglot")
    assert set(SAME) < set(FAMILIES)


def test_recipes_are_made_of_numbers():
    plan = plan_of("keywords")
    batched = made(plan, "reptile-batched", SETTING, [OnlineSGD(0.5)])
    assert (batched.rounds, batched.strategy.client_count) == (200, 5)
    assert batched.strategy.learner == MinibatchSGD(0.03, 4, 3)
    assert (batched.strategy.outer.start, batched.strategy.outer.end) == (0.4, 0.1)
    assert batched.strategy.fresh_head and not batched.start.strategy.fresh_head
    assert (batched.start.family, batched.start.rounds) == ("keywords-fixed", 200)
    joint = made(plan, "joint", SETTING, [OnlineSGD(0.5)])
    assert joint.strategy is None and joint.start.strategy.pooled and joint.start.rounds == 2_000
    scratch = made(plan, "scratch", SETTING, [])
    assert scratch.start is None and scratch.adaptation == MinibatchSGD(0.03, 60, 3)
    assert isinstance(find_recipe("omniglot", "prototype").adaptation, ClassMeans)


def test_a_recipe_with_other_rounds_or_learners_is_changed_in_all_its_parts():
    recipe = find_recipe("keywords", "tinyreptile").with_rounds(7)
    assert {recipe.rounds, recipe.start.rounds, recipe.second.rounds} == {7}
    changed = recipe.with_learners(lambda _: OnlineSGD(9))
    learners = [changed.strategy.learner, changed.start.strategy.learner, *changed.adaptations]
    assert {one.rate for one in [*learners, *changed.second.adaptations]} == {9}
    assert not changed.alone().more and not changed.alone().second.more


def test_no_search_is_told_with_the_command(refuses):
    with refuses("tuned", "tinyreptile tune nothing"):
        tuned("nothing")


def test_unknown_names_list_the_known_ones(refuses):
    with refuses("strategy 'fedprox'", *NAMES, "reptile-adam"):
        find_recipe("sine", "fedprox")
    with refuses("task family 'cosine'", *FAMILIES):
        find_recipe("cosine", "fedavg")
    with refuses("task family 'cosine'", *FAMILIES):
        find_family("cosine")
