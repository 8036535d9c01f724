"""Every test reads a small synthetic dataset and writes below a temporary folder; the user's runs and caches stay untouched."""

import io
import os
import zipfile

import hypothesis
import pytest

from pnlib import data, demo

# What the notebook checks use: the real data where the caller has it. Unit tests never do.
REAL_DATA = os.environ.get("PNLIB_DATA", "")
COUNTS = {("train", "NORMAL"): 16, ("train", "PNEUMONIA"): 48, ("test", "NORMAL"): 6, ("test", "PNEUMONIA"): 10}

# Of tests/test_fuzz.py: the same few examples each time, or with --hypothesis-profile=long many new ones.
hypothesis.settings.register_profile(
    "quick",
    max_examples=40,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.register_profile(
    "long", hypothesis.settings.get_profile("quick"), max_examples=1000, derandomize=False
)
hypothesis.settings.load_profile("quick")

# `make test` runs four tests at a time. The files that take longest come first. One worker has all tests of a file, since they
# share what takes long to make, except where each makes its own: those go to whichever worker is free.
LONG = ("test_published.py", "test_replay.py", "test_learning.py", "test_faults.py", "test_exam.py", "test_study.py")
APART = LONG[2:]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """In place of --dist loadgroup, whose groups pytest-xdist 3.8 loses, without a word, under pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::", 1)[0]
            return nodeid if file.rsplit("/", 1)[-1] in APART else file

    return Scheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


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
    demo.make(folder, seed=3, counts=COUNTS)
    return folder


@pytest.fixture
def tiny(tiny_folder):
    return data.find(str(tiny_folder))


def arrays_in(path) -> list[bytes]:
    """The arrays of a weights file, as bytes."""
    import h5py

    found = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append(item[()].tobytes()) if isinstance(item, h5py.Dataset) else None)
    return found


def archived(**members: bytes) -> bytes:
    """A .npz archive of these members, whatever they hold."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, member in members.items():
            file.writestr(f"{name}.npy", member)
    return content.getvalue()
