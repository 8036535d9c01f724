"""The committed notebooks: whole, executed in order, with reasons for what nbval does not compare. That they reproduce what
they state: test_replay.py on the demo, test_published.py on the published X-rays."""

import base64
import contextlib
import io
import re

import matplotlib.pyplot as plt
import nbformat
import nbval_pictures
import pytest
from executing import environment_of, nbval
from nbclient import NotebookClient

from pnlib import exercises
from pnlib.base import paths
from pnlib.runner import NOTEBOOKS

# What nbval must not compare is tagged in the notebooks; the reason stands here, and a test holds both lists together.
EDITION = {"print(dataset.describe())": "names the edition of the dataset"}
EXEMPT = {
    "01_explore": EDITION,
    "02_augment": EDITION,
    "03_model": EDITION,
    "04_train": EDITION | {
        "sketch.fit(": "a training: processors add up in different orders",
        "pnlib.train(": "seconds per epoch",
        "stress_summary(stressed)": "a training",
        "plain[\"auroc random\"]": "a training",
    },
    "05_evaluate": EDITION,
    "06_review": EDITION,
    "07_study": {},
    "08_predict": EDITION | {"ask(page.answer": "heat maps inside an answer in HTML"},
    "09_external": EDITION,
}  # fmt: skip

# Pictures of what a network says differ in details from processor to processor; that they are drawn is checked.
MEASURED_PICTURES = {"04_train": 3, "05_evaluate": 4, "06_review": 5, "08_predict": 1, "09_external": 1}
CELLS, WORDS = 30, 1200  # of one sitting, the exercises apart


def committed(name, folder="notebooks"):
    return nbformat.read(paths.root() / folder / f"{name}.ipynb", 4)


def speaks(cell) -> bool:
    """Whether a code cell prints, states a claim or ends in a figure."""
    return bool(re.search(r"^(    )?(print|slider|ask|pnlib\.check_claim|\w*plots\.\w+)\(", cell.source, re.M))


def lesson_and_exercises(name):
    """Cells before the exercises, and from them on."""
    cells = committed(name).cells
    (first,) = [i for i, cell in enumerate(cells) if "## Exercises" in cell.source]
    return cells[: first + 1], cells[first:]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_committed_notebooks_are_executed_in_order_and_clean(name):
    book = committed(name)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert not speaks(cell) or cell.outputs, f"stripped: {cell.source}"
        assert len(cell.source.splitlines()) <= 12 or "parameters" in cell.metadata.get("tags", []), cell.source
        kinds = [(o.output_type, o.get("name")) for o in cell.outputs]
        assert ("stream", "stderr") not in kinds and "error" not in [k for k, _ in kinds]
        assert len([k for k in kinds if k[0] == "stream"]) <= 1, "pieces of one stream"
        assert "NBVAL" not in cell.source, "use tags"
    text = (paths.root() / "notebooks" / f"{name}.ipynb").read_text()
    assert not re.search(r"(?<![\w.:/])/(home|root|work|tmp|Users|farm)/", text), "a path of some machine"
    assert "widget-view" not in text, "a widget without its kernel shows an error"
    assert "papermill" not in book.metadata and not any("papermill" in cell.metadata for cell in book.cells)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_exempt_cells_are_the_ones_with_a_reason(name):
    exempt = [c for c in committed(name).cells if "nbval-ignore-output" in c.metadata.get("tags", [])]
    reasons = EXEMPT[name]
    assert len(exempt) == len(reasons)
    for mark in reasons:
        assert sum(mark in cell.source for cell in exempt) == 1, mark
    tags = {tag for cell in committed(name).cells for tag in cell.metadata.get("tags", [])}
    assert tags <= {"parameters", "nbval-ignore-output", nbval_pictures.MEASURED, "page"}
    measured = [c for c in committed(name).cells if nbval_pictures.MEASURED in c.metadata.get("tags", [])]
    assert len(measured) == MEASURED_PICTURES.get(name, 0)
    assert all(
        "text" not in o and set(o.get("data", ())) == {"image/png", "text/plain"} for c in measured for o in c.outputs
    )


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_each_notebook_has_its_parts_and_fits_one_sitting(name):
    lesson, exercise_cells = lesson_and_exercises(name)
    assert re.match(rf"# {name[:2]} · ", lesson[0].source) and "**The question:**" in lesson[0].source
    words = [cell.source for cell in [*lesson, *exercise_cells[1:]] if cell.cell_type == "markdown"]
    prose = "\n".join(words)
    assert prose.count("medical device") == 1, "said once, at the top"
    for part in (
        "What you will learn",
        "What it needs",
        "What it leaves behind",
        "**Predict first.**",
        "## What to remember",
    ):
        assert part in prose, part
    assert f"solutions/{name}_solutions.ipynb" in prose and "glossary.md" in prose
    assert len(prose.split()) <= WORDS and len(lesson) <= CELLS, (len(prose.split()), len(lesson))


