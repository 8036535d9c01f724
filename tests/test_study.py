"""pnlib study: cells on Dask, kept by what they are made of, whoever is killed. (The slow parts of 04_train are replaced:
tests/test_notebooks.py executes it.)"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from pnlib import cli, study
from pnlib.errors import InputError

GRID = """
name: small
about: does it count?
common: {epochs: 1, batch_size: 16}
recipes:
  plain: {augmentation: none}
  wide: {augmentation: wide}
seeds: [0, 1]
"""

# A stand-in for papermill in the workers: it sleeps, says which process it ran in, and leaves a cell's files.
STANDIN = """
import json, os, time
from pathlib import Path
from pnlib import notebooks

def execute(name, output, values, echo=True):
    log = Path(os.environ["STANDIN_LOG"])
    with log.open("a") as file:
        file.write(json.dumps([values["augmentation"], values["seed"], os.getpid(), os.environ["OMP_NUM_THREADS"]]) + "\\n")
    (output.parent.parent.parent / "begun").touch()
    time.sleep(float(os.environ.get("STANDIN_SECONDS", 0)))
    if values["augmentation"] == os.environ.get("STANDIN_FAILS"):
        raise notebooks.NotebookFailed("04_train failed in cell 7")
    train = output.parent.parent / "train"
    train.mkdir(parents=True)
    (train / "parameters.json").write_text(json.dumps(values))
    (train / "environment.json").write_text("{}")
    (train / "history.csv").write_text("epoch\\n1\\n")
    auroc = 0.9 + 0.01 * values["seed"] + (0.02 if values["augmentation"] == "wide" else 0)
    lines = ["name,kind,images,auroc,sensitivity,specificity,brier", f"random,group,9,{auroc},0.9,0.8,0.1",
             f"framing,group,9,{auroc - 0.1},0.9,0.8,0.1", f"blur,change,9,{auroc - 0.2},0.9,0.8,0.1"]
    (train / "validation.csv").write_text("\\n".join(lines))
    (train / "crossed.csv").write_text(f"normal,as it is,blur\\nas it is,{auroc},0.9\\nblur,0.8,{auroc - 0.2}\\n")
    answers = ["path,label,patient,random,framing,all,blur,swapped"]
    for i in range(40):
        label = i % 2
        better = 0.02 * values["seed"] + 0.05 * (values["augmentation"] == "wide")
        p = (0.6 if label else 0.4) + 0.008 * i * (-1) ** (i // 2) + better * label
        answers.append(f"{i}.jpeg,{label},p{i // 2 * 2 + label},{i < 20},{i >= 20},{p},{1 - p if i % 5 else p},{p}")
    (train / "answers.csv").write_text("\\n".join(answers))
    output.parent.mkdir()
    output.write_text("{}")

notebooks.execute = execute
"""


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(GRID)
    return path


@pytest.fixture
def standin(tmp_path, monkeypatch):
    """Workers, also those in other processes, import the stand-in through a Dask preload."""
    # Before the variable is set, which Dask reads when it is first imported and keeps; and before the setting, which
    # ends with distributed's own defaults where these were read inside it.
    import dask
    import distributed  # noqa: F401

    (tmp_path / "standin.py").write_text(STANDIN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("STANDIN_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", "standin")
    monkeypatch.syspath_prepend(str(tmp_path))
    with dask.config.set({"distributed.worker.preload": ["standin"]}):
        yield tmp_path / "log"


def executions(log) -> list:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_a_grid_becomes_cells_known_by_what_they_are_made_of(grid, tiny, tmp_path):
    plan = study.read(grid, tiny)
    assert [(c.recipe, c.parameters["seed"]) for c in plan.cells] == [
        ("plain", 0),
        ("plain", 1),
        ("wide", 0),
        ("wide", 1),
    ]
    keys = [c.key for c in plan.cells]
    assert len(set(keys)) == 4 and keys == [c.key for c in study.read(grid, tiny).cells]
    grid.write_text(GRID.replace("name: small", "name: other"))
    assert keys == [c.key for c in study.read(grid, tiny).cells], "a name changes no result"
    grid.write_text(GRID.replace("epochs: 1", "epochs: 2"))
    assert not set(keys) & {c.key for c in study.read(grid, tiny).cells}
    grid.write_text(GRID + "test: true\n")
    assert not set(keys) & {c.key for c in study.read(grid, tiny).cells}


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.replace("epochs: 1", "epoch: 1"), "'epoch'"),
        (lambda t: t.replace("epochs: 1", "seed: 1"), "'seed'"),
        (lambda t: t.replace("epochs: 1", "epochs: 0"), "epochs=0"),
        (lambda t: t.replace("wide}", "wild}"), "'wild'"),
        (lambda t: t.replace("[0, 1]", "3"), "seeds"),
        (lambda t: t.replace("[0, 1]", "[1, 1]"), "seeds"),
        (lambda t: t.replace("[0, 1]", "[0, x]"), "seed='x'"),
        (lambda t: t.replace("wide: {augmentation: wide}", "again: {augmentation: none}"), "same parameters"),
        (lambda t: t.replace("recipes:", "recipe:"), "recipes"),
        (lambda t: t + "colour: blue\n", "colour"),
        (lambda t: t.replace("name: small", "name: ../evil"), "evil"),
        (lambda t: t + "test: maybe\n", "maybe"),
        (lambda t: t + "  bad: [\n", "no YAML"),
        (lambda t: "!!python/object/apply:os.system ['touch hacked']", "no YAML"),
    ],
)
def test_a_bad_study_gives_one_sentence(change, words, grid, tiny_folder, capsys):
    grid.write_text(change(GRID))
    assert cli.main(["study", str(grid), "--data", str(tiny_folder)]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_a_study_without_scheduler_or_cells_gives_one_sentence(grid, tiny_folder, capsys):
    assert cli.main(["study", str(grid), "--data", str(tiny_folder), "--table"]) == 2
    assert "no finished cell yet" in capsys.readouterr().err
    assert cli.main(["study", str(grid.with_name("none.yaml")), "--data", str(tiny_folder)]) == 2
    assert "none.yaml" in capsys.readouterr().err


def test_a_study_runs_keeps_what_is_finished_and_reports(grid, tiny_folder, standin, capsys, workspace, monkeypatch):
    line = ["study", str(grid), "--data", str(tiny_folder), "--workers", "2", "--threads", "1"]
    monkeypatch.setenv("STANDIN_FAILS", "wide")
    assert cli.main(line) == 1
    captured = capsys.readouterr()
    assert captured.out.count("FAILED wide") == 2 and "2 of 4 cells failed" in captured.err
    assert "dashboard: http" in captured.out and len(executions(standin)) == 4, "a failed notebook is not tried thrice"
    monkeypatch.delenv("STANDIN_FAILS")
    assert cli.main(line) == 0
    ran = executions(standin)
    assert sorted(e[:2] for e in ran[4:]) == [["wide", 0], ["wide", 1]] and {e[3] for e in ran} == {"1"}
    table = pd.read_csv(workspace / "runs" / "studies" / "small" / "table.csv").set_index(["recipe", "seed"])
    assert table.loc[("wide", 1), "auroc random"] == pytest.approx(0.93)
    assert table.loc[("plain", 0), "worst auroc, groups"] == pytest.approx(0.8)
    assert (table.criterion - table["criterion low"]).min() > 0 and table["criterion gain"].isna()["plain"].all()
    for seed in (0, 1):
        gain = table.loc[("wide", seed)]
        assert gain["criterion gain"] == pytest.approx(gain.criterion - table.criterion["plain", seed], abs=1e-5)
        assert gain["criterion gain low"] <= gain["criterion gain"] <= gain["criterion gain high"]
    assert (workspace / "runs" / "studies" / "small" / "plot.png").stat().st_size > 5000
    assert cli.main(line) == 0 and len(executions(standin)) == 6
    assert "4 finished before" in capsys.readouterr().out


@contextlib.contextmanager
def over_tcp(workers: int, folder):
    """A Dask scheduler and workers, each a process of its own: its address, the scheduler, the workers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", address, "--no-dashboard"]
    started = [subprocess.Popen(dask, stderr=subprocess.DEVNULL)]
    try:
        dask = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
        for _ in range(workers):
            line = [*dask, "--no-nanny", "--local-directory", str(folder)]
            started.append(subprocess.Popen(line, stderr=subprocess.DEVNULL))
        yield address, started[0], started[1:]
    finally:
        for process in started:
            process.kill()
            process.wait()


def wait_for(condition, seconds: int = 60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"nothing happened for {seconds} seconds"
        time.sleep(0.1)


def test_two_workers_over_tcp_one_killed_give_the_table_of_one(grid, tiny_folder, standin, tmp_path, monkeypatch):
    monkeypatch.setenv("STANDIN_SECONDS", "4")
    client = [sys.executable, "-m", "pnlib.cli", "study", str(grid), "--data", str(tiny_folder)]
    with over_tcp(2, tmp_path) as (address, _, workers):
        running = subprocess.Popen([*client, "--scheduler", address], stdout=subprocess.PIPE, text=True)
        wait_for(lambda: executions(standin))
        victim = executions(standin)[0][2]
        assert victim in [w.pid for w in workers]
        os.kill(victim, signal.SIGKILL)
        output, _ = running.communicate(timeout=90)
        assert running.returncode == 0, output
    ran = executions(standin)
    assert len(ran) in (5, 6) and len({tuple(e[:2]) for e in ran}) == 4, "the killed cell was done again, elsewhere"
    first = pd.read_csv(tmp_path / "runs" / "studies" / "small" / "table.csv").drop(columns="seconds")
    monkeypatch.setenv("STANDIN_SECONDS", "0")
    monkeypatch.setenv("PNLIB_RUNS", str(tmp_path / "alone"))
    assert cli.main(["study", str(grid), "--data", str(tiny_folder), "--workers", "1"]) == 0
    second = pd.read_csv(tmp_path / "alone" / "studies" / "small" / "table.csv").drop(columns="seconds")
    pd.testing.assert_frame_equal(first, second)


REAL = """
name: real
common: {epochs: 1, batch_size: 16, augmentation: none, validation: 0.25}
recipes: {slow: {learning_rate: 0.0001}, fast: {learning_rate: 0.001}}
"""


def test_real_cells_over_tcp_one_worker_killed_are_those_of_one_machine(tiny_folder, tmp_path, monkeypatch):
    """No stand-in here: papermill executes 04_train in each worker, and one of them dies over it."""
    grid = tmp_path / "real.yaml"
    grid.write_text(REAL)
    client = [sys.executable, "-m", "pnlib.cli", "study", str(grid), "--data", str(tiny_folder), "--threads", "1"]
    with over_tcp(2, tmp_path) as (address, _, workers):
        running = subprocess.Popen([*client, "--scheduler", address], stdout=subprocess.PIPE, text=True)
        try:
            both_at_it = "dask-scratch-space*/*/pnlib-cell-*/cell/train.partial"
            wait_for(lambda: len(list(tmp_path.glob(both_at_it))) == 2, seconds=240)
            workers[0].kill()
            output, _ = running.communicate(timeout=600)
        finally:
            running.kill()
        assert running.returncode == 0, output
    monkeypatch.setenv("PNLIB_RUNS", str(tmp_path / "alone"))
    assert cli.main([*client[3:], "--workers", "1"]) == 0
    folders = (tmp_path / "runs" / "studies" / "real", tmp_path / "alone" / "studies" / "real")
    first, second = (pd.read_csv(folder / "table.csv").drop(columns="seconds") for folder in folders)
    assert first.recipe.tolist() == ["slow", "fast"]
    pd.testing.assert_frame_equal(first, second)
    answers = [sorted(folder.glob("cells/*/train/answers.csv")) for folder in folders]
    assert [a.read_bytes() for a in answers[0]] == [a.read_bytes() for a in answers[1]], "to the last digit"


def test_a_worker_without_the_clients_folder_takes_its_own_images(grid, tiny_folder, tiny, tmp_path, monkeypatch):
    """Workers that don't share a disk: the same images lie elsewhere there, and PNLIB_DATA says where."""
    from pnlib import notebooks

    own = tmp_path / "elsewhere" / "chest_xray"
    shutil.copytree(tiny_folder, own)
    asked = []

    def standin(name, output, values, echo):
        asked.append(values["data"])
        for kept in study.KEPT:
            (output.parent.parent / kept).parent.mkdir(parents=True, exist_ok=True)
            (output.parent.parent / kept).write_text(kept)
        output.parent.mkdir(exist_ok=True)
        output.write_text("{}")

    monkeypatch.setattr(notebooks, "execute", standin)
    plan = study.read(grid, tiny)
    cell = {"parameters": plan.cells[0].parameters, "test": False}
    expected = {"code": study.code_hash(), "data": plan.data_hash, "is_demo": False}
    monkeypatch.setenv("PNLIB_DATA", str(own))
    answer = study.execute(cell, "/not/on/this/machine", expected, 1)
    assert asked == [str(own)] and answer["files"]["train/history.csv"] == b"train/history.csv"
    monkeypatch.setenv("PNLIB_DATA", str(tmp_path / "nothing"))
    assert "nothing" in study.execute(cell, "/not/on/this/machine", expected, 1)["error"]


def test_a_killed_scheduler_costs_only_what_was_half_done(grid, tiny_folder, standin, tmp_path, monkeypatch):
    monkeypatch.setenv("STANDIN_SECONDS", "2")
    line = ["study", str(grid), "--data", str(tiny_folder)]
    cells = tmp_path / "runs" / "studies" / "small" / "cells"
    with over_tcp(1, tmp_path) as (address, scheduler, _):
        client = [sys.executable, "-m", "pnlib.cli", *line, "--scheduler", address]
        running = subprocess.Popen(client, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: list(cells.glob("*/cell.json")))
        scheduler.kill()
        try:
            _, errors = running.communicate(timeout=120)
        finally:
            running.kill()
    assert running.returncode == 2 and "run the same line again, finished cells are kept" in errors
    assert "Traceback" not in errors, errors
    kept, before = len(list(cells.glob("*/cell.json"))), len(executions(standin))
    assert 1 <= kept < 4
    monkeypatch.setenv("STANDIN_SECONDS", "0")
    assert cli.main([*line, "--workers", "1"]) == 0
    assert len(executions(standin)) == before + 4 - kept and len(list(cells.glob("*/cell.json"))) == 4


DYING = """
import os, signal, sys
from pnlib import data, runs, study
plan, real, written = study.read(sys.argv[1], data.find(sys.argv[2])), runs.write_whole, []

def dying(path, content):
    if len(written) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(path)
    real(path, content)

runs.write_whole = dying
study.store(plan, plan.cells[0], {"files": {"a.txt": b"a", "b.txt": b"b"}, "seconds": 1.0})
"""


def test_a_client_killed_while_it_stores_leaves_no_half_cell(grid, tiny_folder, standin, tiny):
    """Killed at each of the three writes of a cell; the same line then does that cell again."""
    plan = study.read(grid, tiny)
    for write in range(3):
        line = [sys.executable, "-c", DYING, str(grid), str(tiny_folder), str(write)]
        assert subprocess.run(line).returncode == -signal.SIGKILL
        assert not study.finished(plan) and not (plan.folder / "cells" / plan.cells[0].key).exists()
    assert cli.main(["study", str(grid), "--data", str(tiny_folder), "--workers", "1"]) == 0
    assert len(study.finished(plan)) == 4


def test_what_a_killed_worker_leaves_is_cleared_by_the_next_one(grid, tiny_folder, standin, tmp_path, monkeypatch):
    monkeypatch.setenv("STANDIN_SECONDS", "60")
    scratch = lambda: list(tmp_path.glob("dask-scratch-space*/*/pnlib-cell-*/begun"))  # noqa: E731
    client = [sys.executable, "-m", "pnlib.cli", "study", str(grid), "--data", str(tiny_folder)]
    with over_tcp(1, tmp_path) as (address, _, (worker,)):
        running = subprocess.Popen([*client, "--scheduler", address], stdout=subprocess.DEVNULL)
        wait_for(scratch)
        running.kill()
        worker.kill()
        worker.wait()
    assert scratch(), "killed, it could not clear up itself"
    with over_tcp(1, tmp_path):
        wait_for(lambda: not scratch())


def test_a_killed_client_goes_on(grid, tiny_folder, standin, tmp_path, monkeypatch):
    monkeypatch.setenv("STANDIN_SECONDS", "2")
    line = [sys.executable, "-m", "pnlib.cli", "study", str(grid), "--data", str(tiny_folder), "--workers", "1"]
    running = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    cells = tmp_path / "runs" / "studies" / "small" / "cells"
    deadline = time.monotonic() + 60
    while not list(cells.glob("*/cell.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    kept = len(list(cells.glob("*/cell.json")))
    before = len(executions(standin))
    assert 1 <= kept < 4
    monkeypatch.setenv("STANDIN_SECONDS", "0")
    assert cli.main(line[3:]) == 0
    assert len(executions(standin)) == before + 4 - kept and len(list(cells.glob("*/cell.json"))) == 4


def test_a_cells_key_covers_every_module_that_its_result_depends_on():
    """What these modules import from here is among them, too; so is the data that they read from beside themselves."""
    folder = Path(study.__file__).parent
    named = set(study.RESULTS_DEPEND_ON)
    without_figures = {"errors.py", "runs.py"}  # sentences; folders, and which parameters there are
    for name in (n for n in named if n.endswith(".py")):
        source = (folder / name).read_text(encoding="utf-8")
        lines = re.findall(r"^\s*from pnlib import (.+)$", source, re.M)
        beside = re.findall(r'Path\(__file__\)\.with_name\("(.+?)"\)', source)
        assert {f"{part.strip()}.py" for line in lines for part in line.split(",")} <= named | without_figures, name
        assert set(beside) <= named, name


def test_a_worker_with_other_code_or_images_refuses(grid, tiny_folder, tiny):
    plan = study.read(grid, tiny)
    cell = {"parameters": plan.cells[0].parameters, "test": False}
    expected = {"code": study.code_hash(), "data": plan.data_hash, "is_demo": True}
    for name, words in (("code", "another version"), ("data", "other images")):
        answer = study.execute(cell, str(tiny_folder), expected | {name: "x"}, 1)
        assert words in answer["error"]


def test_no_scheduler_no_traceback(grid, tiny_folder, capsys):
    line = ["study", str(grid), "--data", str(tiny_folder), "--scheduler", "tcp://127.0.0.1:9"]
    assert cli.main(line) == 2
    assert "No Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err


def test_a_table_that_is_none_is_named(tmp_path):
    with pytest.raises(InputError, match="missing.csv"):
        study.load(str(tmp_path / "missing.csv"))
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="lacks recipe, seed, auroc random"):
        study.load(str(tmp_path / "other.csv"))
    with pytest.raises(InputError, match="a .csv file"):
        study.load("studies")
    assert len(study.load("studies/founding.csv")) == 5
