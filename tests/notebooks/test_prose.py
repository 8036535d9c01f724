"""Measured values in prose. Decimals of 2 places, percentages and counts over 100 must stand in an output of the same notebook, in a
table of results, among the stated claims, in the original project's description, or in docs/facts.yaml, which holds other
facts from outside with their sources. Plain numerals need no entry. References to sections must lead somewhere."""

import csv
import functools
import json
import re
import statistics
from pathlib import Path

import pytest
import yaml

from pnlib.claims import stated_claims
from pnlib.evaluation import METRICS
from pnlib.runner import NOTEBOOKS

HERE = Path(__file__).resolve().parents[2]
FACTS = yaml.safe_load((HERE / "docs" / "facts.yaml").read_text(encoding="utf-8"))
CARDS = sorted(path.parent.name for path in (HERE / "models" / "reference").glob("*/README.md"))
MEASURED = r"(?<![\w.,-])(?:\d+\.\d\d+|\d{1,3}(?:,\d{3})+|\d{3,}|\d+(?:\.\d+)?(?= ?%))(?![\w,.]?\d)"
CONVENTIONS = {
    "0.5",
    "95",
    "100",
    "255",
}  # chance or the plain threshold; the level of an interval; all; the lightest gray


def measured(text: str) -> set[str]:
    return set(re.findall(MEASURED, text)) - CONVENTIONS


def given() -> set[str]:
    """What the project was given or states: counts of the dataset, its network, the original results, the claims."""
    claimed = [entry[key] for entry in stated_claims().values() for key in ("value", "tolerance")]
    return measured((HERE / "docs" / "original.md").read_text(encoding="utf-8")) | set(claimed)


def prose(text: str) -> str:
    """A text without what makes no claim: code, addresses, formulas, citations of papers, sizes of images, patients."""
    text = re.sub(r"```.*?```|`[^`]*`|\$[^$]*\$", " ", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "] ", text)
    text = re.sub(
        r"arXiv \d+\.\d+|\*[A-Z][\w. ]+\* \d+(\(\d+\))?, (?:19|20)\d\d|, (?:19|20)\d\d\b|doi[ :]\S+", " ", text
    )
    text = re.sub(r"\b\d+ [x×] \d+( [x×] \d+)?\b|\b[Pp]atient \d+|\bv\d+\.\d+", " ", text)
    text = re.sub(r"\*\*0\d\.\d\*\*|^#+ \d+ ·", " ", text, flags=re.MULTILINE)
    return re.sub(r"\s+", " ", text)


def unfounded(text: str, pool: set[str], place: str) -> list[str]:
    """Measured values of a text that are neither in the pool nor in a phrase of docs/facts.yaml for that place."""
    text = prose(text)
    for fact in FACTS:
        if place in fact["where"]:
            text = text.replace(fact["phrase"], " ")
    return sorted(measured(text) - pool - given())


