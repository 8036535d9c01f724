"""A study on Dask: what is kept, whatever is killed. The stand-in takes papermill's place (test_real_trial.py has papermill)."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import distributed
import pandas as pd
import pytest
import standin
from standin import GRID

from pnlib.runner import cli, notebooks
from pnlib.studies import cluster
from pnlib.studies.grid import computes_with, read_study


@pytest.fixture
def line(tmp_path, tiny_folder, monkeypatch):
    """A command line; its workers execute with the stand-in, which other processes must find."""
    (tmp_path / "small.yaml").write_text(GRID)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.setenv("STANDIN_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("STANDIN_STORED", str(tmp_path / "runs" / "studies" / "small" / "trials"))
    monkeypatch.setattr(notebooks, "execute", standin.execute)
    return ["study", str(tmp_path / "small.yaml"), "--data", str(tiny_folder), "--workers", "1"]


@pytest.fixture
def study(line, tiny):
    return read_study(line[1], tiny)


def executions(folder) -> list:
    """[augmentation, seed, process, threads] of each."""
    log = folder / "log"
    return [json.loads(entry)[1:] for entry in log.read_text().splitlines()] if log.exists() else []


def wait_for(condition, seconds: int = 60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"nothing happened for {seconds} seconds"
        time.sleep(0.1)


@contextlib.contextmanager
def over_tcp(workers: int, folder):
    """A Dask scheduler and workers, each a process of its own: its address, the scheduler, and how to start a worker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    started = []

    def start(*arguments):
        dask = [sys.executable, "-m", f"distributed.cli.dask_{arguments[0]}", *arguments[1:], "--no-dashboard"]
        started.append(subprocess.Popen(dask, stderr=subprocess.DEVNULL, cwd=folder))
        return started[-1]

    def start_worker():
        return start("worker", address, "--nthreads", "1", "--no-nanny", "--local-directory", str(folder))

    try:
        scheduler = start("scheduler", "--host", address)
        for _ in range(workers):
            start_worker()
        yield address, scheduler, start_worker
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_study_runs_keeps_what_is_finished_and_reports(line, tmp_path, capsys, workspace, monkeypatch):
    line = [*line[:-1], "2", "--threads", "1"]
    monkeypatch.setenv("STANDIN_FAILS", "strong")
    assert cli.main(line) == 1
    captured = capsys.readouterr()
    assert captured.out.count("FAILED strong") == 2 and "2 of 4 trials failed" in captured.err
    assert "04_train failed in cell 7" in captured.out and "partial output lies in …/trial/notebooks" in captured.out
    assert "does it count?" in captured.out and "dashboard: http" in captured.out
    assert len(executions(tmp_path)) == 4, "a failed notebook is not tried thrice"
    monkeypatch.delenv("STANDIN_FAILS")
    assert cli.main(line) == 0
    ran = executions(tmp_path)
    assert sorted(e[:2] for e in ran[4:]) == [["strong", 0], ["strong", 1]] and {e[3] for e in ran} == {"1"}
    folder = workspace / "runs" / "studies" / "small"
    table = pd.read_csv(folder / "table.csv")
    assert list(zip(table.config, table.seed, strict=True)) == [
        ("plain", 0),
        ("plain", 1),
        ("strong", 0),
        ("strong", 1),
    ]
    assert (folder / "plot.png").stat().st_size > 5000
    kept = [
        sorted(p.relative_to(trial).as_posix() for p in trial.rglob("*.*")) for trial in (folder / "trials").iterdir()
    ]
    assert kept == [sorted(["trial.json", "notebooks/04_train.ipynb", *cluster.KEPT])] * 4
    capsys.readouterr()
    assert cli.main(line) == 0 and len(executions(tmp_path)) == 6
    assert "4 finished before" in capsys.readouterr().out


def test_one_of_two_workers_killed_gives_the_table_of_one(line, study, tiny, tmp_path, monkeypatch):
    """And what the killed worker leaves is cleared away by the next one that starts there."""
    scratch = "dask-scratch-space*/*/pnlib-trial-*/trial/begun"
    with monkeypatch.context() as patch:
        patch.setenv("STANDIN_KILLS", "worker")
        with over_tcp(2, tmp_path) as (address, _, start_worker):
            assert cluster.run_study(study, tiny, standin.execute, cluster.Cluster(address)) == 0
            ran = executions(tmp_path)
            assert len(ran) == 5 and len({tuple(e[:2]) for e in ran}) == 4, "the killed trial was done again, elsewhere"
            assert ran[0][2] not in {e[2] for e in ran[1:]}
            assert len(list(tmp_path.glob(scratch))) == 1, "killed, it could not clear up itself"
            start_worker()
            wait_for(lambda: not list(tmp_path.glob(scratch)))
    first = pd.read_csv(study.folder / "table.csv").drop(columns="seconds")
    monkeypatch.setenv("PNLIB_RUNS", str(tmp_path / "alone"))
    assert cli.main(line) == 0
    second = pd.read_csv(study.folder / "table.csv").drop(columns="seconds")
    pd.testing.assert_frame_equal(first, second)


