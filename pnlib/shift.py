"""Validation that feels a shift, made from training patients alone.

In this dataset framing, tone and even a coarse thumbnail predict the label, and do so less on test images. Patients
drawn at random can't show what a network owes to that. Here validation patients are those for whom one such shortcut
argues for the wrong class, so that whoever leans on it loses; and images are changed as another scanner or operator
would change them. Which held-out data predicts best is debated: splits of greatest distance (arXiv 2405.19461), plain
ones (DomainBed, arXiv 2007.01434). `06_study` compares the groups below with plain validation patients; far
clusters ranked recipes as those do and were left out (docs/experiments.md, phase 2).

| group | validation patients |
| --- | --- |
| random | drawn at random |
| framing | normals whose margins and projection profiles look most like pneumonia's, and the reverse |
| tone | the same by brightness, contrast and sharpness |
| thumbnail | the same by a thumbnail of 6 x 6 pixels |
| together | the same by all of these properties at once: no shortcut among them is left |
| order | those with the lowest numbers of their series, as the published test part was made |
"""

import numpy as np
import pandas as pd

from pnlib import augment, evaluate, framing
from pnlib.errors import InputError

GROUPS = ("random", "framing", "tone", "thumbnail", "together", "order")
SHARE = 0.12  # of each class's images, in each group but random (0.08)
SPLITS = ("random", "shifted")


def properties(images: np.ndarray) -> dict[str, np.ndarray]:
    """Properties that are no disease, from (n, 150, 150, 1) uint8: {'framing': (n, 22), 'tone': (n, 11),
    'thumbnail': (n, 36)} float64.

    framing: share of black, of black at the sides, of black in the two outermost strips (10 pixels) of each side, and
    the gray profile of the three outermost strips of each side in units of its own spread. tone: mean, spread,
    gradients, Laplacian, percentiles of the gray levels. thumbnail: mean gray level on a 6 x 6 grid.
    """
    found = {"framing": [], "tone": [], "thumbnail": []}
    simple = framing.measure(images)
    for start in range(0, len(images), 256):
        gray = images[start : start + 256, ..., 0].astype(np.float32)
        n, strips = len(gray), gray.shape[1] // 10
        gray = gray[:, : strips * 10, : strips * 10]
        black = gray < framing.BLACK
        margins = [black.mean(axis).reshape(n, strips, 10).mean(2)[:, [0, 1, -2, -1]] for axis in (1, 2)]
        profiles = [gray.mean(axis).reshape(n, strips, 10).mean(2) for axis in (1, 2)]
        scaled = [(p - p.mean(1, keepdims=True)) / (p.std(1, keepdims=True) + 1e-3) for p in profiles]
        found["framing"].append(np.hstack([*margins, *(p[:, [0, 1, 2, -3, -2, -1]] for p in scaled)]))
        across = np.abs(np.diff(gray, axis=2)).mean((1, 2))
        neighbours = gray[:, :-2, 1:-1] + gray[:, 2:, 1:-1] + gray[:, 1:-1, :-2] + gray[:, 1:-1, 2:]
        laplacian = np.abs(4 * gray[:, 1:-1, 1:-1] - neighbours).mean((1, 2))
        levels = np.percentile(gray.reshape(n, -1), [1, 10, 50, 90, 99], axis=1).T
        found["tone"].append(np.column_stack([across, laplacian, laplacian / (across + 0.1), levels]))
        side = gray.shape[1] // 6
        found["thumbnail"].append(
            gray[:, : side * 6, : side * 6].reshape(n, 6, side, 6, side).mean((2, 4)).reshape(n, 36)
        )
    found = {name: np.concatenate(parts).astype(np.float64) for name, parts in found.items()}
    found["framing"] = np.hstack([simple[["black_share", "margin"]], found["framing"]])
    found["tone"] = np.hstack([simple[["brightness", "contrast", "sharpness"]], found["tone"]])
    return found


