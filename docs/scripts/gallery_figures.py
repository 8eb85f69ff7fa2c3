"""Takes the figures of the gallery's examples for sphinx-gallery: whatever a block has called `figure`."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

TAKEN: set[int] = set()
"""Figures of earlier blocks, which still stand under their name."""


def scraper(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figure that a block made, if it made one, and give the lines that show it."""
    figure = block_vars["example_globals"].get("figure")
    if not isinstance(figure, Figure) or id(figure) in TAKEN:
        return ""
    TAKEN.add(id(figure))
    path = Path(next(block_vars["image_path_iterator"]))
    figure.savefig(path, format="png", dpi=100, facecolor="white")
    return figure_rst([str(path)], gallery_conf["src_dir"])
