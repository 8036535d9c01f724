"""The exercises of the notebooks check their own answers, and never show the solution.

Where an answer is a function, it is called on small cases that the notebook doesn't show. The solutions, with
explanations, are in `notebooks/solutions/`.
"""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from pnlib.base.errors import InputError, reason


@dataclasses.dataclass(frozen=True)
class Exercise:
    """A test of an answer, which may raise, and a hint for those who are not there yet."""

    right: Callable[[Any], bool]
    hint: str


def _number(value: int) -> Callable[[Any], bool]:
    return lambda answer: float(answer) == value


def _choice(*letters_or_words: str) -> Callable[[Any], bool]:
    """These words and no others, in any order; one word, or letters in a row, may stand alone."""
    wanted = {word.casefold() for word in letters_or_words}

    def right(answer: Any) -> bool:
        words = {w.strip(" ().'\"").casefold() for w in ([answer] if isinstance(answer, str) else answer)}
        return words == wanted or (isinstance(answer, str) and set(*words) == wanted)

    return right


def _function(*cases: tuple[tuple, Any]) -> Callable[[Any], bool]:
    """A function that gives these results, {arguments: result} as pairs."""

    def right(answer: Any) -> bool:
        found = [(answer(*copy.deepcopy(given)), wanted) for given, wanted in cases]
        return all(np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-6, atol=1e-9) for a, b in found)

    return right


_SQUARES = np.arange(2 * 4 * 4 * 1, dtype=np.uint8).reshape(2, 4, 4, 1)
_LABELS, _P = np.array([0, 0, 1, 1, 1, 1]), np.array([0.1, 0.6, 0.3, 0.5, 0.8, 0.9])

