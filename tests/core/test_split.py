"""Which patients train and which validate, and which rows a finished training had."""

import pandas as pd
import pytest

import pnlib
from pnlib import InputError
from pnlib.datasets import rows_of_run


def test_split_is_by_patient_stratified_and_seeded(tiny):
    rows = pnlib.split_by_patient(tiny.table, 0.25, seed=1)
    patients = rows.groupby("part").patient.agg(set)
    assert not patients["train"] & patients["validation"]
    shares = rows.groupby("part").label.mean()
    assert abs(shares["train"] - shares["validation"]) < 0.1
    pd.testing.assert_frame_equal(rows, pnlib.split_by_patient(tiny.table, 0.25, seed=1))
    assert not rows.part.equals(pnlib.split_by_patient(tiny.table, 0.25, seed=2).part)
    assert set(rows.part[rows.split == "test"]) == {"test"}


def test_a_split_needs_enough_patients_and_a_possible_share(tiny):
    one_each = tiny.table.groupby(["split", "label"]).head(1)
    with pytest.raises(InputError, match="needs at least 7 patients of each class in train; found 1"):
        pnlib.split_by_patient(one_each)
    with pytest.raises(InputError, match="validation=0.9 is not possible; give a fraction from 0.02 to 0.5"):
        pnlib.split_by_patient(tiny.table, 0.9)


def test_rows_of_a_run_are_those_it_had_and_of_this_dataset(tiny, tmp_path):
    rows = pnlib.split_by_patient(tiny.table, 0.25)
    rows = rows[rows.part != "test"].reset_index(drop=True)
    rows.to_csv(tmp_path / "index.csv", index=False)
    for part in ("train", "validation"):
        expected = rows[rows.part == part].reset_index(drop=True)
        pd.testing.assert_frame_equal(rows_of_run(tiny, tmp_path, part), expected)
    rows.assign(label=1 - rows.label).to_csv(tmp_path / "index.csv", index=False)
    with pytest.raises(InputError, match="was trained on other images than"):
        rows_of_run(tiny, tmp_path, "train")
