"""Make pnlib/mean_chest.json: the mean chest of 400 normal and 400 pneumonia training images, drawn with seed 0.

    PNLIB_DATA=... python benchmarks/mean_chest.py      # half a minute; writes pnlib/mean_chest.json

Labels only make sure that both classes have the same weight. No test image is read. The images: Kermany, Zhang,
Goldbaum, Mendeley Data rscbjbr9sj v2 (2018), CC BY 4.0.
"""

import json
from pathlib import Path

import numpy as np

import pnlib
from pnlib.base import files
from pnlib.preprocessing import COARSE, best_match, coarse_image, crop_one, in_parallel, scaled_templates

EACH = 400
RESULT = Path(__file__).resolve().parent.parent / "pnlib" / "mean_chest.json"


def main() -> None:
    dataset = pnlib.find_dataset()
    rows = dataset.rows("train")
    rng = np.random.default_rng(0)
    drawn = [rng.choice(np.flatnonzero(rows.label == label), EACH, replace=False) for label in (0, 1)]
    rows = rows.iloc[np.concatenate(drawn)]
    template = learn(pnlib.load_images(dataset, rows), rows.label.to_numpy())
    about = f"Mean chest of training images, locally normalized; made by benchmarks/mean_chest.py from: {dataset.attribution}"
    lines = ",\n".join(json.dumps([round(float(v), 4) for v in row]) for row in template)
    files.atomic_write(RESULT, f'{{"about": {json.dumps(about)},\n"template": [\n{lines}\n]}}\n')


def learn(images: np.ndarray, labels: np.ndarray, rounds: int = 4) -> np.ndarray:
    """The mean chest, with the same weight for normals and pneumonias: (56, 56) float32.

    It starts from the middle of the images. Then, in turns, chests are found by their mean and the mean is taken anew
    (congealing: Learned-Miller, Data Driven Image Models through Continuous Joint Alignment, IEEE TPAMI 2006). Each
    round keeps the mean place and size of the first; without that the frame would shrink from round to round.

    Args:
        images: (n, side, side, 1) uint8.
        labels: theirs, (n,) of 0 and 1.
        rounds: how often chests are found.
    """
    coarse = np.stack([coarse_image(image) for image in images])
    boxes = np.tile([0.0, 0.1, 0.1, 0.8, 0.8], (len(images), 1))
    for number in range(rounds):
        templates = scaled_templates(mean_of(coarse, boxes, labels), penalty=0.0)
        found = np.array(in_parallel(lambda image, tried=templates: best_match(image, tried), coarse))
        if number:  # keep the mean of the sizes and of the centres
            sizes = found[:, 3:] * boxes[:, 3:].mean(0) / found[:, 3:].mean(0)
            centres, before = found[:, 1:3] + found[:, 3:] / 2, (boxes[:, 1:3] + boxes[:, 3:] / 2).mean(0)
            centres -= (centres.mean(0) - before) / found[:, 3:].mean(0) * found[:, 3:]
            found = np.column_stack([found[:, 0], centres - sizes / 2, sizes])
        boxes = found
    return mean_of(coarse, boxes, labels)


def mean_of(coarse: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean of what the boxes show, with the same weight for both classes: (56, 56) float32."""
    of_class = [
        np.mean([crop_one(coarse[i], boxes[i], COARSE) for i in np.flatnonzero(labels == label)], axis=0)
        for label in (0, 1)
    ]
    return np.mean(of_class, axis=0).astype(np.float32)


if __name__ == "__main__":
    main()
