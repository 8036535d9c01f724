"""An external test set: 523 chest X-rays of NIH ChestX-ray14, nearly all of adults. Nothing is ever chosen by it.

Wang et al., ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks, CVPR 2017. The NIH puts no restriction on
use, and asks for a citation, an acknowledgement and a link. `pnlib/external.csv` lists the images, without pixels:
267 without finding and 256 with pneumonia among their findings, as the NIH's labels say, which were mined from reports.
"""

import os
from pathlib import Path

import pandas as pd

from pnlib.base import paths
from pnlib.base.errors import InputError
from pnlib.datasets.find import Dataset
from pnlib.datasets.index import is_image

SITE = "nihcc.app.box.com/v/ChestXray-NIHCC"
ATTRIBUTION = f"NIH Clinical Center: ChestX-ray14 (Wang et al., CVPR 2017), {SITE}"


def listed() -> pd.DataFrame:
    """The 523 images: name (as the NIH names its files), label, patient, age in years, sex, view (PA, AP), findings."""
    return pd.read_csv(paths.PACKAGE / "external.csv", dtype={"patient": str})


def external_folder(folder: str | Path = "") -> Path:
    """Where the images are looked for: `folder`, else PNLIB_EXTERNAL, else `data/external`."""
    return paths.resolve(str(folder) or os.environ.get("PNLIB_EXTERNAL", "") or str(paths.root() / "data" / "external"))


def find_external(folder: str | Path = "") -> Dataset:
    """The external test set, from image files of the NIH's names (00001280_004.png, say) anywhere below a folder.

    Its table has the columns of the index table, all in the split `external`, and age, sex, view and findings.

    Args:
        folder: see `external_folder`.

    Raises:
        InputError: some of the images are missing.
    """
    root, table = external_folder(folder), listed()
    files = {path.stem: path.relative_to(root).as_posix() for path in root.rglob("*") if is_image(path.name)}
    missing = ~table.name.isin(files)
    if missing.any():
        first = table.name[missing].iloc[0]
        raise InputError(
            f"{missing.sum()} of the {len(table)} external images are missing below {root}, {first} for one; "
            "`pnlib download --external` says where they are to be had."
        )
    table.insert(0, "path", table.name.map(files))
    table = table.assign(split="external", subtype=table.label.map({0: "none", 1: "unknown"}), known=True)
    return Dataset(root, root, table, f"NIH ChestX-ray14, {len(table)} images", is_demo=False, is_published=False)
