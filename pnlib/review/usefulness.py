"""What can the network do at an operating point, and for whom is that worth it?"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pnlib.base.errors import InputError
from pnlib.evaluation import bootstrap, checked


def net_benefit(
    predictions: pd.DataFrame, thresholds: ArrayLike | None = None, resamples: int = 0, seed: int = 0
) -> pd.DataFrame:
    """Decision curve: net benefit of acting where p >= threshold, and of acting on everybody. On nobody it is 0.

    Source: Vickers and Elkin, Med. Decis. Making 26, 2006.

    Args:
        thresholds: threshold probabilities (m,) in (0, 1); by default 0.01 to 0.99.
        resamples: bootstrap replicates for the 95 % band of the model, columns low and high; 0: none.

    Returns:
        Columns threshold, model, all; one row per threshold.
    """
    at = np.linspace(0.01, 0.99, 99) if thresholds is None else np.asarray(thresholds, np.float64)
    odds = at / (1 - at)

    def model(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        alarm = probabilities[None] >= at[:, None]
        return (alarm & (labels == 1)).mean(1) - (alarm & (labels == 0)).mean(1) * odds

    labels, probabilities = checked(predictions)
    prevalence = labels.mean()
    everybody = prevalence - (1 - prevalence) * odds
    table = pd.DataFrame({"threshold": at, "model": model(labels, probabilities), "all": everybody})
    if not resamples:
        return table
    band = bootstrap(predictions, resamples=resamples, seed=seed, of=lambda *given: dict(enumerate(model(*given))))
    return table.join(band[["low", "high"]])


def predictive_values(sensitivity: float, specificity: float, prevalences: ArrayLike) -> pd.DataFrame:
    """Positive and negative predictive value by Bayes' rule: how often an alarm, or an all-clear, is right.

    Args:
        sensitivity, specificity: in [0, 1].
        prevalences: shares of pneumonia (m,), each in (0, 1).

    Returns:
        Columns prevalence, ppv, npv. A value is NaN where there is never an alarm, or never an all-clear.

    Raises:
        InputError: a prevalence is 0, 1 or outside.
    """
    share = np.asarray(prevalences, np.float64)
    if not ((share > 0) & (share < 1)).all():
        raise InputError("A prevalence must be above 0 and below 1.")
    true_alarms, false_alarms = sensitivity * share, (1 - specificity) * (1 - share)
    true_rests, false_rests = specificity * (1 - share), (1 - sensitivity) * share
    with np.errstate(invalid="ignore"):
        ppv, npv = true_alarms / (true_alarms + false_alarms), true_rests / (true_rests + false_rests)
    return pd.DataFrame({"prevalence": share, "ppv": ppv, "npv": npv})
