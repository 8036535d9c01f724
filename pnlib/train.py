"""Seed, compile, fit; go on where an interrupted run stopped, with the same bits.

While it trains, a run lives in `runs/NAME/train.partial/`. After each epoch everything that is needed to go on is
written to one file, `state.npz`, under a temporary name and renamed, so any interruption leaves a state to go on
from. When all is done the folder becomes `runs/NAME/train/`.
"""

import dataclasses
import hashlib
import inspect
import io
import json
import math
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from pnlib import chest, feed, runs
from pnlib.errors import InputError

MONITOR = "val_auroc"  # the best epoch is the one where this is largest
# Not the validation loss: oversampling trains for equally frequent classes and validation holds three pneumonias to one
# normal, so the loss there mixes how well images are ranked with that known shift. The AUROC ranks only.


def seed_everything(seed: int, precision: str = "float32") -> None:
    """Seed Python, NumPy and TensorFlow, ask for deterministic operations, and set the precision policy.

    TensorFlow's graph optimizer (Grappler) is switched off. In a graph that holds much memory its memory optimizer has
    the summands of an AddN added up in whatever order threads deliver them; the gradient of the cross-entropy of logits
    is such a sum, of four. `enable_op_determinism` knows nothing of it, no option switches it off alone, and on a CPU
    a training step takes as long without Grappler (benchmarks/step.py).

    Keras counts its layers from one again, so a network built anew has the same names and its training can go on.
    """
    import keras
    import tensorflow as tf

    runs.check(seed=seed, precision=precision)
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    keras.config.set_dtype_policy(precision)


def compile_model(
    model,
    learning_rate: float,
    total_steps: int,
    weight_decay: float = 0.0,
    averaging: float = 0.0,
    label_smoothing: float = 0.0,
) -> None:
    """Adam, its rate rising over the first 5 % of the steps and falling along a cosine to 0; binary cross-entropy.

    The schedule is SGDR's without restarts (Loshchilov and Hutter, arXiv 1608.03983).

    Args:
        weight_decay: share of each weight that a step takes off, times the rate, decoupled from the gradient (AdamW:
            Loshchilov and Hutter, arXiv 1711.05101); 0 for none.
        averaging: momentum of an exponential moving average of the weights, a step (Polyak and Juditsky, 1992); then it
            is the average that is validated and kept. Lowered in short trainings, so that the average spans about a
            twentieth of the steps at most and doesn't hang on the random start. 0 for none.
        label_smoothing: s trains for the targets s/2 and 1 - s/2 (Szegedy et al., arXiv 1512.00567); 0 for none.
    """
    import keras

    runs.check(
        learning_rate=learning_rate, weight_decay=weight_decay, averaging=averaging, label_smoothing=label_smoothing
    )
    warmup = max(1, total_steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=learning_rate / 10,
        warmup_target=learning_rate,
        warmup_steps=warmup,
        decay_steps=max(1, total_steps - warmup),
    )
    metrics = [keras.metrics.BinaryAccuracy(name="accuracy"), keras.metrics.AUC(num_thresholds=1000, name="auroc")]
    momentum = min(averaging, 1 - 1 / (1 + total_steps / 20))
    options = {"use_ema": True, "ema_momentum": momentum, "ema_overwrite_frequency": None} if averaging else {}
    if weight_decay:
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay, name="adamw", **options)
    else:
        optimizer = keras.optimizers.Adam(schedule, name="adam", **options)
    model.compile(optimizer, loss=keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing), metrics=metrics)


@dataclasses.dataclass
class Result:
    """A finished training: folder, `history` (one row an epoch), `best_epoch` (from 1; the epoch whose weights are
    kept: of largest validation AUROC, or the last)."""

    folder: Path
    history: pd.DataFrame
    best_epoch: int


def fit(model, images, rows, parameters: dict, augment=None) -> Result:
    """Train a compiled model, or go on with an interrupted training, or load a finished one.

    Args:
        model: compiled and untrained (or interrupted in this very training); when this returns, its weights are
            those of the epoch that is kept.
        images: (n, 150, 150, 1) uint8, in the order of `rows`.
        rows: index table of the training and validation images, with the column `part`, and with `share` where
            balancing is 'overlap' (`shift.shares`).
        parameters: epochs, batch_size, balancing, seed, run and whatever else the run is to be told apart by.
        augment: see `augment.build`.

    Raises:
        InputError: parameters out of range, test images among `rows`, no validation, a model that was trained
            otherwise, an unfinished training that was begun with other images, code or versions, a folder that can't be
            written, or another process that trains under this name.
    """
    runs.check(**parameters)
    if set(rows.part) != {"train", "validation"}:
        raise InputError(f"Training takes the parts train and validation; got {', '.join(sorted(set(rows.part)))}.")
    if parameters["balancing"] == "overlap" and ("share" not in rows or rows.share[rows.part == "train"].nunique() < 2):
        raise InputError("balancing='overlap' draws images by their shares; give them in rows.share (shift.shares).")
    with runs.only_one(parameters["run"]):
        return _fit(model, images, rows, parameters, augment)


