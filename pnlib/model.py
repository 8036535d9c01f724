"""The networks, the founding CNN exactly, a compact residual one and one for comparison that may have seen photographs
before, and the facts that 03_model reads off them."""

import functools

import pandas as pd

from pnlib import transfer

SIZE = 150
FILTERS = (32, 64, 128, 128)
PARAMETERS = 6_794_881


def build_cnn(dropout: float = 0.5):
    """The founding CNN, uncompiled: (n, 150, 150, 1) float32 in [0, 1] to (n, 1) float32, the probability of pneumonia.

    Four 3x3 'same' convolutions (32, 64, 128, 128 filters, ReLU), each followed by 2x2 'same' max pooling; flatten
    (12,800); dropout; dense 512 (ReLU); dense 1 (sigmoid). 6,794,881 parameters. Under a mixed precision policy the
    output layer stays float32, so that probabilities keep their digits.
    """
    import keras
    from keras import layers

    stack = [keras.Input((SIZE, SIZE, 1), name="xray")]
    for number, filters in enumerate(FILTERS, start=1):
        stack.append(layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}"))
        stack.append(layers.MaxPooling2D(2, padding="same", name=f"pool{number}"))
    stack += [
        layers.Flatten(name="flatten"),
        layers.Dropout(dropout, name="dropout"),
        layers.Dense(512, activation="relu", name="dense"),
        layers.Dense(1, activation="sigmoid", dtype="float32", name="output"),
    ]
    # From a list, not by model.add(): that calls all layers anew each time, and layer.output stays the first call's.
    return keras.Sequential(stack, name="founding_cnn")


def build_compact(dropout: float = 0.3):
    """A residual network of fewer than a million parameters, uncompiled, with the founding CNN's input and output.

    A 5x5 convolution of stride 2, then three residual blocks (He et al., arXiv 1512.03385) of 48, 96 and 160 filters
    with squeeze-and-excitation (Hu et al., arXiv 1709.01507), each after a pooling that halves the side; average
    pooling in place of a strided convolution is steadier under shifts (Zhang, arXiv 1904.11486); global average pooling
    instead of flatten and dense, where the founding CNN has 96 % of its weights.
    """
    import keras
    from keras import layers

    # Every layer is named: the names that Keras counts up would make the second network of a session another one.
    def convolve(x, name, filters, kernel, stride=1, relu=True):
        x = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False, name=name)(x)
        x = layers.BatchNormalization(momentum=0.97, name=f"{name}_norm")(x)
        return layers.Activation("relu", name=f"{name}_relu")(x) if relu else x

    def block(x, name, filters):
        inner = convolve(convolve(x, f"{name}_a", filters, 3), f"{name}_b", filters, 3, relu=False)
        gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(inner)
        gate = layers.Dense(filters // 8, activation="relu", name=f"{name}_narrow")(gate)
        gate = layers.Dense(filters, activation="sigmoid", name=f"{name}_gate")(gate)
        shortcut = convolve(x, f"{name}_shortcut", filters, 1, relu=False)
        gated = layers.Multiply(name=f"{name}_gated")([inner, gate])
        return layers.Activation("relu", name=name)(layers.Add(name=f"{name}_sum")([shortcut, gated]))

    image = keras.Input((SIZE, SIZE, 1), name="xray")
    x = layers.MaxPooling2D(2, padding="same", name="stem_pool")(convolve(image, "stem", 24, 5, 2))
    x = block(x, "block1", 48)
    for number, filters in ((2, 96), (3, 160)):
        x = block(layers.AveragePooling2D(2, padding="same", name=f"pool{number}")(x), f"block{number}", filters)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return keras.Model(image, layers.Dense(1, activation="sigmoid", dtype="float32", name="output")(x), name="compact")


def build_lite0(dropout: float = 0.3, pretrained: bool = True):
    """EfficientNet-Lite0 with the founding CNN's input and output, uncompiled: 3,413,731 parameters.

    Its trunk (`transfer.trunk`) starts from what it learnt on ImageNet's photographs, or from random weights; global
    average pooling, dropout and the output are new. The first convolution, made for three colours, takes the sum of
    its kernels over them: a gray image has the same value in each. Whatever the preparation, gray values come to it
    with the mean 0 and the standard deviation 0.5 over many images, about as a photograph's in [-1, 1] do.

    Raises:
        InputError: pretrained, and the package with the weights isn't installed or holds others.
    """
    import keras
    from keras import layers

    image = keras.Input((SIZE, SIZE, 1), name="xray")
    x = layers.BatchNormalization(momentum=0.97, center=False, scale=False, name="gray")(image)
    x = layers.GlobalAveragePooling2D(name="features")(transfer.trunk(layers.Rescaling(0.5, name="range")(x)))
    x = layers.Dropout(dropout, name="dropout")(x)
    output = layers.Dense(1, activation="sigmoid", dtype="float32", name="output")(x)
    network = keras.Model(image, output, name="efficientnet_lite0")
    if pretrained:
        transfer.load(network)
    return network


NETWORKS = {
    "founding": build_cnn,
    "compact": build_compact,
    "efficientnet_lite0": build_lite0,
    "efficientnet_lite0_scratch": functools.partial(build_lite0, pretrained=False),
}


def summary(model) -> pd.DataFrame:
    """One row a layer: name, output shape, parameters, share of all parameters, multiply-adds per image.

    A convolution costs outputs x kernel area x input channels, a dense layer inputs x outputs; the rest counts as 0.
    """
    rows = []
    for layer in model.layers:
        shape = tuple(layer.output.shape[1:])
        cost = 0
        if type(layer).__name__ == "Conv2D":
            cost = shape[0] * shape[1] * shape[2] * layer.kernel_size[0] * layer.kernel_size[1] * layer.input.shape[-1]
        elif type(layer).__name__ == "Dense":
            cost = layer.input.shape[-1] * shape[-1]
        rows.append((layer.name, "x".join(map(str, shape)), layer.count_params(), cost))
    table = pd.DataFrame(rows, columns=["layer", "output", "parameters", "multiply_adds"])
    table.insert(3, "share", table.parameters / table.parameters.sum())
    return table


def receptive_fields(model) -> pd.DataFrame:
    """Side in pixels of the input square that one unit of each convolution or pooling sees, and its stride.

    A layer of kernel k adds (k - 1) times the stride before it; pooling multiplies the stride (Araujo, Norris, Sim:
    Computing Receptive Fields of Convolutional Neural Networks, Distill, 2019).
    """
    rows, field, stride = [], 1, 1
    for layer in model.layers:
        kernel = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
        if kernel:
            field += (kernel[0] - 1) * stride
            stride *= layer.strides[0]
            rows.append((layer.name, field, stride))
    return pd.DataFrame(rows, columns=["layer", "receptive_field", "stride"])


def feature_maps(model, image):
    """Output of each convolution for one image (150, 150, 1) in [0, 1]: {name: (height, width, filters) float32}."""
    import keras

    convolutions = [layer for layer in model.layers if type(layer).__name__ == "Conv2D"]
    probe = keras.Model(model.inputs[0], [layer.output for layer in convolutions])
    maps = probe.predict(image[None], verbose=0)
    return {layer.name: values[0].astype("float32") for layer, values in zip(convolutions, maps, strict=True)}
