"""The steps before a network sees an image: standardize, local contrast, crop the chest.

Normal images of this dataset are framed wider than pneumonias, and are sharper and of another tone. A network that
sees the whole image as it is learns that. `PREPROCESSINGS` says by which names a training may ask for what.

The chest is found by matching a mean chest (`mean_chest.json`, made by benchmarks/mean_chest.py). After the crop the
image shows the same part of the body, however it was framed. What that is worth: docs/history.md.
"""

import concurrent.futures
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable

import numpy as np

from pnlib.base import files, paths
from pnlib.base.errors import InputError
from pnlib.base.machine import threads

MARGIN = 16  # gray levels of 255: darker counts as margin
SIGMA, FLOOR = 20.0, 12.0  # local contrast: sigma in pixels of its Gaussian, and a spread in gray levels that is none
COARSE = 56  # side in pixels of the coarse image in which the chest is searched
SIDES = np.round(np.arange(0.5, 1.01, 0.05), 2)  # heights and widths of a chest that are tried, as shares of the image
RATIOS = (0.62, 1.6)  # of height to width, where an image was squeezed into a square
USUAL = (0.73, 0.79)  # height and width of the mean chest of the training images
REACH, PENALTY = 0.12, 0.01  # a side off by a factor exp(0.12) costs 0.01 of correlation, twice as far 4 times that


@dataclasses.dataclass(frozen=True)
class View:
    """One way to show an image to a network, in two steps, with augmentation between them in training.

    `crop` takes uint8 images (n, side, side, 1) and gives the same shape and dtype (None: the whole image). `change`
    takes one image (h, w) float32 in [0, 1] and gives what the network sees, of the same shape. `span` holds the values
    that a figure shows as black and as white. `uncrop` takes maps of the crops (n, side, side) float32 and the images,
    and gives the maps as they lie on the images, 0 outside.
    """

    crop: Callable[[np.ndarray], np.ndarray] | None
    change: Callable[[np.ndarray], np.ndarray]
    span: tuple[float, float] = (0.0, 1.0)
    uncrop: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda maps, images: maps


class Preprocessing:
    """One view of an image, or several: a channel of the network's input each."""

    def __init__(self, *views: View) -> None:
        self.views = views

    def before_augmentation(self, images: np.ndarray) -> np.ndarray:
        """The first step: (n, h, w, 1) uint8 images to (n, h, w, views) uint8.

        Raises:
            InputError: another shape or dtype (gray in [0, 1], say).
        """
        check_images(images)
        shown = [images if view.crop is None else view.crop(images) for view in self.views]
        return shown[0] if len(shown) == 1 else np.concatenate(shown, axis=-1)

    def normalize(self, images: np.ndarray) -> np.ndarray:
        """The second step: (n, h, w, views) float32 in [0, 1] to what the network sees, the same shape and dtype."""
        seen = np.empty(images.shape, np.float32)
        for i, view in enumerate(self.views):
            for before, after in zip(images[..., i], seen[..., i], strict=True):
                after[:] = view.change(before)
        return seen

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Both steps, without augmentation: uint8 images to what the network sees, float32."""
        return self.normalize(as_float(self.before_augmentation(images)))

    def uncrop(self, maps: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Maps of what each view shows, (n, views, h, w), as they lie on the images, added: (n, h, w) float32."""
        return np.sum([view.uncrop(maps[:, i], images) for i, view in enumerate(self.views)], axis=0)

    def as_gray(self, seen: np.ndarray) -> np.ndarray:
        """What a network sees, for a figure: (n, h, views * w, 1) in [0, 1], the views side by side."""
        black, white = np.array([view.span for view in self.views], np.float32).T
        gray = np.clip((seen - black) / (white - black), 0, 1)
        return np.concatenate(np.split(gray, len(self.views), axis=3), axis=2)


def check_images(images: np.ndarray) -> None:
    """Refuse anything but (n, height, width, 1) uint8 (InputError)."""
    if np.ndim(images) != 4 or images.shape[3] != 1 or images.dtype != np.uint8:
        raise InputError(
            f"Images are (n, height, width, 1) uint8, from 0 to 255; got {np.shape(images)} {np.asarray(images).dtype}."
        )


def as_float(images: np.ndarray) -> np.ndarray:
    """Gray values from 0 to 255 as float32 from 0 to 1."""
    return images.astype(np.float32) / np.float32(255)


