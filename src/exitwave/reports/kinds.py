"""What a report says and shows of an estimate beyond what all have, by kind of estimate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import singledispatch
from typing import TYPE_CHECKING

import numpy as np

from exitwave.data.estimate import Estimate, PtychoEstimate, SupportEstimate
from exitwave.data.result import Result
from exitwave.reports import panels
from exitwave.reports.axes import image_figure
from exitwave.reports.crystal_surface import Turned
from exitwave.reports.formatting import Fact, area, length, number
from exitwave.reports.frame_numbers import frame_numbers
from exitwave.reports.patterns import pattern_rows
from exitwave.reports.pictures import SMALL_IN, WIDE_IN, Picture, Row, picture
from exitwave.reports.shifts import shift_facts, shift_pictures
from exitwave.reports.svg import inline_svg
from exitwave.reports.views import View, contrast

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_MODES = 12
"""Probe modes that are shown; weaker ones are only counted."""


class KindOfReport:
    """The parts of a report that differ by kind of estimate; of any kind that has none of its own."""

    def __init__(self, result: Result) -> None:
        self.result = result

    def measured(self, field_m: tuple[float, float]) -> list[Fact]:
        """What was measured, for the headline."""
        return [self._pixel("of the object"), Fact("Object", area(field_m), "y × x")]

    def remarks(self) -> list[str]:
        """What deserves a second look before the image is believed."""
        return history_remarks(self.result.history) + free_residual_remarks(self.result) + frame_remarks(self.result)

    def sizes(self) -> list[Fact]:
        """Sizes of the arrays."""
        return [Fact("object", f"{_times(self.result.estimate.object.shape)} pixels")]

    def further(self) -> list[Fact]:
        """What the estimate holds besides, in a few numbers."""
        return []

    def rows(self) -> list[Row]:
        """Pictures of what was found besides the object, such as the probe."""
        return []

    @property
    def hidden_rows(self) -> int:
        """Such rows that are left out."""
        return 0

    def fit_pictures(self, view: View) -> Iterator[Picture]:
        """Where the fit is good, or what the object was held to."""
        yield from ()

    def pattern_rows(self) -> list[Row]:
        """Measured beside calculated patterns."""
        return pattern_rows(self.result)

    def surface(self) -> Turned | None:
        """The surface of a volume, to be turned in the page; of most kinds there is none."""
        return None

    def draw_companion(self, axes: Axes) -> None:
        """What an overview shows beside the object."""
        obj = self.result.estimate.plane().numpy()
        axes.set_title("object")
        panels.draw_complex(axes, obj, _extent_m(obj.shape, self.result.object_pixel_m))

    def _pixel(self, note: str) -> Fact:
        sizes = self.result.object_pixel_m
        if all(math.isclose(size, sizes[-1], rel_tol=1e-3) for size in sizes):
            return Fact("Pixel", length(sizes[-1]), note)
        axes = ", y × x" if len(sizes) == 2 else ""
        return Fact("Pixel", " × ".join(length(size) for size in sizes), f"{note}{axes}")


@singledispatch
def reported(estimate: Estimate, result: Result) -> KindOfReport:
    """The parts of a report that this kind of estimate has of its own."""
    return KindOfReport(result)


class _Ptychography(KindOfReport):
    def __init__(self, estimate: PtychoEstimate, result: Result) -> None:
        super().__init__(result)
        self._x = estimate
        self._pixel_m = (result.object_pixel_m[0], result.object_pixel_m[1])

    def measured(self, field_m: tuple[float, float]) -> list[Fact]:
        quanta = f"{self.result.geometry.particle}s per frame"
        counted = self.result.provenance.get("counts_per_frame")
        in_probe = float(self._x.probe.detach().cpu().abs().double().square().sum())
        light = (
            f"{number(counted)} {quanta}" if isinstance(counted, float) else f"{number(in_probe)} {quanta} in the probe"
        )
        return [
            self._pixel("of object and probe"),
            Fact("Scanned region", area(field_m), "y × x, coverage above 5 %"),
            Fact("Frames", str(len(self._x.positions_px)), light),
        ]

    def sizes(self) -> list[Fact]:
        obj, probe = _times(self._x.object.shape), _times(self._x.probe.shape)
        return [
            Fact("object", f"{obj} pixels (slice, y, x)"),
            Fact("probe", f"{probe} pixels (mode, y, x)"),
        ]

    def further(self) -> list[Fact]:
        x, facts = self._x, shift_facts(self.result)
        if x.slice_spacing_m is not None:
            spacings = ", ".join(length(float(spacing), 4) for spacing in x.slice_spacing_m)
            facts.append(Fact("between slices", spacings))
        if x.variations is not None and x.weights is not None:
            share = float(x.variations.abs().square().sum(dim=(1, 2)) @ x.weights.abs().square().mean(dim=0))
            share /= float(x.probe[0].abs().square().sum())
            waves = f"{len(x.variations)} wave{'s' * (len(x.variations) > 1)}"
            facts.append(
                Fact(
                    "variation of the probe",
                    f"{waves}, {number(100 * share)} % of its {self.result.geometry.particle}s",
                )
            )
        if x.brightness is not None:
            photons = x.brightness.square()
            low, high = (number(float(bound / photons.mean()), 4) for bound in (photons.min(), photons.max()))
            facts.append(Fact("brightness of the beam", f"{low} to {high} of its mean"))
        if x.background is not None:
            facts.append(
                Fact(
                    "background",
                    f"{number(float(x.background.mean()))} {self.result.geometry.particle}s a pixel in each frame",
                )
            )
        return facts

    def rows(self) -> list[Row]:
        powers = self._powers()
        return [self._mode_row(mode, float(powers[mode])) for mode in range(min(len(powers), MOST_MODES))]

    @property
    def hidden_rows(self) -> int:
        return max(0, len(self._x.probe) - MOST_MODES)

    def _mode_row(self, mode: int, power: float) -> Row:
        draws = (
            ("complex", self._draw_mode, "Complex: hue is the phase, brightness the amplitude."),
            ("amplitude", self._draw_mode_amplitude, "Amplitude."),
        )
        left, right, bottom, top = self._extent()
        made: list[Picture] = []
        for kind, draw, caption in draws:
            figure, axes = image_figure((bottom - top, right - left), SMALL_IN)
            draw(axes, mode)
            svg = inline_svg(figure, f"m{mode}{kind}", f"Probe mode {mode + 1}, {kind}")
            made.append(Picture(svg=svg, caption=caption))
        return Row(
            heading=f"Mode {mode + 1}: {number(100 * power)} % of the {self.result.geometry.particle}s", pictures=made
        )

    def fit_pictures(self, view: View) -> Iterator[Picture]:
        known = self.result.frame_residual is not None
        alt = "Probe positions over the object" + (", coloured by the residual of each frame" if known else "")
        caption = f"Centres of the {len(self._x.positions_px)} probe positions over the object's amplitude" + (
            ", coloured by the residual of each frame." if known else "; residuals of single frames were not recorded."
        )

        def draw(axes: Axes) -> None:
            panels.draw_positions(axes, self._x, self._pixel_m, self.result.frame_residual, view)

        yield picture(view, "positions", alt, caption, draw, width_in=WIDE_IN)
        yield from shift_pictures(self.result, view)

    def draw_companion(self, axes: Axes) -> None:
        axes.set_title("probe")
        self._draw_mode(axes, int(self._powers().argmax()))

    def _powers(self) -> np.ndarray:
        """Share of the probe's photons in each of its incoherent modes."""
        powers = self._x.probe.detach().cpu().abs().double().square().sum(dim=(-2, -1)).numpy()
        return powers / powers.sum() if powers.sum() > 0 else np.zeros(len(powers))

    def _draw_mode(self, axes: Axes, mode: int) -> None:
        """A probe mode as a complex image, brightest where its amplitude is largest."""
        panels.draw_complex(axes, self._mode(mode), self._extent())

    def _draw_mode_amplitude(self, axes: Axes, mode: int) -> None:
        """The amplitude of a probe mode, root of photons per pixel."""
        amplitude = np.abs(self._mode(mode))
        limits = (0.0, contrast(amplitude, 0, 100)[1])
        panels.draw_image(
            axes, amplitude, self._extent(), "inferno", limits, unit=f"√({self.result.geometry.particle}s / pixel)"
        )

    def _mode(self, mode: int) -> np.ndarray:
        return self._x.probe[mode].detach().cpu().numpy()

    def _extent(self) -> tuple[float, float, float, float]:
        return _extent_m(self._x.probe.shape[-2:], self._pixel_m)


