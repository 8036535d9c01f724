"""The files around the library agree with each other."""

import ast
import csv
import dataclasses
import json
import re
import shutil
import statistics
import subprocess
import sys
import tomllib

import executed
import mutants
import numpy as np
import pandas as pd
import prose
import pytest
import yaml
from PIL import Image

import pnlib
from pnlib import claims
from pnlib.base import paths
from pnlib.base.errors import InputError
from pnlib.classifier import Classifier
from pnlib.config import PARAMETERS, TrainConfig
from pnlib.evaluation import METRICS
from pnlib.runner import NOTEBOOKS, notebooks
from pnlib.training import seed_everything

HERE = paths.root()
PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
README, RESULTS, COMPARISON = (
    (HERE / name).read_text(encoding="utf-8") for name in ("README.md", "docs/results.md", "docs/comparison.md")
)


def test_the_eight_packages_are_declared():
    extras = [line for extra in PROJECT["optional-dependencies"].values() for line in extra]
    declared = {re.split(r"[<>=!~ \[]", line)[0].lower() for line in PROJECT["dependencies"] + extras}
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
    names = {
        "sklearn": "scikit-learn",
        "PIL": "pillow",
        "yaml": "pyyaml",
        "IPython": "ipython",
        "jupyter_client": "jupyter-client",
        "cv2": "opencv-python-headless",
        "xdist": "pytest-xdist",
        "ai_edge_litert": "ai-edge-litert",
    }

    ours = {"pnlib", *(f.stem for folder in ("tests", "benchmarks") for f in (HERE / folder).rglob("*.py"))}
    found = set()
    for file in (f for folder in ("pnlib", "tests", "benchmarks") for f in (HERE / folder).rglob("*.py")):
        if file.parent.name == "peers":  # benchmarks/peers/requirements.txt
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module.split(".")[0])
    outside = {names.get(n, n) for n in found if n not in sys.stdlib_module_names and n not in ours}
    extras = [line for extra in PROJECT["optional-dependencies"].values() for line in extra]
    declared = {re.split(r"[<>=!~ \[]", line)[0].lower() for line in PROJECT["dependencies"] + extras}
    assert outside <= declared, outside - declared


def test_environment_yml_installs_pyproject():
    environment = yaml.safe_load((HERE / "environment.yml").read_text())
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    assert f"python{PROJECT['requires-python']}" in conda and "pip" in conda
    assert pip == ["--editable .[transfer,export,page,dev]"], "Python packages are declared in pyproject.toml only"


@pytest.mark.parametrize("name", ["normal", "pnm", "index", "promise"])
def test_pictures(name):
    with Image.open(HERE / "nb_images" / f"{name}.png") as image:
        image.load()
        assert image.width > 400
    page = README if name == "promise" else (HERE / "docs" / "original.md").read_text(encoding="utf-8")
    assert f"nb_images/{name}.png" in page


def test_the_readme_is_short_and_has_one_picture():
    assert README.count("\n") <= 150 and README.count("![") == 1


def test_the_table_of_executed_notebooks_is_that_of_the_notebooks():
    assert executed.PART.search(README)[0] == executed.table(), "write it anew: python tests/project/executed.py"
    assert all(held == all_ for held, all_ in re.findall(r"(\d+) of (\d+) \|", executed.table()))


def test_readme_says_what_it_must():
    for words in ("make run", "make test", "papermill 04_train.ipynb out.ipynb -p epochs 20", "CC BY 4.0", "rscbjbr9sj", "medical device",
                  "make headline", "make slides", "docs/teaching.md", *NOTEBOOKS):  # fmt: skip
        assert words in README, words
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (HERE / target).exists(), f"README links to {target}"


def results(name):
    with open(HERE / "studies" / f"{name}.csv") as file:
        return list(csv.DictReader(file))


HEADLINE = json.loads((HERE / "models" / "reference" / "headline.json").read_text())
MODELS = [row["model"] for row in HEADLINE]


