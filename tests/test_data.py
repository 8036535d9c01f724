import concurrent.futures
import os
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import COUNTS

from pnlib import augment, data, demo, evaluate, feed
from pnlib.errors import InputError


def picture(path, value=128, size=(40, 40)):
    import PIL.Image

    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("L", size, value).save(path)


def layout(root, train=("IM-0001-0001.jpeg",), pneumonia=("person1_virus_1.jpeg",)):
    for part in ("train", "test"):
        for name in train:
            picture(root / part / "NORMAL" / name)
        for name in pneumonia:
            picture(root / part / "PNEUMONIA" / name)
    return root


def test_search_order(tiny_folder, tmp_path, monkeypatch):
    other = layout(tmp_path / "other")
    monkeypatch.setenv("PNLIB_DATA", str(other))
    assert data.find().root == other
    assert data.find(str(tiny_folder)).root == tiny_folder, "an explicit path goes before PNLIB_DATA"
    monkeypatch.delenv("PNLIB_DATA")
    monkeypatch.setattr("pnlib.runs.root", lambda: tmp_path)
    layout(tmp_path / "data" / "chest_xray")
    assert data.find().root == tmp_path / "data" / "chest_xray"
    shutil.rmtree(tmp_path / "data")
    monkeypatch.setattr(demo, "ensure", lambda parent: tiny_folder)
    assert data.find().is_demo


def test_what_people_have_on_disk(tmp_path):
    root = tmp_path / "download" / "chest_xray" / "chest_xray"
    layout(root, train=("IM-0001-0001.JPEG", "IM-0002-0001.Png"), pneumonia=("person1_virus_1.jpg",))
    for litter in (
        "train/NORMAL/._IM-0001-0001.jpeg",
        "train/NORMAL/.DS_Store",
        "__MACOSX/train/NORMAL/IM-9-1.jpeg",
        "train/NORMAL/notes.txt",
    ):
        (root / litter).parent.mkdir(parents=True, exist_ok=True)
        (root / litter).write_bytes(b"litter")
    picture(root / "val" / "NORMAL" / "IM-0003-0001.jpeg")
    found = data.find(str(tmp_path / "download"))
    assert found.root == root
    assert found.table.groupby("split").size().to_dict() == {"aside": 1, "test": 3, "train": 3}
    assert "other" in found.edition and not found.is_published and not found.is_demo


@pytest.mark.parametrize(
    "stem, label, expected",
    [
        ("person1000_bacteria_2931", 1, ("person1000", "bacteria", True)),
        ("person447_virus_921_1", 1, ("person447", "virus", True)),
        ("IM-0115-0001", 0, ("IM-0115", "none", True)),
        ("NORMAL2-IM-0588-0001", 0, ("NORMAL2-IM-0588", "none", True)),
        ("NORMAL2-IM-0588-0001-0002", 0, ("NORMAL2-IM-0588", "none", True)),
        ("scan_7", 1, ("scan_7", "unknown", False)),
        ("scan_7", 0, ("scan_7", "none", False)),
    ],
)
def test_names(stem, label, expected):
    assert data.parse_name(stem, label) == expected


def test_unknown_names_are_counted_aloud(tmp_path):
    layout(tmp_path, train=("a.jpeg", "b.jpeg", "IM-0001-0001.jpeg"))
    assert "4 file names have no published pattern" in data.find(str(tmp_path)).describe()


def editions(tmp_path):
    """The same 5,232 + 624 names as each edition stores them; an index needs names only, so the files are empty."""
    normal = [f"IM-{i:04d}-0001" for i in range(1341)]
    pneumonia = [f"person{i // 2}_bacteria_{i}" for i in range(3875)]
    aside = {
        0: sorted(s for s in data.ASIDE if s.startswith("N")),
        1: sorted(s for s in data.ASIDE if s.startswith("p")),
    }
    test = {0: [f"IM-{i:04d}-0001" for i in range(5000, 5234)], 1: [f"person{i}_virus_{i}" for i in range(390)]}
    for edition in ("published", "kaggle", "trimmed"):
        parts = {"train": {0: list(normal), 1: list(pneumonia)}, "test": test}
        if edition == "published":
            parts["train"] = {label: parts["train"][label] + aside[label] for label in (0, 1)}
        if edition == "kaggle":
            parts["val"] = aside
        for part, classes in parts.items():
            for label, stems in classes.items():
                folder = tmp_path / edition / part / ("PNEUMONIA" if label else "NORMAL")
                folder.mkdir(parents=True)
                for stem in stems:
                    (folder / f"{stem}.jpeg").touch()
        picture(tmp_path / edition / "train" / "NORMAL" / "IM-0000-0001.jpeg")
    return [tmp_path / e for e in ("published", "kaggle", "trimmed")]


