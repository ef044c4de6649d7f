"""What it takes the virtual Nano to pack the changes of a visit."""

import shutil
import tempfile
from pathlib import Path

from tinyreptile_lite.bench.device import LIBRARIES, LIMIT_MS, SKETCHES
from tinyreptile_lite.errors import KitError
from tinyreptile_lite.nano import VirtualNano, build
from tinyreptile_lite.nano.cycles import Executed, model
from tinyreptile_lite.network import Network
from tinyreptile_lite.packing import sent_count
from tinyreptile_lite.partial import WHOLE, PartialSGD


def pack_cost(net: Network, learner: PartialSGD, compiler: str | None = None) -> Executed:
    """Count the instructions and model the cycles of `tr_pack` for changes of random sizes.

    Parameters
    ----------
    net : Network
    learner : PartialSGD
        Says how its changes are sent.
    compiler : {"gcc", "zig"}, optional
        As in `nano.build`.

    Raises
    ------
    KitError
        If it sends whole weights, or more of them than the core can pack.
    """
    if learner.bits == WHOLE:
        raise KitError("whole weights are not packed; choose 8 or 16 bits")
    with_it, without = (_run(net, learner, packs, compiler) for packs in (1, 0))
    return Executed(*(more - less for more, less in zip(with_it, without, strict=True)))


def _run(net: Network, learner: PartialSGD, packs: int, compiler: str | None) -> Executed:
    limit = net.size if learner.send_head else net.head.start
    settings = {
        "WEIGHTS": net.size,
        "LIMIT": limit,
        "COUNT": sent_count(limit, learner.percent),
        "BITS": learner.bits,
        "FEEDBACK": int(learner.feedback),
        "PACKS": packs,
    }
    with tempfile.TemporaryDirectory() as scratch:
        sketch = shutil.copytree(SKETCHES / "Pack", Path(scratch) / "Pack")
        lines = [f"#define {name} {value}\n" for name, value in settings.items()]
        (sketch / "settings.h").write_text("".join(lines))
        firmware = build(sketch, compiler=compiler, libraries=LIBRARIES)
    board = VirtualNano(firmware)
    board.profile()
    board.run_until(lambda nano: nano.stopped, limit_ms=LIMIT_MS)
    return model(board.blocks(), board.read_memory)
