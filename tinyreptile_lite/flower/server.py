"""The ServerApp: the ordinary round loop, whose clients are devices on Flower's nodes."""

from pathlib import Path

import numpy as np

from tinyreptile_lite import checkpoint
from tinyreptile_lite.clients import simulate
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.flower.api import Context, Grid, ServerApp
from tinyreptile_lite.flower.nodes import Nodes, OutOfReach, log
from tinyreptile_lite.flower.settings import Settings
from tinyreptile_lite.lifetime import end_if_told

SKIPS = 20  # rounds in a row that may fail because a board is out of reach
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run all rounds of the settings in the run configuration."""
    end_if_told()  # Flower's simulation engine would go on to the last round
    settings = Settings.read(context.run_config)
    train(build(grid, settings), settings)


def build(grid: Grid, settings: Settings) -> Federation:
    """Wait for the nodes and make the federation of their devices.

    Raises `KitError` if settings do not fit, or the nodes do not come.
    """
    family, recipe, strategy = settings.recipe()
    net = family.network()
    source, devices = settings.train_devices()
    nodes = Nodes(grid, net, settings)
    nodes.gather()
    if settings.attached:
        source = {"family": family.name, "attached": nodes.names}
    else:
        nodes.names = [client.name for client in simulate(net, devices, strategy.pooled)]
    rng = np.random.default_rng([settings.seed, settings.fold])
    return Federation(net, strategy, nodes, recipe.rounds, rng, data=source)


def train(federation: Federation, settings: Settings) -> None:
    """Run the rounds that are left; after each one the state is in the file."""
    out = Path(settings.out)
    if out.exists():
        if not settings.resume:
            raise KitError(f"{out} is already there; set resume=true or name another out")
        checkpoint.resume(federation, out)
    else:
        checkpoint.save(federation, out)  # an unwritable folder is better met before the work
    while federation.round < federation.rounds:
        _step(federation, SKIPS if settings.attached else 0)
        checkpoint.save(federation, out)
    log.info("%d rounds done; phi is in %s", federation.round, out.resolve())


def _step(federation: Federation, skips: int) -> None:
    """Run one round; if a device is out of reach, draw anew, at most so many times."""
    while True:
        try:
            federation.step()
            break
        except OutOfReach as error:
            if not skips:
                raise
            log.warning("round %d: %s; it is repeated elsewhere", federation.round + 1, error)
            federation.rng.integers(2**32)  # so that the next draw is another one
            skips -= 1
    history = federation.history
    names = ", ".join(federation.visitor.names[at] for at in history.visited[-1])
    rounds = federation.round, federation.rounds
    log.info("round %d of %d: %s, loss %.4f", *rounds, names, history.loss[-1])
