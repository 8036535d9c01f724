"""Three ways to a dataset: drawn from a seed, downloaded, unpacked. Each is there whole or not at all."""

import email.utils
import errno
import hashlib
import http.server
import io
import os
import shutil
import subprocess
import sys
import threading
import time
import types
import warnings
import zipfile

import numpy as np
import PIL.Image
import pytest

import pnlib
from pnlib import InputError
from pnlib.base import files
from pnlib.datasets import demo
from pnlib.datasets import fetch as fetching
from pnlib.datasets.download import download, unpack_to


def test_demo_is_deterministic_imbalanced_and_labelled(tiny_folder, tmp_path):
    first = tmp_path / "first"
    demo.draw_demo(first, seed=3, counts={key: 3 for key in demo.COUNTS})
    drawn = sorted(path.relative_to(first) for path in first.rglob("*.jpeg"))
    assert len(drawn) == 12, "the first of each class in each split: they don't depend on how many follow"
    assert all((first / path).read_bytes() == (tiny_folder / path).read_bytes() for path in drawn)
    assert "Not X-rays" in (tiny_folder / demo.MARKER).read_text()
    found = pnlib.find_dataset(str(tiny_folder))
    assert found.is_demo and found.table.known.all() and "DEMO" in found.describe() and "demo data" in found.attribution
    assert (found.table.groupby(["split", "patient"]).size() > 1).any(), "some patients have several images"
    normal, pneumonia = (demo.COUNTS["train", kind] for kind in ("NORMAL", "PNEUMONIA"))
    assert pneumonia / (pneumonia + normal) == pytest.approx(0.743, abs=0.001)


def test_demo_is_whole_or_absent(tmp_path, monkeypatch):
    def fails(folder, seed):
        folder.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "draw_demo", fails)
    with pytest.raises(KeyboardInterrupt):
        demo.ensure_demo(tmp_path)
    assert os.listdir(tmp_path) == []


# --- download


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `content`, and misbehaves as the next of `faults` says; `asked` keeps each request's Range header."""

    content, faults, asked, ranges, retry_after, silence = b"", [], [], True, "0", 0.5

    def log_message(self, *_):
        pass

    def do_GET(self):
        fault = self.faults.pop(0) if self.faults else ""
        self.asked.append(self.headers.get("Range", ""))
        if self.path == "/moved" or fault.isdecimal():
            self.send_response(int(fault or 302))
            for name, value in (("Location", "/file"), ("Retry-After", self.retry_after), ("Content-Length", "0")):
                self.send_header(name, value)
            return self.end_headers()
        body, start = self.content, 0
        if self.ranges and self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-")) + (fault == "other part")
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        body = body[::-1][start:] if fault == "wrong bytes" else body[start:]
        claimed = {"claims less": len(body) // 2, "claims more": len(body) * 2}.get(fault, len(body))
        self.send_header("Content-Length", str(claimed))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault in ("cut off", "stall") else body)
        if fault == "stall":
            time.sleep(self.silence)
        self.close_connection = True


@pytest.fixture
def server(monkeypatch):
    """A server of the class above, of its own for each test, and its address."""
    made = type("Made", (Server,), {"faults": [], "asked": []})
    for name, value in (("WAIT", 0.001), ("SILENCE", 0.2), ("CHUNK", 1000)):
        monkeypatch.setattr(fetching, name, value)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), made) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        made.address = f"http://127.0.0.1:{running.server_port}"
        made.content = archive(PUBLISHED, filling=200_000)
        yield made
        running.shutdown()


def archive(members, filling=0, compression=zipfile.ZIP_STORED):
    """A zip archive in which each of these members is an image; `filling` bytes make it larger."""
    jpeg, made = io.BytesIO(), io.BytesIO()
    PIL.Image.new("L", (64, 64), 90).save(jpeg, "JPEG")
    with zipfile.ZipFile(made, "w", compression) as file:
        for member in members:
            file.writestr(member, jpeg.getvalue())
        if filling:
            file.writestr("filling", np.random.default_rng(0).bytes(filling))
    return made.getvalue()


