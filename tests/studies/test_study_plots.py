"""Figures of studies: configs against validation, gains, promise and test. Their colours are neutral."""

import numpy as np
import pandas as pd
import pytest
from figure_rules import check_figure, chromatic, figure_functions

from pnlib import InputError
from pnlib.studies import load_table, plots, table

TABLE = pd.DataFrame(
    [("a", 0, 0.9, 0.8, 0.7), ("a", 1, 0.92, 0.82, 0.72), ("b", 0, 0.95, 0.7, 0.6)],
    columns=["config", "seed", "auroc random", "mean auroc, groups", "worst auroc, groups"],
)


NOTE = "validation patients of the published images, one network per config and seed"


def committed():
    return load_table("studies/recipes.csv")


def promised():
    return table.promise_and_test(load_table("studies/plain.csv"), load_table("studies/short.csv"))


FIGURES = {
    "study": lambda: plots.study(committed(), NOTE),
    "gains": lambda: plots.gains(load_table("studies/ablation.csv"), note=NOTE),
    "promise_and_test": lambda: plots.promise_and_test(promised(), NOTE),
}


def test_every_figure_is_tested():
    assert figure_functions(plots) == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_keeps_the_rules_and_is_gray(name):
    figure = FIGURES[name]()
    check_figure(figure)
    assert figure.get_supxlabel().split() == NOTE.split()
    assert not chromatic(mark for axis in figure.axes for mark in (*axis.lines, *axis.patches, *axis.collections))


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


def test_the_promise_of_validation_is_drawn_above_the_test_with_both_values():
    table = promised()
    axis = plots.promise_and_test(table).axes[0]
    plain, recipe = axis.lines[:2]
    assert (
        plain.get_xdata().tolist() == table.iloc[:, 0].tolist()
        and recipe.get_xdata().tolist() == table.iloc[:, 1].tolist()
    )
    assert [label.get_text() for label in axis.get_yticklabels()] == list(table.index) and list(axis.get_yticks())[
        0
    ] == 5
    values = {text.get_text() for text in axis.texts}
    assert values == {f"{value:.3f}" for value in table.to_numpy().ravel()} and axis.lines[2].get_ydata()[0] == 3.5


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
