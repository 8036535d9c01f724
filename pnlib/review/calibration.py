"""Do the probabilities mean what they say? Reliability, calibration error, slope and intercept, temperature scaling."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pnlib.evaluation import checked, logit


def reliability(predictions: pd.DataFrame, bins: int = 10, exact: bool = False) -> pd.DataFrame:
    """Predicted probability and observed share of pneumonia, in bins of equal width.

    A probability on the edge of two bins counts in the upper one. (scikit-learn's `calibration_curve` puts it in the
    lower one, and doesn't count images.)

    Args:
        bins: their number, from 0 to 1.
        exact: add the columns low and high, the exact 95 % interval of each observed share (Clopper and Pearson,
            Biometrika 26, 1934). It takes images as independent.

    Returns:
        Indexed by bin, without the empty ones: predicted (mean probability), observed, images.
    """
    from scipy.stats import binomtest

    labels, probabilities = checked(predictions)
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    table = pd.DataFrame({"bin": place, "predicted": probabilities, "observed": labels}).groupby("bin")
    table = table.mean().assign(images=table.size())
    if exact:
        counts = zip((table.observed * table.images).round().astype(int), table.images, strict=True)
        table[["low", "high"]] = [binomtest(k, n).proportion_ci(0.95, method="exact") for k, n in counts]
    return table


def calibration_error(predictions: pd.DataFrame, bins: int = 10) -> float:
    """Expected calibration error: the mean distance of predicted and observed over the bins, weighted by their images.

    0 is best. The value depends on the number of bins (Naeini et al., AAAI 2015; Guo et al., arXiv 1706.04599).
    """
    table = reliability(predictions, bins)
    return float(np.average((table.predicted - table.observed).abs(), weights=table.images))


def calibration_slope_and_intercept(predictions: pd.DataFrame) -> dict[str, float]:
    """Two directions in which probabilities can be wrong, found on the logits.

    The intercept (calibration in the large) is what you would have to add to all logits for the mean probability to be
    the observed share. 0 is best; above 0, probabilities are too low. The slope is the factor of the logits in a
    logistic regression. 1 is best; below 1, probabilities are too extreme. It is infinite where every pneumonia image
    has a larger probability than every normal one. Sources: Cox, Biometrika 45, 1958; Van Calster et al., BMC Medicine
    17, 2019.

    Returns:
        'calibration intercept' and 'calibration slope'.
    """
    from scipy.optimize import brentq
    from scipy.special import expit
    from sklearn.linear_model import LogisticRegression

    labels, probabilities = checked(predictions)
    logits = logit(probabilities)
    intercept = brentq(lambda shift: expit(logits + shift).mean() - labels.mean(), -40, 40)
    if logits[labels == 1].min() > logits[labels == 0].max():  # no maximum: the fit would end where its solver gives up
        slope = np.inf
    else:
        slope = LogisticRegression(C=np.inf).fit(logits[:, None], labels).coef_[0, 0]
    return {"calibration intercept": float(intercept), "calibration slope": float(slope)}


def temperature(predictions: pd.DataFrame) -> float:
    """The T in [0.05, 20] for which logits divided by T have the smallest cross-entropy. Call it with validation data.

    T > 1 makes probabilities less extreme. The ranking stays (Guo et al., arXiv 1706.04599).
    """
    from scipy.optimize import minimize_scalar

    labels, probabilities = checked(predictions)
    signed = np.where(labels == 1, -1, 1) * logit(probabilities)

    def cross_entropy(log_temperature: float) -> float:
        return float(np.logaddexp(0, signed / np.exp(log_temperature)).mean())

    found = minimize_scalar(cross_entropy, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def rescale(probabilities: ArrayLike, temperature: float) -> np.ndarray:
    """Probabilities of any shape, with their logits divided by the temperature."""
    return np.asarray(1 / (1 + np.exp(-logit(np.asarray(probabilities, np.float64)) / temperature)))
