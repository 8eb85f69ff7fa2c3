"""The surface of a crystal for the page: packed for the browser, and drawn once for print and browsers without WebGL."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from markupsafe import Markup

from exitwave.data.crystal_surface import CrystalSurface
from exitwave.data.lengths import number
from exitwave.reports import panels
from exitwave.reports.axes import image_figure
from exitwave.reports.crystal_views import PICOMETRE, STRAIN, STRAIN_UNIT
from exitwave.reports.pictures import WIDE_IN, Picture
from exitwave.reports.svg import inline_svg
from exitwave.reports.views import contrast

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STEPS = 65535
"""Steps in which coordinates and values are packed."""
LAMP = np.array((-0.35, 0.45, 0.82))
"""Where the light comes from: left of the viewer and above (right, up, towards)."""
SEEN_FROM = (0.75, 0.45, 0.55)
"""Where the picture is taken from, (z, y, x): down the beam, to the side and above."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Coloured:
    """A quantity on a surface."""

    name: str
    values: Float[np.ndarray, " point"]
    unit: str

    @property
    def most(self) -> float:
        """The end of its colours, at both sides of zero."""
        return max(map(abs, contrast(self.values, 1, 99)))


@dataclass(frozen=True, kw_only=True)
class Scripts:
    """What the page runs, and the digests by which its browser knows that nothing else may run."""

    texts: list[Markup]
    allowed: Markup


@dataclass(frozen=True, kw_only=True)
class Turned:
    """A surface that the page turns, and still pictures of it for print and for browsers that cannot."""

    held: Markup
    scripts: Scripts
    stills: list[Picture]


def turned(surface: CrystalSurface) -> Turned:
    """All that the page needs of a surface."""
    colours = [
        Coloured(name="displacement", values=surface.displacement_m / PICOMETRE, unit="pm"),
        Coloured(name="strain", values=surface.strain / STRAIN, unit=STRAIN_UNIT),
    ]
    level, stills = f"{number(100 * surface.level)} % of the bulk's amplitude", list[Picture]()
    for each in colours:
        figure, axes = image_figure(still_size_m(surface), WIDE_IN)
        draw_surface(axes, surface, each)
        svg = inline_svg(figure, f"surface{each.name}", f"Surface of the crystal, coloured by {each.name}")
        stills.append(Picture(svg=svg, caption=f"Surface at {level}, coloured by {each.name} along Q."))
    return Turned(held=packed(surface, colours), scripts=scripts(), stills=stills)


def packed(surface: CrystalSurface, colours: list[Coloured]) -> Markup:
    """A surface as the page unpacks it: (x, y, z) around the middle, whole numbers of 16 bits, compressed, as JSON."""
    xyz = surface.points_m[:, ::-1]
    low, high = xyz.min(axis=0), xyz.max(axis=0)
    size = float((high - low).max())
    held: dict[str, Any] = {
        "points": _pack((xyz - low) / max(size, 1e-30)),
        "triangles": _zipped(surface.triangles.astype("<u4").tobytes()),
        "size_m": size,
        # Of a ball around the crystal, so that nothing is cut off from any side.
        "reach": 1.08 * float(np.linalg.norm(xyz - (low + high) / 2, axis=1).max()) / max(size, 1e-30),
        "middle": ((high - low) / max(size, 1e-30) / 2).tolist(),
        "q": (surface.scattering_vector[::-1] / np.linalg.norm(surface.scattering_vector)).tolist(),
        "table": base64.b64encode(_table()).decode(),
        "colours": [
            {"name": each.name, "unit": each.unit, "most": each.most, "values": _pack(_share(each))} for each in colours
        ],
    }
    # No tag of any name may end the script.
    return Markup(json.dumps(held).replace("<", "\\u003c"))  # numbers and our own words


def scripts() -> Scripts:
    """three.js and what draws with it."""
    folder = files("exitwave.reports")
    texts = [folder.joinpath(name).read_text(encoding="utf-8") for name in ("vendor/three.min.js", "crystal.js")]
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    # Files of this package, and base64.
    return Scripts(
        texts=[Markup(text) for text in texts], allowed=Markup(" ".join(f"'sha256-{each}'" for each in digests))
    )


