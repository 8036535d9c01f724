"""Values that nobody thought of: Hypothesis draws them. Whatever they are, the answer is right or an InputError.

    pytest tests/core/test_fuzz*.py                              # the same few examples per test each time
    pytest tests/core/test_fuzz*.py --hypothesis-profile=long    # 1,000 new ones; prints the example that fails

What fuzzing found, and the library then mended, is an `@example`. Bytes of files: test_fuzz_files.py.
"""

import contextlib
import fractions
import io
import json
import math
import os
import tempfile
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fuzzing import JUNK, input_error_only, mutated
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from papermill.translators import papermill_translators

import pnlib
from pnlib import TrainConfig, claims
from pnlib.base import paths
from pnlib.config import PARAMETERS
from pnlib.datasets import index, names, rows_of_run
from pnlib.runner import commands, notebooks
from pnlib.studies import grid

# --- index and names

STEMS = st.text(st.characters(exclude_characters="/\0", exclude_categories=()), min_size=1, max_size=40)
KNOWN = st.from_regex(names.VERSION_2, fullmatch=True) | st.from_regex(names.VERSION_3, fullmatch=True)
NAMES = st.builds(lambda stem, end: stem + end, STEMS | KNOWN, st.sampled_from([".jpeg", ".JPG", ".png", ".txt", ""]))


@given(stem=STEMS | KNOWN, label=st.integers(0, 1))
def test_any_name_has_a_patient_and_a_subtype(stem, label):
    patient, subtype, known = names.parse_name(stem, label)
    if known:
        assert subtype in ("bacteria", "virus", "none")
        version_3 = patient.startswith("patient")
        assert f"-{patient.removeprefix('patient')}-" in stem if version_3 else stem.startswith(patient)
    else:
        assert (patient, subtype) == (stem, ("none", "unknown")[label])


def can_be_stored(name: str) -> bool:
    try:
        return len(os.fsencode(name)) <= 250 and name not in (".", "..")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return False


@given(names=st.lists(NAMES.filter(can_be_stored), max_size=8, unique=True))
@example(names=["a\nb.jpeg"])  # two lines in every message, and in index.csv
@example(names=["a\udcff.jpeg"])  # a byte that is no UTF-8: no hash, no index.csv
@example(names=["NA.jpeg", "null.png", "007.jpeg", '",",.jpeg', "=1+1.png", "'.jpeg", "a\xa0b.jpeg"])
def test_an_index_lists_every_image_once_and_is_read_back_as_it_was(names):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for part in ("train", "test"):
            for kind, first in (("NORMAL", "IM-0001-0001.jpeg"), ("PNEUMONIA", "person1_virus_1.jpeg")):
                (root / part / kind).mkdir(parents=True)
                for name in {first, *(names if part == "train" else [])}:
                    (root / part / kind / name).touch()
        with input_error_only():
            table = index.index(root)
            expected = sorted({"IM-0001-0001.jpeg", *(n for n in names if index.is_image(n) and n[0] != ".")})
            normals = table[(table.folder == "train") & (table.label == 0)]
            assert sorted(normals.path.str.removeprefix("train/NORMAL/")) == expected
            assert table[~table.known].patient.is_unique, "a name of unknown pattern is a patient of its own"
            rows = table[table.folder == "train"].drop(columns="folder").assign(part="train")
            (root / "index.csv").write_text(rows.to_csv(index=False), encoding="utf-8", newline="")
            again = rows_of_run(types.SimpleNamespace(table=table, root=root), root, "train")
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
        split = pnlib.split_by_patient(table, validation, seed)
        assert len(split) == len(rows) + 1 and set(split.part[split.split == "test"]) == {"test"}
        sides = split[split.split == "train"].groupby("part")
        held, rest = sides.get_group("validation"), sides.get_group("train")
        assert not set(held.patient) & set(rest.patient)
        assert set(held.label) == set(rest.label) == {0, 1}
        assert split.equals(pnlib.split_by_patient(table, validation, seed))


# --- metrics

TIED = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1)
PAIRS = st.lists(st.tuples(st.integers(0, 1), TIED), min_size=1, max_size=25)


def table_of(pairs, **columns) -> pd.DataFrame:
    """A predictions table of (label, probability)."""
    labels, probabilities = (pd.Series([pair[i] for pair in pairs]) for i in (0, 1))
    return pd.DataFrame({"label": labels, "probability": probabilities, **columns})


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