def _fit(model, images, rows, parameters: dict, augment) -> Result:
    final = runs.run_dir(parameters["run"]) / "train"
    partial = final.with_name("train.partial")
    identity = _identity(model, rows, images, parameters, augment)
    if _same(final, identity):
        try:
            result = _load(model, final)
        except InputError as error:
            print(f"{error} It is set aside, and the training is done again.")
        else:
            print(
                f"Run {parameters['run']!r} is finished with these very parameters: its weights are loaded. "
                f"To train again, delete its folder {_shown(final)}."
            )
            (final / "state.npz").unlink(missing_ok=True)  # left where a run was killed at its very end
            return result
    if (partial / "state.npz").is_file():  # else no epoch was finished: there is nothing to lose
        _go_on_or_set_aside(partial, identity)
    runs.write_json(partial / "identity.json", identity)

    is_train = (rows.part == "train").to_numpy()
    labels = rows.label.to_numpy()
    steps = feed.steps_per_epoch(int(is_train.sum()), parameters["batch_size"], parameters["balancing"])
    keeper = _make_keeper(partial, parameters.get("keep", "best"))
    done = keeper.restore(model)
    if not done and (int(model.optimizer.iterations) or getattr(model, "loaded_run", None)):
        raise InputError(
            f"The model for run {parameters['run']!r} has been trained already; run again from the cell that builds it."
        )
    if done:
        print(f"Going on after epoch {done} of {parameters['epochs']}, where the run was interrupted.")
    if done < parameters["epochs"]:
        preparation = parameters.get("preparation", "none")
        stream = feed.training_stream(
            images[is_train],
            labels[is_train],
            augment=augment,
            first_epoch=done,
            preparation=preparation,
            shares=rows.share[is_train].to_numpy() if parameters["balancing"] == "overlap" else None,
            **{name: parameters[name] for name in ("epochs", "batch_size", "balancing", "seed")},
        )
        validation = feed.evaluation_stream(images[~is_train], labels[~is_train], preparation=preparation)
        model.fit(
            stream,
            validation_data=validation,
            initial_epoch=done,
            epochs=parameters["epochs"],
            steps_per_epoch=steps,
            callbacks=[_make_averager(), keeper, _make_progress(steps, parameters["epochs"])],
            verbose=0,
            shuffle=False,
        )
    keeper.finish(rows, parameters)
    kept = [runs.set_aside(final.with_name("evaluate")), runs.put_in_place(partial, final)]  # an old result is not ours
    (final / "state.npz").unlink(missing_ok=True)  # only now: killed before, the run would have lost all its epochs
    if any(kept):
        print(f"An earlier training stood here: it is kept as {', '.join(_shown(k) for k in kept if k)}.")
    return _load(model, final)


def load_best(model, run: str):
    """Load the best epoch's weights of a finished run into a model of the same shape; returns the model."""
    path = runs.finished(run) / "best.weights.h5"
    network = _uncompiled(model)  # the file holds no optimizer, and the model's own is not to be touched
    stated = path.with_name("metrics.json")
    metrics = runs.read_json(stated) if stated.is_file() else {}
    if not isinstance(metrics, dict):
        raise InputError(f"{stated} does not hold a training's metrics; run 04_train again.")
    try:
        sha256 = metrics.get("weights_sha256")
        if sha256 and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise ValueError("not what metrics.json says (SHA-256)")  # HDF5 itself would not notice a changed weight
        network.load_weights(path)
    except Exception as error:  # h5py and Keras raise many kinds
        raise InputError(
            f"Cannot load {path} into this model: it is damaged or of another network; run 04_train again."
        ) from error
    model.set_weights(network.get_weights())
    model.loaded_run = run
    return model


def _load(model, folder: Path) -> Result:
    load_best(model, folder.parent.name)
    try:
        history = pd.read_csv(folder / "history.csv")
        return Result(folder, history, int(runs.read_json(folder / "metrics.json")["epoch"]))
    except Exception as error:  # pandas raises many kinds
        raise InputError(f"Cannot read history.csv and metrics.json in {folder}; run 04_train again.") from error


def _variables(model) -> list:
    """All that changes while a model trains: weights, dropout's counters (which no weights file of Keras holds, so
    that its BackupAndRestore goes on with other draws), and the optimizer's variables."""
    return [*model.variables, *model.optimizer.variables]


def _write_state(path: Path, model, history: list[dict]) -> None:
    """Everything to go on from, in one file: there is no moment at which its parts don't fit together."""
    arrays = {f"v{i}": np.asarray(v.numpy()) for i, v in enumerate(_variables(model))}
    content = io.BytesIO()
    np.savez(content, history=np.array(json.dumps(history)), **arrays)
    runs.write_whole(path, content.getvalue())


