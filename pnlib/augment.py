"""The augmentation pipeline: Keras layers, batched, seeded without state.

A Keras layer draws from a counter that moves with each call, so a run that is interrupted, or that reads its input
with two threads, sees other images. Here each batch brings its own seed, (run's seed, step number), and the layers
draw from that alone: `augment(images, seed)` is a pure function.
"""

import numpy as np

from pnlib import runs
from pnlib.errors import InputError

# Names of the presets that the notebooks offer, and the Keras layers that each stands for, with their parameters.
# Zoom and translation are shares of the image's side, rotation of a full turn (0.028 is 10 degrees), tone is a factor.
TONE = {"RandomContrast": {"factor": 0.3}, "RandomBrightness": {"factor": 0.15}}
PRESETS = {
    "none": {},
    "tone": TONE,
    "usual": {
        "RandomRotation": {"factor": 0.028},
        "RandomZoom": {"height_factor": 0.1},
        "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
        **TONE,
    },
    "wide": {
        "RandomRotation": {"factor": 0.028},
        "RandomZoom": {"height_factor": (-0.35, 0.25), "width_factor": (-0.35, 0.25)},
        "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
        **TONE,
    },
}
PRESETS |= {
    # wide framing, and the sharpness of other scanners: notebook 01 finds that both predict the label
    "scanner": {
        **PRESETS["wide"],
        "RandomSharpness": {"factor": (0.0, 1.0)},
        "RandomGaussianBlur": {"factor": (0.0, 1.0), "kernel_size": 7, "sigma": (0.0, 1.0)},
    },
    # the usual one, and left for right: no anatomy, but twice as many chests
    "mirror": {"RandomFlip": {"mode": "horizontal"}, **PRESETS["usual"]},
    # zoom mostly into the image, as swapped framing (`shift.changed`) asks; tone first, so what moves in stays black
    "closer": {
        "RandomFlip": {"mode": "horizontal"},
        **TONE,
        **PRESETS["usual"],
        "RandomZoom": {"height_factor": (-0.35, 0.1)},
    },
    # as if taken elsewhere: all of it at once, each side zoomed by itself, since squeezed images give their format away
    "elsewhere": {
        "RandomFlip": {"mode": "horizontal"},
        **TONE,
        "RandomSharpness": {"factor": (0.0, 1.0)},
        "RandomGaussianBlur": {"factor": (0.0, 1.0), "kernel_size": 7, "sigma": (0.0, 1.0)},
        **PRESETS["wide"],
    },
}
# the same, milder: for images from which most of the framing was taken out before (`chest.prepare`)
PRESETS["nearby"] = {
    **PRESETS["elsewhere"],
    "RandomZoom": {"height_factor": (-0.1, 0.05), "width_factor": (-0.1, 0.05)},
    "RandomTranslation": {"height_factor": 0.05, "width_factor": 0.05},
}


def build(preset: str | dict):
    """Build an augmentation function.

    Args:
        preset: a name of `PRESETS`, or a dictionary of Keras layer names with their arguments.

    Returns:
        `augment(images, seed)`: images (n, h, w, 1) float32 in [0, 1] to the same shape, dtype and range; seed is two
        int32. The same seed gives the same images. Pixels that move in from outside are black, as in the dataset's
        own margins. It stays float32 under any precision policy, since a layer under mixed_bfloat16 would emit images
        with 8 significant bits. None for a preset without layers.

    Raises:
        InputError: no such preset or layer, or a layer refuses an argument.
    """
    import keras
    import tensorflow as tf

    runs.check(augmentation=preset)

    class BatchSeed(keras.random.SeedGenerator):
        """A seed generator that counts from a batch's seed on, instead of from a variable of its own."""

        def __init__(self, seed):
            self.seed, self.drawn = tf.cast(seed, tf.int32), 0

        def next(self, ordered=True):
            self.drawn += 1
            # Threefry wants two numbers: mix the step and the number of the draw so that no two draws share a pair.
            return tf.stack([self.seed[0], self.seed[1] * 64 + self.drawn])

    layers = [
        make_layer(name, arguments)
        for name, arguments in (PRESETS[preset] if isinstance(preset, str) else preset).items()
    ]
    if not layers:
        return None

    def augment(images, seed):
        generator = BatchSeed(seed)
        for layer in layers:
            change = layer.get_random_transformation(images, training=True, seed=generator)
            images = layer.transform_images(images, change, training=True)
        return tf.clip_by_value(images, 0.0, 1.0)

    return augment


def make_layer(name: str, arguments: dict):
    """A Keras image layer in float32, told that pixels are in [0, 1], filling with black what moves in; or our
    `GaussianNoise`.

    Raises:
        InputError: the layer refuses an argument.
    """
    import keras

    kind, extra = GaussianNoise, {}
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
        stddev: the largest standard deviation, in gray values from 0 to 1; an image's own is drawn evenly from 0 to it.
    """

    def __init__(self, stddev: float):
        if isinstance(stddev, bool) or not isinstance(stddev, int | float) or not 0 <= stddev <= 1:
            raise ValueError(f"stddev={stddev!r} is no number from 0 to 1")
        self.stddev = stddev

    def get_random_transformation(self, images, training=True, seed=None):
        import tensorflow as tf

        shape = tf.shape(images)
        strength = tf.random.stateless_uniform((shape[0], 1, 1, 1), seed.next(), 0.0, self.stddev)
        return strength * tf.random.stateless_normal(shape, seed.next())

    def transform_images(self, images, transformation, training=True):
        return images + transformation


def apply(preset: str | dict, images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Augment images once, to look at: (n, h, w, 1), uint8 or float in [0, 1], to the same shape, float32 in [0, 1].

    Raises:
        InputError: as of `build`; images of another shape, dtype or range.
    """
    import tensorflow as tf

    floats = np.issubdtype(images.dtype, np.floating) and np.all((images >= 0) & (images <= 1))
    if np.ndim(images) != 4 or images.shape[3] != 1 or not (floats or images.dtype == np.uint8):
        raise InputError(
            "Images to augment are (n, height, width, 1), uint8 or float from 0 to 1; got "
            f"{np.shape(images)} {images.dtype} up to {np.max(images, initial=0):g}."
        )
    pixels = images.astype(np.float32) / 255.0 if images.dtype == np.uint8 else images.astype(np.float32)
    augment = build(preset)
    return pixels if augment is None else augment(tf.constant(pixels), tf.constant([seed, 0])).numpy()