def test_every_edition_gives_the_same_split(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "header", lambda path: (hash(path) % 100, 100, "L"))
    found = [data.find(str(folder)) for folder in editions(tmp_path)]
    assert [
        "as published" in found[0].edition,
        "16 in val" in found[1].edition,
        "without its val" in found[2].edition,
    ] == [True] * 3
    assert all(f.is_published for f in found)
    splits = []
    for one in found:
        rows = data.split_by_patient(one.table, 0.15, seed=0)
        assert (rows.part != "test").sum() == 5216 and (rows.part == "test").sum() == 624
        splits.append(rows.assign(name=rows.path.str.split("/").str[-1])[["name", "label", "patient", "part"]])
    pd.testing.assert_frame_equal(splits[0], splits[1])
    pd.testing.assert_frame_equal(splits[0], splits[2])


def test_resized_copy_is_told_by_its_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "header", lambda path: (224, 224, "L"))
    assert data.find(str(editions(tmp_path)[2])).edition.endswith("resized to 224 x 224 pixels")


def test_split_is_by_patient_stratified_and_seeded(tiny):
    rows = data.split_by_patient(tiny.table, 0.25, seed=1)
    patients = rows.groupby("part").patient.agg(set)
    assert not patients["train"] & patients["validation"]
    shares = rows.groupby("part").label.mean()
    assert abs(shares["train"] - shares["validation"]) < 0.1
    pd.testing.assert_frame_equal(rows, data.split_by_patient(tiny.table, 0.25, seed=1))
    assert not rows.part.equals(data.split_by_patient(tiny.table, 0.25, seed=2).part)
    assert set(rows.part[rows.split == "test"]) == {"test"}


def test_split_needs_enough_patients(tmp_path):
    layout(tmp_path)
    with pytest.raises(InputError, match="needs at least 7 patients of each class in train; found 1"):
        data.split_by_patient(data.find(str(tmp_path)).table)


def test_missing_and_one_sided_datasets(tmp_path):
    with pytest.raises(InputError, match="no dataset folder .*nowhere"):
        data.find(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="Found no images in .*NORMAL or .*PNEUMONIA"):
        data.find(str(tmp_path / "empty"))
    layout(tmp_path / "half", train=())
    with pytest.raises(InputError, match="Found no images in .*train.NORMAL;"):
        data.find(str(tmp_path / "half"))


