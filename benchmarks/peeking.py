"""What choosing on the test images does to a result, on the demo data.

    python benchmarks/peeking.py --precision mixed_bfloat16   # studies/peeking.csv: 20 seeds, a minute or two each on two cores

Many public notebooks on this dataset keep the epoch that is best on the test images and report its figure there. Here
that habit is tried where it does no harm, with drawn images: the founding CNN is trained with 20 seeds, and three rules
say which of its epochs is kept: the last one (fixed before), the one that is best on validation, the one that is best on
200 test images. What each rule reports is its accuracy on these; what it is worth is its accuracy on 600 others of the
same making, which no rule has seen. Which 200 (about) of the 800 are the test images changes with the seed, so that their own
luck averages out. The rate of the optimizer stays constant, as in most of those notebooks. A seed that stands in the
table is not trained again.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score
from sklearn.model_selection import StratifiedGroupKFold

from pnlib import augment, data, demo, evaluate, feed, model, review, runs, train

TABLE = Path(__file__).resolve().parent.parent / "studies" / "peeking.csv"
MORE = {("test", "NORMAL"): 225, ("test", "PNEUMONIA"): 375}  # three times the demo's own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--precision", default="float32", choices=runs.PRECISIONS)
    parser.add_argument("--table", type=Path, default=TABLE)
    arguments = parser.parse_args()
    runs.quiet_tensorflow()
    dataset = data.find("demo")
    images, more = data.load(dataset, dataset.table), draw_more()
    table = pd.read_csv(arguments.table) if arguments.table.is_file() else pd.DataFrame({"seed": []}, dtype=int)
    for seed in range(arguments.seeds):
        if seed in set(table.seed):
            settings = table[table.seed == seed].iloc[0]
            if (settings.epochs, settings.precision) != (arguments.epochs, arguments.precision):
                raise SystemExit(f"Seed {seed} in {arguments.table} was trained otherwise; take another --table.")
            continue
        rows = one_seed(dataset, images, more, seed, arguments.epochs, arguments.precision)
        table = pd.concat([table, rows], ignore_index=True)
        table["epoch"] = table.epoch.astype(int)
        runs.write_whole(arguments.table, table.to_csv(index=False, float_format="%.4f"))
        print(rows.to_string(index=False), flush=True)
    print(review.optimism(table).round(4).to_string())


def draw_more() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """More images like the demo's test images: (600, 150, 150, 1) uint8, their labels and their patients."""
    with tempfile.TemporaryDirectory() as folder:
        demo.make(Path(folder) / "more", seed=1, counts=MORE)
        files = sorted((Path(folder) / "more" / "test").glob("*/*.jpeg"))
        pixels = np.stack([data.decode(file) for file in files])
    labels = np.array([int(file.parent.name == "PNEUMONIA") for file in files])
    return pixels, labels, np.array(["more " + file.name.split("_")[0] for file in files])


def one_seed(dataset, images, more, seed: int, epochs: int, precision: str) -> pd.DataFrame:
    """Train once; what each rule chooses, what it reports, and what that is worth. One row a rule."""
    import keras

    split = data.split_by_patient(dataset.table, 0.15, seed)
    part = split.set_index("path").part.reindex(dataset.table.path).to_numpy()
    labels = dataset.table.label.to_numpy()
    exam = part == "test"
    own = (images[exam], labels[exam], dataset.table.patient[exam])
    pool, truth, patients = (np.concatenate(pair) for pair in zip(own, more, strict=True))
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=seed)
    others, test = next(folds.split(pool, truth, patients))
    sets = {"validation": (images[part == "validation"], labels[part == "validation"])}
    sets |= {"test": (pool[test], truth[test]), "others": (pool[others], truth[others])}
    train.seed_everything(seed, precision)
    network = model.build_cnn()
    network.compile(keras.optimizers.Adam(0.001), loss="binary_crossentropy")
    is_train = part == "train"
    stream = feed.training_stream(
        images[is_train], labels[is_train], epochs=epochs, batch_size=32, augment=augment.build("usual"),
        balancing="oversample", seed=seed,
    )  # fmt: skip
    curve = []

    def after_epoch(epoch, logs=None):
        answers = {name: evaluate.predict(network, pixels) for name, (pixels, _) in sets.items()}
        curve.append({name: accuracy_score(sets[name][1], answer >= 0.5) for name, answer in answers.items()})

    network.fit(
        stream, epochs=epochs, steps_per_epoch=feed.steps_per_epoch(int(is_train.sum()), 32, "oversample"), verbose=0,
        shuffle=False, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=after_epoch)],
    )  # fmt: skip
    curve = pd.DataFrame(curve)
    rules = {
        "last epoch": epochs - 1,
        "best on validation": curve.validation.idxmax(),
        "best on test": curve.test.idxmax(),
    }
    settings = {"seed": seed, "epochs": epochs, "precision": precision}
    return pd.DataFrame(
        {**settings, "rule": rule, "epoch": epoch + 1, "reported": curve.test[epoch], "worth": curve.others[epoch]}
        for rule, epoch in rules.items()
    )


if __name__ == "__main__":
    main()
