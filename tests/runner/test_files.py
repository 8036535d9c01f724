"""Files, folders and the machine: written whole or not at all, found from everywhere, described without names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pnlib
from pnlib.base import files, machine, paths
from pnlib.base.errors import InputError


def test_root_is_found_from_every_folder(tmp_path, monkeypatch):
    here = paths.root()
    assert (here / "notebooks").is_dir()
    for folder in (here, here / "notebooks", here / "pnlib", tmp_path):
        monkeypatch.chdir(folder)
        assert paths.root() == here
    monkeypatch.chdir(here / "notebooks")
    assert paths.resolve("pnlib") == here / "pnlib", (
        "relative to the project where the current folder has no such thing"
    )
    assert paths.resolve("01_explore.ipynb") == here / "notebooks" / "01_explore.ipynb"


def test_a_folder_named_like_a_home_folder_that_does_not_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("~nobody-of-this-name").mkdir()
    assert paths.resolve("~nobody-of-this-name") == tmp_path / "~nobody-of-this-name"


def test_a_run_needs_a_name_that_a_folder_may_have(workspace):
    assert paths.run_dir("a-b_c.1") == workspace / "runs" / "a-b_c.1"
    for name in ("", "../up", "a/b", ".hidden", "a" * 65):
        with pytest.raises(InputError, match="is not possible; give a name of letters, digits"):
            paths.run_dir(name)
    assert paths.shown(workspace / "runs" / "one" / "train") == "runs/one/train"


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write_json(path, {"x": 1})
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(InputError, match="Cannot write .*a.json: No space left on device; free some space"):
        files.write_json(path, {"x": 2})
    assert files.read_json(path) == {"x": 1} and os.listdir(tmp_path) == ["a.json"]
    with pytest.raises(ValueError):
        files.write_json(path, float("nan"))


def test_damaged_json_is_named(tmp_path):
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.json").write_text("[" * 100_000)
    for name in ("b.json", "c.json", "missing.json"):
        with pytest.raises(InputError, match=f"Cannot read .*{name}"):
            files.read_json(tmp_path / name)


def test_older_folders_are_kept(tmp_path):
    for content in "abc":
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / content).touch()
        files.put_in_place(tmp_path / "new", tmp_path / "final")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("?")) == ["final/c", "final~1/a", "final~2/b"]


def test_two_jobs_of_one_run_have_two_locks(tmp_path):
    with files.locked(tmp_path / "one", "training"):
        with files.locked(tmp_path / "one", "executing notebooks"), files.locked(tmp_path / "two", "training"):
            pass
        with pytest.raises(InputError, match="Another process is training under the name 'one'; wait until it is done"):
            with files.locked(tmp_path / "one", "training"):
                pass
    with files.locked(tmp_path / "one", "training"):
        pass


def test_a_run_without_a_training_says_what_to_run_first(workspace):
    with pytest.raises(InputError, match="run 04_train with run='default' first"):
        pnlib.load_run("default")


def test_the_environment_says_what_a_result_depends_on():
    found = machine.environment()
    assert found["packages"]["tensorflow"] and found["python"] and found["cores"] == os.cpu_count()
    assert os.uname().nodename not in str(found), "the machine's kind, not its name"


@pytest.mark.parametrize("text, number", [("3", 3), ("2,1", 2), ("0", None), ("many", None), ("", None)])
def test_decoding_takes_as_many_threads_as_omp_num_threads_says(text, number, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert machine.threads() == (number or os.cpu_count())


def test_an_import_is_light_and_tensorflow_is_quiet():
    code = """
import pkgutil, sys, importlib, pnlib
for module in pkgutil.walk_packages(pnlib.__path__, "pnlib."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print([name for name in ("tensorflow", "keras", "papermill", "distributed") if name in sys.modules])
pnlib.quiet_tensorflow()
import keras
keras.ops.ones(1)
print("heard", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert done.stderr == "heard\n", "no start-up log, and stderr works afterwards"
