"""augment, model, train, explain: the parts that need TensorFlow."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from trainings import PARAMETERS, arrays_of, build_small, trained, weights_of

from pnlib import augment, data, explain, feed, model, runs, train
from pnlib.errors import InputError

FOUNDING = [
    ("conv1", (150, 150, 32), 320), ("pool1", (75, 75, 32), 0), ("conv2", (75, 75, 64), 18_496), ("pool2", (38, 38, 64), 0),
    ("conv3", (38, 38, 128), 73_856), ("pool3", (19, 19, 128), 0), ("conv4", (19, 19, 128), 147_584), ("pool4", (10, 10, 128), 0),
    ("flatten", (12_800,), 0), ("dropout", (12_800,), 0), ("dense", (512,), 6_554_112), ("output", (1,), 513),
]  # fmt: skip


@pytest.fixture(autouse=True)
def float32():
    import keras

    yield
    keras.config.set_dtype_policy("float32")


def test_the_founding_network_layer_by_layer():
    network = model.build_cnn()
    assert [(x.name, tuple(x.output.shape[1:]), x.count_params()) for x in network.layers] == FOUNDING
    assert network.count_params() == model.PARAMETERS == 6_794_881
    assert not network.compiled
    for layer in network.layers:
        if layer.name.startswith("conv"):
            assert (layer.kernel_size, layer.strides, layer.padding, layer.activation.__name__) == (
                (3, 3),
                (1, 1),
                "same",
                "relu",
            )
        if layer.name.startswith("pool"):
            assert (layer.pool_size, layer.strides, layer.padding) == ((2, 2), (2, 2), "same")
    assert (
        network.get_layer("output").activation.__name__ == "sigmoid"
        and network.get_layer("dense").activation.__name__ == "relu"
    )


def test_output_is_a_float32_probability_under_mixed_precision():
    train.seed_everything(0, "mixed_bfloat16")
    network = model.build_cnn()
    assert network.get_layer("conv1").compute_dtype == "bfloat16"
    answer = network.predict(np.random.default_rng(0).random((3, 150, 150, 1), np.float32), verbose=0)
    assert answer.dtype == np.float32 and answer.shape == (3, 1) and ((answer > 0) & (answer < 1)).all()


def test_multiply_adds_and_receptive_field():
    table = model.summary(model.build_cnn()).set_index("layer")
    assert table.multiply_adds["conv2"] == 75 * 75 * 64 * 3 * 3 * 32
    assert table.multiply_adds["dense"] == 12_800 * 512
    assert table.share.sum() == pytest.approx(1) and table.share["dense"] == pytest.approx(0.9646, abs=1e-4)
    other = model.summary(model.build_compact()).set_index("layer")  # with layers of several inputs
    assert other.multiply_adds["stem"] == 75 * 75 * 24 * 5 * 5 and other.multiply_adds["block1_gated"] == 0
    assert other.multiply_adds["block1_gate"] == 6 * 48 and other.parameters.sum() == 559_407
    fields = model.receptive_fields(model.build_cnn()).set_index("layer")
    assert fields.receptive_field.to_dict() == {
        "conv1": 3,
        "pool1": 4,
        "conv2": 8,
        "pool2": 10,
        "conv3": 18,
        "pool3": 22,
        "conv4": 38,
        "pool4": 46,
    }


@pytest.fixture(scope="module")
def pictures(tiny_folder):
    found = data.find(str(tiny_folder))
    return np.stack([data.decode(found.root / path) for path in found.table.path[:12]])


@pytest.mark.parametrize("preset", [name for name in augment.PRESETS if name != "none"])
def test_augmentation_is_seeded_in_range_and_does_something(preset, pictures):
    first = augment.apply(preset, pictures, seed=1)
    assert first.dtype == np.float32 and first.shape == pictures.shape and first.min() >= 0 and first.max() <= 1
    assert np.array_equal(first, augment.apply(preset, pictures, seed=1))
    other = augment.apply(preset, pictures, seed=2)
    assert all(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    same = np.repeat(pictures[:1], 4, axis=0)
    drawn = augment.apply(preset, same, seed=1)
    assert all(not np.array_equal(drawn[0], d) for d in drawn[1:]), "images of one batch are changed differently"


def test_augmentation_keeps_float32_under_mixed_precision(pictures):
    import keras

    plain = augment.apply("wide", pictures, seed=1)
    keras.config.set_dtype_policy("mixed_bfloat16")
    mixed = augment.apply("wide", pictures, seed=1)
    assert mixed.dtype == np.float32 and np.array_equal(plain, mixed)


def test_draws_of_layers_and_steps_are_independent():
    """Shift in x and in y come from different draws, and the next step from others again."""
    dot = np.zeros((64, 151, 151, 1), np.float32)
    dot[:, 75, 75] = 1
    shift = {"RandomTranslation": {"height_factor": 0.3, "width_factor": 0.3, "interpolation": "nearest"}}
    places = np.stack([np.argwhere(image[..., 0])[0] for image in augment.apply(shift, dot, seed=1)])
    assert abs(np.corrcoef(places.T)[0, 1]) < 0.4 and len(set(map(tuple, places))) > 55


def test_presets_are_the_ones_that_a_run_may_ask_for():
    assert tuple(augment.PRESETS) == runs.AUGMENTATIONS


def test_layers_of_ones_own_are_as_good_as_a_preset(pictures):
    assert np.array_equal(augment.apply(augment.PRESETS["usual"], pictures), augment.apply("usual", pictures))
    runs.check(augmentation={"RandomZoom": {"height_factor": [-0.3, 0.1]}})
    for wrong in ({"Lambda": {}}, {"RandomZoom": 0.1}, "widest", ["usual"]):
        with pytest.raises(InputError, match="Keras layers with their arguments"):
            runs.check(augmentation=wrong)
    with pytest.raises(InputError, match="RandomZoom can't be made of"):
        augment.build({"RandomZoom": {"factor": 0.1}})
    for stddev in (-0.1, 1.5, "much", True):
        with pytest.raises(InputError, match="GaussianNoise can't be made of"):
            augment.build({"GaussianNoise": {"stddev": stddev}})


def test_noise_is_normal_and_of_another_strength_on_each_image():
    gray = np.full((64, 40, 40, 1), 0.5, np.float32)
    noise = augment.apply({"GaussianNoise": {"stddev": 0.1}}, gray, seed=3) - gray
    strengths = noise.std(axis=(1, 2, 3))
    assert strengths.max() < 0.11 and abs(np.median(strengths) - 0.05) < 0.02 and strengths.min() < 0.02
    scaled = (noise - noise.mean(axis=(1, 2, 3), keepdims=True)) / strengths[:, None, None, None]
    assert abs((scaled**4).mean() - 3) < 0.1 and abs(scaled.mean(axis=0)).max() < 0.7, "normal, another one each"


ARGUMENTS = {
    "RandomFlip": {}, "RandomRotation": {"factor": 0.1}, "RandomZoom": {"height_factor": 0.3}, "RandomShear": {"x_factor": 0.3},
    "RandomTranslation": {"height_factor": 0.3, "width_factor": 0.3}, "RandomContrast": {"factor": 0.5}, "RandomBrightness": {"factor": 0.3},
    "RandomSharpness": {"factor": 1.0}, "RandomGaussianBlur": {"factor": 1.0, "sigma": 1.0}, "RandomErasing": {"factor": 1.0},
    "GaussianNoise": {"stddev": 0.1},
}  # fmt: skip


@pytest.mark.parametrize("layer", runs.LAYERS)
def test_every_layer_that_may_be_asked_for_works_on_gray_in_zero_to_one(layer, pictures):
    changed = augment.apply({layer: ARGUMENTS[layer]}, pictures, seed=1)
    plain = pictures.astype(np.float32) / 255 if pictures.dtype == np.uint8 else pictures
    assert changed.shape == pictures.shape and changed.dtype == np.float32 and not np.array_equal(changed, plain)
    assert 0 <= changed.min() and changed.max() <= 1
    new = ~np.isclose(changed, plain)
    assert len(np.unique(changed[new].round(3))) > 50, "grays, not black and white"


def test_the_order_of_layers_makes_another_training(tiny_folder, workspace, capsys):
    layers = {"RandomContrast": {"factor": 0.5}, "RandomZoom": {"height_factor": 0.3}}
    other = dict(reversed(layers.items()))
    assert layers == other and runs.in_order({"augmentation": layers}) != runs.in_order({"augmentation": other})
    trained(tiny_folder, epochs=1, augmentation=layers)
    trained(tiny_folder, epochs=1, augmentation=layers)
    assert "is finished with these very parameters" in capsys.readouterr().out
    trained(tiny_folder, epochs=1, augmentation=other)
    assert "An earlier training stood here" in capsys.readouterr().out


def test_a_run_killed_while_finishing_keeps_its_epochs(tiny_folder, monkeypatch, capsys):
    real = runs.put_in_place

    def dies(partial, final):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "put_in_place", dies)
    with pytest.raises(KeyboardInterrupt):
        trained(tiny_folder, epochs=1)
    monkeypatch.setattr(runs, "put_in_place", real)
    capsys.readouterr()
    _, result = trained(tiny_folder, epochs=1)
    assert "Going on after epoch 1 of 1" in capsys.readouterr().out
    assert not (result.folder / "state.npz").exists() and len(result.history) == 1


def test_no_augmentation_leaves_pixels_alone(pictures):
    assert augment.build("none") is None
    assert np.array_equal(augment.apply("none", pictures), pictures / np.float32(255))


def test_grad_cam_finds_what_speaks_for_pneumonia():
    """A network whose answer is the brightness of the upper left must look there."""
    network = model.build_cnn()
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
    output.set_weights([np.eye(512, 1, dtype=np.float32), np.zeros(1, np.float32)])
    image = np.zeros((150, 150, 1), np.uint8)
    image[20:50, 20:50] = 200
    heat = explain.grad_cam(network, image)
    assert heat.shape == (150, 150) and heat.min() >= 0 and heat.max() == pytest.approx(1)
    assert heat[20:50, 20:50].mean() > 0.5 and heat[90:, 90:].max() < 0.1
    assert explain.grad_cam(network, image / np.float32(255)) == pytest.approx(heat, abs=1e-4)
    output.set_weights([1e4 * np.eye(512, 1, dtype=np.float32), np.zeros(1, np.float32)])
    assert explain.grad_cam(network, image) == pytest.approx(heat, abs=1e-4), "a confident answer is explained too"
    output.set_weights([-np.eye(512, 1, dtype=np.float32), np.zeros(1, np.float32)])
    assert explain.grad_cam(network, image).max() == 0, "nothing speaks for pneumonia"


def test_of_two_trainings_under_one_name_one_goes_on_and_the_other_says_so(tiny_folder, tmp_path):
    code = "import time; from pnlib import runs\nwith runs.only_one('one'):\n print('held', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        before = sorted(tmp_path.joinpath("runs", "one").iterdir())
        with pytest.raises(InputError, match="Another process is training under the name 'one'; wait until it is done"):
            trained(tiny_folder, epochs=1)
        assert sorted(tmp_path.joinpath("runs", "one").iterdir()) == before, "nothing was touched"
    finally:
        other.kill()
        other.wait()
    _, result = trained(tiny_folder, epochs=1)
    assert len(result.history) == 1, "a killed process holds nothing"


def test_a_run_leaves_what_the_next_needs(tiny_folder, capsys):
    network, result = trained(tiny_folder, "founding")
    printed = capsys.readouterr().out
    assert printed.count("epoch ") == 3 and "\r" not in printed, "one line an epoch, no carriage returns"
    assert sorted(f.name for f in result.folder.iterdir()) == sorted(
        [
            "best.weights.h5",
            "environment.json",
            "history.csv",
            "identity.json",
            "index.csv",
            "metrics.json",
            "parameters.json",
        ]
    )
    assert not (result.folder.parent / "train.partial").exists()
    assert runs.read_json(result.folder / "parameters.json")["epochs"] == 3
    assert runs.read_json(result.folder / "environment.json")["packages"]["keras"]
    assert len(result.history) == 3
    assert result.history.val_auroc[result.best_epoch - 1] == result.history.val_auroc.max()
    assert np.array_equal(arrays_of(network), weights_of("one", "founding")), "the model holds the best epoch"
    assert (result.folder / "best.weights.h5").stat().st_size < 28_000_000, "no optimizer inside"
    held_out = data.rows_of_run(data.find(str(tiny_folder)), result.folder, "validation")
    assert set(held_out.part) == {"validation"}


def test_the_same_again_loads_and_other_parameters_train_anew_and_keep_the_old_run(tiny_folder, capsys):
    _, result = trained(tiny_folder)
    _, again = trained(tiny_folder)
    assert "finished with these very parameters" in capsys.readouterr().out and again.best_epoch == result.best_epoch
    old = weights_of("one")
    trained(tiny_folder, epochs=1)
    assert "kept as" in capsys.readouterr().out
    assert (result.folder.parent / "train~1" / "best.weights.h5").is_file()
    assert not np.array_equal(old, weights_of("one"))


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_same_seed_same_bits_other_seed_other_bits(tiny_folder, workspace, precision):
    """The first training decodes the images, the second reads its cache."""
    for run in ("a", "b"):
        trained(tiny_folder, "founding", run=run, seed=1, epochs=1, precision=precision)
        assert list((workspace / "cache").iterdir())
    assert np.array_equal(weights_of("a", "founding"), weights_of("b", "founding"))
    for seed in (1, 2):
        trained(tiny_folder, run=f"{seed}", seed=seed, epochs=1, precision=precision)
    assert not np.array_equal(weights_of("1"), weights_of("2"))


def test_a_step_gives_the_same_bits_whatever_order_its_operations_end_in():
    """The founding network at its real batch, one step from one state many times: with TensorFlow's graph optimizer on,
    the four summands of the loss's gradient are added up in any order."""
    images = np.random.default_rng(0).random((32, 150, 150, 1), np.float32)
    labels, weights = np.arange(32)[:, None] % 2, np.ones((32, 1), np.float32)
    train.seed_everything(0)
    network = model.build_cnn(0.5)
    train.compile_model(network, 0.001, 400, weight_decay=0.05, averaging=0.99)
    network.optimizer.build(network.trainable_variables)
    variables = [*network.variables, *network.optimizer.variables]
    start = [variable.numpy() for variable in variables]
    ends = set()
    for _ in range(30):
        for variable, value in zip(variables, start, strict=True):
            variable.assign(value)
        network.train_on_batch(images, labels, sample_weight=weights)
        moments = [v.numpy().tobytes() for v in network.optimizer.variables]
        ends.add(hashlib.sha256(b"".join(moments)).hexdigest())
    assert len(ends) == 1


