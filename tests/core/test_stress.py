"""The stress test: validation images as if through other scanners, and what it says of a network."""

import numpy as np
import pandas as pd
import pytest

import pnlib
from pnlib import InputError
from pnlib.shortcuts import GROUPS
from pnlib.stress import PLAIN, corruption_columns, corruptions, read_stress, write_stress

NAMES = ["zoom in", "zoom out", "narrow", "aspect", "blur", "sharpen", "noise", "gamma 0.7", "gamma 1.5", "swapped"]


class Margins:
    """A classifier that reads the margin, and nothing else."""

    def predict(self, images):
        return 1 - (images[:, :, :5, 0] < 16).mean((1, 2))


class Brightness:
    """A classifier that reads brightness alone."""

    def predict(self, images):
        return images.mean((1, 2, 3)) / 255


def framed(n=100):
    """Images with margins where the label is normal, but of the framing group, where it is pneumonia. 80 of them are random,
    20 of the framing group."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"path": [f"{i}.png" for i in range(n)], "label": np.arange(n) % 2})
    rows["patient"] = [f"p{i // 2}" for i in range(n)]
    rows["framing"] = np.arange(n) >= 80
    rows["random"] = ~rows.framing
    images = rng.integers(60, 200, (n, 150, 150, 1), np.uint8)
    margins = (rows.label == 0) != rows.framing
    images[margins, :, :20] = images[margins, :, -20:] = 0
    return rows, images


@pytest.fixture(scope="module")
def of_margins():
    rows, images = framed()
    return pnlib.stress_test(Margins(), rows, images)


def test_a_stress_table_has_one_row_per_image_and_one_column_per_corruption(of_margins):
    rows, images = framed()
    assert list(of_margins) == ["path", "label", "patient", "random", "framing", PLAIN, *NAMES]
    assert list(of_margins.path) == list(rows.path) and corruption_columns(of_margins) == NAMES
    assert np.array_equal(of_margins[PLAIN], Margins().predict(images))
    corrupted = of_margins[NAMES].notna()
    assert corrupted[rows.random].all(axis=None) and not corrupted[rows.framing].any(axis=None)


def test_the_summary_exposes_a_network_that_reads_margins(of_margins):
    table = pnlib.stress_summary(of_margins)
    assert table.auroc["random"] == 1 and table.auroc["framing"] == 0, "right on most, wrong where framing is odd"
    assert table.kind.to_list() == ["group"] * 3 + ["corruption"] * 10 and list(table.index[:3]) == ["random", "framing", "all"]  # fmt: skip
    assert table.auroc["zoom out"] < table.auroc["random"], "margins on every image"
    assert table.auroc["swapped"] < 0.5, "the margins argue for the wrong class"
    assert table.images["framing"] == 20 and table.images["all"] == 100 and table.images["blur"] == 80
    plain = of_margins.assign(probability=of_margins[PLAIN])
    for name, predictions in (("all", plain), ("framing", plain[plain.framing])):
        found = pnlib.metrics(predictions, 0.3)
        said = pnlib.stress_summary(of_margins, 0.3).loc[name]
        assert all(said[metric] == found[metric] for metric in ("auroc", "sensitivity", "specificity", "brier"))


def test_without_groups_or_with_few_random_images_all_are_corrupted(of_margins):
    rows, images = framed()
    few = np.r_[0:4, 80:90]
    for chosen in (rows.iloc[few], rows.iloc[few][["path", "label", "patient"]]):
        stressed = pnlib.stress_test(Margins(), chosen, images[few])
        assert stressed[NAMES].notna().all(axis=None)
    table = pnlib.stress_summary(stressed)
    assert table[table.kind == "group"].index.to_list() == ["random"] and table.images.eq(14).all()


def test_corruptions_leave_shape_type_and_range_and_are_always_the_same():
    images = framed(4)[1]
    first, again = (corruptions(images, [0, 1, 0, 1]) for _ in range(2))
    assert list(first) == NAMES
    for name, pixels in first.items():
        assert pixels.shape == images.shape and pixels.dtype == np.uint8, name
        assert all(not np.array_equal(a, b) for a, b in zip(pixels, images, strict=True)), name
        assert np.array_equal(pixels, again[name]), name
    labels = np.array([1, 0, 1, 0])
    other = corruptions(images, labels)
    assert [name for name in NAMES if not np.array_equal(first[name], other[name])] == ["swapped"]
    assert np.array_equal(other["swapped"][labels == 1], first["zoom out"][labels == 1]), "pneumonias farther"


def test_the_names_say_what_is_done():
    square = np.zeros((1, 150, 150, 1), np.uint8)
    square[:, 50:100, 50:100] = 100
    changed = corruptions(square, [0])

    def sides(name):
        bright = changed[name][0, ..., 0] > 50
        return bright.any(1).sum(), bright.any(0).sum()

    assert min(sides("zoom in")) > 60 and max(sides("zoom out")) < 42
    assert sides("narrow")[0] == 50 and sides("narrow")[1] < 42
    assert sides("aspect")[0] < 45 and sides("aspect")[1] > 52
    assert np.abs(np.diff(changed["blur"].astype(int), axis=1)).max() < 40
    assert changed["gamma 0.7"].max() > 120 and changed["gamma 1.5"].max() < 80
    assert abs((changed["noise"][0, 60:90, 60:90].astype(float) - 100).std() - 8) < 0.5


def test_crossed_corruptions_expose_what_corrupting_all_alike_hides():
    """A network that reads brightness ranks well under each gamma, and loses when the classes' gammas differ."""
    labels = np.arange(12) % 2
    rows = pd.DataFrame({"path": [f"{i}.png" for i in range(12)], "label": labels, "patient": labels})
    images = np.full((12, 150, 150, 1), 120, np.uint8) + (20 * labels.astype(np.uint8))[:, None, None, None]
    stressed = pnlib.stress_test(Brightness(), rows, images)
    matrix = pnlib.crossed_auroc(stressed)
    assert list(matrix.index) == list(matrix.columns) == [PLAIN, *NAMES[:-1]]
    assert (np.diag(matrix) == 1).all(), "all alike: every normal is still darker"
    assert matrix.loc["gamma 0.7", "gamma 1.5"] == 0 and matrix.loc["gamma 1.5", "gamma 0.7"] == 1
    table = pnlib.stress_summary(stressed)
    assert table.auroc["gamma 0.7"] == table.auroc["gamma 1.5"] == 1


