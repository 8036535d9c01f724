"""The external test set: found by the NIH's file names wherever they lie, and refused unless it is whole."""

import numpy as np
import PIL.Image
import pytest

import pnlib
from pnlib import InputError
from pnlib.base.paths import root
from pnlib.datasets.external import find_external, listed
from pnlib.runner.cli import main


@pytest.fixture
def folder(tmp_path):
    """All 523 names in two folders, one small picture; and an image that isn't in the list."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "picture.png")
    content = (tmp_path / "picture.png").read_bytes()
    for i, name in enumerate(listed().name):
        place = tmp_path / f"images_{i % 2}" / f"{name}.png"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)
    return tmp_path


def test_the_list_is_what_it_says():
    table = listed()
    assert table.label.value_counts().to_dict() == {0: 267, 1: 256} and table.name.is_unique
    assert (table.findings.str.contains("Pneumonia") == (table.label == 1)).all()
    assert set(table["view"]) == {"PA", "AP"} and table.age.between(1, 100).all()


def test_images_are_found_wherever_they_lie(folder, monkeypatch, capsys):
    found = find_external(folder)
    assert len(found.table) == 523 and found.table.path[0] == f"images_0/{found.table.name[0]}.png"
    assert pnlib.load_images(found, found.table.iloc[:3]).shape == (3, 150, 150, 1)
    monkeypatch.setenv("PNLIB_EXTERNAL", str(folder))
    assert main(["download", "--external"]) == 0
    said = capsys.readouterr().out
    assert "523 images found" in said and "images_001" in said


def test_what_is_missing_is_counted_and_how_to_get_it_is_said(folder, monkeypatch, capsys):
    gone = listed().name[7]
    next(folder.rglob(f"{gone}.png")).unlink()
    with pytest.raises(InputError, match=f"^1 of the 523 external images are missing .*, {gone} for one; .*--external"):
        find_external(folder)
    monkeypatch.setenv("PNLIB_EXTERNAL", str(folder / "nowhere"))
    assert main(["download", "--external"]) == 2
    assert "523 of the 523" in capsys.readouterr().err and not (root() / "data" / "external").exists()
