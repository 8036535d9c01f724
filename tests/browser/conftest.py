"""Headless Chromium, for the pages that people see."""

import shutil
from urllib.parse import urlsplit

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def browser():
    driver = pytest.importorskip("playwright.sync_api", reason="needs the extra: pip install 'pnlib[browser]'")
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with driver.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser):
    """`opened(address, **options)` opens a page. Afterwards: nothing went wrong in it, and it asked no other host."""
    pages, said, asked, hosts = [], [], set(), {""}

    def open_page(address, **options):
        page = browser.new_page(**options)
        pages.append(page)
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
        page.goto(address, timeout=180_000)
        hosts.add(urlsplit(address).netloc)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not said
    assert asked <= hosts
