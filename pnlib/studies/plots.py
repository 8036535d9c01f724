"""Figures of studies: one per function, each returns the matplotlib Figure, as in `pnlib.plots`.

Configs and networks get neutral grays and markers: blue and orange are the classes.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from pnlib.base.errors import InputError
from pnlib.plots import new_figure
from pnlib.studies.criterion import CRITERIA


def study(table: pd.DataFrame, note: str = "") -> Figure:
    """A study's configs against validation: one row per config (best mean on top), one dot per seed.

    One panel each for the AUROC of patients drawn at random, of the shifted groups and of corrupted images (mean:
    filled, worst: open).
    """
    panels: list[tuple] = [("auroc random", None, "random patients")]
    for kind, words in (("groups", "shifted groups"), ("corruptions", "corrupted images")):
        if f"mean auroc, {kind}" in table:
            panels.append((f"mean auroc, {kind}", f"worst auroc, {kind}", words))
    by = panels[1][0] if len(panels) > 1 else panels[0][0]
    order = table.groupby("config")[by].mean().sort_values().index
    places = table.config.map({name: place for place, name in enumerate(order)})
    figure, axes = new_figure(
        3.3 * len(panels) + 1.5, 0.32 * len(order) + 1.6, note, ncols=len(panels), squeeze=False, sharey=True
    )
    for axis, (mean, worst, words) in zip(axes[0], panels, strict=True):
        if worst:
            axis.plot(table[worst], places, "s", mfc="none", mec="0.3", label="worst")
        axis.plot(table[mean], places, "o", color="0.6", mec="black", label="mean" if worst else "AUROC")
        axis.set(title=words, xlabel="AUROC", yticks=range(len(order)), yticklabels=order)
        axis.title.set_fontsize(9)
        axis.grid(axis="y", color="0.9")
        axis.legend(frameon=False, fontsize=8)
    sns.despine(figure)
    return figure


def agreement(matrix: pd.DataFrame, note: str = "") -> Figure:
    """Rank correlations between validations, (k, k) in [-1, 1], as a heat map with the values written in."""
    names = [name.removeprefix("auroc ") for name in matrix.index]
    figure, axis = new_figure(0.75 * len(matrix) + 2.6, 0.5 * len(matrix) + 2, note)
    sns.heatmap(
        matrix, vmin=-1, vmax=1, cmap="PuOr", annot=True, fmt=".2f", annot_kws={"fontsize": 8}, square=False,
        xticklabels=names, yticklabels=names, cbar_kws={"label": "Spearman's rank correlation"}, ax=axis,
    )  # fmt: skip
    axis.tick_params(axis="x", rotation=45, labelsize=8)
    axis.tick_params(axis="y", rotation=0, labelsize=8)
    return figure


def seeds(table: pd.DataFrame, columns: list[str], note: str = "") -> Figure:
    """One strip per column (a result on the test images), one dot per seed, one marker per config; a line: the mean."""
    figure, axis = new_figure(1.15 * len(columns) + 2, 3.8, note)
    configs = list(table.config.unique())
    styles = list(zip(("0.2", "0.6", "white", "0.8"), "os^D", strict=True))
    for place, column in enumerate(columns):
        for number, config in enumerate(configs):
            values = table.loc[table.config == config, column]
            x = place + (number - (len(configs) - 1) / 2) * 0.25
            color, marker = styles[number % len(styles)]
            axis.plot([x] * len(values), values, marker, color=color, mec="black", label=config if not place else None)
            axis.plot([x - 0.1, x + 0.1], [values.mean()] * 2, color="black")
    axis.set(xticks=range(len(columns)), ylabel="value")
    axis.set_xticklabels([c.removeprefix("test ").replace("_", " ") for c in columns], rotation=20)
    axis.legend(frameon=False, fontsize=8, title="one dot per seed")
    axis.grid(axis="y", color="0.9")
    sns.despine(figure)
    return figure


def gains(table: pd.DataFrame, names: Sequence[str] = (), reach: float = 0.1, note: str = "") -> Figure:
    """What each config gains over the study's first one, with 95 % intervals: one row per trial.

    One panel for each of `names` (default: those of `CRITERIA` that the table has), filled where the interval excludes
    0. Gains beyond `reach` are written at the edge, so that the others can be distinguished.

    Args:
        table: columns `NAME gain`, `NAME gain low`, `NAME gain high` of `studies.table.collect`.

    Raises:
        InputError: a table without any gain, of a study with one config.
    """
    names = names or [n for n in CRITERIA if f"{n} gain" in table]
    if not names:
        raise InputError("This study's table holds no gains; they need two configs on the same validation patients.")
    others = table[table[f"{names[0]} gain"].notna()]
    several = others.config.duplicated().any()
    rows = others.config + (", seed " + others.seed.astype(str) if several else "")
    places = np.arange(len(others))[::-1]
    figure, axes = new_figure(
        3.1 * len(names) + 2, 0.42 * len(others) + 1.3, note, ncols=len(names), squeeze=False, sharey=True
    )
    for axis, name in zip(axes[0], names, strict=True):
        value, low, high = (others[f"{name} gain{word}"].to_numpy() for word in ("", " low", " high"))
        shown = np.abs(value) <= reach
        axis.hlines(places[shown], low[shown], high[shown], color="black")
        for mask, fill in (((low > 0) | (high < 0), "black"), ((low <= 0) & (high >= 0), "white")):
            axis.plot(value[mask & shown], places[mask & shown], "o", color=fill, mec="black")
        for place, gain in zip(places[~shown], value[~shown], strict=True):
            side, words = ("left", f"\u2190 {gain:.2f}") if gain < 0 else ("right", f"{gain:.2f} \u2192")
            axis.annotate(words, (0.02 if gain < 0 else 0.98, place), xycoords=("axes fraction", "data"), ha=side,
                          va="center", fontsize=9)  # fmt: skip
        furthest = max([0.01, *np.abs([low[shown], high[shown]]).ravel()])
        axis.set_xlim(-1.1 * furthest, 1.1 * furthest)
        axis.locator_params(axis="x", nbins=4)
        axis.axvline(0, color="0.4", linestyle=":")
        axis.set(title=name, xlabel=f"AUROC, minus {table.config.iloc[0]!r}", yticks=places, yticklabels=rows)
        axis.grid(axis="x", color="0.9")
    axes[0][0].set_ylim(-0.6, len(others) - 0.4)
    sns.despine(figure)
    return figure


def two_criteria(
    table: pd.DataFrame, other: str = "swapped", label: str = "AUROC, swapped framing", note: str = ""
) -> Figure:
    """Configs under two criteria that disagree: columns config, groups and `other` (AUROC each), the latter along x.

    On a dotted line their mean is the same. The config of the largest mean is filled; where there is a column
    `network`, that of each network.
    """
    figure, axis = new_figure(6.6, 4.8, note)
    mean = (table.groups + table[other]) / 2
    largest = mean.groupby(table.network).transform("max") if "network" in table else mean.max()
    middle = (table[other].min() + table[other].max()) / 2
    for config, y, x, best in zip(table.config, table.groups, table[other], mean == largest, strict=True):
        axis.plot(x, y, "D" if best else "o", color="black" if best else "white", mec="black")
        side, ha = (5, "left") if x < middle else (-5, "right")  # inwards, where there is room
        axis.annotate(config, (x, y), (side, -11 if best else 4), textcoords="offset points", ha=ha, fontsize=8)
    axis.margins(0.14)
    xlim, ylim = (axis.get_xlim()[0], min(1.0, axis.get_xlim()[1])), axis.get_ylim()
    for score in np.arange(0.5, 1.0, 0.02):
        axis.plot(xlim, [2 * score - x for x in xlim], ":", color="0.75", zorder=0)
    axis.set(xlim=xlim, ylim=ylim, xlabel=label, ylabel="mean AUROC of the shifted groups")
    sns.despine(figure)
    return figure
