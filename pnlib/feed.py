"""Feed decoded images to a network: order and balancing, augmentation, standardised gray, tf.data.

Each batch of a training is a pure function of (seed, epoch, step), so neither threads nor interruptions change it.
"""

import hashlib
import math

import numpy as np

from pnlib import chest, runs
from pnlib.errors import InputError


def steps_per_epoch(n: int, batch_size: int, balancing: str) -> int:
    """Batches in one epoch over n training images; a balancing that draws takes as many from each class, so an even
    number.

    Raises:
        InputError: batch_size is larger than that, or there is no such balancing.
    """
    runs.check(balancing=balancing)
    drawn = n // 2 * 2 if balancing in ("oversample", "overlap") else n
    if batch_size > drawn:
        raise InputError(f"batch_size={batch_size} is more than the {n} training images; give a smaller one.")
    return drawn // batch_size


def epoch_orders(labels, epochs: int, batch_size: int, balancing: str, seed: int, shares=None) -> np.ndarray:
    """Which image stands where in each batch of each epoch: (epochs, steps, batch_size) int32, a pure function.

    steps is that of `steps_per_epoch`; the images left over at an epoch's end differ from epoch to epoch. With
    balancing='oversample', half of each epoch is drawn from each class: the rarer class's images come several times
    (each time augmented anew), and about as many of the other class are left out until another epoch. With 'overlap',
    half of each epoch is drawn from each class too, but with replacement and in proportion to `shares` (n,), see
    `shift.shares`.

    Raises:
        InputError: batch_size is larger than the number of images; 'overlap' without shares; no such balancing.
    """
    labels = np.asarray(labels)
    if balancing == "overlap" and shares is None:
        raise InputError("balancing='overlap' draws images by their shares; give those of shift.shares.")
    steps = steps_per_epoch(len(labels), batch_size, balancing)
    orders = []
    for epoch in range(epochs):
        rng = np.random.default_rng([seed, epoch])
        if balancing in ("oversample", "overlap"):
            half = len(labels) // 2
            drawn = []
            for label in (0, 1):
                members = np.flatnonzero(labels == label)
                if balancing == "overlap":
                    chance = np.asarray(shares)[members]
                    drawn.append(rng.choice(members, half, p=chance / chance.sum()))
                else:
                    rounds = -(-half // len(members))
                    drawn.append(np.concatenate([rng.permutation(members) for _ in range(rounds)])[:half])
            order = rng.permutation(np.concatenate(drawn))
        else:
            order = rng.permutation(len(labels))
        orders.append(order[: steps * batch_size].reshape(steps, batch_size))
    return np.stack(orders).astype(np.int32)


def class_weights(labels: np.ndarray, balancing: str) -> np.ndarray:
    """Loss weight of label 0 and label 1: (2,) float32. 'weights' gives n / (2 * count), the other balancings ones.

    Raises:
        InputError: no such balancing.
    """
    runs.check(balancing=balancing)
    count = np.bincount(labels, minlength=2)
    return (len(labels) / (2 * count) if balancing == "weights" else np.ones(2)).astype(np.float32)


def shown(images: np.ndarray, preparation: str) -> np.ndarray:
    """What of whole images (n, h, w, 1) uint8 a preparation shows, before augmentation; the same shape and dtype.

    'chest' shows the chest alone, found, cropped and of even tone (`chest.prepare`: about 5 ms an image and core; the
    last answer is remembered, since a training asks for the same images several times); the others show the whole.

    Raises:
        InputError: no such preparation; images of another shape or dtype.
    """
    runs.check(preparation=preparation)
    if np.ndim(images) != 4 or images.shape[3] != 1 or images.dtype != np.uint8:
        raise InputError(
            f"Images are (n, height, width, 1) uint8, from 0 to 255; got {np.shape(images)} {np.asarray(images).dtype}."
        )
    if preparation != "chest":
        return images
    asked = (images.shape, hashlib.sha256(np.ascontiguousarray(images)).digest())
    if _remembered.get("asked") != asked:
        _remembered.update(asked=asked, answer=chest.prepare(images))
    return _remembered["answer"].copy()


_remembered: dict = {}


def prepare(images, preparation: str):
    """Images (n, h, w, 1) float32 in [0, 1] as a network is to see them; a tensor of the same shape and dtype.

    What `shown` leaves, divided by 255 and augmented, goes in. Pixels up to 16 of 255 (after augmentation) are margin,
    whose amount tells the classes of this dataset apart, and count for nothing in what follows.

    'none' leaves the images so. 'standard' and 'chest' give each image the mean 0.5 and the standard deviation 0.25, so
    that exposure tells nothing; values may then leave [0, 1]. 'local' does so around each pixel: the pixel less the
    Gaussian mean of its surroundings (sigma 20 pixels), in units of their spread (12 of 255 added in quadrature, so
    that noise in flat places stays small); 0 where there is margin, cut off at -2 and 2. (Local contrast normalisation:
    Jarrett et al., What is the Best Multi-Stage Architecture for Object Recognition?, ICCV 2009; leaving margins out is
    our own.)

    Raises:
        InputError: no such preparation.
    """
    import tensorflow as tf

    runs.check(preparation=preparation)
    if preparation == "none":
        return images
    shown = tf.cast(images > 16 / 255, tf.float32)
    if preparation == "local":
        weight = tf.maximum(_around(shown), 1e-6)
        centred = (images - _around(images * shown) / weight) * shown
        spread = tf.sqrt(_around(centred**2) / weight + (chest.FLOOR / 255) ** 2)
        return tf.clip_by_value(centred / spread, -2.0, 2.0)
    count = tf.reduce_sum(shown, (1, 2, 3), keepdims=True) + 1
    mean = tf.reduce_sum(images * shown, (1, 2, 3), keepdims=True) / count
    variance = tf.reduce_sum(shown * (images - mean) ** 2, (1, 2, 3), keepdims=True) / count
    return (images - mean) / tf.sqrt(variance + 1e-4) * 0.25 + 0.5


def _around(images):
    """The Gaussian mean around each pixel of (n, h, w, 1) float32, zeros lying beyond the edge; computed on a fifth of
    the side, which for a sigma of 20 pixels makes hardly a difference and is much faster."""
    import tensorflow as tf

    step = 5
    sigma = chest.LOCAL / step
    reach = np.arange(-math.ceil(3 * sigma), math.ceil(3 * sigma) + 1)
    bell = np.exp(-0.5 * (reach / sigma) ** 2)
    kernel = tf.constant((bell / bell.sum()).astype(np.float32).reshape(-1, 1, 1, 1))
    coarse = tf.nn.avg_pool2d(images, step, step, "SAME")
    coarse = tf.nn.conv2d(tf.nn.conv2d(coarse, kernel, 1, "SAME"), tf.transpose(kernel, (1, 0, 2, 3)), 1, "SAME")
    return tf.image.resize(coarse, images.shape[1:3])


def visible(prepared: np.ndarray, preparation: str) -> np.ndarray:
    """What `prepare` gave, as gray values in [0, 1] for a figure, the same shape."""
    return np.clip(np.asarray(prepared) / 4 + 0.5 if preparation == "local" else np.asarray(prepared), 0, 1)


def training_stream(
    images, labels, *, epochs, batch_size, augment, balancing, seed, first_epoch=0, preparation="none", shares=None
):
    """The training batches of all epochs from `first_epoch` on, as one tf.data.Dataset.

    Each element is a pure function of (seed, epoch, step): the same whatever the number of threads, and the same when
    an interrupted run goes on. Yields images (batch, 150, 150, 1) float32 in [0, 1] (before `prepare`), labels (batch,
    1) float32 and loss weights (batch, 1) float32.

    Args:
        images: (n, 150, 150, 1) uint8.
        labels: (n,) of 0 and 1.
        augment: a function of (images, step's seed), see `augment.build`; None for none.
        shares: (n,), for balancing='overlap' only.
    """
    import tensorflow as tf

    orders = epoch_orders(labels, epochs, batch_size, balancing, seed, shares)[first_epoch:]
    steps = orders.shape[1]
    numbers = np.arange(first_epoch * steps, epochs * steps, dtype=np.int32)
    pixels, targets = tf.constant(shown(images, preparation)), tf.constant(np.asarray(labels, np.float32)[:, None])
    weights = tf.constant(class_weights(labels, balancing)[np.asarray(labels)][:, None])

    def batch(order, number):
        x = tf.cast(tf.gather(pixels, order), tf.float32) / 255.0
        if augment is not None:
            x = augment(x, tf.stack([tf.constant(seed, tf.int32), number]))
        x = prepare(x, preparation)
        return x, tf.gather(targets, order), tf.gather(weights, order)

    stream = tf.data.Dataset.from_tensor_slices((orders.reshape(-1, batch_size), numbers))
    return stream.map(batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(4)


def evaluation_stream(images, labels, batch_size: int = 64, preparation: str = "none"):
    """Batches in order, not augmented: images (batch, 150, 150, 1) float32 in [0, 1] (before `prepare`), labels (batch,
    1) float32."""
    import tensorflow as tf

    images = shown(images, preparation)
    stream = tf.data.Dataset.from_tensor_slices((images, np.asarray(labels, np.float32)[:, None])).batch(batch_size)
    return stream.map(lambda x, y: (prepare(tf.cast(x, tf.float32) / 255.0, preparation), y)).prefetch(2)
