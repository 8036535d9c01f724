"""What a network sees of an image: nothing of its exposure or its margins, and with `crop_chest` little of its framing."""

import numpy as np
import pytest

import pnlib
from pnlib import Classifier, InputError, TrainConfig
from pnlib.preprocessing import PREPROCESSINGS, crop, crop_chest, locate_chest, mean_chest


@pytest.fixture
def phantoms(tiny):
    """(12, 150, 150, 1) uint8."""
    return pnlib.load_images(tiny, tiny.rows("train").iloc[::4])[:12]


@pytest.fixture
def pictures(phantoms):
    """The phantoms without pixels that are dark enough to count as margin when halved."""
    return 60 + phantoms // 2


def normalized(images, preprocessing):
    return np.asarray(PREPROCESSINGS[preprocessing].normalize(np.asarray(images, np.float32) / 255))


def framed(images, border):
    """The same images, with black margins of `border` pixels around them: larger images, nothing scaled."""
    return np.pad(images, ((0, 0), (border, border), (border, border), (0, 0)))


@pytest.mark.parametrize("preprocessing", ["standardize", "local_contrast"])
def test_exposure_changes_nothing(pictures, preprocessing):
    before = normalized(pictures, preprocessing)
    assert np.abs(normalized(pictures + 40.0, preprocessing) - before).max() < 0.01
    fainter = normalized(pictures * 0.7 + 20, preprocessing)
    for one, other in zip(before, fainter, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.99 and np.std(other) > 0.8 * np.std(one)


def test_standardize_gives_mean_and_spread(pictures):
    for image in normalized(pictures, "standardize"):
        assert np.isclose(image.mean(), 0.5, atol=1e-3) and np.isclose(image.std(), 0.25, atol=1e-2)


@pytest.mark.parametrize("preprocessing", ["standardize", "local_contrast"])
def test_margins_change_nothing_inside(pictures, preprocessing):
    inside = slice(30, -30)
    before = normalized(pictures, preprocessing)
    after = normalized(framed(pictures, 30), preprocessing)
    moved = np.abs(after[:, inside, inside] - before)
    assert moved.max() < 0.15 and moved.mean() < 0.01
    assert preprocessing == "standardize" or (after[:, :30] == 0).all()


def test_local_contrast_is_what_it_says(pictures):
    """Against the Gaussian means computed in full, by SciPy."""
    import scipy.ndimage

    images = framed(pictures, 15)[:4, 10:-20, 15:-15] / 255.0
    images[:, :, 60:63] = 0.05  # a dark line inside is margin too

    def around(values):
        return scipy.ndimage.gaussian_filter(values, (0, 20, 20, 0), mode="constant", truncate=3)

    known = (images > 16 / 255).astype(float)
    centred = (images - around(images * known) / around(known)) * known
    expected = np.clip(centred / np.sqrt(around(centred**2) / around(known) + (12 / 255) ** 2), -2, 2)
    found = normalized(images * 255, "local_contrast")
    assert found.dtype == np.float32 and found.shape == images.shape
    assert np.abs(found - expected).max() < 0.1 and np.abs(found - expected).mean() < 0.02
    assert np.abs(expected).max() > 1


@pytest.mark.parametrize("preprocessing", PREPROCESSINGS)
def test_flat_images_stay_finite_and_a_figure_shows_gray_values(pictures, preprocessing):
    step = PREPROCESSINGS[preprocessing]
    flat = np.stack([np.full((150, 150, 1), value, np.uint8) for value in (0, 16, 17, 128, 255)])
    seen = np.asarray(step(flat))
    assert np.isfinite(seen).all()
    assert preprocessing != "local_contrast" or np.abs(seen).max() < 0.1
    shown = step.as_gray(step(pictures))
    assert (
        shown.shape == (len(pictures), 150, 150 * len(step.views), 1)
        and 0 <= shown.min() < 0.3
        and 0.7 < shown.max() <= 1
    )
    assert preprocessing == "none" or abs(np.median(shown) - 0.5) < 0.2


@pytest.mark.parametrize(
    "images, sentence",
    [
        (np.zeros((2, 150, 150, 1), np.float32), r"uint8, from 0 to 255; got \(2, 150, 150, 1\) float32"),
        (np.zeros((150, 150, 1), np.uint8), r"uint8, from 0 to 255; got \(150, 150, 1\) uint8"),
        (np.zeros((1, 100, 150, 1), np.uint8), "square images; got 100 x 150 pixels"),
    ],
)
def test_other_pixels_and_shapes_are_refused_not_guessed(images, sentence):
    """Each of these once gave an answer: of pixels divided twice, say."""
    with pytest.raises(InputError, match=sentence):
        PREPROCESSINGS["crop_chest"](images)


# --- the chest


def drawn(top, left, height, width, side=150):
    """A dark image with the mean chest of the training images in a given box, shares of the side."""
    import cv2

    template = mean_chest()
    gray = (template - template.min()) / np.ptp(template) * 200 + 20
    box = [round(v * side) for v in (top, left, height, width)]
    image = np.full((side, side), 60, np.uint8)
    image[box[0] : box[0] + box[2], box[1] : box[1] + box[3]] = cv2.resize(gray, (box[3], box[2]))
    return image[None, ..., None]


@pytest.mark.parametrize("box", [(0.1, 0.1, 0.75, 0.8), (0.2, 0.05, 0.65, 0.75), (0.05, 0.2, 0.85, 0.7)])
def test_a_chest_is_found_where_it_was_drawn(box):
    score, *found = locate_chest(drawn(*box))[0]
    assert np.allclose(found, box, atol=0.06), found
    assert score > 0.5


def test_the_crop_shows_the_box():
    image = np.zeros((1, 100, 100, 1), np.uint8)
    image[0, 20:60, 10:90] = 200
    inside = crop(image, np.array([[1.0, 0.2, 0.1, 0.4, 0.8]]), 50)
    assert inside.shape == (1, 50, 50, 1) and (inside[:, 1:-1, 1:-1] == 200).all()
    whole = crop(image, np.array([[1.0, 0.0, 0.0, 1.0, 1.0]]), 50)[0, ..., 0]
    assert (whole[11:29, 6:44] == 200).all() and (whole[:9] == 0).all() and (whole[31:] == 0).all()


def test_framing_barely_changes_the_crop(phantoms):
    zoom = {"RandomZoom": {"height_factor": (0.15, 0.15), "width_factor": (0.25, 0.25)}}
    zoomed = (pnlib.augment(zoom, phantoms) * 255).round().astype(np.uint8)

    def alike(a, b):
        return np.mean([np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)])

    assert alike(crop_chest(phantoms), crop_chest(zoomed)) > 0.65 > 0.5 > alike(phantoms, zoomed)


