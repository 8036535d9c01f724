"""What breaks while files are written or read, without a training: killed writers, power cuts, full disks, closed folders,
odd surroundings. docs/faults.md lists the faults with the test of each; `make torture` does the same for longer."""

import contextlib
import ctypes
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from processes import Command, tree
from small_files import layout

import pnlib
from pnlib.base import files
from pnlib.datasets import demo, download
from pnlib.runner import cli
from pnlib.studies import cluster
from pnlib.studies.grid import Study, Trial

RUN = ("run", "--only", "02_augment", "--name", "one")

# --- killed while it writes

CUT = """
import io, itertools, os, resource, signal, sys
from pathlib import Path
from pnlib.base import files

path, steps = Path(sys.argv[1]), 0

def cutting(call, cut):
    def wrapped(*arguments, **options):
        global steps
        steps += 1
        if steps == cut:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return wrapped

def write(cut):
    io.open = cutting(io.open, cut)
    for name in ("open", "fsync", "replace", "close"):
        setattr(os, name, cutting(getattr(os, name), cut))
    if cut == 0:  # in the middle of the content
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    files.atomic_write(path, "new" * 1000)

for cut in itertools.count():
    path.write_text("old" * 1000)
    if not (pid := os.fork()):
        write(cut)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    content = path.read_text()
    print(status, content[:3] if content in ("old" * 1000, "new" * 1000) else "a part")
    if status == 0:
        break
"""


def test_a_file_is_the_old_or_the_new_one_wherever_its_writer_is_killed(tmp_path):
    """Before opening, in the middle of the content, before fsync, before the rename, before the folder's fsync…"""
    done = subprocess.run([sys.executable, "-c", CUT, str(tmp_path / "a.txt")], capture_output=True, text=True)
    found = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and len(found) >= 6, done.stderr
    assert [status for status, _ in found] == ["-25", *["-9"] * (len(found) - 2), "0"]
    contents = [content for _, content in found]
    assert set(contents) == {"old", "new"} and contents == sorted(contents, reverse=True), (
        "first the old ones, then the new ones"
    )


