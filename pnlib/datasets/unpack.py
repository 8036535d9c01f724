"""Unpack a dataset that comes as one file: a zip archive, or MedMNIST's arrays."""

import hashlib
import shutil
import stat
import zipfile
from pathlib import Path, PureWindowsPath

import numpy as np
import PIL.Image

from pnlib.base import files
from pnlib.base.errors import InputError, reason
from pnlib.datasets.images import SIZE, SMALLEST
from pnlib.datasets.index import some
from pnlib.datasets.names import split_of

LARGEST = 50e9  # bytes, unpacked: 40 times the published dataset
MOST = 500_000  # files
# PneumoniaMNIST: images in train, val and test, and the MD5 of its largest file (Zenodo record 10519652).
MEDMNIST = {"train": 4708, "val": 524, "test": 624}
MEDMNIST_MD5 = "d6a3c71de1b945ea11211b03746c1fe1"


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a dataset into a new folder, which then holds train/, and test/ and val/ where the archive has them.

    Of a zip archive, the outermost folder that holds train/ is taken (Kaggle's has everything twice): what is in its
    train, test and val folders, and files beside these. Of PneumoniaMNIST's .npz file, each image becomes a PNG file.

    Raises:
        InputError: no such file; damaged, encrypted; too large for the disk; without exactly one dataset; a name that
            leads out of the folder; a link; arrays of another kind. `folder` may then hold a part.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            if {f"{part}_{what}.npy" for part in MEDMNIST for what in ("images", "labels")} <= set(opened.namelist()):
                _check_size(archive, folder, members)
                _write_medmnist(archive, folder)
            else:
                _unzip(opened, archive, folder)
    except InputError:
        raise
    except Exception as error:  # zipfile raises many kinds: BadZipFile, RuntimeError (encrypted), zlib.error, OSError…
        raise InputError(f"Cannot unpack {archive}: {reason(error)}; correct that, or get the file again.") from error


def _check_size(archive: Path, folder: Path, members: list[zipfile.ZipInfo]) -> None:
    total = sum(member.file_size for member in members)  # zipfile reads no more of a member than it claims
    if total > LARGEST or len(members) > MOST:
        raise InputError(
            f"{archive} would unpack to {total / 1e9:,.0f} GB in {len(members):,} files, too much for such a dataset; "
            "get another copy."
        )
    files.make_dir(folder)
    files.check_space(folder, total)


def _unzip(opened: zipfile.ZipFile, archive: Path, folder: Path) -> None:
    visible = {}
    for member in opened.infolist():
        path = PureWindowsPath(member.filename)  # it knows both / and \, which some programs write
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        if path.anchor or ".." in path.parts or is_link:
            what = "a link" if is_link else "a name that leads out of its folder"
            raise InputError(f"{archive} holds {member.filename!a}, {what}, so nothing is unpacked; get another copy.")
        is_folder = member.filename.endswith(("/", "\\"))
        if not is_folder and not any(part == "__MACOSX" or part[0] == "." for part in path.parts):
            visible[member] = path.parts
    roots = {parts[:i] for parts in visible.values() for i, p in enumerate(parts[:-1]) if split_of(p) == "train"}
    outermost = [root for root in roots if len(root) == min(map(len, roots))]
    if len(outermost) != 1:
        found = some(tuple("/".join(root) for root in sorted(outermost)), "dataset") if outermost else "no train folder"
        raise InputError(f"{archive} holds {found}; give an archive with one folder that holds train and test.")
    depth = len(outermost[0])
    chosen = {
        member: parts[depth:]
        for member, parts in visible.items()
        if parts[:depth] == outermost[0] and (len(parts) == depth + 1 or split_of(parts[depth]))
    }
    _check_size(archive, folder, list(chosen))
    for member, parts in chosen.items():
        place = folder.joinpath(*parts)
        place.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(member) as content, open(place, "xb") as file:
            shutil.copyfileobj(content, file)


def _write_medmnist(archive: Path, folder: Path) -> None:
    """Each image of PneumoniaMNIST as a PNG file, in its own split: SPLIT/CLASS/SPLIT-NUMBER.png."""
    with np.load(archive, allow_pickle=False) as arrays:
        for part, number in MEDMNIST.items():
            images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"].ravel()
            side = images.shape[-1]
            gray = images.shape == (number, side, side) and images.dtype == np.uint8
            if not gray or len(labels) != number or not set(labels) <= {0, 1}:
                raise InputError(
                    f"{archive} holds {images.dtype} arrays of shape {images.shape} for {part}, with labels of shape "
                    f"{labels.shape}, and PneumoniaMNIST has {number} gray images there, labelled 0 and 1; get "
                    "pneumoniamnist_224.npz."
                )
            if side < SMALLEST:
                raise InputError(f"{archive} holds images of {side} x {side} pixels; get pneumoniamnist_224.npz.")
            for kind in ("NORMAL", "PNEUMONIA"):
                (folder / part / kind).mkdir(parents=True)
            for i, (image, label) in enumerate(zip(images, labels, strict=True)):
                place = folder / part / ("NORMAL", "PNEUMONIA")[int(label)] / f"{part}-{i:04d}.png"
                PIL.Image.fromarray(image).save(place)
    with open(archive, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if side < SIZE:
        print(f"NOTE: {side} x {side} pixels are fewer than a network reads; pneumoniamnist_224.npz shows more")
    elif digest != MEDMNIST_MD5:
        print(f"NOTE: its MD5 is {digest}; the published pneumoniamnist_224.npz has {MEDMNIST_MD5}")
