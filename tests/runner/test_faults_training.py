"""A training that finds the disk full, is killed as it begins or ends, or has a clock that is wrong: nothing is lost.
(tests/core/test_resume.py holds that an interrupted one ends with the same bits; `make torture` kills real trainings.)"""

import itertools
import os
import re
import resource
import shutil
import time
from pathlib import Path

import pytest
from processes import tree
from trainings import FINISHED, finished_folder, trained

import pnlib
from pnlib.base import files
from pnlib.base.errors import InputError


@pytest.fixture(scope="module")
def finished(tiny_folder, tmp_path_factory):
    """The folder of a finished training of one epoch."""
    return finished_folder(tiny_folder, tmp_path_factory, epochs=1)


@pytest.fixture
def run(finished, workspace):
    """A copy of it for this test."""
    return shutil.copytree(finished, workspace / "runs" / "one" / "train")


def test_a_disk_that_is_full_at_any_write_keeps_the_last_good_state(run, tiny_folder, workspace, monkeypatch):
    """Each file that a training writes can't be written once; the same call again goes on."""
    folder, good = run.parent, tree(run)
    real, written = os.replace, []

    def full(source, target):
        if Path(target).name not in written:
            written.append(Path(target).name)
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    for _ in range(20):
        try:
            result = trained(tiny_folder, epochs=1, seed=1)
            break
        except InputError as error:
            assert re.fullmatch("Cannot write .*: No space left on device; free some space, .*[.]", str(error))
            assert written[-1] in str(error)
        assert tree(folder / "train") == good, "the finished training stays"
        assert not [f for f in workspace.rglob(".*") if f.is_file() and f.name != ".training"], "nothing half-written"
    assert written[0].endswith(".npy")
    assert written[1:] == [
        "fingerprint.json",
        "environment.json",
        "weights.npz",
        "provenance.json",
        "state.npz",
        "history.csv",
        "index.csv",
    ]
    assert len(result.history) == 1 and tree(folder / "train~1") == good


def test_a_write_that_ends_in_the_middle_gives_one_sentence(tiny_folder, workspace):
    """A limit of the system cuts files off: first the cache of 1.4 MB, then the state of 11 kB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit, name in ((1_000_000, "cache/.*npy"), (8_000, "train.partial/state.npz")):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
            with pytest.raises(InputError) as caught:
                trained(tiny_folder, epochs=1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert re.fullmatch(
            f"Cannot write .*{name}: File too large; free some space, or name other folders in PNLIB_RUNS and PNLIB_CACHE.",
            str(caught.value),
        )
        dataset = pnlib.find_dataset(str(tiny_folder))
        pnlib.load_images(dataset, dataset.rows("train"))  # now there is a cache
    assert not [f for f in workspace.rglob(".*") if f.is_file() and f.name != ".training"], "nothing half-written"


def test_killed_before_the_first_epoch_there_is_nothing_to_set_aside(tiny_folder, workspace, capsys):
    partial = workspace / "runs" / "one" / "train.partial"
    partial.mkdir(parents=True)
    (partial / ".state.npz.0123abcd").write_text("killed while it was written")
    result = trained(tiny_folder, epochs=1)
    assert "stood here" not in capsys.readouterr().out
    assert [f.name for f in sorted((workspace / "runs" / "one").iterdir())] == [".training", "train"]
    assert sorted(f.name for f in result.folder.iterdir()) == FINISHED


def test_killed_at_the_very_end_or_damaged_a_run_is_whole_again(run, tiny_folder, capsys):
    (run / "state.npz").write_text("killed before this was deleted")
    trained(tiny_folder, epochs=1)
    assert "was trained before with these very settings" in capsys.readouterr().out
    assert sorted(f.name for f in run.iterdir()) == FINISHED
    (run / "history.csv").write_text("")
    trained(tiny_folder, epochs=1)
    printed = capsys.readouterr().out
    assert "Cannot read history.csv" in printed and "kept as runs/one/train~1" in printed
    assert sorted(f.name for f in run.iterdir()) == FINISHED


def test_a_clock_that_runs_backwards_disturbs_nothing(tiny_folder, tmp_path, monkeypatch, capsys):
    """From 1970 on, as on a board without a battery; images of the year 2100, and from before 1970."""
    folder = tmp_path / "images"
    shutil.copytree(tiny_folder, folder)
    for i, image in enumerate(sorted(folder.rglob("*.jpeg"))):
        os.utime(image, (4e9, 4e9) if i % 2 else (-1e6, -1e6))
    times = itertools.count(10**6, -1000)
    monkeypatch.setattr(time, "time", lambda: float(next(times)))
    with monkeypatch.context() as patch:
        patch.setattr(files, "put_in_place", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            trained(folder, epochs=1)
    result = trained(folder, epochs=1)
    assert "Going on after epoch 1 of 1" in capsys.readouterr().out and len(list((tmp_path / "cache").iterdir())) == 1
    assert (result.history.seconds >= 0).all()
