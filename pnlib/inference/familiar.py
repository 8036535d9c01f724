"""Is this one of the kind of images that the networks were trained on?

A network gives a probability for any picture, a photograph or noise too. Two likenesses, which need no label, say
whether the question makes sense: how well a chest is found in the image, and how much the image as a whole is like the
mean training image. Each has a threshold below which about 1 in 200 training images lies (benchmarks/familiar.py), so
about 1 in 100 is refused. How other pictures fare: docs/predict.md.
"""

import functools

import numpy as np
import pandas as pd

from pnlib.base import files, paths
from pnlib.preprocessing import PREPROCESSINGS, locate_chest

SIDE = 30  # pixels of the mean image, in local contrast


def thumbnails(images: np.ndarray) -> np.ndarray:
    """(n, 150, 150, 1) uint8 images in local contrast, small: (n, 30, 30) float32."""
    import cv2

    seen = PREPROCESSINGS["local_contrast"](images)[..., 0]
    return np.stack([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in seen])


def likenesses(images: np.ndarray, mean: np.ndarray | None = None) -> pd.DataFrame:
    """How like a chest X-ray of the training images (n, 150, 150, 1) uint8 images are.

    Args:
        images: as `decode` gives them.
        mean: of training thumbnails, (30, 30); by default the stored one.

    Returns:
        Columns `chest` (the score of `locate_chest`, at most 1) and `whole` (correlation of the thumbnail with the mean
        one, from -1 to 1), one row per image.
    """
    mean = stored()["mean"] if mean is None else mean
    centred = [image - image.mean() for image in (mean, *thumbnails(images))]
    whole = [
        (centred[0] * one).sum() / max(np.sqrt((centred[0] ** 2).sum() * (one**2).sum()), 1e-9) for one in centred[1:]
    ]
    return pd.DataFrame({"chest": locate_chest(images)[:, 0], "whole": whole})


def nearest(one: np.ndarray, many: np.ndarray, count: int) -> np.ndarray:
    """Places of the `count` rows of `many` (n, k) that have the largest cosine similarity with `one` (k,), best first.

    Made for `Classifier.features`: which training images look most alike to a network?
    """
    similarity = (many @ one) / np.maximum(np.linalg.norm(many, axis=1), 1e-9)
    return np.argsort(-similarity, kind="stable")[:count]


@functools.cache
def stored() -> dict:
    """What benchmarks/familiar.py found: `mean`, (30, 30) float32, and the thresholds `chest` and `whole`."""
    found = files.read_json(paths.PACKAGE / "familiar.json")
    return found | {"mean": np.array(found["mean"], np.float32)}


def objections(likeness: pd.DataFrame) -> list[str]:
    """What speaks against each image of `likenesses`, in words; '' where nothing does."""
    chest, whole = likeness.chest < stored()["chest"], likeness.whole < stored()["whole"]
    no_chest, unlike = "no chest is found in it", "as a whole it is unlike the training images"
    return [
        " and ".join(words[flag] for flag, words in ((c, ("", no_chest)), (w, ("", unlike))) if flag)
        for c, w in zip(chest, whole, strict=True)
    ]
