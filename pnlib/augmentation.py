"""Random changes of training images: Keras layers, in batches, seeded without state.

A Keras layer draws from a counter that moves with each call, so a run that was interrupted, or that reads its input
with two threads, would see other images. Here each batch brings its own seed (the run's seed, the number of the step)
and the layers draw from that alone: `augment(images, seed)` is a pure function.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from pnlib.base.errors import InputError
from pnlib.base.machine import keras_on_tensorflow

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
# The layers that an augmentation of one's own may have.
LAYERS = ("RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomShear", "RandomContrast",
          "RandomBrightness", "RandomSharpness", "RandomGaussianBlur", "RandomErasing", "GaussianNoise")  # fmt: skip


def build_augmentation(preset: str | dict) -> Callable[[Any, Any], Any] | None:
    """Build an augmentation function.

    Args:
        preset: a name of `PRESETS`, or a dictionary of Keras layer names with their arguments.

    Returns:
        `augment(images, seed)`: images (n, h, w, 1) float32 in [0, 1] to the same shape, dtype and range; seed is two
        int32. The same seed gives the same images. Pixels that move in from outside are black, like the dataset's own
        margins. The images stay float32 under any precision policy. None for a preset without layers.

    Raises:
        InputError: no such preset or layer, or a layer refuses an argument.
    """
    keras_on_tensorflow()
    import keras
    import tensorflow as tf

    if isinstance(preset, str) and preset not in PRESETS:
        raise InputError(f"There is no augmentation {preset!r}; there are {', '.join(PRESETS)}.")

    class BatchSeed(keras.random.SeedGenerator):
        """A seed generator that counts from a batch's seed on, instead of from a variable of its own."""

        def __init__(self, seed: Any) -> None:
            self.seed, self.drawn = tf.cast(seed, tf.int32), 0

        def next(self, ordered: bool = True) -> Any:
            self.drawn += 1
            # Threefry wants two numbers: mix the step and the number of the draw so that no two draws share a pair.
            return tf.stack([self.seed[0], self.seed[1] * 64 + self.drawn])

    chosen = PRESETS[preset] if isinstance(preset, str) else preset
    layers = [_make_layer(name, arguments) for name, arguments in chosen.items()]
    if not layers:
        return None

    def augment(images: Any, seed: Any) -> Any:
        generator = BatchSeed(seed)
        for layer in layers:
            change = layer.get_random_transformation(images, training=True, seed=generator)
            images = layer.transform_images(images, change, training=True)
        return tf.clip_by_value(images, 0.0, 1.0)

    return augment


def _make_layer(name: str, arguments: dict) -> Any:
    """A Keras image layer for pixels in [0, 1] that fills with black what moves in; or our `GaussianNoise`.

    It is float32 whatever the policy: under mixed_bfloat16 a layer would emit images of 8 significant bits.
    """
    import keras

    if name not in LAYERS:
        raise InputError(f"There is no augmentation layer {name!r}; there are {', '.join(LAYERS)}.")
    kind: Any = GaussianNoise
    extra: dict[str, Any] = {}
    if name != "GaussianNoise":
        kind, extra = getattr(keras.layers, name), {"dtype": "float32"}
    if name in ("RandomRotation", "RandomZoom", "RandomTranslation", "RandomShear"):
        extra |= {"fill_mode": "constant", "fill_value": 0.0}
    if name in ("RandomContrast", "RandomBrightness", "RandomSharpness", "RandomGaussianBlur", "RandomErasing"):
        extra |= {"value_range": (0.0, 1.0)}
    try:
        return kind(**extra, **arguments)
    except (TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"The augmentation layer {name} can't be made of {arguments}: {reason}") from error


class GaussianNoise:
    """Normal noise, as of a weak exposure, stronger on some images than on others.

    Keras' layer of this name has one strength for all images, and draws from a state of its own.

    Args:
        stddev: the largest standard deviation, in gray values from 0 to 1. Each image's own is drawn uniformly from
            0 to it.
    """

    def __init__(self, stddev: float) -> None:
        if isinstance(stddev, bool) or not isinstance(stddev, int | float) or not 0 <= stddev <= 1:
            raise ValueError(f"stddev={stddev!r} is not a number from 0 to 1")
        self.stddev = stddev

    def get_random_transformation(self, images: Any, training: bool = True, seed: Any = None) -> Any:
        import tensorflow as tf

        shape = tf.shape(images)
        strength = tf.random.stateless_uniform((shape[0], 1, 1, 1), seed.next(), 0.0, self.stddev)
        return strength * tf.random.stateless_normal(shape, seed.next())

    def transform_images(self, images: Any, transformation: Any, training: bool = True) -> Any:
        return images + transformation


def augment(preset: str | dict, images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Augment images once, to look at them.

    Args:
        preset: a name of `PRESETS`, or Keras layers with their arguments.
        images: (n, h, w, 1), uint8 or float in [0, 1].
        seed: the same seed gives the same changes.

    Returns:
        The same shape, float32 in [0, 1].

    Raises:
        InputError: no such preset, an argument that a layer refuses, or images of another shape, dtype or range.

    >>> import numpy as np, pnlib
    >>> image = np.zeros((1, 150, 150, 1), np.uint8)
    >>> image[0, 75, 75] = 255
    >>> moved = pnlib.augment({"RandomTranslation": {"height_factor": (0.1, 0.1), "width_factor": 0.0}}, image)
    >>> [int(place) for place in np.argwhere(moved[0, ..., 0])[0]]
    [90, 75]
    """
    import tensorflow as tf

    floats = np.issubdtype(images.dtype, np.floating) and np.all((images >= 0) & (images <= 1))
    if np.ndim(images) != 4 or images.shape[3] != 1 or not (floats or images.dtype == np.uint8):
        raise InputError(
            "Images to augment are (n, height, width, 1), uint8 or float from 0 to 1; got "
            f"{np.shape(images)} {images.dtype} up to {np.max(images, initial=0):g}."
        )
    pixels = images.astype(np.float32) / 255.0 if images.dtype == np.uint8 else images.astype(np.float32)
    change = build_augmentation(preset)
    return pixels if change is None else change(tf.constant(pixels), tf.constant([seed, 0])).numpy()