def argues_for_pneumonia(features, labels, patients) -> np.ndarray:
    """Probability of pneumonia by logistic regression on features (n, k) alone, each image judged by a fit on other
    patients (five folds): (n,) in [0, 1]."""
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    return cross_val_predict(framing.baseline(), features, labels, groups=patients, cv=folds, method="predict_proba")[
        :, 1
    ]


def shares(images, labels, patients) -> np.ndarray:
    """How often a balancing by overlap is to draw each image, relative to others of its class: (n,) in [0.12, 1.08].

    0.1 plus the probability, by framing and tone alone, of the *other* class: images for which the shortcut argues
    wrongly are drawn most, those that it suffices for hardly. The overlap weights of Li, Morgan and Zaslavsky
    (Balancing Covariates via Propensity Score Weighting, JASA 2018), bounded from below so that any image may come.

    Args:
        images: training images alone (n, 150, 150, 1) uint8; labels, patients: theirs, (n,).

    Raises:
        InputError: fewer than ten patients of a class.
    """
    labels = np.asarray(labels)
    if pd.Series(patients).groupby(labels).nunique().min() < 10:
        raise InputError("balancing='overlap' needs at least ten patients of each class; use 'oversample'.")
    found = properties(images)
    pneumonia = np.mean(
        [argues_for_pneumonia(found[name], labels, patients) for name in ("framing", "tone")], axis=0
    ).clip(0.02, 0.98)
    return np.round(0.1 + np.where(labels == 1, 1 - pneumonia, pneumonia), 4)


def counter(argument, labels, patients, share: float = SHARE) -> np.ndarray:
    """Which images belong to the patients for whom `argument` speaks most for the other class: (n,) bool, about `share`
    of each class's images, patients whole."""
    table = pd.DataFrame({"patient": patients, "label": labels, "argument": argument})
    means = table.groupby(["label", "patient"]).argument.agg(["mean", "size"]).reset_index()
    held = []
    for label, of_class in means.groupby("label"):
        ordered = of_class.sort_values(["mean", "patient"], ascending=label == 1)
        held += list(ordered.patient[ordered["size"].cumsum() <= share * ordered["size"].sum()])
    return np.isin(patients, held)


def ends(patients, subtypes, share: float = SHARE) -> np.ndarray:
    """Which images belong to the patients with the lowest numbers of their series, as in the published test part: (n,)
    bool, about `share` of each series.

    The test part was not drawn at random: file names show that it holds the lowest numbers of both series of normals
    and low ones of bacterial pneumonia, and both ends of the viral ones (half of the share each, here too). Names
    without a number are left out.
    """
    names = pd.Series(patients, dtype=str)
    number = pd.to_numeric(names.str.extract(r"(?:person|IM-)(\d+)$")[0])
    series = names.str.replace(r"\d+$", "", regex=True) + "/" + pd.Series(subtypes, dtype=str)
    ranks = number.groupby(series)
    from_below, from_above = ranks.rank(pct=True, method="max"), 1 - ranks.rank(pct=True, method="min")
    viral = series.str.endswith("/virus")
    ends = np.where(viral, (from_below <= share / 2) | (from_above < share / 2), from_below <= share)
    return np.isin(patients, names[ends & number.notna()].unique())


