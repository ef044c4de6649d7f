"""`tinyreptile serve`: boards learn together, whatever happens to them or to the server."""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from tinyreptile_lite import checkpoint
from tinyreptile_lite.energy import EnergyModel
from tinyreptile_lite.errors import KitError, at_least_one, not_negative, unknown_name
from tinyreptile_lite.federation import Federation
from tinyreptile_lite.options import SHARED
from tinyreptile_lite.recipes import find_recipe
from tinyreptile_lite.serve.accounts import in_joules
from tinyreptile_lite.serve.boards import Boards, counted_boards
from tinyreptile_lite.serve.energy_command import log_table
from tinyreptile_lite.serve.journal import read_journal
from tinyreptile_lite.serve.live import Live, describe
from tinyreptile_lite.serve.power_log import line_up, read_power_log, visits_of
from tinyreptile_lite.serve.roster import Roster, discover, seated_devices
from tinyreptile_lite.serve.server import Server
from tinyreptile_lite.tasks import find_family
from tinyreptile_lite.wire.faults import Faults
from tinyreptile_lite.wire.frames import Source

_ABOUT = """\
Boards learn together. BOARDS, in any mix: virtual:8 (emulated boards), local:4 (the board's C code
in this process), numpy:4, native:4 (simulated devices), /dev/ttyACM0, COM3, ble:NAME, usb, ble
(whatever is found); without any, USB and Bluetooth are searched. Killed and started again with the
same words, the run goes on where it was.
"""
_PATIENCE_HELP = "how often a silent board is asked before it counts as away; default 12"
_BUDGET_HELP = "what each board may spend on visits, modelled; then it is left in peace"
_LOG_HELP = "a power meter's log, to put beside what is modelled when all rounds are done"
_SCORE_HELP = "measure each board before and after it learns, on so many samples; default: not"


