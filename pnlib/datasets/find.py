"""Find a dataset and index it. Only names are read, and a few headers."""

import contextlib
import dataclasses
import os
from pathlib import Path

import pandas as pd

from pnlib.base import paths
from pnlib.base.errors import InputError
from pnlib.datasets import demo
from pnlib.datasets.from_csv import index_csv
from pnlib.datasets.images import damaged_images, file_header
from pnlib.datasets.index import entries, folders, index, is_image, missing_classes, some, unused_folders
from pnlib.datasets.names import VERSION_3, split_of
from pnlib.datasets.unpack import MEDMNIST

ATTRIBUTION = "Kermany, Zhang, Goldbaum: Mendeley Data rscbjbr9sj v2, CC BY 4.0"

# (images in train and in val as found on disk, in test) of the editions that people have.
EDITIONS: dict[tuple[int, ...], str] = {
    (5232, 0, 624): "as published (5,232 + 624 images)",
    (5216, 16, 624): "Kaggle (5,216 + 16 in val + 624 images)",
    (5216, 0, 624): "Kaggle without its val folder (5,216 + 624 images)",
}
PUBLISHED = {("train", 0): 1341, ("train", 1): 3875, ("test", 0): 234, ("test", 1): 390}


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset that was found: its folder, its index table, and what it is.

    Attributes:
        root: folder that the paths in the table are relative to.
        source: what `find_dataset` finds it by: that folder, or a CSV file in it.
        table: the index table, one row per image (`pnlib.datasets`).
        edition: which edition it is, in words.
        is_demo: True for the synthetic demo dataset.
        is_published: True for the 5,216 + 624 published images, all of them, so that stated results apply.
        skipped: damaged images that are not in the table (PNLIB_DAMAGED=skip).
        others: files in the class folders that are no images by their names.
        unused: {folder: images} of the folders that belong to no split or class.
    """

    root: Path
    source: Path
    table: pd.DataFrame
    edition: str
    is_demo: bool
    is_published: bool
    skipped: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    unused: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def attribution(self) -> str:
        """One line that a figure carries."""
        if self.is_demo:
            return "demo data: synthetic phantoms, not X-rays"
        return ATTRIBUTION if self.is_published else f"images: {self.edition}"

    def rows(self, split: str) -> pd.DataFrame:
        """The index table's rows of one split: train, test or aside (InputError: there are no test images)."""
        rows = self.table[self.table.split == split].reset_index(drop=True)
        if split == "test" and rows.empty:
            raise InputError(
                f"{self.source} has no test images, so nothing can be evaluated on it; add test/NORMAL and "
                "test/PNEUMONIA, or in a CSV file rows whose split is test."
            )
        return rows

    def describe(self) -> str:
        """A few lines that say which dataset this is; loud about the demo and about unknown file names."""
        lines = [f"dataset: {self.edition}"]
        if self.is_demo:
            loud = "!!! DEMO DATA: synthetic phantoms, not X-rays; no figure below says anything about pneumonia !!!"
            lines.insert(0, loud)
        if self.skipped:
            lines.append(f"SKIPPED: {some(self.skipped, 'damaged image')}; no stated result holds without them")
        aside, unknown = int((self.table.split == "aside").sum()), int((~self.table.known).sum())
        if aside:
            lines.append(
                f"set aside: {aside} images of a val folder, or of Kaggle's (validation is split off by patient)"
            )
        if not (self.table.split == "test").any():
            lines.append("NOTE: no test images; training and predictions work, 05_evaluate doesn't")
        if unknown:
            lines.append(f"NOTE: {unknown} file names have no published pattern; each counts as a patient of its own")
        if self.others:
            lines.append(f"NOTE: {some(self.others, 'name')} beside the images left out: no image files by their names")
        for folder, images in self.unused.items():
            lines.append(
                f"NOTE: {folder}/ left out, {images} image{'s' * (images > 1)}: no folder of a split or a class"
            )
        return "\n".join(lines)


