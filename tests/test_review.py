"""What a reviewer asks for, against scikit-learn and cases counted by hand."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn import metrics as sk

from pnlib import evaluate, review
from pnlib.errors import InputError

RNG = np.random.default_rng(0)
LABELS = (RNG.random(400) < 0.6).astype(int)
SCORES = np.clip(0.5 + 0.25 * (LABELS - 0.5) + RNG.normal(0, 0.2, 400), 0.001, 0.999)
PATIENTS = np.arange(400) // 2


def test_bands_hold_the_curve_and_shrink_with_more_patients():
    curves = review.bands(LABELS, SCORES, PATIENTS, resamples=100)
    for table in curves.values():
        assert (table.low <= table.value + 1e-9).mean() > 0.95 and (table.high >= table.value - 1e-9).mean() > 0.95
    roc = curves["roc"]
    area = np.trapezoid(roc.value, roc.x)
    assert area == pytest.approx(sk.roc_auc_score(LABELS, SCORES), abs=0.01)
    assert (
        curves["pr"].value.iloc[-1] == pytest.approx(LABELS.mean(), abs=0.03)
        and curves["pr"].value.is_monotonic_decreasing
    )
    many = review.bands(np.tile(LABELS, 4), np.tile(SCORES, 4), np.arange(1600), resamples=100)["roc"]
    assert (many.high - many.low).mean() < 0.7 * (roc.high - roc.low).mean()


def test_sensitivity_at_a_specificity_by_hand():
    labels = np.array([0] * 10 + [1] * 10)
    scores = np.concatenate([np.arange(10) / 20, np.arange(10) / 20 + 0.26])  # 0 … 0.45, and 0.26 … 0.71
    table = review.at_fixed(labels, scores, np.arange(20), 0.9, resamples=100)
    # One normal may be an alarm (0.45): the threshold lies above 0.40, so 0.41 and more are found: 7 of 10.
    assert table.value["sensitivity at specificity 0.90"] == pytest.approx(0.7)
    # One pneumonia may be missed (0.26): the threshold is 0.31, below it 0 … 0.30: 7 of 10.
    assert table.value["specificity at sensitivity 0.90"] == pytest.approx(0.7)
    assert (table.low <= table.value).all() and (table.value <= table.high).all()


def test_reliability_and_calibration_error_by_hand():
    labels, scores = np.array([0, 1, 1, 1, 0]), np.array([0.15, 0.15, 0.85, 0.85, 1.0])
    table = review.reliability(labels, scores)
    assert table.images.tolist() == [2, 2, 1] and table.observed.tolist() == [0.5, 1.0, 0.0]
    assert review.calibration_error(labels, scores) == pytest.approx((2 * 0.35 + 2 * 0.15 + 1 * 1.0) / 5)


def test_bins_get_the_exact_interval_of_their_share():
    labels, scores = np.array([0, 1, 1, 1, 0, 0]), np.array([0.91, 0.95, 0.92, 0.99, 0.05, 0.02])
    table = review.reliability(labels, scores, exact=True)
    assert table.observed.tolist() == [0, 0.75] and table.images.tolist() == [2, 4]
    assert table.low.iloc[0] == 0 and table.high.iloc[0] == pytest.approx(1 - 0.025**0.5)
    expected = scipy.stats.beta.ppf([0.025, 0.975], [3, 4], [2, 1])
    assert table[["low", "high"]].iloc[1].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("shift, factor", [(0.0, 1.0), (1.5, 1.0), (0.0, 2.0)])
def test_calibration_line_finds_a_shift_and_overconfidence(shift, factor):
    """Labels are drawn from the right probabilities; told are logits that lack `shift` or are `factor` times too far."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, 20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-logits))).astype(int)
    told = 1 / (1 + np.exp(-(logits * factor - shift)))
    line = review.calibration_line(labels, told)
    assert line["calibration slope"] == pytest.approx(1 / factor, abs=0.04)
    assert line["calibration in the large"] == pytest.approx(shift, abs=0.06)


def test_separated_classes_have_no_finite_slope():
    assert review.calibration_line([0, 0, 1], [0.2, 0.4, 0.6])["calibration slope"] == np.inf
    assert review.calibration_line([0, 0, 1, 1], [0.2, 0.6, 0.6, 0.9])["calibration slope"] < np.inf


def test_temperature_undoes_overconfidence_and_keeps_the_ranking():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, 20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-logits))).astype(int)
    for factor in (0.5, 1.0, 3.0):
        scores = 1 / (1 + np.exp(-factor * logits))
        found = review.temperature(labels, scores)
        assert found == pytest.approx(factor, rel=0.05)
        better = review.rescale(scores, found)
        assert review.calibration_error(labels, better) < 0.02
        assert sk.roc_auc_score(labels, better) == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-6)
    assert np.isfinite(review.rescale([0.0, 1.0], 2.0)).all()


def test_net_benefit_by_hand():
    labels, scores = np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.6, 0.1])
    table = review.net_benefit(labels, scores, [0.5]).iloc[0]
    assert table.model == pytest.approx(1 / 4 - 1 / 4 * 1) and table["all"] == pytest.approx(0.5 - 0.5)
    low = review.net_benefit(labels, scores, [0.05]).iloc[0]
    assert low.model == pytest.approx(low["all"]), "below all probabilities everybody is treated"


def test_subgroups_count_and_leave_a_missing_class_empty():
    table = pd.DataFrame({"label": [1, 1, 0, 0, 1], "probability": [0.9, 0.2, 0.7, 0.1, 0.8], "kind": list("aaabb")})
    found = review.by_subgroup(table.assign(kind=["a", "a", "a", "a", "b"]), "kind")
    assert found.loc["a"].tolist() == [2, 2, 0.5, 0.5]
    assert found.loc["b", "sensitivity"] == 1 and np.isnan(found.loc["b", "specificity"])


