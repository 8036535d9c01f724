"""A study's table: one row per finished trial, and what the stress test says of each."""

import functools
import hashlib
import io
from pathlib import Path

import pandas as pd

from pnlib.base import files, paths
from pnlib.base.errors import InputError, reason
from pnlib.stress import crossed_auroc, read_stress, stress_summary
from pnlib.studies.criterion import criterion_replicates, percentile_interval
from pnlib.studies.grid import Study, Trial


def collect(study: Study) -> pd.DataFrame:
    """One row per finished trial.

    Columns: config, seed; `auroc random`, `auroc framing`… of `stress_summary`, and the mean and worst of groups and of
    corruptions; the values of the selection criterion with their 95 % intervals (`criterion`, `criterion low`…), and
    how much each exceeds the first config's with the same seed (`criterion gain`, `criterion gain low`…, paired);
    settings, key; results on the test images (`test accuracy`…) where the study reads them.

    Raises:
        InputError: what is stored of a trial is damaged.
    """
    rows, first = [], {}
    for trial in study.finished():
        folder, seed = study.folder_of(trial), str(trial.settings["seed"])
        try:
            own = _criterion(folder / "train" / "stress.csv")
            if trial.config == study.trials[0].config:
                first[seed] = own
            rows.append(_row(study, trial, folder) | _criterion_columns(own, first.get(seed)) | _rest(trial, folder))
        except Exception as error:  # pandas raises many kinds
            raise InputError(
                f"What is stored in {folder} is damaged; delete that folder, and run the same line again."
            ) from error
    return pd.DataFrame(rows)


@functools.cache
def _criterion(path: Path) -> tuple[pd.DataFrame, str]:
    """Of a stored stress table, which doesn't change any more: the criterion, and which patients."""
    stressed = read_stress(path)
    who = hashlib.sha256(stressed[["path", "patient"]].to_csv().encode()).hexdigest()
    return criterion_replicates(stressed), who


def _criterion_columns(own: tuple, first: tuple | None) -> dict:
    """The criterion of a trial with intervals, and its gain over the first config on the same validation patients."""
    replicates, who = own
    row: dict = {}
    tables = {"": replicates}
    if first is not None and first[0] is not replicates and first[1] == who:
        tables[" gain"] = replicates - first[0]
    for word, table in tables.items():
        for name, line in percentile_interval(table).dropna().iterrows():
            row |= {f"{name}{word}": line.value, f"{name}{word} low": line.low, f"{name}{word} high": line.high}
    return row


def _row(study: Study, trial: Trial, folder: Path) -> dict:
    stressed = read_stress(folder / "train" / "stress.csv")
    table = stress_summary(stressed)
    row = {"config": trial.config, "seed": trial.settings["seed"]}
    for column in ("auroc", "specificity", "sensitivity"):
        row |= {f"{column} {name}": value for name, value in table[column].items()}
    for kind, part in table.groupby("kind"):
        shifted = part.drop(index=["random", "all"], errors="ignore") if kind == "group" else part
        if len(shifted):
            row |= {f"mean auroc, {kind}s": shifted.auroc.mean(), f"worst auroc, {kind}s": shifted.auroc.min()}
            balanced = (shifted.sensitivity + shifted.specificity) / 2
            row[f"mean balanced accuracy, {kind}s"] = balanced.mean()
    matrix = crossed_auroc(stressed).to_numpy()
    return row | {"mean auroc, crossed": matrix.mean(), "worst auroc, crossed": matrix.min()}


def _rest(trial: Trial, folder: Path) -> dict:
    row: dict = {}
    if trial.test:
        metrics = files.read_json(folder / "evaluate" / "metrics.json")["metrics"]
        row |= {f"test {name}": values[0] for name, values in metrics.items()}
    row["seconds"] = files.read_json(folder / "trial.json")["seconds"]
    row |= {f"setting {name}": value for name, value in trial.settings.items() if name != "seed"}
    return row | {"key": trial.key}


def one_line(folder: Path) -> str:
    """What the stress test says of one trial, in a few words."""
    auroc = stress_summary(read_stress(folder / "train" / "stress.csv")).auroc
    worst = auroc.drop(index="random", errors="ignore")
    return f"AUROC {auroc['random']:.3f}, worst {worst.min():.3f} ({worst.idxmin()})"


def write_table(study: Study) -> Path | None:
    """Write `table.csv` and `plot.png` of what is finished; returns the table's path (None: nothing is finished)."""
    table = collect(study)
    if table.empty:
        return None
    files.atomic_write(study.folder / "table.csv", table.to_csv(index=False, float_format="%.6g"))
    from pnlib.studies import plots

    picture = io.BytesIO()
    plots.study(table).savefig(picture, format="png", dpi=120)
    files.atomic_write(study.folder / "plot.png", picture.getvalue())
    return study.folder / "table.csv"


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row per config, in the study's order: seeds, and the mean over them of the main columns."""
    main = [f"{which} auroc, {kind}" for kind in ("groups", "corruptions", "crossed") for which in ("mean", "worst")]
    columns = [c for c in ("auroc random", *main, "test accuracy", "test auroc", "seconds") if c in table]
    grouped = table.groupby("config", sort=False)
    return grouped[columns].mean().round(4).assign(seeds=grouped.size())


def load_table(path: str | Path) -> pd.DataFrame:
    """The table of a study, committed or in a run folder: one row per config and seed (a repeated row counts once).

    Raises:
        InputError: no such file, or no table of a study.

    >>> from pnlib.studies import load_table
    >>> len(load_table("studies/short.csv"))
    5
    """
    place = paths.resolve(path)
    if place.suffix != ".csv":
        raise InputError(f"{place} is no table of a study; give a .csv file.")
    try:
        table = pd.read_csv(place)
    except (OSError, ValueError) as error:
        raise InputError(f"Cannot read the table {place}: {reason(error)}.") from error
    missing = [column for column in ("config", "seed", "auroc random") if column not in table]
    if missing:
        raise InputError(f"{place} is no table of a study: it lacks {', '.join(missing)}; take one of pnlib study.")
    return table.drop_duplicates(["config", "seed"]).reset_index(drop=True)


def promise_and_test(plain: pd.DataFrame, recipe: pd.DataFrame) -> pd.DataFrame:
    """What validation promised of two recipes, what the stress test said, and what the test images showed.

    Args:
        plain, recipe: tables of studies that read the test images, without and with augmentation and balancing.

    Returns:
        One row per value, one column per recipe: means over the seeds.
    """
    values = {
        "validation AUROC": "auroc random",
        "stress test: worst AUROC": "worst auroc, crossed",
        "test AUROC": "test auroc",
        "test sensitivity": "test sensitivity",
        "test specificity": "test specificity",
        "test accuracy": "test accuracy",
    }
    tables = {"no augmentation, no balancing": plain, "recipe of this series": recipe}
    means = {name: table[[*values.values()]].mean() for name, table in tables.items()}
    return pd.DataFrame(means).rename(index={column: words for words, column in values.items()})
