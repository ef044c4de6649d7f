"""``pytest --nbval notebooks``: what is left out when outputs are compared, and which notebooks."""

from pathlib import Path

import pytest

from tinyreptile_lite.tasks import DATA_SETS

NEEDED = {
    "06_few_shot_characters.ipynb": "omniglot-small",
    "07_your_own_keyword.ipynb": "keywords",
}


def _is_here(name: str) -> bool:
    data = DATA_SETS[name]
    return None not in map(data.find, data.archives)


collect_ignore = [notebook for notebook, data in NEEDED.items() if not _is_here(data)]


def pytest_configure(config: pytest.Config) -> None:
    """Numbers that `between` prints differ from processor to processor."""
    config.option.nbval_sanitize_with = str(Path(__file__).with_name("sanitize.cfg"))
