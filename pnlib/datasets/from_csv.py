"""A CSV file of paths and labels to an index table.

| column | meaning |
| --- | --- |
| path | of the image file: absolute, or relative to the CSV file's folder |
| label | 0 or NORMAL, 1 or PNEUMONIA; BACTERIA and VIRUS are pneumonia |
| split | train, test or val, as folders may be called; without it, train |
| patient | any name; without it, what the file name says |

Other columns are left out. Columns stand in any order, separated by commas or semicolons.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from pnlib.base.errors import InputError, reason
from pnlib.datasets.index import as_table, missing_classes, row
from pnlib.datasets.names import class_of, split_of

LABELS = {"0": "NORMAL", "1": "PNEUMONIA"}


def index_csv(file: Path) -> pd.DataFrame:
    """The index table of a CSV file, as `index` gives it for a folder.

    Raises:
        InputError: the file can't be read, lacks a column or a class, or has a bad row: the first one is named.
    """
    try:
        table = as_table(list(_rows(file)))
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"Cannot read {file}: {reason(error)}; save it as CSV in UTF-8.") from error
    if missing := missing_classes(table):
        places = " and ".join(place.replace("/", " of label ") for place in missing)
        raise InputError(f"{file} has no rows for {places}; add some.")
    return table


def _rows(file: Path) -> Iterator[tuple]:
    with open(file, encoding="utf-8-sig", newline="") as lines:
        header = lines.readline()
        separator = ";" if header.count(";") > header.count(",") else ","
        columns = [name.strip().lower() for name in next(csv.reader([header], delimiter=separator), [])]
        if not {"path", "label"} <= set(columns):
            raise InputError(f"{file} has no columns path and label; its first line must name them.")
        paths: dict[str, int] = {}  # and the line of each
        sides: dict[str, tuple[str, int]] = {}  # of each patient that is given: split, and the line that says so
        reader = csv.DictReader(lines, columns, delimiter=separator, restval="")
        for cells in reader:
            line = reader.line_num + 1
            path, label, split, patient = (
                (cells.get(name) or "").strip() for name in ("path", "label", "split", "patient")
            )
            kind, part = class_of(LABELS.get(label, label)), split_of(split or "train")
            wrong = ""
            if not os.path.isfile(file.parent / path):
                wrong = f"there is no file {path!a}"
            elif kind is None:
                wrong = f"the label {label!a} is not 0, 1, NORMAL or PNEUMONIA"
            elif part is None:
                wrong = f"the split {split!a} is not train, test or val"
            elif paths.setdefault(path, line) != line:
                wrong = f"{path!a} is already in line {paths[path]}"
            elif patient and part != "val" and sides.setdefault(patient, (part, line))[0] != part:
                wrong = f"the patient {patient!a} is {part}, but {sides[patient][0]} in line {sides[patient][1]}"
            if wrong or kind is None or part is None:
                raise InputError(f"{file}, line {line}: {wrong}; correct that row.")
            yield row(path, part, *kind, patient)
