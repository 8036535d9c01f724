"""The reference models that the project brings: weights, checked by hash, with card and provenance beside them.

They lie in `models/reference/NAME/`: `weights.npz` (no pickle), `provenance.json`, `README.md` (model card).
"""

import hashlib
import io
from pathlib import Path

import numpy as np

from pnlib import runs
from pnlib.errors import InputError

NAMES = ("founding", "compact")


def _place(name: str) -> Path:
    return runs.root() / "models" / "reference" / name


def folder(name: str) -> Path:
    """Folder of a reference model (InputError: unknown name, or not in this checkout)."""
    if name not in NAMES:
        raise InputError(f"There is no reference model {name!r}; there are {', '.join(NAMES)}.")
    place = _place(name)
    if name not in stored():
        raise InputError(
            f"The reference model {name!r} is not in {place}: it isn't trained yet, or this is no clone of the project."
        )
    return place


def stored() -> list[str]:
    """Names of the reference models that are in this checkout."""
    return [name for name in NAMES if (_place(name) / "weights.npz").is_file()]


def load_reference(name: str = "compact"):
    """A trained network: images (n, 150, 150, 1) float32 to probabilities of pneumonia (n, 1) float32.

    `evaluate.predict(network, images)` reads uint8 images and prepares them as in its training; whoever calls the
    network directly prepares them: `feed.prepare(feed.shown(uint8, p) / 255.0, p)` with p = `network.preparation`.
    Its weights are used as float32, whatever they are stored as (`weights_format` of its provenance). It teaches; it is
    no medical device.

    Args:
        name: 'founding' or 'compact'.

    Raises:
        InputError: unknown name, missing or damaged files, or weights other than the provenance says. Nothing in the
            files is executed: arrays of numbers are read, and no pickle.
    """
    from pnlib import model

    place = folder(name)
    content = (place / "weights.npz").read_bytes()
    provenance = runs.read_json(place / "provenance.json")
    try:
        sha256, preparation = provenance["weights_sha256"], provenance["parameters"]["preparation"]
        runs.check(preparation=preparation)
    except (KeyError, TypeError, InputError) as error:
        raise InputError(f"{place / 'provenance.json'} is no model's provenance; restore it with git.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(f"{place / 'weights.npz'} is not what its provenance says (SHA-256); restore it with git.")
    network = model.NETWORKS[name]()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            network.set_weights([stored[f"w{i}"].astype(np.float32) for i in range(len(stored.files))])
    except Exception as error:  # NumPy, zipfile and Keras raise many kinds
        raise InputError(f"{place / 'weights.npz'} holds no weights of this network; restore it with git.") from error
    network.preparation = preparation
    return network


def pack(network, dtype: str = "float32") -> bytes:
    """A network's weights as a compressed .npz of float32 or float16: arrays w0, w1… in the order of `get_weights`."""
    content = io.BytesIO()
    np.savez_compressed(content, **{f"w{i}": w.astype(dtype) for i, w in enumerate(network.get_weights())})
    return content.getvalue()
