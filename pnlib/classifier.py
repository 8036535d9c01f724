"""A classifier: a network with its preprocessing. Nobody outside has to know how the network's images were prepared.

A finished training, and each of the two trained classifiers that the project brings (`models/reference/NAME/`), is a
folder with `weights.npz` (no pickle) and `provenance.json`, which `Classifier.save` writes and `Classifier.load` reads.
"""

import functools
import hashlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pnlib.base import files, paths
from pnlib.base.errors import InputError
from pnlib.config import TrainConfig
from pnlib.networks import SIZE, build_network
from pnlib.preprocessing import PREPROCESSINGS, Preprocessing, check_images, looks_inverted
from pnlib.sampling import evaluation_batches

REFERENCES = ("baseline", "compact")
BATCH = 32  # images that a network is asked about at once


class Classifier:
    """A trained network with its preprocessing. It takes images as they are decoded.

    It teaches; it is no medical device.

    Attributes:
        network: the `keras.Model`. Called directly, it wants images that are preprocessed already (`seen`).
        config: the settings that it was trained with, preprocessing among them.
        folder: where it was loaded from.

    >>> import pnlib
    >>> classifier = pnlib.load_reference("compact")
    >>> dataset = pnlib.find_dataset("demo")
    >>> images = pnlib.load_images(dataset, dataset.rows("test"))[:3]
    >>> classifier.predict(images).shape, classifier.grad_cam(images).shape
    ((3,), (3, 150, 150))
    """

    def __init__(self, network: Any, config: TrainConfig, folder: Path | None = None) -> None:
        self.network, self.config, self.folder = network, config, folder

    def __repr__(self) -> str:
        return f"Classifier({self.config.network!r}, {self.parameters:,} parameters, {self.config.preprocessing!r})"

    @property
    def parameters(self) -> int:
        """How many numbers the network holds."""
        return self.network.count_params()

    @property
    def preprocessing(self) -> Preprocessing:
        """The steps before the network sees an image."""
        return PREPROCESSINGS[self.config.preprocessing]

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Probabilities of pneumonia.

        Args:
            images: (n, 150, 150, 1) uint8, as `decode` and `load_images` give them.

        Returns:
            (n,) float64 in [0, 1].

        Raises:
            InputError: images of another shape or dtype (gray values in [0, 1], say).
        """
        _check(images)
        if (inverted := looks_inverted(images)).any():
            warnings.warn(
                f"{inverted.sum()} of {len(images)} images look inverted (bone is black); if they are, read them with "
                "decode(path, invert=True), or give 255 - images.",
                stacklevel=2,
            )
        return self._asked(self.network, images)[:, 0].astype(np.float64)

    def predictions(self, rows: pd.DataFrame, images: np.ndarray) -> pd.DataFrame:
        """The predictions table: path, label, patient, subtype and probability, one row per image.

        Args:
            rows: rows of an index table.
            images: theirs, (n, 150, 150, 1) uint8.
        """
        kept = rows[["path", "label", "patient", "subtype"]].reset_index(drop=True)
        return kept.assign(probability=self.predict(images))

    def seen(self, images: np.ndarray) -> np.ndarray:
        """What the network sees of (n, 150, 150, 1) uint8 images: (n, 150, 150, views) float32."""
        _check(images)
        return np.asarray(self.preprocessing(images))

    def features(self, images: np.ndarray) -> np.ndarray:
        """What the last layer decides by: the network's description of (n, 150, 150, 1) uint8 images.

        Returns:
            (n, k) float32, with k = 512 for the baseline, 288 for compact with its two views.
        """
        _check(images)
        return self._asked(self._before_the_end, images).astype(np.float32)

    @functools.cached_property
    def _before_the_end(self) -> Any:
        """The network without its last layer, built once: Keras compiles each model anew."""
        import keras

        return keras.Model(self.network.inputs[0], self.network.layers[-1].input)

    def _asked(self, network: Any, images: np.ndarray) -> np.ndarray:
        """What a network with this preprocessing says of images.

        A single batch needs no stream: `pnlib predict` asks thousands of times, and each stream stays a while.
        """
        if len(images) <= BATCH:
            return np.asarray(network.predict_on_batch(self.preprocessing(images)))
        return network.predict(evaluation_batches(images, self.config.preprocessing, BATCH), verbose=0)

    def grad_cam(self, images: np.ndarray) -> np.ndarray:
        """Grad-CAM heat maps of what speaks for pneumonia (Selvaraju et al., arXiv 1610.02391).

        The last maps of each view are weighted by the mean gradient of the output's logit, summed, and cut off at 0.
        The heat maps of several views are added.

        Args:
            images: (n, 150, 150, 1) uint8.

        Returns:
            (n, 150, 150) float32 from 0 to 1, where 1 is the strongest place; all 0 where nothing speaks for pneumonia.
            They lie on the images as given, also where the network sees a crop.

        Raises:
            InputError: images of another shape or dtype; a network without convolutions.
        """
        heats = np.stack([_heat_maps(self.network, image[None]) for image in self.seen(images)])
        laid = self.preprocessing.uncrop(heats, images)
        highest = laid.max(axis=(1, 2), keepdims=True)
        return laid / np.where(highest > 0, highest, 1)

    def save(self, folder: str | Path, about: dict | None = None, weights: list[np.ndarray] | None = None) -> Path:
        """Write `weights.npz` and `provenance.json` into a folder, which is made if it is missing.

        Args:
            folder: files of these names are replaced.
            about: what else the provenance is to say.
            weights: in place of the network's own, in the order of `network.get_weights()`: its moving averages, say,
                or the same as float16, for half the size and fewer digits.

        >>> import pnlib
        >>> folder = pnlib.load_reference("compact").save("doctest-classifier")
        >>> pnlib.Classifier.load(folder)
        Classifier('compact', 923,533 parameters, 'two_views')
        """
        content = io.BytesIO()
        weights = self.network.get_weights() if weights is None else weights
        np.savez(content, **{f"w{i}": array for i, array in enumerate(weights)})  # type: ignore[arg-type]
        files.atomic_write(Path(folder) / "weights.npz", content.getbuffer())
        sha256 = hashlib.sha256(content.getbuffer()).hexdigest()
        provenance = {**(about or {}), "config": self.config.to_json(), "weights_sha256": sha256}
        files.write_json(Path(folder) / "provenance.json", provenance)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> "Classifier":
        """Read what `save` wrote. The weights are used as float32.

        Raises:
            InputError: missing or damaged files, or weights other than the provenance says. Nothing in the files is
                executed: arrays of numbers are read, and no pickle.
        """
        folder = Path(folder)
        provenance = files.read_json(folder / "provenance.json")
        try:
            sha256, config = provenance["weights_sha256"], TrainConfig.from_json(provenance["config"])
        except (KeyError, TypeError, InputError) as error:
            raise InputError(f"{folder / 'provenance.json'} is no classifier's provenance; restore it.") from error
        network = build_network(config.network, config.dropout, config.views)
        try:
            content = (folder / "weights.npz").read_bytes()
            if hashlib.sha256(content).hexdigest() != sha256:
                raise ValueError("not what its provenance says (SHA-256)")
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                network.set_weights([stored[f"w{i}"].astype(np.float32) for i in range(len(stored.files))])
        except Exception as error:  # NumPy, zipfile and Keras raise many kinds
            raise InputError(
                f"Cannot read {folder / 'weights.npz'}: it is missing, damaged, or not what its provenance says; "
                "restore it, or train again."
            ) from error
        return cls(network, config, folder)


def _check(images: np.ndarray) -> None:
    check_images(images)
    if not len(images):
        raise InputError("There are no images to predict; give at least one.")
    if images.shape[1:3] != (SIZE, SIZE):
        height, width = images.shape[1:3]
        raise InputError(
            f"The network takes images of {SIZE} x {SIZE} pixels, these have {height} x {width}; "
            "read them with pnlib.decode or pnlib.load_images."
        )


def _heat_maps(network: Any, seen: np.ndarray) -> np.ndarray:
    """Grad-CAM of one image (1, h, w, views) as the network sees it, not scaled: (views, h, w) float32."""
    import keras
    import tensorflow as tf

    last = network.layers[-1]
    if not hasattr(last, "kernel"):
        raise InputError(f"The last layer of {network.name!r} is {last.name!r}; Grad-CAM needs a dense one at the end.")
    views = seen.shape[3]
    prefixes = [""] if views == 1 else [f"view{i}_" for i in range(1, views + 1)]
    probe = keras.Model(network.inputs[0], [*(_last_maps(network, prefix) for prefix in prefixes), last.input])
    with tf.GradientTape() as tape:
        *all_maps, features = probe(seen, training=False)
        # The logit, not the probability: through the sigmoid a confident answer has no gradient left.
        logit = tf.cast(features, tf.float32) @ tf.cast(last.kernel, tf.float32) + tf.cast(last.bias, tf.float32)
    heats = []
    for maps, gradient in zip(all_maps, tape.gradient(logit, all_maps), strict=True):
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(tf.cast(weights * maps, tf.float32), axis=-1, keepdims=True))
        heats.append(tf.image.resize(heat, seen.shape[1:3])[0, ..., 0].numpy())
    return np.stack(heats)


def _last_maps(network: Any, prefix: str) -> Any:
    """The output of the last layer (or network inside the network) that gives maps, of those whose names begin so.

    A pooling doesn't count.
    """
    for layer in reversed(network.layers):
        kind = type(layer).__name__
        maps = len(layer.output.shape) == 4 and kind != "InputLayer" and "Pooling" not in kind
        if maps and layer.name.startswith(prefix):
            return layer.get_output_at(-1) if hasattr(layer, "get_output_at") else layer.output
    raise InputError(f"The network {network.name!r} has no convolution, so there is nothing that Grad-CAM could weigh.")


def load_run(name: str = "default") -> Classifier:
    """The classifier of a finished training, `runs/NAME/train`.

    Raises:
        InputError: there is no finished training under this name, or its files are damaged.

    >>> import pnlib
    >>> pnlib.load_run("never-trained")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    pnlib.base.errors.InputError: Run 'never-trained' holds no trained network in ...
    """
    folder = paths.run_dir(name) / "train"
    if not all((folder / file).is_file() for file in ("weights.npz", "provenance.json", "history.csv", "index.csv")):
        raise InputError(f"Run {name!r} holds no trained network in {folder}; run 04_train with run={name!r} first.")
    return Classifier.load(folder)


def load_reference(name: str = "compact") -> Classifier:
    """A trained classifier that the project brings: 'baseline' or 'compact'.

    Raises:
        InputError: unknown name, missing or damaged files.

    >>> import pnlib
    >>> pnlib.load_reference("baseline")
    Classifier('baseline', 6,794,881 parameters, 'local_contrast')
    """
    if name not in REFERENCES:
        raise InputError(f"There is no reference model {name!r}; there are {', '.join(REFERENCES)}.")
    folder = paths.brought(f"models/reference/{name}")
    if not (folder / "weights.npz").is_file():
        raise InputError(
            f"The reference model {name!r} is not in {folder}: a clone of the project or its wheel brings it; get one."
        )
    return Classifier.load(folder)
