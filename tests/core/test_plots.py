"""Each figure draws the numbers that it is given and keeps the rules of `figure_rules`."""

import io

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from figure_rules import check_figure, figure_functions
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

import pnlib
from pnlib import plots

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (5, 150, 150, 1)).astype(np.uint8)
LABELS = np.array([0, 1, 0, 1, 1])
ROWS = pd.DataFrame({"split": ["train"] * 3 + ["test"] * 2, "label": LABELS, "patient": list("aabcd")})
PREDICTIONS = pd.DataFrame({"label": LABELS, "probability": [0.2, 0.9, 0.6, 0.4, 0.7], "patient": range(5)})
HISTORY = pd.DataFrame({"epoch": [1, 2], "loss": [1, 0.5], "auroc": [0.6, 0.7], "val_loss": [1, 0.6], "val_auroc": [0.5, 0.8]})  # fmt: skip
STRESSED = pd.DataFrame(
    {"kind": ["group", "corruption"], "auroc": [0.9, 0.6], "sensitivity": [0.8, 0.2], "specificity": [0.7, 0.9]},
    index=["random", "blur"],
)
CROSSED = pd.DataFrame([[0.9, 0.8], [0.7, 1.0]], index=["as it is", "blur"], columns=["as it is", "blur"])
MEASURED = pd.DataFrame({"x": RNG.random(5), "y": RNG.random(5), "label": LABELS})
INTERVALS = pd.DataFrame({"value": [0.9, 0.8], "low": [0.85, 0.7], "high": [0.94, 0.9]}, index=["accuracy", "macro_f1"])

FIGURES = {
    "image_grid": lambda note: plots.image_grid(IMAGES, list("abcde"), note, columns=3),
    "heat_maps": lambda note: plots.heat_maps(IMAGES[:2], RNG.random((2, 150, 150)), ["a", "b"], note, columns=2),
    "mean_images": lambda note: plots.mean_images(IMAGES, LABELS, note),
    "feature_maps": lambda note: plots.feature_maps(
        {"c1": RNG.random((9, 9, 8)), "c2": RNG.random((4, 4, 8))}, 3, note
    ),
    "class_counts": lambda note: plots.class_counts(ROWS, note),
    "images_per_patient": lambda note: plots.images_per_patient(ROWS, note),
    "operating_point": lambda note: plots.operating_point(PREDICTIONS, 0.5, note),
    "network_diagram": lambda note: plots.network_diagram(pnlib.build_network("baseline"), note),
    "distributions": lambda note: plots.distributions(MEASURED, ["x", "y"], note),
    "learning_curves": lambda note: plots.learning_curves(HISTORY, 2, note),
    "confusion": lambda note: plots.confusion(PREDICTIONS, note=note),
    "roc_and_pr": lambda note: plots.roc_and_pr(PREDICTIONS, {"half": 0.5}, note),
    "intervals": lambda note: plots.intervals(INTERVALS, {"accuracy": 0.92}, note),
    "stress_summary": lambda note: plots.stress_summary(STRESSED, note),
    "crossed_auroc": lambda note: plots.crossed_auroc(CROSSED, note),
}


LONG = "624 test images of the baseline network, whose weights are those of the reference; " * 3


def test_every_figure_is_tested():
    assert figure_functions(plots) == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_has_marks_and_attribution_and_can_be_drawn(name):
    figure = FIGURES[name]("where the images come from")
    assert isinstance(figure, Figure) and figure.get_supxlabel() == "where the images come from"
    assert all(axis.has_data() or axis.patches for axis in figure.axes[:2]), "an empty figure shows nothing"
    drawn = io.BytesIO()
    figure.savefig(drawn, format="raw", dpi=20)
    assert np.frombuffer(drawn.getvalue(), np.uint8).reshape(-1, 4)[:, :3].std() > 5


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_keeps_the_rules(name):
    check_figure(FIGURES[name](LONG))


def test_a_long_note_is_wrapped_and_makes_the_figure_taller():
    short, long = plots.class_counts(ROWS, "short"), plots.class_counts(ROWS, LONG)
    assert long.get_supxlabel().split() == LONG.split() and long.get_figheight() > short.get_figheight() + 0.3


def test_the_style_of_the_user_changes_no_figure_and_stays():
    with plt.style.context(["dark_background", {"font.size": 4, "xtick.labelsize": 3}]):
        before = dict(mpl.rcParams)
        check_figure(plots.class_counts(ROWS, "note"))
        assert dict(mpl.rcParams) == before


def test_classes_differ_in_gray_print():
    normal, pneumonia = (np.dot(to_rgb(color), (0.299, 0.587, 0.114)) for color in (plots.NORMAL, plots.PNEUMONIA))
    assert abs(normal - pneumonia) > 0.2


