"""The files around the library agree with each other."""

import csv
import re
import tomllib

import pytest
import yaml
from PIL import Image

from pnlib import claims, cli, evaluate, notebooks, runs

HERE = runs.root()
PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
README = (HERE / "README.md").read_text()


def test_the_eight_packages_are_declared():
    declared = {re.split(r"[<>=!~ \[]", line)[0].lower() for line in PROJECT["dependencies"]}
    assert {
        "jupyterlab",
        "tensorflow",
        "numpy",
        "matplotlib",
        "seaborn",
        "scikit-learn",
        "papermill",
        "nbval",
    } <= declared
    assert all(">=" in line and "<" not in line for line in PROJECT["dependencies"]), (
        "lower bounds; no upper one is known to be needed"
    )


def test_every_import_is_declared():
    """What the library and its checks import, and no transitive luck."""
    names = {"sklearn": "scikit-learn", "PIL": "pillow", "yaml": "pyyaml", "IPython": "ipython"}
    import sys

    ours = {"pnlib", *(f.stem for f in (HERE / "tests").glob("*.py"))}
    found = set()
    for file in (f for folder in ("pnlib", "tests", "benchmarks") for f in (HERE / folder).glob("*.py")):
        found |= set(re.findall(r"^\s*(?:import|from) (\w+)", file.read_text(), re.M))
    outside = {names.get(n, n) for n in found if n not in sys.stdlib_module_names and n not in ours}
    declared = {re.split(r"[<>=!~ \[]", line)[0].lower() for line in PROJECT["dependencies"]}
    assert outside <= declared, outside - declared


def test_environment_yml_installs_pyproject():
    environment = yaml.safe_load((HERE / "environment.yml").read_text())
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    assert f"python{PROJECT['requires-python']}" in conda and "pip" in conda
    assert pip == ["--editable ."], "Python packages are declared in pyproject.toml only"


@pytest.mark.parametrize("name", ["normal", "pnm", "index"])
def test_pictures_of_the_readme(name):
    with Image.open(HERE / "nb_images" / f"{name}.png") as image:
        image.load()
        assert image.width > 400
    assert f"nb_images/{name}.png" in README


def test_readme_says_what_it_must():
    for words in ("make run", "make test", "papermill 04_train.ipynb out.ipynb -p epochs 20", "CC BY 4.0", "rscbjbr9sj", "medical device",
                  "python benchmarks/seeds.py", *cli.NOTEBOOKS):  # fmt: skip
        assert words in README, words
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (HERE / target).exists(), f"README links to {target}"


def test_readme_results_are_those_of_the_seeds():
    """Each figure in the README's table is computed from benchmarks/seeds.csv."""
    with open(HERE / "benchmarks" / "seeds.csv") as file:
        seeds = list(csv.DictReader(file))
    assert len(seeds) >= 5
    for column in evaluate.METRICS:
        values = [float(row[column]) for row in seeds]
        mean = sum(values) / len(values)
        spread = (sum((v - mean) ** 2 for v in values) / (len(values) - 1)) ** 0.5
        name = {"auroc": "AUROC", "auprc": "AUPRC", "brier": "Brier score"}.get(column, column.replace("_", " "))
        interval = " to ".join(f"{float(seeds[0][f'{column}_{end}']):.3f}" for end in ("low", "high"))
        words = rf"\| {name} \|[ .\d]*\| {interval} \| {mean:.3f} ± {spread:.3f} \| {min(values):.3f} to {max(values):.3f} \|"
        assert re.search(words, README), words


def test_stated_figures_have_a_source_and_come_from_the_seeds():
    stated = claims.stated()
    assert all(set(entry) == {"value", "tolerance", "source"} and entry["source"] for entry in stated.values())
    with open(HERE / "benchmarks" / "seeds.csv") as file:
        seeds = list(csv.DictReader(file))
    measured = {n: e for n, e in stated.items() if not n.startswith("founding ")}
    columns = {"validation AUROC": "validation_auroc", "AUROC of framing alone on validation": "framing_auroc_validation",
               "AUROC of framing alone on test": "framing_auroc_test"}  # fmt: skip
    for name, entry in measured.items():
        values = [float(row[columns.get(name, name.removeprefix("test "))]) for row in seeds]
        assert float(entry["value"]) == pytest.approx(sum(values) / len(values), abs=0.006)
        assert all(abs(v - float(entry["value"])) <= float(entry["tolerance"]) for v in values), name
        assert "seeds.py" in entry["source"]


def test_stated_results_hold_for_the_defaults_of_04():
    defaults = {n: p["default"].strip("\"'") for n, p in notebooks.parameters("04_train").items()}
    assert set(runs.STATED_FOR) == set(defaults) - {"seed", "data", "run"}
    assert all(str(value) == defaults[name] for name, value in runs.STATED_FOR.items())
    assert runs.as_stated(runs.STATED_FOR | {"seed": 3}) and not runs.as_stated(runs.STATED_FOR | {"epochs": 1})
    assert not runs.as_stated({})


def test_ci_calls_make_test():
    assert "make test" in (HERE / ".ci" / "run").read_text()
