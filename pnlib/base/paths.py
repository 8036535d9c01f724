"""Where things are: the project's folder, runs, the cache.

papermill runs a notebook in the folder it was launched from, nbval in the notebook's own. Every path is resolved here,
so that both find the same place.
"""

import os
import re
from pathlib import Path

from pnlib.base.errors import InputError, quoted


def clone() -> Path | None:
    """The project's folder: the nearest one above the current folder, or around this package. None: away from a clone.

    Its mark is its own name in pyproject.toml, so that other projects with notebooks aren't taken for it.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        about = folder / "pyproject.toml"
        if (
            (folder / "notebooks").is_dir()
            and about.is_file()
            and '\nname = "pnlib"\n' in about.read_text("utf-8", "replace")
        ):
            return folder
    return None


def root() -> Path:
    """The project's folder; away from a clone the current one, to read from."""
    return clone() or Path.cwd()


def _own(variable: str, default: str) -> Path:
    """A folder to write to: the variable's (relative to the project), else one in the project.

    Raises:
        InputError: away from a clone, where nothing is written unasked.
    """
    if clone() is None and not os.environ.get(variable):
        raise InputError(f"This is no clone of the project, so say with {variable} to which folder pnlib may write.")
    return root() / (os.environ.get(variable) or default)


def resolve(path: str | Path) -> Path:
    """An absolute path. A relative one is looked for in the current folder first, then in the project's."""
    path = Path(os.path.expanduser(path))  # Path.expanduser raises where there is no such home folder
    inside_project = root() / path
    exists = os.path.exists  # Path.exists raises where a name is too long
    return path.absolute() if exists(path) or not exists(inside_project) else inside_project.absolute()


def is_run_name(name: str) -> bool:
    """Whether a run's folder may have this name."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) is not None


def runs_dir() -> Path:
    """Folder of all runs: PNLIB_RUNS (relative to the project), else `runs/` in the project."""
    return _own("PNLIB_RUNS", "runs")


def run_dir(name: str) -> Path:
    """Folder of one run, `runs/NAME/`, which need not exist (InputError: a name that is no folder's name).

    It holds `notebooks/` (executed, with reports), `train/` (weights, settings, history, stress test) and `evaluate/`
    (results on the test images).
    """
    if not is_run_name(name):
        raise InputError(
            f"Parameter run={quoted(name)} is not possible; give a name of letters, digits, '.', '_' and '-'."
        )
    return runs_dir() / name


def cache_dir() -> Path:
    """Folder of decoded images: PNLIB_CACHE (relative to the project), else `data/cache/` in the project."""
    return _own("PNLIB_CACHE", "data/cache")


def demo_dir() -> Path:
    """Folder of the demo dataset: in PNLIB_CACHE, where that is set, else `data/` in the project."""
    return cache_dir() if os.environ.get("PNLIB_CACHE") else cache_dir().parent


def shown(path: Path) -> str:
    """A path below the runs as a notebook may print it: `runs/…`, so that no home folder is published."""
    return str(Path("runs") / path.relative_to(runs_dir()))
