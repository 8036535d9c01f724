"""Find the chest in an X-ray, and show a network that alone, its tone evened out.

Normals of this dataset are framed wider than pneumonias, and are sharper and of another tone; a network that sees the
whole image learns that. Here the chest is found by matching a template, and cropped: what then lies in the image is the
same part of the body, however it was framed, for all images alike. What that is worth: docs/experiments.md, phase 5.
"""

import concurrent.futures
import functools
import itertools
import json
from pathlib import Path

import numpy as np

from pnlib import runs
from pnlib.errors import InputError

SEARCHED = 56  # side in pixels of the coarse image in which the chest is searched
SIDES = np.round(np.arange(0.5, 1.01, 0.05), 2)  # heights and widths of a chest that are tried, as shares of the image
RATIOS = (0.62, 1.6)  # of height to width, where an image was squeezed into a square
USUAL = (0.73, 0.79)  # height and width of the mean chest of the training images
REACH, PRIOR = 0.12, 0.01  # a side off by a factor exp(0.12) costs 0.01 of correlation, twice as far four times that
LOCAL, FLOOR = 20.0, 12.0  # of the local contrast: sigma in pixels of its Gaussian, and a spread that counts as none
TEMPLATE = Path(__file__).with_name("chest.json")  # written by benchmarks/chest_template.py


def find(images: np.ndarray) -> np.ndarray:
    """Where the chest is: the crop that correlates best with the mean chest, less a penalty for unusual sides.

    Normalised cross-correlation (OpenCV's matchTemplate; Lewis, Fast Normalized Cross-Correlation, 1995) of locally
    normalised images of 56 x 56 pixels, for each height and width of `SIDES` and any place inside the image. It always
    finds something: where a chest is turned, or white with fluid, the crop is off.

    Args:
        images: (n, side, side, 1) uint8.

    Returns:
        (n, 5) float64: score (correlation less penalty, at most 1), top, left, height, width, as shares of the side.

    Raises:
        InputError: images of another shape or type.
    """
    _check(images)
    scaled = _scaled(stored())
    return np.array(_parallel(lambda image: _find(_coarse(image), scaled), images)).reshape(-1, 5)


def prepare(images: np.ndarray) -> np.ndarray:
    """The chests of (n, side, side, 1) uint8 images, in the same shape and dtype, each of the same place and tone.

    Found and cropped (`find`, `crop`); then each pixel less the mean of its surroundings, in units of their spread, so
    that a lung's brightness counts relative to what lies around it (local contrast normalisation: Jarrett et al., What
    is the Best Multi-Stage Architecture for Object Recognition?, ICCV 2009). 50 levels are one spread, 127.5 the mean.
    """
    chests = crop(images, find(images), images.shape[1])
    return np.array(_parallel(_even, chests), np.uint8).reshape(chests.shape)


def crop(images: np.ndarray, boxes: np.ndarray, size: int) -> np.ndarray:
    """Cut `boxes` of `find` out and scale them, bilinearly: (n, side, side, 1) uint8 to (n, size, size, 1) uint8."""
    pairs = list(zip(images, boxes, strict=True))
    return np.array(_parallel(lambda pair: _crop(pair[0][..., 0], pair[1], size), pairs), np.uint8).reshape(
        len(images), size, size, 1
    )


def learn(images: np.ndarray, labels: np.ndarray, rounds: int = 4) -> np.ndarray:
    """The mean chest, as many normals as pneumonias weighing in it: (56, 56) float32.

    It starts from the middle of the images; then, in turns, chests are found by their mean and the mean taken anew
    (congealing: Learned-Miller, Data Driven Image Models through Continuous Joint Alignment, IEEE TPAMI 2006). Each
    round keeps the mean place and size of the first, without which the frame would shrink from round to round.
    """
    _check(images)
    labels, whole = np.asarray(labels), np.stack([_coarse(image) for image in images])
    boxes = np.tile([0.0, 0.1, 0.1, 0.8, 0.8], (len(images), 1))
    for number in range(rounds):
        scaled = _scaled(_mean(whole, boxes, labels), prior=0.0)
        found = np.array(_parallel(functools.partial(_find, scaled=scaled), whole))
        if number:  # hold the mean of sizes and of centres
            sizes = found[:, 3:] * boxes[:, 3:].mean(0) / found[:, 3:].mean(0)
            centres, before = found[:, 1:3] + found[:, 3:] / 2, (boxes[:, 1:3] + boxes[:, 3:] / 2).mean(0)
            centres -= (centres.mean(0) - before) / found[:, 3:].mean(0) * found[:, 3:]
            found = np.column_stack([found[:, 0], centres - sizes / 2, sizes])
        boxes = found
    return _mean(whole, boxes, labels)


