"""The selection criterion: what recipes are chosen by, with intervals, of a stress table.

It is the mean of two values: `groups`, the mean AUROC over the groups of a shifted split, and `worst pair`, the
smallest AUROC of `stress.crossed_auroc`. Intervals come from a bootstrap over patients (Field and Welsh, J. R. Stat.
Soc. B 69, 2007). They say how far a value depends on who is in the validation, not on the seed of a training.
"""

import numpy as np
import pandas as pd

from pnlib.base.errors import InputError
from pnlib.shortcuts import GROUPS
from pnlib.stress import PLAIN, corrupted_rows, corruption_columns

CRITERIA = ("groups", "worst pair", "criterion")


def criterion_replicates(stressed: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """`CRITERIA` of a stress table as it is, and of bootstrap replicates, patients drawn with replacement.

    Tables of the same images and the same seed get the same draws, so the difference of two is a paired one.

    Args:
        stressed: of `stress_test`.
        resamples: replicates; those that lack a class in a group are left out.

    Returns:
        Columns groups, worst pair, criterion (NaN where there are no shifted groups). The first row (index 0) is that
        of all patients, each once. The smallest of 100 AUROCs takes up noise, so the replicates of `worst pair` lie a
        little below it.

    Raises:
        InputError: one class only.
    """
    labels = stressed.label.to_numpy()
    if set(np.unique(labels)) != {0, 1}:
        raise InputError("The criterion needs validation images of both classes; hold out more patients.")
    names, codes = np.unique(stressed.patient.to_numpy(), return_inverse=True)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
    weights = np.vstack([np.ones(len(names), int), counts]).astype(np.float32)[:, codes]
    shifted = [name for name in GROUPS if name in stressed and name != "random"]
    plain = stressed[PLAIN].to_numpy()
    of_groups = [
        _weighted_auroc(weights, plain, plain, *(np.flatnonzero(stressed[name] & (labels == k)) for k in (0, 1)))
        for name in shifted
    ]
    corrupted = np.isin(np.arange(len(stressed)), corrupted_rows(stressed).index)
    normals, ill = (np.flatnonzero(corrupted & (labels == k)) for k in (0, 1))
    looks = [stressed[n].to_numpy() for n in (PLAIN, *corruption_columns(stressed)) if n != "swapped"]
    result = pd.DataFrame(
        {
            "groups": np.mean(of_groups, axis=0) if shifted else np.full(resamples + 1, np.nan),
            "worst pair": np.min([_weighted_auroc(weights, a, b, normals, ill) for a in looks for b in looks], axis=0),
        }
    )
    result["criterion"] = (result.groups + result["worst pair"]) / 2
    lacking = result[["worst pair", *(["groups"] if shifted else [])]].isna().any(axis=1)
    return result[~lacking | (result.index == 0)]


def _weighted_auroc(
    weights: np.ndarray, of_normals: np.ndarray, of_ill: np.ndarray, normals: np.ndarray, ill: np.ndarray
) -> np.ndarray:
    """AUROC in each replicate: share of the pairs in which the pneumonia has the larger probability (ties count half).

    Args:
        weights: (replicates, n), how often each image was drawn.
        of_normals, of_ill: (n,), probabilities to take for normals and for pneumonias.
        normals, ill: which of the n images these are.
    """
    wins = np.sign(of_ill[ill][None] - of_normals[normals][:, None]).astype(np.float32) / 2 + 0.5
    first, second = weights[:, normals], weights[:, ill]
    with np.errstate(invalid="ignore"):
        return ((first @ wins) * second).sum(1) / (first.sum(1) * second.sum(1))


def percentile_interval(replicates: pd.DataFrame) -> pd.DataFrame:
    """Of `criterion_replicates`, or of the difference of two: indexed by name, columns value, low, high (95 %)."""
    low, high = replicates.iloc[1:].quantile(0.025), replicates.iloc[1:].quantile(0.975)
    return pd.DataFrame({"value": replicates.iloc[0], "low": low, "high": high})
