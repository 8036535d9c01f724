"""The batches of a training and of an evaluation: each image with its label and weight, whatever the threads."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from trainings import NEEDS

import pnlib
from pnlib import TrainConfig, sampling
from pnlib.preprocessing import PREPROCESSINGS


def config(**settings):
    return TrainConfig(**{"batch_size": 8, "epochs": 1, "sampling": "none", "augmentation": "none"} | settings)


@pytest.fixture
def training(tiny):
    """Images and rows, whose index doesn't begin at 0."""
    rows = tiny.rows("train").iloc[8:40].assign(sampling_weight=1.0, part="train")
    return pnlib.load_images(tiny, rows), rows


def test_threads_of_the_pipeline_change_no_pixel(training, monkeypatch):
    import tensorflow as tf

    settings = config(augmentation="light", sampling="oversample", preprocessing="local_contrast", seed=3)
    many = list(sampling.training_batches(*training, settings))
    monkeypatch.setattr(tf.data, "AUTOTUNE", 1)
    few = list(sampling.training_batches(*training, settings))
    assert len(many) == len(few) == 4
    for a, b in zip(many, few, strict=True):
        assert all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))
    x, y, weight = many[0]
    assert x.shape == (8, 150, 150, 1) and y.shape == weight.shape == (8, 1)
    assert x.dtype == y.dtype == weight.dtype == "float32"


@pytest.mark.parametrize("read", [1, 2])
def test_a_process_may_end_while_batches_are_being_made(read):
    """tf.data's thread inside Python at the interpreter's end would abort the process: status 134."""
    code = f"""if True:
        import sys, numpy as np, pandas as pd, pnlib
        from pnlib.sampling import training_batches
        images = np.zeros((640, 150, 150, 1), np.uint8)
        rows = pd.DataFrame({{"label": np.arange(640) % 2, "part": "train"}})
        batches = iter(training_batches(images, rows, pnlib.TrainConfig(sampling="none")))
        for _ in range({read}):
            next(batches)
        sys.exit(3)
    """
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120).returncode == 3


def test_each_image_comes_with_its_label_and_weight():
    """Drawn are the 40 that train, of 60."""
    part = np.tile(["train", "validation", "train"], 20)
    rows = pd.DataFrame({"label": np.repeat([0, 1], [15, 45]), "sampling_weight": 1.0, "part": part})
    labels = rows.label.to_numpy()
    images = np.broadcast_to(np.arange(60, dtype=np.uint8)[:, None, None, None], (60, 150, 150, 1))
    for name in sampling.SAMPLINGS:
        for x, y, weight in sampling.training_batches(images, rows, config(preprocessing="none", sampling=name)):
            which = np.rint(x.numpy()[:, 0, 0, 0] * 255).astype(int)
            assert np.array_equal(labels[which], y.numpy()[:, 0]) and (part[which] == "train").all()
            own = np.flatnonzero(part == "train")
            weights = pd.Series(sampling.loss_weights(labels[own], name), own)
            assert np.array_equal(weights[which], weight.numpy()[:, 0])
    for places in (None, np.flatnonzero(part == "validation")):
        evaluated = np.concatenate([x for x in sampling.evaluation_batches(images, "none", 16, places)])
        wanted = np.arange(60) if places is None else places
        assert np.array_equal(np.rint(evaluated[:, 0, 0, 0] * 255), wanted), "in order, the last batch too"


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS)
def test_training_and_evaluation_see_the_same(training, preprocessing):
    images, rows = training
    expected = np.asarray(PREPROCESSINGS[preprocessing](images))
    evaluated = np.concatenate([x.numpy() for x in sampling.evaluation_batches(images, preprocessing, batch_size=10)])
    settings = config(preprocessing=preprocessing, **NEEDS.get(preprocessing, {}))
    trained = np.concatenate([x.numpy() for x, _, _ in sampling.training_batches(images, rows, settings)])
    assert np.allclose(evaluated, expected, atol=1e-5)
    assert np.allclose(trained, expected[sampling.epoch_orders(rows, settings).ravel()], atol=1e-5)
