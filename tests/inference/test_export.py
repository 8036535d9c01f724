"""Exported files give the probabilities of `Classifier.predict`, without pnlib around them."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from trainings import NEEDS

import pnlib
from pnlib import Classifier, InputError, TrainConfig, preprocessing
from pnlib.inference.chest import crop_chest
from pnlib.inference.export import export, with_preprocessing
from pnlib.runner.cli import main


@pytest.fixture(scope="module")
def images():
    dataset = pnlib.find_dataset("demo")
    return pnlib.load_images(dataset, dataset.rows("test"))[7::20]


def onnx(path, gray):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: gray})[0][:, 0]


def tflite(path, gray):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], gray.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], gray)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[:, 0]


def in_keras(path, gray):
    """In a process that never imports pnlib."""
    np.save(path.with_suffix(".npy"), gray)
    code = (
        "import sys, keras, numpy as np; model = keras.saving.load_model(sys.argv[1]); "
        "np.save(sys.argv[2], model.predict(np.load(sys.argv[2]), verbose=0)); assert 'pnlib' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(path), str(path.with_suffix(".npy"))], check=True, capture_output=True
    )
    return np.load(path.with_suffix(".npy"))[:, 0]


@pytest.mark.parametrize("model, bound", [("baseline", 1e-4), ("compact", 5e-4)])  # why: docs/predict.md
@pytest.mark.parametrize("kind, run", [(".onnx", onnx), (".tflite", tflite), (".keras", in_keras)])
def test_an_exported_file_gives_the_same_probabilities(kind, run, model, bound, images, tmp_path, capsys):
    target = tmp_path / f"network{kind}"
    assert main(["export", model, "--to", str(target)]) == 0
    said = capsys.readouterr().out
    assert "MB. In: (n, 150, 150, 1) float32" in said and "no medical device" in said and said.count("\n") == 2
    assert [file.name for file in tmp_path.iterdir()] == [target.name], "nothing else is left"
    expected = pnlib.load_reference(model).predict(images)
    off = np.abs(run(target, images.astype(np.float32)) - expected)
    assert off.max() < bound and np.median(off) < 1e-5
    assert np.ptp(expected) > 0.5


@pytest.mark.parametrize("name", preprocessing.PREPROCESSINGS)
def test_each_preprocessing_is_the_librarys(name, images):
    config = TrainConfig(**{"network": "compact", "preprocessing": name, **NEEDS.get(name, {})})
    classifier = Classifier(pnlib.build_network("compact", views=config.views), config)
    found = with_preprocessing(classifier).predict(images.astype(np.float32), verbose=0)[:, 0]
    assert np.abs(found - classifier.predict(images)).max() < 1e-4


@pytest.mark.parametrize("kind, run", [(".onnx", onnx), (".tflite", tflite), (".keras", in_keras)])
def test_a_network_with_two_views_can_be_exported(kind, run, images, tmp_path):
    config = TrainConfig(preprocessing="two_views", **NEEDS["two_views"])
    classifier = Classifier(pnlib.build_network("compact", views=2), config)
    found = run(export(classifier, tmp_path / f"network{kind}"), images.astype(np.float32))
    assert np.abs(found - classifier.predict(images)).max() < 1e-4


def test_the_exported_search_finds_the_librarys_chest(images):
    """The same box, or the same pixels wouldn't follow: all but those in which OpenCV's own rounding decides."""
    gray = keras.Input((150, 150, 1))
    score, chest = keras.Model(gray, crop_chest(gray)).predict(images.astype(np.float32), verbose=0)
    assert np.abs(score - preprocessing.locate_chest(images)[:, 0]).max() < 1e-5
    off = np.abs(chest - preprocessing.crop_chest(images))
    assert off.max() <= 1 and (off > 0).mean() < 1e-3


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match="Cannot export to x.h5: give a name ending in .onnx, .keras, .tflite"):
        export(pnlib.load_reference("baseline"), tmp_path / "x.h5")
    assert not list(tmp_path.iterdir())
