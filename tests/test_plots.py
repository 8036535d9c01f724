"""Each figure draws what it is given; colours differ in lightness, for grey print."""

import io

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from pnlib import evaluate, model, plots, review, review_plots, study_plots
from pnlib.errors import InputError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (5, 150, 150, 1)).astype(np.uint8)
LABELS = np.array([0, 1, 0, 1, 1])
ROWS = pd.DataFrame({"split": ["train"] * 3 + ["test"] * 2, "label": LABELS, "patient": list("aabcd")})
PROBABILITIES = np.array([0.2, 0.9, 0.6, 0.4, 0.7])


def pixels(figure: Figure) -> np.ndarray:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    content.seek(0)
    return matplotlib.image.imread(content)[..., :3] * 255


def results():
    return evaluate.bootstrap(LABELS, PROBABILITIES, np.arange(5), resamples=100)


@pytest.mark.parametrize(
    "draw",
    [
        lambda note: plots.image_grid(IMAGES, list("abcde"), note, columns=3),
        lambda note: plots.class_counts(ROWS, note),
        lambda note: plots.images_per_patient(ROWS, note),
        lambda note: plots.distributions(
            pd.DataFrame({"x": RNG.random(5), "y": RNG.random(5), "label": LABELS}), ["x", "y"], note
        ),
        lambda note: plots.mean_images(IMAGES, LABELS, note),
        lambda note: plots.feature_maps({"conv1": RNG.random((9, 9, 8)), "conv2": RNG.random((4, 4, 8))}, note=note),
        lambda note: plots.learning_curves(
            pd.DataFrame(
                {"epoch": [1, 2], "loss": [1, 0.5], "auroc": [0.6, 0.7], "val_loss": [1, 0.6], "val_auroc": [0.5, 0.8]}
            ),
            2,
            note,
        ),
        lambda note: plots.confusion(np.array([[3, 1], [2, 9]]), note),
        lambda note: plots.roc_and_pr(LABELS, PROBABILITIES, {"half": 0.5}, note),
        lambda note: plots.probability_histogram(LABELS, PROBABILITIES, 0.5, note),
        lambda note: plots.heat_maps(IMAGES[:2], RNG.random((2, 150, 150)), ["a", "b"], note),
        lambda note: plots.intervals(results(), {"accuracy": 0.92}, note),
    ],
)
def test_each_figure_has_marks_and_attribution(draw):
    figure = draw("where the images come from")
    assert isinstance(figure, Figure)
    assert figure.get_supxlabel() == "where the images come from"
    for axis in figure.axes[:2]:
        assert axis.has_data(), "an empty figure shows nothing"
    assert pixels(figure).std() > 5


def test_classes_differ_in_grey_print():
    def gray(color):
        return np.dot(to_rgb(color), (0.299, 0.587, 0.114))

    assert abs(gray(plots.NORMAL) - gray(plots.PNEUMONIA)) > 0.2


def test_figures_show_the_numbers():
    words = [t.get_text() for a in plots.confusion(np.array([[3, 1], [2, 8]])).axes for t in a.texts]
    assert words == ["3\n75%", "1\n25%", "2\n20%", "8\n80%"]
    bars = [t.get_text() for t in plots.class_counts(ROWS).axes[0].texts]
    assert bars == ["2", "0", "1", "2"], "normal in train and test, then pneumonia"
    grid = plots.image_grid(IMAGES, list("abcde"), columns=3)
    assert [a.get_title() for a in grid.axes] == list("abcde") + [""]
    assert np.array_equal(grid.axes[1].images[0].get_array(), IMAGES[1].squeeze())


def test_feature_maps_of_the_network():
    maps = model.feature_maps(model.build_cnn(), IMAGES[0] / np.float32(255))
    assert {name: m.shape for name, m in maps.items()} == {
        "conv1": (150, 150, 32), "conv2": (75, 75, 64), "conv3": (38, 38, 128), "conv4": (19, 19, 128)
    }  # fmt: skip


def study_table():
    rows = [("a", 0, 0.9, 0.8, 0.7), ("a", 1, 0.92, 0.82, 0.72), ("b", 0, 0.95, 0.7, 0.6)]
    return pd.DataFrame(rows, columns=["recipe", "seed", "auroc random", "mean auroc, groups", "worst auroc, groups"])


