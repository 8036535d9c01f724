"""Figures of `pnlib.review`: one per function, each returns the matplotlib Figure.

`note` stands below the figure: say there which images it shows, how many, and which network. Blue is normal and orange
is pneumonia. Networks, bands and rules are gray and differ by marker or line style. The style is that of `pnlib.plots`.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pnlib.plots import CHANCE, COLORS, HATCHES, WIDTH, legend_above, new_figure, panels, styled, unit, words, wrapped

BAND = {"color": "0.82", "linewidth": 0}


@styled
def reliability(tables: dict[str, pd.DataFrame], note: str = "") -> Figure:
    """Reliability diagrams, {title: table of `review.reliability`}. The area of a dot shows the images of its bin.

    Where a table has the columns low and high, bars show the exact interval of each bin.
    """
    figure, axes = new_figure(5 * len(tables), 4.8, note, ncols=len(tables), squeeze=False, sharey=True)
    for axis, (name, table) in zip(axes[0], tables.items(), strict=True):
        images = table.images.sum()
        axis.plot([0, 1], [0, 1], **CHANCE, label="as many as predicted")
        axis.plot(table.predicted, table.observed, color="0.25", zorder=2, label="network")
        area = 20 + 400 * table.images / images
        dots = {"color": "white", "edgecolor": "black", "zorder": 3, "label": "bin (area: images)"}
        axis.scatter(table.predicted, table.observed, area, **dots)
        if "low" in table:
            reach = np.maximum([table.observed - table.low, table.high - table.observed], 0)
            bars = {"fmt": "none", "ecolor": "0.45", "capsize": 2, "zorder": 1, "label": "95 % interval"}
            axis.errorbar(table.predicted, table.observed, reach, **bars)
        axis.set(title=f"{name} (n = {images:,})", xlabel="predicted probability", xlim=(0, 1), ylim=(0, 1.02))
    axes[0][0].set_ylabel("observed share of pneumonia")
    return legend_above(figure, columns=4)


@styled
def decision_curve(table: pd.DataFrame, note: str = "") -> Figure:
    """Net benefit of `review.net_benefit`: act on the network (with its band, if any), on everybody, on nobody."""
    figure, axis = new_figure(WIDTH, 4.4, note)
    if "low" in table:
        axis.fill_between(table.threshold, table.low, table.high, **BAND, label="95 % band, over patients")
    axis.plot(table.threshold, table.model, color="black", label="act on the network")
    axis.plot(table.threshold, table["all"], color="0.45", linestyle="--", label="act on everybody")
    axis.axhline(0, **CHANCE, label="act on nobody")
    top = float(table.model.max())
    axis.set(title="Decision curve", ylabel="net benefit (per patient)", ylim=(-0.15 * top, 1.1 * top))
    axis.set_xlabel("threshold probability (how much a false alarm weighs)")
    figure.legend(loc="outside right upper")
    return figure


@styled
def published(rows: pd.DataFrame, note: str = "") -> Figure:
    """Accuracy and AUROC on the same test images, ours and others'. The first row is drawn lowest.

    Args:
        rows: columns name (ours start with 'this series'), accuracy, auroc, and of each NAME_low, NAME_high and
            NAME_seeds, a list where the value is the mean of several trainings. NaN: not published.
    """
    figure, axes = new_figure(WIDTH, 0.55 * len(rows) + 2, note, ncols=2, sharey=True)
    places, ours = np.arange(len(rows)), rows.name.str.startswith("this series").to_numpy()
    for axis, name, label in zip(axes, ("accuracy", "auroc"), ("Accuracy", "AUROC"), strict=True):
        values = rows[[name, f"{name}_low", f"{name}_high"]].to_numpy(float)
        _intervals(axis, places[ours], *values[ours].T, fmt="D", color="black", label="this series")
        _intervals(axis, places[~ours], *values[~ours].T, fmt="o", color="white", label="published by others")
        for place, seeds in zip(places, rows[f"{name}_seeds"], strict=True):
            if isinstance(seeds, list):
                axis.plot(seeds, np.full(len(seeds), place - 0.25), ".", color="black", markersize=5)
        names = [wrapped(name, 2.5) for name in rows.name]
        axis.set(title=f"{label} on the same test images", xlabel=label, yticks=places, yticklabels=names)
    axes[0].set_ylabel("network, and who trained it")
    axes[0].plot([], [], ".", color="black", markersize=5, label="one seed")
    axes[0].errorbar([], [], xerr=[], fmt="none", ecolor="black", label="95 % interval over patients")
    return legend_above(figure, columns=4)


@styled
def subgroups(table: pd.DataFrame, note: str = "") -> Figure:
    """Sensitivity and specificity of each subgroup with intervals, and the images behind each value.

    `table` is that of `review.by_subgroup` with resamples. Its first row is drawn on top.
    """
    figure, axes = new_figure(WIDTH, 0.5 * len(table) + 2, note, ncols=2, sharey=True)
    places = np.arange(len(table))[::-1]
    marks = (("sensitivity", "pneumonia", "o"), ("specificity", "normal", "s"))
    for axis, (name, images, marker) in zip(axes, marks, strict=True):
        values = (table[name], table[f"{name} low"], table[f"{name} high"])
        label = f"{images} images, 95 % interval over patients"
        _intervals(axis, places, *values, fmt=marker, color=COLORS[images], label=label)
        axis.set(title=f"{name.capitalize()}: {images} images", xlabel=name)
        axis.set(yticks=places, yticklabels=table.index, ylim=(-0.6, len(table) - 0.4))
        axis.set_xlim(right=1.005)
        for place, n in zip(places, table[images], strict=True):
            images_of = f"n = {n:,}" if n else "none"
            axis.annotate(images_of, (1.02, place), xycoords=("axes fraction", "data"), va="center")
    axes[0].set_ylabel("subgroup")
    return legend_above(figure)


@styled
def acquisition_features(tables: dict[str, pd.DataFrame], columns: list[str], note: str = "") -> Figure:
    """Acquisition features of several sets of images, by class: boxes with quartiles, whiskers from 5 % to 95 %.

    `tables` is {set: table with `columns` and label}.
    """
    figure, axes = panels(len(columns), 3.3, note)
    for axis, column in zip(axes, columns, strict=True):
        for label, (name, color) in enumerate(COLORS.items()):
            axis.boxplot(
                [table[column][table.label == label] for table in tables.values()],
                positions=np.arange(len(tables)) + 0.3 * label - 0.15, widths=0.24, whis=(5, 95), showfliers=False,
                patch_artist=True, boxprops={"facecolor": color, "hatch": HATCHES[label]},
                medianprops={"color": "black"}, label=[name] + [None] * (len(tables) - 1),
            )  # fmt: skip
        names = [f"{name}\n(n = {len(table):,})" for name, table in tables.items()]
        axis.set(
            title=words(column), xlabel="images", xticks=range(len(tables)), xticklabels=names, ylabel=unit(column)
        )
    return legend_above(figure, title="line: median; box: quartiles; whiskers: from 5 % to 95 % of the images")


@styled
def differences(table: pd.DataFrame, names: tuple[str, str], note: str = "") -> Figure:
    """Second network minus first, metric by metric, with intervals: the differences of `review.compare`."""
    figure, axis = new_figure(8, 0.5 * len(table) + 2, note)
    places = np.arange(len(table))[::-1]
    _intervals(
        axis, places, table.value, table.low, table.high, fmt="D", color="black", label="95 % interval over patients"
    )
    axis.axvline(0, **CHANCE, label="no difference")
    axis.set(title=f"{names[1]} compared with {names[0]}", yticks=places)
    axis.set(yticklabels=map(words, table.index), ylabel="metric", ylim=(-0.6, len(table) - 0.4))
    axis.set_xlabel(f"difference: {names[1]} minus {names[0]}")
    return legend_above(figure)


@styled
def optimism(table: pd.DataFrame, summary: pd.DataFrame, note: str = "") -> Figure:
    """What each rule gains over the first one, reported and real: one mark per seed, a line at the mean.

    `table` is what `review.optimism` was given, `summary` what it returned.
    """
    figure, axis = new_figure(WIDTH, 4.6, note)
    first, *others = summary.index
    series = ((-0.2, "reported", "0.3", "^", "reported"), (0.2, "worth", "white", "o", "real, on other images"))
    for side, column, color, marker, label in series:
        values = table.pivot(index="seed", columns="rule", values=column)
        for place, rule in enumerate(others):
            gains = np.sort((values[rule] - values[first]).to_numpy())  # in order: equal ones don't hide each other
            x = place + side + np.linspace(-0.12, 0.12, len(gains))
            axis.plot(x, gains, marker, color=color, mec="black", label=None if place else label)
            axis.plot([x[0] - 0.03, x[-1] + 0.03], [gains.mean()] * 2, color="black")
    axis.axhline(0, **CHANCE, label="no gain")
    axis.set(title="Reported and real gain of each rule", ylabel=f"accuracy gained over {first!r}")
    axis.set(xticks=range(len(others)), xticklabels=others, xlim=(-0.5, len(others) - 0.5), xlabel="rule")
    axis.plot([], [], color="black", label="mean over seeds")
    return legend_above(figure, columns=4)


def _intervals(axis: Any, places: np.ndarray, value: Any, low: Any, high: Any, **style: Any) -> None:
    """Horizontal intervals around marks; arrays (n,) each, NaN draws nothing."""
    reach = np.maximum([value - low, high - value], 0)  # an exact interval may miss its value by 1e-17
    axis.errorbar(value, places, xerr=reach, mec="black", ecolor="black", **style)
    axis.grid(axis="x")