def test_the_interval_of_a_subgroup_is_over_its_patients():
    rng = np.random.default_rng(3)
    right = np.repeat(rng.random(60) < 0.8, 5)  # five images a patient, right or wrong together
    table = pd.DataFrame({"label": 1, "probability": np.where(right, 0.9, 0.1), "kind": "a"})
    wide = review.by_subgroup(table.assign(patient=np.arange(300) // 5), "kind", resamples=500).loc["a"]
    narrow = review.by_subgroup(table.assign(patient=np.arange(300)), "kind", resamples=500).loc["a"]
    assert wide["sensitivity low"] < wide.sensitivity < wide["sensitivity high"]
    ratio = (wide["sensitivity high"] - wide["sensitivity low"]) / (
        narrow["sensitivity high"] - narrow["sensitivity low"]
    )
    assert ratio == pytest.approx(np.sqrt(5), rel=0.2)
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


def test_intervals_of_any_figure_are_those_of_the_bootstrap():
    found = review.intervals(lambda y, p: evaluate.metrics(y, p), LABELS, SCORES, PATIENTS, 100, seed=5)
    pd.testing.assert_frame_equal(
        found.loc[list(evaluate.METRICS)],
        evaluate.bootstrap(LABELS, SCORES, PATIENTS, resamples=100, seed=5),
        check_names=False,
    )


def test_a_drift_between_two_sets_of_patients_is_told_from_chance():
    def sample(seed, gap, n=400):
        rng = np.random.default_rng(seed)
        labels = (rng.random(n) < 0.6).astype(int)
        return labels, np.clip(0.5 + gap * (labels - 0.5) + rng.normal(0, 0.2, n), 0, 1), np.arange(n) // 2

    same = review.drift(sample(0, 0.3), sample(1, 0.3), resamples=300).loc["auroc"]
    assert same.low < 0 < same.high and same.difference == pytest.approx(same.test - same.validation)
    worse = review.drift(sample(0, 0.3), sample(1, 0.15), resamples=300).loc["auroc"]
    assert worse.high < 0
    assert list(review.drift(sample(0, 0.3), sample(0, 0.3), resamples=100).difference.unique()) == [0]


def test_predictive_values_by_bayes():
    table = review.predictive_values(0.9, 0.8, [0.5, 0.05])
    assert table.ppv.tolist() == pytest.approx([0.45 / 0.55, 0.045 / (0.045 + 0.19)])
    assert table.npv.tolist() == pytest.approx([0.4 / 0.45, 0.76 / (0.76 + 0.005)])
    with pytest.raises(InputError):
        review.predictive_values(0.9, 0.8, [0.0])


def test_two_networks_compared():
    better = np.clip(SCORES + 0.3 * (LABELS - 0.5), 0, 1)
    same = review.compare(LABELS, SCORES, SCORES, PATIENTS, resamples=100)
    assert (same["differences"] == 0).all(axis=None) and same["mcnemar"] == 1
    result = review.compare(LABELS, SCORES, better, PATIENTS, resamples=100)
    assert (result["differences"].low > 0).all() and result["only_first"] == 0 and result["mcnemar"] < 1e-6
    gained = evaluate.metrics(LABELS, better)["accuracy"] - evaluate.metrics(LABELS, SCORES)["accuracy"]
    assert result["only_second"] == pytest.approx(gained * 400)


def test_the_gap_adds_up_and_names_what_moved():
    rng = np.random.default_rng(2)

    def sample(n, share, distance, offset):
        labels = (rng.random(n) < share).astype(int)
        return labels, 1 / (1 + np.exp(-(distance * (labels - 0.5) + offset + rng.normal(0, 1, n))))

    validation = sample(4000, 0.75, 4, 0)
    moved = review.gap(validation, sample(4000, 0.75, 4, 1.5))
    assert moved.change.iloc[2] == pytest.approx(0, abs=0.01) and moved.change.iloc[3] < -0.02, "the threshold moved"
    blurred = review.gap(validation, sample(4000, 0.75, 2, 0))
    assert blurred.change.iloc[2] < -0.05 and blurred.change.iloc[3] > -0.05, "the ranking is worse"
    for table in (moved, blurred):
        assert table.change.sum() == pytest.approx(table.accuracy.iloc[-1] - table.accuracy.iloc[0])


def test_a_rule_that_looks_at_what_it_reports_is_optimistic_and_the_interval_says_how_surely():
    rng = np.random.default_rng(0)
    curves = rng.normal(0.8, 0.02, (20, 12, 2))  # seeds, epochs; on the images looked at, and on others
    rows = []
    for seed, curve in enumerate(curves):
        for rule, epoch in (("last", 11), ("best", curve[:, 0].argmax())):
            rows.append({"seed": seed, "rule": rule, "reported": curve[epoch, 0], "worth": curve[epoch, 1]})
    summary = review.optimism(pd.DataFrame(rows))
    assert summary.luck["last"] == 0 and summary.low["best"] > 0.01 and summary.seeds.tolist() == [20, 20]
    assert np.allclose(summary.luck, summary["reported gain"] - summary["real gain"])
    assert summary["reported gain"]["best"] == pytest.approx(summary.reported["best"] - summary.reported["last"])
    of = {rule: [row["reported"] - row["worth"] for row in rows if row["rule"] == rule] for rule in ("last", "best")}
    low, high = scipy.stats.ttest_rel(of["best"], of["last"]).confidence_interval(0.95)
    assert (summary.low["best"], summary.high["best"]) == (pytest.approx(low), pytest.approx(high))