def test_a_study_has_a_dot_for_each_training_and_the_best_recipe_on_top():
    figure = study_plots.study(study_table())
    panels = figure.axes
    assert [t.get_text() for t in panels[0].get_yticklabels()] == ["b", "a"], "by the groups, not by random patients"
    assert list(panels[0].lines[0].get_xdata()) == [0.9, 0.92, 0.95] and list(panels[0].lines[0].get_ydata()) == [
        1,
        1,
        0,
    ]
    worst, mean = panels[1].lines
    assert list(worst.get_xdata()) == [0.7, 0.72, 0.6] and list(mean.get_xdata()) == [0.8, 0.82, 0.7]


def test_seeds_show_each_value_and_the_mean():
    figure = study_plots.seeds(study_table().rename(columns={"auroc random": "test auroc"}), ["test auroc"])
    dots, mean, dots_b, _ = figure.axes[0].lines
    assert list(dots.get_ydata()) == [0.9, 0.92] and mean.get_ydata()[0] == pytest.approx(0.91)
    assert list(dots_b.get_ydata()) == [0.95] and figure.axes[0].get_xticklabels()[0].get_text() == "auroc"


def test_agreement_writes_its_figures():
    matrix = pd.DataFrame([[1.0, -0.5], [-0.5, 1.0]], index=["auroc x", "y"], columns=["auroc x", "y"])
    figure = study_plots.agreement(matrix)
    assert [t.get_text() for t in figure.axes[0].texts] == ["1.00", "-0.50", "-0.50", "1.00"]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["x", "y"]


def test_crossed_writes_its_figures_where_they_belong():
    matrix = pd.DataFrame([[0.9, 0.8], [0.7, 1.0]], index=["as it is", "blur"], columns=["as it is", "blur"])
    axis = study_plots.crossed(matrix).axes[0]
    assert [t.get_text() for t in axis.texts] == ["0.90", "0.80", "0.70", "1.00"]
    assert "normals" in axis.get_ylabel() and "pneumonias" in axis.get_xlabel()


def test_judged_marks_are_the_table_and_its_first_line_is_drawn_through():
    figures = {"auroc": [0.9, 0.6], "sensitivity": [0.8, 0.2], "specificity": [0.7, 0.9]}
    table = pd.DataFrame({"kind": ["group", "change"], **figures}, index=["random", "blur"])
    axis = study_plots.judged(table).axes[0]
    drawn = dict(zip(figures, zip(axis.lines[:6:2], axis.lines[1:6:2], strict=True), strict=True))
    for name, (marks, through) in drawn.items():
        assert marks.get_xdata().tolist() == figures[name] and through.get_xdata()[0] == figures[name][0]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["random", "blur"] and list(axis.get_yticks()) == [1, 0]


def test_two_exams_fill_the_recipe_of_the_largest_mean():
    table = pd.DataFrame({"recipe": ["a", "b"], "groups": [0.90, 0.88], "swapped": [0.84, 0.96]})
    axis = study_plots.two_exams(table).axes[0]
    first, second = axis.lines[:2]
    assert (first.get_xdata()[0], first.get_ydata()[0]) == (0.84, 0.90)
    assert first.get_markerfacecolor() == "white" and second.get_markerfacecolor() == plots.PNEUMONIA
    assert [t.get_text() for t in axis.texts] == ["a", "b"]
    both = study_plots.two_exams(table.assign(network=["founding", "compact"])).axes[0]
    assert [line.get_markerfacecolor() for line in both.lines[:2]] == [plots.PNEUMONIA] * 2, "the best of each network"
    axis = study_plots.two_exams(table.rename(columns={"swapped": "worst"}), "worst", "AUROC, worst pair").axes[0]
    assert axis.get_xlabel() == "AUROC, worst pair" and axis.lines[0].get_xdata()[0] == 0.84


def test_a_paired_difference_is_drawn_with_its_sign_and_rules_with_their_optimism():
    table = pd.DataFrame({"value": [0.02], "low": [-0.01], "high": [0.05]}, index=["accuracy"])
    axis = review_plots.differences(table, ("founding", "compact")).axes[0]
    assert axis.get_xlabel().startswith("compact minus founding") and axis.lines[0].get_xdata()[0] == 0.02
    rows = [(0, "last", 0.8, 0.8), (0, "best", 0.84, 0.81), (1, "last", 0.7, 0.7), (1, "best", 0.72, 0.7)]
    table = pd.DataFrame(rows, columns=["seed", "rule", "reported", "worth"])
    axis = review_plots.optimism(table, review.optimism(table)).axes[0]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["best"] and "'last'" in axis.get_ylabel()
    reported, _, real, _, _ = axis.lines
    assert np.allclose(reported.get_ydata(), [0.02, 0.04]) and np.allclose(real.get_ydata(), [0.0, 0.01])


