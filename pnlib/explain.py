"""Where the model looked: Grad-CAM."""

import numpy as np


def grad_cam(model, image: np.ndarray, layer: str = "conv4") -> np.ndarray:
    """Grad-CAM heat map of what speaks for pneumonia in one image (Selvaraju et al., arXiv 1610.02391).

    The channels of a convolution are weighted by the mean gradient of the output's logit, summed, and cut off at 0.

    Args:
        model: a model of `model.build_cnn`, or any with that layer and a dense last layer of one sigmoid unit.
        image: (150, 150, 1) uint8, or float32 in [0, 1].

    Returns:
        (150, 150) float32 from 0 to 1, where 1 is the strongest place; all 0 where nothing speaks for pneumonia.
    """
    import keras
    import tensorflow as tf

    pixels = image.astype(np.float32) / 255.0 if image.dtype == np.uint8 else image.astype(np.float32)
    last = model.layers[-1]
    probe = keras.Model(model.inputs[0], [model.get_layer(layer).output, last.input])
    with tf.GradientTape() as tape:
        maps, features = probe(pixels[None], training=False)
        # The logit, not the probability: through the sigmoid a confident answer has no gradient left.
        logit = tf.cast(features, tf.float32) @ tf.cast(last.kernel, tf.float32) + tf.cast(last.bias, tf.float32)
    gradient = tape.gradient(logit, maps)
    weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(tf.cast(weights * maps, tf.float32), axis=-1, keepdims=True))
    heat = tf.image.resize(heat, pixels.shape[:2])[0, ..., 0].numpy()
    return heat / heat.max() if heat.max() > 0 else heat
