"""A classifier: a network with its preprocessing, which nobody outside has to name."""

import io

import numpy as np
import pytest
from trainings import NEEDS, build_small, small_layers, trained

import pnlib
from pnlib import Classifier, InputError, TrainConfig
from pnlib.base import files
from pnlib.datasets import rows_of_run
from pnlib.networks import NETWORKS
from pnlib.preprocessing import PREPROCESSINGS, locate_chest


@pytest.fixture(autouse=True)
def float32():
    import keras

    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def images(tiny):
    return pnlib.load_images(tiny, tiny.rows("test"))


@pytest.fixture
def small():
    import keras

    keras.utils.set_random_seed(3)
    network = build_small()
    kernel, bias = network.layers[-1].get_weights()
    network.layers[-1].set_weights([np.abs(kernel), bias])  # whatever it finds speaks for pneumonia
    return Classifier(network, TrainConfig(network="small", preprocessing="standardize"))


RECIPES = [pytest.param({"preprocessing": name, "epochs": 1, "keep": "last", **NEEDS.get(name, {})}, id=name) for name in PREPROCESSINGS]  # fmt: skip
RECIPES.append(pytest.param({"preprocessing": "standardize", "ema_momentum": 0.9, "weight_decay": 0.05, "keep": "best"}, id="averaged"))  # fmt: skip
RECIPES.append(pytest.param({"precision": "mixed_bfloat16", "augmentation": "light", "epochs": 1}, id="mixed precision"))  # fmt: skip


@pytest.mark.parametrize("settings", RECIPES)
def test_a_loaded_run_predicts_as_its_training_validated(settings, tiny):
    """Nobody names the preprocessing: the AUROC of the history comes back, within Keras' 1,000 thresholds, to the digit
    that its loss and accuracy allow. In float32 whatever it trained in."""
    import keras

    training = trained(tiny.root, **settings)
    keras.config.set_dtype_policy("float32")
    rows = rows_of_run(tiny, training.folder, "validation")
    classifier = pnlib.load_run("one")
    predictions = classifier.predictions(rows, pnlib.load_images(tiny, rows))
    assert list(predictions) == ["path", "label", "patient", "subtype", "probability"]
    assert list(predictions.path) == list(rows.path) and predictions.probability.dtype == np.float64
    said = training.history.set_index("epoch").loc[training.kept_epoch]
    log_loss = -np.log(np.where(predictions.label == 1, predictions.probability, 1 - predictions.probability)).mean()
    mixed = classifier.config.precision != "float32"
    again = training.classifier.predictions(rows, pnlib.load_images(tiny, rows))  # in the training's own precision
    binned = keras.metrics.AUC(num_thresholds=1000)
    binned.update_state(again.label.to_numpy(), again.probability.to_numpy())
    assert float(binned.result()) == pytest.approx(said.val_auroc, abs=1e-4)
    assert log_loss == pytest.approx(said.val_loss, rel=0.02 if mixed else 1e-4)
    assert np.allclose(again.probability, predictions.probability, atol=0.02 if mixed else 0)


@pytest.mark.parametrize("name, text", [("compact", "Classifier('compact', 923,533 parameters, 'two_views')"), ("baseline", "Classifier('baseline', 6,794,881 parameters, 'local_contrast')")])  # fmt: skip
def test_a_reference_predicts_from_pixels(name, text, images):
    classifier = pnlib.load_reference(name)
    assert repr(classifier) == text and classifier.config.network == name
    probabilities = classifier.predict(images)
    assert probabilities.shape == (16,) and probabilities.dtype == np.float64
    assert ((probabilities >= 0) & (probabilities <= 1)).all() and len(set(probabilities)) > 10
    seen = np.asarray(PREPROCESSINGS[classifier.config.preprocessing](images))
    assert np.array_equal(classifier.seen(images), seen) and seen.dtype == np.float32
    assert probabilities == pytest.approx(classifier.network.predict(seen, verbose=0)[:, 0], abs=1e-5)
    assert np.allclose(classifier.predict(images[3:5]), probabilities[3:5], atol=1e-5), "an image alone says the same"