EXERCISES: dict[str, Exercise] = {
    "01.1": Exercise(
        _function(((0.5,), 2 / 3), ((0.743,), 2 * 0.743 / 1.743), ((1.0,), 1.0)),
        "What are recall and precision of pneumonia here? F1 is 2 * precision * recall / (precision + recall).",
    ),
    "01.2": Exercise(
        _function(
            ((pd.DataFrame({"patient": list("aabc")}), pd.DataFrame({"patient": list("bbcd")})), 2),
            ((pd.DataFrame({"patient": list("aab")}), pd.DataFrame({"patient": list("abb")})), 2),
            ((pd.DataFrame({"patient": list("ab")}), pd.DataFrame({"patient": list("cd")})), 0),
        ),
        "A patient counts once, however many images there are. Python's sets have an intersection: first & second.",
    ),
    "01.3": Exercise(
        _choice("a", "c", "e"),
        "Ask of each: would it change if the same child were X-rayed on another machine on the same day?",
    ),
    "02.1": Exercise(
        _function(((1341, 3875), (5216 / 2682, 5216 / 7750)), ((10, 30), (2.0, 2 / 3)), ((5, 5), (1.0, 1.0))),
        "Each class gets half of the total.",
    ),
    "02.2": Exercise(
        _function(((_SQUARES,), _SQUARES[:, :, ::-1].copy())),
        "The axes are image, row, column, channel. Which one has to run backwards?",
    ),
    "02.3": Exercise(
        _choice("a", "b", "d"),
        "Could the result have come from the same hospital, and would a radiologist still give the same label?",
    ),
    "03.1": Exercise(
        _number(51264),
        "Each filter has 5 * 5 weights for each input channel, and one bias. There are 64 filters.",
    ),
    "03.2": Exercise(
        _number(306817),
        "The pooling leaves one number per map. How many inputs does the dense layer have then?",
    ),
    "03.3": Exercise(
        _function(
            ((np.arange(16.0).reshape(4, 4),), [[5, 7], [13, 15]]),
            ((np.array([[-1.0, 2, -3, -4], [-5, -6, -7, -8]]),), [[2, 0]]),
        ),
        "np.maximum(x, 0) is the ReLU. x.reshape(height // 2, 2, width // 2, 2) gives each square 2 axes of its own.",
    ),
    "04.1": Exercise(
        _number(2760),
        "Only whole batches count.",
    ),
    "04.2": Exercise(
        _function(((1, 0.9), -np.log(0.9)), ((0, 0.9), -np.log(0.1)), ((1, 0.5), np.log(2))),
        "The loss is minus the logarithm of the probability that the network gave to the true class.",
    ),
    "04.3": Exercise(
        _choice("c"),
        "What do the validation images share with the training images that an image from elsewhere doesn't?",
    ),
    "05.1": Exercise(
        _function(((0.9, 0.9, 0.5), 0.9), ((0.9, 0.9, 0.1), 0.5), ((1.0, 0.5, 0.2), 1 / 3)),
        "Of 1,000 children, how many are ill and get an alarm? How many are healthy and get one?",
    ),
    "05.2": Exercise(
        _function(((90, 10, 5, 95), 0.925), ((50, 50, 0, 100), 0.75), ((0, 10, 0, 30), 0.5)),
        "Recall of pneumonia is tp / (tp + fn). What is the recall of normal? A macro average is their plain mean.",
    ),
    "05.3": Exercise(
        _function(((_LABELS, _P, 0.75), 0.5), ((_LABELS, _P, 1.0), 0.3), ((_LABELS, _P, 0.5), 0.8)),
        "Sort the probabilities of the pneumonia images. How many of them must lie at or above the threshold?",
    ),
    "06.1": Exercise(
        _function(((90, 10, 200, 0.5), 0.4), ((90, 30, 200, 0.2), 0.4125), ((0, 0, 50, 0.3), 0.0)),
        "Acting at probability t means that a false alarm counts t / (1 - t) of a hit. Divide by all patients.",
    ),
    "06.2": Exercise(
        _choice("b", "d"),
        "Temperature scaling divides every logit by the same number. Which images change sides at 0.5? Which ranks?",
    ),
    "06.3": Exercise(
        _choice("a"),
        "Both networks see the same children. Does it matter to the difference whether these are easy or hard?",
    ),
    "07.1": Exercise(
        _choice("without-averaging-and-decay"),
        "validations(trials) has both columns. What does .min(axis=1) of the two give, and where is that largest?",
    ),
    "07.2": Exercise(
        _function(((0.007, 0.01), 9), ((0.006, 0.01), 7), ((0.01, 0.0041), 108), ((0.001, 0.1), 1)),
        "Solve spread * sqrt(2 / n) <= difference / 3 for n. A study has whole seeds: round up.",
    ),
    "07.3": Exercise(
        _choice("b", "d"),
        "In which of these steps did somebody decide something after seeing the test images?",
    ),
    "08.1": Exercise(
        _function(((0.9, 0.5), 0.9), ((0.9, 0.05), 9 / 28), ((0.5, 0.2), 0.2)),
        "Odds are p / (1 - p). Multiply the odds of the probability by the odds of the prevalence, then go back.",
    ),
    "08.2": Exercise(
        _function(((np.arange(101.0), 0.05), 5.0), ((np.array([3.0, 1.0, 2.0]), 0.5), 2.0)),
        "Sort the likenesses. Which place is reached after this share of them? np.quantile does both.",
    ),
    "08.3": Exercise(
        _choice("b", "d"),
        "What was measured, and on which patients? Anything beyond that is not for you to conclude.",
    ),
    "09.1": Exercise(
        _function(((8, 2, 2, 8), 0.8), ((1, 1, 1, 1), 0.5), ((0, 5, 5, 0), 0.0), ((3, 1, 1, 4), 0.775)),
        "Take each pair of a pneumonia and a normal image. Who wins if only the view counts? Equal views count half.",
    ),
    "09.2": Exercise(
        lambda answer: abs(float(answer) - 0.8) < 1e-9,
        "8 pneumonias and 2 normal images are AP. How many of each are PA?",
    ),
    "09.3": Exercise(
        _choice("a", "c", "d"),
        "Which of these would choose something by the external images?",
    ),
}


def check(number: str, answer: Any = ...) -> None:
    """Print whether an answer is right. Never raises over an answer.

    Args:
        number: of the exercise, such as "03.1".
        answer: a number, a word, a set of words, or a function, as the exercise says; `...` is no answer yet.

    Raises:
        InputError: there is no exercise of this number.

    >>> from pnlib import exercises
    >>> exercises.check("03.1")
    03.1: no answer yet.
    >>> exercises.check("03.1", 64)  # doctest: +ELLIPSIS
    03.1: not yet. Hint: Each filter has ...
    """
    if number not in EXERCISES:
        raise InputError(f"There is no exercise {number!r}; there are {', '.join(EXERCISES)}.")
    exercise = EXERCISES[number]
    if answer is ...:
        print(f"{number}: no answer yet.")
        return
    try:
        verdict = "right." if exercise.right(answer) else f"not yet. Hint: {exercise.hint}"
    except Exception as error:  # a student's function raises what it likes
        verdict = f"not yet: {type(error).__name__}: {reason(error)}. Hint: {exercise.hint}"
    print(f"{number}: {verdict}")
