"""What other people's files look like: names, copies, bit depths, layouts. Each was a plausible result that was wrong."""

import shutil

import numpy as np
import PIL.Image
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

import pnlib
from pnlib.base.errors import InputError
from pnlib.datasets import demo, leaks
from pnlib.datasets.names import parse_name

COUNTS = {("train", "NORMAL"): 24, ("train", "PNEUMONIA"): 48, ("test", "NORMAL"): 6, ("test", "PNEUMONIA"): 10}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "chest_xray"
    folder.mkdir()
    demo.draw_demo(folder, seed=5, counts=COUNTS)
    (folder / demo.MARKER).unlink()
    return folder


@pytest.fixture
def own(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "chest_xray")


@pytest.mark.parametrize(
    "stem, patient, subtype",
    [
        ("VIRUS-6249454-0002", "patient6249454", "virus"),
        ("BACTERIA-7422-0001", "patient7422", "bacteria"),
        ("NORMAL-28501-0001", "patient28501", "none"),
        ("person1_virus_6 (1)", "person1", "virus"),
        ("person1_virus_6(12)", "person1", "virus"),
        ("person1_virus_6 - Copy (2)", "person1", "virus"),
        ("person1_virus_6 copy 3", "person1", "virus"),
        ("person1_virus_6_copy", "person1", "virus"),
        ("person1_virus_6 (another copy)", "person1", "virus"),
        ("IM-0115-0001 - Copy", "IM-0115", "none"),
        ("IM-0115-0001 - Kopie", "IM-0115", "none"),
        ("person1_virus_6_jpg.rf.0a1b2c", "person1", "virus"),
        ("NORMAL2-IM-0588-0001_jpeg.rf.9f (1)", "NORMAL2-IM-0588", "none"),
        ("VIRUS-6249454-0002 (1)", "patient6249454", "virus"),
    ],
)
def test_the_patient_is_in_the_name_whatever_was_added_to_it(stem, patient, subtype):
    assert parse_name(stem, int(subtype != "none")) == (patient, subtype, True)


def test_version_3_is_an_edition_of_its_own_whose_patients_stay_together(own):
    """Its names: the middle number is the patient. No stated result is checked on it."""
    number = 0
    for path in sorted(own.rglob("*.jpeg")):
        number += 1
        word = "NORMAL" if path.parent.name == "NORMAL" else ("VIRUS", "BACTERIA")[number % 2]
        path.rename(path.with_name(f"{word}-{7000 + number // 3}-{number % 3:04d}.jpeg"))
    dataset = pnlib.find_dataset(str(own))
    assert "version 3" in dataset.edition and not dataset.is_published and dataset.table.known.all()
    assert set(dataset.table.subtype) == {"none", "bacteria", "virus"}
    patients = pnlib.split_by_patient(dataset.table, 0.25).groupby("part").patient.agg(set)
    assert not patients["train"] & patients["validation"]


def test_a_copy_under_another_name_stays_on_the_side_of_its_picture(own):
    """The same bytes, and the same picture encoded anew, both under names that say nothing."""
    first, second = sorted((own / "train" / "PNEUMONIA").iterdir())[::40]
    shutil.copy(first, own / "train" / "PNEUMONIA" / "renamed.jpeg")
    PIL.Image.open(second).save(own / "train" / "PNEUMONIA" / "encoded.jpeg", quality=92)
    dataset = pnlib.find_dataset(str(own))
    for seed in range(6):
        rows, images = pnlib.training_data(dataset, pnlib.TrainConfig(sampling="none", validation=0.25, seed=seed))
        part = rows.set_index(rows.path.str.rsplit("/").str[-1]).part
        assert part["renamed.jpeg"] == part[first.name] and part["encoded.jpeg"] == part[second.name]
        leaks.check_leaks(rows, images)
    assert len(leaks.copies(images)) == 2


def test_copies_link_the_same_images_as_comparing_all_with_all(monkeypatch):
    def linked(pairs):
        """The number of each image's group: those that are linked, by others too."""
        return connected_components(coo_array((np.ones(len(pairs)), pairs.T), (140, 140)), directed=False)[1]

    rng = np.random.default_rng(0)
    bits = rng.random((60, 256)) < 0.5
    bits = np.concatenate([bits, bits, bits[:20]])  # each again, and some a third time, with 0 to 12 bits changed
    for i, changed in enumerate(bits[60:]):
        changed[rng.choice(256, i % 13, replace=False)] ^= True
    hashes = np.packbits(bits, axis=1).view(np.uint64)
    monkeypatch.setattr(leaks, "difference_hash", lambda images: images)
    differing = (bits[:, None] != bits[None]).sum(-1)
    found, every = leaks.copies(hashes), np.argwhere(np.triu(differing <= leaks.LIMIT, 1))
    assert {*map(tuple, found)} <= {*map(tuple, every)}
    assert np.array_equal(linked(found), linked(every))


def test_every_training_goes_through_the_check_for_leaks(own):
    dataset = pnlib.find_dataset(str(own))
    config = pnlib.TrainConfig(network="compact", epochs=1, sampling="none", validation=0.25)
    rows, images = pnlib.training_data(dataset, config)
    one = rows.part == "train"
    leaked = rows.assign(patient=rows.patient.mask(one, rows.patient[~one].iloc[0]))
    with pytest.raises(InputError, match="is in more than one part of the split"):
        pnlib.train(config, leaked, images, run="leaked")
    copied = images.copy()
    copied[one.argmax()] = images[(~one).argmax()]
    with pytest.raises(InputError, match=r"\(train\) and .* are the same picture|\(validation\) and .* are the same"):
        pnlib.train(config, rows, copied, run="leaked")