class IsolatedObject(KindOfReport):
    """Of an object that stands alone, found from its pattern."""

    def __init__(self, estimate: SupportEstimate, result: Result) -> None:
        super().__init__(result)
        self._x = estimate

    def measured(self, field_m: tuple[float, float]) -> list[Fact]:
        x = self._x
        particle = self.result.geometry.particle
        counted = float(x.object.detach().abs().double().square().sum() * x.beam_photons)
        return [
            self._pixel("of the object"),
            Fact("Object", area(field_m), f"y × x, support of {int(x.support.sum())} pixels"),
            Fact(f"{particle.capitalize()}s", number(counted), "in one pattern of the object found"),
        ]

    def remarks(self) -> list[str]:
        # Phasing goes through rising residuals and several starts; held-out pixels are dimmer than the middle, which never is.
        # The outer frames of a rocking curve hold noise alone.
        return []

    def fit_pictures(self, view: View) -> Iterator[Picture]:
        support = self._x.light().numpy()
        extent_m = _extent_m(support.shape, self.result.object_pixel_m)
        figure, axes = image_figure((extent_m[2], extent_m[1]), WIDE_IN)
        panels.draw_image(axes, support, extent_m, "gray", (0.0, 1.0))
        caption = "Support in the whole frame: white where the object was allowed to be."
        yield Picture(svg=inline_svg(figure, "support", "Support of the object"), caption=caption)


