"""Build the project's site into site/dist: `make site`.

The pages are the README, docs/, notebooks/ and the docstrings; this folder adds the home page's contents, the API's
pages and the theme's settings. They are put together in a temporary folder, laid out as the repository is, so that
links work on both. Links to other files lead to the repository, or are plain text where its address is not known.
Needs the extra `site`.
"""

import ast
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
DIST = HERE / "dist"
PLACES = ("README.md", "docs/*.md", "docs/*.png", "nb_images/*.png", "notebooks/*.ipynb", "notebooks/solutions/*.ipynb")
PLOTS = {"plots": "pnlib/plots.py", "review_plots": "pnlib/review/plots.py", "study_plots": "pnlib/studies/plots.py"}
LINK = re.compile(r"\[([^\[\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def repository() -> str:
    """The project's address on GitHub: that of pyproject.toml, else of the workflow that builds the site, else ''."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"].get("urls", {})
    if name := os.environ.get("GITHUB_REPOSITORY"):
        return urls.get("Repository", f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{name}")
    return urls.get("Repository", "")


def relink(text: str, place: str, source: Path) -> str:
    """Markdown of the file `place` with links that work on the site."""

    def change(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
        if path == "README.md":
            return f"[{words}]({target.replace('README', 'index')}{anchor})"
        if (source / path).is_file():
            return f"[]({target})" if words in (target, path) and not anchor else found[0]  # a page's title says more
        if (source / path / "index.md").is_file():
            return f"[{words}]({target.rstrip('/')}/index.md)"
        if not (ROOT / path).exists():
            sys.exit(f"{place} links to {target}, which is not there.")
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"[{words}]({repository()}/{kind}/HEAD/{path}{anchor})" if repository() else words

    return LINK.sub(change, text)


def drawings() -> dict[str, str]:
    """What each function that draws a figure draws, {module.name: first sentence of its docstring}."""
    found = {}
    for module, file in PLOTS.items():
        for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and (about := ast.get_docstring(node)):
                found[f"{module}.{node.name}"] = about.split("\n")[0].replace("`", "")
    return found


def alternative(code: str, section: str, drawn: dict[str, str]) -> str:
    """The text of a cell's figure: its section, and its heading or what the function draws."""
    if heading := re.search(r'heading="([^"]+)"', code):
        return f"{section}: {heading[1]}"
    called = [drawn[name] for name in re.findall(r"\w*plots\.\w+", code) if name in drawn and "image_grid" not in name]
    return f"{section}: {called[-1]}" if called else section


def prepare(path: Path, place: str, source: Path, drawn: dict[str, str]) -> None:
    """Give a notebook such links, and its figures texts for those who can't see them."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    section = ""
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            cell["source"] = relink(text, place, source)
            section = ([section] + re.findall(r"^#+ (.+)$", text, re.MULTILINE))[-1]
        else:
            cell["metadata"]["mystnb"] = {"image": {"alt": alternative(text, section, drawn)}}
    path.write_text(json.dumps(notebook, ensure_ascii=False), encoding="utf-8")


def assemble(source: Path) -> None:
    """Put all pages together in the folder `source`."""
    shutil.copytree(HERE, source, ignore=shutil.ignore_patterns("dist", "*.py", "__pycache__"))
    for place in sorted(path for pattern in PLACES for path in ROOT.glob(pattern)):
        (source / place.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(place, source / place.relative_to(ROOT))
    drawn = drawings()
    for path in sorted(source.rglob("*")):
        place = path.relative_to(source).as_posix()
        if path.suffix == ".md":
            path.write_text(relink(path.read_text(encoding="utf-8"), place, source), encoding="utf-8")
        elif path.suffix == ".ipynb":
            prepare(path, place, source, drawn)


def main() -> None:
    if not (ROOT / "try" / "dist" / "settings.json").exists():
        sys.exit("The page of try/ is missing: build it with `make try`, then run `make site` again.")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        assemble(source)
        line = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--jobs", "auto"]
        line += ["--conf-dir", str(HERE), "--doctree-dir", f"{folder}/doctrees", str(source), f"{folder}/html"]
        if subprocess.run(line).returncode:
            sys.exit("The site has warnings; see above.")
        shutil.copytree(ROOT / "try" / "dist", f"{folder}/html/try")
        shutil.rmtree(DIST, ignore_errors=True)
        shutil.move(f"{folder}/html", DIST)
    print(f"Built {DIST}. To read it: python -m http.server --bind 127.0.0.1 --directory {DIST}")


if __name__ == "__main__":
    main()
