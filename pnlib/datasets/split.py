"""Which patients train and which validate."""

import warnings
from pathlib import Path

import pandas as pd

from pnlib.base.errors import InputError, reason
from pnlib.config import check_parameters
from pnlib.datasets.find import Dataset


def split_by_patient(table: pd.DataFrame, validation: float = 0.15, seed: int = 0) -> pd.DataFrame:
    """Split validation off the training images: by patient, stratified by label, seeded.

    Args:
        table: index table. Only split, label and patient are read, so every edition gives the same split.
        validation: about the wanted share of the training images, 0.02 to 0.5. scikit-learn's StratifiedGroupKFold
            makes round(1 / validation) parts of about equal size, one of which is taken: 0.15 gives 1/7.
        seed: shuffles the patients.

    Returns:
        The rows of train and test (what is set aside is left out) with the column `part`: train, validation, test.

    Raises:
        InputError: fewer patients of one class than parts, or a class that is all on one side.

    >>> import pnlib
    >>> rows = pnlib.split_by_patient(pnlib.find_dataset("demo").table, validation=0.15, seed=0)
    >>> patients = rows.groupby("part").patient.agg(set)
    >>> patients["train"] & patients["validation"]
    set()
    """
    from sklearn.model_selection import StratifiedGroupKFold

    check_parameters(validation=validation, seed=seed)
    folds = round(1 / validation)
    train = table[table.split == "train"]
    patients = train.groupby("label").patient.nunique()
    fewest = int(patients.reindex([0, 1], fill_value=0).min())
    if fewest < folds:
        raise InputError(
            f"validation={validation} needs at least {folds} patients of each class in train; found {fewest}."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class smaller than `folds`, refused above by patients
        kfold = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        rest, held_out = next(kfold.split(train.path, train.label, train.patient))
    if min(train.label.iloc[side].nunique() for side in (rest, held_out)) < 2:
        raise InputError(f"seed={seed} leaves a class on one side of the split alone; give another seed or validation.")
    part = table.split.copy()
    part[train.index[held_out]] = "validation"
    return table.assign(part=part)[part != "aside"].reset_index(drop=True)


def rows_of_run(dataset: Dataset, folder: Path, part: str) -> pd.DataFrame:
    """The rows that a finished training had in `part` (train or validation), as its `index.csv` says.

    Args:
        folder: the training's folder, `runs/NAME/train`.

    Raises:
        InputError: the run was trained on other images than this dataset's.
    """
    same = ["split", "label", "patient", "subtype"]
    try:
        index = pd.read_csv(folder / "index.csv", keep_default_na=False, dtype={"path": str, "patient": str})
        sound = index.path.is_unique and set(index.part) <= {"train", "validation"} and len(index[same]) > 0
    except Exception as error:  # pandas raises many kinds
        raise InputError(f"Cannot read {folder / 'index.csv'}: {reason(error)}; run 04_train again.") from error
    here = dataset.table.set_index("path").reindex(index.path)[same]
    if not sound or not (here.to_numpy() == index[same].to_numpy()).all():
        raise InputError(
            f"The run in {folder} was trained on other images than {dataset.root} holds; run 04_train with it first."
        )
    return index[index.part == part].reset_index(drop=True)
