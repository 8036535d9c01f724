"""What a probability is worth: the share of pneumonia among images of which a reference network said the same.

Each reference was asked about its own validation patients, as they are and under the corruptions of the stress test, so
also as through other scanners. Logistic regression of the label on the logit then gives the share (Platt, 1999), both
classes counting alike. Bootstrap replicates over patients say how sure that is (benchmarks/calibration.py).
"""

import functools

import numpy as np
import pandas as pd

from pnlib.base import files, paths
from pnlib.base.errors import InputError
from pnlib.evaluation import logit


def calibrated(said: dict[str, float], prevalence: float = 0.5) -> pd.DataFrame:
    """Calibrated probabilities of one image, with 95 % intervals.

    Where the networks disagree, the interval of all together is wide. It holds for patients like those of validation:
    children of one hospital. Elsewhere nobody knows.

    Args:
        said: {name of a reference network: its probability of pneumonia, from 0 to 1}.
        prevalence: share of pneumonia among the patients that you ask about, above 0 and below 1.

    Returns:
        Indexed by network, and `together` at the end where there are several; columns said (NaN for `together`),
        calibrated, low, high.

    Raises:
        InputError: a network that isn't a reference, or a number out of range.

    >>> from pnlib.inference import calibrated
    >>> table = calibrated({"baseline": 0.5, "compact": 0.5})
    >>> list(table.index), bool((table.low < table.calibrated).all())
    (['baseline', 'compact', 'together'], True)
    """
    if not 0 < prevalence < 1:
        raise InputError(f"prevalence={prevalence} is not possible; give a share above 0 and below 1.")
    logits = {}
    for name, probability in said.items():
        if name not in stored():
            raise InputError(f"There is no calibration of {name!r}; there are {', '.join(stored())}.")
        if not 0 <= probability <= 1:
            raise InputError(f"{probability} is no probability; give a number from 0 to 1.")
        intercept, slope = stored()[name].T
        logits[name] = intercept + slope * logit(probability) + logit(prevalence)
    if len(said) > 1:
        logits["together"] = np.concatenate(list(logits.values()))
    table = pd.DataFrame({n: [drawn.mean(), *np.quantile(drawn, [0.025, 0.975])] for n, drawn in logits.items()}).T
    found = 1 / (1 + np.exp(-table.set_axis(["calibrated", "low", "high"], axis=1)))
    found.insert(0, "said", pd.Series(said, dtype=float))
    return found


@functools.cache
def stored() -> dict[str, np.ndarray]:
    """{reference network: bootstrap replicates of intercept and slope, (200, 2)}."""
    replicates = files.read_json(paths.PACKAGE / "calibration.json")["replicates"]
    return {name: np.array(pairs) for name, pairs in replicates.items()}