@functools.cache
def stored() -> np.ndarray:
    """The mean chest of the training images, (56, 56) float32, as it comes with the library."""
    return np.array(json.loads(TEMPLATE.read_text(encoding="utf-8"))["template"], np.float32)


def _check(images) -> None:
    shape = np.shape(images)
    if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 1 or images.dtype != np.uint8:
        raise InputError(
            f"Chests are found in square gray images, (n, side, side, 1) uint8; got {shape} {np.asarray(images).dtype}."
        )


def _parallel(function, items) -> list:
    """In order, on as many threads as this process may use: OpenCV lets others run meanwhile."""
    with concurrent.futures.ThreadPoolExecutor(runs.threads()) as pool:
        return list(pool.map(function, items))


def _coarse(image: np.ndarray) -> np.ndarray:
    """An image (side, side, 1) uint8 at 56 x 56, locally normalised (neighbourhood of 7 pixels), float32."""
    import cv2

    gray = cv2.resize(image[..., 0], (SEARCHED, SEARCHED), interpolation=cv2.INTER_AREA)
    return _local(gray, 7.0, 15.0)


def _local(gray: np.ndarray, sigma: float, floor: float) -> np.ndarray:
    import cv2

    gray = gray.astype(np.float32)
    centred = gray - cv2.GaussianBlur(gray, (0, 0), sigma)
    return centred / np.sqrt(cv2.GaussianBlur(centred**2, (0, 0), sigma) + floor**2)


def _mean(coarse: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean of what the boxes show, both classes weighing alike: (56, 56) float32."""
    means = [
        np.mean([_crop(coarse[i], boxes[i], SEARCHED) for i in np.flatnonzero(labels == label)], axis=0)
        for label in (0, 1)
    ]
    return np.mean(means, axis=0).astype(np.float32)


def _scaled(template: np.ndarray, prior: float = PRIOR) -> list:
    """The template at each size, with what that size costs: (template, penalty)."""
    import cv2

    sizes = [(h, w) for h, w in itertools.product(SIDES, SIDES) if RATIOS[0] <= h / w <= RATIOS[1]]
    return [
        (
            cv2.resize(template, (round(w * SEARCHED), round(h * SEARCHED)), interpolation=cv2.INTER_AREA),
            prior * float((np.log(np.array([h, w]) / USUAL) ** 2).sum()) / REACH**2,
        )
        for h, w in sizes
    ]


def _find(coarse: np.ndarray, scaled: list) -> tuple[float, float, float, float, float]:
    import cv2

    best = (-np.inf, 0.0, 0.0, 1.0, 1.0)
    for template, penalty in scaled:
        match = cv2.matchTemplate(coarse, template, cv2.TM_CCOEFF_NORMED)
        place = int(match.argmax())
        score = float(match.flat[place]) - penalty
        if score > best[0]:
            top, left = divmod(place, match.shape[1])
            height, width = template.shape
            best = (score, top / SEARCHED, left / SEARCHED, height / SEARCHED, width / SEARCHED)
    return best


def _crop(image: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    import cv2

    side, (_, top, left, height, width) = len(image), box
    down, right = height * side / size, width * side / size
    matrix = np.array([[right, 0, left * side + (right - 1) / 2], [0, down, top * side + (down - 1) / 2]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (size, size), flags=how, borderMode=cv2.BORDER_REPLICATE)


def _even(image: np.ndarray) -> np.ndarray:
    return np.clip(127.5 + 50 * _local(image[..., 0], LOCAL, FLOOR), 0, 255).astype(np.uint8)
