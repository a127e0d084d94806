"""How Sphinx makes a site of the documents: `make docs`.

The source folder is the whole repository, so links lead to the same places in the site as in a checkout.
`docs/README.md` is the first page, and its lists are the navigation.
"""

import os
import sys
from pathlib import Path

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

SITE = Path(__file__).resolve().parent
ROOT = SITE.parents[1]
os.environ["DEPTHCAST_PURE"] = "1"  # what is compiled has no signatures
sys.path[:0] = [str(ROOT), str(SITE)]

from command_reference import CommandReference  # noqa: E402  # it is found by the path set above
from navigation import groups, marked_up, toctrees  # noqa: E402

from depthcast import __version__  # noqa: E402

project = "Depthcast"
author = "The Depthcast authors"
release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
root_doc = "docs/README"
include_patterns = ["*.md", "docs/**", "web/README.md", "examples/**/README.md"]
exclude_patterns = [
    path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in {"docs", "web", "examples"}
]
exclude_patterns += ["**/node_modules"]

# Markdown as code hosts read it: anchors of headings, tables, no typographic quotes.
myst_heading_anchors = 4
smartquotes = False
highlight_language = "none"
suppress_warnings = ["misc.highlighting_failure"]  # JSON with comments, and commands without a prompt

# Docstrings name code in single backticks.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"Depthcast {release}"
html_favicon = str(ROOT / "web" / "icon.svg")
html_extra_path = ["index.html"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
copybutton_prompt_text = "$ "


def add_navigation(app: Sphinx, docname: str, content: list[str]) -> None:
    """Append the navigation to the first page; pages that it does not list go under `More`."""
    if docname == root_doc:
        listed = groups(content[0], docname, ROOT)
        content[0] += toctrees(listed, sorted(app.env.found_docs))


def link_folders(app: Sphinx, doctree: nodes.document) -> None:
    """Make each link to a folder one to its index; without one, plain text."""
    docname = app.env.docname
    for node in list(doctree.findall(pending_xref)):
        folder = ((ROOT / docname).parent / node["reftarget"]).resolve()
        if node.get("reftype") != "myst" or not folder.is_dir():
            continue
        pages = [str(folder.relative_to(ROOT) / name) for name in ("index", "README")]
        page = next((page for page in pages if page in app.env.found_docs), None)
        if page is None:
            node.replace_self(node.children)
        else:
            node.attributes |= {"refdomain": "doc", "reftarget": page, "reftargetid": None}


def literal_blocks(
    _app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Mark indented blocks of a docstring as code."""
    lines[:] = marked_up(lines)


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    for language in ("digest", "hex", "partition", "seq"):  # values, which the tests compute
        app.add_lexer(language, TextLexer)
    app.add_directive("command-reference", CommandReference)
    app.connect("source-read", add_navigation)
    app.connect("doctree-read", link_folders)
    app.connect("autodoc-process-docstring", literal_blocks, priority=400)  # before napoleon
