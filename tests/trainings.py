"""A training of a minute's fraction, for the tests of what surrounds it: state, bits, faults."""

import numpy as np

from pnlib import augment, data, feed, model, train

PARAMETERS = {"epochs": 3, "batch_size": 16, "learning_rate": 0.001, "seed": 0, "augmentation": "usual", "balancing": "oversample",
              "precision": "float32", "run": "one"}  # fmt: skip


def build_small():
    """A network of the same ends with each kind of state that a training has to keep: weights, the statistics of batch
    normalisation, the draws of dropout. Its layers have no names of their own, as a learner would write it."""
    import keras

    layers = keras.layers
    inside = [
        layers.AveragePooling2D(6),
        layers.Conv2D(8, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(5),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(1, activation="sigmoid", dtype="float32"),
    ]
    return keras.Sequential([keras.Input((150, 150, 1)), *inside])


NETWORKS = {**model.NETWORKS, "small": build_small}


def trained(folder, network="small", **changes):
    """Train on the images of this folder; the model and the result. As 04_train does it, without judging."""
    parameters = PARAMETERS | changes | ({"network": network} if network in model.NETWORKS else {})
    found = data.find(str(folder))
    rows = data.split_by_patient(found.table, 0.25, parameters["seed"])
    rows = rows[rows.part != "test"].reset_index(drop=True)
    train.seed_everything(parameters["seed"], parameters["precision"])
    built = NETWORKS[network]()
    steps = feed.steps_per_epoch(int((rows.part == "train").sum()), parameters["batch_size"], parameters["balancing"])
    options = {
        name: parameters[name] for name in ("weight_decay", "averaging", "label_smoothing") if name in parameters
    }
    train.compile_model(built, parameters["learning_rate"], steps * parameters["epochs"], **options)
    result = train.fit(built, data.load(found, rows), rows, parameters, augment.build(parameters["augmentation"]))
    return built, result


def arrays_of(network) -> np.ndarray:
    return np.concatenate([w.ravel() for w in network.get_weights()])


def weights_of(run, network="small") -> np.ndarray:
    return arrays_of(train.load_best(NETWORKS[network](), run))
