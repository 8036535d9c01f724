"""`pnlib predict`: a line per image as it comes; and `pnlib export`."""

import collections
import csv
import itertools
import json
import math
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pnlib.base import files
from pnlib.base.machine import quiet_tensorflow
from pnlib.runner.signals import say

if TYPE_CHECKING:
    from pnlib.classifier import Classifier


def predict(options: Namespace) -> int:
    """Answer for all files. Returns 1 if one couldn't be read."""
    say("It teaches; it is no medical device.")
    quiet_tensorflow()
    import tqdm

    from pnlib import inference

    classifier = inference.model_of(options.model)
    if options.scheduler:
        rows = _on_dask(_places(options.files), options)
    else:
        rows = inference.answers(_places(options.files), classifier, options.force)
    write = _writer(options)
    unread, labelled = 0, []
    shown = tqdm.tqdm(rows, unit=" images", disable=not sys.stderr.isatty(), leave=False)
    for number, row in enumerate(shown, start=1):
        write(row)
        unread += row["answer"] == "can't be read"
        label = inference.label_of(row["path"])
        if label is not None and not math.isnan(row["probability"]):
            labelled.append((label, row["probability"]))
        if options.heatmap and not math.isnan(row["probability"]):
            _save_heat_map(classifier, row["path"], Path(options.heatmap), number)
    _say_metrics(labelled)
    if unread:
        say(f"{unread} of the files can't be read.")
    return 1 if unread else 0


def export(options: Namespace) -> int:
    """Write a model as a file for other programs."""
    quiet_tensorflow()
    from pnlib import inference
    from pnlib.inference import export

    target = export.export(inference.model_of(options.model), options.to)
    print(f"{target}: {target.stat().st_size / 1e6:.0f} MB. In: (n, 150, 150, 1) float32, gray from 0 to 255.")
    print("Out: (n, 1) float32, the probability of pneumonia. It teaches; it is no medical device.")
    return 0


def _places(given: list[str]) -> Iterator[Path]:
    """The files that are asked about: files, those below folders, and those that stdin names where '-' stands."""
    from pnlib import inference

    for place in given:
        for name in (line.rstrip("\n") for line in sys.stdin) if place == "-" else [place]:
            if name:
                yield from inference.files_of(name)


def _on_dask(places: Iterator[Path], options: Namespace) -> Iterator[dict]:
    """The same rows, from a Dask cluster whose workers see the same files; a few chunks per worker at a time."""
    from pnlib import inference
    from pnlib.studies.cluster import Cluster

    with Cluster(options.scheduler).client() as client:
        limit = 2 * max(1, len(client.scheduler_info()["workers"]))
        pending: collections.deque = collections.deque()
        while chunk := list(itertools.islice(places, inference.CHUNK)):
            pending.append(client.submit(inference.answers_of, chunk, options.model, options.force, pure=False))
            if len(pending) == limit:
                yield from pending.popleft().result()
        for future in pending:
            yield from future.result()


def _writer(options: Namespace) -> Callable[[dict], None]:
    """What writes one row to stdout."""
    from pnlib import inference

    if options.json or options.csv:
        table = csv.DictWriter(sys.stdout, inference.COLUMNS, lineterminator="\n")
        if options.csv:
            table.writeheader()

        def write(row: dict) -> None:
            numbers = {name: round(value, 4) for name, value in row.items() if isinstance(value, float)}
            row = row | {name: None if math.isnan(value) else value for name, value in numbers.items()}
            table.writerow(row) if options.csv else print(json.dumps(row, ensure_ascii=False), flush=True)

        return write
    return lambda row: print(_sentence(row), flush=True)


def _sentence(row: dict) -> str:
    if row["answer"] == "can't be read":
        return row["note"]
    note = f" ({row['note']})" if row["note"] else ""
    if math.isnan(row["probability"]):
        return f"{row['path']}: no answer is given; it is not like the training images{note}"
    return f"{row['path']}: {row['answer']}, probability of pneumonia {row['probability']:.3f}{note}"


def _save_heat_map(classifier: "Classifier", path: str, folder: Path, number: int) -> None:
    """NUMBER_NAME.png: the image at three times its size, with the Grad-CAM heat map over it."""
    from pnlib.datasets import decode
    from pnlib.inference.page import shown

    image = decode(path)
    stem = re.sub(r"[^\w.-]", "_", Path(path).stem)
    files.atomic_write(folder / f"{number:05}_{stem}.png", shown(image, classifier.grad_cam(image[None])[0], scale=3))


def _say_metrics(labelled: list[tuple[int, float]]) -> None:
    """Where files lie in class folders of both classes: how often the answers are right."""
    import pandas as pd

    from pnlib.evaluation import metrics

    table = pd.DataFrame(labelled, columns=["label", "probability"])
    if set(table.label) == {0, 1}:
        found = metrics(table)
        say(
            f"{len(table)} answers for files in class folders: accuracy {found['accuracy']:.3f}, "
            f"sensitivity {found['sensitivity']:.3f}, specificity {found['specificity']:.3f}, "
            f"AUROC {found['auroc']:.3f}."
        )
