"""What `pnlib predict` says of files that it was not made for, into docs/predict.md.

pip install scikit-image                                 # for its cat
PNLIB_DATA=... python benchmarks/odd_inputs.py           # half a minute; one training image, no test image
"""

import argparse
import re
import tempfile
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pydicom
import pydicom.data
import sklearn.datasets
from pydicom import uid

import pnlib
from pnlib.base import files

PAGE = Path(__file__).resolve().parent.parent / "docs" / "predict.md"
PLACE = re.compile(r"(?<=<!-- odd -->\n).*?(?=<!-- /odd -->)", re.DOTALL)


def as_dicom(gray: np.ndarray, **tags: object) -> pydicom.Dataset:
    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = uid.DigitalXRayImageStorageForPresentation, uid.generate_uid()
    made.Rows, made.Columns = gray.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    made.PixelData = gray.tobytes()
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def phone_picture(gray: np.ndarray) -> np.ndarray:
    """A film on a light box as a phone takes it: askew, brighter on one side, bluish, with a dark room around it."""
    height, width = gray.shape
    corners = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    seen = np.float32([[60, 70], [430, 40], [450, 390], [40, 420]])
    film = cv2.warpPerspective(gray, cv2.getPerspectiveTransform(corners, seen), (500, 480), borderValue=35)
    light = np.linspace(0.7, 1.1, 500)[None, :, None]
    return (film[..., None] * light * (0.92, 0.97, 1.0)).clip(0, 255).astype(np.uint8)


def write(folder: Path, gray: np.ndarray) -> dict[str, Path]:
    """The files, {what it is: path}."""
    pictures = {
        "a training image, as PNG": gray,
        "the same, bones black": 255 - gray,
        "a phone's picture of it as a film": phone_picture(gray),
        "a screenshot with 4 X-rays": np.block([[gray, gray], [gray, gray]]),
        "a cat": np.asarray(PIL.Image.open(str(resources.files("skimage") / "data" / "chelsea.png"))),
        "a temple": sklearn.datasets.load_sample_image("china.jpg"),
        "noise": np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8),
    }
    found = {}
    for number, (name, pixels) in enumerate(pictures.items()):
        found[name] = folder / f"{number}.png"
        PIL.Image.fromarray(pixels).save(found[name])
    dicoms = {
        "DICOM, the training image": as_dicom(gray),
        "DICOM, MONOCHROME1 (stored inverted)": as_dicom(255 - gray, PhotometricInterpretation="MONOCHROME1"),
        "DICOM, text burnt in, by its own words": as_dicom(gray, BurnedInAnnotation="YES"),
    }
    for name, made in dicoms.items():
        found[name] = folder / f"{len(found)}.dcm"
        made.save_as(found[name], enforce_file_format=True)
    samples = {
        "CT slice": "CT_small",
        "MR slice": "MR_small",
        "ultrasound, colour": "examples_ybr_color",
        "radiotherapy dose": "rtdose",
    }
    return found | {
        f"DICOM, {name}": Path(pydicom.data.get_testdata_file(f"{file}.dcm", download=False))
        for name, file in samples.items()
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    pnlib.quiet_tensorflow()
    dataset = pnlib.find_dataset()
    with PIL.Image.open(dataset.root / dataset.rows("train").path[0]) as image:
        gray = np.asarray(image.convert("L"))
    with tempfile.TemporaryDirectory() as folder:
        found = write(Path(folder), gray)
        given, forced = pnlib.predict(found.values()), pnlib.predict(found.values(), force=True)
    lines = ["| file | answer | note | with `--force` |", "| --- | --- | --- | --- |"]
    for name, row, number in zip(found, given.itertuples(), forced.probability, strict=True):
        note = re.sub(r"Cannot read .*?: (.*); .*", r"\1", row.note)
        answer = f"{row.answer}, {row.probability:.2f}" if row.probability >= 0 else row.answer
        lines.append(f"| {name} | {answer} | {note} | {'' if np.isnan(number) else f'{number:.2f}'} |")
    page = PAGE.read_text(encoding="utf-8")
    files.atomic_write(PAGE, PLACE.sub("\n".join(lines).replace("\\", "\\\\") + "\n", page))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
