"""From predictions to metrics with intervals, an operating point, and claims."""

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk

import pnlib
from pnlib import InputError, claims
from pnlib.evaluation import METRICS, metric_replicates, patient_draws


def predicted(labels, probabilities, patients=None):
    patients = np.arange(len(labels)) if patients is None else patients
    return pd.DataFrame({"label": labels, "probability": probabilities, "patient": patients})


# one false positive, one false negative
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
PROBABILITIES = np.array([0.1, 0.2, 0.6, 0.3, 0.9, 0.8, 0.4, 0.7, 0.55, 0.95])
BY_HAND = predicted(LABELS, PROBABILITIES)


def test_metrics_computed_by_hand():
    found = pnlib.metrics(BY_HAND)
    assert tuple(found) == METRICS and all(type(value) is float for value in found.values())
    assert found["accuracy"] == pytest.approx(0.8)
    assert found["sensitivity"] == pytest.approx(5 / 6) and found["specificity"] == pytest.approx(3 / 4)
    assert found["precision"] == pytest.approx(5 / 6) and found["f1"] == pytest.approx(5 / 6)
    for name in ("macro_recall", "macro_precision", "macro_f1"):
        assert found[name] == pytest.approx((5 / 6 + 3 / 4) / 2)
    assert found["auroc"] == pytest.approx(1 - 2 / 24), "of 24 pairs, 0.4 and 0.55 against 0.6 are in the wrong order"
    assert found["brier"] == pytest.approx(np.mean((PROBABILITIES - LABELS) ** 2))


@pytest.mark.parametrize("digits", [16, 2, 1])
def test_metrics_are_those_of_scikit_learn(digits):
    """On random predictions, with many ties where they have few digits, at thresholds that are or aren't among them."""
    rng = np.random.default_rng(digits)
    for n in (2, 3, 10, 200):
        labels = rng.permutation(np.arange(n) % 3 == 0).astype(int)
        probabilities = np.clip(rng.normal(0.4 + 0.2 * labels, 0.3), 0, 1).round(digits)
        for threshold in (0.0, 0.3, 0.5, float(rng.choice(probabilities)), 1.0, 1.5):
            calls = (probabilities >= threshold).astype(int)
            report = sk.classification_report(labels, calls, output_dict=True, zero_division=0)
            found = pnlib.metrics(predicted(labels, probabilities), threshold)
            assert found == pytest.approx({
                "accuracy": report["accuracy"],
                "macro_f1": report["macro avg"]["f1-score"], "macro_recall": report["macro avg"]["recall"],
                "macro_precision": report["macro avg"]["precision"],
                "sensitivity": report["1"]["recall"], "specificity": report["0"]["recall"],
                "precision": report["1"]["precision"], "f1": report["1"]["f1-score"],
                "auroc": sk.roc_auc_score(labels, probabilities),
                "auprc": sk.average_precision_score(labels, probabilities),
                "brier": sk.brier_score_loss(labels, probabilities),
            })  # fmt: skip


def test_ties_and_the_threshold_itself():
    even = pnlib.metrics(predicted([0, 1], [0.5, 0.5]))
    assert even["auroc"] == 0.5
    assert even["sensitivity"] == 1.0, "a probability equal to the threshold is called pneumonia"
    high, low = (pnlib.metrics(predicted(LABELS, np.full(10, p))) for p in (0.9, 0.1))
    assert high["macro_recall"] == 0.5 and high["specificity"] == 0
    assert low["precision"] == 0, "a class that is never predicted has precision 0, without a warning"


@pytest.mark.parametrize(
    "labels, probabilities, words",
    [
        ([1, 1], [0.1, 0.2], "need both classes, 0 and 1, and no other label; these labels hold 1"),
        ([0, 2], [0.1, 0.2], "these labels hold 0, 2"),
        ([], [], "these labels hold none"),
        ([0, 1], [0.1, float("nan")], "NaN counts"),
        ([0, 1], [0.1, 1.5], "from 0 to 1"),
        ([0, 1], [0.1, "much"], "must be numbers"),
    ],
)
def test_unusable_predictions_are_refused(labels, probabilities, words):
    for function in (pnlib.metrics, pnlib.bootstrap, pnlib.operating_point):
        with pytest.raises(InputError, match=words):
            function(predicted(labels, probabilities))


def test_other_unusable_values_are_refused():
    with pytest.raises(InputError, match="has the columns label and probability; probability is missing"):
        pnlib.metrics(BY_HAND.drop(columns="probability"))
    for threshold in (float("nan"), float("inf"), "0.5", None, 10**400):
        with pytest.raises(InputError, match="A threshold is a number, not "):
            pnlib.metrics(BY_HAND, threshold)
    with pytest.raises(InputError, match="can't be drawn 0 times"):
        pnlib.bootstrap(BY_HAND, resamples=0)


