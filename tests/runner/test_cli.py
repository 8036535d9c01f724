"""`pnlib`: what it takes and refuses, and what it says."""

import dataclasses
import re
import shutil

import nbformat
import pytest

from pnlib.base.errors import InputError
from pnlib.datasets import demo, find_dataset
from pnlib.runner import SERIES, cli, commands, notebooks


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["-p", "epoch", "20"], "No notebook has a parameter 'epoch': did you mean 'epochs'?"),
        (
            ["-p", "xyz", "1"],
            "No notebook has a parameter 'xyz': there are augmentation, batch_size, data, dropout, ema_momentum, epochs",
        ),
        (["-p", "settings", "{dropout: 0.3}"], "No notebook has a parameter 'settings'"),
        (["-p", "epochs", "many"], "Parameter epochs='many' is not possible; give a whole number from 1 to 1000"),
        (["-p", "epochs", "0"], "Parameter epochs=0 is not possible; give a whole number from 1 to 1000"),
        (["-p", "dropout", "false"], "Parameter dropout='false' is not possible; give a fraction"),
        (["-p", "epochs", "1", "-p", "epochs", "2"], "Parameter 'epochs' is given twice"),
        (["--only", "02_augment", "-p", "epochs", "3"], "02_augment has no parameter 'epochs'; it belongs to 04_train"),
        (
            ["--only", "02_augment", "-p", "batch_size", "3"],
            "02_augment has no parameter 'batch_size'; it belongs to 04_train",
        ),
        (["-p", "run", "x"], "Name the run with --name x"),
        (["--name", "../x"], "Parameter run='../x' is not possible"),
        (["-p", "data", "nowhere"], "There is no dataset folder"),
        (["--in-place", "-p", "epochs", "3"], "leave out -p"),
        (["--in-place", "--only", "03_model"], "leave out -p, --name, --only and --from"),
        (["--in-place"], "The committed notebooks show the published X-rays, and this is demo"),
        (["--only", "03_model", "--from", "04_train"], "exclude each other"),
        (["--only", "02_augment", "--force"], "04_train is left out"),
    ],
)
def test_a_bad_request_is_refused_before_a_kernel_starts(series, workspace, capsys, arguments, words):
    assert cli.main(["run", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pnlib: ") and words in error and error.count("\n") == 1
    assert not (workspace / "runs").exists()


def test_a_run_passes_parameters_on_and_writes_reports(series, workspace, capfd):
    """Two notebooks; the real series, from end to end, is in test_replay.py."""
    for only in ("02_augment", "04_train"):
        given = {"02_augment": ["-p", "seed", "7"], "04_train": ["-p", "epochs", "3", "-p", "dropout", "0.3"]}[only]
        assert cli.main(["run", "--name", "one", "--only", only, *given]) == 0
    printed = capfd.readouterr().out
    assert "DEMO DATA" in printed and "seed 7" in printed
    assert "epochs 3 none {'dropout': 0.3}" in printed, "a setting that 04_train has no parameter for"
    assert f"Everything lies in {workspace / 'runs' / 'one'}" in printed
    folder = workspace / "runs" / "one" / "notebooks"
    assert sorted(f.name for f in folder.iterdir()) == [
        "02_augment.html",
        "02_augment.ipynb",
        "04_train.html",
        "04_train.ipynb",
    ]
    assert "epochs 3" in (folder / "04_train.html").read_text()
    assert str(workspace) not in (folder / "04_train.ipynb").read_text()


def test_a_failed_notebook_stops_the_chain(series, workspace, capfd):
    assert cli.main(["run", "--name", "bad", "-p", "epochs", "13", "--from", "04_train"]) == 1
    captured = capfd.readouterr()
    error = captured.err
    assert "04_train failed in cell 3" in error and "`print('epochs', epochs" in error and "thirteen" in error
    assert "05_evaluate" not in captured.out
    partial = workspace / "runs" / "bad" / "notebooks" / "04_train.ipynb"
    assert str(partial) in error
    outputs = [o for c in nbformat.read(partial, 4).cells for o in c.get("outputs", [])]
    assert any("epochs 13" in o.get("text", "") for o in outputs), "what was printed before the failure is kept"


def test_info_lists_dataset_runs_parameters_and_settings(series, workspace, capsys):
    (workspace / "runs" / "mine" / "train").mkdir(parents=True)
    assert cli.main(["info"]) == 0
    printed = capsys.readouterr().out
    assert "DEMO DATA" in printed and re.search(r"epochs: int = 12\s+passes", printed)
    assert "\n  mine\n" in printed and "weight_decay: float = 0.05" in printed


def test_help_says_what_it_is(capsys):
    for arguments in ([], ["run"], ["study"], ["download"], ["info"], ["doctor"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main([*arguments, "--help"])
        assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert "no medical device" in printed and "Example: pnlib run --name quick" in printed


def test_values_on_the_command_line_get_their_types(series):
    pairs = [
        ["epochs", "3"],
        ["augmentation", "{RandomZoom: {height_factor: [-0.3, 0.1]}}"],
        ["ema_momentum", "0"],
        ["keep", "best"],
    ]
    given = commands.parse_parameters(pairs, ["04_train"])
    layers = {"RandomZoom": {"height_factor": [-0.3, 0.1]}}
    assert given == {"epochs": 3, "augmentation": layers, "ema_momentum": 0.0, "keep": "best"}
    for wrong in ("{Lambda: {}}", "{RandomZoom: [", "widest", "[RandomZoom]"):
        with pytest.raises(InputError, match="Parameter augmentation=.* is not possible; give one of none, light,"):
            commands.parse_parameters([["augmentation", wrong]], ["04_train"])


def test_in_place_saves_all_or_nothing(series, replace_cell, workspace, monkeypatch, capfd):
    """On published data (here: made to look so), a failed notebook leaves every committed one as it was."""
    monkeypatch.setattr(
        commands,
        "find_dataset",
        lambda folder="": dataclasses.replace(find_dataset(folder), is_published=True, is_demo=False),
    )
    monkeypatch.setattr(commands.external, "find_external", lambda: None)
    replace_cell("02_augment", "raise ValueError('broken')")
    before = {name: notebooks.path_of(name).read_bytes() for name in SERIES}
    assert cli.main(["run", "--in-place"]) == 1
    assert {name: notebooks.path_of(name).read_bytes() for name in SERIES} == before
    assert (workspace / "runs" / "default" / "notebooks" / "01_explore.ipynb").is_file()
    capfd.readouterr()


def test_a_dead_kernel_is_one_sentence(series, replace_cell, capfd):
    replace_cell("02_augment", "import os; os.abort()")
    assert cli.main(["run", "--only", "02_augment"]) == 1
    error = capfd.readouterr().err
    assert "02_augment failed: its kernel died" in error and "Traceback" not in error


def test_relative_folders_in_the_environment_mean_the_project(series, monkeypatch, capfd):
    monkeypatch.setenv("PNLIB_RUNS", "elsewhere")
    assert cli.main(["run", "--only", "03_model", "--name", "one"]) == 0
    assert (series / "elsewhere" / "one" / "notebooks" / "03_model.ipynb").is_file()
    assert [p.name for p in series.rglob("elsewhere")] == ["elsewhere"]
    capfd.readouterr()


def test_demo_may_be_asked_for_in_the_environment(series, monkeypatch, tiny_folder, capsys):
    monkeypatch.setenv("PNLIB_DATA", "demo")
    monkeypatch.setattr(demo, "ensure_demo", lambda parent: tiny_folder)
    assert cli.main(["info"]) == 0 and "DEMO DATA" in capsys.readouterr().out


def test_force_keeps_the_unfinished_training_beside(series, workspace, capfd):
    from pnlib.base import files

    partial = workspace / "runs" / "one" / "train.partial"
    partial.mkdir(parents=True)
    (partial / "state.npz").write_text("hours")
    line = ["run", "--only", "04_train", "--name", "one", "--force"]
    with files.locked(partial.parent, "training"):  # by another process, say
        assert cli.main(line) == 2 and "Another process is training under the name 'one'" in capfd.readouterr().err
        assert (partial / "state.npz").is_file(), "an unfinished training isn't taken away from who goes on with it"
    assert cli.main(line) == 0 and "is kept as" in capfd.readouterr().out
    assert (partial.with_name("train.partial~1") / "state.npz").read_text() == "hours" and not partial.exists()


def test_an_archive_is_unpacked_and_what_it_is_is_printed(tmp_path, tiny_folder, capsys):
    archive = shutil.make_archive(str(tmp_path / "mine"), "zip", tiny_folder.parent, tiny_folder.name)
    assert cli.main(["download", "--from", archive, "--to", str(tmp_path / "here")]) == 0
    said = capsys.readouterr().out
    assert (
        "DEMO DATA" in said
        and f"The dataset lies in {tmp_path / 'here'}; `pnlib run` will use it once PNLIB_DATA" in said
    )
    assert cli.main(["download", "--from", archive, "--to", str(tmp_path / "here")]) == 2
    assert "here exists already; remove it first" in capsys.readouterr().err
