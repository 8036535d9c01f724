"""Find a dataset, index it, split it by patient, decode it once.

files -> index table -> patient-wise split -> uint8 array (cached) -> `feed`. A row of the index table is one image:

| column | type | meaning |
| --- | --- | --- |
| path | str | relative to the dataset's folder, with '/' |
| split | str | train, test, or 'aside' (the 16 images of Kaggle's `val` folder, or any other `val` folder) |
| label | int | 1 pneumonia, 0 normal |
| patient | str | from the file name; a name of unknown pattern is a patient of its own |
| subtype | str | bacteria, virus, none (normal), unknown |
| known | bool | whether the file name has the published pattern |

After `split_by_patient`, the column `part` says train, validation or test.
"""

import concurrent.futures
import contextlib
import dataclasses
import errno
import hashlib
import io
import mmap
import os
import re
import stat
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import PIL.ImageOps

from pnlib import demo, runs
from pnlib.errors import InputError, reason

SIZE = 150  # pixels, height and width of what the model reads
SMALLEST = 32  # pixels; an image with a shorter side is no radiograph
LARGEST = 100_000_000  # pixels in all; more is refused as a decompression bomb
DECODER = "1"  # part of the cache's key: raise it whenever `decode` changes what it returns
CLASSES = {"NORMAL": 0, "PNEUMONIA": 1}
EXTENSIONS = (".jpeg", ".jpg", ".png")
ATTRIBUTION = "Kermany, Zhang, Goldbaum: Mendeley Data rscbjbr9sj v2, CC BY 4.0"

# What Kaggle's edition moved from train to `val`; set aside, so that every edition gives the same 5,216 images.
_ASIDE_NORMAL = (1427, 1430, 1431, 1436, 1437, 1438, 1440, 1442)
_ASIDE_PNEUMONIA = (
    *("1946_bacteria_4874", "1946_bacteria_4875", "1947_bacteria_4876", "1949_bacteria_4880"),
    *("1950_bacteria_4881", "1951_bacteria_4882", "1952_bacteria_4883", "1954_bacteria_4886"),
)
ASIDE = frozenset(f"NORMAL2-IM-{n}-0001" for n in _ASIDE_NORMAL) | frozenset(f"person{p}" for p in _ASIDE_PNEUMONIA)

# (images in train and in val as found on disk, in test) of the editions that people have.
EDITIONS = {
    (5232, 0, 624): "as published (5,232 + 624 images)",
    (5216, 16, 624): "Kaggle (5,216 + 16 in val + 624 images)",
    (5216, 0, 624): "Kaggle without its val folder (5,216 + 624 images)",
}

PUBLISHED = {("train", 0): 1341, ("train", 1): 3875, ("test", 0): 234, ("test", 1): 390}

DAMAGED = ("refuse", "skip")  # what PNLIB_DAMAGED may say