def _read_state(path: Path, model) -> list[dict]:
    try:
        with np.load(path, allow_pickle=False) as state:
            for i, variable in enumerate(_variables(model)):
                variable.assign(state[f"v{i}"])
            return json.loads(str(state["history"]))
    except Exception as error:  # NumPy, zipfile and Keras raise many kinds
        raise InputError(
            f"Cannot go on from {path}: it is damaged; delete its folder to train from the start."
        ) from error


def _write_weights(path: Path, model) -> None:
    """The weights alone, in Keras's own format; first to the system's temporary folder, since HDF5 keeps a file that
    it could not finish open, then whole."""
    network = _uncompiled(model)
    network.set_weights(model.get_weights())
    for variable, average in zip(network.trainable_variables, _averages(model), strict=False):
        variable.assign(average)
    with runs.writing("to the temporary folder (TMPDIR)"), tempfile.TemporaryDirectory() as folder:
        room = Path(folder) / "room"  # where a disk is full, HDF5 may end the process: find out without it
        room.write_bytes(bytes(4 * network.count_params() + 2**20))
        room.unlink()
        network.save_weights(Path(folder) / path.name)
        runs.write_whole(path, (Path(folder) / path.name).read_bytes())


def _uncompiled(model):
    """A network of the same shape without optimizer (keras.models.clone_model would compile it too)."""
    return type(model).from_config(model.get_config())


def _shown(path: Path) -> str:
    """A path as a notebook may show it: relative to the folder of runs, so that no home folder is published."""
    return str(Path("runs") / path.relative_to(runs.runs_dir()))


def _identity(model, rows, images, parameters, augment) -> dict:
    """What makes a training the same: parameters, images, network, optimizer, this library's code, versions."""
    code = "".join(inspect.getsource(m) for m in (feed, chest, sys.modules[__name__]))
    code += chest.TEMPLATE.read_text(encoding="utf-8")
    if augment is not None:
        code += inspect.getsource(inspect.getmodule(augment))
    images_hash = hashlib.sha256(np.ascontiguousarray(images))
    columns = ["label", "part", *(["share"] if parameters["balancing"] == "overlap" else [])]
    images_hash.update(rows[columns].to_csv(index=False).encode())
    network = json.dumps([model.get_config(), model.optimizer.get_config()], sort_keys=True, default=str)
    versions = runs.environment(parameters.get("precision", "float32"))["packages"]
    return {
        "parameters": json.loads(json.dumps(runs.in_order({**parameters, "data": ""}))),
        "images": images_hash.hexdigest(),
        "code": hashlib.sha256(code.encode()).hexdigest(),
        "network": hashlib.sha256(network.encode()).hexdigest(),
        "versions": {name: versions[name] for name in ("tensorflow", "keras", "numpy", "opencv-python-headless")},
    }


def _same(folder: Path, identity: dict) -> bool:
    return _stored_identity(folder) == identity


def _stored_identity(folder: Path) -> dict:
    """What a training was begun with; empty where that is missing or damaged."""
    try:
        stored = runs.read_json(folder / "identity.json")
    except InputError:
        return {}
    return stored if isinstance(stored, dict) and stored.keys() >= {*DIFFERENCES, "parameters", "versions"} else {}


# What else than parameters and versions makes another training, and how a sentence names it.
DIFFERENCES = {"images": "the images", "code": "pnlib's code", "network": "the network"}


def _go_on_or_set_aside(partial: Path, identity: dict) -> None:
    """Nothing where the unfinished training is this very one. One with other parameters is set aside: another training
    was asked for.

    Raises:
        InputError: the same parameters, but what they were begun with has changed meanwhile, or can't be told. To go on
            would mix two trainings, and to begin anew would throw hours away unasked.
    """
    anew = f"begin anew with `pnlib run --name {partial.parent.name} --force`, or rename or delete that folder."
    stored = _stored_identity(partial)
    if not stored:
        raise InputError(
            f"Cannot tell what the unfinished training in {_shown(partial)} was begun with: its identity.json is "
            f"missing or damaged; {anew}"
        )
    old, new = stored["parameters"], identity["parameters"]
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if set(changed) - {"precision"}:
        kept = runs.set_aside(partial)
        print(f"An unfinished training with other parameters stood here: it is kept as {_shown(kept)}.")
        return
    pairs = {"precision": tuple(p.get("precision", "float32") for p in (old, new))} if changed else {}
    pairs |= {package: (stored["versions"].get(package), now) for package, now in identity["versions"].items()}
    differs = [f"{name} ({before}, now {now})" for name, (before, now) in pairs.items() if before != now]
    differs += [words for name, words in DIFFERENCES.items() if stored[name] != identity[name]]
    if differs:
        raise InputError(
            f"The unfinished training in {_shown(partial)} was begun with another state of {', '.join(differs)}; "
            f"restore that to go on, or {anew}"
        )


