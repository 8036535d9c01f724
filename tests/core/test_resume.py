"""An interrupted training goes on to the same bits, or says by name why it can't."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trainings import SETTINGS, small_layers, trained, weights_of

import pnlib
from pnlib import InputError, augmentation, checkpoint, training
from pnlib.base import files, machine
from pnlib.networks import NETWORKS

EVERYTHING = {
    "epochs": 12, "ema_momentum": 0.8, "weight_decay": 0.05, "label_smoothing": 0.1, "keep": "last",
    "preprocessing": "standardize", "augmentation": "light",
}  # fmt: skip
INTERRUPTED = [
    pytest.param({"epochs": 3, "sampling": "class_weights"}, id="small"),
    pytest.param({"network": "compact", "preprocessing": "two_views", "augmentation": "strong+mild", "few": 6, "batch_size": 6}, id="two views"),
    pytest.param({"network": "baseline", "precision": "mixed_bfloat16", "weight_decay": 0.05, "ema_momentum": 0.99, "few": 6, "batch_size": 6}, id="baseline"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def float32():
    import keras

    yield
    keras.config.set_dtype_policy("float32")


def interrupted(folder, run="one", after=1, **settings):
    """Train until the state of an epoch is on the disk."""
    real = checkpoint.write_state

    def dies(place, network, history):
        real(place, network, history)
        if len(history) == after:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "write_state", dies)
        with pytest.raises(KeyboardInterrupt):
            trained(folder, run, **settings)


def history_of(run):
    """All columns but the seconds that an epoch took."""
    return pd.read_csv(Path(os.environ["PNLIB_RUNS"]) / run / "train" / "history.csv").drop(columns="seconds")


@pytest.mark.parametrize("settings", INTERRUPTED)
def test_an_interrupted_training_goes_on_with_the_same_bits(settings, tiny_folder, capsys):
    trained(tiny_folder, "undisturbed", **settings)
    interrupted(tiny_folder, **settings)
    capsys.readouterr()
    resumed = trained(tiny_folder, **settings)
    epochs = resumed.classifier.config.epochs
    assert f"Going on after epoch 1 of {epochs}, where the run was interrupted." in capsys.readouterr().out
    assert not (resumed.folder / "state.npz").exists() and not (resumed.folder.parent / "train.partial").exists()
    assert np.array_equal(weights_of("undisturbed"), weights_of("one"))
    pd.testing.assert_frame_equal(history_of("undisturbed"), history_of("one"), check_exact=True)


def test_a_killed_training_goes_on_with_the_same_bits_though_the_library_was_reworded(tiny_folder, workspace, capsys):
    """SIGKILL in the middle of a training by a copy of the library whose docstrings and comments read otherwise."""
    copy = workspace / "other" / "pnlib"
    shutil.copytree(Path(pnlib.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for file in copy.rglob("*.py"):
        reworded = re.sub(r'^(\s*""")(?=\w)', r"\1Reworded. ", file.read_text(), flags=re.MULTILINE)
        file.write_text("# another line\n" + reworded)
    script = textwrap.dedent(f"""
        import sys; sys.path[:0] = {[str(copy.parent), os.path.dirname(__file__)]!r}
        from trainings import trained
        import pnlib; assert pnlib.TrainConfig.__doc__.startswith("Reworded.")
        trained({str(tiny_folder)!r}, "killed", **{EVERYTHING!r})
    """)
    partial = workspace / "runs" / "killed" / "train.partial"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not (partial / "state.npz").is_file() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = len(json.loads(str(np.load(partial / "state.npz")["history"])))
    assert 1 <= done < 12, "it was killed in the middle"

    trained(tiny_folder, "undisturbed", **EVERYTHING)
    capsys.readouterr()
    trained(tiny_folder, "killed", **EVERYTHING)
    assert f"Going on after epoch {done} of 12" in capsys.readouterr().out
    assert np.array_equal(weights_of("undisturbed"), weights_of("killed"))
    pd.testing.assert_frame_equal(history_of("undisturbed"), history_of("killed"), check_exact=True)


