import numpy as np
import pytest
from sklearn import metrics as sk

from pnlib import claims, evaluate, framing
from pnlib.errors import InputError

Y = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
P = np.array([0.1, 0.2, 0.6, 0.3, 0.9, 0.8, 0.4, 0.7, 0.55, 0.95])  # one false positive, one false negative


def test_hand_computed_metrics():
    got = evaluate.metrics(Y, P)
    assert tuple(got) == evaluate.METRICS
    assert evaluate.confusion(Y, P).tolist() == [[3, 1], [1, 5]]
    assert got["accuracy"] == pytest.approx(0.8)
    assert got["sensitivity"] == pytest.approx(5 / 6) and got["specificity"] == pytest.approx(3 / 4)
    assert got["precision"] == pytest.approx(5 / 6) and got["f1"] == pytest.approx(5 / 6)
    assert got["macro_recall"] == pytest.approx((5 / 6 + 3 / 4) / 2)
    assert got["macro_precision"] == pytest.approx((5 / 6 + 3 / 4) / 2)
    assert got["macro_f1"] == pytest.approx((5 / 6 + 3 / 4) / 2)
    assert got["auroc"] == pytest.approx(1 - 2 / 24), (
        "of 24 pairs, two are in the wrong order: 0.4 and 0.55 against 0.6"
    )
    assert got["brier"] == pytest.approx(np.mean((P - Y) ** 2))


def test_auroc_of_the_hand_case_counts_pairs():
    pairs = [(n, p) for n in P[Y == 0] for p in P[Y == 1]]
    assert evaluate.metrics(Y, P)["auroc"] == pytest.approx(np.mean([p > n for n, p in pairs]))


def test_ties_and_the_threshold_itself():
    assert evaluate.metrics([0, 1], [0.5, 0.5])["auroc"] == 0.5
    assert evaluate.metrics([0, 1], [0.5, 0.5])["sensitivity"] == 1.0, "p equal to the threshold is called pneumonia"
    assert (
        evaluate.metrics(Y, np.full(10, 0.9))["macro_recall"] == 0.5
        and evaluate.metrics(Y, np.full(10, 0.9))["specificity"] == 0
    )
    assert evaluate.metrics(Y, np.full(10, 0.1))["precision"] == 0, (
        "a class that is never predicted has precision 0, without a warning"
    )


@pytest.mark.parametrize(
    "labels, probabilities, words",
    [
        ([1, 1], [0.1, 0.2], "need both classes"),
        ([0, 1], [0.1, float("nan")], "NaN counts"),
        ([0, 1], [0.1, 1.5], "from 0 to 1"),
        ([0, 1], [0.1], "equally long"),
        ([0, 2], [0.1, 0.2], "need both classes"),
    ],
)
def test_unusable_predictions_are_refused(labels, probabilities, words):
    with pytest.raises(InputError, match=words):
        evaluate.metrics(labels, probabilities)