def fetched(server, target, path="/file", **options):
    sha256 = hashlib.sha256(server.content).hexdigest()
    options = {"sha256": sha256, "size": len(server.content), "progress": False} | options
    return download(target, server.address + path, **options)


PUBLISHED = [f"chest_xray/{part}/{name}.jpeg" for part in ("train", "test") for name in ("NORMAL/IM-0001-0001", "PNEUMONIA/person1_virus_1")]  # fmt: skip


def test_download_ends_in_a_dataset(server, tmp_path):
    target = tmp_path / "data" / "chest_xray"
    assert fetched(server, target, "/moved") == target
    assert len(pnlib.find_dataset(str(target)).table) == 4
    assert os.listdir(target.parent) == ["chest_xray"], "no archive, no temporary folder"
    with pytest.raises(InputError, match="exists already; remove it first"):
        fetched(server, target)
    assert len(pnlib.find_dataset(str(target)).table) == 4 and len(server.asked) == 2


@pytest.mark.parametrize("fault", ["cut off", "stall", "claims less", "claims more", "429", "503", "500", "other part"])
def test_a_download_survives_what_passes(server, tmp_path, fault, capsys):
    """And asks only for what hasn't come yet."""
    server.faults += [fault, fault] if fault != "other part" else ["cut off", fault]
    fetched(server, tmp_path / "x")
    assert len(pnlib.find_dataset(str(tmp_path / "x")).table) == 4
    assert server.asked[0] == ""
    assert "trying again in" in capsys.readouterr().err
    if fault in ("cut off", "stall", "claims less"):
        first, second = (int(asked.removeprefix("bytes=").rstrip("-")) for asked in server.asked[1:])
        assert len(server.content) // 3 < first < second < len(server.content)


def test_a_server_that_knows_no_parts_sends_it_all_again(server, tmp_path):
    server.ranges, server.faults[:] = False, ["cut off"]
    fetched(server, tmp_path / "x")
    assert server.asked[1].startswith("bytes=") and len(pnlib.find_dataset(str(tmp_path / "x")).table) == 4


def test_a_server_may_break_as_often_as_it_brings_something(server, tmp_path):
    server.faults += ["cut off"] * (fetching.TRIES + 2)
    fetched(server, tmp_path / "x")
    assert not server.faults


@pytest.mark.parametrize(
    "fault, requests, words",
    [
        ("403", 1, "the server answers 403 Forbidden; run the same line again to go on after the 0 MB .*--from FILE"),
        ("404", 1, "the server answers 404 Not Found"),
        ("429", 5, "the server answers 429 Too Many Requests"),
        ("wrong bytes", 1, "what came has the SHA-256 [0-9a-f]+, not [0-9a-f]+; it is removed, so try again"),
    ],
)
def test_what_does_not_pass_is_said_and_nothing_stays(server, tmp_path, fault, requests, words, capsys):
    server.faults += [fault] * 9
    with pytest.raises(InputError, match=f"Could not download .*: {words}"):
        fetched(server, tmp_path / "data" / "x")
    assert len(server.asked) == requests and os.listdir(tmp_path / "data") == []


def test_a_server_that_asks_for_a_wait_gets_it_or_is_left_alone(server, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(fetching.time, "sleep", waited.append)
    server.faults[:], server.retry_after = ["429", "503"], "7"
    fetched(server, tmp_path / "x")
    assert waited == [7, 7]
    for server.retry_after in ("3600", email.utils.formatdate(time.time() + 3600, usegmt=True)):
        server.faults[:], server.asked[:] = ["429"], []
        with pytest.raises(
            InputError, match="429 Too Many Requests; run the same line again in (3600|359.) s to go on"
        ):
            fetched(server, tmp_path / "y")
        assert len(server.asked) == 1
    assert waited == [7, 7]


def test_no_server_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fetching, "WAIT", 0.001)
    with pytest.raises(InputError, match="Could not download http://127.0.0.1:9/a.zip: .*; run the same line again"):
        download(tmp_path / "x", "http://127.0.0.1:9/a.zip", "0" * 64, 1000, progress=False)
    assert os.listdir(tmp_path) == []


