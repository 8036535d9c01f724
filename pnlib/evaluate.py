"""Probabilities to metrics, thresholds and confidence intervals. scikit-learn computes the metrics."""

import numbers
import sys

import numpy as np
import pandas as pd

from pnlib.errors import InputError, quoted

# The order in which tables show them.
METRICS = (
    *("accuracy", "macro_f1", "macro_recall", "macro_precision"),
    *("sensitivity", "specificity", "precision", "f1", "auroc", "auprc", "brier"),
)


def predict(model, images: np.ndarray, batch_size: int = 64, preparation: str = "") -> np.ndarray:
    """Probabilities of pneumonia, (n,) float64 in [0, 1], of images (n, 150, 150, 1) uint8; `preparation` is the one
    that the model was trained with (`feed.shown`, `feed.prepare`); '' for what a model of `load_reference` brings, else
    none.

    Raises:
        InputError: images of another shape or dtype (gray values in [0, 1], say), or no such preparation.
    """
    from pnlib import feed

    preparation = preparation or getattr(model, "preparation", "none")
    stream = feed.evaluation_stream(images, np.zeros(len(images)), batch_size, preparation)
    return model.predict(stream, verbose=0)[:, 0].astype(np.float64)


def metrics(labels, probabilities, threshold: float = 0.5) -> dict[str, float]:
    """Every figure of `METRICS` for one set of predictions; pneumonia (1) is predicted where p >= threshold.

    Macro figures are the plain mean of both classes' figures. Precision and F1 of a class that was never predicted
    count as 0. AUPRC is scikit-learn's average precision.

    Args:
        labels: (n,) of 0 and 1, both present.
        probabilities: (n,) in [0, 1].

    Raises:
        InputError: one class only, NaN, a value outside [0, 1], or a threshold that is no number.
    """
    from sklearn import metrics as sk

    labels, probabilities = checked(labels, probabilities)
    predicted = _called(probabilities, threshold)
    per_class = sk.precision_recall_fscore_support(labels, predicted, labels=[0, 1], zero_division=0)
    precision, recall, f1, _ = per_class
    return {
        "accuracy": float(sk.accuracy_score(labels, predicted)),
        "macro_f1": float(f1.mean()),
        "macro_recall": float(recall.mean()),
        "macro_precision": float(precision.mean()),
        "sensitivity": float(recall[1]),
        "specificity": float(recall[0]),
        "precision": float(precision[1]),
        "f1": float(f1[1]),
        "auroc": float(sk.roc_auc_score(labels, probabilities)),
        "auprc": float(sk.average_precision_score(labels, probabilities)),
        "brier": float(sk.brier_score_loss(labels, probabilities)),
    }


def metrics_of_draw(labels: np.ndarray, probabilities: np.ndarray, threshold: float = 0.5) -> dict[str, float]:
    """The same figures as `metrics`, of what `checked` gave: from scikit-learn's counts at each threshold, asked once
    instead of five times, for the thousand draws of a bootstrap (benchmarks/bootstrap.py)."""
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
    return {
        "accuracy": right.sum() / len(labels),
        "macro_f1": f1.mean(),
        "macro_recall": recall.mean(),
        "macro_precision": precision.mean(),
        "sensitivity": recall[1],
        "specificity": recall[0],
        "precision": precision[1],
        "f1": f1[1],
        "auroc": np.trapezoid(sensitivity, false_alarms),
        "auprc": np.diff(sensitivity) @ (tp / (tp + fp)),
        "brier": np.mean((probabilities - labels) ** 2),
    }


def confusion(labels, probabilities, threshold: float = 0.5) -> np.ndarray:
    """Counts, (2, 2): row = truth, column = prediction, in the order normal, pneumonia."""
    from sklearn.metrics import confusion_matrix

    labels, probabilities = checked(labels, probabilities)
    return confusion_matrix(labels, _called(probabilities, threshold), labels=[0, 1])


