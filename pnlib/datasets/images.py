"""Image files to pixels: decoded once, then read from a cache."""

import concurrent.futures
import contextlib
import errno
import hashlib
import mmap
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pandas as pd
import PIL.Image
import PIL.ImageOps

from pnlib.base import files, paths
from pnlib.base.errors import InputError, reason
from pnlib.base.machine import threads
from pnlib.datasets.dicom import is_dicom, read_dicom, source

if TYPE_CHECKING:
    from pnlib.datasets.find import Dataset

SIZE = 150  # pixels, height and width of what a network reads
SMALLEST = 32  # pixels; an image with a shorter side is no radiograph
LARGEST = 100_000_000  # pixels in all; more is refused as a decompression bomb
FLAT = 8  # gray levels of 255; an image whose values differ by less shows nothing
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")  # as Pillow calls them; DICOM beside them
IN_MEMORY = 2**30  # bytes of a split's images (47,000 of them); more are mapped from the cache
DECODER = "3"  # part of the cache's key: raise it whenever `decode` changes what it returns


def decode(path: str | Path | bytes, size: int = SIZE, invert: bool = False) -> np.ndarray:
    """Read an image file as (size, size, 1) uint8, 0 black to 255 white. The aspect ratio is not kept.

    An EXIF rotation is applied first. Then by kind: grayscale stays; RGB, palette and CMYK become luma (ITU-R 601);
    alpha is laid over black; more than 8 bits are scaled, by as many bits as the largest value takes (10, 12, 14 or
    16: a DICOM's 12 bits often come in a PNG of 16). Resized bilinearly with antialiasing.

    Args:
        path: a JPEG, PNG, TIFF, WebP, BMP or DICOM file; or the content of one, as bytes.
        size: height and width of the result, in pixels.
        invert: for images in which bone is black.

    Raises:
        InputError: not an image, damaged, truncated, of another mode, shorter than 32 pixels on a side, of more than
            100 million pixels, or nearly without contrast.

    >>> import pnlib
    >>> dataset = pnlib.find_dataset("demo")
    >>> image = pnlib.decode(dataset.root / dataset.table.path[0])
    >>> image.shape, str(image.dtype)
    ((150, 150, 1), 'uint8')
    """
    try:
        with _quiet():
            gray = PIL.Image.fromarray(read_dicom(path, LARGEST)) if is_dicom(path) else _read(path, size)
        if min(gray.size) < SMALLEST:
            raise ValueError(f"{gray.width} x {gray.height} pixels is too small to be a radiograph")
        if (span := np.ptp(np.asarray(gray))) < FLAT:
            raise ValueError(f"its gray values differ by {span} of 255 at most, so it shows nothing")
    except Exception as error:  # Pillow raises many kinds: SyntaxError, struct.error, zlib.error…
        raise InputError(f"Cannot read {named(path)}: {_reason(error)}; replace or remove it.") from error
    pixels = np.asarray(gray.resize((size, size), PIL.Image.Resampling.BILINEAR), np.uint8)[..., None]
    return 255 - pixels if invert else pixels


def named(path: str | Path | bytes) -> str:
    """An image file in a sentence; content without a name is `the image`."""
    return "the image" if isinstance(path, bytes) else str(path)


def _read(path: str | Path | bytes, size: int) -> PIL.Image.Image:
    """An image file that Pillow reads, as 8 bits of gray."""
    with opened(path) as image:
        if image.width * image.height > LARGEST:
            raise ValueError(f"{image.width} x {image.height} pixels is too large")
        if image.format in ("TIFF", "WEBP") and (frames := getattr(image, "n_frames", 1)) > 1:
            raise ValueError(f"it holds {frames} images; give one of them as a file of its own")
        if image.format in ("JPEG", "MPO") and not _has_end(path, image.fp.tell()):  # type: ignore[attr-defined]
            raise ValueError("its end is missing")
        image.draft("L", (2 * size, 2 * size))  # of a large JPEG, libjpeg then decodes 1/2, 1/4 or 1/8 of the side
        image.load()
        return _to_gray(PIL.ImageOps.exif_transpose(image))


