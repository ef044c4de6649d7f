"""How an exercise is declared, and how a wrong answer is told."""

import numpy as np
import pytest

from tinyreptile_lite.exercises import NOTEBOOKS, exercises_of
from tinyreptile_lite.exercises.base import Blank, Wrong, call, exercise, explain


@exercise(1, "twice a number")
def double(double, rng):
    x = int(rng.integers(100))
    if call(double, x) != 2 * x:
        raise Wrong(f"double({x}) must be {2 * x}")


def test_a_check_is_called_with_what_the_student_wrote(capsys):
    double(lambda x: x + x)
    assert capsys.readouterr().out == "double: right\n"
    assert double.exercise.names == ("double",)
    with pytest.raises(Wrong, match="must be"):
        double(lambda x: x**3 + 1)


def test_each_call_draws_fresh_cases():
    seen = []
    for _ in range(20):
        double(lambda x: seen.append(x) or 2 * x)
    assert len(set(seen)) > 10


def test_a_blank_a_missing_return_and_an_error_are_told_in_a_sentence():
    def blank(x):
        raise NotImplementedError

    def silent(x):
        pass

    def broken(x):
        return x / 0

    for function, kind, words in (
        (blank, Blank, "blank is not written yet"),
        (silent, Wrong, "silent returns nothing; end it with return"),
        (broken, Wrong, "broken stops with ZeroDivisionError: "),
    ):
        with pytest.raises(kind, match=words):
            call(function, 1)


def test_a_notebook_shows_the_sentence_without_a_traceback():
    assert Wrong("7 came")._render_traceback_() == ["Not yet: 7 came"]


def test_a_notebook_that_is_none_is_refused(refuses):
    with refuses("99_what", "00_start_here"):
        exercises_of("99_what")
    assert len(NOTEBOOKS) == 10
    assert np.all([name[:2].isdigit() for name in NOTEBOOKS])


def test_arrays_that_begin_alike_are_told_apart():
    right, mine = np.zeros(60), np.zeros(60)
    mine[41] = 2
    with pytest.raises(Wrong, match="must be 0 at place 41, not 2: count"):
        explain("labels", mine, right, {}, "count")
