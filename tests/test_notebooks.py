"""The notebooks reproduce what they state.

Two ways. *Replay*, which every clone can do: papermill executes the series on the demo dataset with small parameters,
then nbval executes the results again and demands the same text in every checked cell. *Committed*, where PNLIB_DATA
names the published X-rays: nbval executes the committed notebooks as they are, training included, and compares.

Pictures are compared as pictures (nbval_pictures.py). All that depends on nbval is in this file and in that one.
"""

import base64
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import nbval_pictures
import pytest
from conftest import REAL_DATA, on_the_published, replayed
from nbclient import NotebookClient

from pnlib import cli, data, demo, runs

# What nbval must not compare is tagged in the notebooks; the reason stands here, and a test holds both lists together.
EXEMPT = {
    "01_explore": {"print(dataset.describe())": "names the edition", "sizes[\"aspect ratio\"]": "original sizes differ by edition"},
    "02_augment": {"print(dataset.describe())": "names the edition"},
    "03_model": {"print(dataset.describe())": "names the edition"},
    "04_train": {"print(dataset.describe())": "names the edition", "train.fit(": "seconds an epoch", "kept epoch:": "measured figures", "shift.judge(": "measured figures"},
    "06_study": {},
    "05_evaluate": {
        "print(dataset.describe())": "names the edition", "chosen threshold:": "measured figures", "results.round": "measured figures",
        "95 % interval": "measured figures", "at = {": "measured figures", "by_kind, by_framing": "measured figures", "gap = gap": "measured figures",
        "review.at_fixed": "measured figures", "expected calibration error": "measured figures", "strict = evaluate": "measured figures",
        "review.gap": "measured figures", "mcnemar": "measured figures",
    },
}  # fmt: skip

# Pictures of what a training gave differ in details from processor to processor; that they are drawn is checked.
MEASURED_PICTURES = {"04_train": 3, "05_evaluate": 12}


def published() -> bool:
    return REAL_DATA not in ("", "demo") and data.find(str(runs.resolve(REAL_DATA))).is_published


def execute(*arguments: str, environment: dict) -> None:
    line = [sys.executable, "-m", "pnlib.cli", "run", *arguments]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def nbval(notebook: Path, environment: dict) -> None:
    """Every code cell of the notebook must pass nbval, strictly; cells can't drop out unseen."""
    line = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "--nbval-cell-timeout", "3000", "-q",
            "-p", "no:cacheprovider", "-p", "nbval_pictures", "--rootdir", str(notebook.parent), str(notebook)]  # fmt: skip
    environment = environment | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), environment.get("PYTHONPATH", "")])
    }
    done = subprocess.run(line, env=environment, capture_output=True, text=True, cwd=notebook.parent, timeout=3300)
    cells = sum(cell.cell_type == "code" for cell in nbformat.read(notebook, 4).cells)
    counted = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0 and counted and int(counted[1]) == cells, done.stdout[-6000:] + done.stderr[-2000:]


def environment_of(folder: Path, data_folder: str) -> dict:
    return os.environ | {
        "PNLIB_RUNS": str(folder / "runs"),
        "PNLIB_CACHE": str(folder / "cache"),
        "PNLIB_DATA": data_folder,
    }


