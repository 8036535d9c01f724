"""Validation that feels a shift: who is held out, and how a network is judged."""

import numpy as np
import pandas as pd
import pytest

from pnlib import shift
from pnlib.errors import InputError


def framed(n=400, seed=0):
    """Images whose black margin is wide for normals, as a rule: 60 normal and 60 pneumonia patients, some the other way
    round."""
    rng = np.random.default_rng(seed)
    images, rows = [], []
    for i in range(n):
        label = i % 2
        patient = f"person{i % 240:03d}" if label else f"IM-{i % 240:04d}"
        odd = (i % 240) // 2 % 10 == 0  # every tenth patient is framed like the other class
        image = rng.integers(60, 200, (150, 150, 1), np.uint8)
        margin = rng.integers(20, 30) if (label == 0) != odd else rng.integers(0, 6)
        if margin:
            image[:, :margin] = image[:, -margin:] = 0
        images.append(image)
        rows.append((f"train/{i}.jpeg", "train", label, patient, "virus" if label else "none", odd))
    table = pd.DataFrame(rows, columns=["path", "split", "label", "patient", "subtype", "odd"])
    return table, np.stack(images)


@pytest.fixture(scope="module")
def judged():
    table, images = framed()
    return shift.split(table, images), images


def test_the_framing_group_holds_the_patients_that_are_framed_like_the_other_class(judged):
    rows, _ = judged
    odd = rows[rows.odd]
    assert odd.framing.all() and rows.framing.mean() < 0.15
    assert odd.part.eq("validation").all()


def test_patients_are_whole_and_every_group_has_both_classes(judged):
    rows, _ = judged
    assert rows.groupby("patient").part.nunique().max() == 1
    groups = [name for name in shift.GROUPS if name in rows]
    assert set(groups) >= {"random", "framing", "tone", "thumbnail", "together", "order"}
    for name in groups:
        assert rows[rows[name]].label.nunique() == 2 and rows[rows[name]].part.eq("validation").all(), name
    assert not rows[rows.part == "train"][groups].any(axis=None)


def test_the_split_is_a_function_of_the_seed(judged):
    rows, images = judged
    table = rows[["path", "split", "label", "patient", "subtype"]]
    assert shift.split(table, images)[list(shift.GROUPS)].equals(rows[list(shift.GROUPS)])
    other = shift.split(table, images, seed=1)
    assert not other.random.equals(rows.random) and other.framing.equals(rows.framing)


def test_the_order_group_takes_the_ends_that_the_test_part_took():
    patients = [f"person{i}" for i in range(1, 101)] + [f"IM-{i:04d}" for i in range(100)] + ["scan a"] * 3
    subtypes = ["virus"] * 100 + ["none"] * 103
    held = shift.ends(np.array(patients), np.array(subtypes), share=0.1)
    names = set(np.array(patients)[held])
    assert {"person1", "person5", "person96", "person100", "IM-0000", "IM-0009"} <= names
    assert not names & {"person6", "person50", "IM-0010", "IM-0099", "scan a"}


def test_test_images_and_too_few_patients_are_refused():
    table, images = framed(40)
    with pytest.raises(InputError, match="40 patients"):
        shift.split(table, images)
    with pytest.raises(InputError, match="training images alone"):
        shift.split(table.assign(split="test"), images)


class Margins:
    """A network that reads the margin, and nothing else."""

    def predict(self, stream, verbose=0):
        images = np.concatenate([x.numpy() for x, _ in stream])
        return 1 - (images[:, :, :5, 0] < 0.05).mean((1, 2))[:, None]


def test_judging_exposes_a_network_that_reads_margins(judged):
    rows, images = judged
    held = (rows.part == "validation").to_numpy()
    table = shift.judge(shift.answers(Margins(), images[held], rows[held]), rows[held])
    assert table.auroc["random"] > 0.75 > 0.25 > table.auroc["framing"], "right on most, wrong where framing is odd"
    assert table.kind.tolist() == sorted(table.kind.tolist(), reverse=True) and "all" in table.index
    assert table.auroc["zoom out"] < table.auroc["random"], "margins on every image"
    assert table.auroc["swapped"] < 0.5, "the margins say the opposite"
    assert table.images["framing"] == rows.framing.sum()


def test_without_groups_all_validation_images_count(judged):
    rows, images = judged
    plain = rows[["label"]].iloc[:60]
    table = shift.judge(shift.answers(Margins(), images[:60], plain), plain)
    assert table[table.kind == "group"].index.tolist() == ["random"] and table.images.eq(60).all()


def test_changes_leave_shape_type_and_range(judged):
    _, images = judged
    for name, pixels in shift.changed(images[:3], [0, 1, 0]).items():
        assert pixels.shape == (3, 150, 150, 1) and pixels.dtype == np.uint8, name
        assert not np.array_equal(pixels, images[:3]), name


def test_crossed_changes_expose_what_changing_all_alike_hides(judged):
    """A network that reads brightness alone: it ranks well under each gamma, and loses when the classes' gammas differ."""
    rows, images = judged
    rows = rows.assign(label=(np.arange(len(rows)) % 2))
    images = (
        np.full((len(rows), 150, 150, 1), 120, np.uint8) + (20 * rows.label.to_numpy(np.uint8))[:, None, None, None]
    )

    class Brightness:
        preparation = "none"

        def predict(self, stream, verbose=0):
            return np.concatenate([np.asarray(x).mean((1, 2)) for x, _ in stream])

    answers = shift.answers(Brightness(), images, rows)
    matrix = shift.crossed(answers, rows)
    assert matrix.shape == (10, 10) and list(matrix.index) == list(matrix.columns) and "swapped" not in matrix
    assert (np.diag(matrix) == 1).all(), "all alike: every normal is still darker"
    assert matrix.loc["gamma 0.7", "gamma 1.5"] == 0 and matrix.loc["gamma 1.5", "gamma 0.7"] == 1
    table = shift.judge(answers, rows)
    assert table.auroc["gamma 0.7"] == table.auroc["gamma 1.5"] == 1


def test_overlap_draws_most_those_for_whom_the_shortcut_argues_wrongly(judged):
    from pnlib import feed

    rows, images = judged
    shares = shift.shares(images, rows.label, rows.patient)
    assert shares.shape == (len(rows),) and 0.1 <= shares.min() and shares.max() <= 1.1
    assert shares[rows.odd].min() > 2 * shares[~rows.odd].mean()
    orders = feed.epoch_orders(rows.label, 20, 32, "overlap", seed=0, shares=shares)
    assert abs(rows.label.to_numpy()[orders].mean() - 0.5) < 0.01, "both classes alike"
    for label in (0, 1):  # drawn in proportion to the shares, within each class
        own = (rows.label == label).to_numpy()
        counts = np.bincount(orders.ravel(), minlength=len(rows))
        drawn, asked = (x[own & rows.odd].sum() / x[own].sum() for x in (counts, shares))
        assert abs(drawn - asked) < 0.02
    assert np.array_equal(orders, feed.epoch_orders(rows.label, 20, 32, "overlap", seed=0, shares=shares))
    with pytest.raises(InputError, match="shares"):
        feed.epoch_orders(rows.label, 1, 32, "overlap", seed=0)
    few = rows.patient.isin(rows.patient[rows.label == 0].unique()[:9]) | (rows.label == 1)
    with pytest.raises(InputError, match="ten patients of each class"):
        shift.shares(images[few], rows.label[few], rows.patient[few])
