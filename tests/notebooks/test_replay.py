"""The notebooks reproduce what they state, on the demo dataset, which every clone can draw: papermill executes the series with
small parameters, then nbval executes the results again and demands the same text in every checked cell and the same pictures."""

import os
import shutil
import subprocess
import sys

import pytest
from executing import environment_of, execute, nbval

from pnlib.base import files, paths
from pnlib.datasets import demo
from pnlib.runner import SERIES
from pnlib.runner.cli import main


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    """The series, executed by papermill on an eighth of the images that the demo has. While 01 to 04 run, the test images are
    empty files: reading a pixel of them fails."""
    folder = tmp_path_factory.mktemp("replay")
    dataset = folder / "data"
    dataset.mkdir()
    demo.draw_demo(dataset, counts={part: number // 8 for part, number in demo.COUNTS.items()})
    images = {path: path.read_bytes() for path in (dataset / "test").rglob("*.jpeg")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment_of(folder / "first", str(dataset)).items():
            patch.setenv(name, value)
        for path in images:
            path.write_bytes(b"")
        for name in SERIES[:4]:
            assert main(["run", "--only", name, *(["-p", "epochs", "1"] if name == "04_train" else [])]) == 0
        for path, content in images.items():
            path.write_bytes(content)
        assert main(["run", "--only", "05_evaluate", "-p", "resamples", "200"]) == 0
        assert main(["run", "--only", "08_predict"]) == 0
    return folder, str(dataset)


@pytest.mark.parametrize("name", (*SERIES, "08_predict"))
def test_replay_on_the_demo(replay, name):
    """A second execution, in another run folder, prints the same: the whole series is deterministic."""
    folder, dataset = replay
    executed = folder / "first" / "runs" / "default" / "notebooks" / f"{name}.ipynb"
    nbval(executed, environment_of(folder / "second", dataset))


# All at once: what each does alone is in tests/core, here it is about the notebook.
VARIANT = {
    "epochs": 1,
    "augmentation": "none",
    "sampling": "class_weights",
    "keep": "best",
    "network": "compact",
    "seed": 7,
}


def test_what_a_class_will_try_works(replay, tmp_path):
    """Other settings of 04, some of them in its parameter `settings`; no claim is made about them."""
    options = [word for parameter in VARIANT.items() for word in ("-p", *map(str, parameter))]
    execute(
        "--only", "04_train", "--name", "variant", *options, environment=environment_of(tmp_path / "first", replay[1])
    )
    executed = tmp_path / "first" / "runs" / "variant" / "notebooks" / "04_train.ipynb"
    text = executed.read_text(encoding="utf-8")
    assert "not checked" in text and ": holds" not in text


def test_the_demo_run_says_that_it_is_one(replay):
    folder = replay[0] / "first" / "runs" / "default"
    for name in SERIES:
        assert "DEMO DATA" in (folder / "notebooks" / f"{name}.html").read_text(), name
    assert {f.name for f in (folder / "figures").iterdir()} == {"normal.png", "pnm.png", "index.png"}
    metrics = files.read_json(folder / "evaluate" / "metrics.json")
    assert metrics["images"] == 24 and 0 < metrics["metrics"]["auroc"][0] < 1
    assert all(low <= value <= high for value, low, high in metrics["metrics"].values())


def test_papermills_own_line_works_from_both_places(replay, tmp_path):
    """From notebooks/ and from the project's root: the same pictures in the same place, relative folders included."""
    here = paths.root()
    relative = os.path.relpath(tmp_path, here)
    pictures = []
    for folder in ("notebooks", "."):
        source = os.path.relpath(here / "notebooks" / "01_explore.ipynb", here / folder)
        line = [
            sys.executable,
            "-m",
            "papermill",
            source,
            str(tmp_path / "out.ipynb"),
            "-p",
            "seed",
            "3",
            "-p",
            "run",
            "line",
        ]
        environment = environment_of(tmp_path, os.path.relpath(replay[1], here)) | {"PNLIB_RUNS": f"{relative}/runs"}
        done = subprocess.run(line, env=environment, cwd=here / folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        written = tmp_path / "runs" / "line" / "figures"
        pictures.append({file.name: file.read_bytes() for file in written.iterdir()})
        shutil.rmtree(written)
    assert pictures[0] == pictures[1] and set(pictures[0]) == {"normal.png", "pnm.png", "index.png"}
