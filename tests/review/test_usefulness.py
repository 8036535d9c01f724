"""Curves, operating points, net benefit and predictive values, against scikit-learn and cases counted by hand."""

import numpy as np
import pandas as pd
import pytest

from pnlib import evaluation, review
from pnlib.base.errors import InputError


def sample(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    labels = (rng.random(n) < 0.6).astype(int)
    probabilities = np.clip(0.5 + 0.25 * (labels - 0.5) + rng.normal(0, 0.2, n), 0.001, 0.999)
    return pd.DataFrame({"label": labels, "probability": probabilities, "patient": np.arange(n) // 2})


def test_net_benefit_by_hand():
    predictions = pd.DataFrame({"label": [1, 1, 0, 0], "probability": [0.9, 0.4, 0.6, 0.1]})
    half, low = review.net_benefit(predictions, [0.5, 0.05]).itertuples(index=False)
    assert half.model == pytest.approx(1 / 4 - 1 / 4 * 1) and half.all == pytest.approx(0.5 - 0.5)
    assert low.model == pytest.approx(low.all), "below all probabilities everybody is treated"


def test_the_band_of_the_net_benefit_is_that_of_the_bootstrap():
    predictions = sample()
    table = review.net_benefit(predictions, [0.3, 0.6], resamples=100, seed=5)

    def at_60_percent(labels, probabilities):
        alarm = probabilities >= 0.6
        return {"benefit": (alarm & (labels == 1)).mean() - (alarm & (labels == 0)).mean() * 1.5}

    expected = evaluation.bootstrap(predictions, resamples=100, seed=5, of=at_60_percent).loc["benefit"]
    assert table.loc[1, ["model", "low", "high"]].tolist() == pytest.approx(expected.tolist())
    assert table.low[1] < table.model[1] < table.high[1]


def test_predictive_values_by_bayes():
    table = review.predictive_values(0.9, 0.8, [0.5, 0.05])
    assert table.ppv.tolist() == pytest.approx([0.45 / 0.55, 0.045 / (0.045 + 0.19)])
    assert table.npv.tolist() == pytest.approx([0.4 / 0.45, 0.76 / (0.76 + 0.005)])
    assert np.isnan(review.predictive_values(0, 1, [0.5]).ppv[0]), "there is never an alarm"
    for prevalence in (0.0, 1.0, np.nan):
        with pytest.raises(InputError, match="prevalence"):
            review.predictive_values(0.9, 0.8, [prevalence])
