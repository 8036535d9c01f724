"""Compile and fit: the library's way to train, which adds resuming, averaging and a log to Keras' `fit`."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pnlib import checkpoint
from pnlib.base import files, paths
from pnlib.base.errors import InputError
from pnlib.base.machine import best_precision
from pnlib.callbacks import averager, epoch_line, progress, saver
from pnlib.classifier import Classifier, load_run
from pnlib.config import TrainConfig
from pnlib.datasets import Dataset, load_images, rows_of_run, split_by_patient
from pnlib.datasets.leaks import check_leaks, one_person
from pnlib.networks import build_network
from pnlib.networks.fast import compiled
from pnlib.preprocessing import PREPROCESSINGS, Preprocessing, looks_inverted
from pnlib.sampling import evaluation_batches, steps_per_epoch, training_batches
from pnlib.shortcuts import overlap_weights, shifted_split, shortcut_features


def training_data(dataset: Dataset, config: TrainConfig) -> tuple[pd.DataFrame, np.ndarray]:
    """The training split's rows and images, ready for `train`. No pixel of the test images is read.

    Args:
        dataset: of `find_dataset`.
        config: its split, validation, seed, sampling and preprocessing.

    Returns:
        Rows of the index table with `part` (train, validation) and `sampling_weight` (how often an image is drawn,
        relative to others of its class; 1 unless sampling is `overlap`), and the images, (n, 150, 150, 1) uint8.

    >>> import pnlib
    >>> rows, images = pnlib.training_data(pnlib.find_dataset("demo"), pnlib.TrainConfig(sampling="oversample"))
    >>> images.shape, sorted(rows.part.unique())
    ((800, 150, 150, 1), ['train', 'validation'])
    """
    rows = dataset.rows("train")
    images = load_images(dataset, rows)
    inverted = looks_inverted(images)
    if inverted.any():
        first = rows.path[inverted.argmax()]
        print(f"NOTE: {inverted.sum()} of {len(rows)} training images look inverted (bone is black), {first} for one.")
    own = rows.patient
    rows["patient"] = one_person(own, images)  # of whom one picture is there under two names
    if config.split == "random":
        rows["part"] = split_by_patient(rows, config.validation, config.seed).part
    else:
        rows = shifted_split(rows, images, config.seed)
    rows["patient"] = own.to_numpy()
    rows["sampling_weight"] = 1.0
    if config.sampling == "overlap":
        own = (rows.part == "train").to_numpy()
        first, *_ = PREPROCESSINGS[config.preprocessing].views  # of two views the whole image: its framing
        features = shortcut_features(Preprocessing(first).before_augmentation(images))
        features = {name: of_all[own] for name, of_all in features.items()}
        rows.loc[own, "sampling_weight"] = overlap_weights(features, rows.label[own].to_numpy(), rows.patient[own])
    return rows, images


def validation_data(dataset: Dataset, classifier: Classifier) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows and images of the patients that validated a trained classifier.

    A run has them in its `index.csv`. A reference has no such file: its split is drawn again from its settings. Where
    it was trained on other images than these, any of them may judge it, and 15 % do.

    Args:
        dataset: of `find_dataset`.
        classifier: of `load_run` or `load_reference`.

    Returns:
        Rows of the index table, and their images, (n, 150, 150, 1) uint8.

    Raises:
        InputError: the run was trained on another dataset.

    >>> import pnlib
    >>> rows, images = pnlib.validation_data(pnlib.find_dataset("demo"), pnlib.load_reference("baseline"))
    >>> len(rows) == len(images)
    True
    """
    if classifier.folder and (classifier.folder / "index.csv").is_file():
        rows = rows_of_run(dataset, classifier.folder, "validation")
        return rows, load_images(dataset, rows)
    config = dataclasses.replace(classifier.config, sampling="none")
    if not dataset.is_published:
        config = dataclasses.replace(config, validation=TrainConfig().validation)
    rows, images = training_data(dataset, config)
    held_out = (rows.part == "validation").to_numpy()
    return rows[held_out].reset_index(drop=True), images[held_out]


