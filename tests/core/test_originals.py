"""Full-size originals and their copies of 224 x 224 pixels: what the network reads, and what it says. Needs both: the folder
`originals` beside the dataset that PNLIB_DATA names. The values of docs/results.md are compared with those measured here."""

import os
import re

import numpy as np
import pytest

import pnlib
from pnlib.base import paths

REAL_DATA = os.environ.get("PNLIB_DATA", "")
ORIGINALS = paths.resolve(REAL_DATA).parent / "originals"

pytestmark = pytest.mark.skipif(
    REAL_DATA in ("", "demo") or not ORIGINALS.is_dir(), reason="no folder of originals beside PNLIB_DATA"
)


@pytest.fixture(scope="module")
def pairs():
    """The same images decoded from the originals and from the resized copy, (n, 150, 150, 1) uint8 each."""
    resized = {file.name: file for file in paths.resolve(REAL_DATA).rglob("*.jp*g")}
    files = sorted(ORIGINALS.rglob("*.jp*g"))
    both = [[pnlib.decode(file), pnlib.decode(resized[file.name])] for file in files]
    return np.stack(both, axis=1)


def test_originals_and_their_copies_decode_to_nearly_the_same_pixels(pairs):
    full, resized = pairs.astype(float)
    assert np.abs(full - resized).mean() < 2  # of 255 gray levels
    assert min(np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(full, resized, strict=True)) > 0.997


@pytest.mark.parametrize("name", ["baseline", "compact"])
def test_originals_and_their_copies_get_nearly_the_same_answer(pairs, name):
    full, resized = (pnlib.load_reference(name).predict(images) for images in pairs)
    difference = np.abs(full - resized).max()
    assert ((full >= 0.5) == (resized >= 0.5)).all()
    text = (paths.root() / "docs" / "results.md").read_text(encoding="utf-8")
    (stated,) = re.findall(rf"`{name}`: at most (0\.\d+)", text)
    assert difference == pytest.approx(float(stated), abs=0.005)
