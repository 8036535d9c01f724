"""What a reviewer in medical imaging asks of a set of predictions: bands, calibration, operating points at a fixed
specificity, net benefit, subgroups, prevalence, comparison of two networks, and where a gap comes from."""

import numpy as np
import pandas as pd

from pnlib import evaluate
from pnlib.errors import InputError


def bands(labels, probabilities, patients, resamples: int = 1000, seed: int = 0) -> dict[str, pd.DataFrame]:
    """ROC and precision-recall curves with pointwise 95 % bands, bootstrap over patients.

    Returns:
        {'roc': …, 'pr': …}, each with columns x (0 to 1 in 101 steps: false positive rate; recall), value, low, high
        (true positive rate; precision, as the largest one at that recall or more).
    """
    from sklearn import metrics as sk

    labels, probabilities = evaluate.checked(labels, probabilities)
    grid = np.linspace(0, 1, 101)

    def roc(chosen):
        false_positive, true_positive, _ = sk.roc_curve(labels[chosen], probabilities[chosen])
        return np.interp(grid, false_positive, true_positive)

    def pr(chosen):
        precision, recall, _ = sk.precision_recall_curve(labels[chosen], probabilities[chosen])
        best = np.maximum.accumulate(precision)  # recall falls along the curve
        return np.interp(grid, recall[::-1], best[::-1])

    everything, curves = np.arange(len(labels)), {"roc": [], "pr": []}
    for chosen in evaluate.patient_draws(labels, patients, resamples, seed):
        curves["roc"].append(roc(chosen))
        curves["pr"].append(pr(chosen))
    result = {}
    for name, curve in (("roc", roc), ("pr", pr)):
        low, high = np.quantile(curves[name], [0.025, 0.975], axis=0)
        result[name] = pd.DataFrame({"x": grid, "value": curve(everything), "low": low, "high": high})
    return result


