"""DICOM files to gray pixels, as a viewer shows them. Nothing of the file but its pixels gets out.

pydicom reads the file and decodes it, with Pillow's decoders for JPEG and JPEG 2000. Its exceptions and warnings may
quote values of a file, a patient's name among them: they are replaced by sentences of our own.
"""

import io
import logging
import os
import stat
import warnings
from pathlib import Path
from typing import Any

import numpy as np

SUFFIXES = (".dcm", ".dicom")


def is_dicom(path: str | Path | bytes) -> bool:
    """Whether a file has DICOM's signature, or at least the name of such a file (ValueError: it is no file)."""
    if isinstance(path, bytes):
        return path[128:132] == b"DICM"
    if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for without end
        raise ValueError("it is no file")
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM" or os.path.splitext(path)[1].lower() in SUFFIXES


def source(path: str | Path | bytes) -> Any:
    """What a decoder opens: a path, or the content of a file."""
    return io.BytesIO(path) if isinstance(path, bytes) else path


def says_burnt_in(path: str | Path | bytes) -> bool:
    """Whether a DICOM file says of itself that text is burnt into its pixels."""
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pydicom.dcmread(source(path), force=True, specific_tags=["BurnedInAnnotation"], stop_before_pixels=True)
    return found.get("BurnedInAnnotation") == "YES"


def read_dicom(path: str | Path | bytes, largest: int) -> np.ndarray:
    """The image of a DICOM file as (height, width) uint8, 0 black to 255 white, as it is meant to be shown.

    Modality rescale, then VOI look-up table or window, where the file has them; MONOCHROME1 (bone black) is inverted;
    colour becomes luma (ITU-R 601); overlays are left out. Darkest and brightest value become 0 and 255.

    Raises:
        ValueError: no DICOM file, no image or several in it, more than `largest` pixels, a compression that can't be
            decoded, or damage. No sentence holds a value of the file's.
    """
    import pydicom

    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(source(path), force=True)
            height, width = int(dataset.get("Rows", 0)), int(dataset.get("Columns", 0))
            frames = int(dataset.get("NumberOfFrames") or 1)
    except OSError:
        raise
    except Exception:
        raise ValueError("it is no DICOM file, or a damaged one") from None
    if "PixelData" not in dataset or not height * width:
        raise ValueError("it is a DICOM file without an image")
    if frames > 1:
        raise ValueError(f"it holds {frames} frames; give one of them as a file of its own")
    if height * width > largest:
        raise ValueError(f"{width} x {height} pixels is too large")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _shown(dataset)
    except Exception:
        raise ValueError(f"its pixels ({_compression(dataset)}) can't be decoded") from None


def _shown(dataset: Any) -> np.ndarray:
    import pydicom
    from pydicom import pixels

    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = pydicom.uid.ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian if implicit else explicit
    values = pixels.pixel_array(dataset)
    if values.ndim == 3:  # pydicom gives RGB
        values = values @ np.array([0.299, 0.587, 0.114])
    else:
        if dataset.PixelRepresentation == 0:
            values = values & (2**dataset.BitsStored - 1)  # old files keep overlays in the unused bits
        values = pixels.apply_voi_lut(pixels.apply_rescale(values, dataset), dataset)
    values = np.asarray(values, np.float64)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        values = -values
    low, high = values.min(), values.max()
    return ((values - low) * (255 / max(high - low, 1e-9))).round().astype(np.uint8)


def _compression(dataset: Any) -> str:
    """The name of a file's transfer syntax, which is one of DICOM's own words."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    return syntax.name if syntax is not None and syntax.is_transfer_syntax else "of an unknown compression"
