"""pnlib.train: what a run leaves, that it is the same to the bit, and what is refused."""

import os
import shutil
import subprocess
import sys
import zlib

import numpy as np
import pandas as pd
import pytest
from trainings import FINISHED, SETTINGS, arrays_of, build_small, finished_folder, trained, weights_of

import pnlib
from pnlib import InputError, callbacks, checkpoint
from pnlib.base import files
from pnlib.datasets import rows_of_run
from pnlib.networks import NETWORKS
from pnlib.training import compile_network, seed_everything


@pytest.fixture(scope="module")
def once(tiny_folder, tmp_path_factory):
    """The folder of one finished training, which several tests copy."""
    return finished_folder(tiny_folder, tmp_path_factory)


@pytest.fixture
def finished(once, workspace):
    """The folder of run `one`, finished with the default settings of `trained`."""
    return shutil.copytree(once, workspace / "runs" / "one" / "train")


def test_a_run_leaves_what_the_next_needs(tiny_folder, capsys):
    training = trained(tiny_folder, epochs=3)
    printed = capsys.readouterr().out
    assert printed.count("epoch ") == 3 and "\r" not in printed, "one line per epoch, no carriage returns"
    assert sorted(file.name for file in training.folder.iterdir()) == FINISHED
    assert not (training.folder.parent / "train.partial").exists()
    assert files.read_json(training.folder / "environment.json")["packages"]["keras"]

    provenance = files.read_json(training.folder / "provenance.json")
    assert pnlib.TrainConfig.from_json(provenance["config"]) == pnlib.TrainConfig(
        **SETTINGS | {"epochs": 3, "precision": "float32"}
    ), "what auto was here"
    best = int(training.history.val_auroc.argmax())
    assert len(training.history) == 3 and training.kept_epoch == provenance["epoch"] == best + 1
    for name in ("loss", "accuracy", "val_loss", "val_auroc"):
        assert provenance[name] == pytest.approx(training.history[name][best], rel=1e-5)

    with np.load(training.folder / "weights.npz", allow_pickle=False) as stored:
        assert len(stored.files) == len(training.classifier.network.weights), "no optimizer inside"
    assert np.array_equal(arrays_of(training.classifier.network), weights_of("one"))
    assert training.classifier.config.epochs == 3 and training.classifier.folder == training.folder
    index = pd.read_csv(training.folder / "index.csv")
    assert set(index.part) == {"train", "validation"} and "sampling_weight" in index
    held_out = rows_of_run(pnlib.find_dataset(str(tiny_folder)), training.folder, "validation")
    assert list(held_out.path) == list(index.path[index.part == "validation"])


def test_the_same_again_loads_and_other_settings_train_anew_and_keep_the_old_run(finished, tiny_folder, capsys):
    old, provenance = weights_of("one"), files.read_json(finished / "provenance.json")
    files.write_json(finished.parent / "evaluate" / "metrics.json", {"of": "the old one"})
    again = trained(tiny_folder)
    assert "Run 'one' was trained before with these very settings: its weights are loaded." in capsys.readouterr().out
    assert again.kept_epoch == provenance["epoch"] and len(again.history) == SETTINGS["epochs"]
    assert np.array_equal(arrays_of(again.classifier.network), old)

    trained(tiny_folder, epochs=1)
    assert "it is kept as runs/one/evaluate~1, runs/one/train~1." in capsys.readouterr().out
    assert (finished.parent / "train~1" / "weights.npz").is_file() and not np.array_equal(old, weights_of("one"))
    assert not (finished.parent / "evaluate").exists(), "an old evaluation doesn't stand beside a new training"
    assert files.read_json(finished.parent / "evaluate~1" / "metrics.json") == {"of": "the old one"}


def test_damaged_weights_are_named_and_trained_anew(finished, tiny_folder, capsys):
    """05 says to run 04 again, and 04 then does train."""
    good = weights_of("one")
    (finished / "weights.npz").write_bytes((finished / "weights.npz").read_bytes()[:500])
    with pytest.raises(InputError, match="Cannot read .*weights.npz: it is missing, damaged"):
        pnlib.load_run("one")
    for damage in (lambda: None, (finished / "index.csv").unlink):
        damage()
        trained(tiny_folder)
        assert "the training is done again" in capsys.readouterr().out
        assert np.array_equal(weights_of("one"), good)


