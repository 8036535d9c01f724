"""Exercises check their own answers: right answers pass in whatever form, wrong ones get a hint, and nothing shows a solution."""

import numpy as np
import pytest

from pnlib import InputError, exercises


def said(capsys, number, answer):
    assert exercises.check(number, answer) is None
    return capsys.readouterr().out.strip()


@pytest.mark.parametrize("answer", [51264, 51264.0, np.int64(51264), "51264"])
def test_a_number_is_right_in_any_type(capsys, answer):
    assert said(capsys, "03.1", answer) == "03.1: right."


@pytest.mark.parametrize("answer", ["c", "C", " c ", "(c)", {"c"}, ["c"], ("C",)])
def test_a_choice_is_right_however_it_is_written(capsys, answer):
    assert said(capsys, "04.3", answer) == "04.3: right."


@pytest.mark.parametrize("number", exercises.EXERCISES)
def test_a_wrong_answer_gets_the_hint_and_never_raises(capsys, number):
    for answer in (None, "abc", {"a"}, 3, {"a", "b", "c", "d", "e"}, {}, lambda x: x, np.nan):
        words = said(capsys, number, answer)
        if (number, answer) == ("06.3", {"a"}):
            assert words == "06.3: right."
        else:
            assert words.startswith(f"{number}: not yet") and words.endswith(exercises.EXERCISES[number].hint)


def test_a_function_that_raises_is_told_why(capsys):
    def broken(share):
        return 1 / 0

    assert "not yet: ZeroDivisionError: division by zero. Hint: " in said(capsys, "01.1", broken)


def test_a_function_that_changes_its_input_spoils_no_later_check(capsys):
    def mirror(images):
        images[:] = images[:, :, ::-1].copy()
        return images

    assert [said(capsys, "02.2", mirror) for _ in range(3)] == ["02.2: right."] * 3


def test_no_answer_and_an_unknown_exercise(capsys):
    assert said(capsys, "03.1", ...) == "03.1: no answer yet."
    with pytest.raises(InputError, match=r"There is no exercise '10.1'; there are 01.1, "):
        exercises.check("10.1", 3)