@functools.cache
def cells(name: str) -> tuple:
    return tuple(json.loads((HERE / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"])


def outputs(name: str) -> str:
    said = []
    for cell in cells(name):
        for output in cell.get("outputs", []):
            said.append("".join(output.get("text", "")))
            said.append("".join(output.get("data", {}).get("text/plain", "")))
    return "\n".join(said)


def problems(name: str, notebook) -> list[str]:
    pool = set(re.findall(r"\d+(?:[.,]\d+)*", outputs(name)))
    found = []
    for cell in notebook:
        if re.match(r"## Exercises|\*\*\d\d\.\d\*\*", cell["source"][0]):
            continue  # what a task is made of
        if cell["cell_type"] == "markdown":
            found += [f"{name}, cell {cell['id']}: {value}" for value in unfounded("".join(cell["source"]), pool, name)]
    return found


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_measured_value_in_a_notebooks_prose_has_a_source(name):
    assert not problems(name, cells(name))


def test_a_measured_value_without_a_source_is_named_with_its_cell_and_a_plain_numeral_is_not():
    invented = {
        "cell_type": "markdown",
        "id": "x-1",
        "source": [
            "## 2 · Then\n",
            "1. It rose to 0.98765 with ResNet-50, by 77 %, on 12,345 of 2 images\n",
            "`n = 31.5`",
        ],
    }
    assert problems("04_train", [invented]) == [f"04_train, cell x-1: {v}" for v in ("0.98765", "12,345", "77")]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_changed_measured_value_is_caught(name):
    """A mutant: each measured value that the prose takes from an output, changed in its last digit."""
    pool = set(re.findall(r"\d+(?:[.,]\d+)*", outputs(name)))
    for cell in cells(name):
        if cell["cell_type"] == "markdown":
            text = prose("".join(cell["source"]))
            for value in measured(text) & pool:
                other = value[:-1] + str((int(value[-1]) + 5) % 10)
                if other not in pool | given():
                    changed = {**cell, "source": re.sub(rf"(?<![\d.,]){re.escape(value)}(?!\d)", other, text)}
                    assert f"{name}, cell {cell['id']}: {other}" in problems(name, [changed])


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_references_to_sections_lead_somewhere(name):
    text = "\n".join("".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "markdown")
    sections = set(re.findall(r"^## (\d+) ·", text, re.M))
    assert sections == {str(i + 1) for i in range(len(sections))}, "numbered without a gap"
    assert set(re.findall(r"\b[Ss]ection (\d+)\b", text)) <= sections


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_links_of_notebooks_lead_to_files_and_headings(name):
    text = "\n".join("".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "markdown")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]*))?\)", text):
        path = HERE / "notebooks" / target
        assert path.is_file(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w\s-]", "", t.lower()).strip().replace(" ", "-") for t in titles}, anchor


def of_study(name: str) -> set[str]:
    """Every value that a headline's table may show: of each seed, and mean, spread and range over them."""
    with open(HERE / "studies" / f"{name}.csv") as file:
        seeds = list(csv.DictReader(file))
    pool = set()
    for metric in METRICS:
        values = [float(row[f"test {metric}"]) for row in seeds]
        shown = [*values, statistics.mean(values), statistics.stdev(values)]
        ends = [f"test {metric} {end}" for end in ("low", "high")]
        shown += [float(row[end]) for row in seeds for end in ends if end in row]
        pool |= {f"{value:.3f}" for value in shown}
    return pool


def test_every_measured_value_in_the_readmes_tables_has_a_source():
    """But for the table of executed notebooks, which a program writes and tests/project/test_project.py compares."""
    text = (HERE / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"<!-- executed -->.*?<!-- /executed -->", "", text, flags=re.DOTALL)
    tables = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    pool = set().union(*map(of_study, [*CARDS, "short", "pretrained"]))
    assert not unfounded(tables, pool, "README")


@pytest.mark.parametrize("name", CARDS)
def test_every_measured_value_in_a_model_card_has_a_source(name):
    """The values by subgroup are left to `make headline-check`, which measures them anew with the stored weights."""
    folder = HERE / "models" / "reference" / name
    text = (folder / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\*\*By subgroup\*\*.*?(?=\n\*\*)", "", text, flags=re.DOTALL)
    headline = {row["model"]: row for row in json.loads((HERE / "models" / "reference" / "headline.json").read_text())}
    stated = set(re.findall(r"\d+(?:\.\d+)?", (folder / "provenance.json").read_text()))
    assert not unfounded(text, of_study(name) | stated | {f"{headline[name]['parameters']:,}"}, "card")


def test_facts_come_from_outside_with_a_source_and_are_used():
    texts = {
        name: " ".join("".join(c["source"]) for c in cells(name) if c["cell_type"] == "markdown") for name in NOTEBOOKS
    }
    texts["README"] = (HERE / "README.md").read_text(encoding="utf-8")
    texts["card"] = " ".join(
        (HERE / "models" / "reference" / n / "README.md").read_text(encoding="utf-8") for n in CARDS
    )
    for fact in FACTS:
        assert set(fact) == {"phrase", "where", "source"} and fact["source"], fact
        assert measured(fact["phrase"]), f"no measured value in {fact}"
        for place in fact["where"]:
            assert fact["phrase"] in prose(texts[place]), f"{place} no longer says {fact['phrase']!r}"
