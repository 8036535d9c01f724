"""One trial as users run it: `pnlib study`, a scheduler and a worker over tcp, papermill, 04_train. Nothing that trains or
chooses opens a test image: an audit hook in each of these processes notes every file that Python opens."""

import contextlib
import os
import socket
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import PIL.Image
import pytest
from sklearn.metrics import roc_auc_score

from pnlib.studies import cluster
from pnlib.studies.grid import read_study

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
GRID = """
name: real
common: {epochs: 1, batch_size: 16, network: compact, preprocessing: standardize, augmentation: none, sampling: oversample}
configs: {only: {validation: 0.25}}
"""


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Which images of a part were opened, by any process started from here."""
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("OPENED", str(tmp_path / "opened"))

    def opened(words):
        log = tmp_path / "opened"
        return {line for line in (log.read_text().splitlines() if log.exists() else []) if words in line}

    return opened


@contextlib.contextmanager
def over_tcp(folder):
    """A Dask scheduler and a worker, each a process of its own; the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    worker = ["worker", address, "--nthreads", "1", "--no-nanny", "--local-directory", str(folder)]
    started = [
        subprocess.Popen([sys.executable, "-m", f"distributed.cli.dask_{kind}", *line, "--no-dashboard"], stderr=subprocess.DEVNULL)
        for kind, *line in (["scheduler", "--host", address], worker)
    ]  # fmt: skip
    try:
        yield address
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_real_trial_over_tcp_opens_no_test_image(tiny_folder, tiny, tmp_path, opened):
    (tmp_path / "real.yaml").write_text(GRID)
    line = [sys.executable, "-m", "pnlib", "study", str(tmp_path / "real.yaml"), "--data", str(tiny_folder)]
    with over_tcp(tmp_path) as address:
        done = subprocess.run(
            [*line, "--scheduler", address, "--threads", "1"], capture_output=True, text=True, timeout=500
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1/1  only, seed 0: AUROC" in done.stdout

    assert len(opened("/train/")) >= 64, "the watch sees what is opened"
    assert not opened("/test/") and not opened("05_evaluate.ipynb")

    study = read_study(tmp_path / "real.yaml", tiny)
    (trial,) = study.finished()
    folder = study.folder_of(trial)
    kept = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert kept == sorted(["trial.json", "notebooks/04_train.ipynb", *cluster.KEPT])
    stressed = pd.read_csv(folder / "train" / "stress.csv")
    row = pd.read_csv(study.folder / "table.csv").loc[0]
    assert row["auroc random"] == pytest.approx(roc_auc_score(stressed.label, stressed["as it is"]), abs=1e-5)
    assert row["setting network"] == "compact" and "test accuracy" not in row

    notebook = nbformat.read(folder / "notebooks" / "04_train.ipynb", 4)
    injected = next(cell.source for cell in notebook.cells if "injected-parameters" in cell.metadata.get("tags", []))
    assert "settings = " in injected and "'validation': 0.25" in injected.replace('"', "'")
    assert "dask-scratch-space" not in str([cell.get("outputs") for cell in notebook.cells]), "no path of the worker"


SPLITS = """
import sys, pnlib
dataset = pnlib.find_dataset(sys.argv[1])
if sys.argv[2:]:
    pnlib.load_images(dataset, dataset.rows("test"))
else:
    for settings in ({"split": "shifted", "sampling": "none"}, {"preprocessing": "crop_chest"}):
        print(len(pnlib.training_data(dataset, pnlib.TrainConfig(**settings))[0]), end=" ")
"""


def test_a_split_and_sampling_weights_made_of_pixels_open_no_test_image(tmp_path, opened):
    """A shifted split, and overlap weights, look at images before anything is trained. Where test images are asked for,
    the watch sees them."""
    rng = np.random.default_rng(0)
    for part, number in (("train", 45), ("test", 2)):
        for i in range(number):
            for kind, name in (("NORMAL", f"IM-{i:04d}-0001"), ("PNEUMONIA", f"person{i}_virus_{i}")):
                path = tmp_path / "images" / part / kind / f"{name}.jpeg"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 128, (40, 48), np.uint8)
                pixels[:, 18:30] += 100  # a spine: else it would be said that they look inverted
                PIL.Image.fromarray(pixels).save(path)
    for asked, printed, parts in (([], "90 90 ", ["/train/"]), (["test"], "", ["/train/", "/test/"])):
        line = [sys.executable, "-c", SPLITS, str(tmp_path / "images"), *asked]
        assert subprocess.run(line, check=True, capture_output=True, text=True).stdout == printed
        assert [part for part in ("/train/", "/test/") if opened(part)] == parts
