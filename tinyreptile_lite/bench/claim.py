"""The claim that TinyReptile needs less memory and less time than Reptile: what a device pays.

RAM, instructions and modelled cycles are those of one visit on the virtual board, with random
samples of the family's shape (see `device`). RAM is all that learning holds at once: weights,
workspace, the gradient that a minibatch is summed in, the samples that the learner keeps, and the
stack. Where that is more than the board has, it is counted all the same, and the instructions are
measured with the samples in flash.

What is for Reptile's good: its samples are not shuffled, it is not charged for a buffer in which a
sample arrives, and where its samples are in flash, not for storing them either. What is not: it
keeps them as float32, as the network takes them. A device could keep the bytes of its sensor, and
turn each sample into floats in each epoch; `sample_bytes` tells how much is at stake.
"""

from tinyreptile_lite.bench.device import Case, measure
from tinyreptile_lite.core.native import NativeMinibatchSGD, native
from tinyreptile_lite.costs import round_bytes
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano.image import RAM_BYTES
from tinyreptile_lite.recipes import Recipe
from tinyreptile_lite.tasks import find_family

WHOLE = "visits", "instructions", "cycles", "bytes_up", "bytes_down"  # of the whole training


def claim_costs(family_name: str, recipe: Recipe, compiler: str | None = None) -> dict[str, int]:
    """Measure what training by a recipe costs the devices.

    Parameters
    ----------
    family_name : str
        A task family; its network is measured, so no data is needed.
    recipe : Recipe
        Its strategy, in which the devices learn by `OnlineSGD` or `MinibatchSGD`, and its rounds.
    compiler : {"gcc", "zig"}, optional
        As in `nano.build`.

    Returns
    -------
    dict of str to int
        Bytes: ``weights_bytes``, ``workspace_bytes``, ``gradient_bytes``, ``sample_bytes``,
        ``stack_bytes``, their sum ``ram_bytes``, and ``fits``: 1 if the board has as much, else 0.
        Of one visit: ``visit_instructions`` and ``visit_cycles``, modelled. Of the whole training:
        ``visits``, ``instructions``, ``cycles``, and the bytes of parameters, without framing,
        that all devices sent (``bytes_up``) and got (``bytes_down``); what comes before is counted.

    Raises
    ------
    KitError
        If the server learns itself, nobody does, or the C core has no such learner.
    """
    strategy, start = recipe.strategy, recipe.start
    if strategy is None or strategy.pooled:
        raise KitError(f"no device learns in training by {recipe.name!r}; choose another strategy")
    learner = native(strategy.learner)
    net = find_family(family_name).network()
    keeps = isinstance(learner, NativeMinibatchSGD)
    case = Case(net, strategy.sample_count, *((learner,) if keeps else ()))
    cost = measure(case, keeps, compiler)
    visits = recipe.rounds * strategy.client_count
    up, down = round_bytes(net, strategy)
    found = {
        "weights_bytes": cost.weights,
        "workspace_bytes": cost.workspace,
        "gradient_bytes": cost.gradient,
        "sample_bytes": cost.samples,
        "stack_bytes": cost.stack,
        "ram_bytes": cost.all_ram,
        "fits": int(cost.all_ram <= RAM_BYTES),
        "visit_instructions": cost.executed.instructions,
        "visit_cycles": cost.executed.cycles,
        "visits": visits,
        "instructions": visits * cost.executed.instructions,
        "cycles": visits * cost.executed.cycles,
        "bytes_up": recipe.rounds * up,
        "bytes_down": recipe.rounds * down,
    }
    if start is None:
        return found
    before = claim_costs(
        family_name, Recipe(start.strategy.name, start.strategy, start.rounds, learner), compiler
    )
    return found | {key: found[key] + before[key] for key in WHOLE}
