"""From a predictions table to metrics with intervals, and to an operating point.

A predictions table has one row per image, with the columns label (0, 1), patient and probability, and mostly path and
subtype. `Classifier.predictions` makes it.
"""

import numbers
import re
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from pnlib.base.errors import InputError, quoted

Figures = Callable[[np.ndarray, np.ndarray], dict[str, float]]  # of labels (n,) and probabilities (n,)
# The order in which tables show them.
METRICS = (
    *("accuracy", "macro_f1", "macro_recall", "macro_precision"),
    *("sensitivity", "specificity", "precision", "f1", "auroc", "auprc", "brier"),
)


def in_words(name: str) -> str:
    """A column's name as a table or a figure says it: 'macro F1' for 'macro_f1'."""
    name = re.sub(r"\b(auroc|auprc|f1|ppv|npv)\b", lambda found: found[0].upper(), name.replace("_", " "))
    return re.sub(r"\bbrier$", "Brier score", name)


def with_interval(table: pd.DataFrame) -> pd.Series:
    """Rows with value, low and high as text, `0.918 (0.886–0.944)`, and their names in words.

    >>> import pandas as pd
    >>> from pnlib.evaluation import with_interval
    >>> with_interval(pd.DataFrame({"value": [0.9181], "low": [0.886], "high": [0.944]}, ["macro_f1"])).to_dict()
    {'macro F1': '0.918 (0.886–0.944)'}
    """
    dash = "–" if (table.low >= 0).all() else " to "
    cells = [f"{row.value:.3f} ({row.low:.3f}{dash}{row.high:.3f})" for row in table.itertuples()]
    return pd.Series(cells, [in_words(name) for name in table.index], name="value (95 % interval)")


def metrics(predictions: pd.DataFrame, threshold: float = 0.5) -> dict[str, float]:
    """Every metric of `METRICS`; pneumonia (1) is predicted where the probability is at least the threshold.

    Macro metrics are the plain mean over both classes. Precision and F1 of a class that was never predicted count as 0.
    AUPRC is scikit-learn's average precision. All come from scikit-learn's counts at each threshold, taken once.

    Args:
        predictions: columns label (0 and 1, both present) and probability (in [0, 1]).
        threshold: any number.

    Raises:
        InputError: one class only, NaN, a probability outside [0, 1], or a threshold that is not a number.

    >>> import pandas as pd, pnlib
    >>> predictions = pd.DataFrame({"label": [0, 0, 1, 1], "probability": [0.1, 0.6, 0.4, 0.9]})
    >>> found = pnlib.metrics(predictions)
    >>> found["accuracy"], found["sensitivity"], found["auroc"]
    (0.5, 0.5, 0.75)
    """
    if not isinstance(threshold, numbers.Real) or not abs(threshold) <= sys.float_info.max:
        raise InputError(f"A threshold is a number, not {quoted(threshold)}.")
    return _metrics(*checked(predictions), threshold)


def _metrics(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, float]:
    """The metrics of arrays that `checked` gave: called 1,000 times by a bootstrap."""
    import sklearn
    from sklearn.metrics import confusion_matrix_at_thresholds

    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
        _, fp, _, tp, thresholds = confusion_matrix_at_thresholds(labels, probabilities)
    at = np.count_nonzero(thresholds >= threshold) - 1  # thresholds fall; -1 where no image is called pneumonia
    alarms = np.array([fp[at], tp[at]]) if at >= 0 else np.zeros(2)
    of_class = np.array([fp[-1], tp[-1]])  # at the lowest threshold all are called pneumonia
    counts = np.column_stack([of_class - alarms, alarms])
    right, of_call = np.diag(counts), counts.sum(0)
    recall, precision, f1 = right / of_class, right / np.maximum(of_call, 1), 2 * right / (of_class + of_call)
    sensitivity, false_alarms = np.r_[0, tp / of_class[1]], np.r_[0, fp / of_class[0]]
    values = (
        *(right.sum() / len(labels), f1.mean(), recall.mean(), precision.mean()),
        *(recall[1], recall[0], precision[1], f1[1], np.trapezoid(sensitivity, false_alarms)),
        *(np.diff(sensitivity) @ (tp / (tp + fp)), np.mean((probabilities - labels) ** 2)),
    )
    return dict(zip(METRICS, map(float, values), strict=True))