@pytest.fixture
def noted(monkeypatch):
    """What reaches the disk, in order."""
    done = []

    def noting(name, words):
        real = getattr(os, name)

        def wrapped(*arguments, **options):
            done.append(words(*arguments) if callable(words) else words)
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, wrapped)

    noting("fsync", lambda handle: "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
    for name, words in (("replace", "rename"), ("rename", "rename"), ("sync", "sync")):
        noting(name, words)

    def since_then():
        found = done[:]
        done.clear()
        return found

    return since_then


def test_content_is_on_the_disk_before_its_name_and_the_name_before_we_go_on(tmp_path, tiny, noted, monkeypatch):
    """Else a power cut leaves a name without content: a cache of zeros, an empty state."""
    files.atomic_write(tmp_path / "a.txt", "a")
    assert noted() == ["file", "rename", "folder"]
    files.atomic_write(tmp_path / "new" / "newer" / "a.txt", "a")
    assert noted() == ["folder", "folder", "file", "rename", "folder"], "folders that are made on the way"
    (tmp_path / "partial").mkdir()
    files.put_in_place(tmp_path / "partial", tmp_path / "final")
    assert noted() == ["rename", "folder"]
    pnlib.load_images(tiny, tiny.rows("test"))
    assert noted() == ["folder", "file", "rename", "folder"], "the cache, and its folder"
    trial = Trial("plain", {"seed": 0}, False, "0123")
    cluster.store(Study("small", "", False, (trial,), ""), trial, {"files": {"a.csv": b"a"}, "seconds": 1.0})
    new = ["folder"] * 5  # runs, studies, small, trials, and the trial's own
    assert noted() == new + ["file", "rename", "folder"] * 2 + ["rename", "folder"], "a study's trial"
    monkeypatch.setattr(demo, "draw_demo", lambda folder, seed: (folder / "train").mkdir(parents=True))
    demo.ensure_demo(tmp_path)
    assert noted() == ["sync", "rename", "folder"], "the demo"
    monkeypatch.setattr(download, "fetch", lambda url, file, *rest: file.touch())
    monkeypatch.setattr(download, "unpack", lambda archive, folder: layout(folder))
    download.download(tmp_path / "downloaded", size=1)
    assert noted() == ["folder", "sync", "rename", "folder"], "the download, and the folder in which it is unpacked"


# --- a disk that is full, a folder that can't be written


def without_privileges():
    """Root may write everywhere; without these capabilities it may not. Others never had them."""
    with contextlib.suppress(OSError, AttributeError):
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


FORBIDDEN = """
import os, sys
from pathlib import Path
import pnlib
from pnlib.base import files
from pnlib.runner import cli
folder, dataset = Path(sys.argv[1]), pnlib.find_dataset(sys.argv[2])
if os.access(folder, os.W_OK):
    sys.exit(77)

def attempt(call, *arguments):
    try:
        call(*arguments)
    except pnlib.InputError as error:
        print(error)

attempt(files.atomic_write, folder / "old.txt", "new")
attempt(pnlib.load_images, dataset, dataset.table)
print((folder / "old.txt").read_text())
first = dataset.root / dataset.table.path[0]
first.chmod(0)
attempt(pnlib.decode, first)
first.parent.chmod(0)
attempt(pnlib.find_dataset, sys.argv[2])
first.parent.chmod(0o755)
for closed, mode in ((dataset.root / "train", 0o444), (dataset.root, 0o444), (dataset.root, 0)):
    closed.chmod(mode)  # listed but not entered, or neither
    attempt(pnlib.find_dataset, sys.argv[2])
    closed.chmod(0o755)
sys.exit(cli.main(["run", "--only", "03_model"]))
"""


def test_what_may_not_be_written_or_read_is_named(series, tiny_folder, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "old.txt").write_text("old")
    closed.chmod(0o555)
    shutil.copytree(tiny_folder, tmp_path / "images")
    environment = os.environ | {"PNLIB_RUNS": str(closed / "runs"), "PNLIB_CACHE": str(closed / "cache")}
    line = [sys.executable, "-c", FORBIDDEN, str(closed), str(tmp_path / "images")]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, preexec_fn=without_privileges)
    if done.returncode == 77:
        pytest.skip("this account may write everywhere")
    old, cache, content, image, *folders = done.stdout.splitlines()
    assert (
        old
        == f"Cannot write {closed}/old.txt: Permission denied; free some space, or name other folders in PNLIB_RUNS and PNLIB_CACHE."
    )
    assert re.fullmatch(f"Cannot write {closed}/cache/.*: Permission denied; .*", cache) and content == "old"
    assert re.fullmatch(f"Cannot read {tmp_path}/images/.*jpeg: .*Permission denied.*; replace or remove it.", image)
    for said in folders[:4]:
        assert re.fullmatch(f"Cannot read the folder {tmp_path}/images.*: Permission denied; make it readable.", said)
    said = f"pnlib: Cannot write {closed}/runs/default: Permission denied; free some space, or name other folders in PNLIB_RUNS and PNLIB_CACHE.\n"
    assert done.stderr == said and done.returncode == 2


def test_a_full_disk_keeps_the_executed_notebook(series, replace_cell, workspace, monkeypatch, capfd):
    replace_cell("02_augment", "import os\nprint('x' * int(os.environ['LONG']))")
    monkeypatch.setenv("LONG", "9")
    assert cli.main([*RUN]) == 0
    folder = workspace / "runs" / "one" / "notebooks"
    good = tree(folder)
    assert len(good) == 2
    monkeypatch.setenv("LONG", "2000000")
    full = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (10**6, -1))"
    with Command(workspace / "command", *RUN, prepare=full) as command:
        assert command.wait() == 1
    assert re.fullmatch("pnlib: 02_augment failed: cannot write .*: File too large\n", command.stderr)
    assert tree(folder) == good
    capfd.readouterr()


