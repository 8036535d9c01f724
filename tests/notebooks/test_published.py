"""Where PNLIB_DATA names the published X-rays: nbval executes the committed notebooks as they are, training included, and
compares strictly; the stored weights are evaluated again."""

import os
import subprocess
import sys

import pytest
from executing import environment_of, nbval

import pnlib
from pnlib.base import paths
from pnlib.datasets.external import external_folder
from pnlib.runner import SERIES

REAL_DATA = os.environ.get("PNLIB_DATA", "")

pytestmark = pytest.mark.skipif(
    REAL_DATA in ("", "demo") or not pnlib.find_dataset(str(paths.resolve(REAL_DATA))).is_published,
    reason="PNLIB_DATA names no published X-rays",
)


@pytest.fixture(scope="module")
def second_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("committed")


@pytest.mark.parametrize("name", (*SERIES, "06_review", "08_predict"))
def test_committed_notebooks_on_the_published_images(second_folder, name):
    """Strict, from nothing: 04 trains anew, 05 and 06 evaluate the stored networks."""
    nbval(paths.root() / "notebooks" / f"{name}.ipynb", environment_of(second_folder, str(paths.resolve(REAL_DATA))))


@pytest.mark.skipif(not os.environ.get("PNLIB_EXTERNAL"), reason="PNLIB_EXTERNAL names no external test set")
def test_the_supplement_on_another_hospital(second_folder):
    environment = environment_of(second_folder, str(paths.resolve(REAL_DATA)))
    environment["PNLIB_EXTERNAL"] = str(external_folder())
    nbval(paths.root() / "notebooks" / "09_external.ipynb", environment)


def test_the_stored_weights_give_the_headline(tmp_path):
    """make headline-check."""
    line = [sys.executable, str(paths.root() / "benchmarks" / "headline.py"), "--check"]
    environment = environment_of(tmp_path, str(paths.resolve(REAL_DATA)))
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0 and done.stdout.count(": holds") >= 7, done.stdout[-3000:] + done.stderr[-2000:]
