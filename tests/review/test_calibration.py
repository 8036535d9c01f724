"""Calibration, against cases counted by hand and labels drawn from known probabilities."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from pnlib import review
from pnlib.base.errors import InputError


def table(labels, probabilities) -> pd.DataFrame:
    return pd.DataFrame({"label": labels, "probability": probabilities})


def drawn() -> tuple[np.ndarray, np.ndarray]:
    """20,000 logits, and labels drawn from their probabilities."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, 20_000)
    return logits, (rng.random(20_000) < expit(logits)).astype(int)


def test_reliability_and_calibration_error_by_hand():
    predictions = table([0, 1, 1, 1, 0], [0.15, 0.15, 0.85, 0.85, 1.0])
    found = review.reliability(predictions)
    assert found.index.tolist() == [1, 8, 9] and found.images.tolist() == [2, 2, 1]
    assert found.predicted.tolist() == pytest.approx([0.15, 0.85, 1.0]) and found.observed.tolist() == [0.5, 1.0, 0.0]
    assert review.calibration_error(predictions) == pytest.approx((2 * 0.35 + 2 * 0.15 + 1 * 1.0) / 5)


def test_bins_get_the_exact_interval_of_their_share():
    predictions = table([0, 1, 1, 1, 0, 0], [0.91, 0.95, 0.92, 0.99, 0.05, 0.02])
    found = review.reliability(predictions, exact=True)
    assert found.observed.tolist() == [0, 0.75] and found.images.tolist() == [2, 4]
    assert found.low.iloc[0] == 0 and found.high.iloc[0] == pytest.approx(1 - 0.025**0.5)
    expected = scipy.stats.beta.ppf([0.025, 0.975], [3, 4], [2, 1])
    assert found[["low", "high"]].iloc[1].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("shift, factor", [(0.0, 1.0), (1.5, 1.0), (0.0, 2.0)])
def test_slope_and_intercept_find_a_shift_and_overconfidence(shift, factor):
    """The predicted logits lack `shift`, or are `factor` times too far from 0."""
    logits, labels = drawn()
    found = review.calibration_slope_and_intercept(table(labels, expit(logits * factor - shift)))
    assert found["calibration slope"] == pytest.approx(1 / factor, abs=0.04)
    assert found["calibration intercept"] == pytest.approx(shift, abs=0.06)


def test_separated_classes_have_no_finite_slope():
    for labels, probabilities, finite in (
        ([0, 0, 1], [0.2, 0.4, 0.6], False),
        ([0, 0, 1, 1], [0.2, 0.6, 0.6, 0.9], True),
    ):
        slope = review.calibration_slope_and_intercept(table(labels, probabilities))["calibration slope"]
        assert np.isfinite(slope) == finite


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_temperature_undoes_overconfidence_and_keeps_the_ranking(factor):
    logits, labels = drawn()
    predictions = table(labels, expit(factor * logits))
    found = review.temperature(predictions)
    assert found == pytest.approx(factor, rel=0.05)
    better = predictions.assign(probability=review.rescale(predictions.probability, found))
    assert review.calibration_error(better) < 0.02
    auroc = roc_auc_score(labels, predictions.probability)
    assert roc_auc_score(labels, better.probability) == pytest.approx(auroc, abs=1e-6)


def test_rescaled_probabilities_by_hand():
    odds = np.array([1 / 9, 1.0, 9.0])
    assert review.rescale(odds / (1 + odds), 2.0).tolist() == pytest.approx([0.25, 0.5, 0.75])  # odds 1/3, 1, 3
    assert np.isfinite(review.rescale([0.0, 1.0], 0.1)).all()


@pytest.mark.parametrize("of", [review.reliability, review.calibration_slope_and_intercept, review.temperature])
@pytest.mark.parametrize("labels, probabilities", [([1, 1], [0.2, 0.9]), ([0, 1], [0.2, np.nan]), ([0, 1], [0.2, 1.1])])
def test_unusable_predictions_are_refused(of, labels, probabilities):
    with pytest.raises(InputError):
        of(table(labels, probabilities))
