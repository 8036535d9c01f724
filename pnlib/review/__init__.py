"""Is the network any good? What a reviewer in medical imaging asks of a set of predictions.

Most functions take a predictions table (`Classifier.predictions`): one row per image, with the columns label (0 normal,
1 pneumonia), probability (of pneumonia, in [0, 1]) and, for intervals, patient. They raise InputError where a class is
missing or a probability is outside [0, 1]; only `by_subgroup` allows a missing class.

    calibration   do the probabilities mean what they say?
    usefulness    what can the network do at an operating point, and for whom is that worth it?
    comparison    is one network better than another, and is the test set like the validation set?
    plots         the figures: from pnlib.review import plots

For an interval of any other value, `pnlib.evaluation.bootstrap` takes a function of labels and probabilities as `of`.
"""

from pnlib.review.calibration import (
    calibration_error,
    calibration_slope_and_intercept,
    reliability,
    rescale,
    temperature,
)
from pnlib.review.comparison import by_subgroup, compare, drift, optimism
from pnlib.review.usefulness import net_benefit, predictive_values

__all__ = [
    "by_subgroup", "calibration_error", "calibration_slope_and_intercept", "compare", "drift", "net_benefit",
    "optimism", "predictive_values", "reliability", "rescale", "temperature",
]  # fmt: skip