WORDS = {"auroc": "AUROC", "auprc": "AUPRC", "brier": "Brier score", "f1": "F1", "macro_f1": "macro F1"}


@pytest.mark.parametrize("name", MODELS)
def test_the_tables_of_results_are_those_of_the_study(name):
    """Each mean, spread, range and interval in docs/results.md, and in the README, is computed from studies/NAME.csv."""
    seeds, full = results(name), (HERE / "docs" / "results.md").read_text(encoding="utf-8")
    assert len(seeds) >= 5
    (short,) = re.findall(rf"^\| `{name}`, \d+ epochs, stored \|.*$", README, re.M)
    median = sorted(seeds, key=lambda s: (float(s["auroc random"]), int(s["seed"])))[len(seeds) // 2]
    for column in METRICS:
        values = [float(row[f"test {column}"]) for row in seeds]
        mean = f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"
        low, high = (float(median[f"test {column} {end}"]) for end in ("low", "high"))
        interval = f"{float(median[f'test {column}']):.3f} ({low:.3f} to {high:.3f})"
        row = re.search(rf"^\| {WORDS.get(column, column.replace('_', ' '))} \|.*$", full, re.M)[0]
        assert f"| {mean} | {min(values):.3f} to {max(values):.3f} | {interval} |" in row, row
        if column in ("accuracy", "macro_f1", "sensitivity", "specificity", "auroc"):
            assert mean in short, short
        if column in ("accuracy", "auroc"):
            (own,) = re.findall(rf"^\| this series, `{name}` \|.*$", COMPARISON, re.M)
            assert mean in own, own


@pytest.mark.parametrize("row", HEADLINE, ids=MODELS)
def test_the_headline_is_that_of_the_study_and_of_the_stored_weights(row):
    seeds, place = results(row["model"]), HERE / "models" / "reference" / row["model"]
    macro = {"f1": "macro_f1", "recall": "macro_recall", "precision": "macro_precision"}
    assert set(row) == {"model", "parameters", "seeds", "accuracy", "f1", "recall", "precision", "sensitivity",
                        "specificity", "auroc", "intervals", "test_reads"}  # fmt: skip
    assert row["seeds"] == [int(s["seed"]) for s in seeds] and len(set(row["seeds"])) >= 5
    for key in set(row) - {"model", "parameters", "seeds", "intervals", "test_reads"}:
        metric = f"test {macro.get(key, key)}"
        assert row[key] == pytest.approx([float(s[metric]) for s in seeds], abs=1e-6)
        assert np.allclose(
            row["intervals"][key], [(float(s[f"{metric} low"]), float(s[f"{metric} high"])) for s in seeds]
        )
    with open(HERE / "studies" / "test_reads.csv") as file:
        assert row["test_reads"] == sum(int(read["evaluations"]) for read in csv.DictReader(file))
    assert pnlib.load_reference(row["model"]).parameters == row["parameters"]
    provenance = json.loads((place / "provenance.json").read_text())
    by_validation = sorted(seeds, key=lambda s: (float(s["auroc random"]), int(s["seed"])))
    assert provenance["seed"] == int(by_validation[len(seeds) // 2]["seed"]), "the median by validation"
    assert (place / "weights.npz").stat().st_size < 14_000_000
    card = (place / "README.md").read_text()
    assert "no medical device" in card and "viral pneumonia" in card and "CC BY 4.0" in card


@pytest.mark.parametrize("name", MODELS)
def test_the_commit_of_a_reference_model_can_be_looked_up(name):
    git = ["git", "-C", str(HERE)]
    if not (HERE / ".git").exists() or subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True).returncode:
        pytest.skip("no clone: there is no history to look into")
    if subprocess.check_output([*git, "rev-parse", "--is-shallow-repository"], text=True).strip() == "true":
        pytest.skip("a shallow clone: most of the history isn't here")
    commit = json.loads((HERE / "models" / "reference" / name / "provenance.json").read_text())["commit"]
    found = subprocess.run([*git, "merge-base", "--is-ancestor", commit, "HEAD"], capture_output=True, text=True)
    assert found.returncode == 0, f"{commit} is no ancestor of what is checked out: {found.stderr}"


def test_a_damaged_or_unknown_reference_model_is_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="'huge'"):
        pnlib.load_reference("huge")
    copied = tmp_path / "models" / "reference" / MODELS[0]
    shutil.copytree(HERE / "models" / "reference" / MODELS[0], copied)
    monkeypatch.setattr(paths, "root", lambda: tmp_path)
    content = bytearray((copied / "weights.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (copied / "weights.npz").write_bytes(content)
    with pytest.raises(InputError, match="weights.npz: it is missing, damaged, or not what its provenance says"):
        pnlib.load_reference(MODELS[0])
    shutil.rmtree(copied)
    with pytest.raises(InputError, match="a clone of the project or its wheel brings it"):
        pnlib.load_reference(MODELS[0])


def test_stated_figures_have_a_source_and_come_from_the_seeds():
    stated = claims.stated_claims()
    assert all(
        set(entry) - {"command"} == {"value", "tolerance", "source"} and entry["source"] for entry in stated.values()
    )
    measured = {n: e for n, e in stated.items() if not n.startswith(("original ", "external "))}
    columns = {"validation AUROC": "auroc random", "AUROC of acquisition features on validation": "acquisition auroc validation",
               "AUROC of acquisition features on test": "acquisition auroc test"}  # fmt: skip
    for name, entry in measured.items():
        column, _, epochs = name.removesuffix(" epochs").partition(", ")
        study = "baseline" if epochs == "60" else "short"
        values = [float(row[columns.get(column, column)]) for row in results(study)]
        assert float(entry["value"]) == pytest.approx(sum(values) / len(values), abs=0.006)
        assert all(abs(v - float(entry["value"])) <= float(entry["tolerance"]) for v in values), name
        assert f"studies/{study}.csv" in entry["source"] and f"pnlib study studies/{study}.yaml" in entry["command"]


def test_external_results_are_those_of_the_notebook():
    outputs = (HERE / "notebooks" / "09_external.ipynb").read_text(encoding="utf-8")
    measured = dict(re.findall(r"external AUROC, (\w+): measured (0\.\d{3})", outputs))
    assert set(measured) == set(MODELS)
    results_page = (HERE / "docs" / "results.md").read_text(encoding="utf-8")
    for name, value in measured.items():
        stated = claims.stated_claims()[f"external AUROC, {name}"]["value"]
        assert abs(float(value) - float(stated)) < 0.0056, "rounded twice"
        (interval,) = set(re.findall(rf"{value} \((0\.\d+)–(0\.\d+)\)", outputs))
        assert f"{value} ({' to '.join(interval)}) for `{name}`" in results_page
    both = " and ".join(claims.stated_claims()[f"external AUROC, {name}"]["value"] for name in ("baseline", "compact"))
    assert f"(AUROC {both}," in README


def test_claims_hold_on_other_processors():
    """The same seed on other machines moves less than another seed does: so it was with an earlier recipe, and so it is
    with the present one, which stays within what is stated."""
    with open(HERE / "studies" / "machines.csv") as file:
        rows = list(csv.DictReader(file))
    assert {row["seed"] for row in rows} == {"0"}
    figures = [name for name in claims.stated_claims() if name in rows[0]]
    assert len(figures) == 6
    recipes = {}
    for row in rows:
        recipes.setdefault((row["preprocessing"], int(row["epochs"])), []).append(row)
    present = recipes[TrainConfig().preprocessing, TrainConfig().epochs]
    for name in figures:
        assert all(claims.claim_holds(name, float(row[name])) for row in present), name
        for recipe, same in recipes.items():
            assert len({(row["processor"], row["instructions"], row["precision"]) for row in same}) >= 3, recipe
            values = [float(row[name]) for row in same]
            assert max(values) - min(values) <= float(claims.stated_claims()[name]["tolerance"]), (
                recipe,
                name,
            )


def test_claims_fail_for_models_that_have_learnt_nothing(tiny):
    """Always pneumonia, chance, and a network that was never trained (on phantoms): no claim that names the whole test
    part may hold."""
    labels = np.repeat([0, 1], [234, 390])
    answers = {"always pneumonia": np.ones(624), "chance": np.random.default_rng(0).random(624)}
    whole = [n for n in claims.stated_claims() if re.match("test (accuracy|macro_f1|macro_recall|auroc)", n)]
    assert len(whole) == 8
    for model_name, probabilities in answers.items():
        figures = pnlib.metrics(pd.DataFrame({"label": labels, "probability": probabilities}))
        assert not [n for n in whole if claims.claim_holds(n, figures[re.split("[ ,]", n)[1]])], model_name
    rows = tiny.table
    seed_everything(0)
    untrained = Classifier(pnlib.build_network("baseline"), TrainConfig())
    figures = pnlib.metrics(untrained.predictions(rows, pnlib.load_images(tiny, rows)))
    assert not [n for n in whole if claims.claim_holds(n, figures[re.split("[ ,]", n)[1]])]


def test_claims_fail_for_the_network_without_augmentation_and_balancing():
    """studies/plain.yaml: the very training that the claims are about, without both. The README tells how it did."""
    with open(HERE / "studies" / "plain.csv") as file:
        rows = list(csv.DictReader(file))
    recipe = yaml.safe_load((HERE / "studies" / "short.yaml").read_text())["common"]
    assert rows and all(row["setting augmentation"] == row["setting sampling"] == "none" for row in rows)
    for name in set(recipe) - {"augmentation", "sampling", "precision"}:
        assert all(
            row[f"setting {name}"] in (str(recipe[name]), f"{recipe[name]:.6f}")
            for row in rows
            if not isinstance(recipe[name], str)
        ), name
    for row in rows:
        measured = {name: row.get(name.partition(",")[0]) for name in claims.stated_claims()}
        held = [name for name, value in measured.items() if value and claims.claim_holds(name, float(value))]
        assert any(measured.values()) and not held, held
    for name in ("test sensitivity", "test specificity", "test accuracy", "auroc random", "worst auroc, crossed"):
        assert f"{float(rows[0][name]):.3f}" in RESULTS, name


def test_readme_tells_how_the_network_for_comparison_did():
    """Over five seeds, by the very recipe that the shifted validation was asked about."""
    seeds = results("pretrained")
    assert len({row["seed"] for row in seeds}) == len(seeds) >= 5
    (paragraph,) = re.findall(r"^## Features learnt on photographs.*?\n## ", RESULTS, re.M | re.DOTALL)
    for name in ("accuracy", "macro_f1", "sensitivity", "specificity", "auroc"):
        values = [float(row[f"test {name}"]) for row in seeds]
        assert f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}" in paragraph, name
    trial, final = (
        yaml.safe_load((HERE / "studies" / f"{name}.yaml").read_text()) for name in ("transfer", "pretrained")
    )
    recipe = final["common"] | final["configs"]["pretrained"]
    assert trial["common"] | trial["configs"]["imagenet-local"] == recipe | {"split": "shifted"}
    criteria = {row["config"]: float(row["criterion"]) for row in results("transfer")}
    assert max(criteria, key=criteria.get) == "imagenet-local"


def test_trainings_on_other_processors_count_as_reads_of_the_test_images():
    rows = results("machines")
    (read,) = [row for row in results("test_reads") if row["what"].endswith("machines.csv")]
    assert int(read["evaluations"]) == sum(not row["source"].startswith("studies/") for row in rows)


def test_readme_says_how_often_the_test_images_were_read():
    (found,) = re.findall(r"up to here \((\d+) evaluations", README)
    assert int(found) == HEADLINE[0]["test_reads"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_parameters_of_a_notebook_are_known_explained_and_have_the_librarys_defaults(name):
    for parameter, about in notebooks.parameters(name).items():
        assert about["help"], f"{name}: {parameter}"
        value = yaml.safe_load(about["default"])
        stored = (parameter, value) == ("run", "") and name in ("05_evaluate", "06_review")  # the stored network
        pnlib.check_parameters(**{parameter: "reference" if stored else value})
        if name == "04_train" and parameter not in ("settings", "data", "run"):
            assert yaml.safe_load(about["default"]) == getattr(TrainConfig(), parameter), parameter


def test_every_setting_is_explained_once():
    assert set(TrainConfig.describe()) == set(vars(TrainConfig()))
    assert all(PARAMETERS[name].about and PARAMETERS[name].range for name in PARAMETERS)
    assert TrainConfig(seed=3, precision="mixed_bfloat16").is_published and not TrainConfig(epochs=1).is_published
    stored, default = ({**vars(TrainConfig()), **yaml.safe_load((HERE / "studies" / f"{name}.yaml").read_text())["common"]}
                       for name in ("baseline", "short"))  # fmt: skip
    assert TrainConfig(**default).is_published and not TrainConfig(**stored).is_published
    assert TrainConfig(**stored) == dataclasses.replace(TrainConfig(**default), epochs=60, validation=0.05)


def test_the_table_of_mutants_is_whole():
    table = (HERE / "docs" / "mutants.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z0-9 -]+) \| \S+ \| `([\w/]+)\.py::(test_\w+)` \|$", table, re.M)
    assert sorted(name for name, _, _ in rows) == sorted(name.replace("-", " ") for name in mutants.MUTANTS)
    for _, file, test in rows:
        assert f"def {test}(" in (HERE / "tests" / f"{file}.py").read_text(encoding="utf-8"), f"{file}.py has no {test}"


def test_each_mutant_still_fits_the_code():
    for name, (file, change, _) in mutants.MUTANTS.items():
        text = (HERE / file).read_text(encoding="utf-8")
        assert change(text) != text, name


def test_ci_calls_make_test():
    assert "make test" in (HERE / ".ci" / "run").read_text()
    workflow = yaml.safe_load((HERE / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    jobs = {name: [step.get("run", "") for step in job["steps"]] for name, job in workflow["jobs"].items()}
    assert {"make run PYTHON=python", "make test"} <= set(jobs["make"]) and "pnlib run" in jobs["systems"]
    pythons = workflow["jobs"]["make"]["strategy"]["matrix"]["python"]
    assert PROJECT["requires-python"] == f">={pythons[0]},<3.{int(pythons[-1].split('.')[1]) + 1}"


def test_the_prose_check_finds_what_it_should():
    said = "Whoever reads one seed a recipe finds this laborious, too. " + "word " * 90
    found = "\n".join(prose.places(said))
    for words in (
        "'who' as a subject",
        "write 'per'",
        "'slow'",
        "write 'also'",
        "paragraph of 100 words",
        "sentence of 90",
    ):
        assert words in found, words
    assert not prose.places("If you read `whoever`, read on. It needs 1 seed per recipe.")
    assert prose.places("lines.\n\n" + "word " * 90, lengths=False) == []
    pages = [
        HERE / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md")
    ]
    assert not [(page.name, line) for page in pages for _, text in prose.texts(page) for line in prose.places(text)]


def test_what_can_be_cited_and_released_has_the_packages_version():
    citation = yaml.safe_load((HERE / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == PROJECT["license"] == "MIT" and citation["authors"]
    assert {"10.17632/rscbjbr9sj.2"} <= {reference.get("doi") for reference in citation["references"]}
    assert "version" in PROJECT["dynamic"] and "version" not in citation, (
        "the version stands in pnlib/__init__.py alone"
    )
    versions = re.findall(r"^## (\d+\.\d+\.\d+) - \d{4}-\d\d-\d\d$", (HERE / "CHANGELOG.md").read_text(), re.M)
    assert versions[0] == pnlib.__version__