KILLED = [
    pytest.param("founding", 3, {}, id="founding"),
    pytest.param(
        *("small", 12, {"averaging": 0.8, "weight_decay": 0.05, "label_smoothing": 0.1, "keep": "last"}), id="averaged"
    ),
]


@pytest.mark.parametrize("network, epochs, options", KILLED)
def test_a_killed_run_goes_on_with_the_same_bits(network, epochs, options, tiny_folder, workspace, capsys):
    """SIGKILL in the middle of training; the same call again ends where an undisturbed one does."""
    trained(tiny_folder, network, run="undisturbed", epochs=epochs, **options)
    script = textwrap.dedent(f"""
        import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
        from trainings import trained
        trained({str(tiny_folder)!r}, {network!r}, run="killed", epochs={epochs}, **{options!r})
    """)
    partial = workspace / "runs" / "killed" / "train.partial"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (partial / "state.npz").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(json.loads(str(np.load(partial / "state.npz")["history"])))
    assert 1 <= done < epochs, "it was killed in the middle"
    capsys.readouterr()
    _, result = trained(tiny_folder, network, run="killed", epochs=epochs, **options)
    assert f"Going on after epoch {done} of {epochs}" in capsys.readouterr().out
    assert np.array_equal(weights_of("undisturbed", network), weights_of("killed", network))
    undisturbed = (workspace / "runs" / "undisturbed" / "train" / "history.csv").read_text().splitlines()
    columns = [line.rsplit(",", 1)[0] for line in undisturbed]  # the last column is the time an epoch took
    assert columns == [line.rsplit(",", 1)[0] for line in (result.folder / "history.csv").read_text().splitlines()]


