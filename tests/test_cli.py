import re

import nbformat
import pytest

from pnlib import cli, notebooks, runs
from pnlib.errors import InputError


@pytest.fixture
def series(tmp_path, monkeypatch, tiny_folder):
    """A project of five small notebooks, for what `pnlib run` does around them."""
    project = tmp_path / "project"
    (project / "notebooks").mkdir(parents=True)
    (project / "pyproject.toml").touch()
    bodies = {
        "01_explore": ('data: str = ""  # folder\nrun: str = "default"  # name', "print(data, run)"),
        "02_augment": ("seed: int = 0  # chance", "print('seed', seed)"),
        "03_model": ("dropout: float = 0.5  # share", "print('dropout', dropout)"),
        "04_train": (
            'epochs: int = 12  # passes\nrun: str = "default"  # name',
            "print('epochs', epochs)\nassert epochs != 13, 'thirteen'",
        ),
        "05_evaluate": ("resamples: int = 1000  # draws", "print('end')"),
    }
    for name, (parameters, body) in bodies.items():
        cells = [
            nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(body),
        ]
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(
            nbformat.v4.new_notebook(cells=cells, metadata=metadata), project / "notebooks" / f"{name}.ipynb"
        )
    monkeypatch.chdir(project)
    monkeypatch.setenv("PNLIB_DATA", str(tiny_folder))
    return project


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["-p", "epoch", "20"], "No notebook has a parameter 'epoch': did you mean 'epochs'?"),
        (["-p", "xyz", "1"], "No notebook has a parameter 'xyz': there are data, dropout, epochs"),
        (["-p", "epochs", "many"], "Parameter epochs='many' is not possible; give a whole number from 1 to 1000"),
        (["-p", "epochs", "0"], "Parameter epochs=0 is not possible; give a whole number from 1 to 1000"),
        (["-p", "dropout", "false"], "Parameter dropout='false' is not possible; give a fraction"),
        (["-p", "epochs", "1", "-p", "epochs", "2"], "Parameter 'epochs' is given twice"),
        (["--only", "02_augment", "-p", "epochs", "3"], "02_augment has no parameter 'epochs'; it belongs to 04_train"),
        (["-p", "run", "x"], "Name the run with --name x"),
        (["--name", "../x"], "Parameter run='../x' is not possible"),
        (["-p", "data", "nowhere"], "There is no dataset folder"),
        (["--in-place", "-p", "epochs", "3"], "leave out -p"),
        (["--in-place", "--only", "03_model"], "leave out -p, --name, --only and --from"),
        (["--in-place"], "The committed notebooks show the published X-rays, and this is demo"),
        (["--only", "03_model", "--from", "04_train"], "exclude each other"),
    ],
)
def test_bad_requests_are_refused_before_a_kernel_starts(series, workspace, capsys, arguments, words):
    assert cli.main(["run", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pnlib: ") and words in error and error.count("\n") == 1
    assert not (workspace / "runs").exists()


def test_a_run_passes_parameters_on_and_writes_reports(series, workspace, capfd):
    """Up to 04: the small 05 evaluates nothing. The real series, end to end, is test_replay.py's."""
    for only in ("02_augment", "04_train"):
        given = {"02_augment": ["-p", "seed", "7"], "04_train": ["-p", "epochs", "3"]}[only]
        assert cli.main(["run", "--name", "one", "--only", only, *given]) == 0
    printed = capfd.readouterr().out
    assert "DEMO DATA" in printed and "seed 7" in printed and "epochs 3" in printed
    assert f"Everything lies in {workspace / 'runs' / 'one'}" in printed
    folder = workspace / "runs" / "one" / "notebooks"
    assert sorted(f.name for f in folder.iterdir()) == [
        "02_augment.html",
        "02_augment.ipynb",
        "04_train.html",
        "04_train.ipynb",
    ]
    assert (
        "epochs 3" in (folder / "04_train.html").read_text()
        and str(workspace) not in (folder / "04_train.ipynb").read_text()
    )


def test_a_failed_notebook_stops_the_chain(series, workspace, capfd):
    assert cli.main(["run", "--name", "bad", "-p", "epochs", "13", "--from", "03_model"]) == 1
    captured = capfd.readouterr()
    error = captured.err
    assert "04_train failed in cell 3" in error and "`print('epochs', epochs)`" in error and "thirteen" in error
    assert "05_evaluate" not in captured.out
    partial = workspace / "runs" / "bad" / "notebooks" / "04_train.ipynb"
    assert str(partial) in error
    outputs = [o for c in nbformat.read(partial, 4).cells for o in c.get("outputs", [])]
    assert any("epochs 13" in o.get("text", "") for o in outputs), "what was printed before the failure is kept"


def test_info_lists_dataset_and_parameters(series, capsys):
    assert cli.main(["info"]) == 0
    printed = capsys.readouterr().out
    assert "DEMO DATA" in printed and re.search(r"epochs: int = 12\s+passes", printed)


def test_tidy_drops_paths_and_merges_streams(tmp_path):
    def stream(text, name="stdout"):
        return nbformat.v4.new_output("stream", text=text, name=name)

    cell = nbformat.v4.new_code_cell(
        "x", outputs=[stream("a\n"), stream("b\n"), stream("c\n", "stderr"), stream("d\n")], execution_count=1
    )
    cell.metadata["papermill"] = {"exception": False}
    book = nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": {"input_path": "/home/somebody/x.ipynb"}})
    path = tmp_path / "x.ipynb"
    nbformat.write(book, path)
    notebooks.tidy(path)
    assert "/home/somebody" not in path.read_text() and "papermill" not in path.read_text()
    assert [o.text for o in nbformat.read(path, 4).cells[0].outputs] == ["a\nb\n", "c\n", "d\n"]


def test_help_says_what_it_is(capsys):
    for arguments in ([], ["run"], ["download"], ["info"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main([*arguments, "--help"])
        assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert "no medical device" in printed and "Example: pnlib run --name quick" in printed


def test_every_parameter_of_the_notebooks_is_known_documented_and_in_range():
    for name in (*cli.NOTEBOOKS, cli.SUPPLEMENT):
        for parameter, about in notebooks.parameters(name).items():
            kind = runs.PARAMETERS[parameter][0]
            assert about["inferred_type_name"] == kind.__name__ and about["help"], f"{name}: {parameter}"
            value = about["default"].strip("\"'") if kind is str else kind(about["default"])
            runs.check(**{parameter: value})


def test_layers_for_augmentation_may_be_given_on_the_command_line():
    known = {"04_train": ["augmentation"]}
    given = cli.parse_parameters([("augmentation", "{RandomZoom: {height_factor: [-0.3, 0.1]}}")], known, ["04_train"])
    assert given == {"augmentation": {"RandomZoom": {"height_factor": [-0.3, 0.1]}}}
    for wrong in ("{Lambda: {}}", "{RandomZoom: [", "widest"):
        with pytest.raises(InputError, match="Parameter augmentation=.* is not possible; give one of none, tone,"):
            cli.parse_parameters([("augmentation", wrong)], known, ["04_train"])


HOSTILE = ["'); raise SystemExit('in", '"\n__import__("os").abort()\n"', "a\\", "\u2028x", "'" * 3, "{'a': 1}"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_parameter_stays_a_value_and_never_becomes_code(text):
    """papermill writes parameters as Python: whatever they hold, executing the cell only assigns them."""
    from papermill.translators import papermill_translators

    cell = papermill_translators.find_translator("python3", "python").codify(
        {"data": text, "augmentation": {text: text}}
    )
    found = {}
    exec(compile(cell, "parameters", "exec"), {"__builtins__": {}}, found)
    assert found == {"data": text, "augmentation": {text: text}}


def test_in_place_saves_all_or_nothing(series, workspace, monkeypatch, capfd):
    """On published data (here: made to look so), a failed notebook leaves every committed one as it was."""
    import dataclasses

    from pnlib import data

    real = data.find
    monkeypatch.setattr(
        data, "find", lambda folder="": dataclasses.replace(real(folder), is_published=True, is_demo=False)
    )
    before = {name: notebooks.path_of(name).read_bytes() for name in cli.NOTEBOOKS}
    book = nbformat.read(notebooks.path_of("04_train"), 4)
    book.cells[1].source = "raise ValueError('broken')"
    nbformat.write(book, notebooks.path_of("04_train"))
    before["04_train"] = notebooks.path_of("04_train").read_bytes()
    assert cli.main(["run", "--in-place"]) == 1
    assert {name: notebooks.path_of(name).read_bytes() for name in cli.NOTEBOOKS} == before
    capfd.readouterr()


def test_a_dead_kernel_is_one_sentence(series, capfd):
    book = nbformat.read(notebooks.path_of("02_augment"), 4)
    book.cells[1].source = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    nbformat.write(book, notebooks.path_of("02_augment"))
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
    from pnlib import demo

    monkeypatch.setenv("PNLIB_DATA", "demo")
    monkeypatch.setattr(demo, "ensure", lambda parent: tiny_folder)
    assert cli.main(["info"]) == 0 and "DEMO DATA" in capsys.readouterr().out
