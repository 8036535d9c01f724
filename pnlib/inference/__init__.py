"""What a trained network says of one's own images: from files to a table.

`predict` is for notebooks. `answers`, which `pnlib predict` calls, is for more files than fit into memory.
"""

import functools
import itertools
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from pnlib.base import paths
from pnlib.base.errors import InputError
from pnlib.classifier import BATCH, REFERENCES, Classifier, load_reference, load_run
from pnlib.datasets import decode
from pnlib.datasets.dicom import is_dicom, says_burnt_in
from pnlib.datasets.images import named, opened
from pnlib.datasets.index import is_image
from pnlib.datasets.names import class_of
from pnlib.inference.calibrated import calibrated
from pnlib.inference.familiar import likenesses, nearest, objections
from pnlib.preprocessing import in_parallel, looks_inverted

__all__ = ["answers", "calibrated", "likenesses", "nearest", "objections", "predict"]
COLUMNS = ("path", "probability", "answer", "chest", "whole", "note")
CHUNK = BATCH  # images that are read and asked about at once


def predict(files: str | Path | Iterable[str | Path], model: str = "compact", force: bool = False) -> pd.DataFrame:
    """What a network says of image files. It teaches; it is no medical device.

    Args:
        files: a file (JPEG, PNG, TIFF, WebP, BMP or DICOM), a folder (with all that lies below it), or several of them.
        model: 'compact', 'baseline', or the name of a run of your own.
        force: give a probability for images that are unlike the training images too.

    Returns:
        One row per file:

        | column | meaning |
        | --- | --- |
        | path | as given |
        | probability | of pneumonia; NaN where none is given |
        | answer | pneumonia (0.5 or more) or normal; unlike the training images; can't be read |
        | chest, whole | how like a training image it is (`familiar.likenesses`) |
        | note | what speaks against the answer, or why there is none |

    Raises:
        InputError: no such file, folder or model.

    >>> import pnlib
    >>> dataset = pnlib.find_dataset("demo")
    >>> table = pnlib.predict([dataset.root / path for path in dataset.rows("test").path[:2]], force=True)
    >>> list(table.columns), len(table)
    (['path', 'probability', 'answer', 'chest', 'whole', 'note'], 2)
    """
    several = [files] if isinstance(files, str | Path) else list(files)
    found = list(itertools.chain.from_iterable(map(files_of, several)))
    return pd.DataFrame(answers(found, model_of(model), force), columns=list(COLUMNS))


def files_of(place: str | Path) -> list[Path]:
    """A file itself, or the images below a folder, sorted (InputError: there is none)."""
    place = Path(place)
    if place.is_dir():
        found = sorted(path for path in place.rglob("*") if is_image(path.name) and path.is_file())
        if not found:
            raise InputError(f"There is no image below the folder {place}; give one with .jpeg, .png or .dcm files.")
        return found
    if not place.exists():
        raise InputError(f"There is no file or folder {place}; give one that is there.")
    return [place]


def model_of(name: str) -> Classifier:
    """The classifier of a reference's or a run's name (InputError: there is none)."""
    if name in REFERENCES:
        return load_reference(name)
    if not paths.is_run_name(name) or not (paths.run_dir(name) / "train").is_dir():
        raise InputError(
            f"There is no model {name!r}; give {', '.join(REFERENCES)}, or the name of a run (`pnlib info` lists them)."
        )
    return load_run(name)


def answers(files: Iterable[str | Path | bytes], classifier: Classifier, force: bool = False) -> Iterator[dict]:
    """The rows of `predict`, one by one as they come. Only 32 images are in memory at a time."""
    remaining = iter(files)
    while chunk := list(itertools.islice(remaining, CHUNK)):
        yield from _answers(chunk, classifier, force)


def answers_of(files: list, model: str, force: bool) -> list[dict]:
    """The rows of a few files, on a worker, which keeps its model."""
    return list(answers(files, _kept(model), force))


_kept = functools.cache(model_of)


def _answers(chunk: list, classifier: Classifier, force: bool) -> list[dict]:
    with warnings.catch_warnings():  # threads share the filters: each of theirs alone might leave its own behind
        warnings.simplefilter("ignore")
        read = in_parallel(_read, chunk)
    blank = {"probability": np.nan, "answer": "can't be read", "chest": np.nan, "whole": np.nan}
    rows = [{"path": named(path), **blank, "note": note} for path, (_, note) in zip(chunk, read, strict=True)]
    sound = [i for i, (pixels, _) in enumerate(read) if pixels is not None]
    if not sound:
        return rows
    images = np.stack([read[i][0] for i in sound])
    like = likenesses(images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of inversion, which the note says
        probabilities = classifier.predict(images)
    against = zip(objections(like), looks_inverted(images), strict=True)
    for k, (i, (objection, inverted)) in enumerate(zip(sound, against, strict=True)):
        notes = [objection, "bone looks black, as if it were inverted" if inverted else "", rows[i]["note"]]
        rows[i] |= {
            "chest": float(like.chest[k]),
            "whole": float(like.whole[k]),
            "note": "; ".join(filter(None, notes)),
        }
        if (objection or inverted) and not force:
            rows[i]["answer"] = "unlike the training images"
        else:
            answer = "pneumonia" if probabilities[k] >= 0.5 else "normal"
            rows[i] |= {"probability": float(probabilities[k]), "answer": answer}
    return rows


def _read(path: str | Path | bytes) -> tuple[np.ndarray | None, str]:
    """An image and what is odd about its file, or None and why it can't be read."""
    try:
        return decode(path), _oddity(path)
    except InputError as error:
        return None, str(error)


def _oddity(path: str | Path | bytes) -> str:
    """What X-rays don't have, in words: colour, a side several times as long as the other, text burnt in."""
    if is_dicom(path):
        return "its file says that text is burnt in" if says_burnt_in(path) else ""
    with warnings.catch_warnings(), opened(path) as image:
        warnings.simplefilter("ignore")
        width, height = image.size
        odd = [] if 0.5 <= width / height <= 3.5 else [f"its sides are odd, {width} x {height} pixels"]
        if image.mode not in ("1", "L", "LA") and not image.mode.startswith(("I", "F")):
            image.draft("RGB", (64, 64))
            small = np.asarray(image.convert("RGB").resize((32, 32)), np.float32)
            odd += ["it is in colour"] if np.ptp(small, axis=2).mean() > 8 else []
    return "; ".join(odd)


def label_of(path: str | Path) -> int | None:
    """1 or 0 by the name of a file's folder (PNEUMONIA, NORMAL…), else None."""
    found = class_of(Path(path).parent.name)
    return None if found is None else found[0]