def test_each_exercise_is_asked_unanswered_and_solved():
    """The notebook asks and shows no answer; the solution is right; nothing is asked that can't be checked."""
    asked = []
    for name in NOTEBOOKS:
        calls = [c for c in lesson_and_exercises(name)[1] if "pnlib.exercises.check(" in c.source]
        numbers = [re.search(r'check\("([\d.]+)"', c.source)[1] for c in calls]
        assert len(numbers) >= 3 and [c.outputs[0].text for c in calls] == [f"{n}: no answer yet.\n" for n in numbers]
        solved = "".join(
            output.get("text", "")
            for cell in committed(f"{name}_solutions", "notebooks/solutions").cells
            for output in cell.get("outputs", [])
        )
        assert [f"{n}: right." for n in numbers] == re.findall(r"[\d.]+: right\.", solved), name
        asked += numbers
    assert asked == list(exercises.EXERCISES)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_solutions_run_and_say_what_they_said(name, monkeypatch):
    monkeypatch.setenv("PNLIB_DATA", "demo")
    monkeypatch.chdir(paths.root() / "notebooks" / "solutions")
    names: dict = {}
    for cell in committed(f"{name}_solutions", "notebooks/solutions").cells:
        if cell.cell_type == "code":
            with contextlib.redirect_stdout(io.StringIO()) as said:
                exec(compile(cell.source, cell.id, "exec"), names)
            assert said.getvalue() == "".join(output.text for output in cell.outputs), cell.source


def test_the_supplement_on_studies_reproduces_what_it_states(tmp_path):
    """It reads committed tables only, so it is checked strictly everywhere."""
    nbval(paths.root() / "notebooks" / "07_study.ipynb", environment_of(tmp_path, "demo"))


def test_committed_claims_hold():
    for name in NOTEBOOKS:
        for cell in committed(name).cells:
            for output in cell.get("outputs", []):
                for line in output.get("text", "").splitlines():
                    assert " ± " not in line or line.endswith(": holds"), line


def test_a_claim_is_compared_by_its_verdict(tmp_path):
    """Another measured value passes where the verdict is the same, and fails where it isn't."""
    cell = nbformat.v4.new_code_cell('print("accuracy: measured 0.913, stated 0.91 ± 0.03: holds")')
    book = nbformat.v4.new_notebook(cells=[cell])
    path, environment = tmp_path / "claim.ipynb", environment_of(tmp_path, "demo")
    NotebookClient(book).execute()
    cell.source = cell.source.replace("0.913", "0.905")
    nbformat.write(book, path)
    nbval(path, environment)
    cell.source = cell.source.replace("holds", "does not hold")
    nbformat.write(book, path)
    with pytest.raises(AssertionError, match="does not hold"):
        nbval(path, environment)


def drawn(bars, colour="C0", **style):
    """A bar chart as a notebook holds it: base64 PNG."""
    with plt.rc_context(style):
        figure, axis = plt.subplots(figsize=(6, 3))
        axis.bar(range(len(bars)), bars, color=colour)
        axis.set(ylim=(0, 100), title="how many", xlabel="class")
        content = io.BytesIO()
        figure.savefig(content, format="png")
        plt.close(figure)
    return base64.b64encode(content.getvalue()).decode()


def test_pictures_are_compared_by_what_they_show():
    stated = drawn([80, 30, 50])
    for style in ({"font.family": "DejaVu Serif"}, {"text.hinting": "none"}, {"savefig.dpi": 110}):
        assert nbval_pictures.differ(stated, drawn([80, 30, 50], **style)) == "", style
    for bars, colour in (([80, 35, 50], "C0"), ([30, 80, 50], "C0"), ([80, 30, 50], "C1"), ([], "C0")):
        assert "differs" in nbval_pictures.differ(stated, drawn(bars, colour)), bars


def test_a_measured_picture_may_show_other_figures_but_not_none():
    stated = drawn([80, 30, 50])
    assert nbval_pictures.differ_in_kind(stated, drawn([60, 50, 70])) == ""
    for nothing in (drawn([]), drawn([80, 30, 50], "white")):
        assert nbval_pictures.differ_in_kind(stated, nothing)
    for name in MEASURED_PICTURES:
        for cell in committed(name).cells:
            if nbval_pictures.MEASURED in cell.metadata.get("tags", []):
                (shown,) = nbval_pictures.pictures(cell.outputs)
                assert nbval_pictures.differ_in_kind(shown, drawn([])), cell.source


def test_nbval_compares_pictures_and_a_changed_one_fails(tmp_path):
    """A notebook whose figure was swapped for another passes plain nbval, and fails here."""
    draw = "import matplotlib.pyplot as plt\nfigure, axis = plt.subplots(figsize=(6, 3))\naxis.bar([0, 1, 2], [{}, 30, 50])\n"
    show = nbformat.v4.new_code_cell(draw.format(80) + "plt.close(figure)\nfigure")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%matplotlib inline"), show])
    path, environment = tmp_path / "figure.ipynb", environment_of(tmp_path, "demo")
    NotebookClient(book).execute()
    nbformat.write(book, path)
    nbval(path, environment)
    show.source = show.source.replace("[80,", "[40,")
    nbformat.write(book, path)
    with pytest.raises(AssertionError, match="the picture differs from the stated one"):
        nbval(path, environment)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_committed_picture_is_empty(name):
    figures = [
        picture for cell in committed(name).cells for picture in nbval_pictures.pictures(cell.get("outputs", []))
    ]
    assert figures
    assert not any(map(nbval_pictures.is_empty, figures))


def test_notebooks_together_are_small_enough():
    assert sum(f.stat().st_size for f in (paths.root() / "notebooks").glob("*.ipynb")) < 12_000_000