def intervals(figures, labels, probabilities, patients, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """95 % percentile intervals of any figures, bootstrap over patients.

    Args:
        figures: function of labels (n,) and probabilities (n,) to {name: value}.

    Returns:
        Indexed by name; columns value, low, high.
    """
    labels, probabilities = evaluate.checked(labels, probabilities)
    draws = evaluate.patient_draws(labels, patients, resamples, seed)
    drawn = pd.DataFrame([figures(labels[chosen], probabilities[chosen]) for chosen in draws])
    low, high = drawn.quantile(0.025), drawn.quantile(0.975)
    return pd.DataFrame({"value": pd.Series(figures(labels, probabilities)), "low": low, "high": high})


def at_fixed(labels, probabilities, patients, level: float = 0.9, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Sensitivity where specificity is at least `level`, and the reverse, each at its best threshold, with the 95 %
    interval of a bootstrap over patients. Indexed by what is fixed; columns value, low, high."""
    from sklearn.metrics import roc_curve

    def both(labels, probabilities):
        fpr, tpr, _ = roc_curve(labels, probabilities, drop_intermediate=False)
        return {
            f"sensitivity at specificity {level:.2f}": tpr[1 - fpr >= level - 1e-12].max(),
            f"specificity at sensitivity {level:.2f}": (1 - fpr)[tpr >= level - 1e-12].max(),
        }

    return intervals(both, labels, probabilities, patients, resamples, seed)


def reliability(labels, probabilities, bins: int = 10, exact: bool = False) -> pd.DataFrame:
    """Reliability table: bins of equal width; columns predicted (mean probability), observed (share of pneumonia),
    images. Empty bins are left out.

    Args:
        exact: with columns low and high, the exact 95 % interval of each observed share (Clopper and Pearson,
            Biometrika 26, 1934), images taken as independent.
    """
    import scipy.stats

    labels, probabilities = evaluate.checked(labels, probabilities)
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    table = pd.DataFrame({"bin": place, "predicted": probabilities, "observed": labels})
    table = table.groupby("bin").agg(
        predicted=("predicted", "mean"), observed=("observed", "mean"), images=("observed", "size")
    )
    if exact:
        counts = zip((table.observed * table.images).round().astype(int), table.images, strict=True)
        table[["low", "high"]] = [scipy.stats.binomtest(k, n).proportion_ci(0.95, method="exact") for k, n in counts]
    return table


def calibration_error(labels, probabilities, bins: int = 10) -> float:
    """Expected calibration error: mean distance of predicted and observed over the bins of `reliability`, weighted by
    their images (Naeini et al., AAAI 2015; Guo et al., arXiv 1706.04599). 0 is best; it depends on the bins."""
    table = reliability(labels, probabilities, bins)
    return float((table.images * (table.predicted - table.observed).abs()).sum() / table.images.sum())


def calibration_line(labels, probabilities) -> dict[str, float]:
    """Calibration in the large and slope, on the logits (Cox, Biometrika 45, 1958; Van Calster et al., BMC Medicine 17,
    2019): what would have to be added to all logits for the mean probability to be the observed share (0 is best;
    above: probabilities are too low), and the factor of the logits in a logistic regression (1 is best; below:
    probabilities are too extreme; infinite where every pneumonia has a larger one than every normal image)."""
    import scipy.optimize
    import scipy.special
    from sklearn.linear_model import LogisticRegression

    labels, probabilities = evaluate.checked(labels, probabilities)
    logits = _logits(probabilities)
    intercept = scipy.optimize.brentq(lambda a: scipy.special.expit(logits + a).mean() - labels.mean(), -40, 40)
    if logits[labels == 1].min() > logits[labels == 0].max():  # no maximum: the fit ends where its solver gives up
        slope = np.inf
    else:
        slope = LogisticRegression(C=np.inf).fit(logits[:, None], labels).coef_[0, 0]
    return {"calibration in the large": float(intercept), "calibration slope": float(slope)}


def temperature(labels, probabilities) -> float:
    """The temperature T, from 0.05 to 20, that divides the logits so that the cross-entropy is smallest (Guo et al.,
    arXiv 1706.04599): to be called with validation data. T > 1 makes probabilities less extreme; the ranking stays."""
    import scipy.optimize

    labels, probabilities = evaluate.checked(labels, probabilities)
    logits = _logits(probabilities)

    def cross_entropy(log_t):
        return np.logaddexp(0, np.where(labels == 1, -1, 1) * logits / np.exp(log_t)).mean()

    found = scipy.optimize.minimize_scalar(cross_entropy, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def rescale(probabilities, temperature: float) -> np.ndarray:
    """Probabilities with their logits divided by the temperature."""
    return 1 / (1 + np.exp(-_logits(np.asarray(probabilities, np.float64)) / temperature))


def _logits(probabilities):
    clipped = np.clip(probabilities, 1e-7, 1 - 1e-7)
    return np.log(clipped) - np.log1p(-clipped)


def net_benefit(labels, probabilities, thresholds=None) -> pd.DataFrame:
    """Decision curve (Vickers and Elkin, Med. Decis. Making 26, 2006): net benefit of acting on p >= threshold, and of
    acting on everybody (on nobody it is 0), at threshold probabilities from 0.01 to 0.99.

    Returns:
        Columns threshold, model, all.
    """
    labels, probabilities = evaluate.checked(labels, probabilities)
    thresholds = np.linspace(0.01, 0.99, 99) if thresholds is None else np.asarray(thresholds)
    odds = thresholds / (1 - thresholds)
    alarm = probabilities[None] >= thresholds[:, None]
    hits, false_alarms = (alarm & (labels == 1)).mean(1), (alarm & (labels == 0)).mean(1)
    prevalence = labels.mean()
    everybody = prevalence - (1 - prevalence) * odds
    return pd.DataFrame({"threshold": thresholds, "model": hits - false_alarms * odds, "all": everybody})


def by_subgroup(
    table: pd.DataFrame, column: str, threshold: float = 0.5, resamples: int = 0, seed: int = 0
) -> pd.DataFrame:
    """Of each value of `column`: images of each class, and sensitivity and specificity (NaN where a class is missing).

    Args:
        table: columns label, probability, `column`, and for intervals patient.
        resamples: draws of patients for the 95 % intervals, columns `sensitivity low`…; 0: none. Where all or none of
            a class are right, a bootstrap finds no spread: there it is the exact interval of Clopper and Pearson
            (Biometrika 26, 1934), which counts patients instead of images. One patient, right in part, has none (NaN).
    """
    rows = {}
    for value, part in table.assign(alarm=table.probability >= threshold).groupby(column, observed=True):
        ill = part[part.label == 1]
        normal = part[part.label == 0]
        rows[value] = {"normal": len(normal), "pneumonia": len(ill)}
        rows[value] |= {"sensitivity": ill.alarm.mean(), "specificity": (~normal.alarm).mean()}
        if resamples:
            rows[value] |= _share("sensitivity", ill.alarm, ill.patient, resamples, seed)
            rows[value] |= _share("specificity", ~normal.alarm, normal.patient, resamples, seed)
    return pd.DataFrame(rows).T.astype({"normal": int, "pneumonia": int}).rename_axis(column)


def _share(name: str, right: pd.Series, patients: pd.Series, resamples: int, seed: int) -> dict[str, float]:
    """The 95 % interval of a share of images, over patients: {'NAME low': …, 'NAME high': …}."""
    import scipy.stats

    of_patient = right.groupby(patients).agg(["sum", "size"]).to_numpy()
    if not len(of_patient) or (len(of_patient) == 1 and 0 < right.sum() < len(right)):
        low, high = np.nan, np.nan
    elif right.all() or not right.any():
        n = len(of_patient)
        low, high = scipy.stats.binomtest(n if right.all() else 0, n).proportion_ci(0.95, method="exact")
    else:
        drawn = np.random.default_rng(seed).integers(len(of_patient), size=(resamples, len(of_patient)))
        hits, images = of_patient[drawn].sum(axis=1).T
        low, high = np.quantile(hits / images, [0.025, 0.975])
    return {f"{name} low": float(low), f"{name} high": float(high)}


def predictive_values(sensitivity: float, specificity: float, prevalences) -> pd.DataFrame:
    """Positive and negative predictive value by Bayes' rule. Columns prevalence, ppv, npv."""
    share = np.asarray(prevalences, np.float64)
    if not ((share > 0) & (share < 1)).all():
        raise InputError("A prevalence must be above 0 and below 1.")
    true_alarms, false_alarms = sensitivity * share, (1 - specificity) * (1 - share)
    true_rests, false_rests = specificity * (1 - share), (1 - sensitivity) * share
    with np.errstate(invalid="ignore"):
        ppv, npv = true_alarms / (true_alarms + false_alarms), true_rests / (true_rests + false_rests)
    return pd.DataFrame({"prevalence": share, "ppv": ppv, "npv": npv})


def compare(labels, first, second, patients, threshold: float = 0.5, resamples: int = 1000, seed: int = 0) -> dict:
    """Two networks on the same images.

    Returns:
        {'differences': DataFrame indexed by metric, with second minus first as value, low, high (paired bootstrap over
        patients), 'only_first': images that only the first has right, 'only_second', 'mcnemar': two-sided exact p-value
        of McNemar's test, which takes images as independent}.
    """
    import scipy.stats

    labels, first = evaluate.checked(labels, first)
    _, second = evaluate.checked(labels, second)
    names = ["accuracy", "sensitivity", "specificity", "auroc"]
    a, b = (evaluate.metrics(labels, p, threshold) for p in (first, second))
    value = [b[name] - a[name] for name in names]
    one, other = (
        evaluate.metrics_of_draws(labels, p, patients, threshold, resamples, seed)[names] for p in (first, second)
    )
    low, high = np.quantile(other - one, [0.025, 0.975], axis=0)
    right_first, right_second = ((p >= threshold) == (labels == 1) for p in (first, second))
    only_first, only_second = int((right_first & ~right_second).sum()), int((right_second & ~right_first).sum())
    disagree = only_first + only_second
    p_value = scipy.stats.binomtest(only_first, disagree).pvalue if disagree else 1.0
    table = pd.DataFrame({"value": value, "low": low, "high": high}, index=pd.Index(names, name="metric"))
    return {"differences": table, "only_first": only_first, "only_second": only_second, "mcnemar": float(p_value)}


def drift(validation, test, threshold: float = 0.5, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Every figure on two sets of patients, and the second less the first with its 95 % interval: bootstrap over the
    patients of each set, drawn independently, as if nobody were in both.

    Args:
        validation, test: triples of labels, probabilities and patients.

    Returns:
        Indexed by metric; columns validation, test, difference, low, high.
    """
    columns, drawn = {}, []
    for name, (labels, probabilities, patients) in (("validation", validation), ("test", test)):
        labels, probabilities = evaluate.checked(labels, probabilities)
        columns[name] = evaluate.metrics(labels, probabilities, threshold)
        drawn.append(evaluate.metrics_of_draws(labels, probabilities, patients, threshold, resamples, seed))
        seed += 1  # another set's patients: other draws
    low, high = np.quantile(drawn[1] - drawn[0], [0.025, 0.975], axis=0)
    table = pd.DataFrame(columns).rename_axis("metric")
    return table.assign(difference=table.test - table.validation, low=low, high=high)


def gap(validation, test, threshold: float = 0.5) -> pd.DataFrame:
    """Where the accuracy goes between validation and test, step by step; the steps add up exactly.

    1. validation, at the threshold that is best for it; 2. the same, weighted to the test's share of pneumonia
    (prevalence); 3. test, at the threshold that is best for it (ranking: what no threshold can repair); 4. test, at the
    threshold in use. Best thresholds on the test serve this account alone, and nothing else.

    Args:
        validation, test: pairs of labels and probabilities.

    Returns:
        Columns accuracy, change; indexed by step.
    """
    (val_labels, val_p), (test_labels, test_p) = (evaluate.checked(*pair) for pair in (validation, test))
    prevalence = test_labels.mean()

    def rates(labels, p):
        candidates = np.concatenate([[-np.inf], np.unique(p), [np.inf]])
        ill, healthy = np.sort(p[labels == 1]), np.sort(p[labels == 0])
        sensitivity = 1 - np.searchsorted(ill, candidates) / len(ill)
        return sensitivity, np.searchsorted(healthy, candidates) / len(healthy)

    def best(labels, p, share):
        sensitivity, specificity = rates(labels, p)
        return float((share * sensitivity + (1 - share) * specificity).max())

    in_use = float(((test_p >= threshold) == (test_labels == 1)).mean())
    steps = {
        "validation, its best threshold": best(val_labels, val_p, val_labels.mean()),
        "at the test's prevalence": best(val_labels, val_p, prevalence),
        "test, its best threshold (ranking)": best(test_labels, test_p, prevalence),
        f"test, threshold {threshold:g} (threshold in use)": in_use,
    }
    table = pd.DataFrame({"accuracy": steps})
    return table.assign(change=table.accuracy.diff())


def optimism(table: pd.DataFrame) -> pd.DataFrame:
    """What rules of choosing gain over a rule that doesn't look, and how much of that is luck.

    Args:
        table: one row a seed and rule; columns seed, rule, reported (the figure on the images that a rule may have
            looked at) and worth (the same figure on images that no rule has seen). The first rule is the one that the
            others are held against, seed by seed, so that what is lucky about a seed's images cancels out.

    Returns:
        Indexed by rule: mean reported and worth; `reported gain` and `real gain` over the first rule; `luck`, their
        difference, with its 95 % interval over the seeds (low, high; paired, t distribution); seeds. The interval takes
        the seeds as independent: where they share their images, it speaks of these images only.
    """
    import scipy.stats

    reported, worth = (table.pivot(index="seed", columns="rule", values=name) for name in ("reported", "worth"))
    rows = {}
    for rule in table.rule.unique():
        gains = [(figures[rule] - figures[table.rule.iloc[0]]) for figures in (reported, worth)]
        luck = gains[0] - gains[1]
        half = scipy.stats.t.ppf(0.975, len(luck) - 1) * luck.sem()
        rows[rule] = {
            "reported": reported[rule].mean(), "worth": worth[rule].mean(), "reported gain": gains[0].mean(),
            "real gain": gains[1].mean(), "luck": luck.mean(), "low": luck.mean() - half, "high": luck.mean() + half,
            "seeds": len(luck),
        }  # fmt: skip
    return pd.DataFrame(rows).T.astype({"seeds": int}).rename_axis("rule")
