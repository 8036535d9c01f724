"""Execute notebooks as `pnlib run` does, and replay executed ones by nbval. Everything that depends on nbval is here
and in nbval_pictures.py."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat

from pnlib.base import paths

SANITIZE = paths.root() / "notebooks" / "nbval_sanitize.cfg"


def execute(*arguments: str, environment: dict) -> None:
    line = [sys.executable, "-m", "pnlib", "run", *arguments]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def nbval(notebook: Path, environment: dict) -> None:
    """Every code cell of the notebook must pass nbval, strictly; cells can't drop out unseen."""
    line = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "--nbval-cell-timeout", "3000", "-q",
            "--nbval-sanitize-with", str(SANITIZE), "-p", "no:cacheprovider", "-p", "nbval_pictures", "--rootdir", str(notebook.parent), str(notebook)]  # fmt: skip
    environment = environment | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), environment.get("PYTHONPATH", "")])
    }
    done = subprocess.run(line, env=environment, capture_output=True, text=True, cwd=notebook.parent, timeout=3300)
    cells = sum(cell.cell_type == "code" for cell in nbformat.read(notebook, 4).cells)
    counted = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0 and counted and int(counted[1]) == cells, done.stdout[-6000:] + done.stderr[-2000:]


def environment_of(folder: Path, data_folder: str) -> dict:
    return os.environ | {
        "PNLIB_RUNS": str(folder / "runs"),
        "PNLIB_CACHE": str(folder / "cache"),
        "PNLIB_DATA": data_folder,
    }
