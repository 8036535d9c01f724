"""What happens beside the steps of a training: averaging, saving, and telling how far it is."""

import math
import sys
import time
from pathlib import Path
from typing import Any

from pnlib import checkpoint
from pnlib.base.errors import InputError
from pnlib.classifier import Classifier
from pnlib.config import TrainConfig

MONITOR = "val_auroc"  # the best epoch is the one where this is largest
# Not the validation loss: half of an epoch's images are normal, of the validation's only a quarter, so the loss there
# mixes how well images are ranked with that known shift. The AUROC measures the ranking only.


def averages(network: Any) -> dict[int, Any]:
    """{id of a trainable weight: its moving average}; empty where the training keeps none."""
    optimizer = network.optimizer
    found = getattr(optimizer, "_model_variables_moving_average", []) if optimizer.use_ema else []
    return {id(weight): average for weight, average in zip(network.trainable_variables, found, strict=False)}


def averager() -> Any:
    """The callback that validates the averaged weights in place of the last step's, and puts these back, to the bit.

    (keras.callbacks.SwapEMAWeights swaps by adding and subtracting, which rounds.)
    """
    import keras

    class Averager(keras.callbacks.Callback):
        def on_test_begin(self, logs: dict | None = None) -> None:
            found = averages(self.model)
            self.own = [(weight, weight.numpy()) for weight in self.model.trainable_variables if id(weight) in found]
            for weight, _ in self.own:
                weight.assign(found[id(weight)])

        def on_test_end(self, logs: dict | None = None) -> None:
            for weight, value in self.own:
                weight.assign(value)

    return Averager()


def saver(folder: Path, history: list[dict], config: TrainConfig) -> Any:
    """The callback that saves the classifier (with averaged weights, if there are any) and the state, each epoch."""
    import keras

    class Saver(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: dict) -> None:
            row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}}
            row["seconds"] = time.perf_counter() - self.started
            if not math.isfinite(row["loss"]):
                raise InputError(f"The loss became {row['loss']} in epoch {epoch + 1}; lower learning_rate.")
            best = max((earlier[MONITOR] for earlier in history), default=-math.inf)
            history.append(row)
            if row[MONITOR] > best if config.keep == "best" else epoch + 1 == config.epochs:
                found = averages(self.model)
                weights = [found.get(id(weight), weight).numpy() for weight in self.model.weights]
                Classifier(self.model, config).save(folder, row, weights)
            checkpoint.write_state(folder, self.model, history)

    return Saver()


def epoch_line(row: dict, epochs: int) -> str:
    """One row of the history in words."""
    return (
        f"epoch {int(row['epoch']):>3}/{epochs}  loss {row['loss']:.3f}  validation: loss {row['val_loss']:.3f}  "
        f"AUROC {row['val_auroc']:.3f}  {row['seconds']:.0f} s"
    )


def progress(steps: int, epochs: int) -> Any:
    """One printed line per epoch, which reads the same in a terminal, in JupyterLab and in a saved notebook.

    Where somebody watches, tqdm's bar over the steps runs with it, and leaves nothing behind.
    """
    import keras
    import tqdm

    class Progress(keras.callbacks.Callback):
        def on_train_begin(self, logs: dict | None = None) -> None:
            shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
            terminal = sys.stderr if sys.stderr.isatty() else None
            self.watched = _NotebookLine() if hasattr(shell, "kernel") else terminal

        def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
            self.started = time.perf_counter()
            options = {"file": self.watched, "disable": self.watched is None, "leave": False, "mininterval": 1}
            self.bar = tqdm.tqdm(desc=f"epoch {epoch + 1}", total=steps, unit=" steps", **options)

        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            self.bar.update()

        def on_epoch_end(self, epoch: int, logs: dict) -> None:
            self.bar.close()
            seconds = time.perf_counter() - self.started
            left = seconds * (epochs - epoch - 1)
            line = epoch_line({**logs, "epoch": epoch + 1, "seconds": seconds}, epochs)
            print(line + (f", {tqdm.tqdm.format_interval(left)} left" if left else ""), flush=True)

    return Progress()


class _NotebookLine:
    """A file for tqdm that shows the last line in a display: papermill's log and the saved file don't grow by it."""

    def __init__(self) -> None:
        from IPython.display import display

        self.handle = display({"text/plain": ""}, raw=True, display_id=True)

    def write(self, text: str) -> None:
        self.handle.update({"text/plain": text.strip()}, raw=True)

    def flush(self) -> None: ...
