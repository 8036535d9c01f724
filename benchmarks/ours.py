"""The library's side of the benchmarks: one measurement per process, printed as JSON. `bench.py` calls it.

python benchmarks/ours.py step --precision float32
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

import pnlib

FLOP = 3 * 0.5522 - 0.0130  # of a training step, GFLOP an image: forward, two products backward, none to the pixels
STEPS = 12


def matrix_product(args: argparse.Namespace) -> dict:
    """GFLOP/s of the largest of several matrix products: what the processor can do."""
    import tensorflow as tf

    kind = tf.bfloat16 if args.precision == "mixed_bfloat16" else tf.float32
    best = 0.0
    for n in (1024, 2048, 4096):
        a = tf.cast(tf.random.normal((n, n)), kind)
        product = tf.function(lambda a: tf.reduce_max(tf.matmul(a, a)[0]))
        product(a)
        for _ in range(5):
            started = time.perf_counter()
            product(a).numpy()
            best = max(best, 2 * n**3 / 1e9 / (time.perf_counter() - started))
    return {"gflops": best}


def _made(args: argparse.Namespace, epochs: int = 1) -> tuple:
    """Compiled network, and a batch as it sees it. `--keras`: Keras' own step, TensorFlow as it comes."""
    import keras

    from pnlib.sampling import training_batches
    from pnlib.training import compile_network, seed_everything

    config = pnlib.TrainConfig(precision=args.precision, epochs=epochs, sampling="none")
    if args.keras:
        keras.config.set_dtype_policy(args.precision)
    else:
        seed_everything(config.seed, args.precision)
    network = pnlib.build_network(config.network, config.dropout)
    compile_network(network, config, 1000)
    if args.keras:
        settings = network.optimizer.get_config()
        plain = keras.optimizers.AdamW.from_config(settings)
        metrics = [keras.metrics.BinaryAccuracy(name="accuracy"), keras.metrics.AUC(num_thresholds=1000, name="auroc")]
        network = keras.Sequential(network.layers)
        network.compile(plain, loss=keras.losses.BinaryCrossentropy(), metrics=metrics)
    images, labels = _images(STEPS * config.batch_size)
    rows = pd.DataFrame({"label": labels, "part": "train"})
    return network, training_batches, images, rows, config


def _images(n: int) -> tuple[np.ndarray, np.ndarray]:
    """n training images (repeated where there are fewer), and their labels, alternating."""
    dataset = pnlib.find_dataset()
    rows = dataset.rows("train")
    images = pnlib.load_images(dataset, rows)
    chosen = [np.resize(np.flatnonzero(rows.label == label), n) for label in (0, 1)]
    order = np.stack(chosen, axis=1).ravel()[:n]
    return images[order], rows.label.to_numpy()[order]


class _Clock:
    """Seconds of each epoch of a `fit`."""

    def __init__(self) -> None:
        import keras

        self.seconds: list[float] = []
        started = [0.0]
        self.callback = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: started.__setitem__(0, time.perf_counter()),
            on_epoch_end=lambda epoch, logs: self.seconds.append(time.perf_counter() - started[0]),
        )


def _in_memory(batch: tuple) -> object:
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_tensors(batch).repeat().with_options(options)


def step(args: argparse.Namespace) -> dict:
    """A training step on a batch in memory."""
    network, training_batches, images, rows, config = _made(args)
    batch = next(iter(training_batches(images, rows, config)))
    clock = _Clock()
    network.fit(
        _in_memory(batch), epochs=5, steps_per_epoch=STEPS, verbose=0, shuffle=False, callbacks=[clock.callback]
    )
    seconds = min(clock.seconds[1:]) / STEPS
    return {"images_per_second": config.batch_size / seconds, "gflops": FLOP * config.batch_size / seconds}


def pipeline(args: argparse.Namespace) -> dict:
    """An epoch with augmentation and preprocessing, over one of a batch in memory; epochs alternate."""
    network, training_batches, images, rows, config = _made(args, epochs=2)
    memory, piped, clock = _in_memory(next(iter(training_batches(images, rows, config)))), [], _Clock()
    network.fit(memory, steps_per_epoch=STEPS, verbose=0, shuffle=False)
    ratios = []
    for _ in range(4):
        clock = _Clock()
        options = {"steps_per_epoch": STEPS, "verbose": 0, "shuffle": False, "callbacks": [clock.callback]}
        network.fit(memory, epochs=2, **options)
        piped = training_batches(images, rows, config)
        network.fit(piped, epochs=2, **options)
        ratios.append(clock.seconds[3] / clock.seconds[1])
    return {"ratio": statistics.median(ratios)}


