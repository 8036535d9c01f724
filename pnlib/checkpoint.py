"""Save a training after each epoch, recognise it, and resume it to the same bits.

While it trains, a run is `runs/NAME/train.partial/`. After each epoch everything needed to resume is written to one
file, `state.npz`, under a temporary name and renamed, so any interruption leaves a state to resume from. When all is
done the folder becomes `runs/NAME/train/`.

What a result depends on is the training's *fingerprint*: settings, images, split, network, optimizer, versions, and a
number, `FORMAT`. A training is resumed, and a finished one is loaded, only if the fingerprint is the same.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pnlib.augmentation import layers_of_views
from pnlib.base import files, paths
from pnlib.base.errors import InputError
from pnlib.base.machine import environment, versions
from pnlib.config import TrainConfig

FORMAT = 2  # raise it where a change of pnlib's code or of mean_chest.json changes what a training results in
STATE = "state.npz"


def fingerprint(network: Any, rows: pd.DataFrame, images: np.ndarray, config: TrainConfig) -> dict:
    """What makes a training the same, of a compiled network and of the training and validation images."""
    columns = ["label", "part", *(["sampling_weight"] if config.sampling == "overlap" else [])]
    shapes = json.dumps([network.get_config(), network.optimizer.get_config()], sort_keys=True, default=str)
    return {
        "format": FORMAT,
        "settings": json.loads(json.dumps(config.to_json())),
        "images": hashlib.sha256(np.ascontiguousarray(images).data).hexdigest(),
        "split or sampling weights": hashlib.sha256(rows[columns].to_csv(index=False).encode()).hexdigest(),
        "layers of the augmentation": [
            [name, repr(view[name])] for view in layers_of_views(config.augmentation) for name in view
        ],
        "network or optimizer": hashlib.sha256(shapes.encode()).hexdigest(),
        "versions": versions(),
    }


def is_same(folder: Path, wanted: dict) -> bool:
    """Whether a folder holds the training with this fingerprint."""
    try:
        return files.read_json(folder / "fingerprint.json") == wanted
    except InputError:
        return False


def begin(partial: Path, wanted: dict) -> None:
    """Make an unfinished training's folder ready: begin it, or check that it can be resumed.

    On another kind of processor, or with other oneDNN kernels, it is resumed: that is said and recorded.

    Raises:
        InputError: an unfinished training stands there that was begun with something else, or it can't be told with
            what. To resume would mix two trainings, and to begin anew would throw hours away unasked.
    """
    here, recorded = environment(), {}
    if (partial / STATE).is_file():  # else no epoch was finished: there is nothing to lose
        _check_resumable(partial, wanted)
        recorded = files.read_json(partial / "environment.json")
        if [recorded.get(name) for name in ("processor", "onednn")] == [here["processor"], here["onednn"]]:
            return
        print(
            "This training was begun on another processor, or with other oneDNN kernels: it is resumed, and its bits "
            "may differ from those of a training on one machine."
        )
        here["begun on"] = recorded
    files.write_json(partial / "fingerprint.json", wanted)
    files.write_json(partial / "environment.json", here)


def _check_resumable(partial: Path, wanted: dict) -> None:
    anew = (
        f"or begin anew: with `pnlib run --name {partial.parent.name} --force`, under another name, or after deleting "
        "that folder."
    )
    try:
        stored = files.read_json(partial / "fingerprint.json")
        old, new = ({**one["settings"], **one["versions"]} for one in (stored, wanted))
        differs = [f"{name} ({old.get(name)}, now {new[name]})" for name in new if old.get(name) != new[name]]
        follow = ("layers of the augmentation", "network or optimizer") if differs else ()  # from settings or versions
        told = {"settings", "versions", *follow}
        differs += [f"the {name}" for name in wanted if name not in told and stored[name] != wanted[name]]
    except (InputError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"Cannot tell what the unfinished training in {paths.shown(partial)} was begun with: its fingerprint.json "
            f"is missing or damaged; restore that file, {anew}"
        ) from None
    if differs:
        raise InputError(
            f"The unfinished training in {paths.shown(partial)} was begun with another state of {', '.join(differs)}; "
            f"restore that to resume it, {anew}"
        )


def named_variables(network: Any) -> dict[str, Any]:
    """Everything that changes while a network trains, by name: weights, dropout's counters, the optimizer's variables.

    No weights file of Keras holds dropout's counters, so its BackupAndRestore goes on with other draws.
    """
    named = {f"network/{variable.path}": variable for variable in network.variables}
    named |= {f"optimizer/{variable.path}": variable for variable in network.optimizer.variables}
    if len(named) < len(network.variables) + len(network.optimizer.variables):
        raise InputError(f"Two layers of the network {network.name!r} have one name; give each its own.")
    return named


def write_state(folder: Path, network: Any, history: list[dict]) -> None:
    """Everything to resume from, in one file: at no moment do its parts not fit together."""
    arrays: dict[str, Any] = {name: variable.numpy() for name, variable in named_variables(network).items()}
    arrays["history"] = np.array(json.dumps(history))
    files.atomic_write(folder / STATE, lambda file: np.savez(file, **arrays))


def read_state(folder: Path, network: Any) -> list[dict]:
    """Put a stored state into a compiled network; returns the history up to there (empty where there is no state)."""
    if not (folder / STATE).is_file():
        return []
    network.optimizer.build(network.trainable_variables)
    try:
        with np.load(folder / STATE, allow_pickle=False) as state:
            for name, variable in named_variables(network).items():
                variable.assign(state[name])
            return json.loads(str(state["history"]))
    except Exception as error:  # NumPy, zipfile and Keras raise many kinds
        raise InputError(
            f"Cannot resume from {folder / STATE}: it is damaged; delete its folder to train from the start."
        ) from error
