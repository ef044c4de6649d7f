"""``pytest --nbval notebooks`` leaves out the notebooks whose data is not here."""

from tinyreptile_lite.tasks import DATA_SETS

NEEDED = {
    "06_few_shot_characters.ipynb": "omniglot-small",
    "07_your_own_keyword.ipynb": "keywords",
}


def _is_here(name: str) -> bool:
    data = DATA_SETS[name]
    return None not in map(data.find, data.archives)


collect_ignore = [notebook for notebook, data in NEEDED.items() if not _is_here(data)]
