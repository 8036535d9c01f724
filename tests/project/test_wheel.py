"""The archive of the sources and the wheel, built as a release is: whole, and of use apart from a clone."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import pnlib
from pnlib.base import paths
from pnlib.runner import NOTEBOOKS

HERE = paths.root()
PRINTED = """
import pnlib
from pnlib.base import paths
from pnlib.runner.cli import main
print(paths.project(), pnlib.load_reference("compact").parameters)
print([main([*line.split()]) for line in ("info", "notebooks course", "notebooks course", "run")])
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    line = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(HERE)]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (sources,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sources, wheel


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """A folder that holds the unpacked wheel, apart from any clone."""
    site = tmp_path_factory.mktemp("apart") / "site"
    zipfile.ZipFile(built[1]).extractall(site)
    return site


def below(site: Path, code: str, folder: Path, **variables: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PNLIB_")} | variables
    environment |= {"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_sources_are_whole(built):
    with tarfile.open(built[0]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    if not (HERE / ".git").exists():
        pytest.skip("no clone: there is nothing to compare with")
    listed = subprocess.run(["git", "ls-files"], cwd=HERE, check=True, capture_output=True, text=True)
    missing = {file for file in listed.stdout.splitlines() if not file.startswith(".") and file not in held}
    assert not {file for file in missing if (HERE / file).exists()}, "name it in MANIFEST.in"


def test_the_wheel_holds_the_library_and_the_course(built):
    version = pnlib.__version__
    assert built[1].name == f"pnlib-{version}-py3-none-any.whl" and built[0].name == f"pnlib-{version}.tar.gz"
    held = {name: info.file_size for info in zipfile.ZipFile(built[1]).infolist() if (name := info.filename)}
    for folder, inside in (("pnlib", "pnlib"), *((part, f"pnlib/course/{part}") for part in paths.COURSE)):
        for file in (HERE / folder).rglob("*"):
            name = f"{inside}/{file.relative_to(HERE / folder).as_posix()}"
            if file.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(file.parts):
                assert held[name] == file.stat().st_size, name
    assert sum(held.values()) < 40_000_000


def test_away_from_a_clone_the_wheel_works_and_copies_the_course(installed, tmp_path):
    away = tmp_path / "away"
    away.mkdir()
    done = below(installed, PRINTED, away)
    lines = done.stdout.splitlines()
    assert lines[0] == "None 923533" and lines[-1] == "[0, 0, 2, 2]", done.stdout + done.stderr
    assert f"The course lies in {away / 'course'}" in lines and "Traceback" not in done.stderr
    assert f"{away / 'course'} is there already; give a new folder" in done.stderr
    assert "make one with `pnlib notebooks FOLDER`" in done.stderr
    assert [place.name for place in away.iterdir()] == ["course"], "and nothing else is written"
    copied = sorted(path.stem for path in (away / "course" / "notebooks").glob("*.ipynb"))
    assert copied == sorted(NOTEBOOKS)


def test_a_copied_course_is_a_project(installed, tmp_path):
    """A notebook runs there, reads the table of a study, and writes there."""
    code = "import sys; from pnlib.runner.cli import main; sys.exit(main({}))"
    copy = below(installed, code.format(["notebooks", "mine"]), tmp_path)
    assert copy.returncode == 0, copy.stderr
    mine = tmp_path / "mine"
    done = below(installed, code.format(["run", "--only", "07_study"]), mine / "docs", PNLIB_DATA="demo")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (mine / "runs" / "default" / "notebooks" / "07_study.html").is_file()
