"""A run on Flower that goes on from its file until it is complete."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyreptile_lite.errors import KitError

if TYPE_CHECKING:  # importing it loads Flower, which not everybody has
    from tinyreptile_lite.fleet.local import LocalFleet


def run_steadily(fleet: "LocalFleet", out: Path, tries: int = 4, **settings: Any) -> list[str]:
    """Do a run on a fleet and return its log.

    On a busy computer Flower may take the server's process for dead, because its heartbeat comes
    late, and end the run. The finished rounds are in ``out``, so the run goes on from there.

    Parameters
    ----------
    fleet : LocalFleet
    out : Path
        File of phi and the run's state.
    tries : int
        How often the run may begin.
    **settings
        As in `LocalFleet.run`.

    Raises
    ------
    KitError
        If the run fails for another reason, or too often.
    """
    lines: list[str] = []
    for left in reversed(range(tries)):
        try:
            lines += fleet.run(out, resume=True, **settings)
            return lines
        except KitError as error:
            if "heartbeat" not in str(error) or not left:
                raise
            lines.append(str(error))
    raise KitError(f"tries is {tries}; give at least 1")
