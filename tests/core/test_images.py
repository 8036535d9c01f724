"""From files to pixels: kinds of images, and the cache. Damaged and odd files: test_odd_images.py."""

import concurrent.futures
import os
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from small_files import picture

import pnlib
from pnlib import InputError, preprocessing
from pnlib.datasets import images

RAMP = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))  # black at the left, white at the right


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK", "I;16"])
def test_every_mode_gives_the_same_gray_resized_bilinearly(tmp_path, mode):
    image = PIL.Image.fromarray(RAMP)
    if mode == "CMYK":
        image.convert("RGB").convert("CMYK").save(tmp_path / "image", "JPEG", quality=100)
    elif mode == "I;16":  # scaled, not cut off
        PIL.Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "image", "PNG")
    else:
        image.convert(mode).save(tmp_path / "image", "PNG")
    got = pnlib.decode(tmp_path / "image")
    assert got.shape == (150, 150, 1) and got.dtype == np.uint8
    expected = np.asarray(image.resize((150, 150), PIL.Image.Resampling.BILINEAR))[..., None]
    tolerance = 6 if mode == "CMYK" else 1  # JPEG rounds by a few levels
    assert np.abs(got.astype(int) - expected.astype(int)).max() <= tolerance


def test_aspect_ratio_is_not_kept_and_the_size_can_be_chosen(tmp_path):
    picture(tmp_path / "wide.png", 9, (300, 40))
    assert pnlib.decode(tmp_path / "wide.png").shape == (150, 150, 1)
    assert pnlib.decode(tmp_path / "wide.png", 20).shape == (20, 20, 1)


def test_cache_follows_the_files(tiny_folder, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(tiny_folder, folder)
    dataset = pnlib.find_dataset(str(folder))
    rows = dataset.rows("train")
    first = pnlib.load_images(dataset, rows)
    assert first.shape == (64, 150, 150, 1) and first.dtype == np.uint8
    decoded = []
    real = images.decode
    monkeypatch.setattr(images, "decode", lambda path, size: decoded.append(path) or real(path, size))
    assert np.array_equal(pnlib.load_images(dataset, rows), first) and decoded == [], "the second time it is read"
    some = rows.iloc[[40, 3]]
    assert np.array_equal(pnlib.load_images(dataset, some), first[[40, 3]]) and decoded == [], "a part of the whole"
    changed = folder / rows.path.iloc[5]
    picture(changed, value=17, size=(64, 64))
    again = pnlib.load_images(dataset, rows)
    assert len(decoded) == 64 and abs(int(again[5].mean()) - 17) <= 1
    assert np.array_equal(np.delete(again, 5, 0), np.delete(first, 5, 0))
    os.utime(changed, (1, 1))
    pnlib.load_images(dataset, rows)
    assert len(decoded) == 128, "another modification time is another cache"


def _load_in_a_process(folder):
    dataset = pnlib.find_dataset(folder)
    return pnlib.load_images(dataset, dataset.table).sum()


def test_two_processes_build_one_cache(tiny_folder, workspace):
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        sums = list(pool.map(_load_in_a_process, [str(tiny_folder)] * 2))
    assert sums[0] == sums[1] == _load_in_a_process(str(tiny_folder))
    assert [p.suffix for p in (workspace / "cache").iterdir()] == [".npy"] * 2, "train and test, nothing half-written"


def test_rows_are_read_in_their_order_and_no_other_split_is_touched(tiny_folder, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(tiny_folder, folder)
    for path in (folder / "test").rglob("*.jpeg"):
        path.write_bytes(b"")
    dataset = pnlib.find_dataset(str(folder))
    rows = dataset.rows("train").sample(20, random_state=0)
    expected = np.stack([pnlib.decode(folder / path) for path in rows.path])
    assert np.array_equal(pnlib.load_images(dataset, rows), expected)
    with pytest.raises(InputError, match="Cannot read .*test.NORMAL"):
        pnlib.load_images(dataset, dataset.table)
    (folder / rows.path.iloc[0]).unlink()
    with pytest.raises(InputError, match="No such file or directory; replace or remove it"):
        pnlib.load_images(dataset, rows)


@pytest.mark.skipif(sys.platform != "linux", reason="reads what it takes from /proc")
def test_a_large_split_is_mapped_not_read_and_no_caller_changes_the_cache(tiny, workspace, monkeypatch):
    rows = tiny.rows("train")
    expected = pnlib.load_images(tiny, rows)
    monkeypatch.setattr(images, "IN_MEMORY", expected.nbytes - 1)
    mapped = pnlib.load_images(tiny, rows)
    assert str(workspace / "cache") in Path("/proc/self/maps").read_text()
    assert np.array_equal(mapped, expected)
    (cached,) = (workspace / "cache").iterdir()
    before = cached.read_bytes()
    mapped[:] = 0
    assert cached.read_bytes() == before


@pytest.mark.parametrize("asked, threads", [("1", 1), ("3", 3)])
def test_no_more_threads_are_used_than_allowed(asked, threads, monkeypatch):
    """A study gives each of its trials some; decoding and cropping keep to that."""
    used = []
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    each_waits_once_for_the_others = threading.Barrier(threads, timeout=20)

    def look(*_):
        if threading.get_ident() not in used:
            used.append(threading.get_ident())
            each_waits_once_for_the_others.wait()
        return 0

    preprocessing.in_parallel(look, range(20))
    assert len(used) == threads
    monkeypatch.setattr(images, "decode", look)
    used.clear()
    list(images._decode_all([None] * 20, 8))
    assert len(used) == threads