def test_a_stress_table_comes_back_from_its_file(of_margins, tmp_path):
    """Patients whose names look like numbers or like nothing, and probabilities that a network's float32 can hold."""
    patients = of_margins.patient.replace({"p0": "007", "p1": "NA", "p2": ""})
    rng = np.random.default_rng(0)
    near_one = {name: np.float32(1 - rng.random(100) * 1e-5).astype(np.float64) for name in (PLAIN, "blur")}
    stressed = of_margins.assign(patient=patients, **near_one)
    stressed.loc[stressed.framing, "blur"] = np.nan
    write_stress(tmp_path / "stress.csv", stressed)
    again = read_stress(tmp_path / "stress.csv")
    exact = [name for name in stressed if name not in NAMES or name == "blur"]
    pd.testing.assert_frame_equal(again[exact], stressed[exact], check_dtype=False, rtol=1e-9)
    assert again[PLAIN].nunique() == stressed[PLAIN].nunique() > 75, "those near 1 stay apart"
    assert again[[name for name in GROUPS if name in again]].dtypes.eq(bool).all()
    pd.testing.assert_frame_equal(pnlib.crossed_auroc(again), pnlib.crossed_auroc(stressed))


def test_another_file_than_a_stress_table_is_named(tmp_path):
    for content in ("path,label\n1,x\n", "path,label,patient,as it is\na,1,p,much\n", "", None):
        (tmp_path / "stress.csv").unlink(missing_ok=True)
        if content is not None:
            (tmp_path / "stress.csv").write_text(content)
        with pytest.raises(InputError, match="Cannot read the stress table .*stress.csv; run 04_train again"):
            read_stress(tmp_path / "stress.csv")
