"""Executing one notebook: its parameters, what it leaves behind, and what is said where it can't be executed."""

import nbformat
import pytest

from pnlib.base.errors import InputError
from pnlib.runner import notebooks

RECORD = {"input_path": "/home/somebody/x.ipynb", "start_time": "2026-11-28T23:59:59.1", "duration": 12.3}


def test_tidy_drops_paths_and_merges_streams(tmp_path):
    def stream(text, name="stdout"):
        return nbformat.v4.new_output("stream", text=text, name=name)

    outputs = [stream("a\n"), stream("b\n"), stream("c\n", "stderr"), stream("d\n")]
    cell = nbformat.v4.new_code_cell("x", outputs=outputs, execution_count=1)
    cell.metadata["papermill"] = {"exception": False}
    book = nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": RECORD})
    path = tmp_path / "x.ipynb"
    nbformat.write(book, path)
    notebooks.tidy(path)
    assert "/home/somebody" not in path.read_text() and "papermill" not in path.read_text()
    kept = nbformat.read(path, 4).metadata["pnlib"]
    assert (kept["date"], kept["seconds"]) == ("2026-11-28", 12) and {"python", "tensorflow"} <= set(kept["versions"])
    notebooks.tidy(path)
    assert nbformat.read(path, 4).metadata["pnlib"] == kept, "papermill's record is gone, this one stays"
    assert [o.text for o in nbformat.read(path, 4).cells[0].outputs] == ["a\nb\n", "c\n", "d\n"]


def test_a_notebook_gets_the_parameters_that_it_has_and_the_other_settings_in_one(series):
    values = {"epochs": 3, "dropout": 0.3, "seed": 1, "run": "one", "data": "", "resamples": 100}
    assert notebooks.parameters_for("04_train", values) == {
        "epochs": 3,
        "run": "one",
        "settings": {"dropout": 0.3, "seed": 1},
    }
    assert notebooks.parameters_for("04_train", {"epochs": 3}) == {"epochs": 3}
    assert notebooks.parameters_for("02_augment", values) == {"seed": 1}
    assert notebooks.parameters_for("03_model", values) == {"dropout": 0.3}
    assert notebooks.parameters_for("05_evaluate", values) == {"resamples": 100}


def test_quiet_execution_prints_nothing(series, tmp_path, capfd):
    output = tmp_path / "out" / "02_augment.ipynb"
    notebooks.execute("02_augment", output, {"seed": 5})
    assert capfd.readouterr() == ("", "")
    assert nbformat.read(output, 4).cells[-1].outputs[0].text == "seed 5\n"
    assert [f.name for f in output.parent.iterdir()] == ["02_augment.ipynb"]


def test_what_is_no_notebook_is_named(series):
    path = series / "notebooks" / "02_augment.ipynb"
    path.write_text("{")
    with pytest.raises(InputError, match=f"{path} is no sound notebook: .*; restore it with git"):
        notebooks.execute("02_augment", series / "out.ipynb", {})
    path.unlink()
    with pytest.raises(InputError, match=f"There is no notebook {path}; run pnlib in a clone"):
        notebooks.parameters("02_augment")


@pytest.mark.parametrize(
    "text", ["'); raise SystemExit('in", '"\n__import__("os").abort()\n"', "a\\", "\u2028x", "'" * 3, "{'a': 1}"]
)
def test_a_parameter_stays_a_value_and_never_becomes_code(text):
    """papermill writes parameters as Python: whatever they hold, executing the cell only assigns them."""
    from papermill.translators import papermill_translators

    given = {"data": text, "augmentation": {text: text}}
    cell = papermill_translators.find_translator("python3", "python").codify(given)
    found = {}
    exec(compile(cell, "parameters", "exec"), {"__builtins__": {}}, found)
    assert found == given
