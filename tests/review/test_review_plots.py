"""Each figure of the review draws the numbers that it is given, and keeps the rules of `figure_rules`."""

import numpy as np
import pandas as pd
import pytest
from figure_rules import check_figure, figure_functions
from matplotlib.colors import to_hex

from pnlib import plots as core
from pnlib import review
from pnlib.review import plots

RNG = np.random.default_rng(0)
LABELS = np.tile([0, 1, 0, 1, 1], 20)
SCORES = np.clip(np.tile([0.2, 0.9, 0.6, 0.4, 0.7], 20) + RNG.normal(0, 0.1, 100), 0, 1)
PREDICTIONS = pd.DataFrame({"label": LABELS, "probability": SCORES, "patient": np.arange(100)})


TABLE = PREDICTIONS.assign(kind=np.where(LABELS == 1, "virus", "series IM"))
FEATURES = pd.DataFrame({"label": [0, 1] * 20, "margin": np.arange(40) / 40, "contrast": np.arange(40)})
PUBLISHED = pd.DataFrame([
    {"name": "other", "accuracy": 0.9},
    {"name": "this series: x", "accuracy": 0.8, "accuracy_low": 0.7, "accuracy_high": 0.85, "auroc": 0.95, "auroc_low": 0.9, "auroc_high": 0.99},
    {"name": "this series: seeds", "accuracy": 0.8, "accuracy_seeds": [0.79, 0.81], "auroc_seeds": [0.9]},
])  # fmt: skip
DIFFERENCES = pd.DataFrame({"value": [0.02], "low": [-0.01], "high": [0.05]}, index=["auroc"])
RULES = pd.DataFrame(
    [(0, "last", 0.8, 0.8), (0, "best", 0.84, 0.81), (1, "last", 0.7, 0.7), (1, "best", 0.72, 0.7)],
    columns=["seed", "rule", "reported", "worth"],
)
NOTE = "100 drawn images of 100 patients, of the compact network"
FIGURES = {
    "reliability": lambda: plots.reliability(dict.fromkeys("ab", review.reliability(PREDICTIONS, exact=True)), NOTE),
    "decision_curve": lambda: plots.decision_curve(review.net_benefit(PREDICTIONS, resamples=20), NOTE),
    "published": lambda: plots.published(PUBLISHED, NOTE),
    "subgroups": lambda: plots.subgroups(review.by_subgroup(TABLE, "kind", resamples=100), NOTE),
    "acquisition_features": lambda: plots.acquisition_features(
        {"validation": FEATURES, "test": FEATURES}, ["margin", "contrast"], NOTE
    ),
    "differences": lambda: plots.differences(DIFFERENCES, ("baseline", "compact"), NOTE),
    "optimism": lambda: plots.optimism(RULES, review.optimism(RULES), NOTE),
}


def test_every_figure_is_tested():
    assert figure_functions(plots) == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_keeps_the_rules(name):
    figure = FIGURES[name]()
    check_figure(figure)
    assert figure.get_supxlabel() == NOTE and all(axis.has_data() for axis in figure.axes)


def words(texts) -> list[str]:
    return [text.get_text() for text in texts]


def test_reliability_has_a_dot_per_bin_and_its_images():
    table = review.reliability(PREDICTIONS, exact=True)
    figure = plots.reliability({"compact": table})
    axis = figure.axes[0]
    dots = next(drawn for drawn in axis.collections if len(drawn.get_offsets()) == len(table))
    assert np.allclose(dots.get_offsets(), table[["predicted", "observed"]])
    assert axis.get_title() == "compact (n = 100)" and "95 % interval" in words(figure.legends[0].get_texts())


def test_a_decision_curve_shows_a_band_where_there_is_one():
    benefit = review.net_benefit(PREDICTIONS, resamples=20)
    with_band, without = (
        plots.decision_curve(table).axes[0] for table in (benefit, benefit[["threshold", "model", "all"]])
    )
    assert np.array_equal(with_band.lines[0].get_ydata(), benefit.model)
    assert len(with_band.collections) == 1 and not without.collections


def test_published_shows_seeds_below_their_mean():
    figure = plots.published(PUBLISHED)
    axis = figure.axes[0]
    (dots,) = (line for line in axis.lines if len(line.get_xdata()) == 2 and line.get_marker() == ".")
    assert dots.get_xdata().tolist() == [0.79, 0.81] and 1.5 < dots.get_ydata()[0] < 2
    assert set(words(figure.legends[0].get_texts())) == {
        "one seed", "this series", "published by others", "95 % interval over patients"
    }  # fmt: skip
    assert words(axis.get_yticklabels()) == ["other", "this series: x", "this series: seeds"]
    assert axis.lines[0].get_xdata().tolist() == [0.8, 0.8]


def test_subgroups_show_the_images_behind_each_value():
    sensitivity, specificity = FIGURES["subgroups"]().axes
    assert words(sensitivity.get_yticklabels()) == ["series IM", "virus"]
    assert words(sensitivity.texts) == ["none", "n = 60"] and words(specificity.texts) == ["n = 40", "none"]
    colors = [axis.lines[0].get_color() for axis in (sensitivity, specificity)]
    assert colors == [core.PNEUMONIA, core.NORMAL]


def test_acquisition_features_show_the_classes_of_each_set_side_by_side():
    figure = FIGURES["acquisition_features"]()
    assert [axis.get_title() for axis in figure.axes] == ["margin", "contrast"]
    assert [axis.get_ylabel() for axis in figure.axes] == ["share (0 to 1)", "gray levels"]
    assert words(figure.axes[0].get_xticklabels()) == ["validation\n(n = 40)", "test\n(n = 40)"]
    assert words(figure.legends[0].get_texts()) == ["normal", "pneumonia"]
    assert [to_hex(box.get_facecolor()).upper() for box in figure.axes[0].patches[::2]] == [core.NORMAL, core.PNEUMONIA]


def test_a_paired_difference_is_drawn_with_its_sign():
    axis = FIGURES["differences"]().axes[0]
    assert axis.get_xlabel().startswith("difference: compact minus baseline") and axis.lines[0].get_xdata()[0] == 0.02
    assert words(axis.get_yticklabels()) == ["AUROC"]


def test_rules_are_drawn_with_their_gain_over_the_first_one():
    axis = FIGURES["optimism"]().axes[0]
    assert words(axis.get_xticklabels()) == ["best"] and "'last'" in axis.get_ylabel()
    reported, mean, real = axis.lines[:3]
    assert np.allclose(reported.get_ydata(), [0.02, 0.04]) and np.allclose(real.get_ydata(), [0.0, 0.01])
    assert mean.get_ydata()[0] == pytest.approx(0.03)
