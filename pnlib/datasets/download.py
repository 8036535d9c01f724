"""Fetch the published dataset, verify its checksum, unpack it."""

import shutil
import tempfile
from pathlib import Path

from pnlib.base import files, paths
from pnlib.base.errors import InputError, reason

URL = "https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/f12eaf6d-6023-432f-acc9-80c9d7393433/file_downloaded"
SHA256 = "13efc055629733dbab07877f8b3c9f81097840dbcdaa326a8542322c2281ce36"
BYTES = 1_235_512_464


def download(target: str | Path | None = None, url: str = URL, sha256: str = SHA256, progress: bool = True) -> Path:
    """Download and unpack the dataset to `target` (default: `data/chest_xray` in the project).

    pooch compares the archive with its SHA-256 before a byte is unpacked. All that happens under a temporary name
    beside `target`, which is renamed at the end: `target` is there whole or not at all.

    Raises:
        InputError: `target` exists, the server can't be reached, the checksum is wrong, or the archive is not this
            dataset.
    """
    import pooch

    target = Path(target) if target is not None else paths.root() / "data" / "chest_xray"
    if target.exists():
        raise InputError(f"{target} exists already; remove it first to download the dataset again.")
    with files.writing(target):
        files.make_dir(target.parent)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".download-"))
    try:
        try:
            unzip = pooch.Unzip(extract_dir="unpacked")
            pooch.retrieve(url, f"sha256:{sha256}", "archive.zip", temporary, unzip, progressbar=progress)
        except Exception as error:  # pooch raises ValueError on a wrong hash, requests' and zipfile's errors otherwise
            raise InputError(
                f"Could not download {url}: {reason(error)}; check the connection and try again."
            ) from error
        inner = [p for p in (temporary / "unpacked").rglob("train") if p.is_dir() and "__MACOSX" not in p.parts]
        if len(inner) != 1:
            raise InputError(
                f"The archive from {url} holds {len(inner)} folders named train, not one; it is not this dataset."
            )
        with files.writing(target):
            files.sync_disks()
            inner[0].parent.rename(target)
            files.fsync_dir(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target
