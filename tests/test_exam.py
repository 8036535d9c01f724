"""Nothing that trains or chooses opens a test image: every file that Python opens is watched, by an audit hook in each
process that a run starts."""

import shutil

import pytest

from pnlib import cli, demo

WATCH = """
import os, sys

def watch(event, arguments, log=os.environ["OPENED"]):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.fsdecode(arguments[0])
        if path.endswith((".jpeg", ".npy", ".ipynb")) and path != log:
            number = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(number, (path + "\\n").encode())
            os.close(number)

sys.addaudithook(watch)
"""
STUDY = """
common: {epochs: 1, batch_size: 16, network: founding}
recipes:
  shifted: {augmentation: none, split: shifted}
  chest: {network: compact, preparation: chest, augmentation: none}
"""


@pytest.fixture
def opened(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("OPENED", str(tmp_path / "opened"))
    return lambda: (tmp_path / "opened").read_text().splitlines()


@pytest.fixture
def images(tmp_path):
    """Images enough for a shifted split; those of the test part can be opened, so that nothing but the code keeps them
    closed."""
    folder = tmp_path / "chest_xray"
    folder.mkdir()
    counts = {("train", "NORMAL"): 70, ("train", "PNEUMONIA"): 140, ("test", "NORMAL"): 6, ("test", "PNEUMONIA"): 10}
    demo.make(folder, seed=1, counts=counts)
    yield folder
    shutil.rmtree(folder)


def of_part(paths, part):
    return [p for p in paths if f"/{part}/" in p and p.endswith(".jpeg")]


def test_training_and_the_search_of_a_study_open_no_test_image(images, opened, tmp_path, capsys):
    """Whether validation patients are held out against shortcuts or drawn at random, and whatever of an image is shown."""
    study = tmp_path / "search.yaml"
    study.write_text(STUDY)
    status = cli.main(["study", str(study), "--data", str(images), "--workers", "1"])
    output = capsys.readouterr()
    assert status == 0, output.out + output.err
    paths = opened()
    assert len(set(of_part(paths, "train"))) == 210, "the watch sees what is opened"
    assert not of_part(paths, "test")
    assert not [p for p in paths if p.endswith("05_evaluate.ipynb")]
    assert len(list((tmp_path / "runs" / "studies" / "search" / "cells").glob("*/train/validation.csv"))) == 2


def test_the_final_table_of_a_study_opens_them(tiny_folder, opened, tmp_path, capsys):
    """The counterpart: where the exam is asked for, the watch sees it."""
    study = tmp_path / "final.yaml"
    study.write_text(
        "common: {epochs: 1, batch_size: 16, network: founding, augmentation: none, validation: 0.25}\nrecipes: {one: }\ntest: true\n"
    )
    assert cli.main(["study", str(study), "--data", str(tiny_folder), "--workers", "1"]) == 0, capsys.readouterr()
    assert len(set(of_part(opened(), "test"))) == 16
    table = (tmp_path / "runs" / "studies" / "final" / "table.csv").read_text()
    assert "test accuracy" in table.splitlines()[0]