def test_the_order_of_augmentation_layers_makes_another_training():
    layers = {"RandomContrast": {"factor": 0.5}, "RandomZoom": {"height_factor": 0.3}}
    rows, images = pd.DataFrame({"label": [0, 1], "part": ["train", "validation"]}), np.zeros((2, 2, 2, 1), np.uint8)
    network = build_small()
    found = []
    for chosen in (layers, dict(reversed(layers.items())), layers.copy()):
        config = pnlib.TrainConfig(augmentation=chosen, sampling="none")
        assert list(pnlib.TrainConfig.from_json(config.to_json()).augmentation) == list(chosen)
        compile_network(network, config, 10)
        found.append(checkpoint.fingerprint(network, rows, images, config))
    assert found[0] == found[2] != found[1]


def test_same_seed_same_bits_other_seed_other_bits(finished, tiny_folder, workspace):
    """The finished training decoded the images; these read the cache."""
    dataset = pnlib.find_dataset(str(tiny_folder))
    pnlib.load_images(dataset, dataset.rows("train"))
    assert list((workspace / "cache").iterdir())
    for run, seed in (("again", 0), ("other", 1)):
        trained(tiny_folder, run=run, seed=seed)
        assert np.array_equal(weights_of(run), weights_of("one")) == (seed == 0)


def test_a_step_gives_the_same_bits_whatever_order_its_operations_end_in():
    """The baseline with the published recipe, one step from one state many times: with TensorFlow's graph optimizer on,
    the four summands of the loss's gradient are added up in any order, in about one step of six."""
    import tensorflow as tf

    images = np.random.default_rng(0).random((8, 150, 150, 1), np.float32)
    labels, weights = np.arange(8)[:, None] % 2, np.ones((8, 1), np.float32)
    seed_everything(0)
    assert tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"]
    network = pnlib.build_network("baseline")
    compile_network(network, pnlib.TrainConfig(), 400)
    network.optimizer.build(network.trainable_variables)
    variables = [*network.variables, *network.optimizer.variables]
    start = [variable.numpy() for variable in variables]
    ends = set()
    for _ in range(16):
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        network.train_on_batch(images, labels, sample_weight=weights)
        ends.add(tuple(zlib.crc32(variable.numpy().ravel()) for variable in network.optimizer.variables))
    assert len(ends) == 1


def test_the_average_is_validated_and_kept(finished, tiny_folder):
    """It lags behind the weights of the last step, which train as they do without it."""
    history = pd.read_csv(finished / "history.csv")
    averaged = trained(tiny_folder, run="averaged", ema_momentum=0.999, keep="last")
    assert averaged.kept_epoch == len(history) == 2
    assert history.loss.to_numpy() == pytest.approx(averaged.history.loss.to_numpy(), rel=1e-4), "same training"
    assert history.val_loss.iloc[1] != pytest.approx(averaged.history.val_loss.iloc[1], rel=1e-3)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("keep, kept", [("last", 3), ("best", 1)])
def test_the_last_epoch_is_kept_where_asked_though_an_earlier_one_was_better(workspace, keep, kept, momentum):
    import keras

    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    config = pnlib.TrainConfig(epochs=3, keep=keep, ema_momentum=momentum, weight_decay=0.0)
    compile_network(network, config, 2000)
    network.optimizer.build(network.trainable_variables)
    history = []
    keeper = callbacks.saver(workspace, history, config)
    keeper.set_model(network)
    for epoch, auroc in enumerate((0.9, 0.8, 0.7)):
        network.set_weights([np.full((2, 1), epoch + 1.0)])
        for average in callbacks.averages(network).values():
            average.assign(np.full((2, 1), 10.0 * (epoch + 1)))
        keeper.on_epoch_begin(epoch)
        keeper.on_epoch_end(epoch, {"loss": 1.0, callbacks.MONITOR: auroc})
    with np.load(workspace / "weights.npz") as stored:
        assert (stored["w0"] == (10 * kept if momentum else kept)).all()
    assert files.read_json(workspace / "provenance.json")["epoch"] == kept and len(history) == 3


def test_a_short_training_averages_over_few_steps():
    network = compiled_dense()
    for steps, momentum in ((20, 0.5), (2085, 0.99)):
        compile_network(network, pnlib.TrainConfig(ema_momentum=0.99), steps)
        assert network.optimizer.ema_momentum == pytest.approx(momentum)


def compiled_dense(**settings):
    """A network of two weights and a bias, compiled for 100 steps."""
    import keras

    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, activation="sigmoid")])
    compile_network(network, pnlib.TrainConfig(**{"ema_momentum": 0.0, "weight_decay": 0.0} | settings), 100)
    return network


def test_the_learning_rate_rises_and_falls_to_zero():
    rate = compiled_dense(learning_rate=0.002).optimizer._learning_rate
    assert [float(rate(step)) for step in (0, 5, 100)] == pytest.approx([0.0002, 0.002, 0], abs=1e-9)
    assert 0.0009 < float(rate(52)) < 0.0011


