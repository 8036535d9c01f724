"""Nothing is lost: what kills a run, fills its disk or changes under it, and what then stands there. docs/faults.md lists
the faults with the test of each; tests/torture.py does the same for longer, to the real notebook."""

import contextlib
import ctypes
import fcntl
import hashlib
import itertools
import json
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import termios
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import arrays_in
from test_cli import series  # noqa: F401  a fixture
from test_files import archive
from trainings import trained

from pnlib import cli, data, demo, download, notebooks, runs, study, train
from pnlib.errors import InputError

# What compares bits of trainings in several processes takes one thread in each, and a network without a large matrix.
ONE_THREAD = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
HERE = Path(__file__).resolve().parent
CHILD = f"import sys; sys.path.insert(0, {str(HERE)!r})\n"


def child(code: str, *arguments, **options):
    line = [sys.executable, "-c", CHILD + code, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, **options)


def wait_for(condition, words: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, words
        time.sleep(0.05)


def tree(folder: Path) -> dict:
    """Every file below a folder with the hash of its content; locks are empty and left out."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in (".training", ".executing")
    }


# --- killed while it writes

CUT = """
import io, os, resource, signal
from pnlib import runs
path, cut, steps = sys.argv[1], int(sys.argv[2]), 0

def cutting(call):
    def wrapped(*arguments, **options):
        global steps
        steps += 1
        if steps == cut:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return wrapped

io.open = cutting(io.open)
for name in ("open", "fsync", "replace", "close"):
    setattr(os, name, cutting(getattr(os, name)))
if cut == 0:  # in the middle of the content
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
runs.write_whole(path, "new" * 1000)
"""


def test_a_file_is_the_old_or_the_new_wherever_its_writer_is_killed(tmp_path):
    """Before opening, in the middle of the content, before fsync, before the rename, before the folder's fsync…"""
    path, found = tmp_path / "a.txt", []
    for cut in itertools.count():
        path.write_text("old" * 1000)
        done = child(CUT, path, cut)
        assert done.stderr == ""
        found.append(path.read_text())
        if done.returncode == 0:
            break
        assert done.returncode in (-signal.SIGKILL, -signal.SIGXFSZ)
    assert set(found) == {"old" * 1000, "new" * 1000} and len(found) >= 6
    assert found == sorted(found, reverse=True), "first the old ones, then the new ones"


def test_content_is_on_the_disk_before_its_name_and_the_name_before_we_go_on(tmp_path, tiny_folder, tiny, monkeypatch):
    """Else a power cut leaves a name without content: a cache of zeros, an empty state."""
    done = []

    def noting(module, name, words):
        real = getattr(module, name)

        def noted(*arguments, **options):
            done.append(words(*arguments) if callable(words) else words)
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, noted)

    noting(os, "fsync", lambda handle: "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
    for name, words in (("replace", "rename"), ("rename", "rename"), ("sync", "sync")):
        noting(os, name, words)

    runs.write_whole(tmp_path / "a.txt", "a")
    assert done == ["file", "rename", "folder"]
    done.clear()
    runs.write_whole(tmp_path / "new" / "newer" / "a.txt", "a")
    assert done == ["folder", "folder", "file", "rename", "folder"], "folders that are made on the way"
    done.clear()
    (tmp_path / "partial").mkdir()
    runs.put_in_place(tmp_path / "partial", tmp_path / "final")
    assert done == ["rename", "folder"]
    done.clear()
    data.load(tiny, tiny.table[tiny.table.split == "train"])
    assert done == ["folder", "file", "rename", "folder"], "the cache, and its folder"
    done.clear()
    cell = study.Cell("plain", {"seed": 0}, False, "0123")
    study.store(study.Study("small", "", False, (cell,), ""), cell, {"files": {"a.csv": b"a"}, "seconds": 1.0})
    new = ["folder"] * 5  # runs, studies, small, cells, and the cell's own
    assert done == new + ["file", "rename", "folder"] * 2 + ["rename", "folder"], "a study's cell"
    done.clear()
    monkeypatch.setattr(demo, "make", lambda folder, seed: (folder / "train").mkdir(parents=True))
    demo.ensure(tmp_path)
    assert done == ["sync", "rename", "folder"], "the demo"
    done.clear()
    monkeypatch.setattr("pooch.retrieve", lambda *a, **k: archive(tmp_path / "a.zip"))
    download.fetch(tmp_path / "downloaded")
    assert done == ["sync", "rename", "folder"], "the download"


# --- a disk that is full, a folder that can't be written


def test_a_disk_that_is_full_at_any_write_keeps_the_last_good_state(tiny_folder, workspace, monkeypatch):
    """Each file that a training writes can't be written once; the same call again goes on."""
    trained(tiny_folder, epochs=1)
    folder = workspace / "runs" / "one"
    good = tree(folder / "train")
    shutil.rmtree(workspace / "cache")
    real, written = os.replace, []

    def full(source, target):
        if Path(target).name not in written:
            written.append(Path(target).name)
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    for _ in range(20):
        try:
            _, result = trained(tiny_folder, epochs=1, augmentation="none")
            break
        except InputError as error:
            assert re.fullmatch("Cannot write .*: No space left on device; free some space .*[.]", str(error))
            assert re.escape(written[-1]) in re.escape(str(error))
        assert tree(folder / "train") == good, "the finished training stays"
        assert not [f for f in workspace.rglob(".*") if f.is_file() and f.name != ".training"], "nothing half-written"
    names = ["identity.json", "best.weights.h5", "state.npz", "history.csv", "index.csv", "parameters.json"]
    assert written[0].endswith(".npy") and written[1:] == [*names, "environment.json", "metrics.json"]
    assert len(result.history) == 1 and tree(folder / "train~1") == good


FULL = """
import resource
from trainings import trained
from pnlib.errors import InputError

def attempt():
    try:
        trained(sys.argv[1], "founding", epochs=1)
    except InputError as error:
        print(error)

for megabytes in (2, 30):  # room for the cache alone, then for the weights too (27 MB), but not for the state (80 MB)
    resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes * 10**6, -1))
    attempt()
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
trained(sys.argv[1], "founding", epochs=1)
"""


def test_a_write_that_ends_in_the_middle_gives_one_sentence(tiny_folder, workspace):
    """A limit of the system cuts files off. HDF5 would end the process, were it the one who finds out."""
    done = child(FULL, tiny_folder)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second, *rest = done.stdout.splitlines()
    assert (
        first
        == "Cannot write to the temporary folder (TMPDIR): File too large; free some space or choose another folder."
    )
    assert re.fullmatch("Cannot write .*train.partial/state.npz: File too large; free some space .*", second)
    assert rest[0].startswith("epoch   1/1") and runs.finished("one")


def without_privileges():
    """Root may write everywhere; without this capability it may not. Others never had it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
        ctypes.CDLL(None).prctl(24, 2, 0, 0, 0)  # CAP_DAC_READ_SEARCH


FORBIDDEN = """
from pathlib import Path
from pnlib import cli, data, runs
from pnlib.errors import InputError
folder, dataset = Path(sys.argv[1]), data.find(sys.argv[2])

def attempt(call, *arguments):
    try:
        call(*arguments)
    except InputError as error:
        print(error)

attempt(runs.write_whole, folder / "old.txt", "new")
attempt(data.load, dataset, dataset.table)
with open(folder / "old.txt") as file:
    print(file.read())
first = dataset.root / dataset.table.path[0]
first.chmod(0)
attempt(data.decode, first)
first.parent.chmod(0)
attempt(data.find, sys.argv[2])
first.parent.chmod(0o755)
for folder, mode in ((dataset.root / "train", 0o444), (dataset.root, 0o444), (dataset.root, 0)):
    folder.chmod(mode)  # listed but not entered, or neither
    attempt(data.find, sys.argv[2])
    folder.chmod(0o755)
print(cli.main(["run", "--only", "03_model"]), file=sys.stderr)
"""


def test_what_may_not_be_written_or_read_is_named(series, tiny_folder, tmp_path):  # noqa: F811
    locked = tmp_path / "locked"
    locked.mkdir()
    (locked / "old.txt").write_text("old")
    locked.chmod(0o555)
    shutil.copytree(tiny_folder, tmp_path / "images")
    folders = {"PNLIB_RUNS": str(locked / "runs"), "PNLIB_CACHE": str(locked / "cache")}
    done = child(FORBIDDEN, locked, tmp_path / "images", env=os.environ | folders, preexec_fn=without_privileges)
    if "Permission denied" not in done.stdout:
        pytest.skip("this account may write everywhere")
    old, cache, content, image, *images = done.stdout.splitlines()
    assert old == f"Cannot write {locked}/old.txt: Permission denied; free some space or choose another folder."
    assert re.fullmatch(f"Cannot write {locked}/cache/.*: Permission denied; .*", cache) and content == "old"
    assert re.fullmatch(f"Cannot read {tmp_path}/images/.*jpeg: .*Permission denied.*; replace or remove it.", image)
    for said in images[:4]:
        assert re.fullmatch(f"Cannot read the folder {tmp_path}/images.*: Permission denied; make it readable.", said)
    said = f"pnlib: Cannot write {locked}/runs/default: Permission denied; free some space or choose another folder.\n"
    assert done.stderr == said + "2\n"


def test_a_disk_that_is_full_keeps_the_executed_notebook(series, workspace):  # noqa: F811
    replace_cell(series, "02_augment", "import os\nprint('x' * int(os.environ['LONG']))")
    line = [sys.executable, "-m", "pnlib.cli", "run", "--only", "02_augment"]
    subprocess.run(line, check=True, capture_output=True, env=os.environ | {"LONG": "9"})
    folder = workspace / "runs" / "default" / "notebooks"
    good = tree(folder)
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, -1))}
    done = subprocess.run(line, capture_output=True, text=True, env=os.environ | {"LONG": "2000000"}, **limit)
    assert done.returncode == 1 and re.fullmatch(
        "pnlib: 02_augment failed: cannot write .*: File too large\n", done.stderr
    )
    assert tree(folder) == good and len(good) == 2


# --- kernels, papermill, signals

WAITING = """import os, pathlib, time
print("kernel", os.getpid(), flush=True)
time.sleep(2)  # a line reaches papermill a moment after it was printed; the signal is to come later than that
pathlib.Path(os.environ["PNLIB_RUNS"], "kernel").write_text(str(os.getpid()))
time.sleep(90)"""


def replace_cell(project: Path, name: str, source: str) -> None:
    path = project / "notebooks" / f"{name}.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells[1].source = source
    nbformat.write(notebook, path)


@contextlib.contextmanager
def started(workspace, *line, **options):
    """A command whose notebook waits, and the process of its kernel, which must not outlive the command."""
    (workspace / "runs").mkdir(exist_ok=True)
    number = workspace / "runs" / "kernel"
    number.unlink(missing_ok=True)

    def as_in_a_shell():  # where the tests run in the background, these are ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    usual = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "preexec_fn": as_in_a_shell}
    process = subprocess.Popen([sys.executable, "-m", *map(str, line)], text=True, **usual | options)
    try:
        wait_for(lambda: (number.is_file() and number.read_text()) or process.poll() is not None, "no kernel started")
        assert process.poll() is None, process.stderr and process.stderr.read()
        kernel = psutil.Process(int(number.read_text()))
        yield process, kernel
        wait_for(
            lambda: not kernel.is_running() or kernel.status() == psutil.STATUS_ZOMBIE, "the kernel is an orphan", 30
        )
    finally:
        process.kill()
        process.wait()


RUN = ("pnlib.cli", "run", "--only", "02_augment", "--name", "one")


@pytest.mark.parametrize("name, status", [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_run_and_kernel_and_the_notebook_holds_what_was_printed(series, workspace, name, status):  # noqa: F811
    replace_cell(series, "02_augment", WAITING)
    with started(workspace, *RUN) as (process, kernel):
        process.send_signal(getattr(signal, name))
        _, errors = process.communicate(timeout=60)
        assert process.returncode == status, errors
        assert errors.count("\n") == 1 and errors.startswith("pnlib: ") and "run the same line again to go on" in errors
    (left,) = (workspace / "runs" / "one" / "notebooks").iterdir()
    assert left.name == "02_augment.ipynb" and '"running"' not in left.read_text()
    assert f"kernel {kernel.pid}" in str(nbformat.read(left, 4).cells[-1].outputs)


def test_a_second_signal_does_not_cut_the_cleaning_short(series, workspace):  # noqa: F811
    replace_cell(series, "02_augment", WAITING)
    with started(workspace, *RUN) as (process, kernel):
        for name in ("SIGTERM", "SIGHUP", "SIGTERM"):
            process.send_signal(getattr(signal, name))
            time.sleep(0.1)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 143 and errors.count("\n") == 1, errors
    assert [f.name for f in (workspace / "runs" / "one" / "notebooks").iterdir()] == ["02_augment.ipynb"]


def test_a_closed_terminal_ends_run_and_kernel(series, workspace):  # noqa: F811
    """Not the signal alone: nothing can be printed any more either."""
    replace_cell(series, "02_augment", WAITING)
    ours, its = os.openpty()

    def in_a_terminal():
        os.setsid()
        fcntl.ioctl(its, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    with started(workspace, *RUN, stdout=its, stderr=its, stdin=its, preexec_fn=in_a_terminal) as (process, kernel):
        os.close(its)
        os.close(ours)
        assert process.wait(60) == 129
    (left,) = (workspace / "runs" / "one" / "notebooks").iterdir()
    assert f"kernel {kernel.pid}" in str(nbformat.read(left, 4).cells[-1].outputs)


def test_where_nobody_reads_what_is_printed_the_status_is_that_of_a_broken_pipe(series, workspace):  # noqa: F811
    """`pnlib run | head`: notebooks go on, since they hold what they print; what comes after them ends."""
    replace_cell(
        series, "02_augment", "import time\nprint('first', flush=True)\ntime.sleep(2)\nprint('second', flush=True)"
    )
    line = [sys.executable, "-m", *RUN]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert any("first" in printed for printed in process.stdout)
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 128 + signal.SIGPIPE and errors.count("\n") == 1 and "nobody reads" in errors
    (left,) = (workspace / "runs" / "one" / "notebooks").glob("*.ipynb")
    assert "second" in str(nbformat.read(left, 4).cells[-1].outputs)


def test_what_ended_a_run_is_said_even_where_its_notebook_cannot_be_saved(series, workspace, monkeypatch, capsys):  # noqa: F811
    """The disk is full just when Ctrl-C's notebook is to be kept."""
    import papermill

    def interrupted(source, target, *arguments, **options):
        Path(target).write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(papermill, "execute_notebook", interrupted)
    for failure in (InputError("Cannot write"), UnicodeDecodeError("utf-8", b"x", 0, 1, "cut")):
        monkeypatch.setattr(notebooks, "tidy", lambda *a, failure=failure: (_ for _ in ()).throw(failure))
        assert cli.main([*RUN[1:]]) == 130 and "interrupted" in capsys.readouterr().err
        assert not list((workspace / "runs" / "one" / "notebooks").glob("*.running.ipynb"))


def test_kill_9_of_a_run_leaves_no_kernel_and_the_notebook_that_was_there(series, workspace, capsys):  # noqa: F811
    """Meanwhile the name is taken; afterwards it is free again."""
    assert cli.main([*RUN[1:]]) == 0
    folder = workspace / "runs" / "one" / "notebooks"
    good = tree(folder)
    body = nbformat.read(series / "notebooks" / "02_augment.ipynb", 4).cells[1].source
    replace_cell(series, "02_augment", WAITING)
    with started(workspace, *RUN) as (process, _):
        capsys.readouterr()
        assert cli.main([*RUN[1:]]) == 2
        said = "pnlib: Another process is executing notebooks under the name 'one'; wait until it is done, or give another name (--name, or the parameter run).\n"
        assert capsys.readouterr().err == said
        process.kill()
    assert {name: good[name] for name in good} == {name: tree(folder)[name] for name in good}
    replace_cell(series, "02_augment", body)
    assert cli.main([*RUN[1:]]) == 0 and sorted(tree(folder)) == sorted(good), "nothing of the killed one is left"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_killed_papermill_leaves_no_kernel(series, workspace, name):  # noqa: F811
    replace_cell(series, "02_augment", WAITING)
    line = ("papermill", series / "notebooks" / "02_augment.ipynb", workspace / "out.ipynb", "-k", "python3")
    with started(workspace, *line) as (process, _):
        process.send_signal(getattr(signal, name))
        assert process.wait(60) in (-getattr(signal, name), 128 + getattr(signal, name))


# --- interrupted trainings

KERNEL = """
import sys; sys.path.insert(0, {here!r})
import numpy as np, trainings
from pnlib import train
real, given = train.fit, []
def noting(*arguments):
    given[:] = arguments
    return real(*arguments)
train.fit = noting
trainings.trained({folder!r}, run="undisturbed", epochs=20)
"""


def test_an_interrupted_cell_run_again_ends_with_the_same_bits(tiny_folder, monkeypatch):
    """JupyterLab's square button: the kernel lives on, and its half-trained model with it."""
    from jupyter_client.manager import start_new_kernel

    for name, value in ONE_THREAD.items():
        monkeypatch.setenv(name, value)
    manager, client = start_new_kernel(kernel_name="python3")
    printed = []

    def hook(message):
        content = message["content"]
        printed.append(content.get("text") or content.get("ename") or "")
        if interrupt and "epoch   2/20" in printed[-1]:
            manager.interrupt_kernel()

    def run(code):
        printed.clear()
        reply = client.execute_interactive(code, timeout=300, output_hook=hook)["content"]
        return reply.get("ename", "ok"), "".join(printed)

    try:
        interrupt = False
        assert run(KERNEL.format(here=str(HERE), folder=str(tiny_folder)))[0] == "ok", printed
        interrupt = True
        name, text = run(f"trainings.trained({str(tiny_folder)!r}, run='one', epochs=20)")
        assert name == "KeyboardInterrupt" and "epoch  20/20" not in text, text
        interrupt = False
        name, text = run("real(*given)")
        assert name == "ok" and re.search("Going on after epoch 1?[0-9] of 20", text), text
        name, text = run("print(np.array_equal(*map(trainings.weights_of, ('undisturbed', 'one'))))")
        assert text == "True\n", text
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.fixture
def unfinished(tiny_folder, workspace, monkeypatch):
    """A training of three epochs that was interrupted after the first; its folder."""
    real = runs.write_whole

    def dies(path, content):
        real(path, content)
        if Path(path).name == "state.npz":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_whole", dies)
        with pytest.raises(KeyboardInterrupt):
            trained(tiny_folder)
    return workspace / "runs" / "one" / "train.partial"


def test_going_on_with_anything_changed_is_refused_with_what_differs(
    tiny_folder, unfinished, tmp_path, monkeypatch, capsys
):
    other = tmp_path / "other"
    shutil.copytree(tiny_folder, other)
    first, second = sorted((other / "train" / "NORMAL").iterdir())[:2]
    shutil.copy(first, second)
    environment = runs.environment("float32")
    packages = environment["packages"] | {"tensorflow": "9.9"}
    before = tree(unfinished)
    refusals = {
        "another state of the images;": lambda patch: trained(other),
        "another state of pnlib's code;": lambda patch: (patch.setattr(train.inspect, "getsource", lambda m: "x"), trained(tiny_folder)),
        f"tensorflow ({environment['packages']['tensorflow']}, now 9.9);": lambda patch: (
            patch.setattr(runs, "environment", lambda p: environment | {"packages": packages}), trained(tiny_folder)),
        "precision (float32, now mixed_bfloat16)": lambda patch: trained(tiny_folder, precision="mixed_bfloat16"),
    }  # fmt: skip
    for words, call in refusals.items():
        with monkeypatch.context() as patch, pytest.raises(InputError) as caught:
            call(patch)
        said = str(caught.value)
        assert said.startswith("The unfinished training in runs/one/train.partial was begun with") and words in said
        assert "`pnlib run --name one --force`" in said and "\n" not in said
        assert tree(unfinished.parent) == {f"train.partial/{name}": content for name, content in before.items()}
    stored = (unfinished / "identity.json").read_text()
    for content in ("{", "[]", '{"parameters": {}}'):
        (unfinished / "identity.json").write_text(content)
        with pytest.raises(
            InputError, match="Cannot tell what .*runs/one/train.partial was begun with: .*damaged; begin anew"
        ):
            trained(tiny_folder)
        assert (unfinished / "state.npz").is_file(), "no epoch is thrown away unasked"
    (unfinished / "identity.json").write_text(stored)
    capsys.readouterr()
    trained(tiny_folder)
    assert "Going on after epoch 1 of 3" in capsys.readouterr().out


def test_force_keeps_the_unfinished_training_beside(series, workspace, capfd):  # noqa: F811
    partial = workspace / "runs" / "one" / "train.partial"
    partial.mkdir(parents=True)
    (partial / "state.npz").write_text("hours")
    line = ["run", "--only", "04_train", "--name", "one", "--force"]
    hold = (
        "import time\nfrom pnlib import runs\nwith runs.only_one('one'):\n print('held', flush=True)\n time.sleep(300)"
    )
    other = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        assert cli.main(line) == 2 and "Another process is training under the name 'one'" in capfd.readouterr().err
        assert (partial / "state.npz").is_file(), "not under the feet of another"
    finally:
        other.kill()
        other.wait()
    assert cli.main(line) == 0 and "is kept as" in capfd.readouterr().out
    assert (partial.with_name("train.partial~1") / "state.npz").read_text() == "hours" and not partial.exists()
    assert (
        cli.main(["run", "--only", "02_augment", "--force"]) == 2 and "04_train is left out" in capfd.readouterr().err
    )


GOING_ON = "from trainings import trained\ntrained(sys.argv[1], epochs=300, batch_size=2)"


def test_a_training_that_another_is_resuming_is_left_to_it(tiny_folder, workspace):
    """Killed, then gone on with in a second process: a third is refused meanwhile."""
    state = workspace / "runs" / "one" / "train.partial" / "state.npz"
    line = [sys.executable, "-c", CHILD + GOING_ON, str(tiny_folder)]
    for words in ("epoch   1/300", "Going on after epoch"):
        process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline().startswith(words)
            wait_for(state.is_file, "no state")
            if words.startswith("Going"):
                with pytest.raises(InputError, match="Another process is training under the name 'one'"):
                    trained(tiny_folder, epochs=300, batch_size=2)
        finally:
            process.kill()
            process.wait()
    assert json.loads(str(np.load(state)["history"])), "whole"


def test_killed_before_the_first_epoch_there_is_nothing_to_set_aside(tiny_folder, workspace, capsys):
    (workspace / "runs" / "one" / "train.partial").mkdir(parents=True)
    trained(tiny_folder, epochs=1)
    assert "stood here" not in capsys.readouterr().out
    assert [f.name for f in sorted((workspace / "runs" / "one").iterdir())] == [".training", "train"]


def test_killed_at_the_very_end_or_damaged_a_run_is_whole_again(tiny_folder, workspace, capsys):
    _, result = trained(tiny_folder, epochs=1)
    names = sorted(f.name for f in result.folder.iterdir())
    (result.folder / "state.npz").write_text("killed before this was deleted")
    trained(tiny_folder, epochs=1)
    assert "is finished with these very parameters" in capsys.readouterr().out
    assert sorted(f.name for f in result.folder.iterdir()) == names
    (result.folder / "identity.json").write_text("{")
    trained(tiny_folder, epochs=1)
    assert "kept as runs/one/train~1" in capsys.readouterr().out
    assert sorted(f.name for f in result.folder.iterdir()) == names


# --- odd surroundings


def test_a_clock_that_runs_backwards_disturbs_nothing(tiny_folder, tmp_path, monkeypatch, capsys):
    """From 1970 on, as on a board without a battery; images of the year 2100, and from before 1970."""
    folder = tmp_path / "images"
    shutil.copytree(tiny_folder, folder)
    for i, image in enumerate(sorted(folder.rglob("*.jpeg"))):
        os.utime(image, (4e9, 4e9) if i % 2 else (-1e6, -1e6))
    times = itertools.count(10**6, -1000)
    monkeypatch.setattr(time, "time", lambda: float(next(times)))
    real = runs.put_in_place
    monkeypatch.setattr(runs, "put_in_place", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        trained(folder, epochs=1)
    monkeypatch.setattr(runs, "put_in_place", real)
    _, result = trained(folder, epochs=1)
    assert "Going on after epoch 1 of 1" in capsys.readouterr().out and len(list((tmp_path / "cache").iterdir())) == 1
    assert (result.history.seconds >= 0).all()


def test_a_folder_named_like_a_home_folder_that_does_not_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("~nobody-of-this-name").mkdir()
    assert runs.resolve("~nobody-of-this-name") == tmp_path / "~nobody-of-this-name"


ODD = """import locale, os, sys
sys.path.insert(0, {here!r})
locale.setlocale(locale.LC_ALL, "")
from trainings import trained
_, result = trained(os.environ["PNLIB_DATA"], run="one", epochs=2)
print("Größe ± 0.02 …", f"{{0.5:n}}", ascii(str(result.folder)))"""


def test_odd_surroundings_change_no_bit(series, workspace, tiny_folder):  # noqa: F811
    """All at once: a path with blanks, umlauts, braces and 200 characters, no home folder, umask 077, another hash seed,
    decimal commas, a terminal that knows ASCII only. The training ends with the same bits, and the files are right."""
    replace_cell(series, "04_train", ODD.format(here=str(HERE)))
    long = workspace / ("Röntgen, {Übung} " + "x" * 183)
    assert len(long.name) == 200
    shutil.copytree(series, long / "project")
    shutil.copytree(tiny_folder, long / "Bilder")
    plain = os.environ | ONE_THREAD | {"PYTHONHASHSEED": "1"}
    odd = plain | {"PYTHONHASHSEED": "2", "PYTHONIOENCODING": "ascii", "PNLIB_DATA": str(long / "Bilder"),
                   "PNLIB_RUNS": str(long / "runs"), "PNLIB_CACHE": str(long / "cache"), "TMPDIR": str(long)}  # fmt: skip
    odd.pop("HOME", None)
    comma = (
        shutil.which("localedef")
        and not subprocess.run(
            ["localedef", "-i", "de_DE", "-f", "UTF-8", str(workspace / "de_DE.UTF-8")], capture_output=True
        ).returncode
    )
    odd |= {"LOCPATH": str(workspace), "LC_ALL": "de_DE.UTF-8"} if comma else {"LC_ALL": "C"}
    line = [sys.executable, "-m", "pnlib.cli", "run", "--only", "04_train", "--name", "one"]
    histories = []
    for environment, project, mask in ((plain, series, 0o022), (odd, long / "project", 0o077)):
        options = {"env": environment, "cwd": project, "umask": mask}
        done = subprocess.run(line, capture_output=True, text=True, errors="replace", timeout=300, **options)
        assert done.returncode == 0, done.stderr
        histories.append(
            pd.read_csv(Path(environment["PNLIB_RUNS"]) / "one" / "train" / "history.csv").drop(columns="seconds")
        )
    assert "Gr??e ? 0.02 ?" in done.stdout and ("0,5" in done.stdout) == bool(comma)
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    weights = [folder / "runs" / "one" / "train" / "best.weights.h5" for folder in (workspace, long)]
    assert hashlib.sha256(weights_in(weights[0])).digest() == hashlib.sha256(weights_in(weights[1])).digest()
    files = [f for f in (long / "runs").rglob("*") if f.is_file()]
    assert len(files) > 8 and not [f for f in files if f.stat().st_mode & 0o077], "umask 077: for the owner alone"


def weights_in(path: Path) -> bytes:
    found = arrays_in(path)
    assert len(found) > 5
    return b"".join(found)


@pytest.mark.parametrize("home", ["/proc/nowhere", None])
def test_no_home_folder_is_needed(series, workspace, home):  # noqa: F811
    environment = {name: value for name, value in os.environ.items() if name != "HOME"} | (
        {"HOME": home} if home else {}
    )
    done = subprocess.run([sys.executable, "-m", *RUN], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    outputs = nbformat.read(workspace / "runs" / "one" / "notebooks" / "02_augment.ipynb", 4).cells[-1].outputs
    assert [output.get("name") for output in outputs] == ["stdout"]


# --- the table


def test_every_test_that_the_table_of_faults_names_exists():
    text = (HERE.parent / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = [
        re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| ") and "---" not in line
    ][1:]
    assert len(rows) >= 20 and all(len(row) == 4 and all(cell.strip() for cell in row) for row in rows)
    for fault, _, tests, _ in rows:
        named = re.findall(r"`(test_\w+)\.py::(test_\w+)`", tests)
        torture = re.findall(r"`torture\.py::(\w+)`", tests)
        assert named or torture, f"{fault} names no test"
        for file, test in named:
            assert f"def {test}(" in (HERE / f"{file}.py").read_text(encoding="utf-8"), f"{file}.py has no {test}"
        for function in torture:
            assert f"def {function}(" in (HERE / "torture.py").read_text(encoding="utf-8"), (
                f"torture.py has no {function}"
            )
