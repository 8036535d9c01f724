"""What predicts the label without being disease: how an image was framed, exposed and scanned.

In this dataset framing, tone and even a coarse thumbnail predict the label, and do so less on the test images.
Validation patients drawn at random can't show what a network owes to that. The shifted split holds out patients for
whom one such shortcut argues for the wrong class, so that a network that relies on it loses. Which held-out data
predicts best is debated: splits of greatest distance (arXiv 2405.19461), plain ones (DomainBed, arXiv 2007.01434).

| group of the shifted split | validation patients |
| --- | --- |
| random | drawn at random |
| framing | normals whose margins and projection profiles look most like pneumonia's, and the reverse |
| tone | the same by brightness, contrast and sharpness |
| thumbnail | the same by a thumbnail of 6 x 6 pixels |
| together | the same by all of these features at once: no shortcut among them is left |
| order | those with the lowest numbers of their series, as the published test images were chosen |
"""

from typing import Any

import numpy as np
import pandas as pd

from pnlib.base.errors import InputError
from pnlib.preprocessing import MARGIN

GROUPS = ("random", "framing", "tone", "thumbnail", "together", "order")
SHARE = 0.12  # of each class's images, in each group but random (0.08)
ACQUISITION = ["black_share", "margin", "brightness", "contrast", "sharpness"]


