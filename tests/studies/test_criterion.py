"""The selection criterion of a stress table, and its intervals."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import pnlib
from pnlib import InputError
from pnlib.evaluation import patient_draws
from pnlib.stress import PLAIN, read_stress, write_stress
from pnlib.studies import criterion_replicates, percentile_interval

LOOKS = (PLAIN, "blur", "zoom in", "swapped")


def stress_table(seed=0, skill=0.7, patients=120):
    """A shifted validation, three images per patient, and probabilities that know the truth by `skill`."""
    rng, names = np.random.default_rng(7), np.repeat(np.arange(patients), 3)
    stressed = pd.DataFrame({"path": [f"{i}.png" for i in range(len(names))], "label": names % 2})
    stressed["patient"] = [f"p{name}" for name in names]
    for group in ("random", "framing", "tone"):
        stressed[group] = np.isin(names, rng.permutation(patients)[: patients // 2])
    own = np.random.default_rng(seed)
    for look in LOOKS:
        chance = own.normal(0, 1, patients)[names] + own.normal(0, 0.3, len(names)) - (look == "blur")
        stressed[look] = 1 / (1 + np.exp(-skill * (2 * stressed.label - 1) - chance))
        if look != PLAIN:
            stressed.loc[~stressed["random"], look] = np.nan
    return stressed


def with_probabilities(stressed, change):
    return stressed.assign(**{look: change(stressed[look]) for look in LOOKS})


def agrees(replicates, stressed):
    """Whether the first row is what the tables that 04 shows say."""
    first, summary = replicates.iloc[0], pnlib.stress_summary(stressed)
    assert first.groups == pytest.approx(summary.auroc[["framing", "tone"]].mean(), abs=1e-6)
    assert first["worst pair"] == pytest.approx(pnlib.crossed_auroc(stressed).to_numpy().min(), abs=1e-6)
    assert first.criterion == pytest.approx((first.groups + first["worst pair"]) / 2)


def test_its_values_are_those_of_the_tables_that_04_shows():
    stressed = stress_table()
    agrees(criterion_replicates(stressed, 10), stressed)


def test_intervals_are_those_of_a_bootstrap_over_patients():
    stressed = stress_table().drop(columns="tone")
    drawn = criterion_replicates(stressed, 2000).groups.iloc[1:]
    group = stressed[stressed.framing]
    labels, p = group.label.to_numpy(), group[PLAIN].to_numpy()
    plain = [roc_auc_score(labels[i], p[i]) for i in patient_draws(labels, group.patient.to_numpy(), 1000, 1)]
    assert drawn.std() == pytest.approx(np.std(plain), rel=0.12)
    images = [roc_auc_score(labels[i], p[i]) for i in np.random.default_rng(0).integers(len(p), size=(500, len(p)))]
    assert drawn.std() > 1.2 * np.std(images), "images drawn singly would make them too narrow"


def test_probabilities_close_to_one_stay_apart_in_the_file(tmp_path):
    """As a network without augmentation gives them: most of its pneumonias lie above 0.999999."""
    near_one = with_probabilities(stress_table(), lambda p: (1 - 1e-5 * (1 - p)).astype(np.float32).astype(np.float64))
    write_stress(tmp_path / "stress.csv", near_one)
    agrees(criterion_replicates(read_stress(tmp_path / "stress.csv"), 10), near_one)


def test_a_difference_is_paired_over_the_same_patients():
    stressed = stress_table()
    better = with_probabilities(stressed, lambda p: np.where(stressed.label == 1, p**0.8, p))
    first, second = criterion_replicates(stressed), criterion_replicates(better)
    alone, paired = percentile_interval(first).loc["criterion"], percentile_interval(second - first).loc["criterion"]
    assert alone.low < alone.value < alone.high
    assert paired.low > 0, "much alike, and better on every patient"
    assert paired.high - paired.low < 0.5 * (alone.high - alone.low)
    assert not percentile_interval(first - first).to_numpy().any()


def test_ties_count_half_and_without_shifted_groups_there_is_the_worst_pair_alone():
    stressed = pd.DataFrame({"path": list("abcdef"), "label": [0, 1] * 3, "patient": list("uvwxyz"), PLAIN: 0.5, "blur": 0.5})  # fmt: skip
    drawn = criterion_replicates(stressed, 50)
    assert (drawn["worst pair"] == 0.5).all() and drawn.groups.isna().all() and 20 < len(drawn) <= 51
    with pytest.raises(InputError, match="images of both classes; hold out more patients"):
        criterion_replicates(stressed.assign(label=1))
