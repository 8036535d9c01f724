"""Headless Chromium, for the pages that people see."""

import functools
import http.server
import shutil
import threading
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


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def served():
    """`served(folder)` is the address where a server of static files has it."""
    servers = []

    def serve(folder):
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


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
