"""How far refinement moved the frames from where the scan recorded them: a map, and a few numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from exitwave.data.estimate import PtychoEstimate
from exitwave.data.result import Result
from exitwave.reports import panels
from exitwave.reports.formatting import Fact, length, number
from exitwave.reports.pictures import WIDE_IN, Picture, picture
from exitwave.reports.views import View, contrast

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NOTHING_PX = 1e-3
"""Shifts whose rms is below this are rounding."""
MOST_ARROWS = 2500
"""With more frames every second, third ... one is drawn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PositionShifts:
    """From recorded to found positions, their mean taken out: no measurement knows where the whole scan stands."""

    recorded_px: Float[np.ndarray, "frame 2"]
    shifts_px: Float[np.ndarray, "frame 2"]
    pixel_m: tuple[float, float]

    @property
    def rms_px(self) -> float:
        """Root mean square distance."""
        return float(np.sqrt(np.square(self.shifts_px).sum(axis=1).mean()))

    @property
    def rms_m(self) -> float:
        """The same in the sample."""
        return float(np.sqrt(np.square(self.shifts_px * self.pixel_m).sum(axis=1).mean()))

    @property
    def own_rms_px(self) -> float:
        """The same without what a turn, stretch and shear of the whole scan explains."""
        middle = self.recorded_px - self.recorded_px.mean(axis=0)
        common = middle @ np.linalg.lstsq(middle, self.shifts_px, rcond=None)[0]
        return float(np.sqrt(np.square(self.shifts_px - common).sum(axis=1).mean()))


def position_shifts(result: Result) -> PositionShifts | None:
    """None where no frame was moved, or the result does not know."""
    x, recorded = result.estimate, result.recorded_positions_px
    if recorded is None or not isinstance(x, PtychoEstimate) or not len(recorded):
        return None
    before, after = (positions.detach().cpu().double().numpy() for positions in (recorded, x.positions_px))
    moved = after - before
    pixel_m = (result.object_pixel_m[0], result.object_pixel_m[1])
    found = PositionShifts(recorded_px=before, shifts_px=moved - moved.mean(axis=0), pixel_m=pixel_m)
    return found if found.rms_px > NOTHING_PX else None


def shift_facts(result: Result) -> list[Fact]:
    """How far positions were moved, in a line."""
    found = position_shifts(result)
    if found is None:
        return []
    largest = float(np.linalg.norm(found.shifts_px, axis=1).max())
    text = f"{number(found.rms_px)} px ({length(found.rms_m)}) rms, at most {number(largest)} px"
    own = f"{number(found.own_rms_px)} px rms without a turn, stretch or shear of the whole scan"
    return [Fact("positions moved by", f"{text}; {own}; their mean taken out")]


def shift_pictures(result: Result, view: View) -> Iterator[Picture]:
    """Arrows from where each frame was recorded towards where it was found, over the object."""
    found = position_shifts(result)
    if found is None:
        return
    times = _magnification(found)
    caption = (
        f"How far refinement moved the frames: {number(found.rms_px)} px ({length(found.rms_m)}) rms, the mean taken out; "
        f"arrows are {number(times, 2)} times as long as the shifts."
    )

    def draw(axes: Axes) -> None:
        _draw(axes, result, found, view, times)

    yield picture(
        view, "shifts", "Shifts of the positions from where they were recorded", caption, draw, width_in=WIDE_IN
    )


def _magnification(found: PositionShifts) -> float:
    """So that long arrows about reach the next frame: 1, 2, 3, 5, 10 ... times."""
    span_px = np.ptp(found.recorded_px, axis=0) + 1
    spacing_px = float(np.sqrt(span_px.prod() / len(found.recorded_px)))
    wanted = spacing_px / max(float(np.percentile(np.linalg.norm(found.shifts_px, axis=1), 95)), 1e-9)
    decade = 10.0 ** np.floor(np.log10(max(wanted, 1.0)))
    return max(step * decade for step in (1, 2, 3, 5) if step * decade <= max(wanted, 1.0))


def _draw(axes: Axes, result: Result, found: PositionShifts, view: View, times: float) -> None:
    x = result.estimate
    assert isinstance(x, PtychoEstimate)
    step = -(-len(found.recorded_px) // MOST_ARROWS)
    starts = ((found.recorded_px + np.asarray(x.probe.shape[-2:]) / 2) * found.pixel_m)[::step]
    arrows = (found.shifts_px * found.pixel_m)[::step] * times
    distances = np.linalg.norm(found.shifts_px, axis=1)[::step]
    limits = (0.0, contrast(distances, 0, 99)[1])
    panels.draw_faint(axes, view)
    axes.quiver(
        *(starts[:, 1], starts[:, 0], arrows[:, 1], arrows[:, 0], distances),
        cmap="plasma",
        clim=limits,
        angles="xy",
        scale_units="xy",
        scale=1.0,
        width=0.006,
        rasterized=len(starts) > panels.MOST_VECTOR_POINTS,
    )
    panels.finish_map(axes, "plasma", limits, "px")
