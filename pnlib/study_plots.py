"""Figures to `study` and `shift.judge`: one a function, each returns a matplotlib figure, as in `plots`."""

import numpy as np
import pandas as pd
import seaborn as sns

from pnlib.errors import InputError
from pnlib.plots import NORMAL, PNEUMONIA, new_figure


def study(table: pd.DataFrame, note: str = ""):
    """A study's recipes against validation: one row a recipe (best mean on top), one dot a seed; per panel the AUROC
    of patients drawn at random, of the shifted groups and of changed images (mean: filled, worst: open)."""
    panels = [("auroc random", None, "random patients")]
    for kind, words in (("groups", "shifted groups"), ("changes", "changed images")):
        if f"mean auroc, {kind}" in table:
            panels.append((f"mean auroc, {kind}", f"worst auroc, {kind}", words))
    by = panels[1][0] if len(panels) > 1 else panels[0][0]
    order = table.groupby("recipe")[by].mean().sort_values().index
    places = table.recipe.map({name: place for place, name in enumerate(order)})
    figure, axes = new_figure(
        3.3 * len(panels) + 1.5, 0.32 * len(order) + 1.6, note, ncols=len(panels), squeeze=False, sharey=True
    )
    for axis, (mean, worst, words) in zip(axes[0], panels, strict=True):
        if worst:
            axis.plot(table[worst], places, "s", mfc="none", mec=PNEUMONIA, label="worst")
        axis.plot(table[mean], places, "o", color=NORMAL, mec="black", label="mean" if worst else "AUROC")
        axis.set(title=words, xlabel="AUROC", yticks=range(len(order)), yticklabels=order)
        axis.title.set_fontsize(9)
        axis.grid(axis="y", color="0.9")
        axis.legend(frameon=False, fontsize=8)
    sns.despine(figure)
    return figure


def judged(table: pd.DataFrame, note: str = ""):
    """AUROC, sensitivity and specificity of `shift.judge`, one row a line: groups of validation patients above, changes
    of their images below. Dotted: the first line."""
    figure, axis = new_figure(6.4, 0.27 * len(table) + 1.2, note)
    places = np.arange(len(table))[::-1]
    for name, marker, color in (("auroc", "o", "black"), ("sensitivity", "^", PNEUMONIA), ("specificity", "v", NORMAL)):
        label = "AUROC" if name == "auroc" else f"{name} at 0.5"
        axis.plot(table[name], places, marker=marker, color=color, linestyle="", clip_on=False, label=label)
        axis.axvline(table[name].iloc[0], color=color, linestyle=":", linewidth=1)
    groups = int((table.kind == "group").sum())
    axis.axhline(len(table) - groups - 0.5, color="0.6", linewidth=0.8)
    axis.grid(axis="y", color="0.9")
    axis.set(yticks=places, yticklabels=table.index, xlabel="AUROC (0.5 is chance), sensitivity, specificity")
    axis.set_xlim(right=1)
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    sns.despine(figure)
    return figure


def agreement(matrix: pd.DataFrame, note: str = ""):
    """Rank correlations between validations, (k, k) in [-1, 1], as a heat map with the figures written in."""
    names = [name.removeprefix("auroc ") for name in matrix.index]
    figure, axis = new_figure(0.75 * len(matrix) + 2.6, 0.5 * len(matrix) + 2, note)
    sns.heatmap(
        matrix, vmin=-1, vmax=1, cmap="PuOr", annot=True, fmt=".2f", annot_kws={"fontsize": 8}, square=False,
        xticklabels=names, yticklabels=names, cbar_kws={"label": "Spearman's rank correlation"}, ax=axis,
    )  # fmt: skip
    axis.tick_params(axis="x", rotation=45, labelsize=8)
    axis.tick_params(axis="y", rotation=0, labelsize=8)
    return figure


def seeds(table: pd.DataFrame, columns: list[str], note: str = ""):
    """One strip a column (a figure on the test images), one dot a seed, one colour and marker a recipe; a line: the
    mean."""
    figure, axis = new_figure(1.15 * len(columns) + 2, 3.8, note)
    recipes = list(table.recipe.unique())
    styles = list(zip((NORMAL, PNEUMONIA, "#009E73", "#CC79A7"), "os^D", strict=True))
    for place, column in enumerate(columns):
        for number, recipe in enumerate(recipes):
            values = table.loc[table.recipe == recipe, column]
            x = place + (number - (len(recipes) - 1) / 2) * 0.25
            color, marker = styles[number % len(styles)]
            axis.plot([x] * len(values), values, marker, color=color, mec="black", label=recipe if not place else None)
            axis.plot([x - 0.1, x + 0.1], [values.mean()] * 2, color="black")
    axis.set(xticks=range(len(columns)), ylabel="value")
    axis.set_xticklabels([c.removeprefix("test ").replace("_", " ") for c in columns], rotation=20)
    axis.legend(frameon=False, fontsize=8, title="one dot a seed")
    axis.grid(axis="y", color="0.9")
    sns.despine(figure)
    return figure


