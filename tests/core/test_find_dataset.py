"""Which dataset is found, what it is called, and what its index table says of each file name."""

import os
import shutil

import pandas as pd
import pytest
from small_files import layout, picture

import pnlib
from pnlib import InputError
from pnlib.datasets import demo, find, index, names


def test_search_order(tiny_folder, tmp_path, monkeypatch):
    other = layout(tmp_path / "other")
    monkeypatch.setenv("PNLIB_DATA", str(other))
    assert pnlib.find_dataset().root == other
    assert pnlib.find_dataset(str(tiny_folder)).root == tiny_folder, "an explicit path goes before PNLIB_DATA"
    monkeypatch.delenv("PNLIB_DATA")
    monkeypatch.setattr("pnlib.base.paths.root", lambda: tmp_path)
    layout(tmp_path / "data" / "chest_xray")
    assert pnlib.find_dataset().root == tmp_path / "data" / "chest_xray"
    shutil.rmtree(tmp_path / "data")
    monkeypatch.setattr(demo, "ensure_demo", lambda parent: tiny_folder)
    assert pnlib.find_dataset().is_demo


def test_what_people_have_on_disk(tmp_path):
    root = tmp_path / "download" / "chest_xray" / "chest_xray"
    layout(root, ("IM-0001-0001.JPEG", "IM-0002-0001.Png"), ("person1_virus_1.jpg",))
    for litter in (
        "train/NORMAL/._IM-0001-0001.jpeg",
        "train/NORMAL/.DS_Store",
        "__MACOSX/train/NORMAL/IM-9-1.jpeg",
        "train/NORMAL/notes.txt",
    ):
        (root / litter).parent.mkdir(parents=True, exist_ok=True)
        (root / litter).write_bytes(b"litter")
    picture(root / "val" / "NORMAL" / "IM-0003-0001.jpeg")
    found = pnlib.find_dataset(str(tmp_path / "download"))
    assert found.root == root
    assert {split: len(found.rows(split)) for split in ("aside", "test", "train")} == {
        "aside": 1,
        "test": 3,
        "train": 3,
    }
    assert list(found.rows("train").index) == [0, 1, 2]
    assert "other" in found.edition and not found.is_published and not found.is_demo
    assert "set aside: 1 image" in found.describe()


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
def test_patient_and_subtype_come_from_the_file_name(stem, label, expected):
    assert names.parse_name(stem, label) == expected


def test_images_of_unknown_names_are_patients_of_their_own_and_counted_aloud(tmp_path):
    layout(tmp_path, ("1.jpeg", "2.jpeg", "IM-0001-0001.jpeg"), ("1.jpeg",))
    found = pnlib.find_dataset(str(tmp_path))
    assert found.table.patient.nunique() == 7
    assert "6 file names have no published pattern" in found.describe()


# --- the editions that people have: the same 5,232 + 624 names, which are all that an index needs


def edition(which, aside=index.ASIDE):
    """What the folders of this edition hold; `aside` are the images that Kaggle's edition has in val."""
    train = {0: [f"IM-{i:04d}-0001" for i in range(1341)], 1: [f"person{i // 2}_bacteria_{i}" for i in range(3875)]}
    test = {0: [f"IM-{i:04d}-0001" for i in range(5000, 5234)], 1: [f"person{i}_virus_{i}" for i in range(390)]}
    for stem in sorted(index.ASIDE):
        train[stem.startswith("person")].append(stem)
    val = {label: [stem for stem in train[label] if stem in aside] for label in (0, 1)}
    if which != "published":
        train = {label: [stem for stem in train[label] if stem not in aside] for label in (0, 1)}
    parts = {"train": train, "val": val if which == "kaggle" else {}, "test": test}
    for part, classes in parts.items():
        for label, stems in classes.items():
            for stem in stems:
                yield f"{part}/{('NORMAL', 'PNEUMONIA')[label]}", part, (label, ""), f"{stem}.jpeg"


@pytest.fixture
def editions(tmp_path, monkeypatch):
    """`editions(which, …)` finds a dataset of this edition, whose files have sizes of all kinds."""
    monkeypatch.setattr(find, "file_header", lambda path: (hash(path) % 100, 100, "L"))

    def found(*which):
        for module in (find, index):
            monkeypatch.setattr(module, "entries", lambda root: edition(*which))
        return pnlib.find_dataset(str(tmp_path))

    return found


