"""A stated figure with its tolerance, and whether it holds.

nbval compares text exactly, so a checked cell prints the stated figure, never the measured one. What is stated, with
its tolerance and where both come from, stands in `stated.json`; `benchmarks/headline.py` writes the measured part.
"""

import decimal
import json
import math
from importlib import resources

from pnlib.errors import InputError


def stated() -> dict[str, dict]:
    """{name: {value, tolerance, source}} of every stated figure."""
    return json.loads(resources.files("pnlib").joinpath("stated.json").read_text(encoding="utf-8"))


def _entry(name: str) -> dict:
    entries = stated()
    if name not in entries:
        raise InputError(f"Nothing is stated under the name {name!r}; there are {', '.join(entries)}.")
    return entries[name]


def holds(name: str, measured: float) -> bool:
    """Whether a measured figure is within the stated one's tolerance, bounds included; NaN is not.

    Raises:
        InputError: nothing is stated under this name, or the figure is no number.
    """
    entry = _entry(name)
    try:
        measured = float(measured)
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"What is compared with the stated {name} is no number but {type(measured).__name__}."
        ) from None
    value, tolerance = decimal.Decimal(entry["value"]), decimal.Decimal(entry["tolerance"])
    return math.isfinite(measured) and abs(decimal.Decimal(repr(measured)) - value) <= tolerance


def check(name: str, measured: float, checked: bool = True) -> None:
    """Print whether a measured figure is what is stated. Never raises over a figure.

    Args:
        name: a key of `stated()`.
        measured: what this run measured.
        checked: False where the stated figure does not apply (demo data, another dataset, other parameters).
    """
    entry = _entry(name)
    verdict = (
        ("holds" if holds(name, measured) else "does not hold") if checked else "not checked: not what it is stated for"
    )
    print(f"{name} = {entry['value']} ± {entry['tolerance']}: {verdict}")
