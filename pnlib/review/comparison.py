"""Compared: subgroups of patients, two networks, validation with test, and ways to choose an epoch."""

from typing import Any

import numpy as np
import pandas as pd

from pnlib.base.errors import InputError
from pnlib.evaluation import checked, metric_replicates, metrics


def by_subgroup(
    predictions: pd.DataFrame, column: str, threshold: float = 0.5, resamples: int = 0, seed: int = 0
) -> pd.DataFrame:
    """Sensitivity and specificity for each value of a column, with the images of each class. A missing class gives NaN.

    Args:
        column: what to group by, such as subtype.
        resamples: draws of patients for 95 % intervals; 0: none. Where all or no images of a class are right, a
            bootstrap finds no spread: there the interval is the exact one of Clopper and Pearson (Biometrika 26, 1934),
            with patients counted instead of images. One patient, right in part, has no interval (NaN).

    Returns:
        Indexed by the values of the column: normal, pneumonia (images), sensitivity, specificity; with intervals also
        'sensitivity low', 'sensitivity high' and the same of specificity.
    """
    rows: dict[Any, dict[str, float]] = {}
    table = predictions.assign(right=(predictions.probability >= threshold) == (predictions.label == 1))
    for value, part in table.groupby(column, observed=True):
        ill, normal = part[part.label == 1], part[part.label == 0]
        rows[value] = {"normal": len(normal), "pneumonia": len(ill)}
        rows[value] |= {"sensitivity": ill.right.mean(), "specificity": normal.right.mean()}
        for name, images in (("sensitivity", ill), ("specificity", normal)) if resamples else ():
            rows[value][f"{name} low"], rows[value][f"{name} high"] = _interval(images, resamples, seed)
    return pd.DataFrame(rows).T.astype({"normal": int, "pneumonia": int}).rename_axis(column)


def _interval(images: pd.DataFrame, resamples: int, seed: int) -> tuple[float, float]:
    """The 95 % interval, over patients, of the share of images that are right."""
    from scipy.stats import binomtest

    of_patient = images.right.groupby(images.patient).agg(["sum", "size"]).to_numpy()
    patients, share = len(of_patient), images.right.mean()
    if not patients or (patients == 1 and 0 < share < 1):
        return np.nan, np.nan
    if share in (0, 1):
        exact = binomtest(int(share) * patients, patients).proportion_ci(0.95, method="exact")
        return float(exact.low), float(exact.high)
    drawn = np.random.default_rng(seed).integers(patients, size=(resamples, patients))
    right, size = of_patient[drawn].sum(axis=1).T
    low, high = np.quantile(right / size, [0.025, 0.975])
    return float(low), float(high)


def compare(
    first: pd.DataFrame, second: pd.DataFrame, threshold: float = 0.5, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Two networks on the same images, in the same order.

    Returns:
        'differences': indexed by metric, second minus first as value, low, high (paired bootstrap over patients).
        'only_first' and 'only_second': how many images only that network has right. 'mcnemar': the two-sided exact
        p-value of McNemar's test, which takes images as independent.

    Raises:
        InputError: paths, labels or patients differ; or as for `metrics`.
    """
    from scipy.stats import binomtest

    for name in ("path", "label", "patient"):
        if name in first and name in second and not np.array_equal(first[name], second[name]):
            raise InputError(
                f"Networks can be compared on the same images only: the {name}s of the two predictions tables differ."
            )
    labels, a = checked(first)
    _, b = checked(second)
    value = pd.Series(metrics(second, threshold)) - pd.Series(metrics(first, threshold))
    drawn = metric_replicates(second, threshold, resamples, seed) - metric_replicates(first, threshold, resamples, seed)
    table = pd.DataFrame({"value": value, "low": drawn.quantile(0.025), "high": drawn.quantile(0.975)})
    table = table.loc[["accuracy", "sensitivity", "specificity", "auroc"]].rename_axis("metric")
    right_a, right_b = ((p >= threshold) == (labels == 1) for p in (a, b))
    only_first, only_second = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    disagree = only_first + only_second
    p_value = float(binomtest(only_first, disagree).pvalue) if disagree else 1.0
    return {"differences": table, "only_first": only_first, "only_second": only_second, "mcnemar": p_value}


def drift(
    validation: pd.DataFrame, test: pd.DataFrame, threshold: float = 0.5, resamples: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Every metric on two sets of patients, and test minus validation with its 95 % interval.

    The bootstrap draws the patients of each set independently, as if no patient were in both.

    Returns:
        Indexed by metric; columns validation, test, difference, low, high.
    """
    sets = {"validation": validation, "test": test}
    table = pd.DataFrame({name: metrics(one, threshold) for name, one in sets.items()}).rename_axis("metric")
    of_validation = metric_replicates(validation, threshold, resamples, seed)
    drawn = metric_replicates(test, threshold, resamples, seed + 1) - of_validation  # other patients: other draws
    low, high = drawn.quantile(0.025), drawn.quantile(0.975)
    return table.assign(difference=table.test - table.validation, low=low, high=high)


def optimism(table: pd.DataFrame) -> pd.DataFrame:
    """What rules for choosing an epoch gain over a rule that doesn't look at the test images, and how much is luck.

    Args:
        table: one row per seed and rule; columns seed, rule, reported (the metric on images that a rule may have looked
            at) and worth (the same metric on images that no rule has seen). The first rule is the one to compare with.
            Gains are taken seed by seed, so that a seed's easy or difficult images cancel out.

    Returns:
        Indexed by rule: mean reported and worth; 'reported gain' and 'real gain' over the first rule; luck, their
        difference, with its 95 % interval (low, high; paired, t distribution); seeds. The interval takes seeds as
        independent. Where they share images, it holds for these images only.
    """
    from scipy.stats import t

    reported, worth = (table.pivot(index="seed", columns="rule", values=name) for name in ("reported", "worth"))
    rules = table.rule.unique()
    reported_gain, real_gain = (values.sub(values[rules[0]], axis=0) for values in (reported, worth))
    luck = reported_gain - real_gain
    half = t.ppf(0.975, len(luck) - 1) * luck.sem()
    columns = {
        "reported": reported.mean(), "worth": worth.mean(), "reported gain": reported_gain.mean(),
        "real gain": real_gain.mean(), "luck": luck.mean(), "low": luck.mean() - half, "high": luck.mean() + half,
    }  # fmt: skip
    return pd.DataFrame(columns).assign(seeds=len(luck)).loc[rules].rename_axis("rule")