def test_an_unfinished_run_with_other_parameters_is_kept_apart(tiny_folder, workspace, monkeypatch, capsys):
    real = runs.write_whole

    def dies(path, content):
        real(path, content)
        if path.name == "state.npz":
            raise KeyboardInterrupt

    monkeypatch.setattr(runs, "write_whole", dies)
    with pytest.raises(KeyboardInterrupt):
        trained(tiny_folder)
    monkeypatch.setattr(runs, "write_whole", real)
    trained(tiny_folder, epochs=1)
    assert "kept as runs/one/train.partial~1" in capsys.readouterr().out
    assert (workspace / "runs" / "one" / "train.partial~1" / "state.npz").is_file()
    assert len(runs.read_json(workspace / "runs" / "one" / "train" / "metrics.json")) > 5


def test_training_refuses_test_images_and_unusable_values(tiny_folder):
    found = data.find(str(tiny_folder))
    rows = data.split_by_patient(found.table, 0.25)
    with pytest.raises(InputError, match="train and validation; got test, train, validation"):
        train.fit(model.build_cnn(), data.load(found, rows), rows, PARAMETERS)
    with pytest.raises(InputError, match="epochs=0 is not possible; give a whole number from 1 to 1000"):
        trained(tiny_folder, epochs=0)
    with pytest.raises(InputError, match="learning_rate"):
        train.compile_model(model.build_cnn(), float("nan"), 10)


