"""Figures as SVG inside a page: text in the colour of the page, no outside references, small images."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the text colour of the page while a figure is drawn; nothing else is drawn in it."""
COARSE_PIXELS = 256
"""Images below this many pixels a side are shown with sharp pixels; larger ones smoothly, as they are mostly shrunk."""


@contextmanager
def drawing(ink: str) -> Generator[None]:
    """Draw with our own settings, whatever the user's matplotlib is set to, and lines and text in the colour `ink`."""
    import matplotlib

    roles = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(dict.fromkeys(roles, ink))
        matplotlib.rcParams.update({"font.size": 8, "lines.linewidth": 1.4, "axes.linewidth": 0.6})
        # Ids inside the SVG would be random without a salt; the same result should give the same file.
        matplotlib.rcParams.update({"svg.hashsalt": "exitwave", "svg.fonttype": "path"})
        yield


def inline_svg(figure: Figure, name: str, alt: str) -> Markup:
    """A figure as an SVG element for HTML. `name` keeps its ids apart from those of other figures; `alt` describes it."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    box = re.search(r'viewBox="([-\d. ]+)"', text)
    assert box is not None
    head = f'<svg viewBox="{box[1]}" role="img" aria-label="{escape(alt)}">'
    text = re.sub(r"<svg\b[^>]*>", lambda _: head, text, count=1)
    text = text.replace(INK, "currentColor")
    # Names may come from files: only letters and digits of them reach the page.
    name = re.sub(r"[^A-Za-z0-9]", "-", name)
    text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)", _smaller, text)
    text = re.sub(r"<image\b[^>]*>", _smooth_if_large, text)
    return Markup(text)  # made by matplotlib, which escapes text; alt is escaped above


def _smaller(found: re.Match[str]) -> str:
    """The same image with a palette where 256 colours suffice, and without an alpha channel that says nothing."""
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGBA"))
    colours, index = np.unique(pixels.reshape(-1, 4), axis=0, return_inverse=True)
    buffer = io.BytesIO()
    if len(colours) <= 256:
        image = Image.fromarray(index.reshape(pixels.shape[:2]).astype(np.uint8), mode="P")
        image.putpalette(colours[:, :3].tobytes())
        image.save(buffer, format="png", optimize=True, transparency=colours[:, 3].tobytes())
    else:
        opaque = bool((pixels[..., 3] == 255).all())
        image = Image.fromarray(pixels[..., :3] if opaque else pixels)
        image.save(buffer, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _smooth_if_large(found: re.Match[str]) -> str:
    sides = [float(size) for size in re.findall(r'(?:width|height)="([\d.]+)"', found[0])]
    if min(sides, default=0) < COARSE_PIXELS:
        return found[0]
    return re.sub(r"image-rendering:[^;\"]*;?", "", found[0])
