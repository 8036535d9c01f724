"""Odd and damaged image files: each is read correctly or named in one sentence, whatever is in it.

One table, `CASES`. A picture is four squares of known gray. A case states what they must be after decoding, or the
reason why it is refused. One kind of damage can't be noticed: a JPEG that was cut and closed with an end marker.
"""

import contextlib
import functools
import io
import os
import re
import shutil
import signal
import socket
import struct
import warnings
import zlib

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import pytest

import pnlib
from pnlib import InputError
from pnlib.datasets import file_header, find, images, index
from pnlib.runner import cli, notebooks
from pnlib.studies import grid

GRAYS = (40, 90, 140, 200)  # top left, top right, bottom left, bottom right
PIXELS = np.kron(np.reshape(GRAYS, (2, 2)), np.ones((32, 32))).astype(np.uint8)
GRAY = PIL.Image.fromarray(PIXELS)
NO_IMAGE, CUT = (
    "it is no JPEG, PNG, TIFF, WebP, BMP or DICOM image",
    "truncated|Truncated|cannot load this image|its end is missing|no JPEG, PNG",
)


def saved(image=GRAY, kind="PNG", **options) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **({"quality": 95} if kind == "JPEG" else {}) | options)
    return content.getvalue()


JPEG, PNG = saved(kind="JPEG"), saved()
PROGRESSIVE = saved(kind="JPEG", progressive=True)


def marker_places(content: bytes) -> list[tuple[str, int]]:
    """Name and place of each marker of a JPEG, to its end; data between scans are passed over."""
    found, place = [("SOI", 0)], 2
    while place < len(content):
        if content[place] == 0xFF and content[place + 1] not in (0x00, 0xFF):
            found.append((f"{content[place + 1]:02X}", place))
            if content[place + 1] == 0xD9:
                return found
            place += 2 + struct.unpack(">H", content[place + 2 : place + 4])[0]
        else:
            place += 1
    return found


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(pixels: np.ndarray, depth: int, color: int, *more: bytes, width: int = 64, height: int = 64) -> bytes:
    """A PNG by hand, of packed rows of bytes; `more` chunks come before the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def wide(*channels: np.ndarray) -> np.ndarray:
    """16-bit channels, big-endian as PNG stores them."""
    return np.stack(channels, -1).astype(">u2").reshape(64, -1)


def chunk_places(content: bytes) -> list[tuple[str, int]]:
    found, place = [], 8
    while place < len(content):
        found.append((content[place + 4 : place + 8].decode(), place))
        place += 12 + struct.unpack(">I", content[place : place + 4])[0]
    return found


@functools.cache
def zeros() -> bytes:
    """50 MB of zeros, packed."""
    return zlib.compress(bytes(50_000_000), 9)


def sized(width: int, height: int) -> bytes:
    """The JPEG, with another size in its header."""
    place = dict(marker_places(JPEG))["C0"]
    return JPEG[: place + 5] + struct.pack(">HH", height, width) + JPEG[place + 9 :]


@functools.cache
def bomb(width: int, height: int) -> bytes:
    """A PNG of black 1-bit pixels, all of them there, in a small file."""
    packer, row = zlib.compressobj(9), bytes(1 + -(-width // 8))
    packed = b"".join(packer.compress(row * 100) for _ in range(height // 100)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def turned(orientation: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return exif


def animated(kind: str) -> bytes:
    return saved(GRAY, kind, save_all=True, append_images=[PIL.Image.fromarray(255 - PIXELS)], duration=100)


def with_alpha(mode: str) -> PIL.Image.Image:
    image = GRAY.convert(mode)
    image.putalpha(PIL.Image.fromarray(np.kron([[255, 128], [0, 255]], np.ones((32, 32))).astype(np.uint8)))
    return image


def coloured() -> PIL.Image.Image:
    colours = np.array([[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 255)]], np.uint8)
    return PIL.Image.fromarray(colours.repeat(32, 0).repeat(32, 1))


COLOURED = (76, 150, 29, 255)  # their luma, ITU-R 601


def dicom(photometric: bytes, pixels: bytes = PIXELS.tobytes()) -> bytes:
    """A small DICOM file with a patient's name; explicit little endian."""

    def element(group, number, kind, value):
        value += b" " * (len(value) % 2)
        length = struct.pack("<HI", 0, len(value)) if kind == b"OW" else struct.pack("<H", len(value))
        return struct.pack("<HH", group, number) + kind + length + value

    syntax = element(2, 0x10, b"UI", b"1.2.840.10008.1.2.1\0")
    elements = [element(0x10, 0x10, b"PN", b"Doe^Jane"), element(0x28, 4, b"CS", photometric)]
    elements += [element(0x28, number, b"US", struct.pack("<H", 64)) for number in (0x10, 0x11)]
    meta = element(2, 0, b"UL", struct.pack("<I", len(syntax))) + syntax
    return bytes(128) + b"DICM" + meta + b"".join(elements) + element(0x7FE0, 0x10, b"OW", pixels)