@dataclasses.dataclass
class Training:
    """A finished training: its folder, its classifier (with the weights of the kept epoch), its history.

    `history` has one row per epoch; `kept_epoch` counts from 1.
    """

    folder: Path
    classifier: Classifier
    history: pd.DataFrame
    kept_epoch: int


def train(config: TrainConfig, rows: pd.DataFrame, images: np.ndarray, run: str = "default") -> Training:
    """Train a network, resume an interrupted training, or load a finished one.

    The same line resumes after the last finished epoch and ends with the same bits as if nothing had happened.

    Args:
        config: all settings.
        rows: index table of training and validation images, with `part` and `sampling_weight` (`training_data`).
        images: theirs, (n, 150, 150, 1) uint8, in the order of `rows`.
        run: name of the run, whose folder is `runs/RUN/train`. Another finished training there is kept, as `train~1`.

    Raises:
        InputError: test images among `rows`, no validation, a batch larger than an epoch, an unfinished training
            that was begun with other settings, images or versions, a folder that can't be written, a loss that is not
            a number, or another process that trains under this name.

    >>> import pnlib
    >>> config = pnlib.TrainConfig(network="compact", epochs=1, sampling="oversample", augmentation="none")
    >>> rows, images = pnlib.training_data(pnlib.find_dataset("demo"), config)
    >>> few = rows.groupby(["part", "label"]).head(16).index
    >>> training = pnlib.train(config, rows.loc[few], images[few], run="doctest")  # doctest: +ELLIPSIS
    epoch   1/1...
    >>> training.kept_epoch, training.classifier.predict(images[:2]).shape
    (1, (2,))
    """
    if set(rows.part) != {"train", "validation"}:
        raise InputError(f"Training takes the parts train and validation; got {', '.join(sorted(set(rows.part)))}.")
    own = rows[rows.part == "train"]
    if config.sampling == "overlap" and ("sampling_weight" not in rows or own.sampling_weight.nunique() < 2):
        raise InputError("sampling='overlap' needs rows.sampling_weight that differ; take those of overlap_weights.")
    check_leaks(rows, images)
    if config.precision == "auto":
        config = dataclasses.replace(config, precision=best_precision(config.network))
    steps = steps_per_epoch(len(own), config.batch_size, config.sampling)
    folder = paths.run_dir(run)
    with files.locked(folder, "training"):
        seed_everything(config.seed, config.precision)
        network = build_network(config.network, config.dropout, config.views)
        compile_network(network, config, steps * config.epochs)
        wanted = checkpoint.fingerprint(network, rows, images, config)
        if checkpoint.is_same(folder / "train", wanted):
            try:
                training = _finished(run)
            except InputError as error:
                print(f"{error} It is set aside, and the training is done again.")
            else:
                for row in training.history.to_dict("records"):
                    print(epoch_line(row, config.epochs))
                print(
                    f"Run {run!r} was trained before with these very settings: its weights are loaded. "
                    f"To train again, delete its folder {paths.shown(training.folder)}."
                )
                return training
        checkpoint.begin(folder / "train.partial", wanted)
        _fit(network, config, rows, images, folder / "train.partial")
        # what stood here is kept beside: an old result is not this training's
        kept = [files.set_aside(folder / "evaluate"), files.put_in_place(folder / "train.partial", folder / "train")]
        if any(kept):
            print(f"An earlier training stood here: it is kept as {', '.join(paths.shown(k) for k in kept if k)}.")
        return _finished(run)


def _finished(run: str) -> Training:
    classifier = load_run(run)
    folder = paths.run_dir(run) / "train"
    try:
        kept = int(files.read_json(folder / "provenance.json")["epoch"])
        training = Training(folder, classifier, pd.read_csv(folder / "history.csv"), kept)
    except Exception as error:  # pandas raises many kinds
        raise InputError(f"Cannot read history.csv and provenance.json in {folder}; run 04_train again.") from error
    # only now: had it been killed before, the run would have lost all epochs
    (folder / checkpoint.STATE).unlink(missing_ok=True)
    return training


