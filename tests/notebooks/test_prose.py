"""Every number in the prose: an output of the same notebook says it, a table of results does, or docs/facts.yaml, with its
source. Code spans, addresses, the ordinals of headings and lists, and references to notebooks are no claims; references to
sections and exercises must lead somewhere."""

import csv
import functools
import json
import re
import statistics
from pathlib import Path

import pytest
import yaml

from pnlib.evaluation import METRICS
from pnlib.runner.notebooks import SERIES, SUPPLEMENT

HERE = Path(__file__).resolve().parents[2]
FACTS = yaml.safe_load((HERE / "docs" / "facts.yaml").read_text(encoding="utf-8"))
NAMES = (*SERIES, SUPPLEMENT)
CARDS = sorted(path.parent.name for path in (HERE / "models" / "reference").glob("*/README.md"))
NUMBER = r"(?<![\w.])(?<!\w-)\d(?:[\d,]*\d)?(?:\.\d+)?(?:e-?\d+)?"  # not the 50 of ResNet-50, not the 1 of 10.1.1


def numbers(text: str) -> set[str]:
    return set(re.findall(NUMBER, text))


def prose(text: str) -> str:
    """A text without what is no claim, its white space made plain."""
    text = re.sub(r"```.*?```|`[^`]*`", " ", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "] ", text)
    text = re.sub(r"^(#+) \d+ ·", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"^# 0[1-6] ·|^ *\d+\. ", " ", text, flags=re.MULTILINE)
    text = re.sub(r"\b0[1-6]_\w+|\b[Nn]otebook 0[1-6]\b", " ", text)
    return re.sub(r"\s+", " ", re.sub(r"\b([Ss]ection|[Ee]xercise) \d+\b", r"\1", text))


def unfounded(text: str, pool: set[str], place: str) -> list[str]:
    """Numbers of a text that are neither in the pool nor in a phrase of docs/facts.yaml for that place."""
    text = prose(text)
    for fact in FACTS:
        if place in fact["where"]:
            text = text.replace(fact["phrase"], " ")
    return sorted(numbers(text) - pool)


@functools.cache
def cells(name: str) -> tuple:
    return tuple(json.loads((HERE / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"])


def outputs(name: str) -> str:
    said = []
    for cell in cells(name):
        for output in cell.get("outputs", []):
            said.append("".join(output.get("text", "")))
            said += ["".join(output.get("data", {}).get(kind, "")) for kind in ("text/plain", "text/html")]
    return "\n".join(said)


def problems(name: str, notebook) -> list[str]:
    pool = {number for number in numbers(outputs(name)) if not re.fullmatch(r"\d\d?", number)}
    found = []  # a short whole number stands in some output by chance: it has to be a fact
    for cell in notebook:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"])
            found += [f"{name}, cell {cell['id']}: {number}" for number in unfounded(text, pool, name)]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_number_in_a_notebooks_prose_has_a_source(name):
    assert not problems(name, cells(name))


def test_a_number_without_a_source_is_named_with_its_cell():
    invented = {
        "cell_type": "markdown",
        "id": "x-1",
        "source": ["## 2 · Then\n", "1. It rose to 0.98765 with ResNet-50\n", "and `n = 31`, by -0.4."],
    }
    assert problems("04_train", [invented]) == ["04_train, cell x-1: 0.4", "04_train, cell x-1: 0.98765"]


@pytest.mark.parametrize("name", NAMES)
def test_references_to_sections_and_exercises_lead_somewhere(name):
    text = "\n".join("".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "markdown")
    sections = set(re.findall(r"^## (\d+) ·", text, re.M))
    assert sections == {str(i + 1) for i in range(len(sections))}, "numbered without a gap"
    exercises = set(re.findall(r"^(\d+)\. ", text.split("## Exercises")[1].split("<details>")[0], re.M))
    assert set(re.findall(r"\b[Ss]ection (\d+)\b", text)) <= sections
    assert set(re.findall(r"\b[Ee]xercise (\d+)\b", text)) <= exercises


def of_study(name: str) -> set[str]:
    """Every figure that a headline's table may show: of each seed, and mean, spread and range over them."""
    with open(HERE / "studies" / f"{name}.csv") as file:
        seeds = list(csv.DictReader(file))
    pool = {str(len(seeds))}
    for metric in METRICS:
        values = [float(row[f"test {metric}"]) for row in seeds]
        shown = [*values, statistics.mean(values), statistics.stdev(values)]
        ends = [f"test {metric} {end}" for end in ("low", "high")]
        shown += [float(row[end]) for row in seeds for end in ends if end in row]
        pool |= {f"{value:.3f}" for value in shown}
    return pool


def test_every_number_in_the_readmes_tables_has_a_source():
    text = (HERE / "README.md").read_text(encoding="utf-8")
    tables = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    pool = set().union(*map(of_study, [*CARDS, "pretrained"]))
    assert not unfounded(tables, pool, "README")


@pytest.mark.parametrize("name", CARDS)
def test_every_number_in_a_model_card_has_a_source(name):
    """The figures by subgroup are left to `make headline-check`, which measures them anew with the stored weights."""
    folder = HERE / "models" / "reference" / name
    text = (folder / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\*\*By subgroup\*\*.*?(?=\n\*\*)", "", text, flags=re.DOTALL)
    provenance = (folder / "provenance.json").read_text()
    headline = {row["model"]: row for row in json.loads((HERE / "models" / "reference" / "headline.json").read_text())}
    pool = (
        of_study(name) | numbers(provenance) | {f"{headline[name]['parameters']:,}", str(headline[name]["test_reads"])}
    )
    assert not unfounded(text, pool, "card")


def test_facts_have_a_source_and_are_used():
    texts = {
        name: " ".join("".join(c["source"]) for c in cells(name) if c["cell_type"] == "markdown") for name in NAMES
    }
    texts["README"] = (HERE / "README.md").read_text(encoding="utf-8")
    texts["card"] = " ".join(
        (HERE / "models" / "reference" / n / "README.md").read_text(encoding="utf-8") for n in CARDS
    )
    for fact in FACTS:
        assert set(fact) == {"phrase", "where", "source"} and fact["source"], fact
        assert numbers(fact["phrase"]), f"no number in {fact}"
        for place in fact["where"]:
            assert fact["phrase"] in prose(texts[place]), f"{place} no longer says {fact['phrase']!r}"
