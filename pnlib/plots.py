"""One figure per function; each returns the matplotlib Figure.

Blue (of Okabe and Ito's palette) is normal and dark orange is pneumonia, in every figure, and only that. They differ in
lightness too, and hatching, line style, marker or text says the class again: for gray print and colour-blind readers.
Every figure of images or results carries the dataset's attribution.
"""

from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from pnlib.base.machine import show_figures_in_notebooks

NAMES, HATCHES = ("normal", "pneumonia"), ("//", "")
NORMAL, PNEUMONIA = "#56B4E9", "#B84C00"
COLORS = {"normal": NORMAL, "pneumonia": PNEUMONIA}


def new_figure(width: float, height: float, note: str = "", **options: Any) -> tuple[Figure, Any]:
    """A figure of this size in inches with `note` below, and its axes (those of `plt.subplots`)."""
    show_figures_in_notebooks()
    figure, axes = plt.subplots(figsize=(width, height), dpi=100, layout="constrained", **options)
    if note:
        figure.supxlabel(note, fontsize=8, color="0.35")
    plt.close(figure)  # the caller shows it; the inline backend would show it a second time
    return figure, axes


def _finished(figure: Figure, axis: Any, **legend: Any) -> Figure:
    """The figure, with a legend at an axis."""
    axis.legend(frameon=False, **legend)
    sns.despine(figure)
    return figure


def _pictures(width: float, height: float, note: str, rows: int, columns: int) -> tuple[Figure, Any]:
    """A figure of rows x columns panels for images, without axes."""
    figure, axes = new_figure(width, height, note, nrows=rows, ncols=columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    return figure, axes


def _gray(axis: Any, image: np.ndarray, title: str = "") -> None:
    axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255 if image.dtype == np.uint8 else 1)
    axis.set_title(title, fontsize=8)


def image_grid(images: Any, titles: Iterable[str], note: str = "", columns: int = 6, heading: str = "") -> Figure:
    """A grid of images (n, h, w, 1), uint8 or float in [0, 1], with a title each."""
    rows = -(-len(images) // columns)
    figure, axes = _pictures(1.75 * columns, 1.95 * rows + 0.4, note, rows, columns)
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        _gray(axis, image, title)
    figure.suptitle(heading)
    return figure


def heat_maps(images: np.ndarray, heats: np.ndarray, titles: Iterable[str], note: str = "", columns: int = 8) -> Figure:
    """Images above, the same with their Grad-CAM heat map below; places without an image stay empty."""
    figure, axes = _pictures(1.45 * columns, 3.6, note, 2, columns)
    for (above, below), image, heat, title in zip(axes.T, images, heats, titles, strict=False):
        _gray(above, image, title)
        _gray(below, image)
        below.imshow(heat, cmap="inferno", alpha=0.5, vmin=0, vmax=1)
    return figure


def mean_images(images: np.ndarray, labels: Any, note: str = "") -> Figure:
    """Mean normal image, mean pneumonia image, and their difference."""
    figure, axes = _pictures(8.4, 3.2, note, 1, 3)
    means = [images[np.asarray(labels) == label].mean(axis=0).squeeze() for label in (0, 1)]
    for axis, mean, name in zip(axes[0], means, NAMES, strict=False):
        axis.imshow(mean, cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"mean {name}")
    difference = means[1] - means[0]
    limit = np.abs(difference).max()
    shown = axes[0, 2].imshow(difference, cmap="PuOr_r", vmin=-limit, vmax=limit)
    axes[0, 2].set_title("pneumonia minus normal")
    figure.colorbar(shown, ax=axes[0, 2], shrink=0.8, label="gray levels")
    return figure


def feature_maps(maps: dict[str, np.ndarray], channels: int = 8, note: str = "") -> Figure:
    """Channels of each convolution, {name: (h, w, filters)}, from the most active to the least, with their maxima."""
    figure, axes = new_figure(1.3 * channels, 1.45 * len(maps), note, nrows=len(maps), ncols=channels, squeeze=False)
    for row, (name, values) in zip(axes, maps.items(), strict=True):
        ranked = np.argsort(values.mean(axis=(0, 1)))[::-1]
        order = ranked[np.linspace(0, len(ranked) - 1, channels).round().astype(int)]
        for axis, channel in zip(row, order, strict=True):
            axis.imshow(values[..., channel], cmap="gray", vmin=0, vmax=values[..., channel].max() or 1)
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"{channel}: {values[..., channel].max():.2g}", fontsize=7, pad=2)
        row[0].set_ylabel(f"{name}\n{values.shape[0]}x{values.shape[1]}", fontsize=9)
    return figure


