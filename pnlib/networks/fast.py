"""The same training step in less time: max pooling before bias and ReLU, and the optimizer compiled.

Stock TensorFlow and Keras do the work. Only the order changes, so layers, names, weights and outputs stay as they are.
What each part is worth: docs/performance.md.
"""

import functools
from typing import Any


@functools.cache
def pool_first() -> type:
    """The class of networks that pool first: `keras.Sequential`, and TensorFlow with it, is imported only here."""
    import keras
    import tensorflow as tf

    @keras.saving.register_keras_serializable("pnlib")
    class PoolFirst(keras.Sequential):
        """A `Sequential` whose convolutions each have a ReLU and a max pooling after them, computed in another order.

        Adding a bias and ReLU are monotone, so they commute with max pooling: the outputs are the same to the bit.
        After the pooling the maps have 1/4 of the pixels. Gradients differ in the order of sums alone. To compute as
        Keras does, take `keras.Sequential(network.layers)`: it shares the weights.
        """

        def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            x, layers = inputs, iter(self.layers)
            for layer in layers:
                if isinstance(layer, keras.layers.Conv2D):
                    x = convolve_pool(layer, next(layers), tf.cast(x, layer.compute_dtype))
                else:
                    x = layer(x)
            return x

    def convolve_pool(layer: Any, pooling: Any, x: Any) -> Any:
        maps = tf.nn.conv2d(x, tf.cast(layer.kernel, x.dtype), layer.strides, layer.padding.upper())
        pooled = tf.nn.max_pool2d(maps, pooling.pool_size, pooling.strides, pooling.padding.upper())
        return tf.nn.relu(add_bias(pooled, tf.cast(layer.bias, x.dtype)))

    @tf.custom_gradient
    def add_bias(maps: Any, bias: Any) -> Any:
        """TensorFlow's own gradient of this addition sums bfloat16 in bfloat16, and loses nearly all of the sum."""

        def gradient(upstream: Any) -> tuple:
            return upstream, tf.cast(tf.reduce_sum(tf.cast(upstream, tf.float32), (0, 1, 2)), bias.dtype)

        return tf.nn.bias_add(maps, bias), gradient

    return PoolFirst


def compiled(optimizer: Any) -> Any:
    """The same optimizer, whose update XLA compiles: one pass over the weights in place of one for each operation."""
    import tensorflow as tf

    class Compiled(type(optimizer)):  # type: ignore[misc]
        def apply(self, grads: list, trainable_variables: Any = None) -> None:
            update, variables = super().apply, list(trainable_variables or self._trainable_variables)
            if tf.executing_eagerly() or tf.distribute.has_strategy():
                return update(grads, variables)
            if not self.built:
                self.build(variables)
            return tf.function(lambda gradients: update(gradients, variables), jit_compile=True)(list(grads))

    return Compiled.from_config(optimizer.get_config())
