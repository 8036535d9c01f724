"""Figures of studies: configs against validation, seeds, gains, two criteria. Their colours are neutral."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from pnlib import InputError
from pnlib.studies import plots

TABLE = pd.DataFrame(
    [("a", 0, 0.9, 0.8, 0.7), ("a", 1, 0.92, 0.82, 0.72), ("b", 0, 0.95, 0.7, 0.6)],
    columns=["config", "seed", "auroc random", "mean auroc, groups", "worst auroc, groups"],
)


@pytest.fixture(autouse=True)
def neutral(monkeypatch):
    """Blue and orange are the classes; no mark of a study has a colour."""
    made = []
    real = plots.new_figure

    def new_figure(*sizes, **options):
        made.append(real(*sizes, **options))
        return made[-1]

    monkeypatch.setattr(plots, "new_figure", new_figure)
    yield
    for figure, _ in made:
        for line in (line for axis in figure.axes for line in axis.lines):
            colors = [line.get_color()] if line.get_linestyle() != "None" else []
            if line.get_marker() != "None":
                colors += [line.get_markerfacecolor(), line.get_markeredgecolor()]
            for color in colors:
                assert color == "none" or len(set(to_rgb(color))) == 1, color
    assert made


def test_a_study_has_a_dot_for_each_training_and_the_best_config_on_top():
    figure = plots.study(TABLE, "note")
    panels = figure.axes
    assert figure.get_supxlabel() == "note" and [axis.get_title() for axis in panels] == [
        "random patients",
        "shifted groups",
    ]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["b", "a"], "by the groups, not by random"
    dots = panels[0].lines[0]
    assert list(dots.get_xdata()) == [0.9, 0.92, 0.95] and list(dots.get_ydata()) == [1, 1, 0]
    worst, mean = panels[1].lines
    assert list(worst.get_xdata()) == [0.7, 0.72, 0.6] and list(mean.get_xdata()) == [0.8, 0.82, 0.7]


def test_seeds_show_each_value_and_the_mean():
    figure = plots.seeds(TABLE.rename(columns={"auroc random": "test auroc"}), ["test auroc"])
    dots, mean, dots_b, _ = figure.axes[0].lines
    assert list(dots.get_ydata()) == [0.9, 0.92] and mean.get_ydata()[0] == pytest.approx(0.91)
    assert list(dots_b.get_ydata()) == [0.95] and figure.axes[0].get_xticklabels()[0].get_text() == "auroc"


def test_agreement_writes_its_values():
    matrix = pd.DataFrame([[1.0, -0.5], [-0.5, 1.0]], index=["auroc x", "y"], columns=["auroc x", "y"])
    axis = plots.agreement(matrix).axes[0]
    assert [text.get_text() for text in axis.texts] == ["1.00", "-0.50", "-0.50", "1.00"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["x", "y"]


def test_two_criteria_fill_the_config_of_the_largest_mean():
    table = pd.DataFrame({"config": ["a", "b"], "groups": [0.90, 0.88], "swapped": [0.84, 0.96]})
    axis = plots.two_criteria(table).axes[0]
    first, second = axis.lines[:2]
    assert (first.get_xdata()[0], first.get_ydata()[0]) == (0.84, 0.90)
    assert (first.get_markerfacecolor(), second.get_markerfacecolor()) == ("white", "black")
    assert [text.get_text() for text in axis.texts] == ["a", "b"]
    both = plots.two_criteria(table.assign(network=["baseline", "compact"])).axes[0]
    assert [line.get_markerfacecolor() for line in both.lines[:2]] == ["black"] * 2, "the best of each network"
    axis = plots.two_criteria(table.rename(columns={"swapped": "worst"}), "worst", "AUROC, worst pair").axes[0]
    assert axis.get_xlabel() == "AUROC, worst pair" and axis.lines[0].get_xdata()[0] == 0.84


def test_gains_are_filled_where_zero_is_excluded():
    rows = [("default", 0, *[np.nan] * 3), ("without a", 0, -0.03, -0.05, -0.01), ("without b", 0, 0.01, -0.01, 0.02)]
    rows.append(("without c", 0, -0.4, -0.5, -0.3))
    table = pd.DataFrame(rows, columns=["config", "seed", "groups gain", "groups gain low", "groups gain high"])
    axis = plots.gains(table, ("groups",), note="note").axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["without a", "without b", "without c"]
    assert [text.get_text() for text in axis.texts] == ["\u2190 -0.40"] and axis.get_xlim()[0] > -0.1
    filled, open_ = axis.lines[:2]
    assert filled.get_xdata().tolist() == [-0.03] and filled.get_color() == "black"
    assert open_.get_xdata().tolist() == [0.01] and open_.get_color() == "white" and "'default'" in axis.get_xlabel()
    assert len(plots.gains(table).axes) == 1, "the one criterion that there is"
    with pytest.raises(InputError, match="two configs"):
        plots.gains(table[["config", "seed"]])