def _called(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """Which images are called pneumonia."""
    if not isinstance(threshold, numbers.Real) or not abs(threshold) <= sys.float_info.max:
        raise InputError(f"A threshold is a number, not {quoted(threshold)}.")
    return probabilities >= threshold


def bootstrap(
    labels, probabilities, patients, threshold: float = 0.5, resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """95 % percentile intervals of every metric, by drawing patients (not images) with replacement.

    Images of one patient are alike, so images are not independent and drawing them singly would give intervals that
    are too narrow (the cluster bootstrap: Field and Welsh, J. R. Stat. Soc. B 69, 2007). Draws that lack a class are
    drawn again.

    Returns:
        Indexed by metric, with the columns value, low, high.
    """
    labels, probabilities = checked(labels, probabilities)
    value = metrics(labels, probabilities, threshold)
    low, high = np.quantile(metrics_of_draws(labels, probabilities, patients, threshold, resamples, seed),
                            [0.025, 0.975], axis=0)  # fmt: skip
    return pd.DataFrame(
        {"value": [value[m] for m in METRICS], "low": low, "high": high}, index=pd.Index(METRICS, name="metric")
    )


def metrics_of_draws(labels, probabilities, patients, threshold: float, resamples: int, seed: int) -> pd.DataFrame:
    """Every figure of `METRICS`, one row a draw of `patient_draws`, of what `checked` gave. Two networks that are asked
    about the same images with one seed are drawn alike, so that the difference of their tables is a paired one."""
    draws = patient_draws(labels, patients, resamples, seed)
    rows = [metrics_of_draw(labels[drawn], probabilities[drawn], threshold) for drawn in draws]
    return pd.DataFrame(rows)[list(METRICS)]


def patient_draws(labels, patients, resamples: int, seed: int):
    """Indices of `resamples` bootstrap samples, patients drawn with replacement; draws that lack a class come again."""
    labels = np.asarray(labels)
    if resamples < 1 or len(labels) != len(patients) or set(np.unique(labels)) != {0, 1}:
        raise InputError(
            f"Patients can't be drawn {resamples} times from {len(labels)} labels of {len(set(labels.tolist()))} "
            f"classes and {len(patients)} patients; give both classes, a patient for each image, and 1 draw or more."
        )
    _, codes = np.unique(np.asarray(patients), return_inverse=True)
    images_of = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    rng = np.random.default_rng(seed)
    found = 0
    while found < resamples:
        drawn = np.concatenate([images_of[i] for i in rng.integers(len(images_of), size=len(images_of))])
        if 0 < labels[drawn].sum() < len(drawn):
            found += 1
            yield drawn


def operating_point(labels, probabilities) -> float:
    """The threshold where sensitivity + specificity is largest (Youden's J), to be called with validation data.

    It lies halfway between the two neighbouring probabilities, so that it does not hang on one image's last digit.
    Where nothing does better than calling no image pneumonia, it is above all of them (above 1, if one is 1).
    """
    from sklearn.metrics import roc_curve

    labels, probabilities = checked(labels, probabilities)
    false_positive, true_positive, thresholds = roc_curve(labels, probabilities, drop_intermediate=False)
    best = int(np.argmax(true_positive - false_positive))
    below = probabilities[probabilities < thresholds[best]]
    if not len(below):
        return float(thresholds[best])
    halfway = (min(thresholds[best], 1.0) + below.max()) / 2
    return float(max(halfway, np.nextafter(below.max(), 2)))  # of two neighbouring floats, there is no halfway


def matching_confusions(stated: dict[str, float], normal: int, pneumonia: int, average: str) -> pd.DataFrame:
    """All confusion matrices whose accuracy, f1, recall and precision round to the stated two decimals.

    Args:
        stated: accuracy, f1, recall, precision, each with two decimals.
        normal, pneumonia: numbers of images.
        average: 'macro' and 'weighted' (over both classes), or 'pneumonia' and 'normal' (that class's own).

    Returns:
        Columns true_negative, true_positive, sensitivity, specificity.
    """
    tn, tp = np.meshgrid(np.arange(normal + 1), np.arange(pneumonia + 1), indexing="ij")
    fn, fp = pneumonia - tp, normal - tn
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.nan_to_num(np.stack([tn / (tn + fn), tp / (tp + fp)]))
        recall = np.stack([tn / normal, tp / pneumonia])
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
    total = normal + pneumonia
    weight = {
        "macro": (0.5, 0.5),
        "weighted": (normal / total, pneumonia / total),
        "pneumonia": (0, 1),
        "normal": (1, 0),
    }[average]
    figures = {
        name: np.tensordot(weight, values, 1)
        for name, values in (("precision", precision), ("recall", recall), ("f1", f1))
    }
    figures["accuracy"] = (tn + tp) / total
    fits = np.ones_like(tn, bool)
    for name, value in stated.items():
        fits &= np.abs(figures[name] - value) <= 0.005 + 1e-12
    return pd.DataFrame(
        {
            "true_negative": tn[fits],
            "true_positive": tp[fits],
            "sensitivity": recall[1][fits],
            "specificity": recall[0][fits],
        }
    )


def checked(labels, probabilities) -> tuple[np.ndarray, np.ndarray]:
    try:
        labels, probabilities = np.asarray(labels, np.float64), np.asarray(probabilities, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError("Labels and probabilities must be numbers; at least one is not.") from None
    if labels.shape != probabilities.shape or labels.ndim != 1:
        raise InputError(
            f"Labels {labels.shape} and probabilities {probabilities.shape} must be flat and equally long."
        )
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
