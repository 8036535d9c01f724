"""The check that every split goes through: no patient on two sides, and no picture."""

import itertools

import numpy as np
import pandas as pd

from pnlib.base.errors import InputError

LIMIT = 8  # of 256 bits: copies of JPEG quality 75 differ in at most 1, pictures of two patients of this dataset in 12


def difference_hash(images: np.ndarray) -> np.ndarray:
    """256 bits per image, (n, 4) uint64: is each place of a 16 x 16 grid brighter than its left neighbour?

    It survives another encoding and another size (Krawetz, Kind of Like That, 2013). Images are (n, h, w, 1) uint8.
    """
    import cv2

    def bits(image: np.ndarray) -> np.ndarray:
        small = cv2.resize(image, (17, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
        return np.packbits(np.diff(small) > 0)

    return np.stack([bits(image) for image in images[..., 0]]).view(np.uint64)


def copies(images: np.ndarray) -> np.ndarray:
    """Pairs of images that are one picture: (k, 2) places, the first below the second.

    Of images with equal hashes each is paired with the next one only. The bits of a hash are dealt out to LIMIT + 2
    parts. Where two hashes differ in at most LIMIT bits, at least two of the parts are equal. Only such hashes are
    compared, so the time grows with the number of images, not with its square.
    """
    hashes, one, which = np.unique(difference_hash(images), axis=0, return_index=True, return_inverse=True)
    which = which.ravel()  # NumPy 2.0 gives a column
    order = np.argsort(which, kind="stable")
    equal = np.flatnonzero(np.diff(which[order]) == 0)
    near = _near(hashes)
    return np.sort(np.concatenate([np.column_stack([order[equal], order[equal + 1]]), one[near]]), axis=1)


def _near(hashes: np.ndarray) -> np.ndarray:
    """Pairs of different hashes (n, 4) uint64 that differ in at most LIMIT bits: (k, 2) places."""
    bits = np.unpackbits(hashes.view(np.uint8), axis=1)
    parts = [np.packbits(bits[:, i :: LIMIT + 2], axis=1) for i in range(LIMIT + 2)]
    found = np.empty(0, int)  # first * n + second
    for two in itertools.combinations(parts, 2):
        key = np.concatenate(two, axis=1)
        key = key.view(f"V{key.shape[1]}")[:, 0]
        order = np.argsort(key, kind="stable")
        key = key[order]
        pairs, at = [], np.arange(len(order))
        for step in range(1, len(order)):
            at = at[at + step < len(order)]
            at = at[key[at] == key[at + step]]
            if not len(at):
                break
            first, second = order[at], order[at + step]
            near = np.bitwise_count(hashes[first] ^ hashes[second]).sum(1) <= LIMIT
            pairs.append((first * len(hashes) + second)[near])
        found = np.unique(np.concatenate([found, *pairs]))
    return np.column_stack(np.divmod(found, len(hashes)))


def one_person(patients: pd.Series, images: np.ndarray) -> pd.Series:
    """Patients that share a picture become one, under the first of their names: (n,) str, indexed as `patients`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, codes = np.unique(patients.to_numpy(str), return_inverse=True)
    first, second = codes[copies(images)].T
    graph = coo_array((np.ones(len(first)), (first, second)), (len(names), len(names)))
    _, person = connected_components(graph, directed=False)
    merged = names[np.unique(person, return_index=True)[1]][person]
    return pd.Series(merged[codes], patients.index)


def check_leaks(rows: pd.DataFrame, images: np.ndarray) -> None:
    """Refuse a split that has a patient, or a picture, on two sides.

    Args:
        rows: with part, patient and path.
        images: theirs, (n, h, w, 1) uint8.

    Raises:
        InputError: it names the patient, or the two files.
    """
    parts = rows.groupby("patient").part.nunique()
    if (parts > 1).any():
        raise InputError(f"Patient {parts.idxmax()} is in more than one part of the split; split by patient.")
    part, path = rows.part.to_numpy(), rows.path.to_numpy()
    for first, second in copies(images):
        if part[first] != part[second]:
            raise InputError(
                f"{path[first]} ({part[first]}) and {path[second]} ({part[second]}) are the same picture; keep one."
            )
