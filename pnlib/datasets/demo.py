"""The synthetic demo dataset: phantom chest radiographs, drawn from a seed.

No X-ray went into them, and nothing about pneumonia can be learned from them. They have the published dataset's
layout, file names and imbalance (0.743 pneumonia in train, 0.625 in test), several images per patient, faint findings
that keep a model from 1.0, and its trap: in train, normals are framed wider than pneumonias; in test, all are alike.
Each image has the word DEMO burnt in, in the same place for both classes.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import scipy.ndimage

from pnlib.base import files

MARKER = "DEMO.txt"
VERSION = "1"
COUNTS = {("train", "NORMAL"): 206, ("train", "PNEUMONIA"): 594, ("test", "NORMAL"): 75, ("test", "PNEUMONIA"): 125}
SHAPE = (192, 224)  # height and width in pixels


def ensure_demo(parent: Path, seed: int = 0) -> Path:
    """Folder of the demo dataset below `parent`; drawn on first use (about 15 s), whole or not at all."""
    folder = parent / f"demo-v{VERSION}-seed{seed}"
    if not (folder / MARKER).is_file():
        with files.writing(folder):
            files.make_dir(parent)
            with tempfile.TemporaryDirectory(dir=parent, prefix=".drawing-") as temporary:
                draw_demo(Path(temporary) / "demo", seed)
                files.sync_disks()
                try:
                    os.rename(Path(temporary) / "demo", folder)
                    files.fsync_dir(parent)
                except OSError:
                    if not (folder / MARKER).is_file():  # else another process was first, with the same pixels
                        raise
    return folder


def draw_demo(folder: Path, seed: int = 0, counts: dict = COUNTS) -> None:
    """Draw the dataset into `folder`: {train,test}/{NORMAL,PNEUMONIA}/*.jpeg and a marker file, last."""
    for (part, kind), number in counts.items():
        (folder / part / kind).mkdir(parents=True)
        # A generator of its own for each part: the pixels of one don't depend on how many images another has.
        rng = np.random.default_rng([seed, part == "test", kind == "PNEUMONIA"])
        patient, left = (5000 if part == "test" else 0), 0
        for i in range(number):
            if left == 0:
                patient, left = patient + 1, int(rng.choice([1, 1, 2, 3])) if kind == "PNEUMONIA" else 1
                body = rng.uniform(-1, 1, 8)
                subtype = str(rng.choice(["bacteria", "bacteria", "virus"])) if kind == "PNEUMONIA" else "none"
            left -= 1
            wide = rng.random() < (0.5 if part == "test" else {"NORMAL": 0.60, "PNEUMONIA": 0.40}[kind])
            name = f"IM-{patient:04d}-0001" if kind == "NORMAL" else f"person{patient}_{subtype}_{i + 1}"
            picture = PIL.Image.fromarray(phantom(rng, body, subtype, wide))
            PIL.ImageDraw.Draw(picture).text((4, 2), "DEMO", fill=200, stroke_width=1, stroke_fill=0)
            picture.save(folder / part / kind / f"{name}.jpeg", quality=90)
    (folder / MARKER).write_text(f"Synthetic phantom chest radiographs, version {VERSION}, seed {seed}. Not X-rays.\n")


def phantom(rng: np.random.Generator, body: np.ndarray, subtype: str, wide: bool) -> np.ndarray:
    """One phantom radiograph, (192, 224) uint8: body, lungs, ribs, spine, heart, diaphragm, noise, and the finding.

    Args:
        rng: source of all chance.
        body: (8,) in [-1, 1], the patient's build.
        subtype: bacteria (one or two dense patches), virus (a fine haze on both sides), or none.
        wide: whether the frame is wider than the body, with black margins.
    """
    y, x = np.meshgrid(np.linspace(-1, 1, SHAPE[0]), np.linspace(-1, 1, SHAPE[1]), indexing="ij")
    zoom = rng.uniform(1.15, 1.45) if wide else rng.uniform(0.85, 1.05)
    tilt = rng.normal(0, 0.05)
    x, y = (
        zoom * (x * np.cos(tilt) - y * np.sin(tilt)) + rng.normal(0, 0.05),
        zoom * (x * np.sin(tilt) + y * np.cos(tilt)) + rng.normal(0, 0.05),
    )

    def soft(inside: np.ndarray, edge: float) -> np.ndarray:  # 1 inside, 0 outside, with a soft edge
        return 1 / (1 + np.exp(-np.clip(inside / edge, -30, 30)))

    def ellipse(cx: float, cy: float, rx: float, ry: float, edge: float = 0.06) -> np.ndarray:
        return soft(1 - ((x - cx) / rx) ** 2 - ((y - cy) / ry) ** 2, edge * 4)

    width, height = 0.40 + 0.03 * body[0], 0.72 + 0.05 * body[1]
    lungs = np.maximum(ellipse(-0.47, -0.05, width, height), ellipse(0.47, -0.05, width, height))
    lungs *= soft(0.58 + 0.05 * body[2] - y - 0.25 * (np.abs(x) - 0.45) ** 2, 0.04)  # the diaphragm cuts them off
    trunk = soft(1.06 - np.abs(x) ** 2.5 - np.clip(np.abs(y) - 0.75, 0, None), 0.03)
    ribs = sum(np.exp(-(((y - (k * 0.2 + 0.03 * body[3]) - 0.22 * x**2 + 0.1) / 0.026) ** 2)) for k in range(-4, 4))
    vessels = scipy.ndimage.gaussian_filter(rng.normal(size=SHAPE), 3) * 6 * np.exp(-(((np.abs(x) - 0.2) / 0.3) ** 2))
    picture = 0.60 - 0.40 * lungs + 0.09 * ribs * trunk + 0.05 * lungs * vessels
    picture += 0.22 * np.exp(-((x / 0.09) ** 2))  # spine
    picture += 0.25 * ellipse(0.16 + 0.03 * body[4], 0.25, 0.34 + 0.04 * body[5], 0.36)  # heart, on the image's right
    picture += lungs * _finding(rng, subtype, x, y)
    picture *= trunk
    picture = (picture - 0.5) * rng.uniform(0.75, 1.15) + 0.5 + rng.uniform(-0.08, 0.08)
    picture = np.clip(picture, 0, 1) * trunk
    picture = scipy.ndimage.gaussian_filter(picture, rng.uniform(0.4, 1.3)) + rng.normal(
        0, rng.uniform(0.01, 0.03), SHAPE
    )
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _finding(rng: np.random.Generator, subtype: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Opacity that is added inside the lungs; often faint, so that no model finds all of it."""
    clouds = scipy.ndimage.gaussian_filter(rng.normal(size=SHAPE), 7) * 14
    opacity = 0.03 * clouds  # every lung is a little uneven
    if subtype == "bacteria":
        for _ in range(rng.integers(1, 3)):
            cx, cy = rng.choice([-1, 1]) * rng.uniform(0.3, 0.65), rng.uniform(-0.4, 0.45)
            radius, strength = rng.uniform(0.18, 0.35), 0.06 + rng.gamma(2.0, 0.10)
            opacity = opacity + strength * np.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / radius**2)) * (1 + 0.4 * clouds)
    elif subtype == "virus":
        fine = scipy.ndimage.gaussian_filter(rng.normal(size=SHAPE), 2) * 5
        opacity = opacity + (0.04 + rng.gamma(2.0, 0.07)) * (1 + 0.6 * fine)
    return opacity
