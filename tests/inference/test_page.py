"""An image in, an answer as HTML out: what 08_predict and its page show."""

import datetime
import io
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import PIL.Image
import pytest

import pnlib
from pnlib import InputError, widgets
from pnlib.base import paths
from pnlib.inference import calibrated, nearest
from pnlib.inference.page import LARGEST, Page

REAL_DATA = os.environ.get("PNLIB_DATA", "")


@pytest.fixture(scope="module")
def page(tiny_folder):
    return Page(pnlib.find_dataset(str(tiny_folder)))


@pytest.fixture
def phantom(tiny):
    return tiny.root / tiny.rows("test").path.iloc[-1]


def png(pixels):
    content = io.BytesIO()
    PIL.Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def test_an_answer_holds_what_the_networks_say_and_names_every_picture(page, phantom):
    said = page.answer(phantom, force=True)
    image = pnlib.decode(phantom)[None]
    for name in ("baseline", "compact"):
        p = pnlib.load_reference(name).predict(image)[0]
        shown = "&lt; 0.01" if p < 0.005 else "&gt; 0.99" if p > 0.995 else f"{p:.2f}"
        assert f"<th scope='row'>{name}</th><td>{shown}</td>" in said
    number = r"(&[lg]t; )?0\.\d\d"
    assert re.search(rf"Probability of pneumonia: {number}</strong> \(95 % interval {number} to {number}\)", said)
    assert said.count("<img ") == 7 == len(re.findall(r"alt='[^']+'", said)), "the image, 2 heat maps, 4 similar ones"
    assert "phantoms, not X-rays" in said
    assert page.answer(phantom.read_bytes(), force=True) == said, "a file's content is answered as the file is"


def test_what_cannot_be_answered_is_said_in_a_sentence(page):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)
    assert "no answer is given" in page.answer(png(noise)) and "no chest is found" in page.answer(png(noise))
    assert "Probability of pneumonia" in page.answer(png(noise), force=True)
    assert "give one of at most 20 MB" in page.answer(bytes(LARGEST + 1))
    assert page.answer(b"<script>") == (
        "<p>Cannot read the image: it is no JPEG, PNG, TIFF, WebP, BMP or DICOM image; replace or remove it.</p>"
    )


def test_a_calibrated_answer_rises_with_what_was_said_and_with_the_prevalence():
    table = calibrated({"baseline": 0.2, "compact": 0.9})
    assert list(table.index) == ["baseline", "compact", "together"] and np.isnan(table.said["together"])
    assert (table.low < table.calibrated).all() and (table.calibrated < table.high).all()
    assert table.low["baseline"] <= table.low["together"] < table.calibrated["baseline"], (
        "they disagree: as wide as both"
    )
    assert table.calibrated["compact"] < table.high["together"] <= table.high["compact"]
    for name in ("baseline", "compact"):
        rising = [calibrated({name: p}).calibrated[name] for p in (0, 0.1, 0.5, 0.9, 1)]
        assert rising == sorted(rising) and 0 < rising[0] < 0.05 and 0.95 < rising[-1] < 1
        odds = [p / (1 - p) for p in (calibrated({name: 0.5}, share).low[name] for share in (0.5, 0.2))]
        assert odds[0] == pytest.approx(4 * odds[1])


@pytest.mark.parametrize("said, share", [({"mine": 0.5}, 0.5), ({"compact": 1.5}, 0.5), ({"compact": 0.5}, 1.0)])
def test_what_has_no_calibration_is_refused(said, share):
    with pytest.raises(InputError):
        calibrated(said, share)


@pytest.mark.skipif(REAL_DATA in ("", "demo"), reason="needs the X-rays")
def test_calibrated_answers_are_right_as_often_as_they_say():
    """On the validation patients of compact, of whom 100 per class are asked about."""
    dataset = pnlib.find_dataset(str(paths.resolve(REAL_DATA)))
    compact = pnlib.load_reference("compact")
    rows, images = pnlib.validation_data(dataset, compact)
    some = rows.groupby("label").head(100).index
    p = [calibrated({"compact": said}).calibrated["compact"] for said in compact.predict(images[some])]
    assert abs(np.mean(p) - 0.5) < 0.1


def test_the_page_is_the_notebooks_last_section_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("voila")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-m", "pnlib", "page", "--no-browser", "--port", str(port)]
    environment = os.environ | {"PNLIB_DATA": "demo", "PNLIB_CACHE": str(tmp_path)}
    process = subprocess.Popen(line, cwd=paths.root(), env=environment, stdout=subprocess.DEVNULL)
    try:
        page = fetched(f"http://127.0.0.1:{port}/")
        with pytest.raises(urllib.error.HTTPError, match="403|404"):
            fetched(f"http://127.0.0.1:{port}/voila/files/08_predict.ipynb")
    finally:
        process.terminate()
        process.wait(20)
    assert "medical device" in page and "DEMO DATA" in page and "Probability of pneumonia" in page
    assert "Predict first" not in page and "Traceback" not in page
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//(?!127)""", page)


def fetched(address):
    """A page, as soon as it is served."""
    for _ in range(100):
        try:
            with urllib.request.urlopen(address, timeout=120) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"{address} doesn't answer")


def test_the_nearest_are_those_in_the_same_direction():
    many = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [-1.0, 0.0], [0.0, 0.0]])
    assert list(nearest(np.array([5.0, 0.1]), many, 3)) == [0, 2, 1]


def test_the_box_answers_the_first_example_a_choice_and_a_file(monkeypatch, tmp_path):
    import ipywidgets

    shown, boxes, asked = [], [], []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    monkeypatch.setattr(ipywidgets, "VBox", lambda children: boxes.append(children) or ipywidgets.Box(children))

    def answer(file, force):
        asked.append((file, force))
        return f"answer {len(asked)}"

    widgets.ask(answer, {"a": tmp_path / "a", "b": tmp_path / "b"})
    chosen, own, forced, result = boxes[0]
    assert "answer 1" in shown[0]["text/html"] and "application/vnd.jupyter.widget-view+json" in shown[0]
    chosen.value = tmp_path / "b"
    own.value = (
        {"name": "x", "type": "", "size": 3, "content": memoryview(b"own"), "last_modified": datetime.datetime.now()},
    )
    forced.value = True
    assert asked == [(tmp_path / "a", False), (tmp_path / "b", False), (b"own", False), (b"own", True)]
    assert "answer 4" in result.value and own.value == (), "the content is not kept in the widget"