def simulated(patients=60, per_patient=4, seed=0):
    """Images of one patient share most of their luck."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.random(patients) < 0.6, per_patient).astype(int)
    luck = np.repeat(rng.normal(size=patients), per_patient) + 0.2 * rng.normal(size=patients * per_patient)
    return predicted(labels, 1 / (1 + np.exp(-(2 * labels - 1 + luck))), np.repeat(np.arange(patients), per_patient))


def by_image(predictions):
    """The same, as if each image were of another patient."""
    return predictions.assign(patient=np.arange(len(predictions)))


def test_the_bootstrap_draws_patients():
    predictions = simulated()
    options = {"resamples": 100, "seed": 1}
    found = pnlib.bootstrap(predictions, **options)
    assert list(found.index) == list(METRICS) and list(found) == ["value", "low", "high"]
    assert found.value.to_dict() == pytest.approx(pnlib.metrics(predictions))
    assert ((found.low <= found.value) & (found.value <= found.high)).all()
    single = pnlib.bootstrap(by_image(predictions), **options)
    assert (found.high - found.low > 1.4 * (single.high - single.low)).all(), "alike images are no independent evidence"
    assert found.equals(pnlib.bootstrap(predictions, **options))
    assert not found.equals(pnlib.bootstrap(predictions, resamples=100, seed=2))
    shuffled = predictions.sample(frac=1, random_state=3)
    assert np.allclose(found, pnlib.bootstrap(shuffled, **options)), "the order of the images does not matter"


def test_replicates_of_two_networks_on_the_same_patients_are_paired():
    """A difference between networks that differ by a constant has no width."""
    predictions = simulated()
    other = predictions.assign(probability=predictions.probability / 2)
    brier, half = (metric_replicates(p, 0.5, resamples=50, seed=0) for p in (predictions, other))
    assert len(brier) == 50 and list(brier) == list(METRICS)
    assert np.allclose(brier.auroc, half.auroc) and not np.allclose(brier.brier, half.brier)


def test_each_draw_holds_both_classes_and_whole_patients():
    labels, patients = np.array([0, 0, 1, 1, 1]), np.array(["a", "a", "b", "b", "b"])
    for drawn in patient_draws(labels, patients, resamples=30, seed=0):
        assert sorted(drawn) == [0, 1, 2, 3, 4], "of two patients both are drawn, or a class is missing"


def test_an_interval_covers_the_truth():
    """In 100 repetitions, the 95 % interval of the accuracy holds the true accuracy about 95 times."""

    def accuracy(labels, probabilities):  # alone: the other metrics take their time
        return {"accuracy": float(np.mean(labels == (probabilities >= 0.5)))}

    def covers(predictions, seed):
        found = pnlib.bootstrap(predictions, resamples=200, seed=seed, of=accuracy).loc["accuracy"]
        return found.low <= truth <= found.high

    truth = pnlib.metrics(simulated(20_000, 1, seed=99))["accuracy"]
    samples = [simulated(80, 3, seed) for seed in range(100)]
    assert 89 <= sum(covers(sample, seed) for seed, sample in enumerate(samples)) <= 99
    alone = sum(covers(by_image(sample), seed) for seed, sample in enumerate(samples))
    assert alone < 85, "images of one patient are alike"


def test_the_operating_point_is_youdens_and_lies_between_probabilities():
    threshold = pnlib.operating_point(BY_HAND)
    best = max(pnlib.metrics(BY_HAND, t)["macro_recall"] for t in np.linspace(0, 1, 101))
    assert pnlib.metrics(BY_HAND, threshold)["macro_recall"] == pytest.approx(best)
    assert threshold not in PROBABILITIES
    assert pnlib.operating_point(predicted([0, 0, 1, 1], [0.1, 0.2, 0.6, 1.0])) == pytest.approx(0.4)


def test_the_operating_point_separates_neighbouring_floats_and_may_call_no_image_pneumonia():
    one, two = 0.3, np.nextafter(0.3, 1)
    assert pnlib.metrics(predicted([0, 1], [one, two]), pnlib.operating_point(predicted([0, 1], [one, two])))["accuracy"] == 1  # fmt: skip
    for worst in (predicted([0, 1], [0.9, 0.1]), predicted([0, 1], [1.0, 0.0])):
        assert pnlib.operating_point(worst) > worst.probability.max()


def test_claims_print_what_is_stated_and_whether_it_holds(monkeypatch, capsys):
    monkeypatch.setattr(claims, "stated_claims", lambda: {"test accuracy": {"value": "0.92", "tolerance": "0.02"}})
    cases = ((0.9375, True), (0.94, True), (0.9, True), (0.9401, False), (0.8999, False), (float("nan"), False))
    for measured, holds in cases:
        assert claims.claim_holds("test accuracy", measured) is holds, measured
        assert pnlib.check_claim("test accuracy", measured) is None
    pnlib.check_claim("test accuracy", 0.92, applies=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7 and all("0.92 ± 0.02" in line for line in lines)
    for line, (_, holds) in zip(lines, cases, strict=False):
        assert line.endswith(": holds" if holds else ": does not hold")
    assert "not checked, since" in lines[6]
    assert lines[0].startswith("test accuracy: measured 0.938, stated 0.92"), "both, to three decimals"
    for wrong in ("much", None, 10**400):
        with pytest.raises(InputError, match="What is compared with the stated test accuracy is no number but"):
            pnlib.check_claim("test accuracy", wrong)
    with pytest.raises(InputError, match="Nothing is stated under the name 'accuracy'; there are test accuracy"):
        pnlib.check_claim("accuracy", 0.92)
