"""The two exams that recipes are chosen by, with intervals: of the answers that a run folder keeps (`shift.table`).

The first exam is the mean AUROC over the shifted groups of `shift.split`, the second the smallest AUROC of
`shift.crossed`; the criterion of docs/experiments.md is their mean. Intervals come from a bootstrap over patients
(Field and Welsh, J. R. Stat. Soc. B 69, 2007), as in `evaluate.bootstrap`: they say how far a figure hangs on who is in
the validation, not on the seed of a training.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from pnlib import evaluate, runs
from pnlib.errors import InputError
from pnlib.shift import GROUPS

NO_CHANGE = ("path", "label", "patient", "all", *GROUPS)


def write(path: str | Path, table: pd.DataFrame) -> None:
    """Write a run folder's `answers.csv`, of `shift.table`, with nine significant digits: those of a network's float32.
    (With fewer, probabilities near one become equal, and the exams others than 04_train's own tables.)"""
    runs.write_whole(path, table.to_csv(index=False, float_format="%.9g"))


def read(path: str | Path) -> pd.DataFrame:
    """A run folder's `answers.csv`, as `write` left it.

    Raises:
        InputError: no such file, or another one.
    """
    try:
        table = pd.read_csv(path, dtype={"path": str, "patient": str}, keep_default_na=False, na_values={})
        changes = _changes(table)
        table[changes] = table[changes].replace("", np.nan).astype(float)
        groups = [name for name in GROUPS if name in table]
        table = table.astype({"label": int, "patient": str, "all": float} | dict.fromkeys(groups, bool))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"Cannot read the answers {path}; run 04_train again.") from error
    return table


def draws(table: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Both exams and the criterion, of the answers as they are and of patients drawn with replacement.

    Tables of the same images and the same `seed` are drawn alike, so that the difference of two is a paired one.

    Args:
        table: of `shift.table`.
        resamples: draws; those that lack a class in a group are left out.

    Returns:
        Columns groups, worst pair, criterion (AUROC; NaN where the validation has no shifted groups); the first row
        (index 0) is that of all patients, each once. The smallest of a hundred AUROCs takes up noise, so the draws of
        `worst pair` lie a little below it.

    Raises:
        InputError: one class only.
    """
    labels = table.label.to_numpy()
    if set(np.unique(labels)) != {0, 1}:
        raise InputError("The exams need validation images of both classes; hold out more patients.")
    names, codes = np.unique(table.patient.to_numpy(), return_inverse=True)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
    weights = np.vstack([np.ones(len(names), int), counts]).astype(np.float32)[:, codes]

    def auroc(normals, ill, p_normal, p_ill):
        """Share of the pairs in which the pneumonia has the larger probability (ties count half), pairs weighted."""
        wins = np.sign(p_ill[None] - p_normal[:, None]).astype(np.float32) / 2 + 0.5
        first, second = weights[:, normals], weights[:, ill]
        with np.errstate(invalid="ignore"):
            return ((first @ wins) * second).sum(1) / (first.sum(1) * second.sum(1))

    found = {}
    shifted = [name for name in GROUPS if name in table and name != "random"]
    plain = table["all"].to_numpy()
    of_groups = []
    for name in shifted:
        normals, ill = (np.flatnonzero(table[name] & (labels == label)) for label in (0, 1))
        of_groups.append(auroc(normals, ill, plain[normals], plain[ill]))
    found["groups"] = np.mean(of_groups, axis=0) if shifted else np.full(resamples + 1, np.nan)
    changes = _changes(table)
    changed = table[changes].notna().all(axis=1)
    normals, ill = (np.flatnonzero(changed & (labels == label)) for label in (0, 1))
    looks = [table[name].to_numpy() for name in ("all", *(name for name in changes if name != "swapped"))]
    found["worst pair"] = np.min([auroc(normals, ill, a[normals], b[ill]) for a in looks for b in looks], axis=0)
    result = pd.DataFrame(found)
    result["criterion"] = (result.groups + result["worst pair"]) / 2
    lacking = result[["worst pair", *(["groups"] if shifted else [])]].isna().any(axis=1)
    return result[~lacking | (result.index == 0)]


def interval(drawn: pd.DataFrame) -> pd.DataFrame:
    """Of `draws`, or of the difference of two: indexed by figure, columns value, low, high (95 %, percentiles)."""
    low, high = drawn.iloc[1:].quantile(0.025), drawn.iloc[1:].quantile(0.975)
    return pd.DataFrame({"value": drawn.iloc[0], "low": low, "high": high})


def threshold(table: pd.DataFrame) -> float:
    """The threshold that the shifted validation would choose: Youden's index over all groups' images and all changed
    ones together, an image as often as it is shown (`evaluate.operating_point`)."""
    shown = table.melt("label", ["all", *_changes(table)]).dropna()
    return evaluate.operating_point(shown.label, shown["value"])


def _changes(table: pd.DataFrame) -> list[str]:
    return [name for name in table if name not in NO_CHANGE]