@given(pairs=PAIRS, threshold=TIED)
@example(pairs=[(0, 0.5), (1, 0.5), (1, 0.5)], threshold=0.5)  # all equal
@example(pairs=[(0, 1.0), (1, 0.0)], threshold=0.5)  # all wrong
@example(pairs=[(1, 0.3), (1, 0.7)], threshold=0.5)  # one class
def test_metrics_are_what_their_definitions_say(pairs, threshold):
    with input_error_only():
        assert pnlib.metrics(table_of(pairs), threshold) == pytest.approx(by_hand(pairs, threshold), abs=1e-9)
        return
    assert len({label for label, _ in pairs}) == 1, "with both classes there is no reason to refuse"


@given(pairs=PAIRS)
@example(pairs=[(0, 1.0), (1, 0.0)])  # every threshold is worse than calling no image pneumonia
@example(pairs=[(0, 0.5), (1, math.nextafter(0.5, 1))])  # nothing lies between the two
@example(pairs=[(0, 0.0), (1, 5e-324)])
def test_no_threshold_does_better_than_the_operating_point(pairs):
    assume(len({label for label, _ in pairs}) == 2)
    predictions = table_of(pairs)
    threshold = pnlib.operating_point(predictions)

    def youden(at):
        called = predictions.probability >= at
        return called[predictions.label == 1].mean() - called[predictions.label == 0].mean()

    assert youden(threshold) == pytest.approx(max(youden(at) for at in [*predictions.probability, 2.0]))


@given(pairs=st.lists(st.tuples(st.integers(0, 1) | JUNK, TIED | JUNK), max_size=6), threshold=TIED | JUNK)
@example(pairs=[("a", 0.1), ("b", 0.2)], threshold=0.5)
@example(pairs=[(0.5, 0.1), (1.0, 0.2)], threshold=0.5)  # 0.5 is no normal
@example(pairs=[(0, 0.1), (1, 0.2)], threshold=math.nan)
@example(pairs=[(0, 0.1), (1, 0.2)], threshold=10**5000)
@example(pairs=[(0, 0.1), (1, 0.2)], threshold=[10**5000])
@example(pairs=[(0, 0.1), (1, None)], threshold=0.5)
@example(pairs=[(0, [0.1]), (1, 0.2)], threshold=0.5)
@example(pairs=[(0, 0.1), (1, 10**400)], threshold=0.5)
def test_metrics_of_anything_else_are_refused(pairs, threshold):
    predictions = pd.DataFrame({name: pd.Series([pair[i] for pair in pairs], dtype=object) for i, name in enumerate(("label", "probability"))})  # fmt: skip
    with input_error_only():
        got = pnlib.metrics(predictions, threshold)
        assert set(predictions.label.astype(float)) == {0, 1} and all(0 <= value <= 1 for value in got.values())
    with input_error_only():
        assert 0 <= pnlib.operating_point(predictions) <= np.nextafter(1, 2)
    for column in predictions:
        with input_error_only():
            pnlib.metrics(predictions.drop(columns=column))
            pytest.fail("a column is missing")


@given(pairs=PAIRS, patients=st.lists(st.integers(0, 5), min_size=25, max_size=25), resamples=st.integers(-1, 8))
@example(pairs=[(0, 0.2), (1, 0.6)], patients=[0, 1], resamples=0)
@example(pairs=[(1, 0.2), (1, 0.6)], patients=[0, 1], resamples=2)  # waited for a normal without end
def test_intervals_are_in_order(pairs, patients, resamples):
    predictions = table_of(pairs, patient=patients[: len(pairs)])
    with input_error_only():
        table = pnlib.bootstrap(predictions, resamples=resamples)
        assert resamples > 0
        assert ((0 <= table.low) & (table.low <= table.high) & (table.high <= 1)).all()
        assert table.value.to_dict() == pytest.approx(pnlib.metrics(predictions))


STATED = claims.stated_claims()


@given(name=st.sampled_from(sorted(STATED)), measured=st.floats())
@example(name="test accuracy", measured=math.nan)
def test_a_claim_holds_exactly_within_its_tolerance(name, measured):
    value, tolerance = (fractions.Fraction(STATED[name][part]) for part in ("value", "tolerance"))
    for number in (measured, float(value + tolerance), float(value - tolerance), np.float64(measured)):
        right = math.isfinite(number) and abs(fractions.Fraction(repr(float(number))) - value) <= tolerance
        assert claims.claim_holds(name, number) == right


