"""A project of 9 small notebooks, for what `pnlib run` does around them."""

import nbformat
import pytest

from pnlib.runner import notebooks

CELLS = {
    "01_explore": ('data: str = ""  # folder\nrun: str = "default"  # name', "print(data, run)"),
    "02_augment": ("seed: int = 0  # chance", "print('seed', seed)"),
    "03_model": ("dropout: float = 0.5  # share", "print('dropout', dropout)"),
    "04_train": (
        'epochs: int = 12  # passes\naugmentation: str = "none"  # changes\nsettings: dict = {}  # others\nrun: str = "default"  # name',
        "print('epochs', epochs, augmentation, settings)\nassert epochs != 13, 'thirteen'",
    ),
    "05_evaluate": ("resamples: int = 1000  # replicates", "print('end')"),
    "06_review": ("resamples: int = 1000  # replicates", "print('reviewed')"),
    "07_study": ('table: str = "studies/ablation.csv"  # rows', "print(table)"),
    "08_predict": ('image: str = ""  # a file', "print('predicted')"),
    "09_external": ('external: str = ""  # a folder', "print('external')"),
}


@pytest.fixture
def series(tmp_path, monkeypatch, tiny_folder):
    """The project's folder; the current one, too."""
    project = tmp_path / "project"
    (project / "notebooks").mkdir(parents=True)
    (project / "pyproject.toml").write_text('[project]\nname = "pnlib"\n')
    for name, (parameters, body) in CELLS.items():
        cells = [
            nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(body),
        ]
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        path = project / "notebooks" / f"{name}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    monkeypatch.chdir(project)
    monkeypatch.setenv("PNLIB_DATA", str(tiny_folder))
    return project


@pytest.fixture
def replace_cell(series):
    """Let a notebook do something else."""

    def replace(name, source):
        path = notebooks.path_of(name)
        notebook = nbformat.read(path, 4)
        notebook.cells[1].source = source
        nbformat.write(notebook, path)

    return replace