def class_counts(rows: pd.DataFrame, note: str = "") -> Figure:
    """Bars of how many normal and pneumonia images each split holds: the imbalance."""
    figure, axis = new_figure(6.4, 3.8, note)
    splits = [s for s in ("train", "test") if (rows.split == s).any()]
    for label, name in enumerate(NAMES):
        counts = [int(((rows.split == s) & (rows.label == label)).sum()) for s in splits]
        places = np.arange(len(splits)) + (label - 0.5) * 0.38
        style = {"color": COLORS[name], "edgecolor": "black", "hatch": HATCHES[label]}
        axis.bar_label(axis.bar(places, counts, 0.36, label=name, **style), [f"{c:,}" for c in counts])
    axis.set(xticks=range(len(splits)), xticklabels=splits, ylabel="images", title="Images of each class")
    return _finished(figure, axis)


def _histograms(axis: Any, values: list, bins: np.ndarray, **options: Any) -> None:
    """Histograms of both classes, on a logarithmic scale."""
    _, _, bars = axis.hist(values, bins, color=[NORMAL, PNEUMONIA], edgecolor="black", label=NAMES, **options)
    for patch in bars[0]:
        patch.set_hatch(HATCHES[0])
    axis.set_yscale("log")


def images_per_patient(rows: pd.DataFrame, note: str = "") -> Figure:
    """Histogram of the number of images that one patient has, by class."""
    figure, axis = new_figure(6.4, 3.4, note)
    counts, top = rows.groupby(["label", "patient"]).size(), 8
    bins = np.arange(1, top + 2)
    _histograms(axis, [counts.loc[label].clip(upper=top) for label in (0, 1)], bins - 0.5)
    axis.set_xticks(bins[:-1], [*bins[:-2], f"{top}+"])
    axis.set(xlabel="images of one patient", ylabel="patients (log scale)")
    return _finished(figure, axis)


def probability_histogram(predictions: pd.DataFrame, threshold: float, note: str = "") -> Figure:
    """How the predicted probabilities of each class are distributed, with the threshold."""
    figure, axis = new_figure(6.4, 3.4, note)
    values = [predictions.probability[predictions.label == label] for label in (0, 1)]
    _histograms(axis, values, np.linspace(0, 1, 26), histtype="stepfilled", alpha=0.6)
    axis.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.2f}")
    axis.set(xlabel="predicted probability of pneumonia", ylabel="images")
    return _finished(figure, axis)


def distributions(table: pd.DataFrame, columns: list[str], note: str = "") -> Figure:
    """Density of each measured property, by class. `table` has a column `label` besides `columns`."""
    figure, axes = new_figure(2.9 * len(columns), 3.0, note, ncols=len(columns), squeeze=False)
    for axis, column in zip(axes[0], columns, strict=True):
        for label, name in enumerate(NAMES):
            line = {"color": COLORS[name], "linestyle": "-" if label else "--", "linewidth": 2, "label": name}
            values = table.loc[table.label == label, column]
            sns.kdeplot(values, ax=axis, fill=True, alpha=0.25, warn_singular=False, cut=0, **line)
        axis.set(xlabel=column.replace("_", " "), ylabel="", yticks=[])
    axes[0][0].set_ylabel("density")
    return _finished(figure, axes[0][0], fontsize=8)


def learning_curves(history: pd.DataFrame, kept_epoch: int, note: str = "") -> Figure:
    """Loss and AUROC over the epochs, training and validation, with the epoch marked whose weights are kept."""
    figure, axes = new_figure(9.6, 3.6, note, ncols=2)
    for axis, name in zip(axes, ("loss", "auroc"), strict=True):
        axis.plot(history.epoch, history[name], color="0.5", linestyle="--", marker="o", label="training (augmented)")
        axis.plot(history.epoch, history[f"val_{name}"], color="black", marker="s", label="validation")
        axis.axvline(kept_epoch, color="0.6", linestyle=":", label=f"kept epoch ({kept_epoch})")
        axis.set(xlabel="epoch", ylabel={"loss": "binary cross-entropy", "auroc": "AUROC"}[name])
        axis.xaxis.get_major_locator().set_params(integer=True)
    return _finished(figure, axes[0], fontsize=8)