def _averages(model) -> list:
    """The moving averages of the trainable weights, in their order; empty where the training keeps none."""
    return getattr(model.optimizer, "_model_variables_moving_average", []) if model.optimizer.use_ema else []


def _make_averager():
    """The callback that validates the averaged weights in place of the last step's, and puts these back, to the bit.

    (keras.callbacks.SwapEMAWeights swaps by adding and subtracting, which rounds.)
    """
    import keras

    class Averager(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            averages = _averages(self.model)
            self.own = [variable.numpy() for variable in self.model.trainable_variables] if averages else []
            for variable, average in zip(self.model.trainable_variables, averages, strict=False):
                variable.assign(average)

        def on_test_end(self, logs=None):
            for variable, value in zip(self.model.trainable_variables, self.own, strict=False):
                variable.assign(value)

    return Averager()


def _make_keeper(folder: Path, keep: str):
    """The callback that writes a checkpoint after each epoch, and reads the last one back."""
    import keras

    class Keeper(keras.callbacks.Callback):
        def restore(self, model) -> int:
            self.history = []
            if (folder / "state.npz").is_file():
                model.optimizer.build(model.trainable_variables)
                self.history = _read_state(folder / "state.npz", model)
            return len(self.history)

        def on_epoch_begin(self, epoch, logs=None):
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}}
            row["seconds"] = time.perf_counter() - self.started
            if not math.isfinite(row["loss"]):
                raise InputError(f"The loss became {row['loss']} in epoch {epoch + 1}; lower learning_rate.")
            best = max((r[MONITOR] for r in self.history), default=-math.inf)
            self.history.append(row)
            if keep == "last" or row[MONITOR] > best:
                _write_weights(folder / "best.weights.h5", self.model)
            _write_state(folder / "state.npz", self.model, self.history)

        def finish(self, rows, parameters):
            """Write what a finished run holds beside its best weights; the state stays until the folder is in place."""
            history = pd.DataFrame(self.history)
            runs.write_whole(folder / "history.csv", history.to_csv(index=False, float_format="%.6g"))
            runs.write_whole(folder / "index.csv", rows.to_csv(index=False))
            runs.write_json(folder / "parameters.json", parameters)
            runs.write_json(folder / "environment.json", runs.environment(parameters.get("precision", "float32")))
            best = history.iloc[-1] if keep == "last" else history.loc[history[MONITOR].idxmax()]
            sha256 = hashlib.sha256((folder / "best.weights.h5").read_bytes()).hexdigest()
            metrics = {name: float(value) for name, value in best.items()}
            runs.write_json(folder / "metrics.json", metrics | {"weights_sha256": sha256})
            for leftover in folder.glob(".*"):  # of writes that were killed
                leftover.unlink()

    return Keeper()


def _make_progress(steps: int, epochs: int):
    """One printed line an epoch, with the time that is left: it reads the same in a terminal, in JupyterLab, in a saved
    notebook and in a papermill log. Below it, where somebody watches, a bar over the steps: see `_make_bar`."""
    import keras

    class Progress(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.show = _make_bar()

        def on_epoch_begin(self, epoch, logs=None):
            self.started = self.shown = time.perf_counter()

        def on_train_batch_end(self, batch, logs=None):
            if time.perf_counter() - self.shown > 1:
                self.shown = time.perf_counter()
                left = (self.shown - self.started) / (batch + 1) * (steps - batch - 1)
                bar = "#" * (30 * (batch + 1) // steps)
                self.show(f"[{bar:<30}] step {batch + 1}/{steps}, {left:.0f} s left in this epoch")

        def on_epoch_end(self, epoch, logs=None):
            seconds = time.perf_counter() - self.started
            left = seconds * (epochs - epoch - 1)
            self.show("")
            print(
                f"epoch {epoch + 1:>3}/{epochs}  loss {logs['loss']:.3f}  validation: loss {logs['val_loss']:.3f}  "
                f"AUROC {logs['val_auroc']:.3f}  {seconds:.0f} s" + (f", {left / 60:.0f} min left" if left else ""),
                flush=True,
            )

    return Progress()


def _make_bar():
    """A function that shows one line in place of the one before: in a notebook a display that is updated (papermill's
    log and the saved file don't grow by it), in a terminal the current line, elsewhere nothing."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    if shell is not None and hasattr(shell, "kernel"):
        from IPython.display import display

        handle = display({"text/plain": ""}, raw=True, display_id=True)
        return lambda line: handle.update({"text/plain": line}, raw=True)
    if sys.stderr.isatty():
        return lambda line: print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
    return lambda line: None
