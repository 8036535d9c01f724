"""The exams of a training's answers, and their intervals."""

import numpy as np
import pandas as pd
import pytest

from pnlib import exams, shift
from pnlib.errors import InputError


def answered(seed: int, skill: float, patients: int = 120):
    """Rows of a shifted validation, three images a patient, and answers that know the truth by `skill`."""
    rng, names = np.random.default_rng(7), np.repeat(np.arange(patients), 3)
    rows = pd.DataFrame({"path": [f"{i}.png" for i in range(len(names))], "label": names % 2})
    rows["patient"] = [f"p{name}" for name in names]
    for group in ("random", "framing", "tone"):
        rows[group] = np.isin(names, rng.permutation(patients)[: patients // 2])
    own = np.random.default_rng(seed)
    logits = {
        name: skill * (2 * rows.label.to_numpy() - 1)
        + own.normal(0, 1, patients)[names]
        + own.normal(0, 0.3, len(names))
        for name in ("all", "blur", "zoom in", "swapped")
    }
    base = rows.random.to_numpy()
    answers = {
        name: 1 / (1 + np.exp(-(x if name == "all" else x[base] - (name == "blur")))) for name, x in logits.items()
    }
    return answers, rows


def test_the_figures_are_those_of_the_tables_that_04_shows():
    answers, rows = answered(0, 0.7)
    said = exams.draws(shift.table(answers, rows), 10).iloc[0]
    judged = shift.judge(answers, rows)
    assert said.groups == pytest.approx(judged.auroc[["framing", "tone"]].mean(), abs=1e-6)
    assert said["worst pair"] == pytest.approx(shift.crossed(answers, rows).to_numpy().min(), abs=1e-6)
    assert said.criterion == pytest.approx((said.groups + said["worst pair"]) / 2)


def test_intervals_are_those_of_a_bootstrap_over_patients():
    from sklearn.metrics import roc_auc_score

    from pnlib import evaluate

    answers, rows = answered(0, 0.7)
    rows = rows.drop(columns="tone")
    drawn = exams.draws(shift.table(answers, rows), 2000).groups.iloc[1:]
    part = rows.framing.to_numpy()
    labels, p, patients = rows.label[part].to_numpy(), answers["all"][part], rows.patient[part].to_numpy()
    plain = [roc_auc_score(labels[i], p[i]) for i in evaluate.patient_draws(labels, patients, 2000, 1)]
    assert drawn.std() == pytest.approx(np.std(plain), rel=0.12)
    images = [roc_auc_score(labels[i], p[i]) for i in np.random.default_rng(0).integers(len(p), size=(500, len(p)))]
    assert drawn.std() > 1.2 * np.std(images), "images drawn singly would make them too narrow"


def test_probabilities_close_to_one_stay_apart_in_the_file(tmp_path):
    """As a network without augmentation gives them: most of its pneumonias lie above 0.999999."""
    answers, rows = answered(0, 0.7)
    near_one = {name: (1 - 1e-5 * (1 - p)).astype(np.float32).astype(np.float64) for name, p in answers.items()}
    exams.write(tmp_path / "answers.csv", shift.table(near_one, rows))
    said = exams.draws(exams.read(tmp_path / "answers.csv"), 10).iloc[0]
    assert said.groups == pytest.approx(shift.judge(near_one, rows).auroc[["framing", "tone"]].mean(), abs=1e-6)
    assert said["worst pair"] == pytest.approx(shift.crossed(near_one, rows).to_numpy().min(), abs=1e-6)


def test_a_difference_is_paired_over_the_same_patients():
    answers, rows = answered(0, 0.7)
    better = {name: np.where(rows.label[rows.random | (name == "all")] == 1, p**0.8, p) for name, p in answers.items()}
    first, second = (exams.draws(shift.table(x, rows)) for x in (answers, better))
    alone, paired = exams.interval(first).loc["criterion"], exams.interval(second - first).loc["criterion"]
    assert paired.low > 0, "much alike, and better on every patient: told apart"
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)
    assert not exams.interval(first - first).to_numpy().any()


def test_ties_count_half_and_a_validation_without_groups_has_the_worst_pair_alone():
    rows = pd.DataFrame({"path": list("abcdef"), "label": [0, 1] * 3, "patient": list("uvwxyz")})
    answers = {"all": np.full(6, 0.5), "blur": np.full(6, 0.5)}
    drawn = exams.draws(shift.table(answers, rows), 50)
    assert (drawn["worst pair"] == 0.5).all() and drawn.groups.isna().all() and 20 < len(drawn) <= 51
    with pytest.raises(InputError, match="both classes"):
        exams.draws(shift.table(answers, rows.assign(label=1)))


def test_answers_come_back_from_their_file_and_give_a_threshold(tmp_path):
    answers, rows = answered(0, 0.7)
    rows["patient"] = rows.patient.replace({"p0": "007", "p1": "NA"})
    answers = {name: p.astype(np.float32).astype(np.float64) for name, p in answers.items()}
    table = shift.table(answers, rows)
    exams.write(tmp_path / "answers.csv", table)
    again = exams.read(tmp_path / "answers.csv")
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    assert table.blur.notna().sum() == rows.random.sum() < len(rows)
    lower = {name: p * 0.5 for name, p in answers.items()}
    assert exams.threshold(shift.table(lower, rows)) == pytest.approx(exams.threshold(table) / 2)
    (tmp_path / "answers.csv").write_text("path,label\n1,x\n")
    with pytest.raises(InputError, match="answers.csv; run 04_train again"):
        exams.read(tmp_path / "answers.csv")
    with pytest.raises(InputError, match="none.csv"):
        exams.read(tmp_path / "none.csv")
