"""A trained network as a file for other programs, with its preprocessing inside: gray pixels in, probability out."""

import contextlib
import io
import math
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from pnlib.base import files
from pnlib.base.errors import InputError
from pnlib.base.machine import silenced
from pnlib.classifier import Classifier
from pnlib.inference.chest import crop_chest
from pnlib.networks import SIZE, side_by_side
from pnlib.preprocessing import FLOOR, MARGIN, SIGMA

KINDS = (".onnx", ".keras", ".tflite")


def export(classifier: Classifier, target: str | Path) -> Path:
    """Write a classifier as ONNX, Keras or TensorFlow Lite (LiteRT), by the ending of `target`.

    The file takes (n, 150, 150, 1) float32 gray values from 0 to 255, as `decode` gives them, and gives (n, 1) float32,
    the probability of pneumonia. How closely it agrees with `Classifier.predict`: docs/predict.md. It is no medical
    device.

    Args:
        classifier: a network with any of the preprocessings.
        target: a file ending in .onnx (needs the extra `export`), .keras or .tflite. One already there is replaced.

    Raises:
        InputError: another ending, or the extra is not installed.
    """
    return write(with_preprocessing(classifier), target)


def write(model: Any, target: str | Path) -> Path:
    """Write a Keras model as `export` does, with the same errors."""
    target = Path(target)
    if target.suffix not in KINDS:
        raise InputError(f"Cannot export to {target.name}: give a name ending in {', '.join(KINDS)}.")
    if target.suffix == ".onnx":
        try:
            import tf2onnx  # noqa: F401
        except ImportError:
            raise InputError("ONNX files need more packages: pip install 'pnlib[export]'.") from None
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras' own, about NumPy 2
        made = Path(folder) / target.name
        if target.suffix == ".keras":
            model.save(made)
        elif target.suffix == ".onnx":
            with silenced():
                model(np.zeros((1, SIZE, SIZE, 1), np.float32))  # Keras exports what was called once
                model.export(str(made), format="onnx", verbose=False)
        else:
            import tensorflow as tf

            with silenced(), contextlib.redirect_stdout(io.StringIO()):
                made.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
        files.atomic_write(target, made.read_bytes())
    return target


def with_preprocessing(classifier: Classifier) -> Any:
    """The network behind its preprocessing, of Keras' own layers and operations only: loads where pnlib is unknown."""
    import keras

    gray = keras.Input((SIZE, SIZE, 1), name="gray")
    x = VIEWS[classifier.config.preprocessing](gray)
    if isinstance(classifier.network, keras.Sequential):  # layer by layer, in the order that every Keras knows
        for layer in classifier.network.layers:
            x = layer(x)
    else:
        x = _of_keras_alone(classifier.network)(x)
    return keras.Model(gray, x, name=classifier.network.name)


def _of_keras_alone(network: Any) -> Any:
    """A copy in which what `networks.side_by_side` does outside of training is done by Keras' own layer."""
    import keras

    def copied(layer: Any) -> Any:
        if isinstance(layer, side_by_side()):
            return keras.layers.Concatenate(name=layer.name)
        return type(layer).from_config(layer.get_config())

    copy = keras.models.clone_model(network, clone_function=copied)
    copy.set_weights(network.get_weights())
    return copy


def local_contrast(x: Any) -> Any:
    """`preprocessing.local_contrast`, in the operations of Keras."""
    from keras import ops

    mean = _gaussian_mean()
    inside = ops.cast(x > MARGIN / 255, "float32")
    weight = ops.maximum(mean(inside), 1e-6)
    centred = (x - mean(x * inside) / weight) * inside
    return ops.clip(centred / ops.sqrt(mean(ops.square(centred)) / weight + (FLOOR / 255) ** 2), -2.0, 2.0)


def _gaussian_mean() -> Any:
    import keras
    from keras import layers

    sigma = SIGMA / 5
    reach = np.arange(-math.ceil(3 * sigma), math.ceil(3 * sigma) + 1)
    bell = np.exp(-0.5 * (reach / sigma) ** 2)
    bell = (bell / bell.sum()).astype(np.float32)

    def along(shape: tuple[int, int]) -> Any:
        kernel = keras.initializers.Constant(bell.reshape(*shape, 1, 1))
        return layers.Conv2D(1, shape, padding="same", use_bias=False, kernel_initializer=kernel, trainable=False)

    steps = [layers.AveragePooling2D(5), along((len(bell), 1)), along((1, len(bell)))]
    steps.append(layers.UpSampling2D(5, interpolation="bilinear"))

    def mean(x: Any) -> Any:
        for step in steps:
            x = step(x)
        return x

    return mean


def standardize(x: Any) -> Any:
    """`preprocessing.standardize`, in the operations of Keras."""
    from keras import ops

    inside = ops.cast(x > MARGIN / 255, "float32")

    def total(values: Any) -> Any:
        return ops.sum(values, axis=(1, 2, 3), keepdims=True)

    count = total(inside) + 1
    mean = total(x * inside) / count
    variance = total(inside * ops.square(x - mean)) / count
    return (x - mean) / ops.sqrt(variance + 1e-4) * 0.25 + 0.5


def _chest(gray: Any) -> Any:
    return standardize(crop_chest(gray)[1] / 255.0)


def _two_views(gray: Any) -> Any:
    from keras import ops

    return ops.concatenate([local_contrast(gray / 255.0), _chest(gray)], axis=-1)


# What the network sees after each preprocessing, in the operations of Keras: from (n, 150, 150, 1) float32, 0 to 255.
VIEWS = {
    "none": lambda gray: gray / 255.0,
    "standardize": lambda gray: standardize(gray / 255.0),
    "local_contrast": lambda gray: local_contrast(gray / 255.0),
    "crop_chest": _chest,
    "two_views": _two_views,
}