# Control characters, line separators and bytes that are no UTF-8: a name with one can't be printed or stored as it is.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NAME = re.compile(r"(?P<person>person\d+)_(?P<subtype>bacteria|virus)_\d+(_\d+)*|(?P<normal>(NORMAL2-)?IM-\d+)(-\d+)+")


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset that was found: its folder, its index table, and what it is.

    Attributes: `root` (folder with train/ and test/), `table` (one row an image), `edition` (in words),
    `is_demo` (True for the synthetic demo dataset), `is_published` (True where the 5,216 + 624 images are the
    published ones, all of them, so that stated results apply), `skipped` (damaged images that are not in the table,
    see `find`), `others` (files and folders beside the images, whose names end otherwise).
    """

    root: Path
    table: pd.DataFrame
    edition: str
    is_demo: bool
    is_published: bool
    skipped: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def attribution(self) -> str:
        """One line that a figure carries."""
        if self.is_demo:
            return "demo data: synthetic phantoms, not X-rays"
        return ATTRIBUTION if self.is_published else f"images: {self.edition}"

    def describe(self) -> str:
        """A few lines that say which dataset this is; loud about the demo and about unknown file names."""
        lines = [f"dataset: {self.edition}"]
        if self.is_demo:
            lines = [
                "!!! DEMO DATA: synthetic phantoms, not X-rays; no figure below says anything about pneumonia !!!"
            ] + lines
        if self.skipped:
            lines.append(f"SKIPPED: {_some(self.skipped, 'damaged image')}; no stated result holds without them")
        aside = int((self.table.split == "aside").sum())
        unknown = int((~self.table.known).sum())
        if aside:
            lines.append(
                f"set aside: {aside} images of a val folder, or of Kaggle's (validation is split off by patient)"
            )
        if unknown:
            lines.append(f"NOTE: {unknown} file names have no published pattern; each counts as a patient of its own")
        if self.others:
            lines.append(f"NOTE: {_some(self.others, 'name')} beside the images left out: no .jpeg, .jpg or .png")
        return "\n".join(lines)


def _some(names: tuple[str, ...], what: str) -> str:
    """'2 names (a, b)'; of many, the first three."""
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"{len(names)} {what}{'s' if len(names) > 1 else ''} ({shown})"


def find(data: str = "") -> Dataset:
    """Find and index a dataset: the folder `data`, else PNLIB_DATA, else `data/chest_xray`, else the demo.

    Damaged images stay in the table, and `load` refuses them. With PNLIB_DAMAGED=skip every image is read once here,
    and those that can't be are left out, and named in `skipped`; of the others nothing but that is kept.

    Args:
        data: a folder that holds train/ and test/ (or chest_xray/ around them); 'demo' for the synthetic dataset;
            '' to search.

    Raises:
        InputError: the folder is missing, empty, can't be read, or lacks a class; a file name that can't be printed.
    """
    damaged = os.environ.get("PNLIB_DAMAGED") or "refuse"
    if damaged not in DAMAGED:
        raise InputError(f"PNLIB_DAMAGED={damaged!r} is not possible; give {' or '.join(DAMAGED)}.")
    data = data or os.environ.get("PNLIB_DATA", "")
    if not data:
        default = runs.root() / "data" / "chest_xray"
        data = str(default) if default.is_dir() else "demo"
    folder = demo.ensure(runs.root() / "data") if data == "demo" else runs.resolve(data)
    if not os.path.isdir(folder):  # Path.is_dir raises where a name is too long, or a folder closed
        raise InputError(
            f"There is no dataset folder {folder}; give one with train/ and test/ inside, or run `pnlib download`."
        )
    with _reading():
        os.listdir(folder)
    root = folder
    while not os.path.isdir(root / "train") and os.path.isdir(root / "chest_xray"):
        root = root / "chest_xray"
    table = index(root)
    is_demo = os.path.isfile(root / demo.MARKER)
    counts = tuple(int(n) for n in (table.folder.eq(part).sum() for part in ("train", "val", "test")))
    by_class = table[table.split != "aside"].groupby(["split", "label"]).size().to_dict()
    is_published = not is_demo and counts in EDITIONS and by_class == PUBLISHED and bool(table.known.all())
    edition = (
        "demo (synthetic phantoms)"
        if is_demo
        else EDITIONS[counts]
        if is_published
        else "other: {} train, {} val, {} test images".format(*counts)
    )
    skipped = _damaged(root, table.path) if damaged == "skip" else ()
    if skipped:
        table = _with_both_classes(root, table[~table.path.isin(skipped)].reset_index(drop=True), skipped)
        edition += ", without " + ("a damaged image" if len(skipped) == 1 else f"{len(skipped)} damaged images")
    train = table.path[table.split == "train"]
    sizes = set()
    for path in train.iloc[:: max(1, len(train) // 80)]:
        with contextlib.suppress(InputError):  # `load` names it, together with all the others
            sizes.add(header(root / path)[:2])
    if not is_demo and len(sizes) == 1 and len(train) > 10:
        edition += ", resized to {} x {} pixels".format(*sizes.pop())
    is_published = is_published and not skipped
    others = tuple(f"{part}/{folder}/{name}" for part, folder, _, name in _entries(root) if not _is_image(name))
    return Dataset(root, table.drop(columns="folder"), edition, is_demo, is_published, skipped, others)


def index(root: Path) -> pd.DataFrame:
    """List the images below `root` as a table (see the module's text), sorted by split, label and name.

    Only names are read. What has an image's name but is a folder, or a link that leads nowhere, is listed too, so that
    `load` names it. Besides the documented columns it has `folder`, the split's folder on disk.

    Raises:
        InputError: no images, or only one class, in train or in test; a name that can't be printed.
    """
    rows = []
    for part, folder, label, name in _entries(root):
        if _is_image(name):
            path = f"{part}/{folder}/{name}"
            if _UNPRINTABLE.search(name):
                raise InputError(f"The file name {path!a} holds a character that can't be printed; rename it.")
            patient, subtype, known = parse_name(os.path.splitext(name)[0], label)
            rows.append((path, part, label, patient if known else path, subtype, known))
    table = pd.DataFrame(rows, columns=["path", "folder", "label", "patient", "subtype", "known"])
    stem = table.path.str.rsplit("/", n=1).str[-1].str.rsplit(".", n=1).str[0]
    aside = (table.folder == "val") | ((table.folder == "train") & stem.isin(ASIDE))
    table.insert(1, "split", table.folder.mask(aside, "aside"))
    table = table.assign(stem=stem).sort_values(["split", "label", "stem", "path"], ignore_index=True)
    return _with_both_classes(root, table.drop(columns="stem"))


def _entries(root: Path):
    """(part, class folder, label, name) of all that lies in the class folders but hidden files."""
    for part in ("train", "val", "test"):
        with _reading():
            for folder in sorted(os.listdir(root / part)) if _is_folder(root / part) else []:
                label = CLASSES.get(folder.upper())
                if label is not None and _is_folder(root / part / folder):
                    for name in sorted(os.listdir(root / part / folder)):
                        if not name.startswith("."):
                            yield part, folder, label, name


@contextlib.contextmanager
def _reading():
    """Turn a folder that can't be read into one sentence (InputError)."""
    try:
        yield
    except OSError as error:
        raise InputError(f"Cannot read the folder {error.filename}: {error.strerror}; make it readable.") from error


def _is_folder(path: Path) -> bool:
    """Whether there is such a folder; os.path.isdir would say no, too, of one that may not be looked at (OSError)."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def _with_both_classes(root: Path, table: pd.DataFrame, skipped: tuple[str, ...] = ()) -> pd.DataFrame:
    """The table as it is (InputError where train or test lacks a class, perhaps since images were skipped)."""
    for part in ("train", "test"):
        labels = set(table.label[table.folder == part])
        missing = [name for name, label in CLASSES.items() if label not in labels]
        if missing:
            places = " or ".join(str(root / part / m) for m in missing)
            if skipped:
                raise InputError(f"All images in {places} are damaged, so skipping them leaves none; replace them.")
            raise InputError(
                f"Found no images in {places}; a dataset needs "
                "train/NORMAL, train/PNEUMONIA, test/NORMAL and test/PNEUMONIA with .jpeg, .jpg or .png files."
            )
    return table


def parse_name(stem: str, label: int) -> tuple[str, str, bool]:
    """Patient, subtype, and whether the pattern is known, of a file name without extension. `index` gives each image
    of unknown name a patient of its own.

    `person1000_bacteria_2931` is patient person1000; `IM-0115-0001` and `NORMAL2-IM-0588-0001` are two series of
    normal images, whose first number is the patient.
    """
    match = _NAME.fullmatch(stem)
    if match is None:
        return stem, "unknown" if label else "none", False
    return match["person"] or match["normal"], match["subtype"] or "none", True


def split_by_patient(table: pd.DataFrame, validation: float = 0.15, seed: int = 0) -> pd.DataFrame:
    """Split validation off the training images: by patient, stratified by label, seeded.

    Args:
        table: index table; only split, label and patient are read, so every edition gives the same split.
        validation: about the wanted share of the training images, 0.02 to 0.5. scikit-learn's StratifiedGroupKFold
            makes round(1 / validation) parts of about equal size, one of which is taken: 0.15 gives a seventh.
        seed: shuffles the patients.

    Returns:
        The rows of train and test (what is set aside is left out) with the column `part`: train, validation, test.

    Raises:
        InputError: fewer patients of one class than parts, or a class that is all on one side.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    runs.check(validation=validation, seed=seed)
    folds = round(1 / validation)
    train = table[table.split == "train"]
    patients = train.groupby("label").patient.nunique()
    fewest = int(patients.reindex([0, 1], fill_value=0).min())
    if fewest < folds:
        raise InputError(
            f"validation={validation} needs at least {folds} patients of each class in train; found {fewest}."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class smaller than `folds`, refused above by patients
        kfold = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        rest, held_out = next(kfold.split(train.path, train.label, train.patient))
    if min(train.label.iloc[side].nunique() for side in (rest, held_out)) < 2:
        raise InputError(f"seed={seed} leaves a class on one side of the split alone; give another seed or validation.")
    part = table.split.copy()
    part[train.index[held_out]] = "validation"
    return table.assign(part=part)[part != "aside"].reset_index(drop=True)


def rows_of_run(dataset: Dataset, folder: Path, part: str) -> pd.DataFrame:
    """The rows that a finished run had in `part` (train or validation), as its `index.csv` says.

    Raises:
        InputError: the run was trained on other images than this dataset's.
    """
    same = ["label", "patient", "subtype"]
    try:
        index = pd.read_csv(folder / "index.csv", keep_default_na=False, dtype={"path": str, "patient": str})
        sound = index.path.is_unique and set(index.part) <= {"train", "validation"} and len(index[same]) > 0
    except Exception as error:  # pandas raises many kinds
        raise InputError(f"Cannot read {folder / 'index.csv'}: {_reason(error)}; run 04_train again.") from error
    here = dataset.table.set_index("path").reindex(index.path)[same]
    if not sound or not (here.to_numpy() == index[same].to_numpy()).all():
        raise InputError(
            f"The run in {folder} was trained on other images than {dataset.root} holds; run 04_train with it first."
        )
    return index[index.part == part].reset_index(drop=True)


def header(path: Path) -> tuple[int, int, str]:
    """Width and height in pixels, and Pillow's mode (L is gray), from a file's header (InputError where damaged)."""
    try:
        with _quiet(), _opened(path) as image:
            return (*image.size, image.mode)
    except Exception as error:
        raise InputError(f"Cannot read {path}: {_reason(error)}; replace or remove it.") from error


@contextlib.contextmanager
def _quiet():
    """No warnings of Pillow's, about many pixels or damaged EXIF: what matters is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _opened(path: str | Path) -> PIL.Image.Image:
    """A JPEG or PNG image whose header was read. A pipe would be waited for without end."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("it is no file")
    return PIL.Image.open(path, formats=("JPEG", "PNG"))


def _has_end(path: str | Path, start: int) -> bool:
    """Whether a JPEG's end marker comes after `start`. An interrupted copy may end in zeros, which libjpeg decodes as
    even gray, without a word; in compressed data the marker can't occur."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"\xff\xd9", start) >= 0


def decode(path: str | Path, size: int = SIZE) -> np.ndarray:
    """Read an image file as (size, size, 1) uint8, 0 black to 255 white; the aspect ratio is not kept.

    An EXIF rotation is applied first. Then by kind: grayscale stays; RGB, palette and CMYK become luma (ITU-R 601);
    alpha is laid over black; 16 bits are scaled by 255/65535, not cut off. Resized bilinearly with antialiasing.

    Raises:
        InputError: not an image, damaged, truncated, of another mode, shorter than 32 pixels on a side, or of more
            than 100 million pixels.
    """
    try:
        with _quiet(), _opened(path) as image:
            if image.width * image.height > LARGEST:
                raise ValueError(f"{image.width} x {image.height} pixels is too large")
            if image.format != "PNG" and not _has_end(path, image.fp.tell()):
                raise ValueError("its end is missing")
            image.load()
            image = PIL.ImageOps.exif_transpose(image)
        if min(image.size) < SMALLEST:
            raise ValueError(f"{image.width} x {image.height} pixels is too small to be a radiograph")
        if image.mode.startswith("I") or image.mode == "F":
            image = PIL.Image.fromarray(
                (np.asarray(image, np.float64) * (255 / 65535)).clip(0, 255).round().astype(np.uint8)
            )
        elif image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
            image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "black"), image)
        elif image.mode not in ("1", "L", "P", "RGB", "CMYK", "YCbCr"):
            raise ValueError(f"mode {image.mode} is not supported")
        gray = image.convert("L").resize((size, size), PIL.Image.Resampling.BILINEAR)
    except Exception as error:  # Pillow raises many kinds: SyntaxError, struct.error, zlib.error…
        raise InputError(f"Cannot read {path}: {_reason(error)}; replace or remove it.") from error
    return np.asarray(gray, np.uint8)[..., None]


def _reason(error: Exception) -> str:
    return "it is no JPEG or PNG image" if isinstance(error, PIL.UnidentifiedImageError) else reason(error)


def load(dataset: Dataset, rows: pd.DataFrame, size: int = SIZE) -> np.ndarray:
    """Images of `rows`, in their order: (n, size, size, 1) uint8.

    Each split of the dataset is decoded once, as a whole, then read from the cache; no split is touched that `rows`
    has no image of. The cache's key covers each file's path, size and modification time, the image size and the
    decoder's version, so a changed file means a new cache. Two processes may build it at once: each writes a file of
    its own, and the last rename wins with the same content.

    Raises:
        InputError: damaged images, all of the split named at once; a missing image; or no place to write the cache.
    """
    images = np.empty((len(rows), size, size, 1), np.uint8)
    for split in rows.split.unique():
        whole = dataset.table.path[dataset.table.split == split]
        wanted = (rows.split == split).to_numpy()
        images[wanted] = _cached(dataset.root, whole, size)[pd.Index(whole).get_indexer(rows.path[wanted])]
    return images


def _key(root: Path, paths: pd.Series, size: int) -> str:
    key = hashlib.sha256(f"{root}|{size}|{DECODER}".encode(errors="surrogateescape"))
    for path in paths:
        try:
            status = os.stat(root / path)
            key.update(f"{path}|{status.st_size}|{status.st_mtime_ns}\n".encode())
        except OSError:  # `decode` names it
            key.update(f"{path}|missing\n".encode())
    return key.hexdigest()[:32]


def _cached(root: Path, paths: pd.Series, size: int) -> np.ndarray:
    cached = runs.cache_dir() / f"{_key(root, paths, size)}.npy"
    try:
        with open(cached, "rb") as file:
            images = np.load(file, allow_pickle=False)
            digest = file.read(33)
        if images.shape == (len(paths), size, size, 1) and images.dtype == np.uint8 and digest == _digest(images):
            return images
    except Exception:  # not there yet, or damaged (NumPy raises many kinds): decode, and write it anew
        pass
    images, damaged = _decode_all([root / path for path in paths], size)
    if damaged:
        others = ", ".join(str(root / paths.iloc[i]) for i in list(damaged)[1:])
        raise InputError(
            str(next(iter(damaged.values())))
            + (f" Damaged too: {others}." if others else "")
            + " To leave damaged images out instead: pnlib run --skip-damaged, or PNLIB_DAMAGED=skip."
        )
    content = io.BytesIO()
    np.save(content, images)
    content.write(_digest(images))
    runs.write_whole(cached, content.getbuffer())
    return images


def _digest(images: np.ndarray) -> bytes:
    """What the cache ends with, behind the array: a damaged byte is a damaged pixel that nobody would see."""
    return hashlib.sha256(np.ascontiguousarray(images)).digest()


def _damaged(root: Path, paths: pd.Series) -> tuple[str, ...]:
    """Those of the images that `decode` refuses; remembered in the cache, so that all are read once.

    Raises:
        InputError: the system couldn't read one (permission, disk, memory): that is no damage, and may pass.
    """
    cached = runs.cache_dir() / f"{_key(root, paths, SIZE)}.damaged.json"
    with contextlib.suppress(InputError):
        found = runs.read_json(cached)
        if isinstance(found, list) and all(isinstance(path, str) for path in found) and set(found) <= set(paths):
            return tuple(found)
    damaged = _decode_all([root / path for path in paths], SIZE)[1]
    for error in damaged.values():
        if _is_the_systems(error.__cause__):
            raise InputError(f"{error} That is no damage of the image, so it isn't skipped.")
    found = [paths.iloc[i] for i in damaged]
    runs.write_json(cached, found)
    return tuple(found)


def _is_the_systems(error: BaseException | None) -> bool:
    """Whether the system failed, not the image: Pillow's own OSError has no number, and a link that leads nowhere is
    the image's fault."""
    numbered = isinstance(error, OSError) and error.errno not in (None, errno.ENOENT, errno.ELOOP)
    return numbered or isinstance(error, MemoryError)


def _decode_all(paths: list[Path], size: int) -> tuple[np.ndarray, dict[int, InputError]]:
    """The images of all paths, and what is wrong with those that are damaged: {place: one sentence}, in order."""
    images = np.empty((len(paths), size, size, 1), np.uint8)
    damaged = {}

    def one(i: int) -> None:
        try:
            images[i] = decode(paths[i], size)
        except InputError as error:
            damaged[i] = error

    with _quiet(), concurrent.futures.ThreadPoolExecutor(runs.threads()) as pool:  # warnings' filters know no threads
        list(pool.map(one, range(len(paths))))
    return images, dict(sorted(damaged.items()))
