"""Bring a dataset to where it is looked for: the published one over the network, or a file that you have."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from pnlib.base import files, paths
from pnlib.base.errors import InputError
from pnlib.datasets.fetch import fetch
from pnlib.datasets.index import index
from pnlib.datasets.unpack import unpack

URL = "https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/f12eaf6d-6023-432f-acc9-80c9d7393433/file_downloaded"
SHA256 = "13efc055629733dbab07877f8b3c9f81097840dbcdaa326a8542322c2281ce36"
BYTES = 1_235_512_464


def download(
    target: str | Path | None = None, url: str = URL, sha256: str = SHA256, size: int = BYTES, progress: bool = True
) -> Path:
    """Download and unpack the dataset to `target` (default: `data/chest_xray` in the project).

    After an interruption of any kind, the same call goes on: the archive is kept in `.NAME.partial` beside `target`
    until the dataset is in place. Its SHA-256 is compared before anything is unpacked.

    Raises:
        InputError: `target` exists, another process downloads there, the disk is too small, the server can't be
            reached, or the checksum is wrong.
    """
    with _beside(target) as (place, partial):
        archive = partial / "archive"
        files.check_space(partial, 2 * size - (archive.stat().st_size if archive.exists() else 0))
        fetch(url, archive, size, sha256, progress)
        _put(archive, partial, place)
    return place


def unpack_to(target: str | Path | None, archive: str | Path) -> Path:
    """Unpack a file that you have (`pnlib.datasets.unpack`) to `target` (default: `data/chest_xray` in the project).

    Raises:
        InputError: `target` exists, `archive` is no file, or no dataset can be unpacked from it.
    """
    source = paths.resolve(archive)
    if source.is_dir():
        raise InputError(f"{source} is a folder, so there is nothing to unpack; set PNLIB_DATA to it.")
    with _beside(target) as (place, partial):
        _put(source, partial, place)
    return place


@contextlib.contextmanager
def _beside(target: str | Path | None) -> Iterator[tuple[Path, Path]]:
    """`target`, and a folder beside it to work in, for one process at a time. An archive in there outlives an error."""
    place = Path(target) if target is not None else paths.root() / "data" / "chest_xray"
    if place.exists():
        raise InputError(f"{place} exists already; remove it first to get the dataset again.")
    partial = place.with_name(f".{place.name}.partial")
    with files.locked(partial, "downloading", "another folder (--to)"):
        try:
            yield place, partial
        finally:
            keep = (partial / "archive").exists() and not place.exists()
            shutil.rmtree(partial / "unpacked" if keep else partial, ignore_errors=True)


def _put(archive: Path, partial: Path, place: Path) -> None:
    """Unpack, look whether it is a dataset, and only then give it its name: it is there whole or not at all."""
    unpacked = partial / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)  # of a process that was killed
    unpack(archive, unpacked)
    index(unpacked)
    with files.writing(place):
        files.sync_disks()
        unpacked.rename(place)
        files.fsync_dir(place.parent)
