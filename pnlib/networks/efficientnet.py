"""EfficientNet-Lite0, for comparison: a network that may have learnt on photographs before."""

from typing import Any

from pnlib.networks import imagenet

# Kernel, stride, expansion, filters and repeats of each stage: B0 of Tan and Le, EfficientNet, arXiv 1905.11946, table
# 1. The Lite version has no squeeze-and-excitation, ReLU6 for swish, and doesn't scale stem and head.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


def build_efficientnet_lite0(dropout: float = 0.5, pretrained: bool = True) -> Any:
    """EfficientNet-Lite0 with the baseline's input and output, uncompiled: 3,413,731 parameters.

    Its trunk starts from what it learnt on ImageNet's photographs, or from random weights; global average pooling,
    dropout and the output are new. The first convolution, made for three colours, takes the sum of its kernels over
    them: a gray image has the same value in each. Whatever the preprocessing, gray values come to it with the mean 0
    and the standard deviation 0.5 over many images, about as a photograph's in [-1, 1] do.

    Raises:
        InputError: pretrained, and the package with the weights isn't installed or holds others.
    """
    import keras
    from keras import layers

    image = keras.Input((150, 150, 1), name="xray")
    x = layers.BatchNormalization(momentum=0.97, center=False, scale=False, name="gray")(image)
    x = layers.GlobalAveragePooling2D(name="features")(trunk(layers.Rescaling(0.5, name="range")(x)))
    x = layers.Dropout(dropout, name="dropout")(x)
    output = layers.Dense(1, activation="sigmoid", dtype="float32", name="output")(x)
    network = keras.Model(image, output, name="efficientnet_lite0")
    if pretrained:
        imagenet.load_into(network)
    return network


def trunk(image: Any) -> Any:
    """EfficientNet-Lite0 without its classifier, not yet trained: 1,280 maps of 1/32 of the image's side.

    Inverted residual blocks (Sandler et al., MobileNetV2, arXiv 1801.04381): widen by a 1x1 convolution, filter each
    channel by itself, narrow again. Layers are named as the arrays of the package's file.

    Args:
        image: a Keras tensor (n, height, width, channels); on photographs, channels are red, green and blue, (value -
            127) / 128 each.
    """
    from keras import layers

    def normalise(x: Any, name: str, relu: bool = True) -> Any:
        x = layers.BatchNormalization(momentum=0.97, epsilon=1e-3, name=name)(x)
        return layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x

    def convolve(x: Any, name: str, filters: int, kernel: int = 1, stride: int = 1) -> Any:
        return layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False, name=name)(x)

    x, number = normalise(convolve(image, "conv_stem", 32, 3, 2), "bn0"), 0
    for kernel, first_stride, expansion, filters, repeats in STAGES:
        for repeat in range(repeats):
            name, start, stride = f"blocks_{number}", x, first_stride if repeat == 0 else 1
            if expansion > 1:
                x = normalise(convolve(x, f"{name}_expand_conv", x.shape[-1] * expansion), f"{name}_bn0")
            depthwise = layers.DepthwiseConv2D(
                kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
            )
            x = normalise(depthwise(x), f"{name}_bn1")
            x = normalise(convolve(x, f"{name}_project_conv", filters), f"{name}_bn2", relu=False)
            if repeat:
                x = layers.Add(name=f"{name}_sum")([x, start])
            number += 1
    return normalise(convolve(x, "conv_head", 1280), "bn1")