def test_a_training_killed_while_finishing_keeps_its_epochs(tiny_folder, monkeypatch, capsys):
    def dies(partial, final):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "put_in_place", dies)
        with pytest.raises(KeyboardInterrupt):
            trained(tiny_folder, epochs=1)
    capsys.readouterr()
    result = trained(tiny_folder, epochs=1)
    printed = capsys.readouterr().out
    assert "Going on after epoch 1 of 1" in printed and "epoch   1/1" not in printed
    assert not (result.folder / "state.npz").exists() and len(result.history) == 1


@pytest.fixture(scope="module")
def begun(tiny_folder, tmp_path_factory):
    """The folder of an unfinished training with one of two epochs, the same images and settings for `train`."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("runs", "cache"):
            patch.setenv(f"PNLIB_{name.upper()}", str(tmp_path_factory.mktemp(name)))
        config = pnlib.TrainConfig(**SETTINGS | {"sampling": "overlap", "augmentation": "light"})
        rows, images = pnlib.training_data(pnlib.find_dataset(str(tiny_folder)), config)
        interrupted(tiny_folder, **config.to_json())
        return Path(os.environ["PNLIB_RUNS"]) / "one" / "train.partial", config, rows, images


@pytest.fixture
def unfinished(begun, workspace):
    """(partial folder of run `one`, config, rows, images), for this test alone."""
    partial, config, rows, images = begun
    copy = shutil.copytree(partial, workspace / "runs" / "one" / "train.partial")
    return copy, config, rows.copy(), images.copy()


def changed_setting(config, rows, images, patch):
    return pnlib.TrainConfig(**vars(config) | {"learning_rate": 0.02, "keep": "last"}), rows, images


def changed_network_setting(config, rows, images, patch):
    return pnlib.TrainConfig(**vars(config) | {"network": "baseline", "precision": "float32"}), rows, images


def changed_pixel(config, rows, images, patch):
    images[3, 70, 70] += 1
    return config, rows, images


def changed_split(config, rows, images, patch):
    places = [rows[(rows.part == part) & (rows.label == 1)].index[0] for part in ("train", "validation")]
    rows.loc[places, "part"] = ["validation", "train"]
    return config, rows, images


def changed_sampling_weight(config, rows, images, patch):
    rows.loc[rows[rows.part == "train"].index[0], "sampling_weight"] += 0.01
    return config, rows, images


def changed_preset(config, rows, images, patch):
    light = augmentation.PRESETS["light"]
    patch.setitem(augmentation.PRESETS, "light", light | {"RandomZoom": {"height_factor": 0.2}})
    return config, rows, images


def changed_layer(config, rows, images, patch):
    def build_other(dropout):
        import keras

        layers = small_layers(dropout)
        layers[3] = keras.layers.ReLU(0.1)
        return keras.Sequential([keras.Input((150, 150, 1)), *layers])

    patch.setitem(NETWORKS, "small", build_other)
    return config, rows, images


def changed_version(config, rows, images, patch):
    now = {**machine.versions(), "keras": "3.99"}
    patch.setattr(checkpoint, "versions", lambda: now)
    return config, rows, images


def changed_format(config, rows, images, patch):
    patch.setattr(checkpoint, "FORMAT", 99)
    return config, rows, images


CHANGES = {
    changed_setting: r"learning_rate \(0.01, now 0.02\), keep \(best, now last\);",
    changed_network_setting: r"network \(small, now baseline\);",
    changed_pixel: r"the images;",
    changed_split: r"the split or sampling weights;",
    changed_sampling_weight: r"the split or sampling weights;",
    changed_preset: r"the layers of the augmentation;",
    changed_layer: r"the network or optimizer;",
    changed_version: r"keras \(3\.[\d.]+, now 3\.99\);",
    changed_format: r"the format;",
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_training_was_not_begun_with_is_refused_by_name(change, unfinished, monkeypatch):
    partial, *arguments = unfinished
    before = {file.name: file.read_bytes() for file in partial.iterdir()}
    arguments = change(*arguments, monkeypatch)
    words = r"The unfinished training in runs/one/train.partial was begun with another state of " + CHANGES[change]
    with pytest.raises(InputError, match=words + r" restore that to resume it, or begin anew: with `pnlib run"):
        pnlib.train(*arguments, run="one")
    assert {file.name: file.read_bytes() for file in partial.iterdir()} == before, "nothing was touched"


def test_another_processor_or_other_kernels_resume_say_so_and_are_recorded(unfinished, monkeypatch, capsys):
    partial, *arguments = unfinished
    old = files.read_json(partial / "environment.json")
    monkeypatch.setattr(machine, "processor", lambda: "another processor")
    finished = pnlib.train(*arguments, run="one")
    printed = capsys.readouterr().out
    assert "begun on another processor, or with other oneDNN kernels" in printed and "bits may differ" in printed
    assert "Going on after epoch 1 of 2" in printed
    recorded = files.read_json(finished.folder / "environment.json")
    assert recorded["processor"] == "another processor" and recorded["begun on"] == old


def test_other_onednn_kernels_are_said_and_recorded_and_the_next_resume_is_silent(unfinished, monkeypatch, capsys):
    partial, *_ = unfinished
    wanted = files.read_json(partial / "fingerprint.json")
    old = files.read_json(partial / "environment.json")
    checkpoint.begin(partial, wanted)
    assert not capsys.readouterr().out and files.read_json(partial / "environment.json") == old
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0" if old["onednn"] != "0" else "1")
    checkpoint.begin(partial, wanted)
    assert "other oneDNN kernels" in capsys.readouterr().out
    assert files.read_json(partial / "environment.json")["begun on"] == old
    checkpoint.begin(partial, wanted)
    assert not capsys.readouterr().out and files.read_json(partial / "environment.json")["begun on"] == old


def test_a_damaged_fingerprint_or_state_is_named(unfinished):
    partial, *arguments = unfinished
    wanted = files.read_json(partial / "fingerprint.json")
    words = r"Cannot tell .*train.partial was begun with: its fingerprint.json is missing or damaged; restore that file, or begin anew"
    for damage in (b"no json", b"[]", b"{}", b'{"settings": {}, "versions": 3}', None):
        (partial / "fingerprint.json").unlink()
        if damage is not None:
            (partial / "fingerprint.json").write_bytes(damage)
        with pytest.raises(InputError, match=words):
            checkpoint.begin(partial, wanted)
    files.write_json(partial / "fingerprint.json", wanted)
    (partial / "state.npz").write_bytes((partial / "state.npz").read_bytes()[:500])
    with pytest.raises(InputError, match=r"Cannot resume from .*state.npz: it is damaged; delete its folder"):
        pnlib.train(*arguments, run="one")


def test_a_training_without_a_finished_epoch_is_begun_anew_with_whatever_settings(unfinished, capsys):
    partial, config, rows, images = unfinished
    (partial / "state.npz").unlink()
    other = pnlib.TrainConfig(**vars(config) | {"epochs": 1})
    finished = training.train(other, rows, images, run="one")
    assert "Going on" not in capsys.readouterr().out and len(finished.history) == 1


def test_layers_of_one_name_are_refused_before_they_share_a_state():
    import keras

    class Two(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = [keras.layers.Dense(2, name="same"), keras.layers.Dense(2, name="same")]

        def build(self, shape):
            for layer in self.inner:
                layer.build(shape)

        def call(self, x):
            return self.inner[0](x) + self.inner[1](x)

    network = keras.Sequential([keras.Input((2,)), Two(), keras.layers.Dense(1)])
    training.compile_network(network, pnlib.TrainConfig(), 10)
    with pytest.raises(InputError, match="Two layers of the network .* have one name; give each its own"):
        checkpoint.named_variables(network)