def gains(
    table: pd.DataFrame,
    figures: tuple[str, ...] = (),
    reach: float = 0.1,
    note: str = "",
):
    """What each recipe gains over the study's first one, with 95 % intervals (columns `FIGURE gain`, `FIGURE gain low`…
    of `study.collect`): one row a training, one panel a figure; filled where the interval excludes zero. What lies
    beyond `reach` is written at the edge, so that the others can be told apart. Without `figures`: all that there are.

    Raises:
        InputError: a table without any gain: of a study with one recipe, or from before gains were kept.
    """
    figures = figures or [n for n in ("groups", "worst pair", "criterion") if f"{n} gain" in table]
    if not figures:
        raise InputError("This study's table holds no gains; they need two recipes on the same validation patients.")
    others = table[table[f"{figures[0]} gain"].notna()]
    several = others.recipe.duplicated().any()
    names = others.recipe + (", seed " + others.seed.astype(str) if several else "")
    places = np.arange(len(others))[::-1]
    figure, axes = new_figure(
        3.1 * len(figures) + 2, 0.42 * len(others) + 1.3, note, ncols=len(figures), squeeze=False, sharey=True
    )
    for axis, name in zip(axes[0], figures, strict=True):
        value, low, high = (others[f"{name} gain{word}"].to_numpy() for word in ("", " low", " high"))
        shown = np.abs(value) <= reach
        axis.hlines(places[shown], low[shown], high[shown], color="black")
        for mask, fill in (((low > 0) | (high < 0), PNEUMONIA), ((low <= 0) & (high >= 0), "white")):
            axis.plot(value[mask & shown], places[mask & shown], "o", color=fill, mec="black")
        for place, gain in zip(places[~shown], value[~shown], strict=True):
            side, words = ("left", f"\u2190 {gain:.2f}") if gain < 0 else ("right", f"{gain:.2f} \u2192")
            axis.annotate(words, (0.02 if gain < 0 else 0.98, place), xycoords=("axes fraction", "data"), ha=side,
                          va="center", fontsize=9)  # fmt: skip
        furthest = max([0.01, *np.abs([low[shown], high[shown]]).ravel()])
        axis.set_xlim(-1.1 * furthest, 1.1 * furthest)
        axis.locator_params(axis="x", nbins=4)
        axis.axvline(0, color="0.4", linestyle=":")
        axis.set(title=name, xlabel=f"AUROC, minus {table.recipe.iloc[0]!r}", yticks=places, yticklabels=names)
        axis.grid(axis="x", color="0.9")
    axes[0][0].set_ylim(-0.6, len(others) - 0.4)
    sns.despine(figure)
    return figure


def two_exams(table: pd.DataFrame, other: str = "swapped", label: str = "AUROC, swapped framing", note: str = ""):
    """Recipes under two validations that disagree: columns recipe, groups and `other` (AUROC each), the latter along x
    with its `label`. On a dotted line their mean is the same. The recipe of the largest mean is filled; where there is
    a column `network`, that of each network."""
    figure, axis = new_figure(6.6, 4.8, note)
    mean = (table.groups + table[other]) / 2
    largest = mean.groupby(table.network).transform("max") if "network" in table else mean.max()
    middle = (table[other].min() + table[other].max()) / 2
    for recipe, y, x, best in zip(table.recipe, table.groups, table[other], mean == largest, strict=True):
        axis.plot(x, y, "D" if best else "o", color=PNEUMONIA if best else "white", mec="black")
        side, ha = (5, "left") if x < middle else (-5, "right")  # inwards, where there is room
        axis.annotate(recipe, (x, y), (side, -11 if best else 4), textcoords="offset points", ha=ha, fontsize=8)
    axis.margins(0.14)
    xlim, ylim = (axis.get_xlim()[0], min(1.0, axis.get_xlim()[1])), axis.get_ylim()
    for score in np.arange(0.5, 1.0, 0.02):
        axis.plot(xlim, [2 * score - x for x in xlim], ":", color="0.75", zorder=0)
    axis.set(xlim=xlim, ylim=ylim, xlabel=label, ylabel="mean AUROC of the shifted groups")
    sns.despine(figure)
    return figure


def crossed(matrix: pd.DataFrame, note: str = ""):
    """The matrix of `shift.crossed` as a heat map with the figures written in: dark is bad."""
    figure, axis = new_figure(8.2, 5.6, note)
    low = min(0.5, float(matrix.min().min()))
    sns.heatmap(
        matrix, vmin=low, vmax=1, cmap="cividis", annot=True, fmt=".2f", annot_kws={"fontsize": 8},
        cbar_kws={"label": "AUROC"}, ax=axis,
    )  # fmt: skip
    axis.set(xlabel="how the pneumonias were taken", ylabel="how the normals were taken")
    axis.tick_params(axis="x", rotation=45, labelsize=8)
    axis.tick_params(axis="y", rotation=0, labelsize=8)
    return figure
