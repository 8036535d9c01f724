"""What a study's YAML file says: its trials, what they are known by, and what is refused."""

import shutil

import pytest
from standin import GRID

from pnlib import checkpoint
from pnlib.base.errors import InputError
from pnlib.studies.grid import data_hash, read_study


@pytest.fixture
def read(tmp_path, tiny):
    """Write a study and read it."""

    def read(text, dataset=tiny):
        path = tmp_path / "small.yaml"
        path.write_text(text)
        return read_study(path, dataset)

    return read


def keys_of(study):
    return [trial.key for trial in study.trials]


def test_a_grid_becomes_trials(read, workspace):
    study = read(GRID)
    assert [str(trial) for trial in study.trials] == [
        "plain, seed 0",
        "plain, seed 1",
        "strong, seed 0",
        "strong, seed 1",
    ]
    assert study.trials[3].settings == {"epochs": 1, "batch_size": 16, "augmentation": "strong", "seed": 1}
    assert study.about == "does it count?" and not study.test and not study.finished()
    assert study.folder == workspace / "runs" / "studies" / "small"
    assert read("configs: {only: }").name == "small", "the file's name, where the study has none; defaults, seed 0"


def test_a_trial_is_known_by_what_its_result_depends_on(read, monkeypatch):
    keys = keys_of(read(GRID))
    assert len(set(keys)) == 4
    same = {"a name": ("name: small", "name: other"), "what it is about": ("it count", "it matter"), "how a config is called": ("strong:", "bold:"),
            "a default that is spelt out": ("epochs: 1,", "epochs: 1, network: baseline,")}  # fmt: skip
    for words, change in same.items():
        assert keys_of(read(GRID.replace(*change))) == keys, f"{words} changes no result"
    others = [GRID.replace("epochs: 1", "epochs: 2"), GRID.replace("[0, 1]", "[2, 3]"), GRID + "test: true\n"]
    for text in others:
        assert not set(keys) & set(keys_of(read(text)))
    for name, value in (("FORMAT", 99), ("versions", lambda: {"keras": "99"})):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, name, value)
            assert not set(keys) & set(keys_of(read(GRID))), f"another {name}, other trials"


def test_the_order_of_augmentation_layers_counts(read):
    layers = "a: {{augmentation: {{{}}}}}"
    zoom, flip = "RandomZoom: {height_factor: 0.1}", "RandomFlip: {mode: horizontal}"
    first, second = (
        keys_of(read("configs:\n  " + layers.format(", ".join(order)))) for order in ((zoom, flip), (flip, zoom))
    )
    assert first != second


def test_a_trial_is_known_by_its_images_wherever_they_are(read, tiny, tiny_folder, tmp_path):
    import pnlib

    copy = tmp_path / "elsewhere" / "chest_xray"
    shutil.copytree(tiny_folder, copy)
    assert data_hash(pnlib.find_dataset(str(copy))) == data_hash(tiny)
    with (copy / tiny.table.path[0]).open("ab") as file:
        file.write(b"x")
    changed = pnlib.find_dataset(str(copy))
    assert not set(keys_of(read(GRID))) & set(keys_of(read(GRID, changed)))
    (copy / tiny.table.path[0]).unlink()
    with pytest.raises(InputError, match=f"Cannot read .*{tiny.table.path[0]}: No such file"):
        data_hash(changed)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.replace("epochs: 1", "epoch: 1"), "'epoch'"),
        (lambda t: t.replace("epochs: 1", "seed: 1"), "'seed'"),
        (lambda t: t.replace("epochs: 1", "epochs: 0"), "epochs=0"),
        (lambda t: t.replace("augmentation: strong", "augmentation: wild"), "'wild'"),
        (lambda t: t.replace("[0, 1]", "3"), "seeds"),
        (lambda t: t.replace("[0, 1]", "[1, 1]"), "seeds"),
        (lambda t: t.replace("[0, 1]", "[0, x]"), "seed='x'"),
        (lambda t: t.replace("augmentation: strong", "augmentation: none"), "same settings"),
        (lambda t: t.replace("augmentation: strong", "augmentation: none, network: baseline"), "same settings"),
        (lambda t: t.replace("{augmentation: none}", "[none]"), "config 'plain' or `common:`"),
        (lambda t: t.replace("configs:", "config:"), "needs `configs:`"),
        (lambda t: t + "colour: blue\n", "colour"),
        (lambda t: t.replace("name: small", "name: ../evil"), "evil"),
        (lambda t: t + "test: maybe\n", "maybe"),
        (lambda t: t + "  bad: [\n", "is no YAML in line"),
        (lambda t: t + "day: 2020-99-99\n", "no YAML"),
        (lambda t: "!!python/object/apply:os.system ['touch hacked']", "no YAML"),
    ],
)
def test_a_bad_study_is_refused_in_one_sentence(change, words, read):
    with pytest.raises(InputError) as caught:
        read(change(GRID))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_study_that_is_not_there_is_named(tmp_path, tiny):
    with pytest.raises(InputError, match="Cannot read the study .*none.yaml: No such file or directory"):
        read_study(tmp_path / "none.yaml", tiny)
