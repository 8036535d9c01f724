"""The site: its links in plain Python, its pages in headless Chromium. Run by `make test-browser`."""

import html.parser
import importlib.util
import json
import re
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import nbformat
import pytest

import pnlib
from pnlib.base import paths

DIST = paths.root() / "site" / "dist"
built = pytest.mark.skipif(not (DIST / "index.html").exists(), reason="needs the site: make site")
PAGES = ("index", "notebooks/05_evaluate", "notebooks/08_predict", "docs/glossary", "docs/faults", "api/training", "api/inference", "api/studies")  # fmt: skip


class Page(html.parser.HTMLParser):
    """Names of places in a page, where it links to, what it loads, and the texts of its pictures."""

    def __init__(self, text):
        super().__init__()
        self.places, self.links, self.loads, self.texts = {""}, set(), set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.places |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        elif tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload"):
            self.loads.add(given["href"])
        elif given.get("src"):
            self.loads.add(given["src"])
        if tag == "img":
            self.texts.append(given.get("alt"))


@pytest.fixture(scope="module")
def pages():
    files = [file for file in DIST.rglob("*.html") if "_static" not in file.parts]
    return {file.relative_to(DIST).as_posix(): Page(file.read_text(encoding="utf-8")) for file in files}


@built
def test_every_link_leads_somewhere(pages):
    assert len(pages) > 40
    lost = []
    for name, page in pages.items():
        for target in page.links | page.loads:
            if urlsplit(target).scheme:
                continue
            path, place = urldefrag(urljoin(f"/{name}", target))
            path = unquote(path.split("?")[0]).lstrip("/")
            if not (DIST / path).is_file() or (path in pages and unquote(place) not in pages[path].places):
                lost.append((name, target))
    assert not lost


@built
def test_nothing_is_loaded_from_elsewhere_and_every_figure_has_a_text(pages):
    for name, page in pages.items():
        assert not [target for target in page.loads if urlsplit(target).netloc], name
        assert all(page.texts), (name, page.texts)
    figures = pages["notebooks/05_evaluate.html"].texts
    assert "4 · Confusion matrix and curves: The confusion matrix at a threshold, with counts and row percentages; rows are the truth." in figures  # fmt: skip


@built
def test_the_reference_has_every_public_name_and_the_notebooks_can_be_had(pages):
    places = set().union(*(page.places for name, page in pages.items() if name.startswith("api/")))
    for module in ("", ".review", ".studies", ".inference"):
        there = importlib.import_module(f"pnlib{module}")
        names = set(there.__all__) - (set(pnlib.__all__) if module else set())
        wanted = {f"pnlib{module}.{name}" for name in names}
        assert wanted <= places | {place.removeprefix("module-") for place in places}, module
    for name in [name for name in pages if re.match(r"notebooks/0\d_", name)]:
        source = DIST / "_sources" / name.replace(".html", ".ipynb")
        nbformat.validate(json.loads(source.read_text(encoding="utf-8")))
        assert any(target.endswith(f"{source.name}") and "_sources" in target for target in pages[name].links), name


def test_links_to_files_that_are_no_pages_lead_to_the_repository(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("site_pages", paths.root() / "site" / "pages.py")
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "results.md").touch()
    text = "[a](results.md#b) [b](../README.md) [c](../studies/plain.csv) [d](../benchmarks) [docs/results.md](results.md) [e](https://x.org)"
    kept = "[a](results.md#b) [b](../index.md) {} {} [](results.md) [e](https://x.org)"
    monkeypatch.setattr(pages, "repository", lambda: "")
    assert pages.relink(text, "docs/history.md", tmp_path) == kept.format("c", "d")
    monkeypatch.setattr(pages, "repository", lambda: "R")
    led = kept.format("[c](R/blob/HEAD/studies/plain.csv)", "[d](R/tree/HEAD/benchmarks)")
    assert pages.relink(text, "docs/history.md", tmp_path) == led
    with pytest.raises(SystemExit, match="docs/history.md links to gone.md"):
        pages.relink("[f](gone.md)", "docs/history.md", tmp_path)


@pytest.fixture(scope="module")
def address(served):
    return served(DIST)


@built
@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_the_window_and_the_visitors_colours(name, width, colours, opened, address):
    page = opened(f"{address}{name}.html", viewport={"width": width, "height": 800}, color_scheme=colours)
    assert page.locator("h1:visible").count() == 1
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    brightness = re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))[0]
    assert (int(brightness) < 60) == (colours == "dark")


@built
def test_the_search_finds_a_term_by_keyboard(opened, address):
    page = opened(f"{address}index.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent").strip() == "Skip to main content"
    page.keyboard.press("Control+k")
    page.keyboard.type("overlap")
    page.keyboard.press("Enter")
    page.wait_for_selector(".search li a")
    found = page.locator(".search li a").all_inner_texts()
    assert "Glossary" in found and len(found) > 5


@built
def test_colours_change_by_keyboard(opened, address):
    page = opened(f"{address}index.html", color_scheme="light")
    page.get_by_role("button", name="Color mode").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".dropdown-menu.show")
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("html[data-theme=dark]")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"


@built
def test_code_is_copied_without_its_prompts(opened, address):
    page = opened(f"{address}api/evaluation.html", permissions=["clipboard-read", "clipboard-write"])
    page.locator("div.highlight").first.hover()
    page.locator("button.copybtn").first.click()
    page.wait_for_selector("button.copybtn.success")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("import pandas as pd, pnlib\npredictions =") and ">>>" not in copied


@built
def test_the_home_page_leads_to_the_network_in_the_browser(opened, address):
    page = opened(f"{address}index.html")
    page.locator(".doors").get_by_role("link", name="Ask a network in your browser").click()
    page.wait_for_selector("#examples button")
    page.click("#examples button")
    page.locator("#answer", has_text=re.compile("robability|No answer")).wait_for()
