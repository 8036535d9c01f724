"""One figure per function; each returns the matplotlib Figure.

Blue (of Okabe and Ito's palette) is normal and dark orange is pneumonia, in every figure, and only that. They differ in
lightness too, and hatching, line style, marker or text says the class again: for gray print and colour-blind readers.
`note` is the caption below a figure: the images' attribution, the network, what to look at. All text has 11 pt or more
at the size shown, and no figure is wider than 10 inches.
"""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import NullFormatter

from pnlib.base.machine import show_figures_in_notebooks
from pnlib.evaluation import in_words as words

NAMES, HATCHES = ("normal", "pneumonia"), ("//", "")
NORMAL, PNEUMONIA = "#56B4E9", "#B84C00"
COLORS = {"normal": NORMAL, "pneumonia": PNEUMONIA}
CHANCE = {"color": "0.45", "linestyle": ":"}
GRAY_LEVELS = ("brightness", "contrast", "sharpness")  # the acquisition features that are no shares
WIDTH = 10.0  # inches at 100 dpi: JupyterLab shows it unshrunk in a window of 1,280 pixels

# A decorator: what a function draws has this style whatever the user's is, which stays as it was.
styled = plt.style.context(
    [
        "default",
        {
            "font.size": 11, "axes.titlesize": 12, "figure.titlesize": 13, "figure.labelsize": 11,
            "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "errorbar.capsize": 3,
            "axes.axisbelow": True, "grid.color": "0.9", "figure.constrained_layout.h_pad": 0.07,
        },
    ]
)  # fmt: skip


def wrapped(text: str, inches: float) -> str:
    """Text in lines that fit a width."""
    return "\n".join(textwrap.fill(line, max(8, int(11 * inches))) for line in text.splitlines())


@styled
def new_figure(width: float, height: float, note: str = "", **options: Any) -> tuple[Figure, Any]:
    """A figure of this size in inches with `note` below, and its axes (those of `plt.subplots`)."""
    show_figures_in_notebooks()
    width, note = min(width, WIDTH), wrapped(note, min(width, WIDTH))
    height += 0.18 * len(note.splitlines())
    figure, axes = plt.subplots(figsize=(width, height), dpi=100, layout="constrained", **options)
    if note:
        figure.supxlabel(note, color="0.25")
    plt.close(figure)  # the caller shows it; the inline backend would show it a second time
    return figure, axes


