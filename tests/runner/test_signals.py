"""What ends a run: signals, a closed terminal, kill -9. No kernel is left, and what was printed is kept."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from processes import tree, waiting_kernel

from pnlib.base.errors import InputError
from pnlib.runner import cli, notebooks

RUN = ("run", "--only", "02_augment", "--name", "one")
# A line reaches papermill a moment after it was printed; the signal is to come later than that.
WAITING = """import os, pathlib, time
print("kernel", os.getpid(), flush=True)
time.sleep(1)
pathlib.Path(os.environ["WAITING"], "kernel").write_text(str(os.getpid()))
time.sleep(90)"""


@pytest.fixture
def waiting(replace_cell, workspace, monkeypatch):
    """The notebook says which process it is, and waits."""
    monkeypatch.setenv("WAITING", str(workspace))
    replace_cell("02_augment", WAITING)


def executed(workspace):
    return workspace / "runs" / "one" / "notebooks"


def printed_in(path):
    return str(nbformat.read(path, 4).cells[-1].outputs)


@pytest.mark.parametrize(
    "names, status", [(["SIGINT"], 130), (["SIGHUP"], 129), (["SIGTERM", "SIGHUP", "SIGTERM"], 143)]
)
def test_a_signal_ends_run_and_kernel_and_the_notebook_holds_what_was_printed(waiting, workspace, names, status):
    """The second and the third signal come while the first one's cleaning is under way, and don't cut it short."""
    with waiting_kernel(workspace, *RUN) as (command, kernel):
        for name in names:
            command.send(name)
            time.sleep(0.05)
        assert command.wait() == status, command.stderr
    errors = command.stderr
    assert errors.count("\n") == 1 and errors.startswith("pnlib: ") and "run the same line again to go on" in errors
    (left,) = executed(workspace).iterdir()
    assert left.name == "02_augment.ipynb" and '"running"' not in left.read_text()
    assert f"kernel {kernel.pid}" in printed_in(left)


def test_a_closed_terminal_ends_run_and_kernel(waiting, workspace):
    """Not the signal alone: nothing can be printed any more either."""
    ours, its = os.openpty()
    name = os.ttyname(its)
    with waiting_kernel(workspace, *RUN, terminal=name) as (command, kernel):
        os.close(its)
        os.close(ours)
        assert command.wait() == 129
    (left,) = executed(workspace).iterdir()
    assert f"kernel {kernel.pid}" in printed_in(left)


def test_where_nobody_reads_what_is_printed_the_status_is_that_of_a_broken_pipe(replace_cell, workspace):
    """`pnlib run | head`: notebooks go on, since they hold what they print; what comes after them ends."""
    replace_cell("02_augment", "import time\nprint('first', flush=True)\ntime.sleep(1)\nprint('second', flush=True)")
    line = [sys.executable, "-m", "pnlib", *RUN]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert any("first" in printed for printed in process.stdout)
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 128 + signal.SIGPIPE and errors.count("\n") == 1 and "nobody reads" in errors
    (left,) = executed(workspace).glob("*.ipynb")
    assert "second" in printed_in(left)


def test_what_ended_a_run_is_said_even_where_its_notebook_cannot_be_saved(series, workspace, monkeypatch, capsys):
    """The disk is full just when the notebook is to be kept after Ctrl-C."""
    import papermill

    def interrupted(source, target, *arguments, **options):
        Path(target).write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(papermill, "execute_notebook", interrupted)
    for failure in (InputError("Cannot write"), UnicodeDecodeError("utf-8", b"x", 0, 1, "cut")):
        monkeypatch.setattr(notebooks, "tidy", lambda *a, failure=failure: (_ for _ in ()).throw(failure))
        assert cli.main([*RUN]) == 130 and "interrupted" in capsys.readouterr().err
        assert not list(executed(workspace).glob("*.running.ipynb"))


def test_kill_9_of_a_run_leaves_no_kernel_and_the_notebook_that_was_there(replace_cell, workspace, monkeypatch, capsys):
    """Meanwhile the name is taken; afterwards it is free again."""
    assert cli.main([*RUN]) == 0
    good = tree(executed(workspace))
    body = nbformat.read(notebooks.path_of("02_augment"), 4).cells[1].source
    monkeypatch.setenv("WAITING", str(workspace))
    replace_cell("02_augment", WAITING)
    with waiting_kernel(workspace, *RUN) as (command, _):
        capsys.readouterr()
        assert cli.main([*RUN]) == 2
        said = "pnlib: Another process is executing notebooks under the name 'one'; wait until it is done, or give another name (--name, or the parameter run).\n"
        assert capsys.readouterr().err == said
        command.send("SIGKILL")
        assert command.wait() == -signal.SIGKILL
    left = tree(executed(workspace))
    assert good == {name: left[name] for name in good}
    replace_cell("02_augment", body)
    assert cli.main([*RUN]) == 0 and sorted(tree(executed(workspace))) == sorted(good), (
        "nothing of the killed one is left"
    )


def test_a_killed_papermill_leaves_no_kernel(waiting, workspace):
    """papermill by hand doesn't pass a queue's SIGTERM on: its kernel sees that its parent is gone."""
    source, target = str(notebooks.path_of("02_augment")), str(workspace / "out.ipynb")
    code = f"from papermill.cli import papermill\npapermill([{source!r}, {target!r}, '-k', 'python3'])"
    with waiting_kernel(workspace, code=code) as (command, _):
        command.send("SIGTERM")
        assert command.wait() in (-signal.SIGTERM, 128 + signal.SIGTERM)