DOWNLOAD = """
import sys
from pnlib.datasets.download import download
download(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), progress=False)
"""


def test_a_killed_download_goes_on_when_it_is_run_again(server, tmp_path):
    server.faults[:], server.silence = ["stall"], 20
    sha256, size = hashlib.sha256(server.content).hexdigest(), len(server.content)
    process = subprocess.Popen(
        [sys.executable, "-c", DOWNLOAD, tmp_path / "x", server.address + "/file", sha256, str(size)]
    )
    archive, deadline = tmp_path / ".x.partial" / "archive", time.monotonic() + 30
    while not (archive.exists() and archive.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    half = archive.stat().st_size
    fetched(server, tmp_path / "x")
    assert 0 < half < size and server.asked == ["", f"bytes={half}-"]
    assert len(pnlib.find_dataset(str(tmp_path / "x")).table) == 4 and os.listdir(tmp_path) == ["x"]


def test_an_interrupted_download_goes_on_when_it_is_run_again(server, tmp_path, monkeypatch):
    """Ctrl-C, or kill -9: while it comes, after it came, while it is unpacked."""
    target, partial = tmp_path / "x", tmp_path / ".x.partial"

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetching.time, "sleep", interrupted)
        server.faults += ["cut off"]
        with pytest.raises(KeyboardInterrupt):
            fetched(server, target)
    half = (partial / "archive").stat().st_size
    assert 0 < half < len(server.content) and not target.exists()
    with monkeypatch.context() as patch:
        patch.setattr("pnlib.base.files.sync_disks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetched(server, target)
    assert server.asked == ["", f"bytes={half}-"] and sorted(os.listdir(partial)) == [".downloading", "archive"]
    (partial / "unpacked" / "train").mkdir(parents=True)  # as kill -9 leaves it
    fetched(server, target)
    assert len(server.asked) == 2 and len(pnlib.find_dataset(str(target)).table) == 4
    assert os.listdir(tmp_path) == ["x"]


def test_a_damaged_beginning_is_removed_so_that_the_next_run_completes(server, tmp_path):
    (tmp_path / ".x.partial").mkdir()
    (tmp_path / ".x.partial" / "archive").write_bytes(bytes(5000))  # zeros, as a power cut may leave them
    with pytest.raises(InputError, match="it is removed, so try again"):
        fetched(server, tmp_path / "x")
    fetched(server, tmp_path / "x")
    assert len(pnlib.find_dataset(str(tmp_path / "x")).table) == 4


def test_a_small_disk_and_a_second_process_are_said_before_a_byte_is_asked_for(server, tmp_path, monkeypatch):
    with pytest.raises(
        InputError, match=r".x.partial has [\d.]+ GB free, and 2000000.0 GB are needed; free some space"
    ):
        fetched(server, tmp_path / "x", size=10**15)
    with (
        files.locked(tmp_path / ".x.partial", "downloading"),
        pytest.raises(InputError, match="or give another folder"),
    ):
        fetched(server, tmp_path / "x")
    assert not server.asked


def test_a_disk_that_fills_up_is_said_and_what_came_is_kept(server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tqdm.tqdm.update", full)
    with pytest.raises(InputError, match="Cannot write .*archive: No space left on device; free some space"):
        fetched(server, tmp_path / "x")
    monkeypatch.undo()
    fetched(server, tmp_path / "x")


# --- a file that you have


@pytest.fixture
def given(tmp_path, monkeypatch):
    """`given(content)` unpacks a file that holds this, and gives the dataset."""

    def unpacked(content):
        (tmp_path / "mine.zip").write_bytes(content)
        return pnlib.find_dataset(str(unpack_to(tmp_path / "data" / "x", tmp_path / "mine.zip")))

    return unpacked


KAGGLE = [f"chest_xray/{member}" for member in PUBLISHED]


@pytest.mark.parametrize(
    "members",
    [
        PUBLISHED,
        [*PUBLISHED, *KAGGLE],  # Kaggle's archive has everything twice
        [m.removeprefix("chest_xray/") for m in PUBLISHED],
        ["chest_xray\\train\\", *(m.replace("/", "\\") for m in PUBLISHED)],  # as some programs on Windows write them
        [m.replace("train", "Training").replace("NORMAL", "normal ") for m in PUBLISHED],
    ],
    ids=["plain", "twice", "bare", "backslashes", "other names"],
)
def test_an_archive_that_you_have_ends_in_a_dataset(given, members, tmp_path):
    litter = ["__MACOSX/chest_xray/train/NORMAL/x.jpeg", "chest_xray/train/NORMAL/._x.jpeg", ".git/train/x"]
    found = given(archive([*members, *litter, "readme.txt"]))
    assert found.table.groupby(["split", "label"]).size().to_dict() == {
        (s, i): 1 for s in ("train", "test") for i in (0, 1)
    }
    assert not found.unused and os.listdir(tmp_path / "data") == ["x"] and (tmp_path / "mine.zip").is_file()


def test_an_archive_of_the_demo_still_says_so(given):
    members = [*PUBLISHED, f"chest_xray/{demo.MARKER}"]
    assert given(archive(members)).is_demo


def special(name, mode=0o100644, size=None, encrypted=False):
    """The archive with one more member that is no harmless file."""
    made = io.BytesIO(archive(PUBLISHED))
    with zipfile.ZipFile(made, "a") as file:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        with warnings.catch_warnings(action="ignore"):  # that a name is there twice
            file.writestr(info, "/etc/passwd")
        if size:
            info.file_size = size
    content = bytearray(made.getvalue())
    if encrypted:
        for i in [i for i in range(len(content)) if content[i : i + 4] == b"PK\1\2"]:
            content[i + 8] |= 1
    return bytes(content)


TRAIN = "chest_xray/train/NORMAL/"


@pytest.mark.parametrize(
    "content, words",
    [
        (special("../evil.jpeg"), "holds '../evil.jpeg', a name that leads out of its folder, so nothing is unpacked"),
        (special(TRAIN + "../../../../evil.jpeg"), "a name that leads out of its folder"),
        (special("/tmp/evil.jpeg"), "a name that leads out of its folder"),
        (special("C:\\evil.jpeg"), "a name that leads out of its folder"),
        (special(TRAIN + "..\\..\\..\\evil.jpeg"), "a name that leads out of its folder"),
        (special(TRAIN + "link.jpeg", 0o120777), "holds '.*link.jpeg', a link, so nothing"),
        (special(TRAIN + "big.jpeg", size=2**40), "would unpack to 1,100 GB in 5 files, too much"),
        (special(TRAIN + "big.jpeg", size=40 * 10**9), "40.0 GB are needed; free some space"),
        (special(TRAIN + "IM-0001-0001.jpeg"), "Cannot unpack .*mine.zip: File exists"),
        (special(TRAIN + "a.jpeg", encrypted=True), "Cannot unpack .*mine.zip: .*encrypted"),
        (special(TRAIN + "a\nb.jpeg"), "holds a character that can't be printed"),
        (archive(PUBLISHED)[:-30], "Cannot unpack .*mine.zip: File is not a zip file"),
        (archive(PUBLISHED).replace(b"JFIF", b"JFIX"), "Cannot unpack .*mine.zip: Bad CRC-32"),
        (archive(["readme.txt", "__MACOSX/train/x"]), "holds no train folder; give an archive with one folder"),
        (archive(["a/train/x", "b/train/x"]), r"holds 2 datasets \(a, b\); give an archive with one"),
        (archive(PUBLISHED[:1]), "Found no images in .*PNEUMONIA"),
        (b"", "File is not a zip file"),
    ],
)  # fmt: skip
def test_an_archive_that_is_none_or_not_safe_is_refused_and_leaves_nothing(
    given, content, words, tmp_path, monkeypatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=10**10))
    with pytest.raises(InputError, match=words) as caught:
        given(content)
    assert str(caught.value).isprintable()
    assert os.listdir(tmp_path / "data") == [] and sorted(os.listdir(tmp_path)) == ["data", "mine.zip"]


def test_what_is_no_file_is_not_unpacked(tmp_path):
    with pytest.raises(InputError, match="is a folder, so there is nothing to unpack; set PNLIB_DATA to it"):
        unpack_to(tmp_path / "x", tmp_path)
    with pytest.raises(InputError, match="Cannot unpack .*none.zip: No such file or directory"):
        unpack_to(tmp_path / "x", tmp_path / "none.zip")
    assert os.listdir(tmp_path) == []


# --- MedMNIST


@pytest.fixture
def medmnist(monkeypatch):
    """`medmnist(**other)` is a small file like pneumoniamnist_224.npz, with other arrays or another side."""
    counts = {"train": 6, "val": 2, "test": 4}
    monkeypatch.setattr("pnlib.datasets.unpack.MEDMNIST", counts)
    monkeypatch.setattr("pnlib.datasets.find.MEDMNIST", counts)

    def made(side=224, **other):
        rng, arrays, content = np.random.default_rng(0), {}, io.BytesIO()
        for part, number in counts.items():
            arrays[f"{part}_images"] = rng.integers(0, 255, (number, side, side), np.uint8)
            arrays[f"{part}_labels"] = np.arange(number, dtype=np.uint8)[:, None] % 2
        np.savez_compressed(content, **arrays | other)
        return content.getvalue()

    return made


def test_pneumoniamnist_is_unpacked_with_its_own_split_which_is_said(given, medmnist, monkeypatch, capsys):
    content = medmnist()
    found = given(content)
    assert f"NOTE: its MD5 is {hashlib.md5(content).hexdigest()}; the published" in capsys.readouterr().out
    said = found.describe()
    assert "PneumoniaMNIST of MedMNIST, in its own split, not the published one: 6 train, 2 val, 4 test images" in said
    assert "set aside: 2 images of a val folder" in said and not found.is_published
    counts = found.table.groupby(["split", "label"]).size().to_dict()
    assert counts == {
        ("train", 0): 3,
        ("train", 1): 3,
        ("aside", 0): 1,
        ("aside", 1): 1,
        ("test", 0): 2,
        ("test", 1): 2,
    }
    with np.load(io.BytesIO(content)) as arrays:
        for row in found.table.itertuples():
            part, number = os.path.basename(row.path).removesuffix(".png").split("-")
            pixels = np.asarray(PIL.Image.open(found.root / row.path))
            assert np.array_equal(pixels, arrays[f"{part}_images"][int(number)])
            assert row.label == arrays[f"{part}_labels"][int(number), 0]


def test_pneumoniamnist_as_published_needs_no_note(given, medmnist, monkeypatch, capsys):
    content = medmnist()
    monkeypatch.setattr("pnlib.datasets.unpack.MEDMNIST_MD5", hashlib.md5(content).hexdigest())
    given(content)
    assert capsys.readouterr().out == ""


def test_a_smaller_pneumoniamnist_is_said_to_show_less(given, medmnist, capsys):
    given(medmnist(side=64))
    assert "NOTE: 64 x 64 pixels are fewer than a network reads" in capsys.readouterr().out


@pytest.mark.parametrize(
    "other, words",
    [
        ({"side": 28}, "holds images of 28 x 28 pixels; get pneumoniamnist_224.npz"),
        ({"train_images": np.zeros((5, 64, 64), np.uint8)}, r"uint8 arrays of shape \(5, 64, 64\) for train, with labels of shape"),
        ({"test_images": np.zeros((4, 64, 64, 3), np.uint8)}, r"arrays of shape \(4, 64, 64, 3\) for test"),
        ({"val_images": np.zeros((2, 64, 64))}, "holds float64 arrays"),
        ({"train_labels": np.arange(6)}, "PneumoniaMNIST has 6 gray images there"),
        ({"train_labels": np.zeros((6, 14), int)}, r"labels of shape \(84,\)"),
        ({"train_labels": np.array([{}] * 6)}, "Cannot unpack .*mine.zip: Object arrays cannot be loaded"),
    ],
)  # fmt: skip
def test_other_arrays_are_refused_and_leave_nothing(given, medmnist, other, words, tmp_path):
    with pytest.raises(InputError, match=words):
        given(medmnist(**other))
    assert os.listdir(tmp_path / "data") == []
