"""The page of try/ in headless Chromium: the library's answers, refusals in words, no other host. Run by `make test-browser`."""

import io
import os
import re

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

import pnlib
from pnlib import preprocessing
from pnlib.base import paths
from pnlib.inference import familiar

DIST = paths.root() / "try" / "dist"
REAL_DATA = os.environ.get("PNLIB_DATA", "")

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra: pip install 'pnlib[browser]'")
pytestmark = pytest.mark.skipif(not (DIST / "settings.json").exists(), reason="needs the page: make try")


@pytest.fixture(scope="module")
def address(served):
    return served(DIST)


@pytest.fixture
def page(opened, address):
    page = opened(address)
    page.wait_for_selector("#examples button")
    return page


def wait(page):
    """What the page says at last: the sentence, and the probability or None."""
    answer = page.locator("#answer")
    playwright.expect(answer).not_to_have_text(re.compile("^(Reading the image…)?$"), timeout=20_000)
    number = answer.get_attribute("data-probability")
    return answer.inner_text(), float(number) if number else None


def ask(page, file, force=True):
    page.set_input_files("#file", file)
    said, number = wait(page)
    if force and page.is_visible("#force"):
        page.click("#force")
        said, number = wait(page)
    return said, number


def as_file(image, kind="PNG", **options):
    """What a visitor would choose, made here."""
    content = io.BytesIO()
    image.save(content, kind, **options)
    return {"name": f"image.{kind.lower()}", "mimeType": f"image/{kind.lower()}", "buffer": content.getvalue()}


def phantoms(count=6):
    """The page's own examples."""
    return sorted(DIST.glob("*.jpeg"))[:count]


def drawings(count):
    """Of the demo, to which the network gives high and low probabilities."""
    dataset = pnlib.find_dataset("demo")
    return [dataset.root / path for path in dataset.rows("test").path.iloc[7::20]][:count]


def x_rays(count):
    dataset = pnlib.find_dataset(str(paths.resolve(REAL_DATA)))
    rows = dataset.rows("train")
    return [dataset.root / path for path in rows.path.iloc[:: len(rows) // count]]


@pytest.fixture(scope="module")
def classifier():
    return pnlib.load_reference("compact")


@pytest.mark.parametrize("find", [drawings, pytest.param(x_rays, marks=pytest.mark.skipif(REAL_DATA in ("", "demo"), reason="needs the X-rays"))])  # fmt: skip
def test_the_page_gives_the_librarys_probabilities(find, page, classifier, tmp_path):
    """Measured: 1.1e-4 at most, JPEG and PNG alike."""
    wanted = []
    for file in find(6):
        for given in (file, as_file(PIL.Image.open(file))):
            (tmp_path / "image.png").write_bytes(given["buffer"] if isinstance(given, dict) else given.read_bytes())
            wanted.append(classifier.predict(pnlib.decode(tmp_path / "image.png")[None])[0])
            said, number = ask(page, given)
            assert abs(number - wanted[-1]) < 1e-3, (file, said)
    assert np.ptp(wanted) > 0.2


def test_images_are_read_as_the_library_reads_them(page, tmp_path):
    """Gray value by gray value, in the picture that the page shows: (mean, largest) difference."""
    phantom = PIL.Image.open(phantoms()[1]).convert("L")
    clear = phantom.convert("RGBA")
    clear.putalpha(200)
    turned = PIL.Image.Exif()
    turned[0x0112] = 3  # upside down
    colour = PIL.Image.merge("RGB", [phantom, PIL.ImageOps.invert(phantom), phantom.rotate(90).resize(phantom.size)])
    large = phantom.resize((1400, 1101), PIL.Image.Resampling.BICUBIC)
    cases = {
        "gray": (as_file(phantom), 0, 0),
        "small": (as_file(phantom.resize((90, 110))), 0, 0),
        "palette": (as_file(phantom.convert("P")), 0, 0),
        "colour": (as_file(colour), 0, 0),
        "alpha": (as_file(clear), 0.3, 1),
        "WebP": (as_file(phantom, "WEBP", lossless=True), 0, 0),
        "BMP": (as_file(phantom, "BMP"), 0, 0),
        "EXIF": (as_file(phantom, "JPEG", exif=turned), 0.1, 1),
        "large": (as_file(large, "JPEG", quality=95), 0.3, 3),  # libjpeg shrinks it for pnlib; without blocks: 0.6, 16
    }
    for name, (given, mean, largest) in cases.items():
        ask(page, given)
        rgba = page.evaluate("[...document.getElementById('image').getContext('2d').getImageData(0, 0, 150, 150).data]")
        (tmp_path / given["name"]).write_bytes(given["buffer"])
        off = np.abs(np.reshape(rgba, (150, 150, 4))[..., :1].astype(int) - pnlib.decode(tmp_path / given["name"]))
        assert off.mean() <= mean and off.max() <= largest, (name, off.mean(), off.max())


def test_heat_map_crop_and_likenesses_are_the_librarys(classifier):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(DIST / "compact.onnx"), providers=["CPUExecutionProvider"])
    for file in phantoms():
        image = pnlib.decode(file)[None]
        found = session.run(None, {session.get_inputs()[0].name: image.astype(np.float32)})
        likeness = familiar.likenesses(image)
        laid = classifier.preprocessing.uncrop(np.stack(found[1:3], axis=1), image)
        assert np.abs(laid / laid.max() - classifier.grad_cam(image)).max() < 2e-3
        assert np.abs(found[3] * 255 - preprocessing.crop_chest(image)).max() < 1.01
        assert abs(found[4][0] - likeness.chest[0]) < 1e-4 and abs(found[5][0] - likeness.whole[0]) < 1e-4


def test_what_is_no_x_ray_gets_no_number_unless_it_is_forced(page):
    noise = as_file(PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)))
    said, number = ask(page, noise, force=False)
    assert "No answer is given. It is not like the training images: no chest is found in it" in said and number is None
    assert page.is_hidden("#scale") and page.is_disabled("#heat")
    said, number = ask(page, noise)
    assert said.startswith("Probability of pneumonia: ") and "no chest" in said and 0 <= number <= 1
    assert page.is_visible("#scale") and page.is_hidden("#force")
    inverted = PIL.ImageOps.invert(PIL.Image.open(phantoms()[1]).convert("L"))
    assert "bone looks black, as if it were inverted" in ask(page, as_file(inverted), force=False)[0]


