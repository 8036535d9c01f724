"""The networks, uncompiled, by name.

All take (n, 150, 150, views) float32, as the preprocessing leaves it, and give (n, 1) float32, the probability of
pneumonia. There is one view; only `compact` can take two. A network of your own is a function of `dropout` and one more
line in `NETWORKS`.
"""

import functools
from collections.abc import Callable
from typing import Any

from pnlib.base.errors import InputError
from pnlib.base.machine import keras_on_tensorflow
from pnlib.networks.efficientnet import build_efficientnet_lite0
from pnlib.networks.fast import pool_first

SIZE = 150  # pixels, height and width of the input


def build_baseline(dropout: float = 0.5) -> Any:
    """The original project's CNN: 6,794,881 parameters.

    Four 3x3 'same' convolutions (32, 64, 128, 128 filters, ReLU), each followed by 2x2 'same' max pooling; flatten
    (12,800); dropout; dense 512 (ReLU); dense 1 (sigmoid). Under a mixed precision policy the output layer stays
    float32, so that probabilities keep their digits.
    """
    import keras
    from keras import layers

    stack: list = [keras.Input((SIZE, SIZE, 1), name="xray")]
    for number, filters in enumerate((32, 64, 128, 128), start=1):
        stack.append(layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}"))
        stack.append(layers.MaxPooling2D(2, padding="same", name=f"pool{number}"))
    stack += [
        layers.Flatten(name="flatten"),
        layers.Dropout(dropout, name="dropout"),
        layers.Dense(512, activation="relu", name="dense"),
        layers.Dense(1, activation="sigmoid", dtype="float32", name="output"),
    ]
    # From a list, not by model.add(): that calls all layers anew each time, and layer.output stays the first call's.
    return pool_first()(stack, name="baseline")


def build_compact(dropout: float = 0.5, views: int = 1) -> Any:
    """A residual network of 559,407 parameters, or of 923,533 with two views.

    A 5x5 convolution of stride 2, then three residual blocks (He et al., arXiv 1512.03385) of 48, 96 and 160 filters
    with squeeze-and-excitation (Hu et al., arXiv 1709.01507), each after a pooling that halves the side. Average
    pooling instead of a strided convolution is steadier under shifts (Zhang, arXiv 1904.11486). Global average pooling
    replaces flatten and dense, where the baseline has 96 % of its weights.

    Two views go through a stack of their own each, of 44, 88 and 144 filters, so that both stay below a million
    parameters. The answer's logit is the mean of theirs. In training each answers for itself: trained by their common
    answer, each would stop where the other one already knows (docs/history.md, phase 8).
    """
    import keras
    from keras import layers

    # Every layer is named: the names that Keras counts up would make the second network of a session another one.
    def convolve(x: Any, name: str, filters: int, kernel: int, stride: int = 1, relu: bool = True) -> Any:
        x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False, name=name)(x)
        x = layers.BatchNormalization(momentum=0.97, name=f"{name}_norm")(x)
        return layers.Activation("relu", name=f"{name}_relu")(x) if relu else x

    def block(x: Any, name: str, filters: int) -> Any:
        inner = convolve(convolve(x, f"{name}_a", filters, 3), f"{name}_b", filters, 3, relu=False)
        gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(inner)
        gate = layers.Dense(filters // 8, activation="relu", name=f"{name}_narrow")(gate)
        gate = layers.Dense(filters, activation="sigmoid", name=f"{name}_gate")(gate)
        shortcut = convolve(x, f"{name}_shortcut", filters, 1, relu=False)
        gated = layers.Multiply(name=f"{name}_gated")([inner, gate])
        return layers.Activation("relu", name=name)(layers.Add(name=f"{name}_sum")([shortcut, gated]))

    def stack(view: Any, prefix: str, first: int, second: int, third: int) -> Any:
        x = convolve(view, f"{prefix}stem", 24, 5, 2)
        x = block(layers.MaxPooling2D(2, padding="same", name=f"{prefix}stem_pool")(x), f"{prefix}block1", first)
        for number, filters in ((2, second), (3, third)):
            x = layers.AveragePooling2D(2, padding="same", name=f"{prefix}pool{number}")(x)
            x = block(x, f"{prefix}block{number}", filters)
        return layers.GlobalAveragePooling2D(name=f"{prefix}features")(x)

    image = keras.Input((SIZE, SIZE, views), name="xray")
    if views == 1:
        x = stack(image, "", 48, 96, 160)
    else:
        each = [stack(image[..., i : i + 1], f"view{i + 1}_", 44, 88, 144) for i in range(views)]
        x = side_by_side()(name="features")(each)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(image, layers.Dense(1, activation="sigmoid", dtype="float32", name="output")(x), name="compact")


@functools.cache
def side_by_side() -> Any:
    """The class of a layer that joins the features of several views; Keras is imported only here."""
    import keras
    from keras import ops

    @keras.saving.register_keras_serializable("pnlib")
    class SideBySide(keras.layers.Layer):
        """Features (n, k) of each view to (n, views * k). In training to (views * n, views * k): each view by itself,
        times the number of views, the others 0. So the next layer's logit is the mean of theirs, and in training each
        has a row of its own, which `sampling.training_batches` has a label for.
        """

        def call(self, views: list, training: bool = False) -> Any:
            if not training:
                return ops.concatenate(views, axis=-1)
            zero = ops.zeros_like(views[0])
            alone = [[len(views) * view if i == j else zero for j, view in enumerate(views)] for i in range(len(views))]
            return ops.concatenate([ops.concatenate(row, axis=-1) for row in alone], axis=0)

    return SideBySide


NETWORKS: dict[str, Callable[..., Any]] = {
    "baseline": build_baseline,
    "compact": build_compact,
    "efficientnet_lite0": build_efficientnet_lite0,
    "efficientnet_lite0_scratch": functools.partial(build_efficientnet_lite0, pretrained=False),
}


def build_network(name: str = "baseline", dropout: float = 0.5, views: int = 1) -> Any:
    """Build a network by its name, uncompiled, with random weights from Keras' global seed.

    Args:
        name: a key of `NETWORKS`: baseline, compact, efficientnet_lite0 (starts from ImageNet's weights) or
            efficientnet_lite0_scratch.
        dropout: share of the features dropped in each training step, from 0 to below 1.
        views: how many views of an image it takes; 2 are for compact only.

    Returns:
        A `keras.Model` from (n, 150, 150, views) float32 to (n, 1) float32, the probability of pneumonia.

    Raises:
        InputError: no such network; one that takes fewer views; the package with ImageNet's weights is not installed.

    >>> import pnlib
    >>> pnlib.build_network("baseline").count_params()
    6794881
    """
    if name not in NETWORKS:
        raise InputError(f"There is no network {name!r}; there are {', '.join(NETWORKS)}.")
    keras_on_tensorflow()
    if views > 1 and name != "compact":
        raise InputError(f"The network {name!r} takes one view of an image; only compact takes several.")
    return NETWORKS[name](dropout) if views == 1 else NETWORKS[name](dropout, views)
