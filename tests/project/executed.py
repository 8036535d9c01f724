"""Writes the README's table of the committed notebooks: when they ran, with which versions, how long, which claims held.

    python tests/project/executed.py    # as `make notebooks` does, at its end

`pnlib run` leaves a record in the metadata of each notebook that it executes, and claims print whether they hold.
"""

import json
import re
from pathlib import Path

from pnlib.runner import NOTEBOOKS

README = Path(__file__).resolve().parents[2] / "README.md"
PART = re.compile(r"(?<=<!-- executed -->\n).*?(?=<!-- /executed -->)", re.DOTALL)


def row(name: str) -> str:
    """A notebook's line of the table."""
    text = (README.parent / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    record = json.loads(text)["metadata"].get("pnlib", {})
    when, took = record.get("date", "not recorded"), f"{record['seconds']} s" if record else ""
    versions = ", ".join(record.get("versions", {}).get(package, "") for package in ("python", "tensorflow", "numpy"))
    verdicts = re.findall(r": measured \S+, stated \S+ ± \S+: (holds|does not hold|not checked)", text)
    held = f"{verdicts.count('holds')} of {len(verdicts)}" if verdicts else ""
    return f"| {name} | {when} | {versions if record else ''} | {took} | {held} |"


def table() -> str:
    head = "| | last run | Python, TensorFlow, NumPy | took | claims held |\n| --- | --- | --- | --- | --- |\n"
    return head + "".join(f"{row(name)}\n" for name in NOTEBOOKS)


if __name__ == "__main__":
    README.write_text(PART.sub(lambda _: table(), README.read_text(encoding="utf-8")), encoding="utf-8")