def test_pictures_are_those_given_in_their_order():
    grid = plots.image_grid(IMAGES, list("abcde"), columns=3, heading="five images")
    assert [axis.get_title() for axis in grid.axes] == [*"abcde", ""] and grid.get_suptitle() == "five images"
    assert np.array_equal(grid.axes[1].images[0].get_array(), IMAGES[1].squeeze())
    heats = RNG.random((2, 150, 150))
    above, empty, below, *_ = plots.heat_maps(IMAGES[3:4], heats, ["d"], columns=2).axes
    assert above.get_title() == "d" and not empty.images
    assert [len(axis.images) for axis in (above, below)] == [1, 2]
    assert np.array_equal(below.images[1].get_array(), heats[0])
    normal, pneumonia, difference, _ = plots.mean_images(IMAGES, LABELS).axes
    means = [IMAGES[LABELS == label].mean(0)[..., 0] for label in (0, 1)]
    assert np.allclose(normal.images[0].get_array(), means[0])
    assert np.allclose(pneumonia.images[0].get_array(), means[1])
    assert np.allclose(difference.images[0].get_array(), means[1] - means[0])


def test_feature_maps_go_from_the_most_active_channel_to_the_least():
    maps = np.ones((4, 4, 3)) * [0.1, 0.3, 0.2]
    figure = plots.feature_maps({"conv1": maps}, channels=3)
    assert [axis.get_title() for axis in figure.axes] == ["1: 0.3", "2: 0.2", "0: 0.1"]
    assert figure.axes[0].get_ylabel() == "conv1\n4×4"


def test_verdicts_are_written_and_what_is_forbidden_is_crossed_out():
    grid = plots.image_grid(IMAGES, list("abcde"), columns=3, verdicts=[None, True, False, None, None])
    assert [axis.get_title() for axis in grid.axes[:4]] == ["a", "b\nallowed", "c\nnot allowed", "d"]
    assert [len(axis.lines) > 0 for axis in grid.axes[:4]] == [False, False, True, False]


def test_a_network_is_drawn_layer_by_layer_with_its_shapes():
    axis = plots.network_diagram(pnlib.build_network("baseline")).axes[0]
    names = [text.get_text() for text in axis.texts]
    assert len(axis.patches) == 12 and names[0] == "conv1\n150×150\n×32" and names[-1] == "output\n1"
    conv1, pool1, conv2 = axis.patches[:3]
    assert conv1.get_height() == pytest.approx(2 * pool1.get_height()) and conv2.get_width() > pool1.get_width()
    assert "6,794,881 parameters" in axis.get_title()
    check_figure(plots.network_diagram(pnlib.build_network("compact")))


def test_counts_and_shares_are_written_in():
    predictions = pd.DataFrame({"label": [0] * 4 + [1] * 10, "probability": [0.1] * 3 + [0.8] + [0.2] * 2 + [0.7] * 8})
    axis = plots.confusion(predictions, 0.5).axes[0]
    assert [text.get_text() for text in axis.texts] == ["3\n75%", "1\n25%", "2\n20%", "8\n80%"], "rows are the truth"
    assert (
        axis.get_xlabel() == "predicted"
        and axis.get_ylabel() == "truth"
        and axis.get_title() == "threshold 0.5 (n = 14)"
    )
    words = [text.get_text() for text in plots.confusion(predictions, 0.7).axes[0].texts]
    assert words[2:] == ["2\n20%", "8\n80%"], "at the threshold itself, pneumonia is predicted"
    words = [text.get_text() for text in plots.confusion(predictions, 0.9).axes[0].texts]
    assert words == ["4\n100%", "0\n0%", "10\n100%", "0\n0%"], "a class that is never predicted"
    bars = [text.get_text() for text in plots.class_counts(ROWS).axes[0].texts]
    assert bars == ["2", "0", "1", "2"], "normal in train and test, then pneumonia"


def test_operating_points_lie_where_they_belong():
    figure = plots.roc_and_pr(PREDICTIONS, {"half": 0.5, "never": 2.0})
    roc, pr = figure.axes
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["AUROC 0.833", "chance", "half", "never", "AUPRC 0.917", "chance (prevalence 0.600)"]
    point, never = (line for line in roc.lines if line.get_label() in ("half", "never"))
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (0.5, pytest.approx(2 / 3))
    assert (never.get_xdata()[0], never.get_ydata()[0]) == (0, 0)
    (point,) = (line for line in pr.lines if line.get_label() == "half")
    assert (point.get_xdata()[0], point.get_ydata()[0]) == pytest.approx((2 / 3, 2 / 3))