reported.register(PtychoEstimate, _Ptychography)
reported.register(SupportEstimate, IsolatedObject)


def history_remarks(history: Sequence[float]) -> list[str]:
    """Whether the run was too short, or not stable."""
    if len(history) < 10:
        return []
    before, last, least = history[-1 - len(history) // 5], history[-1], min(history)
    if last < 0.9 * before:
        fall = number(100 * (1 - last / before), 2)
        return [f"The residual still fell by {fall} % over the last fifth of the epochs: more epochs would help."]
    if last > 1.2 * least:
        return [
            f"The residual ended {number(100 * (last / least - 1), 2)} % above its lowest value: the run was not stable."
        ]
    return []


def frame_remarks(result: Result) -> list[str]:
    """Frames that fit much worse than the others."""
    if result.frame_residual is None or not len(result.frame_residual):
        return []
    residual = result.frame_residual.detach().cpu().double().numpy()
    outliers = np.flatnonzero(residual > 5 * np.median(residual))
    if not len(outliers):
        return []
    numbers = frame_numbers(result)
    listed = ", ".join(str(numbers[frame]) for frame in outliers[:10]) + (" …" if len(outliers) > 10 else "")
    return [f"{len(outliers)} of {len(residual)} frames fit more than five times worse than the median: {listed}."]


def free_residual_remarks(result: Result) -> list[str]:
    """Whether pixels that the solver never saw fit much worse."""
    free = result.free_residual
    if free is None or not free > 1.5 * result.residual:
        return []
    return [
        f"The free residual is {number(free / result.residual, 2)} times the residual: "
        "the solver fits noise, or the scan holds too little for so many unknowns."
    ]


def _times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def _extent_m(shape: Sequence[int], pixel_m: Sequence[float]) -> tuple[float, float, float, float]:
    """Left, right, bottom and top edge of an image, metres, y downwards."""
    height, width = shape
    return 0.0, width * pixel_m[-1], height * pixel_m[-2 if len(pixel_m) > 1 else -1], 0.0