def test_weight_decay_takes_its_share_of_each_weight():
    """Of an image of zeros the weights have no gradient: what changes them is the decay."""
    for decay in (0.0, 0.5):
        network = compiled_dense(weight_decay=decay, learning_rate=0.01)
        network.layers[0].set_weights([np.ones((2, 1)), np.zeros(1)])
        network.train_on_batch(np.zeros((4, 2)), np.ones((4, 1)))
        kernel, bias = network.get_weights()
        assert kernel == pytest.approx(1 - 0.001 * decay) and bias != 0, "the first step's rate is a tenth"


def test_label_smoothing_trains_for_less_than_certainty():
    for smoothing in (0.0, 0.1):
        network = compiled_dense(label_smoothing=smoothing)
        loss = float(network.loss(np.ones((1, 1)), np.full((1, 1), 0.9)))
        target = 1 - smoothing / 2
        assert loss == pytest.approx(-target * np.log(0.9) - (1 - target) * np.log(0.1), rel=1e-4)


def test_unusable_rows_and_settings_are_refused(tiny_folder, workspace):
    dataset = pnlib.find_dataset(str(tiny_folder))
    config = pnlib.TrainConfig(**SETTINGS)
    rows, images = pnlib.training_data(dataset, config)
    assert set(rows.split) == {"train"} and (rows.sampling_weight == 1).all()
    with pytest.raises(InputError, match="takes the parts train and validation; got test, train, validation"):
        pnlib.train(config, rows.assign(part=rows.part.where(rows.index > 0, "test")), images)
    with pytest.raises(InputError, match="takes the parts train and validation; got train"):
        pnlib.train(config, rows.assign(part="train"), images)
    with pytest.raises(InputError, match="batch_size=1000 is more than the 48 training images"):
        pnlib.train(pnlib.TrainConfig(**SETTINGS | {"batch_size": 1000}), rows, images)
    overlap = pnlib.TrainConfig(**SETTINGS | {"sampling": "overlap"})
    for without in (rows, rows.drop(columns="sampling_weight")):
        with pytest.raises(InputError, match="'overlap' needs rows.sampling_weight that differ; take those of"):
            pnlib.train(overlap, without, images)
    for name, value in (("epochs", 0), ("learning_rate", float("nan")), ("keep", "first")):
        with pytest.raises(InputError, match=f"Parameter {name}={value!r} is not possible; give "):
            pnlib.TrainConfig(**{name: value})
    with pytest.raises(InputError, match="Parameter run='../one' is not possible"):
        pnlib.train(config, rows, images, run="../one")
    assert not (workspace / "runs").exists(), "nothing was begun"


def test_a_loss_that_is_no_number_ends_the_training(tiny_folder, monkeypatch):
    def build_broken(dropout):
        network = build_small(dropout)
        network.layers[-1].bias.assign([np.nan])
        return network

    monkeypatch.setitem(NETWORKS, "small", build_broken)
    with pytest.raises(InputError, match="The loss became nan in epoch 1; lower learning_rate"):
        trained(tiny_folder)


def test_of_two_trainings_under_one_name_one_goes_on_and_the_other_says_so(tiny_folder, workspace):
    code = (
        "import sys, time, pathlib; from pnlib.base import files\n"
        "with files.locked(pathlib.Path(sys.argv[1]), 'training'):\n print('held', flush=True); time.sleep(60)"
    )
    folder = workspace / "runs" / "one"
    other = subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        before = sorted(folder.iterdir())
        with pytest.raises(InputError, match="Another process is training under the name 'one'; wait until it is done"):
            trained(tiny_folder, epochs=1)
        assert sorted(folder.iterdir()) == before, "nothing was touched"
    finally:
        other.kill()
        other.communicate()
    assert len(trained(tiny_folder, epochs=1).history) == 1, "a killed process holds nothing"


def test_a_run_folder_that_cannot_be_written_gives_one_sentence(tiny_folder, workspace):
    (workspace / "runs").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="Cannot write .*name other folders in PNLIB_RUNS"):
        trained(tiny_folder)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_gives_one_sentence_and_leaves_no_run(tiny_folder, workspace):
    (workspace / "runs").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20k", "tmpfs", str(workspace / "runs")]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(InputError, match="Cannot write .*free some space"):
            trained(tiny_folder)
        assert (workspace / "runs" / "one" / "train.partial").exists(), "it was full while it trained"
        assert not (workspace / "runs" / "one" / "train").exists()
        with pytest.raises(InputError, match="run 04_train with run='one' first"):
            pnlib.load_run("one")
    finally:
        subprocess.run(["umount", "--lazy", str(workspace / "runs")], check=True)
