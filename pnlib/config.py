"""Every setting of a training, once: its type, default, range and meaning. The defaults are those of 04_train."""

import dataclasses
import difflib
import json
import math
from collections.abc import Callable
from typing import Any

from pnlib.augmentation import LAYERS, PRESETS, layers_of_views
from pnlib.base.errors import InputError, quoted
from pnlib.base.paths import is_run_name
from pnlib.networks import NETWORKS
from pnlib.preprocessing import PREPROCESSINGS
from pnlib.sampling import SAMPLINGS


@dataclasses.dataclass(frozen=True)
class Parameter:
    """What a value may be: its Python types, a test, and the range and the meaning in words."""

    kinds: tuple[type, ...]
    fits: Callable[[Any], bool]
    range: str
    about: str

    def default(self, value: Any) -> Any:
        """A dataclass field with this default."""
        return dataclasses.field(default=value, metadata={"parameter": self})


def _number(kind: type, fits: Callable[[Any], bool], words: str, about: str) -> Parameter:
    return Parameter((int, float) if kind is float else (kind,), lambda v: abs(v) < math.inf and fits(v), words, about)


def _choice(names: Any, about: str) -> Parameter:
    """One of the names of a registry, which may grow."""
    return Parameter((str,), lambda v: v in names, f"one of {', '.join(names)}", about)


def _is_augmentation(value: Any) -> bool:
    """A preset's name, one per view, or {Keras layer: {argument: value}}; the layers themselves check the values."""
    if isinstance(value, str):
        return all(name in PRESETS for name in value.split("+"))
    try:
        json.dumps(value, allow_nan=False)  # it is kept with the run: no dates, no NaN
    except (TypeError, ValueError, RecursionError):
        return False
    return all(name in LAYERS and isinstance(arguments, dict) for name, arguments in value.items())


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """All settings of one training. What isn't given has the value that 04_train uses.

    `TrainConfig.describe()` lists the settings with type, default, range and meaning.

    Raises:
        InputError: a value of the wrong type or out of range.

    >>> from pnlib import TrainConfig
    >>> config = TrainConfig(epochs=2, augmentation="light")
    >>> config.epochs, config.learning_rate, config.is_published
    (2, 0.001, False)
    >>> TrainConfig(epochs=0)
    Traceback (most recent call last):
    ...
    pnlib.base.errors.InputError: Parameter epochs=0 is not possible; give a whole number from 1 to 1000.
    """

    network: str = _choice(NETWORKS, "the network: baseline is the original project's CNN").default("baseline")
    epochs: int = _number(
        int, lambda v: 1 <= v <= 1000, "a whole number from 1 to 1000", "passes over the training images"
    ).default(20)
    batch_size: int = _number(
        int, lambda v: 2 <= v <= 1024, "a whole number from 2 to 1024", "images in one training step"
    ).default(32)
    learning_rate: float = _number(
        float, lambda v: 0 < v <= 1, "a number above 0 and at most 1", "highest rate of the optimizer, Adam"
    ).default(0.001)
    weight_decay: float = _number(
        float, lambda v: 0 <= v <= 1, "a number from 0 to 1", "share of each weight taken off in a step, times the rate"
    ).default(0.05)
    ema_momentum: float = _number(
        float, lambda v: 0 <= v < 1, "a fraction from 0 to below 1", "of the moving average of the weights; 0 for none"
    ).default(0.99)
    label_smoothing: float = _number(
        float, lambda v: 0 <= v <= 0.5, "a fraction from 0 to 0.5", "0.1 trains for 0.05 and 0.95 instead of 0 and 1"
    ).default(0.0)
    dropout: float = _number(
        float, lambda v: 0 <= v < 1, "a fraction from 0 to below 1", "share of the features dropped in each step"
    ).default(0.5)
    preprocessing: str = _choice(PREPROCESSINGS, "what is done to an image before the network sees it").default(
        "local_contrast"
    )
    augmentation: str | dict = Parameter(
        (str, dict),
        _is_augmentation,
        f"one of {', '.join(PRESETS)} (strong+mild for two views), or Keras layers with their arguments "
        f"({', '.join(LAYERS)})",
        "random changes of the training images",
    ).default("strong")
    sampling: str = _choice(SAMPLINGS, "which images an epoch shows, and how often").default("overlap")
    split: str = _choice(
        ("random", "shifted"), "validation patients at random, or those for whom shortcuts mislead"
    ).default("random")
    validation: float = _number(
        float, lambda v: 0.02 <= v <= 0.5, "a fraction from 0.02 to 0.5", "share of the images; for split random"
    ).default(0.15)
    keep: str = _choice(("last", "best"), "the last epoch's weights, or the best by validation AUROC").default("last")
    seed: int = _number(
        int, lambda v: 0 <= v < 2**31, "a whole number from 0 to 2147483647", "decides everything that is random"
    ).default(0)
    precision: str = _choice(
        ("auto", "float32", "mixed_bfloat16"), "auto is mixed_bfloat16 where that is faster"
    ).default("auto")

    def __post_init__(self) -> None:
        check_parameters(**vars(self))
        if self.views > 1 and self.network != "compact":
            raise InputError(
                f"preprocessing={self.preprocessing!r} shows an image in {self.views} views, and only compact takes "
                f"several; give network='compact'."
            )
        if (presets := len(layers_of_views(self.augmentation))) != self.views:
            raise InputError(
                f"augmentation={quoted(self.augmentation)} is for {presets} of the views that preprocessing="
                f"{self.preprocessing!r} shows, which are {self.views}; give one preset for each, joined by '+'."
            )

    @property
    def views(self) -> int:
        """How many views of an image the preprocessing shows to the network."""
        return len(PREPROCESSINGS[self.preprocessing].views)

    @property
    def is_published(self) -> bool:
        """Whether results are stated for these settings: the defaults, any seed, either precision."""
        return dataclasses.replace(self, seed=0, precision="auto") == TrainConfig()

    def to_json(self) -> dict:
        """The settings as they are stored and compared: augmentation layers as a list, since their order matters."""
        layers = self.augmentation
        return vars(self) | {"augmentation": [list(i) for i in layers.items()] if isinstance(layers, dict) else layers}

    @classmethod
    def from_json(cls, stored: Any) -> "TrainConfig":
        """The settings that `to_json` stored (InputError where they are damaged)."""
        try:
            layers = stored["augmentation"]
            settings = stored | {"augmentation": layers if isinstance(layers, str) else dict(layers)}
            check_parameters(**settings)
            if missing := {field.name for field in dataclasses.fields(cls)} - set(settings):
                raise ValueError(f"{', '.join(sorted(missing))} missing")
            return cls(**settings)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise InputError(f"These are no settings of a training: {quoted(stored)}.") from error

    @classmethod
    def describe(cls) -> dict[str, str]:
        """{setting: "type = default: meaning; range"} of every setting."""
        return {
            field.name: f"{getattr(field.type, '__name__', field.type)} = {field.default!r}: "
            f"{PARAMETERS[field.name].about}; {PARAMETERS[field.name].range}"
            for field in dataclasses.fields(cls)
        }