def confusion(predictions: pd.DataFrame, threshold: float = 0.5, note: str = "") -> Figure:
    """The confusion matrix at a threshold, with counts and row percentages; rows are the truth."""
    from sklearn.metrics import ConfusionMatrixDisplay

    called = (predictions.probability >= threshold).astype(int)
    figure, axis = new_figure(4.4, 3.9, note)
    options: dict = {"labels": [0, 1], "display_labels": NAMES, "cmap": "Greys", "colorbar": False, "ax": axis}
    shares = ConfusionMatrixDisplay.from_predictions(predictions.label, called, normalize="true", **options)
    shares.im_.set_clim(0, 1)
    counts = pd.crosstab(predictions.label, called).reindex(index=[0, 1], columns=[0, 1], fill_value=0).to_numpy()
    for count, share, text in zip(counts.flat, shares.confusion_matrix.flat, shares.text_.flat, strict=True):
        text.set(text=f"{count}\n{share:.0%}", fontsize=13, color="white" if share > 0.5 else "black")
    axis.set(xlabel="predicted", ylabel="truth", title=f"threshold {threshold:g}")
    return figure


def roc_and_pr(predictions: pd.DataFrame, points: dict[str, float], note: str = "") -> Figure:
    """ROC and precision-recall curves, with operating points {name: threshold} marked, and what chance would give."""
    from sklearn.metrics import PrecisionRecallDisplay, RocCurveDisplay

    labels, probabilities = predictions.label.to_numpy(), predictions.probability.to_numpy()
    figure, axes = new_figure(9.6, 4.4, note, ncols=2)
    roc = RocCurveDisplay.from_predictions(labels, probabilities, ax=axes[0])
    pr = PrecisionRecallDisplay.from_predictions(labels, probabilities, ax=axes[1])
    roc.line_.set(color="black", label=f"AUROC {roc.roc_auc:.3f}")
    pr.line_.set(color="black", label=f"AUPRC {pr.average_precision:.3f}")
    axes[0].plot([0, 1], [0, 1], color="0.5", linestyle=":", label="chance")
    axes[1].axhline(labels.mean(), color="0.5", linestyle=":", label=f"chance (prevalence {labels.mean():.3f})")
    for marker, (name, threshold) in zip("osD^", points.items(), strict=False):
        called = probabilities >= threshold
        sensitivity, fall_out = called[labels == 1].mean(), called[labels == 0].mean()
        style = {"marker": marker, "markersize": 9, "linestyle": "", "mfc": "white", "color": "black", "label": name}
        axes[0].plot(fall_out, sensitivity, **style)
        axes[1].plot(sensitivity, labels[called].mean() if called.any() else 1.0, **style)
    axes[0].set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC", aspect="equal")
    axes[1].set(xlabel="recall (sensitivity)", ylabel="precision", title="Precision-recall", aspect="auto",
                ylim=(min(0.5, labels.mean() - 0.05), 1.02))  # fmt: skip
    axes[1].legend(frameon=False, fontsize=8, loc="lower left")
    return _finished(figure, axes[0], fontsize=8, loc="lower right")


def intervals(table: pd.DataFrame, stated: dict[str, float], note: str = "") -> Figure:
    """Metrics with their 95 % interval, the stated values above them. `table` has value, low, high by metric."""
    figure, axis = new_figure(7.2, 0.42 * len(table) + 1.0, note)
    places = np.arange(len(table))[::-1]
    reach = [table.value - table.low, table.high - table.value]
    axis.errorbar(table.value, places, xerr=reach, fmt="o", color="black", capsize=4, label="this run, 95 % interval")
    above = [(stated[name], place + 0.3) for place, name in zip(places, table.index, strict=True) if name in stated]
    if above:
        axis.plot(*zip(*above, strict=True), "D", mfc="white", color="black", label="original project")
    axis.set(yticks=places, yticklabels=[n.replace("_", " ") for n in table.index], xlabel="on the test images")
    axis.grid(axis="x", color="0.9")
    return _finished(figure, axis, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.18), ncols=2)


def stress_summary(table: pd.DataFrame, note: str = "") -> Figure:
    """AUROC, sensitivity and specificity of a `stress_summary`: groups above, corruptions below; dotted: row 1."""
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
    return _finished(figure, axis, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def crossed_auroc(matrix: pd.DataFrame, note: str = "") -> Figure:
    """The matrix of `crossed_auroc` as a heat map with the values written in: dark is bad."""
    figure, axis = new_figure(8.2, 5.6, note)
    low = min(0.5, float(matrix.min().min()))
    style = {"cmap": "cividis", "annot": True, "fmt": ".2f", "annot_kws": {"fontsize": 8}}
    sns.heatmap(matrix, vmin=low, vmax=1, cbar_kws={"label": "AUROC"}, ax=axis, **style)
    axis.set(xlabel="how the pneumonias were taken", ylabel="how the normals were taken")
    axis.tick_params(axis="x", rotation=45, labelsize=8)
    axis.tick_params(axis="y", rotation=0, labelsize=8)
    return figure