def test_pictures_of_different_patients_are_no_copies(own):
    dataset = pnlib.find_dataset(str(own))
    assert not len(leaks.copies(pnlib.load_images(dataset, dataset.rows("train"))))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_gray_values_of_any_bit_depth_give_the_same_picture(drawn, tmp_path, bits):
    """A DICOM's 12 bits in a PNG of 16: they used to become 17 gray levels."""
    gray = np.asarray(PIL.Image.open(next((drawn / "train" / "NORMAL").iterdir())), float)
    gray = (gray - gray.min()) / np.ptp(gray)
    PIL.Image.fromarray((gray * (2**bits - 1)).round().astype(np.uint16)).save(tmp_path / "x.png")
    PIL.Image.fromarray((gray * 255).round().astype(np.uint8)).save(tmp_path / "y.png")
    deep, plain = (pnlib.decode(tmp_path / name).astype(int) for name in ("x.png", "y.png"))
    assert np.abs(deep - plain).max() <= 1 and len(np.unique(deep)) > 100


def test_an_image_without_contrast_is_refused(tmp_path):
    PIL.Image.fromarray(np.full((64, 64), 100, np.uint8)).save(tmp_path / "flat.png")
    with pytest.raises(InputError, match="flat.png: its gray values differ by 0 of 255 at most, so it shows nothing"):
        pnlib.decode(tmp_path / "flat.png")


def test_black_bones_are_noticed_and_can_be_inverted(own, capsys):
    dataset = pnlib.find_dataset(str(own))
    images = pnlib.load_images(dataset, dataset.rows("train"))[:4]
    classifier = pnlib.load_reference("compact")
    with pytest.warns(UserWarning, match="4 of 4 images look inverted"):
        classifier.predict(255 - images)
    path = own / dataset.rows("train").path[0]
    PIL.Image.eval(PIL.Image.open(path), lambda value: 255 - value).save(path, quality=95)
    assert np.abs(pnlib.decode(path, invert=True).astype(int) - images[0]).mean() < 3
    pnlib.training_data(pnlib.find_dataset(str(own)), pnlib.TrainConfig(sampling="none", validation=0.25))
    assert (
        f"NOTE: 1 of {len(dataset.rows('train'))} training images look inverted (bone is black)"
        in capsys.readouterr().out
    )


def test_what_is_not_used_is_counted_and_named(own):
    (own / "train" / "COVID19").mkdir()
    shutil.copy(next((own / "train" / "NORMAL").iterdir()), own / "train" / "COVID19" / "a.jpeg")
    shutil.copytree(own / "test", own / "holdout")
    shutil.copy(next((own / "train" / "NORMAL").iterdir()), own / "train" / "stray.jpeg")
    said = pnlib.find_dataset(str(own)).describe()
    assert "NOTE: train/COVID19/ left out, 1 image:" in said and "NOTE: holdout/ left out, 16 images:" in said
    assert "NOTE: train/ left out, 1 image:" in said


@pytest.mark.parametrize("name", ["valid", "validation", "Val"])
def test_a_validation_folder_of_any_name_is_set_aside(own, name):
    shutil.copytree(own / "test", own / name)
    dataset = pnlib.find_dataset(str(own))
    assert (dataset.table.split == "aside").sum() == 16 and "16 val" in dataset.edition


def test_layouts_that_leave_no_doubt_just_work(own, tmp_path):
    plain = pnlib.find_dataset(str(own)).table
    around = tmp_path / "archive" / "ChestXRay2017" / "chest_xray"
    shutil.copytree(own, around)
    (around / "train").rename(around / "Training")
    (around / "test").rename(around / "Test")
    (around / "Training" / "PNEUMONIA").rename(around / "Training" / "PNEUMONIA ")
    (around / "Test" / "NORMAL").rename(around / "Test" / "normal")
    found = pnlib.find_dataset(str(tmp_path / "archive")).table
    assert (found[["split", "label", "patient"]] == plain[["split", "label", "patient"]]).all().all()
    for part in ("Training", "Test"):
        folder = next(p for p in (around / part).iterdir() if p.name.strip() == "PNEUMONIA")
        for kind in ("bacteria", "virus"):
            (around / part / kind.upper()).mkdir()
            for path in folder.glob(f"*{kind}*"):
                path.rename(around / part / kind.upper() / path.name)
        folder.rmdir()
    split = pnlib.find_dataset(str(tmp_path / "archive")).table
    assert (
        split.groupby(["split", "label", "subtype"]).size().equals(plain.groupby(["split", "label", "subtype"]).size())
    )


def test_what_leaves_doubt_is_said_with_what_was_found(own, tmp_path):
    shutil.copytree(own, tmp_path / "two" / "a")
    shutil.copytree(own, tmp_path / "two" / "b")
    with pytest.raises(InputError, match=r"holds 2 datasets \(a, b\); give one of them"):
        pnlib.find_dataset(str(tmp_path / "two"))
    (tmp_path / "one.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="one.zip is a file; unpack it"):
        pnlib.find_dataset(str(tmp_path / "one.zip"))
    (own / "train" / "NORMAL").rename(own / "train" / "healthy")
    with pytest.raises(InputError, match=r"this folder holds 4 folders \(test/NORMAL, .* and 1 more\)"):
        pnlib.find_dataset(str(own))