def test_cache_follows_the_files(tiny_folder, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(tiny_folder, folder)
    found = data.find(str(folder))
    rows = found.table[found.table.split == "train"]
    first = data.load(found, rows)
    assert first.shape == (64, 150, 150, 1) and first.dtype == np.uint8
    decoded = []
    monkeypatch.setattr(data, "decode", lambda path, size, real=data.decode: decoded.append(path) or real(path, size))
    assert np.array_equal(data.load(found, rows), first) and decoded == [], "the second time comes from the cache"
    some = rows.iloc[[40, 3]]
    assert np.array_equal(data.load(found, some), first[[40, 3]]) and decoded == [], "a part is read from the whole"
    changed = folder / rows.path.iloc[5]
    picture(changed, value=7, size=(64, 64))
    again = data.load(found, rows)
    assert len(decoded) == 64 and abs(int(again[5].mean()) - 7) <= 1
    assert np.array_equal(np.delete(again, 5, 0), np.delete(first, 5, 0))
    os.utime(changed, (1, 1))
    data.load(found, rows)
    assert len(decoded) == 128, "another modification time is another cache"


def test_damaged_cache_is_built_anew(tiny, workspace):
    rows = tiny.table[tiny.table.split == "test"]
    first = data.load(tiny, rows)
    (cached,) = (workspace / "cache").glob("*.npy")
    cached.write_bytes(cached.read_bytes()[:1000])
    assert np.array_equal(data.load(tiny, rows), first)
    assert np.array_equal(np.load(cached), first)


def _load_in_a_process(folder):
    found = data.find(folder)
    return data.load(found, found.table).sum()


def test_two_processes_build_one_cache(tiny_folder, workspace):
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        sums = list(pool.map(_load_in_a_process, [str(tiny_folder)] * 2))
    assert sums[0] == sums[1] == _load_in_a_process(str(tiny_folder))
    assert [p.suffix for p in (workspace / "cache").iterdir()] == [".npy"] * 2, "train and test, nothing half-written"


def test_epoch_orders():
    labels = np.repeat([0, 1], [10, 30])
    plain = feed.epoch_orders(labels, 3, 8, "none", seed=0)
    assert plain.shape == (3, 5, 8) and all(sorted(e.ravel()) == list(range(40)) for e in plain)
    assert not np.array_equal(plain[0], plain[1])
    assert np.array_equal(plain, feed.epoch_orders(labels, 3, 8, "none", seed=0))
    for balancing in ("none", "oversample", "overlap"):
        one, other = (feed.epoch_orders(labels, 1, 8, balancing, seed, np.ones(40)) for seed in (0, 1))
        assert not np.array_equal(one, other), "another seed, another order"
    balanced = feed.epoch_orders(labels, 4, 8, "oversample", seed=0)
    assert balanced.shape == (4, 5, 8)
    assert all((labels[e] == 0).mean() == 0.5 for e in balanced)
    assert all(np.bincount(e[labels[e] == 0], minlength=10).tolist() == [2] * 10 for e in balanced), "each normal twice"
    with pytest.raises(InputError, match="batch_size=41 is more than the 40 training images"):
        feed.epoch_orders(labels, 1, 41, "none", seed=0)


def test_class_weights():
    labels = np.repeat([0, 1], [10, 30])
    assert feed.class_weights(labels, "weights").tolist() == pytest.approx([2.0, 2 / 3])
    assert feed.class_weights(labels, "weights")[labels].mean() == pytest.approx(1.0)
    assert feed.class_weights(labels, "oversample").tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda i: feed.class_weights([0, 1], "weigths"), "balancing='weigths' .*one of none, weights"),
        (lambda i: feed.epoch_orders([0, 1], 1, 2, "oversampel", 0), "balancing='oversampel' .*one of none, weights"),
        (lambda i: feed.shown(i, "chst"), "preparation='chst' .*one of none, standard"),
        (lambda i: feed.prepare(i / np.float32(255), "locl"), "preparation='locl' .*one of none, standard"),
        (
            lambda i: evaluate.predict(None, i / np.float32(255)),
            r"uint8, from 0 to 255; got \(2, 150, 150, 1\) float32",
        ),
        (lambda i: evaluate.predict(None, i[0]), r"uint8, from 0 to 255; got \(150, 150, 1\) uint8"),
        (lambda i: augment.apply("elsewere", i), "augmentation='elsewere' .*one of none, tone"),
        (lambda i: augment.apply({"RandomFoo": {}}, i), "or Keras layers with their arguments"),
        (lambda i: augment.apply("usual", i.astype(np.int16)), "uint8 or float from 0 to 1; got .* int16 up to 200"),
        (
            lambda i: augment.apply("usual", i.astype(np.float32)),
            "uint8 or float from 0 to 1; got .* float32 up to 200",
        ),
        (lambda i: augment.apply("none", i[0]), r"uint8 or float from 0 to 1; got \(150, 150, 1\)"),
    ],
)
def test_a_misspelt_name_or_other_pixels_are_refused_not_guessed(call, sentence):
    """Each of these once gave an answer: that of another preparation, of no balancing, of pixels divided twice."""
    images = np.full((2, 150, 150, 1), 200, np.uint8)
    with pytest.raises(InputError, match=sentence):
        call(images)


def test_stream_is_float32_in_range_and_goes_on_where_it_stopped(tiny):
    rows = tiny.table[tiny.table.split == "train"]
    images, labels = data.load(tiny, rows), rows.label.to_numpy()
    options = {"epochs": 3, "batch_size": 16, "augment": augment.build("wide"), "balancing": "oversample", "seed": 5}
    whole = list(feed.training_stream(images, labels, **options))
    rest = list(feed.training_stream(images, labels, first_epoch=1, **options))
    assert len(whole) == 12 and len(rest) == 8
    for a, b in zip(whole[4:], rest, strict=True):
        assert all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))
    x, y, weight = whole[0]
    assert x.shape == (16, 150, 150, 1) and x.dtype == "float32" and 0 <= x.numpy().min() and x.numpy().max() <= 1
    assert y.shape == weight.shape == (16, 1)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_of_the_pipeline_change_no_pixel(tiny, threads, monkeypatch):
    import tensorflow as tf

    rows = tiny.table[tiny.table.split == "train"]
    images, labels = data.load(tiny, rows), rows.label.to_numpy()
    options = {
        "epochs": 2,
        "batch_size": 16,
        "augment": augment.build("elsewhere"),
        "balancing": "oversample",
        "seed": 3,
        "preparation": "local",
    }
    many = [x.numpy() for x, _, _ in feed.training_stream(images, labels, **options)]
    monkeypatch.setattr(tf.data, "AUTOTUNE", threads)
    few = [x.numpy() for x, _, _ in feed.training_stream(images, labels, **options)]
    assert len(many) == len(few) and all(np.array_equal(a, b) for a, b in zip(many, few, strict=True))


