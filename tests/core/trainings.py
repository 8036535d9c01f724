"""A training of a few seconds, for the tests of what surrounds it: state, bits, faults.

Importing this module registers the network `small`, so that `TrainConfig(network="small")` is possible.
"""

from typing import Any

import numpy as np
import pytest

import pnlib
from pnlib import networks

SETTINGS: dict[str, Any] = {
    "network": "small", "epochs": 2, "batch_size": 16, "learning_rate": 0.01, "weight_decay": 0.0, "ema_momentum": 0.0,
    "preprocessing": "none", "augmentation": "none", "sampling": "oversample", "validation": 0.25, "keep": "best",
}  # fmt: skip


NEEDS = {"two_views": {"network": "compact", "augmentation": "none+none"}}  # of a preprocessing


# What a finished training holds.
FINISHED = ["environment.json", "fingerprint.json", "history.csv", "index.csv", "provenance.json", "weights.npz"]


def small_layers(dropout: float = 0.5) -> list:
    """Each kind of state that a training has to keep: weights, the statistics of batch normalisation, the draws of
    dropout. They have no names of their own, as a learner would write it."""
    from keras import layers

    return [
        layers.AveragePooling2D(6),
        layers.Conv2D(8, 3, padding="same", use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
        layers.MaxPooling2D(5),
        layers.Flatten(),
        layers.Dropout(dropout),
        layers.Dense(1, activation="sigmoid", dtype="float32"),
    ]


def build_small(dropout: float = 0.5) -> Any:
    """A network of the usual ends, which trains in a second."""
    import keras

    return keras.Sequential([keras.Input((150, 150, 1)), *small_layers(dropout)])


networks.NETWORKS["small"] = build_small


def trained(folder, run="one", few=None, **settings):
    """Train on the images of this folder, or on `few` of each class of training and validation; the `pnlib.Training`."""
    config = pnlib.TrainConfig(**SETTINGS | settings)
    rows, images = pnlib.training_data(pnlib.find_dataset(str(folder)), config)
    chosen = rows.groupby(["part", "label"]).head(few or len(rows)).index
    return pnlib.train(config, rows.loc[chosen], images[chosen], run=run)


def arrays_of(network) -> np.ndarray:
    """All weights in one row, trained and not."""
    return np.concatenate([array.ravel() for array in network.get_weights()])


def weights_of(run) -> np.ndarray:
    """Those of a finished training."""
    return arrays_of(pnlib.load_run(run).network)


def finished_folder(data: Any, tmp_path_factory: Any, **settings: Any) -> Any:
    """The folder of one finished training, in folders of its own, for the fixture of a module."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("runs", "cache"):
            patch.setenv(f"PNLIB_{name.upper()}", str(tmp_path_factory.mktemp(name)))
        return trained(data, **settings).folder
