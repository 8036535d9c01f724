"""Every test reads a small synthetic dataset and writes below a temporary folder; the user's runs and caches stay untouched."""

import os

import pytest

from pnlib import data, demo

# What the notebook checks use: the real data where the caller has it. Unit tests never do.
REAL_DATA = os.environ.get("PNLIB_DATA", "")
COUNTS = {("train", "NORMAL"): 16, ("train", "PNEUMONIA"): 48, ("test", "NORMAL"): 6, ("test", "PNEUMONIA"): 10}


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    """PNLIB_RUNS and PNLIB_CACHE in a temporary folder; no dataset from outside."""
    monkeypatch.setenv("PNLIB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("PNLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PNLIB_DATA", raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A demo dataset of 80 images, drawn once."""
    folder = tmp_path_factory.mktemp("tiny") / "chest_xray"
    folder.mkdir()
    demo.make(folder, seed=3, counts=COUNTS)
    return folder


@pytest.fixture
def tiny(tiny_folder):
    return data.find(str(tiny_folder))