def panels(count: int, height: float, note: str = "") -> tuple[Figure, list]:
    """A figure with this many panels, three per row, each of this height in inches; and their axes."""
    columns = min(count, 3)
    rows = -(-count // columns)
    figure, axes = new_figure(1 + 3 * columns, height * rows, note, nrows=rows, ncols=columns, squeeze=False)
    for axis in axes.flat[count:]:
        axis.axis("off")
    return figure, list(axes.flat[:count])


def legend_above(figure: Figure, columns: int = 3, **options: Any) -> Figure:
    """The figure, with one legend of all its panels above them."""
    found = {label: mark for axis in figure.axes for mark, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(found.values(), found.keys(), loc="outside upper center", ncols=columns, **options)
    return figure


def _pictures(width: float, height: float, note: str, rows: int, columns: int) -> tuple[Figure, Any]:
    """A figure of rows x columns panels for images, without axes."""
    figure, axes = new_figure(width, height, note, nrows=rows, ncols=columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    return figure, axes


def _gray(axis: Any, image: np.ndarray, title: str = "") -> None:
    axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255 if image.dtype == np.uint8 else 1)
    axis.set_title(title, fontsize=11)


@styled
def image_grid(
    images: Any, titles: Iterable[str], note: str = "", columns: int = 6, heading: str = "",
    verdicts: Sequence[bool | None] | None = None,
) -> Figure:  # fmt: skip
    """A grid of images (n, h, w, 1), uint8 or float in [0, 1], with a title each.

    `verdicts` says of each image whether it may be trained with, in words below the title; False is also crossed out.
    """
    panel, rows = min(1.75, WIDTH / columns), -(-len(images) // columns)
    verdicts = verdicts or [None] * len(images)
    named = [
        wrapped(title, panel) + ("" if allowed is None else "\nallowed" if allowed else "\nnot allowed")
        for title, allowed in zip(titles, verdicts, strict=False)
    ]
    lines = max([0, *(title.count("\n") + 1 for title in named)])
    width = max(4.0, panel * columns)
    figure, axes = _pictures(width, (panel + 0.19 * lines) * rows + 0.4, note, rows, columns)
    for axis, image, title, allowed in zip(axes.flat, images, named, verdicts, strict=False):
        _gray(axis, image, title)
        for thickness, color in ((4, "black"), (2, "white")) if allowed is False else ():
            for ends in ([0, 1], [1, 0]):
                axis.plot([0, 1], ends, color=color, linewidth=thickness, transform=axis.transAxes)
    figure.suptitle(wrapped(heading, 0.85 * width))
    return figure


@styled
def heat_maps(
    images: np.ndarray, heats: np.ndarray, titles: Iterable[str], note: str = "", columns: int = 8,
    heading: str = "Images, and what speaks for pneumonia in them (Grad-CAM)",
) -> Figure:  # fmt: skip
    """Images above, the same with their Grad-CAM heat map below; places without an image stay empty."""
    panel = min(1.75, (WIDTH - 0.8) / columns)
    figure, axes = _pictures(max(6.0, panel * columns + 0.8), 2 * panel + 1.0, note, 2, columns)
    for (above, below), image, heat, title in zip(axes.T, images, heats, titles, strict=False):
        _gray(above, image, wrapped(title, panel))
        _gray(below, image)
        shown = below.imshow(heat, cmap="RdPu", alpha=0.8 * heat, vmin=0, vmax=1)
        if below is axes[1, 0]:
            figure.colorbar(shown, ax=axes, shrink=0.8, label="heat (1: strongest)")
    figure.suptitle(heading)
    return figure


@styled
def mean_images(images: np.ndarray, labels: Any, note: str = "") -> Figure:
    """Mean normal image, mean pneumonia image, and their difference."""
    figure, axes = _pictures(WIDTH, 3.5, note, 1, 3)
    own = [images[np.asarray(labels) == label] for label in (0, 1)]
    means = [of_class.mean(axis=0).squeeze() for of_class in own]
    for axis, mean, name, of_class in zip(axes[0], means, NAMES, own, strict=False):
        axis.imshow(mean, cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"mean {name} (n = {len(of_class):,})")
    difference = means[1] - means[0]
    limit = np.abs(difference).max()
    shown = axes[0, 2].imshow(difference, cmap="PRGn", vmin=-limit, vmax=limit)
    axes[0, 2].set_title("pneumonia minus normal")
    figure.colorbar(shown, ax=axes[0, 2], shrink=0.8, label="gray levels")
    return figure


@styled
def feature_maps(maps: dict[str, np.ndarray], channels: int = 8, note: str = "") -> Figure:
    """Channels of each convolution, {name: (h, w, filters)}, from the most active to the least, with their maxima."""
    panel = min(1.3, WIDTH / channels)
    size = (max(4.5, panel * channels), (panel + 0.25) * len(maps) + 0.5)
    figure, axes = new_figure(*size, note, nrows=len(maps), ncols=channels, squeeze=False)
    for row, (name, values) in zip(axes, maps.items(), strict=True):
        ranked = np.argsort(values.mean(axis=(0, 1)))[::-1]
        order = ranked[np.linspace(0, len(ranked) - 1, channels).round().astype(int)]
        for axis, channel in zip(row, order, strict=True):
            axis.imshow(values[..., channel], cmap="gray", vmin=0, vmax=values[..., channel].max() or 1)
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"{channel}: {values[..., channel].max():.2g}", fontsize=11, pad=2)
        row[0].set_ylabel(f"{name}\n{values.shape[0]}×{values.shape[1]}")
    heading = "Feature maps, the most active on the left; above each: channel, and maximum (white)"
    figure.suptitle(wrapped(heading, 0.85 * size[0]))
    return figure


@styled
def network_diagram(network: Any, note: str = "", columns: int = 12) -> Figure:
    """The layers of a built Keras model in their order, one box each, with name and output shape.

    A box of maps is as high as their side and wider for more channels; a bar of units is higher for more units. There
    are `columns` boxes per row. Branches are drawn in the order of `network.layers`.

    >>> import pnlib
    >>> figure = pnlib.plots.network_diagram(pnlib.build_network("baseline"))
    """
    styles: dict[str, dict] = {
        "convolution": {"facecolor": "0.75"},
        "pooling": {"facecolor": "white", "hatch": "///"},
        "dense": {"facecolor": "0.25"},
        "others": {"facecolor": "white"},
    }
    kinds = {"Conv": "convolution", "Pool": "pooling", "Dense": "dense"}
    boxes = [layer for layer in network.layers if type(layer).__name__ != "InputLayer"]
    sizes = [tuple(layer.output.shape[1:]) for layer in boxes]
    side = max([2, *(size[0] for size in sizes if len(size) == 3)])
    units = max([2, *(size[-1] for size in sizes)])
    rows = -(-len(boxes) // columns)
    figure, axes = new_figure(WIDTH, 2.7 * rows + 0.8, note, nrows=rows, squeeze=False)
    for axis in axes[:, 0]:
        axis.axis("off")
        axis.set(xlim=(-0.5, columns - 0.5), ylim=(-1.05, 0.5))
    for place, (layer, size) in enumerate(zip(boxes, sizes, strict=True)):
        axis, x = axes[place // columns, 0], place % columns
        kind = next((kind for word, kind in kinds.items() if word in type(layer).__name__), "others")
        logarithm = np.log2(size[-1]) / np.log2(units)
        width, height = (0.1 + 0.8 * logarithm, size[0] / side) if len(size) == 3 else (0.1, max(0.06, logarithm))
        axis.add_patch(Rectangle((x - width / 2, -height / 2), width, height, edgecolor="black", **styles[kind]))
        name = textwrap.fill(layer.name.replace("_", " "), 9)
        shape = f"{size[0]}×{size[1]}\n×{size[2]}" if len(size) == 3 else f"{size[-1]:,}"
        axis.text(x, -0.56, f"{name}\n{shape}", ha="center", va="top")
    title = f"{network.name}: {len(boxes)} layers, {network.count_params():,} parameters"
    axes[0, 0].set_title(f"{title}, input {'×'.join(map(str, network.input_shape[1:]))}")
    handles = [Patch(edgecolor="black", label=kind, **style) for kind, style in styles.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


@styled
def class_counts(rows: pd.DataFrame, note: str = "") -> Figure:
    """Bars of how many normal and pneumonia images each split holds: the imbalance."""
    figure, axis = new_figure(7, 4.2, note)
    splits = [s for s in ("train", "test") if (rows.split == s).any()]
    for label, name in enumerate(NAMES):
        counts = [int(((rows.split == s) & (rows.label == label)).sum()) for s in splits]
        places = np.arange(len(splits)) + (label - 0.5) * 0.38
        style = {"color": COLORS[name], "edgecolor": "black", "hatch": HATCHES[label]}
        bars = axis.bar(places, counts, 0.36, label=f"{name} (n = {sum(counts):,})", **style)
        axis.bar_label(bars, [f"{c:,}" for c in counts])
    axis.set(xticks=range(len(splits)), xticklabels=splits, xlabel="split", ylabel="images")
    axis.set_title("Images of each class")
    axis.legend()
    return figure


def _histograms(axis: Any, values: list, bins: np.ndarray, of: str = "", **options: Any) -> None:
    """Histograms of both classes, on a logarithmic scale."""
    names = [f"{name} (n = {len(own):,}{of})" for name, own in zip(NAMES, values, strict=True)]
    _, _, bars = axis.hist(values, bins, color=[NORMAL, PNEUMONIA], edgecolor="black", label=names, **options)
    for patch in bars[0]:
        patch.set_hatch(HATCHES[0])
    axis.set(yscale="log", ylim=(0.7, None))
    axis.yaxis.set_major_formatter("{x:,.0f}")  # in full: exponents would be too small to read
    axis.yaxis.set_minor_formatter(NullFormatter())


@styled
def images_per_patient(rows: pd.DataFrame, note: str = "") -> Figure:
    """Histogram of the number of images that one patient has, by class."""
    figure, axis = new_figure(7, 4, note)
    counts, top = rows.groupby(["label", "patient"]).size(), 8
    bins = np.arange(1, top + 2)
    _histograms(axis, [counts.loc[label].clip(upper=top) for label in (0, 1)], bins - 0.5, " patients")
    axis.set_xticks(bins[:-1], [*bins[:-2], f"{top}+"])
    axis.set(title="Images per patient", xlabel="images of one patient", ylabel="patients (log scale)")
    axis.legend()
    return figure


@styled
def distributions(table: pd.DataFrame, columns: list[str], note: str = "") -> Figure:
    """Density of each measured property, by class. `table` has a column `label` besides `columns`."""
    figure, axes = panels(len(columns), 2.9, note)
    for axis, column in zip(axes, columns, strict=True):
        for label, name in enumerate(NAMES):
            values = table.loc[table.label == label, column]
            line = {"color": COLORS[name], "linestyle": "-" if label else "--", "linewidth": 2}
            line["label"] = f"{name} (n = {len(values):,})"
            sns.kdeplot(values, ax=axis, fill=True, alpha=0.25, warn_singular=False, cut=0, **line)
        axis.set(title=words(column), xlabel=unit(column), ylabel="density", yticks=[])
    return legend_above(figure)


def unit(column: str) -> str:
    """Of an acquisition feature."""
    return "gray levels" if column in GRAY_LEVELS else "share (0 to 1)"


@styled
def learning_curves(history: pd.DataFrame, kept_epoch: int, note: str = "") -> Figure:
    """Loss and AUROC over the epochs, training and validation, with the epoch marked whose weights are kept."""
    figure, axes = new_figure(WIDTH, 4, note, ncols=2)
    for axis, name in zip(axes, ("loss", "auroc"), strict=True):
        axis.plot(history.epoch, history[name], color="0.5", linestyle="--", marker="o", label="training (augmented)")
        axis.plot(history.epoch, history[f"val_{name}"], color="black", marker="s", label="validation")
        axis.axvline(kept_epoch, color="0.6", linestyle=":", label=f"kept epoch ({kept_epoch})")
        axis.set(title=words(name).replace("loss", "Loss"), xlabel="epoch")
        axis.set_ylabel({"loss": "binary cross-entropy", "auroc": "AUROC"}[name])
        axis.xaxis.get_major_locator().set_params(integer=True)
    return legend_above(figure)


@styled
def confusion(predictions: pd.DataFrame, threshold: float = 0.5, note: str = "") -> Figure:
    """The confusion matrix at a threshold, with counts and row percentages; rows are the truth."""
    from sklearn.metrics import ConfusionMatrixDisplay

    called = (predictions.probability >= threshold).astype(int)
    figure, axis = new_figure(5.4, 4.4, note)
    options: dict = {"labels": [0, 1], "display_labels": NAMES, "cmap": "Greys", "colorbar": False, "ax": axis}
    shares = ConfusionMatrixDisplay.from_predictions(predictions.label, called, normalize="true", **options)
    shares.im_.set_clim(0, 1)
    counts = pd.crosstab(predictions.label, called).reindex(index=[0, 1], columns=[0, 1], fill_value=0).to_numpy()
    for count, share, text in zip(counts.flat, shares.confusion_matrix.flat, shares.text_.flat, strict=True):
        text.set(text=f"{count:,}\n{share:.0%}", fontsize=13, color="white" if share > 0.5 else "black")
    axis.set(xlabel="predicted", ylabel="truth", title=f"threshold {threshold:g} (n = {len(predictions):,})")
    return figure


def _rates(predictions: pd.DataFrame, threshold: float) -> tuple[float, float]:
    """1 - specificity and sensitivity, a point of the ROC curve."""
    called = predictions.probability >= threshold
    return called[predictions.label == 0].mean(), called[predictions.label == 1].mean()


def _roc(axis: Any, predictions: pd.DataFrame) -> None:
    from sklearn.metrics import roc_auc_score, roc_curve

    given = predictions.label, predictions.probability
    axis.plot(*roc_curve(*given)[:2], color="black", label=f"AUROC {roc_auc_score(*given):.3f}")
    axis.plot([0, 1], [0, 1], **CHANCE, label="chance")
    axis.set(xlabel="1 - specificity", ylabel="sensitivity", title=f"ROC curve (n = {len(predictions):,})")


@styled
def roc_and_pr(predictions: pd.DataFrame, points: dict[str, float], note: str = "") -> Figure:
    """ROC and precision-recall curves, with operating points {name: threshold} marked, and what chance would give."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    labels, probabilities = predictions.label.to_numpy(), predictions.probability.to_numpy()
    figure, axes = new_figure(WIDTH, 5.2, note, ncols=2)
    _roc(axes[0], predictions)
    precision, recall, _ = precision_recall_curve(labels, probabilities)
    label = f"AUPRC {average_precision_score(labels, probabilities):.3f}"
    axes[1].plot(recall, precision, color="black", drawstyle="steps-post", label=label)
    axes[1].axhline(labels.mean(), **CHANCE, label=f"chance (prevalence {labels.mean():.3f})")
    for marker, (name, threshold) in zip("osD^", points.items(), strict=False):
        called = probabilities >= threshold
        fall_out, sensitivity = _rates(predictions, threshold)
        style = {"marker": marker, "markersize": 9, "linestyle": "", "mfc": "white", "color": "black", "label": name}
        axes[0].plot(fall_out, sensitivity, **style)
        axes[1].plot(sensitivity, labels[called].mean() if called.any() else 1.0, **style)
    axes[1].set(xlabel="recall (sensitivity)", ylabel="precision")
    axes[1].set(title="Precision-recall curve", ylim=(min(0.5, labels.mean() - 0.05), 1.02))
    return legend_above(figure)


@styled
def operating_point(predictions: pd.DataFrame, threshold: float, note: str = "") -> Figure:
    """A threshold on the predicted probabilities of both classes, and where it stands on the ROC curve."""
    figure, axes = new_figure(WIDTH, 4.8, note, ncols=2)
    values = [predictions.probability[predictions.label == label] for label in (0, 1)]
    _histograms(axes[0], values, np.linspace(0, 1, 26), histtype="stepfilled", alpha=0.6)
    axes[0].axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.2f}")
    axes[0].set(xlabel="predicted probability of pneumonia", ylabel="images (log scale)")
    _roc(axes[1], predictions)
    fall_out, sensitivity = _rates(predictions, threshold)
    axes[1].plot(fall_out, sensitivity, "o", markersize=10, mfc="white", mec="black", label="this threshold")
    reached = f"sensitivity {sensitivity:.3f}, specificity {1 - fall_out:.3f}"
    axes[0].set_title(f"threshold {threshold:.2f}: {reached}")
    return legend_above(figure)


@styled
def intervals(
    table: pd.DataFrame, stated: dict[str, float], note: str = "", title: str = "Results on the test images"
) -> Figure:
    """Metrics with their 95 % interval, the stated values above them. `table` has value, low, high by metric."""
    figure, axis = new_figure(8, 0.45 * len(table) + 1.5, note)
    places = np.arange(len(table))[::-1]
    reach = [table.value - table.low, table.high - table.value]
    axis.errorbar(table.value, places, xerr=reach, fmt="o", color="black", label="this run, 95 % interval")
    above = [(stated[name], place + 0.3) for place, name in zip(places, table.index, strict=True) if name in stated]
    if above:
        axis.plot(*zip(*above, strict=True), "D", mfc="white", color="black", label="original project")
    axis.set(yticks=places, yticklabels=map(words, table.index), xlabel="value (0 to 1)", ylabel="metric", title=title)
    axis.grid(axis="x")
    return legend_above(figure)


@styled
def stress_summary(table: pd.DataFrame, note: str = "") -> Figure:
    """AUROC, sensitivity and specificity of a `stress_summary`: groups above, corruptions below; dotted: row 1."""
    figure, axis = new_figure(WIDTH, 0.29 * len(table) + 1.8, note)
    places = np.arange(len(table))[::-1]
    marks = (("auroc", "o", "black"), ("sensitivity", "^", "white"), ("specificity", "v", "0.6"))
    for name, marker, color in marks:
        label = "AUROC" if name == "auroc" else f"{name} at 0.5"
        axis.plot(table[name], places, marker, color=color, mec="black", markersize=8, clip_on=False, label=label)
        first = f"as in the first row ({table.index[0]})" if name == "auroc" else None
        axis.axvline(table[name].iloc[0], color="0.4", linestyle=":", linewidth=1, zorder=0, label=first)
    groups = int((table.kind == "group").sum())
    axis.axhline(len(table) - groups - 0.5, color="0.6", linewidth=0.8)
    axis.grid(axis="y")
    sizes = table.get("images", pd.Series(dtype=int))
    rows = [f"{name} (n = {sizes[name]:,})" if name in sizes else name for name in table.index]
    axis.set(yticks=places, yticklabels=rows, xlabel="AUROC (0.5 is chance), sensitivity, specificity")
    axis.set(ylabel="condition", title="One network under many conditions: groups above, corruptions below the line")
    axis.set_xlim(right=1)
    return legend_above(figure, columns=4)


@styled
def crossed_auroc(matrix: pd.DataFrame, note: str = "") -> Figure:
    """The matrix of `crossed_auroc` as a heat map with the values written in: dark is bad."""
    figure, axis = new_figure(WIDTH, 6.2, note)
    low = min(0.5, float(matrix.min().min()))
    style = {"cmap": "gray", "annot": True, "fmt": ".2f", "linewidths": 0.5, "linecolor": "0.5"}
    sns.heatmap(matrix, vmin=low, vmax=1, cbar_kws={"label": "AUROC"}, ax=axis, **style)
    axis.set(xlabel="how the pneumonias were taken", ylabel="how the normals were taken")
    axis.set_title("AUROC where the classes were taken differently")
    axis.tick_params(axis="x", rotation=45)
    axis.tick_params(axis="y", rotation=0)
    for text, color in zip(axis.texts, axis.collections[0].get_facecolors(), strict=True):
        text.set_color("white" if color[:3] ** 2.2 @ (0.21, 0.72, 0.07) < 0.18 else "black")  # by luminance
    return figure
