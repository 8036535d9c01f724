"""pnlib: the library behind five notebooks about pneumonia in chest X-rays.

A `TrainConfig` goes in, a `Classifier` comes out, predictions flow on:

    dataset = pnlib.find_dataset()
    config = pnlib.TrainConfig(epochs=2)
    rows, images = pnlib.training_data(dataset, config)
    training = pnlib.train(config, rows, images, run="first")

    test = dataset.rows("test")
    predictions = training.classifier.predictions(test, pnlib.load_images(dataset, test))
    pnlib.bootstrap(predictions)

The names below are the public ones. Around them stand `pnlib.review` (what a reviewer asks), `pnlib.studies` (how
settings are compared), `pnlib.inference` (one's own images) and `pnlib.runner` (the command line). Importing pnlib
reads no file, draws no seed and starts no TensorFlow. It teaches; it is no medical device.
"""

import importlib

__version__ = "0.2.0"

# Where each public name is; imported when it is first used.
_PUBLIC = {
    "Classifier": "classifier",
    "Dataset": "datasets",
    "InputError": "base.errors",
    "TrainConfig": "config",
    "acquisition_features": "shortcuts",
    "augment": "augmentation",
    "bootstrap": "evaluation",
    "build_network": "networks",
    "check_claim": "claims",
    "check_parameters": "config",
    "crossed_auroc": "stress",
    "decode": "datasets",
    "exercises": "",
    "find_dataset": "datasets",
    "load_images": "datasets",
    "load_reference": "classifier",
    "load_run": "classifier",
    "metrics": "evaluation",
    "operating_point": "evaluation",
    "plots": "",
    "predict": "inference",
    "quiet_tensorflow": "base.machine",
    "split_by_patient": "datasets",
    "stress_summary": "stress",
    "stress_test": "stress",
    "train": "training",
    "training_data": "training",
    "validation_data": "training",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'pnlib' has no attribute {name!r}")
    if not _PUBLIC[name]:
        return importlib.import_module(f"pnlib.{name}")
    return getattr(importlib.import_module(f"pnlib.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
