"""Files with mutated bytes: images, archives, tables, cache, run folders, weights, state, notebooks. See test_fuzz.py.

Each is read as it was, or named in one InputError. None is read as something else.
"""

import contextlib
import hashlib
import io
import json
import shutil
import types
import warnings
import zipfile

import numpy as np
import PIL.Image
import pytest
from fuzzing import input_error_only, meaning, mutated
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom import uid
from small_files import archived, npy
from test_dicom import SECRET
from test_dicom import dataset as dicom

import pnlib
from pnlib import Classifier, InputError, TrainConfig, checkpoint, networks, training
from pnlib.base import files
from pnlib.datasets import file_header, images, rows_of_run
from pnlib.datasets.download import unpack_to
from pnlib.preprocessing import PREPROCESSINGS
from pnlib.runner import notebooks


def pictures() -> dict[str, bytes]:
    made = {}
    gray = PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8))
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "text"
    for name, kind, options in (("plain", "JPEG", {}), ("progressive", "JPEG", {"progressive": True}),
                                ("exif", "JPEG", {"exif": exif}), ("png", "PNG", {}), ("exif png", "PNG", {"exif": exif})):  # fmt: skip
        content = io.BytesIO()
        gray.save(content, kind, **options)
        made[name] = content.getvalue()
    return made


PICTURES = pictures()


@settings(max_examples=settings.default.max_examples * 4)  # they are fast
@given(content=st.sampled_from(sorted(PICTURES)).flatmap(lambda name: mutated(PICTURES[name])))
def test_a_mutated_image_is_gray_pixels_or_named(content, tmp_path):
    path = tmp_path / "a.jpeg"
    path.write_bytes(content)
    with input_error_only():
        image = pnlib.decode(path)
        assert image.shape == (150, 150, 1) and image.dtype == np.uint8
    with input_error_only():
        width, height, mode = file_header(path)
        assert width > 0 and height > 0 and mode


def dicoms() -> dict[str, bytes]:
    """Small DICOM files of a patient: plain, implicit, windowed, compressed, in colour."""
    gray = np.random.default_rng(0).integers(0, 4096, (40, 40), np.uint16)
    colour = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    files = {
        "plain": dicom(gray),
        "implicit": dicom(gray, syntax=uid.ImplicitVRLittleEndian),
        "windowed": dicom(gray, WindowCenter=1000, WindowWidth=1000, RescaleSlope=2, RescaleIntercept=-100),
        "compressed": dicom(gray),
        "colour": dicom(colour, bits=8),
    }
    files["compressed"].compress(uid.RLELossless)
    made = {}
    for name, file in files.items():
        content = io.BytesIO()
        file.save_as(content, enforce_file_format=True)
        made[name] = content.getvalue()
    return made


DICOMS = dicoms()
# Bytes anywhere, or a few of the tags' values overwritten, so that the rest still stands where it belongs.
DAMAGED = st.sampled_from(sorted(DICOMS)).flatmap(lambda name: mutated(DICOMS[name])) | st.builds(
    lambda name, place, new: DICOMS[name][:place] + new + DICOMS[name][place + len(new) :],
    st.sampled_from(sorted(DICOMS)),
    st.integers(132, 900),
    st.binary(min_size=1, max_size=4),
)


@settings(max_examples=settings.default.max_examples * 4)
@given(content=DAMAGED)
def test_a_mutated_dicom_is_gray_pixels_or_named_and_silent_about_the_patient(content, tmp_path, caplog, capfd):
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    told = ""
    with warnings.catch_warnings(record=True) as warned, input_error_only():
        warnings.simplefilter("always")
        try:
            image = pnlib.decode(path)
            assert image.shape == (150, 150, 1) and image.dtype == np.uint8
        except InputError as error:
            assert str(path) in str(error)
            told = f"{error} {error.__cause__} {error.__cause__.__cause__}"
            raise
        finally:
            told += "".join(str(w.message) for w in warned) + caplog.text + "".join(capfd.readouterr())
            assert not any(word in told for word in (*SECRET.split("^"), "4711"))


@pytest.fixture(scope="module")
def zipped(tiny_folder, tmp_path_factory):
    """A few images of the demo as a zip archive, and a CSV file that lists them."""
    content, rows = io.BytesIO(), ["path,label,split,patient"]
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in sorted(tiny_folder.glob("*/*")):
            path = min(folder.iterdir())
            archive.write(path, f"x/{path.relative_to(tiny_folder)}")
            rows.append(f"{path.relative_to(tiny_folder)},{folder.name},{folder.parent.name},{path.stem}")
    return content.getvalue(), "\n".join(rows).encode()