def test_a_file_that_cannot_be_read_gets_one_sentence(page, tmp_path):
    phantom = PIL.Image.open(phantoms()[1]).convert("L")
    jpeg = as_file(phantom, "JPEG")
    (tmp_path / "huge.png").touch()
    os.truncate(tmp_path / "huge.png", 51_000_000)
    elsewhere = "the command `pnlib predict` can."
    cases = [
        (tmp_path / "huge.png", "This file has 51 MB; the page reads up to 50 MB."),
        (as_file(phantom, "TIFF"), f"This page can't read DICOM and TIFF files; {elsewhere}"),
        (
            jpeg | {"buffer": bytes(128) + b"DICM" + bytes(500)},
            f"This page can't read DICOM and TIFF files; {elsewhere}",
        ),
        (as_file(phantom.convert("I;16")), f"This PNG has 16 bits per pixel, which the page can't read; {elsewhere}"),
        (
            jpeg | {"buffer": b"<svg xmlns='http://www.w3.org/2000/svg'/>"},
            "This file is no JPEG, PNG, WebP or BMP image.",
        ),
        (jpeg | {"buffer": jpeg["buffer"][:4000]}, "This image is damaged."),
        (as_file(phantom.resize((31, 200))), "31 × 200 pixels is too small to be an X-ray."),
        (as_file(PIL.Image.new("L", (200, 200), 90)), "This image shows nothing: its gray values differ by 0 of 255."),
    ]
    for file, sentence in cases:
        assert ask(page, file) == (sentence, None)
    assert ask(page, jpeg)[1] is not None, "the page goes on"


def test_keyboard_alone(page):
    focused = "document.activeElement.id || document.activeElement.textContent"
    page.keyboard.press("Tab")
    with page.expect_file_chooser():
        assert page.evaluate(focused) == "file"  # a round trip too: Playwright doesn't wait until it hears of choosers
        page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "normal 1"
    page.keyboard.press("Enter")
    wait(page)
    while page.evaluate(focused) not in ("heat", "force"):
        page.keyboard.press("Tab")
    if page.evaluate(focused) == "force":
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
    before = page.locator("#seen").screenshot()
    page.keyboard.press("Space")
    assert page.is_checked("#heat") and page.locator("#seen").screenshot() != before


def test_an_image_can_be_dropped(page):
    given = as_file(PIL.Image.open(phantoms()[1]))
    page.evaluate(
        """bytes => {
            const dropped = new DataTransfer();
            dropped.items.add(new File([new Uint8Array(bytes)], "image.png"));
            document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: dropped, bubbles: true}));
        }""",
        list(given["buffer"]),
    )
    assert "robability" in wait(page)[0] or page.is_visible("#force")


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_it_fits_a_phone(colours, page):
    page.emulate_media(color_scheme=colours)
    page.set_viewport_size({"width": 360, "height": 740})
    ask(page, phantoms()[1])
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 22, 22)"
    assert dark == (colours == "dark")


def test_without_webassembly_the_page_says_so(browser, address):
    page = browser.new_page()
    page.add_init_script("delete globalThis.WebAssembly")
    page.goto(address)
    assert "has no WebAssembly" in wait(page)[0]
    page.close()
