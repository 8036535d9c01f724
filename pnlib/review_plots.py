"""Figures to `review`: one a function, each returns the matplotlib Figure, in the manner of `plots`."""

import matplotlib.ticker
import numpy as np
import pandas as pd
import seaborn as sns

from pnlib.plots import NORMAL, PNEUMONIA, new_figure


def bands(curves: dict[str, pd.DataFrame], prevalence: float, note: str = ""):
    """ROC and precision-recall curves of `review.bands`, with their 95 % bands and what chance gives."""
    figure, axes = new_figure(9.6, 4.4, note, ncols=2)
    words = {
        "roc": ("1 - specificity", "sensitivity", "ROC"),
        "pr": ("sensitivity (recall)", "precision", "precision-recall"),
    }
    for axis, (name, (x, y, title)) in zip(axes, words.items(), strict=True):
        table = curves[name]
        axis.fill_between(table.x, table.low, table.high, color=NORMAL, alpha=0.45, label="95 % band, over patients")
        axis.plot(table.x, table.value, color="black", label="this network")
        chance = [0, 1] if name == "roc" else [prevalence, prevalence]
        axis.plot([0, 1], chance, color="0.5", linestyle=":", label="chance")
        axis.set(
            xlabel=x,
            ylabel=y,
            title=title,
            xlim=(0, 1),
            ylim=(0 if name == "roc" else min(0.4, prevalence - 0.05), 1.01),
        )
    axes[0].legend(frameon=False, fontsize=8, loc="lower right")
    sns.despine(figure)
    return figure