def draw_surface(axes: Axes, surface: CrystalSurface, colour: Coloured) -> None:
    """The surface in the light of a lamp behind the viewer, coloured by a quantity; with scale bar and the axes' directions."""
    from matplotlib import colormaps
    from matplotlib.collections import PolyCollection

    towards, right, up = _camera()
    at = np.stack((surface.points_m @ right, surface.points_m @ up, surface.points_m @ towards), axis=1)
    corners = at[surface.triangles]
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    # (right, up, towards) is right-handed, so that triangles that face the viewer look along the third.
    order = np.argsort(corners[:, :, 2].mean(axis=1))
    order = order[facing[order, 2] > 0]
    values = colour.values[surface.triangles].mean(axis=1)[order]
    rgb = colormaps[panels.SIGNED](0.5 + 0.5 * values / colour.most)[:, :3]
    lit = 0.35 + 0.65 * np.clip(_smooth(facing, surface.triangles)[order] @ LAMP, 0, 1)
    painted = rgb * lit[:, None]
    axes.add_collection(
        PolyCollection(
            list(corners[order][:, :, :2]), facecolors=painted, edgecolors="none", antialiased=False, rasterized=True
        )
    )
    _finish(axes, at, (right, up))
    panels.finish_map(axes, panels.SIGNED, (-colour.most, colour.most), colour.unit)
    axes.set_facecolor("none")


def _smooth(facing: Float[np.ndarray, "triangle 3"], triangles: np.ndarray) -> Float[np.ndarray, "triangle 3"]:
    """Where triangles face together with those around them, so that light changes evenly over a curved surface."""
    corners = np.zeros((int(triangles.max()) + 1, 3))
    for corner in range(3):
        np.add.at(corners, triangles[:, corner], facing)
    corners /= np.maximum(np.linalg.norm(corners, axis=1, keepdims=True), 1e-30)
    return corners[triangles].mean(axis=1)


def still_size_m(surface: CrystalSurface) -> tuple[float, float]:
    """Height and width of the picture that `draw_surface` makes."""
    _, right, up = _camera()
    return tuple(1.35 * float(np.ptp(surface.points_m @ way)) for way in (up, right))  # pyright: ignore[reportReturnType]


def _camera() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Towards the viewer, to the right and up, (z, y, x)."""
    towards = np.asarray(SEEN_FROM) / np.linalg.norm(SEEN_FROM)
    # Up crossed with towards, in the order (z, y, x).
    right = np.array((-towards[2], 0.0, towards[0]))
    right /= np.linalg.norm(right)
    up = np.cross(towards[::-1], right[::-1])[::-1]
    return towards, right, up


def _finish(axes: Axes, at: np.ndarray, plane: tuple[np.ndarray, np.ndarray]) -> None:
    """Room around the crystal, and arrows along x, y and z in the corner."""
    low, high = at[:, :2].min(axis=0), at[:, :2].max(axis=0)
    margin = 0.175 * (high - low)
    axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
    axes.set_aspect("equal")
    reach = 0.12 * float((high - low).max())
    x, y = float(low[0] - margin[0] + 1.3 * reach), float(high[1] + margin[1] - 1.5 * reach)
    for name, axis in (("z", 0), ("y", 1), ("x", 2)):
        across, up = (reach * float(way[axis]) for way in plane)
        arrow = {"arrowstyle": "->", "linewidth": 0.8, "shrinkA": 0}
        axes.annotate("", (x + across, y + up), (x, y), arrowprops=arrow)
        axes.text(x + 1.25 * across, y + 1.25 * up, name, ha="center", va="center", fontsize=7)


def _share(colour: Coloured) -> Float[np.ndarray, " point"]:
    return np.clip(0.5 + 0.5 * np.nan_to_num(colour.values) / colour.most, 0, 1)


def _pack(shares: Float[np.ndarray, "*shape"]) -> str:
    return _zipped(np.rint(STEPS * shares).astype("<u2").tobytes())


def _zipped(held: bytes) -> str:
    # No time in it: the same result gives the same page.
    return base64.b64encode(gzip.compress(held, mtime=0)).decode()


def _table() -> bytes:
    from matplotlib import colormaps

    return np.rint(255 * colormaps[panels.SIGNED](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8).tobytes()
