"""Make pnlib/familiar.json, and measure what `pnlib.inference.familiar` refuses.

    PNLIB_DATA=... python benchmarks/familiar.py            # a minute; writes pnlib/familiar.json
    PNLIB_DATA=... python benchmarks/familiar.py --table    # prints the table of docs/predict.md

The mean thumbnail is that of all training images. The thresholds are the 0.5 % quantiles of likenesses to a mean without
the image's own patient (five folds). No label is used. Only `--table` reads test images, and chooses nothing by them.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

import pnlib
from pnlib.base import files
from pnlib.inference.familiar import likenesses, objections, thumbnails
from pnlib.preprocessing import looks_inverted

REFUSED = 0.005
RESULT = Path(__file__).resolve().parent.parent / "pnlib" / "familiar.json"


def make(images: np.ndarray, rows: pd.DataFrame, attribution: str) -> None:
    small = thumbnails(images)
    found = []
    for fit, held_out in GroupKFold(5).split(small, groups=rows.patient):
        found.append(likenesses(images[held_out], small[fit].mean(0)))
    thresholds = pd.concat(found).quantile(REFUSED)
    mean = json.dumps([[round(float(v), 3) for v in row] for row in small.mean(0)])
    about = f"Mean training image in local contrast, and thresholds; made by benchmarks/familiar.py from: {attribution}"
    limits = ", ".join(f'"{name}": {value:.4f}' for name, value in thresholds.items())
    files.atomic_write(RESULT, f'{{"about": {json.dumps(about)},\n{limits},\n"mean": {mean}}}\n')


def others(images: np.ndarray) -> dict[str, np.ndarray]:
    """Pictures of other kinds, some of them made of training images."""
    import pydicom.data
    import sklearn.datasets

    rng = np.random.default_rng(0)
    demo = pnlib.find_dataset("demo")
    photographs = []
    for photograph in sklearn.datasets.load_sample_images().images:
        gray = cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY)
        for _ in range(50):
            side = rng.integers(150, 400)
            y, x = rng.integers(gray.shape[0] - side), rng.integers(gray.shape[1] - side)
            photographs.append(cv2.resize(gray[y : y + side, x : x + side], (150, 150)))
    blurred = [cv2.GaussianBlur(rng.normal(size=(150, 150)), (0, 0), sigma) for sigma in rng.uniform(2, 25, 100)]
    gray = images[..., 0]
    quarters = [[cv2.resize(gray[(i + k) % len(gray)], (75, 75)) for k in range(4)] for i in range(len(gray))]
    border = {"borderType": cv2.BORDER_CONSTANT, "value": 255}
    return {
        "noise": rng.integers(0, 256, (100, 150, 150), np.uint8),
        "blurred noise": np.stack([cv2.normalize(b, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8) for b in blurred]),
        "crops of 2 photographs": np.stack(photographs),
        "a CT and an MR slice (pydicom's)": np.stack([pnlib.decode(pydicom.data.get_testdata_file(name))[..., 0] for name in ("CT_small.dcm", "MR_small.dcm")]),
        "phantoms of the demo": pnlib.load_images(demo, demo.rows("train").iloc[::4])[..., 0],
        "training images, inverted": 255 - gray,
        "upside down": gray[:, ::-1],
        "turned by a quarter": np.rot90(gray, axes=(1, 2)).copy(),
        "four in a grid": np.stack([np.block([[q[0], q[1]], [q[2], q[3]]]) for q in quarters]),
        "half as large on white": np.stack([cv2.copyMakeBorder(cv2.resize(g, (75, 75)), 38, 37, 38, 37, **border) for g in gray]),
        "upper left quarter": np.stack([cv2.resize(g[:75, :75], (150, 150)) for g in gray]),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--elsewhere", metavar="FOLDER", help="more X-rays, one group per folder below it")
    args = parser.parse_args()
    dataset = pnlib.find_dataset()
    rows = dataset.rows("train")
    images = pnlib.load_images(dataset, rows)
    if not args.table:
        return make(images, rows, dataset.attribution)
    groups = {"training images": images, "test images": pnlib.load_images(dataset, dataset.rows("test"))}
    if args.elsewhere:
        found = sorted(p for p in Path(args.elsewhere).rglob("*") if p.suffix in (".jpg", ".jpeg", ".png"))
        groups["elsewhere"] = np.stack([pnlib.decode(path) for path in found])
    groups |= {name: pixels[..., None] for name, pixels in others(images[::30]).items()}
    print("| images | n | refused |\n| --- | --- | --- |")
    for name, pixels in groups.items():
        refused = np.array([bool(words) for words in objections(likenesses(pixels))]) | looks_inverted(pixels)
        print(f"| {name} | {len(pixels):,} | {refused.mean():.3f} |")


if __name__ == "__main__":
    main()
