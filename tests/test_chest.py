"""Finding the chest: the same part of the body, however an image was framed and exposed."""

import numpy as np
import pytest

from pnlib import augment, chest, data, evaluate, feed
from pnlib.errors import InputError


@pytest.fixture
def phantoms(tiny):
    return data.load(tiny, tiny.table[tiny.table.split == "train"].iloc[::4])[:12]


def drawn(top, left, height, width, side=150):
    """A dark image with the mean chest of the training images in a given box, shares of the side."""
    import cv2

    template = chest.stored()
    gray = (template - template.min()) / np.ptp(template) * 200 + 20
    box = [round(v * side) for v in (top, left, height, width)]
    image = np.full((side, side), 60, np.uint8)
    image[box[0] : box[0] + box[2], box[1] : box[1] + box[3]] = cv2.resize(gray, (box[3], box[2]))
    return image[None, ..., None]


@pytest.mark.parametrize("asked, threads", [("1", 1), ("3", 3)])
def test_a_cell_of_a_study_uses_no_more_threads_than_it_was_given(asked, threads, phantoms, monkeypatch):
    import threading

    used = []
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    both = threading.Barrier(threads, timeout=20)  # each thread waits for the others once

    def look(*_):
        if threading.get_ident() not in used:
            used.append(threading.get_ident())
            both.wait()
        return 0

    chest._parallel(look, phantoms)
    assert len(used) == threads
    monkeypatch.setattr(data, "decode", look)
    used.clear()
    data._decode_all([None] * 50, 8)
    assert len(used) == threads


@pytest.mark.parametrize("box", [(0.1, 0.1, 0.75, 0.8), (0.2, 0.05, 0.65, 0.75), (0.05, 0.2, 0.85, 0.7)])
def test_a_chest_is_found_where_it_was_drawn(box):
    score, *found = chest.find(drawn(*box))[0]
    assert np.allclose(found, box, atol=0.06), found
    assert score > 0.5


def test_the_crop_shows_the_box():
    image = np.zeros((1, 100, 100, 1), np.uint8)
    image[0, 20:60, 10:90] = 200
    whole = chest.crop(image, np.array([[1.0, 0.2, 0.1, 0.4, 0.8]]), 50)
    assert whole.shape == (1, 50, 50, 1) and (whole[:, 1:-1, 1:-1] == 200).all()
    wider = chest.crop(image, np.array([[1.0, 0.0, 0.0, 1.0, 1.0]]), 50)[0, ..., 0]
    assert (wider[11:29, 6:44] == 200).all() and (wider[:9] == 0).all() and (wider[31:] == 0).all()


def test_framing_hardly_changes_what_a_network_is_shown(phantoms):
    zoom = {"RandomZoom": {"height_factor": (0.15, 0.15), "width_factor": (0.25, 0.25)}}
    framed = (augment.apply(zoom, phantoms) * 255).round().astype(np.uint8)

    def alike(a, b):
        return np.mean([np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)])

    assert alike(chest.prepare(phantoms), chest.prepare(framed)) > 0.65 > 0.5 > alike(phantoms, framed)


def test_exposure_hardly_changes_what_a_network_is_shown(phantoms):
    darker = (phantoms * 0.6).round().astype(np.uint8)
    before, after = (chest.prepare(x).astype(float) for x in (phantoms, darker))
    assert np.abs(before - after).mean() < 0.5 * np.abs(phantoms.astype(float) - darker).mean()


def test_training_and_prediction_see_the_same_chest(phantoms):
    labels = np.arange(len(phantoms)) % 2
    expected = feed.prepare(feed.shown(phantoms, "chest").astype(np.float32) / 255, "chest").numpy()
    evaluated = np.concatenate([x.numpy() for x, _ in feed.evaluation_stream(phantoms, labels, preparation="chest")])
    settings = {"epochs": 1, "batch_size": 4, "augment": None, "balancing": "none", "seed": 0, "preparation": "chest"}
    trained = np.concatenate([x.numpy() for x, _, _ in feed.training_stream(phantoms, labels, **settings)])
    order = feed.epoch_orders(labels, 1, 4, "none", 0).ravel()
    assert np.allclose(evaluated, expected, atol=1e-5)
    assert np.allclose(trained, expected[order], atol=1e-5)
    assert not np.array_equal(expected, feed.prepare(phantoms.astype(np.float32) / 255, "standard").numpy())

    class Brightest:
        def predict(self, stream, verbose):
            return np.concatenate([x.numpy().max((1, 2, 3))[:, None] for x, _ in stream])

    answers = evaluate.predict(Brightest(), phantoms, preparation="chest")
    assert np.allclose(answers, expected.max((1, 2, 3)), atol=1e-5)


def test_what_is_shown_is_nobody_elses_to_change(phantoms):
    first = feed.shown(phantoms, "chest")
    first[:] = 0
    assert feed.shown(phantoms, "chest").any()
    assert np.array_equal(feed.shown(phantoms[:3], "chest"), chest.prepare(phantoms[:3]))


def test_an_image_without_a_chest_still_gives_a_crop_inside_it():
    rng = np.random.default_rng(0)
    odd = np.stack([np.zeros((150, 150, 1)), np.full((150, 150, 1), 255), rng.integers(0, 256, (150, 150, 1))])
    boxes = chest.find(odd.astype(np.uint8))
    assert np.isfinite(boxes).all()
    assert (boxes[:, 1:] >= 0).all() and (boxes[:, 1:3] + boxes[:, 3:] <= 1.001).all()
    assert chest.prepare(odd.astype(np.uint8)).shape == odd.shape
    assert chest.prepare(odd[:0].astype(np.uint8)).shape == (0, 150, 150, 1)


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 150, 150), np.uint8), np.zeros((1, 100, 150, 1), np.uint8), np.zeros((1, 150, 150, 1), np.float32)],
)
def test_images_of_another_shape_are_refused(images):
    with pytest.raises(InputError, match=r"Chests are found in square gray images.*got \("):
        chest.find(images)


def test_the_mean_chest_is_learnt_whatever_the_framing():
    """From mean chests drawn at many places and sizes the mean chest comes back."""
    rng = np.random.default_rng(0)
    boxes = [
        (rng.uniform(0.1, 0.2), rng.uniform(0.05, 0.15), rng.uniform(0.65, 0.75), rng.uniform(0.7, 0.8))
        for _ in range(24)
    ]
    images = np.concatenate([drawn(*box) for box in boxes])
    learnt = chest.learn(images, np.arange(24) % 2)
    inner = np.s_[8:-8, 8:-8]
    assert np.corrcoef(learnt[inner].ravel(), chest.stored()[inner].ravel())[0, 1] > 0.8