def test_figures_of_the_review_draw_what_they_are_given():
    labels, scores = np.tile(LABELS, 20), np.clip(np.tile(PROBABILITIES, 20) + RNG.normal(0, 0.1, 100), 0, 1)
    curves = review.bands(labels, scores, np.arange(100), resamples=100)
    roc, pr = review_plots.bands(curves, 0.6, "note").axes
    assert np.array_equal(roc.lines[0].get_ydata(), curves["roc"].value) and pr.lines[1].get_ydata()[0] == 0.6
    table = review.reliability(labels, scores)
    axis = review_plots.reliability({"one": table}).axes[0]
    assert np.allclose(axis.collections[0].get_offsets(), table[["predicted", "observed"]])
    benefit = review.net_benefit(labels, scores)
    assert np.array_equal(review_plots.decision_curve(benefit).axes[0].lines[0].get_ydata(), benefit.model)
    values = review.predictive_values(0.9, 0.9, [0.01, 0.1, 0.5])
    axis = review_plots.predictive_values(values, 0.6).axes[0]
    assert np.array_equal(axis.lines[0].get_ydata(), values.ppv) and axis.get_xscale() == "log"
    rows = pd.DataFrame([{"name": "other", "accuracy": 0.9}, {"name": "this series: x", "accuracy": 0.8, "accuracy_low": 0.7,
                         "accuracy_high": 0.85, "auroc": 0.95, "auroc_low": 0.9, "auroc_high": 0.99},
                         {"name": "this series: seeds", "accuracy": 0.8, "accuracy_seeds": [0.79, 0.81], "auroc_seeds": [0.9]}])  # fmt: skip
    axis = review_plots.published(rows, "note").axes[0]
    (dots,) = [line for line in axis.lines if len(line.get_xdata()) == 2 and line.get_marker() == "."]
    assert dots.get_xdata().tolist() == [0.79, 0.81] and 1.5 < dots.get_ydata()[0] < 2
    assert [t.get_text() for t in axis.get_legend().get_texts()] == ["one seed", "95 % interval over patients"]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["other", "this series: x", "this series: seeds"]
    assert axis.lines[0].get_xdata()[0] == 0.8


def test_subgroups_show_each_figure_with_what_it_rests_on():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"label": [1] * 40 + [0] * 20, "probability": rng.random(60), "patient": np.arange(60)})
    table["kind"] = ["virus"] * 40 + ["series IM"] * 20
    found = review.by_subgroup(table, "kind", resamples=100)
    sensitivity, specificity = review_plots.subgroups(found, "note").axes
    assert [label.get_text() for label in sensitivity.get_yticklabels()] == ["series IM", "virus"]
    assert [text.get_text() for text in sensitivity.texts] == ["none", "40 images"]
    assert [text.get_text() for text in specificity.texts] == ["20 images", "none"]


def test_technique_sets_the_classes_of_each_set_of_images_side_by_side():
    table = pd.DataFrame({"label": [0, 1] * 20, "margin": np.arange(40) / 40, "contrast": np.arange(40)})
    figure = review_plots.technique({"validation": table, "test": table}, ["margin", "contrast"], "note")
    assert [axis.get_ylabel() for axis in figure.axes] == ["margin", "contrast"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["validation", "test"]
    assert [text.get_text() for text in figure.axes[-1].get_legend().get_texts()] == ["normal", "pneumonia"]


def test_gains_are_filled_where_zero_is_excluded():
    rows = [("default", 0, *[np.nan] * 3), ("without a", 0, -0.03, -0.05, -0.01), ("without b", 0, 0.01, -0.01, 0.02)]
    rows.append(("without c", 0, -0.4, -0.5, -0.3))
    table = pd.DataFrame(rows, columns=["recipe", "seed", "groups gain", "groups gain low", "groups gain high"])
    axis = study_plots.gains(table, ("groups",), note="note").axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["without a", "without b", "without c"]
    assert [text.get_text() for text in axis.texts] == ["\u2190 -0.40"] and axis.get_xlim()[0] > -0.1
    assert len(study_plots.gains(table).axes) == 1, "the one figure that there is"
    with pytest.raises(InputError, match="two recipes"):
        study_plots.gains(table[["recipe", "seed"]])
    told, untold = axis.lines[:2]
    assert told.get_xdata().tolist() == [-0.03] and told.get_color() == plots.PNEUMONIA
    assert untold.get_xdata().tolist() == [0.01] and untold.get_color() == "white" and "'default'" in axis.get_xlabel()
