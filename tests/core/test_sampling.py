"""Which image stands where in each epoch."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import pnlib
from pnlib import InputError
from pnlib.preprocessing import PREPROCESSINGS
from pnlib.sampling import SAMPLINGS, epoch_orders, loss_weights, steps_per_epoch, training_batches


def config(**settings):
    return pnlib.TrainConfig(**{"batch_size": 8, "epochs": 2, "sampling": "none"} | settings)


def rows_of(n):
    """Every third image is normal; pneumonias are drawn unless their number is a multiple of four."""
    return pd.DataFrame({"label": (np.arange(n) % 3 > 0).astype(int), "sampling_weight": np.arange(n) % 4 / 2 + 0.1})


@pytest.mark.parametrize("n, batch_size", [(40, 8), (41, 41), (51, 17), (40, 7), (2, 2)])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_steps_are_counted_as_they_are_drawn(n, batch_size, sampling):
    if sampling in ("oversample", "overlap") and batch_size > n // 2 * 2:
        with pytest.raises(InputError, match="batch_size=41 is more than the 41 training images; give a smaller one"):
            steps_per_epoch(n, batch_size, sampling)
        return
    orders = epoch_orders(rows_of(n), config(batch_size=batch_size, sampling=sampling))
    assert orders.shape == (2, steps_per_epoch(n, batch_size, sampling), batch_size)


def test_an_order_depends_on_the_seed_and_the_epoch_alone():
    rows = rows_of(40)
    orders = epoch_orders(rows, config(), epochs=6)
    assert np.array_equal(orders[:2], epoch_orders(rows, config()))
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders, epoch_orders(rows, config(seed=1), epochs=6))
    assert all(sorted(epoch.ravel()) == list(range(40)) for epoch in orders), "each image once"


@pytest.mark.parametrize("sampling", ["oversample", "overlap"])
def test_half_of_an_epoch_is_of_each_class(sampling):
    rows = rows_of(80)
    for epoch in epoch_orders(rows, config(sampling=sampling), epochs=5):
        assert rows.label.to_numpy()[epoch].mean() == 0.5
        if sampling == "oversample":  # 27 normals fill 40 places: each comes once or twice
            assert set(np.bincount(epoch.ravel(), minlength=80)[rows.label == 0]) == {1, 2}


def test_overlap_draws_in_proportion_to_the_sampling_weights_within_each_class():
    rows = rows_of(120)
    drawn = np.bincount(epoch_orders(rows, config(sampling="overlap"), epochs=300).ravel(), minlength=120)
    for label in (0, 1):
        own = (rows.label == label).to_numpy()
        for weight in rows.sampling_weight.unique():
            some = own & (rows.sampling_weight == weight).to_numpy()
            wanted = rows.sampling_weight[some].sum() / rows.sampling_weight[own].sum()
            assert abs(drawn[some].sum() / drawn[own].sum() - wanted) < 0.02
    with pytest.raises(InputError, match="take those of overlap_weights"):
        epoch_orders(rows.drop(columns="sampling_weight"), config(sampling="overlap"))


def test_class_weights_give_both_classes_the_same_weight_in_the_loss():
    labels = np.array([0, 1, 1, 1])
    assert loss_weights(labels, "class_weights") == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3])
    assert (loss_weights(labels, "none") == 1).all()


def test_a_batch_depends_on_its_seed_epoch_and_step_alone():
    """A training that is resumed after an epoch gets the batches that it would have got."""
    rows = rows_of(24).assign(part="train")
    settings = config(sampling="class_weights", augmentation="light", preprocessing="standardize", epochs=3)
    images = np.random.default_rng(0).integers(0, 256, (24, 150, 150, 1), np.uint8)
    whole, rest = (
        [[x.numpy() for x in batch] for batch in training_batches(images, rows, settings, first)] for first in (0, 2)
    )
    assert len(whole) == 9 and len(rest) == 3
    for batch, again in zip(whole[6:], rest, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(batch, again, strict=True))


def test_batches_are_the_same_where_tensorflow_was_in_use_before():
    """In a process of its own: there tf.data would compile with TensorFlow's graph optimizer, which changes last bits."""
    code = """if True:
        import numpy as np, pandas as pd, tensorflow as tf
        tf.zeros(1) + 1
        import pnlib
        from pnlib import preprocessing, sampling, training
        training.seed_everything(0)
        images = np.random.default_rng(0).integers(0, 256, (8, 150, 150, 1), np.uint8)
        rows = pd.DataFrame({"label": np.arange(8) % 2, "part": "train"})
        for name, step in preprocessing.PREPROCESSINGS.items():
            views = {"network": "compact", "augmentation": "none+none"} if name == "two_views" else {"augmentation": "none"}
            config = pnlib.TrainConfig(preprocessing=name, sampling="none", batch_size=8, epochs=1, **views)
            (order,), = sampling.epoch_orders(rows, config)
            (trained, *_), = sampling.training_batches(images, rows, config)
            evaluated, = sampling.evaluation_batches(images, name)
            print(name, np.array_equal(trained, step(images[order])), np.array_equal(evaluated, step(images)))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{name} True True" for name in PREPROCESSINGS]
