"""A study as its YAML file says: configs x seeds, which make trials.

A trial is known by its fingerprint: settings, dataset, versions, `checkpoint.FORMAT`. Its key is the hash of that, so
a corrected docstring keeps finished trials, and another dataset or TensorFlow means new ones.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from pnlib import checkpoint
from pnlib.base import paths
from pnlib.base.errors import InputError, quoted, reason
from pnlib.config import TrainConfig, check_parameters
from pnlib.datasets import Dataset

KEYS = ("name", "about", "configs", "common", "seeds", "test")
SETTINGS = [field.name for field in dataclasses.fields(TrainConfig) if field.name != "seed"]


@dataclasses.dataclass(frozen=True)
class Trial:
    """One execution of 04_train: the config's name, its settings (seed included), and its key.

    `test` says whether 05_evaluate follows, which reads the test images.
    """

    config: str
    settings: dict
    test: bool
    key: str

    def __str__(self) -> str:
        return f"{self.config}, seed {self.settings['seed']}"


@dataclasses.dataclass(frozen=True)
class Study:
    """A study: its trials, and the dataset's hash that belongs to their keys."""

    name: str
    about: str
    test: bool
    trials: tuple[Trial, ...]
    data_hash: str

    @property
    def folder(self) -> Path:
        """Where the table, the plot and the trials go."""
        return paths.runs_dir() / "studies" / self.name

    def folder_of(self, trial: Trial) -> Path:
        """Where one trial goes."""
        return self.folder / "trials" / trial.key

    def finished(self) -> list[Trial]:
        """The trials that are stored already."""
        return [trial for trial in self.trials if (self.folder_of(trial) / "trial.json").is_file()]


def read_study(path: str | Path, dataset: Dataset) -> Study:
    """Read and check a study.

    ```yaml
    name: augmentation
    about: which augmentation holds when framing changes?
    common: {epochs: 8, split: shifted, precision: mixed_bfloat16}
    configs:
      none: {augmentation: none}
      strong: {augmentation: strong}
    seeds: [0, 1]
    test: false    # true: the final table; each trial evaluates on the test images too
    ```

    Any field of TrainConfig but the seed may stand in common and configs; two splits are two configs.

    Raises:
        InputError: no such file, no YAML, an unknown key or setting, a value out of range.
    """
    path = Path(path)
    content = _yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("configs"), dict) or not content["configs"]:
        raise InputError(f"The study {path} needs `configs:`, a name and its settings per line.")
    unknown = sorted(set(map(str, content)) - set(KEYS))
    if unknown:
        raise InputError(f"The study {path} has unknown keys {', '.join(unknown)}; there are {', '.join(KEYS)}.")
    name = content.get("name", path.stem)
    check_parameters(run=name)
    seeds, test = content.get("seeds", [0]), content.get("test", False)
    if not isinstance(seeds, list) or not seeds or len(set(map(str, seeds))) < len(seeds):
        raise InputError(f"The study {path} needs `seeds:`, a list of different numbers; it has {quoted(seeds)}.")
    if not isinstance(test, bool):
        raise InputError(f"In the study {path}, `test:` is true or false, not {quoted(test)}.")
    hashed = data_hash(dataset)
    trials = []
    for config, own in content["configs"].items():
        settings = _settings(path, config, content.get("common") or {}, own or {})
        for seed in seeds:
            check_parameters(seed=seed)
            values = TrainConfig(**settings, seed=seed)
            trials.append(Trial(str(config), {**settings, "seed": seed}, test, _key(values, hashed, test)))
    if len({trial.key for trial in trials}) < len(trials):
        raise InputError(f"In the study {path}, two configs have the same settings; leave one out.")
    return Study(name, str(content.get("about", "")), test, tuple(trials), hashed)


def _yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the study {path}: {reason(error)}.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise InputError(f"The study {path} is no YAML{where}: {getattr(error, 'problem', reason(error))}.") from error
    except (ValueError, RecursionError) as error:  # a date or a number that there isn't, a thousand brackets
        raise InputError(f"The study {path} is no YAML that can be read: {reason(error)}.") from error


def _settings(path: Path, config: str, common: Any, own: Any) -> dict:
    if not isinstance(own, dict) or not isinstance(common, dict):
        raise InputError(f"In the study {path}, config {config!r} or `common:` is no list of `setting: value`.")
    settings = {**common, **own}
    for name in settings:
        if name not in SETTINGS:
            raise InputError(
                f"In the study {path}, config {config!r} has a setting {name!r}; there are {', '.join(SETTINGS)}."
            )
    check_parameters(**settings)
    return settings


def _key(config: TrainConfig, hashed: str, test: bool) -> str:
    made_of = {"settings": config.to_json(), "data": hashed, "test": test, **computes_with()}
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


def computes_with() -> dict:
    """What must be the same on a worker as here: versions, and `checkpoint.FORMAT`."""
    return {"versions": checkpoint.versions(), "format": checkpoint.FORMAT}


def data_hash(dataset: Dataset) -> str:
    """Hash of a dataset's index: names, labels and file sizes, wherever it is."""
    try:
        lines = [f"{r.path}|{r.label}|{(dataset.root / r.path).stat().st_size}" for r in dataset.table.itertuples()]
    except OSError as error:
        raise InputError(f"Cannot read {error.filename}: {error.strerror}; replace or remove it.") from error
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