def test_a_run_folder_that_cannot_be_written_gives_one_sentence(tiny_folder, workspace):
    (workspace / "runs").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="Cannot write .*choose another folder"):
        trained(tiny_folder)


@pytest.mark.skipif(not shutil.which("mount") or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_gives_one_sentence_and_leaves_no_run(tiny_folder, workspace):
    (workspace / "runs").mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(workspace / "runs")], capture_output=True
    ).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with pytest.raises(InputError, match="Cannot write .*free some space"):
            trained(tiny_folder, "founding")
        assert not (workspace / "runs" / "one" / "train").exists()
        with pytest.raises(InputError, match="run 04_train with run='one' first"):
            runs.finished("one")
    finally:
        subprocess.run(["umount", "--lazy", str(workspace / "runs")], check=True)


def test_damaged_weights_are_named(tiny_folder):
    _, result = trained(tiny_folder, epochs=1)
    path = result.folder / "best.weights.h5"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="Cannot load .*best.weights.h5"):
        weights_of("one")


def test_damaged_weights_are_trained_anew(tiny_folder, capsys):
    """05 says to run 04 again, and 04 then does train."""
    _, result = trained(tiny_folder, epochs=1)
    good = weights_of("one")
    for damage in (
        lambda: (result.folder / "best.weights.h5").write_bytes(b"no weights"),
        (result.folder / "index.csv").unlink,
    ):
        damage()
        trained(tiny_folder, epochs=1)
        assert "the training is done again" in capsys.readouterr().out
    assert np.array_equal(weights_of("one"), good)


