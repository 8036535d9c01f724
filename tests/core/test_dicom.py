"""DICOM files: shown as a viewer shows them, refused with a sentence, and silent about the patient."""

import io

import numpy as np
import PIL.Image
import pydicom
import pydicom.data
import pytest
from pydicom import encaps, uid

import pnlib
from pnlib import InputError
from pnlib.datasets.dicom import read_dicom

SECRET = "Musterfrau^Erika"
RAMP = np.tile(np.arange(200, dtype=np.uint16) * 20, (200, 1))  # 12 bits, black at the left


def dataset(pixels=RAMP, bits=12, syntax=uid.ExplicitVRLittleEndian, **tags):
    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    if syntax is not None:
        made.file_meta.TransferSyntaxUID = syntax
    made.SOPClassUID, made.SOPInstanceUID = uid.DigitalXRayImageStorageForPresentation, uid.generate_uid()
    made.PatientName, made.PatientID = SECRET, "4711"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation = (3, "RGB") if pixels.ndim == 3 else (1, "MONOCHROME2")
    made.BitsAllocated = 16 if pixels.dtype.itemsize == 2 else 8
    made.BitsStored, made.HighBit, made.PixelRepresentation = bits, bits - 1, int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        made.PlanarConfiguration = 0
    made.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def written(made, path, **options):
    made.save_as(path, enforce_file_format=options.pop("enforce_file_format", True), **options)
    return path


def columns(path):
    """The gray values of the middle row, as floats from 0 to 1."""
    return read_dicom(path, 10**8)[100] / 255


def test_a_dicom_file_reads_as_the_same_picture_in_png(tmp_path):
    PIL.Image.fromarray((RAMP / 20 / 199 * 255).round().astype(np.uint8)).save(tmp_path / "x.png")
    pixels = pnlib.decode(written(dataset(), tmp_path / "x.dcm"))
    assert pixels.shape == (150, 150, 1) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - pnlib.decode(tmp_path / "x.png")).max() <= 1
    assert np.array_equal(pnlib.decode(written(dataset(), tmp_path / "no-extension")), pixels), "told by its content"


def test_the_content_of_a_file_reads_as_the_file(tmp_path):
    picture = PIL.Image.fromarray((RAMP / 20 / 199 * 255).round().astype(np.uint8))
    for name in ("x.jpeg", "x.png", "x.tiff", "x.dcm"):
        written(dataset(), tmp_path / name) if name == "x.dcm" else picture.save(tmp_path / name)
        assert np.array_equal(pnlib.decode((tmp_path / name).read_bytes()), pnlib.decode(tmp_path / name)), name
    with pytest.raises(InputError, match="^Cannot read the image: its end is missing"):
        pnlib.decode((tmp_path / "x.jpeg").read_bytes()[:-50])


def test_window_rescale_and_inversion_are_applied(tmp_path):
    line = np.linspace(0, 1, 200)
    assert np.allclose(columns(written(dataset(), tmp_path / "a.dcm")), line, atol=0.005)
    inverted = dataset(PhotometricInterpretation="MONOCHROME1")
    assert np.allclose(columns(written(inverted, tmp_path / "b.dcm")), 1 - line, atol=0.005)
    window = columns(written(dataset(WindowCenter=1000, WindowWidth=1000), tmp_path / "c.dcm"))
    assert np.allclose(window, ((RAMP[0] - 500.0) / 1000).clip(0, 1), atol=0.01)
    rescaled = dataset(RescaleSlope=2, RescaleIntercept=-100, WindowCenter=1900, WindowWidth=2000)
    assert np.allclose(columns(written(rescaled, tmp_path / "d.dcm")), window, atol=0.01), (
        "the window is of rescaled values"
    )
    signed = dataset((RAMP.astype(np.int16) - 2000), bits=16)
    assert np.allclose(columns(written(signed, tmp_path / "e.dcm")), line, atol=0.005)
    overlay = dataset(RAMP | np.where(np.arange(200) % 3 == 0, 0x8000, 0).astype(np.uint16))
    assert np.allclose(columns(written(overlay, tmp_path / "f.dcm")), line, atol=0.005), (
        "bits above BitsStored are none"
    )


def test_colour_and_compressed_files_are_read(tmp_path):
    gray = (RAMP / 20).astype(np.uint8)
    colour = written(dataset(np.stack([gray] * 3, axis=-1), bits=8), tmp_path / "rgb.dcm")
    assert np.allclose(columns(colour), np.linspace(0, 1, 200), atol=0.005)
    rle = dataset()
    rle.compress(uid.RLELossless)
    assert np.array_equal(columns(written(rle, tmp_path / "rle.dcm")), columns(written(dataset(), tmp_path / "x.dcm")))
    content = io.BytesIO()
    PIL.Image.fromarray(gray).save(content, "JPEG", quality=95)
    jpeg = dataset(gray, bits=8, syntax=uid.JPEGBaseline8Bit)
    jpeg.PixelData = encaps.encapsulate([content.getvalue()])
    jpeg["PixelData"].is_undefined_length = True
    assert np.allclose(columns(written(jpeg, tmp_path / "jpeg.dcm")), np.linspace(0, 1, 200), atol=0.02)


