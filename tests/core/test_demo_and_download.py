"""Two ways to a dataset: drawn from a seed, or downloaded and verified. Each is there whole or not at all."""

import functools
import hashlib
import http.server
import io
import os
import threading
import zipfile

import PIL.Image
import pytest

import pnlib
from pnlib import InputError
from pnlib.datasets import demo
from pnlib.datasets.download import download


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


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A folder that is served over HTTP on this machine, and its address."""
    folder = tmp_path_factory.mktemp("served")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.func.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def served(server, name, members):
    """Serve an archive with these members; its URL and SHA-256."""
    folder, address = server
    jpeg = io.BytesIO()
    PIL.Image.new("L", (64, 64), 90).save(jpeg, "JPEG")
    with zipfile.ZipFile(folder / name, "w") as file:
        for member in members:
            file.writestr(member, jpeg.getvalue())
    return f"{address}/{name}", hashlib.sha256((folder / name).read_bytes()).hexdigest()


PUBLISHED = [f"chest_xray/{part}/{name}.jpeg" for part in ("train", "test") for name in ("NORMAL/IM-0001-0001", "PNEUMONIA/person1_virus_1")]  # fmt: skip
LITTER = "__MACOSX/chest_xray/train/._x"


def test_download_ends_in_a_dataset(server, tmp_path):
    url, sha256 = served(server, "sound.zip", [*PUBLISHED, LITTER])
    target = tmp_path / "data" / "chest_xray"
    assert download(target, url, sha256, progress=False) == target
    assert len(pnlib.find_dataset(str(target)).table) == 4
    assert os.listdir(target.parent) == ["chest_xray"], "no archive, no temporary folder"
    with pytest.raises(InputError, match="exists already; remove it first"):
        download(target, url, sha256, progress=False)
    assert len(pnlib.find_dataset(str(target)).table) == 4


def test_failed_downloads_unpack_nothing_and_leave_nothing(server, tmp_path, monkeypatch):
    import pooch

    url, sha256 = served(server, "sound.zip", PUBLISHED)
    cut = server[0] / "cut.zip"
    cut.write_bytes((server[0] / "sound.zip").read_bytes()[:300])
    unpacked = []
    real = pooch.Unzip.__call__
    monkeypatch.setattr(pooch.Unzip, "__call__", lambda *a, **k: unpacked.append(1) or real(*a, **k))
    for address, checksum, words, unpacks in [
        (url, "0" * 64, "Could not download .*hash", 0),
        (url.replace("sound", "missing"), sha256, "Could not download .*404", 0),
        ("http://127.0.0.1:9/a.zip", sha256, "Could not download", 0),
        (url.replace("sound", "cut"), hashlib.sha256(cut.read_bytes()).hexdigest(), "Could not download .*zip", 1),
        (*served(server, "none.zip", ["readme.txt", LITTER]), "holds 0 folders named train, not one", 1),
        (*served(server, "two.zip", ["a/train/x", "b/train/x"]), "holds 2 folders named train, not one", 1),
    ]:
        unpacked.clear()
        with pytest.raises(InputError, match=words):
            download(tmp_path / "data" / "chest_xray", address, checksum, progress=False)
        assert os.listdir(tmp_path / "data") == [] and len(unpacked) == unpacks
