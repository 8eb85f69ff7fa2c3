"""Sphinx settings; `make docs` builds docs/_build/html and fails on any warning."""

import re
from importlib.metadata import version as installed

project = "exitwave"
author = "The exitwave developers"
copyright = "The exitwave developers"
release = version = installed("exitwave")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"
python_display_short_literal_types = True

html_theme = "pydata_sphinx_theme"
html_title = "exitwave"
html_theme_options = {
    "navbar_center": [],
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "show_prev_next": False,
    "footer_end": [],
}
html_sidebars = {"index": [], "**": ["globaltoc.html"]}
html_show_sourcelink = False


def plain_text(app, what, name, obj, options, lines):
    """Docstrings are plain sentences with `code`: what reStructuredText would take for markup is escaped."""
    for number, line in enumerate(lines):
        parts = line.split("`")
        parts[::2] = [re.sub(r"([|*\\])", r"\\\1", re.sub(r"(?<=\w)_(?!\w)", r"\\_", part)) for part in parts[::2]]
        lines[number] = "``".join(parts)


def setup(app):
    app.connect("autodoc-process-docstring", plain_text)