def seed_everything(seed: int, precision: str = "float32") -> None:
    """Seed Python, NumPy and TensorFlow, ask for deterministic operations, and set the precision policy.

    TensorFlow's graph optimizer (Grappler) is switched off. In a graph that holds much memory its memory optimizer has
    the summands of an AddN added up in whatever order threads deliver them; the gradient of the cross-entropy of logits
    is such a sum, of four. `enable_op_determinism` knows nothing of it, no option switches it off alone, and on a CPU
    a training step takes as long without Grappler (docs/performance.md).

    Keras counts its layers from one again, so a network built anew has the same names and its training can be resumed.
    """
    import keras
    import tensorflow as tf

    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    keras.config.set_dtype_policy(precision)


def compile_network(network: Any, config: TrainConfig, total_steps: int) -> None:
    """Adam, its rate rising over the first 5 % of the steps and falling along a cosine to 0; binary cross-entropy.

    The schedule is SGDR's without restarts (Loshchilov and Hutter, arXiv 1608.03983). Weight decay is decoupled from
    the gradient (AdamW: Loshchilov and Hutter, arXiv 1711.05101). With `ema_momentum` the exponential moving average of
    the weights is what is validated and kept (Polyak and Juditsky, 1992); in short trainings the momentum is lowered,
    so that the average spans about 1/20 of the steps at most and doesn't depend on the random start. Label smoothing s
    trains for the targets s/2 and 1 - s/2 (Szegedy et al., arXiv 1512.00567).
    """
    import keras

    warmup = max(1, total_steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=config.learning_rate / 10,
        warmup_target=config.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(1, total_steps - warmup),
    )
    metrics = [keras.metrics.BinaryAccuracy(name="accuracy"), keras.metrics.AUC(num_thresholds=1000, name="auroc")]
    options: dict[str, Any] = {}
    if config.ema_momentum:
        momentum = min(config.ema_momentum, 1 - 1 / (1 + total_steps / 20))
        options = {"use_ema": True, "ema_momentum": momentum, "ema_overwrite_frequency": None}
    if config.weight_decay:
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay, name="adamw", **options)
    else:
        optimizer = keras.optimizers.Adam(schedule, name="adam", **options)
    loss = keras.losses.BinaryCrossentropy(label_smoothing=config.label_smoothing)
    if network.count_params() > 1_000_000:  # for fewer, compiling takes longer than it saves
        optimizer = compiled(optimizer)
    network.compile(optimizer, loss=loss, metrics=metrics)


def _fit(network: Any, config: TrainConfig, rows: pd.DataFrame, images: np.ndarray, partial: Path) -> None:
    """Keras' `fit`, from the epoch after the stored state on; then everything that a finished training holds."""
    import tensorflow as tf

    history = checkpoint.read_state(partial, network)
    if history:
        print(f"Going on after epoch {len(history)} of {config.epochs}, where the run was interrupted.")
    if len(history) < config.epochs:
        steps = steps_per_epoch(int((rows.part == "train").sum()), config.batch_size, config.sampling)
        held_out = np.flatnonzero(rows.part == "validation")
        shown = evaluation_batches(images, config.preprocessing, 64, held_out)
        labels = tf.data.Dataset.from_tensor_slices(rows.label.to_numpy(np.float32)[held_out, None]).batch(64)
        network.fit(
            training_batches(images, rows, config, first_epoch=len(history)),
            validation_data=tf.data.Dataset.zip((shown, labels)),
            initial_epoch=len(history),
            epochs=config.epochs,
            steps_per_epoch=steps,
            callbacks=[averager(), saver(partial, history, config), progress(steps, config.epochs)],
            verbose=0,
            shuffle=False,
        )
    files.atomic_write(partial / "history.csv", pd.DataFrame(history).to_csv(index=False, float_format="%.6g"))
    files.atomic_write(partial / "index.csv", rows.to_csv(index=False))
    for leftover in partial.glob(".*"):  # of writes that were killed
        leftover.unlink()
