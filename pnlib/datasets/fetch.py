"""Fetch one large file over HTTP: go on where an earlier try ended, try again, and compare its SHA-256."""

import contextlib
import email.utils
import hashlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pnlib.base import files
from pnlib.base.errors import InputError, reason

if TYPE_CHECKING:
    import requests

TRIES = 5  # that bring nothing, in a row
WAIT = 1.0  # seconds before the next try, doubled after each that brought nothing
PATIENCE = 120.0  # seconds; a server that asks for a longer wait is left alone, and the user told
SILENCE = 30.0  # seconds without a byte before a connection counts as lost
CHUNK = 2**16  # bytes


def fetch(url: str, file: Path, size: int, sha256: str, progress: bool = True) -> None:
    """Download a file whose size and SHA-256 are known. What `file` holds already is not asked for again.

    Raises:
        InputError: the server can't be reached or refuses (what has come is kept in `file`), or what it sent is not
            that file (it is removed).
    """
    import requests

    failed, most = 0, 0
    while (have := _size(file)) < size:
        try:
            _append(url, file, size, progress)
        except requests.RequestException as error:
            failed = 0 if _size(file) > max(most, have) else failed + 1
            most = max(most, _size(file))
            wait = max(WAIT * 2**failed, _asked_to_wait(error.response))
            answer = error.response
            why = reason(error) if answer is None else f"the server answers {answer.status_code} {answer.reason}"
            if failed == TRIES or wait > PATIENCE or not _passes(answer):
                later = f" in {wait:.0f} s" if wait > PATIENCE else ""
                raise InputError(
                    f"Could not download {url}: {why}; run the same line again{later} to go on after the "
                    f"{_size(file) / 1e6:,.0f} MB that are kept, or fetch it with a browser and unpack it with "
                    "`pnlib download --from FILE`."
                ) from error
            print(f"{why}; trying again in {wait:.0f} s", file=sys.stderr, flush=True)
            time.sleep(wait)
        except OSError:  # the disk's; requests' own are OSErrors as well
            with files.writing(file):
                raise
    with open(file, "rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest != sha256:
        file.unlink()
        raise InputError(
            f"Could not download {url}: what came has the SHA-256 {digest}, not {sha256}; it is removed, so try again."
        )


def _append(url: str, file: Path, size: int, progress: bool) -> None:
    """One try: ask for the rest of the file, and write what comes. requests' exceptions, where not all of it came."""
    import requests
    from tqdm import tqdm

    have = _size(file)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=SILENCE) as answer:
        if answer.status_code == 416:  # there is no such part, so what we have is no beginning of this file
            file.unlink()
        answer.raise_for_status()
        part = answer.status_code == 206  # else the whole file comes: this server knows no parts
        if part and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise requests.RequestException("the server sent another part than the one it was asked for")
        bar = tqdm(total=size, initial=have if part else 0, unit="B", unit_scale=True, disable=not progress)
        with bar, open(file, "ab" if part else "wb") as content:
            for chunk in answer.iter_content(CHUNK):
                content.write(chunk)
                bar.update(len(chunk))
                if content.tell() >= size:  # whatever the server says of its length
                    return
    if _size(file) < size:
        raise requests.RequestException(f"the server ended after {_size(file):,} of {size:,} bytes")


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _passes(answer: "requests.Response | None") -> bool:
    """Whether trying again may help: after no answer, after "too many requests", and after a server's own errors."""
    return answer is None or answer.status_code in (408, 416, 429) or answer.status_code >= 500


def _asked_to_wait(answer: "requests.Response | None") -> float:
    """Seconds of a Retry-After header, which holds a number or a date; 0 without one."""
    asked = answer.headers.get("Retry-After", "") if answer is not None else ""
    if asked.isdecimal():
        return float(asked)
    with contextlib.suppress(ValueError):
        return email.utils.parsedate_to_datetime(asked).timestamp() - time.time()
    return 0