def acquisition_features(images: np.ndarray) -> pd.DataFrame:
    """Five numbers per image, from (n, h, w, 1) uint8, that need not be disease.

    They are taken over the whole image, lungs included, so that brightness, contrast and sharpness may hold some
    disease.

    | column | meaning | range |
    | --- | --- | --- |
    | black_share | share of pixels darker than 16 of 255 | 0 to 1 |
    | margin | share of the outermost 1/10 at the left and right that is black | 0 to 1 |
    | brightness | mean gray level | 0 to 255 |
    | contrast | standard deviation of the gray levels | 0 to 127.5 |
    | sharpness | mean absolute difference of vertical neighbours, in gray levels | 0 to 255 |

    >>> import numpy as np, pnlib
    >>> pnlib.acquisition_features(np.full((1, 150, 150, 1), 100, np.uint8)).brightness.item()
    100.0
    """
    rows = []
    for image in images[..., 0]:
        edge = max(1, image.shape[1] // 10)
        sides = np.concatenate([image[:, :edge], image[:, -edge:]], axis=1)
        gradient = np.abs(np.diff(image.astype(np.int16), axis=0)).mean()
        rows.append(((image < MARGIN).mean(), (sides < MARGIN).mean(), image.mean(), image.std(), gradient))
    return pd.DataFrame(rows, columns=ACQUISITION)


def shortcut_features(images: np.ndarray) -> dict[str, np.ndarray]:
    """What the groups of the shifted split go by: {'framing': (n, 22), 'tone': (n, 11), 'thumbnail': (n, 36)} float64.

    framing: share of black, of black at the sides, of black in the two outermost strips (10 pixels) of each side, and
    the gray profile of the three outermost strips of each side in units of its own spread. tone: mean, spread,
    gradients, Laplacian, percentiles of the gray levels. thumbnail: mean gray level on a 6 x 6 grid.
    """
    parts = [_features_of(images[start : start + 256, ..., 0]) for start in range(0, len(images), 256)]
    found = {name: np.concatenate([part[name] for part in parts]).astype(np.float64) for name in parts[0]}
    simple = acquisition_features(images)
    found["framing"] = np.hstack([simple[["black_share", "margin"]], found["framing"]])
    found["tone"] = np.hstack([simple[["brightness", "contrast", "sharpness"]], found["tone"]])
    return found


def _features_of(images: np.ndarray) -> dict[str, np.ndarray]:
    """The features of some images (n, h, w) but the acquisition features; some at a time, for the sake of memory."""
    gray = images.astype(np.float32)
    n, strips = len(gray), gray.shape[1] // 10
    gray = gray[:, : strips * 10, : strips * 10]
    black = gray < MARGIN
    margins = [black.mean(axis).reshape(n, strips, 10).mean(2)[:, [0, 1, -2, -1]] for axis in (1, 2)]
    profiles = [gray.mean(axis).reshape(n, strips, 10).mean(2) for axis in (1, 2)]
    scaled = [(p - p.mean(1, keepdims=True)) / (p.std(1, keepdims=True) + 1e-3) for p in profiles]
    across = np.abs(np.diff(gray, axis=2)).mean((1, 2))
    neighbours = gray[:, :-2, 1:-1] + gray[:, 2:, 1:-1] + gray[:, 1:-1, :-2] + gray[:, 1:-1, 2:]
    laplacian = np.abs(4 * gray[:, 1:-1, 1:-1] - neighbours).mean((1, 2))
    levels = np.percentile(gray.reshape(n, -1), [1, 10, 50, 90, 99], axis=1).T
    side = gray.shape[1] // 6
    thumbnail = gray[:, : side * 6, : side * 6].reshape(n, 6, side, 6, side).mean((2, 4)).reshape(n, 36)
    return {
        "framing": np.hstack([*margins, *(p[:, [0, 1, 2, -3, -2, -1]] for p in scaled)]),
        "tone": np.column_stack([across, laplacian, laplacian / (across + 0.1), levels]),
        "thumbnail": thumbnail,
    }


def shortcut_classifier() -> Any:
    """Logistic regression on standardized features: what can be predicted without knowing what a lung is."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))


def propensity_scores(features: Any, labels: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Probability of pneumonia by features (n, k) alone, by a fit on other patients (five folds): (n,) in [0, 1]."""
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    fitted = shortcut_classifier()
    return cross_val_predict(fitted, features, labels, groups=patients, cv=folds, method="predict_proba")[:, 1]


def overlap_weights(features: dict[str, np.ndarray], labels: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Sampling weights for `sampling="overlap"`, relative to others of a class: (n,) in [0.12, 1.08].

    0.1 plus the probability, by framing and tone alone, of the *other* class. Images for which the shortcut argues
    wrongly are drawn most, those that it suffices for least. Source: the overlap weights of Li, Morgan and Zaslavsky
    (Balancing Covariates via Propensity Score Weighting, JASA 2018), bounded from below so that any image may come.
    `features` are those of `shortcut_features`, of training images alone. InputError: fewer than ten patients of a
    class.
    """
    labels = np.asarray(labels)
    if pd.Series(patients).groupby(labels).nunique().min() < 10:
        raise InputError("sampling='overlap' needs at least ten patients of each class; use 'oversample'.")
    scores = np.mean([propensity_scores(features[name], labels, patients) for name in ("framing", "tone")], axis=0)
    scores = scores.clip(0.02, 0.98)
    return np.round(0.1 + np.where(labels == 1, 1 - scores, scores), 4)


def most_misleading(scores: np.ndarray, labels: np.ndarray, patients: np.ndarray, share: float = SHARE) -> np.ndarray:
    """Which images belong to the patients whose scores speak most for the other class: (n,) bool.

    About `share` of each class's images, patients whole.
    """
    table = pd.DataFrame({"patient": patients, "label": labels, "score": scores})
    means = table.groupby(["label", "patient"]).score.agg(["mean", "size"]).reset_index()
    held: list = []
    for label, of_class in means.groupby("label"):
        ordered = of_class.sort_values(["mean", "patient"], ascending=label == 1)
        held += list(ordered.patient[ordered["size"].cumsum() <= share * ordered["size"].sum()])
    return np.isin(patients, held)


def ends_of_series(patients: np.ndarray, subtypes: np.ndarray, share: float = SHARE) -> np.ndarray:
    """Which images belong to the patients with the lowest numbers of their series: (n,) bool, about `share` of each.

    The published test images were not drawn at random. File names show that they are the lowest numbers of both series
    of normals, low ones of bacterial pneumonia, and both ends of the viral ones (half of the share each, here too).
    Names without a number are left out.
    """
    names = pd.Series(patients, dtype=str)
    number = pd.to_numeric(names.str.extract(r"(?:person|IM-)(\d+)$")[0])
    series = names.str.replace(r"\d+$", "", regex=True) + "/" + pd.Series(subtypes, dtype=str)
    ranks = number.groupby(series)
    from_below, from_above = ranks.rank(pct=True, method="max"), 1 - ranks.rank(pct=True, method="min")
    viral = series.str.endswith("/virus")
    ends = np.where(viral, (from_below <= share / 2) | (from_above < share / 2), from_below <= share)
    return np.isin(patients, names[ends & number.notna()].unique())


def shifted_split(table: pd.DataFrame, images: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Hold out the patients of all `GROUPS` as validation; the others train.

    The training images that are left rely on their shortcuts more than the whole does, and a network that gives in to
    that loses on the groups. Absolute values are pessimistic; comparisons between settings are the point.

    Args:
        table: rows of the training split of an index table (no test images).
        images: theirs, (n, 150, 150, 1) uint8.
        seed: of the random group.

    Returns:
        The table with `part` (train, validation) and one bool column per group (an image may be in several).

    Raises:
        InputError: test images in the table, or too few patients.
    """
    if (table.split != "train").any():
        raise InputError("The shifted split is made from training images alone; drop the others from the table.")
    labels, patients = table.label.to_numpy(), table.patient.to_numpy()
    if table.groupby("label").patient.nunique().min() < 40:
        raise InputError("The shifted split needs at least 40 patients of each class; use split='random'.")
    found = shortcut_features(images)
    names = np.unique(patients)
    drawn = np.random.default_rng(seed).permutation(names)[: round(0.08 * len(names))]
    groups = {"random": np.isin(patients, drawn)}
    for name, features in {**found, "together": np.hstack(list(found.values()))}.items():
        groups[name] = most_misleading(propensity_scores(features, labels, patients), labels, patients)
    groups["order"] = ends_of_series(patients, table.subtype.to_numpy())
    groups = {name: mask for name, mask in groups.items() if len(np.unique(labels[mask])) == 2}
    table = table.assign(**groups)
    part = np.where(table[list(groups)].any(axis=1), "validation", "train")
    if (part == "train").sum() < 0.3 * len(table):
        raise InputError("The shifted split would leave too few images to train on; use split='random'.")
    return table.assign(part=part).reset_index(drop=True)
