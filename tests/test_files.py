"""runs and download: what lands on disk, whole or not at all."""

import functools
import hashlib
import http.server
import os
import stat
import struct
import subprocess
import sys
import threading
import zipfile

import pytest

from pnlib import data, download, runs
from pnlib.errors import InputError


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("epochs", 0, "give a whole number from 1 to 1000"),
        ("epochs", 2.5, "give a whole number"),
        ("epochs", True, "give a whole number"),
        ("epochs", "20", "give a whole number"),
        ("validation", 1.5, "give a fraction from 0.02 to 0.5"),
        ("learning_rate", float("inf"), "give a number above 0"),
        ("precision", "float8", "give one of float32, mixed_bfloat16"),
        ("augmentation", "false", "give one of none, tone"),
        ("run", "../up", "give a name of letters"),
        ("run", "", "give a name of letters"),
        ("epoch", 3, "No notebook has a parameter 'epoch'"),
    ],
)
def test_parameters_out_of_range(name, value, words):
    with pytest.raises(InputError, match=words) as caught:
        runs.check(**{name: value})
    assert repr(value) in str(caught.value) or name == "epoch"


def test_parameters_in_range():
    runs.check(
        epochs=20, learning_rate=1, validation=0.2, dropout=0, precision="mixed_bfloat16", run="a-b_c.1", data=""
    )


def test_root_is_found_from_every_folder(tmp_path, monkeypatch):
    here = runs.root()
    assert (here / "notebooks").is_dir()
    for folder in (here, here / "notebooks", here / "pnlib", tmp_path):
        monkeypatch.chdir(folder)
        assert runs.root() == here
    monkeypatch.chdir(here / "notebooks")
    assert runs.resolve("pnlib") == here / "pnlib", "relative to the project where the current folder has no such thing"
    assert runs.resolve("01_explore.ipynb") == here / "notebooks" / "01_explore.ipynb"


def test_write_whole_leaves_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    runs.write_json(path, {"x": 1})
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(InputError, match="Cannot write .*a.json: No space left on device; free some space"):
        runs.write_json(path, {"x": 2})
    assert runs.read_json(path) == {"x": 1} and os.listdir(tmp_path) == ["a.json"]
    with pytest.raises(ValueError):
        runs.write_json(path, float("nan"))


def test_damaged_json_is_named(tmp_path):
    (tmp_path / "b.json").write_text("{")
    for name in ("b.json", "missing.json"):
        with pytest.raises(InputError, match=f"Cannot read .*{name}"):
            runs.read_json(tmp_path / name)


def test_older_folders_are_kept(tmp_path):
    for content in "abc":
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / content).touch()
        runs.put_in_place(tmp_path / "new", tmp_path / "final")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("?")) == ["final/c", "final~1/a", "final~2/b"]


def test_no_run_says_what_to_run_first(workspace):
    with pytest.raises(InputError, match="run 04_train with run='default' first"):
        runs.finished("default")


def test_environment_says_what_a_result_depends_on():
    found = runs.environment("float32")
    assert found["packages"]["tensorflow"] and found["machine"]["cores"] and found["precision"] == "float32"
    assert os.uname().nodename not in str(found), "the machine's kind, not its name"


def test_import_is_light_and_tensorflow_is_quiet():
    code = "import sys, pnlib, pnlib.data, pnlib.train, pnlib.augment, pnlib.model, pnlib.cli, pnlib.explain; print('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
    code = "from pnlib import runs; runs.quiet_tensorflow(); import keras; keras.ops.ones(1); import sys; print('heard', file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "heard\n", "no start-up log, and stderr works afterwards"


# --- download


