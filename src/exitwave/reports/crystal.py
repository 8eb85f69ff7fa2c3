"""What a report says and shows of a crystal from its rocking curve (3D Bragg CDI)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from exitwave.data.crystal_surface import CrystalSurface
from exitwave.data.errors import InputError
from exitwave.data.estimate import BraggEstimate
from exitwave.data.laboratory_crystal import LaboratoryCrystal
from exitwave.data.lengths import length, number
from exitwave.data.result import Result
from exitwave.physics.crystal.isosurface import crystal_surface
from exitwave.physics.crystal.laboratory import crystal_in_laboratory
from exitwave.physics.crystal.profiles import Profile, profile
from exitwave.physics.crystal.size import CrystalSize, crystal_size
from exitwave.reports.axes import curve_figure
from exitwave.reports.crystal_diffraction import plane_rows, transfer_pictures
from exitwave.reports.crystal_surface import Turned, turned
from exitwave.reports.crystal_views import PICOMETRE, STRAIN, STRAIN_UNIT
from exitwave.reports.formatting import Fact
from exitwave.reports.kinds import IsolatedObject, KindOfReport, reported
from exitwave.reports.panels import BLUE, GREY, finish_curve
from exitwave.reports.pictures import Picture, Row
from exitwave.reports.svg import inline_svg
from exitwave.reports.views import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TRIANGLES = 60_000
"""Of the surface in the page: a megabyte, which a browser turns smoothly."""
AXES = (("z", "along the beam"), ("y", "up"), ("x", "horizontal"))


class Crystal(IsolatedObject):
    """Of a crystal, measured in the laboratory frame."""

    def __init__(self, estimate: BraggEstimate, result: Result, crystal: LaboratoryCrystal) -> None:
        super().__init__(estimate, result)
        self._estimate, self._crystal = estimate, crystal

    @cached_property
    def _size(self) -> CrystalSize:
        return crystal_size(self._crystal)

    @cached_property
    def _profiles(self) -> list[Profile]:
        return [profile(self._crystal, axis) for axis in range(3)]

    def measured(self, field_m: tuple[float, float]) -> list[Fact]:
        size, strain = self._size, self._crystal.strain[np.isfinite(self._crystal.strain)]
        low, high = (number(float(np.quantile(strain, share)) / STRAIN, 2) for share in (0.01, 0.99))
        sides, spreads = _nanometres(size.extents_m), _nanometres(size.extents_spread_m, 2)
        return [
            Fact("Crystal", f"{sides} nm", f"z × y × x at half of the bulk's amplitude; ± {spreads} nm at 30 and 70 %"),
            Fact("Strain", f"{low} to {high} · {STRAIN_UNIT}", "1st to 99th percentile, along Q"),
            Fact("Lattice planes", f"{number(self._crystal.spacing_m * 1e10, 5)} Å", "mean distance, 2π / |Q|"),
            Fact("Voxel", f"{_nanometres(self.result.object_pixel_m)} nm", "angle × row × column"),
        ]

    def sizes(self) -> list[Fact]:
        shape = " × ".join(map(str, self.result.estimate.object.shape))
        return [Fact("object", f"{shape} voxels (angle, row, column)")]

    def further(self) -> list[Fact]:
        crystal, size = self._crystal, self._size
        direction = ", ".join(number(float(part)) for part in crystal.q_direction[::-1])
        edges = [edge for each in self._profiles for edge in each.edges_m if math.isfinite(edge)]
        u = crystal.displacement_m[np.isfinite(crystal.displacement_m)] / PICOMETRE
        facts = [
            Fact("along Q", f"{number(size.along_q_m * 1e9)} ± {number(size.along_q_spread_m * 1e9, 2)} nm"),
            Fact(
                "volume",
                f"that of a sphere of {length(size.diameter_m)} ± {length(size.diameter_spread_m, 2)} diameter",
            ),
            Fact(
                "Q (x, y, z)",
                f"{number(float(np.linalg.norm(crystal.scattering_vector)) * 1e-10, 5)} per Å along ({direction})",
            ),
            Fact(
                "displacement",
                f"{number(float(np.quantile(u, 0.01)), 2)} to {number(float(np.quantile(u, 0.99)), 2)} pm",
            ),
            Fact("taken off the phase", "its mean, and its mean slope, which is the mean lattice: Q counts it"),
        ]
        facts.append(Fact("support", support_words(self._estimate)))
        if edges:
            facts.append(Fact("edges", f"{length(min(edges))} to {length(max(edges))} (10 to 90 % of the amplitude)"))
        return facts

    def fit_pictures(self, view: View) -> Iterator[Picture]:
        for (name, where), each in zip(AXES, self._profiles, strict=True):
            figure, axes = curve_figure()
            draw_profile(axes, each, name)
            edges = " and ".join(length(edge) if math.isfinite(edge) else "not reached" for edge in each.edges_m)
            width = length(each.width_m) if math.isfinite(each.width_m) else "beyond the box"
            caption = f"Amplitude through the centre along {name} ({where}): {width} at half height; edges (10 to 90 %) {edges}."
            alt = f"Profile of the amplitude along {name}"
            yield Picture(svg=inline_svg(figure, f"profile{name}", alt), caption=caption)
        yield from transfer_pictures(self.result)

    def pattern_rows(self) -> list[Row]:
        return plane_rows(self.result) or super().pattern_rows()

    def surface(self) -> Turned | None:
        return turned(page_surface(self._estimate))


@reported.register
def _(estimate: BraggEstimate, result: Result) -> KindOfReport:
    try:
        return Crystal(estimate, result, crystal_in_laboratory(estimate))
    except InputError:
        # Nothing is there, as after a run that diverged: the page says what it can.
        return IsolatedObject(estimate, result)


def page_surface(estimate: BraggEstimate, most: int = MOST_TRIANGLES) -> CrystalSurface:
    """The surface of a crystal with not many more triangles than that, on coarser voxels if need be."""
    crystal = crystal_in_laboratory(estimate)
    found = crystal_surface(crystal)
    if len(found.triangles) <= most:
        return found
    coarser = crystal.voxel_m * (len(found.triangles) / most) ** 0.5
    return crystal_surface(crystal_in_laboratory(estimate, voxel_m=coarser))


def support_words(estimate: BraggEstimate) -> str:
    """Size of the support, and whether it is one piece."""
    support = estimate.support.cpu().numpy()
    _, pieces = ndimage.label(support, np.ones((3, 3, 3)))  # pyright: ignore[reportGeneralTypeIssues]
    told = "in one piece" if pieces == 1 else f"in {pieces} pieces"
    return f"{int(support.sum())} voxels, {number(100 * float(support.mean()), 2)} % of the array, {told}"


def _nanometres(lengths_m: Sequence[float], digits: int = 3) -> str:
    return " × ".join(number(each * 1e9, digits) for each in lengths_m)


def draw_profile(axes: Axes, found: Profile, name: str) -> None:
    """The amplitude along a line, with the levels at which edges are measured."""
    axes.plot(found.distance_m * 1e9, found.amplitude, color=BLUE, marker=".", markersize=3)
    for share in (0.1, 0.5, 0.9):
        axes.axhline(share * found.inside, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate(
            f"{number(100 * share)} %",
            (1, share * found.inside),
            xycoords=("axes fraction", "data"),
            fontsize=7,
            va="bottom",
            ha="right",
        )
    axes.set_ylim(0, 1.1 * max(float(found.amplitude.max()), 1e-30))
    finish_curve(axes, f"{name} (nm)", "amplitude")