def test_an_unknown_or_missing_reference_is_named(monkeypatch, workspace):
    with pytest.raises(InputError, match="There is no reference model 'founding'; there are baseline, compact"):
        pnlib.load_reference("founding")
    monkeypatch.setattr("pnlib.base.paths.root", lambda: workspace)
    with pytest.raises(
        InputError, match="The reference model 'compact' is not in .*: a clone of the project or its wheel brings it"
    ):
        pnlib.load_reference("compact")
    with pytest.raises(InputError, match="Run 'none' holds no trained network in .*; run 04_train with run='none' first"):  # fmt: skip
        pnlib.load_run("none")


UNUSABLE = {
    "gray values from 0 to 1": (np.zeros((2, 150, 150, 1), np.float32), r"uint8, from 0 to 255; got \(2, 150, 150, 1\) float32"),
    "float64": (np.zeros((2, 150, 150, 1)), r"float64"),
    "another whole number": (np.zeros((2, 150, 150, 1), np.int64), r"int64"),
    "one image": (np.zeros((150, 150, 1), np.uint8), r"\(150, 150, 1\) uint8"),
    "without channel": (np.zeros((2, 150, 150), np.uint8), r"\(2, 150, 150\) uint8"),
    "colours": (np.zeros((2, 150, 150, 3), np.uint8), r"\(2, 150, 150, 3\) uint8"),
    "28 pixels": (np.zeros((2, 28, 28, 1), np.uint8), r"takes images of 150 x 150 pixels, these have 28 x 28; read them with pnlib.decode"),
    "64 pixels": (np.zeros((2, 64, 64, 1), np.uint8), r"these have 64 x 64"),
    "224 pixels": (np.zeros((2, 224, 224, 1), np.uint8), r"these have 224 x 224"),
    "no image": (np.zeros((0, 150, 150, 1), np.uint8), r"There are no images to predict; give at least one"),
    "not square": (np.zeros((2, 150, 200, 1), np.uint8), r"these have 150 x 200"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNUSABLE)
def test_images_that_no_training_saw_are_refused_with_one_sentence(kind, small):
    unusable, words = UNUSABLE[kind]
    for method in (small.predict, small.seen, small.grad_cam):
        with pytest.raises(InputError, match=words) as error:
            method(unusable)
        assert "\n" not in str(error.value)


def test_a_saved_classifier_is_the_same_again(small, images, workspace):
    folder = small.save(workspace / "saved", about={"note": "of a test"})
    assert sorted(file.name for file in folder.iterdir()) == ["provenance.json", "weights.npz"]
    loaded = Classifier.load(str(folder))
    assert loaded.config == small.config and loaded.folder == folder and repr(loaded) == repr(small)
    assert np.array_equal(loaded.predict(images), small.predict(images))
    assert files.read_json(folder / "provenance.json")["note"] == "of a test"

    half = [array.astype(np.float16) for array in small.network.get_weights()]
    loaded = Classifier.load(small.save(workspace / "saved", weights=half))
    assert all(array.dtype == np.float32 for array in loaded.network.get_weights())
    assert np.allclose(loaded.predict(images), small.predict(images), atol=0.01)
    assert not np.array_equal(loaded.predict(images), small.predict(images))


def test_damaged_files_of_a_classifier_are_named(small, workspace):
    folder = small.save(workspace / "saved")
    sound = {file.name: file.read_bytes() for file in folder.iterdir()}
    other = io.BytesIO()
    np.savez(other, w0=np.array([{"an": "object"}], dtype=object))
    for content in (b"", sound["weights.npz"][:-100], other.getvalue(), None):
        (folder / "weights.npz").unlink()
        if content is not None:
            (folder / "weights.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"Cannot read .*weights.npz: it is missing, damaged, or not what its provenance says"):  # fmt: skip
            Classifier.load(folder)
    (folder / "weights.npz").write_bytes(sound["weights.npz"])
    provenance = files.read_json(folder / "provenance.json")
    for wrong in ({}, [], provenance | {"config": {}}, provenance | {"config": provenance["config"] | {"epochs": -1}}):
        files.write_json(folder / "provenance.json", wrong)
        with pytest.raises(InputError, match="provenance.json is no classifier's provenance; restore it"):
            Classifier.load(folder)
    (folder / "provenance.json").unlink()
    with pytest.raises(InputError, match="Cannot read .*provenance.json"):
        Classifier.load(folder)
    files.write_json(folder / "provenance.json", provenance | {"config": TrainConfig().to_json()})
    with pytest.raises(InputError, match="Cannot read .*weights.npz"):
        Classifier.load(folder)  # the weights of another network


def test_grad_cam_finds_what_speaks_for_pneumonia():
    """A network whose output is the brightness of the upper left must look there."""
    network = pnlib.build_network("baseline")
    for layer in network.layers:
        if layer.name.startswith("conv"):
            kernel, bias = layer.get_weights()
            kernel[:] = 0
            kernel[1, 1, 0, 0] = 1
            layer.set_weights([kernel, bias * 0])
    dense, output = network.get_layer("dense"), network.get_layer("output")
    kernel = np.zeros_like(dense.get_weights()[0]).reshape(10, 10, 128, 512)
    kernel[:5, :5, 0, 0] = 1
    dense.set_weights([kernel.reshape(12_800, 512), dense.get_weights()[1] * 0])
    image = np.zeros((1, 150, 150, 1), np.uint8)
    image[0, 20:50, 20:50] = 200
    heat = {}
    for strength in (1, 1e4, -1):
        output.set_weights([strength * np.eye(512, 1, dtype=np.float32), np.zeros(1, np.float32)])
        (heat[strength],) = Classifier(network, TrainConfig(preprocessing="none")).grad_cam(image)
    found = heat[1]
    assert found.shape == (150, 150) and found.min() >= 0 and found.max() == pytest.approx(1)
    assert found[20:50, 20:50].mean() > 0.5 and found[90:, 90:].max() < 0.1
    assert heat[1e4] == pytest.approx(found, abs=1e-4), "a confident output is explained too"
    assert heat[-1].max() == 0, "nothing speaks for pneumonia"


def test_grad_cam_works_on_layers_of_unknown_names_and_in_mixed_precision(small, images):
    import keras

    heat = small.grad_cam(images[:3])
    assert heat.shape == (3, 150, 150) and heat.dtype == np.float32
    assert heat.min() >= 0 and heat.max(axis=(1, 2)) == pytest.approx(1)
    assert small.grad_cam(images[1:2]) == pytest.approx(heat[1:2], abs=1e-5), "each image by itself"
    keras.config.set_dtype_policy("mixed_bfloat16")
    mixed = Classifier(build_small(), small.config)
    mixed.network.set_weights(small.network.get_weights())
    assert mixed.network.layers[1].compute_dtype == "bfloat16"
    assert np.allclose(mixed.predict(images), small.predict(images), atol=0.02)
    again = mixed.grad_cam(images[:3])
    assert again.shape == heat.shape and np.abs(again - heat).mean() < 0.02


def build_flat(dropout):
    import keras

    layers = keras.layers
    return keras.Sequential([keras.Input((150, 150, 1)), layers.Flatten(), layers.Dense(1, activation="sigmoid")])


def build_with_activation_last(dropout):
    import keras

    return keras.Sequential(
        [
            keras.Input((150, 150, 1)),
            *small_layers(dropout)[:-1],
            keras.layers.Dense(1),
            keras.layers.Activation("sigmoid"),
        ]
    )


@pytest.mark.parametrize(
    "build, words",
    [
        (build_flat, "has no convolution, so there is nothing that Grad-CAM could weigh"),
        (build_with_activation_last, "Grad-CAM needs a dense one at the end"),
    ],
)
def test_grad_cam_refuses_what_it_cannot_explain(build, words, images, monkeypatch):
    monkeypatch.setitem(NETWORKS, "own", build)
    classifier = Classifier(pnlib.build_network("own"), TrainConfig(network="own"))
    assert classifier.predict(images).shape == (16,)
    with pytest.raises(InputError, match=words):
        classifier.grad_cam(images)


def test_grad_cam_looks_through_a_network_inside_the_network(small, images):
    """As features learnt elsewhere come: one layer, which is a network itself."""
    import keras

    layers = small_layers()
    trunk = keras.Sequential([keras.Input((150, 150, 1)), *layers[:4]], name="trunk")
    network = keras.Sequential([keras.Input((150, 150, 1)), trunk, *layers[4:]])
    network.set_weights(small.network.get_weights())
    nested = Classifier(network, small.config)
    assert np.allclose(nested.predict(images), small.predict(images))
    assert nested.grad_cam(images[:2]) == pytest.approx(small.grad_cam(images[:2]), abs=1e-5)


def test_heat_of_a_crop_lies_where_the_crop_was(tiny, monkeypatch):
    """Of a network that sees the chest alone; the heat map lies on the image as given."""
    config = TrainConfig(network="compact", preprocessing="crop_chest")
    classifier = Classifier(pnlib.build_network("compact"), config)
    images = pnlib.load_images(tiny, tiny.rows("test").iloc[:2])
    monkeypatch.setattr("pnlib.classifier._heat_maps", lambda *_: np.ones((1, 150, 150), np.float32))
    boxes = (locate_chest(images)[:, 1:] * 150).round().astype(int)
    for heat, (top, left, height, width) in zip(classifier.grad_cam(images), boxes, strict=True):
        inside = np.zeros((150, 150))
        inside[top : top + height, left : left + width] = 1
        assert np.abs(heat - inside).mean() < 0.03 and inside.mean() < 0.9


def test_the_output_is_decided_by_the_features(tiny):
    images = pnlib.load_images(tiny, tiny.rows("test").iloc[:3])
    for name, size in (("baseline", 512), ("compact", 288)):
        classifier = pnlib.load_reference(name)
        found = classifier.features(images)
        kernel, bias = classifier.network.layers[-1].get_weights()
        assert found.shape == (3, size) and found.dtype == np.float32
        assert 1 / (1 + np.exp(-(found @ kernel + bias)[:, 0])) == pytest.approx(classifier.predict(images), abs=1e-4)


def test_the_heat_of_two_views_is_that_of_each_where_it_lies():
    """compact with two views: with one view's weights taken out of the last layer, the other's heat is left alone."""
    dataset = pnlib.find_dataset("demo")
    images = pnlib.load_images(dataset, dataset.rows("test").iloc[:3])
    config = TrainConfig(network="compact", preprocessing="two_views", augmentation="strong+mild")
    classifier = Classifier(pnlib.build_network("compact", views=2), config)
    kernel, bias = classifier.network.layers[-1].get_weights()
    heats = []
    for left_out in (slice(144, None), slice(0, 144), slice(0, 0)):
        part = np.abs(kernel)
        part[left_out] = 0
        classifier.network.layers[-1].set_weights([part, bias])
        heats.append(classifier.grad_cam(images))
    whole, chest, both = heats
    boxes = (locate_chest(images)[:, 1:] * 150).round().astype(int)
    for heat, (top, left, height, width) in zip(chest, boxes, strict=True):
        outside = np.ones((150, 150), bool)
        outside[max(0, top - 2) : top + height + 2, max(0, left - 2) : left + width + 2] = False
        assert not heat[outside].any()
    assert (whole[:, :5].max(axis=(1, 2)) > 0).all(), "the other view has heat at the border"
    for heat in heats:
        assert heat.min() >= 0 and heat.max(axis=(1, 2)) == pytest.approx(1)
    mixed = np.linalg.lstsq(np.stack([whole[0].ravel(), chest[0].ravel()], 1), both[0].ravel(), rcond=None)
    assert mixed[0].min() > 0 and mixed[1] < 1e-6, "added, nothing else"