def test_histograms_have_the_colours_of_the_classes_and_every_image():
    figure = plots.operating_point(PREDICTIONS, 0.25)
    axis, roc = figure.axes
    handles = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    colors = [to_hex(handles[name].get_facecolor()).upper() for name in ("normal (n = 2)", "pneumonia (n = 3)")]
    assert colors == [plots.NORMAL, plots.PNEUMONIA]
    assert axis.lines[0].get_xdata()[0] == 0.25
    assert axis.get_title() == "threshold 0.25: sensitivity 1.000, specificity 0.500"
    assert (roc.lines[-1].get_xdata()[0], roc.lines[-1].get_ydata()[0]) == (0.5, 1)
    axis = plots.images_per_patient(ROWS).axes[0]
    normal, pneumonia = axis.containers
    assert [bar.get_height() for bar in normal][:2] == [2, 0] and [bar.get_height() for bar in pneumonia][:2] == [3, 0]


def test_learning_curves_mark_the_kept_epoch():
    loss, auroc = plots.learning_curves(HISTORY, 2).axes
    assert [line.get_ydata().tolist() for line in auroc.lines[:2]] == [[0.6, 0.7], [0.5, 0.8]]
    assert loss.lines[2].get_xdata()[0] == 2 and loss.lines[2].get_label() == "kept epoch (2)"


def test_intervals_show_value_reach_and_what_is_stated():
    axis = plots.intervals(INTERVALS, {"macro_f1": 0.77, "auroc": 0.99}).axes[0]
    values, stated = axis.lines[0], axis.lines[-1]
    assert values.get_xdata().tolist() == [0.9, 0.8] and list(values.get_ydata()) == [1, 0]
    (reach,) = axis.collections
    assert np.allclose([segment[:, 0] for segment in reach.get_segments()], [[0.85, 0.94], [0.7, 0.9]])
    assert stated.get_xdata()[0] == 0.77 and 0 < stated.get_ydata()[0] < 1
    assert [label.get_text() for label in axis.get_yticklabels()] == ["accuracy", "macro F1"]


def test_crossed_auroc_writes_each_value_where_it_belongs():
    axis = plots.crossed_auroc(CROSSED).axes[0]
    assert [text.get_text() for text in axis.texts] == ["0.90", "0.80", "0.70", "1.00"]
    assert "normals" in axis.get_ylabel() and "pneumonias" in axis.get_xlabel()


def test_stress_summary_shows_the_table_and_its_first_line_as_a_dotted_one():
    axis = plots.stress_summary(STRESSED).axes[0]
    columns = ["auroc", "sensitivity", "specificity"]
    for name, marks, dotted in zip(columns, axis.lines[:6:2], axis.lines[1:6:2], strict=True):
        assert marks.get_xdata().tolist() == STRESSED[name].tolist()
        assert dotted.get_xdata()[0] == STRESSED[name].iloc[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["random", "blur"]
    assert list(axis.get_yticks()) == [1, 0]


def test_figures_are_shown_once_by_the_notebook():
    pnlib.plots.class_counts(ROWS)
    assert plt.get_fignums() == []


def drawn(**changes):
    """A figure that keeps the rules, unless a change breaks one."""
    figure, axis = plots.new_figure(changes.get("width", 6), 4)
    axis.bar([0, 1], [1, 2], color=changes.get("color", plots.NORMAL), label=changes.get("label", "normal"))
    axis.set(title=changes.get("title", "title"), xlabel=changes.get("xlabel", "x"), ylabel="y")
    axis.tick_params(labelsize=changes.get("ticks", 11))
    if changes.get("legend", True):
        axis.legend(fontsize=11)
    for text in changes.get("texts", ()):
        axis.text(0.5, 1, text, fontsize=11).set_in_layout(False)
    if "cmap" in changes:
        axis.imshow([[0, 1]], cmap=changes["cmap"])
    figure.set_size_inches(changes.get("width", 6), 4)
    figure.set_facecolor(changes.get("ground", "white"))
    return figure


BROKEN = {
    "wider": {"width": 11},
    "no title": {"title": ""},
    "without an axis label": {"xlabel": ""},
    "10.0 pt": {"ticks": 10},
    "white ground": {"ground": "none"},
    "marks without a legend": {"legend": False},
    "belongs to no class": {"color": "C0"},
    "stands for": {"label": "compact"},
    "color map": {"cmap": "PuOr"},
    "overlap": {"texts": ["one", "two"]},
    "cut off": {"texts": ["far too long " * 9]},
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_rule_is_found(message):
    check_figure(drawn())
    with pytest.raises(AssertionError, match=message):
        check_figure(drawn(**BROKEN[message]))
