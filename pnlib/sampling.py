"""Which image stands where in each epoch, and the batches made of it.

Each batch of a training is a pure function of (seed, epoch, step), so neither threads nor interruptions change it.
"""

import atexit
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pnlib.augmentation import build_augmentation
from pnlib.base.errors import InputError
from pnlib.preprocessing import PREPROCESSINGS, as_float

if TYPE_CHECKING:
    from pnlib.config import TrainConfig

# What a training may ask for, by name: each image once, the same with class weights in the loss, each class half of an
# epoch, or that with images drawn by their sampling weights.
SAMPLINGS = ("none", "class_weights", "oversample", "overlap")
HALVES = ("oversample", "overlap")  # half of each epoch is drawn from each class


def steps_per_epoch(n: int, batch_size: int, sampling: str) -> int:
    """Batches in one epoch over n training images (InputError: a batch is larger than an epoch)."""
    drawn = n // 2 * 2 if sampling in HALVES else n
    if batch_size > drawn:
        raise InputError(f"batch_size={batch_size} is more than the {n} training images; give a smaller one.")
    return drawn // batch_size


def epoch_orders(rows: pd.DataFrame, config: "TrainConfig", epochs: int | None = None) -> np.ndarray:
    """Which image stands where in each batch of each epoch: (epochs, steps, batch_size) int32, places in `rows`.

    The images left over at an epoch's end differ from epoch to epoch. With `oversample`, half of each epoch is drawn
    from each class: the rarer class's images come several times (each time augmented anew), and images of the other
    class are left out until another epoch. With `overlap`, half of each epoch is drawn from each class too, but with
    replacement and in proportion to the sampling weights.

    Args:
        rows: the training images' rows, with `label`, and with `sampling_weight` where sampling is `overlap`
            (`shortcuts.overlap_weights`).
        config: its sampling, batch_size, seed and epochs.
        epochs: instead of `config.epochs`.

    Raises:
        InputError: batch_size is larger than the number of images; `overlap` without sampling weights.
    """
    labels = rows.label.to_numpy()
    if config.sampling == "overlap" and "sampling_weight" not in rows:
        raise InputError("sampling='overlap' draws images by rows.sampling_weight; take those of overlap_weights.")
    steps = steps_per_epoch(len(labels), config.batch_size, config.sampling)
    orders = []
    for epoch in range(config.epochs if epochs is None else epochs):
        rng = np.random.default_rng([config.seed, epoch])
        if config.sampling in HALVES:
            weights = rows.sampling_weight.to_numpy() if config.sampling == "overlap" else None
            halves = [_half(rng, np.flatnonzero(labels == label), len(labels) // 2, weights) for label in (0, 1)]
            order = rng.permutation(np.concatenate(halves))
        else:
            order = rng.permutation(len(labels))
        orders.append(order[: steps * config.batch_size].reshape(steps, config.batch_size))
    return np.stack(orders).astype(np.int32)


def _half(rng: np.random.Generator, members: np.ndarray, size: int, weights: np.ndarray | None) -> np.ndarray:
    """One class's half of an epoch."""
    if weights is not None:
        chance = weights[members]
        return rng.choice(members, size, p=chance / chance.sum())
    rounds = -(-size // len(members))
    return np.concatenate([rng.permutation(members) for _ in range(rounds)])[:size]


def loss_weights(labels: np.ndarray, sampling: str) -> np.ndarray:
    """Weight of each image in the loss, (n,) float32: with `class_weights` n / (2 * count of its class), else 1."""
    from sklearn.utils.class_weight import compute_sample_weight

    balanced = "balanced" if sampling == "class_weights" else None
    return compute_sample_weight(balanced, labels).astype(np.float32)


def training_batches(images: np.ndarray, rows: pd.DataFrame, config: "TrainConfig", first_epoch: int = 0) -> Any:
    """The training batches of all epochs from `first_epoch` on, as one tf.data.Dataset.

    Each element is the same whatever the number of threads, and when an interrupted training goes on.

    Args:
        images: (n, 150, 150, 1) uint8, in the order of `rows`.
        rows: with `part`; those of the part train are drawn (`epoch_orders`).
        config: the training's settings.

    Returns:
        It yields images as the network sees them (batch, 150, 150, views) float32, labels and loss weights,
        (views * batch, 1) float32 each: a row for each view, since in training each answers for itself.
    """
    preprocessing, views = PREPROCESSINGS[config.preprocessing], config.views
    augment = build_augmentation(config.augmentation)
    places = np.flatnonzero(rows.part == "train")
    own = rows.iloc[places]
    orders = epoch_orders(own, config)[first_epoch:]
    _, steps, batch_size = orders.shape
    numbers = np.arange(first_epoch * steps, config.epochs * steps, dtype=np.int32)
    pixels = preprocessing.before_augmentation(images)  # not a copy, unless a view is cropped
    targets = own.label.to_numpy(np.float32)[:, None]
    weights = loss_weights(own.label.to_numpy(), config.sampling)[:, None]

    def batch(order: np.ndarray, number: np.ndarray) -> tuple:
        x = as_float(pixels[places[order]])
        if augment is not None:
            x = augment(x, (config.seed, int(number)))
        return preprocessing.normalize(x), np.tile(targets[order], (views, 1)), np.tile(weights[order], (views, 1))

    shapes = [(batch_size, *pixels.shape[1:]), (views * batch_size, 1), (views * batch_size, 1)]
    return _batches(batch, (orders.reshape(-1, batch_size), numbers), shapes)


def evaluation_batches(
    images: np.ndarray, preprocessing: str, batch_size: int = 32, places: np.ndarray | None = None
) -> Any:
    """Images in order, not augmented, as the network sees them: a tf.data.Dataset of (batch, 150, 150, views) float32.

    `images` are (n, 150, 150, 1) uint8, `preprocessing` is a name of `PREPROCESSINGS`, `places` are those of the images
    that are wanted (None: all).
    """
    step = PREPROCESSINGS[preprocessing]
    places = np.arange(len(images)) if places is None else places
    starts = np.arange(0, len(places), batch_size)

    def batch(start: np.ndarray) -> tuple:
        return (step(images[places[start : start + batch_size]]),)

    return _batches(batch, (starts,), [(None, *images.shape[1:3], len(step.views))])


_making = threading.Lock()  # held while a batch is made
_ended = threading.Event()


@atexit.register
def _end_streams() -> None:
    """Let no thread of tf.data be inside Python when the interpreter ends: the process would be aborted."""
    with _making:
        _ended.set()
    time.sleep(0.05)  # a thread that is on its way finds its stream at its end


def _batches(function: Callable, arguments: tuple[np.ndarray, ...], shapes: list[tuple]) -> Any:
    """A tf.data.Dataset of what a NumPy function gives, float32 of these shapes; some batches ahead, in order.

    Nothing is tuned: the end of a training would wait for tf.data's tuning thread, up to a minute.
    """
    import tensorflow as tf

    def guarded(*given: np.ndarray) -> tuple:
        with _making:
            if _ended.is_set():
                raise StopIteration
            return function(*given)

    def batch(*given: Any) -> Any:
        made = tf.numpy_function(guarded, given, [tf.float32] * len(shapes), stateful=False)
        made = tuple(tf.ensure_shape(array, shape) for array, shape in zip(made, shapes, strict=True))
        return made if len(made) > 1 else made[0]

    options = tf.data.Options()
    options.autotune.enabled = False
    stream = tf.data.Dataset.from_tensor_slices(arguments)
    return stream.map(batch).prefetch(4).with_options(options)