def float_tiff(value: float) -> bytes:
    pixels = PIXELS.astype(np.float32)
    pixels[5, 5] = value
    return saved(PIL.Image.fromarray(pixels), "TIFF")


def unreadable(path):
    """A file for root alone; while the test reads it, this process isn't root (see `as_nobody`)."""
    path.write_bytes(JPEG)
    path.chmod(0)


def unix_socket(path):
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as bound:  # the path's length is limited
        bound.bind(path.name)


A, B, C, D = GRAYS
BY_ORIENTATION = {1: (A, B, C, D), 2: (B, A, D, C), 3: (D, C, B, A), 4: (C, D, A, B),
                  5: (A, C, B, D), 6: (C, A, D, B), 7: (D, B, C, A), 8: (B, D, A, C)}  # fmt: skip
EXIF_BIG_ENDIAN = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
EXIF_DAMAGED = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff\0\0\0\0"
ROWS16, FULL = PIXELS.astype(np.uint16) * 257, np.full((64, 64), 65535)
WITH_TEXT = PIL.PngImagePlugin.PngInfo()
WITH_TEXT.add_text("Patient", "Jane Doe")

# case: (file name, its bytes or what makes it at a path, the four grays or the reason of the refusal)
CASES = {
    # sound, in every kind of pixels
    "gray JPEG": ("a.jpeg", JPEG, GRAYS),
    "extension in capitals": ("a.JPG", JPEG, GRAYS),
    "progressive JPEG": ("a.jpeg", PROGRESSIVE, GRAYS),
    "JPEG with restart markers": ("a.jpeg", lambda path: saved(kind="JPEG", restart_marker_blocks=4), GRAYS),
    "RGB JPEG": ("a.jpeg", lambda path: saved(coloured(), "JPEG", subsampling=0), COLOURED),
    "CMYK JPEG": ("a.jpeg", lambda path: saved(GRAY.convert("RGB").convert("CMYK"), "JPEG"), GRAYS),
    "JPEG with an ICC profile": ("a.jpeg", lambda path: saved(kind="JPEG", icc_profile=b"no profile" * 50), GRAYS),
    "JPEG with a comment": ("a.jpeg", lambda path: saved(kind="JPEG", comment=b"Jane Doe"), GRAYS),
    "JPEG followed by zeros": ("a.jpeg", JPEG + bytes(5000), GRAYS),
    "JPEG of several pictures (MPO)": ("a.jpeg", lambda path: animated("MPO"), GRAYS),
    "JPEG called .png": ("a.png", JPEG, GRAYS),
    "PNG called .jpeg": ("a.jpeg", PNG, GRAYS),
    "animated PNG": ("a.png", lambda path: animated("PNG"), GRAYS),
    "1-bit PNG": ("a.png", lambda path: saved(GRAY.point(lambda v: 255 * (v > 100), "1")), (0, 0, 255, 255)),
    "2-bit PNG": ("a.png", lambda path: png(np.repeat([[0, 255]], 8, 1).repeat(64, 0).astype(np.uint8), 2, 0), (0, 255, 0, 255)),
    "palette": ("a.png", lambda path: saved(coloured().quantize(4)), COLOURED),
    "palette with a transparent colour": ("a.png", lambda path: saved(GRAY.convert("P"), transparency=D), (A, B, C, 0)),
    "gray with a transparent level": ("a.png", lambda path: png(PIXELS, 8, 0, chunk(b"tRNS", struct.pack(">H", D))), (A, B, C, 0)),
    "gray and alpha": ("a.png", lambda path: saved(with_alpha("LA")), (A, B * 128 / 255, 0, D)),
    "RGB and alpha": ("a.png", lambda path: saved(with_alpha("RGBA")), (A, B * 128 / 255, 0, D)),
    "RGB PNG": ("a.png", lambda path: saved(coloured()), COLOURED),
    "16-bit gray": ("a.png", lambda path: saved(PIL.Image.fromarray(ROWS16)), GRAYS),
    "16-bit gray and alpha": ("a.png", lambda path: png(wide(ROWS16, FULL), 16, 4), GRAYS),
    "16-bit RGB": ("a.png", lambda path: png(wide(ROWS16, ROWS16, ROWS16), 16, 2), GRAYS),
    "16-bit RGB and alpha": ("a.png", lambda path: png(wide(ROWS16, ROWS16, ROWS16, FULL), 16, 6), GRAYS),
    "PNG with text": ("a.png", lambda path: saved(pnginfo=WITH_TEXT), GRAYS),
    "PNG with an ICC profile": ("a.png", lambda path: saved(icc_profile=b"no profile" * 50), GRAYS),
    "PNG with an EXIF rotation": ("a.png", lambda path: saved(exif=turned(6)), BY_ORIENTATION[6]),
    "PNG without its last chunk": ("a.png", PNG[:-12], GRAYS),
    "PNG with pixels to spare": ("a.png", lambda path: png(np.vstack([PIXELS] * 50), 8, 0), GRAYS),
    **{f"EXIF rotation {n}": ("a.jpeg", lambda path, n=n: saved(kind="JPEG", exif=turned(n)), grays) for n, grays in BY_ORIENTATION.items()},
    "EXIF rotation 99": ("a.jpeg", lambda path: saved(kind="JPEG", exif=turned(99)), GRAYS),
    "EXIF, big-endian": ("a.jpeg", lambda path: saved(kind="JPEG", exif=EXIF_BIG_ENDIAN), BY_ORIENTATION[6]),
    "EXIF, damaged": ("a.jpeg", lambda path: saved(kind="JPEG", exif=EXIF_DAMAGED), GRAYS),
    "link to an image": ("a.jpeg", lambda path: [path.with_name("b").write_bytes(JPEG), path.symlink_to("b")], GRAYS),
    # cut off
    "empty file": ("a.jpeg", b"", NO_IMAGE),
    **{f"JPEG cut before {name} at {place}": ("a.jpeg", JPEG[:place], CUT) for name, place in marker_places(JPEG)[1:]},
    **{f"JPEG cut behind {name} at {place}": ("a.jpeg", JPEG[: place + 2], CUT) for name, place in marker_places(JPEG)[:-1]},
    **{f"JPEG cut within {name} at {place}": ("a.jpeg", JPEG[: place + 5], CUT) for name, place in marker_places(JPEG)[1:-1]},
    **{f"progressive JPEG cut before {name} at {place}": ("a.jpeg", PROGRESSIVE[:place], CUT) for name, place in marker_places(PROGRESSIVE)[5:]},
    "JPEG without its last byte": ("a.jpeg", JPEG[:-1], CUT),
    "JPEG whose second half is zeros": ("a.jpeg", JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2), "its end is missing|it is no JPEG"),  # Pillow before 13 says the latter
    **{f"PNG cut before {name}": ("a.png", PNG[:place], CUT) for name, place in chunk_places(PNG)[:2]},
    **{f"PNG cut within {name}": ("a.png", PNG[: place + 10], CUT) for name, place in chunk_places(PNG)[:2]},
    "PNG without pixels": ("a.png", PNG[: chunk_places(PNG)[1][1]] + chunk(b"IEND", b""), CUT),
    # damaged
    "zeros": ("a.jpeg", bytes(10_000), NO_IMAGE),
    "PNG with a flipped bit in its pixels": ("a.png", PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:], "broken"),
    "PNG with a flipped bit in its header": ("a.png", PNG[:18] + bytes([PNG[18] ^ 1]) + PNG[19:], NO_IMAGE),
    "JPEG of no height": ("a.jpeg", lambda path: sized(64, 0), NO_IMAGE),
    "PNG of no width": ("a.png", lambda path: png(PIXELS, 8, 0, width=0), NO_IMAGE),
    "12-bit JPEG": ("a.jpeg", JPEG.replace(b"\xff\xc0\0\x0b\x08", b"\xff\xc0\0\x0b\x0c"), NO_IMAGE),
    "JPEG changed by a text transfer": ("a.jpeg", JPEG.replace(b"\xff", b"\xef\xbf\xbd"), NO_IMAGE),
    "PNG changed by a text transfer": ("a.png", PNG.replace(b"\r\n", b"\n"), NO_IMAGE),
    # no radiograph
    "1 x 1 pixel": ("a.png", lambda path: saved(PIL.Image.new("L", (1, 1))), "1 x 1 pixels is too small"),
    "a line": ("a.png", lambda path: saved(PIL.Image.new("L", (5000, 31))), "5000 x 31 pixels is too small"),
    "bomb of 30,000 x 30,000 pixels": ("a.png", lambda path: bomb(30_000, 30_000), "decompression bomb"),
    "JPEG bomb of 30,000 x 30,000 pixels": ("a.jpeg", lambda path: sized(30_000, 30_000), "decompression bomb"),
    "12,000 x 12,000 pixels": ("a.png", lambda path: bomb(12_000, 12_000), "12000 x 12000 pixels is too large"),
    "text bomb": ("a.png", lambda path: png(PIXELS, 8, 0, chunk(b"zTXt", b"x\0\0" + zeros())), "too large"),
    "profile bomb": ("a.png", lambda path: png(PIXELS, 8, 0, chunk(b"iCCP", b"x\0\0" + zeros())), "too large"),
    # other formats, whatever they are called
    "animated GIF": ("a.png", lambda path: animated("GIF"), NO_IMAGE),
    "animated WebP": ("a.jpeg", lambda path: animated("WEBP"), "it holds 2 images"),
    "8-bit TIFF": ("a.jpeg", lambda path: saved(kind="TIFF"), GRAYS),
    "16-bit TIFF": ("a.png", lambda path: saved(PIL.Image.fromarray(ROWS16), "TIFF"), GRAYS),
    "big-endian TIFF": ("a.png", b"MM\0*\0\0\0\x08" + bytes(200), NO_IMAGE),
    "TIFF with NaN": ("a.jpeg", lambda path: float_tiff(np.nan), "no numbers"),
    "TIFF with infinity": ("a.jpeg", lambda path: float_tiff(np.inf), "no numbers"),
    "BMP": ("a.png", lambda path: saved(kind="BMP"), GRAYS),
    "JPEG 2000": ("a.jpeg", lambda path: saved(kind="JPEG2000"), NO_IMAGE),
    **{f"DICOM, {kind}": ("a.jpeg", lambda path, k=kind: dicom(k.encode()), "can't be decoded") for kind in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "YBR_FULL", "")},
    "DICOM around a JPEG": ("a.jpeg", lambda path: dicom(b"MONOCHROME2", JPEG), "can't be decoded"),
    "PDF": ("a.jpeg", b"%PDF-1.7\n" + JPEG, NO_IMAGE),
    "PostScript": ("a.jpeg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n(x) run\n", NO_IMAGE),
    "web page saved as .jpeg": ("a.jpeg", b"<!DOCTYPE html><html><body>404 Not Found</body></html>", NO_IMAGE),
    "pointer of Git LFS": ("a.jpeg", b"version https://git-lfs.example/spec/v1\noid sha256:0\nsize 1\n", NO_IMAGE),
    "macOS litter": ("a.jpeg", b"\0\x05\x16\x07\0\x02\0\0Mac OS X" + bytes(100), NO_IMAGE),
    "gzip around a JPEG": ("a.jpeg", b"\x1f\x8b\x08\0" + JPEG, NO_IMAGE),
    # no files
    "folder": ("a.jpeg", lambda path: path.mkdir(), "it is no file"),
    "named pipe": ("a.jpeg", os.mkfifo, "it is no file"),
    "socket": ("a.jpeg", unix_socket, "it is no file"),
    "device": ("a.jpeg", lambda path: path.symlink_to("/dev/zero"), "it is no file"),
    "missing": ("a.jpeg", lambda path: None, "No such file or directory"),
    "broken link": ("a.jpeg", lambda path: path.symlink_to("nowhere"), "No such file or directory"),
    "link to itself": ("a.jpeg", lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    "closed to the reader": ("a.jpeg", unreadable, "Permission denied"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_hang():
    """A case that takes 30 s fails; pytest's own exceptions are none that the library catches."""

    def stop(*_):
        pytest.fail("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def as_nobody():
    """Root reads every file: for the while, this process is another user's."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        yield


def make(folder, case: str):
    name, content, expected = CASES[case]
    path = folder / name
    if callable(content):
        needs_path = (
            content.__code__.co_argcount - len(content.__defaults__ or ()) if hasattr(content, "__code__") else 1
        )
        content = content(path) if needs_path else content()
    if isinstance(content, bytes):
        path.write_bytes(content)
    return path, expected


@pytest.mark.parametrize("case", CASES)
def test_each_is_read_correctly_or_named_in_one_sentence(tmp_path, case, capfd):
    path, expected = make(tmp_path, case)
    with warnings.catch_warnings(), as_nobody() if case == "closed to the reader" else contextlib.nullcontext():
        warnings.simplefilter("error")
        try:
            image = pnlib.decode(path)
        except InputError as error:
            refused, message = True, str(error)
        else:
            refused = False
        header = contextlib.suppress(InputError) if refused else contextlib.nullcontext()
        with header:
            width, height, _ = file_header(path)
            assert refused or (width, height) == (64, 64)
    if isinstance(expected, str):
        assert refused, "it was read"
        assert re.fullmatch(rf"Cannot read {re.escape(str(path))}: .*; replace or remove it\.", message), message
        assert re.search(expected, message), message
    else:
        assert not refused, message
        got = image[[37, 37, 112, 112], [37, 112, 37, 112], 0]
        assert got.astype(float) == pytest.approx(expected, abs=3)
    said = capfd.readouterr()
    assert said.out == said.err == "", "Pillow and libjpeg print nothing past us"


# --- in a dataset: all named before anything else, or left out with a count

DAMAGED = {("train", 3): "JPEG whose second half is zeros", ("train", 40): "named pipe", ("train", 50): "broken link",
           ("test", 2): "web page saved as .jpeg"}  # fmt: skip


@pytest.fixture
def dataset(tiny_folder, tmp_path):
    """A copy of the demo dataset with four damaged images, and their paths."""
    folder = tmp_path / "data"
    shutil.copytree(tiny_folder, folder)
    found = pnlib.find_dataset(str(folder))
    paths = []
    for (split, place), case in DAMAGED.items():
        path = found.rows(split).path[place]
        (folder / path).unlink()
        made, _ = make(tmp_path, case)
        made.rename(folder / path)
        paths.append(path)
    return folder, paths


def test_all_damaged_images_are_named_at_once_and_before_any_training(dataset, workspace):
    folder, paths = dataset
    found = pnlib.find_dataset(str(folder))
    assert len(found.table) == 80 and found.skipped == ()
    with pytest.raises(InputError) as caught:
        pnlib.load_images(found, found.rows("train"))
    message = str(caught.value)
    assert all(str(folder / path) in message for path in paths[:3]), message
    assert "pnlib run --skip-damaged" in message and "\n" not in message
    assert not list((workspace / "cache").glob("*")), "nothing half-written stays behind"
    with pytest.raises(InputError, match="Cannot read .*No such file"):
        grid.data_hash(found)


def test_damaged_images_may_be_skipped_with_a_count(dataset, monkeypatch):
    folder, paths = dataset
    monkeypatch.setenv("PNLIB_DAMAGED", "skip")
    found = pnlib.find_dataset(str(folder))
    assert sorted(found.skipped) == sorted(paths) and len(found.table) == 76
    assert not set(paths) & set(found.table.path) and list(found.table.index) == list(range(76))
    assert "without 4 damaged images" in found.edition
    (line,) = [line for line in found.describe().splitlines() if "SKIPPED" in line]
    assert "4 damaged images" in line and sum(path in line for path in paths) == 3 and "and 1 more" in line
    loaded = pnlib.load_images(found, found.table)
    assert np.array_equal(loaded[30], pnlib.decode(folder / found.table.path[30]))
    decoded = []
    real = images.decode
    monkeypatch.setattr(images, "decode", lambda path, size: decoded.append(path) or real(path, size))
    assert pnlib.find_dataset(str(folder)).skipped == found.skipped and decoded == [], "it is remembered"
    (folder / paths[3]).write_bytes(JPEG)
    left = tuple(path for path in found.skipped if path != paths[3])
    assert pnlib.find_dataset(str(folder)).skipped == left, "what is mended counts again"


def test_no_stated_result_holds_where_images_were_skipped(dataset, monkeypatch, capsys):
    folder, paths = dataset
    (folder / "DEMO.txt").unlink()
    monkeypatch.setattr(find, "EDITIONS", {(64, 0, 16): "the published ones"})
    monkeypatch.setattr(find, "PUBLISHED", {("train", 0): 16, ("train", 1): 48, ("test", 0): 6, ("test", 1): 10})
    assert pnlib.find_dataset(str(folder)).is_published, "until it is read, nothing says otherwise"
    monkeypatch.setenv("PNLIB_DAMAGED", "skip")
    found = pnlib.find_dataset(str(folder))
    assert not found.is_published and found.edition.startswith("the published ones, without 4 damaged images")
    pnlib.check_claim("test accuracy", 0.0, found.is_published)
    assert "not checked" in capsys.readouterr().out
    for path in paths:
        (folder / path).unlink()
        (folder / path).write_bytes(JPEG)
    assert pnlib.find_dataset(str(folder)).is_published, "where nothing is damaged, nothing is skipped"


def test_skipping_may_not_take_a_whole_class(dataset, monkeypatch):
    folder, _ = dataset
    for path in (folder / "train" / "NORMAL").iterdir():
        path.write_bytes(b"")
    monkeypatch.setenv("PNLIB_DAMAGED", "skip")
    with pytest.raises(InputError, match="All images in .*train.NORMAL are damaged, so skipping them leaves none;"):
        pnlib.find_dataset(str(folder))


@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), MemoryError()])
def test_what_the_system_could_not_read_is_no_damage_and_not_remembered(dataset, monkeypatch, failure):
    """Else an image that a network drive lost for a moment would be missing from each training to come."""
    folder, paths = dataset
    monkeypatch.setenv("PNLIB_DAMAGED", "skip")
    sound = next(path for path in index.index(folder).path if path not in paths)
    real = images.opened

    def opened(path):
        if str(path).endswith(sound):
            raise failure
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(images, "opened", opened)
        sentence = f"{re.escape(sound)}: .* That is no damage of the image, so it isn't skipped"
        with pytest.raises(InputError, match=sentence):
            pnlib.find_dataset(str(folder))
    assert sorted(pnlib.find_dataset(str(folder)).skipped) == sorted(paths)


def test_the_choice_is_refuse_or_skip(monkeypatch, tiny_folder):
    for value in ("", "refuse"):
        monkeypatch.setenv("PNLIB_DAMAGED", value)
        assert pnlib.find_dataset(str(tiny_folder)).skipped == ()
    monkeypatch.setenv("PNLIB_DAMAGED", "ignore")
    with pytest.raises(InputError, match="PNLIB_DAMAGED='ignore' is not possible; give refuse or skip"):
        pnlib.find_dataset(str(tiny_folder))


def test_the_command_line_hands_the_choice_to_the_notebooks(dataset, monkeypatch, capsys):
    """A kernel inherits the environment of the process that starts it."""
    monkeypatch.setenv("PNLIB_DAMAGED", "")
    given = []
    monkeypatch.setattr(notebooks, "execute", lambda *_, **__: given.append(os.environ["PNLIB_DAMAGED"]))
    monkeypatch.setattr(notebooks, "to_html", lambda path: path)
    monkeypatch.setattr(notebooks, "parameters", lambda name: {"data": {}, "run": {}})
    line = ["run", "--only", "03_model", "-p", "data", str(dataset[0])]
    assert cli.main(line) == 0 and "SKIPPED" not in capsys.readouterr().out
    assert cli.main([*line, "--skip-damaged"]) == 0 and "SKIPPED: 4 damaged images" in capsys.readouterr().out
    assert given == ["", "skip"]