def reliability(tables: dict[str, pd.DataFrame], note: str = ""):
    """Reliability diagrams of `review.reliability`: observed against predicted share, a dot's area by its images, with
    the bins' intervals where the table has them."""
    figure, axes = new_figure(4.4 * len(tables), 4.2, note, ncols=len(tables), squeeze=False)
    for axis, (name, table) in zip(axes[0], tables.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.5", linestyle=":", label="as many as predicted")
        axis.plot(table.predicted, table.observed, color=PNEUMONIA, zorder=2)
        if "low" in table:
            reach = np.maximum([table.observed - table.low, table.high - table.observed], 0)
            axis.errorbar(table.predicted, table.observed, reach, fmt="none", ecolor="0.4", capsize=2, zorder=1)
        axis.scatter(
            table.predicted,
            table.observed,
            20 + 400 * table.images / table.images.sum(),
            color=NORMAL,
            edgecolor="black",
            zorder=3,
        )
        axis.set(
            title=name,
            xlabel="predicted probability of pneumonia",
            ylabel="observed share of pneumonia",
            xlim=(0, 1),
            ylim=(0, 1.02),
        )
    axes[0][0].legend(frameon=False, fontsize=8)
    sns.despine(figure)
    return figure


def decision_curve(table: pd.DataFrame, note: str = ""):
    """Net benefit of `review.net_benefit` over threshold probabilities: the network (with its band if there are columns
    low and high), everybody, nobody."""
    figure, axis = new_figure(6.4, 3.8, note)
    axis.plot(table.threshold, table.model, color="black", label="act on this network")
    if "low" in table:
        axis.fill_between(table.threshold, table.low, table.high, color="0.85", label="its 95 % band")
    axis.plot(table.threshold, table["all"], color=PNEUMONIA, linestyle="--", label="act on everybody")
    axis.axhline(0, color="0.5", linestyle=":", label="act on nobody")
    top = float(table.model.max())
    axis.set(
        xlabel="threshold probability (how much a false alarm weighs)",
        ylabel="net benefit",
        ylim=(-0.15 * top, 1.1 * top),
    )
    axis.legend(frameon=False, fontsize=8)
    sns.despine(figure)
    return figure


def predictive_values(table: pd.DataFrame, prevalence: float, note: str = ""):
    """Predictive values of `review.predictive_values` over prevalence (logarithmic), the data's own marked; with bands
    where there are columns `ppv low`, `ppv high` and the same of npv."""
    figure, axis = new_figure(6.4, 3.8, note)
    axis.plot(table.prevalence, table.ppv, color=PNEUMONIA, label="share of alarms that are right (PPV)")
    axis.plot(
        table.prevalence, table.npv, color=NORMAL, linestyle="--", label="share of all-clears that are right (NPV)"
    )
    for name, color in (("ppv", PNEUMONIA), ("npv", NORMAL)):
        if f"{name} low" in table:
            axis.fill_between(table.prevalence, table[f"{name} low"], table[f"{name} high"], color=color, alpha=0.25)
    axis.axvline(prevalence, color="0.5", linestyle=":", label="prevalence in these images")
    axis.set(xscale="log", xlabel="prevalence of pneumonia", ylabel="predictive value", ylim=(0, 1.02))
    axis.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
    axis.legend(frameon=False, fontsize=8, loc="center left")
    sns.despine(figure)
    return figure


def published(rows: pd.DataFrame, note: str = ""):
    """Accuracy and AUROC on the same test images: columns name, accuracy, auroc, low and high of each (NaN: not
    published), and `accuracy_seeds`, `auroc_seeds`, lists where several trainings stand behind a mean (else NaN). The
    first row is drawn lowest. A bar with caps is an interval over patients, a small dot one seed."""
    figure, axes = new_figure(9.6, 0.42 * len(rows) + 1.4, note, ncols=2, sharey=True)
    places = np.arange(len(rows))
    ours = rows.name.str.startswith("this series").to_numpy()
    for axis, name in zip(axes, ("accuracy", "auroc"), strict=True):
        for mask, color, marker in ((ours, PNEUMONIA, "D"), (~ours, NORMAL, "o")):
            spread = [(rows[name] - rows[f"{name}_low"])[mask], (rows[f"{name}_high"] - rows[name])[mask]]
            axis.errorbar(
                rows[name][mask],
                places[mask],
                xerr=spread,
                fmt=marker,
                color=color,
                mec="black",
                ecolor="black",
                capsize=3,
            )
        for place, values in zip(places, rows[f"{name}_seeds"], strict=True):
            if isinstance(values, list):
                axis.plot(values, np.full(len(values), place - 0.25), ".", color="black", markersize=4)
        axis.set(xlabel={"accuracy": "accuracy", "auroc": "AUROC"}[name], yticks=places, yticklabels=rows.name)
        axis.grid(axis="x", color="0.9")
    axes[0].plot([], [], ".", color="black", label="one seed")
    axes[0].errorbar([], [], xerr=[], fmt="none", ecolor="black", capsize=3, label="95 % interval over patients")
    axes[0].legend(frameon=False, fontsize=8, ncols=2, loc="upper left", bbox_to_anchor=(0, 1.12))
    sns.despine(figure)
    return figure


def subgroups(table: pd.DataFrame, note: str = ""):
    """Sensitivity and specificity of each subgroup with their intervals: the table of `review.by_subgroup`, first row
    on top; on the right the images that each figure rests on."""
    figure, axes = new_figure(9.6, 0.42 * len(table) + 1.3, note, ncols=2, sharey=True)
    places = np.arange(len(table))[::-1]
    for axis, name, count, color in zip(
        axes, ("sensitivity", "specificity"), ("pneumonia", "normal"), (PNEUMONIA, NORMAL), strict=True
    ):
        spread = np.maximum([table[name] - table[f"{name} low"], table[f"{name} high"] - table[name]], 0)  # no -1e-17
        axis.errorbar(table[name], places, xerr=spread, fmt="o", color=color, mec="black", ecolor="black", capsize=3)
        axis.set(xlabel=f"{name}, with 95 % interval", yticks=places, yticklabels=table.index)
        axis.set_xlim(right=1.005)
        axis.grid(axis="x", color="0.9")
        for place, value, n in zip(places, table[name], table[count], strict=True):
            words = f"{n} images" if value == value else "none"
            axis.annotate(words, (1.03, place), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    axes[0].set_ylim(-0.6, len(table) - 0.4)
    sns.despine(figure)
    return figure


def technique(tables: dict[str, pd.DataFrame], columns: list[str], note: str = ""):
    """Each measured property in several sets of images, by class: boxes from the first to the third quartile with the
    median, whiskers from the 5th to the 95th percentile. `tables`: {set: columns and `label`}."""
    figure, axes = new_figure(2.9 * len(columns), 3.4, note, ncols=len(columns), squeeze=False)
    for axis, column in zip(axes[0], columns, strict=True):
        for label, (name, color) in enumerate((("normal", NORMAL), ("pneumonia", PNEUMONIA))):
            drawn = axis.boxplot(
                [table[column][table.label == label] for table in tables.values()],
                positions=np.arange(len(tables)) + 0.3 * label - 0.15, widths=0.24, whis=(5, 95), showfliers=False,
                patch_artist=True, boxprops={"facecolor": color}, medianprops={"color": "black"},
            )  # fmt: skip
            drawn["boxes"][0].set_label(name)
        axis.set(ylabel=column.replace("_", " "), xticks=range(len(tables)), xticklabels=list(tables))
    axes[0][-1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    sns.despine(figure)
    return figure


def differences(table: pd.DataFrame, names: tuple[str, str], note: str = ""):
    """Second network minus first, figure by figure, with intervals: the `differences` of `review.compare`."""
    figure, axis = new_figure(6.4, 0.5 * len(table) + 1.4, note)
    places = np.arange(len(table))[::-1]
    spread = [table.value - table.low, table.high - table.value]
    axis.errorbar(table.value, places, xerr=spread, fmt="D", color=PNEUMONIA, mec="black", ecolor="black", capsize=3)
    axis.axvline(0, color="0.4", linestyle=":")
    axis.set(yticks=places, yticklabels=table.index, xlabel=f"{names[1]} minus {names[0]}, with 95 % interval")
    axis.set_ylim(-0.6, len(table) - 0.4)
    axis.grid(axis="x", color="0.9")
    sns.despine(figure)
    return figure


def optimism(table: pd.DataFrame, summary: pd.DataFrame, note: str = ""):
    """What each rule gains over the first one: reported and real, one dot a seed, and the means (`review.optimism`)."""
    figure, axis = new_figure(6.8, 3.8, note)
    first, *others = summary.index
    for place, rule in enumerate(others):
        for side, column, color, marker in ((-0.2, "reported", PNEUMONIA, "^"), (0.2, "worth", NORMAL, "o")):
            figures = table.pivot(index="seed", columns="rule", values=column)
            # side by side in the order of their values, so that equal ones don't hide each other
            values = np.sort((figures[rule] - figures[first]).to_numpy())
            x = place + side + np.linspace(-0.12, 0.12, len(values))
            label = (
                None if place else {"reported": "reported", "worth": "real, on images that nobody looked at"}[column]
            )
            axis.plot(x, values, marker, color=color, mec="black", alpha=0.8, label=label)
            axis.plot([x[0] - 0.03, x[-1] + 0.03], [values.mean()] * 2, color="black")
    axis.axhline(0, color="0.4", linestyle=":")
    axis.set(xticks=range(len(others)), xticklabels=others, ylabel=f"accuracy gained over {first!r}")
    axis.set_xlim(-0.5, len(others) - 0.5)
    axis.legend(frameon=False, fontsize=8)
    axis.grid(axis="y", color="0.9")
    sns.despine(figure)
    return figure