def test_every_edition_gives_the_same_split(editions, monkeypatch):
    tables = []
    for which, words in (("published", "as published"), ("kaggle", "16 in val"), ("trimmed", "without its val")):
        found = editions(which)
        assert found.is_published and words in found.edition and found.attribution == find.ATTRIBUTION
        rows = found.table[found.table.split != "aside"].reset_index(drop=True)
        assert (rows.split == "train").sum() == 5216 and (rows.split == "test").sum() == 624
        tables.append(rows)
    few = tables[0].groupby(["split", "label"]).head(100).index  # all would take seconds
    parts = [pnlib.split_by_patient(table.loc[few], 0.25).part for table in tables]
    for table, part in zip(tables[1:], parts[1:], strict=True):
        pd.testing.assert_frame_equal(table, tables[0])
        pd.testing.assert_series_equal(part, parts[0])
    monkeypatch.setattr(find, "file_header", lambda path: (224, 224, "L"))
    assert editions("trimmed").edition.endswith("resized to 224 x 224 pixels"), "a copy is recognised by its sizes"


def test_a_reshuffled_copy_is_not_the_published_one(editions):
    """The right counts, but the images of val are others than the 16 that are set aside."""
    others = index.ASIDE - {"NORMAL2-IM-1427-0001", "person1946_bacteria_4874"} | {"IM-0007-0001", "person0_bacteria_0"}
    found = editions("kaggle", others)
    assert not found.is_published and found.edition.startswith("other: 5216 train, 16 val, 624 test")


# --- what is refused


def test_missing_and_one_sided_datasets_are_refused(tmp_path):
    with pytest.raises(InputError, match="no dataset folder .*nowhere"):
        pnlib.find_dataset(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="Found no images in .*NORMAL or .*PNEUMONIA"):
        pnlib.find_dataset(str(tmp_path / "empty"))
    layout(tmp_path / "half", normal=())
    with pytest.raises(InputError, match="Found no images in .*train.NORMAL or .*test.NORMAL;"):
        pnlib.find_dataset(str(tmp_path / "half"))


def test_a_path_that_no_system_allows_is_refused():
    for path in ("x" * 300, "a\0b", "~nobody-of-this-name/x"):
        with pytest.raises(InputError, match="no dataset folder"):
            pnlib.find_dataset(path)


def test_names_that_cannot_be_printed_are_refused(tmp_path):
    folder = os.fsencode(layout(tmp_path) / "train" / "NORMAL")
    for name in (b"a\nb.jpeg", b"a\x1b[2Jb.jpeg", "a\u2028b.jpeg".encode(), b"a\xff.jpeg"):
        path = os.path.join(folder, name)
        with open(path, "wb"):
            pass
        with pytest.raises(InputError, match="rename it") as caught:
            pnlib.find_dataset(str(tmp_path))
        message = str(caught.value)
        assert "train/NORMAL/a" in message and message.isprintable() and message.isascii()
        os.unlink(path)
    assert pnlib.find_dataset(str(tmp_path))


def test_what_lies_beside_the_images_is_counted_aloud(tmp_path):
    folder = layout(tmp_path) / "train" / "NORMAL"
    assert "beside the images" not in pnlib.find_dataset(str(tmp_path)).describe()
    for name in ("scan.gif", "b.txt", ".hidden"):
        (folder / name).touch()
    (folder / "more").mkdir()
    found = pnlib.find_dataset(str(tmp_path))
    assert len(found.table) == 4
    names = "3 names (train/NORMAL/b.txt, train/NORMAL/more, train/NORMAL/scan.gif) beside the images"
    assert names in found.describe()


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    layout(tmp_path)
    real = os.listdir

    def listdir(path):
        if str(path).endswith("NORMAL"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)  # root may list every folder
    with pytest.raises(InputError, match="Cannot read the folder .*NORMAL: Permission denied; make it readable"):
        pnlib.find_dataset(str(tmp_path))


# --- no test images


def test_without_test_images_a_dataset_trains_and_says_what_evaluation_lacks(tmp_path):
    root = layout(tmp_path / "mine")
    shutil.rmtree(root / "test")
    found = pnlib.find_dataset(str(root))
    assert len(found.rows("train")) == 2 and "NOTE: no test images; training and predictions work" in found.describe()
    assert pnlib.load_images(found, found.rows("train")).shape == (2, 150, 150, 1)
    with pytest.raises(InputError, match="mine has no test images, so nothing can be evaluated on it; add test/NORMAL"):
        found.rows("test")
    picture(root / "test" / "NORMAL" / "IM-0001-0001.jpeg")
    with pytest.raises(InputError, match="Found no images in .*test.PNEUMONIA; a dataset needs"):
        pnlib.find_dataset(str(root))


