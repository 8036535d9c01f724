"""How trained runs do on validation images whose framing, tone or sharpness was changed, or argues for the other class.

    PNLIB_DATA=... python benchmarks/stress.py RUN [RUN ...]

Plain validation rewards the shortcut that 01_explore shows: its patients are framed like the training patients. Each
column changes all validation images in one way; `counter` keeps the quarter of the normals that is framed most like
pneumonias and the quarter of the pneumonias that is framed most like normals (by logistic regression on framing.measure,
fitted on the training part); `swap` zooms into normals and blurs them, and zooms out of pneumonias. No test image is
read. Rows: AUROC, and balanced accuracy at threshold 0.5.
"""

import sys

import numpy as np
import pandas as pd
import scipy.ndimage

from pnlib import augment, data, evaluate, framing, model, runs, train


def zoomed(images, height, width):
    change = {"RandomZoom": {"height_factor": (height, height), "width_factor": (width, width)}}
    return (augment.apply(change, images) * 255).astype(np.uint8)


def blurred(images, sigma):
    return np.stack([scipy.ndimage.gaussian_filter(image, (sigma, sigma, 0)) for image in images])


def gamma(images, exponent):
    return ((images / 255.0) ** exponent * 255).astype(np.uint8)


def perturbed(images, labels) -> dict[str, np.ndarray]:
    """Named variants of the validation images, (n, 150, 150, 1) uint8 each."""
    variants = {
        "plain": images, "zoom in": zoomed(images, -0.25, -0.25), "zoom out": zoomed(images, 0.3, 0.3),
        "aspect": zoomed(images, 0.25, -0.1), "blur": blurred(images, 1.2), "gamma 0.7": gamma(images, 0.7), "gamma 1.5": gamma(images, 1.5),
    }  # fmt: skip
    normal = (labels == 0)[:, None, None, None]
    variants["swap"] = np.where(normal, blurred(variants["zoom in"], 0.8), variants["zoom out"])
    return variants


def stress(run: str) -> pd.DataFrame:
    """AUROC and balanced accuracy of one run under each change."""
    dataset, folder = data.find(), runs.finished(run)
    parts = {part: data.rows_of_run(dataset, folder, part) for part in ("train", "validation")}
    images = {part: data.load(dataset, rows) for part, rows in parts.items()}
    labels = parts["validation"].label.to_numpy()
    by_framing = framing.baseline().fit(framing.measure(images["train"]), parts["train"].label)
    framed = by_framing.predict_proba(framing.measure(images["validation"]))[:, 1]
    counter = np.where(
        labels == 0, framed >= np.quantile(framed[labels == 0], 0.75), framed <= np.quantile(framed[labels == 1], 0.25)
    )
    network = train.load_best(model.build_cnn(), run)
    answers = {
        name: evaluate.predict(network, changed) for name, changed in perturbed(images["validation"], labels).items()
    }
    results = {name: evaluate.metrics(labels, p) for name, p in answers.items()}
    results["counter"] = evaluate.metrics(labels[counter], answers["plain"][counter])
    table = pd.DataFrame(results).loc[["auroc", "macro_recall"]].rename({"macro_recall": "balanced accuracy"})
    others = table.drop(columns="plain")
    return table.assign(mean=others.mean(axis=1), worst=others.min(axis=1))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python benchmarks/stress.py RUN [RUN ...]")
    runs.quiet_tensorflow()
    for name in sys.argv[1:]:
        print(name, stress(name).round(3).to_string(), sep="\n", flush=True)