def test_overlap_needs_shares_that_differ(tiny_folder, monkeypatch):
    real = data.split_by_patient
    for share in (None, 1.0):
        with pytest.raises(InputError, match="give them in rows.share"):
            monkeypatch.setattr(
                data, "split_by_patient", lambda *a, s=share: real(*a).assign(**({"share": s} if s else {}))
            )
            trained(tiny_folder, epochs=1, balancing="overlap")


def test_a_used_model_is_not_filed_as_a_clean_run(tiny_folder):
    """Neither one whose first epoch was interrupted, nor one that holds a finished run's weights."""
    network, _ = trained(tiny_folder, epochs=1)
    found = data.find(str(tiny_folder))
    rows = data.split_by_patient(found.table, 0.25, 0)
    rows = rows[rows.part != "test"].reset_index(drop=True)
    images = data.load(found, rows)
    for used in (network, build_small()):
        train.compile_model(used, 0.001, 10)
        used.fit(images[:16] / np.float32(255), rows.label[:16], verbose=0)
        with pytest.raises(InputError, match="trained already; run again from the cell that builds it"):
            train.fit(used, images, rows, PARAMETERS | {"run": "other"})
    assert not (runs.run_dir("other") / "train").exists()


def test_an_old_evaluation_does_not_stand_beside_a_new_training(tiny_folder, workspace):
    trained(tiny_folder, epochs=1)
    runs.write_json(workspace / "runs" / "one" / "evaluate" / "metrics.json", {"of": "the old one"})
    trained(tiny_folder, epochs=2)
    assert not (workspace / "runs" / "one" / "evaluate").exists()
    assert runs.read_json(workspace / "runs" / "one" / "evaluate~1" / "metrics.json") == {"of": "the old one"}


