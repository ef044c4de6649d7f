"""The command ``tinyreptile flower``: a whole Flower federation here, and keys for a real one.

Importing this does not import Flower.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from tinyreptile_lite import checkpoint
from tinyreptile_lite.errors import KitError, at_least_one, file_errors
from tinyreptile_lite.options import Options, add_command, report

_RUN: Options = {
    "--rounds": (10, "how many; 0: the recipe's own number"),
    "--devices": (0, "how many take part; 0: all"),
    "--client": ("numpy", "what learns on the nodes: numpy, native or board"),
    "--nodes": (3, "how many nodes"),
    "--simulate": (False, "use Flower's simulation engine"),
    "--json": (False, "print one JSON object at the end"),
}


def add_flower_parser(commands: Any) -> None:
    """Add the command `flower` to the command line."""
    about = "Learn with Flower, beyond one machine."
    parser = commands.add_parser("flower", help=about, description=about)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    add_command(actions, "run", _run, "family --strategy --seed --fold --out --resume", _RUN)
    keys = add_command(actions, "keys", _keys, "", {"folder": (Path, "where to write them")})
    host = "name or address of the SuperLink; repeat"
    keys.add_argument("--host", action="append", required=True, help=host)
    keys.add_argument("--node", action="append", default=[], help="name of a SuperNode; repeat")


def _run(options: argparse.Namespace) -> None:
    """Run a SuperLink, SuperNodes and the rounds on this computer; needs no set-up."""
    from tinyreptile_lite.flower.local import LocalFlower
    from tinyreptile_lite.flower.settings import Settings

    at_least_one(nodes=options.nodes)
    names = ("family", "strategy", "rounds", "seed", "fold", "devices", "client", "resume")
    values = {name: getattr(options, name) for name in names}
    settings = Settings(**values)  # a slip is better met before the processes start
    settings.recipe()
    settings.train_devices()
    _check_out(options.out, options.resume)
    # As with Ctrl-C, so that no process is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    simulated = options.nodes if options.simulate else 0
    local = LocalFlower([] if simulated else [{}] * options.nodes)
    parts = "its simulation engine" if simulated else f"a SuperLink and {options.nodes} SuperNodes"
    _say(f"starting Flower: {parts}; this takes some seconds")
    with local as flower:
        _say("handing in the app; the rounds begin when all nodes have answered, in half a minute")
        for line in flower.run_steadily(options.out, simulated, nodes=options.nodes, **values):
            _say(line)
        _say("ending Flower's processes")
    _, state = checkpoint.read(options.out)
    result = {"rounds": state["round"], "loss": state["history"]["loss"][-1]}
    result |= {"nodes": options.nodes, "out": str(options.out)}
    text = "{rounds} rounds on {nodes} nodes, loss {loss:.3f} in the last; phi is in {out}"
    report(options, result, text.format(**result))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _check_out(out: Path, resume: bool) -> None:
    """Refuse before the processes start what the run could not go on from, or write."""
    with file_errors("choose a folder you can write to, for --out"):
        if not out.exists():
            tempfile.TemporaryFile(dir=out.parent).close()
            return
    if not resume:
        raise KitError(f"{out} is already there; add --resume or name another --out")
    checkpoint.read(out)


def _keys(options: argparse.Namespace) -> None:
    """Make the keys of a federation: TLS for the SuperLink, one key pair for each SuperNode."""
    from tinyreptile_lite.flower import api  # the keys' library comes with Flower
    from tinyreptile_lite.flower.keys import make_keys

    make_keys(options.folder, options.host, options.node)
    print(f"{options.folder} has the keys for Flower {api.WANTED}: see docs/flower.md")
