"""Fetch the published dataset, verify its checksum, unpack it safely."""

import shutil
import stat
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from pnlib import runs
from pnlib.errors import InputError, reason

URL = "https://data.mendeley.com/public-files/datasets/rscbjbr9sj/files/f12eaf6d-6023-432f-acc9-80c9d7393433/file_downloaded"
SHA256 = "13efc055629733dbab07877f8b3c9f81097840dbcdaa326a8542322c2281ce36"
BYTES = 1_235_512_464
LARGEST = 8 * 2**30  # bytes unpacked; the published archive holds less than a quarter of it


def fetch(target: str | Path | None = None, url: str = URL, sha256: str = SHA256, progress: bool = True) -> Path:
    """Download and unpack the dataset to `target` (default: `data/chest_xray` in the project).

    The archive lands under a temporary name beside `target`, is compared with its SHA-256, unpacked to another
    temporary name, and that folder is renamed: `target` is there whole or not at all.

    Raises:
        InputError: `target` exists, the server can't be reached, the checksum is wrong, or the archive is not safe.
    """
    import pooch

    target = Path(target) if target is not None else runs.root() / "data" / "chest_xray"
    if target.exists():
        raise InputError(f"{target} exists already; remove it first to download the dataset again.")
    with runs.writing(target):
        runs.make_folder(target.parent)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".download-"))
    try:
        try:
            archive = pooch.retrieve(url, f"sha256:{sha256}", "archive.zip", temporary, progressbar=progress)
        except Exception as error:  # pooch raises ValueError on a wrong hash, requests' errors and OSError otherwise
            raise InputError(
                f"Could not download {url}: {reason(error)}; check the connection and try again."
            ) from error
        unpack(Path(archive), temporary / "unpacked")
        inner = [p for p in (temporary / "unpacked").rglob("train") if p.is_dir() and "__MACOSX" not in p.parts]
        if len(inner) != 1:
            raise InputError(
                f"The archive from {url} holds {len(inner)} folders named train, not one; it is not this dataset."
            )
        with runs.writing(target):
            runs.sync()
            inner[0].parent.rename(target)
            runs.settle(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip archive into a new folder; every name is checked before a byte is written.

    Raises:
        InputError: a name that is absolute, leads outside or comes twice; a link; more than 8 GiB; a damaged archive.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = file.infolist()
            seen = set()
            for member in members:
                name = member.filename.replace("\\", "/")
                parts = PurePosixPath(name).parts
                mode = member.external_attr >> 16
                if name.startswith("/") or ".." in parts or (parts and ":" in parts[0]):
                    raise InputError(
                        f"The archive's entry {member.filename!r} leads outside its folder; it was not unpacked."
                    )
                if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise InputError(
                        f"The archive's entry {member.filename!r} is a link or a device; it was not unpacked."
                    )
                if parts in seen:  # ./a and a are one
                    raise InputError(f"The archive holds {member.filename!r} twice; it was not unpacked.")
                seen.add(parts)
            if sum(member.file_size for member in members) > LARGEST:
                raise InputError(f"The archive would unpack to more than {LARGEST // 2**30} GiB; it was not unpacked.")
            with runs.writing(target):
                target.mkdir(parents=True)
                file.extractall(target)
    except InputError:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds
        raise InputError(f"{archive.name} is no sound zip archive: {reason(error)}; download it again.") from error
