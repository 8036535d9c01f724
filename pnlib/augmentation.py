"""Random changes of training images: arguments and meaning of Keras' augmentation layers, computed by OpenCV.

A Keras layer draws from a counter that moves with each call, so a run that was interrupted, or that reads its input
with two threads, would see other images. Here each batch brings its own seed: `augment(images, seed)` is a pure
function.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pnlib.base.errors import InputError
from pnlib.base.machine import keras_on_tensorflow
from pnlib.preprocessing import as_float

# The presets, and the Keras layers that each stands for. Zoom and translation are shares of the image's side, rotation
# is a share of a full turn (0.028 is 10 degrees), contrast and brightness are factors.
_TONE: dict[str, dict] = {"RandomContrast": {"factor": 0.3}, "RandomBrightness": {"factor": 0.15}}
_TURNED: dict[str, dict] = {"RandomRotation": {"factor": 0.028}}
_SHIFTED: dict[str, dict] = {"RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1}}
_BLUR: dict[str, dict] = {"RandomGaussianBlur": {"factor": (0.0, 1.0), "kernel_size": 7, "sigma": (0.0, 1.0)}}
# as from another scanner and another operator: both sides zoomed independently, since squeezing to a square shows the
# original's aspect ratio; tone first, so that what moves in from outside stays black
_STRONG: dict[str, dict] = {
    "RandomFlip": {"mode": "horizontal"},
    **_TONE,
    "RandomSharpness": {"factor": (0.0, 1.0)},
    **_BLUR,
    **_TURNED,
    "RandomZoom": {"height_factor": (-0.35, 0.25), "width_factor": (-0.35, 0.25)},
    **_SHIFTED,
}
PRESETS: dict[str, dict] = {
    "none": {},
    "light": {**_TURNED, "RandomZoom": {"height_factor": 0.1}, **_SHIFTED, **_TONE},
    # as strong, but for images whose framing is alike already, since the chest was cropped
    "mild": {
        **_STRONG,
        "RandomZoom": {"height_factor": (-0.1, 0.05), "width_factor": (-0.1, 0.05)},
        "RandomTranslation": {"height_factor": 0.05, "width_factor": 0.05},
    },
    "strong": _STRONG,
}


def layers_of_views(augmentation: str | dict) -> list[dict]:
    """The layers and arguments of an augmentation, of each view: "strong+mild" is for two.

    Raises:
        InputError: no such preset.
    """
    if not isinstance(augmentation, str):
        return [augmentation]
    names = augmentation.split("+")
    for name in names:
        if name not in PRESETS:
            raise InputError(f"There is no augmentation {name!r}; there are {', '.join(PRESETS)}.")
    return [PRESETS[name] for name in names]


class _Change(NamedTuple):
    """What a layer does. `draw(layer, rng, n, height, width)` gives n draws, `apply(image, draw, layer)` uses one."""

    arguments: tuple[str, ...]
    draw: Callable[..., Any]
    apply: Callable[..., np.ndarray]


def _matrices(n: int, rows: list) -> np.ndarray:
    """n affine matrices (2, 3) of numbers or arrays (n,): from a pixel (x, y, 1) of the result to its place before."""
    matrices = np.empty((n, 2, 3))
    for i, row in enumerate(rows):
        for j, values in enumerate(row):
            matrices[:, i, j] = values
    return matrices


def _flips(layer: Any, rng: Any, n: int, height: int, width: int) -> np.ndarray:
    return np.stack([(rng.random(n) < 0.5) & (axis in layer.mode) for axis in ("vertical", "horizontal")], axis=1)


def _flip(image: np.ndarray, draw: np.ndarray, layer: Any) -> np.ndarray:
    return np.ascontiguousarray(np.flip(image, tuple(np.flatnonzero(draw).tolist())))


def _rotation(layer: Any, rng: Any, n: int, height: int, width: int) -> np.ndarray:
    angle = rng.uniform(*layer.factor, n) * 2 * np.pi
    cos, sin = np.cos(angle), np.sin(angle)
    return _about_centre(_matrices(n, [[cos, -sin, 0], [sin, cos, 0]]), height, width)


def _zoom(layer: Any, rng: Any, n: int, height: int, width: int) -> np.ndarray:
    y = x = 1 + rng.uniform(layer.height_lower, layer.height_upper, n)
    if layer.width_factor is not None:
        x = 1 + rng.uniform(layer.width_lower, layer.width_upper, n)
    return _about_centre(_matrices(n, [[x, 0, 0], [0, y, 0]]), height, width)


def _translation(layer: Any, rng: Any, n: int, height: int, width: int) -> np.ndarray:
    down = rng.uniform(layer.height_lower, layer.height_upper, n) * height
    right = rng.uniform(layer.width_lower, layer.width_upper, n) * width
    return _matrices(n, [[1, 0, -right], [0, 1, -down]])


def _shear(layer: Any, rng: Any, n: int, height: int, width: int) -> np.ndarray:
    way = rng.choice([-1, 1], n)
    x, y = (way * rng.uniform(low, high, n) for low, high in (layer.x_factor, layer.y_factor))
    return _matrices(n, [[1, x, 0], [y, 1, 0]])


def _about_centre(matrices: np.ndarray, height: int, width: int) -> np.ndarray:
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrices[:, :, 2] = centre - matrices[:, :, :2] @ centre
    return matrices


def _warp(image: np.ndarray, draw: np.ndarray, layer: Any) -> np.ndarray:
    import cv2

    return cv2.warpAffine(image, draw, image.shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def _uniform(layer: Any, rng: Any, n: int, height: int, width: int) -> np.ndarray:
    return rng.uniform(*layer.factor, n).astype(np.float32)


def _factors(layer: Any, rng: Any, n: int, height: int, width: int) -> np.ndarray:
    return rng.uniform(1 - layer.factor[0], 1 + layer.factor[1], n).astype(np.float32)


def _contrast(image: np.ndarray, draw: float, layer: Any) -> np.ndarray:
    mean = image.mean()
    return ((image - mean) * draw + mean).clip(0, 1)


def _sharpness(image: np.ndarray, draw: float, layer: Any) -> np.ndarray:
    import cv2

    smooth = np.full((3, 3), 1 / 13, np.float32)
    smooth[1, 1] = 5 / 13
    smoothed = cv2.filter2D(image, -1, smooth, borderType=cv2.BORDER_CONSTANT)
    return (image + (1 - 2 * draw) * (smoothed - image)).clip(0, 1)


def _blurs(layer: Any, rng: Any, n: int, height: int, width: int) -> list:
    wanted = rng.random(n) < rng.uniform(*layer.factor, n)
    return list(zip(wanted, rng.uniform(layer.sigma[0], layer.sigma[1], (n, 2)), strict=True))


def _blur(image: np.ndarray, draw: tuple, layer: Any) -> np.ndarray:
    import cv2

    wanted, (x, y) = draw
    if not wanted:
        return image
    kernel = [int(side) for side in layer.kernel_size]
    return cv2.GaussianBlur(image, kernel, x + 1e-6, sigmaY=y + 1e-6, borderType=cv2.BORDER_CONSTANT)


def _rectangles(layer: Any, rng: Any, n: int, height: int, width: int) -> list:
    wanted = rng.random(n) < rng.uniform(*layer.factor, n)
    sides = np.sqrt(rng.uniform(layer.scale[0], layer.scale[1], (n, 2))) * (height, width)
    starts = rng.random((n, 2)) * ((height, width) - sides)
    noise = np.random.default_rng(rng.integers(2**63))
    return [(use, *np.ceil([a, a + b]).astype(int), noise) for use, a, b in zip(wanted, starts, sides, strict=True)]


def _erasing(image: np.ndarray, draw: tuple, layer: Any) -> np.ndarray:
    wanted, start, end, noise = draw
    if wanted:
        image = image.copy()
        inside = image[start[0] : end[0], start[1] : end[1]]
        inside[:] = noise.normal(size=inside.shape).clip(0, 1) if layer.fill_value is None else layer.fill_value
    return image


class GaussianNoise:
    """Normal noise, as of a weak exposure, stronger on some images than on others.

    Keras' layer of this name has one strength for all images.

    Args:
        stddev: the largest standard deviation, in gray values from 0 to 1. Each image's own is drawn uniformly from
            0 to it.
    """

    def __init__(self, stddev: float) -> None:
        if isinstance(stddev, bool) or not isinstance(stddev, int | float) or not 0 <= stddev <= 1:
            raise ValueError(f"stddev={stddev!r} is not a number from 0 to 1")
        self.factor = (0.0, stddev)


def _noise(layer: Any, rng: Any, n: int, height: int, width: int) -> np.ndarray:
    return rng.normal(0, _uniform(layer, rng, n, height, width)[:, None, None], (n, height, width)).astype(np.float32)


# The layers that an augmentation of one's own may have, and the arguments of each.
LAYERS: dict[str, _Change] = {
    "RandomFlip": _Change(("mode",), _flips, _flip),
    "RandomRotation": _Change(("factor",), _rotation, _warp),
    "RandomZoom": _Change(("height_factor", "width_factor"), _zoom, _warp),
    "RandomTranslation": _Change(("height_factor", "width_factor"), _translation, _warp),
    "RandomShear": _Change(("x_factor", "y_factor"), _shear, _warp),
    "RandomContrast": _Change(("factor",), _factors, _contrast),
    "RandomBrightness": _Change(("factor",), _uniform, lambda image, draw, _: (image + draw).clip(0, 1)),
    "RandomSharpness": _Change(("factor",), _uniform, _sharpness),
    "RandomGaussianBlur": _Change(("factor", "kernel_size", "sigma"), _blurs, _blur),
    "RandomErasing": _Change(("factor", "scale", "fill_value"), _rectangles, _erasing),
    "GaussianNoise": _Change(("stddev",), _noise, lambda image, draw, _: image + draw),
}


def build_augmentation(preset: str | dict) -> Callable[[np.ndarray, Any], np.ndarray] | None:
    """Build an augmentation function.

    Args:
        preset: a name of `PRESETS`; two of them joined by a plus, one for each view of an image; or a dictionary of
            Keras layer names with their arguments (`LAYERS`).

    Returns:
        `augment(images, seed)`: images (n, h, w, views) float32 in [0, 1] to the same shape, dtype and range; seed is a
        number or several. The same seed gives the same images. Each view is changed by itself. Pixels that move in from
        outside are black, like the dataset's own margins. None for a preset without layers.

    Raises:
        InputError: no such preset or layer, or a layer refuses an argument.
    """
    views = [
        {name: _make_layer(name, arguments) for name, arguments in layers.items()} for layers in layers_of_views(preset)
    ]
    if not any(views):
        return None

    def augment(images: np.ndarray, seed: Any) -> np.ndarray:
        changed = np.empty_like(images)
        for i, layers in enumerate(views):
            rng = np.random.default_rng([*np.atleast_1d(seed), i] if i else seed)  # the first view: as if it were alone
            changed[..., i] = _augmented(np.ascontiguousarray(images[..., i]), layers, rng)
        return changed.clip(0, 1, out=changed)

    return augment


def _augmented(images: np.ndarray, layers: dict, rng: np.random.Generator) -> list[np.ndarray]:
    """One view of each image, (n, h, w) float32, changed by these layers."""
    n, height, width = images.shape
    draws = {name: LAYERS[name].draw(layer, rng, n, height, width) for name, layer in layers.items()}
    changed = list(images)
    for i, image in enumerate(changed):
        for name, layer in layers.items():
            image = LAYERS[name].apply(image, draws[name][i], layer)
        changed[i] = image
    return changed


def _make_layer(name: str, arguments: dict) -> Any:
    """A Keras image layer, which checks its arguments and holds them; or our `GaussianNoise`."""
    keras_on_tensorflow()
    import keras

    if name not in LAYERS:
        raise InputError(f"There is no augmentation layer {name!r}; there are {', '.join(LAYERS)}.")
    known = LAYERS[name].arguments
    try:
        if unknown := set(arguments) - set(known):
            raise ValueError(f"it takes {', '.join(known)}, not {', '.join(sorted(unknown))}")
        if not isinstance(arguments.get("fill_value"), int | float | None):
            raise ValueError("fill_value is one gray value from 0 to 1, or None for noise")
        return GaussianNoise(**arguments) if name == "GaussianNoise" else getattr(keras.layers, name)(**arguments)
    except (TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"The augmentation layer {name} can't be made of {arguments}: {reason}") from error


def augment(preset: str | dict, images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Augment images once, to look at them.

    Args:
        preset: a name of `PRESETS`, or Keras layers with their arguments.
        images: (n, h, w, 1), uint8 or float in [0, 1].
        seed: the same seed gives the same changes.

    Returns:
        The same shape, float32 in [0, 1].

    Raises:
        InputError: no such preset or one for several views, an argument that a layer refuses, or images of another
            shape, dtype or range.

    >>> import numpy as np, pnlib
    >>> image = np.zeros((1, 150, 150, 1), np.uint8)
    >>> image[0, 75, 75] = 255
    >>> moved = pnlib.augment({"RandomTranslation": {"height_factor": (0.1, 0.1), "width_factor": 0.0}}, image)
    >>> [int(place) for place in np.argwhere(moved[0, ..., 0])[0]]
    [90, 75]
    """
    floats = np.issubdtype(images.dtype, np.floating) and np.all((images >= 0) & (images <= 1))
    if np.ndim(images) != 4 or images.shape[3] != 1 or not (floats or images.dtype == np.uint8):
        raise InputError(
            "Images to augment are (n, height, width, 1), uint8 or float from 0 to 1; got "
            f"{np.shape(images)} {images.dtype} up to {np.max(images, initial=0):g}."
        )
    pixels = as_float(images) if images.dtype == np.uint8 else images.astype(np.float32)
    if len(layers_of_views(preset)) > 1:
        raise InputError(f"augmentation={preset!r} is for several views of an image, and these images are one.")
    change = build_augmentation(preset)
    return pixels if change is None else change(pixels, [seed, 0])
