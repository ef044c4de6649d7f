"""Recipes: every strategy for every family, and all with the same number of samples."""

import pytest

from tinyreptile_lite.costs import device_ram
from tinyreptile_lite.recipes import find_recipe, recipes
from tinyreptile_lite.tasks import FAMILIES, find_family

NAMES = {
    "tinyreptile",
    "reptile",
    "reptile-batched",
    "reptile-adam",
    "fedavg",
    "fedsgd",
    "joint",
    "scratch",
}
ANY_FAMILY = pytest.mark.parametrize("family", FAMILIES)


@ANY_FAMILY
def test_every_family_has_every_strategy(family):
    known = recipes(family)
    assert set(known) == NAMES
    for name, recipe in known.items():
        assert find_recipe(family, name) == recipe
        assert (recipe.strategy is None) == (name == "scratch")


@ANY_FAMILY
def test_all_strategies_see_the_same_number_of_samples(family):
    trained = [recipe for recipe in recipes(family).values() if recipe.strategy]
    seen = {one.rounds * one.strategy.client_count * one.strategy.sample_count for one in trained}
    assert len(seen) == 1


@ANY_FAMILY
def test_a_visit_has_as_many_samples_as_a_new_device(family):
    recipe = find_recipe(family, "tinyreptile")
    assert recipe.strategy.sample_count == max(find_family(family).counts)
    assert type(recipe.adaptation) is type(recipe.strategy.learner)


@ANY_FAMILY
def test_tinyreptile_needs_less_than_half_the_ram_of_batch_learners(family):
    net = find_family(family).network()
    known = recipes(family)
    tiny = known["tinyreptile"].strategy
    limit = 0.5 if family != "sine" else 0.55
    for name in ("reptile", "reptile-batched", "reptile-adam", "fedsgd"):
        batch = known[name].strategy
        online = device_ram(net, tiny.learner, tiny.sample_count).total
        assert online < limit * device_ram(net, batch.learner, batch.sample_count).total


def test_rounds_can_be_replaced_where_there_are_any():
    assert find_recipe("sine", "tinyreptile").with_rounds(7).rounds == 7
    assert find_recipe("sine", "tinyreptile").with_rounds(None).rounds == 5000
    assert find_recipe("sine", "scratch").with_rounds(7).rounds == 0


def test_unknown_names_list_the_known_ones(refuses):
    with refuses("strategy 'fedprox'", *NAMES):
        find_recipe("sine", "fedprox")
    with refuses("task family 'cosine'", *FAMILIES):
        find_recipe("cosine", "fedavg")
    with refuses("task family 'cosine'", *FAMILIES):
        find_family("cosine")
