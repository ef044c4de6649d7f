"""``python -m tinyreptile_lite.flower superlink`` or ``supernode``: Flower's own, behind a gate.

What follows are the options of ``flower-superlink`` or ``flower-supernode``.
"""

import sys

from tinyreptile_lite.errors import KitError, unknown_name
from tinyreptile_lite.lifetime import end_if_told


def main(arguments: list[str]) -> int:
    """Run the program that is named first; a user's slip is one line and exit code 2."""
    end_if_told()
    try:
        from tinyreptile_lite.flower import api, gate  # noqa: F401 - refuses another Flower

        program = arguments[0] if arguments else ""
        if program not in gate.PROGRAMS:
            raise unknown_name("program", program, gate.PROGRAMS)
        gate.serve(program, arguments[1:])
    except KitError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