def add_serve_parser(commands: Any) -> None:
    """Add the command `serve` to the command line."""
    parser = commands.add_parser("serve", help="Let boards learn together.", description=_ABOUT)
    add = parser.add_argument
    add("boards", nargs="*", metavar="BOARDS", help="for example virtual:8")
    add("--family", default="sine", help="task family; default: sine")
    add("--strategy", default="tinyreptile", help="default: tinyreptile")
    add("--rounds", type=int, help="instead of the recipe's own number")
    add("--seed", type=int, default=0)
    add("--fold", type=int, default=0, help="which people are left out")
    add("--out", type=Path, default=Path("phi.npz"), help="default: phi.npz")
    add("--journal", type=Path, help="default: --out with the ending .journal")
    add("--faults", help="damage the links on purpose: drop=0.1,flip=0.01")
    add("--sensor", action="store_true", help="real boards learn from their sensor")
    add(
        "--patience",
        type=int,
        default=12,
        help=_PATIENCE_HELP,
    )
    add("--wait", type=float, default=60.0, help="seconds to wait for a board")
    add("--score", type=int, default=0, metavar="SAMPLES", help=_SCORE_HELP)
    add("--joules-per-board", type=float, metavar="J", help=_BUDGET_HELP)
    add("--energy", metavar="CONSTANTS", help=SHARED["--energy"][1])
    add("--energy-log", type=Path, metavar="FILE.csv", help=_LOG_HELP)
    add("--energy-board", metavar="NAME", help="the board that the meter is on, if there are more")
    add("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=serve)


def serve(options: argparse.Namespace) -> None:
    """Run all rounds that are left; `options` are those of `add_serve_parser`."""
    family = find_family(options.family)
    recipe = find_recipe(options.family, options.strategy).with_rounds(options.rounds)
    strategy = recipe.strategy
    if strategy is None or strategy.pooled:
        raise KitError(f"{recipe.name} is nothing that boards can do; choose tinyreptile or fedavg")
    not_negative(seed=options.seed)
    at_least_one(patience=options.patience)
    faults = Faults.parse(options.faults) if options.faults else None
    checkpoint.is_there(options.out)  # refuses what is no name of a file
    journal = options.journal or options.out.with_suffix(".journal")
    model = EnergyModel.parse(options.energy or "")
    net, source = family.network(), Source.SENSOR if options.sensor else Source.DATA
    names = find_boards(options.boards, journal)
    devices = seated_devices(family, options.fold)
    if options.energy_board and not options.energy_log:
        raise KitError("--energy-board needs the meter's log; name it with --energy-log FILE.csv")
    with Roster(names, net, devices, faults, options.patience, source) as roster:
        _check_metered(options, [client.name for client in roster.clients])
        federation = Federation(
            net,
            strategy,
            Boards(roster.clients, options.wait, options.score, model, options.joules_per_board),
            recipe.rounds,
            np.random.default_rng([options.seed, options.fold]),
            data={"family": family.name, "fold": options.fold},
        )
        with closing(Server(federation, options.out, journal, Live(), found=names)) as server:
            server.run()
        _finish(server, options, model)


def find_boards(names: Sequence[str], journal: Path) -> list[str]:
    """Find the boards, and keep those of a run that has begun.

    What was searched for may not be there now; the run's own boards are then waited for, and
    others do not take part.
    """
    searched = {"usb", "ble"} & set(names) or not names
    if not (searched and journal.exists()):
        return discover(names)
    begun: list[str] = read_journal(journal)[0]["run"]["found"]
    try:
        others = sorted(set(discover(names)) - set(begun))
    except KitError:  # nothing there yet: they may come
        others = []
    if others:
        print(f"not in this run, and left out: {', '.join(others)}", file=sys.stderr)
    return begun


def _check_metered(options: argparse.Namespace, names: Sequence[str]) -> None:
    """Refuse before the work what could not be lined up after it."""
    if options.energy_log is None:
        return
    board = options.energy_board
    if board is not None and board not in names:
        raise unknown_name("board", board, names)
    if board is None and len(names) > 1:
        raise KitError(
            f"{len(names)} boards take part; say with --energy-board which one the meter is on, "
            f"for example {names[0]}"
        )


def _finish(server: Server, options: argparse.Namespace, model: EnergyModel) -> None:
    """Report, with the meter's log if there is one; a bad log takes nothing from the report."""
    rows, text, trouble = None, "", None
    if options.energy_log is not None:
        journal = server.journal.path
        try:
            visits = visits_of(read_journal(journal), journal, options.energy_board)
            log = read_power_log(options.energy_log, model.volts, sys.stderr.isatty())
            rows = line_up(log, visits, model)
            text = f"\n\n{log_table(rows, len(visits))}"
        except KitError as error:
            trouble = KitError(
                f"{error}; the run itself is kept, and with the right log try again: tinyreptile "
                f"energy {journal} {options.energy_log}"
            )
    _report(server, options, rows, text)
    if trouble:
        raise trouble


def _report(
    server: Server, options: argparse.Namespace, log: list[dict[str, Any]] | None, more: str
) -> None:
    federation, boards = server.federation, server.boards
    result = {
        "family": options.family,
        "strategy": federation.strategy.name,
        "rounds": federation.round,
        "boards": [
            {"name": seat.name, "away": seat.reason or None, "peace": seat.peace or None}
            | seat.account.total.record()
            | vars(seat.traffic)
            for seat in boards.seats
        ],
        "loss": float(np.mean(federation.history.loss[-100:])),
        "out": str(server.out),
        "journal": str(server.journal.path),
    }
    if log is not None:
        result["energy_log"] = log
    text = (
        f"{federation.strategy.name} on {options.family}: {federation.round} rounds with "
        f"{counted_boards(len(boards.seats))}, mean loss {result['loss']:.3f} while learning in "
        f"the last rounds; {in_joules(boards.spent.energy)} modelled, "
        f"{describe(boards.traffic)}; phi is in {server.out}{more}"
    )
    print(json.dumps(result, indent=2) if options.json else text)
