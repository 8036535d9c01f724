"""One figure per function; each returns the matplotlib Figure.

Readable in grey print and for colour-blind readers: the two classes are blue (Okabe and Ito's palette) and dark orange,
which differ in lightness too, and never by colour alone (hatching, line style, marker or text says it again). Every
figure that shows images or results carries the dataset's attribution.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

NORMAL, PNEUMONIA = "#56B4E9", "#B84C00"
COLORS = {"normal": NORMAL, "pneumonia": PNEUMONIA}
NAMES = ("normal", "pneumonia")


def new_figure(width: float, height: float, note: str = "", **options):
    """A figure of this size in inches with `note` below, and its axes (those of `plt.subplots`)."""
    figure, axes = plt.subplots(figsize=(width, height), dpi=100, layout="constrained", **options)
    if note:
        figure.supxlabel(note, fontsize=8, color="0.35")
    plt.close(figure)  # the caller shows it; the inline backend would show it a second time
    return figure, axes


def image_grid(images, titles, note: str = "", columns: int = 6, heading: str = ""):
    """A grid of images (n, h, w, 1), uint8 or float in [0, 1], with a title each."""
    rows = -(-len(images) // columns)
    figure, axes = new_figure(1.75 * columns, 1.95 * rows + 0.4, note, nrows=rows, ncols=columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255 if image.dtype == np.uint8 else 1)
        axis.set_title(title, fontsize=8)
    figure.suptitle(heading)
    return figure


def class_counts(rows: pd.DataFrame, note: str = ""):
    """Bars of how many normal and pneumonia images each split holds: the imbalance."""
    figure, axis = new_figure(6.4, 3.8, note)
    splits = [s for s in ("train", "test") if (rows.split == s).any()]
    for label, name in enumerate(NAMES):
        counts = [int(((rows.split == s) & (rows.label == label)).sum()) for s in splits]
        places = np.arange(len(splits)) + (label - 0.5) * 0.38
        bars = axis.bar(
            places, counts, 0.36, color=COLORS[name], edgecolor="black", hatch="" if label else "//", label=name
        )
        axis.bar_label(bars, [f"{c:,}" for c in counts])
    axis.set(xticks=range(len(splits)), xticklabels=splits, ylabel="images", title="Images of each class")
    axis.legend(frameon=False)
    sns.despine(figure)
    return figure


def images_per_patient(rows: pd.DataFrame, note: str = ""):
    """Histogram of the number of images that one patient has, by class."""
    figure, axis = new_figure(6.4, 3.4, note)
    counts = rows.groupby(["label", "patient"]).size().rename("images").reset_index()
    top = 8
    bins = np.arange(1, top + 2)
    values = [counts.images[counts.label == label].clip(upper=top) for label in (0, 1)]
    _, _, bars = axis.hist(values, bins=bins - 0.5, color=[NORMAL, PNEUMONIA], edgecolor="black", label=NAMES)
    for patch in bars[0]:
        patch.set_hatch("//")
    axis.set(
        xticks=bins[:-1],
        xticklabels=[*bins[:-2], f"{top}+"],
        yscale="log",
        xlabel="images of one patient",
        ylabel="patients (log scale)",
    )
    axis.legend(frameon=False)
    sns.despine(figure)
    return figure


def distributions(table: pd.DataFrame, columns: list[str], note: str = ""):
    """Density of each measured property, by class. `table` has a column `label` besides `columns`."""
    figure, axes = new_figure(2.9 * len(columns), 3.0, note, ncols=len(columns), squeeze=False)
    for axis, column in zip(axes[0], columns, strict=True):
        for label, name in enumerate(NAMES):
            sns.kdeplot(
                table.loc[table.label == label, column],
                ax=axis,
                color=COLORS[name],
                label=name,
                fill=True,
                alpha=0.25,
                linestyle="-" if label else "--",
                linewidth=2,
                warn_singular=False,
                cut=0,
            )
        axis.set(xlabel=column.replace("_", " "), ylabel="", yticks=[])
    axes[0][0].legend(frameon=False, fontsize=8)
    axes[0][0].set_ylabel("density")
    sns.despine(figure)
    return figure


def mean_images(images, labels, note: str = ""):
    """Mean normal image, mean pneumonia image, and their difference."""
    figure, axes = new_figure(8.4, 3.2, note, ncols=3)
    means = [images[np.asarray(labels) == label].mean(axis=0).squeeze() for label in (0, 1)]
    for axis, mean, name in zip(axes, means, NAMES, strict=False):
        axis.imshow(mean, cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"mean {name}")
    difference = means[1] - means[0]
    limit = np.abs(difference).max()
    shown = axes[2].imshow(difference, cmap="PuOr_r", vmin=-limit, vmax=limit)
    axes[2].set_title("pneumonia minus normal")
    figure.colorbar(shown, ax=axes[2], shrink=0.8, label="gray levels")
    for axis in axes:
        axis.axis("off")
    return figure


def feature_maps(maps: dict, channels: int = 8, note: str = ""):
    """Channels of each convolution, a row each, evenly spaced from the most active to the least. Each
    panel is scaled to its own maximum, which stands above it beside the channel's number."""
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


def learning_curves(history: pd.DataFrame, best_epoch: int, note: str = ""):
    """Loss and AUROC over the epochs, training and validation, with the epoch marked whose weights are kept."""
    figure, axes = new_figure(9.6, 3.6, note, ncols=2)
    for axis, name in zip(axes, ("loss", "auroc"), strict=True):
        axis.plot(history.epoch, history[name], color="0.35", linestyle="--", marker="o", label="training (augmented)")
        axis.plot(history.epoch, history[f"val_{name}"], color=PNEUMONIA, marker="s", label="validation")
        axis.axvline(best_epoch, color="0.6", linestyle=":", label=f"kept epoch ({best_epoch})")
        axis.set(xlabel="epoch", ylabel={"loss": "binary cross-entropy", "auroc": "AUROC"}[name])
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].legend(frameon=False, fontsize=8)
    sns.despine(figure)
    return figure


