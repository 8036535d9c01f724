"""What other people's environments do: backends, kernels, folders. Each was a silent fault or a foreign error."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

import pnlib
from pnlib.base import files, paths
from pnlib.base.errors import InputError
from pnlib.datasets import demo
from pnlib.runner import notebooks

PACKAGE = Path(pnlib.__file__).parent


def python(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PNLIB_")}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=clean | environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture
def away(tmp_path):
    """The package apart from a clone, and a folder of another project that has notebooks, too."""
    shutil.copytree(PACKAGE, tmp_path / "site" / "pnlib", ignore=shutil.ignore_patterns("__pycache__"))
    other = tmp_path / "other"
    (other / "notebooks").mkdir(parents=True)
    (other / "pyproject.toml").write_text('[project]\nname = "mine"\n')
    return other


AWAY = """
import pnlib
from pnlib.base import paths
from pnlib.runner.cli import main
assert paths.project() is None
for call in (paths.runs_dir, paths.cache_dir, lambda: pnlib.load_reference("compact"), lambda: pnlib.find_dataset()):
    try:
        call()
    except pnlib.InputError as error:
        print(error)
print(main(["run", "-p", "epochs", "1"]))
"""


def test_away_from_a_clone_nothing_is_written_unasked_and_each_sentence_says_why(away):
    done = python(AWAY, away, PYTHONPATH=str(away.parent / "site"), PYTHONSAFEPATH="1", PYTHONDONTWRITEBYTECODE="1")
    assert (
        done.stdout.count(
            "This is no folder of the course: make one with `pnlib notebooks FOLDER` and go there, or say"
        )
        == 3
    ), done.stdout + done.stderr
    assert "a clone of the project or its wheel brings it" in done.stdout and done.stdout.endswith("\n2\n")
    assert "run pnlib in a clone of the project" in done.stderr and "Traceback" not in done.stderr
    assert sorted(p.name for p in away.rglob("*")) == ["notebooks", "pyproject.toml"]


def test_away_from_a_clone_folders_may_be_named(away):
    code = "from pnlib.base import paths; print(paths.runs_dir(), paths.demo_dir())"
    named = {"PNLIB_RUNS": str(away / "r"), "PNLIB_CACHE": str(away / "c")}
    done = python(code, away, PYTHONPATH=str(away.parent / "site"), PYTHONSAFEPATH="1", **named)
    assert done.stdout.split() == [str(away / "r"), str(away / "c")], done.stderr


def test_keras_runs_on_tensorflow_whatever_the_environment_says(tmp_path):
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(
        json.dumps({"backend": "jax", "floatx": "float64", "image_data_format": "channels_first"})
    )
    code = "import pnlib; print(pnlib.build_network('baseline').count_params())"
    done = python(code, tmp_path, KERAS_BACKEND="torch", KERAS_HOME=str(tmp_path / ".keras"), TF_CPP_MIN_LOG_LEVEL="3")
    assert done.stdout == "6794881\n", done.stderr[-2000:]


@pytest.fixture
def small_series(tmp_path, monkeypatch):
    """A project with one notebook: which Python runs it, and a figure."""
    project = tmp_path / "project"
    (project / "notebooks").mkdir(parents=True)
    (project / "pyproject.toml").write_text('[project]\nname = "pnlib"\n')
    sources = ("import sys; print(sys.executable)", "from pnlib import plots\nplots.new_figure(2, 2)[0]")
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), project / "notebooks" / "01_explore.ipynb")
    monkeypatch.chdir(project)
    monkeypatch.setenv("PYTHONPATH", str(PACKAGE.parent))
    return project


def test_a_notebook_runs_on_this_python_and_shows_its_figures(small_series, tmp_path, monkeypatch):
    """Although somebody's kernel `python3` is another Python, and MPLBACKEND is that of a cluster."""
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = ["/nowhere/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebooks.execute("01_explore", tmp_path / "out.ipynb", {})
    first, second = nbformat.read(tmp_path / "out.ipynb", 4).cells
    assert first.outputs[0].text == sys.executable + "\n"
    assert "image/png" in second.outputs[0].data
    assert os.environ["JUPYTER_PATH"] == str(tmp_path / "jupyter")


def test_a_kernel_that_cannot_start_is_said_to_be_that(small_series, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(notebooks.NotebookFailed, match="01_explore failed: its kernel can't start"):
        notebooks.execute("01_explore", tmp_path / "out.ipynb", {})


def test_the_demo_goes_where_the_cache_goes_and_a_failed_write_names_the_variables(tmp_path):
    assert paths.demo_dir() == paths.cache_dir() == tmp_path / "cache"
    with pytest.raises(InputError, match="free some space, or name other folders in PNLIB_RUNS and PNLIB_CACHE"):
        files.atomic_write("/proc/nowhere/x", "content")


def test_eight_images_of_each_class_are_enough_for_the_first_notebook(tmp_path, monkeypatch):
    folder = tmp_path / "few"
    folder.mkdir()
    counts = {(part, kind): 8 for part in ("train", "test") for kind in ("NORMAL", "PNEUMONIA")}
    demo.draw_demo(folder, seed=2, counts=counts)
    for number, path in enumerate(sorted((folder / "train" / "PNEUMONIA").iterdir())):
        path.rename(path.with_name(f"person{number + 1}_virus_{number + 1}.jpeg"))
    monkeypatch.setenv("PNLIB_DATA", str(folder))
    notebooks.execute("01_explore", tmp_path / "out.ipynb", {})


def test_grad_cam_of_a_network_inside_a_network_and_of_one_without_a_dense_end():
    import keras

    layers = keras.layers
    base = keras.Sequential(
        [keras.Input((150, 150, 1)), layers.Conv2D(4, 5, strides=5, activation="relu")], name="base"
    )
    image = keras.Input((150, 150, 1))
    x = layers.GlobalAveragePooling2D()(base(image))
    nested = keras.Model(image, layers.Dense(1, activation="sigmoid")(x))
    images = np.random.default_rng(0).integers(0, 255, (2, 150, 150, 1), np.uint8)
    heat = pnlib.Classifier(nested, pnlib.TrainConfig(preprocessing="none")).grad_cam(images)
    assert heat.shape == (2, 150, 150) and 0 <= heat.min() and heat.max() <= 1
    open_end = keras.Sequential([*base.layers, layers.GlobalAveragePooling2D(), layers.Activation("sigmoid")])
    open_end.build((None, 150, 150, 1))
    with pytest.raises(InputError, match="Grad-CAM needs a dense one at the end"):
        pnlib.Classifier(open_end, pnlib.TrainConfig(preprocessing="none")).grad_cam(images)