@pytest.mark.parametrize("n, batch_size", [(40, 8), (41, 41), (51, 17), (40, 7), (2, 2)])
@pytest.mark.parametrize("balancing", ["none", "weights", "oversample"])
def test_steps_are_counted_as_they_are_drawn(n, batch_size, balancing):
    labels = np.arange(n) % 3 > 0
    if balancing == "oversample" and batch_size > n // 2 * 2:
        with pytest.raises(InputError, match="is more than the 41 training images"):
            feed.steps_per_epoch(n, batch_size, balancing)
        return
    orders = feed.epoch_orders(labels, 2, batch_size, balancing, seed=0)
    assert orders.shape == (2, feed.steps_per_epoch(n, batch_size, balancing), batch_size)


def test_the_average_is_validated_and_kept_and_the_last_epoch_where_asked(tiny_folder):
    """The average lags behind the weights of the last step, which train as they do without it."""
    options = {"epochs": 2, "keep": "last", "learning_rate": 0.01}
    _, moving = trained(tiny_folder, run="moving", **options)
    network, still = trained(tiny_folder, run="still", averaging=0.999, **options)
    assert moving.best_epoch == still.best_epoch == 2
    assert moving.history.loss.to_numpy() == pytest.approx(still.history.loss.to_numpy(), rel=1e-4), "same training"
    assert moving.history.val_loss.iloc[1] != pytest.approx(still.history.val_loss.iloc[1], rel=1e-3)
    assert not np.array_equal(weights_of("moving"), weights_of("still"))
    assert np.array_equal(arrays_of(network), weights_of("still"))


@pytest.mark.parametrize("keep, kept", [("last", 3), ("best", 1)])
def test_the_last_epoch_is_kept_where_asked_though_an_earlier_one_was_better(tmp_path, keep, kept):
    import keras

    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    train.compile_model(network, 0.01, 20)
    keeper = train._make_keeper(tmp_path, keep)
    keeper.set_model(network)
    assert keeper.restore(network) == 0
    for epoch, auroc in enumerate((0.9, 0.8, 0.7)):
        network.set_weights([np.full((2, 1), epoch + 1.0)])
        keeper.on_epoch_begin(epoch)
        keeper.on_epoch_end(epoch, {"loss": 1.0, train.MONITOR: auroc})
    network.load_weights(tmp_path / "best.weights.h5")
    assert network.get_weights()[0][0, 0] == kept


def test_a_short_training_averages_over_few_steps():
    import keras

    for steps, momentum in ((20, 0.5), (2085, 0.99)):
        network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        train.compile_model(network, 0.01, steps, averaging=0.99)
        assert network.optimizer.ema_momentum == pytest.approx(momentum)


def test_weight_decay_and_label_smoothing_do_something(tiny_folder):
    results = {}
    for name, options in {"no": {}, "decay": {"weight_decay": 0.5}, "smooth": {"label_smoothing": 0.3}}.items():
        trained(tiny_folder, run=name, epochs=1, **options)
        results[name] = weights_of(name)
    assert np.linalg.norm(results["decay"]) < np.linalg.norm(results["no"])
    assert not np.array_equal(results["smooth"], results["no"])


def test_the_compact_network_is_small_and_has_the_same_ends():
    network = model.build_compact()
    assert network.count_params() < 1_000_000
    assert network.input_shape == (None, 150, 150, 1) and network.output_shape == (None, 1)
    assert network.get_layer("output").activation.__name__ == "sigmoid" and not network.compiled
    assert tuple(model.NETWORKS) == runs.NETWORKS
