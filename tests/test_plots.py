"""Each figure draws what it is given; colours differ in lightness, for grey print."""

import io

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from pnlib import evaluate, model, plots

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (5, 150, 150, 1)).astype(np.uint8)
LABELS = np.array([0, 1, 0, 1, 1])
ROWS = pd.DataFrame({"split": ["train"] * 3 + ["test"] * 2, "label": LABELS, "patient": list("aabcd")})
PROBABILITIES = np.array([0.2, 0.9, 0.6, 0.4, 0.7])


def pixels(figure: Figure) -> np.ndarray:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    content.seek(0)
    return matplotlib.image.imread(content)[..., :3] * 255


def results():
    return evaluate.bootstrap(LABELS, PROBABILITIES, np.arange(5), resamples=100)


@pytest.mark.parametrize(
    "draw",
    [
        lambda note: plots.image_grid(IMAGES, list("abcde"), note, columns=3),
        lambda note: plots.class_counts(ROWS, note),
        lambda note: plots.images_per_patient(ROWS, note),
        lambda note: plots.distributions(
            pd.DataFrame({"x": RNG.random(5), "y": RNG.random(5), "label": LABELS}), ["x", "y"], note
        ),
        lambda note: plots.mean_images(IMAGES, LABELS, note),
        lambda note: plots.feature_maps({"conv1": RNG.random((9, 9, 8)), "conv2": RNG.random((4, 4, 8))}, note=note),
        lambda note: plots.learning_curves(
            pd.DataFrame(
                {"epoch": [1, 2], "loss": [1, 0.5], "auroc": [0.6, 0.7], "val_loss": [1, 0.6], "val_auroc": [0.5, 0.8]}
            ),
            2,
            note,
        ),
        lambda note: plots.confusion(np.array([[3, 1], [2, 9]]), note),
        lambda note: plots.roc_and_pr(LABELS, PROBABILITIES, {"half": 0.5}, note),
        lambda note: plots.probability_histogram(LABELS, PROBABILITIES, 0.5, note),
        lambda note: plots.heat_maps(IMAGES[:2], RNG.random((2, 150, 150)), ["a", "b"], note),
        lambda note: plots.intervals(results(), {"accuracy": 0.92}, note),
    ],
)
def test_each_figure_has_marks_and_attribution(draw):
    figure = draw("where the images come from")
    assert isinstance(figure, Figure)
    assert figure.get_supxlabel() == "where the images come from"
    for axis in figure.axes[:2]:
        assert axis.has_data(), "an empty figure shows nothing"
    assert pixels(figure).std() > 5


def test_classes_differ_in_grey_print():
    def gray(color):
        return np.dot(to_rgb(color), (0.299, 0.587, 0.114))

    assert abs(gray(plots.NORMAL) - gray(plots.PNEUMONIA)) > 0.2


def test_figures_show_the_numbers():
    words = [t.get_text() for a in plots.confusion(np.array([[3, 1], [2, 8]])).axes for t in a.texts]
    assert words == ["3\n75%", "1\n25%", "2\n20%", "8\n80%"]
    bars = [t.get_text() for t in plots.class_counts(ROWS).axes[0].texts]
    assert bars == ["2", "0", "1", "2"], "normal in train and test, then pneumonia"
    grid = plots.image_grid(IMAGES, list("abcde"), columns=3)
    assert [a.get_title() for a in grid.axes] == list("abcde") + [""]
    assert np.array_equal(grid.axes[1].images[0].get_array(), IMAGES[1].squeeze())


def test_feature_maps_of_the_network():
    maps = model.feature_maps(model.build_cnn(), IMAGES[0] / np.float32(255))
    assert {name: m.shape for name, m in maps.items()} == {
        "conv1": (150, 150, 32), "conv2": (75, 75, 64), "conv3": (38, 38, 128), "conv4": (19, 19, 128)
    }  # fmt: skip