# Every parameter that a notebook may have: the settings of a training, and what else one can ask a notebook for.
PARAMETERS: dict[str, Parameter] = {f.name: f.metadata["parameter"] for f in dataclasses.fields(TrainConfig)} | {
    "settings": Parameter((dict,), lambda v: True, "settings of TrainConfig, as {name: value}", "any other settings"),
    "resamples": _number(
        int, lambda v: 100 <= v <= 100_000, "a whole number from 100 to 100000", "bootstrap replicates of an interval"
    ),
    "image": Parameter((str,), lambda v: True, "an image file, or '' for an example", "the image to ask about"),
    "data": Parameter((str,), lambda v: True, "a folder, 'demo', or '' to search for one", "the dataset"),
    "external": Parameter((str,), lambda v: True, "a folder, or '' to search for it", "the external test set"),
    "table": Parameter((str,), lambda v: True, "a .csv file of pnlib study", "the table of a study"),
    "run": Parameter(
        (str,),
        is_run_name,
        "a name of letters, digits, '.', '_' and '-'",
        "name of the run's folder below runs/",
    ),
}


def check_parameters(**values: Any) -> None:
    """Refuse a notebook's parameter that is unknown, of the wrong type or out of range, with one sentence.

    >>> from pnlib import check_parameters
    >>> check_parameters(seed=3, data="demo", run="default")

    Raises:
        InputError: it names the parameter, its value and what is possible.
    """
    for name, value in values.items():
        if name not in PARAMETERS:
            near = difflib.get_close_matches(name, PARAMETERS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PARAMETERS)}."
            raise InputError(f"There is no parameter {name!r}: {hint}")
        parameter = PARAMETERS[name]
        if not isinstance(value, parameter.kinds) or isinstance(value, bool) or not parameter.fits(value):
            hint = ""
            if name == "run" and not isinstance(value, str):
                hint = " (papermill's -r passes 2024 as text, its -p as a number)"
            raise InputError(f"Parameter {name}={quoted(value)} is not possible; give {parameter.range}{hint}.")