def epoch(args: argparse.Namespace) -> dict:
    """An epoch of `pnlib.train`, with everything that it does, validation and saving among it; and peak memory."""
    with np.load(args.images, allow_pickle=False) as data:
        images, labels = data["x"][..., None], data["y"]
    held_out = len(images) // 9
    part = np.where(np.arange(len(images)) < held_out, "validation", "train")
    rows = pd.DataFrame({"path": [f"{i}.jpeg" for i in range(len(images))], "label": labels, "part": part})
    rows = rows.assign(patient=[f"p{i}" for i in range(len(rows))], sampling_weight=1.0, split="train", subtype="")
    config = pnlib.TrainConfig(precision=args.precision, epochs=args.epochs, sampling="oversample")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PNLIB_RUNS"] = folder
        training = pnlib.train(config, rows, images, run="benchmark")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "images_per_second": (len(images) - held_out)
        / min(training.history.seconds[1:], default=training.history.seconds[0]),
        "memory": memory,
    }


def predict(args: argparse.Namespace) -> dict:
    """`Classifier.predict` of uint8 images, and its ONNX file, over Keras' `predict` of ready tensors, alternating."""
    import keras
    import onnxruntime

    from pnlib.inference.export import export

    classifier = pnlib.load_reference("baseline")
    keras_network = keras.Sequential(classifier.network.layers)
    images, _ = _images(320)
    ready = classifier.seen(images)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # its threads would disturb what follows
    with tempfile.TemporaryDirectory() as folder:
        session = onnxruntime.InferenceSession(export(classifier, f"{folder}/network.onnx"), options)
    name = session.get_inputs()[0].name

    def exported() -> np.ndarray:
        batches = [images[i : i + 32].astype(np.float32) for i in range(0, len(images), 32)]
        return np.concatenate([session.run(None, {name: batch})[0][:, 0] for batch in batches])

    ways: dict[str, Callable[[], np.ndarray]] = {
        "ours": lambda: classifier.predict(images),
        "keras": lambda: keras_network.predict(ready, batch_size=32, verbose=0)[:, 0],
        "onnx": exported,
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    answers = {}
    for _ in range(6):
        for way, ask in ways.items():
            started = time.perf_counter()
            answers[way] = ask()
            times[way].append(time.perf_counter() - started)
    change = max(np.abs(answers[way] - answers["keras"]).mean() for way in ways)
    equal = all(((answers[way] >= 0.5) == (answers["keras"] >= 0.5)).all() for way in ways)
    best = {way: min(seconds[1:]) for way, seconds in times.items()}
    return {
        "ratio": best["keras"] / best["ours"],
        "onnx_ratio": best["keras"] / best["onnx"],
        "images_per_second": len(images) / best["ours"],
        "change": change,
        "equal": equal,
    }


def load(args: argparse.Namespace) -> dict:
    """Seconds until the images of a folder are there, at first and from the cache."""
    import pnlib.datasets  # noqa: F401 (the public way has imported OpenCV before, too)

    with tempfile.TemporaryDirectory() as folder:
        os.environ["PNLIB_CACHE"] = folder
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            dataset = pnlib.find_dataset(args.images)
            images = pnlib.load_images(dataset, dataset.rows("train"))
            seconds.append(time.perf_counter() - started)
    return {"first": seconds[0], "cached": seconds[1], "images": len(images)}


KINDS = {f.__name__: f for f in (matrix_product, step, pipeline, epoch, predict, load)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("images", nargs="?", help="a file of images, or a folder of them")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--keras", action="store_true")
    args = parser.parse_args()
    if args.kind not in ("load",) and not args.keras:
        pnlib.quiet_tensorflow()
    stdout, sys.stdout = sys.stdout, sys.stderr  # a training prints its epochs
    found = KINDS[args.kind](args)
    print(
        json.dumps({name: value if isinstance(value, bool) else float(value) for name, value in found.items()}),
        file=stdout,
    )


if __name__ == "__main__":
    main()
