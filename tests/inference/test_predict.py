"""What a network says of files: one row each, whatever they hold; refused where it makes no sense to ask."""

import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

import pnlib
from pnlib import InputError
from pnlib.base import paths
from pnlib.inference import familiar, predict
from pnlib.runner.cli import main

REAL_DATA = os.environ.get("PNLIB_DATA", "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of all kinds: phantoms in class folders, colour, noise, text named .png."""
    folder = tmp_path_factory.mktemp("files")
    dataset = pnlib.find_dataset("demo")
    rows = dataset.rows("test")
    for label, name in ((0, "NORMAL"), (1, "PNEUMONIA")):
        (folder / name).mkdir()
        for path in rows.path[rows.label == label].iloc[:20]:
            (folder / name / path.rsplit("/", 1)[1]).write_bytes((dataset.root / path).read_bytes())
    odd = folder / "odd"
    odd.mkdir()
    rng = np.random.default_rng(0)
    PIL.Image.fromarray(rng.integers(0, 256, (200, 200), np.uint8)).save(odd / "noise.png")
    PIL.Image.fromarray(rng.integers(0, 256, (60, 400, 3), np.uint8)).save(odd / "colour.png")
    (odd / "text.png").write_text("no image")
    return folder


def test_a_row_per_file_with_the_probability_that_the_classifier_gives(folder):
    files = sorted((folder / "PNEUMONIA").iterdir())
    table = predict(folder / "PNEUMONIA", force=True)
    assert [str(file) for file in files] == list(table.path)
    expected = pnlib.load_reference("compact").predict(np.stack([pnlib.decode(file) for file in files]))
    assert np.allclose(table.probability, expected, atol=1e-6)
    assert list(table.answer) == ["pneumonia" if p >= 0.5 else "normal" for p in expected]


def test_what_is_no_x_ray_gets_no_answer_unless_it_is_forced(folder):
    table = predict(folder / "odd").set_index(predict(folder / "odd").path.str.rsplit("/", n=1).str[-1])
    assert table.answer.to_dict() == {
        "colour.png": "unlike the training images", "noise.png": "unlike the training images", "text.png": "can't be read",
    }  # fmt: skip
    assert table.probability.isna().all()
    assert "no chest is found in it" in table.note["noise.png"]
    assert "it is in colour" in table.note["colour.png"] and "400 x 60 pixels" in table.note["colour.png"]
    assert "replace or remove it" in table.note["text.png"]
    forced = predict([folder / "odd" / "noise.png"], force=True)
    assert 0 <= forced.probability[0] <= 1 and "no chest" in forced.note[0]


def test_files_folders_and_models_that_are_not_there_are_named(tmp_path):
    with pytest.raises(InputError, match="There is no file or folder"):
        predict(tmp_path / "missing.png")
    with pytest.raises(InputError, match="There is no image below the folder"):
        predict(tmp_path)
    for name in ("resnet", "../x", ""):
        with pytest.raises(InputError, match="There is no model .*give baseline, compact, or the name of a run"):
            predict(__file__, model=name)


def test_on_the_command_line(folder, capsys, tmp_path, monkeypatch):
    both = [str(folder / name) for name in ("NORMAL", "PNEUMONIA")]
    assert main(["predict", *both, "--force", "--csv", "--heatmap", str(tmp_path / "heat")]) == 0
    said = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert len(rows) == 40 and set(rows[0]) == set(pnlib.inference.COLUMNS)
    assert said.err.count("no medical device") == 1
    assert "40 answers for files in class folders: accuracy 0." in said.err
    assert len(list((tmp_path / "heat").glob("*.png"))) == 40

    monkeypatch.setattr("sys.stdin", io.StringIO(f"{folder / 'odd' / 'text.png'}\n\n{folder / 'odd' / 'noise.png'}\n"))
    assert main(["predict", "-", "--json"]) == 1, "a file can't be read"
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [row["probability"] for row in rows] == [None, None] and rows[0]["answer"] == "can't be read"
    assert "1 of the files can't be read" in said.err

    assert main(["predict", str(folder / "odd" / "noise.png")]) == 0
    assert "noise.png: no answer is given; it is not like the training images (no chest" in capsys.readouterr().out
    assert main(["predict", str(tmp_path / "missing")]) == 2


def test_rows_come_while_the_files_are_still_being_named(folder):
    """Streaming: the first 32 answers are there although stdin is still open."""
    line = [sys.executable, "-m", "pnlib", "predict", "-", "--csv", "--force"]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        files = sorted((folder / "NORMAL").iterdir())
        process.stdin.write("".join(f"{file}\n" for file in (files * 2)[:33]))
        process.stdin.flush()
        assert process.stdout.readline().startswith("path,probability")
        assert files[0].name in process.stdout.readline()
        process.stdin.close()
        assert len(process.stdout.readlines()) == 32
    assert process.returncode == 0


def test_dask_workers_give_the_same_table(folder, capsys):
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        assert main(["predict", str(folder), "--csv", "--scheduler", cluster.scheduler_address]) == 1
    spread = capsys.readouterr().out
    assert main(["predict", str(folder), "--csv"]) == 1
    assert capsys.readouterr().out == spread


@pytest.mark.skipif(REAL_DATA in ("", "demo"), reason="needs the X-rays")
def test_likeness_tells_x_rays_of_the_chest_from_other_pictures():
    published = pnlib.find_dataset(str(paths.resolve(REAL_DATA)))
    images = pnlib.load_images(published, published.rows("train").iloc[::25])
    refused = {
        "as they are": np.mean([bool(words) for words in familiar.objections(familiar.likenesses(images))]),
        "turned": np.mean([bool(words) for words in familiar.objections(familiar.likenesses(np.rot90(images, axes=(1, 2)).copy()))]),
    }  # fmt: skip
    assert refused["as they are"] < 0.03 and refused["turned"] > 0.9