def test_a_file_without_preamble_or_transfer_syntax_is_read_by_its_name(tmp_path):
    bare = dataset(syntax=None)
    path = written(bare, tmp_path / "old.dcm", enforce_file_format=False, implicit_vr=True, little_endian=True)
    assert np.allclose(columns(path), np.linspace(0, 1, 200), atol=0.005)


def test_text_burnt_in_is_named_where_the_file_says_so(tmp_path):
    for answer, note in (("YES", "its file says that text is burnt in"), ("NO", "")):
        path = written(dataset(BurnedInAnnotation=answer), tmp_path / f"{answer}.dcm")
        (row,) = pnlib.predict(path, force=True).itertuples()
        assert (note in row.note) and ("burnt" in row.note) == bool(note) and SECRET not in row.note


def test_pydicoms_own_examples_are_read():
    for name in ("CT_small.dcm", "MR_small.dcm"):
        assert np.ptp(pnlib.decode(pydicom.data.get_testdata_file(name))) > 100


def refused():
    yield "frames", dataset(NumberOfFrames=3, PixelData=RAMP.tobytes() * 3), "it holds 3 frames"
    empty = dataset()
    del empty.PixelData
    yield "no pixels", empty, "a DICOM file without an image"
    yield "cut pixels", dataset(PixelData=RAMP.tobytes()[:-50]), "can't be decoded"
    unknown = dataset(syntax=uid.JPEGLSLossless)
    unknown.PixelData = encaps.encapsulate([b"\xff\xd8" + bytes(98)])
    unknown["PixelData"].is_undefined_length = True
    yield "no decoder", unknown, r"its pixels \(JPEG-LS Lossless Image Compression\) can't be decoded"
    yield "huge", dataset(Rows=40_000, Columns=40_000), "40000 x 40000 pixels is too large"
    yield "broken tag", dataset(WindowCenter="0", WindowWidth="0"), "can't be decoded"


@pytest.mark.parametrize("made, sentence", [pytest.param(*rest, id=name) for name, *rest in refused()])
def test_other_files_are_refused_with_a_sentence_that_says_nothing_of_the_patient(
    made, sentence, tmp_path, recwarn, caplog
):
    path = written(made, tmp_path / "x.dcm")
    with pytest.raises(InputError, match=f"Cannot read .*x.dcm: .*{sentence}.*; replace or remove it") as caught:
        pnlib.decode(path)
    told = str(caught.value) + "".join(str(w.message) for w in recwarn) + caplog.text + str(caught.value.__cause__)
    assert "Muster" not in told and "4711" not in told


@pytest.mark.parametrize("content", [b"", b"hello" * 100, bytes(128) + b"DICM", bytes(128) + b"DICM" + b"\xff" * 500])
def test_what_is_no_dicom_file_is_refused(content, tmp_path):
    (tmp_path / "x.dcm").write_bytes(content)
    with pytest.raises(InputError, match="Cannot read .*x.dcm: it is "):
        pnlib.decode(tmp_path / "x.dcm")


def test_a_folder_of_dicom_files_is_a_dataset(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(8):
        folder = tmp_path / ("train" if i < 4 else "test") / ("NORMAL" if i % 2 else "PNEUMONIA")
        folder.mkdir(parents=True, exist_ok=True)
        written(dataset(rng.integers(0, 4096, (60, 80), dtype=np.uint16)), folder / f"{i}.dcm")
    found = pnlib.find_dataset(str(tmp_path))
    assert pnlib.load_images(found, found.rows("train")).shape == (4, 150, 150, 1)


@pytest.mark.parametrize("kind", ["TIFF", "WEBP", "BMP"])
def test_tiff_webp_and_bmp_are_read(kind, tmp_path):
    image = PIL.Image.fromarray((RAMP / 20).astype(np.uint8))
    options = {"lossless": True} if kind == "WEBP" else {}
    image.save(tmp_path / "x", kind, **options)
    image.save(tmp_path / "x.png")
    assert np.abs(pnlib.decode(tmp_path / "x").astype(int) - pnlib.decode(tmp_path / "x.png")).max() <= 1
    image.save(tmp_path / "two", "TIFF", save_all=True, append_images=[image])
    with pytest.raises(InputError, match="it holds 2 images"):
        pnlib.decode(tmp_path / "two")
