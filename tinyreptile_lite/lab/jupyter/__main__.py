"""Tell the Jupyter of this environment: ``python -m tinyreptile_lite.lab.jupyter``."""

import sys
from pathlib import Path

from tinyreptile_lite.errors import KitError
from tinyreptile_lite.lab.jupyter.install import install

if __name__ == "__main__":
    try:
        install(Path(sys.prefix))
    except KitError as error:
        print(f"tinyreptile: {error}", file=sys.stderr)
        sys.exit(2)