def simulated(patients=60, per_patient=4, seed=0):
    """Images of one patient share most of their luck."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.random(patients) < 0.6, per_patient).astype(int)
    luck = np.repeat(rng.normal(size=patients), per_patient) + 0.2 * rng.normal(size=patients * per_patient)
    return labels, 1 / (1 + np.exp(-(2 * labels - 1 + luck))), np.repeat(np.arange(patients), per_patient)


def test_bootstrap_draws_patients():
    labels, probabilities, patients = simulated()
    by_patient = evaluate.bootstrap(labels, probabilities, patients, resamples=100, seed=1)
    by_image = evaluate.bootstrap(labels, probabilities, np.arange(len(labels)), resamples=100, seed=1)
    assert list(by_patient.index) == list(evaluate.METRICS)
    assert ((by_patient.low <= by_patient.value) & (by_patient.value <= by_patient.high)).all()
    width = by_patient.high - by_patient.low
    assert (width > 1.4 * (by_image.high - by_image.low)).all(), "alike images are no independent evidence"
    again = evaluate.bootstrap(labels, probabilities, patients, resamples=100, seed=1)
    assert by_patient.equals(again)
    shuffled = np.random.default_rng(3).permutation(len(labels))
    other = evaluate.bootstrap(labels[shuffled], probabilities[shuffled], patients[shuffled], resamples=100, seed=1)
    assert np.allclose(by_patient, other), "the order of the images does not matter"


def test_bootstrap_interval_covers_the_truth(monkeypatch):
    """In 100 repetitions, the 95 % interval of the accuracy holds the true accuracy about 95 times."""

    def only_accuracy(labels, probabilities, threshold):  # the others take their time, and are not asked for here
        return dict.fromkeys(evaluate.METRICS, float(np.mean(labels == (probabilities >= threshold))))

    truth = evaluate.metrics(*simulated(20_000, 1, seed=99)[:2])["accuracy"]
    for name in ("metrics", "metrics_of_draw"):
        monkeypatch.setattr(evaluate, name, only_accuracy)
    rows = [
        evaluate.bootstrap(*simulated(80, 3, seed), resamples=200, seed=seed).loc["accuracy"] for seed in range(100)
    ]
    by_image = [
        evaluate.bootstrap(*simulated(80, 3, seed)[:2], np.arange(240), resamples=200, seed=seed).loc["accuracy"]
        for seed in range(100)
    ]
    assert 89 <= sum(row.low <= truth <= row.high for row in rows) <= 99
    assert sum(row.low <= truth <= row.high for row in by_image) < 85, "images of one patient are alike"


def test_operating_point_is_youdens_and_lies_between_scores():
    threshold = evaluate.operating_point(Y, P)
    best = max(evaluate.metrics(Y, P, t)["macro_recall"] for t in np.linspace(0, 1, 101))
    assert evaluate.metrics(Y, P, threshold)["macro_recall"] == pytest.approx(best)
    assert threshold not in P
    assert evaluate.operating_point([0, 0, 1, 1], [0.1, 0.2, 0.6, 1.0]) == pytest.approx(0.4)


def test_the_founding_figures_are_macro_averages():
    stated = {"accuracy": 0.92, "f1": 0.92, "recall": 0.93, "precision": 0.91}
    found = {a: evaluate.matching_confusions(stated, 234, 390, a) for a in ("macro", "weighted", "pneumonia", "normal")}
    assert {a: len(t) for a, t in found.items()} == {"macro": 43, "weighted": 0, "pneumonia": 0, "normal": 0}
    for row in found["macro"].itertuples():
        y = np.repeat([0, 1], [234, 390])
        p = np.repeat(
            [0, 1, 0, 1], [row.true_negative, 234 - row.true_negative, 390 - row.true_positive, row.true_positive]
        )
        report = sk.classification_report(y, p, output_dict=True)
        assert [round(report["macro avg"][k], 2) for k in ("f1-score", "recall", "precision")] == [0.92, 0.93, 0.91]
        assert round(report["accuracy"], 2) == 0.92


def test_claims_print_what_is_stated_never_what_was_measured(monkeypatch, capsys):
    monkeypatch.setattr(claims, "stated", lambda: {"test accuracy": {"value": "0.92", "tolerance": "0.02"}})
    for measured, holds in (
        (0.9375, True),
        (0.94, True),
        (0.9, True),
        (0.9401, False),
        (0.8999, False),
        (float("nan"), False),
    ):
        assert claims.holds("test accuracy", measured) is holds, measured
        assert claims.check("test accuracy", measured) is None
    claims.check("test accuracy", 0.92, checked=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "test accuracy = 0.92 ± 0.02: holds" and lines[3] == "test accuracy = 0.92 ± 0.02: does not hold"
    assert lines[6] == "test accuracy = 0.92 ± 0.02: not checked: not what it is stated for"
    assert not any("0.9375" in line or "0.9401" in line for line in lines)


def test_framing_measures_what_it_says():
    image = np.full((100, 100, 1), 100, np.uint8)
    image[:, :10] = 0
    image[::2] //= 2
    row = framing.measure(image[None]).iloc[0]
    assert row.black_share == pytest.approx(0.1) and row.margin == pytest.approx(0.5)
    assert row.brightness == pytest.approx(0.9 * 75) and row.sharpness == pytest.approx(0.9 * 50)
    assert row.contrast == pytest.approx(image.std())
