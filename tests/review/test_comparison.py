"""Subgroups, two networks, validation and test, and rules for choosing an epoch."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from pnlib import evaluation, review
from pnlib.base.errors import InputError


def sample(seed: int = 0, gap: float = 0.3, n: int = 400) -> pd.DataFrame:
    """Two images per patient; probabilities of the classes are `gap` apart."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.6).astype(int)
    probabilities = np.clip(0.5 + gap * (labels - 0.5) + rng.normal(0, 0.2, n), 0, 1)
    paths = [f"{i}.jpeg" for i in range(n)]
    return pd.DataFrame({"path": paths, "label": labels, "probability": probabilities, "patient": np.arange(n) // 2})


def test_subgroups_count_and_leave_a_missing_class_empty():
    table = pd.DataFrame({"label": [1, 1, 0, 0, 1], "probability": [0.9, 0.2, 0.7, 0.1, 0.8], "kind": list("aaaab")})
    found = review.by_subgroup(table, "kind")
    assert found.loc["a"].tolist() == [2, 2, 0.5, 0.5]
    assert found.loc["b", "sensitivity"] == 1 and np.isnan(found.loc["b", "specificity"])
    assert review.by_subgroup(table, "kind", 0.9).loc["a"].tolist() == [2, 2, 0.5, 1.0], "0.9 is pneumonia"


def test_the_interval_of_a_subgroup_is_over_its_patients():
    rng = np.random.default_rng(3)
    right = np.repeat(rng.random(60) < 0.8, 5)  # five images per patient, right or wrong together
    table = pd.DataFrame({"label": 1, "probability": np.where(right, 0.9, 0.1), "kind": "a"})
    wide = review.by_subgroup(table.assign(patient=np.arange(300) // 5), "kind", resamples=500).loc["a"]
    narrow = review.by_subgroup(table.assign(patient=np.arange(300)), "kind", resamples=500).loc["a"]
    assert wide["sensitivity low"] < wide.sensitivity < wide["sensitivity high"]
    width, of_images = (row["sensitivity high"] - row["sensitivity low"] for row in (wide, narrow))
    assert width / of_images == pytest.approx(np.sqrt(5), rel=0.2)
    assert np.isnan(wide[["specificity", "specificity low", "specificity high"]].astype(float)).all()


@pytest.mark.parametrize("probability, low, high", [(0.9, 0.025 ** (1 / 10), 1.0), (0.1, 0.0, 1 - 0.025 ** (1 / 10))])
def test_a_subgroup_that_is_all_right_or_all_wrong_still_has_an_interval(probability, low, high):
    """Ten patients, all right: Clopper and Pearson's lower limit is the tenth root of 0.025."""
    table = pd.DataFrame({"label": 1, "probability": probability, "kind": "a", "patient": np.arange(30) // 3})
    found = review.by_subgroup(table, "kind", resamples=100).loc["a"]
    assert found["sensitivity low"] == pytest.approx(low) and found["sensitivity high"] == pytest.approx(high)


def test_one_patient_right_in_part_has_no_interval():
    table = pd.DataFrame({"label": [0, 0, 0], "probability": [0.9, 0.1, 0.1], "kind": "a", "patient": "p"})
    found = review.by_subgroup(table, "kind", resamples=100).loc["a"]
    assert found.specificity == pytest.approx(2 / 3) and np.isnan(found["specificity low"])


def test_two_networks_compared():
    first = sample()
    better = first.assign(probability=np.clip(first.probability + 0.3 * (first.label - 0.5), 0, 1))
    same = review.compare(first, first, resamples=100)
    assert (same["differences"] == 0).all(axis=None) and same["mcnemar"] == 1
    result = review.compare(first, better, resamples=100)
    assert result["differences"].index.tolist() == ["accuracy", "sensitivity", "specificity", "auroc"]
    assert (result["differences"].low > 0).all() and result["only_first"] == 0 and result["mcnemar"] < 1e-6
    gained = evaluation.metrics(better)["accuracy"] - evaluation.metrics(first)["accuracy"]
    assert result["differences"].value["accuracy"] == pytest.approx(gained)
    assert result["only_second"] == pytest.approx(gained * 400)


def test_networks_are_compared_on_the_same_images_only():
    first = sample()
    others = {
        "path": [first.assign(path=first.path + "x"), first[::-1], first[:-2]],
        "label": [first.assign(label=1 - first.label), first.drop(columns="path")[::-1]],
        "patient": [first.assign(patient=first.patient + 1)],
    }
    for name, tables in others.items():
        for second in tables:
            with pytest.raises(InputError, match=f"the {name}s of the two"):
                review.compare(first, second, resamples=10)
    assert review.compare(first, first.drop(columns="path"), resamples=10)["mcnemar"] == 1, "a path is not needed"


def test_a_drift_between_two_sets_of_patients_is_more_than_chance():
    same = review.drift(sample(0), sample(1), resamples=300).loc["auroc"]
    assert same.low < 0 < same.high and same.difference == pytest.approx(same.test - same.validation)
    worse = review.drift(sample(0), sample(1, 0.15), resamples=300).loc["auroc"]
    assert worse.high < 0
    nothing = review.drift(sample(0), sample(0), resamples=100)
    assert (nothing.difference == 0).all() and (nothing.low < 0).all() and (nothing.high > 0).all(), "drawn apart"


def test_a_rule_that_looks_at_what_it_reports_is_optimistic_and_the_interval_says_how_surely():
    rng = np.random.default_rng(0)
    curves = rng.normal(0.8, 0.02, (20, 12, 2))  # seeds, epochs; on the images looked at, and on others
    rows = []
    for seed, curve in enumerate(curves):
        for rule, epoch in (("last", 11), ("best", curve[:, 0].argmax())):
            rows.append({"seed": seed, "rule": rule, "reported": curve[epoch, 0], "worth": curve[epoch, 1]})
    summary = review.optimism(pd.DataFrame(rows))
    assert summary.index.tolist() == ["last", "best"] and summary.seeds.tolist() == [20, 20]
    assert summary.luck["last"] == 0 and summary.low["best"] > 0.01
    assert np.allclose(summary.luck, summary["reported gain"] - summary["real gain"])
    assert summary["reported gain"]["best"] == pytest.approx(summary.reported["best"] - summary.reported["last"])
    of = {rule: [row["reported"] - row["worth"] for row in rows if row["rule"] == rule] for rule in ("last", "best")}
    low, high = scipy.stats.ttest_rel(of["best"], of["last"]).confidence_interval(0.95)
    assert (summary.low["best"], summary.high["best"]) == (pytest.approx(low), pytest.approx(high))
