"""Figures of studies: one per function, each returns the matplotlib Figure, as in `pnlib.plots`.

Configs and networks get neutral grays and markers: blue and orange are the classes. The style is that of `pnlib.plots`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pnlib.base.errors import InputError
from pnlib.plots import CHANCE, legend_above, new_figure, styled, wrapped
from pnlib.studies.criterion import CRITERIA


@styled
def study(table: pd.DataFrame, note: str = "") -> Figure:
    """A study's configs against validation: one row per config (best mean on top), one dot per seed.

    One panel each for the AUROC of patients drawn at random, of the shifted groups and of corrupted images (mean:
    filled, worst: open).
    """
    panels: list[tuple] = [("auroc random", None, "random patients")]
    for kind, title in (("groups", "shifted groups"), ("corruptions", "corrupted images")):
        if f"mean auroc, {kind}" in table:
            panels.append((f"mean auroc, {kind}", f"worst auroc, {kind}", title))
    by = panels[1][0] if len(panels) > 1 else panels[0][0]
    order = table.groupby("config")[by].mean().sort_values().index
    places = table.config.map({name: place for place, name in enumerate(order)})
    size = (3.3 * len(panels) + 1.5, 0.34 * len(order) + 1.8)
    figure, axes = new_figure(*size, note, ncols=len(panels), squeeze=False, sharey=True)
    for axis, (mean, worst, title) in zip(axes[0], panels, strict=True):
        if worst:
            axis.plot(table[worst], places, "s", mfc="none", mec="0.3", label="the worst of them")
        axis.plot(table[mean], places, "o", color="0.6", mec="black", label="one seed: AUROC, or the mean of several")
        axis.set(title=title, xlabel="AUROC", yticks=range(len(order)), yticklabels=order)
        axis.grid(axis="y")
        axis.locator_params(axis="x", nbins=4)
    axes[0, 0].set_ylabel("config")
    return legend_above(figure)


@styled
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
    size = (3.1 * len(names) + 3, 0.42 * len(others) + 1.9)
    figure, axes = new_figure(*size, note, ncols=len(names), squeeze=False, sharey=True)
    titles = {"groups": "shifted groups", "worst pair": "worst crossed pair", "criterion": "mean of the two"}
    fills = (("interval excludes 0", "black"), ("interval includes 0", "white"))
    for axis, name in zip(axes[0], names, strict=True):
        value, low, high = (others[f"{name} gain{word}"].to_numpy() for word in ("", " low", " high"))
        shown = np.abs(value) <= reach
        axis.hlines(places[shown], low[shown], high[shown], color="black", label="95 % interval over patients")
        includes = (low <= 0) & (high >= 0)
        for (label, fill), mask in zip(fills, (~includes & shown, includes & shown), strict=True):
            axis.plot(value[mask], places[mask], "o", color=fill, mec="black", label=label)
        for place, gain in zip(places[~shown], value[~shown], strict=True):
            side, written = ("left", f"\u2190 {gain:.2f}") if gain < 0 else ("right", f"{gain:.2f} \u2192")
            x = 0.02 if gain < 0 else 0.98
            axis.annotate(written, (x, place), xycoords=("axes fraction", "data"), ha=side, va="center")
        furthest = max([0.01, *np.abs([low[shown], high[shown]]).ravel()])
        axis.set_xlim(-1.1 * furthest, 1.1 * furthest)
        axis.locator_params(axis="x", nbins=3)
        axis.axvline(0, **CHANCE, label="no gain")
        axis.set(title=titles.get(name, name), yticks=places, yticklabels=rows)
        axis.set_xlabel(wrapped(f"AUROC, minus {table.config.iloc[0]!r}", 2.4))
        axis.grid(axis="x")
    axes[0][0].set(ylim=(-0.6, len(others) - 0.4), ylabel="config")
    return legend_above(figure, columns=4)


@styled
def promise_and_test(table: pd.DataFrame, note: str = "") -> Figure:
    """Two ways of training, measure by measure: what validation promised, and what the test images showed.

    Args:
        table: of `studies.table.promise_and_test`: one row per measure (those of the test start with 'test'), one
            column per way of training, values from 0 to 1. The first row is drawn on top.
    """
    figure, axis = new_figure(9, 0.55 * len(table) + 2, note)
    places = np.arange(len(table))[::-1]
    axis.hlines(places, table.min(axis=1), table.max(axis=1), color="0.6", linewidth=2, zorder=1)
    styles = zip(table, "oD", ("white", "black"), (13, 8), strict=False)  # sizes: both are seen where they are equal
    for name, marker, color, size in styles:
        axis.plot(table[name], places, marker, color=color, mec="black", markersize=size, label=name)
    for place, (low, high) in zip(places, np.sort(table.to_numpy(), axis=1)[:, [0, -1]], strict=True):
        axis.annotate(f"{low:.3f}", (low, place), (-12, 0), textcoords="offset points", ha="right", va="center")
        axis.annotate(f"{high:.3f}", (high, place), (12, 0), textcoords="offset points", ha="left", va="center")
    validation = int((~table.index.str.startswith("test")).sum())
    axis.axhline(len(table) - validation - 0.5, color="0.6", linewidth=0.8)
    low = np.floor(10 * table.min(axis=None) - 0.5) / 10
    axis.set(xlim=(low, 1.06), xticks=np.arange(max(0, low), 1.01, 0.1), xlabel="value (1: perfect)")
    axis.set(yticks=places, yticklabels=table.index, ylim=(-0.6, len(table) - 0.4), ylabel="measure")
    axis.set_title("What validation promised, and what the test images showed")
    axis.grid(axis="x")
    return legend_above(figure)