# --- a CSV file of paths and labels


@pytest.fixture
def table(tmp_path):
    """`table(*lines)` writes a CSV file beside five images, and gives its name."""
    for name in ("a", "b", "c", "d", "person1_virus_1"):
        picture(tmp_path / "images" / f"{name}.png")

    def written(*lines, encoding="utf-8"):
        (tmp_path / "my.csv").write_text("\n".join(lines) + "\n", encoding=encoding)
        return str(tmp_path / "my.csv")

    return written


def test_a_csv_of_paths_and_labels_is_a_dataset(table, tmp_path, monkeypatch):
    lines = ("Label,path,split,patient,age", "0,images/a.png,Train,p1,3", f"1,{tmp_path}/images/b.png,,p2,4",
             "NORMAL,images/c.png,test,p3,", "virus,images/d.png,test,p4,5", "1,images/person1_virus_1.png,val,,")  # fmt: skip
    found = pnlib.find_dataset(table(*lines))
    assert found.table.set_index("patient")[["split", "label", "subtype"]].T.to_dict("list") == {
        "p1": ["train", 0, "none"], "p2": ["train", 1, "unknown"], "p3": ["test", 0, "none"], "p4": ["test", 1, "virus"],
        "person1": ["aside", 1, "virus"]}  # fmt: skip
    assert pnlib.load_images(found, found.table).shape == (5, 150, 150, 1)
    assert found.describe().startswith("dataset: table my.csv: 2 train, 1 val, 2 test images")
    assert not found.is_published and found.table.known.all()
    monkeypatch.setenv("PNLIB_DATA", str(found.source))
    pd.testing.assert_frame_equal(pnlib.find_dataset().table, found.table)
    excel = [line.replace(",", ";") for line in lines]  # as a spreadsheet writes it where commas are decimal
    pd.testing.assert_frame_equal(pnlib.find_dataset(table(*excel, encoding="utf-8-sig")).table, found.table)


def test_a_csv_needs_no_more_than_two_columns(table):
    found = pnlib.find_dataset(table("path,label", "images/a.png,0", "images/person1_virus_1.png,1"))
    assert list(found.rows("train").patient) == ["images/a.png", "person1"] and "no test images" in found.describe()


@pytest.mark.parametrize(
    "lines, words",
    [
        (["path,label", "images/a.png,0", "", "images/x.png,1"], "line 4: there is no file 'images/x.png'; correct that"),
        (["path,label", "images/a.png,2"], "line 2: the label '2' is not 0, 1, NORMAL or PNEUMONIA"),
        (["path,label,split", "images/a.png,1,holdout"], "line 2: the split 'holdout' is not train, test or val"),
        (["path,label", "images/a.png,1", "images/a.png,0"], "line 3: 'images/a.png' is already in line 2"),
        (["path,label,split,patient", "images/a.png,1,test,p", "images/b.png,1,,p"], "line 3: the patient 'p' is train, but test in line 2"),
        (["path,label"], "has no rows for train of label NORMAL and train of label PNEUMONIA"),
        (["path,label", "images/a.png,1"], "has no rows for train of label NORMAL; add some"),
        (["file,class", "images/a.png,1"], "has no columns path and label; its first line must name them"),
        ([""], "has no columns path and label"),
        (["path,label", "images/a.png"], "line 2: the label '' is not"),
        (["path,label", '"images/a.png,0'], "line 2: there is no file"),
        (["path,label", "images/a.png" * 20000 + ",0"], "field larger than"),
    ],
)  # fmt: skip
def test_the_first_bad_row_of_a_csv_is_named(table, lines, words):
    with pytest.raises(InputError, match=f"my.csv.*{words}") as caught:
        pnlib.find_dataset(table(*lines))
    assert str(caught.value).isprintable()


def test_a_csv_that_is_no_text_is_refused(table):
    with pytest.raises(
        InputError, match="Cannot read .*my.csv: 'utf-8' codec can't decode .*; save it as CSV in UTF-8"
    ):
        pnlib.find_dataset(table("path,label", "images/ä.png,0", encoding="latin-1"))