@given(name=st.sampled_from(sorted(STATED)) | st.text(), measured=JUNK)
@example(name="tset accuracy", measured=0.9)
@example(name="test accuracy", measured=10**400)
@example(name="test accuracy", measured=None)
def test_a_claim_about_anything_else_is_refused(name, measured):
    with input_error_only(), contextlib.redirect_stdout(io.StringIO()) as said:
        pnlib.check_claim(name, measured)
        assert name in STATED and said.getvalue().startswith(name)


# --- parameters and settings


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


@given(name=st.sampled_from(sorted(PARAMETERS)), text=TEXTS)
@example(name="augmentation", text="{RandomZoom: {height_factor: 2024-01-02}}")  # a date, which no run can store
@example(name="augmentation", text="{RandomZoom: {height_factor: .nan}}")
@example(name="augmentation", text="{RandomZoom: {height_factor: 2024-13-45}}")
@example(name="augmentation", text="{RandomZoom: {height_factor: 0.1}}")
@example(name="augmentation", text="{RandomZoom: " + "[" * 2000)
@example(name="augmentation", text="{RandomZoom: !!python/object/apply:os.abort []}")
@example(name="epochs", text="9" * 5000)
@example(name="dropout", text="0.25")
@example(name="data", text="'''\n__import__('os').abort()\n'''")
def test_what_is_given_on_the_command_line_reaches_the_notebook_as_it_is(name, text, monkeypatch):
    own = dict.fromkeys(["epochs", "augmentation", "data", "run", "resamples", "settings"], {})
    monkeypatch.setattr(notebooks, "parameters", lambda name: own)
    with input_error_only():
        given = commands.parse_parameters([[name, text]], ["04_train"])
        handed = as_papermill_hands_it_over(notebooks.parameters_for("04_train", given))
        assert handed == (given if name in own else {"settings": given})
        (value,) = given.values()
        json.dumps(value, allow_nan=False)
        kinds = PARAMETERS[name].kinds
        kind = float if float in kinds else kinds[0]
        assert type(value) is kind or (name == "augmentation" and type(value) is dict)
        assert kind is str or value == kind(text)


@given(name=st.sampled_from(sorted(PARAMETERS)) | st.text(), value=JUNK)
@example(name="learning_rate", value=10**400)  # more than any float holds
@example(name="epochs", value=10**5000)  # more digits than Python prints
@example(name="augmentation", value={"RandomZoom": {"height_factor": math.inf}})
@example(name="run", value="a\n")
def test_a_parameter_is_refused_or_can_be_stored(name, value):
    with input_error_only():
        pnlib.check_parameters(**{name: value})
        assert not isinstance(value, bool) and name in PARAMETERS
        if name == "run":
            assert (Path("runs") / value).resolve().parent == Path("runs").resolve(), "no way out of the folder of runs"
        if name in TrainConfig.describe():
            config = TrainConfig(**{name: value})
            stored = json.dumps(config.to_json(), allow_nan=False)
            assert TrainConfig.from_json(json.loads(stored)) == config


GRID = b"""name: small
common: {epochs: 1, batch_size: 16}
configs:
  plain: {augmentation: none}
  wide: {augmentation: {RandomZoom: {height_factor: [-0.3, 0.1]}}}
seeds: [0, 1]
test: false
"""


@settings(max_examples=settings.default.max_examples // 2)
@given(content=mutated(GRID) | st.binary(max_size=60))
@example(content=GRID)
@example(content=GRID.replace(b"small", b"2024-13-45"))  # YAML finds a date in it, and Python no such month
@example(content=GRID.replace(b"{epochs: 1, batch_size: 16}", b"epochs"))
@example(content=GRID.replace(b"{augmentation: none}", b"none"))
@example(content=GRID.replace(b"16", b"9" * 5000))
@example(content=b"[" * 5000)
@example(content=GRID.replace(b"small", b"!!python/object/apply:os.abort []"))
def test_a_study_is_read_or_refused(content, tiny, tmp_path):
    (tmp_path / "study.yaml").write_bytes(content)
    with input_error_only():
        plan = grid.read_study(tmp_path / "study.yaml", tiny)
        assert plan.trials and plan.folder.parent == paths.runs_dir() / "studies"
        for trial in plan.trials:
            TrainConfig(**trial.settings)
        return
    assert content != GRID
