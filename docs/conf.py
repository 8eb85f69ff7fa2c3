"""Sphinx settings; `make docs` builds docs/_build/html and fails on any warning."""

import re
import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "scripts"))

project = "exitwave"
author = "The exitwave developers"
copyright = "The exitwave developers"
release = version = installed("exitwave")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery", "auto/gallery/sg_execution_times.rst", "sg_execution_times.rst"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_display_short_literal_types = True
# One argument a line where they do not fit into one.
python_maximum_signature_line_length = 88

# What is printed needs no button, what is typed does.
copybutton_selector = ", ".join(
    f"div.highlight-{kind} div.highlight > pre" for kind in ("bash", "python", "yaml", "Python")
)

# Each example runs when its text has changed; its pictures stay in auto/gallery, which `make clean` removes.
sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto/gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("gallery_figures.scraper",),
    "capture_repr": (),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "min_reported_time": 1e6,
    "write_computation_times": False,
    "reset_modules": (),
    "thumbnail_size": (560, 280),
}

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
html_static_path = ["_static"]
html_css_files = ["narrow.css"]


def plain_text(app, what, name, obj, options, lines):
    """Docstrings are plain sentences with `code`: what reStructuredText would take for markup is escaped."""
    for number, line in enumerate(lines):
        parts = line.split("`")
        parts[::2] = [re.sub(r"([|*\\])", r"\\\1", re.sub(r"(?<=\w)_(?!\w)", r"\\_", part)) for part in parts[::2]]
        lines[number] = "``".join(parts)


def setup(app):
    app.connect("autodoc-process-docstring", plain_text)
