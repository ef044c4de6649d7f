"""Task families: many devices whose tasks differ but have something in common."""

from collections.abc import Callable
from functools import partial

from tinyreptile_lite.datasets import DataSet
from tinyreptile_lite.errors import unknown_name
from tinyreptile_lite.tasks import keywords, omniglot
from tinyreptile_lite.tasks.base import Family
from tinyreptile_lite.tasks.keywords import Keywords
from tinyreptile_lite.tasks.omniglot import Omniglot
from tinyreptile_lite.tasks.sine import Sine
from tinyreptile_lite.tasks.wrist import Wrist

FAMILIES: dict[str, Callable[..., Family]] = {
    "sine": Sine,
    "wrist": Wrist,
    "wrist-commands": partial(Wrist, permute_labels=True),
    "wrist-any": partial(Wrist, rotation=0, own_frame=True),
    "wrist-commands-any": partial(Wrist, permute_labels=True, rotation=0, anyhow=True),
    "omniglot": Omniglot,
    "omniglot-small": partial(Omniglot, small=True),
    "omniglot-drawers": partial(Omniglot, drawers=True),
    "omniglot-small-drawers": partial(Omniglot, small=True, drawers=True),
    "keywords": Keywords,
    "keywords-fixed": partial(Keywords, permute_labels=False),
    "keywords-new-words": partial(Keywords, new_words=True),
    "keywords-new-words-fixed": partial(Keywords, new_words=True, permute_labels=False),
}
DATA_SETS: dict[str, DataSet] = {
    data.name: data for data in (omniglot.SMALL, omniglot.FULL, keywords.DATA)
}


def find_family(name: str, validate: bool = False) -> Family:
    """Build a task family by name.

    Parameters
    ----------
    name : str
    validate : bool
        Whether its devices never seen in training are those to choose settings with, which are
        neither trained nor tested on.

    Raises
    ------
    KitError
        If there is no such family; lists the known ones.
    """
    if name not in FAMILIES:
        raise unknown_name("task family", name, FAMILIES)
    return FAMILIES[name](validate=validate)