def looks_inverted(images: np.ndarray) -> np.ndarray:
    """Which of (n, h, w, 1) uint8 images show bone black: (n,) bool.

    In an X-ray of a chest the middle column, with spine and heart, is brighter than the corners: by 16 gray levels or
    more in 5,215 of the 5,216 training images. An image in which it is darker by as much counts as inverted.
    """
    height, width = (length // 10 for length in images.shape[1:3])
    rows, columns = np.ix_(np.r_[:height, -height:0], np.r_[:width, -width:0])
    middle = images[:, 3 * height : -3 * height, 4 * width : -4 * width]
    return middle.mean((1, 2, 3)) < images[:, rows, columns].mean((1, 2, 3)) - 16


def standardize(image: np.ndarray) -> np.ndarray:
    """Give an image the mean 0.5 and the standard deviation 0.25, so that exposure predicts nothing.

    Pixels up to 16 of 255 are margin, whose amount predicts the class in this dataset. They don't count. From (h, w)
    float32 in [0, 1] to the same shape and dtype; values may leave [0, 1].
    """
    inside = (image > MARGIN / 255).astype(np.float32)
    count = inside.sum() + 1
    mean = (image * inside).sum() / count
    variance = (inside * (image - mean) ** 2).sum() / count
    return (image - mean) / np.sqrt(variance + np.float32(1e-4)) * 0.25 + 0.5


def local_contrast(image: np.ndarray) -> np.ndarray:
    """Each pixel minus the mean of its surroundings, in units of their spread; 0 in the margin, clipped at -2 and 2.

    Mean and spread are Gaussian (sigma 20 pixels). 12 of 255 are added to the spread in quadrature, so that noise in
    flat places stays small. The margin (`standardize`) doesn't count as surroundings. From (h, w) float32 in [0, 1] to
    the same shape and dtype. Source: local contrast normalization of Jarrett et al., What is the Best Multi-Stage
    Architecture for Object Recognition?, ICCV 2009; leaving margins out is our own.
    """
    inside = (image > MARGIN / 255).astype(np.float32)
    weight = np.maximum(_gaussian_mean(inside), 1e-6)
    centred = (image - _gaussian_mean(image * inside) / weight) * inside
    spread = np.sqrt(_gaussian_mean(centred**2) / weight + (FLOOR / 255) ** 2)
    return (centred / spread).clip(-2, 2)


def _gaussian_mean(image: np.ndarray) -> np.ndarray:
    """The Gaussian mean around each pixel of (h, w) float32, with zeros beyond the edge.

    It is computed on 1/5 of the side. For a sigma of 20 pixels that changes little and is much faster.
    """
    import cv2

    height, width = image.shape
    sigma = SIGMA / 5
    reach = 2 * math.ceil(3 * sigma) + 1
    coarse = cv2.resize(image, (-(-width // 5), -(-height // 5)), interpolation=cv2.INTER_AREA)
    coarse = cv2.GaussianBlur(coarse, (reach, reach), sigma, borderType=cv2.BORDER_CONSTANT)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def crop_chest(images: np.ndarray) -> np.ndarray:
    """Find the chest, crop it, and even out its tone: (n, side, side, 1) uint8 to the same shape and dtype.

    Takes about 5 ms per image and core. In the result 127.5 is the mean of the surroundings, and 50 levels are one
    spread: local contrast as in `local_contrast`, but over the whole crop.
    """
    chests = crop(images, locate_chest(images), images.shape[1])
    return np.array(in_parallel(_even, chests), np.uint8).reshape(chests.shape)


def locate_chest(images: np.ndarray) -> np.ndarray:
    """Where the chest is: the box that correlates best with the mean chest, minus a penalty for unusual sides.

    Normalized cross-correlation (OpenCV's matchTemplate; Lewis, Fast Normalized Cross-Correlation, 1995) of locally
    normalized images of 56 x 56 pixels, for each height and width of `SIDES` and each place inside the image. It always
    finds something: where a chest is turned, or white with fluid, the box is off.

    Returns, of (n, side, side, 1) uint8, (n, 5) float64: score (correlation minus penalty, at most 1), top, left,
    height, width, as shares of the side.
    """
    check_images(images)
    if images.shape[1] != images.shape[2]:
        raise InputError(f"A chest is found in square images; got {images.shape[1]} x {images.shape[2]} pixels.")
    side = images.shape[1]
    return np.array(in_parallel(lambda image: _located(image.tobytes(), side), images)).reshape(-1, 5)


@functools.lru_cache(maxsize=128)  # `pnlib predict` asks twice: is it a chest, and where; Grad-CAM asks again
def _located(pixels: bytes, side: int) -> tuple[float, ...]:
    return best_match(coarse_image(np.frombuffer(pixels, np.uint8).reshape(side, side, 1)), _templates())


@functools.cache
def _templates() -> list[tuple[np.ndarray, float]]:
    return scaled_templates(mean_chest())


def crop(images: np.ndarray, boxes: np.ndarray, size: int) -> np.ndarray:
    """Cut out `boxes` of `locate_chest` and scale them, bilinearly: (n, side, side, 1) to (n, size, size, 1) uint8."""
    pairs = list(zip(images, boxes, strict=True))
    cut = in_parallel(lambda pair: crop_one(pair[0][..., 0], pair[1], size), pairs)
    return np.array(cut, np.uint8).reshape(len(images), size, size, 1)


@functools.cache
def mean_chest() -> np.ndarray:
    """The mean chest of the training images, (56, 56) float32, as it comes with the library."""
    return np.array(files.read_json(paths.PACKAGE / "mean_chest.json")["template"], np.float32)


def in_parallel(function: Callable, items: Iterable) -> list:
    """In order, on as many threads as this process may use: OpenCV lets others run meanwhile."""
    with concurrent.futures.ThreadPoolExecutor(threads()) as pool:
        return list(pool.map(function, items))


def coarse_image(image: np.ndarray) -> np.ndarray:
    """An image (side, side, 1) uint8 at 56 x 56, locally normalized (sigma of 7 pixels), float32."""
    import cv2

    gray = cv2.resize(image[..., 0], (COARSE, COARSE), interpolation=cv2.INTER_AREA)
    return _normalized(gray, 7.0, 15.0)


def _normalized(gray: np.ndarray, sigma: float, floor: float) -> np.ndarray:
    import cv2

    gray = gray.astype(np.float32)
    centred = gray - cv2.GaussianBlur(gray, (0, 0), sigma)
    return centred / np.sqrt(cv2.GaussianBlur(centred**2, (0, 0), sigma) + floor**2)


def scaled_templates(template: np.ndarray, penalty: float = PENALTY) -> list[tuple[np.ndarray, float]]:
    """The template at each size, with the penalty of that size."""
    import cv2

    sizes = [(h, w) for h, w in itertools.product(SIDES, SIDES) if RATIOS[0] <= h / w <= RATIOS[1]]
    return [
        (
            cv2.resize(template, (round(w * COARSE), round(h * COARSE)), interpolation=cv2.INTER_AREA),
            penalty * float((np.log(np.array([h, w]) / USUAL) ** 2).sum()) / REACH**2,
        )
        for h, w in sizes
    ]


def best_match(coarse: np.ndarray, templates: list[tuple[np.ndarray, float]]) -> tuple[float, ...]:
    """Score, top, left, height and width of the template that matches a `coarse_image` best."""
    import cv2

    best = (-np.inf, 0.0, 0.0, 1.0, 1.0)
    for template, penalty in templates:
        match = cv2.matchTemplate(coarse, template, cv2.TM_CCOEFF_NORMED)
        place = int(match.argmax())
        score = float(match.flat[place]) - penalty
        if score > best[0]:
            top, left = divmod(place, match.shape[1])
            height, width = template.shape
            best = (score, top / COARSE, left / COARSE, height / COARSE, width / COARSE)
    return best


def crop_one(image: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """One box out of one image (side, side), scaled to (size, size)."""
    import cv2

    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(
        image, _box_matrix(box, len(image), size), (size, size), flags=how, borderMode=cv2.BORDER_REPLICATE
    )


def _box_matrix(box: np.ndarray, side: int, size: int) -> np.ndarray:
    """From a pixel (x, y, 1) of a crop of this size to its place in an image of this side."""
    _, top, left, height, width = box
    down, right = height * side / size, width * side / size
    return np.array([[right, 0, left * side + (right - 1) / 2], [0, down, top * side + (down - 1) / 2]])


def _uncrop_chest(maps: np.ndarray, images: np.ndarray) -> np.ndarray:
    import cv2

    side = images.shape[1]
    return np.stack(
        [
            cv2.warpAffine(one, _box_matrix(box, side, len(one)), (side, side))
            for one, box in zip(maps, locate_chest(images), strict=True)
        ]
    )


def _even(image: np.ndarray) -> np.ndarray:
    return np.clip(127.5 + 50 * _normalized(image[..., 0], SIGMA, FLOOR), 0, 255).astype(np.uint8)


_WHOLE, _CHEST = View(None, local_contrast, span=(-2.0, 2.0)), View(crop_chest, standardize, uncrop=_uncrop_chest)
# What a training may ask for, by name. A new one is one line here.
PREPROCESSINGS: dict[str, Preprocessing] = {
    "none": Preprocessing(View(None, lambda image: image)),
    "standardize": Preprocessing(View(None, standardize)),
    "local_contrast": Preprocessing(_WHOLE),
    "crop_chest": Preprocessing(_CHEST),
    "two_views": Preprocessing(_WHOLE, _CHEST),
}
