"""Augmentation: seeded, in range, and what the layers' names say."""

import cv2
import numpy as np
import pytest

import pnlib
from pnlib import InputError
from pnlib.augmentation import LAYERS, PRESETS, build_augmentation


@pytest.fixture(scope="module")
def images(tiny_folder):
    dataset = pnlib.find_dataset(str(tiny_folder))
    return np.stack([pnlib.decode(dataset.root / path) for path in dataset.table.path[:12]])


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "none"])
def test_a_preset_is_seeded_in_range_and_does_something(preset, images):
    first = pnlib.augment(preset, images, seed=1)
    assert first.dtype == np.float32 and first.shape == images.shape and first.min() >= 0 and first.max() <= 1
    assert np.array_equal(first, pnlib.augment(preset, images, seed=1))
    other = pnlib.augment(preset, images, seed=2)
    assert all(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    same = np.repeat(images[:1], 4, axis=0)
    drawn = pnlib.augment(preset, same, seed=1)
    assert all(not np.array_equal(drawn[0], d) for d in drawn[1:]), "images of one batch are changed differently"


def test_no_augmentation_leaves_the_pixels_alone(images):
    assert build_augmentation("none") is None and build_augmentation({}) is None
    assert np.array_equal(pnlib.augment("none", images), images / np.float32(255))


FIXED = {
    "rotation": {"RandomRotation": {"factor": (0.05, 0.05)}},
    "zoom": {"RandomZoom": {"height_factor": (-0.2, -0.2), "width_factor": (0.3, 0.3)}},
    "zoom of both sides": {"RandomZoom": {"height_factor": (0.2, 0.2)}},
    "translation": {"RandomTranslation": {"height_factor": (0.11, 0.11), "width_factor": (-0.07, -0.07)}},
    "brightness": {"RandomBrightness": {"factor": (0.2, 0.2)}},
    "sharpness": {"RandomSharpness": {"factor": (0.9, 0.9)}},
    "blur": {"RandomGaussianBlur": {"factor": (1.0, 1.0), "kernel_size": 7, "sigma": (0.8, 0.8)}},
}  # fmt: skip


@pytest.mark.parametrize("change", FIXED)
def test_a_layer_does_what_keras_layer_of_its_name_does(change, images):
    import keras

    ((name, arguments),) = FIXED[change].items()
    black = {"fill_mode": "constant"} if name in ("RandomRotation", "RandomZoom", "RandomTranslation") else {}
    scale = {} if black else {"value_range": (0.0, 1.0)}
    theirs = getattr(keras.layers, name)(**arguments, **black, **scale)(images / np.float32(255), training=True).numpy()
    most = 1e-3 if black == {} or int(cv2.__version__[0]) >= 5 else 0.02  # OpenCV 4 warps in steps of 1/32 pixel
    assert np.abs(pnlib.augment(FIXED[change], images) - theirs).max() < most


def test_contrast_scales_each_image_about_its_mean():
    """By 1 to 1.3 for a factor of 0.3: Keras' layer takes one number as (0, number), although its text says otherwise."""
    images = np.random.default_rng(0).uniform(0.4, 0.7, (20, 30, 30, 1)).astype(np.float32)
    changed = pnlib.augment({"RandomContrast": {"factor": 0.3}}, images)
    means, factors = images.mean((1, 2, 3)), changed.std((1, 2, 3)) / images.std((1, 2, 3))
    assert np.allclose(changed, (images - means[:, None, None, None]) * factors[:, None, None, None] + means[:, None, None, None], atol=1e-5)  # fmt: skip
    assert 0.999 < factors.min() < 1.1 and 1.2 < factors.max() < 1.301


def test_flip_mirrors_half_of_the_images(images):
    many = np.repeat(images[:1], 64, axis=0)
    plain = many / np.float32(255)
    flipped = pnlib.augment({"RandomFlip": {"mode": "horizontal"}}, many, seed=1)
    mirrored = np.isclose(flipped, plain[:, :, ::-1], atol=1e-4).all((1, 2, 3))
    assert 16 < mirrored.sum() < 48 and np.allclose(flipped[~mirrored], plain[~mirrored], atol=1e-4)


def test_draws_of_layers_and_steps_are_independent():
    """Shift in x and in y come from different draws, and each image's from others again."""
    dot = np.zeros((64, 151, 151, 1), np.float32)
    dot[:, 75, 75] = 1
    shift = {"RandomTranslation": {"height_factor": 0.3, "width_factor": 0.3}}
    moved = pnlib.augment(shift, dot, seed=1)[..., 0]
    places = np.stack([np.unravel_index(image.argmax(), image.shape) for image in moved])
    assert abs(np.corrcoef(places.T)[0, 1]) < 0.4 and len(set(map(tuple, places))) > 55


def test_what_moves_in_from_outside_is_black():
    white = np.full((1, 60, 60, 1), 255, np.uint8)
    for layer, arguments in (("RandomZoom", {"height_factor": (0.5, 0.5)}), ("RandomTranslation", {"height_factor": (0.3, 0.3), "width_factor": 0.0}),
                             ("RandomRotation", {"factor": (0.1, 0.1)}), ("RandomShear", {"x_factor": (0.5, 0.5)})):  # fmt: skip
        moved = pnlib.augment({layer: arguments}, white)[0, ..., 0]
        assert moved.max() > 0.99 and (moved < 0.01).mean() > 0.03, layer


def test_layers_of_ones_own_are_as_good_as_a_preset(images):
    assert np.array_equal(pnlib.augment(PRESETS["light"], images), pnlib.augment("light", images))
    pnlib.TrainConfig(augmentation={"RandomZoom": {"height_factor": [-0.3, 0.1]}})
    for wrong in ({"Lambda": {}}, {"RandomZoom": 0.1}, "widest", ["light"], {"RandomZoom": {"height_factor": float("nan")}}):  # fmt: skip
        with pytest.raises(InputError, match="Keras layers with their arguments"):
            pnlib.TrainConfig(augmentation=wrong)
    with pytest.raises(InputError, match="RandomZoom can't be made of"):
        build_augmentation({"RandomZoom": {"height_factor": "wide"}})
    with pytest.raises(InputError, match="it takes height_factor, width_factor, not interpolation"):
        build_augmentation({"RandomZoom": {"height_factor": 0.1, "interpolation": "nearest"}})
    with pytest.raises(InputError, match="fill_value is one gray value"):
        build_augmentation({"RandomErasing": {"fill_value": [0, 0, 0]}})
    for stddev in (-0.1, 1.5, "much", True):
        with pytest.raises(InputError, match="GaussianNoise can't be made of"):
            build_augmentation({"GaussianNoise": {"stddev": stddev}})
    with pytest.raises(InputError, match="There is no augmentation 'usual'; there are none, light, mild, strong"):
        pnlib.augment("usual", images)
    with pytest.raises(InputError, match="There is no augmentation layer 'Lambda'; there are RandomFlip"):
        pnlib.augment({"Lambda": {}}, images)


def test_images_of_another_shape_or_range_are_refused(images):
    for wrong in (images[0], images[..., 0], images.astype(np.float32), images.astype(np.int16), images / 255 - 0.5):
        with pytest.raises(InputError, match=r"Images to augment are \(n, height, width, 1\), uint8 or float from 0 to 1; got"):  # fmt: skip
            pnlib.augment("light", wrong)


def test_noise_is_normal_and_of_another_strength_on_each_image():
    gray = np.full((64, 40, 40, 1), 0.5, np.float32)
    noise = pnlib.augment({"GaussianNoise": {"stddev": 0.1}}, gray, seed=3) - gray
    strengths = noise.std(axis=(1, 2, 3))
    assert strengths.max() < 0.11 and abs(np.median(strengths) - 0.05) < 0.02 and strengths.min() < 0.02
    scaled = (noise - noise.mean(axis=(1, 2, 3), keepdims=True)) / strengths[:, None, None, None]
    assert abs((scaled**4).mean() - 3) < 0.1 and abs(scaled.mean(axis=0)).max() < 0.7, "normal, and independent"


ARGUMENTS = {
    "RandomFlip": {}, "RandomRotation": {"factor": 0.1}, "RandomZoom": {"height_factor": 0.3}, "RandomShear": {"x_factor": 0.3},
    "RandomTranslation": {"height_factor": 0.3, "width_factor": 0.3}, "RandomContrast": {"factor": 0.5}, "RandomBrightness": {"factor": 0.3},
    "RandomSharpness": {"factor": 1.0}, "RandomGaussianBlur": {"factor": 1.0, "sigma": 1.0}, "RandomErasing": {"factor": 1.0},
    "GaussianNoise": {"stddev": 0.1},
}  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_that_may_be_asked_for_works_on_gray_in_zero_to_one(layer, images):
    changed = pnlib.augment({layer: ARGUMENTS[layer]}, images, seed=1)
    plain = images.astype(np.float32) / 255
    assert changed.shape == images.shape and changed.dtype == np.float32 and not np.array_equal(changed, plain)
    assert 0 <= changed.min() and changed.max() <= 1
    new = ~np.isclose(changed, plain)
    assert len(np.unique(changed[new].round(3))) > 50, "grays, not black and white"


def test_each_view_is_changed_by_itself():
    images = np.random.default_rng(0).random((4, 150, 150, 2)).astype(np.float32)
    kept, moved = build_augmentation("none+mild")(images, (3, 5)).transpose(3, 0, 1, 2)
    assert np.array_equal(kept, images[..., 0]) and not np.array_equal(moved, images[..., 1])
    alone = build_augmentation("mild")(images[..., 1:], (3, 5, 1))
    assert np.array_equal(moved, alone[..., 0]), "as the preset changes one view, from draws of its own"
    both = build_augmentation("strong+strong")(np.repeat(images[..., :1], 2, axis=3), (3, 5))
    assert not np.allclose(both[..., 0], both[..., 1])
