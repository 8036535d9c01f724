"""`pnlib doctor`: all is well, or each problem with what to do about it."""

import importlib.metadata
import re
import shutil
import types

import psutil
import pytest

from pnlib.base import machine
from pnlib.runner import cli, doctor

VERSION = importlib.metadata.version


@pytest.fixture
def healthy(monkeypatch, tiny_folder):
    """A machine that has what the course needs, whatever this one has. TensorFlow isn't started."""
    monkeypatch.setenv("PNLIB_DATA", str(tiny_folder))
    monkeypatch.setattr(doctor, "START", "print('it starts')")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=8e9, total=16e9))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=5e9))
    monkeypatch.setattr(machine, "processor_features", lambda: frozenset({"avx", "avx2"}))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    installed = "".join(f"{name}>=1.0\n" for name in machine.PACKAGES) + 'onnx>=99; extra == "export"'
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: installed.splitlines())
    return monkeypatch


def test_a_healthy_machine_is_described(healthy, capsys):
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    for words in (f"keras {VERSION('keras')}", "avx avx2", "TensorFlow: it starts", "8.0 of 16.0 GB free", "DEMO DATA", "5.0 GB free", "All is well."):  # fmt: skip
        assert words in said, words
    assert "PROBLEM" not in said and "onnx" not in said, "packages of the extras may be missing"


def problem(healthy, capsys, *arguments):
    assert cli.main(["doctor", *arguments]) == 1
    said = capsys.readouterr().out
    assert said.endswith("\n1 problem.\n")
    (line,) = [line for line in said.splitlines() if line.startswith("PROBLEM")]
    return line


def missing(name):
    if name == "keras":
        raise importlib.metadata.PackageNotFoundError
    return VERSION(name)


@pytest.mark.parametrize(
    "broken, becomes, words",
    [
        ("importlib.metadata.requires", lambda _: ["numpy>=99.1"], "numpy .* is older than 99.1: install the project again"),
        ("importlib.metadata.version", missing, "keras is not installed: install the project again: pip install"),
        ("pnlib.base.machine.processor_features", lambda: frozenset({"sse2"}), "TensorFlow needs AVX; use another machine"),
        ("pnlib.runner.doctor.START", "import os; os.kill(os.getpid(), 4)", "TensorFlow: status -4: install the project again"),
        ("pnlib.runner.doctor.START", "import no_such_module", "No module named 'no_such_module'"),
        ("psutil.virtual_memory", lambda: types.SimpleNamespace(available=1e9, total=16e9), "1.0 of 16.0 GB free: a training may need 3 GB"),
    ],
)  # fmt: skip
def test_each_problem_comes_with_what_to_do(healthy, capsys, broken, becomes, words):
    healthy.setattr(broken, becomes)
    line = problem(healthy, capsys)
    assert re.search(words, line), line


def test_a_missing_dataset_is_a_problem(healthy, capsys, tmp_path):
    line = problem(healthy, capsys, "--data", str(tmp_path / "nowhere"))
    assert "There is no dataset folder" in line and "pnlib download" in line


def test_a_full_disk_and_a_closed_folder_are_problems(healthy, capsys, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    assert cli.main(["doctor"]) == 1
    assert "it can't be written; name another folder with PNLIB_RUNS" in capsys.readouterr().out
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=1e8))
    assert cli.main(["doctor"]) == 1
    assert "0.1 GB free: a run may need 1 GB; free some space, or name another folder with PNLIB_CACHE" in capsys.readouterr().out  # fmt: skip


def test_tensorflow_is_started_for_real():
    ((said, advice),) = doctor._tensorflow("")
    assert said.startswith("TensorFlow: it starts and computes") and not advice