def find_dataset(data: str = "") -> Dataset:
    """Find and index a dataset: the folder or CSV file `data`, else PNLIB_DATA, else `data/chest_xray`, else the demo.

    Damaged images stay in the table, and `load_images` refuses them. With PNLIB_DAMAGED=skip every image is read once
    here; those that can't be are left out, and named in `skipped`.

    Args:
        data: a folder that holds train/ and test/ (or chest_xray/ around them); a CSV file with the columns path and
            label (`pnlib.datasets.from_csv`); 'demo' for the synthetic dataset; '' to search.

    Raises:
        InputError: the folder is missing, empty, can't be read, or lacks a class; a file name that can't be printed; a
            CSV file with a bad row.

    >>> import pnlib
    >>> dataset = pnlib.find_dataset("demo")
    >>> dataset.table.groupby(["split", "label"]).size().to_dict()
    {('test', 0): 75, ('test', 1): 125, ('train', 0): 206, ('train', 1): 594}
    """
    damaged = os.environ.get("PNLIB_DAMAGED") or "refuse"
    if damaged not in ("refuse", "skip"):
        raise InputError(f"PNLIB_DAMAGED={damaged!r} is not possible; give refuse or skip.")
    source = _place_of(data or os.environ.get("PNLIB_DATA", ""))
    is_csv = os.path.isfile(source)
    root = source.parent if is_csv else source
    table = index_csv(source) if is_csv else index(source)
    is_demo = os.path.isfile(root / demo.MARKER)
    edition, is_published = ("demo (synthetic phantoms)", False) if is_demo else _edition(source, table)
    skipped = damaged_images(root, table.path) if damaged == "skip" else ()
    if skipped:
        table = table[~table.path.isin(skipped)].reset_index(drop=True)
        if missing := missing_classes(table):
            places = " or ".join(str(root / place) for place in missing)
            raise InputError(f"All images in {places} are damaged, so skipping them leaves none; replace them.")
        edition += ", without " + ("a damaged image" if len(skipped) == 1 else f"{len(skipped)} damaged images")
    if not is_demo:
        edition += _resized(root, table.path[table.split == "train"])
    is_published = is_published and not skipped
    found = Dataset(root, source, table.drop(columns="folder"), edition, is_demo, is_published, skipped)
    if is_csv:
        return found
    others = tuple(f"{folder}/{name}" for folder, _, _, name in entries(root) if not is_image(name))
    return dataclasses.replace(found, others=others, unused=unused_folders(root))


def _edition(source: Path, table: pd.DataFrame) -> tuple[str, bool]:
    """Which edition an index table (with `folder`) is, in words, and whether it is the published images."""
    counts = tuple(int(table.folder.eq(part).sum()) for part in ("train", "val", "test"))
    numbers = "{} train, {} val, {} test images".format(*counts)
    if os.path.isfile(source):
        return f"table {source.name}: {numbers}", False
    of_version_3 = table.path.str.rsplit("/", n=1).str[-1].str.match(VERSION_3.pattern + r"\.")
    if of_version_3.mean() > 0.9:  # whether its split is that of version 2 can't be told from names
        return f"version 3 on Mendeley: {numbers}; stated results are of version 2", False
    if counts == tuple(MEDMNIST.values()):
        return f"PneumoniaMNIST of MedMNIST, in its own split, not the published one: {numbers}", False
    by_class = table[table.split != "aside"].groupby(["split", "label"]).size().to_dict()
    if counts in EDITIONS and by_class == PUBLISHED and table.known.all():
        return EDITIONS[counts], True
    return f"other: {numbers}", False


def _place_of(data: str) -> Path:
    """The folder with train/ and test/, or the CSV file, that is asked for."""
    if not data:
        default = paths.root() / "data" / "chest_xray"
        data = str(default) if default.is_dir() else "demo"
    folder = demo.ensure_demo(paths.demo_dir()) if data == "demo" else paths.resolve(data)
    if not os.path.isdir(folder):  # Path.is_dir raises where a name is too long, or a folder closed
        if os.path.isfile(folder):
            if folder.suffix.lower() == ".csv":
                return folder
            raise InputError(
                f"{folder} is a file; unpack it with `pnlib download --from {folder}`, or give a folder with train/ "
                "and test/ inside, or a .csv file."
            )
        raise InputError(
            f"There is no dataset folder {folder}; give one with train/ and test/ inside, or run `pnlib download`."
        )
    if _has_train(folder):
        return folder
    for pattern in ("*", "*/*"):  # folders around it, such as ChestXRay2017/chest_xray
        inside = [place for place in sorted(folder.glob(pattern)) if place.is_dir() and _has_train(place)]
        if len(inside) > 1:
            raise InputError(f"{folder} holds {some(tuple(p.name for p in inside), 'dataset')}; give one of them.")
        if inside:
            return inside[0]
    return folder


def _has_train(folder: Path) -> bool:
    return "train" in map(split_of, folders(folder))


def _resized(root: Path, train: pd.Series) -> str:
    """', resized to W x H pixels' where all of a sample of the training images have one size."""
    sizes: set[tuple] = set()
    for path in train.iloc[:: max(1, len(train) // 80)]:
        with contextlib.suppress(InputError):  # `load_images` names it, together with all the others
            sizes.add(file_header(root / path)[:2])
        if len(sizes) > 1:
            break
    return ", resized to {} x {} pixels".format(*sizes.pop()) if len(sizes) == 1 and len(train) > 10 else ""