def confusion(matrix: np.ndarray, note: str = "", title: str = ""):
    """A confusion matrix with counts and row percentages; rows are the truth."""
    figure, axis = new_figure(4.4, 3.9, note)
    shares = matrix / matrix.sum(axis=1, keepdims=True)
    words = [[f"{matrix[i, j]}\n{shares[i, j]:.0%}" for j in (0, 1)] for i in (0, 1)]
    sns.heatmap(
        shares,
        annot=words,
        fmt="",
        cmap="Blues",
        vmin=0,
        vmax=1,
        cbar=False,
        ax=axis,
        linewidths=1,
        linecolor="black",
        xticklabels=NAMES,
        yticklabels=NAMES,
        annot_kws={"fontsize": 13},
        square=True,
    )
    axis.set(xlabel="predicted", ylabel="truth", title=title)
    return figure


def roc_and_pr(labels, probabilities, points: dict[str, float], note: str = ""):
    """ROC and precision-recall curves, with operating points {name: threshold} marked, and what chance would give."""
    from sklearn import metrics as sk

    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    figure, axes = new_figure(9.6, 4.4, note, ncols=2)
    false_positive, true_positive, _ = sk.roc_curve(labels, probabilities)
    precision, recall, _ = sk.precision_recall_curve(labels, probabilities)
    axes[0].plot(
        false_positive, true_positive, color=PNEUMONIA, label=f"AUROC {sk.roc_auc_score(labels, probabilities):.3f}"
    )
    axes[0].plot([0, 1], [0, 1], color="0.5", linestyle=":", label="chance")
    axes[1].plot(
        recall, precision, color=PNEUMONIA, label=f"AUPRC {sk.average_precision_score(labels, probabilities):.3f}"
    )
    axes[1].axhline(labels.mean(), color="0.5", linestyle=":", label=f"chance (prevalence {labels.mean():.3f})")
    for marker, (name, threshold) in zip("osD^", points.items(), strict=False):
        predicted = probabilities >= threshold
        sensitivity, fall_out = predicted[labels == 1].mean(), predicted[labels == 0].mean()
        style = {
            "marker": marker,
            "markersize": 9,
            "linestyle": "",
            "markerfacecolor": "white",
            "color": "black",
            "label": name,
        }
        axes[0].plot(fall_out, sensitivity, **style)
        axes[1].plot(sensitivity, labels[predicted].mean() if predicted.any() else 1.0, **style)
    axes[0].set(xlabel="1 - specificity", ylabel="sensitivity", title="ROC", aspect="equal")
    axes[1].set(
        xlabel="recall (sensitivity)",
        ylabel="precision",
        title="Precision-recall",
        ylim=(min(0.5, labels.mean() - 0.05), 1.02),
    )
    for axis in axes:
        axis.legend(frameon=False, fontsize=8, loc="lower left" if axis is axes[1] else "lower right")
    sns.despine(figure)
    return figure


def probability_histogram(labels, probabilities, threshold: float, note: str = ""):
    """How the predicted probabilities of each class lie, with the threshold."""
    figure, axis = new_figure(6.4, 3.4, note)
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    bins = np.linspace(0, 1, 26)
    for label, name in enumerate(NAMES):
        axis.hist(
            probabilities[labels == label],
            bins,
            color=COLORS[name],
            alpha=0.6,
            edgecolor="black",
            hatch="" if label else "//",
            label=name,
        )
    axis.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.2f}")
    axis.set(xlabel="predicted probability of pneumonia", ylabel="images", yscale="log")
    axis.legend(frameon=False)
    sns.despine(figure)
    return figure


def heat_maps(images, heats, titles, note: str = "", columns: int = 8):
    """Images above, the same with their Grad-CAM heat map below; places without an image stay empty."""
    figure, axes = new_figure(1.45 * columns, 3.6, note, nrows=2, ncols=columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for column, image, heat, title in zip(axes.T, images, heats, titles, strict=False):
        for axis in column:
            axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
        column[1].imshow(heat, cmap="inferno", alpha=0.5, vmin=0, vmax=1)
        column[0].set_title(title, fontsize=8)
    return figure


def intervals(table: pd.DataFrame, stated: dict[str, float], note: str = ""):
    """Measured figures with their 95 % interval, the stated ones above them. `table` has value, low, high by metric."""
    figure, axis = new_figure(7.2, 0.42 * len(table) + 1.0, note)
    places = np.arange(len(table))[::-1]
    axis.errorbar(
        table.value,
        places,
        xerr=[table.value - table.low, table.high - table.value],
        fmt="o",
        color=PNEUMONIA,
        capsize=4,
        label="this run, 95 % interval",
    )
    shown = [(place + 0.3, stated[name]) for place, name in zip(places, table.index, strict=True) if name in stated]
    if shown:
        axis.plot(
            [v for _, v in shown],
            [p for p, _ in shown],
            linestyle="",
            marker="D",
            markerfacecolor="white",
            color="black",
            label="founding description",
        )
    axis.set(yticks=places, yticklabels=[n.replace("_", " ") for n in table.index], xlabel="on the test images")
    axis.grid(axis="x", color="0.9")
    axis.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.18), ncols=2)
    sns.despine(figure)
    return figure
