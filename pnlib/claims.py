"""A stated value with its tolerance, and whether a measured one is within it.

`stated.json` holds each stated value, its tolerance, and where both come from; `benchmarks/headline.py` writes
the measured part. nbval compares text exactly, after `notebooks/nbval_sanitize.cfg` has masked the measured value.
"""

import decimal
import math

from pnlib.base import files, paths
from pnlib.base.errors import InputError


def stated_claims() -> dict[str, dict]:
    """{name: {value, tolerance, source}} of every claim."""
    return files.read_json(paths.PACKAGE / "stated.json")


def _entry(name: str) -> dict:
    entries = stated_claims()
    if name not in entries:
        raise InputError(f"Nothing is stated under the name {name!r}; there are {', '.join(entries)}.")
    return entries[name]


def claim_holds(name: str, measured: float) -> bool:
    """Whether a measured value is within the stated one's tolerance, bounds included. NaN is not.

    Raises:
        InputError: nothing is stated under this name, or the value is not a number.
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


def check_claim(name: str, measured: float, applies: bool = True) -> None:
    """Print a measured value, the stated one, and whether it holds. Never raises over a value.

    Args:
        name: a key of `stated_claims()`.
        measured: what this run measured.
        applies: False where the stated value does not apply (demo data, another dataset, other settings).

    >>> import pnlib
    >>> pnlib.check_claim("test accuracy", 0.5, applies=False)  # doctest: +ELLIPSIS
    test accuracy: measured 0.500, stated 0.91 ± ...: not checked, since other data or settings were used
    """
    entry = _entry(name)
    verdict = "holds" if claim_holds(name, measured) else "does not hold"
    if not applies:
        verdict = "not checked, since other data or settings were used"
    print(f"{name}: measured {float(measured):.3f}, stated {entry['value']} ± {entry['tolerance']}: {verdict}")
