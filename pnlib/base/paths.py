"""Where things are: the project's folder, runs, the cache.

papermill runs a notebook in the folder it was launched from, nbval in the notebook's own. Every path is resolved here,
so that both find the same place.
"""

import os
import re
from pathlib import Path

from pnlib.base.errors import InputError, quoted

PACKAGE = Path(__file__).resolve().parents[1]
IN_WHEEL = PACKAGE / "course"  # setup.py puts it there
COURSE = ("docs", "models", "nb_images", "notebooks", "studies")  # what a copy of the course consists of


def project() -> Path | None:
    """The project's folder: the nearest one above the current folder, or around this package. None: away from it.

    It is a clone or a copy that `pnlib notebooks` made.
    """
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents, PACKAGE.parent) if _is_project(folder)), None)


def _is_project(folder: Path) -> bool:
    """A clone has the project's name in pyproject.toml, a copy of the course the results of its networks.

    Other projects with notebooks have neither.
    """
    about = folder / "pyproject.toml"
    return (folder / "notebooks").is_dir() and (
        (folder / "models" / "reference" / "headline.json").is_file()
        or (about.is_file() and '\nname = "pnlib"\n' in about.read_text("utf-8", "replace"))
    )


def root() -> Path:
    """The project's folder; away from it the current one, to read from."""
    return project() or Path.cwd()


def course() -> Path:
    """This package's own copy of the course: inside it if it came as a wheel, else the clone around it."""
    return IN_WHEEL if IN_WHEEL.is_dir() else PACKAGE.parent


def brought(path: str) -> Path:
    """What the project brings along: in its folder, else in the wheel. It need not exist."""
    here = root() / path
    return here if here.exists() or not (IN_WHEEL / path).exists() else IN_WHEEL / path


class Away(InputError):
    """Away from the project's folder, where nothing is written unasked."""


def _own(variable: str, default: str) -> Path:
    """A folder to write to: the variable's (relative to the project), else one in the project.

    Raises:
        Away: there is neither.
    """
    if project() is None and not os.environ.get(variable):
        raise Away(
            "This is no folder of the course: make one with `pnlib notebooks FOLDER` and go there, or say with "
            f"{variable} to which folder pnlib may write."
        )
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
    return (Path("runs") / path.relative_to(runs_dir())).as_posix()
