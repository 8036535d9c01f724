"""A stated figure with its tolerance, and whether it holds.

nbval compares text exactly, so a checked cell prints the stated figure, never the measured one. What is stated, with
its tolerance and where both come from, stands in `stated.json`; `benchmarks/headline.py` writes the measured part.
"""

import decimal
import json
import math
from importlib import resources


def stated() -> dict[str, dict]:
    """{name: {value, tolerance, source}} of every stated figure."""
    return json.loads(resources.files("pnlib").joinpath("stated.json").read_text(encoding="utf-8"))


def holds(name: str, measured: float) -> bool:
    """Whether a measured figure is within the stated one's tolerance, bounds included; NaN is not."""
    entry = stated()[name]
    value, tolerance = decimal.Decimal(entry["value"]), decimal.Decimal(entry["tolerance"])
    return math.isfinite(measured) and abs(decimal.Decimal(repr(float(measured))) - value) <= tolerance


def check(name: str, measured: float, checked: bool = True) -> None:
    """Print whether a measured figure is what is stated. Never raises over a figure.

    Args:
        name: a key of `stated()`.
        measured: what this run measured.
        checked: False where the stated figure does not apply (demo data, another dataset, other parameters).
    """
    entry = stated()[name]
    verdict = (
        ("holds" if holds(name, measured) else "does not hold") if checked else "not checked: not what it is stated for"
    )
    print(f"{name} = {entry['value']} ± {entry['tolerance']}: {verdict}")