def _to_gray(image: PIL.Image.Image) -> PIL.Image.Image:
    """An image of any mode as 8 bits of gray (ValueError where that can't be)."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64).clip(0)
        if not np.isfinite(values).all():
            raise ValueError("some of its values are no numbers")
        bits = next((bits for bits in (8, 10, 12, 14) if values.max() < 2**bits), 16)
        return PIL.Image.fromarray((values * (255 / (2**bits - 1))).clip(0, 255).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "black"), image).convert("L")
    if image.mode not in ("1", "L", "P", "RGB", "CMYK", "YCbCr"):
        raise ValueError(f"mode {image.mode} is not supported")
    return image.convert("L")


def file_header(path: Path) -> tuple[int, int, str]:
    """Width and height in pixels, and Pillow's mode (L is gray), from a file's header (InputError where damaged)."""
    try:
        if is_dicom(path):
            height, width = read_dicom(path, LARGEST).shape
            return width, height, "L"
        with _quiet(), opened(path) as image:
            return (*image.size, image.mode)
    except Exception as error:
        raise InputError(f"Cannot read {path}: {_reason(error)}; replace or remove it.") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of Pillow's, about many pixels or damaged EXIF: what matters is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def opened(path: str | Path | bytes) -> PIL.Image.Image:
    """An image whose header was read."""
    return PIL.Image.open(source(path), formats=FORMATS)


def _has_end(path: str | Path | bytes, start: int) -> bool:
    """Whether a JPEG's end marker comes after `start`.

    An interrupted copy may end in zeros, which libjpeg decodes as even gray, without a word. In compressed data the
    marker can't occur.
    """
    if isinstance(path, bytes):
        return path.rfind(b"\xff\xd9", start) >= 0
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.rfind(b"\xff\xd9", start) >= 0


def _reason(error: Exception) -> str:
    return (
        "it is no JPEG, PNG, TIFF, WebP, BMP or DICOM image"
        if isinstance(error, PIL.UnidentifiedImageError)
        else reason(error)
    )


def load_images(dataset: "Dataset", rows: pd.DataFrame, size: int = SIZE) -> np.ndarray:
    """Images of `rows`, in their order: (n, size, size, 1) uint8.

    Each split of the dataset is decoded once, as a whole, then read from the cache. No split is touched that `rows`
    has no image of. The cache's key covers each file's path, size and modification time, the image size and the
    decoder's version, so a changed file means a new cache. Two processes may build it at once: each writes a file of
    its own, and the last rename wins with the same content.

    A whole split of more than 1 GB is mapped from the file: the system reads what is looked at, and may forget it
    again. Writing to it changes no file.

    Raises:
        InputError: damaged images, all of the split named at once; a missing image; or no place to write the cache.

    >>> import pnlib
    >>> dataset = pnlib.find_dataset("demo")
    >>> pnlib.load_images(dataset, dataset.rows("test")).shape
    (200, 150, 150, 1)
    """
    parts = {split: dataset.table.path[dataset.table.split == split] for split in rows.split.unique()}
    if len(parts) == 1 and np.array_equal(rows.path, whole := next(iter(parts.values()))):
        return _cached(dataset.root, whole, size)
    images = np.empty((len(rows), size, size, 1), np.uint8)
    for split, whole in parts.items():
        stored = _cached(dataset.root, whole, size)
        wanted = (rows.split == split).to_numpy()
        for i, place in zip(np.flatnonzero(wanted), pd.Index(whole).get_indexer(rows.path[wanted]), strict=True):
            images[i] = stored[place]
    return images


def _key(root: Path, names: pd.Series, size: int) -> str:
    key = hashlib.sha256(f"{root}|{size}|{DECODER}".encode(errors="surrogateescape"))
    for path in names:
        try:
            status = os.stat(root / path)
            key.update(f"{path}|{status.st_size}|{status.st_mtime_ns}\n".encode())
        except OSError:  # `decode` names it
            key.update(f"{path}|missing\n".encode())
    return key.hexdigest()[:32]


def _cached(root: Path, names: pd.Series, size: int) -> np.ndarray:
    cached = paths.cache_dir() / f"{_key(root, names, size)}.npy"
    shape = (len(names), size, size, 1)
    with contextlib.suppress(Exception):  # not there yet, or damaged (NumPy raises many kinds)
        return _stored(cached, shape)
    files.atomic_write(cached, lambda file: _write(file, [root / path for path in names], shape))
    return _stored(cached, shape)


def _stored(cached: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A cache's images. After the array it has their SHA-256: nobody would see one damaged pixel."""
    mapped = np.lib.format.open_memmap(cached, mode="c")  # refuses a pickle
    images = np.asarray(mapped) if mapped.nbytes > IN_MEMORY else np.array(mapped)
    with open(cached, "rb") as file:
        file.seek(mapped.offset + mapped.nbytes)
        if (images.shape, images.dtype, file.read()) != (shape, np.uint8, hashlib.sha256(images.data).digest()):
            raise InputError(f"{cached} doesn't hold what was written; delete it, and run this again.")
    return images


