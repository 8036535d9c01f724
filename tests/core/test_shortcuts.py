"""What predicts the label without being disease: acquisition features, overlap weights, the shifted split."""

import numpy as np
import pandas as pd
import pytest

import pnlib
from pnlib import InputError
from pnlib.sampling import epoch_orders
from pnlib.shortcuts import (
    GROUPS,
    acquisition_features,
    ends_of_series,
    most_misleading,
    overlap_weights,
    propensity_scores,
    shifted_split,
    shortcut_features,
)


def framed(n=240, patients=144, seed=0):
    """Images whose black margin is wide for normals, as a rule; every twelfth patient is framed like the other class."""
    rng = np.random.default_rng(seed)
    images, rows = [], []
    for i in range(n):
        label, number = i % 2, i % patients
        odd = number // 2 % 12 == 0
        image = rng.integers(60, 200, (150, 150, 1), np.uint8)
        margin = rng.integers(20, 30) if (label == 0) != odd else rng.integers(0, 6)
        if margin:
            image[:, :margin] = image[:, -margin:] = 0
        images.append(image)
        patient = f"person{number:03d}" if label else f"IM-{number:04d}"
        rows.append((f"train/{i}.jpeg", "train", label, patient, "virus" if label else "none", odd))
    table = pd.DataFrame(rows, columns=["path", "split", "label", "patient", "subtype", "odd"])
    return table, np.stack(images)


@pytest.fixture(scope="module")
def split():
    table, images = framed()
    return shifted_split(table, images), images


def test_acquisition_features_measure_what_they_say():
    image = np.full((100, 100, 1), 100, np.uint8)
    image[:, :10] = 0
    image[::2] //= 2
    (row,) = acquisition_features(image[None]).to_dict("records")
    assert row["black_share"] == pytest.approx(0.1) and row["margin"] == pytest.approx(0.5)
    assert row["brightness"] == pytest.approx(0.9 * 75) and row["sharpness"] == pytest.approx(0.9 * 50)
    assert row["contrast"] == pytest.approx(image.std())


def test_an_image_is_scored_by_a_fit_on_other_patients():
    """A feature that names the patient, and nothing else, predicts nothing."""
    patients = np.repeat(np.arange(40), 3)
    labels = patients % 2
    names = np.eye(40)[patients]
    scores = propensity_scores(names, labels, patients)
    assert abs(scores[labels == 1].mean() - scores[labels == 0].mean()) < 0.1
    telling = propensity_scores(labels[:, None] + np.random.default_rng(0).normal(0, 0.3, (120, 1)), labels, patients)
    assert telling[labels == 1].min() > telling[labels == 0].mean()


def test_the_most_misleading_patients_are_held_out_whole():
    patients = np.repeat([f"p{i:02d}" for i in range(40)], 2)
    labels = np.repeat([0, 1], 40)
    scores = np.r_[np.linspace(0, 0.5, 40), np.linspace(0.5, 1, 40)]
    held = most_misleading(scores, labels, patients, share=0.1)
    assert set(patients[held]) == {"p18", "p19", "p20", "p21"}, (
        "normals of the highest scores, pneumonias of the lowest"
    )
    assert held.sum() == 8


def test_the_framing_group_holds_the_patients_that_are_framed_like_the_other_class(split):
    rows, _ = split
    odd = rows[rows.odd]
    assert odd.framing.all() and rows.framing.mean() < 0.15
    assert odd.part.eq("validation").all()


def test_patients_are_whole_and_every_group_has_both_classes(split):
    rows, _ = split
    assert rows.groupby("patient").part.nunique().max() == 1 and set(rows.part) == {"train", "validation"}
    groups = [name for name in GROUPS if name in rows]
    assert set(groups) >= {"random", "framing", "tone", "thumbnail", "together", "order"}
    for name in groups:
        assert rows[rows[name]].label.nunique() == 2 and rows[rows[name]].part.eq("validation").all(), name
    assert not rows[rows.part == "train"][groups].any(axis=None)


def test_the_shifted_split_is_a_function_of_the_seed_which_moves_the_random_group_alone(split):
    rows, images = split
    table = rows[["path", "split", "label", "patient", "subtype"]]
    other = shifted_split(table, images, seed=1)
    assert not other.random.equals(rows.random)
    fixed = [name for name in GROUPS if name != "random"]
    assert other[fixed].equals(rows[fixed])


def test_the_order_group_takes_the_ends_that_the_test_images_took():
    patients = [f"person{i}" for i in range(1, 101)] + [f"IM-{i:04d}" for i in range(100)] + ["scan a"] * 3
    subtypes = ["virus"] * 100 + ["none"] * 103
    held = ends_of_series(np.array(patients), np.array(subtypes), share=0.1)
    names = set(np.array(patients)[held])
    assert {"person1", "person5", "person96", "person100", "IM-0000", "IM-0009"} <= names
    assert not names & {"person6", "person50", "IM-0010", "IM-0099", "scan a"}


def test_test_images_and_too_few_patients_are_refused():
    table, images = framed(40, patients=40)
    with pytest.raises(InputError, match="at least 40 patients of each class; use split='random'"):
        shifted_split(table, images)
    with pytest.raises(InputError, match="training images alone"):
        shifted_split(table.assign(split="test"), images)
    with pytest.raises(InputError, match="ten patients of each class; use 'oversample'"):
        overlap_weights(shortcut_features(images[:18]), table.label[:18], table.patient[:18])


def test_overlap_draws_most_those_for_whom_the_shortcut_argues_wrongly(split):
    rows, images = split
    weights = overlap_weights(shortcut_features(images), rows.label.to_numpy(), rows.patient.to_numpy())
    assert weights.shape == (len(rows),) and weights.min() >= 0.12 and weights.max() <= 1.08
    assert weights[rows.odd].min() > 2 * weights[~rows.odd].mean()
    config = pnlib.TrainConfig(sampling="overlap")
    drawn = np.bincount(epoch_orders(rows.assign(sampling_weight=weights), config).ravel(), minlength=len(rows))
    assert drawn[rows.odd].mean() > 2 * drawn[~rows.odd].mean()


def test_training_data_has_the_weights_and_the_groups_that_its_config_asks_for(tiny):
    config = pnlib.TrainConfig(sampling="overlap", preprocessing="none", validation=0.25)
    rows, images = pnlib.training_data(tiny, config)
    own = (rows.part == "train").to_numpy()
    wanted = overlap_weights(shortcut_features(images[own]), rows.label[own].to_numpy(), rows.patient[own].to_numpy())
    assert np.array_equal(rows.sampling_weight[own], wanted) and (rows.sampling_weight[~own] == 1).all()
    assert np.array_equal(images, pnlib.load_images(tiny, rows))
    split = pnlib.split_by_patient(tiny.table, 0.25, 0).set_index("path").part
    assert (rows.part.to_numpy() == split[rows.path]).all() and set(rows.split) == {"train"}
    with pytest.raises(InputError, match="at least 40 patients of each class"):
        pnlib.training_data(tiny, pnlib.TrainConfig(split="shifted"))