@pytest.fixture(scope="module")
def replay(tmp_path_factory):
    """The series, executed by papermill on half as many images as the demo has. While 01 to 04 run, the test images are
    empty files: whoever reads a pixel of them fails."""
    folder = tmp_path_factory.mktemp("replay")
    dataset = folder / "data"
    dataset.mkdir()
    demo.make(dataset, counts={part: number // 2 for part, number in demo.COUNTS.items()})
    images = {path: path.read_bytes() for path in (dataset / "test").rglob("*.jpeg")}
    environment = environment_of(folder / "first", str(dataset))
    for path in images:
        path.write_bytes(b"")
    for name in cli.NOTEBOOKS[:4]:
        execute("--only", name, *(["-p", "epochs", "2"] if name == "04_train" else []), environment=environment)
    for path, content in images.items():
        path.write_bytes(content)
    execute("--only", "05_evaluate", "-p", "resamples", "200", environment=environment)
    return folder, str(dataset)


@replayed
@pytest.mark.parametrize("name", cli.NOTEBOOKS)
def test_replay_on_the_demo(replay, name):
    """A second execution, in another run folder, prints the same: the whole series is deterministic."""
    folder, dataset = replay
    executed = folder / "first" / "runs" / "default" / "notebooks" / f"{name}.ipynb"
    nbval(executed, environment_of(folder / "second", dataset))


# All at once: what each does alone is in test_learning.py and test_data.py, here it is about the notebook.
VARIANT = {"epochs": 1, "augmentation": "none", "balancing": "weights", "keep": "best", "seed": 7}


@replayed
def test_what_a_class_will_try_replays_too(replay, tmp_path):
    """Other parameters of 04: executed once, then replayed strictly; no claim is made about them."""
    options = [word for parameter in VARIANT.items() for word in ("-p", *map(str, parameter))]
    execute(
        "--only", "04_train", "--name", "variant", *options, environment=environment_of(tmp_path / "first", replay[1])
    )
    executed = tmp_path / "first" / "runs" / "variant" / "notebooks" / "04_train.ipynb"
    text = executed.read_text(encoding="utf-8")
    assert "not checked" in text and ": holds" not in text
    nbval(executed, environment_of(tmp_path / "second", replay[1]))


@replayed
def test_the_demo_run_says_that_it_is_one(replay):
    folder = replay[0] / "first" / "runs" / "default"
    for name in cli.NOTEBOOKS:
        assert "DEMO DATA" in (folder / "notebooks" / f"{name}.html").read_text(), name
    assert {f.name for f in (folder / "figures").iterdir()} == {"normal.png", "pnm.png", "index.png"}
    metrics = runs.read_json(folder / "evaluate" / "metrics.json")
    assert metrics["images"] == 99 and 0 < metrics["metrics"]["auroc"][0] < 1
    assert all(low <= value <= high for value, low, high in metrics["metrics"].values())


@pytest.fixture(scope="module")
def second_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("committed")


if published():

    @on_the_published
    @pytest.mark.parametrize("name", cli.NOTEBOOKS)
    def test_committed_notebooks_on_the_published_images(second_folder, name):
        """Strict, from nothing: 04 trains anew, 05 evaluates what it trained."""
        nbval(runs.root() / "notebooks" / f"{name}.ipynb", environment_of(second_folder, str(runs.resolve(REAL_DATA))))

    def test_the_stored_weights_give_the_headline(tmp_path):
        """make headline-check."""
        line = [sys.executable, str(runs.root() / "benchmarks" / "headline.py"), "--check"]
        environment = environment_of(tmp_path, str(runs.resolve(REAL_DATA)))
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0 and done.stdout.count(": holds") >= 7, done.stdout[-3000:] + done.stderr[-2000:]


@replayed
def test_a_notebook_without_its_predecessor_says_what_to_run(replay, tmp_path):
    environment = environment_of(tmp_path, replay[1])
    line = [sys.executable, "-m", "pnlib.cli", "run", "--only", "05_evaluate"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "run 04_train with run='default' first" in done.stderr


@replayed
def test_papermills_own_line_works_from_both_places(replay, tmp_path):
    """From notebooks/ and from the project's root: the same pictures in the same place, relative folders included."""
    here = runs.root()
    relative = os.path.relpath(tmp_path, here)
    pictures = []
    for folder in ("notebooks", "."):
        source = os.path.relpath(here / "notebooks" / "01_explore.ipynb", here / folder)
        line = [
            sys.executable,
            "-m",
            "papermill",
            source,
            str(tmp_path / "out.ipynb"),
            "-p",
            "seed",
            "3",
            "-p",
            "run",
            "line",
        ]
        environment = environment_of(tmp_path, os.path.relpath(replay[1], here)) | {"PNLIB_RUNS": f"{relative}/runs"}
        done = subprocess.run(line, env=environment, cwd=here / folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        written = tmp_path / "runs" / "line" / "figures"
        pictures.append({file.name: file.read_bytes() for file in written.iterdir()})
        shutil.rmtree(written)
    assert pictures[0] == pictures[1] and set(pictures[0]) == {"normal.png", "pnm.png", "index.png"}


# --- the committed files


def committed(name):
    return nbformat.read(runs.root() / "notebooks" / f"{name}.ipynb", 4)


def speaks(cell) -> bool:
    """Whether a code cell prints, states a claim or ends in a figure."""
    return bool(re.search(r"^(    )?(print|claims\.check|\w*plots\.\w+)\(", cell.source, re.M))


ALL = (*cli.NOTEBOOKS, cli.SUPPLEMENT)


def test_the_supplement_reproduces_what_it_states(tmp_path):
    """06 reads committed tables only, so it is checked strictly everywhere."""
    nbval(runs.root() / "notebooks" / f"{cli.SUPPLEMENT}.ipynb", environment_of(tmp_path, "demo"))


@pytest.mark.parametrize("name", ALL)
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
    text = (runs.root() / "notebooks" / f"{name}.ipynb").read_text()
    assert not re.search(r"(?<![\w.:/])/(home|root|work|tmp|Users|farm)/", text), "a path of some machine"
    assert "papermill" not in book.metadata and not any("papermill" in cell.metadata for cell in book.cells)


@pytest.mark.parametrize("name", ALL)
def test_exempt_cells_are_the_ones_with_a_reason(name):
    exempt = [c for c in committed(name).cells if "nbval-ignore-output" in c.metadata.get("tags", [])]
    reasons = EXEMPT[name]
    assert len(exempt) == len(reasons)
    for mark in reasons:
        assert sum(mark in cell.source for cell in exempt) == 1, mark
    tags = {tag for cell in committed(name).cells for tag in cell.metadata.get("tags", [])}
    assert tags <= {"parameters", "nbval-ignore-output", nbval_pictures.MEASURED}
    measured = [c for c in committed(name).cells if nbval_pictures.MEASURED in c.metadata.get("tags", [])]
    assert len(measured) == MEASURED_PICTURES.get(name, 0)
    assert all(
        "text" not in o and set(o.get("data", ())) == {"image/png", "text/plain"} for c in measured for o in c.outputs
    )


@pytest.mark.parametrize("name", ALL)
def test_each_notebook_has_its_parts(name):
    cells = committed(name).cells
    assert re.match(rf"# {name[:2]} · ", cells[0].source) and "**The question:**" in cells[0].source
    assert "no medical device" in cells[0].source
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for part in (
        "What you will learn",
        "What it needs",
        "What it leaves behind",
        "## What to remember",
        "## Exercises",
        "<details>",
    ):
        assert part in prose, part


def test_committed_claims_hold():
    """Measured claims hold as committed; the founding figures may not, and the page says so."""
    for name in cli.NOTEBOOKS:
        for cell in committed(name).cells:
            for output in cell.get("outputs", []):
                for line in output.get("text", "").splitlines():
                    if " ± " in line:
                        assert line.endswith(": holds") or line.startswith("founding "), line


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
        assert "has colour on 0.0" in nbval_pictures.differ_in_kind(stated, nothing)
    for name in MEASURED_PICTURES:
        for cell in committed(name).cells:
            if nbval_pictures.MEASURED in cell.metadata.get("tags", []):
                (shown,) = nbval_pictures.pictures(cell.outputs)
                assert "colour" in nbval_pictures.differ_in_kind(shown, drawn([])), cell.source


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


@pytest.mark.parametrize("name", ALL)
def test_no_committed_picture_is_empty(name):
    figures = [
        picture for cell in committed(name).cells for picture in nbval_pictures.pictures(cell.get("outputs", []))
    ]
    assert figures
    assert not any(map(nbval_pictures.is_empty, figures))


def test_notebooks_together_are_small_enough():
    assert sum(f.stat().st_size for f in (runs.root() / "notebooks").glob("*.ipynb")) < 12_000_000
