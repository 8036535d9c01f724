"""Every setting of a training, and what it may be."""

import dataclasses
import json

import pytest

from pnlib import TrainConfig, check_parameters
from pnlib.base.errors import InputError
from pnlib.config import PARAMETERS


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("epochs", 0, "give a whole number from 1 to 1000"),
        ("epochs", 2.5, "give a whole number"),
        ("epochs", True, "give a whole number"),
        ("epochs", "20", "give a whole number"),
        ("validation", 1.5, "give a fraction from 0.02 to 0.5"),
        ("learning_rate", float("inf"), "give a number above 0"),
        ("learning_rate", float("nan"), "give a number above 0"),
        ("precision", "float8", "give one of auto, float32, mixed_bfloat16"),
        ("network", "resnet", "give one of baseline, compact"),
        ("augmentation", "false", "give one of none, light"),
        ("augmentation", {"Lambda": {}}, "or Keras layers with their arguments"),
        ("augmentation", {"RandomZoom": {"height_factor": float("nan")}}, "or Keras layers with their arguments"),
        ("run", "../up", "give a name of letters"),
        ("run", "", "give a name of letters"),
        ("run", 2024, "papermill's -r passes 2024 as text"),
        ("epoch", 3, "There is no parameter 'epoch': did you mean 'epochs'?"),
    ],
)
def test_parameters_out_of_range_are_refused(name, value, words):
    with pytest.raises(InputError, match=words.replace("?", "[?]")) as caught:
        check_parameters(**{name: value})
    assert repr(value) in str(caught.value) or name == "epoch"
    assert "\n" not in str(caught.value)


def test_parameters_in_range_are_taken():
    check_parameters(
        epochs=20, learning_rate=1, validation=0.2, dropout=0, precision="mixed_bfloat16", run="a-b_c.1", data=""
    )


def test_a_config_holds_what_is_given_and_the_published_recipe_else():
    assert TrainConfig().is_published and TrainConfig(seed=7, precision="mixed_bfloat16").is_published
    assert not TrainConfig(epochs=2).is_published
    with pytest.raises(InputError, match="epochs=0"):
        TrainConfig(epochs=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainConfig().epochs = 3


def test_a_config_is_stored_and_read_again():
    layers = {"RandomZoom": {"height_factor": [-0.3, 0.1]}, "RandomFlip": {"mode": "horizontal"}}
    for config in (TrainConfig(), TrainConfig(augmentation=layers, dropout=0.3)):
        again = TrainConfig.from_json(json.loads(json.dumps(config.to_json(), sort_keys=True)))
        assert again == config and again.to_json() == config.to_json()
    stored = TrainConfig(augmentation=layers).to_json()
    assert [name for name, _ in stored["augmentation"]] == list(layers), "their order matters"
    for damaged in (None, [], {}, stored | {"epochs": 0}, stored | {"colour": "blue"}, stored | {"augmentation": 3}):
        with pytest.raises(InputError):
            TrainConfig.from_json(damaged)


def test_every_setting_is_described():
    described = TrainConfig.describe()
    assert list(described) == [field.name for field in dataclasses.fields(TrainConfig)] and set(described) <= set(
        PARAMETERS
    )
    assert described["epochs"] == "int = 20: passes over the training images; a whole number from 1 to 1000"


def test_two_views_need_a_preset_each_and_the_network_that_takes_them():
    two = {"network": "compact", "preprocessing": "two_views", "augmentation": "strong+mild"}
    config = TrainConfig(**two)
    assert config.views == 2 and TrainConfig().views == 1 and TrainConfig.from_json(config.to_json()) == config
    for wrong, sentence in (
        (
            {"augmentation": "strong"},
            "augmentation='strong' is for 1 of the views .*, which are 2; give one preset for each",
        ),
        ({"augmentation": "strong+mild+none"}, "is for 3 of the views"),
        ({"augmentation": "strong+medium"}, "Parameter augmentation='strong.medium' is not possible"),
        ({"preprocessing": "crop_chest"}, "is for 2 of the views that preprocessing='crop_chest' shows, which are 1"),
        ({"network": "baseline"}, "shows an image in 2 views, and only compact takes several; give network='compact'"),
    ):
        with pytest.raises(InputError, match=sentence):
            TrainConfig(**{**two, **wrong})
