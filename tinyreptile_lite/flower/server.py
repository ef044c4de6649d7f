"""The ServerApp: the ordinary round loop, whose clients are devices on Flower's nodes."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyreptile_lite.clients import Client, Order, Update, simulate
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.flower.api import Context, Grid, ServerApp
from tinyreptile_lite.flower.messages import Visit
from tinyreptile_lite.flower.nodes import Nodes, OutOfReach, RemoteClient
from tinyreptile_lite.flower.settings import Settings

SKIPS = 20  # rounds in a row that may fail because a board is out of reach
log = logging.getLogger("flwr.tinyreptile")
app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run all rounds of the settings in the run configuration."""
    settings = Settings.read(context.run_config)
    train(build(grid, settings), settings)


class FleetFederation(Federation):
    """A federation that visits the devices of a round side by side.

    Everything else, above all who is picked and how the seeds are drawn, is the ordinary round.
    """

    nodes: Nodes
    skips = 0

    def step(self) -> None:
        """Run one round.

        If a device that only one node has is out of reach, the round is repeated on another one.
        """
        for _ in range(self.skips):
            try:
                self._step()
                return
            except OutOfReach as error:
                log.warning("round %d: %s; it is repeated elsewhere", self.round + 1, error)
                self.rng.integers(2**32)  # so that the next draw is another one
        self._step()

    def _step(self) -> None:
        super().step()
        names = ", ".join(self.clients[i].name for i in self.history.visited[-1])
        log.info(
            "round %d of %d: %s, loss %.4f", self.round, self.rounds, names, self.history.loss[-1]
        )

    def _visit_all(self, clients: Sequence[Client], orders: Sequence[Order]) -> list[Update]:
        visits = [Visit(client.name, o) for client, o in zip(clients, orders, strict=True)]
        updates = self.nodes.visit_all(self.phi, visits)
        return [self._finite(c, update) for c, update in zip(clients, updates, strict=True)]


def build(grid: Grid, settings: Settings) -> FleetFederation:
    """Wait for the nodes and make the federation of their devices.

    Raises
    ------
    KitError
        If settings do not fit, or the nodes do not come.
    """
    family, recipe, strategy = settings.recipe()
    net = family.network()
    source, devices = settings.train_devices()
    nodes = Nodes(grid, net, settings.visit_seconds, settings.wait_seconds)
    names = nodes.gather(settings.nodes)
    if settings.attached:
        source = {"family": family.name, "attached": names}
    else:
        names = [client.name for client in simulate(net, devices, strategy.pooled)]
    federation = FleetFederation(
        net,
        strategy,
        [RemoteClient(name, nodes) for name in names],
        recipe.rounds,
        np.random.default_rng([settings.seed, settings.fold]),
        data=source,
    )
    federation.nodes, federation.skips = nodes, SKIPS if settings.attached else 0
    return federation


def train(federation: FleetFederation, settings: Settings) -> None:
    """Run the rounds that are left; after each one the state is in the file."""
    out = Path(settings.out)
    if out.exists():
        if not settings.resume:
            raise KitError(f"{out} is already there; set resume=true or name another out")
        federation.resume(out)
    else:
        federation.save(out)  # an unwritable folder is better met before the work
    federation.run(checkpoint=out, checkpoint_every=1)
    log.info("%d rounds done; phi is in %s", federation.round, out.resolve())