def bootstrap(
    predictions: pd.DataFrame,
    threshold: float = 0.5,
    resamples: int = 1000,
    seed: int = 0,
    of: Figures | None = None,
) -> pd.DataFrame:
    """95 % percentile intervals of every metric, by drawing patients (not images) with replacement.

    Images of one patient are alike, so images are not independent, and drawing them singly would give intervals that
    are too narrow (the cluster bootstrap: Field and Welsh, J. R. Stat. Soc. B 69, 2007).

    Args:
        predictions: columns label, probability, patient.
        threshold: where pneumonia is predicted.
        resamples: bootstrap replicates.
        seed: the same seed draws the same patients, also for another network on the same images.
        of: any other function of labels (n,) and probabilities (n,) to {name: value}, instead of `METRICS`.

    Returns:
        Indexed by metric, with the columns value, low, high.

    Raises:
        InputError: as for `metrics`; fewer than one replicate.

    >>> import pandas as pd, pnlib
    >>> predictions = pd.DataFrame({"label": [0, 1] * 20, "probability": [0.2, 0.9] * 20, "patient": range(40)})
    >>> pnlib.bootstrap(predictions, resamples=100).loc["accuracy"].tolist()
    [1.0, 1.0, 1.0]
    """
    replicates = metric_replicates(predictions, threshold, resamples, seed, of)
    value = of(*checked(predictions)) if of else metrics(predictions, threshold)
    low, high = replicates.quantile(0.025), replicates.quantile(0.975)
    return pd.DataFrame({"value": pd.Series(value), "low": low, "high": high}).rename_axis("metric")


def metric_replicates(
    predictions: pd.DataFrame, threshold: float, resamples: int, seed: int, of: Figures | None = None
) -> pd.DataFrame:
    """One row per bootstrap replicate, with `METRICS` or the values of `of`.

    Two networks asked about the same images with one seed get the same draws, so the difference of their tables is a
    paired one.
    """
    labels, probabilities = checked(predictions)
    draws = patient_draws(labels, predictions.patient.to_numpy(), resamples, seed)
    of = of or (lambda y, p: _metrics(y, p, threshold))
    return pd.DataFrame([of(labels[drawn], probabilities[drawn]) for drawn in draws])


def patient_draws(labels: np.ndarray, patients: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of each bootstrap replicate, patients drawn with replacement. Draws that lack a class are drawn again."""
    if resamples < 1 or set(np.unique(labels)) != {0, 1}:
        raise InputError(
            f"Patients can't be drawn {resamples} times from labels of {len(set(labels.tolist()))} classes; "
            "give both classes, and 1 draw or more."
        )
    _, codes = np.unique(patients, return_inverse=True)
    images_of = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    rng = np.random.default_rng(seed)
    found = 0
    while found < resamples:
        drawn = np.concatenate([images_of[i] for i in rng.integers(len(images_of), size=len(images_of))])
        if 0 < labels[drawn].sum() < len(drawn):
            found += 1
            yield drawn


def operating_point(predictions: pd.DataFrame) -> float:
    """The threshold where sensitivity + specificity is largest (Youden's J). Call it with validation patients.

    It lies halfway between the two neighbouring probabilities, so that it does not depend on one image's last digit.
    Where nothing does better than calling no image pneumonia, it is above all of them (above 1, if one is 1).

    >>> import pandas as pd, pnlib
    >>> pnlib.operating_point(pd.DataFrame({"label": [0, 0, 1, 1], "probability": [0.1, 0.3, 0.7, 0.9]}))
    0.5
    """
    from sklearn.metrics import roc_curve

    labels, probabilities = checked(predictions)
    false_positive, true_positive, thresholds = roc_curve(labels, probabilities, drop_intermediate=False)
    best = int(np.argmax(true_positive - false_positive))
    below = probabilities[probabilities < thresholds[best]]
    if not len(below):
        return float(thresholds[best])
    halfway = (min(thresholds[best], 1.0) + below.max()) / 2
    return float(max(halfway, np.nextafter(below.max(), 2)))  # of two neighbouring floats, there is no halfway


def logit(probabilities: ArrayLike) -> np.ndarray:
    """Finite logits of probabilities of any shape, also of 0 and 1."""
    clipped = np.clip(probabilities, 1e-7, 1 - 1e-7)
    return np.log(clipped) - np.log1p(-clipped)


def checked(predictions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) int and probabilities (n,) float64 of a predictions table.

    Raises:
        InputError: a column is missing, a value is not a number, a class is missing, a probability is not in [0, 1].
    """
    missing = [name for name in ("label", "probability") if name not in predictions]
    if missing:
        raise InputError(f"A predictions table has the columns label and probability; {missing[0]} is missing.")
    try:
        labels, probabilities = (predictions[name].to_numpy(np.float64) for name in ("label", "probability"))
    except (TypeError, ValueError, OverflowError):
        raise InputError("Labels and probabilities must be numbers; at least one is not.") from None
    found = np.unique(labels)
    if set(found) != {0, 1}:
        words = ", ".join(f"{value:g}" for value in found[:5]) + (", …" if len(found) > 5 else "")
        raise InputError(
            f"Metrics need both classes, 0 and 1, and no other label; these labels hold {words or 'none'}."
        )
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise InputError(
            "Probabilities must be numbers from 0 to 1; at least one is not (NaN counts): check the model's output."
        )
    return labels.astype(int), probabilities
