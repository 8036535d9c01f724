"""The fast training step is Keras' own: the same outputs to the bit, the same gradients, the same updates."""

import numpy as np
import pytest

import pnlib
from pnlib.training import compile_network, seed_everything


@pytest.fixture(params=["float32", "mixed_bfloat16"])
def networks(request):
    """The library's baseline, and Keras' own `Sequential` of the same layers."""
    import keras

    seed_everything(0, request.param)
    network = pnlib.build_network("baseline", dropout=0.0)
    yield network, keras.Sequential(network.layers)
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def batch():
    """Images with noise, and a black margin, where all four pixels of a pooling are equal."""
    x = np.random.default_rng(0).normal(size=(4, 150, 150, 1)).astype(np.float32)
    x[:, :, :40] = 0
    return x, np.array([[0], [1], [1], [0]], np.float32)


def gradients(network, x, y):
    import keras
    import tensorflow as tf

    @tf.function
    def run():
        with tf.GradientTape() as tape:
            p = network(x, training=True)
            loss = tf.reduce_mean(keras.losses.binary_crossentropy(y, p))
        return p, tape.gradient(loss, network.trainable_variables)

    p, found = run()
    return p.numpy(), [np.asarray(g, np.float32) for g in found]


def test_outputs_have_the_same_bits_and_gradients_differ_by_rounding(networks, batch):
    fast, plain = networks
    (p, found), (expected, wanted) = gradients(fast, *batch), gradients(plain, *batch)
    assert np.array_equal(p, expected)
    assert np.array_equal(fast.predict(batch[0], verbose=0), plain.predict(batch[0], verbose=0))
    assert len(found) == len(wanted) == 12
    for g, w in zip(found, wanted, strict=True):
        assert np.abs(g - w).max() <= 3e-5 * np.abs(w).max()


def test_the_compiled_optimizer_updates_as_kerass_own(batch):
    import keras

    weights = {}
    config = pnlib.TrainConfig()
    for way in ("compiled", "plain"):
        seed_everything(0, "float32")
        network = pnlib.build_network("baseline", dropout=0.0)
        compile_network(network, config, total_steps=100)
        if way == "plain":
            settings = network.optimizer.get_config()
            network.compile(keras.optimizers.AdamW.from_config(settings), loss=network.loss)
        for _ in range(3):
            network.train_on_batch(*batch)
        weights[way] = network.get_weights() + [np.asarray(v) for v in network.optimizer.variables]
        assert network.optimizer.iterations == 3 and network.optimizer.use_ema
    for one, other in zip(weights["compiled"], weights["plain"], strict=True):
        assert np.abs(one - other).max() <= 1e-4 * max(np.abs(other).max(), 1e-3)
