"""Exercises: a module for each notebook, a function for each exercise, which says what is wrong.

A notebook calls them, and so does ``tinyreptile mark``, which takes them from here whatever stands
in the hand-in.
"""

import importlib

from tinyreptile_lite.errors import unknown_name
from tinyreptile_lite.exercises.base import Exercise

# Notebooks with exercises; the module of each has its name without the number.
NOTEBOOKS = (
    "00_start_here",
    "01_one_model_for_all",
    "02_reptile_by_hand",
    "03_tinyreptile_online",
    "04_on_the_device",
    "05_learning_together",
    "05b_bad_links",
    "06_few_shot_characters",
    "07_your_own_keyword",
    "08_what_it_costs",
)


def exercises_of(notebook: str) -> list[Exercise]:
    """Exercises of a notebook, in its order; raises `KitError` if there is no such notebook."""
    if notebook not in NOTEBOOKS:
        raise unknown_name("notebook with exercises", notebook, NOTEBOOKS)
    module = importlib.import_module(f"{__name__}.{notebook.partition('_')[2]}")
    found = [getattr(check, "exercise", None) for check in vars(module).values()]
    return sorted((one for one in found if one), key=lambda one: one.number)
