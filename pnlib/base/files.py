"""Files that are written whole or not at all, and that are still there after a power cut."""

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pnlib.base.errors import InputError, reason


@contextlib.contextmanager
def writing(target: str | Path) -> Iterator[None]:
    """Turn a failed write (full disk, read-only folder) into one sentence that names the place (InputError)."""
    try:
        yield
    except OSError as error:
        said = error.strerror or str(error)
        raise InputError(
            f"Cannot write {target}: {said}; free some space, or name other folders in PNLIB_RUNS and PNLIB_CACHE."
        ) from error


def atomic_write(path: str | Path, content: str | bytes | memoryview | Callable[[BinaryIO], None]) -> None:
    """Write a file so that readers see the old one or the new one, never a part: temporary name, fsync, rename.

    `content` may be a function that writes to the open file.
    """
    path = Path(path)
    with writing(path):
        make_dir(path.parent)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with temporary.open("xb") as file:
                if callable(content):
                    content(file)
                else:
                    file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_dir(path.parent)


def make_dir(folder: Path) -> None:
    """Make a folder, and those above it, so that their names are on the disk when this returns."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in reversed(made):
        fsync_dir(place.parent)


def fsync_dir(folder: Path) -> None:
    """Wait until the names in a folder are on the disk: only then does a rename survive a power cut."""
    if os.name != "posix":  # elsewhere a folder can't be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems can't
            raise
    finally:
        os.close(handle)


def sync_disks() -> None:
    """Wait until everything written is on the disk, before a folder of many files is renamed."""
    if hasattr(os, "sync"):  # not on Windows
        os.sync()


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON whole or not at all. NaN is refused (ValueError)."""
    atomic_write(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON. A missing or damaged file gives one sentence (InputError)."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"Cannot read {path}: {reason(error)}; run the notebook that writes it again.") from error


def set_aside(folder: Path) -> Path | None:
    """Rename a folder to `NAME~1`, `NAME~2`… so that its place is free. Returns its new name (None: there was none)."""
    if not folder.exists():
        return None
    number = 1
    while (kept := folder.with_name(f"{folder.name}~{number}")).exists():
        number += 1
    with writing(kept):
        return folder.rename(kept)


def put_in_place(partial: Path, final: Path) -> Path | None:
    """Rename a finished folder to its final name. One already there is set aside, and its new name returned."""
    kept = set_aside(final)
    with writing(final):
        partial.rename(final)
        fsync_dir(final.parent)
    return kept


def check_space(folder: Path, needed: float) -> None:
    """InputError where the disk of a folder has fewer than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{folder} has {free / 1e9:.1f} GB free, and {needed / 1e9:.1f} GB are needed; free some space, or give "
            "another folder."
        )


@contextlib.contextmanager
def locked(folder: Path, job: str, instead: str = "another name (--name, or the parameter run)") -> Iterator[None]:
    """Hold a folder's lock for a job, such as "training", or "executing notebooks" (one of which trains).

    The system releases it when the process ends, however it ends. InputError: another process does this job here.
    """
    import filelock

    with writing(folder):
        make_dir(folder)
        lock = filelock.FileLock(folder / f".{job.split()[0]}")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise InputError(
                f"Another process is {job} under the name {folder.name!r}; wait until it is done, or give {instead}."
            ) from None
    try:
        yield
    finally:
        lock.release()
