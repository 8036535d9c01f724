"""The stress test: the same validation patients, seen as if through other scanners and by other operators.

A stress table holds what a network says of them: one row per validation image, with the columns path, label, patient,
the groups of a shifted split, `as it is` (the probability for the image as it is) and one column per corruption (the
probability for the corrupted image; NaN where an image wasn't corrupted).
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pnlib.augmentation import augment
from pnlib.base import files
from pnlib.base.errors import InputError
from pnlib.evaluation import metrics
from pnlib.shortcuts import GROUPS

if TYPE_CHECKING:
    from pnlib.classifier import Classifier

PLAIN = "as it is"


def corruptions(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Images as another operator or scanner might have made them: {name: (n, 150, 150, 1) uint8}, always the same.

    | name | what is done |
    | --- | --- |
    | zoom in, zoom out | both sides 0.25 closer, 0.3 farther; black moves in |
    | narrow | the width alone 0.3 farther: the chest looks slim |
    | aspect | the height 0.25 farther, the width 0.1 closer: it looks broad |
    | blur, sharpen | a Gaussian of 1.2 pixels; Keras' RandomSharpness at its strongest |
    | noise | normal, 8 gray levels |
    | gamma 0.7, gamma 1.5 | gray values in [0, 1] to this power: lighter, darker |
    | swapped | normals closer and blurred by 0.8 pixels, pneumonias farther: it argues for the wrong class |

    All but the last change every image alike.

    `images` are (n, 150, 150, 1) uint8, `labels` (n,) of 0 and 1, for `swapped` alone.
    """
    import scipy.ndimage

    def changed(layer: str, **arguments: tuple) -> np.ndarray:
        return (augment({layer: arguments}, images) * 255).round().astype(np.uint8)

    def zoomed(height: float, width: float) -> np.ndarray:
        return changed("RandomZoom", height_factor=(height, height), width_factor=(width, width))

    def gamma(exponent: float) -> np.ndarray:
        return ((images / 255.0) ** exponent * 255).round().astype(np.uint8)

    def blurred(pixels: np.ndarray, sigma: float) -> np.ndarray:
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
        "sharpen": changed("RandomSharpness", factor=(1.0, 1.0)),
        "noise": (images + noise).clip(0, 255).round().astype(np.uint8),
        "gamma 0.7": gamma(0.7),
        "gamma 1.5": gamma(1.5),
        "swapped": np.where(normal, blurred(closer, 0.8), farther),
    }


def stress_test(classifier: "Classifier", rows: pd.DataFrame, images: np.ndarray) -> pd.DataFrame:
    """Ask a network about validation images, as they are and under each of the `corruptions`.

    Corrupted are the images of the random group; all images, where there is no such group or it has fewer than 40
    images of a class.

    Args:
        classifier: a network with its preprocessing.
        rows: the validation images' rows, with the columns of `GROUPS` if a shifted split made them.
        images: theirs, (n, 150, 150, 1) uint8.

    Returns:
        The stress table (see the module's text), for `stress_summary` and `crossed_auroc`.

    >>> import numpy as np, pnlib
    >>> dataset = pnlib.find_dataset("demo")
    >>> rows = dataset.rows("train").iloc[::40]
    >>> stressed = pnlib.stress_test(pnlib.load_reference("compact"), rows, pnlib.load_images(dataset, rows))
    >>> stressed.shape, stressed.columns[-1]
    ((20, 14), 'swapped')
    """
    labels = rows.label.to_numpy()
    corrupted = rows["random"].to_numpy(bool) if "random" in rows else np.ones(len(rows), bool)
    if np.bincount(labels[corrupted], minlength=2).min() < 40:
        corrupted = np.ones(len(rows), bool)
    kept = ["path", "label", "patient", *(name for name in GROUPS if name in rows)]
    stressed = rows[kept].reset_index(drop=True).assign(**{PLAIN: classifier.predict(images)})
    for name, pixels in corruptions(images[corrupted], labels[corrupted]).items():
        stressed[name] = np.nan
        stressed.loc[corrupted, name] = classifier.predict(pixels)
    return stressed


def corruption_columns(stressed: pd.DataFrame) -> list[str]:
    """The columns of a stress table that are corruptions."""
    return [name for name in stressed if name not in ("path", "label", "patient", PLAIN, *GROUPS)]


def corrupted_rows(stressed: pd.DataFrame) -> pd.DataFrame:
    """The rows of a stress table whose images were corrupted."""
    return stressed[stressed[corruption_columns(stressed)].notna().all(axis=1)]


def stress_summary(stressed: pd.DataFrame, threshold: float = 0.5) -> pd.DataFrame:
    """How a network does on each group and under each corruption of the validation images.

    Returns:
        Indexed by name; columns kind (group, corruption), images, auroc, sensitivity, specificity, brier.
    """
    groups = {name: stressed[stressed[name]] for name in GROUPS if name in stressed} or {"random": stressed}
    if len(groups) > 1:
        groups["all"] = stressed
    lines = [("group", name, of_group.assign(probability=of_group[PLAIN])) for name, of_group in groups.items()]
    corrupted = corrupted_rows(stressed)
    lines += [
        ("corruption", name, corrupted.assign(probability=corrupted[name])) for name in corruption_columns(stressed)
    ]
    table = []
    for kind, name, predictions in lines:
        found = metrics(predictions, threshold)
        shown = {metric: found[metric] for metric in ("auroc", "sensitivity", "specificity", "brier")}
        table.append({"name": name, "kind": kind, "images": len(predictions)} | shown)
    return pd.DataFrame(table).set_index("name")


def crossed_auroc(stressed: pd.DataFrame) -> pd.DataFrame:
    """AUROC of normals under one corruption against pneumonias under another, for each pair.

    Where every image is corrupted alike, a network may follow the change and still rank well: both classes move
    together. But the truth doesn't depend on who took the picture, so any normal should rank below any pneumonia,
    however either was taken. The smallest value says which mixture of operators the network can't stand.

    Returns:
        (10, 10), indexed by the normals' corruption, with the pneumonias' as columns; all but `swapped`, which is such
        a mixture itself.
    """
    from sklearn.metrics import roc_auc_score

    corrupted = corrupted_rows(stressed)
    labels = corrupted.label.to_numpy()
    names = [PLAIN, *(name for name in corruption_columns(stressed) if name != "swapped")]
    truth = np.repeat([0, 1], np.bincount(labels, minlength=2))
    matrix = [
        [roc_auc_score(truth, np.r_[corrupted[a][labels == 0], corrupted[b][labels == 1]]) for b in names]
        for a in names
    ]
    return pd.DataFrame(matrix, index=pd.Index(names, name="normal"), columns=pd.Index(names, name="pneumonia"))


def write_stress(path: str | Path, stressed: pd.DataFrame) -> None:
    """Write a stress table as CSV, with nine significant digits: with fewer, probabilities near 1 become equal."""
    files.atomic_write(path, stressed.to_csv(index=False, float_format="%.9g"))


def read_stress(path: str | Path) -> pd.DataFrame:
    """A stress table as `write_stress` left it (InputError: no such file, or another one)."""
    try:
        table = pd.read_csv(path, dtype={"path": str, "patient": str}, keep_default_na=False, na_values={})
        changes = corruption_columns(table)
        table[changes] = table[changes].replace("", np.nan).astype(float)
        groups = [name for name in GROUPS if name in table]
        return table.astype({"label": int, "patient": str, PLAIN: float} | dict.fromkeys(groups, bool))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"Cannot read the stress table {path}; run 04_train again.") from error
