"""What becomes of each kind of image file. The outcome of each is documented in the README."""

import numpy as np
import PIL.Image
import pytest

from pnlib import data
from pnlib.errors import InputError

RAMP = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))  # black at the left, white at the right


def saved(tmp_path, image, name="image.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def expected():
    return np.asarray(PIL.Image.fromarray(RAMP).resize((150, 150), PIL.Image.Resampling.BILINEAR))[..., None]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK"])
def test_modes_give_the_same_gray(tmp_path, mode):
    image = PIL.Image.fromarray(RAMP)
    image = image.convert("RGB").convert(mode) if mode == "CMYK" else image.convert(mode)
    name = "image.jpeg" if mode == "CMYK" else "image.png"
    got = data.decode(saved(tmp_path, image, name, **({"quality": 100} if mode == "CMYK" else {})))
    assert got.shape == (150, 150, 1) and got.dtype == np.uint8
    tolerance = 6 if mode == "CMYK" else 1  # JPEG rounds by a few levels
    assert np.abs(got.astype(int) - expected().astype(int)).max() <= tolerance


def test_sixteen_bits_are_scaled_not_cut_off(tmp_path):
    wide = PIL.Image.fromarray(RAMP.astype(np.uint16) * 257)
    assert np.abs(data.decode(saved(tmp_path, wide)).astype(int) - expected()).max() <= 1


def test_alpha_is_laid_over_black(tmp_path):
    image = PIL.Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (32, 0, 64, 64))
    got = data.decode(saved(tmp_path, image))[..., 0]
    assert got[:, :70].max() == 0 and got[:, 80:].min() == 255


def test_exif_rotation_is_applied(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees to the right to show"
    got = data.decode(saved(tmp_path, PIL.Image.fromarray(RAMP), "turned.jpeg", exif=exif, quality=100))[..., 0].astype(
        int
    )
    assert got[0].mean() < 20 and got[-1].mean() > 235, "what was left is up"


def test_aspect_ratio_is_not_kept(tmp_path):
    assert data.decode(saved(tmp_path, PIL.Image.new("L", (300, 40), 9))).shape == (150, 150, 1)


def broken(tmp_path, kind):
    whole = saved(
        tmp_path, PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8)), "w.jpeg"
    ).read_bytes()
    path = tmp_path / f"{kind}.jpeg"
    path.write_bytes(
        {"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"this is no image", "header": whole[:20]}[kind]
    )
    return path


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "header"])
def test_damaged_files_are_named_in_one_sentence(tmp_path, kind):
    path = broken(tmp_path, kind)
    with pytest.raises(InputError) as caught:
        data.decode(path)
    message = str(caught.value)
    assert str(path) in message and message.endswith("replace or remove it.") and "\n" not in message


def test_tiny_and_huge_images_are_refused(tmp_path):
    with pytest.raises(InputError, match="1 x 1 pixels is too small"):
        data.decode(saved(tmp_path, PIL.Image.new("L", (1, 1))))
    with pytest.raises(InputError, match="12000 x 10000 pixels is too large"):
        data.decode(saved(tmp_path, PIL.Image.new("1", (12_000, 10_000)), "large.png"))
    with pytest.raises(InputError, match="decompression bomb"):
        data.decode(saved(tmp_path, PIL.Image.new("1", (20_000, 10_000)), "bomb.png"))


def test_other_formats_are_refused_whatever_their_name(tmp_path):
    PIL.Image.new("L", (64, 64)).save(tmp_path / "picture.jpeg", format="GIF")
    with pytest.raises(InputError, match="no JPEG or PNG image"):
        data.decode(tmp_path / "picture.jpeg")


def test_all_damaged_images_are_listed_before_anything_else(tmp_path, tiny_folder):
    import shutil

    folder = tmp_path / "data"
    shutil.copytree(tiny_folder, folder)
    found = data.find(str(folder))
    rows = found.table[found.table.split == "train"]
    for place in (3, 40):
        (folder / rows.path.iloc[place]).write_bytes(b"no image")
    with pytest.raises(InputError) as caught:
        data.load(found, rows)
    assert all(rows.path.iloc[place] in str(caught.value) for place in (3, 40))
    assert not list((tmp_path / "cache").glob("*")), "nothing half-written stays behind"