def test_a_killed_scheduler_costs_only_what_was_half_done(line, study, tmp_path, monkeypatch, capfd):
    with over_tcp(0, tmp_path) as (address, scheduler, start_worker), monkeypatch.context() as patch:
        patch.setenv("STANDIN_KILLS", str(scheduler.pid))
        start_worker()
        assert cli.main([*line[:-2], "--scheduler", address]) == 2
    errors = capfd.readouterr().err
    assert "run the same line again, finished trials are kept" in errors and "Traceback" not in errors
    assert_the_same_line_does_the_rest(line, study, tmp_path)


def test_a_killed_client_costs_only_what_was_half_done(line, study, tmp_path, tiny_folder, monkeypatch):
    """Killed together with its workers, as by a batch queue."""
    code = """
import sys, pnlib, standin
from pnlib.studies import cluster
from pnlib.studies.grid import read_study
if __name__ == "__main__":
    dataset = pnlib.find_dataset(sys.argv[2])
    cluster.run_study(read_study(sys.argv[1], dataset), dataset, standin.execute, cluster.Cluster(workers=1))
"""
    (tmp_path / "client.py").write_text(code)
    client = [sys.executable, str(tmp_path / "client.py"), line[1], str(tiny_folder)]
    environment = os.environ | {"STANDIN_KILLS": "group"}
    done = subprocess.run(client, env=environment, start_new_session=True, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert_the_same_line_does_the_rest(line, study, tmp_path)


def assert_the_same_line_does_the_rest(line, study, tmp_path):
    kept, before = len(study.finished()), len(executions(tmp_path))
    assert 1 <= kept < 4
    assert cli.main(line) == 0
    assert len(executions(tmp_path)) == before + 4 - kept and len(study.finished()) == 4


DYING = """
import os, signal, sys
import pnlib
from pnlib.base import files
from pnlib.studies import cluster
from pnlib.studies.grid import read_study

study = read_study(sys.argv[1], pnlib.find_dataset(sys.argv[2]))
real = files.atomic_write
for number in range(4):
    if not (pid := os.fork()):
        written = []

        def dying(path, content):
            if len(written) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            written.append(path)
            real(path, content)

        files.atomic_write = dying
        cluster.store(study, study.trials[0], {"files": {"a.txt": b"a", "b.txt": b"b"}, "seconds": 1.0})
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), len(study.finished()), study.folder_of(study.trials[0]).exists())
"""


def test_a_client_killed_while_it_stores_leaves_no_half_trial(line, study, tiny_folder):
    """Killed at each of the three writes of a trial, and at none."""
    done = subprocess.run([sys.executable, "-c", DYING, line[1], str(tiny_folder)], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["-9 0 False"] * 3 + ["0 1 True"], done.stderr


def test_a_worker_without_the_clients_folder_takes_its_own_images(study, tiny_folder, tmp_path, monkeypatch):
    """Workers that don't share a disk: the same images are elsewhere there, and PNLIB_DATA says where."""
    own = tmp_path / "elsewhere" / "chest_xray"
    shutil.copytree(tiny_folder, own)
    asked = []

    def execute(name, output, values):
        asked.append(values["data"])
        standin.execute(name, output, values)

    trial = dataclasses.asdict(study.trials[0])
    expected = {**computes_with(), "data": study.data_hash, "is_demo": False}
    monkeypatch.setenv("PNLIB_DATA", str(own))
    answer = cluster.run_trial(trial, "/not/on/this/machine", expected, 1, execute)
    assert asked == [str(own)] and answer["files"]["train/history.csv"] == b"epoch\n1\n"
    monkeypatch.setenv("PNLIB_DATA", str(tmp_path / "nothing"))
    assert "nothing" in cluster.run_trial(trial, "/not/on/this/machine", expected, 1, execute)["error"]


def test_a_worker_with_other_versions_or_images_refuses(study, tiny_folder):
    trial = dataclasses.asdict(study.trials[0])
    expected = {**computes_with(), "data": study.data_hash, "is_demo": True}
    for name, words in (("format", "another version"), ("versions", "another version"), ("data", "other images")):
        answer = cluster.run_trial(trial, str(tiny_folder), expected | {name: "x"}, 1, standin.execute)
        assert words in answer["error"]


def test_a_trial_leaves_its_environment_as_it_was(study, tiny_folder, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    before, expected = dict(os.environ), {**computes_with(), "data": study.data_hash, "is_demo": True}
    assert cluster.run_trial(dataclasses.asdict(study.trials[0]), str(tiny_folder), expected, 3, standin.execute)[
        "files"
    ]
    assert dict(os.environ) == before


def test_no_scheduler_no_traceback(line, capsys, monkeypatch):
    real = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda address, timeout: real(address, timeout="1s"))
    assert cli.main([*line[:-2], "--scheduler", "tcp://127.0.0.1:9"]) == 2
    assert "No Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda line: [*line, "--table"], "has no finished trial yet; run it without --table"),
        (lambda line: [line[0], line[1] + "x", *line[2:]], "small.yamlx"),
        (lambda line: [*line[:-1], "-2"], "--workers -2 is not possible"),
    ],
)
def test_a_study_that_cannot_run_gives_one_sentence(line, change, words, capsys):
    assert cli.main(change(line)) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