def archive(path, names=None, link=None, pipe=None):
    """A small archive of the published layout, with macOS litter."""
    import io

    import PIL.Image

    jpeg = io.BytesIO()
    PIL.Image.new("L", (64, 64), 90).save(jpeg, "JPEG")
    names = names or [f"chest_xray/{part}/{name}.jpeg" for part in ("train", "test")
                      for name in ("NORMAL/IM-0001-0001", "PNEUMONIA/person1_virus_1")] + ["__MACOSX/chest_xray/train/._x"]  # fmt: skip
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, jpeg.getvalue())
        for name, kind in ((link, stat.S_IFLNK), (pipe, stat.S_IFIFO)):
            if name:
                entry = zipfile.ZipInfo(name)
                entry.external_attr = (kind | 0o777) << 16
                file.writestr(entry, "/etc/passwd")
    return path


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *a: None
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_download_ends_in_a_dataset(server, tmp_path):
    folder, address = server
    path = archive(folder / "ChestXRay2017.zip")
    target = tmp_path / "data" / "chest_xray"
    assert download.fetch(target, f"{address}/{path.name}", sha256(path), progress=False) == target
    found = data.find(str(target))
    assert len(found.table) == 4
    assert os.listdir(target.parent) == ["chest_xray"], "no archive, no temporary folder"
    with pytest.raises(InputError, match="exists already; remove it first"):
        download.fetch(target)


def test_failed_downloads_leave_nothing(server, tmp_path):
    folder, address = server
    path = archive(folder / "a.zip")
    target = tmp_path / "data" / "chest_xray"
    cases = [
        (f"{address}/a.zip", "0" * 64, "Could not download .*hash"),
        (f"{address}/missing.zip", "0" * 64, "Could not download .*404"),
        ("http://127.0.0.1:9/a.zip", "0" * 64, "Could not download"),
    ]
    other = archive(folder / "other.zip", names=["readme.txt"])
    cases.append((f"{address}/other.zip", sha256(other), "not this dataset"))
    (folder / "cut.zip").write_bytes(path.read_bytes()[:300])
    cases.append((f"{address}/cut.zip", sha256(folder / "cut.zip"), "no sound zip archive"))
    for url, checksum, words in cases:
        with pytest.raises(InputError, match=words):
            download.fetch(target, url, checksum, progress=False)
        assert os.listdir(target.parent) == []


@pytest.mark.parametrize(
    "options, words",
    [
        ({"names": ["../evil.txt"]}, "leads outside"),
        ({"names": ["/etc/evil"]}, "leads outside"),
        ({"names": ["a/../../evil"]}, "leads outside"),
        ({"names": ["C:/evil"]}, "leads outside"),
        ({"link": "chest_xray/link"}, "is a link"),
        ({"names": ["..\\evil"]}, "leads outside"),
        ({"names": ["a.txt", "a.txt"]}, "twice"),
        ({"names": ["a.txt", "./a.txt"]}, "twice"),
        ({"pipe": "chest_xray/pipe"}, "is a link or a device"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_unsafe_archives_are_refused_before_a_byte_lands(tmp_path, options, words):
    path = archive(tmp_path / "a.zip", **options)
    with pytest.raises(InputError, match=words):
        download.unpack(path, tmp_path / "out")
    assert os.listdir(tmp_path) == ["a.zip"]


def test_an_archive_that_lies_about_its_size_is_refused(tmp_path):
    """30 MB of zeros that the directory says are 100 bytes: no more than these are unpacked."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.txt", bytes(30_000_000))
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 30_000_000), struct.pack("<I", 100)))
    with pytest.raises(InputError, match="no sound zip archive: Bad CRC-32.*download it again"):
        download.unpack(path, tmp_path / "out")
    assert sum(f.stat().st_size for f in (tmp_path / "out").iterdir()) <= 100


def test_archive_bombs_are_refused(tmp_path, monkeypatch):
    path = archive(tmp_path / "a.zip")
    monkeypatch.setattr(download, "LARGEST", 100)
    with pytest.raises(InputError, match="would unpack to more than"):
        download.unpack(path, tmp_path / "out")
    assert os.listdir(tmp_path) == ["a.zip"]
