"""Where the model looked: Grad-CAM."""

import numpy as np


def grad_cam(model, image: np.ndarray, layer: str = "") -> np.ndarray:
    """Grad-CAM heat map of what speaks for pneumonia in one image (Selvaraju et al., arXiv 1610.02391).

    The channels of a convolution are weighted by the mean gradient of the output's logit, summed, and cut off at 0.

    Args:
        model: a network of `model.NETWORKS`, or any with a dense last layer of one sigmoid unit.
        image: (150, 150, 1) uint8, or float32 as the model is to see it (`feed.prepare`).
        layer: name of the layer whose maps are weighted; '' for conv4 of the founding CNN, and of the compact network
            for the maps before the global average pooling.

    Returns:
        (150, 150) float32 from 0 to 1, where 1 is the strongest place; all 0 where nothing speaks for pneumonia.
    """
    import keras
    import tensorflow as tf

    pixels = image.astype(np.float32) / 255.0 if image.dtype == np.uint8 else image.astype(np.float32)
    last = model.layers[-1]
    names = [each.name for each in model.layers]
    maps = model.get_layer(layer or "conv4").output if layer or "conv4" in names else model.get_layer("features").input
    probe = keras.Model(model.inputs[0], [maps, last.input])
    with tf.GradientTape() as tape:
        maps, features = probe(pixels[None], training=False)
        # The logit, not the probability: through the sigmoid a confident answer has no gradient left.
        logit = tf.cast(features, tf.float32) @ tf.cast(last.kernel, tf.float32) + tf.cast(last.bias, tf.float32)
    gradient = tape.gradient(logit, maps)
    weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(tf.cast(weights * maps, tf.float32), axis=-1, keepdims=True))
    heat = tf.image.resize(heat, pixels.shape[:2])[0, ..., 0].numpy()
    return heat / heat.max() if heat.max() > 0 else heat
