"""Sphinx's settings for the site, which `site/pages.py` builds."""

import dataclasses
import os
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
from pages import repository  # noqa: E402

import pnlib  # noqa: E402

project = author = "pnlib"
html_title = "Pneumonia in chest X-rays"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["README.md"]  # the home page includes it
html_theme = "sphinx_book_theme"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}  # dark or light, as the visitor's system is
html_favicon = "static/icon.svg"
html_use_index = html_domain_indices = False  # the search finds more
html_show_copyright = False
html_theme_options = {
    "navbar_persistent": [],  # the search stands in the side bar
    "show_toc_level": 2,
    "footer_content_items": ["extra-footer"],
    "extra_footer": "It teaches; it is no medical device. Nothing here may guide the care of a person.",
    "use_download_button": True,
    "use_repository_button": bool(repository()),
    "repository_url": repository(),
    "repository_branch": os.environ.get("GITHUB_REF_NAME", "main"),
    "path_to_docs": "",
    "launch_buttons": {
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
        "notebook_interface": "jupyterlab",
    }
    if repository()
    else {},
}

nb_execution_mode = "off"  # the notebooks show what they were committed with
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
suppress_warnings = ["myst.header"]  # the glossary goes from H1 to H3; the page does not
myst_heading_anchors = 4  # as GitHub names them
html_math_renderer = "mathml"  # by the browser itself
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

default_role = "py:obj"  # `name` in a docstring: a link where there is such a name, else code
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes as a list
highlight_language = "none"  # where a block of code names no language


def as_rest(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """A docstring's Markdown (tables, fenced code, indented code after a paragraph) in reStructuredText."""

    def table(found: re.Match[str]) -> str:
        rows = [row.strip(" |").split(" | ") for row in found[0].strip().splitlines()]
        new = [".. list-table::", "   :header-rows: 1", ""]
        for row in [rows[0], *rows[2:]]:
            new += [f"   {'-' if i else '* -':>3} {cell.strip()}" for i, cell in enumerate(row)]
        return "\n".join(found[1] + line for line in new) + "\n"

    def code(found: re.Match[str]) -> str:
        return f".. code-block:: {found[1]}\n\n" + re.sub("^", "    ", found[2], flags=re.MULTILINE)

    text = "\n".join(lines)
    if name == "pnlib.TrainConfig":
        fields = [(f.name, f.default, f.metadata["parameter"]) for f in dataclasses.fields(thing)]
        settings = [f"| {name} | {default} | {about.about}; {about.range} |\n" for name, default, about in fields]
        settings = "| setting | default | meaning and range |\n| --- | --- | --- |\n" + "".join(settings)
        text = text.replace("\nRaises:", "\n" + settings + "\nRaises:", 1)
    text = re.sub(r"^( *)\|.*\|\n\1\| --- .*\n(?:\1\|.*\|(?:\n|$))+", table, text, flags=re.MULTILINE)
    text = re.sub(r"^```(\w+)\n(.*?)^```$", code, text, flags=re.MULTILINE | re.DOTALL)
    lines[:] = re.sub(r"^(\S.*)\n\n(?= {4}(?![ .:*-]))", r"\1\n\n::\n\n", text, flags=re.MULTILINE).split("\n")


def readable(app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str | None, returns: Any) -> Any:
    """A dataclass's signature as Python could have it, so that it is split at the right places."""
    return signature and signature.replace("<factory>", "..."), returns


def public(app: Sphinx, env: Any, node: Any, shown: Any) -> Any:
    """`Classifier.predict` means pnlib's, in whichever module it is written."""
    if node.get("refdomain") == "py" and node["reftarget"].split(".")[0] in pnlib.__all__:
        name = f"pnlib.{node['reftarget']}"
        return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, shown)
    return None


def inline(self: Any, node: nodes.math) -> None:
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def block(self: Any, node: nodes.math_block) -> None:
    self.body.append(tex2mathml(node.astext(), as_block=True))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", as_rest, priority=100)  # before napoleon
    app.connect("autodoc-process-signature", readable)
    app.connect("missing-reference", public)
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