def split(table: pd.DataFrame, images: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Hold out the patients of all `GROUPS` as validation; the others train.

    A training part made so leans on its shortcuts more than the whole does, and a network that gives in to that loses
    on the groups: absolute figures are pessimistic, comparisons between recipes are the point.

    Args:
        table: rows of the training split of an index table (no test images).
        images: theirs, (n, 150, 150, 1) uint8.
        seed: of the random group.

    Returns:
        The table with `part` (train, validation) and one bool column a group (an image may be in several).

    Raises:
        InputError: test images in the table, or too few patients.
    """
    if (table.split != "train").any():
        raise InputError("Validation under a shift is made from training images alone; drop the others from the table.")
    labels, patients = table.label.to_numpy(), table.patient.to_numpy()
    if table.groupby("label").patient.nunique().min() < 40:
        raise InputError("A shifted validation needs at least 40 patients of each class; use split='random'.")
    found = properties(images)
    groups = {}
    names = np.unique(patients)
    groups["random"] = np.isin(patients, np.random.default_rng(seed).permutation(names)[: round(0.08 * len(names))])
    for name, features in {**found, "together": np.hstack(list(found.values()))}.items():
        groups[name] = counter(argues_for_pneumonia(features, labels, patients), labels, patients)
    groups["order"] = ends(patients, table.subtype.to_numpy())
    groups = {name: mask for name, mask in groups.items() if len(np.unique(labels[mask])) == 2}
    table = table.assign(**groups)
    part = np.where(table[list(groups)].any(axis=1), "validation", "train")
    if (pd.Series(part) == "train").sum() < 0.3 * len(table):
        raise InputError("A shifted validation would leave too few images to train on; use split='random'.")
    return table.assign(part=part).reset_index(drop=True)


def changed(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Images as another operator or scanner might have made them: {name: (n, 150, 150, 1) uint8}, always the same.

    | name | what is done |
    | --- | --- |
    | zoom in, zoom out | both sides a quarter closer, three tenths farther; black moves in |
    | narrow | the width alone three tenths farther: the chest looks slim |
    | aspect | the height a quarter farther, the width a tenth closer: it looks broad |
    | blur, sharpen | a Gaussian of 1.2 pixels; Keras' RandomSharpness at its strongest |
    | noise | normal, 8 gray levels |
    | gamma 0.7, gamma 1.5 | gray values in [0, 1] to this power: lighter, darker |
    | swapped | normals closer and blurred by 0.8 pixels, pneumonias farther: it argues for the wrong class |

    All but the last change every image alike.

    Args:
        images: (n, 150, 150, 1) uint8.
        labels: (n,) of 0 and 1, for `swapped` alone.
    """
    import scipy.ndimage

    def zoomed(height, width):
        arguments = {"RandomZoom": {"height_factor": (height, height), "width_factor": (width, width)}}
        return (augment.apply(arguments, images) * 255).round().astype(np.uint8)

    def gamma(exponent):
        return ((images / 255.0) ** exponent * 255).round().astype(np.uint8)

    def blurred(pixels, sigma):
        return np.stack([scipy.ndimage.gaussian_filter(image, (sigma, sigma, 0)) for image in pixels])

    closer, farther = zoomed(-0.25, -0.25), zoomed(0.3, 0.3)
    noise = np.random.default_rng(0).normal(0, 8, images.shape)
    normal = (np.asarray(labels) == 0)[:, None, None, None]
    return {
        "zoom in": closer,
        "zoom out": farther,
        "narrow": zoomed(0.0, 0.3),
        "aspect": zoomed(0.25, -0.1),
        "blur": blurred(images, 1.2),
        "sharpen": (augment.apply({"RandomSharpness": {"factor": (1.0, 1.0)}}, images) * 255).round().astype(np.uint8),
        "noise": (images + noise).clip(0, 255).round().astype(np.uint8),
        "gamma 0.7": gamma(0.7),
        "gamma 1.5": gamma(1.5),
        "swapped": np.where(normal, blurred(closer, 0.8), farther),
    }


def answers(network, images: np.ndarray, rows: pd.DataFrame, preparation: str = "") -> dict[str, np.ndarray]:
    """What a network says of validation images, as they are and changed: the input of `judge` and of `crossed`.

    Args:
        network: images in [0, 1] to probabilities.
        images, rows: validation images (n, 150, 150, 1) uint8, and their rows.
        preparation: the one that the network was trained with, see `evaluate.predict`.

    Returns:
        {"all": (n,), each change: (m,)} probabilities; changed are the m images of the random group (all images, where
        there are fewer than 40 of a class in it).
    """
    base = _base(rows)
    seen = {"all": images} | changed(images[base], rows.label.to_numpy()[base])
    return {name: evaluate.predict(network, pixels, preparation=preparation) for name, pixels in seen.items()}


def table(answers: dict[str, np.ndarray], rows: pd.DataFrame) -> pd.DataFrame:
    """The answers as a run folder keeps them (`answers.csv`), so that any other question can be asked of them later.

    Args:
        answers, rows: as of `judge`.

    Returns:
        One row a validation image: path, label, patient, the groups, `all` and each change: the probability of the
        image as it is and changed; NaN where an image wasn't changed.
    """
    base = _base(rows)
    kept = rows[["path", "label", "patient", *(name for name in GROUPS if name in rows)]].reset_index(drop=True)
    for name, probabilities in answers.items():
        kept[name] = np.nan
        kept.loc[base if name != "all" else np.ones(len(rows), bool), name] = probabilities
    return kept


def judge(answers: dict[str, np.ndarray], rows: pd.DataFrame, threshold: float = 0.5) -> pd.DataFrame:
    """How a network does on each group and under each change of the validation images.

    Args:
        answers: of `answers`.
        rows: those of the same images; columns of `GROUPS` where they were made by `split`, else all count as random.

    Returns:
        Indexed by name; columns kind (group, change), images, auroc, sensitivity, specificity, brier.
    """
    groups = {name: rows[name].to_numpy(bool) for name in GROUPS if name in rows} or {
        "random": np.ones(len(rows), bool)
    }
    labels, base = rows.label.to_numpy(), _base(rows)
    lines = [("group", name, labels[mask], answers["all"][mask]) for name, mask in groups.items()]
    if len(groups) > 1:
        lines.append(("group", "all", labels, answers["all"]))
    lines += [("change", name, labels[base], answer) for name, answer in answers.items() if name != "all"]
    table = []
    for kind, name, truth, answer in lines:
        figures = evaluate.metrics(truth, answer, threshold)
        table.append({"name": name, "kind": kind, "images": len(truth)} | {m: figures[m] for m in COLUMNS})
    return pd.DataFrame(table).set_index("name")


def _base(rows: pd.DataFrame) -> np.ndarray:
    """The validation images that are changed: the random group, or all where that has fewer than 40 of a class."""
    base = rows["random"].to_numpy(bool) if "random" in rows else np.ones(len(rows), bool)
    enough = np.bincount(rows.label.to_numpy()[base], minlength=2).min() >= 40
    return base if enough else np.ones(len(rows), bool)


def crossed(answers: dict[str, np.ndarray], rows: pd.DataFrame) -> pd.DataFrame:
    """AUROC of normals seen through one change against pneumonias seen through another, for each pair of changes.

    Where every image is changed alike, a network may follow the change and still rank well: both classes move together.
    But the truth doesn't depend on who took the picture, so any normal should rank below any pneumonia, however either
    was taken. The smallest figure of the matrix says which mixture of operators the network can't stand.

    Args:
        answers, rows: as of `judge`; all changes but `swapped`, which is such a mixture itself.

    Returns:
        (10, 10), indexed by the normals' change, with the pneumonias' change as columns; `as it is` stands for none.
    """
    from sklearn.metrics import roc_auc_score

    base = _base(rows)
    labels = rows.label.to_numpy()[base]
    seen = {"as it is": answers["all"][base]} | {n: a for n, a in answers.items() if n not in ("all", "swapped")}
    truth = np.repeat([0, 1], np.bincount(labels, minlength=2))
    matrix = [
        [roc_auc_score(truth, np.r_[normal[labels == 0], ill[labels == 1]]) for ill in seen.values()]
        for normal in seen.values()
    ]
    return pd.DataFrame(matrix, index=pd.Index(seen, name="normal"), columns=pd.Index(seen, name="pneumonia"))


COLUMNS = ("auroc", "sensitivity", "specificity", "brier")
