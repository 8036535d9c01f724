"""Input that nobody thought of: Hypothesis draws it, and whatever it is, the answer is right or an InputError.

    pytest tests/test_fuzz.py                              # the same 40 examples a test each time, under a minute
    pytest tests/test_fuzz.py --hypothesis-profile=long    # 3,000 new ones a test; prints the example that fails

What the fuzzing found, and the library then mended, stands as an `@example`.
"""

import contextlib
import fractions
import io
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import types
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from conftest import archived
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from papermill.translators import papermill_translators

from pnlib import claims, cli, data, download, evaluate, model, notebooks, reference, runs, study, train
from pnlib.errors import InputError


@contextlib.contextmanager
def input_error_only():
    """Only an InputError may come out, of one line that a terminal can show; and within 20 seconds."""

    def stop(*_):
        pytest.fail("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    try:
        yield
    except InputError as error:
        message = str(error)
        assert message.strip() and len(message.splitlines()) == 1, message
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@st.composite
def mutated(draw, content: bytes) -> bytes:
    """`content` with one to four places overwritten, cut out or pushed apart."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place, new = draw(st.integers(0, len(changed))), draw(st.binary(min_size=1, max_size=8))
        kind = draw(st.sampled_from(["overwrite", "insert", "delete", "cut off"]))
        if kind == "cut off":
            del changed[place:]
        else:
            changed[place : place + (0 if kind == "insert" else len(new))] = b"" if kind == "delete" else new
    assume(bytes(changed) != content)
    return bytes(changed)


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.builds(lambda: 10**5000),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9) | st.integers(), inner, max_size=4),
    max_leaves=8,
)

# --- index and names

STEMS = st.text(st.characters(exclude_characters="/\0", exclude_categories=()), min_size=1, max_size=40)
KNOWN = st.from_regex(data._NAME, fullmatch=True)
NAMES = st.builds(lambda stem, end: stem + end, STEMS | KNOWN, st.sampled_from([".jpeg", ".JPG", ".png", ".txt", ""]))


@given(stem=STEMS | KNOWN, label=st.integers(0, 1))
def test_any_name_has_a_patient_and_a_subtype(stem, label):
    patient, subtype, known = data.parse_name(stem, label)
    assert stem.startswith(patient) and patient
    assert (
        subtype in ("bacteria", "virus", "none") if known else (patient, subtype) == (stem, ("none", "unknown")[label])
    )
    if known:
        assert stem[len(patient)] in "_-" and patient.rstrip("0123456789") != patient or not patient.isascii()


def can_be_stored(name: str) -> bool:
    try:
        return len(os.fsencode(name)) <= 250 and name not in (".", "..")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return False


@given(names=st.lists(NAMES.filter(can_be_stored), max_size=8, unique=True))
@example(names=["a\nb.jpeg"])  # two lines in every message, and in index.csv
@example(names=["a\udcff.jpeg"])  # a byte that is no UTF-8: no hash, no index.csv
@example(names=["NA.jpeg", "null.png", "007.jpeg", '",",".jpeg', "=1+1.png", "'.jpeg", "a\xa0b.jpeg"])
def test_an_index_lists_every_image_once_and_is_read_back_as_it_was(names):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for part in ("train", "test"):
            for kind, first in (("NORMAL", "IM-0001-0001.jpeg"), ("PNEUMONIA", "person1_virus_1.jpeg")):
                (root / part / kind).mkdir(parents=True)
                for name in {first, *(names if part == "train" else [])}:
                    (root / part / kind / name).touch()
        with input_error_only():
            table = data.index(root)
            expected = sorted({"IM-0001-0001.jpeg", *(n for n in names if data._is_image(n) and n[0] != ".")})
            normals = table[(table.folder == "train") & (table.label == 0)]
            assert sorted(normals.path.str.removeprefix("train/NORMAL/")) == expected
            unknown = table[~table.known]
            assert unknown.patient.is_unique, "a name of unknown pattern is a patient of its own"
            rows = table[table.folder == "train"].drop(columns="folder").assign(part="train")
            (root / "index.csv").write_text(rows.to_csv(index=False), encoding="utf-8", newline="")
            dataset = types.SimpleNamespace(table=table, root=root)
            again = data.rows_of_run(dataset, root, "train")
            pd.testing.assert_frame_equal(again, rows.reset_index(drop=True), check_dtype=False)


PATIENTS = st.lists(st.tuples(st.sampled_from([(0,), (1,), (0, 1)]), st.integers(1, 30)), min_size=1, max_size=60)


@given(patients=PATIENTS, validation=st.floats(0.02, 0.5), seed=st.integers(0, 2**31 - 1))
@example(patients=[((0,), 1), ((1,), 1)] * 2, validation=0.5, seed=0)
@example(patients=[((0,), 3)] * 9, validation=0.3, seed=0)  # one class only, in any number of patients
@example(patients=[((0, 1), 30), ((0,), 1), ((1,), 1)], validation=0.5, seed=1)
def test_no_patient_is_ever_on_both_sides_and_both_classes_are(patients, validation, seed):
    """Patients of any number of images, and some, wrongly, with images of both classes."""
    rows = [
        ("train", labels[i % len(labels)], f"p{number}")
        for number, (labels, images) in enumerate(patients)
        for i in range(images)
    ]
    table = pd.DataFrame([*rows, ("test", 0, "p0"), ("aside", 1, "p1")], columns=["split", "label", "patient"])
    table = table.assign(path=[str(i) for i in table.index])
    with input_error_only():
        split = data.split_by_patient(table, validation, seed)
        assert len(split) == len(rows) + 1 and set(split.part[split.split == "test"]) == {"test"}
        sides = split[split.split == "train"].groupby("part")
        held, rest = sides.get_group("validation"), sides.get_group("train")
        assert not set(held.patient) & set(rest.patient)
        assert set(held.label) == set(rest.label) == {0, 1}
        assert split.equals(data.split_by_patient(table, validation, seed))


# --- figures

TIED = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1)
CASES = st.lists(st.tuples(st.integers(0, 1), TIED), min_size=1, max_size=25)


def by_hand(pairs, threshold) -> dict:
    """Every metric from its definition, in exact fractions where it is one."""
    count = {
        (y, c): sum(1 for label, p in pairs if (label, p >= threshold) == (y, c)) for y in (0, 1) for c in (False, True)
    }
    tn, fp, fn, tp = count[0, False], count[0, True], count[1, False], count[1, True]

    def share(a, b):
        return a / b if b else 0.0

    recall, precision = (share(tn, tn + fp), share(tp, tp + fn)), (share(tn, tn + fn), share(tp, tp + fp))
    f1 = [share(2 * p * r, p + r) for p, r in zip(precision, recall, strict=True)]
    normal, ill = [p for y, p in pairs if y == 0], [p for y, p in pairs if y == 1]
    won = [1 if i > n else 0.5 if i == n else 0 for n in normal for i in ill]
    auprc, found = 0.0, 0
    for level in sorted(set(p for _, p in pairs), reverse=True):  # each distinct probability is a threshold
        now = sum(1 for p in ill if p >= level)
        auprc += (now - found) / len(ill) * now / sum(1 for _, p in pairs if p >= level)
        found = now
    return {"accuracy": (tn + tp) / len(pairs), "macro_f1": sum(f1) / 2, "macro_recall": sum(recall) / 2,
            "macro_precision": sum(precision) / 2, "sensitivity": recall[1], "specificity": recall[0], "precision": precision[1],
            "f1": f1[1], "auroc": sum(won) / len(won), "auprc": auprc,
            "brier": sum((p - y) ** 2 for y, p in pairs) / len(pairs)}  # fmt: skip


@given(pairs=CASES, threshold=TIED)
@example(pairs=[(0, 0.5), (1, 0.5), (1, 0.5)], threshold=0.5)  # all equal
@example(pairs=[(0, 1.0), (1, 0.0)], threshold=0.5)  # all wrong
@example(pairs=[(1, 0.3), (1, 0.7)], threshold=0.5)  # one class
def test_metrics_are_what_their_definitions_say(pairs, threshold):
    labels, probabilities = zip(*pairs, strict=True)
    with input_error_only():
        got = evaluate.metrics(labels, probabilities, threshold)
        assert got == pytest.approx(by_hand(pairs, threshold), abs=1e-9)
        assert evaluate.metrics_of_draw(*map(np.array, (labels, probabilities)), threshold) == pytest.approx(
            got, abs=1e-12
        )
        assert evaluate.confusion(labels, probabilities, threshold).sum() == len(pairs)
        return
    assert len(set(labels)) == 1, "with both classes there is no reason to refuse"


@given(pairs=CASES)
@example(pairs=[(0, 1.0), (1, 0.0)])  # every threshold is worse than calling no image pneumonia
@example(pairs=[(0, 0.5), (1, math.nextafter(0.5, 1))])  # nothing lies between the two
@example(pairs=[(0, 0.0), (1, 5e-324)])
def test_no_threshold_does_better_than_the_operating_point(pairs):
    labels, probabilities = (np.array(values) for values in zip(*pairs, strict=True))
    assume(len(set(labels)) == 2)
    threshold = evaluate.operating_point(labels, probabilities)

    def youden(at):
        called = probabilities >= at
        return called[labels == 1].mean() - called[labels == 0].mean()

    assert youden(threshold) == pytest.approx(max(youden(at) for at in [*probabilities, 2.0]))


ANY_COLUMN = st.lists(st.integers(0, 1), max_size=6) | st.lists(TIED | JUNK, max_size=6) | JUNK


@given(labels=ANY_COLUMN, probabilities=ANY_COLUMN, threshold=TIED | JUNK)
@example(labels=["a", "b"], probabilities=[0.1, 0.2], threshold=0.5)
@example(labels=[0.5, 1.0], probabilities=[0.1, 0.2], threshold=0.5)  # a half is no normal
@example(labels=[0, 1], probabilities=[0.1, 0.2], threshold=math.nan)
@example(labels=[0, 1], probabilities=[0.1, 0.2], threshold=10**5000)
@example(labels=[0, 1], probabilities=[0.1, 0.2], threshold=[10**5000])
@example(labels=[0, 1], probabilities=[0.1, None], threshold=0.5)
@example(labels=[0, 1], probabilities=[[0.1], 0.2], threshold=0.5)
@example(labels=[0, 1], probabilities=[0.1, 10**400], threshold=0.5)
def test_metrics_of_anything_else_are_refused(labels, probabilities, threshold):
    with input_error_only():
        got = evaluate.metrics(labels, probabilities, threshold)
        assert set(np.asarray(labels, float)) == {0, 1} and all(0 <= value <= 1 for value in got.values())
    with input_error_only():
        assert 0 <= evaluate.operating_point(labels, probabilities) <= np.nextafter(1, 2)


@given(pairs=CASES, patients=st.lists(st.integers(0, 5), max_size=25), resamples=st.integers(-1, 8))
@example(pairs=[(0, 0.2), (1, 0.6)], patients=[0], resamples=2)  # fewer patients than images
@example(pairs=[(0, 0.2), (1, 0.6)], patients=[0, 1], resamples=0)
@example(pairs=[(1, 0.2), (1, 0.6)], patients=[0, 1], resamples=2)  # waited for a normal without end
def test_intervals_are_in_order(pairs, patients, resamples):
    labels, probabilities = zip(*pairs, strict=True)
    with input_error_only():
        list(evaluate.patient_draws(labels, patients, resamples, 0))
    with input_error_only():
        table = evaluate.bootstrap(labels, probabilities, patients, resamples=resamples)
        assert ((0 <= table.low) & (table.low <= table.high) & (table.high <= 1)).all()
        assert table.value.to_dict() == pytest.approx(evaluate.metrics(labels, probabilities))


STATED = claims.stated()


@given(name=st.sampled_from(sorted(STATED)), measured=st.floats())
@example(name="test accuracy", measured=math.nan)
def test_a_claim_holds_exactly_within_its_tolerance(name, measured):
    value, tolerance = (fractions.Fraction(STATED[name][part]) for part in ("value", "tolerance"))
    for figure in (measured, float(value + tolerance), float(value - tolerance), np.float64(measured)):
        right = math.isfinite(figure) and abs(fractions.Fraction(repr(float(figure))) - value) <= tolerance
        assert claims.holds(name, figure) == right


@given(name=st.sampled_from(sorted(STATED)) | st.text(), measured=JUNK)
@example(name="tset accuracy", measured=0.9)
@example(name="test accuracy", measured=10**400)
@example(name="test accuracy", measured=None)
def test_a_claim_about_anything_else_is_refused(name, measured):
    with input_error_only(), contextlib.redirect_stdout(io.StringIO()) as said:
        claims.check(name, measured)
        assert name in STATED and said.getvalue().startswith(f"{name} = ")


# --- parameters


def as_papermill_hands_it_over(parameters: dict) -> dict:
    """papermill writes parameters as Python; a notebook executes that."""
    cell = papermill_translators.find_translator("python3", "python").codify(parameters)
    found = {}
    exec(compile(cell, "parameters", "exec"), {"__builtins__": {"float": float}}, found)
    return found


TEXTS = (
    st.text()
    | st.from_regex(r"\{Random(Zoom|Flip|Contrast): .{0,30}\}")
    | st.floats().map(str)
    | st.integers().map(str)
)


@given(name=st.sampled_from(sorted(runs.PARAMETERS)), text=TEXTS)
@example(name="augmentation", text="{RandomZoom: {height_factor: 2024-01-02}}")  # a date, which no run can store
@example(name="augmentation", text="{RandomZoom: {height_factor: .nan}}")
@example(name="augmentation", text="{RandomZoom: {height_factor: 2024-13-45}}")
@example(name="augmentation", text="{RandomZoom: " + "[" * 2000)
@example(name="augmentation", text="{RandomZoom: !!python/object/apply:os.abort []}")
@example(name="epochs", text="9" * 5000)
@example(name="data", text="'''\n__import__('os').abort()\n'''")
def test_what_is_given_on_the_command_line_reaches_the_notebook_as_it_is(name, text):
    with input_error_only():
        (value,) = cli.parse_parameters([[name, text]], {"04_train": [name]}, ["04_train"]).values()
        assert as_papermill_hands_it_over({name: value}) == {name: value}
        json.dumps(value, allow_nan=False)
        kind = runs.PARAMETERS[name][0]
        assert type(value) is kind or (name == "augmentation" and type(value) is dict)
        assert kind is str or value == kind(text)


@given(name=st.sampled_from(sorted(runs.PARAMETERS)) | st.text(), value=JUNK)
@example(name="learning_rate", value=10**400)  # more than any float holds
@example(name="epochs", value=10**5000)  # more digits than Python prints
@example(name="augmentation", value={"RandomZoom": {"height_factor": math.inf}})
@example(name="run", value="a\n")
def test_a_parameter_is_refused_or_can_be_stored(name, value):
    with input_error_only():
        runs.check(**{name: value})
        json.dumps(value, allow_nan=False)
        assert not isinstance(value, bool) and name in runs.PARAMETERS
        if name == "run":
            assert (Path("runs") / value).resolve().parent == Path("runs").resolve(), "no way out of the folder of runs"


GRID = b"""name: small
common: {epochs: 1, batch_size: 16}
recipes:
  plain: {augmentation: none}
  wide: {augmentation: {RandomZoom: {height_factor: [-0.3, 0.1]}}}
seeds: [0, 1]
test: false
"""


@settings(max_examples=settings.default.max_examples // 2)
@given(content=mutated(GRID) | st.binary(max_size=60))
@example(content=GRID.replace(b"small", b"2024-13-45"))  # YAML finds a date in it, and Python no such month
@example(content=GRID.replace(b"{epochs: 1, batch_size: 16}", b"epochs"))
@example(content=GRID.replace(b"{augmentation: none}", b"none"))
@example(content=GRID.replace(b"16", b"9" * 5000))
@example(content=b"[" * 5000)
@example(content=GRID.replace(b"small", b"!!python/object/apply:os.abort []"))
def test_a_study_is_read_or_refused(content, tiny, tmp_path):
    (tmp_path / "study.yaml").write_bytes(content)
    with input_error_only():
        plan = study.read(tmp_path / "study.yaml", tiny)
        assert plan.cells and plan.folder.parent == runs.runs_dir() / "studies"
        for cell in plan.cells:
            runs.check(**cell.parameters)


# --- bytes: images, cache, run folders, notebooks, archives


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


@settings(max_examples=settings.default.max_examples * 5)  # they are fast
@given(content=st.sampled_from(sorted(PICTURES)).flatmap(lambda name: mutated(PICTURES[name])))
def test_a_mutated_image_is_gray_pixels_or_named(content, tmp_path):
    path = tmp_path / "a.jpeg"
    path.write_bytes(content)
    with input_error_only():
        image = data.decode(path)
        assert image.shape == (150, 150, 1) and image.dtype == np.uint8
    with input_error_only():
        width, height, mode = data.header(path)
        assert width > 0 and height > 0 and mode


@pytest.fixture(scope="module")
def cached(tiny_folder, tmp_path_factory):
    """The test images of the demo, their rows, and the cache of them."""
    folder = tmp_path_factory.mktemp("cached")
    dataset = data.find(str(tiny_folder))
    rows = dataset.table[dataset.table.split == "test"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PNLIB_CACHE", str(folder))
        images = data.load(dataset, rows)
    (file,) = folder.iterdir()
    return dataset, rows, images, file.read_bytes(), folder


def npy(shape: str, dtype: str = "|u1") -> bytes:
    """The head of a .npy file that claims this shape."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@given(draw=st.data())
@example(draw=None)
def test_a_mutated_cache_never_gives_other_pixels(draw, cached, monkeypatch):
    dataset, rows, images, content, folder = cached
    monkeypatch.setenv("PNLIB_CACHE", str(folder))
    (file,) = folder.iterdir()
    flipped = bytearray(content)
    flipped[5000] ^= 1  # one gray level of one pixel, which NumPy can't notice
    named = [bytes(flipped), npy("(1000000000000, 150, 150, 1)"), npy("(16, 150, 150, 1)", "|O") + b"x", npy("(((")]
    for damaged in named if draw is None else [draw.draw(mutated(content))]:
        file.write_bytes(damaged)
        assert np.array_equal(data.load(dataset, rows), images)
        assert file.read_bytes() == content, "and it is written anew"


@given(content=st.just(b"[]").flatmap(mutated) | st.binary(max_size=50))
@example(content=b"[" * 100_000)
@example(content=b'["nowhere.jpeg"]')
@example(content=b"[[1]]")
def test_a_mutated_list_of_damaged_images_skips_none_that_is_sound(content, tiny, workspace, monkeypatch):
    (workspace / "cache").mkdir(exist_ok=True)
    monkeypatch.setattr(data, "_decode_all", lambda paths, size: (None, {}))
    assert data._damaged(tiny.root, tiny.table.path) == ()
    (file,) = (workspace / "cache").iterdir()
    file.write_bytes(content)
    assert data._damaged(tiny.root, tiny.table.path) == ()


IDENTITY = json.dumps(
    {"parameters": {"epochs": 3}, "images": "01", "code": "23", "network": "45", "versions": {"keras": "3.1"}}
).encode()


@given(content=mutated(IDENTITY) | st.binary(max_size=50) | st.text().map(lambda text: json.dumps([text]).encode()))
@example(content=b"[" * 100_000)  # Python's own limit of nesting
@example(content=b"\xff\xfe")
@example(content=IDENTITY.replace(b" ", b""))  # the same, written otherwise
def test_a_mutated_json_is_read_as_json_or_named(content, tmp_path):
    folder = tmp_path
    (folder / "identity.json").write_bytes(content)
    with input_error_only():
        value = runs.read_json(folder / "identity.json")
        assert value == json.loads(content)
    assert train._same(folder, json.loads(IDENTITY)) == (content_means(content) == json.loads(IDENTITY))


def content_means(content: bytes):
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


@given(draw=st.data())
@example(draw=None)
def test_a_mutated_run_folder_is_read_or_named(draw, tiny, tmp_path, monkeypatch):
    """history.csv and metrics.json as a run leaves them; index.csv never gives a row that the dataset has otherwise."""
    monkeypatch.setattr(train, "load_best", lambda network, run: network)
    rows = data.split_by_patient(tiny.table, 0.25)
    rows = rows[rows.part != "test"].reset_index(drop=True)
    files = {"history.csv": b"epoch,loss,val_auroc\n1,0.5,0.9\n2,0.4,0.95\n", "metrics.json": b'{"epoch": 2.0, "loss": 0.4}',
             "index.csv": rows.to_csv(index=False).encode()}  # fmt: skip
    by_hand = [("metrics.json", b"[]"), ("metrics.json", b'{"epoch": null}'), ("metrics.json", b'{"epoch": Infinity}'),
               ("history.csv", b""), ("history.csv", b'"'), ("history.csv", b"\xff"), ("index.csv", b""), ("index.csv", b"a,b\n1,2\n"),
               ("index.csv", files["index.csv"].replace(b",0,", b",x,")), ("index.csv", files["index.csv"][:200]),
               ("index.csv", files["index.csv"].replace(b"train,0,", b"train,1,"))]  # fmt: skip
    for name, content in (
        by_hand
        if draw is None
        else [draw.draw(st.sampled_from(sorted(files)).flatmap(lambda n: st.tuples(st.just(n), mutated(files[n]))))]
    ):
        folder = tmp_path / "one" / "train"
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            (folder / file).write_bytes(content if file == name else files[file])
        with input_error_only():
            assert train._load(None, folder).best_epoch == (
                2 if name != "metrics.json" else int(content_means(content)["epoch"])
            )
        with input_error_only():
            got = data.rows_of_run(tiny, folder, "validation")
            columns = ["path", "split", "label", "patient", "subtype"]
            assert got.path.is_unique and set(got.path) <= set(rows.path)
            here = rows.set_index("path", drop=False).loc[got.path, columns]
            assert (here.to_numpy() == got[columns].to_numpy()).all()


class Variable:
    """Of a model: takes an array of its own shape."""

    def __init__(self, value):
        self.value = np.array(value, np.float32)

    def numpy(self):
        return self.value

    def assign(self, value):
        if np.shape(value) != self.value.shape:
            raise ValueError("another shape")
        self.value = np.array(value, np.float32)


def stand_in(*values):
    """A model that has variables, and an optimizer without any."""
    return types.SimpleNamespace(variables=[Variable(v) for v in values], optimizer=types.SimpleNamespace(variables=[]))


VALUES, HISTORY = (np.arange(12.0).reshape(3, 4), np.array([1.0, 2.0])), [{"epoch": 1, "loss": 0.5, "val_auroc": 0.9}]


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "state.npz"
    train._write_state(path, stand_in(*VALUES), HISTORY)
    return path.read_bytes()


@settings(max_examples=settings.default.max_examples * 3)
@given(draw=st.data())
@example(draw=None)
def test_a_mutated_state_is_the_same_or_named(draw, state, tmp_path):
    """What a training goes on from: the zip archive's checksums tell."""
    encrypted = bytearray(state)
    encrypted[6] |= 1  # "needs a password": a RuntimeError
    named = [b"", bytes(encrypted), archived(v0=npy("(1000000000000,)", "<f4")), archived(v0=npy("(3, 4)", "|O"))]
    for content in named if draw is None else [draw.draw(mutated(state))]:
        (tmp_path / "state.npz").write_bytes(content)
        network = stand_in(np.zeros((3, 4)), np.zeros(2))
        with input_error_only():
            assert train._read_state(tmp_path / "state.npz", network) == HISTORY
            assert all(np.array_equal(v.value, w) for v, w in zip(network.variables, VALUES, strict=True))


class Network:
    """A network of two weights, whose file Keras does not read."""

    loaded = False

    @classmethod
    def from_config(cls, config):
        return cls()

    def get_config(self):
        return {}

    def load_weights(self, path):
        Network.loaded = True

    def get_weights(self):
        return list(VALUES)

    def set_weights(self, weights):
        if [np.shape(w) for w in weights] != [np.shape(v) for v in VALUES]:
            raise ValueError("other shapes")
        self.weights = weights


WEIGHTS = bytes(range(256)) * 4


@given(content=mutated(WEIGHTS))
@example(content=WEIGHTS)
def test_mutated_weights_are_never_loaded(content, workspace, monkeypatch):
    """HDF5 has no checksum of its own: a changed weight would be used as it is."""
    import hashlib

    folder = workspace / "runs" / "one" / "train"
    for name in ("history.csv", "index.csv", "parameters.json"):
        runs.write_whole(folder / name, "")
    runs.write_json(folder / "metrics.json", {"epoch": 1, "weights_sha256": hashlib.sha256(WEIGHTS).hexdigest()})
    (folder / "best.weights.h5").write_bytes(content)
    monkeypatch.setattr(Network, "loaded", False)
    with input_error_only():
        train.load_best(Network(), "one")
    assert Network.loaded == (content == WEIGHTS)


@given(draw=st.data())
@example(draw=None)
def test_a_mutated_reference_model_is_the_same_or_named(draw, tmp_path, monkeypatch):
    import hashlib

    folder = tmp_path / "models" / "reference" / "compact"
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(runs, "root", lambda: tmp_path)
    monkeypatch.setitem(model.NETWORKS, "compact", Network)
    weights = reference.pack(Network())

    def provenance(content):
        return {"weights_sha256": hashlib.sha256(content).hexdigest(), "parameters": {"preparation": "standard"}}

    pickled = archived(w0=npy("(1,)", "|O") + b"cos\nabort\n.", w1=npy("(2,)", "<f2"))
    by_hand = [
        (c, json.dumps(provenance(c)).encode()) for c in (b"", pickled, archived(w0=npy("(9,)")), archived(x=b""))
    ]
    by_hand += [(weights, c) for c in (b"[]", b"{}", b'{"weights_sha256": 1, "parameters": 2}')]
    right = json.dumps(provenance(weights)).encode()
    drawn = st.tuples(mutated(weights), st.just(right)) | st.tuples(st.just(weights), mutated(right))
    for content, said in by_hand if draw is None else [draw.draw(drawn)]:
        (folder / "weights.npz").write_bytes(content)
        (folder / "provenance.json").write_bytes(said)
        with input_error_only():
            network = reference.load_reference("compact")
            assert all(np.array_equal(a, b) for a, b in zip(network.weights, VALUES, strict=True))
            assert network.preparation in runs.PREPARATIONS


NOTEBOOK = json.dumps({
    "cells": [{"cell_type": "code", "id": "a", "execution_count": None, "metadata": {"tags": ["parameters"]}, "outputs": [],
               "source": ["seed: int = 0  # chance\n", "run: str = \"default\"  # name"]}],
    "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    "nbformat": 4, "nbformat_minor": 5}, indent=1).encode()  # fmt: skip


@given(content=mutated(NOTEBOOK) | st.binary(max_size=50))
@example(content=b"")
@example(content=b"{}")
@example(content=b"[" * 100_000)
@example(content=NOTEBOOK.replace(b'"nbformat": 4', b'"nbformat": 99'))
@example(content=NOTEBOOK.replace(b'"cells": [{', b'"cells": [{"x": 1}, {'))
@example(content=NOTEBOOK.replace(b'"language": "python", ', b""))
@example(content=NOTEBOOK.replace(b'"name": "python3"', b'"name": "cobol"').replace(b'"python"', b'"cobol"'))
def test_a_mutated_notebook_has_parameters_or_is_named(content, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "root", lambda: tmp_path)
    (tmp_path / "notebooks").mkdir(exist_ok=True)
    (tmp_path / "notebooks" / "04_train.ipynb").write_bytes(content)
    with contextlib.redirect_stderr(io.StringIO()) as said, input_error_only():
        found = notebooks.parameters("04_train")
        assert all({"inferred_type_name", "default", "help"} <= set(about) for about in found.values())
    assert said.getvalue() == ""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("x/train/NORMAL/a.jpeg", "x/test/b.jpeg"):
            file.writestr(name, PICTURES["plain"][:300])
    return path.read_bytes()


@settings(max_examples=settings.default.max_examples * 3)
@given(draw=st.data())
@example(draw=None)
def test_a_mutated_archive_is_unpacked_inside_or_named(draw, archive):
    encrypted = archive.replace(b"PK\x01\x02\x14\x03\x14\0\0", b"PK\x01\x02\x14\x03\x14\0\x01")
    assert encrypted != archive
    for content in [encrypted, b""] if draw is None else [draw.draw(mutated(archive))]:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "a.zip").write_bytes(content)
            with input_error_only():
                download.unpack(Path(folder) / "a.zip", Path(folder) / "inside")
            assert set(os.listdir(folder)) <= {"a.zip", "inside"}
            assert not any(path.is_symlink() for path in Path(folder).rglob("*"))


GREEDY = """
import contextlib, resource, sys
from pathlib import Path
from test_fuzz import InputError, archived, data, npy, runs, stand_in, train
folder = Path(sys.argv[1])
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 256 * 2**20,) * 2)
dataset = data.find(sys.argv[2])
rows = dataset.table[dataset.table.split == "test"]
expected = data.load(dataset, rows).sum()
(cached,) = runs.cache_dir().iterdir()
cached.write_bytes(npy("(1000000000, 150, 150, 1)"))
assert data.load(dataset, rows).sum() == expected
(folder / "state.npz").write_bytes(archived(v0=npy("(1000000000000,)", "<f4")))
(folder / "deep.json").write_text("[" * 10_000_000)
for greedy in (lambda: train._read_state(folder / "state.npz", stand_in([1.0])), lambda: runs.read_json(folder / "deep.json")):
    try:
        greedy()
    except InputError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads its own size from /proc")
def test_what_claims_to_be_huge_is_refused_within_256_mib(tiny_folder, tmp_path):
    """A cache of 22 TB, a state of 4 TB, JSON of ten million levels. (Images: test_odd_images.py.)"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    line = [sys.executable, "-c", GREEDY, str(tmp_path), str(tiny_folder)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [said.split(";")[0].split(":")[0] for said in done.stdout.splitlines()] == [
        f"Cannot go on from {tmp_path / 'state.npz'}", f"Cannot read {tmp_path / 'deep.json'}"]  # fmt: skip