def test_stream_pairs_each_image_with_its_label(tiny):
    rows = tiny.table[tiny.table.split == "train"]
    labels = rows.label.to_numpy()
    images = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None, None], (64, 150, 150, 1))
    options = {"epochs": 1, "batch_size": 16, "augment": None, "seed": 0}
    for balancing in ("none", "weights", "oversample"):
        for x, y, weight in feed.training_stream(images, labels, balancing=balancing, **options):
            which = np.rint(x.numpy()[:, 0, 0, 0] * 255).astype(int)
            assert np.array_equal(labels[which], y.numpy()[:, 0])
            assert np.allclose(feed.class_weights(labels, balancing)[labels[which]], weight.numpy()[:, 0])
    x, y = next(iter(feed.evaluation_stream(images, labels)))
    assert np.array_equal(np.rint(x.numpy()[:, 0, 0, 0] * 255), np.arange(64)) and np.array_equal(
        y.numpy()[:, 0], labels
    )


def test_demo_is_deterministic_imbalanced_and_labelled(tiny_folder, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    demo.make(again, seed=3, counts=COUNTS)
    files = sorted(p.relative_to(again) for p in again.rglob("*.jpeg"))
    assert len(files) == 80 and all((again / f).read_bytes() == (tiny_folder / f).read_bytes() for f in files)
    assert "Not X-rays" in (again / demo.MARKER).read_text()
    found = data.find(str(again))
    assert found.is_demo and found.table.known.all() and "DEMO" in found.describe() and "demo data" in found.attribution
    assert (found.table.groupby(["split", "patient"]).size() > 1).any(), "some patients have several images"
    full = demo.COUNTS
    assert full["train", "PNEUMONIA"] / (full["train", "PNEUMONIA"] + full["train", "NORMAL"]) == pytest.approx(
        0.743, abs=0.001
    )


def test_demo_is_whole_or_absent(tmp_path, monkeypatch):
    def fails(folder, seed):
        folder.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "make", fails)
    with pytest.raises(KeyboardInterrupt):
        demo.ensure(tmp_path)
    assert list(tmp_path.glob("*demo*")) == [] and list(tmp_path.glob(".drawing*")) == []


def test_a_part_of_the_split_is_read_in_its_order_and_no_other_split_is_touched(tiny_folder, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(tiny_folder, folder)
    for path in (folder / "test").rglob("*.jpeg"):
        path.write_bytes(b"")
    found = data.find(str(folder))
    rows = found.table[found.table.split == "train"].sample(20, random_state=0)
    expected = np.stack([data.decode(folder / path) for path in rows.path])
    assert np.array_equal(data.load(found, rows), expected)
    with pytest.raises(InputError, match="Cannot read .*test.NORMAL"):
        data.load(found, found.table)
    (folder / rows.path.iloc[0]).unlink()
    with pytest.raises(InputError, match="No such file or directory; replace or remove it"):
        data.load(found, rows)


def test_unknown_names_are_patients_of_their_own(tmp_path):
    layout(tmp_path, train=("1.jpeg", "2.jpeg"), pneumonia=("1.jpeg",))
    assert data.find(str(tmp_path)).table.patient.nunique() == 6


def test_a_reshuffled_copy_is_not_the_published_one(tmp_path):
    """The right counts, but the images of val are others than the 16 that are set aside."""
    kaggle = editions(tmp_path)[1]
    for folder, name in (("NORMAL", "IM-0007-0001.jpeg"), ("PNEUMONIA", "person0_bacteria_0.jpeg")):
        aside = next((kaggle / "val" / folder).iterdir())
        aside.rename(kaggle / "train" / folder / aside.name)
        (kaggle / "train" / folder / name).rename(kaggle / "val" / folder / name)
    picture(kaggle / "train" / "NORMAL" / "IM-0000-0001.jpeg")
    for path in kaggle.rglob("*.jpeg"):
        if path.stat().st_size == 0:
            path.write_bytes((kaggle / "train" / "NORMAL" / "IM-0000-0001.jpeg").read_bytes())
    found = data.find(str(kaggle))
    assert not found.is_published and found.edition.startswith("other: 5216 train, 16 val, 624 test")
