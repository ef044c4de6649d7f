"""The command ``tinyreptile flower``: a whole Flower federation here, and keys for a real one.

Importing this does not import Flower.
"""

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from tinyreptile_lite import checkpoint
from tinyreptile_lite.errors import KitError, at_least_one, file_errors


def add_flower_parser(commands: Any) -> None:
    """Add the command `flower` to the command line."""
    about = "Learn with Flower, beyond one machine."
    parser = commands.add_parser("flower", help=about, description=about)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    _add_run(actions)
    _add_keys(actions)


def _add_run(actions: Any) -> None:
    about = "Run a SuperLink, SuperNodes and the rounds on this computer; needs no set-up."
    parser = actions.add_parser("run", help=about, description=about)
    parser.set_defaults(run=_run)
    parser.add_argument("family", help="task family")
    parser.add_argument("--strategy", default="tinyreptile", help="default: tinyreptile")
    parser.add_argument("--rounds", type=int, default=10, help="default: 10; 0: the recipe's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fold", type=int, default=0, help="which people are left out")
    parser.add_argument("--devices", type=int, default=0, help="how many take part; default: all")
    parser.add_argument("--client", default="numpy", help="numpy, native or board")
    parser.add_argument("--nodes", type=int, default=3, help="how many nodes; default: 3")
    parser.add_argument("--simulate", action="store_true", help="use Flower's simulation engine")
    parser.add_argument("--out", type=Path, default=Path("phi.npz"), help="default: phi.npz")
    parser.add_argument("--resume", action="store_true", help="go on from --out if it is there")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")


def _run(options: argparse.Namespace) -> None:
    from tinyreptile_lite.flower.local import LocalFlower
    from tinyreptile_lite.flower.settings import Settings

    at_least_one(nodes=options.nodes)
    names = ("family", "strategy", "rounds", "seed", "fold", "devices", "client", "resume")
    values = {name: getattr(options, name) for name in names}
    settings = Settings(**values)  # a slip is better met before the processes start
    settings.recipe()
    settings.train_devices()
    _check_out(options.out, options.resume)
    signal.signal(signal.SIGTERM, _interrupt)  # so that no process is left behind
    simulated = options.nodes if options.simulate else 0
    with LocalFlower([] if simulated else [{}] * options.nodes) as flower:
        for line in flower.run_steadily(options.out, simulated, nodes=options.nodes, **values):
            print(line, file=sys.stderr, flush=True)
    _, state = checkpoint.read(options.out)
    loss = state["history"]["loss"][-1]
    result = {
        "rounds": state["round"],
        "loss": loss,
        "nodes": options.nodes,
        "out": str(options.out),
    }
    text = "{rounds} rounds on {nodes} nodes, loss {loss:.3f} in the last; phi is in {out}"
    print(json.dumps(result, indent=2) if options.json else text.format(**result))


def _check_out(out: Path, resume: bool) -> None:
    """Refuse before the processes start what the run could not go on from, or write."""
    with file_errors("choose a folder you can write to, for --out"):
        if not out.exists():
            with tempfile.TemporaryFile(dir=out.parent):
                return
    if not resume:
        raise KitError(f"{out} is already there; add --resume or name another --out")
    checkpoint.read(out)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _add_keys(actions: Any) -> None:
    about = "Make the keys of a federation: TLS for the SuperLink, one key pair for each SuperNode."
    parser = actions.add_parser("keys", help=about, description=about)
    parser.set_defaults(run=_keys)
    parser.add_argument("folder", type=Path, help="where to write them")
    parser.add_argument(
        "--host", action="append", required=True, help="name or address of the SuperLink; repeat"
    )
    parser.add_argument("--node", action="append", default=[], help="name of a SuperNode; repeat")


def _keys(options: argparse.Namespace) -> None:
    from tinyreptile_lite.flower import api  # the keys' library comes with Flower
    from tinyreptile_lite.flower.keys import make_keys

    make_keys(options.folder, options.host, options.node)
    print(f"{options.folder} has the keys for Flower {api.WANTED}: see docs/flower.md")