def test_exposure_barely_changes_the_crop(phantoms):
    darker = (phantoms * 0.6).round().astype(np.uint8)
    before, after = (crop_chest(x).astype(float) for x in (phantoms, darker))
    assert np.abs(before - after).mean() < 0.5 * np.abs(phantoms.astype(float) - darker).mean()


def test_images_without_a_chest_still_give_crops_inside_them():
    rng = np.random.default_rng(0)
    odd = np.stack([np.zeros((150, 150, 1)), np.full((150, 150, 1), 255), rng.integers(0, 256, (150, 150, 1))])
    boxes = locate_chest(odd.astype(np.uint8))
    assert np.isfinite(boxes).all()
    assert (boxes[:, 1:] >= 0).all() and (boxes[:, 1:3] + boxes[:, 3:] <= 1.001).all()
    assert crop_chest(odd.astype(np.uint8)).shape == odd.shape
    assert crop_chest(odd[:0].astype(np.uint8)).shape == (0, 150, 150, 1)


def test_a_classifier_crops_too(phantoms):
    """Batches: test_batches.py."""

    class Brightest:
        def predict(self, batches, verbose):
            return np.concatenate([self.predict_on_batch(x.numpy()) for x in batches])

        def predict_on_batch(self, x):
            return x.max((1, 2, 3))[:, None]

    before = phantoms.copy()
    seen = np.asarray(PREPROCESSINGS["crop_chest"](phantoms))
    assert np.allclose(seen, normalized(crop_chest(phantoms), "standardize"), atol=1e-5)
    assert np.abs(seen - normalized(phantoms, "standardize")).max() > 0.5
    classifier = Classifier(Brightest(), TrainConfig(preprocessing="crop_chest"))
    assert np.array_equal(classifier.seen(phantoms), seen)
    assert np.allclose(classifier.predict(phantoms), seen.max((1, 2, 3)), atol=1e-5)
    assert np.array_equal(phantoms, before), "the images that were given are left alone"


def test_two_views_are_those_of_local_contrast_and_of_the_cropped_chest(phantoms):
    both = PREPROCESSINGS["two_views"]
    seen = both(phantoms)
    assert seen.shape == (len(phantoms), 150, 150, 2) and seen.dtype == np.float32
    for i, name in enumerate(("local_contrast", "crop_chest")):
        assert np.array_equal(seen[..., [i]], PREPROCESSINGS[name](phantoms)), name
    maps = np.zeros((len(phantoms), 2, 150, 150), np.float32)
    maps[:, 1] = 1
    chest = PREPROCESSINGS["crop_chest"].uncrop(maps[:, 1:], phantoms)
    assert np.array_equal(both.uncrop(maps, phantoms), chest)
    assert np.array_equal(both.uncrop(np.ones_like(maps), phantoms), chest + 1)