# --- odd surroundings

ODD = """import locale, os
locale.setlocale(locale.LC_ALL, "")
import pnlib
dataset = pnlib.find_dataset()
print("Größe ± 0.02 …", f"{0.5:n}", pnlib.load_images(dataset, dataset.rows("test")).shape, "HOME" in os.environ)
from pnlib.base import files, paths
files.write_json(paths.run_dir("one") / "train" / "a.json", 1)"""


def test_odd_surroundings_disturb_nothing(series, replace_cell, workspace, tiny_folder, monkeypatch):
    """All at once: a path with blanks, umlauts, braces and 200 characters, no home folder, umask 077, decimal commas, a
    terminal that knows ASCII only. (`make torture` trains there, and compares bits.)"""
    replace_cell("02_augment", ODD)
    long = workspace / ("Röntgen, {Übung} " + "x" * 183)
    assert len(long.name) == 200
    shutil.copytree(series, long / "project")
    shutil.copytree(tiny_folder, long / "Bilder")
    odd = os.environ | {"PYTHONIOENCODING": "ascii", "PNLIB_DATA": str(long / "Bilder"), "PNLIB_RUNS": str(long / "runs"),
                        "PNLIB_CACHE": str(long / "cache"), "TMPDIR": str(long)}  # fmt: skip
    odd.pop("HOME", None)
    comma = decimal_commas(workspace)
    odd |= {"LOCPATH": str(workspace), "LC_ALL": "de_DE.UTF-8"} if comma else {"LC_ALL": "C"}
    monkeypatch.chdir(long / "project")
    with Command(workspace / "command", *RUN, environment=odd, prepare="import os\nos.umask(0o077)") as command:
        assert command.wait() == 0, command.stderr
    assert (
        "Gr??e ? 0.02 ?" in command.stdout
        and ("0,5" in command.stdout) == comma
        and "(16, 150, 150, 1) False" in command.stdout
    )
    written = [f for folder in ("runs", "cache") for f in (long / folder).rglob("*") if f.is_file()]
    assert {f.suffix for f in written} >= {".ipynb", ".html", ".json", ".npy"}
    assert not [f for f in written if f.stat().st_mode & 0o077], "umask 077: for the owner alone"


def decimal_commas(folder: Path) -> bool:
    """Make a German locale there; False where this system can't."""
    line = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(folder / "de_DE.UTF-8")]
    return bool(shutil.which("localedef")) and not subprocess.run(line, capture_output=True).returncode


def test_a_home_folder_that_cannot_be_written_is_not_needed(series, workspace):
    with Command(workspace / "command", *RUN, environment=os.environ | {"HOME": "/proc/nowhere"}) as command:
        assert command.wait() == 0 and "Traceback" not in command.stderr, command.stderr
    outputs = nbformat.read(workspace / "runs" / "one" / "notebooks" / "02_augment.ipynb", 4).cells[-1].outputs
    assert [output.get("name") for output in outputs] == ["stdout"]


# --- the table


def test_every_test_that_the_table_of_faults_names_exists():
    tests = Path(__file__).resolve().parents[1]
    text = (tests.parent / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = [
        re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| ") and "---" not in line
    ]
    rows = [row for row in rows if row[2].strip() != "test"]  # the heads of the tables
    assert len(rows) >= 20 and all(len(row) == 3 and all(cell.strip() for cell in row) for row in rows)
    sources = {file.name: file.read_text(encoding="utf-8") for file in tests.rglob("*.py")}
    for fault, _, named in rows:
        found = re.findall(r"`(\w+\.py)::(\w+)`", named)
        assert found, f"{fault} names no test"
        for file, test in found:
            assert f"def {test}(" in sources.get(file, ""), f"{file} has no {test}"
