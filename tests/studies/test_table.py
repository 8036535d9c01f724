"""A study's table, of trials that the stand-in left: no Dask here."""

import dataclasses

import pandas as pd
import pytest
import standin
from sklearn.metrics import roc_auc_score

from pnlib.base.errors import InputError
from pnlib.studies import cluster, load_table, table
from pnlib.studies.grid import computes_with, read_study

GRID = """
configs: {plain: {augmentation: none}, strong: {augmentation: strong}}
seeds: [0, 1]
test: true
"""


@pytest.fixture
def stored(tmp_path, tiny, monkeypatch):
    """A study whose four trials are finished."""
    monkeypatch.setenv("STANDIN_LOG", str(tmp_path / "log"))
    (tmp_path / "small.yaml").write_text(GRID)
    study = read_study(tmp_path / "small.yaml", tiny)
    expected = {**computes_with(), "data": study.data_hash, "is_demo": True}
    for trial in study.trials:
        result = cluster.run_trial(dataclasses.asdict(trial), str(tiny.root), expected, 1, standin.execute)
        assert set(result["files"]) == {
            *cluster.KEPT,
            *cluster.KEPT_OF_TEST,
            "notebooks/04_train.ipynb",
            "notebooks/05_evaluate.ipynb",
        }
        cluster.store(study, trial, result)
    return study


def test_the_table_holds_what_the_stress_tests_say(stored):
    found = table.collect(stored)
    assert found.config.tolist() == ["plain", "plain", "strong", "strong"] and found.seed.tolist() == [0, 1, 0, 1]
    for trial, (_, row) in zip(stored.trials, found.iterrows(), strict=True):
        stressed = pd.read_csv(stored.folder_of(trial) / "train" / "stress.csv")
        auroc = {name: roc_auc_score(part.label, part["as it is"]) for name, part in
                 (("random", stressed[stressed.random]), ("framing", stressed[stressed.framing]))}  # fmt: skip
        assert row["auroc random"] == pytest.approx(auroc["random"])
        assert row["worst auroc, groups"] == row["mean auroc, groups"] == pytest.approx(auroc["framing"])
        assert row["auroc blur"] == pytest.approx(roc_auc_score(stressed.label, stressed.blur))
        assert row["worst auroc, corruptions"] == pytest.approx(min(row["auroc blur"], row["auroc swapped"]))
        assert row["worst auroc, crossed"] <= row["auroc blur"]
        assert row.criterion == pytest.approx((row.groups + row["worst pair"]) / 2)
        assert (
            row["test accuracy"] == 0.9
            and row["setting augmentation"] == trial.settings["augmentation"]
            and row.key == trial.key
        )
    assert (found["criterion low"] < found.criterion).all()


def test_gains_are_over_the_first_config_with_the_same_seed(stored):
    found = table.collect(stored).set_index(["config", "seed"])
    assert found["criterion gain"].isna()["plain"].all()
    for seed in (0, 1):
        strong = found.loc[("strong", seed)]
        assert strong["criterion gain"] == pytest.approx(strong.criterion - found.criterion["plain", seed])
        assert strong["criterion gain low"] <= strong["criterion gain"] <= strong["criterion gain high"]
        paired = strong["criterion gain high"] - strong["criterion gain low"]
        assert paired < strong["criterion high"] - strong["criterion low"], "of the same patients"


def test_no_gain_where_the_validation_patients_differ(stored):
    path = stored.folder_of(stored.trials[2]) / "train" / "stress.csv"
    path.write_text(path.read_text().replace(",p0,", ",somebody,"))
    found = table.collect(stored)
    assert found["criterion gain"].notna().tolist() == [False, False, False, True]


def test_the_table_and_its_plot_are_written_and_read_again(stored):
    path = table.write_table(stored)
    assert path == stored.folder / "table.csv" and (stored.folder / "plot.png").stat().st_size > 5000
    again = load_table(path)
    pd.testing.assert_frame_equal(again, table.collect(stored), rtol=1e-5, check_dtype=False)
    summary = table.summary(again)
    assert summary.index.tolist() == ["plain", "strong"] and summary.seeds.tolist() == [2, 2]
    assert summary["auroc random"]["strong"] == pytest.approx(again["auroc random"][2:].mean(), abs=1e-4)
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    assert len(load_table(path)) == 4, "a repeated row counts once"


def test_a_damaged_trial_is_named(stored):
    folder = stored.folder_of(stored.trials[1])
    (folder / "train" / "stress.csv").write_text("path,label\n")
    with pytest.raises(InputError, match=f"What is stored in {folder} is damaged; delete that folder"):
        table.collect(stored)


def test_a_table_that_is_none_is_named(tmp_path):
    with pytest.raises(InputError, match="missing.csv"):
        load_table(tmp_path / "missing.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="lacks config, seed, auroc random"):
        load_table(tmp_path / "other.csv")
    with pytest.raises(InputError, match="a .csv file"):
        load_table("studies")
    assert len(load_table("studies/short.csv")) == 5


def test_promise_and_test_puts_validation_and_test_side_by_side():
    found = table.promise_and_test(load_table("studies/plain.csv"), load_table("studies/short.csv"))
    assert found.columns.tolist() == ["no augmentation, no balancing", "recipe of this series"]
    assert found.round(2).T.to_dict("list") == {
        "validation AUROC": [1.0, 0.99],
        "stress test: worst AUROC": [0.23, 0.96],
        "test AUROC": [0.92, 0.97],
        "test sensitivity": [0.99, 0.91],
        "test specificity": [0.35, 0.91],
        "test accuracy": [0.75, 0.91],
    }
    seeds = load_table("studies/short.csv")["test accuracy"]
    assert found.loc["test accuracy", "recipe of this series"] == pytest.approx(seeds.mean()), "the mean over seeds"