def _write(file: BinaryIO, places: list[Path], shape: tuple[int, ...]) -> None:
    """Decode images into a cache. InputError: damaged images, all of them named."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    digest = hashlib.sha256()
    damaged: dict[Path, InputError] = {}
    for place, image in zip(places, _decode_all(places, shape[1]), strict=True):
        if isinstance(image, InputError):
            damaged[place] = image
        else:
            digest.update(image.data)
            file.write(image.data)  # not by np.save, which doesn't say why the system refuses
    if damaged:
        first, *others = damaged
        raise InputError(
            str(damaged[first])
            + (f" Damaged too: {', '.join(map(str, others))}." if others else "")
            + " To leave damaged images out instead: pnlib run --skip-damaged, or PNLIB_DAMAGED=skip."
        )
    file.write(digest.digest())


def damaged_images(root: Path, names: pd.Series) -> tuple[str, ...]:
    """Those of the images that `decode` refuses. The cache remembers them, so that all are read only once.

    Raises:
        InputError: the system couldn't read one (permission, disk, memory): that is no damage, and may pass.
    """
    cached = paths.cache_dir() / f"{_key(root, names, SIZE)}.damaged.json"
    with contextlib.suppress(InputError):
        found = files.read_json(cached)
        if isinstance(found, list) and all(isinstance(path, str) for path in found) and set(found) <= set(names):
            return tuple(found)
    found = []
    for path, image in zip(names, _decode_all([root / path for path in names], SIZE), strict=True):
        if isinstance(image, InputError):
            if _is_the_systems(image.__cause__):
                raise InputError(f"{image} That is no damage of the image, so it isn't skipped.")
            found.append(path)
    files.write_json(cached, found)
    return tuple(found)


def _is_the_systems(error: BaseException | None) -> bool:
    """Whether the system failed, not the image: Pillow's own OSError has no number, a link leads nowhere by itself."""
    numbered = isinstance(error, OSError) and error.errno not in (None, errno.ENOENT, errno.ELOOP)
    return numbered or isinstance(error, MemoryError)


def _decode_all(places: list[Path], size: int) -> Iterator[np.ndarray | InputError]:
    """The image of each place, or what is wrong with it; 1,000 are decoded at a time."""

    def one(place: Path) -> np.ndarray | InputError:
        try:
            return decode(place, size)
        except InputError as error:
            return error

    for start in range(0, len(places), 1000):
        with _quiet(), concurrent.futures.ThreadPoolExecutor(threads()) as pool:  # warnings' filters know no threads
            found = list(pool.map(one, places[start : start + 1000]))
        yield from found  # nothing is held open: a caller may stop here
