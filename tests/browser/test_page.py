"""`pnlib page` in headless Chromium: an example, a file of one's own, the keyboard, a phone."""

import io
import os
import socket
import subprocess
import sys
import time

import numpy as np
import PIL.Image
import pytest

from pnlib.base import paths


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page, served with the demo's phantoms."""
    pytest.importorskip("voila")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"PNLIB_DATA": "demo", "PNLIB_CACHE": str(tmp_path_factory.mktemp("cache"))}
    line = [sys.executable, "-m", "pnlib", "page", "--no-browser", "--port", str(port)]
    process = subprocess.Popen(line, cwd=paths.root(), env=environment, stdout=subprocess.DEVNULL)
    for _ in range(200):
        with socket.socket() as there:
            if there.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.2)
    yield f"http://127.0.0.1:{port}/"
    process.terminate()
    process.wait(20)


def test_an_example_and_a_file_are_answered(opened, address):
    page = opened(address)
    page.wait_for_selector("text=network", timeout=180_000)
    assert page.get_by_role("heading", level=1).inner_text().startswith("08")
    answer = page.locator(".widget-html-content")
    assert answer.get_attribute("aria-live") == "polite" and "interval" in answer.inner_text()
    assert page.locator("img:not([alt])").count() == 0
    content = io.BytesIO()
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)).save(content, "PNG")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Or a file of your own").click()
    chooser.value.set_files({"name": "noise.png", "mimeType": "image/png", "buffer": content.getvalue()})
    page.wait_for_selector("text=no answer is given", timeout=60_000)
    page.get_by_label("Answer for any image").check()
    page.wait_for_selector("text=Probability of pneumonia", timeout=60_000)


def test_it_fits_a_phone_and_can_be_used_by_keyboard(opened, address):
    page = opened(address, viewport={"width": 360, "height": 740})
    page.get_by_label("Example").wait_for(timeout=180_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.type"))
    assert {"select-one", "submit", "checkbox"} <= set(reached) or {"select-one", "button", "checkbox"} <= set(reached)
