"""What a network is shown of an image: nothing of its exposure, and nothing of how wide its margins are."""

import numpy as np
import pytest

from pnlib import data, feed, runs


@pytest.fixture
def pictures(tiny):
    """(12, 150, 150, 1) uint8, none of whose pixels is dark enough to count as margin when halved."""
    drawn = data.load(tiny, tiny.table[tiny.table.split == "train"].iloc[::4])[:12]
    return (60 + drawn // 2).astype(np.uint8)


def prepared(images, preparation):
    return np.asarray(feed.prepare(np.asarray(images, np.float32) / 255, preparation))


def framed(images, border):
    """The same images, with black margins of `border` pixels around them: larger images, nothing scaled."""
    return np.pad(images, ((0, 0), (border, border), (border, border), (0, 0)))


@pytest.mark.parametrize("preparation", ["standard", "local"])
def test_exposure_tells_nothing(pictures, preparation):
    before = prepared(pictures, preparation)
    assert np.abs(prepared(pictures + 40.0, preparation) - before).max() < 0.01
    fainter = prepared(pictures * 0.7 + 20, preparation)
    for one, other in zip(before, fainter, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.99 and np.std(other) > 0.8 * np.std(one)


def test_standard_gives_mean_and_spread(pictures):
    for image in prepared(pictures, "standard"):
        assert np.isclose(image.mean(), 0.5, atol=1e-3) and np.isclose(image.std(), 0.25, atol=1e-2)


@pytest.mark.parametrize("preparation", ["standard", "local"])
def test_margins_change_nothing_inside(pictures, preparation):
    inside = slice(30, -30)
    before = prepared(pictures, preparation)
    after = prepared(framed(pictures, 30), preparation)
    moved = np.abs(after[:, inside, inside] - before)
    assert moved.max() < 0.15 and moved.mean() < 0.01
    assert preparation == "standard" or (after[:, :30] == 0).all()


def test_local_contrast_is_what_it_says(pictures):
    """Against the Gaussian means computed in full, by SciPy."""
    import scipy.ndimage

    images = framed(pictures, 15)[:, 10:-20, 15:-15] / 255.0
    images[:, :, 60:63] = 0.05  # a dark line inside is margin, too

    def around(values):
        return scipy.ndimage.gaussian_filter(values, (0, 20, 20, 0), mode="constant", truncate=3)

    known = (images > 16 / 255).astype(float)
    centred = (images - around(images * known) / around(known)) * known
    expected = np.clip(centred / np.sqrt(around(centred**2) / around(known) + (12 / 255) ** 2), -2, 2)
    found = prepared(images * 255, "local")
    assert found.dtype == np.float32 and found.shape == images.shape
    assert np.abs(found - expected).max() < 0.1 and np.abs(found - expected).mean() < 0.02
    assert np.abs(expected).max() > 1


def test_images_without_anything_stay_finite():
    flat = np.stack([np.full((150, 150, 1), value, np.uint8) for value in (0, 16, 17, 128, 255)])
    for preparation in runs.PREPARATIONS:
        assert np.isfinite(prepared(feed.shown(flat, preparation), preparation)).all()
    assert np.abs(prepared(flat, "local")).max() < 0.1


@pytest.mark.parametrize("preparation", runs.PREPARATIONS)
def test_a_figure_shows_gray_values(pictures, preparation):
    seen = feed.visible(prepared(pictures, preparation), preparation)
    assert seen.shape == pictures.shape and 0 <= seen.min() < 0.3 and 0.7 < seen.max() <= 1
    assert preparation == "none" or abs(np.median(seen) - 0.5) < 0.2