@given(draw=st.data())
def test_a_mutated_archive_is_a_dataset_or_named_and_nothing_stays(draw, zipped, tmp_path):
    (tmp_path / "x.zip").write_bytes(draw.draw(mutated(zipped[0])))
    with input_error_only():
        assert len(pnlib.find_dataset(str(unpack_to(tmp_path / "new" / "x", tmp_path / "x.zip"))).table) >= 2
    shutil.rmtree(tmp_path / "new" / "x", ignore_errors=True)
    assert sorted(path.name for path in tmp_path.iterdir()) in (["new", "x.zip"], ["x.zip"])
    assert not any((tmp_path / "new").iterdir())


@given(draw=st.data())
def test_a_mutated_csv_lists_files_that_are_there_or_is_named(draw, zipped, tiny_folder):
    (tiny_folder / "mine.csv").write_bytes(draw.draw(mutated(zipped[1])))
    try:
        with input_error_only():
            found = pnlib.find_dataset(str(tiny_folder / "mine.csv"))
            assert all((found.root / path).is_file() for path in found.table.path) and found.table.path.is_unique
            assert set(found.table.label) == {0, 1} and set(found.table.split) <= {"train", "test", "aside"}
    finally:
        (tiny_folder / "mine.csv").unlink()


@pytest.fixture(scope="module")
def cached(tiny_folder, tmp_path_factory):
    """The first test images of the demo, their rows, and the cache of them."""
    folder = tmp_path_factory.mktemp("cached")
    dataset = pnlib.find_dataset(str(tiny_folder))
    rows = dataset.rows("test").groupby("label").head(2)
    dataset = types.SimpleNamespace(root=dataset.root, table=rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PNLIB_CACHE", str(folder))
        expected = pnlib.load_images(dataset, rows)
    (file,) = folder.iterdir()
    return dataset, rows, expected, file.read_bytes(), folder


@given(draw=st.data())
@example(draw=None)
def test_a_mutated_cache_never_gives_other_pixels(draw, cached, monkeypatch):
    dataset, rows, expected, content, folder = cached
    monkeypatch.setenv("PNLIB_CACHE", str(folder))
    (file,) = folder.iterdir()
    flipped = bytearray(content)
    flipped[5000] ^= 1  # one gray level of one pixel, which NumPy can't notice
    named = [bytes(flipped), content[:1000], npy("(1000000000000, 150, 150, 1)"), npy("(4, 150, 150, 1)", "|O") + b"x", npy("(((")]  # fmt: skip
    for damaged in named if draw is None else [draw.draw(mutated(content))]:
        file.write_bytes(damaged)
        assert np.array_equal(pnlib.load_images(dataset, rows), expected)
        assert draw or file.read_bytes() == content, "and it is written anew"


@given(content=st.just(b"[]").flatmap(mutated) | st.binary(max_size=50))
@example(content=b"[" * 100_000)
@example(content=b'["nowhere.jpeg"]')
@example(content=b"[[1]]")
def test_a_mutated_list_of_damaged_images_skips_none_that_is_sound(content, tiny, workspace, monkeypatch):
    (workspace / "cache").mkdir(exist_ok=True)
    monkeypatch.setattr(images, "_decode_all", lambda paths, size: paths)
    assert images.damaged_images(tiny.root, tiny.table.path) == ()
    (file,) = (workspace / "cache").iterdir()
    file.write_bytes(content)
    assert images.damaged_images(tiny.root, tiny.table.path) == ()


FINGERPRINT = json.dumps(
    {"format": 1, "settings": {"epochs": 3}, "images": "01", "versions": {"keras": "3.1"}}
).encode()


@given(content=mutated(FINGERPRINT) | st.binary(max_size=50) | st.text().map(lambda text: json.dumps([text]).encode()))
@example(content=b"[" * 100_000)  # Python's own limit of nesting
@example(content=b"\xff\xfe")
@example(content=FINGERPRINT.replace(b" ", b""))  # the same, written otherwise
def test_a_mutated_json_is_read_as_json_or_named(content, tmp_path):
    (tmp_path / "fingerprint.json").write_bytes(content)
    with input_error_only():
        assert files.read_json(tmp_path / "fingerprint.json") == json.loads(content)
    same = meaning(content) == json.loads(FINGERPRINT)
    assert checkpoint.is_same(tmp_path, json.loads(FINGERPRINT)) == same


CONFIG = TrainConfig(augmentation={"RandomZoom": {"height_factor": [-0.3, 0.1]}}, epochs=3)
STORED = json.dumps(CONFIG.to_json()).encode()


@given(content=mutated(STORED) | st.binary(max_size=50))
@example(content=STORED)
@example(content=b"[]")
@example(content=STORED.replace(b'"epochs": 3', b'"epochs": true'))
@example(content=STORED.replace(b"RandomZoom", b"RandomFoo"))
@example(content=STORED.replace(b'[["RandomZoom"', b'[["RandomZoom", 1'))
@example(content=STORED.replace(b"0.1", b"NaN"))
def test_a_mutated_config_is_what_it_says_or_refused(content):
    with input_error_only():
        config = TrainConfig.from_json(meaning(content))
        assert {**CONFIG.to_json(), **meaning(content)} == json.loads(
            json.dumps({**CONFIG.to_json(), **config.to_json()})
        )
        return
    assert content != STORED


@given(draw=st.data())
@example(draw=None)
def test_a_mutated_run_folder_is_read_or_named(draw, tiny, workspace, monkeypatch):
    """history.csv and provenance.json as a run leaves them. index.csv never gives a row that the dataset doesn't have."""
    monkeypatch.setattr(training, "load_run", lambda run: None)
    rows = tiny.rows("train").assign(part=["train", "validation"] * 32)
    sound = {"history.csv": b"epoch,loss,val_auroc\n1,0.5,0.9\n2,0.4,0.95\n", "provenance.json": b'{"epoch": 2, "loss": 0.4}',
             "index.csv": rows.to_csv(index=False).encode()}  # fmt: skip
    by_hand = [("provenance.json", b"[]"), ("provenance.json", b'{"epoch": null}'), ("provenance.json", b'{"epoch": Infinity}'),
               ("history.csv", b""), ("history.csv", b'"'), ("history.csv", b"\xff"), ("index.csv", b""), ("index.csv", b"a,b\n1,2\n"),
               ("index.csv", sound["index.csv"].replace(b",0,", b",x,")), ("index.csv", sound["index.csv"][:200]),
               ("index.csv", sound["index.csv"].replace(b"train,0,", b"train,1,"))]  # fmt: skip
    drawn = st.sampled_from(sorted(sound)).flatmap(lambda name: st.tuples(st.just(name), mutated(sound[name])))
    folder = workspace / "runs" / "one" / "train"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in by_hand if draw is None else [draw.draw(drawn)]:
        for file in sound:
            (folder / file).write_bytes(content if file == name else sound[file])
        with input_error_only():
            kept = training._finished("one").kept_epoch
            assert kept == (2 if name != "provenance.json" else int(meaning(content)["epoch"]))
        with input_error_only():
            got = rows_of_run(tiny, folder, "validation")
            columns = ["path", "split", "label", "patient", "subtype"]
            assert got.path.is_unique and set(got.path) <= set(rows.path)
            here = rows.set_index("path", drop=False).loc[got.path, columns]
            assert (here.to_numpy() == got[columns].to_numpy()).all()


class Variable:
    """Of a network: takes an array of its own shape."""

    def __init__(self, path, value):
        self.path, self.value = path, np.array(value, np.float32)

    def numpy(self):
        return self.value

    def assign(self, value):
        if np.shape(value) != self.value.shape:
            raise ValueError("another shape")
        self.value = np.array(value, np.float32)


def stand_in(*values):
    """A network with these variables, and an optimizer without any."""
    variables = [Variable(f"v{i}", value) for i, value in enumerate(values)]
    optimizer = types.SimpleNamespace(variables=[], build=lambda variables: None)
    return types.SimpleNamespace(variables=variables, trainable_variables=variables, optimizer=optimizer)


VALUES, HISTORY = (np.arange(12.0).reshape(3, 4), np.array([1.0, 2.0])), [{"epoch": 1, "loss": 0.5, "val_auroc": 0.9}]


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    folder = tmp_path_factory.mktemp("state")
    checkpoint.write_state(folder, stand_in(*VALUES), HISTORY)
    return (folder / checkpoint.STATE).read_bytes()


@settings(max_examples=settings.default.max_examples * 3)
@given(draw=st.data())
@example(draw=None)
def test_a_mutated_state_is_the_same_or_named(draw, state, tmp_path):
    """What a training is resumed from: the zip archive's checksums tell."""
    encrypted = bytearray(state)
    encrypted[6] |= 1  # "needs a password": a RuntimeError
    huge, pickled = (
        {"network/v0": npy(shape, kind)} for shape, kind in (("(1000000000000,)", "<f4"), ("(3, 4)", "|O"))
    )
    named = [state, b"", bytes(encrypted), archived(**huge), archived(**pickled)]
    for content in named if draw is None else [draw.draw(mutated(state))]:
        (tmp_path / checkpoint.STATE).write_bytes(content)
        network = stand_in(np.zeros((3, 4)), np.zeros(2))
        with input_error_only():
            assert checkpoint.read_state(tmp_path, network) == HISTORY
            assert all(np.array_equal(v.value, w) for v, w in zip(network.variables, VALUES, strict=True))
            continue
        assert content != state


class Network:
    """A network of two weights, without Keras."""

    def __init__(self, dropout):
        self.weights = [np.zeros_like(value) for value in VALUES]

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        if [np.shape(w) for w in weights] != [np.shape(v) for v in VALUES]:
            raise ValueError("other shapes")
        self.weights = weights


@settings(max_examples=settings.default.max_examples * 2)
@given(draw=st.data())
@example(draw=None)
def test_a_mutated_classifier_is_the_same_or_named(draw, tmp_path, monkeypatch):
    monkeypatch.setitem(networks.NETWORKS, "small", Network)
    config = TrainConfig(network="small", preprocessing="standardize")
    Classifier(Network(0.5), config).save(tmp_path, {"epoch": 3}, list(VALUES))
    weights, provenance = ((tmp_path / name).read_bytes() for name in ("weights.npz", "provenance.json"))

    def said(content):
        """The provenance that belongs to these weights."""
        return json.dumps({**json.loads(provenance), "weights_sha256": hashlib.sha256(content).hexdigest()}).encode()

    pickled = archived(w0=npy("(1,)", "|O") + b"cos\nabort\n.", w1=npy("(2,)", "<f2"))
    by_hand = [(weights, provenance)]
    by_hand += [(c, said(c)) for c in (b"", pickled, archived(w0=npy("(9,)")), archived(x=b""), archived())]
    by_hand += [(weights, c) for c in (b"[]", b"{}", b'{"weights_sha256": 1, "config": 2}', said(b""))]
    drawn = st.tuples(mutated(weights), st.just(provenance)) | st.tuples(st.just(weights), mutated(provenance))
    for content, about in by_hand if draw is None else [draw.draw(drawn)]:
        (tmp_path / "weights.npz").write_bytes(content)
        (tmp_path / "provenance.json").write_bytes(about)
        with input_error_only():
            classifier = Classifier.load(tmp_path)
            assert content == weights, "a changed weight would be used as it is"
            assert all(np.array_equal(a, b) for a, b in zip(classifier.network.weights, VALUES, strict=True))
            assert classifier.config.preprocessing in PREPROCESSINGS
            continue
        assert (content, about) != (weights, provenance)


NOTEBOOK = json.dumps({
    "cells": [{"cell_type": "code", "id": "a", "execution_count": None, "metadata": {"tags": ["parameters"]}, "outputs": [],
               "source": ["seed: int = 0  # chance\n", "run: str = \"default\"  # name"]}],
    "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    "nbformat": 4, "nbformat_minor": 5}, indent=1).encode()  # fmt: skip


@given(content=mutated(NOTEBOOK) | st.binary(max_size=50))
@example(content=NOTEBOOK)
@example(content=b"")
@example(content=b"{}")
@example(content=b"[" * 100_000)
@example(content=NOTEBOOK.replace(b'"nbformat": 4', b'"nbformat": 99'))
@example(content=NOTEBOOK.replace(b'"cells": [{', b'"cells": [{"x": 1}, {'))
@example(content=NOTEBOOK.replace(b'"language": "python", ', b""))
@example(content=NOTEBOOK.replace(b'"name": "python3"', b'"name": "cobol"').replace(b'"python"', b'"cobol"'))
def test_a_mutated_notebook_has_parameters_or_is_named(content, tmp_path, monkeypatch):
    monkeypatch.setattr("pnlib.base.paths.root", lambda: tmp_path)
    (tmp_path / "notebooks").mkdir(exist_ok=True)
    (tmp_path / "notebooks" / "04_train.ipynb").write_bytes(content)
    with contextlib.redirect_stderr(io.StringIO()) as said, input_error_only():
        found = notebooks.parameters("04_train")
        assert all({"inferred_type_name", "default", "help"} <= set(about) for about in found.values())
        assert content != NOTEBOOK or set(found) == {"seed", "run"}
    assert said.getvalue() == ""
