"""Every test reads a small synthetic dataset and writes below a temporary folder; the user's runs and caches stay untouched."""

import os

import hypothesis
import pytest

import pnlib
from pnlib.datasets import demo

# What the notebook checks use: the real data where the caller has it. Unit tests never do.
REAL_DATA = os.environ.get("PNLIB_DATA", "")
COUNTS = {("train", "NORMAL"): 16, ("train", "PNEUMONIA"): 48, ("test", "NORMAL"): 6, ("test", "PNEUMONIA"): 10}

# These start, kill and starve processes as POSIX has it, or read files of kinds that it alone has.
if os.name != "posix":
    collect_ignore = [
        f"{name}.py"
        for name in (
            "core/test_fuzz",
            "core/test_fuzz_files",
            "core/test_memory",
            "core/test_odd_images",
            "core/test_resume",
            "runner/test_faults_files",
            "runner/test_faults_training",
            "runner/test_signals",
            "studies/test_cluster",
        )
    ]

# Of the fuzz tests: the same few examples each time, or with --hypothesis-profile=long many new ones.
hypothesis.settings.register_profile(
    "quick",
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.register_profile(
    "long", hypothesis.settings.get_profile("quick"), max_examples=1000, derandomize=False
)
hypothesis.settings.load_profile("quick")


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    """PNLIB_RUNS and PNLIB_CACHE in a temporary folder; no dataset from outside."""
    monkeypatch.setenv("PNLIB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("PNLIB_CACHE", str(tmp_path / "cache"))
    for name in ("PNLIB_DATA", "PNLIB_DAMAGED"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A demo dataset of 80 images, drawn once."""
    folder = tmp_path_factory.mktemp("tiny") / "chest_xray"
    folder.mkdir()
    demo.draw_demo(folder, seed=3, counts=COUNTS)
    return folder


@pytest.fixture
def tiny(tiny_folder):
    return pnlib.find_dataset(str(tiny_folder))
