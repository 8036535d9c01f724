"""List the images below a dataset's folder as an index table. Only names are read."""

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from pnlib.base.errors import InputError
from pnlib.datasets.dicom import SUFFIXES
from pnlib.datasets.names import class_of, original_stem, parse_name, split_of

EXTENSIONS = (".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp", ".bmp", *SUFFIXES)

# What Kaggle's edition moved from train to `val`; set aside, so that every edition gives the same 5,216 images.
_ASIDE_NORMAL = (1427, 1430, 1431, 1436, 1437, 1438, 1440, 1442)
_ASIDE_PNEUMONIA = (
    *("1946_bacteria_4874", "1946_bacteria_4875", "1947_bacteria_4876", "1949_bacteria_4880"),
    *("1950_bacteria_4881", "1951_bacteria_4882", "1952_bacteria_4883", "1954_bacteria_4886"),
)
ASIDE = frozenset(f"NORMAL2-IM-{n}-0001" for n in _ASIDE_NORMAL) | frozenset(f"person{p}" for p in _ASIDE_PNEUMONIA)

# Control characters, line separators and bytes that are no UTF-8: a name with one can't be printed or stored as it is.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def index(root: Path) -> pd.DataFrame:
    """List the images below `root` as an index table, sorted by split, label and name.

    A folder with an image's name, or a link that leads nowhere, is listed too, so that `load_images` names it.
    Besides the documented columns it has `folder`, the split's folder on disk.

    Raises:
        InputError: no images, or only one class, in train or in test; a name that can't be printed.
    """
    found = (entry for entry in entries(root) if is_image(entry[3]))
    table = as_table([row(f"{folder}/{name}", part, *label) for folder, part, label, name in found])
    if missing := missing_classes(table):
        places = " or ".join(str(root / place) for place in missing)
        found_here = [f"{a}/{b}" for a in folders(root) for b in folders(root / a)] or folders(root)
        raise InputError(
            f"Found no images in {places}; a dataset needs train/NORMAL and train/PNEUMONIA, and to evaluate "
            "test/NORMAL and test/PNEUMONIA, with image files (.jpeg, .png, .dcm …), and this folder holds "
            + (some(tuple(found_here), "folder") if found_here else "no folders")
            + "."
        )
    return table


def row(path: str, part: str, label: int, kind: str, patient: str = "") -> tuple:
    """One image for `as_table`; where no patient is given, the file name says it (InputError: it can't be printed)."""
    if _UNPRINTABLE.search(path):
        raise InputError(f"The file name {path!a} holds a character that can't be printed; rename it.")
    own, subtype, known = parse_name(os.path.splitext(os.path.basename(path))[0], label)
    return path, part, label, patient or (own if known else path), kind or subtype, known or bool(patient)


def as_table(rows: list[tuple]) -> pd.DataFrame:
    """The index table of what `row` gives, sorted, with what is set aside."""
    table = pd.DataFrame(rows, columns=["path", "folder", "label", "patient", "subtype", "known"])
    stem = table.path.str.rsplit("/", n=1).str[-1].str.rsplit(".", n=1).str[0]
    aside = (table.folder == "val") | ((table.folder == "train") & stem.map(original_stem).isin(ASIDE))
    table.insert(1, "split", table.folder.mask(aside, "aside"))
    table = table.assign(stem=stem).sort_values(["split", "label", "stem", "path"], ignore_index=True)
    return table.drop(columns="stem")


def entries(root: Path) -> Iterator[tuple[str, str, tuple[int, str], str]]:
    """(path of the class folder, split, (label, subtype), name) of everything in the class folders but hidden files."""
    for part in folders(root):
        for folder in folders(root / part) if split_of(part) else []:
            for name in _names(root / part / folder) if class_of(folder) else []:
                yield f"{part}/{folder}", split_of(part) or "", class_of(folder) or (0, ""), name


def unused_folders(root: Path) -> dict[str, int]:
    """{folder: images below it} of what belongs to no split, or in a split to no class."""
    unused = [folder for folder in folders(root) if not split_of(folder)]
    for part in set(folders(root)) - set(unused):
        unused += [f"{part}/{folder}" for folder in folders(root / part) if not class_of(folder)]
    counts = {folder: sum(_images_in(place[2]) for place in os.walk(root / folder)) for folder in unused}
    counts |= {part: _images_in(_names(root / part)) for part in folders(root) if part not in unused}
    return {folder: images for folder, images in sorted(counts.items()) if images}


def _images_in(names: list[str]) -> int:
    return sum(map(is_image, names))


def _names(folder: Path) -> list[str]:
    with _listing():
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def folders(folder: Path) -> list[str]:
    """Names of the folders in a folder."""
    with _listing():
        return [name for name in _names(folder) if name != "__MACOSX" and _is_folder(folder / name)]


@contextlib.contextmanager
def _listing() -> Iterator[None]:
    """Turn a folder that can't be listed into one sentence (InputError)."""
    try:
        yield
    except OSError as error:
        raise InputError(f"Cannot read the folder {error.filename}: {error.strerror}; make it readable.") from error


def _is_folder(path: Path) -> bool:
    """Whether there is such a folder. Of one that may not be looked at, os.path.isdir would say no; this raises."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def missing_classes(table: pd.DataFrame) -> list[str]:
    """'train/NORMAL' and the like: what train lacks, and what test lacks unless there is no test image at all."""
    return [
        f"{part}/{name}"
        for part in ("train", "test")
        for name, label in (("NORMAL", 0), ("PNEUMONIA", 1))
        if label not in set(table.label[table.folder == part]) and (part == "train" or (table.folder == part).any())
    ]


def some(names: tuple[str, ...], what: str) -> str:
    """'2 names (a, b)'; of many, the first three."""
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{len(names)} {what}{'s' if len(names) > 1 else ''} ({listed})"
